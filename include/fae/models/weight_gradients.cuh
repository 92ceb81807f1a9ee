// SPDX-License-Identifier: Apache-2.0
//
// The weight gradients of all layers of a model in one kernel, in TF32 on tensor cores. Each is the product
// of a gradient's transpose with what its layer read: deep and small, so one after another they leave most of
// the device idle, and beside the chain of data gradients they stand in its way.
//
//   cuda::detail::WeightJobs jobs;
//   jobs.add(layer_gradient, layer_input, parts);
//   cuda::detail::weight_gradients(cuda::on(stream), jobs, cut, part_step);
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/models/mlp.cuh"
#include "fae/models/tensor_core.cuh"

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
};

struct WeightTile {
    static constexpr unsigned width = 128;  ///< of either side
    static constexpr unsigned depth = 16;   ///< inputs of a stage
    static constexpr unsigned stages = 4;   ///< in flight
    static constexpr unsigned threads = 256;
    /// From one input's row to the next in shared memory; 8 mod 32: the four rows and eight columns that a
    /// warp reads at once share no bank.
    static constexpr unsigned stride = width + 8;
    static constexpr unsigned stage_floats = 2 * depth * stride;
    /// Tiles of a result.
    [[nodiscard]] static std::size_t count(std::size_t rows, std::size_t columns) {
        return ceil_div<std::size_t>(rows, width) * ceil_div<std::size_t>(columns, width);
    }
    static constexpr std::size_t bytes = std::size_t{stages} * stage_floats * sizeof(float);
};

/// The weight gradients of one launch.
struct WeightJobs {
    static constexpr unsigned most = 24;
    WeightJob jobs[most] = {};
    unsigned count = 0;
    unsigned tiles = 0;
    std::size_t n = 0;

    [[nodiscard]] bool full() const { return count == most; }
    /// @shape y_gradient [n, outputs]; x [n, inputs]; out [outputs, stride of x]
    void add(MatrixView<const float> y_gradient, MatrixView<const float> x, float* out) {
        WeightJob& job = jobs[count++];
        job = {y_gradient.data(),
               x.data(),
               out,
               static_cast<unsigned>(y_gradient.columns()),
               static_cast<unsigned>(y_gradient.stride()),
               static_cast<unsigned>(x.stride()),
               tiles,
               static_cast<unsigned>(ceil_div<std::size_t>(y_gradient.columns(), WeightTile::width))};
        tiles += job.row_tiles * ceil_div(job.x_stride, WeightTile::width);
        n = x.rows();
    }
};

/// Asks for 16 bytes to be copied to shared memory; zeros where `there` is false.
__device__ inline void copy_ahead(float* to, const float* from, bool there) {
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(there ? 16 : 0));
}

/// A tile of one weight gradient over one chunk of the batch. A sum runs over ascending inputs.
/// @par Launch 256 threads for 128 x 128 results; grid [tiles, parts]; a warp has 64 x 32; inputs come in
/// stages of 16
static __global__ void __launch_bounds__(WeightTile::threads)
    weight_gradient_kernel(const __grid_constant__ WeightJobs jobs, std::size_t chunk,
                           std::size_t part_step) {
    using Tile = WeightTile;
    extern __shared__ float4 tile_memory[];
    float* const memory = reinterpret_cast<float*>(tile_memory);
    unsigned j = 0;
    while (j + 1 < jobs.count && jobs.jobs[j + 1].first_tile <= blockIdx.x) ++j;
    const WeightJob& job = jobs.jobs[j];
    const unsigned tile = blockIdx.x - job.first_tile;
    const unsigned row = tile % job.row_tiles * Tile::width;
    const unsigned column = tile / job.row_tiles * Tile::width;
    const std::size_t first = blockIdx.y * chunk;
    const std::size_t end = first + chunk < jobs.n ? first + chunk : jobs.n;
    const auto rounds = static_cast<unsigned>(ceil_div<std::size_t>(end - first, Tile::depth));

    // A thread copies 4 columns of the inputs i and i + 8 of each operand.
    const unsigned quad = threadIdx.x % 32 * 4;
    const unsigned i = threadIdx.x / 32;
    const bool y_there = row + quad < job.y_stride;
    const bool x_there = column + quad < job.x_stride;
    const float* const y = job.y_gradient + (y_there ? row + quad : 0);
    const float* const x = job.x + (x_there ? column + quad : 0);
    const auto ask = [&](unsigned round) {
        float* const to = memory + round % Tile::stages * Tile::stage_floats;
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            const unsigned r = i + half * 8;
            const std::size_t input = first + std::size_t{round} * Tile::depth + r;
            const bool inside = round < rounds && input < end;
            const std::size_t at = inside ? input : first;
            copy_ahead(to + r * Tile::stride + quad, y + at * job.y_stride, inside && y_there);
            copy_ahead(to + (Tile::depth + r) * Tile::stride + quad, x + at * job.x_stride,
                       inside && x_there);
        }
        asm volatile("cp.async.commit_group;");
    };

    const unsigned lane = threadIdx.x % 32;
    const unsigned group = lane / 4;
    const unsigned quarter = lane % 4;
    const unsigned warp_row = threadIdx.x / 32 % 2 * 64;
    const unsigned warp_column = threadIdx.x / 64 * 32;
    float sum[4][4][4] = {};
#pragma unroll
    for (unsigned round = 0; round + 1 < Tile::stages; ++round) ask(round);
    for (unsigned round = 0; round < rounds; ++round) {
        asm volatile("cp.async.wait_group %0;" ::"n"(Tile::stages - 2));
        __syncthreads();
        ask(round + Tile::stages - 1);
        const float* const a_rows = memory + round % Tile::stages * Tile::stage_floats + warp_row + group;
        const float* const b_rows = memory + round % Tile::stages * Tile::stage_floats +
                                    Tile::depth * Tile::stride + warp_column + group;
#pragma unroll
        for (unsigned k = 0; k < Tile::depth; k += 8) {
            unsigned a[4][4];
            unsigned b[4][2];
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
                const float* const at = a_rows + (k + quarter) * Tile::stride + m * 16;
                a[m][0] = to_tf32(at[0]);
                a[m][1] = to_tf32(at[8]);
                a[m][2] = to_tf32(at[4 * Tile::stride]);
                a[m][3] = to_tf32(at[4 * Tile::stride + 8]);
            }
#pragma unroll
            for (unsigned c = 0; c < 4; ++c) {
                const float* const at = b_rows + (k + quarter) * Tile::stride + c * 8;
                b[c][0] = to_tf32(at[0]);
                b[c][1] = to_tf32(at[4 * Tile::stride]);
            }
#pragma unroll
            for (unsigned m = 0; m < 4; ++m) {
#pragma unroll
                for (unsigned c = 0; c < 4; ++c) multiply_add_tile(sum[m][c], a[m], b[c][0], b[c][1]);
            }
        }
    }
    asm volatile("cp.async.wait_all;");
    float* const out = job.out + blockIdx.y * part_step;
#pragma unroll
    for (unsigned m = 0; m < 4; ++m) {
#pragma unroll
        for (unsigned c = 0; c < 4; ++c) {
            const unsigned at = column + warp_column + c * 8 + quarter * 2;
#pragma unroll
            for (unsigned half = 0; half < 2; ++half) {
                const unsigned r = row + warp_row + m * 16 + half * 8 + group;
                if (r < job.outputs && at < job.x_stride) {
                    *reinterpret_cast<float2*>(out + std::size_t{r} * job.x_stride + at) =
                        float2{sum[m][c][half * 2], sum[m][c][half * 2 + 1]};
                }
            }
        }
    }
}

/// Queues the weight gradients, each in the places of the batch's chunks.
/// @exec cuda::On: queued, one kernel
/// @cost reads each operand once for every 128 columns of the other
inline void weight_gradients(On on, const WeightJobs& jobs, const BatchCut& cut, std::size_t part_step) {
    check(::cudaFuncSetAttribute(weight_gradient_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(WeightTile::bytes)),
          "shared memory for weight gradients");
    const dim3 grid(jobs.tiles, static_cast<unsigned>(cut.parts()));
    weight_gradient_kernel<<<grid, WeightTile::threads, WeightTile::bytes, on.stream>>>(jobs, cut.chunk,
                                                                                        part_step);
    check_launch("weight_gradient_kernel");
}

}  // namespace fae::inline FAE_ABI::cuda::detail
