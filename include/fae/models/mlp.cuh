// SPDX-License-Identifier: Apache-2.0
//
// The fully connected layers of a model on the device, but for the last one: which products they are, and how
// each is planned. A layer owns its activations and their gradients for the largest batch; its parameters lie
// in arrays that the model owns.
//
// Rows of activations and of weights are padded to a multiple of 4 floats, with zeros that stay zero, so
// products run over whole 16-byte vectors.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/gemm.cuh"
#include "fae/models/layer_product.cuh"
#include "fae/models/warpgroup_product.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// Elements from one row to the next.
[[nodiscard]] inline std::size_t padded_row(std::size_t columns) {
    return round_up(columns == 0 ? std::size_t{1} : columns, std::size_t{4});
}

/// Elements from one tensor to the next: every tensor starts at a multiple of 256 bytes.
[[nodiscard]] inline std::size_t padded_tensor(std::size_t elements) {
    return round_up(elements, std::size_t{64});
}

/// A zeroed matrix in device memory, rows padded.
class DeviceMatrix {
  public:
    DeviceMatrix() = default;
    DeviceMatrix(On on, std::size_t rows, std::size_t columns)
        : columns_(columns), stride_(padded_row(columns)), elements_(rows * stride_) {
        fill_bytes(on, elements_.span(), 0);
    }
    [[nodiscard]] MatrixView<float> rows(std::size_t count) {
        return {elements_.data(), count, columns_, stride_};
    }
    [[nodiscard]] std::size_t stride() const { return stride_; }

  private:
    std::size_t columns_ = 0;
    std::size_t stride_ = 0;
    Buffer<float, DeviceSpace> elements_;
};

/// How a batch is cut where sums over its inputs are made: `count` chunks of `chunk` inputs, then what is
/// left as one more. Each chunk has its own place for its sums; who reads them adds them in order.
struct BatchCut {
    static constexpr std::size_t least_chunk = 128;
    static constexpr std::size_t chunk_step = 32;  ///< a chunk is a multiple of it, or all of the batch
    std::size_t count = 1;
    std::size_t chunk = 0;
    std::size_t rest = 0;

    BatchCut() = default;
    /// @param most  parts that there may be
    BatchCut(std::size_t n, std::size_t most) {
        chunk = std::min(n, std::max(least_chunk, round_up(ceil_div(n, most), chunk_step)));
        if (n == 0) return;
        count = n / chunk;
        rest = n % chunk;
    }
    /// Places in use.
    [[nodiscard]] std::size_t parts() const { return count + (rest != 0 ? 1 : 0); }
};

/// One layer: where it lies, what it holds. `weight` and `bias` are offsets in the model's arrays.
struct DeviceLayer {
    std::size_t in = 0;
    std::size_t out = 0;
    std::size_t weight = 0;
    std::size_t bias = 0;
    std::size_t transposed = 0;  ///< in the array of transposed weights
    DeviceMatrix output;
    DeviceMatrix gradient;                 ///< of the output, through its ReLU
    Buffer<unsigned, DeviceSpace> passes;  ///< bits of the output, for products by warp groups

    [[nodiscard]] std::size_t in_stride() const { return padded_row(in); }
    [[nodiscard]] std::size_t out_stride() const { return padded_row(out); }
    [[nodiscard]] std::size_t weights() const { return out * in_stride(); }

    /// y = relu(x W^T + bias) for n inputs.
    /// @param values  the model's
    [[nodiscard]] LayerProduct forward_product(const float* values, const float* x, float* y,
                                               std::size_t n) const {
        LayerProduct product = back_product(values, x, nullptr, y, n);
        product.bias = values + bias;
        std::swap(product.depth, product.columns);
        return product;
    }
    /// The gradient of what the layer reads, `below` its values, from that of what it gives.
    [[nodiscard]] LayerProduct back_product(const float* values, const float* y_gradient, const float* below,
                                            float* x_gradient, std::size_t n) const {
        return {y_gradient,
                values + weight,
                nullptr,
                below,
                x_gradient,
                n,
                static_cast<unsigned>(out_stride()),
                static_cast<unsigned>(in_stride()),
                static_cast<unsigned>(out),
                static_cast<unsigned>(in_stride())};
    }
    /// The same products by warp groups; forward leaves its bits in `passes`.
    [[nodiscard]] WarpgroupProduct wide_forward_product(const float* values, const float* x, float* y,
                                                        std::size_t n) {
        WarpgroupProduct product;
        product.x = x;
        product.weights = values + weight;
        product.bias = values + bias;
        product.passes = passes.data();
        product.out = y;
        product.n = n;
        product.depth = static_cast<unsigned>(in_stride());
        product.columns = static_cast<unsigned>(out_stride());
        product.weight_rows = static_cast<unsigned>(out);
        return product;
    }
    /// @param transposes  of weights
    /// @param below       bits of the layer that gave x; null: no ReLU did
    [[nodiscard]] WarpgroupProduct wide_back_product(const float* transposes, const float* y_gradient,
                                                     unsigned* below, float* x_gradient,
                                                     std::size_t n) const {
        WarpgroupProduct product;
        product.x = y_gradient;
        product.weights = transposes + transposed;
        product.passes = below;
        product.out = x_gradient;
        product.n = n;
        product.depth = static_cast<unsigned>(out_stride());
        product.columns = static_cast<unsigned>(in_stride());
        product.weight_rows = product.columns;
        return product;
    }
};

/// The products of one layer for one batch size.
class LayerPlan {
  public:
    /// @param bias       the layer's
    /// @param part_step  elements from one place of gradients to the next
    /// @throws BlasError
    LayerPlan(const BlasHandle& blas, const DeviceLayer& layer, std::size_t n, const BatchCut& cut,
              const float* bias, std::size_t part_step, Precision precision, std::size_t workspace_bytes)
        : cut_(cut), in_stride_(layer.in_stride()), out_stride_(layer.out_stride()), part_step_(part_step) {
        const auto find = [&](const GemmShape& shape, Epilogue epilogue) {
            return Gemm::find(blas, shape, epilogue, bias, precision, workspace_bytes);
        };
        const std::size_t in = in_stride_;
        const std::size_t out = out_stride_;
        forward_ = find({n, layer.out, in, false, true, out, in, in}, Epilogue::relu);
        data_ = find({n, in, layer.out, false, false, in, out, in}, Epilogue::none);
        weight_ = find({layer.out, in, cut_.chunk, true, false, in, out, in, cut_.count, part_step,
                        cut_.chunk * out, cut_.chunk * in},
                       Epilogue::none);
        if (cut_.rest != 0) {
            rest_ = find({layer.out, in, cut_.rest, true, false, in, out, in}, Epilogue::none);
        }
    }

    /// y = relu(x * weights^T + bias).
    void forward(const BlasHandle& blas, On on, float* y, const float* x, const float* weights,
                 Span<std::byte> workspace) const {
        forward_.run(blas, on, y, x, weights, workspace);
    }
    /// The gradient of x from that of y.
    void data_gradient(const BlasHandle& blas, On on, float* x_gradient, const float* y_gradient,
                       const float* weights, Span<std::byte> workspace) const {
        data_.run(blas, on, x_gradient, y_gradient, weights, workspace);
    }
    /// The gradient of the weights, in the places of the batch's chunks.
    void weight_gradient(const BlasHandle& blas, On on, float* parts, const float* y_gradient, const float* x,
                         Span<std::byte> workspace) const {
        weight_.run(blas, on, parts, y_gradient, x, workspace);
        if (cut_.rest == 0) return;
        const std::size_t first = cut_.count * cut_.chunk;
        rest_.run(blas, on, parts + cut_.count * part_step_, y_gradient + first * out_stride_,
                  x + first * in_stride_, workspace);
    }

  private:
    BatchCut cut_;
    std::size_t in_stride_;
    std::size_t out_stride_;
    std::size_t part_step_;
    Gemm forward_;
    Gemm data_;
    Gemm weight_;
    Gemm rest_;
};

}  // namespace fae::inline FAE_ABI::cuda::detail
