// SPDX-License-Identifier: Apache-2.0
//
// Dlrm against plain loops in double and against finite differences.
#include "fae/models/dlrm.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/models/metrics.hpp"
#include "support/dlrm_oracle.hpp"

using namespace fae;

namespace {

template <class T>
struct Batch {
    std::vector<T> dense;
    std::vector<T> pooled;
    std::vector<std::uint8_t> labels;
    MatrixView<const T> dense_view;
    MatrixView<const T> pooled_view;

    Batch(const DlrmShape& shape, std::size_t n, std::uint64_t seed) {
        Philox rng(seed);
        const std::size_t width = shape.sparse_features * shape.dim;
        for (std::size_t i = 0; i < n * shape.dense_features; ++i) dense.push_back(T(rng.uniform() * 2));
        for (std::size_t i = 0; i < n * width; ++i) pooled.push_back(T(rng.normal() * 0.5));
        for (std::size_t i = 0; i < n; ++i) labels.push_back(rng.below(3) == 0 ? 1 : 0);
        dense_view = {dense.data(), n, shape.dense_features};
        pooled_view = {pooled.data(), n, width};
    }
    [[nodiscard]] std::size_t size() const { return labels.size(); }
    [[nodiscard]] std::vector<double> dense_row(std::size_t i) const { return row(dense_view, i); }
    [[nodiscard]] std::vector<double> pooled_row(std::size_t i) const { return row(pooled_view, i); }

  private:
    static std::vector<double> row(const MatrixView<const T>& view, std::size_t i) {
        return std::vector<double>(view.row(i), view.row(i) + view.columns());
    }
};

template <class T>
std::vector<double> oracle_logits(const Dlrm<T>& model, const Batch<T>& batch) {
    const auto layers = fae_test::oracle_layers(model);
    std::vector<double> logits;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        logits.push_back(
            fae_test::oracle_logit(model.shape(), layers, batch.dense_row(i), batch.pooled_row(i)));
    }
    return logits;
}

template <class T>
double oracle_mean_loss(const Dlrm<T>& model, const Batch<T>& batch, double clamp = 0) {
    double sum = 0;
    const std::vector<double> logits = oracle_logits(model, batch);
    for (std::size_t i = 0; i < batch.size(); ++i) {
        sum += fae_test::oracle_loss(logits[i], batch.labels[i] != 0, clamp);
    }
    return sum / static_cast<double>(batch.size());
}

// Shapes that reach every remainder: odd widths, dims around a vector's length, no dense, no sparse features.
std::vector<DlrmShape> odd_shapes() {
    return {
        DlrmShape::small_dlrm(13, 26),       {3, 5, 7, {9, 7}, {11, 1}},   {1, 1, 1, {1}, {1}},
        {4, 0, 5, {6, 5}, {7, 1}},           {0, 3, 4, {6, 4}, {7, 1}},    {13, 18, 17, {20, 17}, {70, 3, 1}},
        {2, 40, 24, {66, 24}, {130, 65, 1}}, {600, 2, 3, {70, 3}, {5, 1}}, {5, 16, 33, {33}, {1}}};
}

// (f(x + h) - f(x - h)) / 2h for one element that f reads.
template <class F>
double difference(double& x, F&& f, double h = 1e-6) {
    const double kept = x;
    x = kept + h;
    const double above = f();
    x = kept - h;
    const double below = f();
    x = kept;
    return (above - below) / (2 * h);
}

template <class T>
std::vector<T> everything(const Dlrm<T>& model) {
    std::vector<T> all(model.logits().begin(), model.logits().end());
    for (const auto& list : {model.parameters(), model.gradients()}) {
        for (const auto& parameter : list) {
            all.insert(all.end(), parameter.values.begin(), parameter.values.end());
            all.insert(all.end(), parameter.state.begin(), parameter.state.end());
        }
    }
    return all;
}

}  // namespace

// Catches a wrong layer order, triangle order, bias, activation, or remainder of a vector loop.
TEST_CASE("dlrm: logits equal plain loops, for odd shapes and batch sizes") {
    for (const DlrmShape& shape : odd_shapes()) {
        for (const std::size_t n : {1u, 63u, 64u, 65u, 130u}) {
            if (n % 64 > 1 && shape.parameters() > 10'000) continue;
            CAPTURE(shape.dim);
            CAPTURE(n);
            Dlrm<double> model(shape, 130, 5, OptimizerKind::sgd);
            const Batch<double> batch(shape, n, n);
            const Span<const double> logits = model.forward(seq, batch.dense_view, batch.pooled_view);
            const std::vector<double> expected = oracle_logits(model, batch);
            REQUIRE(logits.size() == n);
            for (std::size_t i = 0; i < n; ++i) {
                REQUIRE(logits[i] == doctest::Approx(expected[i]).epsilon(1e-10));
                REQUIRE(model.probabilities()[i] == doctest::Approx(1 / (1 + std::exp(-expected[i]))));
            }
            REQUIRE(model.loss(seq, batch.labels) ==
                    doctest::Approx(oracle_mean_loss(model, batch)).epsilon(1e-10));
        }
    }
}

// Catches single-precision paths that differ from the double ones (other vector widths, other product
// blocks).
TEST_CASE("dlrm: single precision agrees with plain loops in double to rounding") {
    for (const DlrmShape& shape : {DlrmShape::rmc2(13, 26), DlrmShape::rmc3(13, 26), odd_shapes()[6]}) {
        const std::size_t n = shape.parameters() > 200'000 ? 9 : 70;
        Dlrm<float> model(shape, n, 9, OptimizerKind::sgd);
        const Batch<float> batch(shape, n, 3);
        const Span<const float> logits = model.forward(seq, batch.dense_view, batch.pooled_view);
        const std::vector<double> expected = oracle_logits(model, batch);
        for (std::size_t i = 0; i < batch.size(); ++i) {
            REQUIRE(std::fabs(logits[i] - expected[i]) < 1e-5 * (1 + std::fabs(expected[i])));
        }
        REQUIRE(model.loss(seq, batch.labels) ==
                doctest::Approx(oracle_mean_loss(model, batch)).epsilon(1e-5));
    }
}

// Catches any wrong gradient: of a weight, a bias, the dot products, the ReLUs, the mean over the batch.
TEST_CASE("dlrm: gradients equal finite differences of the plain loops in double") {
    for (const DlrmShape& shape : odd_shapes()) {
        for (const std::size_t n : {3u, 67u}) {
            if (n > 3 && shape.parameters() > 2000) continue;  // differences take a pass over the batch each
            Dlrm<double> model(shape, 100, 11, OptimizerKind::sgd);
            Batch<double> batch(shape, n, 21);
            const auto mean_loss = [&] { return oracle_mean_loss(model, batch); };
            model.forward(seq, batch.dense_view, batch.pooled_view);
            const MatrixView<const double> pooled_gradient = model.backward(seq, batch.labels);
            Philox rng(2);
            const auto gradients = model.gradients();
            auto parameters = model.parameters();
            REQUIRE(gradients.size() == parameters.size());
            std::size_t not_zero = 0;
            for (std::size_t p = 0; p < parameters.size(); ++p) {
                REQUIRE(gradients[p].name == parameters[p].name);
                for (int trial = 0; trial < 4 && parameters[p].values.size() != 0; ++trial) {
                    const std::size_t at = rng.below(parameters[p].values.size());
                    const double expected = difference(parameters[p].values[at], mean_loss);
                    CAPTURE(parameters[p].name);
                    CAPTURE(at);
                    REQUIRE(std::fabs(gradients[p].values[at] - expected) <
                            1e-8 + 1e-5 * std::fabs(expected));
                    not_zero += expected != 0 ? 1 : 0;
                }
            }
            REQUIRE(not_zero > 0);
            REQUIRE(pooled_gradient.rows() == n);
            REQUIRE(pooled_gradient.columns() == shape.sparse_features * shape.dim);
            for (int trial = 0; trial < 8 && shape.sparse_features != 0; ++trial) {
                const std::size_t at = rng.below(batch.pooled.size());
                const double expected = difference(batch.pooled[at], mean_loss);
                REQUIRE(std::fabs(pooled_gradient.data()[at] - expected) < 1e-8 + 1e-5 * std::fabs(expected));
            }
        }
    }
}

// Catches work cut by thread count, slices that share scratch, and sums in the order threads finish.
TEST_CASE("dlrm: every executor gives the same bits") {
    const DlrmShape shape{13, 10, 16, {40, 16}, {130, 20, 1}};
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        for (const std::size_t n : {1u, 63u, 64u, 65u, 1000u}) {
            const Batch<float> batch(shape, n, 4);
            const auto train = [&](const auto& exec) {
                Dlrm<float> model(shape, 1000, 7, kind);
                std::vector<float> result;
                for (int step = 0; step < 2; ++step) {
                    model.forward(exec, batch.dense_view, batch.pooled_view);
                    result.push_back(static_cast<float>(model.loss(exec, batch.labels)));
                    const MatrixView<const float> gradient = model.backward(exec, batch.labels);
                    result.insert(result.end(), gradient.data(), gradient.data() + n * 10 * 16);
                    model.step(exec, 0.1f);
                }
                const std::vector<float> rest = everything(model);
                result.insert(result.end(), rest.begin(), rest.end());
                return result;
            };
            const std::vector<float> expected = train(seq);
            for (std::size_t count = 1; count <= 8; count += count < 4 ? 1 : 4) {
                Threads threads(count);
                REQUIRE(train(par(threads)) == expected);
            }
        }
    }
}

// Catches a clamp that is always on, never on, or whose gradient is not that of its loss.
TEST_CASE("dlrm: the loss clamp bounds the loss and stops the gradient where it holds") {
    const DlrmShape shape{2, 1, 2, {2}, {1}};
    const double clamp = 1e-3;
    Dlrm<double> plain(shape, 4, 3, OptimizerKind::sgd);
    Dlrm<double> clamped(shape, 4, 3, OptimizerKind::sgd, clamp);
    Batch<double> batch(shape, 4, 8);
    batch.labels = {0, 1, 0, 1};
    for (const double bias : {0.0, 30.0, -30.0}) {
        plain.parameters().back().values[0] = bias;
        clamped.parameters().back().values[0] = bias;
        plain.forward(seq, batch.dense_view, batch.pooled_view);
        clamped.forward(seq, batch.dense_view, batch.pooled_view);
        CHECK(plain.loss(seq, batch.labels) == doctest::Approx(oracle_mean_loss(plain, batch)));
        CHECK(clamped.loss(seq, batch.labels) == doctest::Approx(oracle_mean_loss(clamped, batch, clamp)));
        plain.backward(seq, batch.labels);
        clamped.backward(seq, batch.labels);
        const double slope = plain.gradients().back().values[0];
        const double clamped_slope = clamped.gradients().back().values[0];
        if (bias == 0) {
            CHECK(plain.loss(seq, batch.labels) == doctest::Approx(clamped.loss(seq, batch.labels)));
            CHECK(clamped_slope == slope);
        } else {
            CHECK(clamped.loss(seq, batch.labels) <= -std::log(clamp));
            CHECK(plain.loss(seq, batch.labels) > -std::log(clamp));
            CHECK(std::fabs(slope) == doctest::Approx(0.5));
            CHECK(clamped_slope == 0);
        }
    }
}

// Catches a loss computed as log(p): infinite where the logit is large and wrong.
TEST_CASE("dlrm: without clamp a large wrong logit costs itself, not infinity") {
    const DlrmShape shape{1, 0, 1, {1}, {1}};
    Dlrm<float> model(shape, 1, 3, OptimizerKind::sgd);
    const Batch<float> batch(shape, 1, 8);
    const std::vector<std::uint8_t> one{1};
    const std::vector<std::uint8_t> zero{0};
    for (const float bias : {1e4f, -1e4f}) {
        model.parameters().back().values[0] = bias;
        const float logit = model.forward(seq, batch.dense_view, batch.pooled_view)[0];
        CHECK(model.loss(seq, logit > 0 ? zero : one) == doctest::Approx(std::fabs(logit)));
        CHECK(model.loss(seq, logit > 0 ? one : zero) == 0);
    }
}

// Catches a ReLU, a maximum or a clamp that swallows NaN: training would go on with nonsense.
TEST_CASE("dlrm: a weight that is not a number reaches the loss") {
    const DlrmShape shape{4, 2, 3, {5, 3}, {6, 1}};
    for (const double clamp : {0.0, 1e-3}) {
        for (std::size_t p = 0; p < 8; ++p) {
            Dlrm<float> model(shape, 70, 3, OptimizerKind::sgd, clamp);
            const Batch<float> batch(shape, 70, 8);
            auto parameters = model.parameters();
            REQUIRE(parameters.size() == 8);
            for (float& value : parameters[p].values) value = std::numeric_limits<float>::quiet_NaN();
            model.forward(seq, batch.dense_view, batch.pooled_view);
            CHECK(std::isnan(model.loss(seq, batch.labels)));
        }
    }
}

// Catches an update that is not the documented rule, state that is not kept, and state under SGD.
TEST_CASE("dlrm: step follows the rules of SGD and Adagrad") {
    const DlrmShape shape = DlrmShape::small_dlrm(13, 4);
    const Batch<float> batch(shape, 20, 8);
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        Dlrm<float> model(shape, 20, 3, kind);
        std::vector<std::vector<float>> sums(model.parameters().size());
        for (int step = 0; step < 3; ++step) {
            const float lr = 0.1f / static_cast<float>(step + 1);
            std::vector<std::vector<float>> before;
            for (const auto& p : model.parameters()) before.emplace_back(p.values.begin(), p.values.end());
            model.forward(seq, batch.dense_view, batch.pooled_view);
            model.backward(seq, batch.labels);
            model.step(seq, lr);
            const auto after = model.parameters();
            const auto gradients = model.gradients();
            for (std::size_t p = 0; p < after.size(); ++p) {
                std::size_t wrong = 0;
                sums[p].resize(after[p].values.size());
                REQUIRE(after[p].state.size() == (kind == OptimizerKind::sgd ? 0 : after[p].values.size()));
                for (std::size_t i = 0; i < after[p].values.size(); ++i) {
                    const float g = gradients[p].values[i];
                    const float w = before[p][i];
                    if (kind == OptimizerKind::sgd) {
                        wrong += after[p].values[i] != std::fma(-lr, g, w) ? 1u : 0u;
                    } else {
                        sums[p][i] = std::fma(g, g, sums[p][i]);
                        wrong += after[p].state[i] != sums[p][i] ? 1u : 0u;
                        wrong +=
                            after[p].values[i] != w - (lr * g) / (std::sqrt(sums[p][i]) + 1e-8f) ? 1u : 0u;
                    }
                }
                REQUIRE(wrong == 0);
            }
        }
    }
}

// Catches division by the size of an empty batch, and gradients left over from the batch before.
TEST_CASE("dlrm: an empty batch is ordinary and changes nothing") {
    const DlrmShape shape = DlrmShape::small_dlrm(13, 4);
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        Dlrm<float> model(shape, 20, 3, kind);
        const Batch<float> batch(shape, 20, 8);
        model.forward(seq, batch.dense_view, batch.pooled_view);
        model.backward(seq, batch.labels);
        model.step(seq, 0.1f);
        std::vector<float> before;
        for (const auto& p : model.parameters())
            before.insert(before.end(), p.values.begin(), p.values.end());
        const Batch<float> none(shape, 0, 8);
        CHECK(model.forward(seq, none.dense_view, none.pooled_view).size() == 0);
        CHECK(model.loss(seq, none.labels) == 0);
        CHECK(model.backward(seq, none.labels).rows() == 0);
        model.step(seq, 0.1f);
        std::vector<float> after;
        for (const auto& p : model.parameters()) after.insert(after.end(), p.values.begin(), p.values.end());
        CHECK(before == after);
    }
}

// Catches results that depend on what was computed before: stale activations of a larger batch.
TEST_CASE("dlrm: a batch's result does not depend on the batch before it") {
    const DlrmShape shape = DlrmShape::small_dlrm(13, 6);
    const Batch<float> large(shape, 200, 1);
    const Batch<float> little(shape, 70, 2);
    const auto run = [&](bool after_large) {
        Dlrm<float> model(shape, 200, 3, OptimizerKind::sgd);
        if (after_large) {
            model.forward(seq, large.dense_view, large.pooled_view);
            model.backward(seq, large.labels);
        }
        model.forward(seq, little.dense_view, little.pooled_view);
        model.backward(seq, little.labels);
        return everything(model);
    };
    CHECK(run(true) == run(false));
}

// Catches a wrong spread, weights that do not depend on the seed, and layers that share a stream.
TEST_CASE("dlrm: parameters are drawn with the documented spread, from the seed") {
    const DlrmShape shape = DlrmShape::rmc2(13, 26);
    const Dlrm<float> model(shape, 1, 3, OptimizerKind::adagrad);
    const Dlrm<float> again(shape, 64, 3, OptimizerKind::sgd);
    const Dlrm<float> other(shape, 1, 4, OptimizerKind::adagrad);
    CHECK(model.parameters().size() == 14);
    CHECK(model.parameters().front().name == "bottom.0.weight");
    CHECK(model.parameters().back().name == "top.2.bias");
    std::uint64_t count = 0;
    for (std::size_t p = 0; p < model.parameters().size(); ++p) {
        const auto parameter = model.parameters()[p];
        CAPTURE(parameter.name);
        const auto n = static_cast<double>(parameter.values.size());
        count += parameter.values.size();
        double sum = 0;
        double squares = 0;
        std::size_t differing = 0;
        const auto same = again.parameters()[p];
        for (std::size_t i = 0; i < parameter.values.size(); ++i) {
            const auto value = static_cast<double>(parameter.values[i]);
            sum += value;
            squares += value * value;
            differing += same.values[i] != parameter.values[i] || parameter.state[i] != 0 ? 1u : 0u;
        }
        CHECK(differing == 0);
        CHECK(other.parameters()[p].values[0] != parameter.values[0]);
        const bool bias = parameter.name.ends_with("bias");
        const double variance = bias ? 1.0 / static_cast<double>(parameter.columns)
                                     : 2.0 / static_cast<double>(parameter.rows + parameter.columns);
        CHECK(std::fabs(sum / n) < 4.5 * std::sqrt(variance / n));
        CHECK(std::fabs(squares / n / variance - 1) < 4.5 * std::sqrt(2 / n));
    }
    CHECK(count == shape.parameters());
    CHECK(model.parameters()[2].values[0] / model.parameters()[4].values[0] !=
          doctest::Approx(std::sqrt(320.0 / 768.0)));
}

// Catches a training step that does not learn: a wrong sign, a lost gradient of the pooled vectors.
TEST_CASE("dlrm: it learns a pair of features that only their dot product tells apart") {
    const DlrmShape shape{2, 2, 8, {16, 8}, {16, 1}};
    const std::size_t rows = 8;
    Dlrm<float> model(shape, 64, 3, OptimizerKind::adagrad);
    Philox rng(4);
    std::vector<float> table(2 * rows * 8);
    for (float& weight : table) weight = static_cast<float>(rng.normal() * 0.3);
    const auto run_batch = [&](bool learn) {
        Batch<float> batch(shape, 64, rng.bits32());
        std::vector<std::size_t> ids;
        for (std::size_t i = 0; i < 64; ++i) {
            const std::size_t a = rng.below(rows);
            const std::size_t b = rng.below(rows);
            batch.labels[i] = (a + b) % 2 == 0 ? 1 : 0;
            for (const std::size_t id : {a, rows + b}) {
                for (std::size_t c = 0; c < 8; ++c) batch.pooled[ids.size() * 8 + c] = table[id * 8 + c];
                ids.push_back(id);
            }
        }
        const Span<const float> logits = model.forward(seq, batch.dense_view, batch.pooled_view);
        const double right = static_cast<double>(correct_predictions(logits, batch.labels)) / 64;
        if (learn) {
            const MatrixView<const float> gradient = model.backward(seq, batch.labels);
            for (std::size_t k = 0; k < ids.size(); ++k) {
                for (std::size_t c = 0; c < 8; ++c) table[ids[k] * 8 + c] -= 2 * gradient.data()[k * 8 + c];
            }
            model.step(seq, 0.05f);
        }
        return right;
    };
    for (int step = 0; step < 300; ++step) run_batch(true);
    RunningMean accuracy;
    for (int step = 0; step < 10; ++step) accuracy.add(run_batch(false), 64);
    CHECK(accuracy.mean() > 0.99);
}

// Catches missing checks at the boundary, and messages without both values.
TEST_CASE("dlrm: misuse is refused with both values") {
    const DlrmShape shape = DlrmShape::small_dlrm(13, 4);
    Dlrm<float> model(shape, 20, 3, OptimizerKind::sgd);
    const Batch<float> batch(shape, 20, 8);
    const Batch<float> large(shape, 21, 8);
    const std::vector<std::uint8_t> few(19);
    CHECK_THROWS_WITH_AS(model.backward(seq, few),
                         "backward is called after construction, expected after forward", ContractError);
    CHECK_THROWS_WITH_AS(model.forward(seq, large.dense_view, large.pooled_view),
                         "the batch has 21 inputs, expected at most max_batch = 20", ContractError);
    CHECK_THROWS_WITH_AS(model.forward(seq, large.dense_view, batch.pooled_view),
                         "dense is [21, 13] at stride 13, expected [20, 13]", ContractError);
    CHECK_THROWS_AS(model.forward(seq, batch.dense_view, batch.dense_view), ContractError);
    model.forward(seq, batch.dense_view, batch.pooled_view);
    CHECK_THROWS_WITH_AS((void)model.loss(seq, few),
                         "there are 19 labels, expected one for each of 20 inputs", ContractError);
    CHECK_THROWS_AS(model.step(seq, 0.1f), ContractError);
    model.backward(seq, batch.labels);
    model.step(seq, 0.1f);
    CHECK_THROWS_AS(model.step(seq, 0.1f), ContractError);
    CHECK_THROWS_AS(Dlrm<float>(shape, 1, 1, OptimizerKind::sgd, 0.5), ContractError);
    CHECK_THROWS_AS(Dlrm<float>(shape, 1, 1, OptimizerKind::sgd, -0.1), ContractError);
}
