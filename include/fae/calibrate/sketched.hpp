// SPDX-License-Identifier: Apache-2.0
//
// calibrate() of a SketchProfile: the hot set that a sketch can vouch for, what it serves at least and at
// most, and what no set of this budget could exceed.
//
//   SketchCalibration made = calibrate(par(threads), sketch_profile, options);
//   made.report.lookup_share.lower <= what made.hot_set serves <= made.report.lookup_share.upper
//   made.best_share                                       // at least what the best set of this budget serves
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/count_histogram.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/profile/sketch_profile.hpp"

namespace fae::inline FAE_ABI {

/// A hot set chosen from a sketch.
struct SketchCalibration {
    HotSet hot_set;
    /// lookups and hot_lookups are whole look-ups, rounded down; hot_lookups is the lower bound.
    CalibrationReport report;
    /// No set of rows that fits the budget serves a larger share of the look-ups.
    double best_share = 1;
};

namespace detail {

/// The listed rows by table and lower bound: what Ranking orders.
inline std::vector<CountHistogram> sketched_histograms(const SketchProfile& profile) {
    const RowSpace& space = profile.space();
    std::vector<CountHistogram> tables(space.table_count());
    for (std::size_t t = 0; t < tables.size(); ++t) {
        tables[t].rows = space.table(t).rows;
        tables[t].accesses = profile.accesses(t);
    }
    for (const HeavyRow& heavy : profile.rows()) {
        if (heavy.lower == 0) continue;
        CountHistogram& table = tables[space.table_of(heavy.row)];
        if (table.levels.empty() || table.levels.back().count != heavy.lower) {
            table.levels.push_back({heavy.lower, 0});
        }
        ++table.levels.back().rows;
        ++table.seen_rows;
    }
    return tables;
}

/// What the accesses of a halved sketch's tables may be rounded up by together.
inline double rounding(const SketchProfile& profile) {
    return profile.unit() == 1 ? 0.0 : 2 * static_cast<double>(profile.space().table_count());
}

/// The largest share that any `rows` rows can have. A row has at most its upper bound or, if not listed, the
/// floor; and all but those rows have at least the sum of their lower bounds.
inline double best_share(const SketchProfile& profile, std::uint64_t rows) {
    const std::uint64_t all = profile.accesses();
    if (all == 0) return 0;
    std::vector<std::uint64_t> uppers;
    double left_out = 0;  // the least that rows beyond the first `rows` have: they are sorted by lower bound
    for (std::size_t i = 0; i < profile.rows().size(); ++i) {
        uppers.push_back(profile.rows()[i].upper);
        if (i >= rows) left_out += static_cast<double>(profile.rows()[i].lower);
    }
    const std::size_t taken = std::min<std::size_t>(uppers.size(), static_cast<std::size_t>(rows));
    std::nth_element(uppers.begin(), uppers.begin() + static_cast<std::ptrdiff_t>(taken), uppers.end(),
                     std::greater<>());
    double most =
        static_cast<double>(rows - taken) * static_cast<double>(profile.floor()) + rounding(profile);
    for (std::size_t i = 0; i < taken; ++i) most += static_cast<double>(uppers[i]);
    return std::min({1.0, most / static_cast<double>(all), 1 - left_out / static_cast<double>(all)});
}

}  // namespace detail

/// Chooses the hot rows from a sketch: as exact selection, with the lower bound of a row for its count. Small
/// tables go in whole as they do there. What the set serves lies between the bounds of lookup_share, with
/// certainty for the look-ups that the sketch has seen (decayed ones where it was halved):
/// - at least: the lower bounds of its rows, and all look-ups of tables that are hot in full, which are known
///   but for the rounding of decay;
/// - at most: all look-ups but the lower bounds of the rows left out; and the upper bounds of its rows, the
///   floor for those not listed.
/// @units  bytes of the fast tier
/// @exec   seq, par: equal results
/// @cost   sorts of the listed rows. Memory: the hot set, and 40 bytes a listed row and a hot row
/// @throws ContractError if row_bytes is 0 or the selection is not Selection::exact
template <Executor E>
[[nodiscard]] SketchCalibration calibrate(const E& exec, const SketchProfile& profile,
                                          const CalibrationOptions& options) {
    require(options.row_bytes >= 1, [] { return std::string("row_bytes is 0, expected at least 1"); });
    require(options.selection == Selection::exact,
            [] { return std::string("a sketch knows exact selection only, expected Selection::exact"); });
    const RowSpace& space = profile.space();
    const std::vector<detail::RankedSpace> ranked = {
        {&space, options.row_bytes, detail::sketched_histograms(profile)}};
    const detail::Ranking ranking(ranked, options.small_tables);
    const detail::Cut cut = ranking.cut(options.budget_bytes);
    std::vector<std::uint64_t> least = ranking.cutoffs(cut, 0, space.table_count());
    constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();

    // The rows of whole groups: a table that is hot in full has all of its rows, others those above their
    // cut-off.
    std::vector<std::uint64_t> hot;
    std::vector<bool>
        listed_above;  // of the table that the budget cuts, if what it cuts is a small table's rest
    const detail::RankedGroup* part = cut.partial_rows != 0 ? &ranking.groups()[cut.groups] : nullptr;
    std::vector<std::uint64_t> tied;  // rows of the group that the budget cuts
    if (part != nullptr && part->rest) {
        listed_above.assign(static_cast<std::size_t>(space.table(part->table).rows), false);
    }
    for (const HeavyRow& heavy : profile.rows()) {
        const std::size_t table = space.table_of(heavy.row);
        if (least[table] != 0 && least[table] != none && heavy.lower >= least[table])
            hot.push_back(heavy.row);
        if (part == nullptr || table != part->table) continue;
        if (part->rest) {
            listed_above[static_cast<std::size_t>(heavy.row - space.offset(table))] =
                heavy.lower > part->worth;
        } else if (heavy.lower == part->worth) {
            tied.push_back(heavy.row);
        }
    }
    for (std::size_t t = 0; t < least.size(); ++t) {
        if (least[t] != 0) continue;
        for (std::uint64_t row = space.offset(t); row < space.offset(t + 1); ++row) hot.push_back(row);
    }
    if (part != nullptr) {
        for (std::size_t i = 0; i < listed_above.size(); ++i) {
            if (!listed_above[i]) tied.push_back(space.offset(part->table) + i);
        }
        std::sort(tied.begin(), tied.end());
        hot.insert(hot.end(), tied.begin(), tied.begin() + static_cast<std::ptrdiff_t>(cut.partial_rows));
        if (!part->rest) least[part->table] = part->worth;
    }
    std::sort(hot.begin(), hot.end());

    SketchCalibration made;
    made.hot_set = HotSet::from_rows(exec, space.rows(), Span<const std::uint64_t>(hot));
    CalibrationReport& report = made.report;
    report.budget_bytes = options.budget_bytes;
    report.hot_rows = made.hot_set.size();
    report.row_bytes = made.hot_set.size() * options.row_bytes;
    report.index_bytes = made.hot_set.index_bytes();
    report.cutoffs.push_back(least);

    std::uint64_t at_least = 0;
    std::uint64_t left_out = 0;
    double at_most = 0;
    std::uint64_t counted_rows = 0;  // hot rows that are in at_most
    for (std::size_t t = 0; t < least.size(); ++t) {
        if (!made.hot_set.covers(space.offset(t), space.offset(t + 1))) continue;
        at_least += profile.accesses(t);
        at_most += static_cast<double>(profile.accesses(t));
        counted_rows += space.table(t).rows;
    }
    for (const HeavyRow& heavy : profile.rows()) {
        if (!made.hot_set.contains(heavy.row)) {
            left_out += heavy.lower;
            continue;
        }
        const std::size_t table = space.table_of(heavy.row);
        if (made.hot_set.covers(space.offset(table), space.offset(table + 1))) continue;
        at_least += heavy.lower;
        at_most += static_cast<double>(heavy.upper);
        ++counted_rows;
    }
    at_most += static_cast<double>(report.hot_rows - counted_rows) * static_cast<double>(profile.floor());
    at_most += detail::rounding(profile);
    at_least -= std::min(at_least, static_cast<std::uint64_t>(detail::rounding(profile)));
    const std::uint64_t all = profile.accesses();
    report.lookups = all / profile.unit();
    report.hot_lookups = at_least / profile.unit();
    if (all != 0) {
        const auto total = static_cast<double>(all);
        const double lower = static_cast<double>(at_least) / total;
        const double upper =
            std::max(lower, std::min(at_most / total, 1 - static_cast<double>(left_out) / total));
        report.lookup_share = {lower + (upper - lower) / 2, lower, upper};
    }
    made.best_share = std::max(
        report.lookup_share.lower,
        detail::best_share(profile, std::min(space.rows(), options.budget_bytes / options.row_bytes)));
    return made;
}

}  // namespace fae::inline FAE_ABI
