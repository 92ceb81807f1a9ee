// SPDX-License-Identifier: Apache-2.0
//
// Axes: ranges, ticks and their labels.
#include "fae/report/scale.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/report/svg.hpp"

using namespace fae::report;

namespace {

std::vector<std::string> labels(const Axis& axis, Range range, std::size_t at_most) {
    std::vector<std::string> result;
    for (const Tick& tick : ticks(axis, range, at_most)) result.push_back(tick.label);
    return result;
}

using Labels = std::vector<std::string>;

}  // namespace

// Would catch steps that people do not count in.
TEST_CASE("ticks: linear ones go in steps of 1, 2 or 5") {
    CHECK(labels({}, {0.0, 1.0}, 6) == Labels{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
    CHECK(labels({}, {0.31, 0.72}, 6) == Labels{"0.4", "0.5", "0.6", "0.7"});
    CHECK(labels({}, {-10.0, 10.0}, 5) == Labels{"-10", "-5", "0", "5", "10"});
    CHECK(labels({.unit = Unit::share}, {0.0, 1.0}, 6) ==
          Labels{"0 %", "20 %", "40 %", "60 %", "80 %", "100 %"});
    CHECK(labels({.unit = Unit::count}, {0.0, 1200.0}, 7) ==
          Labels{"0", "200", "400", "600", "800", "1,000", "1,200"});
    CHECK(labels({.unit = Unit::count}, {0.0, 2e6}, 5) == Labels{"0", "0.5 M", "1.0 M", "1.5 M", "2.0 M"});
    CHECK(labels({.unit = Unit::bytes}, {0.0, 0x1p22}, 5) == Labels{"0", "1 MiB", "2 MiB", "3 MiB", "4 MiB"});
    CHECK(labels({.unit = Unit::seconds}, {0.0, 600.0}, 6) ==
          Labels{"0", "2 min", "4 min", "6 min", "8 min", "10 min"});
}

// Would catch half rows on an axis of counts.
TEST_CASE("ticks: counts and bytes have no fractions below one") {
    CHECK(labels({.unit = Unit::count}, {0.0, 2.0}, 9) == Labels{"0", "1", "2"});
    CHECK(labels({.unit = Unit::bytes}, {0.0, 3.0}, 9) == Labels{"0", "1 B", "2 B", "3 B"});
}

// Would catch log axes that show other than powers of ten, or of two for bytes.
TEST_CASE("ticks: log ones are powers of ten, for bytes powers of two") {
    const Axis counts{.scale = Scale::log, .unit = Unit::count};
    CHECK(labels(counts, {1.0, 1e6}, 7) == Labels{"1", "10", "100", "1 k", "10 k", "100 k", "1 M"});
    CHECK(labels(counts, {1.0, 1e6}, 4) == Labels{"1", "100", "10 k", "1 M"});
    CHECK(labels(counts, {1.0, 100.0}, 9) == Labels{"1", "2", "5", "10", "20", "50", "100"});
    const Axis bytes{.scale = Scale::log, .unit = Unit::bytes};
    CHECK(labels(bytes, {0x1p20, 0x1p31}, 6) ==
          Labels{"1 MiB", "4 MiB", "16 MiB", "64 MiB", "256 MiB", "1 GiB"});
    CHECK(labels(bytes, {0x1p20, 0x1p24}, 6) == Labels{"1 MiB", "2 MiB", "4 MiB", "8 MiB", "16 MiB"});
}

// Would catch an axis of less than a decade without ticks.
TEST_CASE("ticks: a log axis of less than a decade has linear ticks") {
    CHECK(labels({.scale = Scale::log}, {2.1, 3.9}, 5) == Labels{"2.5", "3.0", "3.5"});
}

// Would catch ticks outside of the plot, out of order, of equal label, or too many.
TEST_CASE("ticks: inside the range, ascending, told apart by their labels") {
    fae::Philox random(11);
    for (int round = 0; round < 20000; ++round) {
        const auto unit = static_cast<Unit>(random.bits32() % 5);
        const auto scale = random.bits32() % 2 == 0 ? Scale::linear : Scale::log;
        const double low = std::pow(10.0, 18.0 * random.uniform() - 6.0);
        const double high = low * (1.0 + std::pow(10.0, 12.0 * random.uniform() - 3.0));
        const std::size_t at_most = 2 + random.bits32() % 9;
        const Axis axis{.scale = scale, .unit = unit};
        const std::vector<Tick> made = ticks(axis, {low, high}, at_most);
        CAPTURE(low);
        CAPTURE(high);
        CAPTURE(at_most);
        CAPTURE(static_cast<int>(unit));
        CAPTURE(static_cast<int>(scale));
        REQUIRE(made.size() <= at_most);
        double last = -1.0;
        std::set<std::string> seen;
        for (const Tick& tick : made) {
            REQUIRE(tick.value >= low - (high - low) * 1e-5);
            REQUIRE(tick.value <= high + (high - low) * 1e-5);
            REQUIRE(tick.value > last);
            last = tick.value;
            seen.insert(tick.label);
        }
        REQUIRE(seen.size() == made.size());
    }
}

// Would catch labels that run into each other or leave the chart, whatever the unit and the size.
TEST_CASE("fitted_ticks: labels neither overlap nor leave the chart") {
    fae::Philox random(12);
    for (int round = 0; round < 5000; ++round) {
        const Axis axis{.scale = random.bits32() % 2 == 0 ? Scale::linear : Scale::log,
                        .unit = static_cast<Unit>(random.bits32() % 5)};
        const double low = std::pow(10.0, 12.0 * random.uniform() - 3.0);
        const Range range{low, low * (1.0 + std::pow(10.0, 8.0 * random.uniform() - 1.0))};
        const double length = 250.0 + 450.0 * random.uniform();
        double free_from = -40.0;
        for (const auto& tick : detail::fitted_ticks(axis, range, length, 9, -40.0, length + 14.0)) {
            const double half = detail::text_width(tick.label) / 2.0;
            CAPTURE(tick.label);
            REQUIRE(tick.label_at - half >= free_from - 1e-6);
            REQUIRE(tick.label_at + half <= length + 14.0 + 1e-6);
            free_from = tick.label_at + half + 4.0;
        }
    }
}

// Would catch ranges without extent, which divide by zero in position().
TEST_CASE("axis_range: no data, one value and zero give ranges of some extent") {
    for (const Scale scale : {Scale::linear, Scale::log}) {
        for (const bool rounded : {false, true}) {
            for (const double value : {1.0, 5.0, 1e-9, 3e12, -4.0, 0.0}) {
                Range data;
                if (drawable(scale, value)) data.include(value);
                const Range range = axis_range({.scale = scale}, data, rounded);
                CAPTURE(value);
                REQUIRE(range.low < range.high);
                if (!data.empty()) {
                    CHECK(range.low <= value);
                    CHECK(range.high >= value);
                }
                if (scale == Scale::log) CHECK(range.low > 0.0);
            }
        }
    }
}

// Would catch an axis that ignores what it is asked to show, or takes a zero on a log scale.
TEST_CASE("axis_range: reaches to its wishes, but to no zero on a log axis") {
    const Range share = axis_range({.unit = Unit::share, .from = 0.0, .to = 1.0}, {0.4, 0.6}, true);
    CHECK(share.low == 0.0);
    CHECK(share.high == doctest::Approx(1.0));
    const Range log = axis_range({.scale = Scale::log, .from = 0.0}, {3.0, 700.0}, true);
    CHECK(log.low == doctest::Approx(1.0));
    CHECK(log.high == doctest::Approx(1000.0));
}

// Would catch points at the wrong place on a log axis.
TEST_CASE("position: linear in the value, or in its logarithm") {
    CHECK(position(Scale::linear, {10.0, 20.0}, 12.5) == doctest::Approx(0.25));
    CHECK(position(Scale::log, {1.0, 1e4}, 10.0) == doctest::Approx(0.25));
}

// Would catch infinities and zeros that reach the drawing.
TEST_CASE("drawable: finite, and positive on a log axis") {
    CHECK(drawable(Scale::linear, 0.0));
    CHECK(drawable(Scale::linear, -1.0));
    CHECK_FALSE(drawable(Scale::log, 0.0));
    CHECK_FALSE(drawable(Scale::log, -1.0));
    CHECK_FALSE(drawable(Scale::linear, std::nan("")));
    CHECK_FALSE(drawable(Scale::linear, HUGE_VAL));
}
