// SPDX-License-Identifier: Apache-2.0
//
// The product of one fully connected layer on tensor cores, in TF32, with what surrounds it in the same
// kernel: bias and ReLU on the way forward, the ReLU's gradient on the way back. A kernel asks for its first
// weights before the kernel ahead of it is over, so a chain of small layers pays little for being many
// kernels.
//
//   multiply_layer<LayerWay::forward>(cuda::on(stream), product, /*behind=*/false);
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/models/tensor_core.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// The largest batch for which these kernels are made: larger ones are worth larger tiles. Up to it, kernels
/// ahead of these let them start early.
inline constexpr std::size_t product_batch = 2048;

/// One product: forward out = relu(x W^T + bias); back out = x W where output is above 0, rounded to TF32,
/// as x is.
/// @shape x [n, depth]; weights [weight_rows, weight_stride]; out [n, columns]; output as out
/// @units floats; depth, columns and weight_stride are multiples of 4, and zeros lie behind each row
struct LayerProduct {
    const float* x = nullptr;
    const float* weights = nullptr;
    const float* bias = nullptr;    ///< forward: [columns]
    const float* output = nullptr;  ///< back: of the layer below
    float* out = nullptr;
    std::size_t n = 0;
    unsigned depth = 0;
    unsigned columns = 0;
    unsigned weight_rows = 0;
    unsigned weight_stride = 0;
};

enum class LayerWay : unsigned { forward, back };

/// How a product is cut: a block has Rows x Columns results, a warp 32 x 32 of them; Groups groups of warps
/// share the depth of each stage.
template <unsigned Rows, unsigned Columns, unsigned Groups>
struct ProductTile {
    static constexpr unsigned rows = Rows;
    static constexpr unsigned columns = Columns;
    static constexpr unsigned groups = Groups;
    static constexpr unsigned group_warps = Rows / 32 * (Columns / 32);
    static constexpr unsigned threads = 32 * group_warps * Groups;
    static constexpr unsigned depth = 32;  ///< of a stage
    static constexpr unsigned stages = 4;  ///< in flight
    /// Between rows whose columns are the depth: 4 mod 32, so that eight of them share no bank.
    static constexpr unsigned stride = depth + 4;
    /// Between rows that are the depth: 8 mod 32, for four rows of eight quads.
    static constexpr unsigned wide_stride = Columns + 8;
    static constexpr unsigned x_floats = Rows * stride;
    static constexpr unsigned stage_floats = x_floats + std::max(Columns * stride, depth* wide_stride);
    static constexpr std::size_t bytes = std::size_t{stages} * stage_floats * sizeof(float);
    static_assert((Groups - 1) * Rows * Columns <= stages * stage_floats);
    static_assert(depth / 8 % Groups == 0 && Rows * 8 % threads == 0 && Columns * 8 % threads == 0);
};
/// Enough blocks for the device from batches of a thousand inputs.
using WideTile = ProductTile<64, 64, 2>;
/// The same for few columns.
using NarrowTile = ProductTile<32, 32, 4>;

/// @par Launch Tile::threads threads for Tile::rows x Tile::columns results; grid [tiles], columns first. The
/// depth comes in stages of 32. A sum runs over ascending depth, in Tile::groups parts that are added in
/// order.
template <class Tile, LayerWay Way>
__global__ void __launch_bounds__(Tile::threads) layer_kernel(const __grid_constant__ LayerProduct job) {
    constexpr bool forward = Way == LayerWay::forward;
    extern __shared__ float4 product_memory[];
    float* const memory = reinterpret_cast<float*>(product_memory);
    const unsigned column_tiles = ceil_div(job.columns, Tile::columns);
    const std::size_t row = std::size_t{blockIdx.x / column_tiles} * Tile::rows;
    const unsigned column = blockIdx.x % column_tiles * Tile::columns;
    const unsigned rounds = ceil_div(job.depth, Tile::depth);
    const auto stage = [&](unsigned round) { return memory + round % Tile::stages * Tile::stage_floats; };
    const auto ask_weights = [&](unsigned round) {
        float* const to = stage(round) + Tile::x_floats;
        const unsigned first = round * Tile::depth;
#pragma unroll
        for (unsigned t = 0; t < Tile::columns * 8 / Tile::threads; ++t) {
            const unsigned i = threadIdx.x + t * Tile::threads;
            constexpr unsigned quads = forward ? Tile::depth / 4 : Tile::columns / 4;
            const unsigned r = (forward ? column : first) + i / quads;
            const unsigned c = (forward ? first : column) + i % quads * 4;
            const bool there = r < job.weight_rows && c < job.weight_stride;
            copy_ahead(to + i / quads * (forward ? Tile::stride : Tile::wide_stride) + i % quads * 4,
                       job.weights + (there ? std::size_t{r} * job.weight_stride + c : 0), there);
        }
    };
    const auto ask_x = [&](unsigned round) {
        float* const to = stage(round);
        const unsigned k = round * Tile::depth + threadIdx.x % 8 * 4;
#pragma unroll
        for (unsigned t = 0; t < Tile::rows * 8 / Tile::threads; ++t) {
            const unsigned r = threadIdx.x / 8 + t * (Tile::threads / 8);
            const bool there = row + r < job.n && k < job.depth;
            copy_ahead(to + r * Tile::stride + threadIdx.x % 8 * 4,
                       job.x + (there ? (row + r) * job.depth + k : 0), there);
        }
    };

    let_next_launch();
#pragma unroll
    for (unsigned round = 0; round + 1 < Tile::stages; ++round) ask_weights(round);
    const unsigned lane = threadIdx.x % 32;
    const unsigned eighth = lane / 4;
    const unsigned quarter = lane % 4;
    const unsigned warp = threadIdx.x / 32 % Tile::group_warps;
    const unsigned group = threadIdx.x / 32 / Tile::group_warps;
    const unsigned warp_row = warp / (Tile::columns / 32) * 32;
    const unsigned warp_column = warp % (Tile::columns / 32) * 32;
    wait_for_previous();
#pragma unroll
    for (unsigned round = 0; round + 1 < Tile::stages; ++round) {
        ask_x(round);
        end_copies();
    }
    // A lane's results: forward 2 neighbours of every 8 columns, back 8 neighbours, of rows lane / 4, + 8 ...
    const unsigned my_column = column + warp_column + quarter * (forward ? 2 : 8);
    // Which of them pass the ReLU, a bit each.
    [[maybe_unused]] unsigned passes = 0;
    if constexpr (!forward) {
#pragma unroll
        for (unsigned r = 0; r < 4; ++r) {
            const std::size_t at = row + warp_row + r * 8 + eighth;
#pragma unroll
            for (unsigned half = 0; half < 8; half += 4) {
                float4 y{0, 0, 0, 0};
                if (group == 0 && at < job.n && my_column + half < job.columns) {
                    y = *reinterpret_cast<const float4*>(job.output + at * job.columns + my_column + half);
                }
                const unsigned bits =
                    (y.x > 0 ? 1u : 0u) | (y.y > 0 ? 2u : 0u) | (y.z > 0 ? 4u : 0u) | (y.w > 0 ? 8u : 0u);
                passes |= bits << (r * 8 + half);
            }
        }
    }

    float sum[2][4][4] = {};
    for (unsigned round = 0; round < rounds; ++round) {
        wait_for_copies<Tile::stages - 2>();
        __syncthreads();
        if (round + Tile::stages - 1 < rounds) {
            ask_weights(round + Tile::stages - 1);
            ask_x(round + Tile::stages - 1);
        }
        end_copies();
        const float* const a_rows = stage(round) + (warp_row + lane % 16) * Tile::stride + lane / 16 * 4;
        const float* const b_rows =
            stage(round) + Tile::x_floats +
            (forward ? (warp_column + lane % 8 + lane / 16 * 8) * Tile::stride + lane / 8 % 2 * 4
                     : quarter * Tile::wide_stride + warp_column + eighth * 4);
#pragma unroll
        for (unsigned step = 0; step < Tile::depth / 8 / Tile::groups; ++step) {
            const unsigned k = (step * Tile::groups + group) * 8;
            unsigned a[2][4];
            unsigned b[4][2];
#pragma unroll
            for (unsigned m = 0; m < 2; ++m) {
                load_tiles(a[m], a_rows + m * 16 * Tile::stride + k);
                if constexpr (forward) {
#pragma unroll
                    for (unsigned e = 0; e < 4; ++e) a[m][e] = to_tf32(__uint_as_float(a[m][e]));
                }
            }
            if constexpr (forward) {
#pragma unroll
                for (unsigned c = 0; c < 4; c += 2) {
                    unsigned x[4];
                    load_tiles(x, b_rows + c * 8 * Tile::stride + k);
#pragma unroll
                    for (unsigned e = 0; e < 4; ++e) b[c + e / 2][e % 2] = to_tf32(__uint_as_float(x[e]));
                }
            } else {
                // Tile c of the four has every fourth column from c on.
#pragma unroll
                for (unsigned deep = 0; deep < 2; ++deep) {
                    const float4 x =
                        *reinterpret_cast<const float4*>(b_rows + (k + deep * 4) * Tile::wide_stride);
                    b[0][deep] = to_tf32(x.x);
                    b[1][deep] = to_tf32(x.y);
                    b[2][deep] = to_tf32(x.z);
                    b[3][deep] = to_tf32(x.w);
                }
            }
#pragma unroll
            for (unsigned m = 0; m < 2; ++m) {
#pragma unroll
                for (unsigned c = 0; c < 4; ++c) multiply_add_tile(sum[m][c], a[m], b[c][0], b[c][1]);
            }
        }
    }
    wait_for_copies<0>();
    if constexpr (Tile::groups > 1) {
        // The parts of the depth meet in group 0.
        __syncthreads();
        constexpr unsigned from_group = Tile::group_warps * 32 * 32;
        float* const parts = memory + warp * (32 * 32) + lane;
        if (group != 0) {
#pragma unroll
            for (unsigned e = 0; e < 32; ++e) {
                parts[(group - 1) * from_group + e * 32] = sum[e / 16][e / 4 % 4][e % 4];
            }
        }
        __syncthreads();
        if (group != 0) return;
#pragma unroll
        for (unsigned g = 0; g + 1 < Tile::groups; ++g) {
#pragma unroll
            for (unsigned e = 0; e < 32; ++e) {
                float& to = sum[e / 16][e / 4 % 4][e % 4];
                to = __fadd_rn(to, parts[g * from_group + e * 32]);
            }
        }
    }
#pragma unroll
    for (unsigned r = 0; r < 4; ++r) {
        const std::size_t at = row + warp_row + r * 8 + eighth;
        if (at >= job.n) continue;
        float* const to = job.out + at * job.columns;
        float(&tile)[4][4] = sum[r / 2];
        const unsigned pair = r % 2 * 2;
        if constexpr (forward) {
#pragma unroll
            for (unsigned c = 0; c < 4; ++c) {
                const unsigned at_column = my_column + c * 8;
                if (at_column >= job.columns) continue;
                const float2 bias = *reinterpret_cast<const float2*>(job.bias + at_column);
                const float x = __fadd_rn(tile[c][pair], bias.x);
                const float y = __fadd_rn(tile[c][pair + 1], bias.y);
                // NaN is not below 0, and stays.
                *reinterpret_cast<float2*>(to + at_column) = float2{x <= 0 ? 0.0f : x, y <= 0 ? 0.0f : y};
            }
        } else {
#pragma unroll
            for (unsigned half = 0; half < 2; ++half) {
                if (my_column + half * 4 >= job.columns) continue;
                float passed[4];
#pragma unroll
                for (unsigned c = 0; c < 4; ++c) {
                    const bool passing = (passes >> (r * 8 + half * 4 + c) & 1u) != 0;
                    passed[c] = passing ? rounded(tile[c][pair + half]) : 0.0f;
                }
                *reinterpret_cast<float4*>(to + my_column + half * 4) =
                    float4{passed[0], passed[1], passed[2], passed[3]};
            }
        }
    }
}

template <class Tile, LayerWay Way>
void launch_layer(On on, const LayerProduct& job, bool behind) {
    allow_shared_bytes(layer_kernel<Tile, Way>, Tile::bytes);
    const std::size_t blocks = ceil_div<std::size_t>(job.n, Tile::rows) *
                               ceil_div<std::size_t>(job.columns, std::size_t{Tile::columns});
    launch(on, behind, "layer_kernel", layer_kernel<Tile, Way>, static_cast<unsigned>(blocks), Tile::threads,
           Tile::bytes, job);
}

/// Queues one product.
/// @param behind  what is before it on the stream is one kernel
/// @exec  cuda::On: queued, one kernel
template <LayerWay Way>
void multiply_layer(On on, const LayerProduct& job, bool behind) {
    if (job.columns <= 64 && Way == LayerWay::forward) {
        launch_layer<NarrowTile, Way>(on, job, behind);
    } else {
        launch_layer<WideTile, Way>(on, job, behind);
    }
}

}  // namespace fae::inline FAE_ABI::cuda::detail
