// SPDX-License-Identifier: Apache-2.0
//
// cuda::Dlrm by itself: bits, flags, memory, errors. dlrm_parity_test.cpp sets it against the CPU's model.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/models/dlrm.cuh"
#include "support/cuda/dlrm_run.hpp"

namespace cuda = fae::cuda;
using fae::Buffer;
using fae::DenseParameters;
using fae::DlrmShape;
using fae::MatrixView;
using fae::OptimizerKind;
using fae::Parameter;
using fae::Span;

namespace {

template <class T>
Buffer<T, cuda::DeviceSpace> to_device(cuda::On on, const std::vector<T>& from) {
    Buffer<T, cuda::DeviceSpace> buffer(from.size());
    cuda::copy(on, from, buffer.span());
    return buffer;
}

template <class T>
std::vector<T> to_host(cuda::On on, Span<const T> from) {
    std::vector<T> host(from.size());
    cuda::copy(on, from, Span<T>(host));
    on.synchronise();
    return host;
}

/// A random batch in device memory.
struct Batch {
    std::vector<float> dense_values;
    std::vector<float> pooled_values;
    std::vector<std::uint8_t> label_values;
    Buffer<float, cuda::DeviceSpace> dense_memory;
    Buffer<float, cuda::DeviceSpace> pooled_memory;
    Buffer<std::uint8_t, cuda::DeviceSpace> label_memory;
    MatrixView<const float> dense;
    MatrixView<const float> pooled;
    Span<const std::uint8_t> labels;

    Batch(cuda::On on, const DlrmShape& shape, std::size_t n, std::uint64_t seed) {
        fae::Philox rng(seed);
        const std::size_t width = shape.sparse_features * shape.dim;
        for (std::size_t i = 0; i < n * shape.dense_features; ++i) {
            dense_values.push_back(static_cast<float>(rng.uniform() * 2));
        }
        for (std::size_t i = 0; i < n * width; ++i) {
            pooled_values.push_back(static_cast<float>(rng.normal() * 0.5));
        }
        for (std::size_t i = 0; i < n; ++i) label_values.push_back(rng.below(3) == 0 ? 1 : 0);
        dense_memory = to_device(on, dense_values);
        pooled_memory = to_device(on, pooled_values);
        label_memory = to_device(on, label_values);
        dense = {dense_memory.data(), n, shape.dense_features};
        pooled = {pooled_memory.data(), n, width};
        labels = {label_memory.data(), n};
        on.synchronise();
    }
};

void append(std::vector<float>& to, const DenseParameters& parameters) {
    for (const Parameter<float>& p : parameters.parameters()) {
        to.insert(to.end(), p.values.begin(), p.values.end());
        to.insert(to.end(), p.state.begin(), p.state.end());
    }
}

bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const DlrmShape odd_shape{5, 6, 12, {20, 12}, {30, 10, 1}};

}  // namespace

fae_test::DlrmOutcome fae_test::run_on_device(const DlrmTask& task) {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const std::size_t n = task.labels.size();
    const std::size_t width = task.shape.sparse_features * task.shape.dim;
    cuda::Dlrm model(on, task.shape, task.max_batch, task.seed, task.optimizer,
                     task.tf32 ? cuda::Precision::tf32 : cuda::Precision::fp32, task.clamp);
    const auto dense = to_device(on, task.dense);
    const auto pooled = to_device(on, task.pooled);
    const auto labels = to_device(on, task.labels);
    const auto lr = to_device(on, std::vector<float>{task.lr});
    DlrmOutcome outcome;
    for (int step = 0; step < task.steps; ++step) {
        model.forward(on, {dense.data(), n, task.shape.dense_features}, {pooled.data(), n, width});
        const MatrixView<const float> gradient = model.backward(on, labels.span());
        outcome.pooled_gradient = to_host(on, Span<const float>(gradient.data(), n * width));
        outcome.gradients = model.read_gradients(on);
        outcome.losses.push_back(model.status().loss);
        model.step(on, lr.data());
    }
    outcome.logits = to_host(on, model.logits());
    outcome.parameters = model.read_parameters(on);
    return outcome;
}

// Catches a product or a sum whose order depends on timing: atomics, in-place split sums, a shared workspace.
TEST_CASE("cuda dlrm: two runs give the same bits, queued and captured in a graph") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    for (const cuda::Precision precision : {cuda::Precision::tf32, cuda::Precision::fp32}) {
        for (const std::size_t n : {std::size_t{37}, std::size_t{1024}, std::size_t{2500}}) {
            const DlrmShape shape = n == 37 ? odd_shape : DlrmShape::rmc2(13, 26);
            const Batch batch(on, shape, n, 3);
            const auto lr = to_device(on, std::vector<float>{0.05f});
            const auto train = [&](bool captured) {
                cuda::Dlrm model(on, shape, n, 7, OptimizerKind::adagrad, precision);
                const auto queue = [&] {
                    model.forward(on, batch.dense, batch.pooled);
                    const auto gradient = model.backward(on, batch.labels);
                    model.step(on, lr.data());
                    return gradient;
                };
                model.prepare(n);
                MatrixView<const float> gradient;
                cudaGraph_t graph = nullptr;
                cudaGraphExec_t exec = nullptr;
                if (captured) {
                    cuda::check(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeThreadLocal), "begin");
                    gradient = queue();
                    cuda::check(cudaStreamEndCapture(on.stream, &graph), "end");
                    cuda::check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
                }
                for (int step = 0; step < 4; ++step) {
                    if (captured) {
                        cuda::check(cudaGraphLaunch(exec, on.stream), "launch");
                    } else {
                        gradient = queue();
                    }
                }
                std::vector<float> all =
                    to_host(on, Span<const float>(gradient.data(), batch.pooled_memory.size()));
                const std::vector<float> logits = to_host(on, model.logits());
                all.insert(all.end(), logits.begin(), logits.end());
                append(all, model.read_parameters(on));
                append(all, model.read_gradients(on));
                all.push_back(static_cast<float>(model.status().loss));
                CHECK(model.status().inputs == 4 * n);
                if (captured) {
                    cudaGraphExecDestroy(exec);
                    cudaGraphDestroy(graph);
                }
                return all;
            };
            const std::vector<float> first = train(false);
            CHECK(equal_bits(train(false), first));
            CHECK(equal_bits(train(true), first));
            CHECK(equal_bits(train(true), first));
        }
    }
}

// Catches reading past the end of dense rows, and padding that is taken for features.
TEST_CASE("cuda dlrm: dense rows are read in place at the model's stride and copied from any other") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const Batch batch(on, odd_shape, 70, 5);
    cuda::Dlrm model(on, odd_shape, 70, 7, OptimizerKind::sgd, cuda::Precision::fp32);
    std::vector<float> padded(70 * model.dense_stride(), 0.0f);
    REQUIRE(model.dense_stride() == 8);
    for (std::size_t i = 0; i < 70; ++i) {
        for (std::size_t c = 0; c < 5; ++c) padded[i * 8 + c] = batch.dense_values[i * 5 + c];
    }
    const auto padded_memory = to_device(on, padded);
    const auto logits = [&](MatrixView<const float> dense) {
        model.forward(on, dense, batch.pooled);
        model.loss(on, batch.labels);
        return to_host(on, model.logits());
    };
    CHECK(equal_bits(logits(batch.dense), logits({padded_memory.data(), 70, 5, 8})));
}

// Catches a ReLU, a maximum or a clamp that swallows NaN, and an update that goes on after it.
TEST_CASE("cuda dlrm: from a loss that is not finite on, nothing is updated and the step is named") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const auto lr = to_device(on, std::vector<float>{0.1f});
    for (const auto& [precision, n] : {std::pair{cuda::Precision::tf32, std::size_t{70}},
                                       std::pair{cuda::Precision::tf32, std::size_t{1030}},
                                       std::pair{cuda::Precision::tf32, std::size_t{2100}},
                                       std::pair{cuda::Precision::fp32, std::size_t{70}}}) {
        CAPTURE(n);
        const Batch batch(on, odd_shape, n, 5);
        for (std::size_t p = 0; p < 10; ++p) {
            CAPTURE(p);
            cuda::Dlrm model(on, odd_shape, n, 7, OptimizerKind::adagrad, precision, p % 2 == 0 ? 0.0 : 1e-3);
            DenseParameters parameters = model.read_parameters(on);
            REQUIRE(parameters.parameters().size() == 10);
            for (float& value : parameters.parameters()[p].values)
                value = std::numeric_limits<float>::quiet_NaN();
            model.write_parameters(on, parameters);
            std::vector<float> before;
            append(before, model.read_parameters(on));
            for (std::uint64_t number = 41; number < 43; ++number) {
                const auto number_memory = to_device(on, std::vector<std::uint64_t>{number});
                model.forward(on, batch.dense, batch.pooled);
                const auto gradient = model.backward(on, batch.labels, number_memory.data());
                model.step(on, lr.data());
                const auto values = to_host(on, Span<const float>(gradient.data(), n * 6 * 12));
                CHECK(equal_bits(values, std::vector<float>(values.size(), 0.0f)));
                CHECK(model.status().stopped == 1);
                CHECK(model.status().stopped_at == 41);
                CHECK(model.status().inputs == 0);
            }
            std::vector<float> after;
            append(after, model.read_parameters(on));
            CHECK(equal_bits(after, before));
            model.clear_status(on);
            CHECK(model.status().stopped == 0);
        }
    }
}

// Catches an update that is not the documented rule to the bit, and state that is not kept.
TEST_CASE("cuda dlrm: step gives the bits of the host's rule applied to the device's gradients") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const Batch batch(on, odd_shape, 33, 5);
    const float rate = 0.07f;
    const auto lr = to_device(on, std::vector<float>{rate});
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        cuda::Dlrm model(on, odd_shape, 33, 7, kind);
        for (int step = 0; step < 3; ++step) {
            const DenseParameters expected = model.read_parameters(on);
            model.forward(on, batch.dense, batch.pooled);
            model.backward(on, batch.labels);
            const DenseParameters gradients = model.read_gradients(on);
            model.step(on, lr.data());
            for (std::size_t p = 0; p < expected.parameters().size(); ++p) {
                const Parameter<float>& to = expected.parameters()[p];
                const float* g = gradients.parameters()[p].values.data();
                if (kind == OptimizerKind::sgd) {
                    update_row(fae::Sgd{}, rate, to.values.data(), static_cast<float*>(nullptr), g,
                               to.values.size());
                } else {
                    update_row(fae::Adagrad{}, rate, to.values.data(), to.state.data(), g, to.values.size());
                }
            }
            std::vector<float> want;
            std::vector<float> got;
            append(want, expected);
            append(got, model.read_parameters(on));
            CHECK(equal_bits(got, want));
        }
    }
}

// Catches a place of gradients that batches of one size write, and others read and do not write.
TEST_CASE("cuda dlrm: gradients do not depend on the batches before, whatever their sizes") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const DlrmShape shape{5, 6, 16, {40, 16}, {30, 10, 1}};
    const Batch small(on, shape, 1000, 5);
    const Batch large(on, shape, 3000, 6);
    for (const cuda::Precision precision : {cuda::Precision::tf32, cuda::Precision::fp32}) {
        cuda::Dlrm model(on, shape, 3000, 7, OptimizerKind::sgd, precision);
        const auto gradients = [&](const Batch& batch) {
            model.forward(on, batch.dense, batch.pooled);
            model.backward(on, batch.labels);
            std::vector<float> all;
            append(all, model.read_gradients(on));
            return all;
        };
        const std::vector<float> of_large = gradients(large);
        const std::vector<float> of_small = gradients(small);
        CHECK(equal_bits(gradients(large), of_large));
        CHECK(equal_bits(gradients(small), of_small));
    }
}

// Catches memory that is taken by a step: by us, by cuBLASLt, by a first launch.
TEST_CASE("cuda dlrm: steps take no device memory once a batch size has been seen") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const Batch batch(on, DlrmShape::rmc2(13, 26), 300, 5);
    const auto lr = to_device(on, std::vector<float>{0.1f});
    cuda::Dlrm model(on, DlrmShape::rmc2(13, 26), 300, 7, OptimizerKind::sgd);
    std::size_t before = 0;
    for (int step = 0; step < 20; ++step) {
        model.forward(on, batch.dense, batch.pooled);
        model.backward(on, batch.labels);
        model.step(on, lr.data());
        on.synchronise();
        std::size_t available = 0;
        std::size_t total = 0;
        cuda::check(cudaMemGetInfo(&available, &total), "memory");
        if (step == 0) before = available;
        REQUIRE(available == before);
    }
}

TEST_CASE("cuda dlrm: an empty batch has loss 0, no gradient, and changes nothing") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const auto lr = to_device(on, std::vector<float>{0.1f});
    cuda::Dlrm model(on, odd_shape, 8, 7, OptimizerKind::adagrad);
    std::vector<float> before;
    append(before, model.read_parameters(on));
    model.forward(on, {nullptr, 0, 5}, {nullptr, 0, 72});
    model.backward(on, {});
    model.step(on, lr.data());
    std::vector<float> after;
    append(after, model.read_parameters(on));
    CHECK(equal_bits(after, before));
    CHECK(model.status().loss == 0);
    CHECK(model.status().stopped == 0);
}

TEST_CASE("cuda dlrm: misuse is refused with both values") {
    const cuda::Stream stream;
    const cuda::On on = cuda::on(stream);
    const auto memory = to_device(on, std::vector<float>(9 * 72));
    cuda::Dlrm model(on, odd_shape, 8, 7, OptimizerKind::sgd);
    CHECK_THROWS_WITH_AS(model.forward(on, {memory.data(), 9, 5}, {memory.data(), 9, 72}),
                         "the batch has 9 inputs, expected at most max_batch = 8", fae::ContractError);
    CHECK_THROWS_WITH_AS(model.forward(on, {memory.data(), 8, 5}, {memory.data(), 8, 71}),
                         "pooled is [8, 71] at stride 71, expected [8, 72]", fae::ContractError);
    CHECK_THROWS_WITH_AS(model.step(on, memory.data()),
                         "step is called after forward_bottom, expected after backward", fae::ContractError);
    CHECK_THROWS_AS(cuda::Dlrm(on, {1, 300, 4096, {4096}, {1}}, 8, 7, OptimizerKind::sgd),
                    fae::ContractError);
}
