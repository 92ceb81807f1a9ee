// SPDX-License-Identifier: Apache-2.0
//
// The weight gradients of all layers of a model in one kernel, in TF32 on tensor cores. Each is the product
// of a gradient's transpose with what its layer read: deep and small, so one after another they leave most of
// the device idle, and beside the chain of data gradients they stand in its way.
//
//   cuda::detail::WeightJobs jobs;
//   jobs.add(layer_gradient, layer_input, parts, bias_parts);
//   cuda::detail::weight_gradients(cuda::on(stream), jobs, cut, part_step, /*behind=*/false);
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
#include "fae/models/mlp.cuh"
#include "fae/models/tensor_core.cuh"
#include "fae/models/tiled_jobs.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// One weight gradient: out [outputs, stride of x] = y_gradient^T x.
struct WeightJob {
    const float* y_gradient;
    const float* x;
    float* out;
    unsigned outputs;
    unsigned y_stride;
    unsigned x_stride;  ///< also the columns of x, zeros behind its features
    unsigned first_tile;
    unsigned row_tiles;
    float* bias;  ///< [outputs]: the sums of y_gradient; null: not wanted
};

struct WeightTile {
    static constexpr unsigned width = 128;  ///< of either side
    static constexpr unsigned depth = 16;   ///< inputs of a stage
    static constexpr unsigned stages = 6;   ///< in flight
    static constexpr unsigned threads = 128;
    /// From one input's row to the next in shared memory; 8 mod 32: the four rows and eight columns, or pairs
    /// of columns, that a warp reads at once share no bank.
    static constexpr unsigned stride = width + 8;
    static constexpr unsigned stage_floats = 2 * depth * stride;
    /// Tiles of a result.
    [[nodiscard]] static std::size_t count(std::size_t rows, std::size_t columns) {
        return ceil_div<std::size_t>(rows, width) * ceil_div<std::size_t>(columns, width);
    }
    static constexpr std::size_t bytes = std::size_t{stages} * stage_floats * sizeof(float);
};

/// The weight gradients of one launch.
struct WeightJobs : TiledJobs<WeightJob, 24> {
    std::size_t n = 0;

    /// @shape y_gradient [n, outputs], rounded to TF32; x [n, inputs]; out [outputs, stride of x]; bias
    ///        [outputs] or null
    void add(MatrixView<const float> y_gradient, MatrixView<const float> x, float* out, float* bias) {
        WeightJob& job = jobs[count++];
        job = {y_gradient.data(),
               x.data(),
               out,
               static_cast<unsigned>(y_gradient.columns()),
               static_cast<unsigned>(y_gradient.stride()),
               static_cast<unsigned>(x.stride()),
               tiles,
               static_cast<unsigned>(ceil_div<std::size_t>(y_gradient.columns(), WeightTile::width)),
               bias};
        tiles += job.row_tiles * ceil_div(job.x_stride, WeightTile::width);
        n = x.rows();
    }
};

/// A tile of one weight gradient over one chunk of the batch, and the bias gradient where the tile is the
/// first of its rows. A sum runs over ascending inputs.
/// @par Launch 128 threads for 128 x 128 results; grid [parts, tiles]; a warp has 64 x 64; inputs come in
/// stages of 16. Row r of a product of 16 x 8 is row 2 r of the results, row r + 8 the one after it: a lane
/// reads the two together.
static __global__ void __launch_bounds__(WeightTile::threads, 2)
    weight_gradient_kernel(const __grid_constant__ WeightJobs jobs, std::size_t chunk,
                           std::size_t part_step) {
    using Tile = WeightTile;
    extern __shared__ float4 tile_memory[];
    float* const memory = reinterpret_cast<float*>(tile_memory);
    const WeightJob& job = jobs.of_tile(blockIdx.y);
    const unsigned tile = blockIdx.y - job.first_tile;
    const unsigned row = tile % job.row_tiles * Tile::width;
    const unsigned column = tile / job.row_tiles * Tile::width;
    const std::size_t first = blockIdx.x * chunk;
    const std::size_t end = first + chunk < jobs.n ? first + chunk : jobs.n;
    const auto rounds = static_cast<unsigned>(ceil_div<std::size_t>(end - first, Tile::depth));

    // A thread copies 4 columns of every fourth input of a stage, of each operand.
    constexpr unsigned quads = Tile::width / 4;
    constexpr unsigned step = Tile::threads / quads;
    const unsigned quad = threadIdx.x % quads * 4;
    const unsigned i = threadIdx.x / quads;
    const bool y_there = row + quad < job.y_stride;
    const bool x_there = column + quad < job.x_stride;
    const float* y = job.y_gradient + (first + i) * job.y_stride + (y_there ? row + quad : 0);
    const float* x = job.x + (first + i) * job.x_stride + (x_there ? column + quad : 0);
    auto left = static_cast<unsigned>(end - first);
    unsigned asked = 0;
    const auto ask = [&] {
        float* const to = memory + asked * Tile::stage_floats + i * Tile::stride + quad;
        if (left != 0) {
#pragma unroll
            for (unsigned t = 0; t < Tile::depth; t += step) {
                const bool inside = i + t < left;
                copy_ahead(to + t * Tile::stride, inside ? y + std::size_t{t} * job.y_stride : job.y_gradient,
                           inside && y_there);
                copy_ahead(to + (Tile::depth + t) * Tile::stride,
                           inside ? x + std::size_t{t} * job.x_stride : job.x, inside && x_there);
            }
            y += std::size_t{Tile::depth} * job.y_stride;
            x += std::size_t{Tile::depth} * job.x_stride;
            left -= left < Tile::depth ? left : Tile::depth;
        }
        end_copies();
        asked = asked + 1 == Tile::stages ? 0 : asked + 1;
    };

    const unsigned lane = threadIdx.x % 32;
    const unsigned eighth = lane / 4;
    const unsigned quarter = lane % 4;
    const unsigned warp = threadIdx.x / 32;
    const unsigned warp_row = warp % 2 * 64;
    const unsigned warp_column = warp / 2 * 64;
    const bool busy = row + warp_row < job.outputs && column + warp_column < job.x_stride;
    const bool sums_bias = job.bias != nullptr && column + warp_column == 0;
    float sum[4][8][4] = {};
    float bias[4][2] = {};
    let_next_launch();
    wait_for_previous();
#pragma unroll
    for (unsigned round = 0; round + 1 < Tile::stages; ++round) ask();
    unsigned stage = 0;
    for (unsigned round = 0; round < rounds; ++round) {
        wait_for_copies<Tile::stages - 2>();
        __syncthreads();
        ask();
        const float* const y_rows =
            memory + stage * Tile::stage_floats + quarter * Tile::stride + warp_row + eighth * 2;
        const float* const x_rows = memory + stage * Tile::stage_floats + Tile::depth * Tile::stride +
                                    quarter * Tile::stride + warp_column + eighth;
        stage = stage + 1 == Tile::stages ? 0 : stage + 1;
        if (!busy) continue;
#pragma unroll
        for (unsigned k = 0; k < Tile::depth; k += 8) {
            unsigned a[4][4];
            unsigned b[8][2];
#pragma unroll
            for (unsigned deep = 0; deep < 2; ++deep) {
#pragma unroll
                for (unsigned m = 0; m < 4; ++m) {
                    const float2 at =
                        *reinterpret_cast<const float2*>(y_rows + (k + deep * 4) * Tile::stride + m * 16);
                    a[m][deep * 2] = __float_as_uint(at.x);
                    a[m][deep * 2 + 1] = __float_as_uint(at.y);
                    if (sums_bias) {
                        bias[m][0] = __fadd_rn(bias[m][0], at.x);
                        bias[m][1] = __fadd_rn(bias[m][1], at.y);
                    }
                }
#pragma unroll
                for (unsigned c = 0; c < 8; ++c) {
                    b[c][deep] = nearly_tf32(x_rows[(k + deep * 4) * Tile::stride + c * 8]);
                }
            }
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
#pragma unroll
                for (unsigned c = 0; c < 8; ++c) multiply_add_tile(sum[m][c], a[m], b[c][0], b[c][1]);
            }
        }
    }
    wait_for_copies<0>();
    if (!busy) return;
    float* const out = job.out + blockIdx.x * part_step;
#pragma unroll
    for (unsigned m = 0; m < 4; ++m) {
#pragma unroll
        for (unsigned odd = 0; odd < 2; ++odd) {
            const unsigned r = row + warp_row + m * 16 + eighth * 2 + odd;
            float total = __fadd_rn(bias[m][odd], __shfl_xor_sync(~0u, bias[m][odd], 1));
            total = __fadd_rn(total, __shfl_xor_sync(~0u, total, 2));
            if (r >= job.outputs) continue;
            if (sums_bias && quarter == 0) (job.bias + blockIdx.x * part_step)[r] = total;
#pragma unroll
            for (unsigned c = 0; c < 8; ++c) {
                const unsigned at = column + warp_column + c * 8 + quarter * 2;
                if (at >= job.x_stride) continue;
                *reinterpret_cast<float2*>(out + std::size_t{r} * job.x_stride + at) =
                    float2{sum[m][c][odd * 2], sum[m][c][odd * 2 + 1]};
            }
        }
    }
}

/// Queues the weight gradients, each in the places of the batch's chunks.
/// @param behind  what is before it on the stream is one kernel
/// @exec cuda::On: queued, one kernel
/// @cost reads each operand once for every 128 columns of the other
inline void weight_gradients(On on, const WeightJobs& jobs, const BatchCut& cut, std::size_t part_step,
                             bool behind) {
    allow_shared_bytes(weight_gradient_kernel, WeightTile::bytes);
    const dim3 grid(static_cast<unsigned>(cut.parts()), jobs.tiles);
    launch(on, behind, "weight_gradient_kernel", weight_gradient_kernel, grid, WeightTile::threads,
           WeightTile::bytes, jobs, cut.chunk, part_step);
}

}  // namespace fae::inline FAE_ABI::cuda::detail
