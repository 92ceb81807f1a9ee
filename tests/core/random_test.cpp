// SPDX-License-Identifier: Apache-2.0
//
// Tests of core/random.hpp.
#include "fae/core/random.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

using namespace fae;

namespace {

/// Pearson's statistic of counts against equal shares, as (statistic - cells) / sqrt(2 cells): about standard
/// normal.
double chi_square_score(const std::vector<std::uint64_t>& counts) {
    double total = 0;
    for (const std::uint64_t count : counts) total += static_cast<double>(count);
    const double expected = total / static_cast<double>(counts.size());
    double statistic = 0;
    for (const std::uint64_t count : counts) {
        statistic +=
            (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
    }
    const double freedom = static_cast<double>(counts.size() - 1);
    return (statistic - freedom) / std::sqrt(2 * freedom);
}

}  // namespace

// Catches any slip in the rounds: these are the known answers of Random123's philox4x32-10.
TEST_CASE("philox: gives the known answers") {
    const auto check = [](Block4 counter, std::uint32_t key0, std::uint32_t key1, const Block4& expected) {
        const Block4 found = philox(key0 | std::uint64_t{key1} << 32, counter);
        for (int i = 0; i < 4; ++i) CHECK(found.word[i] == expected.word[i]);
    };
    check({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
    check({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff, 0xffffffff,
          {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
    check({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
          {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
    static_assert(philox(0, {{0, 0, 0, 0}}).word[0] == 0x6627e8d5);
}

// Catches a constant that is wrong: the first outputs of SplitMix64 from state 0, as published with it.
TEST_CASE("mix64: gives SplitMix64's sequence") {
    CHECK(mix64(0) == 0xE220A8397B1DCDAFu);
    CHECK(mix64(0x9E3779B97F4A7C15u) == 0x6E789E6AA1B965F4u);
    CHECK(mix64(2 * 0x9E3779B97F4A7C15u) == 0x06C45D188009454Fu);
}

// Catches words used twice or left out between blocks, and streams that overlap.
TEST_CASE("Philox: a sequence is its blocks word by word, and streams differ") {
    Philox random(0x123456789ABCDEFu, 42);
    for (std::uint32_t block = 0; block < 5; ++block) {
        const Block4 expected = philox(0x123456789ABCDEFu, {{block, 0, 42, 0}});
        for (int i = 0; i < 4; ++i) CHECK(random.bits32() == expected.word[i]);
    }
    std::set<std::uint64_t> seen;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        for (std::uint64_t stream = 0; stream < 20; ++stream) {
            seen.insert(Philox(seed, stream).bits64());
            seen.insert(Philox(seed, stream << 32 | 100).bits64());
        }
    }
    CHECK(seen.size() == 20 * (20 + 20));
}

// Catches the bias of a plain modulo, and bounds that are missed or passed.
TEST_CASE("Philox: below(n) is within bounds and uniform") {
    for (const std::uint64_t n : {1u, 2u, 3u, 10u, 97u}) {
        Philox random(n);
        std::vector<std::uint64_t> counts(n);
        for (int i = 0; i < 100'000; ++i) ++counts.at(random.below(n));
        if (n > 1) CHECK(std::abs(chi_square_score(counts)) < 5);
    }
    // Three quarters of the range: a modulo would make the lower third twice as likely.
    Philox random(1);
    const std::uint64_t n = (std::uint64_t{1} << 63) + (std::uint64_t{1} << 62);
    std::vector<std::uint64_t> thirds(3);
    for (int i = 0; i < 60'000; ++i) ++thirds.at(random.below(n) / (n / 3));
    CHECK(std::abs(chi_square_score(thirds)) < 5);
}

// Catches an interval that includes 1, and moments that are off.
TEST_CASE("Philox: uniform is in [0, 1), normal has mean 0 and variance 1") {
    CHECK(to_unit(0) == 0.0);
    CHECK(to_unit(~std::uint64_t{0}) < 1.0);
    CHECK(to_unit(std::uint64_t{1} << 63) == 0.5);
    Philox random(9);
    std::vector<std::uint64_t> cells(64);
    double sum = 0;
    double squares = 0;
    constexpr int draws = 100'000;
    for (int i = 0; i < draws; ++i) {
        ++cells.at(static_cast<std::size_t>(random.uniform() * 64));
        const double x = random.normal();
        sum += x;
        squares += x * x;
    }
    CHECK(std::abs(chi_square_score(cells)) < 5);
    CHECK(std::abs(sum / draws) < 5 / std::sqrt(draws));
    CHECK(std::abs(squares / draws - 1) < 5 * std::sqrt(2.0 / draws));
}

// Catches elements twice or never, and an inverse that is none.
TEST_CASE("Permutation: is a bijection with its inverse, for every size") {
    for (std::uint64_t n = 1; n < 300; ++n) {
        const Permutation order(n, 7, n % 5);
        std::vector<bool> seen(n);
        for (std::uint64_t i = 0; i < n; ++i) {
            const std::uint64_t element = order(i);
            REQUIRE(element < n);
            REQUIRE_FALSE(seen[element]);
            seen[element] = true;
            REQUIRE(order.position_of(element) == i);
        }
    }
    for (const std::uint64_t n :
         {std::uint64_t{45'840'617}, (std::uint64_t{1} << 40) + 12345, std::uint64_t{1} << 62}) {
        const Permutation order(n, 1);
        Philox random(n);
        for (int k = 0; k < 2000; ++k) {
            const std::uint64_t i = random.below(n);
            REQUIRE(order(i) < n);
            REQUIRE(order.position_of(order(i)) == i);
        }
    }
}

// Catches orders that prefer some places, or tie neighbours together.
// Would catch a walk that ends early or goes on, and a place that is written by another's walk.
TEST_CASE("Permutation: fill gives what its positions give one by one") {
    for (const std::uint64_t n : {1u, 2u, 5u, 64u, 255u, 1000u, 4097u, 70'000u}) {
        const Permutation order(n, 7, n);
        for (const std::uint64_t first : {std::uint64_t{0}, n / 3, n - 1}) {
            std::vector<std::uint64_t> filled(static_cast<std::size_t>(n - first));
            order.fill(first, filled);
            bool equal = true;
            for (std::uint64_t i = first; i < n; ++i) equal = equal && filled[i - first] == order(i);
            CHECK(equal);
        }
    }
}

TEST_CASE("Permutation: over seeds, every element comes to every place alike, alone and in pairs") {
    constexpr std::uint64_t n = 12;
    std::vector<std::uint64_t> places(n * n);
    std::vector<std::uint64_t> pairs(n * n);
    for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
        const Permutation order(n, seed);
        for (std::uint64_t i = 0; i < n; ++i) ++places[i * n + order(i)];
        ++pairs[order(3) * n + order(4)];
    }
    std::vector<std::uint64_t> off_diagonal;
    for (std::uint64_t a = 0; a < n; ++a) {
        for (std::uint64_t b = 0; b < n; ++b) {
            if (a != b) off_diagonal.push_back(pairs[a * n + b]);
        }
    }
    CHECK(std::abs(chi_square_score(places)) < 6);
    CHECK(std::abs(chi_square_score(off_diagonal)) < 6);
}

// Catches a seed or stream that is not used.
TEST_CASE("Permutation: seed and stream change the order, and equal ones repeat it") {
    const auto fixed_points = [](const Permutation& a, const Permutation& b) {
        std::uint64_t same = 0;
        for (std::uint64_t i = 0; i < a.size(); ++i) same += a(i) == b(i);
        return same;
    };
    const Permutation order(1000, 1, 2);
    CHECK(fixed_points(order, Permutation(1000, 1, 2)) == 1000);
    CHECK(fixed_points(order, Permutation(1000, 2, 2)) < 20);
    CHECK(fixed_points(order, Permutation(1000, 1, 3)) < 20);
    CHECK(fixed_points(order, Permutation(1000, 2, 1)) < 20);
    CHECK(Permutation().size() == 0);
}
