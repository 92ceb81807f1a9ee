// SPDX-License-Identifier: Apache-2.0
//
// hot_prefix: the best rows of a hot set, where less memory is left for them than the set was made for.
//
//   HotSet resident = hot_prefix(par(threads), packed.hot_set(), packed.hot_counts(), 100000);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI {

/// The `size` rows of a hot set with the highest counts; of equal ones the first. Prefixes nest.
/// @shape  counts [hot rows]: the profiled accesses of each slot
/// @exec   seq, par: equal results
/// @cost   a selection in a copy of the counts, and a look at every row of the row space
/// @throws ContractError if counts has another size than the hot set
template <Executor E>
[[nodiscard]] HotSet hot_prefix(const E& exec, const HotSet& hot_set, Span<const std::uint64_t> counts,
                                std::uint64_t size) {
    require(counts.size() == hot_set.size(),
            [&] { return concat("counts has ", counts.size(), " entries, expected ", hot_set.size()); });
    if (size == 0 || hot_set.empty()) return HotSet::none(hot_set.rows());
    std::uint64_t least = 0;
    std::uint64_t ties = hot_set.size();  // rows of the least count that are in
    if (size < hot_set.size()) {
        Buffer<std::uint64_t> order(counts.size());
        std::copy(counts.begin(), counts.end(), order.begin());
        std::uint64_t* const last = order.begin() + size - 1;
        std::nth_element(order.begin(), last, order.end(), std::greater<>());
        least = *last;
        ties = size - static_cast<std::uint64_t>(std::count_if(
                          order.begin(), last, [&](std::uint64_t count) { return count > least; }));
    }
    Slot tie_end = 0;  // ties have slots below it
    for (; tie_end < hot_set.size() && ties != 0; ++tie_end) {
        if (counts[static_cast<std::size_t>(tie_end)] == least) --ties;
    }
    const HotSet::Ref hot = hot_set.ref();
    return HotSet::from_predicate(exec, hot_set.rows(), [&](RowId row) {
        const Slot slot = hot.find(row);
        if (slot == HotSet::cold) return false;
        const std::uint64_t count = counts[static_cast<std::size_t>(slot)];
        return count > least || (count == least && slot < tie_end);
    });
}

}  // namespace fae::inline FAE_ABI
