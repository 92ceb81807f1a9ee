// SPDX-License-Identifier: Apache-2.0
//
// fit_lookahead: a look-ahead placement's hot set and window for a packed data set, a batch size and a
// budget.
//
//   LookaheadFit fit = fit_lookahead(par(threads), packed, {.batch = 4096});
//   LookaheadPlacement<> placement(fit.resident(packed), fit.options);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fae/calibrate/hot_prefix.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/io/packed.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_split.hpp"

namespace fae::inline FAE_ABI {

/// What a fit is asked for.
struct LookaheadFitOptions {
    std::uint64_t batch = 1024;
    Order order = Order::shuffled;
    std::optional<std::uint64_t> budget_bytes{};  ///< none: the data set's; at most that, as its hot rows are
    std::optional<std::uint64_t> window_bytes{};  ///< none: automatic
    std::optional<std::uint64_t> lookahead{};     ///< none: automatic
};

/// The parts of a look-ahead placement, and what they take.
struct LookaheadFit {
    HotSet part;  ///< the resident rows, where they are not the whole hot set
    bool is_part = false;
    LookaheadOptions options;
    std::uint64_t cold_rows = 0;       ///< different rows of a batch beside the resident ones, as sampled
    std::uint64_t resident_bytes = 0;  ///< of resident rows and their index
    std::uint64_t window_bytes = 0;

    /// The rows that have a slot for good.
    [[nodiscard]] const HotSet& resident(const PackedDataset& data) const {
        return is_part ? part : data.hot_set();
    }
};

/// The different rows of a batch that are not in `resident`, the most of four batches drawn from the training
/// inputs; order fae: from the cold ones.
/// @exec seq, par: equal results
template <Executor E>
[[nodiscard]] std::uint64_t cold_rows_of_batch(const E& exec, const PackedDataset& data,
                                               const HotSet& resident, std::uint64_t batch, Order order) {
    constexpr std::uint64_t samples = 4;
    const bool cold = order == Order::fae || data.hot().inputs() == 0;
    const std::uint64_t inputs = cold ? data.cold().inputs() : data.inputs();
    const Permutation draw(inputs, data.provenance().seed, ~std::uint64_t{0});
    BatchLoader loader(data);
    std::vector<std::uint64_t> chosen;
    std::vector<RowId> rows;
    std::uint64_t most = 0;
    for (std::uint64_t first = 0; first < std::min(inputs, samples * batch); first += batch) {
        chosen.clear();
        for (std::uint64_t i = first; i < std::min(first + batch, inputs); ++i) chosen.push_back(draw(i));
        BatchRef ref;
        ref.heat = cold ? Heat::cold : Heat::mixed;
        ref.inputs = chosen;
        rows.clear();
        for (const std::uint32_t row : loader.load(exec, ref).lookups.bags.values()) {
            if (!resident.contains(row)) rows.push_back(row);
        }
        std::sort(rows.begin(), rows.end());
        most =
            std::max(most, static_cast<std::uint64_t>(std::unique(rows.begin(), rows.end()) - rows.begin()));
    }
    return most;
}

/// Splits a budget, the data set's where none is given, between hot rows and a window
/// (table/lookahead_split.hpp). What batches need beside the hot rows is sampled: first beside all of them,
/// then beside those that the window leaves.
/// @exec   seq, par: equal results
/// @throws ContractError as split_budget does
template <Executor E>
[[nodiscard]] LookaheadFit fit_lookahead(const E& exec, const PackedDataset& data,
                                         const LookaheadFitOptions& asked) {
    LookaheadDemand demand;
    demand.budget_bytes = asked.budget_bytes.value_or(data.provenance().budget_bytes);
    demand.row_bytes = data.provenance().row_bytes;
    demand.rows = data.hot_set().rows();
    demand.hot_rows = data.hot_set().size();
    demand.batch = asked.batch;
    demand.window_bytes = asked.window_bytes;
    demand.lookahead = asked.lookahead;
    LookaheadFit fit;
    LookaheadSplit split;
    for (int round = 0; round < 2; ++round) {
        demand.cold_rows = cold_rows_of_batch(exec, data, fit.resident(data), asked.batch, asked.order);
        split = split_budget(demand);
        fit.cold_rows = demand.cold_rows;
        fit.is_part = split.resident_rows < data.hot_set().size();
        if (fit.is_part) {
            fit.part = hot_prefix(exec, data.hot_set(), data.hot_counts(), split.resident_rows);
        }
    }
    fit.options.window = split.window;
    fit.options.lookahead = split.lookahead;
    fit.options.most_lookups = most_training_lookups(data, asked.batch);
    fit.resident_bytes =
        split.resident_rows * demand.row_bytes + HotSet::index_bytes_for(demand.rows, split.resident_rows);
    fit.window_bytes = split.window * demand.row_bytes;
    return fit;
}

}  // namespace fae::inline FAE_ABI
