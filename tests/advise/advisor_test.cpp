// SPDX-License-Identifier: Apache-2.0
//
// The advice: where the knee is, what a target asks for, and when hot/cold is not worth it.
#include "fae/advise/advisor.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

// A budget whose static placement makes `speed` samples a second, all-home always 100.
fae::BudgetForecast budget(std::uint64_t bytes, double speed, double lookups, double inputs,
                           double width = 0) {
    fae::BudgetForecast made;
    made.offer = {bytes,
                  1,
                  bytes,
                  {lookups, lookups - width, lookups + width},
                  {inputs, inputs - width, inputs + width}};
    const auto add = [&](const char* name, double samples, bool fits) {
        fae::PlacementForecast one;
        one.name = name;
        one.samples_per_second = samples;
        one.step_seconds = 1 / samples;
        one.seconds[0] = 0.6 / samples;
        one.fits = fits;
        made.placements.push_back(one);
    };
    add("all-home", 100, true);
    add("static", speed, true);
    add("all-slots", 1000, false);
    return made;
}

std::vector<fae::BudgetForecast> rising() {
    return {budget(1, 110, 0.5, 0.1), budget(2, 150, 0.7, 0.3), budget(4, 191, 0.9, 0.6),
            budget(8, 200, 0.95, 0.7)};
}

}  // namespace

TEST_CASE("advise: the knee is the smallest budget at 95 % of the best speed that fits") {
    const fae::Advice advice = fae::advise(rising());
    CHECK(advice.knee == 2);
    CHECK(advice.worth_it);
    CHECK(advice.budget_bytes == 4);
    CHECK(advice.placement == "static");
    CHECK(advice.why.find("1.91 times") != std::string::npos);
    CHECK(advice.why.find("dense model takes 60.0 %") != std::string::npos);
}

// Catches: a recommendation to buy memory that gains nothing, a reason that is missing.
TEST_CASE("advise: where nothing is 5 % faster than all rows at home it says that it is not worth it") {
    std::vector<fae::BudgetForecast> sweep{budget(1, 90, 0.5, 0.1), budget(2, 101, 0.9, 0.3),
                                           budget(4, 104, 0.93, 0.5)};
    const fae::Advice advice = fae::advise(sweep);
    CHECK_FALSE(advice.worth_it);
    CHECK(advice.placement == "all-home");
    CHECK(advice.budget_bytes == 0);
    CHECK(advice.knee == 1);  // of the look-ups
    CHECK(advice.why.find("not worth it") != std::string::npos);
    sweep.push_back(budget(8, 106, 0.94, 0.6));
    // 101 is 95 % of 106, and not worth it: fast memory is, so the knee is where it begins to be.
    CHECK(fae::advise(sweep).knee == 3);
    CHECK(fae::advise(sweep).worth_it);
    CHECK(fae::advise(sweep).budget_bytes == 8);
    sweep.push_back(budget(16, 120, 0.95, 0.6));
    CHECK(fae::advise(sweep).knee == 4);
    CHECK(fae::advise(sweep).worth_it);
}

// Catches: a target that an estimate meets and its lower bound does not.
TEST_CASE("advise: a target takes the smallest budget whose lower bounds meet it") {
    std::vector<fae::BudgetForecast> sweep = rising();
    CHECK(fae::advise(sweep, {.target_lookups = 0.7, .target_inputs = {}}).chosen == 1);
    CHECK(fae::advise(sweep, {.target_lookups = 0.7, .target_inputs = 0.5}).chosen == 2);
    sweep[1] = budget(2, 150, 0.7, 0.3, 0.01);
    const fae::Advice advice = fae::advise(sweep, {.target_lookups = 0.7, .target_inputs = {}});
    CHECK(advice.chosen == 2);
    CHECK(advice.target_reached);
    const fae::Advice missed = fae::advise(sweep, {.target_lookups = {}, .target_inputs = 0.9});
    CHECK(missed.chosen == 3);
    CHECK_FALSE(missed.target_reached);
    CHECK(missed.why.find("target is not reached") != std::string::npos);
}

TEST_CASE("advise: a budget that a target asks for may be one that is not worth it") {
    const fae::Advice advice = fae::advise({budget(1, 102, 0.5, 0.1), budget(2, 150, 0.9, 0.3)},
                                           {.target_lookups = 0.4, .target_inputs = {}});
    CHECK(advice.budget_bytes == 1);
    CHECK_FALSE(advice.worth_it);
    CHECK(advice.placement == "all-home");
    CHECK(advice.why.find("larger budget gives up to 1.50 times") != std::string::npos);
    CHECK_THROWS_AS((void)fae::advise({}), fae::ContractError);
}
