// SPDX-License-Identifier: Apache-2.0
//
// LearningRate: warm-up, plateau, quadratic decay, floor.
#include "fae/models/learning_rate.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace fae;

// Catches a schedule that is on by default.
TEST_CASE("learning_rate: it is constant unless told otherwise") {
    const LearningRate rate{.base = 0.25};
    for (const std::uint64_t step : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
        CHECK(rate.at(step) == 0.25f);
    }
}

// Catches a warm-up that begins at zero (a lost step) or ends one step late.
TEST_CASE("learning_rate: warm-up rises in equal steps and ends at the base") {
    const LearningRate rate{.base = 1, .warmup_steps = 4};
    CHECK(rate.at(0) == 0.25f);
    CHECK(rate.at(1) == 0.5f);
    CHECK(rate.at(2) == 0.75f);
    CHECK(rate.at(3) == 1.0f);
    CHECK(rate.at(4) == 1.0f);
}

// Catches a linear decay, a decay that starts early, and a rate of zero or a rise at the end.
TEST_CASE("learning_rate: decay is quadratic from its start to the floor") {
    const LearningRate rate{.base = 1, .warmup_steps = 2, .decay_start = 10, .decay_steps = 4, .floor = 0.1};
    rate.check();
    CHECK(rate.at(9) == 1.0f);
    CHECK(rate.at(10) == 1.0f);
    CHECK(rate.at(11) == 0.5625f);
    CHECK(rate.at(12) == 0.25f);
    CHECK(rate.at(13) == 0.1f);
    CHECK(rate.at(14) == 0.1f);
    CHECK(rate.at(~std::uint64_t{0}) == 0.1f);
}

// Catches a floor that lifts a rate above its base.
TEST_CASE("learning_rate: the floor never lifts the rate above the base") {
    const LearningRate rate{.base = 0.01, .decay_start = 1, .decay_steps = 4, .floor = 0.1};
    CHECK(rate.at(0) == 0.01f);
    CHECK(rate.at(3) == 0.01f);
    CHECK(rate.at(100) == 0.01f);
}

// Catches missing checks.
TEST_CASE("learning_rate: schedules that make no sense are refused") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS((LearningRate{.base = 0}.check()), ContractError);
    CHECK_THROWS_AS((LearningRate{.base = nan}.check()), ContractError);
    CHECK_THROWS_AS((LearningRate{.base = 1, .floor = -1}.check()), ContractError);
    CHECK_THROWS_WITH_AS(
        (LearningRate{.base = 1, .warmup_steps = 5, .decay_start = 4, .decay_steps = 1}.check()),
        "decay starts at step 4, expected at least the 5 steps of warm-up", ContractError);
    CHECK_THROWS_AS((LearningRate{.base = 1, .decay_start = 5, .decay_steps = ~std::uint64_t{0}}.check()),
                    ContractError);
    LearningRate{.base = 1, .warmup_steps = 5}.check();
}
