// SPDX-License-Identifier: Apache-2.0
//
// Hot sets chosen from a sketch against exact counts: what they serve, and what the best set would.
#include "fae/calibrate/sketched.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

struct Case {
    fae::RowSpace space;
    oracle::Inputs inputs;
    fae::AccessProfile<> exact;
    fae::SketchProfile sketched;
};

Case make_case(std::uint64_t seed, std::uint64_t memory) {
    Case made;
    made.space = oracle::random_space(4, 6000, 16, seed);
    made.inputs = oracle::random_inputs(made.space, 4000, seed % 3 == 0 ? 0 : 1, seed);
    fae::AccessProfiler<> exact(made.space);
    exact.add(fae::seq, made.inputs.bags());
    made.exact = exact.finish();
    fae::AccessProfiler<fae::SketchCounter> sketch(made.space,
                                                   fae::SketchCounter(made.space, {memory, seed}));
    sketch.add(fae::seq, made.inputs.bags());
    made.sketched = sketch.finish();
    return made;
}

double share_of(const fae::AccessProfile<>& profile, const fae::HotSet& hot) {
    std::uint64_t served = 0;
    for (std::uint64_t row = 0; row < profile.space().rows(); ++row) {
        if (hot.contains(row)) served += profile.counts()[row];
    }
    return static_cast<double>(served) / static_cast<double>(profile.accesses());
}

fae::CalibrationOptions options_for(const fae::RowSpace& space, std::uint64_t seed) {
    fae::CalibrationOptions options;
    options.row_bytes = 64;
    options.budget_bytes = space.rows() * (1 + seed % 40);
    options.small_tables.bytes = seed % 2 == 0 ? 0 : 1 << 13;
    return options;
}

}  // namespace

// Catches bounds of the coverage that miss, a best share that a set exceeds, and intervals that say nothing.
TEST_CASE("sketched: the hot set serves what its interval says, and no set more than the best share") {
    double widest = 0;  // of the largest sketches, of up to 2,400 rows
    double worst_gap = 0;
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
        const Case of = make_case(seed, 4000u << (seed % 5));
        const fae::CalibrationOptions options = options_for(of.space, seed);
        const fae::SketchCalibration made = fae::calibrate(fae::seq, of.sketched, options);
        const double truth = share_of(of.exact, made.hot_set);
        fae::CalibrationOptions best_options = options;
        best_options.small_tables.bytes = 0;
        best_options.budget_bytes = options.budget_bytes + fae::RankBitmap::bytes_for(of.space.rows());
        const double best = share_of(of.exact, fae::calibrate(fae::seq, of.exact, best_options).hot_set);
        CAPTURE(seed);
        const fae::Interval& said = made.report.lookup_share;
        REQUIRE(made.report.hot_bytes() <= options.budget_bytes);
        REQUIRE(said.lower <= truth + 1e-12);
        REQUIRE(truth <= said.upper + 1e-12);
        REQUIRE(made.best_share >= truth - 1e-12);
        fae::CalibrationOptions same = options;
        same.small_tables.bytes = 0;
        REQUIRE(made.best_share + 1e-12 >=
                share_of(of.exact, fae::calibrate(fae::seq, of.exact, same).hot_set));
        if (seed % 5 != 4) continue;
        widest = std::max(widest, said.upper - said.lower);
        worst_gap = std::max(worst_gap, made.best_share - best);
    }
    CHECK(widest < 0.45);
    CHECK(worst_gap < 0.25);
}

// Catches a selection of its own: without a floor the sketch knows what the exact profile knows.
TEST_CASE("sketched: a sketch with room for every row gives the exact profile's hot set and report") {
    fae::Threads threads(3);
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        const Case of = make_case(seed, 1 << 20);
        REQUIRE(of.sketched.floor() == 0);
        const fae::CalibrationOptions options = options_for(of.space, seed);
        const fae::SketchCalibration made = fae::calibrate(fae::par(threads), of.sketched, options);
        const fae::Calibration exact = fae::calibrate(fae::seq, of.exact, options);
        CAPTURE(seed);
        REQUIRE(made.hot_set.size() == exact.hot_set.size());
        bool equal = true;
        for (std::uint64_t slot = 0; slot < exact.hot_set.size(); ++slot) {
            equal = equal && made.hot_set.row_of(slot) == exact.hot_set.row_of(slot);
        }
        CHECK(equal);
        CHECK(made.report.cutoffs == exact.report.cutoffs);
        CHECK(made.report.hot_lookups == exact.report.hot_lookups);
        CHECK(made.report.lookup_share.upper - made.report.lookup_share.lower < 1e-12);
        CHECK(made.report.lookup_share.estimate == doctest::Approx(exact.report.lookup_share.estimate));
    }
}

// Catches look-ups of a whole table that are rounded up in a lower bound: here 1 of 1,025, decayed to less
// than a unit, would be taken for half of all.
TEST_CASE("sketched: what decayed tables serve is bounded although their look-ups are rounded") {
    const fae::RowSpace space({{1, 16, ""}, {1024, 16, ""}});
    fae::AccessProfiler<fae::SketchCounter> profiler(space, fae::SketchCounter(space, {1 << 20, 1}));
    std::vector<std::uint32_t> values(1025);
    std::iota(values.begin(), values.end(), 0u);
    const std::vector<std::uint64_t> offsets{0, 1, 1025};
    profiler.add(fae::seq, fae::Bags<std::uint32_t>::jagged(values, offsets, 2));
    for (int i = 0; i < 21; ++i) profiler.counter().halve();
    const fae::SketchProfile profile = profiler.finish();
    REQUIRE(profile.accesses(0) == 1);  // of 2^-10 units
    REQUIRE(profile.accesses(1) == 1);
    fae::CalibrationOptions options;
    options.row_bytes = 64;
    options.budget_bytes = 8192;
    options.small_tables.bytes = 64;
    const fae::SketchCalibration made = fae::calibrate(fae::seq, profile, options);
    REQUIRE(made.hot_set.size() == 1);
    REQUIRE(made.hot_set.contains(0));
    CHECK(made.report.lookup_share.lower <= 1.0 / 1025);
    CHECK(made.report.lookup_share.upper >= 1.0 / 1025);
    CHECK(made.report.hot_lookups == 0);
}

// Catches a selection that a sketch cannot make, taken for exact selection.
TEST_CASE("sketched: other selections and rows of no bytes are refused") {
    const Case of = make_case(1, 4000);
    fae::CalibrationOptions options = options_for(of.space, 1);
    options.selection = fae::Selection::threshold;
    CHECK_THROWS_AS((void)fae::calibrate(fae::seq, of.sketched, options), fae::ContractError);
    options = options_for(of.space, 1);
    options.row_bytes = 0;
    CHECK_THROWS_AS((void)fae::calibrate(fae::seq, of.sketched, options), fae::ContractError);
}
