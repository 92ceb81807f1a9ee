// SPDX-License-Identifier: Apache-2.0
//
// The prediction of step times: its parts against plain sums, its limits against what must hold.
#include "fae/advise/forecast.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "fae/calibrate/budget_curve.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

using fae::Resource;

// Equal in ratio. Seconds of a step are far below 1, where doctest's own scale of 1 would let all pass.
doctest::Approx about(double value) { return doctest::Approx(value).scale(0); }

// A machine whose look-ups take 1 ns within 1 MiB and 10 ns within 1 GiB, all else round numbers.
fae::MachineRates round_rates() {
    fae::MachineRates rates;
    for (const double bytes : {1048576.0, 1073741824.0}) {
        const double ns = bytes > 2e6 ? 10e-9 : 1e-9;
        rates.rows.push_back({64, bytes, ns, 2 * ns, 3 * ns, 4 * ns});
    }
    rates.dense = {{1e6, 1000, 1e-3}};
    rates.load_seconds_per_byte = 1e-9;
    rates.fill_seconds_per_byte = 3e-10;
    rates.move_up_seconds_per_byte = 1e-10;
    rates.move_down_seconds_per_byte = 2e-10;
    rates.plan_seconds = 1e-8;
    return rates;
}

fae::ModelShape round_shape() {
    return {.rows = 2'000'000,
            .dim = 16,
            .row_bytes = 64,
            .lookups_per_input = 10,
            .features = 10,
            .batch = 1000,
            .dense_flops_per_input = 1e6,
            .input_bytes = 100,
            .inputs = 1'000'000};
}

// A thousand rows of a million have half of the look-ups.
fae::AccessShape two_groups() { return {{{1000, 5e6}, {999'000, 5e6}}, 1e7}; }

fae::BudgetOffer offer_of(std::uint64_t rows, double lookups, double inputs) {
    return {rows * 64 + 1000, rows, rows * 64, {lookups, lookups, lookups}, {inputs, inputs, inputs}};
}

}  // namespace

// Catches: repeated draws counted twice, a part of a group that is not in proportion.
TEST_CASE("AccessShape: the different rows of a batch are as many as draws by the profile give") {
    const fae::AccessShape shape{{{10, 5000}, {200, 4000}, {3000, 1000}}, 10000};
    fae::Philox random(3);
    constexpr int rounds = 400;
    constexpr int draws = 500;
    double hot = 0;
    double cold = 0;
    for (int round = 0; round < rounds; ++round) {
        std::set<std::uint64_t> rows;
        for (int d = 0; d < draws; ++d) {
            const double which = random.uniform();
            rows.insert(which < 0.5   ? random.below(10)
                        : which < 0.9 ? 10 + random.below(200)
                                      : 210 + random.below(3000));
        }
        for (const std::uint64_t row : rows) (row < 110 ? hot : cold) += 1.0 / rounds;
    }
    CHECK(shape.share(0, 110) == about(0.7));
    CHECK(shape.touched(0, 110, draws, 0.7) == about(hot).epsilon(0.02));
    CHECK(shape.touched(110, 3210, draws, 0.3) == about(cold).epsilon(0.02));
}

// Catches: merged groups that lose rows or look-ups, an order other than that in which rows become hot.
TEST_CASE("access_shape: its shares of look-ups are those that budgets buy") {
    const fae::RowSpace space = oracle::random_space(6, 9000, 16, 4);
    const oracle::Inputs inputs = oracle::random_inputs(space, 60000, 1, 4);
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::seq, inputs.bags());
    const fae::AccessProfile<> profile = profiler.finish();
    const fae::AccessShape shape = fae::access_shape(fae::seq, profile, 64);
    CHECK(shape.lookups == static_cast<double>(profile.accesses()));
    std::vector<std::uint64_t> budgets;
    for (std::uint64_t part = 20; part > 0; --part) budgets.push_back(space.rows() * 66 / part);
    for (const fae::BudgetPoint& point : fae::budget_curve(fae::seq, profile, 64, budgets)) {
        CAPTURE(point.hot_rows);
        const double share = static_cast<double>(point.hot_lookups) / static_cast<double>(profile.accesses());
        CHECK(std::fabs(shape.share(0, static_cast<double>(point.hot_rows)) - share) < 0.01);
    }
}

// Catches: a cache that is credited to rows that do not fit it, or not to those that do.
TEST_CASE("forecast: look-ups spread evenly take what was measured, skewed ones less") {
    fae::ModelShape shape = round_shape();
    const fae::MachineRates rates = round_rates();
    const double rows = 1073741824.0 / 64;
    shape.rows = static_cast<std::uint64_t>(rows);
    const fae::AccessShape even{{{rows, 1e9}}, 1e9};
    const fae::AccessShape skewed{{{1000, 9e8}, {rows - 1000, 1e8}}, 1e9};
    const auto gather = [&](const fae::AccessShape& access) {
        return fae::forecast(rates, shape, access, offer_of(0, 0, 0))[0].of(Resource::gather);
    };
    CHECK(gather(even) == about(1000 * 10 * 10e-9));
    CHECK(gather(skewed) == about(1000 * 10 * (0.9 * 1e-9 + 0.1 * 10e-9)).epsilon(0.01));
}

TEST_CASE("forecast: on the host the times of a step add up") {
    const auto all = fae::forecast(round_rates(), round_shape(), two_groups(), offer_of(1000, 0.5, 0.25));
    REQUIRE(all.size() == 4);
    CHECK(all[0].name == "all-home");
    CHECK(all[1].name == "static");
    CHECK(all[2].name == "all-slots");
    CHECK(all[3].name == "lookahead");
    for (const fae::PlacementForecast& one : all) {
        CAPTURE(one.name);
        double sum = 0;
        double longest = 0;
        for (const double seconds : one.seconds) {
            CHECK(seconds >= 0);
            sum += seconds;
            longest = std::max(longest, seconds);
        }
        CHECK(one.step_seconds == about(sum));
        CHECK(one.samples_per_second == about(1000 / sum));
        CHECK(one.of(one.bottleneck) == longest);
        CHECK(one.of(Resource::dense) == about(1e-3));
        CHECK(one.of(Resource::load) == about(1e-4));
    }
    CHECK(all[0].fast_bytes == 0);
    CHECK(all[1].fast_bytes == 64000);
    CHECK(all[2].fast_bytes == 128'000'000);
    CHECK(all[0].fits);
    CHECK(all[1].fits);
    CHECK_FALSE(all[2].fits);
    CHECK(all[3].fits);
    // Moves: all 1,000 hot rows up, then those that a cold segment changed; both hot segments down.
    CHECK(all[1].of(Resource::synchronise) ==
          about((1000 * 192e-10 + 1000 * 64e-10 + 2000 * 128e-10) / 1000).epsilon(0.001));
    // A quarter of the inputs, all in cached rows, at 3 ns; the others at home at 4 ns and more.
    const double scatter = all[1].of(Resource::scatter);
    CHECK(scatter > 10000 * (0.25 * 3e-9 + 0.75 * 4e-9));
    CHECK(scatter < 10000 * (0.25 * 3e-9 + 0.75 * 40e-9));
}

// Catches: poles that add up where they overlap, or overlap where they must be waited for.
TEST_CASE("forecast: beside a device look-ahead takes its longest pole, the others the sum") {
    fae::MachineRates rates = round_rates();
    fae::DeviceRates device;
    device.gather_bandwidth = 1e12;
    device.link_up = 1e9;
    device.link_down = 2e9;
    device.host_gather = 4e9;
    device.host_scatter = 4e9;
    device.launch_seconds = 1e-6;
    device.dense = {{1e6, 1000, 1e-4}};
    rates.device = device;
    const auto all = fae::forecast(rates, round_shape(), two_groups(), offer_of(1000, 0.5, 0.25));
    const double computing = 1e-4 + 1e-6 + all[3].of(Resource::device_memory);
    CHECK(all[3].overlaps);
    CHECK(all[3].of(Resource::link_up) > computing);
    CHECK(all[3].step_seconds == all[3].of(Resource::link_up));
    CHECK(all[3].bottleneck == Resource::link_up);
    // About 5,000 cold rows of 64 bytes a step, and some of the hot ones that the window leaves no room for.
    CHECK(all[3].of(Resource::link_up) > 5000 * 64 / 1e9 * 0.97);
    CHECK(all[3].of(Resource::link_up) < 6000 * 64 / 1e9);
    CHECK(all[2].step_seconds == about(computing));
    CHECK(all[0].step_seconds ==
          about(computing + all[0].of(Resource::link_up) + all[0].of(Resource::link_down)));
    CHECK(all[1].step_seconds < all[0].step_seconds);
    CHECK(all[1].step_seconds > all[2].step_seconds);
    // With a fast link the cold rows are free.
    rates.device->link_up = rates.device->link_down = 1e13;
    rates.device->host_gather = rates.device->host_scatter = 1e13;
    const auto fast = fae::forecast(rates, round_shape(), two_groups(), offer_of(1000, 0.5, 0.25));
    CHECK(fast[3].step_seconds == about(computing));
    CHECK(fast[3].bottleneck == Resource::dense);
}

// Catches: a step taken from another batch size than the nearest, not scaled, or flat where rows grow.
TEST_CASE(
    "moving_cost: between measured numbers of rows in proportion, beyond them as between the last two") {
    const std::vector<fae::MovingCost> costs{
        {1000, 400, 9e-4}, {1000, 100, 3e-4}, {1000, 200, 5e-4}, {64, 10, 1}};
    const auto at = [&](double batch, double rows) { return fae::moving_cost(costs, batch, rows); };
    CHECK(at(1000, 100).seconds == about(3e-4));
    CHECK(at(1000, 150).seconds == about(4e-4));
    CHECK(at(1000, 600).seconds == about(13e-4));
    CHECK(at(1000, 50).seconds == about(2e-4));
    CHECK(fae::moving_cost({{1000, 100, 1e-4}, {1000, 200, 3e-4}}, 1000, 10).seconds == 0);
    CHECK(at(2000, 300).seconds == about(8e-4));
    CHECK(at(2000, 300).rows == 300);
    CHECK(fae::moving_cost({{1000, 100, 3e-4}}, 500, 80).seconds == about(1.5e-4));
    CHECK_THROWS_AS(static_cast<void>(fae::moving_cost({}, 1, 1)), fae::ContractError);
}

// Catches: costs that are not those of the window's size, or are extended to where nothing was measured.
TEST_CASE("planning_seconds: between measured windows in proportion, beyond them as at the nearest") {
    const std::vector<fae::PlanningCost> costs{{3000, 3e-7}, {1000, 1e-7}};
    CHECK(fae::planning_seconds(costs, 10) == 1e-7);
    CHECK(fae::planning_seconds(costs, 1500) == about(1.5e-7));
    CHECK(fae::planning_seconds(costs, 1e6) == 3e-7);
    CHECK(fae::planning_seconds({}, 1) == 0);
}

// Catches: rows on the device since the batch before gathered all the same.
TEST_CASE("AccessShape: the rows that two batches share are as many as draws by the profile give") {
    const fae::AccessShape shape{{{10, 5000}, {200, 4000}, {3000, 1000}}, 10000};
    fae::Philox random(5);
    constexpr int rounds = 400;
    std::set<std::uint64_t> before;
    double shared = 0;
    for (int round = 0; round <= rounds; ++round) {
        std::set<std::uint64_t> rows;
        for (int draw = 0; draw < 500; ++draw) {
            const double u = random.uniform();
            rows.insert(u < 0.5   ? random.below(10)
                        : u < 0.9 ? 10 + random.below(200)
                                  : 210 + random.below(3000));
        }
        for (const std::uint64_t row : rows) shared += before.count(row) != 0 ? 1.0 : 0.0;
        before = std::move(rows);
    }
    CHECK(shape.touched_twice(0, 3210, 500, 1.0) == about(shared / rounds).epsilon(0.02));
    CHECK(shape.touched_twice(0, 10, 1e9, 1.0) == about(10));
    CHECK(shape.touched_twice(5, 5, 500, 1.0) == 0);
}

// Catches: measured steps that are not asked, a pole that is added where it overlaps, rows that two batches
// share counted as moving, a hot batch that waits for rows, a planner that takes no time.
TEST_CASE("forecast: steps and planning measured on a device take the place of bytes and bandwidths") {
    fae::MachineRates rates = round_rates();
    fae::DeviceRates device;
    device.gather_bandwidth = 1e12;
    device.link_up = device.link_down = device.host_gather = device.host_scatter = 1e12;
    device.sync_up = 2e9;
    device.sync_down = 1e9;
    device.launch_seconds = 1e-5;
    device.dense = {{1e6, 1000, 1e-4}};
    device.home = {{1000, 0, 2e-4}, {1000, 10000, 12e-4}};
    device.planning = {{1000, 1e-7}, {1'000'000, 1e-7}};
    rates.device = device;
    const auto forecast = [&](const fae::ModelShape& shape) {
        return fae::forecast(rates, shape, two_groups(), offer_of(1000, 0.5, 0.25));
    };
    const auto all = forecast(round_shape());
    const double computing = 1.1e-4 + all[2].of(Resource::device_memory);
    CHECK(all[2].step_seconds == about(computing));

    // 10,000 look-ups: all thousand hot rows, shared by every two batches, and nearly 5,000 others.
    const double rows =
        two_groups().touched(0, 1e6, 10000, 1) - two_groups().touched_twice(0, 1e6, 10000, 1) / 2;
    CHECK(rows > 5400);
    CHECK(rows < 5500);
    CHECK(all[0].overlaps);
    CHECK(all[0].bottleneck == Resource::moving);
    CHECK(all[0].step_seconds == about(2e-4 + rows * 1e-7));

    // Three batches of four are cold; two thirds of their look-ups are of cold rows.
    const double cold = two_groups().touched(1000, 1e6, 10000, 2.0 / 3) + 1000 / 2.0;
    CHECK_FALSE(all[1].overlaps);
    CHECK(all[1].of(Resource::moving) == about(0.75 * (2e-4 + cold * 1e-7 - computing)).epsilon(0.01));
    CHECK(all[1].step_seconds ==
          about(computing + all[1].of(Resource::moving) + all[1].of(Resource::synchronise)));
    // Two rounds: all thousand rows go up twice and back twice in the thousand steps.
    CHECK(all[1].of(Resource::synchronise) == about(64 * (2000 / 2e9 + 2000 / 1e9) / 1000).epsilon(0.01));

    // About 5,000 rows and some of the hot ones come in.
    CHECK(all[3].overlaps);
    CHECK(all[3].bottleneck == Resource::plan);
    CHECK(all[3].step_seconds == all[3].of(Resource::plan));
    CHECK(all[3].step_seconds > 5000 * 0.97e-7);
    CHECK(all[3].step_seconds < 6000 * 1e-7);
    for (fae::PlanningCost& cost : rates.device->planning) cost.seconds = 1e-9;
    CHECK(forecast(round_shape())[3].step_seconds == about(computing));
}

// Catches: hot rows brought up anew every epoch.
TEST_CASE("forecast: what goes up once is shared by all epochs, what segments change is not") {
    const fae::MachineRates rates = round_rates();
    fae::ModelShape shape = round_shape();
    const auto synchronise = [&] {
        return fae::forecast(rates, shape, two_groups(), offer_of(1000, 0.5, 0.25))[1].of(
            Resource::synchronise);
    };
    // Each of the four segments changes all thousand rows: up once new and once changed, later twice changed.
    CHECK(synchronise() == about(64 * (1000 * 3e-10 + 1000 * 1e-10 + 2000 * 2e-10) / 1000));
    shape.epochs = 1e12;
    CHECK(synchronise() == about(64 * (2000 * 1e-10 + 2000 * 2e-10) / 1000));
}

// Catches: a static placement that pays at home for inputs that are hot.
TEST_CASE("forecast: all rows hot is as fast as all rows in slots, but for what synchronising takes") {
    fae::MachineRates rates = round_rates();
    for (fae::RowCosts& costs : rates.rows) costs.scatter_fast = costs.scatter;
    const auto all = fae::forecast(rates, round_shape(), two_groups(), offer_of(1'000'000, 1, 1));
    CHECK(all[1].step_seconds - all[1].of(Resource::synchronise) == about(all[2].step_seconds));
    CHECK(all[1].of(Resource::synchronise) > 0);
}

TEST_CASE("forecast: rates without what the shape needs are refused") {
    fae::MachineRates rates = round_rates();
    rates.dense.clear();
    CHECK_THROWS_AS((void)fae::forecast(rates, round_shape(), two_groups(), offer_of(1, 0, 0)),
                    fae::ContractError);
    rates = round_rates();
    rates.rows.clear();
    CHECK_THROWS_AS((void)fae::forecast(rates, round_shape(), two_groups(), offer_of(1, 0, 0)),
                    fae::ContractError);
}

TEST_CASE("dense_seconds: between batch sizes in proportion, for another model by its operations") {
    const std::vector<fae::DenseCost> costs{{1e6, 1000, 1e-3}, {1e6, 4000, 3e-3}, {1e8, 1000, 0.2}};
    CHECK(fae::dense_seconds(costs, 1e6, 1000) == about(1e-3));
    CHECK(fae::dense_seconds(costs, 1e6, 2500) == about(2e-3));
    CHECK(fae::dense_seconds(costs, 1e6, 500) == about(0.5e-3));
    CHECK(fae::dense_seconds(costs, 1e6, 8000) == about(6e-3));
    CHECK(fae::dense_seconds(costs, 2e6, 1000) == about(2e-3));
    CHECK(fae::dense_seconds(costs, 0.5e8, 1000) == about(0.1));
}

// Catches: hot rows' look-ups by cold inputs that are counted twice, or not at all: where a row is looked up
// does not change how often.
TEST_CASE("forecast: static's hot and cold inputs together gather what all inputs gather at home") {
    for (const double inputs : {0.0, 0.1, 0.25, 0.49}) {
        CAPTURE(inputs);
        const fae::BudgetOffer offer = offer_of(1000, 0.5, inputs);
        const auto found = fae::forecast(round_rates(), round_shape(), two_groups(), offer);
        REQUIRE(found[0].name == "all-home");
        REQUIRE(found[1].name == "static");
        CHECK(found[1].of(Resource::gather) == about(found[0].of(Resource::gather)).epsilon(1e-9));
    }
}
