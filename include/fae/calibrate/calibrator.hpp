// SPDX-License-Identifier: Apache-2.0
//
// calibrate: a profile and a budget become the set of hot rows.
//
//   CalibrationOptions options;
//   options.budget_bytes = 256u << 20;
//   options.row_bytes = row_layout(dim, state).bytes();     // optimizer state and stride included
//   Calibration made = calibrate(par(threads), profile, options);
//   made.hot_set, made.report.hot_bytes(), made.report.lookup_share.estimate
//
// Exact selection, the default, takes rows in one fixed order as long as they fit: the most looked up first
// (per byte, where row spaces of several dims share the budget), then by row space, table and row. Rows never
// seen stay out. A row of a small table counts for at least 1/64 of its table's mean, so a small table goes
// in whole, rows never seen included, once the cut-off has fallen that far; the order does not depend on the
// budget, so the hot set of a smaller budget is part of that of a larger one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/count_histogram.hpp"
#include "fae/calibrate/estimate.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/calibrate/quantiles.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/calibrate/threshold.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/profile/access_profile.hpp"

namespace fae::inline FAE_ABI {

/// How hot rows are chosen.
enum class Selection : std::uint8_t {
    exact,      ///< the best rows that fit the budget
    threshold,  ///< rows with at least the fraction `threshold` of their table's accesses, whatever they take
    rand_em_box,  ///< the least such threshold that is estimated to fit the budget
};

/// What calibrate is asked for.
struct CalibrationOptions {
    std::uint64_t budget_bytes = 0;  ///< for hot rows and their index (not looked at by Selection::threshold)
    std::uint64_t row_bytes = 0;     ///< of one hot row, state and stride included (one row space only)
    Selection selection = Selection::exact;
    double threshold = 1e-7;  ///< of a table's accesses
    RandEmBoxOptions rand_em_box;
    SmallTables small_tables;
    double confidence = 0.95;  ///< of the interval of lookup_share, where the profile is a sample
};

/// What a budget has bought.
struct CalibrationReport {
    std::uint64_t budget_bytes = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t row_bytes = 0;    ///< of all hot rows
    std::uint64_t index_bytes = 0;  ///< of all row spaces
    std::uint64_t lookups = 0;      ///< that were profiled
    std::uint64_t hot_lookups = 0;  ///< profiled look-ups of hot rows
    /// The share of look-ups that hot rows serve. From a sample, `estimate` is the sample's own share, too
    /// high because the same sample chose the rows; the interval allows for that.
    Interval lookup_share;
    /// Of each row space and table, the least count that is hot; 0: the whole table is, the greatest number:
    /// none of it is. Of the one table that the budget cuts, the rows of that least count are hot in part.
    std::vector<std::vector<std::uint64_t>> cutoffs;
    /// Selection::rand_em_box: the threshold found, the bytes it was estimated to take, and the next lower's.
    double threshold = 0;
    std::uint64_t estimated_bytes = 0;
    std::uint64_t estimated_bytes_below = 0;

    [[nodiscard]] std::uint64_t hot_bytes() const { return row_bytes + index_bytes; }
};

/// One row space of several that share a budget.
template <class Count = std::uint32_t>
struct ProfiledSpace {
    const AccessProfile<Count>* profile = nullptr;
    std::uint64_t row_bytes = 0;
};

/// Hot sets of several row spaces, in their order.
struct Calibrations {
    std::vector<HotSet> hot_sets;
    CalibrationReport report;
};

/// The hot set of one row space.
struct Calibration {
    HotSet hot_set;
    CalibrationReport report;
};

namespace detail {

/// The row spaces with their histograms.
template <Executor E, class Count>
[[nodiscard]] std::vector<RankedSpace> ranked_spaces(const E& exec, Span<const ProfiledSpace<Count>> spaces) {
    std::vector<RankedSpace> ranked;
    for (const ProfiledSpace<Count>& space : spaces) {
        require(space.row_bytes >= 1, [] { return std::string("row_bytes is 0, expected at least 1"); });
        require(space.profile->inputs_seen() == spaces[0].profile->inputs_seen(), [&] {
            return concat("a profile has seen ", space.profile->inputs_seen(), " inputs, expected ",
                          spaces[0].profile->inputs_seen());
        });
        ranked.push_back({&space.profile->space(), space.row_bytes, count_histograms(exec, *space.profile)});
    }
    return ranked;
}

/// The end of the first `rows` rows of a group, in row order, and their look-ups.
template <class Count>
[[nodiscard]] std::pair<std::uint64_t, std::uint64_t> first_of_group(const AccessProfile<Count>& profile,
                                                                     const RankedGroup& group,
                                                                     std::uint64_t rows) {
    std::uint64_t row = profile.space().offset(group.table);
    if (rows == 0) return {row, 0};
    const std::uint64_t end = profile.space().offset(group.table + 1);
    std::uint64_t lookups = 0;
    for (; row < end; ++row) {
        const std::uint64_t count = profile.counts()[static_cast<std::size_t>(row)];
        if (group.rest ? count > group.worth : count != group.worth) continue;
        lookups += count;
        if (--rows == 0) return {row + 1, lookups};
    }
    return {end, lookups};
}

/// The share of look-ups that fell on hot rows, and bounds. What a sample says of rows that it chose itself
/// is too good; the share of look-ups whose row would be hot without them (counts above the cut-off) is not,
/// so the lower bound comes from that. Inputs, not look-ups, are what was drawn independently.
inline Interval covered_share(std::uint64_t hot, std::uint64_t hot_without_self, std::uint64_t lookups,
                              std::uint64_t inputs, bool exact, double confidence) {
    if (lookups == 0) return {0, 0, exact ? 0.0 : 1.0};
    const double share = static_cast<double>(hot) / static_cast<double>(lookups);
    if (exact) return {share, share, share};
    const double without = static_cast<double>(hot_without_self) / static_cast<double>(lookups);
    const double trials = static_cast<double>(inputs);
    return {share, binomial_interval(without * trials, trials, confidence).lower,
            binomial_interval(share * trials, trials, confidence).upper};
}

/// Fills in what a report says of hot sets that are made.
template <class Count>
void describe(CalibrationReport& report, Span<const ProfiledSpace<Count>> spaces,
              const std::vector<RankedSpace>& ranked, const std::vector<HotSet>& hot_sets,
              double confidence) {
    std::uint64_t without_self = 0;
    for (std::size_t s = 0; s < hot_sets.size(); ++s) {
        report.hot_rows += hot_sets[s].size();
        report.row_bytes += hot_sets[s].size() * spaces[s].row_bytes;
        report.index_bytes += hot_sets[s].index_bytes();
        report.lookups += spaces[s].profile->accesses();
        for (std::size_t t = 0; t < ranked[s].tables.size(); ++t) {
            const std::uint64_t least = report.cutoffs[s][t];
            if (least == std::numeric_limits<std::uint64_t>::max()) continue;
            without_self += ranked[s].tables[t].at_least(least == 0 ? 0 : least + 1).second;
        }
    }
    report.lookup_share = covered_share(report.hot_lookups, without_self, report.lookups,
                                        spaces.empty() ? 0 : spaces[0].profile->inputs_counted(),
                                        spaces.empty() || spaces[0].profile->exact(), confidence);
}

/// What a cut means for one row space.
struct SpaceCut {
    std::vector<CutoffRange> ranges;    ///< cover the rows, ascending
    std::vector<std::uint64_t> least;   ///< of each table, the least count that is hot, in full or in part
    std::uint64_t partial_lookups = 0;  ///< look-ups of the part of a group that the cut takes
};

/// The cut-offs of row space `s` after a cut of the ranking that its profile takes part in.
template <class Count>
[[nodiscard]] SpaceCut space_cut(const Ranking& ranking, const Cut& cut, const AccessProfile<Count>& profile,
                                 std::size_t s) {
    SpaceCut made;
    made.least = ranking.cutoffs(cut, s, profile.space().table_count());
    for (std::size_t t = 0; t < made.least.size(); ++t) {
        const std::uint64_t begin = profile.space().offset(t);
        const std::uint64_t end = profile.space().offset(t + 1);
        const bool cut_here = cut.partial_rows != 0 && ranking.groups()[cut.groups].space == s &&
                              ranking.groups()[cut.groups].table == t;
        if (!cut_here) {
            made.ranges.push_back({begin, end, made.least[t]});
            continue;
        }
        const RankedGroup& group = ranking.groups()[cut.groups];
        const auto [limit, lookups] = first_of_group(profile, group, cut.partial_rows);
        made.partial_lookups += lookups;
        made.ranges.push_back({begin, limit, group.rest ? 0 : group.worth});
        made.ranges.push_back({limit, end, made.least[t]});
        if (!group.rest) made.least[t] = group.worth;
    }
    return made;
}

template <Executor E, class Count>
[[nodiscard]] Calibrations select_exactly(const E& exec, Span<const ProfiledSpace<Count>> spaces,
                                          const CalibrationOptions& options) {
    const std::vector<RankedSpace> ranked = ranked_spaces(exec, spaces);
    const Ranking ranking(ranked, options.small_tables);
    const Cut cut = ranking.cut(options.budget_bytes);
    Calibrations made;
    made.report.hot_lookups = cut.lookups;
    for (std::size_t s = 0; s < spaces.size(); ++s) {
        const AccessProfile<Count>& profile = *spaces[s].profile;
        SpaceCut of_space = space_cut(ranking, cut, profile, s);
        made.report.hot_lookups += of_space.partial_lookups;
        made.report.cutoffs.push_back(std::move(of_space.least));
        made.hot_sets.push_back(hot_set_above(exec, profile.counts(), of_space.ranges));
    }
    describe(made.report, spaces, ranked, made.hot_sets, options.confidence);
    return made;
}

template <Executor E, class Count>
[[nodiscard]] Calibrations select_by_cutoffs(const E& exec, Span<const ProfiledSpace<Count>> spaces,
                                             const std::vector<RankedSpace>& ranked,
                                             std::vector<std::vector<std::uint64_t>> cutoffs,
                                             double confidence) {
    Calibrations made;
    for (std::size_t s = 0; s < spaces.size(); ++s) {
        const RowSpace& space = spaces[s].profile->space();
        std::vector<CutoffRange> ranges;
        for (std::size_t t = 0; t < space.table_count(); ++t) {
            ranges.push_back({space.offset(t), space.offset(t + 1), cutoffs[s][t]});
            made.report.hot_lookups += ranked[s].tables[t].at_least(cutoffs[s][t]).second;
        }
        made.hot_sets.push_back(hot_set_above(exec, spaces[s].profile->counts(), ranges));
    }
    made.report.cutoffs = std::move(cutoffs);
    describe(made.report, spaces, ranked, made.hot_sets, confidence);
    return made;
}

}  // namespace detail

/// Chooses the hot rows of row spaces that share one budget (tables of several dims side by side).
///
/// The order in which rows become hot is fixed by the profiles: worth per byte descending, where a row is
/// worth its count and, in a small table (SmallTables), at least a 64th of its table's mean; then row space,
/// table and row ascending. The hot set is the longest prefix of that order whose rows and indices fit, so it
/// never exceeds the budget, the next row would not fit, and budgets nest. Where nothing fits it is empty.
/// @units  bytes of the fast tier
/// @exec   seq, par: equal results
/// @cost   two linear passes over the counts and a sort of their distinct values; a part of one table a third
///         time. Memory: the sets, and 256 KiB a running task
/// @throws ContractError if a row has 0 bytes, profiles are of different inputs, or an option is outside its
///         range
/// @source Adnan et al., PVLDB 15(1), 2021: the budget, small tables and thresholds
template <Executor E, class Count>
[[nodiscard]] Calibrations calibrate(const E& exec, Span<const ProfiledSpace<Count>> spaces,
                                     const CalibrationOptions& options) {
    Calibrations made;
    switch (options.selection) {
        case Selection::exact:
            made = detail::select_exactly(exec, spaces, options);
            break;
        case Selection::threshold: {
            const std::vector<detail::RankedSpace> ranked = detail::ranked_spaces(exec, spaces);
            made = detail::select_by_cutoffs(
                exec, spaces, ranked,
                detail::threshold_cutoffs(ranked, options.threshold, options.small_tables),
                options.confidence);
            made.report.threshold = options.threshold;
            break;
        }
        case Selection::rand_em_box: {
            const std::vector<detail::RankedSpace> ranked = detail::ranked_spaces(exec, spaces);
            std::vector<Span<const Count>> counts;
            for (const ProfiledSpace<Count>& space : spaces) counts.push_back(space.profile->counts());
            BoxSearch found = search_rand_em_box(exec, ranked, counts, options.budget_bytes,
                                                 options.rand_em_box, options.small_tables);
            made =
                detail::select_by_cutoffs(exec, spaces, ranked, std::move(found.cutoffs), options.confidence);
            made.report.threshold = found.threshold;
            made.report.estimated_bytes = found.bytes;
            made.report.estimated_bytes_below = found.bytes_below;
            break;
        }
    }
    made.report.budget_bytes = options.budget_bytes;
    return made;
}

/// Chooses the hot rows of one row space; exec, cost and errors as above.
template <Executor E, class Count>
[[nodiscard]] Calibration calibrate(const E& exec, const AccessProfile<Count>& profile,
                                    const CalibrationOptions& options) {
    const ProfiledSpace<Count> space{&profile, options.row_bytes};
    Calibrations made = calibrate(exec, Span<const ProfiledSpace<Count>>(&space, 1), options);
    return {std::move(made.hot_sets[0]), std::move(made.report)};
}

/// The profiled accesses of each slot.
/// @exec   seq, par: equal results
/// @cost   reads the row and the count of each slot once; writes 8 bytes a slot
/// @throws ContractError if the hot set covers other rows than the profile
template <Executor E, class Count>
[[nodiscard]] std::vector<std::uint64_t> slot_counts(const E& exec, const AccessProfile<Count>& profile,
                                                     const HotSet& hot_set) {
    require(hot_set.rows() == profile.space().rows(), [&] {
        return concat("the hot set covers ", hot_set.rows(), " rows, expected ", profile.space().rows());
    });
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(hot_set.size()));
    const HotSet::Ref hot = hot_set.ref();
    for_chunks(exec, counts.size(), std::size_t{1} << 16, [&](std::size_t begin, std::size_t end) {
        for (std::size_t slot = begin; slot < end; ++slot) {
            counts[slot] = profile.counts()[static_cast<std::size_t>(hot.row_of(slot))];
        }
    });
    return counts;
}

}  // namespace fae::inline FAE_ABI
