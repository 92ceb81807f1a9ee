// SPDX-License-Identifier: Apache-2.0
//
// split_budget: how much of the fast tier's budget becomes a look-ahead window, how much stays with hot rows,
// and how far to plan ahead.
//
//   LookaheadSplit split = split_budget({.budget_bytes = 256u << 20, .row_bytes = 64, .rows = space.rows(),
//                                        .hot_rows = hot_set.size(), .batch = 4096, .cold_rows = 8000});
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// What a split is made for, and what of it is given.
struct LookaheadDemand {
    std::uint64_t budget_bytes = 0;
    std::uint64_t row_bytes = 0;                  ///< of one row in the fast tier, state and stride included
    std::uint64_t rows = 0;                       ///< of the row space
    std::uint64_t hot_rows = 0;                   ///< rows that are worth a slot for good
    std::uint64_t batch = 0;                      ///< inputs of a batch
    std::uint64_t cold_rows = 0;                  ///< different rows of a batch that are not hot
    std::optional<std::uint64_t> window_bytes{};  ///< given; none: automatic
    std::optional<std::uint64_t> lookahead{};     ///< given; none: automatic
};

/// A split of the budget.
struct LookaheadSplit {
    std::uint64_t resident_rows = 0;  ///< hot rows that have a slot for good
    std::uint64_t window = 0;         ///< slots of the window
    std::uint64_t lookahead = 1;      ///< plans that are under way at most
};

/// Splits a budget.
///
/// Plans under way are to cover about 32,768 inputs, 4 to 16 batches: enough for the host to gather rows
/// while the steps before run. A window holds the cold rows of these batches and of the one being planned,
/// with a quarter more because batches differ, and takes at most half of the budget; where that is not
/// enough, fewer batches are planned ahead, at least one; without a window, as many as ever. Hot rows, the
/// most looked up first, get what the window leaves. Where all rows are hot there is no window. A given
/// window or look-ahead is taken as it is, up to the budget and the number of rows.
/// @throws ContractError if row_bytes or batch is 0, or a given look-ahead is not 1 to 2^20
[[nodiscard]] inline LookaheadSplit split_budget(const LookaheadDemand& demand) {
    constexpr std::uint64_t inputs_ahead = 32768;
    require(demand.row_bytes >= 1 && demand.batch >= 1, [&] {
        return concat("row_bytes is ", demand.row_bytes, " and batch ", demand.batch,
                      ", expected at least 1");
    });
    const std::uint64_t most_ahead = std::uint64_t{1} << 20;
    if (demand.lookahead) {
        require(*demand.lookahead >= 1 && *demand.lookahead <= most_ahead,
                [&] { return concat("lookahead is ", *demand.lookahead, ", expected 1 to ", most_ahead); });
    }
    constexpr std::uint64_t most_slots = (std::uint64_t{1} << 31) - 1;
    const std::uint64_t affordable =
        std::min({demand.budget_bytes / demand.row_bytes, demand.rows, most_slots});
    const std::uint64_t of_batch = demand.cold_rows + demand.cold_rows / 4 + 1;
    LookaheadSplit split;
    split.lookahead =
        demand.lookahead.value_or(std::clamp<std::uint64_t>(ceil_div(inputs_ahead, demand.batch), 4, 16));
    if (demand.window_bytes) {
        split.window = std::min(*demand.window_bytes / demand.row_bytes, affordable);
    } else if (demand.hot_rows < demand.rows) {
        split.window = std::min((split.lookahead + 1) * of_batch, affordable / 2);
    }
    if (!demand.lookahead && split.window != 0 && split.window < (split.lookahead + 1) * of_batch) {
        split.lookahead = std::max<std::uint64_t>(split.window / of_batch, 2) - 1;
    }
    const std::uint64_t left = demand.budget_bytes - split.window * demand.row_bytes;
    const auto resident_for = [&](std::uint64_t bytes) {
        return std::min({demand.hot_rows, bytes / demand.row_bytes, demand.rows});
    };
    split.resident_rows = resident_for(left);
    if (const std::uint64_t index = HotSet::index_bytes_for(demand.rows, split.resident_rows); index != 0) {
        split.resident_rows = index < left ? resident_for(left - index) : 0;
    }
    split.window = std::min(split.window, demand.rows - split.resident_rows);
    return split;
}

}  // namespace fae::inline FAE_ABI
