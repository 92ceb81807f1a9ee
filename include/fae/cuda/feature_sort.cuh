// SPDX-License-Identifier: Apache-2.0
//
// Sorts the look-ups of each feature by itself: a cluster of blocks holds them in shared memory, and all
// passes are one kernel. Internal to cuda::RowIndex; row_key.cuh says when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/radix.cuh"
#include "fae/cuda/row_key.cuh"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

inline constexpr unsigned most_cluster_blocks = 8;
inline constexpr unsigned most_feature_items = 8;
[[nodiscard]] inline std::size_t most_feature_lookups() {
    const std::size_t blocks = current_device().has_clusters ? most_cluster_blocks : 1;
    return blocks * sort_threads * most_feature_items;
}

template <unsigned Items, class Key>
struct FeatureMemory {
    RankMemory rank;
    Pair<Key> pair[sort_threads * Items];  ///< whole ones: each is one store into another block
    std::uint32_t base[digits];
    Key least[sort_warps];
    Key most[sort_warps];
    Key range[2];  ///< of this block's keys
};

/// Sorts the look-ups of a feature, one a sample, which a cluster of blocks shares.
/// @par Launch a cluster a feature, sort_threads threads a block
template <unsigned Items, class Key, IndexType Index>
__global__ void __launch_bounds__(sort_threads)
    sort_feature(Bags<Index> bags, KeyRule rule, Key* keys, std::uint32_t* places, std::uint32_t* zeros,
                 std::uint32_t zero_count) {
    constexpr unsigned block_keys = sort_threads * Items;
    extern __shared__ uint4 sort_memory[];
    auto& memory = *reinterpret_cast<FeatureMemory<Items, Key>*>(sort_memory);
    let_next_launch();
    for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < zero_count;
         i += gridDim.x * blockDim.x) {
        zeros[i] = 0;
    }
    const unsigned blocks = cluster_size();
    const unsigned block = cluster_rank();
    const std::uint32_t feature = blockIdx.x / blocks;
    const auto features = static_cast<std::uint32_t>(bags.features());
    const auto samples = static_cast<std::uint32_t>(bags.samples());
    Key key[Items];
    std::uint32_t sample[Items];
    Key least = ~Key{0};
    Key most = 0;
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        sample[k] = block * block_keys + key_place<Items>(k);
        key[k] = ~Key{0};
        if (sample[k] < samples) {
            key[k] = rule.key_of<Key>(bags.values()[std::size_t{sample[k]} * features + feature]);
            least = min(least, key[k]);
            most = max(most, key[k]);
        }
    }
    // Keys count from the least one of the feature, so only the bits that it needs are sorted.
    for (unsigned step = warp_size / 2; step != 0; step /= 2) {
        least = min(least, __shfl_xor_sync(all_lanes, least, static_cast<int>(step)));
        most = max(most, __shfl_xor_sync(all_lanes, most, static_cast<int>(step)));
    }
    if (threadIdx.x % warp_size == 0) {
        memory.least[threadIdx.x / warp_size] = least;
        memory.most[threadIdx.x / warp_size] = most;
    }
    __syncthreads();
#pragma unroll
    for (unsigned w = 0; w < sort_warps; ++w) {
        least = min(least, memory.least[w]);
        most = max(most, memory.most[w]);
    }
    if (threadIdx.x == 0) {
        memory.range[0] = least;
        memory.range[1] = most;
    }
    synchronise_cluster();
    {
        const Key* const range = in_block(memory.range, min(threadIdx.x % most_cluster_blocks, blocks - 1));
        least = range[0];
        most = range[1];
    }
    for (unsigned step = most_cluster_blocks / 2; step != 0; step /= 2) {
        least = min(least, __shfl_xor_sync(all_lanes, least, static_cast<int>(step)));
        most = max(most, __shfl_xor_sync(all_lanes, most, static_cast<int>(step)));
    }
    unsigned bits = 0;
    for (Key range = most - least; range != 0; range >>= 1) {
        ++bits;
    }
    // What is missing behind the last sample has all bits set: a stable sort leaves it at the end.
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        key[k] = sample[k] < samples ? key[k] - least : ~Key{0};
    }
    const unsigned passes = (bits + digit_bits - 1) / digit_bits;
    const unsigned width = passes == 0 ? 0 : (bits + passes - 1) / passes;
    const unsigned mask = (1u << width) - 1;
    for (unsigned pass = 0; pass < passes; ++pass) {
        const bool last = pass + 1 == passes;
        const unsigned shift = pass * width;
        std::uint16_t rank[Items];
        rank_keys(memory.rank, key, shift, mask, rank);
        synchronise_cluster();  // all blocks have read their keys and counted
        std::uint32_t before = 0;
        std::uint32_t total = 0;
        if (threadIdx.x < digits) {
#pragma unroll
            for (unsigned b = 0; b < most_cluster_blocks; ++b) {
                const std::uint32_t count = in_block(memory.rank.total, min(b, blocks - 1))[threadIdx.x];
                before += b < block ? count : 0;
                total += b < blocks ? count : 0;
            }
        }
        scan_digits(memory.rank, total);
        if (threadIdx.x < digits) memory.base[threadIdx.x] = total + before;
        __syncthreads();
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const unsigned digit = digit_of(key[k], shift, mask);
            const std::uint32_t to =
                memory.base[digit] + memory.rank.of_warp[threadIdx.x / warp_size][digit] + rank[k];
            if (!last) {
                in_block(memory.pair, to / block_keys)[to % block_keys] = {key[k], sample[k]};
            } else if (to < samples) {
                keys[feature * samples + to] = key[k] + least;
                places[feature * samples + to] = sample[k] * features + feature;
            }
        }
        synchronise_cluster();  // also: no block ends while another reads its counts
        if (last) return;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const Pair<Key> pair = memory.pair[key_place<Items>(k)];
            key[k] = pair.key;
            sample[k] = pair.place;
        }
    }
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const std::uint32_t i = block * block_keys + key_place<Items>(k);
        if (i < samples) {
            keys[feature * samples + i] = least;  // all keys are equal
            places[feature * samples + i] = sample[k] * features + feature;
        }
    }
    synchronise_cluster();  // no block ends while another reads its range
}

/// Sorts the look-ups of every feature by itself, which needs that no two features share a row.
template <class Key, IndexType Index>
Sorted<Key> sort_features(On on, const Bags<Index>& bags, KeyRule rule, const Sorted<Key>& sorted,
                          std::uint32_t* zeros, std::uint32_t zero_count) {
    const auto launch = [&](auto items) {
        constexpr unsigned of_thread = decltype(items)::value;
        using Memory = FeatureMemory<of_thread, Key>;
        const auto kernel = sort_feature<of_thread, Key, Index>;
        allow_shared_bytes(kernel, sizeof(Memory));
        unsigned blocks = 1;
        while (std::size_t{blocks} * sort_threads * of_thread < bags.samples()) blocks *= 2;
        cudaLaunchAttribute attribute{};
        attribute.id = cudaLaunchAttributeClusterDimension;
        attribute.val.clusterDim.x = blocks;
        attribute.val.clusterDim.y = 1;
        attribute.val.clusterDim.z = 1;
        cudaLaunchConfig_t config{};
        config.gridDim = static_cast<unsigned>(bags.features()) * blocks;
        config.blockDim = sort_threads;
        config.dynamicSmemBytes = sizeof(Memory);
        config.stream = on.stream;
        config.attrs = &attribute;
        config.numAttrs = current_device().has_clusters ? 1 : 0;
        check(
            ::cudaLaunchKernelEx(&config, kernel, bags, rule, sorted.keys, sorted.places, zeros, zero_count),
            "launch of sort_feature");
    };
    const std::size_t samples = bags.samples();
    const std::size_t blocks = current_device().has_clusters ? most_cluster_blocks : 1;
    if (samples <= blocks * sort_threads * 2) {
        launch(std::integral_constant<unsigned, 2>{});
    } else if (samples <= blocks * sort_threads * 4) {
        launch(std::integral_constant<unsigned, 4>{});
    } else {
        launch(std::integral_constant<unsigned, most_feature_items>{});
    }
    return sorted;
}

}  // namespace fae::inline FAE_ABI::cuda::detail
