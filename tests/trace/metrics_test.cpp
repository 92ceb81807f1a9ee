// SPDX-License-Identifier: Apache-2.0
//
// Metrics: counters of a run, and timers that add to them.
#include "fae/trace/metrics.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <set>
#include <string_view>

using namespace fae;

namespace {

/// A clock that stands still until it is told the time.
struct SetClock {
    using rep = long long;
    using period = std::milli;
    using duration = std::chrono::milliseconds;
    using time_point = std::chrono::time_point<SetClock>;
    static time_point now() { return time_point(duration(milliseconds)); }
    static inline long long milliseconds = 0;
};

Metrics some_metrics(std::uint64_t scale) {
    Metrics m;
    m.add_lookups(Tier::fast, 100 * scale, 90 * scale);
    m.add_lookups(Tier::home, 30 * scale, 30 * scale);
    m.add_moved(Tier::fast, 7 * scale, 448 * scale);
    m.add_moved(Tier::home, 5 * scale, 320 * scale);
    for (std::size_t p = 0; p < phase_count; ++p) {
        m.phase_seconds[p] = static_cast<double>(scale * (p + 1));
    }
    return m;
}

}  // namespace

// Would catch counters booked under the other tier.
TEST_CASE("Metrics: look-ups and moves are booked under their tier") {
    const Metrics m = some_metrics(1);
    CHECK(m.fast == TierCounts{100, 90});
    CHECK(m.home == TierCounts{30, 30});
    CHECK(m.rows_to_fast == 7);
    CHECK(m.bytes_to_fast == 448);
    CHECK(m.rows_to_home == 5);
    CHECK(m.bytes_to_home == 320);
    CHECK(m.rows_moved() == 12);
    CHECK(m.bytes_moved() == 768);
    CHECK(m.fast_share() == doctest::Approx(0.75));
    CHECK(m.total_seconds() == 36.0);
}

// Would catch a member that merge() forgets: every one of the sum is that of the threefold.
TEST_CASE("Metrics: merging adds every counter") {
    Metrics sum = some_metrics(1);
    sum.merge(some_metrics(2));
    CHECK(sum == some_metrics(3));
}

// Would catch a member that reset() forgets.
TEST_CASE("Metrics: a reset window is as a new one") {
    Metrics m = some_metrics(5);
    m.reset();
    CHECK(m == Metrics());
    CHECK(m.fast_share() == 0.0);
}

// Would catch two phases of one name, or a name out of order with the enumerators.
TEST_CASE("phase_name: every phase has its own") {
    std::set<std::string_view> names;
    for (std::size_t p = 0; p < phase_count; ++p) names.insert(phase_name(static_cast<Phase>(p)));
    CHECK(names.size() == phase_count);
    CHECK(phase_name(Phase::read) == "read");
    CHECK(phase_name(Phase::train) == "train");
    CHECK(phase_name(Phase::validation) == "validation");
}

// Would catch a timer that overwrites instead of adding.
TEST_CASE("ScopedSeconds: adds the seconds of its life") {
    Metrics m;
    m.seconds(Phase::train) = 1.0;
    {
        ScopedSeconds<SetClock> timer(m, Phase::train);
        SetClock::milliseconds += 1500;
    }
    CHECK(m.seconds(Phase::train) == doctest::Approx(2.5));
    CHECK(m.total_seconds() == doctest::Approx(2.5));
}

// Would catch time booked twice after an early stop.
TEST_CASE("ScopedSeconds: after stop() nothing more is counted") {
    double total = 0.0;
    {
        ScopedSeconds<SetClock> timer(total);
        SetClock::milliseconds += 250;
        CHECK(timer.stop() == doctest::Approx(0.25));
        SetClock::milliseconds += 1000;
        CHECK(timer.stop() == 0.0);
    }
    CHECK(total == doctest::Approx(0.25));
}

// Would catch a timer of the real clock that does not run.
TEST_CASE("ScopedSeconds: the steady clock never runs backwards") {
    double total = 0.0;
    { ScopedSeconds timer(total); }
    CHECK(total >= 0.0);
}
