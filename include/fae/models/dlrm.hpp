// SPDX-License-Identifier: Apache-2.0
//
// Dlrm: the dense part of a deep learning recommendation model on the CPU. It takes dense features and pooled
// embeddings and gives back the gradient of the pooled embeddings; whose embeddings they are it does not
// know.
//
//   Dlrm<float> model(DlrmShape::rmc2(13, 26), 1024, seed, OptimizerKind::sgd);
//   model.forward(exec, dense, pooled);                       // [n, 13], [n, 26 * 16], n <= 1024
//   require_finite(step, model.loss(exec, labels));
//   MatrixView<const float> gradient = model.backward(exec, labels);   // [n, 26 * 16]
//   model.step(exec, rate.at(step));
//
// All memory is taken at construction. Results are equal, bit for bit, for every executor. Needs Eigen: link
// fae::models; fae.hpp does not include this header.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/dense_parameters.hpp"
#include "fae/models/dlrm_shape.hpp"
#include "fae/models/interaction.hpp"
#include "fae/models/mlp.hpp"
#include "fae/ops/optimizer.hpp"

namespace fae::inline FAE_ABI {

/// A DLRM without its embeddings: bottom MLP (ReLU after every layer), dot interaction, top MLP (ReLU between
/// layers, sigmoid after the last), mean binary cross-entropy. Every optimizer kind but SGD means Adagrad
/// here.
/// @source Naumov et al., 2019
template <class T>
class Dlrm {
  public:
    /// @param max_batch  the most inputs that forward will be given
    /// @param loss_clamp tau: predictions count as within [tau, 1 - tau] for the loss; 0 is no clamp
    /// @throws ContractError if the shape's widths do not fit together or loss_clamp is outside [0, 0.5)
    Dlrm(DlrmShape shape, std::size_t max_batch, std::uint64_t seed, OptimizerKind optimizer,
         double loss_clamp = 0)
        : shape_(std::move(shape)),
          max_batch_(max_batch),
          optimizer_(optimizer == OptimizerKind::sgd ? OptimizerKind::sgd : OptimizerKind::adagrad),
          loss_clamp_(loss_clamp) {
        shape_.check();
        require(loss_clamp >= 0 && loss_clamp < 0.5, [&] {
            return concat("the loss clamp is ", loss_clamp, ", expected at least 0 and below 0.5");
        });
        make_layers();
        make_buffers();
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            detail::draw_layer(detail::dense_key(seed), l, layers_[l].in(), layers_[l].out(), values_of(l),
                               values_of(l) + layers_[l].bias_offset());
        }
    }

    [[nodiscard]] const DlrmShape& shape() const { return shape_; }
    [[nodiscard]] std::size_t max_batch() const { return max_batch_; }
    /// sgd or adagrad.
    [[nodiscard]] OptimizerKind optimizer() const { return optimizer_; }

    /// Predicts a batch; its logits. An empty batch is ordinary.
    /// @shape  dense [n, dense_features]; pooled [n, sparse_features * dim]; result [n]
    /// @pre    dense and pooled stay as they are until backward has returned
    /// @exec   seq, par: returns when done
    /// @cost   shape().forward_flops() an input; no allocation
    /// @throws ContractError if a shape is wrong or n is more than max_batch
    template <Executor E>
    Span<const T> forward(const E& exec, MatrixView<const T> dense, MatrixView<const T> pooled) {
        const std::size_t n = pooled.rows();
        require(n <= max_batch_, [&] {
            return concat("the batch has ", n, " inputs, expected at most max_batch = ", max_batch_);
        });
        require_shape("dense", dense, n, shape_.dense_features);
        require_shape("pooled", pooled, n, shape_.sparse_features * shape_.dim);
        batch_ = n;
        dense_ = dense;
        pooled_ = pooled;
        stage_ = Stage::predicted;
        exec.run(slices(), [&](std::size_t s) { forward_slice(s); });
        return logits();
    }

    /// The logits of the last forward.
    [[nodiscard]] Span<const T> logits() const { return {logits_.data(), batch_}; }
    /// The probabilities of class 1 of the last forward: 1 / (1 + exp(-logit)).
    [[nodiscard]] Span<const T> probabilities() const { return {probabilities_.data(), batch_}; }

    /// The mean loss of the last forward; 0 for an empty batch. Without clamp it is computed from the logits
    /// and grows with them without bound; see require_finite. Sums are in double, in the order of inputs.
    /// @shape  labels [n], 0 or 1
    /// @throws ContractError unless there is one label for each input of the last forward; under FAE_CHECKED
    ///         also if one is neither 0 nor 1
    template <Executor E>
    [[nodiscard]] double loss(const E& exec, Span<const std::uint8_t> labels) {
        require_labels(labels);
        exec.run(slices(), [&](std::size_t s) { slice_loss_[s] = loss_slice(s, labels); });
        double sum = 0;
        for (std::size_t s = 0; s < slices(); ++s) sum += slice_loss_[s];
        return batch_ == 0 ? 0 : sum / static_cast<double>(batch_);
    }

    /// The gradients of the mean loss: of every parameter (kept for step) and of pooled (returned; valid
    /// until the next backward).
    /// @shape  labels [n], 0 or 1; result [n, sparse_features * dim]
    /// @exec   seq, par: returns when done
    /// @cost   shape().training_flops() - shape().forward_flops() an input; no allocation
    /// @throws ContractError without a forward before it, or as loss does
    template <Executor E>
    MatrixView<const T> backward(const E& exec, Span<const std::uint8_t> labels) {
        require(stage_ == Stage::predicted, [&] {
            return concat("backward is called after ", name_of(stage_), ", expected after forward");
        });
        require_labels(labels);
        exec.run(slices(), [&](std::size_t s) { backward_slice(s, labels); });
        exec.run(blocks_.size(), [&](std::size_t b) {
            const auto [layer, block] = blocks_[b];
            layers_[layer].weight_gradient(gradients_.data() + offsets_[layer], input_of(layer), block);
        });
        stage_ = Stage::differentiated;
        return {pooled_gradient_.data(), batch_, shape_.sparse_features * shape_.dim};
    }

    /// One step of the optimizer on every parameter, by the rules of embedding rows (ops/optimizer.hpp).
    /// @throws ContractError without a backward before it
    template <Executor E>
    void step(const E& exec, T lr) {
        require(stage_ == Stage::differentiated, [&] {
            return concat("step is called after ", name_of(stage_), ", expected after backward");
        });
        for_chunks(exec, values_.size(), update_grain,
                   [&](std::size_t begin, std::size_t end) { update(begin, end - begin, lr); });
        stage_ = Stage::stepped;
    }

    /// All weights and biases with their state, in the order bottom to top, weight before bias: what is
    /// saved, loaded and digested. Spans stay valid for the model's life.
    [[nodiscard]] std::vector<Parameter<T>> parameters() {
        return list_parameters<T>(values_.data(), state_.data());
    }
    [[nodiscard]] std::vector<Parameter<const T>> parameters() const {
        return list_parameters<const T>(values_.data(), state_.data());
    }
    /// The gradients of the last backward, in the order and shapes of parameters().
    [[nodiscard]] std::vector<Parameter<const T>> gradients() const {
        return list_parameters<const T>(gradients_.data(), nullptr);
    }

  private:
    enum class Stage { fresh, predicted, differentiated, stepped };
    struct Block {
        std::size_t layer;
        std::size_t block;
    };
    static constexpr std::size_t update_grain = 16384;

    [[nodiscard]] static const char* name_of(Stage stage) {
        constexpr const char* names[] = {"construction", "forward", "backward", "step"};
        return names[static_cast<std::size_t>(stage)];
    }

    void make_layers() {
        const std::size_t count = shape_.bottom.size() + shape_.top.size();
        layers_.reserve(count);
        shape_.for_each_layer([&](std::size_t in, std::size_t out) {
            layers_.emplace_back(in, out, layers_.size() + 1 != count, max_batch_);
        });
        std::size_t offset = 0;
        for (std::size_t l = 0; l < count; ++l) {
            offsets_.push_back(offset);
            offset += layers_[l].parameters();
            for (std::size_t b = 0; b < layers_[l].blocks(); ++b) blocks_.push_back({l, b});
        }
        offsets_.push_back(offset);
        // The longest tasks first, so that threads end together.
        std::stable_sort(blocks_.begin(), blocks_.end(),
                         [&](Block a, Block b) { return layers_[a.layer].in() > layers_[b.layer].in(); });
    }

    void make_buffers() {
        const std::size_t width = shape_.interaction_width();
        interaction_ = detail::Interaction<T>(shape_.vectors(), shape_.dim);
        pairs_ = detail::Activations<T>(max_batch_, width);
        pairs_gradient_ = detail::Activations<T>(max_batch_, width);
        pooled_gradient_ = Buffer<T>(max_batch_ * shape_.sparse_features * shape_.dim);
        logits_ = Buffer<T>(max_batch_);
        probabilities_ = Buffer<T>(max_batch_);
        const std::size_t most_slices = ceil_div(max_batch_, detail::slice_size);
        slice_loss_ = Buffer<double>(most_slices);
        scratch_stride_ = detail::padded(interaction_.scratch_size());
        scratch_ = Buffer<T>(most_slices * scratch_stride_);
        values_ = zeros(offsets_.back());
        gradients_ = zeros(offsets_.back());
        if (optimizer_ == OptimizerKind::adagrad) state_ = zeros(offsets_.back());
    }

    [[nodiscard]] static Buffer<T> zeros(std::size_t size) {
        Buffer<T> buffer(size);
        std::fill(buffer.begin(), buffer.end(), T{0});
        return buffer;
    }

    [[nodiscard]] std::size_t slices() const { return ceil_div(batch_, detail::slice_size); }
    [[nodiscard]] T* values_of(std::size_t layer) { return values_.data() + offsets_[layer]; }
    [[nodiscard]] std::size_t last_bottom() const { return shape_.bottom.size() - 1; }

    // What a layer reads, for the whole batch.
    [[nodiscard]] MatrixView<const T> input_of(std::size_t layer) const {
        if (layer == 0) return dense_;
        if (layer == last_bottom() + 1) return std::as_const(pairs_).rows(0, batch_);
        return layers_[layer - 1].output({0, batch_});
    }

    void require_labels(Span<const std::uint8_t> labels) const {
        require(labels.size() == batch_, [&] {
            return concat("there are ", labels.size(), " labels, expected one for each of ", batch_,
                          " inputs");
        });
        if constexpr (checked) {
            for (std::size_t i = 0; i < labels.size(); ++i) {
                require(labels[i] <= 1,
                        [&] { return concat("label ", i, " is ", int{labels[i]}, ", expected 0 or 1"); });
            }
        }
    }

    void forward_slice(std::size_t index) {
        const detail::Slice s = detail::slice_of(index, batch_);
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            if (l == last_bottom() + 1) interact(index, s);
            layers_[l].forward(values_of(l), input_of(l).row_range(s.first, s.count), s);
        }
        predict(s);
    }

    void interact(std::size_t index, detail::Slice s) {
        T* scratch = scratch_.data() + index * scratch_stride_;
        const MatrixView<T> out = pairs_.rows(s.first, s.count);
        const MatrixView<T> dense = layers_[last_bottom()].output(s);
        for (std::size_t r = 0; r < s.count; ++r) {
            interaction_.forward(dense.row(r), pooled_.row(s.first + r), out.row(r), scratch);
        }
    }

    [[gnu::noinline]] void predict(detail::Slice s) {
        const MatrixView<T> last = layers_.back().output(s);
        for (std::size_t r = 0; r < s.count; ++r) {
            logits_[s.first + r] = last(r, 0);
            probabilities_[s.first + r] = static_cast<T>(probability(last(r, 0)));
        }
    }

    // Never exp of a positive number: no overflow.
    [[nodiscard]] static double probability(T logit) {
        const double x = static_cast<double>(logit);
        const double small_exp = std::exp(-std::fabs(x));
        return (x >= 0 ? 1 : small_exp) / (1 + small_exp);
    }

    [[gnu::noinline]] double loss_slice(std::size_t index, Span<const std::uint8_t> labels) const {
        const detail::Slice s = detail::slice_of(index, batch_);
        double sum = 0;
        for (std::size_t i = s.first; i < s.first + s.count; ++i) {
            if (loss_clamp_ > 0) {
                const double p = std::min(std::max(probability(logits_[i]), loss_clamp_), 1 - loss_clamp_);
                sum -= labels[i] != 0 ? std::log(p) : std::log1p(-p);
            } else {
                const double x = static_cast<double>(logits_[i]);
                // log(1 + exp(-|x|)), and |x| where the prediction is on the wrong side.
                const bool wrong = (x > 0) != (labels[i] != 0);
                sum += std::log1p(std::exp(-std::fabs(x))) + (wrong ? std::fabs(x) : 0);
            }
        }
        return sum;
    }

    // The gradient of the mean loss with respect to the logits: (p - y) / n, and 0 where the clamp holds p.
    [[gnu::noinline]] void logit_gradient(detail::Slice s, Span<const std::uint8_t> labels) {
        const MatrixView<T> gradient = layers_.back().gradient(s);
        for (std::size_t r = 0; r < s.count; ++r) {
            const double p = probability(logits_[s.first + r]);
            const bool clamped = loss_clamp_ > 0 && (p < loss_clamp_ || p > 1 - loss_clamp_);
            const double error = clamped ? 0 : p - (labels[s.first + r] != 0 ? 1 : 0);
            gradient(r, 0) = static_cast<T>(error / static_cast<double>(batch_));
        }
    }

    void backward_slice(std::size_t index, Span<const std::uint8_t> labels) {
        const detail::Slice s = detail::slice_of(index, batch_);
        logit_gradient(s, labels);
        for (std::size_t l = layers_.size() - 1; l > 0; --l) {
            if (l == last_bottom() + 1) {
                layers_[l].backward(values_of(l), s, pairs_gradient_.rows(s.first, s.count));
                separate(index, s);
            } else {
                layers_[l].backward(values_of(l), s, layers_[l - 1].gradient(s));
            }
            layers_[l - 1].mask(s);
        }
    }

    void separate(std::size_t index, detail::Slice s) {
        T* scratch = scratch_.data() + index * scratch_stride_;
        const std::size_t width = shape_.sparse_features * shape_.dim;
        const MatrixView<T> pairs = pairs_gradient_.rows(s.first, s.count);
        const MatrixView<T> dense = layers_[last_bottom()].output(s);
        const MatrixView<T> dense_gradient = layers_[last_bottom()].gradient(s);
        for (std::size_t r = 0; r < s.count; ++r) {
            interaction_.backward(dense.row(r), pooled_.row(s.first + r), pairs.row(r), dense_gradient.row(r),
                                  pooled_gradient_.data() + (s.first + r) * width, scratch);
        }
    }

    [[gnu::noinline]] void update(std::size_t begin, std::size_t count, T lr) {
        T* values = values_.data() + begin;
        const T* gradient = gradients_.data() + begin;
        if (optimizer_ == OptimizerKind::sgd) {
            update_row(Sgd{}, lr, values, static_cast<T*>(nullptr), gradient, count);
        } else {
            update_row(Adagrad{}, lr, values, state_.data() + begin, gradient, count);
        }
    }

    template <class U>
    [[nodiscard]] std::vector<Parameter<U>> list_parameters(U* values, U* state) const {
        std::vector<Parameter<U>> list;
        for (std::size_t l = 0; l < layers_.size(); ++l) {
            const std::string name = detail::layer_name(shape_, l);
            const auto add = [&](const char* kind, std::size_t rows, std::size_t columns, std::size_t at) {
                const std::size_t size = rows * columns;
                list.push_back({name + kind, rows, columns, {values + at, size}, {}});
                if (state != nullptr) list.back().state = {state + at, size};
            };
            add(".weight", layers_[l].out(), layers_[l].in(), offsets_[l]);
            add(".bias", 1, layers_[l].out(), offsets_[l] + layers_[l].bias_offset());
        }
        return list;
    }

    DlrmShape shape_;
    std::size_t max_batch_;
    OptimizerKind optimizer_;
    double loss_clamp_;

    std::vector<detail::DenseLayer<T>> layers_;  // bottom, then top
    std::vector<std::size_t> offsets_;           // of each layer in the three arrays below, and their length
    std::vector<Block> blocks_;                  // the tasks of weight gradients
    Buffer<T> values_;
    Buffer<T> gradients_;
    Buffer<T> state_;

    detail::Interaction<T> interaction_;
    detail::Activations<T> pairs_;  // the top MLP's input
    detail::Activations<T> pairs_gradient_;
    Buffer<T> pooled_gradient_;
    Buffer<T> logits_;
    Buffer<T> probabilities_;
    Buffer<double> slice_loss_;
    Buffer<T> scratch_;  // one piece a slice
    std::size_t scratch_stride_ = 0;

    std::size_t batch_ = 0;
    MatrixView<const T> dense_;
    MatrixView<const T> pooled_;
    Stage stage_ = Stage::fresh;
};

}  // namespace fae::inline FAE_ABI
