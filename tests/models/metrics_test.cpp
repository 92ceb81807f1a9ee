// SPDX-License-Identifier: Apache-2.0
//
// Metrics against plain oracles.
#include "fae/models/metrics.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "support/dlrm_oracle.hpp"

using namespace fae;

namespace {
constexpr float infinity = std::numeric_limits<float>::infinity();
}

// Catches ties counted as won or lost, a wrong order of negative scores, -0 apart from +0, lost inputs.
TEST_CASE("roc_auc: it equals the share of all pairs in order, ties as one half") {
    Philox rng(6);
    for (int round = 0; round < 200; ++round) {
        const std::size_t n = 2 + rng.below(80);
        const std::uint64_t values = 1 + rng.below(round % 2 == 0 ? 5 : 1000);
        std::vector<float> scores;
        std::vector<std::uint8_t> labels;
        for (std::size_t i = 0; i < n; ++i) {
            const float size = static_cast<float>(rng.below(values)) * 0.37f;
            scores.push_back(rng.below(2) == 0 ? -size : size);
            labels.push_back(static_cast<std::uint8_t>(rng.below(2)));
        }
        labels[0] = 0;
        labels[1] = 1;
        const std::optional<double> auc = roc_auc(seq, Span<const float>(scores), labels);
        REQUIRE(auc.has_value());
        REQUIRE(*auc == doctest::Approx(fae_test::oracle_auc(scores, labels)).epsilon(1e-13));
    }
}

// Catches a formula that is right only in the middle.
TEST_CASE("roc_auc: perfect, reversed and constant scores give 1, 0 and one half") {
    const std::vector<std::uint8_t> labels{0, 0, 1, 1};
    const std::vector<float> perfect{-infinity, -1, 2, infinity};
    const std::vector<float> reversed{infinity, 3, -2, -infinity};
    const std::vector<float> constant{0.0f, -0.0f, -0.0f, 0.0f};
    CHECK(roc_auc(seq, Span<const float>(perfect), labels) == 1.0);
    CHECK(roc_auc(seq, Span<const float>(reversed), labels) == 0.0);
    CHECK(roc_auc(seq, Span<const float>(constant), labels) == 0.5);
}

// Catches a division by zero that looks like a result.
TEST_CASE("roc_auc: with one class, or no input, there is no value") {
    const std::vector<float> scores{1, 2, 3};
    CHECK(!roc_auc(seq, Span<const float>(scores), std::vector<std::uint8_t>{0, 0, 0}).has_value());
    CHECK(!roc_auc(seq, Span<const float>(scores), std::vector<std::uint8_t>{1, 1, 1}).has_value());
    CHECK(!roc_auc(seq, Span<const float>(), Span<const std::uint8_t>()).has_value());
}

// Catches a parallel sort that loses keys at the seams of its chunks, and a result that depends on threads.
TEST_CASE("roc_auc: many inputs give the same value for every executor, and the right one") {
    Philox rng(8);
    const std::size_t n = 200'001;
    std::vector<float> scores;
    std::vector<std::uint8_t> labels;
    for (std::size_t i = 0; i < n; ++i) {
        labels.push_back(rng.below(4) == 0 ? 1 : 0);
        scores.push_back(static_cast<float>(rng.normal()) + static_cast<float>(labels[i]));
    }
    const std::optional<double> auc = roc_auc(seq, Span<const float>(scores), labels);
    // Two unit normals one apart: Phi(1 / sqrt(2)) = 0.76025.
    CHECK(*auc == doctest::Approx(0.76025).epsilon(0.005));
    for (const std::size_t count : {2u, 3u, 8u}) {
        Threads threads(count);
        CHECK(roc_auc(par(threads), Span<const float>(scores), labels) == auc);
    }
    // The definition by ranks, with a comparison sort.
    std::vector<std::size_t> order(n);
    for (std::size_t i = 0; i < n; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
    double won = 0;
    double below = 0;
    double ones = 0;
    for (std::size_t first = 0; first < n;) {
        std::size_t last = first;
        double tied_ones = 0;
        for (; last < n && scores[order[last]] == scores[order[first]]; ++last)
            tied_ones += labels[order[last]];
        const double tied_zeros = static_cast<double>(last - first) - tied_ones;
        won += tied_ones * (below + tied_zeros / 2);
        below += tied_zeros;
        ones += tied_ones;
        first = last;
    }
    CHECK(*auc == doctest::Approx(won / below / ones).epsilon(1e-14));
}

// Catches NaN sorted as if it were a number.
TEST_CASE("roc_auc: NaN is refused with its position, and lengths must agree") {
    std::vector<float> scores{1, 2, std::nanf("")};
    const std::vector<std::uint8_t> labels{0, 1, 1};
    CHECK_THROWS_WITH_AS((void)roc_auc(seq, Span<const float>(scores), labels),
                         "score 2 of 3 is NaN, expected a number", ContractError);
    scores.pop_back();
    CHECK_THROWS_WITH_AS((void)roc_auc(seq, Span<const float>(scores), labels),
                         "there are 3 labels, expected one for each of 2 scores", ContractError);
}

// Catches a mean of means.
TEST_CASE("running_mean: batches count by their size") {
    RunningMean mean;
    CHECK(mean.mean() == 0);
    mean.add(1, 3);
    mean.add(5, 1);
    mean.add(std::nan(""), 0);
    CHECK(mean.count() == 4);
    CHECK(mean.mean() == 2);
}

// Catches a threshold on the wrong side of one half.
TEST_CASE("correct_predictions: class 1 is predicted above one half") {
    const std::vector<float> logits{-1, 0, 1, 2};
    CHECK(correct_predictions(logits, std::vector<std::uint8_t>{0, 0, 1, 0}) == 3);
    CHECK(correct_predictions(logits, std::vector<std::uint8_t>{1, 1, 0, 1}) == 1);
    CHECK_THROWS_AS((void)correct_predictions(logits, std::vector<std::uint8_t>{1}), ContractError);
}

// Catches a run that goes on after its loss is lost.
TEST_CASE("require_finite: a loss that is not a number stops the run and names the step") {
    require_finite(7, 0.5);
    CHECK_THROWS_WITH_AS(require_finite(7, std::nan("")), "step 7: the loss is nan", NonFiniteError);
    CHECK_THROWS_AS(require_finite(8, static_cast<double>(infinity)), NonFiniteError);
}
