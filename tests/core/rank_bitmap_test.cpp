// SPDX-License-Identifier: Apache-2.0
//
// RankBitmap against a plain array of flags.
#include "fae/core/rank_bitmap.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"

namespace {

std::vector<bool> random_flags(std::uint64_t size, double share, std::uint64_t seed) {
    fae::Philox rng(seed);
    std::vector<bool> flags(size);
    for (std::uint64_t i = 0; i < size; ++i) flags[i] = rng.uniform() < share;
    return flags;
}

}  // namespace

// Catches a wrong mask at word or block borders, a wrong sub-count field, and a chunk start left out.
TEST_CASE("rank_bitmap: rank and membership equal a running count at every position") {
    fae::Threads threads(3);
    for (const std::uint64_t size : {1u, 63u, 64u, 65u, 447u, 448u, 449u, 1024u, 114687u, 114688u, 300001u}) {
        for (const double share : {0.0, 0.01, 0.5, 1.0}) {
            CAPTURE(size);
            CAPTURE(share);
            const std::vector<bool> flags = random_flags(size, share, size);
            const auto set = fae::RankBitmap::from_predicate(fae::par(threads), size,
                                                             [&](std::uint64_t i) { return flags[i]; });
            std::uint64_t before = 0;
            std::uint64_t wrong = 0;
            for (std::uint64_t i = 0; i < size; ++i) {
                wrong += set.contains(i) != flags[i] ? 1u : 0u;
                wrong += set.rank(i) != before ? 1u : 0u;
                before += flags[i] ? 1u : 0u;
            }
            CHECK(wrong == 0);
            CHECK(set.rank(size) == before);
            CHECK(set.ones() == before);
            CHECK(set.size() == size);
        }
    }
}

// Catches a build that depends on how it was cut.
TEST_CASE("rank_bitmap: every executor builds the same bytes") {
    const std::vector<bool> flags = random_flags(500000, 0.3, 7);
    const auto member = [&](std::uint64_t i) { return flags[i]; };
    const auto serial = fae::RankBitmap::from_predicate(fae::seq, flags.size(), member);
    for (const std::size_t count : {2u, 5u}) {
        fae::Threads threads(count);
        const auto parallel = fae::RankBitmap::from_predicate(fae::par(threads), flags.size(), member);
        REQUIRE(parallel.storage().size() == serial.storage().size());
        bool equal = true;
        for (std::size_t i = 0; i < serial.storage().size(); ++i) {
            equal = equal && parallel.storage()[i] == serial.storage()[i];
        }
        CHECK(equal);
    }
}

// Catches bits beyond the end that would count as members.
TEST_CASE("rank_bitmap: bits beyond the size are dropped") {
    const std::vector<std::uint64_t> words(2, ~std::uint64_t{0});
    const auto set = fae::RankBitmap::from_words(fae::seq, 70, words);
    CHECK(set.ones() == 70);
    CHECK(set.rank(70) == 70);
    CHECK(set.ref().word(1) == 63);
}

// Catches a number of words that would be read past its end.
TEST_CASE("rank_bitmap: a wrong number of words is refused with both numbers") {
    const std::vector<std::uint64_t> words(2);
    CHECK_THROWS_WITH_AS((void)fae::RankBitmap::from_words(fae::seq, 129, words),
                         "words has 2 entries, expected 3 for 129 positions", fae::ContractError);
}

// Catches a wrong rank given to a visitor after a chunk border, a position left out, and one beyond the end.
TEST_CASE("rank_bitmap: visitors see each member and each other position once, with its rank") {
    fae::Threads threads(3);
    for (const std::uint64_t size : {1u, 64u, 100u, 114688u, 400003u}) {
        const std::vector<bool> flags = random_flags(size, 0.4, size + 1);
        const auto set = fae::RankBitmap::from_predicate(fae::seq, size, [&](auto i) { return flags[i]; });
        std::vector<std::uint64_t> in(set.ones(), size);
        std::vector<std::uint64_t> out(size - set.ones(), size);
        set.for_each(fae::par(threads), [&](std::uint64_t i, std::uint64_t rank) { in.at(rank) = i; });
        set.for_each_missing(fae::par(threads),
                             [&](std::uint64_t i, std::uint64_t rank) { out.at(rank) = i; });
        std::size_t next_in = 0;
        std::size_t next_out = 0;
        bool equal = true;
        for (std::uint64_t i = 0; i < size; ++i) {
            equal = equal && (flags[i] ? in[next_in++] == i : out[next_out++] == i);
        }
        CHECK(equal);
    }
}

// Catches ranks that would not fit their bits.
TEST_CASE("rank_bitmap: more positions than ranks have room for are refused") {
    CHECK_THROWS_WITH_AS((void)fae::RankBitmap::from_predicate(fae::seq, (std::uint64_t{1} << 37) + 1,
                                                               [](std::uint64_t) { return true; }),
                         "size is 137438953473, expected at most 137438953472", fae::ContractError);
}

// Catches a structure that outgrows what the design promises.
TEST_CASE("rank_bitmap: a large set takes 1.15 bits a position") {
    const std::uint64_t size = 448000;
    const auto set = fae::RankBitmap::from_predicate(fae::seq, size, [](std::uint64_t) { return true; });
    CHECK(set.bytes() == fae::RankBitmap::bytes_for(size));
    CHECK(static_cast<double>(set.bytes()) * 8 / static_cast<double>(size) <= 1.15);
    CHECK(fae::RankBitmap().bytes() == 0);
}
