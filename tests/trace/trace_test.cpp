// SPDX-License-Identifier: Apache-2.0
//
// Trace: events of lanes, as Chrome trace events.
#include "fae/trace/trace.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

using namespace fae;

namespace {

std::size_t times(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

}  // namespace

// Catches: a file that no viewer reads: a comma too many or none, a lane without its name, seconds for
// microseconds.
TEST_CASE("trace: events and lanes are written as Chrome trace events") {
    Trace trace;
    const std::uint32_t planner = trace.lane("planner");
    const std::uint32_t step = trace.lane("the \"step\"");
    CHECK(trace.lane("planner") == planner);
    trace.add(planner, "plan", 1.5, 4.0, 7);
    trace.add(step, "step", 4.0, 1004.25, 7);
    CHECK(trace.json() ==
          "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"left_out\":\"0\"},\"traceEvents\":[\n"
          R"({"ph":"M","name":"thread_name","pid":0,"tid":0,"args":{"name":"planner"}},)"
          "\n"
          R"({"ph":"M","name":"thread_sort_index","pid":0,"tid":0,"args":{"sort_index":0}},)"
          "\n"
          R"({"ph":"M","name":"thread_name","pid":0,"tid":1,"args":{"name":"the \"step\""}},)"
          "\n"
          R"({"ph":"M","name":"thread_sort_index","pid":0,"tid":1,"args":{"sort_index":1}},)"
          "\n"
          R"({"ph":"X","name":"plan","pid":0,"tid":0,"ts":1.500,"dur":2.500,"args":{"number":7}},)"
          "\n"
          R"({"ph":"X","name":"step","pid":0,"tid":1,"ts":4.000,"dur":1000.250,"args":{"number":7}})"
          "\n]}\n");
    CHECK(Trace(0).json() ==
          "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"left_out\":\"0\"},\"traceEvents\":[\n]}\n");
}

// Catches: a scope that books nothing, or ends before it begins; a trace that is asked for where there is
// none.
TEST_CASE("trace: a scope is an event, and nothing without a trace") {
    Trace trace;
    const double before = trace.now();
    { const TraceScope scope(&trace, trace.lane("a"), "outer", 3); }
    CHECK(trace.size() == 1);
    CHECK(trace.now() >= before);
    CHECK(times(trace.json(), "\"name\":\"outer\"") == 1);
    CHECK(times(trace.json(), "\"dur\":-") == 0);
    { const TraceScope none(nullptr, 0, "nobody", 0); }
    CHECK(trace.size() == 1);
}

// Catches: a trace of a long run that takes all memory, or says nothing of what it left out; lost events.
TEST_CASE("trace: events from several threads are all kept, up to the number agreed on") {
    Trace trace(350);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&trace, t] {
            const std::uint32_t lane = trace.lane("thread " + std::to_string(t));
            for (std::uint64_t i = 0; i < 100; ++i) trace.add(lane, "event", 0, 1, i);
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(trace.size() == 350);
    CHECK(trace.left_out() == 50);
    CHECK(times(trace.json(), "\"ph\":\"X\"") == 350);
    CHECK(times(trace.json(), "thread_name") == 4);
}
