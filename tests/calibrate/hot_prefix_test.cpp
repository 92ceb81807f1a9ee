// SPDX-License-Identifier: Apache-2.0
//
// hot_prefix: the best rows of a hot set.
#include "fae/calibrate/hot_prefix.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"

using namespace fae;

// Catches: other rows than the most looked up, ties that are not broken by row, a size missed by one, an
// answer that depends on threads.
TEST_CASE("hot_prefix: the rows of the highest counts, the first of equal ones, for every size") {
    Threads threads(3);
    Philox random(1);
    std::vector<std::uint32_t> rows;
    for (std::uint32_t row = 0; row < 500; ++row) {
        if (random.below(3) == 0) rows.push_back(row);
    }
    const HotSet hot(500, Span<const std::uint32_t>(rows));
    std::vector<std::uint64_t> counts(rows.size());
    for (std::uint64_t& count : counts) count = random.below(12);
    std::vector<std::size_t> order(rows.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
    for (std::size_t size = 0; size <= rows.size() + 1; ++size) {
        CAPTURE(size);
        std::vector<std::uint32_t> expected;
        for (std::size_t i = 0; i < std::min(size, rows.size()); ++i) expected.push_back(rows[order[i]]);
        std::sort(expected.begin(), expected.end());
        const HotSet found = hot_prefix(seq, hot, counts, size);
        const HotSet by_threads = hot_prefix(par(threads), hot, counts, size);
        REQUIRE(found.size() == expected.size());
        REQUIRE(by_threads.size() == expected.size());
        REQUIRE(found.rows() == 500);
        for (std::size_t slot = 0; slot < expected.size(); ++slot) {
            REQUIRE(found.row_of(slot) == expected[slot]);
            REQUIRE(by_threads.row_of(slot) == expected[slot]);
        }
    }
    CHECK_THROWS_AS((void)hot_prefix(seq, hot, Span<const std::uint64_t>(counts.data(), 1), 1),
                    ContractError);
}
