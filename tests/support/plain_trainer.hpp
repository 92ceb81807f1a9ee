// SPDX-License-Identifier: Apache-2.0
//
// PlainTrainer: the oracle of the law. A whole DLRM trainer in plain loops over plain vectors that knows no
// table, tier, slot, scheduler or executor: one array of rows, each with its state, and the dense model. What
// it trains on a sequence of batches is what every placement must train, bit for bit.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/exec.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/ops/embedding_init.hpp"
#include "fae/ops/optimizer.hpp"

namespace fae_test {

/// Inputs of a batch, row ids and all: bags[sample * features + feature] lists the rows that a bag sums.
struct PlainBatch {
    std::vector<std::uint8_t> labels;
    std::vector<float> dense;
    std::vector<std::vector<std::uint64_t>> bags;
};

class PlainTrainer {
  public:
    PlainTrainer(const std::vector<std::uint64_t>& table_rows, fae::DlrmShape shape,
                 fae::OptimizerKind optimizer, std::uint64_t seed, std::size_t max_batch)
        : dim_(shape.dim),
          features_(shape.sparse_features),
          optimizer_(optimizer),
          model_(shape, max_batch, seed, optimizer) {
        for (std::size_t t = 0; t < table_rows.size(); ++t) {
            const float scale = fae::embedding_scale(table_rows[t]);
            for (std::uint64_t r = 0; r < table_rows[t]; ++r) {
                std::vector<float> row(dim_);
                for (std::size_t c = 0; c < dim_; ++c) {
                    row[c] = fae::embedding_value(seed, static_cast<std::uint32_t>(t), r,
                                                  static_cast<std::uint32_t>(c), scale);
                }
                weights_.push_back(row);
                state_.emplace_back(optimizer == fae::OptimizerKind::sgd       ? 0
                                    : optimizer == fae::OptimizerKind::adagrad ? dim_
                                                                               : 1,
                                    0.0f);
            }
        }
    }

    double step(const PlainBatch& batch, float lr) {
        const std::size_t n = batch.labels.size();
        std::vector<float> pooled(n * features_ * dim_, 0.0f);
        for (std::size_t b = 0; b < batch.bags.size(); ++b) {
            for (std::size_t k = 0; k < batch.bags[b].size(); ++k) {
                for (std::size_t c = 0; c < dim_; ++c) {
                    const float w = weights_[batch.bags[b][k]][c];
                    float& sum = pooled[b * dim_ + c];
                    sum = k == 0 ? w : sum + w;
                }
            }
        }
        model_.forward(
            fae::seq,
            {batch.dense.data(), n, n == 0 ? model_.shape().dense_features : batch.dense.size() / n},
            {pooled.data(), n, features_ * dim_});
        const double loss = model_.loss(fae::seq, batch.labels);
        const fae::MatrixView<const float> gradient = model_.backward(fae::seq, batch.labels);
        std::map<std::uint64_t, std::vector<std::size_t>> bags_of_row;
        for (std::size_t b = 0; b < batch.bags.size(); ++b) {
            for (const std::uint64_t row : batch.bags[b]) bags_of_row[row].push_back(b);
        }
        for (const auto& [row, bags] : bags_of_row) {
            std::vector<std::vector<float>> terms;
            for (const std::size_t b : bags)
                terms.emplace_back(gradient.data() + b * dim_, gradient.data() + (b + 1) * dim_);
            update(row, tree_sum(terms), lr);
        }
        model_.step(fae::seq, lr);
        return loss;
    }

    [[nodiscard]] fae::Digest weights_digest() const {
        fae::Digest digest;
        fae::digest_rows(fae::seq, digest, weights_.size(), [&](fae::Digest& chunk, std::uint64_t row) {
            chunk.add_floats(fae::Span<const float>(weights_[row]));
            chunk.add_floats(fae::Span<const float>(state_[row]));
        });
        for (const auto& parameter : model_.parameters()) {
            digest.add_floats(parameter.values);
            digest.add_floats(parameter.state);
        }
        return digest;
    }

    [[nodiscard]] std::vector<std::vector<float>>& weights() { return weights_; }
    [[nodiscard]] std::vector<std::vector<float>>& state() { return state_; }
    [[nodiscard]] fae::Dlrm<float>& model() { return model_; }

  private:
    // Blocks of 64 terms front to back, then blocks of 64 block sums, until one is left.
    static std::vector<float> tree_sum(std::vector<std::vector<float>> terms) {
        while (terms.size() > 1) {
            std::vector<std::vector<float>> sums;
            for (std::size_t i = 0; i < terms.size(); ++i) {
                if (i % 64 == 0) {
                    sums.push_back(terms[i]);
                } else {
                    for (std::size_t c = 0; c < sums.back().size(); ++c) sums.back()[c] += terms[i][c];
                }
            }
            terms = std::move(sums);
        }
        return terms[0];
    }

    void update(std::uint64_t row, const std::vector<float>& g, float lr) {
        std::vector<float>& w = weights_[row];
        std::vector<float>& s = state_[row];
        if (optimizer_ == fae::OptimizerKind::sgd) {
            for (std::size_t c = 0; c < dim_; ++c) w[c] = std::fma(-lr, g[c], w[c]);
            return;
        }
        const float eps = 1e-8f;
        if (optimizer_ == fae::OptimizerKind::rowwise_adagrad) {
            float partial[32] = {};
            for (std::size_t c = 0; c < dim_; ++c) partial[c % 32] = std::fma(g[c], g[c], partial[c % 32]);
            for (int half = 16; half > 0; half /= 2) {
                for (int i = 0; i < half; ++i) partial[i] += partial[i + half];
            }
            volatile float mean = partial[0] / static_cast<float>(dim_);  // rounded before it is added
            s[0] = s[0] + mean;
        }
        for (std::size_t c = 0; c < dim_; ++c) {
            float& sum = optimizer_ == fae::OptimizerKind::adagrad ? s[c] : s[0];
            if (optimizer_ == fae::OptimizerKind::adagrad) sum = std::fma(g[c], g[c], sum);
            w[c] = w[c] - (lr * g[c]) / (std::sqrt(sum) + eps);
        }
    }

    std::size_t dim_;
    std::size_t features_;
    fae::OptimizerKind optimizer_;
    fae::Dlrm<float> model_;
    std::vector<std::vector<float>> weights_;
    std::vector<std::vector<float>> state_;
};

}  // namespace fae_test
