// SPDX-License-Identifier: Apache-2.0
//
// Tests of the rate policies: scripted loss sequences and the exact rates that must follow.
#include "fae/schedule/policy.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace fae;

namespace {
std::vector<unsigned> rates(LossReactiveRate policy, const std::vector<double>& losses) {
    std::vector<unsigned> out;
    for (const double loss : losses) {
        policy.report(loss);
        out.push_back(policy.rate());
    }
    return out;
}
}  // namespace

// Catches: a rise that does not halve, a floor that is passed, the first loss taken for a change.
TEST_CASE("loss-reactive rate: starts at 50 and halves on every rise down to 1") {
    CHECK(LossReactiveRate{}.rate() == 50);
    CHECK(rates(LossReactiveRate{}, {0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2}) ==
          std::vector<unsigned>{50, 25, 12, 6, 3, 1, 1, 1});
}

// Catches: doubling after three or five falls, a count that does not start again after a doubling, a missing
// cap.
TEST_CASE("loss-reactive rate: doubles after four falls in a row, up to the cap") {
    CHECK(rates(LossReactiveRate{}, {1.0, 0.9, 0.8, 0.7, 0.6}) == std::vector<unsigned>{50, 50, 50, 50, 100});
    CHECK(rates(LossReactiveRate({.start = 10}), {1.0, .9, .8, .7, .6, .5, .4, .3, .2, .1}) ==
          std::vector<unsigned>{10, 10, 10, 10, 20, 20, 20, 20, 40, 40});
    CHECK(rates(LossReactiveRate({.start = 90}), {1.0, .9, .8, .7, .6}).back() == 100);
}

// Catches: a rise or a standstill that leaves the run of falls alive.
TEST_CASE("loss-reactive rate: a rise or an unchanged loss ends a run of falls") {
    CHECK(rates(LossReactiveRate{}, {1.0, .9, .8, .7, .75, .7, .6, .5}).back() == 25);
    CHECK(rates(LossReactiveRate{}, {1.0, .9, .8, .7, .7, .6, .5, .4}).back() == 50);
    CHECK(rates(LossReactiveRate{}, {1.0, .9, .8, .7, .7, .6, .5, .4, .3}).back() == 100);
}

// Catches: a tolerance that is ignored, or taken as absolute.
TEST_CASE("loss-reactive rate: changes within the relative tolerance count as none") {
    CHECK(rates(LossReactiveRate({.tolerance = 0.01}), {100.0, 100.9}).back() == 50);
    CHECK(rates(LossReactiveRate({.tolerance = 0.01}), {100.0, 101.1}).back() == 25);
}

// Catches: a policy that takes nonsense.
TEST_CASE("rate policies: rates outside 1 to 100 are refused with both values") {
    CHECK_THROWS_WITH_AS(FixedRate(0), "rate is 0 percent, expected 1 to 100", ContractError);
    CHECK_THROWS_AS(FixedRate(101), ContractError);
    CHECK_THROWS_AS(LossReactiveRate({.start = 200}), ContractError);
    CHECK_THROWS_AS(LossReactiveRate({.floor = 0}), ContractError);
    CHECK_THROWS_AS(LossReactiveRate({.falls_to_double = 0}), ContractError);
    CHECK_THROWS_AS(LossReactiveRate({.tolerance = -1}), ContractError);
    CHECK_THROWS_AS(LossReactiveRate({.tolerance = std::nan("")}), ContractError);
    FixedRate fixed(25);
    fixed.report(1.0);
    fixed.report(9.0);
    CHECK(fixed.rate() == 25);
}
