// SPDX-License-Identifier: Apache-2.0
//
// The planted logistic model of synthetic labels, and the AUC that no model can beat on them in the long run.
//
//   std::vector<double> probabilities;
//   Dataset data = source.generate(par(threads), 0, n, &probabilities);
//   double best = bayes_auc(probabilities);          // what a perfect model's AUC tends to
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// The planted weight of a row: a whole number, a function of (key, row) alone; mean 0, bell-shaped (the sum
/// of four uniforms), within +-131,070. Whole numbers add up exactly in any order.
[[nodiscard]] constexpr std::int64_t planted_weight(std::uint64_t key, std::uint64_t row) {
    const std::uint64_t bits = mix64(key ^ row);
    const std::uint64_t sum =
        (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
    return static_cast<std::int64_t>(sum) - 131'070;
}

/// The standard deviation of planted weights: sqrt(4 (65536^2 - 1) / 12).
inline constexpr double planted_deviation = 37837.2;

/// label ~ Bernoulli(1 / (1 + exp(-(bias + scale * sum)))), the sum over an input's planted weights.
struct PlantedModel {
    double bias = 0;
    double scale = 0;

    [[nodiscard]] double probability(std::int64_t sum) const {
        return 1.0 / (1.0 + std::exp(-std::fma(scale, static_cast<double>(sum), bias)));
    }

    /// The model under which the logits of these sums have the given standard deviation and the mean
    /// probability is `positive_rate`. Sums that do not vary give scale 0.
    /// @throws ContractError unless there is a sum, 0 < positive_rate < 1 and 0 <= spread <= 20
    [[nodiscard]] static PlantedModel fit(Span<const std::int64_t> sums, double positive_rate,
                                          double spread) {
        require(!sums.empty(), [] { return std::string("a planted model of 0 sums, expected at least 1"); });
        require(positive_rate > 0 && positive_rate < 1,
                [&] { return concat("the positive rate is ", positive_rate, ", expected between 0 and 1"); });
        require(spread >= 0 && spread <= 20,
                [&] { return concat("the logit's spread is ", spread, ", expected 0 to 20"); });
        const auto n = static_cast<double>(sums.size());
        double mean = 0;
        for (const std::int64_t sum : sums) mean += static_cast<double>(sum) / n;
        double variance = 0;
        for (const std::int64_t sum : sums) {
            const double from_mean = static_cast<double>(sum) - mean;
            variance = std::fma(from_mean, from_mean / n, variance);
        }
        PlantedModel model;
        model.scale = variance > 0 ? spread / std::sqrt(variance) : 0.0;
        double low = -200;
        double high = 200;
        for (int step = 0; step < 80; ++step) {
            const double centre = 0.5 * (low + high);
            model.bias = std::fma(-model.scale, mean, centre);
            double rate = 0;
            for (const std::int64_t sum : sums) rate += model.probability(sum) / n;
            (rate < positive_rate ? low : high) = centre;
        }
        return model;
    }
};

/// The AUC of the true probabilities as a score: the expected number of (positive, negative) pairs that they
/// put in the right order (a tie counts one half), divided by the expected number of such pairs, over
/// independent labels. No score has a higher ratio; the AUC of drawn labels tends to it as inputs grow. 0.5
/// where no pair can be.
/// @pre  probabilities within [0, 1]
/// @cost sorts a copy: O(n log n)
[[nodiscard]] inline double bayes_auc(Span<const double> probabilities) {
    std::vector<double> sorted(probabilities.begin(), probabilities.end());
    std::sort(sorted.begin(), sorted.end());
    double ordered = 0;    // expected pairs in the right order, ties counted one half
    double pairs = 0;      // expected pairs
    double negatives = 0;  // expected negatives among smaller probabilities
    double all_negatives = 0;
    for (const double p : sorted) all_negatives += 1 - p;
    for (std::size_t i = 0; i < sorted.size();) {
        std::size_t end = i;
        double tied_positives = 0;
        double tied_negatives = 0;
        double with_itself = 0;  // an input is no pair with itself
        for (; end < sorted.size() && sorted[end] == sorted[i]; ++end) {
            tied_positives += sorted[end];
            tied_negatives += 1 - sorted[end];
            with_itself += sorted[end] * (1 - sorted[end]);
        }
        const double tied_pairs = tied_positives * tied_negatives - with_itself;
        ordered += tied_positives * negatives + 0.5 * tied_pairs;
        pairs += tied_positives * all_negatives - with_itself;
        negatives += tied_negatives;
        i = end;
    }
    return pairs > 0 ? ordered / pairs : 0.5;
}

}  // namespace fae::inline FAE_ABI
