// SPDX-License-Identifier: Apache-2.0
//
// cuda::Dlrm: the dense part of a deep learning recommendation model on the device, the twin of Dlrm
// (dlrm.hpp).
//
//   cuda::Dlrm model(cuda::on(stream), DlrmShape::rmc2(13, 26), 4096, seed, OptimizerKind::sgd);
//   model.prepare(4096);                                               // plans the products of a batch size
//   model.forward(cuda::on(stream), dense, pooled);                    // device memory, as everything here
//   MatrixView<const float> gradient = model.backward(cuda::on(stream), labels, step_number);
//   model.step(cuda::on(stream), lr);                                  // read from device memory
//
// All device memory is taken at construction. What is queued on the caller's stream goes through streams of
// the model's own where parts are independent and comes back to the caller's, so it can be captured in a
// graph. Bits are equal from run to run. Agreement with the CPU's model is that of float32 sums in another
// order; with Precision::tf32, that of operands rounded to 10 bits.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/boxed_weight_gradients.cuh"
#include "fae/models/dense_parameters.hpp"
#include "fae/models/dense_update.cuh"
#include "fae/models/dlrm_shape.hpp"
#include "fae/models/gemm.cuh"
#include "fae/models/interaction.cuh"
#include "fae/models/layer_product.cuh"
#include "fae/models/mlp.cuh"
#include "fae/models/parameter_copy.cuh"
#include "fae/models/prediction.cuh"
#include "fae/models/transpose.cuh"
#include "fae/models/warpgroup_product.cuh"
#include "fae/models/weight_gradients.cuh"
#include "fae/ops/optimizer.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A DLRM without its embeddings, float32. Every optimizer kind but SGD means Adagrad here. Move-only.
/// @source Naumov et al., 2019
class Dlrm {
  public:
    /// The parameters start as the CPU's do.
    /// @param max_batch   the most inputs that forward will be given
    /// @param loss_clamp  as Dlrm's
    /// @exec  cuda::On: queued; returns when the parameters are there
    /// @throws ContractError if the shape's widths do not fit together, loss_clamp is outside [0, 0.5) or an
    ///         input's vectors do not fit shared memory; CudaError; BlasError
    Dlrm(On on, DlrmShape shape, std::size_t max_batch, std::uint64_t seed, OptimizerKind optimizer,
         Precision precision = Precision::tf32, double loss_clamp = 0)
        : shape_(std::move(shape)),
          max_batch_(max_batch),
          optimizer_(optimizer == OptimizerKind::sgd ? OptimizerKind::sgd : OptimizerKind::adagrad),
          precision_(precision),
          warpgroups_(precision == Precision::tf32 && detail::has_warpgroups() &&
                      shape_.bottom.size() + shape_.top.size() <= detail::TransposeJobs::most) {
        shape_.check();
        require(loss_clamp >= 0 && loss_clamp < 0.5, [&] {
            return concat("the loss clamp is ", loss_clamp, ", expected at least 0 and below 0.5");
        });
        interaction_ = detail::InteractionShape(shape_.vectors(), shape_.dim);
        detail::check_interaction(interaction_);
        make_layers(on);
        make_buffers(on);
        make_head(loss_clamp);
        DenseParameters drawn(shape_, optimizer_);
        drawn.draw(seed);
        write_parameters(on, drawn);
    }

    [[nodiscard]] const DlrmShape& shape() const { return shape_; }
    [[nodiscard]] std::size_t max_batch() const { return max_batch_; }
    /// sgd or adagrad.
    [[nodiscard]] OptimizerKind optimizer() const { return optimizer_; }
    [[nodiscard]] Precision precision() const { return precision_; }
    /// Dense inputs at this stride, 256-byte aligned and zero from dense_features on, are read where they
    /// are; others are copied first.
    /// @units floats
    [[nodiscard]] std::size_t dense_stride() const { return detail::padded_row(shape_.dense_features); }

    /// Plans the products of a batch size. forward does it where it has not been done; a graph is captured
    /// after it.
    /// @cost  host memory for the plans; once a batch size
    /// @throws BlasError
    void prepare(std::size_t n) {
        require_batch(n);
        if (n == 0 || is_wide(n) || plans_.count(n) != 0) return;
        std::vector<detail::LayerPlan> plans;
        for (std::size_t l = 0; l + 1 < layers_.size(); ++l) {
            plans.emplace_back(blas_, layers_[l], n, cut_of(n), values_.data() + layers_[l].bias,
                               values_.size(), precision_, workspace_bytes);
        }
        plans_.emplace(n, std::move(plans));
    }

    /// Takes a batch through the layers up to the last one, which loss or backward compute. Two halves: the
    /// bottom MLP needs no embeddings, so these may be looked up meanwhile.
    /// @shape dense [n, dense_features]; pooled [n, sparse_features * dim], in device memory
    /// @pre   dense and pooled stay as they are until backward's work is done
    /// @exec  cuda::On: queued
    /// @throws ContractError if a shape is wrong or n is more than max_batch
    void forward(On on, MatrixView<const float> dense, MatrixView<const float> pooled) {
        forward_bottom(on, dense);
        forward_top(on, pooled);
    }
    void forward_bottom(On on, MatrixView<const float> dense) {
        const std::size_t n = dense.rows();
        require_shape("dense", dense, n, shape_.dense_features);
        prepare(n);
        batch_ = n;
        stage_ = Stage::half;
        if (n == 0) return;
        dense_ = dense;
        if (dense.stride() != dense_stride() || reinterpret_cast<std::uintptr_t>(dense.data()) % 256 != 0) {
            detail::pad(on, dense, dense_copy_.rows(n));
            dense_ = dense_copy_.rows(n);
        }
        for (std::size_t l = 0; l < shape_.bottom.size(); ++l) run_forward(on, l);
    }
    void forward_top(On on, MatrixView<const float> pooled) {
        require_stage(Stage::half, "forward_top");
        require_shape("pooled", pooled, batch_, shape_.sparse_features * shape_.dim);
        pooled_ = pooled;
        stage_ = Stage::predicted;
        if (batch_ == 0) return;
        detail::interact(on, interaction_, precision_, bottom_output(), pooled_, pairs_.rows(batch_));
        for (std::size_t l = shape_.bottom.size(); l + 1 < layers_.size(); ++l) run_forward(on, l);
    }

    /// The logits and the mean loss of the last forward, without gradients; the loss is in status() once the
    /// stream is synchronised.
    /// @shape labels [n], 0 or 1, in device memory
    /// @exec  cuda::On: queued
    void loss(On on, Span<const std::uint8_t> labels) {
        require_stage(Stage::predicted, "loss");
        require_labels(labels);
        if (batch_ != 0) detail::predict(on, head_, batch_, labels.data(), false);
        detail::finish(on, head_, batch_, labels.data(), false, nullptr);
    }

    /// As loss, and the gradients of the mean loss: of every parameter (kept for step) and of pooled
    /// (returned; valid until the next backward). Two halves: after the first the gradient of pooled is
    /// there. From the first step on whose loss is not finite, status() names it, the gradient of pooled is
    /// zero and step changes nothing.
    /// @param number  of the step, in device memory; null: 0
    /// @shape labels [n], 0 or 1, in device memory; result [n, sparse_features * dim]
    /// @exec  cuda::On: queued
    MatrixView<const float> backward(On on, Span<const std::uint8_t> labels,
                                     const std::uint64_t* number = nullptr) {
        const MatrixView<const float> gradient = backward_top(on, labels, number);
        backward_bottom(on);
        return gradient;
    }
    MatrixView<const float> backward_top(On on, Span<const std::uint8_t> labels,
                                         const std::uint64_t* number = nullptr) {
        require_stage(Stage::predicted, "backward");
        require_labels(labels);
        stage_ = Stage::half_differentiated;
        const MatrixView<float> gradient(pooled_gradient_.data(), batch_,
                                         shape_.sparse_features * shape_.dim);
        if (batch_ == 0) {
            fill_bytes(on, Span<float>(gradients_.data(), values_.size()), 0);
            detail::finish(on, head_, 0, nullptr, false, nullptr);
            return gradient;
        }
        if (is_wide(batch_)) {
            fork(on, sums_);
            detail::transpose(cuda::on(sums_), transposes_, values_.data(), transposed_.data());
        }
        detail::predict(on, head_, batch_, labels.data(), true);
        if (is_wide(batch_)) join(sums_, on);
        fork(on, sums_);
        detail::finish(cuda::on(sums_), head_, batch_, labels.data(), true, number);
        const std::size_t top = shape_.bottom.size();
        for (std::size_t l = layers_.size() - 1; l-- > top;) {
            if (!sums_at_end(batch_)) {
                fork(on, top_weights_);
                run_weight_gradient(cuda::on(top_weights_), l, 1);
            }
            run_data_gradient(on, l, l == top);
        }
        join(sums_, on);
        detail::separate(on, interaction_, precision_, bottom_output(), pooled_, pairs_gradient_.rows(batch_),
                         layers_[top - 1].gradient.rows(batch_), gradient, &head_.status->stopped);
        return gradient;
    }
    void backward_bottom(On on) {
        require_stage(Stage::half_differentiated, "backward_bottom");
        stage_ = Stage::differentiated;
        if (batch_ == 0) return;
        const std::size_t last = shape_.bottom.size() - 1;
        if (sums_at_end(batch_)) {
            for (std::size_t l = last; l > 0; --l) run_data_gradient(on, l, false);
            if (is_small(batch_)) return run_weight_gradients<detail::WeightJobs>(on);
            return run_weight_gradients<detail::BoxedWeightJobs>(on);
        }
        fork(on, sums_);
        detail::sum_columns(cuda::on(sums_), layers_[last].gradient.rows(batch_), cut(),
                            gradients_.data() + layers_[last].bias, values_.size());
        for (std::size_t l = last; l > 0; --l) {
            fork(on, bottom_weights_);
            run_weight_gradient(cuda::on(bottom_weights_), l, 2);
            run_data_gradient(on, l, false);
        }
        run_weight_gradient(on, 0, 0);
        if (last > 0) join(bottom_weights_, on);
        if (layers_.size() - 1 > shape_.bottom.size()) join(top_weights_, on);
        join(sums_, on);
    }

    /// One step of the optimizer on every parameter, by the rules of embedding rows (ops/optimizer.hpp);
    /// nothing once status().stopped is set.
    /// @shape lr [1], in device memory
    /// @exec  cuda::On: queued
    /// @throws ContractError without a backward before it
    void step(On on, const float* lr) {
        require_stage(Stage::differentiated, "step");
        stage_ = Stage::stepped;
        if (batch_ == 0) return;
        const auto update = [&](const auto& rule) {
            detail::update_all(on, rule, lr, values_.span(), state_.span(), gradients_.data(), cut().parts(),
                               &head_.status->stopped, sums_at_end(batch_));
        };
        if (optimizer_ == OptimizerKind::sgd) {
            update(Sgd{});
        } else {
            update(Adagrad{});
        }
    }

    /// The logits of the last loss or backward, in device memory.
    [[nodiscard]] Span<const float> logits() const { return {logits_.data(), batch_}; }

    /// Not zero, in device memory, from the first step on whose loss is not finite: who updates rows with the
    /// gradient of pooled may leave them as they are.
    [[nodiscard]] const unsigned* stopped() const { return &status_.data()->stopped; }

    /// What losses and steps have left. Whole once the stream is synchronised; `stopped`, and `stopped_at`
    /// with it, at any time.
    [[nodiscard]] TrainingStatus status() const {
        const volatile TrainingStatus& seen = *seen_.data();
        TrainingStatus result;
        result.stopped = seen.stopped;  // first: what explains it was written before it
        result.stopped_at = seen.stopped_at;
        result.loss = seen.loss;
        result.loss_sum = seen.loss_sum;
        result.inputs = seen.inputs;
        return result;
    }

    /// Forgets losses, and the step that stopped training.
    /// @exec cuda::On: returns when done
    void clear_status(On on) {
        const TrainingStatus fresh;
        copy(on, Span<const TrainingStatus>(&fresh, 1), status_.span());
        on.synchronise();
        *seen_.data() = fresh;
    }

    /// All weights and biases with their state, copied to the host, and from it.
    /// @exec  cuda::On: returns when done
    /// @throws ContractError if the parameters are another shape's
    [[nodiscard]] DenseParameters read_parameters(On on) const {
        return read(on, values_.data(), 1, state_.data());
    }
    void write_parameters(On on, const DenseParameters& from) {
        std::vector<float> values(values_.size(), 0.0f);
        std::vector<float> state(state_.size(), 0.0f);
        detail::write_tensors(layers_, from, values, state);
        copy(on, values, values_.span());
        copy(on, state, state_.span());
        on.synchronise();
    }
    /// The gradients of the last backward, in the order and shapes of read_parameters(), without state.
    /// @exec cuda::On: returns when done
    [[nodiscard]] DenseParameters read_gradients(On on) const {
        return read(on, gradients_.data(), cut().parts(), nullptr);
    }

  private:
    enum class Stage { fresh, half, predicted, half_differentiated, differentiated, stepped };
    /// The most parts that gradients are in.
    static constexpr std::size_t most_parts = 8;
    /// Of each branch of the work.
    static constexpr std::size_t workspace_bytes = std::size_t{16} << 20;

    void make_layers(On on) {
        std::size_t offset = 0;
        shape_.for_each_layer([&](std::size_t in, std::size_t out) {
            detail::DeviceLayer layer;
            layer.in = in;
            layer.out = out;
            layer.weight = offset;
            offset += detail::padded_tensor(layer.weights());
            layer.bias = offset;
            offset += detail::padded_tensor(layer.out_stride());
            if (layers_.size() + 1 != shape_.bottom.size() + shape_.top.size()) {
                layer.output = detail::DeviceMatrix(on, max_batch_, out);
                layer.gradient = detail::DeviceMatrix(on, max_batch_, out);
                if (is_wide(max_batch_)) {
                    layer.passes =
                        Buffer<unsigned, DeviceSpace>(detail::pass_words(max_batch_, layer.out_stride()));
                }
            }
            layers_.push_back(std::move(layer));
        });
        // As many parts as give every multiprocessor of a large device two tiles of weight gradients at once.
        std::size_t tiles = 1;
        for (std::size_t l = 0; l + 1 < layers_.size(); ++l) {
            by_size_.push_back(l);
            tiles += detail::WeightTile::count(layers_[l].out, layers_[l].in_stride());
        }
        parts_ = std::clamp<std::size_t>(256 / tiles, 1, most_parts);
        std::stable_sort(by_size_.begin(), by_size_.end(), [&](std::size_t a, std::size_t b) {
            return layers_[a].weights() > layers_[b].weights();
        });
        values_ = Buffer<float, DeviceSpace>(offset);
        if (is_wide(max_batch_)) {
            std::size_t size = 0;
            for (std::size_t l = 1; l + 1 < layers_.size(); ++l) {
                detail::DeviceLayer& layer = layers_[l];
                layer.transposed = size;
                size += detail::padded_tensor(layer.in_stride() * layer.out_stride());
                transposes_.add(layer.weight, layer.transposed, layer.out, layer.in_stride(),
                                layer.out_stride());
            }
            transposed_ = Buffer<float, DeviceSpace>(size);
            fill_bytes(on, transposed_.span(), 0);
        }
        gradients_ = Buffer<float, DeviceSpace>(
            offset *
            std::clamp<std::size_t>(ceil_div(max_batch_, detail::BatchCut::least_chunk), 1, most_parts));
        state_ = Buffer<float, DeviceSpace>(optimizer_ == OptimizerKind::sgd ? 0 : offset);
        fill_bytes(on, gradients_.span(), 0);
    }

    void make_buffers(On on) {
        dense_copy_ = detail::DeviceMatrix(on, max_batch_, shape_.dense_features);
        pairs_ = detail::DeviceMatrix(on, max_batch_, shape_.interaction_width());
        pairs_gradient_ = detail::DeviceMatrix(on, max_batch_, shape_.interaction_width());
        pooled_gradient_ = Buffer<float, DeviceSpace>(max_batch_ * shape_.sparse_features * shape_.dim);
        logits_ = Buffer<float, DeviceSpace>(max_batch_);
        losses_ = Buffer<double, DeviceSpace>(max_batch_);
        const std::size_t blocks = ceil_div<std::size_t>(max_batch_, detail::head_inputs);
        partials_ = detail::DeviceMatrix(on, blocks, detail::Head::partial_columns(layers_.back().in));
        status_ = Buffer<TrainingStatus, DeviceSpace>(1);
        seen_ = Buffer<TrainingStatus, PinnedSpace>(1);
        clear_status(on);
        for (auto& workspace : workspaces_) workspace = Buffer<std::byte, DeviceSpace>(workspace_bytes);
    }

    void make_head(double loss_clamp) {
        const detail::DeviceLayer& last = layers_.back();
        const bool hidden = shape_.top.size() > 1;
        detail::DeviceLayer* const below = hidden ? &layers_[layers_.size() - 2] : nullptr;
        const MatrixView<float> x = hidden ? below->output.rows(max_batch_) : pairs_.rows(max_batch_);
        head_.width = static_cast<unsigned>(last.in);
        head_.masked = hidden;
        head_.round = precision_ == Precision::tf32;
        head_.weights = values_.data() + last.weight;
        head_.bias = values_.data() + last.bias;
        head_.clamp = loss_clamp;
        head_.x = x.data();
        head_.x_stride = x.stride();
        head_.x_gradient =
            hidden ? below->gradient.rows(max_batch_).data() : pairs_gradient_.rows(max_batch_).data();
        head_.logits = logits_.data();
        head_.losses = losses_.data();
        head_.partials = partials_.rows(1).data();
        head_.partial_stride = partials_.stride();
        head_.weight_gradient = gradients_.data() + last.weight;
        head_.bias_gradient = gradients_.data() + last.bias;
        head_.below_gradient = hidden ? gradients_.data() + below->bias : nullptr;
        head_.status = status_.data();
        head_.seen = seen_.data();
    }

    void require_batch(std::size_t n) const {
        require(n <= max_batch_, [&] {
            return concat("the batch has ", n, " inputs, expected at most max_batch = ", max_batch_);
        });
    }
    void require_labels(Span<const std::uint8_t> labels) const {
        require(labels.size() == batch_, [&] {
            return concat("there are ", labels.size(), " labels, expected one for each of ", batch_,
                          " inputs");
        });
    }
    void require_stage(Stage stage, const char* name) const {
        constexpr const char* names[] = {"construction", "forward_bottom", "forward",
                                         "backward_top", "backward",       "step"};
        require(stage_ == stage, [&] {
            return concat(name, " is called after ", names[static_cast<std::size_t>(stage_)],
                          ", expected after ", names[static_cast<std::size_t>(stage)]);
        });
    }

    /// The one event serves every fork and join: a wait takes what was recorded last before it.
    void fork(On from, const Stream& to) {
        event_.record(from);
        event_.wait(cuda::on(to));
    }
    void join(const Stream& from, On to) {
        event_.record(cuda::on(from));
        event_.wait(to);
    }

    [[nodiscard]] MatrixView<const float> bottom_output() {
        return layers_[shape_.bottom.size() - 1].output.rows(batch_);
    }
    [[nodiscard]] detail::BatchCut cut_of(std::size_t n) const {
        return {n, sums_at_end(n) ? parts_ : most_parts};
    }
    [[nodiscard]] detail::BatchCut cut() const { return cut_of(batch_); }
    /// What a layer reads.
    [[nodiscard]] const float* input_of(std::size_t layer) {
        if (layer == 0) return dense_.data();
        if (layer == shape_.bottom.size()) return pairs_.rows(batch_).data();
        return layers_[layer - 1].output.rows(batch_).data();
    }

    /// Whether layers that cuBLASLt is slow at are kernels of this library. In small batches the starts of
    /// many kernels and their places on the device cost more than their products.
    [[nodiscard]] bool is_small(std::size_t n) const {
        return precision_ == Precision::tf32 && n <= detail::product_batch;
    }
    /// Whether products of layers are by warp groups, which cuBLASLt does not do for data gradients in TF32,
    /// and with the ReLU's gradient in the same kernel. In small batches they leave data gradients through a
    /// ReLU to the kernels for these.
    [[nodiscard]] bool is_wide(std::size_t n) const { return warpgroups_ && n >= detail::warpgroup_batch; }
    /// Whether one kernel at the end computes all weight gradients, and those of biases with them. Otherwise
    /// they run on branches beside the data gradients.
    [[nodiscard]] bool sums_at_end(std::size_t n) const { return is_small(n) || is_wide(n); }
    void run_forward(On on, std::size_t l) {
        const detail::DeviceLayer& layer = layers_[l];
        float* const out = layers_[l].output.rows(batch_).data();
        if (is_wide(batch_)) {
            return detail::multiply_by_warpgroups<detail::LayerWay::forward>(
                on, layers_[l].wide_forward_product(values_.data(), input_of(l), out, batch_),
                l != 0 && l != shape_.bottom.size());
        }
        if (is_small(batch_) && std::min(layer.in, layer.out) <= 64) {
            return detail::multiply_layer<detail::LayerWay::forward>(
                on, layer.forward_product(values_.data(), input_of(l), out, batch_),
                l != 0 && l != shape_.bottom.size());
        }
        plans_.at(batch_)[l].forward(blas_, on, out, input_of(l), values_.data() + layer.weight,
                                     workspaces_[0].span());
    }
    void run_weight_gradient(On on, std::size_t l, std::size_t branch) {
        plans_.at(batch_)[l].weight_gradient(blas_, on, gradients_.data() + layers_[l].weight,
                                             layers_[l].gradient.rows(batch_).data(), input_of(l),
                                             workspaces_[branch].span());
    }
    /// The gradients of all weights and biases, but for those of the head. Large layers first: who is late is
    /// small.
    template <class Jobs>
    void run_weight_gradients(On on) {
        Jobs jobs;
        bool behind = shape_.bottom.size() > 1;
        for (const std::size_t l : by_size_) {
            const detail::DeviceLayer& layer = layers_[l];
            const bool below_head = shape_.top.size() > 1 && l + 2 == layers_.size();
            jobs.add(layers_[l].gradient.rows(batch_), {input_of(l), batch_, layer.in, layer.in_stride()},
                     gradients_.data() + layer.weight, below_head ? nullptr : gradients_.data() + layer.bias);
            if (!jobs.full() && l != by_size_.back()) continue;
            detail::weight_gradients(on, jobs, cut(), values_.size(), behind);
            jobs = {};
            behind = true;
        }
    }
    /// The gradient of what layer l reads: of the pairs, or of the layer below, through its ReLU.
    void run_data_gradient(On on, std::size_t l, bool of_pairs) {
        const MatrixView<float> out =
            of_pairs ? pairs_gradient_.rows(batch_) : layers_[l - 1].gradient.rows(batch_);
        const float* const gradient = layers_[l].gradient.rows(batch_).data();
        // Of wide batches, before the first are two kernels, before the bottom's first one with other results
        // to wait for.
        const bool behind = !is_wide(batch_) || (l + 2 != layers_.size() && l + 1 != shape_.bottom.size());
        if (is_small(batch_) && !of_pairs) {
            const float* const below = layers_[l - 1].output.rows(batch_).data();
            return detail::multiply_layer<detail::LayerWay::back>(
                on, layers_[l].back_product(values_.data(), gradient, below, out.data(), batch_), behind);
        }
        if (is_wide(batch_)) {
            return detail::multiply_by_warpgroups<detail::LayerWay::back>(
                on,
                layers_[l].wide_back_product(transposed_.data(), gradient,
                                             of_pairs ? nullptr : layers_[l - 1].passes.data(), out.data(),
                                             batch_),
                behind);
        }
        plans_.at(batch_)[l].data_gradient(blas_, on, out.data(), layers_[l].gradient.rows(batch_).data(),
                                           values_.data() + layers_[l].weight, workspaces_[0].span());
        if (of_pairs) return;
        detail::mask(on, layers_[l - 1].output.rows(batch_), out, cut(),
                     gradients_.data() + layers_[l - 1].bias, values_.size());
    }

    /// @param parts  of the values, each a whole array, which are added in order
    [[nodiscard]] DenseParameters read(On on, const float* values, std::size_t parts,
                                       const float* state) const {
        const std::size_t size = values_.size();
        std::vector<float> host_values(size * parts);
        std::vector<float> host_state(state == nullptr ? 0 : state_.size());
        copy(on, {values, host_values.size()}, Span<float>(host_values));
        copy(on, {state, host_state.size()}, Span<float>(host_state));
        on.synchronise();
        for (std::size_t i = size; i < host_values.size(); ++i) host_values[i % size] += host_values[i];
        DenseParameters result(shape_, host_state.empty() ? OptimizerKind::sgd : optimizer_);
        detail::read_tensors(layers_, host_values, host_state, result);
        return result;
    }

    DlrmShape shape_;
    std::size_t max_batch_;
    OptimizerKind optimizer_;
    Precision precision_;
    bool warpgroups_;        // whether large batches are for products by warp groups
    std::size_t parts_ = 1;  // the most that gradients are in where one kernel computes them

    detail::BlasHandle blas_;
    Stream top_weights_;
    Stream bottom_weights_;
    Stream sums_;
    Event event_;
    Buffer<std::byte, DeviceSpace> workspaces_[3];  // of the caller's stream and the two of weight gradients

    std::vector<detail::DeviceLayer> layers_;  // bottom, then top
    std::vector<std::size_t> by_size_;         // all but the last, large ones first
    std::map<std::size_t, std::vector<detail::LayerPlan>> plans_;
    Buffer<float, DeviceSpace> values_;
    Buffer<float, DeviceSpace> transposed_;  // the weights of layers that have data gradients
    detail::TransposeJobs transposes_;
    Buffer<float, DeviceSpace>
        gradients_;  // in parts: a place as long as values_ for each chunk of the batch
    Buffer<float, DeviceSpace> state_;

    detail::InteractionShape interaction_;
    detail::Head head_;
    detail::DeviceMatrix dense_copy_;
    detail::DeviceMatrix pairs_;
    detail::DeviceMatrix pairs_gradient_;
    Buffer<float, DeviceSpace> pooled_gradient_;
    Buffer<float, DeviceSpace> logits_;
    Buffer<double, DeviceSpace> losses_;
    detail::DeviceMatrix partials_;
    Buffer<TrainingStatus, DeviceSpace> status_;
    Buffer<TrainingStatus, PinnedSpace> seen_;

    std::size_t batch_ = 0;
    MatrixView<const float> dense_;
    MatrixView<const float> pooled_;
    Stage stage_ = Stage::fresh;
};

}  // namespace fae::inline FAE_ABI::cuda
