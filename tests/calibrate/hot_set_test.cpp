// SPDX-License-Identifier: Apache-2.0
//
// HotSet: the bijection between hot rows and slots.
#include "fae/calibrate/hot_set.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"

namespace {

std::vector<std::uint32_t> random_rows(std::uint32_t rows, double share, std::uint64_t seed) {
    fae::Philox rng(seed);
    std::vector<std::uint32_t> hot;
    for (std::uint32_t r = 0; r < rows; ++r) {
        if (rng.uniform() < share) hot.push_back(r);
    }
    return hot;
}

void check_bijection(const fae::HotSet& set, std::uint32_t rows, const std::vector<std::uint32_t>& hot) {
    REQUIRE(set.rows() == rows);
    REQUIRE(set.size() == hot.size());
    std::size_t next = 0;
    std::uint64_t wrong = 0;
    for (std::uint32_t r = 0; r < rows; ++r) {
        wrong += set.rank(r) != next ? 1u : 0u;
        const bool is_hot = next < hot.size() && hot[next] == r;
        wrong += set.contains(r) != is_hot ? 1u : 0u;
        wrong += set.find(r) != (is_hot ? next : fae::HotSet::cold) ? 1u : 0u;
        if (!is_hot) continue;
        wrong += set.slot_of(r) != next ? 1u : 0u;
        wrong += set.row_of(next) != r ? 1u : 0u;
        ++next;
    }
    wrong += set.rank(rows) != hot.size() ? 1u : 0u;
    CHECK(wrong == 0);
}

}  // namespace

// Catches a slot given twice, a row lost, an order that is not ascending, and a wrong answer where no row or
// every row is hot and no bitmap is kept.
TEST_CASE("hot_set: rows and slots are a bijection, ascending, however it is built") {
    fae::Threads threads(3);
    for (const std::uint32_t rows : {1u, 64u, 1000u, 70000u, 200001u}) {
        for (const double share : {0.0, 0.03, 0.7, 1.0}) {
            CAPTURE(rows);
            CAPTURE(share);
            const std::vector<std::uint32_t> hot = random_rows(rows, share, rows);
            std::vector<bool> flags(rows, false);
            for (const std::uint32_t r : hot) flags[r] = true;
            const std::vector<std::uint64_t> wide(hot.begin(), hot.end());
            check_bijection(fae::HotSet(rows, hot), rows, hot);
            check_bijection(fae::HotSet(rows, wide), rows, hot);
            check_bijection(
                fae::HotSet::from_rows(fae::par(threads), rows, fae::Span<const std::uint32_t>(hot)), rows,
                hot);
            check_bijection(fae::HotSet::from_predicate(fae::par(threads), rows,
                                                        [&](std::uint64_t r) { return flags[r]; }),
                            rows, hot);
        }
        check_bijection(fae::HotSet::none(rows), rows, {});
        check_bijection(fae::HotSet::all(rows), rows, random_rows(rows, 1.0, 1));
    }
}

// Catches slots kept as floats, or in 24 bits: 2^25 of them.
TEST_CASE("hot_set: slots beyond 2^24 stay distinct") {
    const std::uint64_t many = (std::uint64_t{1} << 25) + 64;
    const auto all_but_row_0 = fae::HotSet::from_bitmap(
        fae::seq, fae::RankBitmap::from_word_function(fae::seq, many, [](std::uint64_t w) {
            return w == 0 ? ~std::uint64_t{1} : ~std::uint64_t{0};
        }));
    CHECK(all_but_row_0.size() == many - 1);
    for (const std::uint64_t row :
         {(std::uint64_t{1} << 24) + 1, (std::uint64_t{1} << 24) + 2, many - 2, many - 1}) {
        CHECK(all_but_row_0.slot_of(row) == row - 1);
        CHECK(all_but_row_0.row_of(row - 1) == row);
    }
}

#if !defined(__SANITIZE_THREAD__)  // 700 MB of bits: minutes under the thread sanitizer, and no thread
// Catches row ids cut to 32 bits.
TEST_CASE("hot_set: rows beyond 2^32 stay distinct") {
    const std::uint64_t rows = (std::uint64_t{1} << 32) + 1000;
    const std::vector<std::uint64_t> hot = {0, 77, (std::uint64_t{1} << 32) - 1, std::uint64_t{1} << 32,
                                            rows - 1};
    const auto set = fae::HotSet::from_bitmap(
        fae::seq, fae::RankBitmap::from_word_function(fae::seq, rows, [&](std::uint64_t w) {
            std::uint64_t bits = 0;
            if (w < 2 || w + 20 > rows / 64) {
                for (const std::uint64_t r : hot) bits |= r / 64 == w ? std::uint64_t{1} << (r % 64) : 0;
            }
            return bits;
        }));
    REQUIRE(set.size() == hot.size());
    for (std::size_t slot = 0; slot < hot.size(); ++slot) {
        CHECK(set.row_of(slot) == hot[slot]);
        CHECK(set.find(hot[slot]) == slot);
    }
    CHECK(set.find(rows - 2) == fae::HotSet::cold);
}
#endif

// Catches lists that would not be a bijection.
TEST_CASE("hot_set: rows out of order, twice or out of range are refused") {
    using Rows = std::vector<std::uint32_t>;
    CHECK_THROWS_WITH_AS(fae::HotSet(9, Rows{1, 3, 3}),
                         "hot row 2 is 3 after 3, expected strictly ascending rows", fae::ContractError);
    CHECK_THROWS_WITH_AS(fae::HotSet(9, Rows{4, 2}),
                         "hot row 1 is 2 after 4, expected strictly ascending rows", fae::ContractError);
    CHECK_THROWS_WITH_AS(fae::HotSet(9, Rows{4, 9}), "hot row 1 is 9, expected less than 9",
                         fae::ContractError);
}

// Catches a whole table taken for a partial one, or the reverse.
TEST_CASE("hot_set: it knows which ranges are hot in full") {
    std::vector<std::uint32_t> hot;
    for (std::uint32_t r = 100; r < 1100; ++r) hot.push_back(r);
    const fae::HotSet set(2000, hot);
    CHECK(set.covers(100, 1100));
    CHECK(set.covers(500, 500));
    CHECK(!set.covers(99, 1100));
    CHECK(!set.covers(100, 1101));
    CHECK(fae::HotSet::all(10).covers(0, 10));
    CHECK(!fae::HotSet::none(10).covers(0, 1));
}

// Catches an index that is not charged, or charged where there is none, and one beyond 1.5 bits a row.
TEST_CASE("hot_set: the index takes at most 1.5 bits a row, and nothing where all or no rows are hot") {
    const std::uint32_t rows = 100000;
    const fae::HotSet set(rows, random_rows(rows, 0.1, 3));
    CHECK(set.index_bytes() == fae::RankBitmap::bytes_for(rows));
    CHECK(set.index_bytes() == fae::HotSet::index_bytes_for(rows, set.size()));
    CHECK(static_cast<double>(set.index_bytes()) * 8 <= 1.5 * rows);
    CHECK(fae::HotSet::none(rows).index_bytes() == 0);
    CHECK(fae::HotSet::all(rows).index_bytes() == 0);
    CHECK(fae::HotSet(rows, random_rows(rows, 1.0, 3)).index_bytes() == 0);
}

// Catches a Ref that points into the object instead of what it owns.
TEST_CASE("hot_set: a move leaves Refs valid") {
    fae::HotSet set(5000, random_rows(5000, 0.5, 8));
    const fae::HotSet::Ref ref = set.ref();
    const std::uint64_t row = set.row_of(100);
    const fae::HotSet moved = std::move(set);
    CHECK(ref.row_of(100) == row);
    CHECK(ref.slot_of(row) == 100);
    CHECK(moved.slot_of(row) == 100);
}

// Catches a Ref over a copy that still reads the original, and one that takes an empty set's copy for all
// rows.
TEST_CASE("hot_set: a Ref over a copy of the memory answers as the set does") {
    std::vector<std::uint64_t> blocks;
    std::vector<std::uint32_t> list;
    fae::HotSet::Ref ref;
    const std::vector<std::uint32_t> rows = random_rows(5000, 0.3, 8);
    {
        const fae::HotSet set(5000, rows);
        const fae::HotSet::Storage storage = set.storage();
        blocks.assign(storage.blocks.begin(), storage.blocks.end());
        list.assign(storage.narrow.begin(), storage.narrow.end());
        CHECK(storage.wide.empty());
        ref = set.ref_to({blocks, list, {}});
    }
    CHECK(ref.size() == rows.size());
    for (std::size_t slot = 0; slot < rows.size(); ++slot) {
        REQUIRE(ref.find(rows[slot]) == slot);
        REQUIRE(ref.row_of(slot) == rows[slot]);
    }
    CHECK_FALSE(fae::HotSet::none(10).ref_to({}).contains(3));
    CHECK(fae::HotSet::all(10).ref_to({}).row_of(3) == 3);
}
