// SPDX-License-Identifier: Apache-2.0
//
// How far the mean of a random sample may be from the mean of the inputs that it was drawn from, without
// replacement and without any assumption on how values are spread: inputs may be ordered, drifting or
// correlated, and the look-ups of one input depend on each other; only which inputs are drawn is random.
//
//   double h = hoeffding_serfling(n, of, delta);            // one side, values in a range of 1
//   double h = empirical_bernstein_serfling(n, of, deviation, delta);
//
// `of` is the number of inputs drawn from; `unlimited` where they are drawn independently from a law.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// A population without end: draws are independent.
inline constexpr double unlimited = std::numeric_limits<double>::infinity();

namespace detail {

inline void require_sample(double n, double of, double delta) {
    require(n >= 0 && n <= of && delta > 0 && delta < 1, [&] {
        return concat(n, " inputs of ", of, " at delta ", delta,
                      ", expected at most as many as there are, and a delta between 0 and 1");
    });
}

/// What drawing without replacement leaves of the variance of a mean.
/// @source Bardenet, Maillard, Bernoulli 21(3), 2015, theorem 2.4: rho_n
inline double left_of_variance(double n, double of) {
    if (std::isinf(of)) return 1;
    return n <= of / 2 ? 1 - (n - 1) / of : (1 - n / of) * (1 + 1 / n);
}

}  // namespace detail

/// The distance that the mean of n values exceeds the mean of all by with a probability of at most delta (and
/// falls short by with at most delta). Values lie in a range of 1. 0 where all were drawn; infinite where
/// none was.
/// @throws ContractError if n > of or delta is not between 0 and 1
/// @source Hoeffding, JASA 58, 1963, theorem 2 and section 6; Serfling, Annals of Statistics 2(1), 1974; in
///         the form of Bardenet, Maillard, Bernoulli 21(3), 2015, corollary 2.5
[[nodiscard]] inline double hoeffding_serfling(double n, double of, double delta) {
    detail::require_sample(n, of, delta);
    if (n == 0) return std::numeric_limits<double>::infinity();
    return std::sqrt(std::max(0.0, detail::left_of_variance(n, of)) * std::log(1 / delta) / (2 * n));
}

/// The same, from the standard deviation of the sample (divisor n): much less where values differ little.
/// @throws ContractError as above
/// @source Bardenet, Maillard, Bernoulli 21(3), 2015, theorem 4.3
[[nodiscard]] inline double empirical_bernstein_serfling(double n, double of, double deviation,
                                                         double delta) {
    detail::require_sample(n, of, delta);
    if (n == 0) return std::numeric_limits<double>::infinity();
    if (n == of) return 0;
    const double log = std::log(5 / delta);
    const double range = 7.0 / 3 + 3 / std::sqrt(2.0);
    return deviation * std::sqrt(2 * detail::left_of_variance(n, of) * log / n) + range * log / n;
}

/// The largest mean that all values can have, lying in [0, 1], if the mean of n of them was `mean` and that
/// few or fewer come with a probability of more than delta. Beats the distance above where means are near 0
/// or 1.
/// @throws ContractError as above, or unless 0 <= mean <= 1
/// @source Hoeffding, JASA 58, 1963, theorem 1 (2.1) and section 6: Chernoff's bound by relative entropy
[[nodiscard]] inline double chernoff_upper(double mean, double n, double delta) {
    detail::require_sample(n, unlimited, delta);
    require(mean >= 0 && mean <= 1, [&] { return concat("the mean is ", mean, ", expected 0 to 1"); });
    if (n == 0) return 1;
    const double most = std::log(1 / delta) / n;
    const auto entropy = [&](double p) {
        const double hit = mean > 0 ? mean * std::log(mean / p) : 0.0;
        const double miss = mean < 1 ? (1 - mean) * std::log((1 - mean) / (1 - p)) : 0.0;
        return hit + miss;
    };
    double low = mean;
    double high = 1;
    for (int i = 0; i < 100; ++i) {
        const double middle = low + (high - low) / 2;
        (entropy(middle) <= most ? low : high) = middle;
    }
    return high;
}

}  // namespace fae::inline FAE_ABI
