// SPDX-License-Identifier: Apache-2.0
//
// Zipf: exact draws of ranks 1..n with probability proportional to rank^-s, for any s >= 0 (s = 0 is the
// uniform law, s = 1 the classic one), in O(1) memory and about one try a draw.
//
//   Zipf zipf(10'131'227, 1.05);
//   Philox rng(seed, stream);
//   std::uint64_t rank = zipf(rng);                       // 1 is the most popular
//   double covered = zipf.cumulative(1000);               // share of the 1000 most popular ranks
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"

namespace fae::inline FAE_ABI {

namespace detail {
/// (exp(t) - 1) / t, and 1 at 0.
inline double expm1_over(double t) { return std::fabs(t) < 1e-12 ? 1.0 : std::expm1(t) / t; }

/// log(1 + t) / t, and 1 at 0.
inline double log1p_over(double t) { return std::fabs(t) < 1e-12 ? 1.0 : std::log1p(t) / t; }

/// The integral of x^-s from 1 to x.
inline double power_integral(double x, double s) {
    const double log_x = std::log(x);
    return expm1_over((1.0 - s) * log_x) * log_x;
}
}  // namespace detail

/// The generalised harmonic number H(n, s) = sum of k^-s over k = 1..n, to about 1e-13 of its value.
/// @cost O(1): at most 64 terms, the rest by the Euler-Maclaurin formula
/// @pre  s >= 0
[[nodiscard]] inline double harmonic(std::uint64_t n, double s) {
    constexpr std::uint64_t direct = 64;
    const std::uint64_t last = n < direct ? n : direct;
    double sum = 0;
    for (std::uint64_t k = last; k >= 1; --k) sum += std::pow(static_cast<double>(k), -s);
    if (n <= direct) return sum;
    // sum over k = a+1..b of f(k) = integral + (f(b) - f(a)) / 2 + (f'(b) - f'(a)) / 12 - (f''' ...) / 720
    const auto a = static_cast<double>(direct);
    const auto b = static_cast<double>(n);
    const double f_a = std::pow(a, -s);
    const double f_b = std::pow(b, -s);
    const double log_ratio = std::log(b / a);
    const double integral = f_a * a * detail::expm1_over((1.0 - s) * log_ratio) * log_ratio;
    const double first = s * (f_a / a - f_b / b) / 12.0;
    const double third = s * (s + 1.0) * (s + 2.0) * (f_a / (a * a * a) - f_b / (b * b * b)) / 720.0;
    return sum + integral + (f_b - f_a) / 2.0 + first - third;
}

/// The Zipf law over ranks 1..n: P(k) = k^-s / H(n, s).
/// @source Hoermann, Derflinger, Rejection-inversion to generate variates from monotone discrete
///         distributions, TOMACS 6(3), 1996
class Zipf {
  public:
    /// The largest n: ranks and their halves are exact in double.
    static constexpr std::uint64_t max_n = std::uint64_t{1} << 51;

    /// @throws ContractError unless 1 <= n <= max_n and s is finite and not negative
    Zipf(std::uint64_t n, double s) : n_(n), s_(s) {
        require(n >= 1 && n <= max_n, [&] { return concat("n is ", n, ", expected 1 to ", max_n); });
        require(std::isfinite(s) && s >= 0, [&] { return concat("s is ", s, ", expected 0 or more"); });
        low_ = detail::power_integral(1.5, s) - 1.0;
        range_ = detail::power_integral(static_cast<double>(n) + 0.5, s) - low_;
        squeeze_ = 2.0 - inverse(detail::power_integral(2.5, s) - std::pow(2.0, -s));
        total_ = harmonic(n, s);
    }

    [[nodiscard]] std::uint64_t n() const { return n_; }
    [[nodiscard]] double s() const { return s_; }

    /// Draws a rank. The first try uses `first`, each further one next(); all are uniform in [0, 1). A small
    /// `first` means a popular rank, so couplings of `first` couple ranks, and the law stays exact: what a
    /// try accepts is distributed by the law, whichever try it is.
    /// @cost one logarithm and one exponential a try, at most two more where the squeeze does not decide;
    ///       fewer than 1.2 tries on average
    template <class Next>
    [[nodiscard]] std::uint64_t draw(double first, Next&& next) const {
        for (double uniform = first;; uniform = next()) {
            const double area = std::fma(uniform, range_, low_);
            const double x = inverse(area);
            std::uint64_t rank = x < 1.0 ? 1 : static_cast<std::uint64_t>(x + 0.5);
            if (rank > n_) rank = n_;
            const auto k = static_cast<double>(rank);
            if (k - x <= squeeze_ || area >= detail::power_integral(k + 0.5, s_) - std::pow(k, -s_)) {
                return rank;
            }
        }
    }

    [[nodiscard]] std::uint64_t operator()(Philox& rng) const {
        return draw(rng.uniform(), [&] { return rng.uniform(); });
    }

    /// P(rank).
    /// @pre 1 <= rank <= n()
    [[nodiscard]] double probability(std::uint64_t rank) const {
        return std::pow(static_cast<double>(rank), -s_) / total_;
    }

    /// The share of the `ranks` most popular ranks together; 1 from n() on.
    [[nodiscard]] double cumulative(std::uint64_t ranks) const {
        return ranks >= n_ ? 1.0 : harmonic(ranks, s_) / total_;
    }

  private:
    /// The inverse of power_integral(., s).
    [[nodiscard]] double inverse(double area) const {
        double t = area * (1.0 - s_);
        if (t < -1.0) t = -1.0;
        return std::exp(detail::log1p_over(t) * area);
    }

    std::uint64_t n_;
    double s_;
    double low_ = 0;
    double range_ = 0;
    double squeeze_ = 0;
    double total_ = 0;
};

}  // namespace fae::inline FAE_ABI
