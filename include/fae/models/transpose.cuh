// SPDX-License-Identifier: Apache-2.0
//
// Transposes of the weights of a model's layers, all in one kernel: products by warp groups read the depth of
// both operands along their rows.
//
//   cuda::detail::TransposeJobs jobs;
//   jobs.add(from_offset, to_offset, rows, columns, out_stride);
//   cuda::detail::transpose(cuda::on(stream), jobs, from, to);
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/models/tiled_jobs.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// One matrix [rows, columns] and its transpose [columns, out_stride], where they begin in their arrays.
struct TransposeJob {
    std::size_t from;
    std::size_t to;
    unsigned rows;
    unsigned columns;
    unsigned out_stride;
    unsigned first_tile;
};

/// The matrices of one launch.
struct TransposeJobs : TiledJobs<TransposeJob, 32> {
    void add(std::size_t from, std::size_t to, std::size_t rows, std::size_t columns,
             std::size_t out_stride) {
        TransposeJob& job = jobs[count++];
        job = {from,
               to,
               static_cast<unsigned>(rows),
               static_cast<unsigned>(columns),
               static_cast<unsigned>(out_stride),
               tiles};
        tiles += ceil_div(job.rows, 32u) * ceil_div(job.columns, 32u);
    }
};

/// @par Launch 256 threads for a tile of 32 x 32; grid [tiles]
static __global__ void __launch_bounds__(256)
    transpose_kernel(const __grid_constant__ TransposeJobs jobs, const float* __restrict__ from,
                     float* __restrict__ to) {
    __shared__ float tile[32][33];
    const TransposeJob& job = jobs.of_tile(blockIdx.x);
    const unsigned t = blockIdx.x - job.first_tile;
    const unsigned across = ceil_div(job.columns, 32u);
    const unsigned row = t / across * 32;
    const unsigned column = t % across * 32;
    const unsigned c = threadIdx.x % 32;
    for (unsigned r = threadIdx.x / 32; r < 32; r += 8) {
        if (row + r < job.rows && column + c < job.columns) {
            tile[r][c] = from[job.from + std::size_t{row + r} * job.columns + column + c];
        }
    }
    __syncthreads();
    for (unsigned r = threadIdx.x / 32; r < 32; r += 8) {
        if (row + c < job.rows && column + r < job.columns) {
            to[job.to + std::size_t{column + r} * job.out_stride + row + c] = tile[c][r];
        }
    }
}

/// Queues the transposes.
/// @exec cuda::On: queued, one kernel
inline void transpose(On on, const TransposeJobs& jobs, const float* from, float* to) {
    if (jobs.tiles == 0) return;
    transpose_kernel<<<jobs.tiles, 256, 0, on.stream>>>(jobs, from, to);
    check_launch("transpose_kernel");
}

}  // namespace fae::inline FAE_ABI::cuda::detail
