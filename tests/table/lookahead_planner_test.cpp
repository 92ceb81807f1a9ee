// SPDX-License-Identifier: Apache-2.0
//
// Tests of the look-ahead planner: its plans against a plain judge, on random and adversarial schedules.
#include "fae/table/lookahead_planner.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"
#include "support/lookahead_oracle.hpp"
#include "support/reduced.hpp"

using namespace fae;
using namespace fae_test;

namespace {

// Plans a case, has every plan judged, and returns what was counted.
LookaheadCounts plan_and_judge(const LookaheadCase& c, bool exact = true) {
    const HotSet hot = c.hot_set();
    LookaheadPlanner planner(hot, c.options);
    LookaheadPlan plan;
    plan.reserve(c.options);
    PlanJudge judge(c);
    std::vector<std::uint32_t> located;
    for (const Batch& batch : c.batches) {
        located.assign(batch.size(), 0xABABABABu);
        planner.push(seq, lookups_of(batch), Span<std::uint32_t>(located), plan);
        judge.see(batch, located, plan, exact);
    }
    judge.see_places(planner, c.rows);
    CHECK(planner.counts() == judge.total());
    CHECK(planner.planned() == c.batches.size());
    return judge.total();
}

}  // namespace

// Catches: two rows in a slot, a slot given away before its last need is done, a look-up that points
// elsewhere than to its row, a row lost or doubled, a wait that is forgotten or named for nothing, a
// miscount.
TEST_CASE("look-ahead planner: ten thousand random schedules keep every rule") {
    LookaheadCounts total;
    for (std::uint64_t seed = 1; seed <= share_of(10000); ++seed) {
        CAPTURE(seed);
        total.add(plan_and_judge(random_lookahead_case(seed, 24)));
    }
    // The cases meet everything.
    CHECK(total.hot > share_of(10000));
    CHECK(total.hits > share_of(10000));
    CHECK(total.brought > share_of(10000));
    CHECK(total.direct > share_of(10000));
    CHECK(total.rows_out > share_of(10000));
}

// Catches: what random schedules meet too seldom.
TEST_CASE("look-ahead planner: adversarial schedules keep every rule for every window and look-ahead") {
    for (LookaheadCase& c : adversarial_cases()) {
        for (const std::uint64_t window :
             {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{9}, c.rows / 2, c.rows}) {
            for (const std::uint64_t lookahead : {1u, 2u, 3u, 64u}) {
                CAPTURE(window);
                CAPTURE(lookahead);
                c.options.window = window;
                c.options.lookahead = lookahead;
                const LookaheadCounts counts = plan_and_judge(c);
                if (window == c.rows) CHECK(counts.direct == 0);
                if (window == 0) CHECK(counts.direct > 0);
                CHECK((counts.rows_in == 0) == (window == 0));
            }
        }
    }
}

// Catches: a row that leaves although it is needed again within the look-ahead, or that is brought twice.
TEST_CASE("look-ahead planner: a row in every second batch stays, and comes in once") {
    LookaheadCase c = adversarial_cases()[1];
    c.options.window = 5;
    c.options.lookahead = 2;
    const HotSet hot = c.hot_set();
    LookaheadPlanner planner(hot, c.options);
    LookaheadPlan plan;
    std::vector<std::uint32_t> located;
    std::size_t brought = 0;
    for (const Batch& batch : c.batches) {
        located.resize(batch.size());
        planner.push(seq, lookups_of(batch), Span<std::uint32_t>(located), plan);
        for (const RowMove& move : plan.bring) brought += move.row == 7 ? 1u : 0u;
    }
    CHECK(brought == 1);
    CHECK(planner.counts().rows_out > 0);
}

namespace {

// Batches over many rows, a window of several shards.
LookaheadCase large_case() {
    LookaheadCase c;
    c.rows = 400000;
    for (std::uint32_t r = 0; r < c.rows; r += 9) c.hot.push_back(r);
    c.options.window = 70000;
    c.options.lookahead = 3;
    Philox random(3);
    for (std::uint64_t b = 0; b < 12; ++b) {
        Batch batch(9000 + 1500 * (b % 4));
        for (std::uint32_t& row : batch) {
            row = static_cast<std::uint32_t>(random.below(random.below(2) == 0 ? 30000 : c.rows));
        }
        c.batches.push_back(std::move(batch));
    }
    c.set_most_lookups();
    return c;
}

bool equal(const LookaheadPlan& a, const LookaheadPlan& b) {
    const auto same = [](const std::vector<RowMove>& x, const std::vector<RowMove>& y) {
        return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const RowMove& m, const RowMove& n) {
            return m.row == n.row && m.slot == n.slot;
        });
    };
    return a.number == b.number && same(a.bring, b.bring) && same(a.leave, b.leave) && a.counts == b.counts &&
           a.waits.steps_before_leave == b.waits.steps_before_leave &&
           a.waits.steps_before_bring == b.waits.steps_before_bring &&
           a.waits.homes_before_bring == b.waits.homes_before_bring &&
           a.waits.homes_before_direct == b.waits.homes_before_direct;
}

}  // namespace

// Catches: shards that share or lose slots or rows.
TEST_CASE("look-ahead planner: a window of several shards keeps every rule") {
    const LookaheadCounts counts = plan_and_judge(large_case(), false);
    CHECK(counts.hits > 1000);
    CHECK(counts.rows_out > 1000);
}

// Catches: plans that depend on who did what when.
TEST_CASE("look-ahead planner: plans are the same for 1 to 8 threads") {
    const LookaheadCase c = large_case();
    const HotSet hot = c.hot_set();
    LookaheadPlanner one(hot, c.options);
    LookaheadPlan expected;
    std::vector<std::vector<std::uint32_t>> located;
    std::vector<LookaheadPlan> plans;
    for (const Batch& batch : c.batches) {
        located.emplace_back(batch.size());
        one.push(seq, lookups_of(batch), Span<std::uint32_t>(located.back()), expected);
        plans.push_back(expected);
    }
    for (std::size_t count = 2; count <= 8; ++count) {
        Threads threads(count);
        LookaheadPlanner planner(hot, c.options);
        LookaheadPlan plan;
        for (std::size_t b = 0; b < c.batches.size(); ++b) {
            std::vector<std::uint32_t> found(c.batches[b].size());
            planner.push(par(threads), lookups_of(c.batches[b]), Span<std::uint32_t>(found), plan);
            REQUIRE(found == located[b]);
            REQUIRE(equal(plan, plans[b]));
        }
    }
}

// Catches: slots of the schedule's hot set taken for those of the resident one, and tables that are resident
// in full served from elsewhere.
TEST_CASE(
    "look-ahead planner: hot batches of another hot set, and known tables, give the plans of plain row ids") {
    const RowSpace space({{30, 4, ""}, {200, 4, ""}, {5, 4, ""}});
    std::vector<std::uint32_t> resident;
    for (std::uint32_t r = 0; r < 30; ++r) resident.push_back(r);  // the first table in full
    for (std::uint32_t r = 33; r < 230; r += 4) resident.push_back(r);
    const HotSet hot(space.rows(), Span<const std::uint32_t>(resident));
    const HotSet of_order = HotSet::from_predicate(seq, space.rows(), [](RowId row) { return row % 7 != 3; });
    Philox random(4);
    std::vector<Batch> rows;
    std::vector<Batch> slots;
    for (int b = 0; b < 30; ++b) {
        rows.emplace_back();
        slots.emplace_back();
        for (std::size_t i = 0; i < 3 * random.below(20); ++i) {
            RowId row = 0;
            do row = space.row(i % 3, random.below(space.table(i % 3).rows));
            while (!of_order.contains(row));
            rows.back().push_back(static_cast<std::uint32_t>(row));
            slots.back().push_back(static_cast<std::uint32_t>(of_order.slot_of(row)));
        }
        while (rows.back().size() % 3 != 0) {
            rows.back().pop_back();
            slots.back().pop_back();
        }
    }
    const LookaheadOptions options{25, 2, 60};
    LookaheadPlanner plain(hot, options);
    LookaheadPlanner known(hot, options, &space);
    LookaheadPlanner other(hot, options);
    LookaheadPlan expected;
    LookaheadPlan plan;
    for (std::size_t b = 0; b < rows.size(); ++b) {
        Batch wanted(rows[b].size());
        Batch found(rows[b].size());
        const auto bags = Bags<std::uint32_t>::fixed(rows[b], 1, 3);
        plain.push(seq, Lookups<std::uint32_t>{Heat::cold, bags, nullptr}, Span<std::uint32_t>(wanted),
                   expected);
        known.push(seq, Lookups<std::uint32_t>{Heat::mixed, bags, nullptr}, Span<std::uint32_t>(found), plan);
        REQUIRE(found == wanted);
        REQUIRE(equal(plan, expected));
        other.push(seq,
                   Lookups<std::uint32_t>{Heat::hot, Bags<std::uint32_t>::fixed(slots[b], 1, 3), &of_order},
                   Span<std::uint32_t>(found), plan);
        REQUIRE(found == wanted);
        REQUIRE(equal(plan, expected));
    }
    CHECK(plain.counts().rows_out > 0);
    // Slots of the resident set itself are taken as they are.
    Batch own{3, 0, 31};
    Batch found(3);
    plain.push(seq, Lookups<std::uint32_t>{Heat::hot, Bags<std::uint32_t>::fixed(own, 1, 3), &hot},
               Span<std::uint32_t>(found), plan);
    for (std::size_t i = 0; i < 3; ++i) CHECK(found[i] == (own[i] | fast_bit<std::uint32_t>));
    CHECK(plan.bring.empty());
}

// Catches: memory that was not announced, or that grows with rows or plans.
TEST_CASE("look-ahead planner: it takes the memory that it announces, whatever the rows, and no more later") {
    for (const std::uint64_t window : {0u, 1u, 5u, 1000u, 8192u, 20000u, 300000u}) {
        for (const std::uint64_t lookups : {0u, 1u, 5000u}) {
            const LookaheadOptions options{window, 4, lookups};
            CAPTURE(window);
            CAPTURE(lookups);
            const HotSet few = HotSet::none(10);
            const HotSet many = HotSet::all(std::uint64_t{1} << 36);
            CHECK(LookaheadPlanner(few, options).bytes() == LookaheadPlanner::bytes_for(options));
            CHECK(LookaheadPlanner(many, options).bytes() == LookaheadPlanner::bytes_for(options));
            CHECK(LookaheadPlanner::bytes_for(options) <= 140 * window + 64 * lookups + 4096);
        }
    }
    const LookaheadCase c = large_case();
    const HotSet hot = c.hot_set();
    LookaheadPlanner planner(hot, c.options);
    LookaheadPlan plan;
    plan.reserve(c.options);
    const std::size_t moves = plan.bring.capacity();
    CHECK(LookaheadPlan::bytes_for(c.options) == 2 * moves * sizeof(RowMove));
    std::vector<std::uint32_t> located;
    for (const Batch& batch : c.batches) {
        located.resize(batch.size());
        planner.push(seq, lookups_of(batch), Span<std::uint32_t>(located), plan);
    }
    CHECK(planner.bytes() == LookaheadPlanner::bytes_for(c.options));
    CHECK(plan.bring.capacity() == moves);
    CHECK(plan.leave.capacity() == moves);
}

// Catches: misuse that goes through, or a message without both values.
TEST_CASE("look-ahead planner: misuse is refused with both values") {
    const HotSet hot = HotSet::none(10);
    CHECK_THROWS_WITH_AS(LookaheadPlanner(hot, {4, 0, 5}), "lookahead is 0, expected 1 to 1048576",
                         ContractError);
    CHECK_THROWS_AS(LookaheadPlanner(hot, {std::uint64_t{1} << 31, 1, 5}), ContractError);
    const RowSpace space({{11, 4, ""}});
    CHECK_THROWS_WITH_AS(LookaheadPlanner(hot, {4, 1, 5}, &space), "the hot set covers 10 rows, expected 11",
                         ContractError);
    LookaheadPlanner planner(hot, {4, 1, 2});
    LookaheadPlan plan;
    const Batch batch{1, 2, 3};
    Batch located(3);
    CHECK_THROWS_WITH_AS(planner.push(seq, lookups_of(batch), Span<std::uint32_t>(located), plan),
                         "the batch has 3 look-ups, expected at most 2", ContractError);
    const Batch small{1, 2};
    CHECK_THROWS_WITH_AS(planner.push(seq, lookups_of(small), Span<std::uint32_t>(located), plan),
                         "located has 3 entries, expected 2", ContractError);
    CHECK(planner.planned() == 0);
}

// Catches: a part that depends on what another part does for another batch, and look-ups that are read after
// their located indices have taken their place.
TEST_CASE(
    "look-ahead planner: hot look-ups may be served long before, in place, and the plans are the same") {
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        CAPTURE(seed);
        const LookaheadCase c = random_lookahead_case(seed, 12);
        const HotSet hot = c.hot_set();
        // With one table a feature and look-ups that are looked at feature by feature, where there is one.
        const RowSpace space({{c.rows, 4, ""}});
        LookaheadPlanner whole(hot, c.options);
        LookaheadPlanner parts(hot, c.options, &space);
        std::vector<Batch> in_place = c.batches;
        std::vector<ColdLookups> cold;
        for (Batch& batch : in_place) {
            cold.emplace_back(parts);
            parts.serve_hot(seq, lookups_of(batch), Span<std::uint32_t>(batch), cold.back());
        }
        LookaheadPlan expected;
        LookaheadPlan found;
        for (std::size_t b = 0; b < c.batches.size(); ++b) {
            std::vector<std::uint32_t> located(c.batches[b].size());
            whole.push(seq, lookups_of(c.batches[b]), Span<std::uint32_t>(located), expected);
            parts.push(seq, cold[b], found);
            parts.list_moves(cold[b], found);
            parts.locate_others(seq, cold[b], Span<std::uint32_t>(in_place[b]));
            REQUIRE(in_place[b] == located);
            REQUIRE(equal(found, expected));
        }
    }
}
