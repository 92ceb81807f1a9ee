// SPDX-License-Identifier: Apache-2.0
//
// Elementwise passes over a model's arrays on the device: one optimizer step on all dense parameters at once,
// the ReLU's gradient, and rows brought to a padded stride.
//
//   cuda::detail::update_all(cuda::on(stream), optimizer, lr, values, state, gradients, parts, stopped);
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/models/mlp.cuh"
#include "fae/ops/optimizer.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// @par Launch 256 threads a block, a thread 4 elements, grid-stride
template <class O>
__global__ void __launch_bounds__(256)
    update_kernel(O optimizer, const float* lr, float4* values, float4* state, const float4* gradients,
                  std::size_t parts, std::size_t part_quads, const unsigned* stopped) {
    wait_for_previous();
    if (*stopped != 0) return;
    const float rate = *lr;
    constexpr bool stateful = O::kind != OptimizerKind::sgd;
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < part_quads;
         i += std::size_t{gridDim.x} * blockDim.x) {
        const float4 value = values[i];
        float4 sum{0, 0, 0, 0};
        if constexpr (stateful) sum = state[i];
        float4 gradient = gradients[i];
#pragma unroll 8
        for (std::size_t part = 1; part < parts; ++part) {
            const float4 more = gradients[part * part_quads + i];
            gradient.x = __fadd_rn(gradient.x, more.x);
            gradient.y = __fadd_rn(gradient.y, more.y);
            gradient.z = __fadd_rn(gradient.z, more.z);
            gradient.w = __fadd_rn(gradient.w, more.w);
        }
        float w[4] = {value.x, value.y, value.z, value.w};
        float s[4] = {sum.x, sum.y, sum.z, sum.w};
        const float g[4] = {gradient.x, gradient.y, gradient.z, gradient.w};
        update_row(optimizer, rate, w, s, g, 4);
        values[i] = float4{w[0], w[1], w[2], w[3]};
        if constexpr (stateful) state[i] = float4{s[0], s[1], s[2], s[3]};
    }
}

/// Takes gradients back through a ReLU (0 where the output is not above 0) and adds up their columns for each
/// chunk of the batch: what the bias gets. Without output the gradients are only added up.
/// @par Launch 1024 threads for 32 columns of a chunk: thread (r, q) has 4 columns of rows r, r + 128, ...
template <bool Masked>
__global__ void __launch_bounds__(1024)
    mask_kernel(MatrixView<const float> output, MatrixView<float> gradient, float* sums, std::size_t chunk,
                std::size_t part_step) {
    __shared__ float4 partial[32][8];
    const unsigned q = threadIdx.x % 8;
    const std::size_t quad = std::size_t{blockIdx.x} * 8 + q;
    const std::size_t quads = gradient.stride() / 4;
    const std::size_t first = blockIdx.y * chunk;
    const std::size_t end = first + chunk < gradient.rows() ? first + chunk : gradient.rows();
    const auto* const y = reinterpret_cast<const float4*>(output.data());
    auto* const g = reinterpret_cast<float4*>(gradient.data());
    float4 sum{0, 0, 0, 0};
    if (quad < quads) {
#pragma unroll 4
        for (std::size_t r = first + threadIdx.x / 8; r < end; r += 128) {
            float4 x = g[r * quads + quad];
            if constexpr (Masked) {
                const float4 at = y[r * quads + quad];
                x = float4{at.x > 0 ? x.x : 0.0f, at.y > 0 ? x.y : 0.0f, at.z > 0 ? x.z : 0.0f,
                           at.w > 0 ? x.w : 0.0f};
                g[r * quads + quad] = x;
            }
            sum.x = __fadd_rn(sum.x, x.x);
            sum.y = __fadd_rn(sum.y, x.y);
            sum.z = __fadd_rn(sum.z, x.z);
            sum.w = __fadd_rn(sum.w, x.w);
        }
    }
    for (unsigned lanes = 16; lanes >= 8; lanes /= 2) {
        sum.x = __fadd_rn(sum.x, __shfl_xor_sync(~0u, sum.x, lanes));
        sum.y = __fadd_rn(sum.y, __shfl_xor_sync(~0u, sum.y, lanes));
        sum.z = __fadd_rn(sum.z, __shfl_xor_sync(~0u, sum.z, lanes));
        sum.w = __fadd_rn(sum.w, __shfl_xor_sync(~0u, sum.w, lanes));
    }
    if (threadIdx.x % 32 < 8) partial[threadIdx.x / 32][q] = sum;
    __syncthreads();
    const std::size_t column = std::size_t{blockIdx.x} * 32 + threadIdx.x;
    if (threadIdx.x >= 32 || column >= gradient.columns()) return;
    const float* const mine = reinterpret_cast<const float*>(partial) + threadIdx.x;
    float total = mine[0];
    for (unsigned warp = 1; warp < 32; ++warp) total = __fadd_rn(total, mine[warp * 32]);
    sums[blockIdx.y * part_step + column] = total;
}

/// Copies rows to another stride, zeros behind each.
/// @par Launch 256 threads a block, a thread an element, grid-stride
static __global__ void __launch_bounds__(256) pad_kernel(MatrixView<const float> from, MatrixView<float> to) {
    const std::size_t count = to.rows() * to.stride();
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
         i += std::size_t{gridDim.x} * blockDim.x) {
        const std::size_t r = i / to.stride();
        const std::size_t c = i % to.stride();
        to.data()[i] = c < from.columns() ? from(r, c) : 0.0f;
    }
}

/// Queues one step of the optimizer on every element, by the rules of embedding rows (ops/optimizer.hpp);
/// nothing where `stopped` is set. A gradient is the sum of its parts, in order.
/// @shape values [size], state [size] or empty, gradients [parts, size]; size a multiple of 4; lr [1] and
///        stopped [1] in device memory
/// @param behind  what is before it on the stream is one kernel
/// @exec  cuda::On: queued
/// @cost  SGD: reads 4 + 4 parts, writes 4 bytes an element; Adagrad 4 more of each
template <Optimizer O>
void update_all(On on, const O& optimizer, const float* lr, Span<float> values, Span<float> state,
                const float* gradients, std::size_t parts, const unsigned* stopped, bool behind) {
    const std::size_t quads = values.size() / 4;
    launch(on, behind, "update_kernel", update_kernel<O>, launch_grid(quads, 256), 256, 0, optimizer, lr,
           reinterpret_cast<float4*>(values.data()), reinterpret_cast<float4*>(state.data()),
           reinterpret_cast<const float4*>(gradients), parts, quads, stopped);
}

/// Queues the gradients' way back through a ReLU, and the sums of their columns for each chunk of the batch.
/// @shape output, gradient [n, width] at one stride, a multiple of 4; sums [parts, width] at part_step
/// @exec  cuda::On: queued
inline void mask(On on, MatrixView<const float> output, MatrixView<float> gradient, const BatchCut& cut,
                 float* sums, std::size_t part_step) {
    const dim3 grid(static_cast<unsigned>(ceil_div<std::size_t>(gradient.columns(), 32)),
                    static_cast<unsigned>(cut.parts()));
    mask_kernel<true><<<grid, 1024, 0, on.stream>>>(output, gradient, sums, cut.chunk, part_step);
    check_launch("mask_kernel");
}

/// Queues the sums of columns alone.
/// @shape as mask
/// @exec  cuda::On: queued
inline void sum_columns(On on, MatrixView<float> gradient, const BatchCut& cut, float* sums,
                        std::size_t part_step) {
    const dim3 grid(static_cast<unsigned>(ceil_div<std::size_t>(gradient.columns(), 32)),
                    static_cast<unsigned>(cut.parts()));
    mask_kernel<false><<<grid, 1024, 0, on.stream>>>({}, gradient, sums, cut.chunk, part_step);
    check_launch("mask_kernel");
}

/// Queues a copy of rows to a padded stride.
/// @exec cuda::On: queued
inline void pad(On on, MatrixView<const float> from, MatrixView<float> to) {
    pad_kernel<<<launch_grid(to.rows() * to.stride(), 256), 256, 0, on.stream>>>(from, to);
    check_launch("pad_kernel");
}

}  // namespace fae::inline FAE_ABI::cuda::detail
