// SPDX-License-Identifier: Apache-2.0
//
// Quantiles against published and independently computed values.
#include "fae/calibrate/quantiles.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>

// Catches a wrong number of degrees of freedom, a wrong side, and a fraction that has not converged.
TEST_CASE("quantiles: Student's t has its known values") {
    CHECK(fae::student_quantile(0.999, 35) == doctest::Approx(3.3400).epsilon(2e-5));
    CHECK(fae::student_quantile(0.9995, 34) == doctest::Approx(3.6007).epsilon(2e-5));
    CHECK(fae::student_quantile(0.999, 34) == doctest::Approx(3.3479).epsilon(2e-5));
    // One and two degrees of freedom have closed forms.
    const double pi = 3.14159265358979323846;
    for (const double p : {0.6, 0.9, 0.99, 0.9999}) {
        CHECK(fae::student_quantile(p, 1) == doctest::Approx(std::tan(pi * (p - 0.5))).epsilon(1e-9));
        const double two = (2 * p - 1) / std::sqrt(2 * p * (1 - p));
        CHECK(fae::student_quantile(p, 2) == doctest::Approx(two).epsilon(1e-9));
        CHECK(fae::student_quantile(1 - p, 7) == doctest::Approx(-fae::student_quantile(p, 7)).epsilon(1e-9));
    }
    CHECK(fae::student_quantile(0.5, 9) == 0);
    // The normal law in the limit.
    CHECK(fae::student_quantile(0.975, 1e8) == doctest::Approx(1.959963985).epsilon(1e-6));
}

// Catches bounds that miss: at the bound, hits or fewer must have exactly the probability left over.
TEST_CASE("quantiles: binomial bounds are exact") {
    CHECK(fae::binomial_upper(0, 10, 0.95) == doctest::Approx(1 - std::pow(0.05, 0.1)).epsilon(1e-9));
    CHECK(fae::binomial_lower(10, 10, 0.95) == doctest::Approx(std::pow(0.05, 0.1)).epsilon(1e-9));
    CHECK(fae::binomial_upper(7, 7, 0.9) == 1);
    CHECK(fae::binomial_lower(0, 7, 0.9) == 0);
    for (const int hits : {1, 3, 12, 19}) {
        const double p = fae::binomial_upper(hits, 20, 0.999);
        double at_most = 0;
        double term = std::pow(1 - p, 20);
        for (int k = 0; k <= hits; ++k) {
            at_most += term;
            term *= p / (1 - p) * (20 - k) / (k + 1);
        }
        CHECK(at_most == doctest::Approx(0.001).epsilon(1e-6));
    }
    const fae::Interval none = fae::binomial_interval(0, 0, 0.95);
    CHECK(none.lower == 0);
    CHECK(none.upper == 1);
}

// Catches loss of precision where both parameters are in the millions.
TEST_CASE("quantiles: large samples come near the normal law") {
    const double n = 4e7;
    const double p = 0.3;
    const fae::Interval interval = fae::binomial_interval(p * n, n, 0.95);
    const double half = 1.959963985 * std::sqrt(p * (1 - p) / n);
    CHECK(interval.estimate == doctest::Approx(p));
    CHECK((interval.upper - p) / half == doctest::Approx(1).epsilon(2e-3));
    CHECK((p - interval.lower) / half == doctest::Approx(1).epsilon(2e-3));
}

// Catches arguments outside the laws.
TEST_CASE("quantiles: impossible arguments are refused") {
    CHECK_THROWS_AS((void)fae::student_quantile(1.0, 5), fae::ContractError);
    CHECK_THROWS_AS((void)fae::student_quantile(0.9, 0), fae::ContractError);
    CHECK_THROWS_AS((void)fae::binomial_upper(3, 2, 0.9), fae::ContractError);
    CHECK_THROWS_AS((void)fae::binomial_upper(1, 2, 1.0), fae::ContractError);
}
