// SPDX-License-Identifier: Apache-2.0
//
// The fully connected layers of a model. A layer owns its activations and their gradients for the largest
// batch; its parameters, their gradients and their optimizer state lie in arrays that the model owns.
//
// A batch is worked in slices of 64 inputs. Activations of a slice depend on that slice alone; a weight
// gradient is the sum of the slices' products, added in the order of slices. Functions that do arithmetic are
// not inlined into their callers, so every executor runs the same machine code.
#pragma once

#include <algorithm>
#include <cstddef>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/gemm.hpp"

namespace fae::inline FAE_ABI::detail {

/// Inputs in a slice.
inline constexpr std::size_t slice_size = 64;

/// Consecutive inputs of a batch.
struct Slice {
    std::size_t first;
    std::size_t count;
};

[[nodiscard]] inline Slice slice_of(std::size_t index, std::size_t batch) {
    return {index * slice_size, std::min(slice_size, batch - index * slice_size)};
}

// Elements between two tensors of an array of parameters: every tensor starts on a 64-byte line.
[[nodiscard]] constexpr std::size_t padded(std::size_t count) { return round_up(count, std::size_t{16}); }

/// A matrix for activations, rows padded to 16 elements.
template <class T>
class Activations {
  public:
    Activations() = default;
    Activations(std::size_t rows, std::size_t columns)
        : columns_(columns), stride_(padded(columns)), elements_(rows * stride_) {
        std::fill(elements_.begin(), elements_.end(), T{0});
    }
    [[nodiscard]] MatrixView<T> rows(std::size_t first, std::size_t count) {
        return {elements_.data() + first * stride_, count, columns_, stride_};
    }
    [[nodiscard]] MatrixView<const T> rows(std::size_t first, std::size_t count) const {
        return {elements_.data() + first * stride_, count, columns_, stride_};
    }

  private:
    std::size_t columns_ = 0;
    std::size_t stride_ = 0;
    Buffer<T> elements_;
};

/// out = x * weights^T + bias, with or without ReLU after it.
template <class T>
class DenseLayer {
  public:
    /// The outputs whose weight gradients make one task.
    static constexpr std::size_t block_outputs = 64;

    DenseLayer(std::size_t in, std::size_t out, bool relu, std::size_t max_batch)
        : in_(in), out_(out), relu_(relu), output_(max_batch, out), gradient_(max_batch, out) {}

    [[nodiscard]] std::size_t in() const { return in_; }
    [[nodiscard]] std::size_t out() const { return out_; }
    [[nodiscard]] std::size_t blocks() const { return ceil_div(out_, block_outputs); }
    [[nodiscard]] std::size_t weights() const { return in_ * out_; }
    /// Elements of the model's arrays that this layer takes: weights [out, in], then bias [out].
    [[nodiscard]] std::size_t parameters() const { return padded(weights()) + padded(out_); }
    [[nodiscard]] std::size_t bias_offset() const { return padded(weights()); }

    [[nodiscard]] MatrixView<T> output(Slice s) { return output_.rows(s.first, s.count); }
    [[nodiscard]] MatrixView<const T> output(Slice s) const { return output_.rows(s.first, s.count); }
    /// The gradient of this layer's result, before ReLU once `mask` has been called.
    [[nodiscard]] MatrixView<T> gradient(Slice s) { return gradient_.rows(s.first, s.count); }

    /// Fills output(s) from the slice's input x [count, in].
    [[gnu::noinline]] void forward(const T* values, MatrixView<const T> x, Slice s) {
        const MatrixView<T> y = output(s);
        const T* bias = values + bias_offset();
        for (std::size_t r = 0; r < s.count; ++r) std::copy_n(bias, out_, y.row(r));
        add_product(as_eigen(y), as_eigen(x), as_eigen(weight_view(values)).transpose());
        if (!relu_) return;
        for (std::size_t r = 0; r < s.count; ++r) {
            T* row = y.row(r);
            for (std::size_t c = 0; c < out_; ++c) row[c] = row[c] < 0 ? T{0} : row[c];  // NaN stays NaN
        }
    }

    /// Takes the gradient of this layer's result through its ReLU.
    [[gnu::noinline]] void mask(Slice s) {
        if (!relu_) return;
        const MatrixView<T> y = output(s);
        const MatrixView<T> g = gradient(s);
        for (std::size_t r = 0; r < s.count; ++r) {
            const T* result = y.row(r);
            T* row = g.row(r);
            for (std::size_t c = 0; c < out_; ++c) row[c] = result[c] > 0 ? row[c] : T{0};
        }
    }

    /// x_gradient [count, in] = gradient(s) * weights.
    [[gnu::noinline]] void backward(const T* values, Slice s, MatrixView<T> x_gradient) {
        for (std::size_t r = 0; r < s.count; ++r) std::fill_n(x_gradient.row(r), in_, T{0});
        add_product(as_eigen(x_gradient), as_eigen(gradient(s)), as_eigen(weight_view(values)));
    }

    /// The gradients of the weights and biases of one block of outputs, over the whole batch.
    /// @shape x [batch, in]
    [[gnu::noinline]] void weight_gradient(T* gradients, MatrixView<const T> x, std::size_t block) {
        const std::size_t begin = block * block_outputs;
        const std::size_t count = std::min(block_outputs, out_ - begin);
        const MatrixView<T> sum(gradients + begin * in_, count, in_);
        T* bias = gradients + bias_offset() + begin;
        std::fill_n(sum.data(), count * in_, T{0});
        std::fill_n(bias, count, T{0});
        for (std::size_t i = 0; i * slice_size < x.rows(); ++i) {
            const Slice s = slice_of(i, x.rows());
            const MatrixView<T> all = gradient(s);
            const MatrixView<const T> g(all.data() + begin, s.count, count, all.stride());
            add_product(as_eigen(sum), as_eigen(g).transpose(), as_eigen(x.row_range(s.first, s.count)));
            T partial[block_outputs] = {};
            for (std::size_t r = 0; r < s.count; ++r) {
                for (std::size_t c = 0; c < count; ++c) partial[c] += g(r, c);
            }
            for (std::size_t c = 0; c < count; ++c) bias[c] += partial[c];
        }
    }

  private:
    [[nodiscard]] MatrixView<const T> weight_view(const T* values) const { return {values, out_, in_}; }

    std::size_t in_;
    std::size_t out_;
    bool relu_;
    Activations<T> output_;
    Activations<T> gradient_;
};

}  // namespace fae::inline FAE_ABI::detail
