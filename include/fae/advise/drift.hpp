// SPDX-License-Identifier: Apache-2.0
//
// Drift: whether a hot set serves fewer look-ups as time goes by, and what profiling again would gain.
//
//   DriftReport report = drift_report(coverage, fresh);   // one share a time window
//   report.falls, report.p_value, report.gain.lower
//
// `coverage` is the share of look-ups, window by window, of a hot set chosen from inputs before the first of
// them; `fresh` that of a hot set of the same size chosen from as many inputs just before the last windows,
// for these windows. Neither set has seen what it is judged by.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/calibrate/quantiles.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// The probability that values which are as likely in any order fall at least as consistently as these do:
/// that at least as many pairs are in falling order. Pairs of equal values count as rising, so that ties make
/// it larger. Where it is at most alpha, "they do not fall" is wrongly rejected in at most a share alpha of
/// all cases, whatever the distribution of the values. 1 for fewer than two values.
/// @cost   O(n^3)
/// @throws ContractError for more than 256 values
/// @source Mann, Econometrica 13(3), 1945; the exact distribution of Kendall's S
[[nodiscard]] inline double fall_probability(Span<const double> values) {
    const std::size_t n = values.size();
    require(n <= 256, [&] { return concat(n, " values, expected at most 256"); });
    std::size_t falling = 0;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i + 1; j < n; ++j) falling += values[i] > values[j] ? 1u : 0u;
    }
    // chance[k]: of k falling pairs among the first m values of a random order; the next value falls below
    // any number of them equally likely.
    std::vector<double> chance{1.0};
    for (std::size_t m = 1; m < n; ++m) {
        std::vector<double> next(chance.size() + m, 0.0);
        for (std::size_t k = 0; k < chance.size(); ++k) {
            for (std::size_t below = 0; below <= m; ++below)
                next[k + below] += chance[k] / static_cast<double>(m + 1);
        }
        chance = std::move(next);
    }
    double probability = 0;
    for (std::size_t k = chance.size(); k-- > falling;) probability += chance[k];
    return std::min(probability, 1.0);
}

/// The mean of values, with the two-sided bounds of Student's law; [-1, 1] for fewer than two values.
[[nodiscard]] inline Interval mean_interval(Span<const double> values, double confidence) {
    double sum = 0;
    for (const double value : values) sum += value;
    const auto n = static_cast<double>(values.size());
    const double mean = values.empty() ? 0.0 : sum / n;
    if (values.size() < 2) return {mean, -1, 1};
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    const double error = std::sqrt(squares / (n - 1) / n);
    const double reach = student_quantile(1 - (1 - confidence) / 2, n - 1) * error;
    return {mean, mean - reach, mean + reach};
}

/// What windows say about drift.
struct DriftReport {
    std::vector<double> coverage;  ///< of the old hot set, window by window
    std::vector<double> fresh;     ///< of the new one, in the last windows
    double p_value = 1;            ///< see fall_probability
    bool falls = false;            ///< p_value is at most the error rate
    double fall_a_window = 0;      ///< the median of all slopes between two windows (Theil, 1950; Sen, 1968)
    Interval gain;                 ///< share of look-ups that the new hot set serves beyond the old one
};

/// Tests and forecasts.
/// @param error_rate  of the test; the gain's interval has confidence 1 - error_rate
/// @throws ContractError if there are more new windows than old ones, or as fall_probability and
///         student_quantile
[[nodiscard]] inline DriftReport drift_report(std::vector<double> coverage, std::vector<double> fresh,
                                              double error_rate = 0.01) {
    require(fresh.size() <= coverage.size(), [&] {
        return concat(fresh.size(), " windows of the new hot set, expected at most ", coverage.size());
    });
    require(error_rate > 0 && error_rate < 1,
            [&] { return concat("the error rate is ", error_rate, ", expected between 0 and 1"); });
    DriftReport report;
    report.p_value = fall_probability(Span<const double>(coverage));
    report.falls = report.p_value <= error_rate;
    std::vector<double> slopes;
    for (std::size_t i = 0; i < coverage.size(); ++i) {
        for (std::size_t j = i + 1; j < coverage.size(); ++j)
            slopes.push_back((coverage[i] - coverage[j]) / static_cast<double>(j - i));
    }
    if (!slopes.empty()) {
        const auto middle = slopes.begin() + static_cast<std::ptrdiff_t>(slopes.size() / 2);
        std::nth_element(slopes.begin(), middle, slopes.end());
        report.fall_a_window = *middle;
    }
    std::vector<double> gains;
    const std::size_t first = coverage.size() - fresh.size();
    for (std::size_t i = 0; i < fresh.size(); ++i) gains.push_back(fresh[i] - coverage[first + i]);
    report.gain = mean_interval(Span<const double>(gains), 1 - error_rate);
    report.coverage = std::move(coverage);
    report.fresh = std::move(fresh);
    return report;
}

}  // namespace fae::inline FAE_ABI
