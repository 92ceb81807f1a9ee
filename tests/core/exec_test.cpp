// SPDX-License-Identifier: Apache-2.0
//
// Tests of core/exec.hpp and core/threads.hpp.
#include "fae/core/exec.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"

using namespace fae;
using namespace std::chrono_literals;

namespace {

/// A host's own pool: it starts threads anew for each run, and runs the tasks backwards.
struct HostPool {
    std::size_t threads = 3;
    std::size_t concurrency() const { return threads; }
    template <class F>
    void run(std::size_t n, F&& task) {
        std::atomic<std::size_t> left{n};
        const auto work = [&] {
            for (;;) {
                std::size_t i = left.load();
                while (i != 0 && !left.compare_exchange_weak(i, i - 1)) {
                }
                if (i == 0) return;
                task(i - 1);
            }
        };
        std::vector<std::thread> own;
        for (std::size_t t = 1; t < threads; ++t) own.emplace_back(work);
        work();
        for (std::thread& thread : own) thread.join();
    }
};
static_assert(TaskPool<HostPool>);
static_assert(Executor<Seq>);
static_assert(Executor<Par<HostPool>>);
static_assert(Executor<Par<Threads>>);

/// Calls of each task.
template <Executor E>
std::vector<int> calls(const E& exec, std::size_t n) {
    std::vector<std::atomic<int>> count(n);
    exec.run(n, [&](std::size_t i) { ++count.at(i); });
    return {count.begin(), count.end()};
}

}  // namespace

namespace {

// How a pool waits and which of its threads run what.
const std::vector<std::pair<std::chrono::microseconds, Claim>> pools{
    {0us, Claim::free}, {20us, Claim::free}, {0us, Claim::fixed}, {20us, Claim::fixed}};

}  // namespace

// Catches tasks left out or run twice.
TEST_CASE("executors: every task runs exactly once, for any number of threads and tasks") {
    HostPool host;
    for (const std::size_t n : {0u, 1u, 2u, 3u, 7u, 64u, 1000u}) {
        const std::vector<int> once(n, 1);
        CHECK(calls(seq, n) == once);
        CHECK(calls(par(host), n) == once);
        for (std::size_t t = 1; t <= 8; ++t) {
            for (const auto& [eager, claim] : pools) {
                Threads threads(t, eager, claim);
                CHECK(threads.concurrency() == t);
                CHECK(calls(par(threads), n) == once);
                CHECK(calls(par(threads), n) == once);
            }
        }
    }
}

// Catches a run that returns while tasks of it, or of the one before, still run.
TEST_CASE("Threads: thousands of short runs in a row do not mix") {
    for (const auto& [eager, claim] : pools) {
        Threads threads(4, eager, claim);
        std::vector<std::size_t> sum(16);
        for (std::size_t round = 0; round < 5000; ++round) {
            threads.run(sum.size(), [&](std::size_t i) { sum[i] += i + round; });
            // Now and then the workers are asleep, or on their way there.
            if (round % 100 == 0) std::this_thread::sleep_for(eager / 2 * (round % 500 / 100));
        }
        for (std::size_t i = 0; i < sum.size(); ++i) CHECK(sum[i] == 5000 * i + 4999 * 5000 / 2);
    }
}

// Catches a task that another thread runs the next time, and a thread without any.
TEST_CASE("Threads: with fixed claims a task is always run by the same thread") {
    for (const std::chrono::microseconds eager : {0us, 20us}) {
        Threads threads(3, eager, Claim::fixed);
        std::vector<std::thread::id> first(7);
        threads.run(first.size(), [&](std::size_t i) { first[i] = std::this_thread::get_id(); });
        for (int round = 0; round < 500; ++round) {
            std::vector<std::thread::id> now(first.size());
            threads.run(now.size(), [&](std::size_t i) { now[i] = std::this_thread::get_id(); });
            REQUIRE(now == first);
        }
        CHECK(std::set<std::thread::id>(first.begin(), first.end()).size() == 3);
        CHECK(first[0] == std::this_thread::get_id());
    }
}

// Catches a cut that depends on the threads, gaps and overlaps.
TEST_CASE("for_chunks: the cut depends on size and grain alone, and covers everything once") {
    Threads threads(3);
    for (const std::size_t n : {0u, 1u, 9u, 10u, 11u, 1000u}) {
        for (const std::size_t grain : {0u, 1u, 10u, 2000u}) {
            std::mutex mutex;
            std::set<std::pair<std::size_t, std::size_t>> by_threads;
            std::vector<std::pair<std::size_t, std::size_t>> in_order;
            for_chunks(seq, n, grain, [&](std::size_t b, std::size_t e) { in_order.emplace_back(b, e); });
            for_chunks(par(threads), n, grain, [&](std::size_t b, std::size_t e) {
                const std::lock_guard lock(mutex);
                by_threads.emplace(b, e);
            });
            std::size_t at = 0;
            for (const auto& [begin, end] : in_order) {
                CHECK(begin == at);
                CHECK(end > begin);
                CHECK(end - begin <= (grain == 0 ? 1 : grain));
                at = end;
            }
            CHECK(at == n);
            CHECK(by_threads ==
                  std::set<std::pair<std::size_t, std::size_t>>(in_order.begin(), in_order.end()));
        }
    }
}

// Catches a pool that waits for itself.
TEST_CASE("Threads: a task may run tasks of its own, several levels deep") {
    for (const std::size_t t : {1u, 2u, 8u}) {
        Threads threads(t);
        std::atomic<int> leaves{0};
        threads.run(6, [&](std::size_t) {
            threads.run(5, [&](std::size_t) {
                for_chunks(par(threads), 4, 1, [&](std::size_t, std::size_t) { ++leaves; });
            });
        });
        CHECK(leaves == 6 * 5 * 4);
    }
}

// Catches two pools inside each other that take turns for ever.
TEST_CASE("Threads: a task may use another pool") {
    Threads outer(3);
    Threads inner(2);
    std::atomic<int> leaves{0};
    outer.run(9, [&](std::size_t) {
        inner.run(4, [&](std::size_t) { outer.run(2, [&](std::size_t) { ++leaves; }); });
    });
    CHECK(leaves == 9 * 4 * 2);
}

// Catches an exception that ends the process, is lost, or leaves the pool unusable.
TEST_CASE("executors: an exception of a task reaches the caller, and the pool goes on") {
    const auto fails = [](const auto& exec) {
        try {
            exec.run(100, [](std::size_t i) {
                if (i % 10 == 3) throw std::runtime_error("task " + std::to_string(i));
            });
        } catch (const std::runtime_error& error) {
            return std::string(error.what()).substr(0, 5) == "task ";
        }
        return false;
    };
    CHECK(fails(seq));
    for (const std::size_t t : {1u, 2u, 8u}) {
        Threads threads(t);
        for (int round = 0; round < 50; ++round) REQUIRE(fails(par(threads)));
        CHECK(calls(par(threads), 50) == std::vector<int>(50, 1));
        // Out of a nested run, too.
        CHECK_THROWS_AS(threads.run(3,
                                    [&](std::size_t) {
                                        threads.run(3, [](std::size_t) { throw std::logic_error("inside"); });
                                    }),
                        std::logic_error);
    }
}

// Catches an exception that is thrown while tasks that see the caller's stack still run.
TEST_CASE("Threads: run throws only when no task is running any more") {
    Threads threads(4);
    for (int round = 0; round < 200; ++round) {
        std::atomic<int> running{0};
        try {
            threads.run(64, [&](std::size_t i) {
                ++running;
                if (i == 5) {
                    --running;
                    throw std::runtime_error("now");
                }
                for (int spin = 0; spin < 500; ++spin) std::atomic_signal_fence(std::memory_order_seq_cst);
                --running;
            });
        } catch (const std::runtime_error&) {
        }
        REQUIRE(running == 0);
    }
}

// Catches callers whose runs overwrite each other.
TEST_CASE("Threads: several threads may call run at once") {
    Threads threads(3);
    std::vector<std::size_t> sums(4);
    std::vector<std::thread> callers;
    for (std::size_t c = 0; c < sums.size(); ++c) {
        callers.emplace_back([&, c] {
            for (int round = 0; round < 200; ++round) {
                std::atomic<std::size_t> sum{0};
                threads.run(20, [&](std::size_t i) { sum += i; });
                sums[c] += sum;
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    for (const std::size_t sum : sums) CHECK(sum == 200 * 190);
}

// Catches a count of 0 taken literally.
TEST_CASE("Threads: 0 means one per hardware thread") {
    Threads threads(0);
    CHECK(threads.concurrency() >= 1);
    CHECK(calls(par(threads), 10) == std::vector<int>(10, 1));
}
