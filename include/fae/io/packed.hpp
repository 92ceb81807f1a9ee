// SPDX-License-Identifier: Apache-2.0
//
// PackedDataset: a data set ready for training: its training inputs split into hot and cold columns, with the
// hot set that split them, validation and test inputs, and where all of it came from. Made once by pack(), or
// opened from a file (fae_file.hpp); either way it is read-only and owns its memory.
//
//   PackedDataset data = pack(par(threads), train, std::move(validation), std::move(test),
//   std::move(hot_set),
//                             std::move(classification), counts, provenance);
//   data.hot().bags.values()          // slots
//   data.cold().bags.values()         // row ids
//   data.hot_inputs().contains(i)     // the class of training input i in original order; its rank is its
//   place
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/packed_check.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI {

/// Where a packed data set came from: what decided which rows and inputs are hot. Two packed data sets of
/// equal provenance are equal.
struct Provenance {
    std::uint64_t fingerprint = 0;   ///< of the source and its reading options (Dataset::fingerprint)
    std::uint64_t budget_bytes = 0;  ///< granted to the hot rows and their index
    std::uint64_t row_bytes = 0;     ///< of one row with its optimizer state, stride included
    std::uint64_t seed = 0;
    std::uint64_t max_rows = 0;  ///< no table has more rows than this; 0: no bound
    double sample = 1.0;         ///< share of the training inputs that were profiled
    double validation = 0.0;     ///< share of the source's inputs held back
    std::uint32_t dim = 0;       ///< floats in a row
    std::string vocabulary;      ///< how ids were given: "first-seen", "hash"
    std::string source;          ///< free text for reports
    std::string optimizer;       ///< whose state is in row_bytes
    /// Of each table, the smallest count that is hot; 0: the whole table is, UINT64_MAX: none of it is.
    std::vector<std::uint64_t> cutoffs;

    [[nodiscard]] friend bool operator==(const Provenance&, const Provenance&) = default;
};

/// Columns of inputs of one kind, in original order.
/// @shape labels [inputs], 0 or 1; dense [inputs, dense features]; bags inputs x features
struct InputColumns {
    Heat heat = Heat::mixed;  ///< hot: values are slots of the hot set; cold and mixed: row ids
    Span<const std::uint8_t> labels;
    MatrixView<const float> dense;
    Bags<std::uint32_t> bags;

    [[nodiscard]] std::size_t inputs() const { return labels.size(); }
    [[nodiscard]] std::size_t lookups() const { return bags.lookups(); }
};

/// The most look-ups that `inputs` inputs can have, each with as many as the longest of these columns. More
/// than the columns hold is possible: a mixed batch has inputs of two classes.
/// @cost jagged bags: a look at every input
[[nodiscard]] inline std::uint64_t most_lookups(const InputColumns& columns, std::uint64_t inputs) {
    const Bags<std::uint32_t>& bags = columns.bags;
    if (bags.is_fixed()) return inputs * bags.features() * bags.bag_size();
    std::uint64_t most = 0;
    for (std::size_t i = 0; i < columns.inputs(); ++i) {
        most = std::max<std::uint64_t>(
            most, bags.begin((i + 1) * bags.features()) - bags.begin(i * bags.features()));
    }
    return inputs * most;
}

namespace detail {

/// What a PackedDataset is made of. The views point into what `owners` keep alive.
struct PackedParts {
    DatasetShape shape;
    Provenance provenance;
    std::unique_ptr<const HotSet> hot_set;
    Span<const std::uint64_t> hot_counts;
    RankBitmap hot_inputs;
    std::uint64_t hot_lookups = 0;
    std::array<InputColumns, 4> columns;  ///< hot, cold, validation, test
    std::vector<std::shared_ptr<const void>> owners;
};

/// The columns over existing memory; offsets are empty where bags are fixed.
[[nodiscard]] inline InputColumns columns_over(Heat heat, const DatasetShape& shape,
                                               Span<const std::uint8_t> labels, const float* dense,
                                               Span<const std::uint32_t> values,
                                               Span<const std::uint64_t> offsets) {
    InputColumns columns;
    columns.heat = heat;
    columns.labels = labels;
    columns.dense = {dense, labels.size(), shape.dense_features};
    columns.bags = offsets.empty() ? Bags<std::uint32_t>::fixed(values, 1, shape.features())
                                   : Bags<std::uint32_t>::jagged(values, offsets, shape.features());
    return columns;
}

}  // namespace detail

/// A data set split by a hot set. Move-only. A move invalidates no view of its columns and leaves the hot set
/// at its address.
class PackedDataset {
  public:
    explicit PackedDataset(detail::PackedParts parts) : parts_(std::move(parts)) {}

    [[nodiscard]] const DatasetShape& shape() const { return parts_.shape; }
    /// The tables at the dim that the budget was reckoned with; row ids are row ids of this space.
    [[nodiscard]] RowSpace row_space() const { return shape().row_space(provenance().dim); }
    [[nodiscard]] const Provenance& provenance() const { return parts_.provenance; }
    [[nodiscard]] const HotSet& hot_set() const { return *parts_.hot_set; }
    /// Profiled accesses of each slot, so that a smaller budget's prefix can be chosen later.
    [[nodiscard]] Span<const std::uint64_t> hot_counts() const { return parts_.hot_counts; }
    [[nodiscard]] const InputColumns& hot() const { return parts_.columns[0]; }
    [[nodiscard]] const InputColumns& cold() const { return parts_.columns[1]; }
    [[nodiscard]] const InputColumns& validation() const { return parts_.columns[2]; }
    [[nodiscard]] const InputColumns& test() const { return parts_.columns[3]; }
    /// The training inputs in original order: a member is hot. Input i's place among the hot is rank(i),
    /// among the cold i - rank(i).
    [[nodiscard]] const RankBitmap& hot_inputs() const { return parts_.hot_inputs; }

    /// Training inputs, hot and cold.
    [[nodiscard]] std::size_t inputs() const { return hot().inputs() + cold().inputs(); }
    /// Look-ups of all training inputs.
    [[nodiscard]] std::uint64_t lookups() const { return hot().lookups() + cold().lookups(); }
    /// Look-ups of hot rows over all training inputs, cold ones included; exact even where the profile was
    /// sampled.
    [[nodiscard]] std::uint64_t hot_lookups() const { return parts_.hot_lookups; }

  private:
    detail::PackedParts parts_;
};

/// The most look-ups of a batch of `inputs` training inputs; and of any batch, validation and test too.
/// @cost jagged bags: a look at every input
[[nodiscard]] inline std::uint64_t most_training_lookups(const PackedDataset& data, std::uint64_t inputs) {
    return std::max(most_lookups(data.hot(), inputs), most_lookups(data.cold(), inputs));
}
[[nodiscard]] inline std::uint64_t most_lookups(const PackedDataset& data, std::uint64_t inputs) {
    return std::max({most_training_lookups(data, inputs), most_lookups(data.validation(), inputs),
                     most_lookups(data.test(), inputs)});
}

/// Throws ContractError unless the packed data set was made from the source with this fingerprint.
inline void require_same_source(const PackedDataset& packed, std::uint64_t fingerprint) {
    require(packed.provenance().fingerprint == fingerprint, [&] {
        return concat("the packed data set is of the source with fingerprint ", std::hex,
                      packed.provenance().fingerprint, " (", packed.provenance().source, "), expected ",
                      fingerprint);
    });
}

namespace detail {

/// Throws ContractError where `data` is no data set of this shape, in sizes (constant time) or in elements.
template <Executor E>
void require_packable(const E& exec, const char* name, const Dataset& data, const DatasetShape& shape,
                      std::uint64_t rows, bool jagged) {
    if (data.inputs() != 0) {
        require(data.shape.table_rows == shape.table_rows &&
                    data.shape.feature_table == shape.feature_table &&
                    data.shape.dense_features == shape.dense_features,
                [&] { return concat(name, " has other tables or features than the training inputs"); });
    }
    const std::size_t bags = data.inputs() * shape.features();
    require(data.dense.size() == data.inputs() * shape.dense_features, [&] {
        return concat(name, " dense has ", data.dense.size(), " entries, expected ", data.inputs(), " x ",
                      shape.dense_features);
    });
    if (jagged && !(data.inputs() == 0 && data.offsets.empty())) {
        require(data.offsets.size() == bags + 1 && data.offsets.front() == 0 &&
                    data.offsets.back() == data.values.size(),
                [&] {
                    return concat(name, " offsets has ", data.offsets.size(), " entries, expected ", bags + 1,
                                  " from 0 to ", data.values.size(),
                                  " (the training inputs' bags are jagged)");
                });
    } else {
        require(data.offsets.empty() && data.values.size() == bags, [&] {
            return concat(name, " values has ", data.values.size(), " entries and offsets ",
                          data.offsets.size(), ", expected ", bags, " and 0 (one value a bag)");
        });
    }
    constexpr std::size_t grain = std::size_t{1} << 18;
    for_chunks(exec, data.inputs(), grain, [&](std::size_t begin, std::size_t end) {
        const Span<const std::uint8_t> labels =
            Span<const std::uint8_t>(data.labels).subspan(begin, end - begin);
        const std::size_t bad = first_bad_label(labels);
        require(bad == labels.size(), [&] {
            return concat(name, " label ", begin + bad, " is ", unsigned{labels[bad]}, ", expected 0 or 1");
        });
    });
    for_chunks(exec, data.values.size(), grain, [&](std::size_t begin, std::size_t end) {
        const Span<const std::uint32_t> values =
            Span<const std::uint32_t>(data.values).subspan(begin, end - begin);
        const std::size_t bad = first_not_below(values, rows);
        require(bad == values.size(), [&] {
            return concat(name, " value ", begin + bad, " is row ", values[bad], ", expected less than ",
                          rows);
        });
    });
    for_chunks(exec, data.offsets.size(), grain, [&](std::size_t begin, std::size_t end) {
        const std::size_t stop = end < data.offsets.size() ? end + 1 : end;
        const Span<const std::uint64_t> offsets =
            Span<const std::uint64_t>(data.offsets).subspan(begin, stop - begin);
        const std::size_t bad = first_fall(offsets);
        require(bad == offsets.size(), [&] {
            return concat(name, " offset ", begin + bad, " is ", offsets[bad], ", above its successor ",
                          offsets[bad + 1]);
        });
    });
}

/// Offsets that a data set without inputs may lack.
inline constexpr std::uint64_t no_bags[1] = {0};

[[nodiscard]] inline Span<const std::uint64_t> offsets_or_none(Span<const std::uint64_t> offsets,
                                                               bool jagged) {
    if (!jagged) return {};
    return offsets.empty() ? Span<const std::uint64_t>(no_bags) : offsets;
}

/// The columns of a data set as it is; it moves into the owners.
[[nodiscard]] inline InputColumns adopt(PackedParts& parts, Dataset data, bool jagged) {
    const auto kept = std::make_shared<const Dataset>(std::move(data));
    parts.owners.push_back(kept);
    return columns_over(Heat::mixed, parts.shape, kept->labels, kept->dense.data(), kept->values,
                        offsets_or_none(kept->offsets, jagged));
}

}  // namespace detail

/// Splits the training inputs into hot and cold columns and keeps everything that training needs.
/// @shape  validation and test are of the shape of `train`, or without inputs; hot_counts [hot rows];
///         provenance.cutoffs [tables]
/// @pre    `classification` is classify() of `train` by `hot_set`
/// @exec   seq, par: returns when done; equal for every executor
/// @cost   reads every column once and writes labels and dense features of the training inputs; the columns
///         of validation and test and the classified indices are moved, not copied
/// @throws ContractError where sizes do not fit each other, a label is not 0 or 1, or a row id is outside
///         the row space
template <Executor E>
[[nodiscard]] PackedDataset pack(const E& exec, const Dataset& train, Dataset validation, Dataset test,
                                 HotSet hot_set, Classification classification,
                                 std::vector<std::uint64_t> hot_counts, Provenance provenance) {
    detail::PackedParts parts;
    parts.shape = train.shape;
    parts.shape.table_names.resize(parts.shape.table_rows.size());
    parts.provenance = std::move(provenance);
    const auto require_none = [](const std::string& fault) { require(fault.empty(), [&] { return fault; }); };
    require_none(detail::fault_of(parts.shape));
    require_none(
        detail::fault_of(parts.provenance.dim, parts.provenance.sample, parts.provenance.validation));
    require(parts.provenance.cutoffs.size() == parts.shape.table_rows.size(), [&] {
        return concat("cutoffs has ", parts.provenance.cutoffs.size(), " entries, expected one for each of ",
                      parts.shape.table_rows.size(), " tables");
    });
    std::uint64_t rows = 0;
    for (const std::uint64_t table : parts.shape.table_rows) rows += table;
    require(hot_set.rows() == rows,
            [&] { return concat("the hot set covers ", hot_set.rows(), " rows, expected ", rows); });
    require(hot_counts.size() == hot_set.size(), [&] {
        return concat("hot_counts has ", hot_counts.size(), " entries, expected ", hot_set.size());
    });
    const bool jagged = !train.offsets.empty() || !validation.offsets.empty() || !test.offsets.empty();
    detail::require_packable(exec, "train", train, train.shape, rows, jagged);
    detail::require_packable(exec, "validation", validation, train.shape, rows, jagged);
    detail::require_packable(exec, "test", test, train.shape, rows, jagged);
    parts.columns[2] = detail::adopt(parts, std::move(validation), jagged);
    parts.columns[3] = detail::adopt(parts, std::move(test), jagged);

    parts.hot_inputs = std::move(classification.hot_inputs);
    const RankBitmap::Ref is_hot = parts.hot_inputs.ref();
    require(is_hot.size() == train.inputs(), [&] {
        return concat("the classification is of ", is_hot.size(), " inputs, expected ", train.inputs());
    });
    const auto indices = std::make_shared<const Classification>(std::move(classification));
    require(indices->hot_slots.size() + indices->cold_rows.size() == train.values.size(), [&] {
        return concat("the classification holds ", indices->hot_slots.size(), " hot and ",
                      indices->cold_rows.size(), " cold look-ups, expected ", train.values.size(),
                      " together");
    });
    const std::size_t hot_inputs = static_cast<std::size_t>(is_hot.ones());
    const std::size_t width = parts.shape.dense_features;
    struct Gathered {
        Buffer<std::uint8_t, PageSpace> labels;
        Buffer<float, PageSpace> dense;
    };
    const auto gathered = std::make_shared<std::array<Gathered, 2>>();
    for (std::size_t cold = 0; cold < 2; ++cold) {
        const std::size_t inputs = cold == 0 ? hot_inputs : train.inputs() - hot_inputs;
        (*gathered)[cold] = {Buffer<std::uint8_t, PageSpace>(inputs),
                             Buffer<float, PageSpace>(inputs * width)};
    }
    for_chunks(exec, train.inputs(), 16384, [&](std::size_t begin, std::size_t end) {
        std::array<std::size_t, 2> place;
        place[0] = static_cast<std::size_t>(is_hot.rank(begin));
        place[1] = begin - place[0];
        for (std::size_t i = begin; i < end; ++i) {
            const std::size_t cold = is_hot.contains(i) ? 0 : 1;
            const std::size_t at = place[cold]++;
            (*gathered)[cold].labels[at] = train.labels[i];
            std::copy_n(train.dense.data() + i * width, width, (*gathered)[cold].dense.data() + at * width);
        }
    });
    for (std::size_t cold = 0; cold < 2; ++cold) {
        const Gathered& own = (*gathered)[cold];
        parts.columns[cold] = detail::columns_over(
            cold == 0 ? Heat::hot : Heat::cold, parts.shape, own.labels.span(), own.dense.data(),
            cold == 0 ? indices->hot_slots.span() : indices->cold_rows.span(),
            detail::offsets_or_none(cold == 0 ? indices->hot_offsets.span() : indices->cold_offsets.span(),
                                    jagged));
        require(parts.columns[cold].bags.samples() == own.labels.size(), [&] {
            return concat("the classification holds ", cold == 0 ? "hot" : "cold", " look-ups of ",
                          parts.columns[cold].bags.samples(), " inputs, expected ", own.labels.size());
        });
    }

    const auto counts = std::make_shared<const std::vector<std::uint64_t>>(std::move(hot_counts));
    parts.hot_counts = *counts;
    parts.hot_set = std::make_unique<const HotSet>(std::move(hot_set));
    const auto hot_rows = parts.hot_set->ref();
    std::atomic<std::uint64_t> hot_lookups{parts.columns[0].lookups()};
    const Span<const std::uint32_t> cold_rows = parts.columns[1].bags.values();
    for_chunks(exec, cold_rows.size(), std::size_t{1} << 18, [&](std::size_t begin, std::size_t end) {
        std::uint64_t found = 0;
        for (std::size_t i = begin; i < end; ++i) found += hot_rows.contains(cold_rows[i]) ? 1u : 0u;
        hot_lookups.fetch_add(found, std::memory_order_relaxed);
    });
    parts.hot_lookups = hot_lookups.load();
    parts.owners.insert(parts.owners.end(), {gathered, indices, counts});
    return PackedDataset(std::move(parts));
}

}  // namespace fae::inline FAE_ABI
