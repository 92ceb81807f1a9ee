// SPDX-License-Identifier: Apache-2.0
//
// The step that radix sorts are made of: a block ranks its keys by one digit, stable. Internal to
// feature_sort.cuh and pair_sort.cuh.
//
// Keys lie in the order of warps: item k of lane l of warp w is key (w * Items + k) * 32 + l of the block.
#pragma once

#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/cuda/lanes.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

inline constexpr unsigned digit_bits = 8;
inline constexpr unsigned digits = 1u << digit_bits;
inline constexpr unsigned sort_threads = 512;
inline constexpr unsigned sort_warps = sort_threads / warp_size;
static_assert(sort_threads >= digits);

struct RankMemory {
    alignas(16) unsigned lanes_with[sort_warps][digits];  ///< of a warp, those whose key has the digit
    alignas(16) std::uint16_t
        of_warp[sort_warps][digits];  ///< keys of a digit in a warp, then in the warps before it
    std::uint32_t total[digits];      ///< keys of a digit in the block
    std::uint32_t sums[3][digits / warp_size];
};

/// A look-up under way: its key, and its bag or position.
template <class Key>
struct alignas(2 * sizeof(Key)) Pair {
    Key key;
    std::uint32_t place;
};
template <class Key>
__device__ Key key_in(Key key) {
    return key;
}
template <class Key>
__device__ Key key_in(const Pair<Key>& pair) {
    return pair.key;
}

/// The position within its block of a thread's item.
template <unsigned Items>
__device__ unsigned key_place(unsigned item) {
    return (threadIdx.x / warp_size * Items + item) * warp_size + threadIdx.x % warp_size;
}

template <class Key>
__device__ unsigned digit_of(Key key, unsigned shift, unsigned mask) {
    return static_cast<unsigned>(key >> shift) & mask;
}

/// Ranks the keys of each warp, or pairs by their keys: rank[k] counts the keys of the same digit before item
/// k in its warp; of_warp is as said, for the warp alone. Ends with a barrier.
template <unsigned Items, class Item>
__device__ void rank_in_warps(RankMemory& memory, const Item (&item)[Items], unsigned shift, unsigned mask,
                              std::uint16_t (&rank)[Items]) {
    const unsigned lane = threadIdx.x % warp_size;
    std::uint16_t* const counts = memory.of_warp[threadIdx.x / warp_size];
    // Lanes of equal digits meet in a word of shared memory: eight ballots take longer, and the instruction
    // that compares lanes takes a turn for each different value; low digits are all different.
    unsigned* const lanes_with = memory.lanes_with[threadIdx.x / warp_size];
    auto* const wide_counts = reinterpret_cast<uint4*>(counts);
    auto* const wide_lanes = reinterpret_cast<uint4*>(lanes_with);
    for (unsigned d = lane; d < digits / 8; d += warp_size) wide_counts[d] = {};
    for (unsigned d = lane; d < digits / 4; d += warp_size) wide_lanes[d] = {};
    __syncwarp();
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const unsigned digit = digit_of(key_in(item[k]), shift, mask);
        atomicOr(lanes_with + digit, 1u << lane);
        __syncwarp();
        const unsigned peers = lanes_with[digit];
        const unsigned before = __popc(peers & ((1u << lane) - 1));
        const std::uint16_t seen = counts[digit];
        __syncwarp();
        if (before == 0) {
            counts[digit] = static_cast<std::uint16_t>(seen + __popc(peers));
            lanes_with[digit] = 0;
        }
        __syncwarp();
        rank[k] = static_cast<std::uint16_t>(seen + before);
    }
    __syncthreads();
}

/// Turns the warps' counts of a digit into where the warp's keys of it begin, if the block's begin at `from`;
/// returns how many the block has. By a thread for its digit.
__device__ inline std::uint32_t begin_warps(RankMemory& memory, unsigned digit, std::uint32_t from) {
    std::uint16_t of[sort_warps];
#pragma unroll
    for (unsigned w = 0; w < sort_warps; ++w) of[w] = memory.of_warp[w][digit];
    std::uint32_t at = from;
#pragma unroll
    for (unsigned w = 0; w < sort_warps; ++w) {
        memory.of_warp[w][digit] = static_cast<std::uint16_t>(at);
        at += of[w];
    }
    return at - from;
}

/// Ranks the block's keys: as rank_in_warps(), and of_warp and total are as said for the block. Ends with a
/// barrier.
template <unsigned Items, class Key>
__device__ void rank_keys(RankMemory& memory, const Key (&key)[Items], unsigned shift, unsigned mask,
                          std::uint16_t (&rank)[Items]) {
    rank_in_warps(memory, key, shift, mask, rank);
    if (threadIdx.x < digits) memory.total[threadIdx.x] = begin_warps(memory, threadIdx.x, 0);
    __syncthreads();
}

/// Turns the values of the first `digits` threads into their sums over the threads before each; all threads
/// call.
template <class... Value>
__device__ void scan_digits(RankMemory& memory, Value&... value) {
    const unsigned lane = threadIdx.x % warp_size;
    const unsigned warp = threadIdx.x / warp_size;
    std::uint32_t sum[] = {value...};
    std::uint32_t before[] = {value...};
    constexpr unsigned count = sizeof...(Value);
    static_assert(count <= sizeof(memory.sums) / sizeof(memory.sums[0]));
#pragma unroll
    for (unsigned step = 1; step < warp_size; step *= 2) {
#pragma unroll
        for (unsigned v = 0; v < count; ++v) {
            const std::uint32_t other = __shfl_up_sync(all_lanes, sum[v], step);
            if (lane >= step) sum[v] += other;
        }
    }
    __syncthreads();
    if (threadIdx.x < digits && lane == warp_size - 1) {
#pragma unroll
        for (unsigned v = 0; v < count; ++v) memory.sums[v][warp] = sum[v];
    }
    __syncthreads();
#pragma unroll
    for (unsigned v = 0; v < count; ++v) {
        before[v] = sum[v] - before[v];
#pragma unroll
        for (unsigned w = 0; w < digits / warp_size; ++w) {
            if (w < warp) before[v] += memory.sums[v][w];
        }
    }
    unsigned v = 0;
    ((value = before[v++]), ...);
}

/// Blocks that share their memory; where the device has no clusters, a block stands alone.
__device__ inline unsigned cluster_rank() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    return __clusterRelativeBlockRank();
#else
    return 0;
#endif
}
__device__ inline unsigned cluster_size() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    return __clusterSizeInBlocks();
#else
    return 1;
#endif
}
__device__ inline void synchronise_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    __cluster_barrier_arrive();
    __cluster_barrier_wait();
#else
    __syncthreads();
#endif
}
/// The same piece of shared memory in another block of the cluster.
template <class T>
__device__ T* in_block(T* piece, unsigned rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    return static_cast<T*>(__cluster_map_shared_rank(piece, rank));
#else
    static_cast<void>(rank);
    return piece;
#endif
}

}  // namespace fae::inline FAE_ABI::cuda::detail
