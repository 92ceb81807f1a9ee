// SPDX-License-Identifier: Apache-2.0
//
// ProbeInputs: synthetic inputs for the probe of a machine, packed. A head of each table, long or short in
// turn, has most of the look-ups by Zipf's law and is hot; the others are spread evenly over the rest of the
// table. Their share decides how many rows of a batch have to be moved.
//
//   ProbeInputs inputs(par(threads), options);              // batch, share of cold look-ups, rows of a table
//   inputs.data(), inputs.rows(), inputs.window(par(threads), ...)
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/types.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/packed.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/schedule/lookahead_fit.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_split.hpp"

namespace fae::inline FAE_ABI {

/// What the inputs are like.
struct ProbeInputsOptions {
    std::size_t batch = 1024;
    double cold_share = 0.1;  ///< of the look-ups: to rows that are not hot
    std::size_t features = 26;
    std::size_t dense_features = 13;
    std::uint32_t dim = 16;
    std::uint64_t row_bytes = 64;
    std::uint64_t table_rows = 300'000;  ///< of every table; at least probe_head + 1
};

inline constexpr std::uint64_t probe_head = 4096;      ///< hot rows of the first table, the third, ...
inline constexpr std::uint64_t probe_short_head = 16;  ///< of the others

/// Rows of a batch: the different ones, and those of them that the batch before has too.
struct BatchRows {
    double different = 0;
    double shared = 0;
};

/// 4 to 32 batches of inputs, and what is expected of them. Of 32 batches whose size is a power of four a
/// schedule permutes within twice as many numbers, as it does of many a data set: half of its walks are one
/// step.
class ProbeInputs {
  public:
    /// @exec   seq, par: equal results
    /// @cost   memory: twice the inputs
    /// @throws ContractError if batch is 0, table_rows at most probe_head, or there are 2^31 rows or more
    template <Executor E>
    ProbeInputs(const E& exec, const ProbeInputsOptions& options) : options_(options) {
        require(options.table_rows > probe_head, [&] {
            return concat("tables have ", options.table_rows, " rows, expected more than ", probe_head);
        });
        require(options.batch >= 1, [] { return std::string("a batch of 0 inputs, expected at least 1"); });
        const std::uint64_t rows = options.table_rows * options.features;
        require(rows <= max_rows<std::uint32_t>, [&] {
            return concat("there are ", rows, " rows, expected at most ", max_rows<std::uint32_t>);
        });
        constexpr std::size_t most_inputs = std::size_t{1} << 19;
        const std::size_t inputs =
            options.batch * std::clamp<std::size_t>(most_inputs / options.batch, 4, 32);
        const std::size_t features = options.features;
        Dataset drawn;
        drawn.shape.table_rows.assign(features, options.table_rows);
        for (std::size_t f = 0; f < features; ++f)
            drawn.shape.feature_table.push_back(static_cast<std::uint32_t>(f));
        drawn.shape.dense_features = options.dense_features;
        drawn.labels.resize(inputs);
        drawn.dense.assign(inputs * options.dense_features, 0.5F);
        drawn.values.resize(inputs * features);
        for_chunks(exec, inputs, 4096, [&](std::size_t begin, std::size_t end) {
            Philox random(11, begin);
            for (std::size_t i = begin; i < end; ++i) {
                drawn.labels[i] = random.below(4) == 0 ? 1 : 0;
                for (std::size_t f = 0; f < features; ++f) {
                    const std::uint64_t head = head_of(f);
                    const std::uint64_t row = random.uniform() < options.cold_share
                                                  ? head + random.below(options.table_rows - head)
                                                  : row_of_head(random.uniform(), head);
                    drawn.values[i * features + f] = static_cast<std::uint32_t>(f * options.table_rows + row);
                }
            }
        });
        const RowSpace space = drawn.shape.row_space(options.dim);
        HotSet hot = HotSet::from_predicate(exec, space.rows(), [&](std::uint64_t row) {
            return row % options.table_rows < head_of(static_cast<std::size_t>(row / options.table_rows));
        });
        AccessProfiler<> profiler(space);
        profiler.add(exec, drawn.bags());
        std::vector<std::uint64_t> counts = slot_counts(exec, profiler.finish(), hot);
        Classification classes = classify(exec, hot, space, drawn.bags());
        Provenance provenance;
        provenance.budget_bytes = hot.size() * options.row_bytes + hot.index_bytes();
        provenance.row_bytes = options.row_bytes;
        provenance.seed = 1;
        provenance.dim = options.dim;
        provenance.cutoffs.assign(features, 1);
        data_.emplace(pack(exec, drawn, Dataset{drawn.shape, {}, {}, {}, {}, 0}, {}, std::move(hot),
                           std::move(classes), std::move(counts), std::move(provenance)));
    }

    [[nodiscard]] const PackedDataset& data() const { return *data_; }

    /// Of a batch in the plain shuffled order, as expected.
    [[nodiscard]] BatchRows rows() const {
        const auto batch = static_cast<double>(options_.batch);
        BatchRows found;
        const auto add = [&](double count, double draws) {
            const double touched = -std::expm1(-draws);
            found.different += count * touched;
            found.shared += count * touched * touched;
        };
        for (std::size_t f = 0; f < options_.features; ++f) {
            const std::uint64_t head = head_of(f);
            const double all = std::log(static_cast<double>(head + 1));
            for (std::uint64_t r = 0; r < head; ++r) {
                const double share = std::log1p(1 / static_cast<double>(r + 1)) / all;
                add(1, (1 - options_.cold_share) * batch * share);
            }
            const auto others = static_cast<double>(options_.table_rows - head);
            add(others, options_.cold_share * batch / others);
        }
        return found;
    }

    /// A window beside the hot rows as a budget that is no bound gives it.
    template <Executor E>
    [[nodiscard]] LookaheadOptions window(const E& exec) const {
        LookaheadDemand demand;
        demand.row_bytes = options_.row_bytes;
        demand.rows = data_->hot_set().rows();
        demand.budget_bytes = 2 * demand.rows * demand.row_bytes;
        demand.hot_rows = data_->hot_set().size();
        demand.batch = options_.batch;
        demand.cold_rows =
            cold_rows_of_batch(exec, *data_, data_->hot_set(), options_.batch, Order::shuffled);
        const LookaheadSplit split = split_budget(demand);
        LookaheadOptions made;
        made.window = split.window;
        made.lookahead = split.lookahead;
        made.most_lookups = most_training_lookups(*data_, options_.batch);
        return made;
    }

  private:
    [[nodiscard]] static std::uint64_t head_of(std::size_t feature) {
        return feature % 2 == 0 ? probe_head : probe_short_head;
    }
    /// Row r has a share of log((r + 2) / (r + 1)) / log(head + 1).
    [[nodiscard]] static std::uint64_t row_of_head(double u, std::uint64_t head) {
        const double place = std::exp(u * std::log(static_cast<double>(head + 1)));
        return std::min(static_cast<std::uint64_t>(place) - 1, head - 1);
    }

    ProbeInputsOptions options_;
    std::optional<PackedDataset> data_;
};

}  // namespace fae::inline FAE_ABI
