// SPDX-License-Identifier: Apache-2.0
//
// The bounds of means against exact probabilities: populations of zeros and ones, whose samples are
// hypergeometric, so that every tail is a sum.
#include "fae/calibrate/mean_bounds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fae/calibrate/quantiles.hpp"

namespace {

/// P(k ones in a sample of n) for k = 0..n, from `of` values of which `ones` are one.
std::vector<double> sample_law(int n, int of, int ones) {
    const auto choose = [](int a, int b) {
        return fae::detail::log_gamma(a + 1.0) - fae::detail::log_gamma(b + 1.0) -
               fae::detail::log_gamma(a - b + 1.0);
    };
    std::vector<double> law(static_cast<std::size_t>(n) + 1, 0);
    for (int k = std::max(0, n - (of - ones)); k <= std::min(n, ones); ++k) {
        law[static_cast<std::size_t>(k)] =
            std::exp(choose(ones, k) + choose(of - ones, n - k) - choose(of, n));
    }
    return law;
}

struct Drawn {
    int n;
    int of;
    int ones;
};

std::vector<Drawn> populations() {
    std::vector<Drawn> all;
    for (const int of : {50, 400, 3000}) {
        for (const int n : {2, of / 20, of / 4, of / 2, of * 3 / 4, of - 1}) {
            if (n < 2) continue;
            for (const int ones : {1, of / 20, of / 5, of / 2, of - of / 20}) all.push_back({n, of, ones});
        }
    }
    all.push_back({20000, 40000, 20000});  // so many that the range matters little
    return all;
}

/// The probability that `missed(k / n)` holds.
template <class Missed>
double probability(const Drawn& p, Missed&& missed) {
    const std::vector<double> law = sample_law(p.n, p.of, p.ones);
    double sum = 0;
    for (int k = 0; k <= p.n; ++k) {
        if (missed(static_cast<double>(k) / p.n)) sum += law[static_cast<std::size_t>(k)];
    }
    return sum;
}

constexpr double deltas[] = {0.5, 0.1, 1e-2, 1e-4, 1e-8};
constexpr double rounding = 1 + 1e-9;

}  // namespace

// Catches a constant of the exponent that is wrong in either direction: with half the variance the
// probability at small deltas is beyond delta, with twice the variance it is nowhere near.
TEST_CASE(
    "mean bounds: the distance of Hoeffding and Serfling is exceeded with a probability of at most delta") {
    double closest = 0;
    for (const Drawn& p : populations()) {
        const double truth = static_cast<double>(p.ones) / p.of;
        for (const double delta : deltas) {
            const double h = fae::hoeffding_serfling(p.n, p.of, delta);
            const double above = probability(p, [&](double mean) { return mean - truth > h; });
            const double below = probability(p, [&](double mean) { return truth - mean > h; });
            CAPTURE(p.n);
            CAPTURE(p.of);
            CAPTURE(p.ones);
            REQUIRE(above <= delta * rounding);
            REQUIRE(below <= delta * rounding);
            if (above > 0) closest = std::max(closest, std::log(delta) / std::log(above));
        }
    }
    CHECK(closest > 0.7);  // somewhere the probability is delta to the power of 1 / 0.7 at least
}

// Catches a deviation that is scaled wrongly, a range that is forgotten, and a bound that is never the better
// one.
TEST_CASE("mean bounds: so is the distance from the sample's own deviation, which is less for rare ones") {
    double closest = 0;
    int better = 0;
    for (const Drawn& p : populations()) {
        const double truth = static_cast<double>(p.ones) / p.of;
        for (const double delta : deltas) {
            const auto distance = [&](double mean) {
                return fae::empirical_bernstein_serfling(p.n, p.of, std::sqrt(mean * (1 - mean)), delta);
            };
            const double above = probability(p, [&](double m) { return m - truth > distance(m); });
            const double below = probability(p, [&](double m) { return truth - m > distance(m); });
            REQUIRE(above <= delta * rounding);
            REQUIRE(below <= delta * rounding);
            if (above > 0) closest = std::max(closest, std::log(delta / 5) / std::log(above));
            better += distance(truth) < fae::hoeffding_serfling(p.n, p.of, delta) ? 1 : 0;
        }
    }
    CHECK(closest > 0.1);
    CHECK(better > 0);
    // Of many inputs that differ little it is less by far.
    CHECK(fae::empirical_bernstein_serfling(1e6, 4e7, 0.05, 0.01) <
          fae::hoeffding_serfling(1e6, 4e7, 0.01) / 5);
}

// Catches an entropy of the wrong side.
TEST_CASE("mean bounds: Chernoff's upper bound is below the truth with a probability of at most delta") {
    double closest = 0;
    for (const Drawn& p : populations()) {
        const double truth = static_cast<double>(p.ones) / p.of;
        for (const double delta : deltas) {
            const double missed =
                probability(p, [&](double m) { return fae::chernoff_upper(m, p.n, delta) < truth - 1e-12; });
            REQUIRE(missed <= delta * rounding);
            if (missed > 0) closest = std::max(closest, std::log(delta) / std::log(missed));
        }
    }
    CHECK(closest > 0.6);
    CHECK(fae::chernoff_upper(0, 100, 0.05) == doctest::Approx(1 - std::pow(0.05, 0.01)));
    CHECK(fae::chernoff_upper(1, 100, 0.05) == 1);
    CHECK(fae::chernoff_upper(0.98, 1000, 0.05) - 0.98 < fae::hoeffding_serfling(1000, 1e9, 0.05) / 2);
}

// Catches a population that is looked at in full and still not known, and arguments of no meaning.
TEST_CASE("mean bounds: all inputs leave no doubt, none leaves all, and impossible samples are refused") {
    CHECK(fae::hoeffding_serfling(1000, 1000, 0.05) == 0);
    CHECK(fae::empirical_bernstein_serfling(1000, 1000, 0.3, 0.05) == 0);
    CHECK(std::isinf(fae::hoeffding_serfling(0, 1000, 0.05)));
    CHECK(std::isinf(fae::empirical_bernstein_serfling(0, 1000, 0, 0.05)));
    CHECK(fae::chernoff_upper(0, 0, 0.05) == 1);
    CHECK(fae::hoeffding_serfling(100, fae::unlimited, 0.05) ==
          doctest::Approx(std::sqrt(std::log(20) / 200)));
    CHECK_THROWS_AS((void)fae::hoeffding_serfling(11, 10, 0.05), fae::ContractError);
    CHECK_THROWS_AS((void)fae::hoeffding_serfling(1, 10, 1), fae::ContractError);
    CHECK_THROWS_AS((void)fae::empirical_bernstein_serfling(1, 10, 0, 0), fae::ContractError);
    CHECK_THROWS_AS((void)fae::chernoff_upper(1.1, 10, 0.5), fae::ContractError);
}
