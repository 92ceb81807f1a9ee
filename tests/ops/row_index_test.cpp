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
#include "support/reduced.hpp"

using fae::Bags;
using fae::Pooling;
using fae::seq;

namespace {

struct IndexScratch {
    explicit IndexScratch(std::size_t bytes) : memory(bytes + 64) {}
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
            IndexScratch scratch(bytes);
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

/// Look-ups of tables laid end to end, sample by sample; those of `fast_table` in slots.
template <class Index>
std::vector<Index> values_of_tables(const std::vector<std::uint64_t>& tables, std::size_t samples,
                                    std::size_t bag_size, double hot, std::size_t fast_table,
                                    std::uint64_t seed) {
    fae::Philox random(seed);
    std::vector<Index> values;
    for (std::size_t sample = 0; sample < samples; ++sample) {
        std::uint64_t first = 0;
        for (std::size_t f = 0; f < tables.size(); ++f) {
            for (std::size_t k = 0; k < bag_size; ++k) {
                const std::uint64_t row = random.uniform() < hot ? tables[f] / 2 : random.below(tables[f]);
                values.push_back(static_cast<Index>(first + row) |
                                 (f == fast_table ? fae::fast_bit<Index> : Index{0}));
            }
            first += tables[f];
        }
    }
    return values;
}

/// Builds the index of bags of several features with every executor.
template <class Index>
void check_features(const std::vector<Index>& values, std::size_t features, std::size_t bag_size,
                    std::uint64_t rows) {
    const std::vector<float> weights(values.size(), 1.0f);
    const auto bags = Bags<Index>::fixed(values, bag_size, features, weights);
    for (const Pooling pooling : {Pooling::sum, Pooling::weighted}) {
        const std::size_t bytes = fae::row_index_scratch<Index>(values.size(), pooling);
        IndexScratch scratch(bytes);
        fae::Workspace workspace = scratch.workspace(bytes);
        check_index(build_row_index(seq, bags, rows, workspace, pooling), bags, pooling);
        fae::Threads threads(3);
        workspace = scratch.workspace(bytes);
        check_index(build_row_index(par(threads), bags, rows, workspace, pooling), bags, pooling);
    }
}

}  // namespace

// Catches: lost or reordered look-ups, an unstable pass, bits of a key left unsorted, the tier bit misplaced.
TEST_CASE("row_index: look-ups are grouped by located row, stable by position") {
    std::uint64_t seed = 0;
    fae_test::CaseShare cases;
    for (const std::size_t n : {0u, 1u, 2u, 63u, 1000u, 1024u}) {
        for (const std::uint64_t rows : {1u, 2u, 3u, 511u, 512u, 513u, 100000u, 33762577u, 0x80000000u}) {
            for (const double fast : {0.0, 0.4, 1.0}) {
                if (!cases.take()) continue;
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

// Catches: rows of a feature counted, or sorted by bits, into the wrong place: a table of one row, as many
// rows as there is room to count, one row more, the tier bit; rows in which no look-up falls; one row alone.
TEST_CASE("row_index: features of a row space are grouped, whatever the size of their tables") {
    const std::vector<std::uint64_t> tables = {1,     3,     1024,    1025,  2999, 3000,
                                               16384, 16385, 2202608, 12517, 40,   10131227};
    const std::uint64_t rows = std::accumulate(tables.begin(), tables.end(), std::uint64_t{0});
    for (const std::size_t samples : {1u, 7u, 3000u, 17000u}) {
        for (const double hot : {0.0, 0.5, 1.0}) {
            for (const std::size_t bag_size : {1u, 2u}) {
                if (samples * bag_size > 17000) continue;
                CAPTURE(samples);
                CAPTURE(hot);
                CAPTURE(bag_size);
                const auto seed = samples + bag_size;
                // No table in slots, or the last: both keep the features' rows apart.
                for (const std::size_t fast : {tables.size(), tables.size() - 1}) {
                    check_features(
                        values_of_tables<std::uint32_t>(tables, samples, bag_size, hot, fast, seed),
                        tables.size(), bag_size, rows);
                }
                check_features(
                    values_of_tables<std::uint64_t>(tables, samples, bag_size, hot, tables.size(), seed),
                    tables.size(), bag_size, rows);
            }
        }
    }
}

// Catches: features that are dealt apart although a late look-up of one falls among the rows of the next.
TEST_CASE("row_index: features whose rows meet late in the batch are still in one order") {
    const std::vector<std::uint64_t> tables = {100, 2000, 300000};
    for (const std::size_t feature : {0u, 1u}) {
        auto values = values_of_tables<std::uint32_t>(tables, 3000, 1, 0.1, tables.size(), 5);
        values[2900 * tables.size() + feature] = 250000;
        check_features(values, tables.size(), 1, 302100);
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
        IndexScratch scratch(bytes);
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
    IndexScratch scratch(fae::row_index_scratch<std::uint32_t>(4));
    fae::Workspace workspace = scratch.workspace(fae::row_index_scratch<std::uint32_t>(4));
    CHECK_THROWS_AS(static_cast<void>(build_row_index(seq, bags, (std::uint64_t{1} << 31) + 1, workspace)),
                    fae::ContractError);
    if constexpr (fae::checked) {
        CHECK_THROWS_WITH_AS(static_cast<void>(build_row_index(seq, bags, 70, workspace)),
                             "values[2] is 70, expected less than 70", fae::IndexError);
    }
}
