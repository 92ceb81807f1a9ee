// SPDX-License-Identifier: Apache-2.0
//
// cuda::Dlrm against the CPU's Dlrm. Both start from the same bits and compute the same sums in other orders.
// Distances are |a - b| / |b| over all elements of a tensor.
//
// float32: a sum of k terms is off by about sqrt(k) 2^-24, here at most 2e-6; seven layers forward and seven
// back stay below 2e-5 where no unit's input lies that close to the corner of its ReLU. TF32: operands are
// rounded to 2^-11 of themselves, so logits are off by some 1e-3. A unit whose input is that close to 0 may
// fall on the other side, and its gradient goes with it: one unit in a thousand, and as distances are roots
// of sums of squares, gradients are off by up to a few hundredths.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/models/dlrm.hpp"
#include "support/cuda/dlrm_run.hpp"

using namespace fae;

namespace {

double distance(Span<const float> a, Span<const float> b) {
    double difference = 0;
    double length = 0;
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double x = static_cast<double>(a[i]) - static_cast<double>(b[i]);
        difference += x * x;
        length += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    return length == 0 ? std::sqrt(difference) : std::sqrt(difference / length);
}

void set_side_by_side(const DlrmShape& shape, std::size_t n, OptimizerKind kind, bool tf32,
                      double clamp = 0) {
    CAPTURE(shape.dim);
    CAPTURE(n);
    CAPTURE(tf32);
    fae_test::DlrmTask task{shape, n + 3, 11, kind, tf32, clamp, {}, {}, {}, 0.02f, 1};
    Philox rng(n + shape.dim);
    for (std::size_t i = 0; i < n * shape.dense_features; ++i) {
        task.dense.push_back(static_cast<float>(rng.uniform() * 2));
    }
    for (std::size_t i = 0; i < n * shape.sparse_features * shape.dim; ++i) {
        task.pooled.push_back(static_cast<float>(rng.normal() * 0.5));
    }
    for (std::size_t i = 0; i < n; ++i) task.labels.push_back(rng.below(3) == 0 ? 1 : 0);
    const fae_test::DlrmOutcome device = fae_test::run_on_device(task);

    Dlrm<float> model(shape, n + 3, 11, kind, clamp);
    const MatrixView<const float> dense(task.dense.data(), n, shape.dense_features);
    const MatrixView<const float> pooled(task.pooled.data(), n, shape.sparse_features * shape.dim);
    model.forward(seq, dense, pooled);
    const double loss = model.loss(seq, task.labels);
    const MatrixView<const float> gradient = model.backward(seq, task.labels);
    const double close = tf32 ? 5e-3 : 2e-5;
    const double close_gradient = tf32 ? 6e-2 : 2e-5;
    REQUIRE(device.losses.size() == 1);
    CHECK(std::fabs(device.losses[0] - loss) < close * (1 + loss));
    CHECK(distance(device.logits, model.logits()) < close);
    CHECK(distance(device.pooled_gradient, {gradient.data(), gradient.rows() * gradient.columns()}) <
          close_gradient);
    const auto gradients = model.gradients();
    REQUIRE(gradients.size() == device.gradients.parameters().size());
    for (std::size_t p = 0; p < gradients.size(); ++p) {
        CAPTURE(gradients[p].name);
        REQUIRE(gradients[p].name == device.gradients.parameters()[p].name);
        CHECK(distance(device.gradients.parameters()[p].values, gradients[p].values) < close_gradient);
    }
    model.step(seq, task.lr);
    const auto parameters = model.parameters();
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        CAPTURE(parameters[p].name);
        CHECK(distance(device.parameters.parameters()[p].state, parameters[p].state) < 2 * close_gradient);
        // Adagrad's first step is the rate times the gradient's sign, whatever its size: a gradient that is
        // nothing but rounding moves its weight as far as any other.
        if (kind != OptimizerKind::sgd) continue;
        CHECK(distance(device.parameters.parameters()[p].values, parameters[p].values) < close);
    }
}

}  // namespace

// Catches a wrong layer order, triangle order, bias, activation or mask, and padding that leaks into a sum:
// odd widths and dims, no dense, no sparse features, one layer only.
TEST_CASE("cuda dlrm: agrees with the CPU's model for odd shapes and batch sizes") {
    const std::vector<DlrmShape> shapes = {
        DlrmShape::small_dlrm(13, 26),       {3, 5, 7, {9, 7}, {11, 1}},   {1, 1, 1, {1}, {1}},
        {4, 0, 5, {6, 5}, {7, 1}},           {0, 3, 4, {6, 4}, {7, 1}},    {13, 18, 17, {20, 17}, {70, 3, 1}},
        {2, 40, 24, {66, 24}, {130, 65, 1}}, {600, 2, 3, {70, 3}, {5, 1}}, {5, 16, 33, {33}, {1}},
        {7, 3, 128, {128}, {64, 1}},         {7, 3, 32, {32}, {64, 1}}};
    for (const DlrmShape& shape : shapes) {
        for (const std::size_t n : {1u, 63u, 130u}) {
            set_side_by_side(shape, n, OptimizerKind::sgd, false);
            set_side_by_side(shape, n, OptimizerKind::adagrad, false);
        }
    }
}

// Catches the same in the shapes that are measured, where products have other algorithms.
TEST_CASE("cuda dlrm: agrees with the CPU's model for RMC2 and RMC3, in float32 and in TF32") {
    for (const DlrmShape& shape : {DlrmShape::rmc2(13, 26), DlrmShape::rmc3(13, 26)}) {
        for (const bool tf32 : {false, true}) {
            set_side_by_side(shape, 515, OptimizerKind::sgd, tf32);
            set_side_by_side(shape, 515, OptimizerKind::rowwise_adagrad, tf32);
        }
    }
}

// Catches a layer that runs on one kind of kernels in small batches and on another in large ones, or on both
// in between, and the bias below a head that reads the pairs themselves.
TEST_CASE("cuda dlrm: agrees with the CPU's model in TF32 for narrow layers and batches of every kind") {
    for (const std::size_t n : {130u, 1100u, 2100u}) {
        set_side_by_side({7, 3, 32, {32}, {64, 1}}, n, OptimizerKind::sgd, true);
        set_side_by_side({5, 16, 33, {33}, {1}}, n, OptimizerKind::sgd, true);
        set_side_by_side({13, 18, 17, {120, 17}, {170, 63, 1}}, n, OptimizerKind::sgd, true);
    }
}

// Catches weight gradients of large batches, which the library computes in TF32 too, and a last chunk that is
// left out.
TEST_CASE("cuda dlrm: agrees with the CPU's model for a batch of many chunks") {
    set_side_by_side(DlrmShape::small_dlrm(13, 26), 2509, OptimizerKind::sgd, true);
    set_side_by_side(DlrmShape::small_dlrm(13, 26), 2509, OptimizerKind::sgd, false);
}

// Catches a clamp that is always on, never on, or whose gradient is not that of its loss.
TEST_CASE("cuda dlrm: the loss clamp holds where the CPU's does") {
    set_side_by_side(DlrmShape::small_dlrm(13, 26), 100, OptimizerKind::sgd, false, 0.3);
}
