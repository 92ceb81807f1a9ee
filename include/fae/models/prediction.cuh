// SPDX-License-Identifier: Apache-2.0
//
// The end of a DLRM on the device: the last layer (one output), sigmoid, binary cross-entropy and, for
// training, what all three give back, in one kernel; and the kernel that ends a batch: the mean loss, the
// flag that stops training, the sums of what blocks left behind.
//
//   cuda::detail::predict(cuda::on(stream), head, n, labels, /*train=*/true);
//   cuda::detail::finish(cuda::on(side), head, n, labels, /*train=*/true, step_number);
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/models/layer_product.cuh"
#include "fae/models/tensor_core.cuh"

namespace fae::inline FAE_ABI::cuda {

/// What training steps leave behind, in memory that host and device both see. The host reads it after it has
/// synchronised; `stopped` and `stopped_at` also while steps run.
struct TrainingStatus {
    double loss = 0;               ///< mean of the last batch, before its update
    double loss_sum = 0;           ///< over the inputs of all training batches so far; see RunningMean
    std::uint64_t inputs = 0;      ///< of these batches
    std::uint64_t stopped_at = 0;  ///< number of the first step whose loss was not finite
    unsigned stopped = 0;          ///< set with it; every update from that step on changes nothing
};

namespace detail {

/// Inputs whose share of the last layer's gradients one block adds up.
inline constexpr unsigned head_inputs = 16;
/// Inputs whose losses are added up first, as on the host.
inline constexpr std::size_t loss_slice = 64;

/// The last layer and what is around it. Pointers are to device memory, but for `seen`.
struct Head {
    unsigned width = 0;   ///< inputs of the last layer
    bool masked = false;  ///< its inputs come from a ReLU
    bool round = false;   ///< x_gradient is rounded to TF32
    const float* weights = nullptr;
    const float* bias = nullptr;
    double clamp = 0;          ///< of the prediction, for the loss
    const float* x = nullptr;  ///< [n, width]
    std::size_t x_stride = 0;
    float* x_gradient = nullptr;  ///< as x
    float* logits = nullptr;      ///< [n]
    double* losses = nullptr;     ///< [n]
    float* partials = nullptr;    ///< [blocks, partial_stride]: weights, sums of x_gradient's columns, bias
    std::size_t partial_stride = 0;
    float* weight_gradient = nullptr;
    float* bias_gradient = nullptr;
    float* below_gradient = nullptr;  ///< of the bias of the layer below; null where there is none
    TrainingStatus* status = nullptr;
    TrainingStatus* seen = nullptr;  ///< the host's copy, in mapped memory

    [[nodiscard]] static std::size_t partial_columns(std::size_t width) { return 2 * width + 1; }
};

/// 1 / (1 + exp(-logit)); never exp of a positive number.
__device__ inline double probability(float logit) {
    const double x = static_cast<double>(logit);
    const double small_exp = exp(-fabs(x));
    return (x >= 0 ? 1.0 : small_exp) / (1.0 + small_exp);
}

__device__ inline double loss_of(float logit, bool label, double clamp) {
    if (clamp > 0) {
        const double p = probability(logit);
        const double held = p < clamp ? clamp : (p > 1 - clamp ? 1 - clamp : p);  // NaN stays NaN
        return label ? -log(held) : -log1p(-held);
    }
    const double x = static_cast<double>(logit);
    const bool wrong = (x > 0) != label;
    return log1p(exp(-fabs(x))) + (wrong ? fabs(x) : 0.0);
}

/// The gradient of the mean loss of n inputs by the logit: (p - y) / n, and 0 where the clamp holds p. In
/// float32, whose sigmoid is right to a few units in the last place; 1 - p is the sigmoid of -x, so nothing
/// cancels.
__device__ inline float logit_gradient(float logit, bool label, double clamp, std::size_t n) {
    if (clamp > 0) {
        const double p = probability(logit);
        if (p < clamp || p > 1 - clamp) return 0.0f;
    }
    const float x = label ? -logit : logit;
    const float small_exp = expf(-fabsf(x));
    const float p = __fdiv_rn(x >= 0 ? 1.0f : small_exp, __fadd_rn(1.0f, small_exp));
    return __fdiv_rn(label ? -p : p, static_cast<float>(n));
}

/// Logits; for training also the gradient of x (through its ReLU) and the block's sums.
/// @par Launch a block of 256 threads for head_inputs inputs: a warp an input, then a thread a column
template <bool Train>
__global__ void __launch_bounds__(256)
    predict_kernel(Head head, std::size_t n, const std::uint8_t* __restrict__ labels) {
    __shared__ float logit[head_inputs];
    __shared__ float slope[head_inputs];
    if (n <= product_batch) let_next_launch();
    const unsigned lane = threadIdx.x % 32;
    const std::size_t first = std::size_t{blockIdx.x} * head_inputs;
    const unsigned count = n - first < head_inputs ? static_cast<unsigned>(n - first) : head_inputs;
    const unsigned width = head.width;
    const float* const __restrict__ x = head.x + first * head.x_stride;
    const float* const __restrict__ weights = head.weights;
    // What the first column needs is asked for beside what the logits need.
    float mine[head_inputs];
    float weight = 0;
    if (Train && threadIdx.x < width) {
        weight = weights[threadIdx.x];
#pragma unroll
        for (unsigned s = 0; s < head_inputs; ++s) {
            mine[s] = s < count ? x[s * head.x_stride + threadIdx.x] : 0.0f;
        }
    }
#pragma unroll 2
    for (unsigned s = threadIdx.x / 32; s < count; s += 8) {
        float sum = 0;
#pragma unroll 8
        for (unsigned c = lane; c < width; c += 32)
            sum = __fmaf_rn(x[s * head.x_stride + c], weights[c], sum);
        for (unsigned half = 16; half != 0; half /= 2) {
            sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, half));
        }
        if (lane == 0) logit[s] = __fadd_rn(sum, *head.bias);
    }
    __syncthreads();
    if (Train && threadIdx.x < count) {
        slope[threadIdx.x] =
            logit_gradient(logit[threadIdx.x], labels[first + threadIdx.x] != 0, head.clamp, n);
    }
    if constexpr (Train) {
        __syncthreads();
        float* const partial = head.partials + blockIdx.x * head.partial_stride;
        float* const __restrict__ x_gradient = head.x_gradient + first * head.x_stride;
        for (unsigned c = threadIdx.x; c < width; c += blockDim.x) {
            if (c != threadIdx.x) {
                weight = weights[c];
#pragma unroll
                for (unsigned s = 0; s < head_inputs; ++s)
                    mine[s] = s < count ? x[s * head.x_stride + c] : 0.0f;
            }
            float weight_sum = 0;
            float below_sum = 0;
#pragma unroll
            for (unsigned s = 0; s < head_inputs; ++s) {
                if (s >= count) continue;
                float g = head.masked && !(mine[s] > 0) ? 0.0f : __fmul_rn(slope[s], weight);
                if (head.round) g = rounded(g);
                x_gradient[s * head.x_stride + c] = g;
                weight_sum = __fmaf_rn(slope[s], mine[s], weight_sum);
                below_sum = __fadd_rn(below_sum, g);
            }
            partial[c] = weight_sum;
            partial[width + c] = below_sum;
        }
        if (threadIdx.x == 0) {
            float sum = 0;
            for (unsigned s = 0; s < count; ++s) sum = __fadd_rn(sum, slope[s]);
            partial[2 * width] = sum;
        }
    }
    if (threadIdx.x < count) head.logits[first + threadIdx.x] = logit[threadIdx.x];
}

/// The loss of each input.
/// @par Launch 128 threads a block, a thread an input
static __global__ void __launch_bounds__(128)
    losses_kernel(Head head, std::size_t n, const std::uint8_t* __restrict__ labels) {
    const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
    if (i < n) head.losses[i] = loss_of(head.logits[i], labels[i] != 0, head.clamp);
}

/// The sum of a column, by 32 x 32 threads for 32 columns: thread (c, r) adds rows r, r + 32, ..., then
/// halves. The result is in row 0.
__device__ inline float column_sum(const float* column, std::size_t rows, std::size_t stride, bool inside) {
    __shared__ float sums[32][33];
    const unsigned c = threadIdx.x % 32;
    const unsigned r = threadIdx.x / 32;
    float sum = 0;
    if (inside) {
#pragma unroll 8
        for (std::size_t i = r; i < rows; i += 32) sum = __fadd_rn(sum, column[i * stride]);
    }
    sums[r][c] = sum;
    for (unsigned half = 16; half != 0; half /= 2) {
        __syncthreads();
        if (r < half) sums[r][c] = __fadd_rn(sums[r][c], sums[r + half][c]);
    }
    return sums[0][c];
}

/// Block 0: slices of losses, each front to back, then the slices in order; the status. Other blocks: the
/// sums over blocks of predict_kernel, in order.
/// @par Launch 1024 threads; 1 block, for training one more for each 32 columns of the partial sums
template <bool Train>
__global__ void __launch_bounds__(1024)
    finish_kernel(Head head, std::size_t n, const std::uint64_t* __restrict__ number) {
    if (blockIdx.x != 0) {
        const std::size_t c = std::size_t{blockIdx.x - 1} * 32 + threadIdx.x % 32;
        const std::size_t columns = 2 * std::size_t{head.width} + 1;
        const float sum = column_sum(head.partials + c, ceil_div<std::size_t>(n, head_inputs),
                                     head.partial_stride, c < columns);
        if (threadIdx.x >= 32 || c >= columns) return;
        if (c < head.width) {
            head.weight_gradient[c] = sum;
        } else if (c == columns - 1) {
            *head.bias_gradient = sum;
        } else if (head.below_gradient != nullptr) {
            head.below_gradient[c - head.width] = sum;
        }
        return;
    }
    __shared__ double slices[1024];
    double total = 0;
    const std::size_t count = ceil_div(n, loss_slice);
    for (std::size_t begin = 0; begin < count; begin += 1024) {
        const std::size_t slice = begin + threadIdx.x;
        if (slice < count) {
            const std::size_t first = slice * loss_slice;
            const std::size_t inputs = n - first < loss_slice ? n - first : loss_slice;
            double sum = 0;
#pragma unroll 8
            for (std::size_t i = 0; i < inputs; ++i) sum += head.losses[first + i];
            slices[threadIdx.x] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            const std::size_t here = count - begin < 1024 ? count - begin : 1024;
            for (std::size_t i = 0; i < here; ++i) total += slices[i];
        }
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    TrainingStatus status = *head.status;
    status.loss = n == 0 ? 0.0 : total / static_cast<double>(n);
    if constexpr (Train) {
        if (!isfinite(status.loss) && status.stopped == 0) {
            status.stopped_at = number == nullptr ? 0 : *number;
            status.stopped = 1;
        }
        if (status.stopped == 0) {
            status.loss_sum = __fma_rn(status.loss, static_cast<double>(n), status.loss_sum);
            status.inputs += n;
        }
    }
    *head.status = status;
    // The host may look at any time: what explains `stopped` is there before it.
    volatile TrainingStatus* const seen = head.seen;
    seen->loss = status.loss;
    seen->loss_sum = status.loss_sum;
    seen->inputs = status.inputs;
    seen->stopped_at = status.stopped_at;
    __threadfence_system();
    seen->stopped = status.stopped;
}

/// Queues the logits of n inputs, n > 0; for training the gradient of head.x too.
/// @shape labels [n], 0 or 1, in device memory
/// @exec  cuda::On: queued
inline void predict(On on, const Head& head, std::size_t n, const std::uint8_t* labels, bool train) {
    const auto grid = static_cast<unsigned>(ceil_div<std::size_t>(n, head_inputs));
    if (train) {
        predict_kernel<true><<<grid, 256, 0, on.stream>>>(head, n, labels);
    } else {
        predict_kernel<false><<<grid, 256, 0, on.stream>>>(head, n, labels);
    }
    check_launch("predict_kernel");
}

/// Queues the mean loss, and for training the gradients that predict left in pieces and the flag that stops
/// training.
/// @param number  of the step, in device memory; null: 0
/// @shape labels [n], 0 or 1, in device memory
/// @exec  cuda::On: queued
inline void finish(On on, const Head& head, std::size_t n, const std::uint8_t* labels, bool train,
                   const std::uint64_t* number) {
    if (n != 0) {
        losses_kernel<<<static_cast<unsigned>(ceil_div<std::size_t>(n, 128)), 128, 0, on.stream>>>(head, n,
                                                                                                   labels);
        check_launch("losses_kernel");
    }
    if (train) {
        const auto columns = static_cast<unsigned>(Head::partial_columns(head.width));
        finish_kernel<true><<<1 + ceil_div(columns, 32u), 1024, 0, on.stream>>>(head, n, number);
    } else {
        finish_kernel<false><<<1, 1024, 0, on.stream>>>(head, n, number);
    }
    check_launch("finish_kernel");
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI::cuda
