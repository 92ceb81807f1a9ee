// SPDX-License-Identifier: Apache-2.0
//
// split_budget: hot rows, window and look-ahead from a budget.
#include "fae/table/lookahead_split.hpp"

#include <doctest/doctest.h>

#include <cstdint>

#include "fae/core/random.hpp"

using namespace fae;

namespace {

// Criteo Kaggle at 256 MiB, 64-byte rows.
LookaheadDemand kaggle() {
    return {.budget_bytes = std::uint64_t{256} << 20,
            .row_bytes = 64,
            .rows = 33'762'577,
            .hot_rows = 4'118'941,
            .batch = 4096,
            .cold_rows = 4272,
            .window_bytes = {},
            .lookahead = {}};
}

std::uint64_t bytes_of(const LookaheadDemand& demand, const LookaheadSplit& split) {
    return (split.resident_rows + split.window) * demand.row_bytes +
           HotSet::index_bytes_for(demand.rows, split.resident_rows);
}

}  // namespace

// Catches: a window that is smaller than the batches under way need, one that takes all, hot rows left out
// for nothing.
TEST_CASE("split_budget: the window holds the batches under way, hot rows get the rest") {
    const LookaheadDemand demand = kaggle();
    const LookaheadSplit split = split_budget(demand);
    CHECK(split.lookahead == 8);
    CHECK(split.window == 9 * (4272 + 1068 + 1));
    CHECK(bytes_of(demand, split) <= demand.budget_bytes);
    CHECK(bytes_of(demand, split) + 64 > demand.budget_bytes);
}

// Catches: more than the budget, a look-ahead of nothing, more slots than rows; in any case that can be
// drawn.
TEST_CASE("split_budget: never more than the budget and the rows, whatever is asked") {
    Philox random(1);
    for (int i = 0; i < 20000; ++i) {
        LookaheadDemand demand;
        demand.rows = 1 + random.below(random.below(2) == 0 ? 100 : 1'000'000);
        demand.hot_rows = random.below(demand.rows + 1);
        demand.row_bytes = 16 * (1 + random.below(40));
        demand.budget_bytes = random.below(2 * demand.rows * demand.row_bytes);
        demand.batch = 1 + random.below(40000);
        demand.cold_rows = random.below(3 * demand.batch);
        if (random.below(3) == 0) demand.window_bytes = random.below(2 * demand.budget_bytes + 1);
        if (random.below(3) == 0) demand.lookahead = 1 + random.below(2000);
        const LookaheadSplit split = split_budget(demand);
        REQUIRE(bytes_of(demand, split) <= demand.budget_bytes);
        REQUIRE(split.resident_rows <= demand.hot_rows);
        REQUIRE(split.resident_rows + split.window <= demand.rows);
        REQUIRE(split.lookahead >= 1);
        if (demand.lookahead) REQUIRE(split.lookahead == *demand.lookahead);
        if (demand.window_bytes && *demand.window_bytes <= demand.budget_bytes &&
            *demand.window_bytes / demand.row_bytes + split.resident_rows <= demand.rows) {
            REQUIRE(split.window == *demand.window_bytes / demand.row_bytes);
        }
        if (!demand.window_bytes && demand.hot_rows == demand.rows) REQUIRE(split.window == 0);
    }
}

// Catches: a small budget that is all window, or a look-ahead that it cannot hold.
TEST_CASE(
    "split_budget: where the budget is small, fewer batches are planned ahead and half is left to hot rows") {
    LookaheadDemand demand = kaggle();
    demand.budget_bytes = std::uint64_t{8} << 20;
    demand.cold_rows = 15000;
    const LookaheadSplit split = split_budget(demand);
    CHECK(split.window == (demand.budget_bytes / 64) / 2);
    CHECK(split.lookahead == split.window / (15000 + 3750 + 1) - 1);
    demand.budget_bytes = 0;
    CHECK(split_budget(demand).window == 0);
    CHECK(split_budget(demand).resident_rows == 0);
    demand = kaggle();
    demand.window_bytes = 0;
    CHECK(split_budget(demand).window == 0);
    CHECK(split_budget(demand).resident_rows == demand.hot_rows);
    // What is not in slots is served at home: no window bounds how far ahead batches are prepared.
    CHECK(split_budget(demand).lookahead == 8);
    demand.lookahead = 0;
    CHECK_THROWS_WITH_AS((void)split_budget(demand), "lookahead is 0, expected 1 to 1048576", ContractError);
}
