// SPDX-License-Identifier: Apache-2.0
//
// What a budget buys: hot rows, their bytes and the look-ups they serve for each of several budgets, from one
// pass over the profile.
//
//   for (const BudgetPoint& p : budget_curve(exec, profile, options, {16u << 20, 32u << 20})) ...
#pragma once

#include <cstdint>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/profile/access_profile.hpp"

namespace fae::inline FAE_ABI {

/// What exact selection gives for one budget.
struct BudgetPoint {
    std::uint64_t budget_bytes = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t hot_bytes = 0;    ///< rows and index
    std::uint64_t hot_lookups = 0;  ///< of the look-ups profiled
};

/// The points of several budgets, in their order: what calibrate's reports would say, without the sets.
/// @exec   seq, par: equal results
/// @cost   one linear pass over the counts; O(distinct counts) a budget, and a part of one table
/// @throws ContractError as calibrate
template <Executor E, class Count>
[[nodiscard]] std::vector<BudgetPoint> budget_curve(const E& exec, Span<const ProfiledSpace<Count>> spaces,
                                                    const std::vector<std::uint64_t>& budgets,
                                                    const SmallTables& small_tables = {}) {
    const detail::Ranking ranking(detail::ranked_spaces(exec, spaces), small_tables);
    std::vector<BudgetPoint> points;
    for (const std::uint64_t budget : budgets) {
        const detail::Cut cut = ranking.cut(budget);
        BudgetPoint point{budget, cut.hot_rows, cut.row_bytes + cut.index_bytes, cut.lookups};
        if (cut.partial_rows != 0) {
            const detail::RankedGroup& group = ranking.groups()[cut.groups];
            point.hot_lookups +=
                group.rest
                    ? detail::first_of_group(*spaces[group.space].profile, group, cut.partial_rows).second
                    : cut.partial_rows * group.worth;
        }
        points.push_back(point);
    }
    return points;
}

/// The same for one row space.
template <Executor E, class Count>
[[nodiscard]] std::vector<BudgetPoint> budget_curve(const E& exec, const AccessProfile<Count>& profile,
                                                    std::uint64_t row_bytes,
                                                    const std::vector<std::uint64_t>& budgets,
                                                    const SmallTables& small_tables = {}) {
    const ProfiledSpace<Count> space{&profile, row_bytes};
    return budget_curve(exec, Span<const ProfiledSpace<Count>>(&space, 1), budgets, small_tables);
}

}  // namespace fae::inline FAE_ABI
