// SPDX-License-Identifier: Apache-2.0
//
// Quantiles of the laws that estimates rest on: Student's t, and the exact (Clopper-Pearson) bounds of a
// binomial share. All from the incomplete beta function; no state, no table.
//
//   student_quantile(0.999, 34) == 3.3479...
//   Interval share = binomial_interval(hits, trials, 0.95);
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// An estimate between two bounds.
struct Interval {
    double estimate = 0;
    double lower = 0;
    double upper = 0;
};

namespace detail {

/// log of the gamma function for x > 0, without std::lgamma's global sign.
/// @source Abramowitz, Stegun, 6.1.41 (Stirling's series) after shifting x to at least 16
inline double log_gamma(double x) {
    double shift = 0;
    for (; x < 16; x += 1) shift += std::log(x);
    const double inverse = 1 / x;
    const double square = inverse * inverse;
    double series = -691.0 / 360360;
    for (const double term : {1.0 / 1188, -1.0 / 1680, 1.0 / 1260, -1.0 / 360, 1.0 / 12}) {
        series = std::fma(series, square, term);
    }
    return (x - 0.5) * std::log(x) - x + 0.918938533204672742 + series * inverse - shift;
}

/// The regularised incomplete beta function I_x(a, b) for a, b > 0.
/// @source Abramowitz, Stegun, 26.5.8: the continued fraction, evaluated by Lentz's method
inline double incomplete_beta(double a, double b, double x) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    // The fraction converges fast below the mean; beyond it, by symmetry.
    if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);
    const double front =
        std::exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) + b * std::log1p(-x)) / a;
    constexpr double tiny = 1e-300;
    const auto not_zero = [](double v) { return std::fabs(v) < tiny ? tiny : v; };
    double c = 1;
    double d = 1 / not_zero(1 - (a + b) * x / (a + 1));
    double fraction = d;
    for (int i = 1; i < 1000000; ++i) {
        const double m = i;
        const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / not_zero(1 + even * d);
        c = not_zero(1 + even / c);
        fraction *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / not_zero(1 + odd * d);
        c = not_zero(1 + odd / c);
        fraction *= d * c;
        if (std::fabs(d * c - 1) < 1e-15) break;
    }
    return front * fraction;
}

/// The x at which I_x(a, b) = p, by bisection to the last bit that matters.
inline double inverse_incomplete_beta(double a, double b, double p) {
    double low = 0;
    double high = 1;
    for (int i = 0; i < 1100; ++i) {
        const double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high || (high - low) < 1e-15 * low) break;
        (incomplete_beta(a, b, middle) < p ? low : high) = middle;
    }
    return low + (high - low) / 2;
}

}  // namespace detail

/// The t below which a Student variable of `freedom` degrees of freedom falls with probability `p`.
/// @throws ContractError unless 0 < p < 1 and freedom >= 1
[[nodiscard]] inline double student_quantile(double p, double freedom) {
    require(p > 0 && p < 1 && freedom >= 1, [&] {
        return concat("p is ", p, " and freedom ", freedom, ", expected 0 < p < 1 and at least 1");
    });
    if (p == 0.5) return 0;
    if (p < 0.5) return -student_quantile(1 - p, freedom);
    const double x = detail::inverse_incomplete_beta(freedom / 2, 0.5, 2 * (1 - p));
    return std::sqrt(freedom * (1 - x) / x);
}

/// The share that `hits` of `trials` prove not to be exceeded, at one-sided `confidence`: at most that often,
/// over draws, is the true share larger. Fractions of hits are fine.
/// @throws ContractError unless 0 <= hits <= trials and 0 < confidence < 1
/// @source Clopper, Pearson, Biometrika 26(4), 1934
[[nodiscard]] inline double binomial_upper(double hits, double trials, double confidence) {
    require(hits >= 0 && hits <= trials && confidence > 0 && confidence < 1, [&] {
        return concat(hits, " hits of ", trials, " at confidence ", confidence,
                      ", expected hits from 0 to trials and confidence between 0 and 1");
    });
    return hits >= trials ? 1 : detail::inverse_incomplete_beta(hits + 1, trials - hits, confidence);
}

/// The share that `hits` of `trials` prove to be reached, at one-sided `confidence`.
[[nodiscard]] inline double binomial_lower(double hits, double trials, double confidence) {
    return trials <= 0 ? 0 : 1 - binomial_upper(trials - hits, trials, confidence);
}

/// Both bounds at two-sided `confidence`; [0, 1] where nothing was tried.
[[nodiscard]] inline Interval binomial_interval(double hits, double trials, double confidence) {
    const double each = 1 - (1 - confidence) / 2;
    return {trials > 0 ? hits / trials : 0, binomial_lower(hits, trials, each),
            binomial_upper(hits, trials, each)};
}

}  // namespace fae::inline FAE_ABI
