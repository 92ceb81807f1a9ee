// SPDX-License-Identifier: Apache-2.0
//
// Tests of core/zipf.hpp.
#include "fae/core/zipf.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

using namespace fae;

namespace {

double plain_harmonic(std::uint64_t n, double s) {
    double sum = 0;
    for (std::uint64_t k = n; k >= 1; --k) sum += std::pow(static_cast<double>(k), -s);
    return sum;
}

/// Pearson's statistic of `draws` ranks against the law, over cells of at least 50 expected draws each, as
/// (statistic - cells) / sqrt(2 cells): about a standard normal number when the law holds.
double chi_square_score(const Zipf& zipf, const std::vector<std::uint64_t>& count, std::size_t draws) {
    double statistic = 0;
    double cells = -1;
    double expected = 0;
    double seen = 0;
    for (std::uint64_t k = 1; k <= zipf.n(); ++k) {
        expected += zipf.probability(k) * static_cast<double>(draws);
        seen += static_cast<double>(count[k]);
        if (expected >= 50 || k == zipf.n()) {
            if (expected < 5) break;  // what is left at the end is too little for a cell
            statistic += (seen - expected) * (seen - expected) / expected;
            cells += 1;
            expected = seen = 0;
        }
    }
    return cells < 1 ? 0 : (statistic - cells) / std::sqrt(2 * cells);
}

}  // namespace

// Catches a wrong correction term, and a wrong limit at s = 1.
TEST_CASE("harmonic: equals the plain sum for every s, at s = 1 too") {
    for (const double s : {0.0, 0.3, 0.999999999, 1.0, 1.000000001, 1.2, 2.0, 5.0}) {
        for (const std::uint64_t n : {1u, 2u, 63u, 64u, 65u, 100u, 1000u, 300000u}) {
            const double expected = plain_harmonic(n, s);
            CHECK(harmonic(n, s) == doctest::Approx(expected).epsilon(1e-12));
        }
    }
}

// Catches an acceptance test that prefers some ranks, an off-by-one of the ends, and a bad s = 1 or s = 0.
TEST_CASE("Zipf: the counts of many draws follow the law") {
    for (const double s : {0.0, 0.5, 0.999, 1.0, 1.05, 1.5, 3.0}) {
        for (const std::uint64_t n : {1u, 2u, 3u, 10u, 1000u, 50000u}) {
            CAPTURE(s);
            CAPTURE(n);
            const Zipf zipf(n, s);
            Philox rng(7, n * 1000 + static_cast<std::uint64_t>(s * 100));
            const std::size_t draws = 60000;
            std::vector<std::uint64_t> count(n + 1, 0);
            std::size_t outside = 0;
            for (std::size_t i = 0; i < draws; ++i) {
                const std::uint64_t rank = zipf(rng);
                if (rank < 1 || rank > n) {
                    ++outside;
                } else {
                    ++count[rank];
                }
            }
            CHECK(outside == 0);
            CHECK(std::fabs(chi_square_score(zipf, count, draws)) < 4.5);
        }
    }
}

// Catches a law that is right at the head and wrong far out, where counts of single ranks say nothing.
TEST_CASE("Zipf: shares of the top ranks of a large table are those of the law") {
    const std::uint64_t n = 10'131'227;
    for (const double s : {0.8, 1.0, 1.1}) {
        const Zipf zipf(n, s);
        Philox rng(11);
        const std::size_t draws = 100000;
        for (const std::uint64_t top : {1ull, 100ull, 10'000ull, 1'000'000ull, 9'000'000ull}) {
            std::size_t inside = 0;
            for (std::size_t i = 0; i < draws; ++i) inside += zipf(rng) <= top ? 1u : 0u;
            const double share = zipf.cumulative(top);
            const double sigma = std::sqrt(share * (1 - share) / static_cast<double>(draws));
            CHECK(std::fabs(static_cast<double>(inside) / static_cast<double>(draws) - share) < 4.5 * sigma);
        }
    }
}

// Catches a sampler that cannot be coupled: the order of the first uniform must be the order of ranks.
TEST_CASE("Zipf: a smaller first number never draws a less popular rank when both are accepted at once") {
    const Zipf zipf(100000, 1.0);
    std::uint64_t last = 1;
    std::size_t tries = 0;
    for (int i = 0; i < 4096; ++i) {
        bool retried = false;
        const std::uint64_t rank = zipf.draw(i / 4096.0, [&] {
            retried = true;
            ++tries;
            return 0.0;
        });
        if (retried) continue;
        CHECK(rank >= last);
        last = rank;
    }
    CHECK(tries < 4096 / 5);  // fewer than 1.2 tries a draw
}

// Catches a cumulative law that does not end at 1 or disagrees with its probabilities.
TEST_CASE("Zipf: probabilities add up to the cumulative shares") {
    const Zipf zipf(500, 1.3);
    double sum = 0;
    for (std::uint64_t k = 1; k <= 500; ++k) {
        sum += zipf.probability(k);
        CHECK(zipf.cumulative(k) == doctest::Approx(sum).epsilon(1e-12));
    }
    CHECK(zipf.cumulative(500) == 1.0);
    CHECK(zipf.cumulative(0) == 0.0);
}

// Catches a missing check at the boundary.
TEST_CASE("Zipf: an empty range and an s that is negative or no number are refused") {
    CHECK_THROWS_AS(Zipf(0, 1.0), ContractError);
    CHECK_THROWS_AS(Zipf(10, -0.1), ContractError);
    CHECK_THROWS_AS(Zipf(10, std::nan("")), ContractError);
    CHECK_THROWS_AS(Zipf(Zipf::max_n + 1, 1.0), ContractError);
}
