// SPDX-License-Identifier: Apache-2.0
//
// What the embedding operations must compute, as plain loops that know no tier, no index and no thread; and a
// random workload with rows in several places, to run them on.
//
//   oracle::Workload<float> work({.dim = 16, .optimizer = OptimizerKind::adagrad}, seed);
//   embedding_bag::forward(seq, work.source(), work.bags(), Pooling::sum, out);
//   CHECK(oracle::same_bits(out_values, oracle::pool(work, Pooling::sum)));
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/row_source.hpp"

namespace oracle {

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// A product, rounded: adding the negative zero changes nothing and leaves nothing to contract.
template <class T>
T product(T a, T b) {
    return std::fma(a, b, T(-0.0));
}

/// Terms summed as the law says: groups of 64 front to back, then the groups' sums alike, until one is left.
template <class T>
std::vector<T> tree_sum(std::vector<std::vector<T>> terms) {
    while (terms.size() > 1) {
        std::vector<std::vector<T>> sums;
        for (std::size_t i = 0; i < terms.size(); ++i) {
            if (i % 64 == 0) {
                sums.push_back(terms[i]);
            } else {
                for (std::size_t c = 0; c < terms[i].size(); ++c) sums.back()[c] += terms[i][c];
            }
        }
        terms = std::move(sums);
    }
    return terms[0];
}

/// The rounded sum of a block that begins with a weighted term: fma from the second term on.
template <class T>
std::vector<T> weighted_tree_sum(const std::vector<std::vector<T>>& terms, const std::vector<T>& weights) {
    std::vector<std::vector<T>> blocks;
    for (std::size_t i = 0; i < terms.size(); ++i) {
        if (i % 64 == 0) blocks.emplace_back(terms[i].size());
        for (std::size_t c = 0; c < terms[i].size(); ++c) {
            T& sum = blocks.back()[c];
            sum = i % 64 == 0 ? product(weights[i], terms[i][c]) : std::fma(weights[i], terms[i][c], sum);
        }
    }
    return tree_sum(std::move(blocks));
}

/// One optimizer step on one row.
template <class T>
void update(fae::OptimizerKind kind, T lr, T eps, std::vector<T>& w, std::vector<T>& s,
            const std::vector<T>& g) {
    const std::size_t dim = w.size();
    if (kind == fae::OptimizerKind::sgd) {
        for (std::size_t c = 0; c < dim; ++c) w[c] = std::fma(-lr, g[c], w[c]);
    } else if (kind == fae::OptimizerKind::adagrad) {
        for (std::size_t c = 0; c < dim; ++c) {
            s[c] = std::fma(g[c], g[c], s[c]);
            w[c] = w[c] - (lr * g[c]) / (std::sqrt(s[c]) + eps);
        }
    } else {
        std::vector<T> partial(32, T(0));
        for (std::size_t c = 0; c < dim; ++c) partial[c % 32] = std::fma(g[c], g[c], partial[c % 32]);
        for (std::size_t half = 16; half >= 1; half /= 2) {
            for (std::size_t i = 0; i < half; ++i) partial[i] += partial[i + half];
        }
        volatile T mean = partial[0] / static_cast<T>(dim);
        s[0] = s[0] + mean;
        for (std::size_t c = 0; c < dim; ++c) w[c] = w[c] - (lr * g[c]) / (std::sqrt(s[0]) + eps);
    }
}

/// The choices of a workload. Rows lie in `parts` home parts (one per feature where there are several) and a
/// fast tier; state lies beside the weights or in an array of its own.
struct Choices {
    std::size_t dim = 16;
    fae::OptimizerKind optimizer = fae::OptimizerKind::sgd;
    std::size_t features = 3;
    std::size_t samples = 20;
    std::size_t bag_size = 0;  ///< 0: jagged, 0 to 6 rows
    std::size_t rows = 40;     ///< of each feature
    std::size_t slots = 17;
    double fast = 0.3;  ///< share of look-ups that are slots
    bool many_parts = true;
    bool interleaved = false;
    bool denormals = false;
    double hot = 0.2;         ///< share of look-ups that go to one row of the feature
    std::size_t padding = 3;  ///< elements behind a row's weights and behind its state
};

/// Rows, their state, a batch and the gradients of its bags; all random, all in plain vectors.
template <class T, fae::IndexType Index = std::uint32_t>
class Workload {
  public:
    Workload(const Choices& choices, std::uint64_t seed) : choices_(choices), random_(seed) {
        const std::size_t dim = choices.dim;
        state_ = fae::state_size(choices.optimizer, dim);
        // Strides with room to spare, whose content must not change.
        stride_ = dim + (choices.interleaved ? state_ : 0) + choices.padding;
        state_stride_ = choices.interleaved ? stride_ : state_ + choices.padding;
        const std::size_t parts = choices.many_parts ? choices.features : 1;
        const std::size_t part_rows = choices.features * choices.rows / parts;
        for (std::size_t p = 0; p < parts + 1; ++p) {
            const std::size_t rows = p == parts ? choices.slots : part_rows;
            memory_.push_back(numbers(rows * stride_, false));
            states_.push_back(numbers(choices.interleaved ? 0 : rows * state_stride_, true));
            if (choices.interleaved && state_ != 0) {
                for (std::size_t r = 0; r < rows; ++r) {
                    for (std::size_t c = dim; c < dim + state_; ++c) {
                        memory_.back()[r * stride_ + c] = std::abs(memory_.back()[r * stride_ + c]);
                    }
                }
            }
        }
        for (std::size_t p = 0; p < parts; ++p) home_.push_back(view(p, p * part_rows, part_rows));
        fast_ = view(parts, 0, choices.slots);
        for (std::size_t f = 0; f < choices.features && parts > 1; ++f) {
            feature_part_.push_back(static_cast<std::uint32_t>(f));
        }
        offsets_.push_back(0);
        for (std::size_t b = 0; b < choices.samples * choices.features; ++b) {
            const std::size_t size = choices.bag_size != 0 ? choices.bag_size : random_.below(7);
            for (std::size_t i = 0; i < size; ++i) values_.push_back(draw(b % choices.features));
            offsets_.push_back(values_.size());
        }
        for (std::size_t i = 0; i < values_.size(); ++i) {
            weights_.push_back(static_cast<float>(random_.uniform() * 4 - 2));
        }
        gradients_ = numbers((offsets_.size() - 1) * dim, false);
    }
    Workload(const Workload&) = delete;
    Workload& operator=(const Workload&) = delete;

    [[nodiscard]] fae::RowSource<T> source() const { return {fast_, home_, feature_part_}; }
    [[nodiscard]] fae::Bags<Index> bags() const {
        if (choices_.bag_size != 0) {
            return fae::Bags<Index>::fixed(values_, choices_.bag_size, choices_.features, weights_);
        }
        return fae::Bags<Index>::jagged(values_, offsets_, choices_.features, weights_);
    }
    [[nodiscard]] std::uint64_t rows() const {
        return std::max<std::uint64_t>(choices_.features * choices_.rows, choices_.slots);
    }
    [[nodiscard]] std::size_t dim() const { return choices_.dim; }
    [[nodiscard]] const std::vector<Index>& values() const { return values_; }
    [[nodiscard]] const std::vector<std::uint64_t>& offsets() const { return offsets_; }
    [[nodiscard]] const std::vector<float>& weights() const { return weights_; }
    [[nodiscard]] std::vector<T>& gradients() { return gradients_; }
    [[nodiscard]] const std::vector<T>& gradients() const { return gradients_; }
    [[nodiscard]] std::size_t bag_count() const { return offsets_.size() - 1; }
    [[nodiscard]] fae::MatrixView<const T> grad_out() const {
        return {gradients_.data(), bag_count(), choices_.dim};
    }

    /// Everything that an operation could change, padding too.
    [[nodiscard]] std::vector<T> content() const {
        std::vector<T> all;
        for (std::size_t p = 0; p < memory_.size(); ++p) {
            all.insert(all.end(), memory_[p].begin(), memory_[p].end());
            all.insert(all.end(), states_[p].begin(), states_[p].end());
        }
        return all;
    }
    [[nodiscard]] std::vector<T> weights_of(Index located) const {
        const T* row = find(located).weights_of(fae::position_of(located));
        return {row, row + choices_.dim};
    }
    /// Steps the row of a located index by the oracle's rule.
    void step(Index located, T lr, T eps, const std::vector<T>& gradient) {
        const fae::RowsView<T>& of = find(located);
        T* const w = of.weights_of(fae::position_of(located));
        T* const s = state_ == 0 ? nullptr : of.state_of(fae::position_of(located));
        std::vector<T> weights(w, w + choices_.dim);
        std::vector<T> state(s, s + state_);
        update(choices_.optimizer, lr, eps, weights, state, gradient);
        std::copy(weights.begin(), weights.end(), w);
        std::copy(state.begin(), state.end(), s);
    }

  private:
    std::vector<T> numbers(std::size_t count, bool positive) {
        std::vector<T> result(count);
        for (T& x : result) {
            x = static_cast<T>(random_.normal());
            if (positive) x = std::abs(x);
            if (choices_.denormals && random_.below(2) == 0) x *= std::numeric_limits<T>::min() / 4;
        }
        return result;
    }
    Index draw(std::size_t feature) {
        const bool hot = random_.uniform() < choices_.hot;
        if (choices_.slots != 0 && random_.uniform() < choices_.fast) {
            return static_cast<Index>(fae::fast_bit<Index> | (hot ? 0 : random_.below(choices_.slots)));
        }
        return static_cast<Index>(feature * choices_.rows + (hot ? 1 : random_.below(choices_.rows)));
    }
    fae::RowsView<T> view(std::size_t p, std::size_t first, std::size_t rows) {
        T* const weights = memory_[p].data();
        T* const state = state_ == 0            ? nullptr
                         : choices_.interleaved ? weights + choices_.dim
                                                : states_[p].data();
        return {weights, state, stride_, state_stride_, first, rows};
    }
    [[nodiscard]] const fae::RowsView<T>& find(Index located) const {
        if (fae::is_fast(located)) return fast_;
        for (const fae::RowsView<T>& part : home_) {
            if (located >= part.first && located < part.first + part.rows) return part;
        }
        return home_.at(home_.size());
    }

    Choices choices_;
    fae::Philox random_;
    std::size_t state_ = 0;
    std::size_t stride_ = 0;
    std::size_t state_stride_ = 0;
    std::vector<std::vector<T>> memory_;
    std::vector<std::vector<T>> states_;
    std::vector<fae::RowsView<T>> home_;
    fae::RowsView<T> fast_;
    std::vector<std::uint32_t> feature_part_;
    std::vector<Index> values_;
    std::vector<std::uint64_t> offsets_;
    std::vector<float> weights_;
    std::vector<T> gradients_;
};

/// The pooled bags, [bags, dim].
template <class T, class Index>
std::vector<T> pool(const Workload<T, Index>& work, fae::Pooling pooling) {
    std::vector<T> out;
    for (std::size_t b = 0; b < work.bag_count(); ++b) {
        std::vector<T> sum(work.dim(), T(0));
        for (std::size_t i = work.offsets()[b]; i < work.offsets()[b + 1]; ++i) {
            const std::vector<T> row = work.weights_of(work.values()[i]);
            const T weight = pooling == fae::Pooling::weighted ? static_cast<T>(work.weights()[i]) : T(1);
            for (std::size_t c = 0; c < sum.size(); ++c) {
                sum[c] = i == work.offsets()[b] ? product(weight, row[c]) : std::fma(weight, row[c], sum[c]);
            }
        }
        const std::size_t size = work.offsets()[b + 1] - work.offsets()[b];
        for (T& x : sum) {
            if (pooling == fae::Pooling::mean && size != 0) x = x / static_cast<T>(size);
        }
        out.insert(out.end(), sum.begin(), sum.end());
    }
    return out;
}

/// The gradient of each row that the batch looked up, by located index.
template <class T, class Index>
std::map<Index, std::vector<T>> row_gradients(const Workload<T, Index>& work, fae::Pooling pooling) {
    std::map<Index, std::vector<std::vector<T>>> terms;
    std::map<Index, std::vector<T>> weights;
    for (std::size_t b = 0; b < work.bag_count(); ++b) {
        const std::size_t size = work.offsets()[b + 1] - work.offsets()[b];
        std::vector<T> gradient(work.gradients().begin() + static_cast<std::ptrdiff_t>(b * work.dim()),
                                work.gradients().begin() + static_cast<std::ptrdiff_t>((b + 1) * work.dim()));
        for (T& x : gradient) {
            if (pooling == fae::Pooling::mean && size != 0) x = x / static_cast<T>(size);
        }
        for (std::size_t i = work.offsets()[b]; i < work.offsets()[b + 1]; ++i) {
            terms[work.values()[i]].push_back(gradient);
            weights[work.values()[i]].push_back(static_cast<T>(work.weights()[i]));
        }
    }
    std::map<Index, std::vector<T>> result;
    for (const auto& [row, of] : terms) {
        result[row] =
            pooling == fae::Pooling::weighted ? weighted_tree_sum(of, weights.at(row)) : tree_sum(of);
    }
    return result;
}

}  // namespace oracle
