// SPDX-License-Identifier: Apache-2.0
//
// What must hold in a packed data set, element by element, looked at at the speed of memory. pack() asks it
// of what it is given, open_fae_file() of what a file says. Each function returns the position of the first
// element that breaks its rule, or the number of elements if none does.
//
//   std::size_t bad = detail::first_not_below(values, rows);
//   if (bad != values.size()) ...
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/core/table_spec.hpp"
#include "fae/core/types.hpp"
#include "fae/io/dataset.hpp"

namespace fae::inline FAE_ABI::detail {

inline constexpr std::size_t packed_max_dense = std::size_t{1} << 20;      ///< dense features of an input
inline constexpr std::uint64_t packed_max_rows = max_rows<std::uint32_t>;  ///< rows of all tables together

/// Looks at `size` elements a stretch at a time: `stretch_holds(begin, end)` without a branch per element,
/// then, only where it fails, `holds(i)` one by one.
template <class StretchHolds, class Holds>
[[nodiscard]] std::size_t first_failure(std::size_t size, StretchHolds&& stretch_holds, Holds&& holds) {
    constexpr std::size_t stretch = 4096;
    for (std::size_t begin = 0; begin < size; begin += stretch) {
        const std::size_t end = size - begin < stretch ? size : begin + stretch;
        if (stretch_holds(begin, end)) continue;
        for (std::size_t i = begin; i < end; ++i) {
            if (!holds(i)) return i;
        }
    }
    return size;
}

/// Labels are 0 or 1.
[[nodiscard]] inline std::size_t first_bad_label(Span<const std::uint8_t> labels) {
    return first_failure(
        labels.size(),
        [&](std::size_t begin, std::size_t end) {
            unsigned seen = 0;
            for (std::size_t i = begin; i < end; ++i) seen |= labels[i];
            return seen <= 1;
        },
        [&](std::size_t i) { return labels[i] <= 1; });
}

/// Row ids and slots are below `limit`.
/// @pre limit <= 2^31
[[nodiscard]] inline std::size_t first_not_below(Span<const std::uint32_t> values, std::uint64_t limit) {
    if (limit == 0) return 0;
    const auto last = static_cast<std::uint32_t>(limit - 1);
    return first_failure(
        values.size(),
        [&](std::size_t begin, std::size_t end) {
            // Up to 2^31, `value` is too large exactly if it or last - value has the highest bit.
            std::uint32_t seen = 0;
            for (std::size_t i = begin; i < end; ++i) seen |= (last - values[i]) | values[i];
            return (seen >> 31) == 0;
        },
        [&](std::size_t i) { return values[i] <= last; });
}

/// Offsets never fall: position i is bad if offsets[i] > offsets[i + 1]. The last one has no successor.
[[nodiscard]] inline std::size_t first_fall(Span<const std::uint64_t> offsets) {
    if (offsets.empty()) return 0;
    const std::size_t falls = first_failure(
        offsets.size() - 1,
        [&](std::size_t begin, std::size_t end) {
            bool fell = false;
            for (std::size_t i = begin; i < end; ++i) fell |= offsets[i] > offsets[i + 1];
            return !fell;
        },
        [&](std::size_t i) { return offsets[i] <= offsets[i + 1]; });
    return falls == offsets.size() - 1 ? offsets.size() : falls;
}

/// Hot rows rise strictly: position i is bad if rows[i] >= rows[i + 1]. The last one has no successor.
[[nodiscard]] inline std::size_t first_not_rising(Span<const std::uint32_t> rows) {
    for (std::size_t i = 0; i + 1 < rows.size(); ++i) {
        if (rows[i] >= rows[i + 1]) return i;
    }
    return rows.size();
}

/// What is wrong with the shape of a data set; empty if nothing is.
[[nodiscard]] inline std::string fault_of(const DatasetShape& shape) {
    if (shape.table_rows.empty()) return "0 tables, expected at least 1";
    if (shape.feature_table.empty()) return "0 sparse features, expected at least 1";
    if (shape.dense_features > packed_max_dense) {
        return concat(shape.dense_features, " dense features, expected at most ", packed_max_dense);
    }
    std::uint64_t rows = 0;
    for (std::size_t t = 0; t < shape.table_rows.size(); ++t) {
        if (shape.table_rows[t] == 0) return concat("table ", t, " has 0 rows, expected at least 1");
        if (shape.table_rows[t] > packed_max_rows - rows) {
            return concat("table ", t, " has ", shape.table_rows[t], " rows after ", rows,
                          " of the tables before it, expected at most ", packed_max_rows, " together");
        }
        rows += shape.table_rows[t];
    }
    for (std::size_t f = 0; f < shape.feature_table.size(); ++f) {
        if (shape.feature_table[f] >= shape.table_rows.size()) {
            return concat("feature ", f, " uses table ", shape.feature_table[f], ", expected less than ",
                          shape.table_rows.size());
        }
    }
    return {};
}

/// What is wrong with shares and dim of a provenance; empty if nothing is.
[[nodiscard]] inline std::string fault_of(std::uint32_t dim, double sample, double validation) {
    if (dim < 1 || dim > max_dim) return concat("dim is ", dim, ", expected 1 to ", max_dim);
    if (!(sample >= 0.0 && sample <= 1.0)) return concat("sample is ", sample, ", expected 0 to 1");
    if (!(validation >= 0.0 && validation <= 1.0)) {
        return concat("validation is ", validation, ", expected 0 to 1");
    }
    return {};
}

}  // namespace fae::inline FAE_ABI::detail
