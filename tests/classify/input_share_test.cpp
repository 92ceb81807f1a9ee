// SPDX-License-Identifier: Apache-2.0
//
// input_share against the classification of all inputs.
#include "fae/classify/input_share.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

struct Case {
    fae::RowSpace space;
    oracle::Inputs inputs;
    fae::HotSet hot;
};

Case make_case(std::size_t inputs, std::size_t bag_size) {
    Case made;
    made.space = oracle::random_space(4, 8000, 16, 6);
    made.inputs = oracle::random_inputs(made.space, inputs, bag_size, 2);
    fae::AccessProfiler<> profiler(made.space);
    profiler.add(fae::seq, made.inputs.bags());
    fae::CalibrationOptions options;
    options.budget_bytes = made.space.rows() * 8;
    options.row_bytes = 64;
    made.hot = fae::calibrate(fae::seq, profiler.finish(), options).hot_set;
    return made;
}

}  // namespace

// Catches a share that disagrees with the classification, and an interval where nothing was left out.
TEST_CASE("input_share: of all inputs it is the share that classify finds, exactly") {
    fae::Threads threads(3);
    for (const std::size_t bag_size : {1u, 0u}) {
        const Case of = make_case(40000, bag_size);
        const std::uint64_t hot = fae::classify(fae::seq, of.hot, of.inputs.bags()).hot_count();
        REQUIRE(hot > 1000);
        REQUIRE(hot < 39000);
        const fae::InputShare found = fae::input_share(fae::par(threads), of.hot, of.space, of.inputs.bags());
        CHECK(found.inputs == 40000);
        CHECK(found.hot == hot);
        CHECK(found.share.estimate == doctest::Approx(static_cast<double>(hot) / 40000));
        CHECK(found.share.lower == found.share.estimate);
        CHECK(found.share.upper == found.share.estimate);
    }
}

// Catches inputs looked at that the sampler did not draw, and an interval that misses more often than it
// says.
TEST_CASE("input_share: the interval of a sample holds the true share at its confidence") {
    const Case of = make_case(20000, 1);
    const fae::Classification all = fae::classify(fae::seq, of.hot, of.space, of.inputs.bags());
    const double truth = static_cast<double>(all.hot_count()) / 20000;
    int held = 0;
    constexpr int seeds = 400;
    for (int seed = 0; seed < seeds; ++seed) {
        const auto sampler = fae::InputSampler::exact(20000, 500, static_cast<std::uint64_t>(seed));
        const fae::InputShare found =
            fae::input_share(fae::seq, of.hot, of.space, of.inputs.bags(), sampler, 0.9);
        CHECK(found.inputs == 500);
        std::uint64_t hot = 0;
        for (std::uint64_t i = 0; i < 20000; ++i)
            hot += sampler.draws(i) && all.hot_inputs.contains(i) ? 1u : 0u;
        CHECK(found.hot == hot);
        held += found.share.lower <= truth && truth <= found.share.upper ? 1 : 0;
        CHECK(found.share.upper - found.share.lower < 0.1);
    }
    CHECK(held >= seeds * 9 / 10);
}

// Catches division by nothing and samplers of other streams.
TEST_CASE("input_share: nothing looked at says nothing, and wrong arguments are refused") {
    const Case of = make_case(100, 1);
    const fae::InputShare none =
        fae::input_share(fae::seq, of.hot, of.space, of.inputs.bags(), fae::InputSampler::bernoulli(0, 1));
    CHECK(none.inputs == 0);
    CHECK(none.share.lower == 0);
    CHECK(none.share.upper == 1);
    CHECK_THROWS_AS((void)fae::input_share(fae::seq, of.hot, of.space, of.inputs.bags(),
                                           fae::InputSampler::exact(99, 9, 1)),
                    fae::ContractError);
    CHECK_THROWS_AS((void)fae::input_share(fae::seq, of.hot, of.space, of.inputs.bags(), {}, 1.0),
                    fae::ContractError);
}
