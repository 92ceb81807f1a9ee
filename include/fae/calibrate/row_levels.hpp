// SPDX-License-Identifier: Apache-2.0
//
// RowLevels: for a whole sweep of budgets at once, the first budget at which each row is hot: one byte a row.
// Exact selection nests, so this one byte answers membership at every budget of the sweep.
//
//   RowLevels levels = row_levels(par(threads), profile, row_bytes, {16u << 20, 32u << 20, 64u << 20});
//   levels.of(row) <= 1                       // hot at 32 MiB
//   levels.points()[1].hot_rows               // what 32 MiB buy
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/calibrate/budget_curve.hpp"
#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"
#include "fae/profile/access_profile.hpp"

namespace fae::inline FAE_ABI {

/// The first budget of a sweep that makes each row of one row space hot. Move-only.
class RowLevels {
  public:
    /// The most budgets of one sweep.
    static constexpr std::size_t most_budgets = 255;

    RowLevels() = default;
    RowLevels(Buffer<std::uint8_t, PageSpace> levels, std::vector<BudgetPoint> points)
        : levels_(std::move(levels)), points_(std::move(points)) {}

    /// The number of the first budget at which the row is hot; budgets() where it never is.
    /// @pre row < rows()
    [[nodiscard]] std::size_t of(std::uint64_t row) const { return levels_[static_cast<std::size_t>(row)]; }
    [[nodiscard]] std::uint64_t rows() const { return levels_.size(); }
    [[nodiscard]] std::size_t budgets() const { return points_.size(); }
    /// What each budget buys, as budget_curve says it.
    [[nodiscard]] const std::vector<BudgetPoint>& points() const { return points_; }
    [[nodiscard]] Span<const std::uint8_t> levels() const { return levels_.span(); }

  private:
    Buffer<std::uint8_t, PageSpace> levels_;
    std::vector<BudgetPoint> points_;
};

namespace detail {

/// Consecutive rows of one table with their cut-offs at all budgets, none larger than the one before.
struct LevelRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::vector<std::uint64_t> least;
};

/// The ranges of several budgets, laid over each other.
[[nodiscard]] inline std::vector<LevelRange> level_ranges(const std::vector<std::vector<CutoffRange>>& cuts) {
    std::vector<std::uint64_t> ends;
    for (const std::vector<CutoffRange>& ranges : cuts) {
        for (const CutoffRange& range : ranges) ends.push_back(range.end);
    }
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
    std::vector<LevelRange> made;
    std::vector<std::size_t> at(cuts.size(), 0);
    std::uint64_t begin = 0;
    for (const std::uint64_t end : ends) {
        if (end == begin) continue;
        LevelRange range{begin, end, {}};
        for (std::size_t b = 0; b < cuts.size(); ++b) {
            while (cuts[b][at[b]].end <= begin) ++at[b];
            range.least.push_back(cuts[b][at[b]].least);
        }
        made.push_back(std::move(range));
        begin = end;
    }
    return made;
}

}  // namespace detail

/// The level of every row for a sweep of budgets: a row is hot at budget b of the sweep, as calibrate would
/// say, if and only if its level is at most b.
/// @param budgets  ascending, at most RowLevels::most_budgets
/// @exec   seq, par: equal results
/// @cost   budget_curve, and one pass that reads each count and writes a byte a row
/// @throws ContractError if there are too many budgets or they do not ascend; as calibrate
template <Executor E, class Count>
[[nodiscard]] RowLevels row_levels(const E& exec, const AccessProfile<Count>& profile,
                                   std::uint64_t row_bytes, const std::vector<std::uint64_t>& budgets,
                                   const SmallTables& small_tables = {}) {
    require(budgets.size() <= RowLevels::most_budgets,
            [&] { return concat(budgets.size(), " budgets, expected at most ", RowLevels::most_budgets); });
    for (std::size_t b = 1; b < budgets.size(); ++b) {
        require(budgets[b - 1] <= budgets[b], [&] {
            return concat("budget ", b, " is ", budgets[b], " after ", budgets[b - 1],
                          ", expected ascending budgets");
        });
    }
    const ProfiledSpace<Count> space{&profile, row_bytes};
    const detail::Ranking ranking(detail::ranked_spaces(exec, Span<const ProfiledSpace<Count>>(&space, 1)),
                                  small_tables);
    std::vector<BudgetPoint> points;
    std::vector<std::vector<detail::CutoffRange>> cuts;
    for (const std::uint64_t budget : budgets) {
        const detail::Cut cut = ranking.cut(budget);
        detail::SpaceCut of_space = detail::space_cut(ranking, cut, profile, 0);
        points.push_back(
            {budget, cut.hot_rows, cut.row_bytes + cut.index_bytes, cut.lookups + of_space.partial_lookups});
        cuts.push_back(std::move(of_space.ranges));
    }
    const auto rows = static_cast<std::size_t>(profile.space().rows());
    Buffer<std::uint8_t, PageSpace> levels(rows);
    const std::vector<detail::LevelRange> ranges = detail::level_ranges(cuts);
    const Span<const Count> counts = profile.counts();
    for_chunks(exec, rows, std::size_t{1} << 16, [&](std::size_t begin, std::size_t end) {
        auto range = std::partition_point(ranges.begin(), ranges.end(),
                                          [&](const detail::LevelRange& r) { return r.end <= begin; });
        for (std::size_t row = begin; row < end;) {
            const auto last = static_cast<std::size_t>(
                range == ranges.end() ? end : std::min<std::uint64_t>(range->end, end));
            std::uint8_t* const to = levels.data();
            std::fill(to + row, to + last, std::uint8_t{0});
            if (range != ranges.end()) {
                for (const std::uint64_t least : range->least) {
                    for (std::size_t r = row; r < last; ++r) {
                        to[r] = static_cast<std::uint8_t>(to[r] + (counts[r] < least ? 1 : 0));
                    }
                }
                ++range;
            }
            row = last;
        }
    });
    return {std::move(levels), std::move(points)};
}

}  // namespace fae::inline FAE_ABI
