// SPDX-License-Identifier: Apache-2.0
//
// The weight gradients of all layers of a model in one kernel, as weight_gradients.cuh computes them, for
// large batches: operands come to shared memory in boxes, rounded, and a warp reads the next ones while its
// tensor core works. Code for compute capability 9.0a alone, see has_warpgroups().
//
//   cuda::detail::BoxedWeightJobs jobs;
//   jobs.add(layer_gradient, layer_input, parts, bias_parts);
//   cuda::detail::weight_gradients(cuda::on(stream), jobs, cut, part_step, /*behind=*/false);
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/models/mlp.cuh"
#include "fae/models/tensor_core.cuh"
#include "fae/models/tiled_jobs.cuh"
#include "fae/models/warpgroup.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// One weight gradient: out [outputs, x_stride] = y_gradient^T x, both rounded to TF32 as they are read.
struct BoxedWeightJob {
    CUtensorMap y_gradient;
    CUtensorMap x;
    float* out;
    float* bias;  ///< [outputs]: the sums of y_gradient; null: not wanted
    unsigned outputs;
    unsigned x_stride;  ///< also the columns of x, zeros behind its features
    unsigned first_tile;
    unsigned row_tiles;
};

struct BoxedWeightTile {
    static constexpr unsigned width = 128;                   ///< of either side
    static constexpr unsigned depth = BatchCut::chunk_step;  ///< inputs of a stage
    static constexpr unsigned stages = 3;                    ///< in flight
    static constexpr unsigned threads = 128;
    static constexpr unsigned box_floats = depth * box_columns;
    static constexpr unsigned operand_floats = depth * width;
    static constexpr unsigned stage_floats = 2 * operand_floats;
    /// With room to start at a multiple of 1,024.
    static constexpr std::size_t bytes = std::size_t{stages} * stage_floats * sizeof(float) + 1024;
};

/// The weight gradients of one launch.
struct BoxedWeightJobs : TiledJobs<BoxedWeightJob, 10> {
    std::size_t n = 0;

    /// @shape y_gradient [n, outputs]; x [n, inputs]; out [outputs, stride of x]; bias [outputs] or null
    /// @pre   rows are 16-byte aligned, zeros behind each
    void add(MatrixView<const float> y_gradient, MatrixView<const float> x, float* out, float* bias) {
        constexpr std::size_t width = BoxedWeightTile::width;
        BoxedWeightJob& job = jobs[count++];
        const auto boxes = [](MatrixView<const float> m) {
            return box_map(m.data(), m.rows(), m.stride(), m.stride(), BoxedWeightTile::depth);
        };
        job.y_gradient = boxes(y_gradient);
        job.x = boxes(x);
        job.out = out;
        job.bias = bias;
        job.outputs = static_cast<unsigned>(y_gradient.columns());
        job.x_stride = static_cast<unsigned>(x.stride());
        job.first_tile = tiles;
        job.row_tiles = static_cast<unsigned>(ceil_div(y_gradient.columns(), width));
        tiles += job.row_tiles * static_cast<unsigned>(ceil_div(x.stride(), width));
        n = x.rows();
    }
};

/// A tile of one weight gradient over one chunk of the batch, and the bias gradient where the tile is the
/// first of its rows. A sum runs over ascending inputs, in eights that the tensor cores add in an order of
/// their own.
/// @par Launch 128 threads for 128 x 128 results; grid [parts, tiles]; a warp has 64 x 64; inputs come in
/// stages of 32. Row r of a product of 16 x 8 is row 2 r of the results, row r + 8 the one after it: a lane
/// reads the two together. Of eight inputs a lane takes two neighbours, so the swizzle spreads what a warp
/// reads at once over all banks.
static __global__ void __launch_bounds__(BoxedWeightTile::threads, 2)
    boxed_weight_kernel(const __grid_constant__ BoxedWeightJobs jobs, std::size_t chunk,
                        std::size_t part_step) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    using Tile = BoxedWeightTile;
    extern __shared__ float4 weight_memory[];
    __shared__ GroupBarrier full[Tile::stages];
    __shared__ GroupBarrier empty[Tile::stages];
    float* const memory = reinterpret_cast<float*>(weight_memory) +
                          (1024 - shared_address(weight_memory) % 1024) % 1024 / sizeof(float);
    const unsigned part = blockIdx.x;
    const BoxedWeightJob& job = jobs.of_tile(blockIdx.y);
    const unsigned tile = blockIdx.y - job.first_tile;
    const unsigned row = tile % job.row_tiles * Tile::width;
    const unsigned column = tile / job.row_tiles * Tile::width;
    const std::size_t first = part * chunk;
    const std::size_t end = first + chunk < jobs.n ? first + chunk : jobs.n;
    const auto rounds = static_cast<unsigned>(ceil_div<std::size_t>(end - first, Tile::depth));

    if (threadIdx.x == 0) {
        for (unsigned s = 0; s < Tile::stages; ++s) {
            full[s].start(1);
            empty[s].start(4);
        }
        publish_barriers();
    }
    let_next_launch();
    __syncthreads();
    const auto ask = [&](unsigned round) {
        const unsigned s = round % Tile::stages;
        float* const y = memory + s * Tile::stage_floats;
        const unsigned at = static_cast<unsigned>(first) + round * Tile::depth;
        full[s].arrive_and_expect(Tile::stage_floats * sizeof(float));
#pragma unroll
        for (unsigned b = 0; b < Tile::width / box_columns; ++b) {
            float* const to = y + b * Tile::box_floats;
            ask_box(to, job.y_gradient, row + b * box_columns, at, full[s]);
            ask_box(to + Tile::operand_floats, job.x, column + b * box_columns, at, full[s]);
        }
    };
    wait_for_previous();
    if (threadIdx.x == 0) {
        for (unsigned round = 0; round < Tile::stages && round < rounds; ++round) ask(round);
    }
    __syncwarp();

    const unsigned lane = threadIdx.x % 32;
    const unsigned eighth = lane / 4;
    const unsigned quarter = lane % 4;
    const unsigned warp = threadIdx.x / 32;
    const unsigned warp_row = warp % 2 * 64;
    const unsigned warp_column = warp / 2 * 64;
    const bool busy = row + warp_row < job.outputs && column + warp_column < job.x_stride;
    const bool sums_bias = job.bias != nullptr && column + warp_column == 0;
    // Where a lane reads of the first eight inputs of a stage: input 2 quarter + deep of them.
    unsigned y_at[2][2];
    unsigned x_at[2][4];
#pragma unroll
    for (unsigned deep = 0; deep < 2; ++deep) {
        const unsigned input = quarter * 2 + deep;
#pragma unroll
        for (unsigned m = 0; m < 2; ++m) {
            y_at[deep][m] = warp_row / box_columns * Tile::box_floats + input * box_columns +
                            ((m * 4 + eighth / 2) ^ input) * 4 + eighth % 2 * 2;
        }
#pragma unroll
        for (unsigned c = 0; c < 4; ++c) {
            x_at[deep][c] = Tile::operand_floats + warp_column / box_columns * Tile::box_floats +
                            input * box_columns + ((c * 2 + eighth / 4) ^ input) * 4 + eighth % 4;
        }
    }
    float sum[4][8][4] = {};
    float bias[4][2] = {};
    unsigned y[2][4][4];
    unsigned x[2][8][2];
    const auto load = [&](unsigned(&a)[4][4], unsigned(&b)[8][2], const float* eight) {
#pragma unroll
        for (unsigned deep = 0; deep < 2; ++deep) {
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
                const float2 at =
                    *reinterpret_cast<const float2*>(eight + y_at[deep][m % 2] + m / 2 * Tile::box_floats);
                a[m][deep * 2] = __float_as_uint(at.x);
                a[m][deep * 2 + 1] = __float_as_uint(at.y);
            }
#pragma unroll
            for (unsigned c = 0; c < 8; ++c) {
                b[c][deep] = __float_as_uint(eight[x_at[deep][c % 4] + c / 4 * Tile::box_floats]);
            }
        }
    };
    // Gives a stage back that the warp has read, and asks for what comes to the one before it, which all have
    // read or are about to: warps take turns.
    const auto give_back = [&](unsigned round, unsigned s) {
        __syncwarp();
        if (lane == 0) {
            empty[s].arrive();
            if (round != 0 && round - 1 + Tile::stages < rounds && round % 4 == warp) {
                empty[(round - 1) % Tile::stages].wait((round - 1) / Tile::stages % 2);
                ask(round - 1 + Tile::stages);
            }
        }
        __syncwarp();
    };
    constexpr unsigned eights = Tile::depth / 8;
    static_assert(eights % 2 == 0);
    unsigned s = 0;
    unsigned turn = 0;
    if (!busy) {
        for (unsigned round = 0; round < rounds; ++round) {
            full[s].wait(turn);
            give_back(round, s);
            s = s + 1 == Tile::stages ? 0 : s + 1;
            turn ^= s == 0 ? 1 : 0;
        }
        return;
    }
    full[0].wait(0);
    load(y[0], x[0], memory);
#pragma unroll 1
    for (unsigned round = 0; round < rounds; ++round) {
        const float* const stage = memory + s * Tile::stage_floats;
#pragma unroll
        for (unsigned eight = 0; eight < eights; ++eight) {
            const unsigned now = eight % 2;
            if (eight + 1 < eights) {
                load(y[1 - now], x[1 - now], stage + (eight + 1) * 8 * box_columns);
            } else {
                give_back(round, s);
                s = s + 1 == Tile::stages ? 0 : s + 1;
                turn ^= s == 0 ? 1 : 0;
                // Behind the last round this reads what is not used.
                if (round + 1 < rounds) full[s].wait(turn);
                load(y[1 - now], x[1 - now], memory + s * Tile::stage_floats);
            }
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
#pragma unroll
                for (unsigned e = 0; e < 4; ++e) {
                    bias[m][e % 2] = __fadd_rn(bias[m][e % 2], __uint_as_float(y[now][m][e]));
                }
#pragma unroll
                for (unsigned c = 0; c < 8; ++c) {
                    multiply_add_tile(sum[m][c], y[now][m], x[now][c][0], x[now][c][1]);
                }
            }
        }
    }
    float* const out = job.out + part * part_step;
#pragma unroll
    for (unsigned m = 0; m < 4; ++m) {
#pragma unroll
        for (unsigned odd = 0; odd < 2; ++odd) {
            const unsigned r = row + warp_row + m * 16 + eighth * 2 + odd;
            float total = __fadd_rn(bias[m][odd], __shfl_xor_sync(~0u, bias[m][odd], 1));
            total = __fadd_rn(total, __shfl_xor_sync(~0u, total, 2));
            if (r >= job.outputs) continue;
            if (sums_bias && quarter == 0) (job.bias + part * part_step)[r] = total;
#pragma unroll
            for (unsigned c = 0; c < 8; ++c) {
                const unsigned at = column + warp_column + c * 8 + quarter * 2;
                if (at >= job.x_stride) continue;
                *reinterpret_cast<float2*>(out + std::size_t{r} * job.x_stride + at) =
                    float2{sum[m][c][odd * 2], sum[m][c][odd * 2 + 1]};
            }
        }
    }
#endif
}

/// Queues the weight gradients, each in the places of the batch's chunks.
/// @param behind  what is before it on the stream is one kernel
/// @pre   has_warpgroups()
/// @exec  cuda::On: queued, one kernel
/// @cost  reads each operand once for every 128 columns of the other
inline void weight_gradients(On on, const BoxedWeightJobs& jobs, const BatchCut& cut, std::size_t part_step,
                             bool behind) {
    using Tile = BoxedWeightTile;
    allow_shared_bytes(boxed_weight_kernel, Tile::bytes);
    const dim3 grid(static_cast<unsigned>(cut.parts()), jobs.tiles);
    launch(on, behind, "boxed_weight_kernel", boxed_weight_kernel, grid, Tile::threads, Tile::bytes, jobs,
           cut.chunk, part_step);
}

}  // namespace fae::inline FAE_ABI::cuda::detail
