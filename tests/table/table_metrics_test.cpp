// SPDX-License-Identifier: Apache-2.0
//
// What a table books into a host's counters, and that it books nothing unasked.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"
#include "fae/trace/metrics.hpp"

using namespace fae;

namespace {

using Index = std::uint32_t;
const RowSpace one_table({{40, 4, "a"}});

template <class Table>
void look_up(Table& table, std::uint64_t step, Heat heat, const HotSet* hot,
             const std::vector<Index>& values) {
    table.synchronise(seq, heat);
    std::vector<Index> located(values.size());
    const Bags<Index> bags =
        table.locate(seq, step, Lookups<Index>{heat, Bags<Index>::fixed(values, 1, 1), hot},
                     Span<Index>(located.data(), located.size()));
    table.touched(seq, bags.values());
}

}  // namespace

// Catches: look-ups under the wrong tier, moves that are booked twice or not, booking without being asked.
TEST_CASE("table: metrics hold the look-ups of each tier and what synchronising moved") {
    const std::vector<Index> hot_rows{1, 5, 9};
    const HotSet hot(40, Span<const Index>(hot_rows));
    HotColdTable<float, StaticPlacement<>> table(one_table, OptimizerKind::sgd, static_placement(hot));
    table.initialise(seq, 1);
    Metrics metrics;
    table.set_metrics(&metrics);
    const SyncReport up = table.synchronise(seq, Heat::hot);
    CHECK(up.rows == 3);
    look_up(table, 0, Heat::hot, &hot, {0, 2, 2, 1});
    look_up(table, 1, Heat::hot, &hot, {0});
    const SyncReport down = table.synchronise(seq, Heat::cold);
    CHECK(down.rows == 3);
    look_up(table, 2, Heat::cold, nullptr, {1, 30});
    CHECK(metrics.fast == TierCounts{5, 5});
    CHECK(metrics.home == TierCounts{2, 2});
    CHECK(metrics.rows_to_fast == up.rows);
    CHECK(metrics.bytes_to_fast == up.bytes);
    CHECK(metrics.rows_to_home == down.rows);
    CHECK(metrics.bytes_to_home == down.bytes);
    CHECK(metrics.stalled(Tier::fast) > 0);
    CHECK(metrics.stalled(Tier::home) > 0);
    table.set_metrics(nullptr);
    const Metrics before = metrics;
    table.synchronise(seq, Heat::hot);
    look_up(table, 3, Heat::hot, &hot, {0});
    CHECK(metrics == before);
}

// Catches: rows that are brought counted as hits of the fast tier.
TEST_CASE("table: a row that look-ahead brings for a batch is a miss, and is booked as moved") {
    const HotSet none = HotSet::none(40);
    HotColdTable<float, LookaheadPlacement<>> table(
        one_table, OptimizerKind::sgd,
        LookaheadPlacement<>(none, {.window = 6, .lookahead = 1, .most_lookups = 8}));
    table.initialise(seq, 1);
    Metrics metrics;
    table.set_metrics(&metrics);
    look_up(table, 0, Heat::cold, nullptr, {3, 7, 3});
    CHECK(metrics.fast == TierCounts{3, 1});
    CHECK(metrics.rows_to_fast == 2);
    look_up(table, 1, Heat::cold, nullptr, {3, 7});
    CHECK(metrics.fast == TierCounts{5, 3});
    CHECK(metrics.rows_to_fast == 2);
    look_up(table, 2, Heat::cold, nullptr, {10, 11, 12, 13});
    CHECK(metrics.rows_to_fast == 6);
    CHECK(metrics.rows_to_home == 0);
    look_up(table, 3, Heat::cold, nullptr, {20, 21});  // in the slots of 3 and 7
    CHECK(metrics.rows_to_fast == 8);
    CHECK(metrics.rows_to_home == 2);
    CHECK(metrics.bytes_to_home == 2 * table.record_bytes());
    CHECK(metrics.home.lookups == 0);
}
