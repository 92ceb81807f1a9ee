// SPDX-License-Identifier: Apache-2.0
//
// The product of one fully connected layer of a large batch by warp groups, in TF32, with what surrounds it
// in the same kernel: forward bias, ReLU and a bit for each result that passes it, back the ReLU's gradient
// by these bits. Code for compute capability 9.0a alone; has_warpgroups() says whether it is there.
//
//   if (has_warpgroups()) multiply_by_warpgroups<LayerWay::forward>(cuda::on(stream), product, false);
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/models/layer_product.cuh"
#include "fae/models/tensor_core.cuh"
#include "fae/models/warpgroup.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// The smallest batch for which these kernels are used: eight tiles of rows.
inline constexpr std::size_t warpgroup_batch = 1024;

/// One product: forward out = relu(x weights^T + bias); back out = x weights^T where the layer below passed
/// its ReLU, rounded to TF32. Operands are rounded to TF32 as they are read.
/// @shape x [n, depth]; weights [weight_rows, depth], back they are the layer's transpose; out [n, columns];
///        passes [pass_words(n, columns)]
/// @units floats; depth and columns, which are strides too, are multiples of 4; operands are 16-byte aligned
struct WarpgroupProduct {
    const float* x = nullptr;
    const float* weights = nullptr;
    const float* bias = nullptr;  ///< forward: [columns]
    unsigned* passes = nullptr;   ///< forward writes, back reads them; null: all pass, and nobody asks
    float* out = nullptr;
    std::size_t n = 0;
    unsigned depth = 0;
    unsigned columns = 0;
    unsigned weight_rows = 0;
};

/// How a product is cut: 128 x Columns results are a tile, of which each warp group of a pair has 64 x
/// Columns. A block has two pairs, which take its tiles in turn, so that one multiplies while the other
/// writes; and a warp that asks for operands.
template <unsigned Columns>
struct WarpgroupTile {
    static constexpr unsigned rows = 128;
    static constexpr unsigned columns = Columns;
    static constexpr unsigned pair = 256;  ///< threads
    static constexpr unsigned threads = 2 * pair + 32;
    static constexpr unsigned depth = box_columns;              ///< of a stage
    static constexpr unsigned stages = Columns == 128 ? 6 : 8;  ///< in flight
    static constexpr unsigned x_floats = rows * depth;
    static constexpr unsigned stage_floats = x_floats + Columns * depth;
    static constexpr unsigned sums = Columns / 2;  ///< a thread's results
    static constexpr unsigned words = sums / 32;   ///< of bits, a thread's
    /// With room to start at a multiple of 1,024.
    static constexpr std::size_t bytes = std::size_t{stages} * stage_floats * sizeof(float) + 1024;

    [[nodiscard]] static std::size_t row_tiles(std::size_t n) { return ceil_div<std::size_t>(n, rows); }
    [[nodiscard]] static std::size_t column_tiles(std::size_t width) {
        return ceil_div<std::size_t>(width, Columns);
    }
};

/// Words of bits for results [n, columns], and for any fewer rows.
[[nodiscard]] inline std::size_t pass_words(std::size_t n, std::size_t columns) {
    using Tile = WarpgroupTile<128>;
    return Tile::row_tiles(n) * Tile::column_tiles(columns) * Tile::pair * Tile::words;
}

/// What the kernel is given.
struct WarpgroupJob {
    CUtensorMap x;
    CUtensorMap weights;
    const float* bias;
    unsigned* passes;
    float* out;
    std::size_t n;
    unsigned depth;
    unsigned columns;
    unsigned column_tiles;
    unsigned tiles;
};

/// @par Launch Tile::threads threads; at most as many blocks as there are multiprocessors: block b has the
/// tiles b, b + gridDim.x, ..., columns first. The depth comes in stages of 32; a sum runs over ascending
/// depth, in eights that the tensor cores add in an order of their own.
template <class Tile, LayerWay Way>
__global__ void __launch_bounds__(Tile::threads, 1)
    warpgroup_kernel(const __grid_constant__ WarpgroupJob job) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
    constexpr bool forward = Way == LayerWay::forward;
    constexpr unsigned stages = Tile::stages;
    extern __shared__ float4 box_memory[];
    __shared__ GroupBarrier full[stages];
    __shared__ GroupBarrier empty[stages];
    __shared__ GroupBarrier order[2];  // a pair's turn to multiply
    float* const memory = reinterpret_cast<float*>(box_memory) +
                          (1024 - shared_address(box_memory) % 1024) % 1024 / sizeof(float);
    const unsigned rounds = ceil_div(job.depth, Tile::depth);
    // The same in all lanes, and known to be.
    const unsigned warp = __shfl_sync(~0u, threadIdx.x / 32, 0);

    if (threadIdx.x == 0) {
        // The producer arrives with bytes to come; of a pair that has read a stage, each warp group.
        for (unsigned s = 0; s < stages; ++s) {
            full[s].start(1);
            empty[s].start(2);
        }
        order[0].start(2);
        order[1].start(2);
        publish_barriers();
    }
    __syncthreads();
    wait_for_previous();
    if (warp == 2 * Tile::pair / 32) {
        if (threadIdx.x % 32 != 0) return;
        unsigned s = 0;
        unsigned turn = 1;  // of empty stages, which nobody waits for at first
        for (unsigned tile = blockIdx.x; tile < job.tiles; tile += gridDim.x) {
            const unsigned row = tile / job.column_tiles * Tile::rows;
            const unsigned column = tile % job.column_tiles * Tile::columns;
            for (unsigned round = 0; round < rounds; ++round) {
                empty[s].wait(turn);
                full[s].arrive_and_expect(Tile::stage_floats * sizeof(float));
                float* const to = memory + s * Tile::stage_floats;
                ask_box(to, job.x, round * Tile::depth, row, full[s]);
                ask_box(to + Tile::x_floats, job.weights, round * Tile::depth, column, full[s]);
                s = s + 1 == stages ? 0 : s + 1;
                turn ^= s == 0 ? 1 : 0;
            }
        }
        return;
    }

    const unsigned lane = threadIdx.x % 32;
    const unsigned pair = warp / 8;
    const unsigned group = warp / 4 % 2;
    const unsigned quarter = lane % 4;
    const unsigned me = threadIdx.x % Tile::pair;
    unsigned at_round = pair * rounds;  // of all rounds of the block
    unsigned turn = 1 - pair;           // the first pair's first is at once
    for (unsigned tile = blockIdx.x + pair * gridDim.x; tile < job.tiles; tile += 2 * gridDim.x) {
        const unsigned row = tile / job.column_tiles * Tile::rows;
        const unsigned column = tile % job.column_tiles * Tile::columns;
        unsigned passes[Tile::words] = {};
        unsigned* const words = job.passes + (std::size_t{tile} * Tile::pair + me) * Tile::words;
        if constexpr (!forward) {
            if (job.passes != nullptr) {
#pragma unroll
                for (unsigned w = 0; w < Tile::words; ++w) passes[w] = words[w];
            }
        }
        float sum[Tile::sums] = {};
        // A stage's barrier knows odd turns from even ones: whoever waits has seen all turns but one.
        order[pair].wait(turn);
        turn ^= 1;
#pragma unroll 1
        for (unsigned round = 0; round < rounds; ++round, ++at_round) {
            const unsigned s = at_round % stages;
            full[s].wait(at_round / stages % 2);
            const float* const stage = memory + s * Tile::stage_floats;
            const std::uint64_t a = operand_at(stage + group * 64 * Tile::depth);
            const std::uint64_t b = operand_at(stage + Tile::x_floats);
            begin_group_products();
#pragma unroll
            for (unsigned k = 0; k < Tile::depth / 8; ++k) {
                multiply_add_group(sum, a + k * next_depth, b + k * next_depth, true);
            }
            end_group_products();
            wait_for_group_products<1>();
            // The stage of the round before has been read.
            if (round != 0 && threadIdx.x % 128 == 0) empty[(at_round - 1) % stages].arrive();
        }
        if (threadIdx.x % 128 == 0) order[1 - pair].arrive();
        wait_for_group_products<0>();
        settle(sum);
        if (threadIdx.x % 128 == 0) empty[(at_round - 1) % stages].arrive();
        at_round += rounds;  // the other pair's

        // A lane has columns 2 quarter and 2 quarter + 1 of every eight, of two rows. Two neighbours exchange
        // theirs so that the even one has four in a row of the first eight of 16 columns, the odd one of the
        // second.
        const bool odd = lane % 2 != 0;
        const unsigned top = row + group * 64 + warp % 4 * 16 + lane / 4;
        const unsigned first = column + (odd ? 8 : 0) + quarter / 2 * 4;
#pragma unroll
        for (unsigned j = 0; j < Tile::columns / 16; ++j) {
            float mine[2][4];
#pragma unroll
            for (unsigned r = 0; r < 2; ++r) {
                const float* const low = &sum[j * 8 + r * 2];
                const float* const high = low + 4;
                const float x = __shfl_xor_sync(~0u, odd ? low[0] : high[0], 1);
                const float y = __shfl_xor_sync(~0u, odd ? low[1] : high[1], 1);
                mine[r][0] = odd ? x : low[0];
                mine[r][1] = odd ? y : low[1];
                mine[r][2] = odd ? high[0] : x;
                mine[r][3] = odd ? high[1] : y;
            }
            const unsigned at = first + j * 16;
            const bool inside = at < job.columns;
            if constexpr (forward) {
                float4 bias{0, 0, 0, 0};
                if (inside) bias = *reinterpret_cast<const float4*>(job.bias + at);
#pragma unroll
                for (unsigned r = 0; r < 2; ++r) {
                    mine[r][0] = __fadd_rn(mine[r][0], bias.x);
                    mine[r][1] = __fadd_rn(mine[r][1], bias.y);
                    mine[r][2] = __fadd_rn(mine[r][2], bias.z);
                    mine[r][3] = __fadd_rn(mine[r][3], bias.w);
#pragma unroll
                    for (unsigned e = 0; e < 4; ++e) {
                        // NaN is not below 0, and stays.
                        if (mine[r][e] <= 0) mine[r][e] = 0.0f;
                        if (mine[r][e] > 0) passes[j / 4] |= 1u << (j % 4 * 8 + r * 4 + e);
                    }
                }
            } else {
#pragma unroll
                for (unsigned r = 0; r < 2; ++r) {
#pragma unroll
                    for (unsigned e = 0; e < 4; ++e) {
                        const bool passing =
                            job.passes == nullptr || (passes[j / 4] >> (j % 4 * 8 + r * 4 + e) & 1u) != 0;
                        mine[r][e] = passing ? rounded(mine[r][e]) : 0.0f;
                    }
                }
            }
#pragma unroll
            for (unsigned r = 0; r < 2; ++r) {
                if (!inside || top + r * 8 >= job.n) continue;
                *reinterpret_cast<float4*>(job.out + std::size_t{top + r * 8} * job.columns + at) =
                    float4{mine[r][0], mine[r][1], mine[r][2], mine[r][3]};
            }
        }
        if constexpr (forward) {
            if (job.passes != nullptr) {
#pragma unroll
                for (unsigned w = 0; w < Tile::words; ++w) words[w] = passes[w];
            }
        }
    }
#endif
}

template <class Tile, LayerWay Way>
void launch_by_warpgroups(On on, const WarpgroupProduct& product, bool behind) {
    allow_shared_bytes(warpgroup_kernel<Tile, Way>, Tile::bytes);
    WarpgroupJob job;
    job.x = box_map(product.x, product.n, product.depth, product.depth, Tile::rows);
    job.weights = box_map(product.weights, product.weight_rows, product.depth, product.depth, Tile::columns);
    job.bias = product.bias;
    job.passes = product.passes;
    job.out = product.out;
    job.n = product.n;
    job.depth = product.depth;
    job.columns = product.columns;
    job.column_tiles = static_cast<unsigned>(Tile::column_tiles(product.columns));
    job.tiles = static_cast<unsigned>(Tile::row_tiles(product.n)) * job.column_tiles;
    const auto most = static_cast<unsigned>(current_device().multiprocessors);
    launch(on, behind, "warpgroup_kernel", warpgroup_kernel<Tile, Way>, std::min(job.tiles, most),
           Tile::threads, Tile::bytes, job);
}

/// Whether the kernels here are more than their names on the current device: it is of compute capability 9.0
/// and the binary holds code for 9.0a.
/// @throws CudaError
[[nodiscard]] inline bool has_warpgroups() {
    cudaFuncAttributes code{};
    check(::cudaFuncGetAttributes(&code, warpgroup_kernel<WarpgroupTile<64>, LayerWay::forward>),
          "look at the device code");
    return code.sharedSizeBytes != 0;
}

/// Queues one product. Bits of passes are only read by a product of as many rows and columns on the same
/// device: results are cut into narrow tiles where wide ones would not occupy every multiprocessor.
/// @param behind  what is before it on the stream is one kernel
/// @pre   has_warpgroups()
/// @exec  cuda::On: queued, one kernel
/// @cost  reads x once for every 128 columns (64 where they are few), weights once for every 128 inputs
template <LayerWay Way>
void multiply_by_warpgroups(On on, const WarpgroupProduct& product, bool behind) {
    using Wide = WarpgroupTile<128>;
    const std::size_t tiles = Wide::row_tiles(product.n) * Wide::column_tiles(product.columns);
    if (product.columns <= 64 || tiles <= static_cast<std::size_t>(current_device().multiprocessors)) {
        launch_by_warpgroups<WarpgroupTile<64>, Way>(on, product, behind);
    } else {
        launch_by_warpgroups<Wide, Way>(on, product, behind);
    }
}

}  // namespace fae::inline FAE_ABI::cuda::detail
