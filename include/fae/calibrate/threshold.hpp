// SPDX-License-Identifier: Apache-2.0
//
// Thresholds: a row is hot if it has at least the fraction t of its table's accesses, that is, at least
// H = max(1, ceil(t * A) ) of the A accesses profiled. Small tables are hot in full. Selection::threshold of
// calibrate (calibrator.hpp) chooses rows this way; sweep_thresholds says what each t would take.
//
//   for (const ThresholdPoint& p : sweep_thresholds(histograms, row_bytes, {1e-5, 1e-6, 1e-7})) ...
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/count_histogram.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// The least count that is hot at threshold t in a table of `accesses` accesses.
/// @throws ContractError unless 0 <= t <= 1
[[nodiscard]] inline std::uint64_t threshold_cutoff(double t, std::uint64_t accesses) {
    require(t >= 0 && t <= 1, [&] { return concat("the threshold is ", t, ", expected 0 to 1"); });
    const double least = std::ceil(t * static_cast<double>(accesses));
    return least < 1 ? 1 : static_cast<std::uint64_t>(least);
}

/// What one threshold takes and gives.
struct ThresholdPoint {
    double threshold = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t hot_bytes = 0;  ///< rows and index
    std::uint64_t hot_lookups = 0;
};

namespace detail {

/// The cut-offs of every row space and table at one threshold.
[[nodiscard]] inline std::vector<std::vector<std::uint64_t>> threshold_cutoffs(
    const std::vector<RankedSpace>& spaces, double t, const SmallTables& small_tables) {
    std::vector<std::vector<std::uint64_t>> cutoffs;
    for (const RankedSpace& space : spaces) {
        std::vector<std::uint64_t> least;
        for (const CountHistogram& table : space.tables) {
            const bool small_table = small_tables.least_worth(table, space.row_bytes) != 0;
            least.push_back(small_table ? 0 : threshold_cutoff(t, table.accesses));
        }
        cutoffs.push_back(std::move(least));
    }
    return cutoffs;
}

}  // namespace detail

/// What each of several thresholds takes in one row space, from its histograms alone.
/// @cost   O(levels) a threshold; no look at the rows
/// @throws ContractError if row_bytes or small_tables.share is 0, or a threshold is not from 0 to 1
[[nodiscard]] inline std::vector<ThresholdPoint> sweep_thresholds(const std::vector<CountHistogram>& tables,
                                                                  std::uint64_t row_bytes,
                                                                  const std::vector<double>& thresholds,
                                                                  const SmallTables& small_tables = {}) {
    require(row_bytes >= 1, [] { return std::string("row_bytes is 0, expected at least 1"); });
    std::uint64_t rows = 0;
    for (const CountHistogram& table : tables) rows += table.rows;
    std::vector<ThresholdPoint> points;
    for (const double t : thresholds) {
        ThresholdPoint point{t, 0, 0, 0};
        for (const CountHistogram& table : tables) {
            const bool small_table = small_tables.least_worth(table, row_bytes) != 0;
            const auto [hot, lookups] = table.at_least(small_table ? 0 : threshold_cutoff(t, table.accesses));
            point.hot_rows += hot;
            point.hot_lookups += lookups;
        }
        point.hot_bytes = point.hot_rows * row_bytes + HotSet::index_bytes_for(rows, point.hot_rows);
        points.push_back(point);
    }
    return points;
}

}  // namespace fae::inline FAE_ABI
