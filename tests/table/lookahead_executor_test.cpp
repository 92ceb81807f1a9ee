// SPDX-License-Identifier: Apache-2.0
//
// Tests of what look-ahead plans say an executor must wait for: whoever obeys it ends in the right rows in
// every order, and whoever leaves out one of the waits does not.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/lookahead_simulation.hpp"
#include "support/reduced.hpp"

using namespace fae;
using namespace fae_test;

namespace {

// The seeds of `count` cases that end in wrong rows where something is ignored.
std::size_t wrong(std::size_t count, Ignored ignored) {
    std::size_t wrong = 0;
    for (std::uint64_t seed = 1; seed <= count; ++seed) {
        const LookaheadCase c = random_lookahead_case(seed, 40);
        wrong += run_in_random_order(c, seed, ignored) == train_rows(c) ? 0u : 1u;
    }
    return wrong;
}

// Every worker on a thread of its own, with delays.
std::vector<std::uint64_t> run_on_threads(const LookaheadCase& c, std::uint64_t seed) {
    Simulation simulation(c);
    std::atomic<std::uint64_t> done[Simulation::workers] = {};
    const auto count = [&](Simulation::Worker worker) {
        return done[worker].load(std::memory_order_acquire);
    };
    std::vector<std::thread> threads;
    for (int w = 0; w < Simulation::workers; ++w) {
        threads.emplace_back([&, w] {
            const auto worker = static_cast<Simulation::Worker>(w);
            Philox random(seed, static_cast<std::uint64_t>(w));
            const bool slow = random.below(2) == 0;
            for (std::uint64_t n = 0; n < simulation.batches(); ++n) {
                while (!simulation.ready(worker, n, count)) std::this_thread::yield();
                if (slow && random.below(4) == 0) {
                    std::this_thread::sleep_for(std::chrono::microseconds(random.below(200)));
                }
                simulation.work(worker, n);
                done[w].store(n + 1, std::memory_order_release);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    return simulation.values();
}

}  // namespace

// Catches: a wait that is missing from a plan, or names too early a step; a deadlock.
TEST_CASE("look-ahead plans: executors that keep their waits end in the right rows in every order") {
    CHECK(wrong(share_of(4000), {}) == 0);
}

// Catches: a simulation that cannot go wrong, or a wait that nobody needs.
TEST_CASE("look-ahead plans: leaving out any one wait ends in wrong rows") {
    CHECK(wrong(2000, {.steps_before_bring = true}) > 0);
    CHECK(wrong(2000, {.homes_before_bring = true}) > 0);
    CHECK(wrong(2000, {.homes_before_direct = true}) > 0);
    CHECK(wrong(2000, {.leave_before_bring = true}) > 0);
    // Who plans no further ahead than agreed has done the steps that leaving slots wait for.
    CHECK(wrong(2000, {.steps_before_leave = true}) == 0);
    CHECK(wrong(2000, {.steps_before_leave = true, .lookahead = true}) > 0);
    CHECK(wrong(2000, {.lookahead = true}) > 0);
}

// Catches: the same with real threads, and a race that the thread sanitizer sees.
TEST_CASE("look-ahead plans: six threads with delays end in the right rows") {
    for (std::uint64_t seed = 1; seed <= share_of(60); ++seed) {
        CAPTURE(seed);
        const LookaheadCase c = random_lookahead_case(seed, 60);
        CHECK(run_on_threads(c, seed) == train_rows(c));
    }
}
