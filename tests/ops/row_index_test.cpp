// SPDX-License-Identifier: Apache-2.0
//
// The grouping of a batch's look-ups by row.
#include "fae/ops/row_index.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/core/workspace.hpp"

using fae::Bags;
using fae::Pooling;
using fae::seq;

namespace {

struct Scratch {
    explicit Scratch(std::size_t bytes) : memory(bytes + 64) {}
    /// Exactly `bytes` bytes from an aligned one on.
    fae::Workspace workspace(std::size_t bytes) {
        auto* const start = memory.data();
        const auto skip = (0 - reinterpret_cast<std::uintptr_t>(start)) % 64;
        return fae::Workspace({start + skip, bytes});
    }
    std::vector<std::byte> memory;
};

/// The grouping by sorting positions with the standard library.
template <class Index>
void check_index(const fae::RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling) {
    std::vector<std::uint32_t> bag_of(bags.lookups());
    for (std::size_t b = 0; b < bags.size(); ++b) {
        for (std::size_t i = bags.begin(b); i < bags.end(b); ++i) bag_of[i] = static_cast<std::uint32_t>(b);
    }
    std::vector<std::uint32_t> order(bags.lookups());
    std::iota(order.begin(), order.end(), 0u);
    const auto key = [&](std::uint32_t i) { return bags.values()[i]; };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return key(a) < key(b); });
    REQUIRE(index.lookups() == bags.lookups());
    REQUIRE(index.begin.size() == index.rows.size() + 1);
    REQUIRE(index.begin[0] == 0);
    REQUIRE(index.begin[index.rows.size()] == bags.lookups());
    REQUIRE(index.positions.size() == (pooling == Pooling::weighted ? bags.lookups() : 0));
    bool good = true;
    for (std::size_t r = 0; r < index.rows.size(); ++r) {
        good = good && index.begin[r] < index.begin[r + 1] && (r == 0 || index.rows[r - 1] < index.rows[r]);
        for (std::size_t i = index.begin[r]; i < index.begin[r + 1]; ++i) {
            good = good && key(order[i]) == index.rows[r] && index.bags[i] == bag_of[order[i]];
            if (pooling == Pooling::weighted) good = good && index.positions[i] == order[i];
        }
    }
    CHECK(good);
}

template <class Index>
void check_batch(const std::vector<Index>& values, std::uint64_t rows, std::uint64_t seed) {
    fae::Philox random(seed);
    std::vector<std::uint64_t> offsets = {0};
    while (offsets.back() < values.size()) {
        offsets.push_back(std::min<std::uint64_t>(values.size(), offsets.back() + random.below(9)));
    }
    offsets.push_back(values.size());
    const std::vector<float> weights(values.size(), 1.0f);
    std::vector<Bags<Index>> batches = {Bags<Index>::jagged(values, offsets, 1, weights),
                                        Bags<Index>::fixed(values, 1, 1, weights)};
    if (values.size() % 4 == 0) batches.push_back(Bags<Index>::fixed(values, 4, 1, weights));
    for (const Bags<Index>& bags : batches) {
        for (const Pooling pooling : {Pooling::sum, Pooling::weighted}) {
            const std::size_t bytes = fae::row_index_scratch<Index>(values.size(), pooling);
            Scratch scratch(bytes);
            fae::Workspace workspace = scratch.workspace(bytes);
            check_index(build_row_index(seq, bags, rows, workspace, pooling), bags, pooling);
            for (const std::size_t count : {2u, 3u, 8u}) {
                fae::Threads threads(count);
                workspace = scratch.workspace(bytes);
                check_index(build_row_index(par(threads), bags, rows, workspace, pooling), bags, pooling);
            }
        }
    }
}

template <class Index>
std::vector<Index> random_values(std::size_t n, std::uint64_t rows, double fast, double hot,
                                 std::uint64_t seed) {
    fae::Philox random(seed);
    std::vector<Index> values(n);
    for (Index& value : values) {
        value = static_cast<Index>(random.uniform() < hot ? rows - 1 : random.below(rows));
        if (random.uniform() < fast) value |= fae::fast_bit<Index>;
    }
    return values;
}

}  // namespace

// Catches: lost or reordered look-ups, an unstable pass, bits of a key left unsorted, the tier bit misplaced.
TEST_CASE("row_index: look-ups are grouped by located row, stable by position") {
    std::uint64_t seed = 0;
    for (const std::size_t n : {0u, 1u, 2u, 63u, 1000u, 1024u}) {
        for (const std::uint64_t rows : {1u, 2u, 3u, 511u, 512u, 513u, 100000u, 33762577u, 0x80000000u}) {
            for (const double fast : {0.0, 0.4, 1.0}) {
                CAPTURE(n);
                CAPTURE(rows);
                CAPTURE(fast);
                ++seed;
                check_batch(random_values<std::uint32_t>(n, rows, fast, 0.2, seed), rows, seed);
                check_batch(random_values<std::uint64_t>(n, rows, fast, 0.2, seed), rows, seed);
            }
        }
    }
}

// Catches: rows lost or counted twice where a batch is cut into parts, above all a row that spans several.
TEST_CASE("row_index: a batch cut into parts has the index of the whole one") {
    for (const double hot : {0.0, 0.7, 1.0}) {
        CAPTURE(hot);
        check_batch(random_values<std::uint32_t>(70000, 5000, 0.1, hot, 7), 5000, 7);
        check_batch(random_values<std::uint64_t>(40000, 1u << 20, 0.1, hot, 8), 1u << 20, 8);
    }
}

// Catches: 64-bit rows cut to 32 bits.
TEST_CASE("row_index: row spaces of more than 32 bits are told apart") {
    for (const std::uint64_t rows : {std::uint64_t{1} << 31, (std::uint64_t{1} << 32) + 1,
                                     std::uint64_t{1} << 47, std::uint64_t{1} << 63}) {
        for (const double fast : {0.0, 0.5}) {
            CAPTURE(rows);
            check_batch(random_values<std::uint64_t>(1000, rows, fast, 0.3, rows), rows, rows);
            check_batch(random_values<std::uint64_t>(20000, rows, fast, 0.3, rows), rows, rows);
        }
    }
}

// Catches: scratch that is measured too small, or a workspace that is not checked.
TEST_CASE("row_index: the scratch is exactly enough") {
    const auto values = random_values<std::uint32_t>(100, 1000, 0.2, 0.2, 3);
    const auto bags = Bags<std::uint32_t>::fixed(values, 1, 1);
    for (const Pooling pooling : {Pooling::sum, Pooling::weighted}) {
        const std::size_t bytes = fae::row_index_scratch<std::uint32_t>(values.size(), pooling);
        Scratch scratch(bytes);
        fae::Workspace workspace = scratch.workspace(bytes);
        CHECK_NOTHROW(static_cast<void>(build_row_index(seq, bags, 1000, workspace, pooling)));
        CHECK(workspace.left() == 0);
        workspace = scratch.workspace(bytes - 1);
        CHECK_THROWS_AS(static_cast<void>(build_row_index(seq, bags, 1000, workspace, pooling)),
                        fae::ContractError);
    }
}

// Catches: a row space that the index type cannot hold beside its tier bit; in checked builds, a row outside
// it.
TEST_CASE("row_index: rows that do not fit are refused") {
    const std::vector<std::uint32_t> values = {1, 2, 70, 3};
    const auto bags = Bags<std::uint32_t>::fixed(values, 1, 1);
    Scratch scratch(fae::row_index_scratch<std::uint32_t>(4));
    fae::Workspace workspace = scratch.workspace(fae::row_index_scratch<std::uint32_t>(4));
    CHECK_THROWS_AS(static_cast<void>(build_row_index(seq, bags, (std::uint64_t{1} << 31) + 1, workspace)),
                    fae::ContractError);
    if constexpr (fae::checked) {
        CHECK_THROWS_WITH_AS(static_cast<void>(build_row_index(seq, bags, 70, workspace)),
                             "values[2] is 70, expected less than 70", fae::IndexError);
    }
}
