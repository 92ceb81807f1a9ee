// SPDX-License-Identifier: Apache-2.0
//
// Tests of the look-ahead planner: its plans against a plain judge, on random and adversarial schedules.
#include "fae/table/lookahead_planner.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/core/threads.hpp"
#include "support/lookahead_oracle.hpp"

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
    for (std::uint64_t seed = 1; seed <= 10000; ++seed) {
        CAPTURE(seed);
        total.add(plan_and_judge(random_lookahead_case(seed, 24)));
    }
    // The cases meet everything.
    CHECK(total.hot > 10000);
    CHECK(total.hits > 10000);
    CHECK(total.brought > 10000);
    CHECK(total.direct > 10000);
    CHECK(total.rows_out > 10000);
}
