// SPDX-License-Identifier: Apache-2.0
//
// Dataset: training inputs in memory, in file order: labels, dense features, and the row ids of the sparse
// ones. Readers and the synthetic generator fill it; the profiler counts it; the classifier splits it.
//
//   Dataset data = read_criteo(par(threads), "train.txt", options);
//   profiler.add(par(threads), data.bags());
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/table_spec.hpp"

namespace fae::inline FAE_ABI {

/// What the inputs of a data set look like: which tables there are and which feature looks up which.
struct DatasetShape {
    std::vector<std::uint64_t> table_rows;     ///< rows of each table
    std::vector<std::string> table_names;      ///< one per table
    std::vector<std::uint32_t> feature_table;  ///< table of each sparse feature
    std::size_t dense_features = 0;

    [[nodiscard]] std::size_t features() const { return feature_table.size(); }

    /// The row space of these tables at one common dim; row ids of the data set are row ids of this space.
    [[nodiscard]] RowSpace row_space(std::uint32_t dim) const {
        std::vector<TableSpec> tables;
        for (std::size_t t = 0; t < table_rows.size(); ++t) {
            tables.push_back({table_rows[t], dim, t < table_names.size() ? table_names[t] : std::string()});
        }
        return RowSpace(std::move(tables), feature_table);
    }
};

/// Inputs in memory. Row ids are 32-bit: makers of data sets refuse a row space of more than 2^31 rows.
/// @shape labels [inputs], 0 or 1; dense [inputs, dense_features] row-major; values [lookups] row ids;
///        offsets [inputs * features + 1], or empty where every bag has exactly one value
struct Dataset {
    DatasetShape shape;
    std::vector<std::uint8_t> labels;
    std::vector<float> dense;
    std::vector<std::uint32_t> values;
    std::vector<std::uint64_t> offsets;
    std::uint64_t fingerprint =
        0;  ///< names source and reading options: equal for equal inputs, whatever the threads

    [[nodiscard]] std::size_t inputs() const { return labels.size(); }

    /// The bags of all inputs.
    [[nodiscard]] Bags<std::uint32_t> bags() const {
        return offsets.empty() ? Bags<std::uint32_t>::fixed(values, 1, shape.features())
                               : Bags<std::uint32_t>::jagged(values, offsets, shape.features());
    }
    [[nodiscard]] MatrixView<const float> dense_view() const {
        return {dense.data(), inputs(), shape.dense_features};
    }
};

}  // namespace fae::inline FAE_ABI
