// SPDX-License-Identifier: Apache-2.0
//
// The dense model without its embeddings: forward, and the whole training step (forward, loss, backward,
// SGD).
//
//   gflops   floating-point operations of the shape (DlrmShape) in a second, 1e9
//   of_peak  the same as a share of what Eigen's product of two 1024 x 1024 matrices reaches on as many
//            threads at once, each with matrices of its own, measured in the same run just before
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../../tests/support/dlrm_oracle.hpp"
#include "fae/core/threads.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/models/metrics.hpp"

namespace {

using namespace fae;

/// Operations in a second of Eigen's product, the best of eight runs.
double peak(Threads& threads) {
    constexpr Eigen::Index n = 1024;
    std::vector<Eigen::MatrixXf> a(threads.concurrency(), Eigen::MatrixXf::Constant(n, n, 0.5f));
    std::vector<Eigen::MatrixXf> b = a;
    std::vector<Eigen::MatrixXf> c = a;
    double best = 0;
    for (int run = 0; run < 8; ++run) {
        const auto begin = std::chrono::steady_clock::now();
        threads.run(a.size(), [&](std::size_t i) { c[i].noalias() = a[i] * b[i]; });
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        benchmark::DoNotOptimize(c.data());
        best = std::max(best, 2.0 * n * n * n * static_cast<double>(a.size()) / seconds.count());
    }
    return best;
}

struct Input {
    std::vector<float> dense;
    std::vector<float> pooled;
    std::vector<std::uint8_t> labels;
    MatrixView<const float> dense_view;
    MatrixView<const float> pooled_view;

    Input(const DlrmShape& shape, std::size_t n)
        : dense(n * shape.dense_features), pooled(n * shape.sparse_features * shape.dim), labels(n) {
        Philox rng(3);
        for (float& x : dense) x = static_cast<float>(rng.uniform());
        for (float& x : pooled) x = static_cast<float>(0.1 * rng.normal());
        for (std::uint8_t& label : labels) label = rng.below(4) == 0 ? 1 : 0;
        dense_view = {dense.data(), n, shape.dense_features};
        pooled_view = {pooled.data(), n, shape.sparse_features * shape.dim};
    }
};

/// Empty if some logits equal plain loops and a step lowers the loss; else what is wrong.
template <class E>
std::string check(Dlrm<float>& model, const Input& input, const E& exec) {
    const std::size_t n = input.labels.size();
    const Span<const float> logits = model.forward(exec, input.dense_view, input.pooled_view);
    const auto layers = fae_test::oracle_layers(model);
    for (std::size_t i = 0; i < n; i += n / 3) {
        const std::vector<double> dense(input.dense_view.row(i), input.dense_view.row(i) + 13);
        const float* row = input.pooled_view.row(i);
        const std::vector<double> pooled(row, row + input.pooled_view.columns());
        const double expected = fae_test::oracle_logit(model.shape(), layers, dense, pooled);
        if (!(std::fabs(static_cast<double>(logits[i]) - expected) < 1e-4)) return "a logit is wrong";
    }
    const double before = model.loss(exec, input.labels);
    model.backward(exec, input.labels);
    model.step(exec, 0.01f);
    model.forward(exec, input.dense_view, input.pooled_view);
    return model.loss(exec, input.labels) < before ? "" : "a step does not lower the loss";
}

void run(benchmark::State& state, const DlrmShape& shape, std::size_t batch, std::size_t count, bool train) {
    Threads threads(count);
    const double best = peak(threads);
    const auto exec = par(threads);
    Dlrm<float> model(shape, batch, 1, OptimizerKind::sgd);
    const Input input(shape, batch);
    if (const std::string wrong = check(model, input, exec); !wrong.empty()) {
        state.SkipWithError(wrong.c_str());
        return;
    }
    double loss = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (auto _ : state) {
        model.forward(exec, input.dense_view, input.pooled_view);
        if (!train) continue;
        loss += model.loss(exec, input.labels);
        model.backward(exec, input.labels);
        model.step(exec, 1e-4f);
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    benchmark::DoNotOptimize(loss);
    const double inputs = static_cast<double>(state.iterations()) * static_cast<double>(batch);
    const double operations = static_cast<double>(train ? shape.training_flops() : shape.forward_flops());
    state.SetItemsProcessed(static_cast<std::int64_t>(inputs));
    const double rate = inputs * operations / seconds.count();
    state.counters["gflops"] = rate / 1e9;
    state.counters["of_peak"] = rate / best;
}

void run_auc(benchmark::State& state, std::size_t n, std::size_t count) {
    Threads threads(count);
    Philox rng(5);
    std::vector<float> scores;
    std::vector<std::uint8_t> labels;
    for (std::size_t i = 0; i < n; ++i) {
        labels.push_back(rng.below(4) == 0 ? 1 : 0);
        scores.push_back(static_cast<float>(rng.normal()) + static_cast<float>(labels.back()));
    }
    // Two unit normals one apart: Phi(1 / sqrt(2)).
    const double expected = 0.5 * std::erfc(-0.5);
    if (!(std::fabs(*roc_auc(par(threads), Span<const float>(scores), labels) - expected) < 0.005)) {
        state.SkipWithError("the area under the curve is wrong");
        return;
    }
    for (auto _ : state) {
        benchmark::DoNotOptimize(roc_auc(par(threads), Span<const float>(scores), labels));
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(n) * state.iterations());
}

[[maybe_unused]] const bool registered = [] {
    const auto add = [](const std::string& name, auto f) {
        benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime()->Unit(benchmark::kMillisecond);
    };
    for (const bool train : {false, true}) {
        for (const bool terabyte : {false, true}) {
            for (const std::size_t batch : {1024u, 4096u}) {
                for (const std::size_t count : {1u, 2u}) {
                    const DlrmShape shape = terabyte ? DlrmShape::rmc3(13, 26) : DlrmShape::rmc2(13, 26);
                    add(concat("dlrm/", train ? "step" : "forward", "/par/model:", terabyte ? "rmc3" : "rmc2",
                               "/dim:", shape.dim, "/batch:", batch, "/threads:", count),
                        [=](benchmark::State& state) { run(state, shape, batch, count, train); });
                }
            }
        }
    }
    for (const std::size_t count : {1u, 2u}) {
        add(concat("roc_auc/forward/par/inputs:1000000/threads:", count),
            [=](benchmark::State& state) { run_auc(state, 1'000'000, count); });
    }
    return true;
}();

}  // namespace

BENCHMARK_MAIN();
