// SPDX-License-Identifier: Apache-2.0
//
// The drift test as a property: how often it is wrong where nothing drifts, and how often it sees what does.
#include "fae/advise/drift.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "fae/core/random.hpp"

namespace {

double probability(const std::vector<double>& values) {
    return fae::fall_probability(fae::Span<const double>(values));
}

}  // namespace

// Catches: a distribution that is not the exact one, pairs counted the wrong way round.
TEST_CASE("fall_probability: is the share of all orders that fall at least as much") {
    std::vector<double> values{4, 1, 3, 0, 2};
    std::vector<double> order{0, 1, 2, 3, 4};
    const auto falling = [](const std::vector<double>& v) {
        int pairs = 0;
        for (std::size_t i = 0; i < v.size(); ++i)
            for (std::size_t j = i + 1; j < v.size(); ++j) pairs += v[i] > v[j] ? 1 : 0;
        return pairs;
    };
    int as_much = 0;
    int all = 0;
    do {
        ++all;
        as_much += falling(order) >= falling(values) ? 1 : 0;
    } while (std::next_permutation(order.begin(), order.end()));
    CHECK(all == 120);
    CHECK(probability(values) == doctest::Approx(static_cast<double>(as_much) / all));
    CHECK(probability({5, 4, 3, 2, 1}) == doctest::Approx(1.0 / 120));
    CHECK(probability({1, 2, 3, 4, 5}) == doctest::Approx(1));
    CHECK(probability({2, 2, 2, 2}) == doctest::Approx(1));
    CHECK(probability({}) == 1);
    CHECK(probability({1}) == 1);
}

// Catches: a test that rejects more often than it says, for values of any law, ties among them.
TEST_CASE("drift_report: where nothing drifts it says so, but for the error rate") {
    constexpr int cases = 4000;
    for (const int law : {0, 1, 2}) {
        CAPTURE(law);
        for (const double rate : {0.05, 0.01}) {
            int rejected = 0;
            for (int c = 0; c < cases; ++c) {
                fae::Philox random(static_cast<std::uint64_t>(c), static_cast<std::uint64_t>(law));
                std::vector<double> coverage;
                for (int w = 0; w < 16; ++w) {
                    const double u = random.uniform();
                    coverage.push_back(law == 0 ? u : law == 1 ? std::pow(u, 20) : std::floor(u * 5));
                }
                rejected += fae::drift_report(coverage, {}, rate).falls ? 1 : 0;
            }
            const double most = rate * cases + 3.5 * std::sqrt(rate * (1 - rate) * cases);
            CHECK(rejected <= most);
            if (law != 2) CHECK(rejected >= rate * cases / 2);  // and it does use its error rate
        }
    }
}

TEST_CASE("drift_report: a fall of a standard deviation over four windows is seen") {
    int seen = 0;
    for (std::uint64_t c = 0; c < 500; ++c) {
        fae::Philox random(c, 9);
        std::vector<double> coverage;
        for (int w = 0; w < 16; ++w) coverage.push_back(0.9 - 0.0025 * w + 0.01 * random.normal());
        const fae::DriftReport report = fae::drift_report(coverage, {}, 0.01);
        seen += report.falls ? 1 : 0;
        CHECK(report.fall_a_window == doctest::Approx(0.0025).epsilon(1.0));
    }
    CHECK(seen > 450);
}

// Catches: windows of the two sets compared with the wrong ones, an interval that misses too often.
TEST_CASE("drift_report: the gain's interval holds the true gain at its confidence") {
    int held = 0;
    constexpr int cases = 2000;
    for (std::uint64_t c = 0; c < cases; ++c) {
        fae::Philox random(c, 11);
        std::vector<double> coverage;
        std::vector<double> fresh;
        for (int w = 0; w < 16; ++w) {
            const double of_window = 0.02 * random.normal();  // common to both sets
            coverage.push_back(0.8 + of_window + 0.001 * random.normal());
            if (w >= 8) fresh.push_back(0.83 + of_window + 0.001 * random.normal());
        }
        const fae::DriftReport report = fae::drift_report(coverage, fresh, 0.05);
        held += report.gain.lower <= 0.03 && 0.03 <= report.gain.upper ? 1 : 0;
        CHECK(report.gain.upper - report.gain.lower < 0.01);
    }
    CHECK(held >= 0.95 * cases - 3.5 * std::sqrt(0.05 * 0.95 * cases));
    CHECK_THROWS_AS((void)fae::drift_report({0.5}, {0.5, 0.6}), fae::ContractError);
    CHECK_THROWS_AS((void)fae::drift_report({0.5}, {}, 1.0), fae::ContractError);
}
