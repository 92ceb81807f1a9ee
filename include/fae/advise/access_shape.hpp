// SPDX-License-Identifier: Apache-2.0
//
// AccessShape: how look-ups are spread over rows, in the order in which rows become hot: what an advisor
// keeps of a profile. Some thousands of numbers, whatever the size of the tables.
//
//   AccessShape shape = access_shape(par(threads), profile, row_bytes);
//   shape.touched(0, hot_rows, 1024 * 26, 1.0)        // different hot rows among the look-ups of a batch
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/profile/access_profile.hpp"

namespace fae::inline FAE_ABI {

/// Rows that are looked up about equally often.
struct AccessGroup {
    double rows = 0;
    double lookups = 0;  ///< of all of them together, in the inputs profiled
};

/// Rows by how often they are looked up, the hottest first. Rows never seen are left out, but for those of
/// small tables, which are hot with the others of their table.
struct AccessShape {
    std::vector<AccessGroup> groups;
    double lookups = 0;  ///< of all groups

    /// Calls f(rows, lookups) for the groups within ranks [first, end) of the order; a group that a bound
    /// cuts counts in proportion.
    template <class F>
    void for_ranks(double first, double end, F&& f) const {
        double rank = 0;
        for (const AccessGroup& group : groups) {
            const double from = std::max(rank, first);
            const double to = std::min(rank + group.rows, end);
            rank += group.rows;
            if (to <= from) continue;
            f(to - from, group.lookups * (to - from) / group.rows);
        }
    }

    /// The share of look-ups that rows of ranks [first, end) have.
    [[nodiscard]] double share(double first, double end) const {
        double found = 0;
        for_ranks(first, end, [&](double, double of_group) { found += of_group; });
        return lookups > 0 ? found / lookups : 0.0;
    }

    /// The different rows of ranks [first, end) expected among `draws` look-ups, each of which falls on those
    /// ranks with probability `hits` and, given that, on a row as often as the profile says.
    [[nodiscard]] double touched(double first, double end, double draws, double hits) const {
        double rows = 0;
        for_touched(first, end, draws, hits,
                    [&](double of_group, double touched) { rows += of_group * touched; });
        return rows;
    }

    /// The rows among them expected among the next `draws` look-ups of the same kind too.
    [[nodiscard]] double touched_twice(double first, double end, double draws, double hits) const {
        double rows = 0;
        for_touched(first, end, draws, hits,
                    [&](double of_group, double touched) { rows += of_group * touched * touched; });
        return rows;
    }

  private:
    // Calls f(rows, probability that one of them is among the draws) for the groups of touched().
    template <class F>
    void for_touched(double first, double end, double draws, double hits, F&& f) const {
        const double within = share(first, end);
        if (within <= 0) return;
        for_ranks(first, end, [&](double of_group, double its_lookups) {
            const double chance = its_lookups / of_group / (lookups * within) * hits;
            f(of_group, -std::expm1(-draws * chance));
        });
    }
};

/// The shape of a profile. Neighbours in the order are merged until groups differ by a percent of their
/// rank.
/// @exec   seq, par: equal results
/// @cost   one linear pass over the counts and a sort of their distinct values
/// @throws ContractError if row_bytes is 0
template <Executor E, class Count>
[[nodiscard]] AccessShape access_shape(const E& exec, const AccessProfile<Count>& profile,
                                       std::uint64_t row_bytes, const SmallTables& small_tables = {}) {
    const ProfiledSpace<Count> space{&profile, row_bytes};
    const detail::Ranking ranking(detail::ranked_spaces(exec, Span<const ProfiledSpace<Count>>(&space, 1)),
                                  small_tables);
    AccessShape shape;
    double rank = 0;  // before the last group of the shape
    for (const detail::RankedGroup& group : ranking.groups()) {
        const auto rows = static_cast<double>(group.rows);
        const auto lookups = static_cast<double>(group.lookups);
        if (!shape.groups.empty()) {
            AccessGroup& last = shape.groups.back();
            if (last.rows + rows <= 0.01 * rank) {
                last.rows += rows;
                last.lookups += lookups;
                shape.lookups += lookups;
                continue;
            }
            rank += last.rows;
        }
        shape.groups.push_back({rows, lookups});
        shape.lookups += lookups;
    }
    return shape;
}

}  // namespace fae::inline FAE_ABI
