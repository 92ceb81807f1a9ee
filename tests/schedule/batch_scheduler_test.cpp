// SPDX-License-Identifier: Apache-2.0
//
// Tests of the batch scheduler: each input once an epoch, pure batches, segments of the length that the rate
// asks for.
#include "fae/schedule/batch_scheduler.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"

using namespace fae;

namespace {

struct Seen {
    BatchRef batch;
    std::vector<std::uint64_t> inputs;
};

template <class Policy>
std::vector<Seen> run(const ScheduleOptions& options, Policy policy) {
    BatchScheduler<Policy> scheduler(options, std::move(policy));
    static_assert(BatchSource<BatchScheduler<Policy>>);
    std::vector<Seen> out;
    for (BatchRef batch; scheduler.next(batch);)
        out.push_back({batch, {batch.inputs.begin(), batch.inputs.end()}});
    return out;
}

}  // namespace

// Catches: an input left out or repeated (the last partial batch above all), in either order, in any epoch.
TEST_CASE("batch_scheduler: every input appears exactly once per epoch, whatever the sizes") {
    Philox random(1);
    for (int round = 0; round < 300; ++round) {
        ScheduleOptions options;
        options.hot_inputs = random.below(4) == 0 ? 0 : random.below(200);
        options.cold_inputs = random.below(4) == 0 ? 0 : random.below(200);
        options.batch_size = 1 + random.below(50);
        options.epochs = 1 + random.below(3);
        options.seed = random.bits64();
        options.order = random.below(3) == 0 ? Order::shuffled : Order::fae;
        const auto rate = static_cast<unsigned>(1 + random.below(100));
        const std::vector<Seen> batches = run(options, FixedRate(rate));
        std::vector<std::multiset<std::pair<int, std::uint64_t>>> epochs(options.epochs);
        std::uint64_t step = 0;
        for (const Seen& seen : batches) {
            REQUIRE(seen.batch.step == step++);
            REQUIRE(!seen.inputs.empty());
            REQUIRE(seen.inputs.size() <= options.batch_size);
            for (const std::uint64_t i : seen.inputs) {
                REQUIRE(i < (seen.batch.heat == Heat::hot    ? options.hot_inputs
                             : seen.batch.heat == Heat::cold ? options.cold_inputs
                                                             : options.hot_inputs + options.cold_inputs));
                epochs[seen.batch.epoch].insert({static_cast<int>(seen.batch.heat), i});
            }
        }
        for (const auto& epoch : epochs) {
            REQUIRE(epoch.size() == options.hot_inputs + options.cold_inputs);
            REQUIRE(std::set<std::pair<int, std::uint64_t>>(epoch.begin(), epoch.end()).size() ==
                    epoch.size());
        }
    }
}

// Catches: segments of the wrong length, hot before cold, a remainder that is lost.
TEST_CASE("batch_scheduler: at rate r a segment has r percent of its class's batches, cold first") {
    const ScheduleOptions options{.hot_inputs = 100, .cold_inputs = 70, .batch_size = 10};
    const std::vector<Seen> batches = run(options, FixedRate(25));
    std::vector<std::pair<Heat, int>> segments;
    for (const Seen& seen : batches) {
        if (seen.batch.begins_segment) segments.push_back({seen.batch.heat, 0});
        REQUIRE(seen.batch.heat == segments.back().first);
        ++segments.back().second;
    }
    const std::vector<std::pair<Heat, int>> expected{{Heat::cold, 2}, {Heat::hot, 3},  {Heat::cold, 2},
                                                     {Heat::hot, 3},  {Heat::cold, 2}, {Heat::hot, 3},
                                                     {Heat::cold, 1}, {Heat::hot, 1}};
    CHECK(segments == expected);
}

// Catches: segment counts off the paper's: R(100) 2, R(50) 4, R(25) 8, R(1) 200 segments for 100 batches a
// class.
TEST_CASE("batch_scheduler: an epoch has 2 * ceil(100 / r) segments") {
    for (const auto& [rate, expected] : {std::pair{100u, 2u}, {50u, 4u}, {25u, 8u}, {1u, 200u}}) {
        unsigned segments = 0;
        unsigned rounds = 0;
        for (const Seen& seen :
             run({.hot_inputs = 400, .cold_inputs = 400, .batch_size = 4}, FixedRate(rate))) {
            segments += seen.batch.begins_segment ? 1 : 0;
            rounds += seen.batch.ends_round ? 1 : 0;
        }
        CHECK(segments == expected);
        CHECK(rounds == expected / 2);
    }
}

// Catches: a loss that reaches the policy but not the schedule.
TEST_CASE("batch_scheduler: a reported rise shortens the next round") {
    BatchScheduler scheduler({.hot_inputs = 100, .cold_inputs = 100, .batch_size = 1, .epochs = 2},
                             LossReactiveRate{});
    double loss = 1.0;
    std::vector<int> cold_segments;
    for (BatchRef batch; scheduler.next(batch);) {
        if (batch.heat == Heat::cold) {
            if (batch.begins_segment) cold_segments.push_back(0);
            ++cold_segments.back();
        }
        if (batch.ends_round) scheduler.report(loss += 0.1);
    }
    CHECK(cold_segments[0] == 50);
    CHECK(cold_segments[1] == 50);
    CHECK(cold_segments[2] == 25);
    CHECK(cold_segments[3] == 12);
    CHECK(cold_segments[4] == 6);
}

// Catches: a rate read once and never again where one class is empty.
TEST_CASE("batch_scheduler: the rate is followed where all inputs are hot, or all cold") {
    for (const bool hot : {false, true}) {
        BatchScheduler scheduler(
            {.hot_inputs = hot ? 100u : 0u, .cold_inputs = hot ? 0u : 100u, .batch_size = 1},
            LossReactiveRate{});
        double loss = 1.0;
        std::vector<int> rounds(1, 0);
        for (BatchRef batch; scheduler.next(batch);) {
            ++rounds.back();
            if (batch.ends_round) {
                scheduler.report(loss += 0.1);
                rounds.push_back(0);
            }
        }
        CHECK(rounds == std::vector<int>{50, 50, 0});
    }
}

// Catches: orders that repeat from epoch to epoch, or that do not repeat for equal seeds.
TEST_CASE("batch_scheduler: an order is a function of seed and epoch") {
    const ScheduleOptions options{
        .hot_inputs = 60, .cold_inputs = 60, .batch_size = 60, .epochs = 2, .seed = 5};
    const std::vector<Seen> once = run(options, FixedRate(100));
    const std::vector<Seen> again = run(options, FixedRate(100));
    REQUIRE(once.size() == 4);
    for (std::size_t b = 0; b < once.size(); ++b) CHECK(once[b].inputs == again[b].inputs);
    CHECK(once[0].inputs != once[2].inputs);
    CHECK(once[0].inputs != once[1].inputs);
    ScheduleOptions other = options;
    other.seed = 6;
    CHECK(run(other, FixedRate(100))[0].inputs != once[0].inputs);
}

// Catches: a copy that shares state with its original.
TEST_CASE("batch_scheduler: a copy replays the rest of the schedule") {
    BatchScheduler scheduler({.hot_inputs = 30, .cold_inputs = 50, .batch_size = 7, .epochs = 2},
                             LossReactiveRate{});
    BatchRef batch;
    for (int i = 0; i < 5; ++i) REQUIRE(scheduler.next(batch));
    auto copy = scheduler;
    std::vector<std::uint64_t> rest;
    std::vector<std::uint64_t> replayed;
    while (scheduler.next(batch)) rest.insert(rest.end(), batch.inputs.begin(), batch.inputs.end());
    while (copy.next(batch)) replayed.insert(replayed.end(), batch.inputs.begin(), batch.inputs.end());
    CHECK(rest == replayed);
}

// Catches: mixed batches where nothing is mixed, so that a fully hot model would train at home.
TEST_CASE("batch_scheduler: the shuffled order of one class is a stream of that class") {
    CHECK(run({.hot_inputs = 9, .cold_inputs = 0, .order = Order::shuffled}, FixedRate(50))[0].batch.heat ==
          Heat::hot);
    CHECK(run({.hot_inputs = 0, .cold_inputs = 9, .order = Order::shuffled}, FixedRate(50))[0].batch.heat ==
          Heat::cold);
    CHECK(run({.hot_inputs = 4, .cold_inputs = 5, .order = Order::shuffled}, FixedRate(50))[0].batch.heat ==
          Heat::mixed);
}

// Catches: a schedule of nothing that emits an empty batch, and a batch size of 0 that never ends.
TEST_CASE("batch_scheduler: no inputs give no batches; a batch size of 0 is refused") {
    CHECK(run({}, FixedRate(50)).empty());
    CHECK_THROWS_WITH_AS(run({.hot_inputs = 1, .batch_size = 0}, FixedRate(50)),
                         "batch_size is 0, expected at least 1", ContractError);
}
