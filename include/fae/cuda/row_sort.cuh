// SPDX-License-Identifier: Apache-2.0
//
// The sort behind cuda::RowIndex (row_index.cuh): look-ups by row, stable, least digit first. Internal to it.
//
// Two ways. Where every bag is one look-up and no row belongs to two features, a cluster of blocks sorts the
// look-ups of a feature in shared memory, all passes in one kernel.
// look-up) pairs are moved through device memory, one kernel per digit; a tile of pairs learns from the tiles
// before it where its pairs go. Only the bits that the row space needs are looked at. Nothing of a library is
// used: the first kernel makes the pairs from the batch while it moves them, and the digits of all passes are
// counted in one read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/radix.cuh"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// How a look-up's value becomes the key that it is sorted by.
struct KeyRule {
    unsigned row_bits;
    bool one_tier;
    [[nodiscard]] unsigned bits() const { return row_bits + (one_tier ? 0u : 1u); }
    template <class Key, IndexType Index>
    __device__ Key key_of(Index located) const {
        const Key row = static_cast<Key>(position_of(located));
        return one_tier || !is_fast(located) ? row : row | Key{1} << row_bits;
    }
};

/// The bag of a look-up, where bags are jagged: the last that begins at or before it.
template <IndexType Index>
__device__ std::uint32_t bag_of(const Bags<Index>& bags, std::uint64_t position) {
    const std::uint64_t* const offsets = bags.offsets().data();
    std::size_t low = 0;
    std::size_t high = bags.size();
    while (high - low > 1) {
        const std::size_t middle = low + (high - low) / 2;
        if (offsets[middle] <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return static_cast<std::uint32_t>(low);
}

template <class Key>
struct Sorted {
    const Key* keys;
    std::uint32_t* places;
};

// ---- one feature, in the shared memory of a cluster
// ----------------------------------------------------------

inline constexpr unsigned most_cluster_blocks = 8;
inline constexpr unsigned most_feature_items = 8;
[[nodiscard]] inline std::size_t most_feature_lookups() {
    const std::size_t blocks = current_device().has_clusters ? most_cluster_blocks : 1;
    return blocks * sort_threads * most_feature_items;
}

template <unsigned Items, class Key>
struct FeatureMemory {
    RankMemory rank;
    Key key[sort_threads * Items];
    std::uint32_t sample[sort_threads * Items];
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
    extern __shared__ std::uint64_t sort_memory[];
    auto& memory = *reinterpret_cast<FeatureMemory<Items, Key>*>(sort_memory);
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
#pragma unroll
    for (unsigned b = 0; b < most_cluster_blocks; ++b) {
        const Key* const range = in_block(memory.range, min(b, blocks - 1));
        least = min(least, range[0]);
        most = max(most, range[1]);
    }
    unsigned bits = 0;
    for (Key range = most - least; range != 0; range >>= 1) ++bits;
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
        const std::uint32_t start = scan_digits(memory.rank, total);
        if (threadIdx.x < digits) memory.base[threadIdx.x] = start + before;
        __syncthreads();
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const unsigned digit = digit_of(key[k], shift, mask);
            const std::uint32_t to =
                memory.base[digit] + memory.rank.of_warp[threadIdx.x / warp_size][digit] + rank[k];
            if (!last) {
                in_block(memory.key, to / block_keys)[to % block_keys] = key[k];
                in_block(memory.sample, to / block_keys)[to % block_keys] = sample[k];
            } else if (to < samples) {
                keys[feature * samples + to] = key[k] + least;
                places[feature * samples + to] = sample[k] * features + feature;
            }
        }
        synchronise_cluster();  // also: no block ends while another reads its counts
        if (last) return;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            key[k] = memory.key[key_place<Items>(k)];
            sample[k] = memory.sample[key_place<Items>(k)];
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
Sorted<Key> sort_features(On on, const Bags<Index>& bags, KeyRule rule, Key* keys, std::uint32_t* places,
                          std::uint32_t* zeros, std::uint32_t zero_count) {
    const auto launch = [&](auto items) {
        constexpr unsigned of_thread = decltype(items)::value;
        using Memory = FeatureMemory<of_thread, Key>;
        const auto kernel = sort_feature<of_thread, Key, Index>;
        if constexpr (sizeof(Memory) > 48 * 1024) {
            check(::cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(sizeof(Memory))),
                  "reservation of shared memory");
        }
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
        check(::cudaLaunchKernelEx(&config, kernel, bags, rule, keys, places, zeros, zero_count),
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
    return {keys, places};
}

// ---- all look-ups, through device memory
// ---------------------------------------------------------------------

inline constexpr unsigned pair_items = 13;
inline constexpr unsigned pair_tile = sort_threads * pair_items;

/// How the bits of a key are cut into digits.
struct Digits {
    unsigned passes;
    unsigned width;
    explicit Digits(unsigned bits)
        : passes((bits + digit_bits - 1) / digit_bits), width((bits + passes - 1) / passes) {}
    [[nodiscard]] FAE_HD static constexpr unsigned most_passes(std::size_t key_bytes) {
        return static_cast<unsigned>(key_bytes * 8 / digit_bits);
    }
};

/// Counts the digits of all passes.
/// @par Launch any grid of sort_threads threads, stepping by the grid
template <class Key, IndexType Index>
__global__ void __launch_bounds__(sort_threads)
    count_digits(Bags<Index> bags, KeyRule rule, Digits cut, std::uint32_t* counts) {
    constexpr unsigned most_passes = Digits::most_passes(sizeof(Key));
    __shared__ std::uint32_t own[most_passes][digits];
    for (unsigned d = threadIdx.x; d < cut.passes * digits; d += sort_threads)
        own[d / digits][d % digits] = 0;
    __syncthreads();
    const auto lookups = static_cast<std::uint32_t>(bags.lookups());
    const unsigned mask = (1u << cut.width) - 1;
    for (std::uint32_t i = blockIdx.x * sort_threads + threadIdx.x; i < lookups;
         i += gridDim.x * sort_threads) {
        const Key key = rule.key_of<Key>(bags.values()[i]);
#pragma unroll
        for (unsigned p = 0; p < most_passes; ++p) {
            if (p < cut.passes) atomicAdd(&own[p][digit_of(key, p * cut.width, mask)], 1u);
        }
    }
    __syncthreads();
    for (unsigned d = threadIdx.x; d < cut.passes * digits; d += sort_threads) {
        const std::uint32_t count = own[d / digits][d % digits];
        if (count != 0) atomicAdd(&counts[d], count);
    }
}

/// What a tile knows of a digit, in one word: its own keys, or those of all tiles up to it.
inline constexpr std::uint32_t own_keys = 1u << 30;
inline constexpr std::uint32_t all_keys = 2u << 30;
inline constexpr std::uint32_t key_count = own_keys - 1;

/// The keys of a digit in all tiles before this one. One thread a digit; tiles start in order, so those
/// before it end.
__device__ inline std::uint32_t keys_before(const volatile std::uint32_t* found, std::uint32_t tile) {
    constexpr unsigned at_once = 32;  // all tiles may be there at once
    std::uint32_t sum = 0;
    std::int64_t last = static_cast<std::int64_t>(tile) - 1;
    while (last >= 0) {
        std::uint32_t word[at_once];
#pragma unroll
        for (unsigned i = 0; i < at_once; ++i) {
            word[i] = last >= i ? found[(last - i) * digits] : 0;
        }
#pragma unroll
        for (unsigned i = 0; i < at_once; ++i) {
            if (word[i] == 0) break;  // not known yet, or before the first
            sum += word[i] & key_count;
            if (word[i] >= all_keys) return sum;
            --last;
        }
    }
    return sum;
}

template <class Key>
struct PairMemory {
    RankMemory rank;
    Key key[pair_tile];
    std::uint32_t place[pair_tile];
    std::uint32_t local[digits];   ///< where a digit begins in the tile
    std::uint32_t target[digits];  ///< where its keys go, less that
};

/// What a pass moves.
template <class Key, IndexType Index>
struct PairJob {
    Bags<Index> bags;
    KeyRule rule;
    bool by_position;
    std::uint32_t* bag_at;       ///< [lookups] written by the first pass where bags are jagged, by position
    const std::uint32_t* count;  ///< [digits] of this pass
    std::uint32_t* found;        ///< [tiles, digits] of this pass, zeroed
    const Key* from;
    const std::uint32_t* from_places;
    Key* to;
    std::uint32_t* to_places;
    unsigned shift;
    unsigned mask;
};

/// Moves pairs by one digit; the first pass makes them.
/// @par Launch a block a tile of pair_tile pairs
template <bool First, class Key, IndexType Index>
__global__ void __launch_bounds__(sort_threads, 2) move_pairs(PairJob<Key, Index> job) {
    extern __shared__ std::uint64_t sort_memory[];
    auto& memory = *reinterpret_cast<PairMemory<Key>*>(sort_memory);
    const auto lookups = static_cast<std::uint32_t>(job.bags.lookups());
    const std::uint32_t first = blockIdx.x * pair_tile;
    Key key[pair_items];
    std::uint32_t place[pair_items];
#pragma unroll
    for (unsigned k = 0; k < pair_items; ++k) {
        const std::uint32_t i = first + key_place<pair_items>(k);
        key[k] = ~Key{0};
        place[k] = 0;
        if (i >= lookups) continue;
        if constexpr (First) {
            key[k] = job.rule.template key_of<Key>(job.bags.values()[i]);
            place[k] = i;
            if (job.bags.is_fixed()) {
                if (!job.by_position) place[k] = i / static_cast<std::uint32_t>(job.bags.bag_size());
            } else {
                const std::uint32_t bag = bag_of(job.bags, i);
                if (job.by_position) {
                    job.bag_at[i] = bag;
                } else {
                    place[k] = bag;
                }
            }
        } else {
            key[k] = job.from[i];
            place[k] = job.from_places[i];
        }
    }
    std::uint16_t rank[pair_items];
    rank_keys(memory.rank, key, job.shift, job.mask, rank);
    const unsigned d = threadIdx.x;
    const std::uint32_t total = d < digits ? memory.rank.total[d] : 0;
    if (d < digits) {
        volatile std::uint32_t* const found = job.found + blockIdx.x * std::size_t{digits};
        found[d] = (blockIdx.x == 0 ? all_keys : own_keys) | total;
    }
    const std::uint32_t start = scan_digits(memory.rank, d < digits ? job.count[d] : 0);
    const std::uint32_t local = scan_digits(memory.rank, total);
    if (d < digits) memory.local[d] = local;
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < pair_items; ++k) {
        const unsigned digit = digit_of(key[k], job.shift, job.mask);
        const std::uint32_t to =
            memory.local[digit] + memory.rank.of_warp[threadIdx.x / warp_size][digit] + rank[k];
        memory.key[to] = key[k];
        memory.place[to] = place[k];
    }
    if (d < digits) {
        const std::uint32_t before = keys_before(job.found + d, blockIdx.x);
        if (blockIdx.x != 0) {
            volatile std::uint32_t* const found = job.found + blockIdx.x * std::size_t{digits};
            found[d] = all_keys | (before + total);
        }
        memory.target[d] = start + before - local;
    }
    __syncthreads();
    const std::uint32_t count = min(lookups - first, pair_tile);
#pragma unroll
    for (unsigned k = 0; k < pair_items; ++k) {
        const unsigned i = k * sort_threads + threadIdx.x;
        if (i < count) {
            const Key moved = memory.key[i];
            const std::uint32_t to = memory.target[digit_of(moved, job.shift, job.mask)] + i;
            job.to[to] = moved;
            job.to_places[to] = memory.place[i];
        }
    }
}

/// Words that a sort needs zero: counts of digits, and what tiles know.
template <class Key>
[[nodiscard]] constexpr std::size_t sort_words(std::size_t lookups) {
    return Digits::most_passes(sizeof(Key)) * digits * (1 + ceil_div<std::size_t>(lookups, pair_tile));
}

/// Sorts pairs of row and bag (or position). `zeros` of sort_words words have been zeroed.
template <class Key, IndexType Index>
Sorted<Key> sort_pairs(On on, const Bags<Index>& bags, KeyRule rule, bool by_position, std::uint32_t* bag_at,
                       Key* const (&keys)[2], std::uint32_t* const (&places)[2], std::uint32_t* zeros) {
    const Digits cut(rule.bits());
    const auto lookups = static_cast<std::uint32_t>(bags.lookups());
    const std::uint32_t tiles = ceil_div(lookups, pair_tile);
    std::uint32_t* const counts = zeros;
    std::uint32_t* found = zeros + cut.passes * digits;
    const auto grid =
        static_cast<unsigned>(min(tiles, 4 * static_cast<std::uint32_t>(current_device().multiprocessors)));
    count_digits<Key, Index><<<grid, sort_threads, 0, on.stream>>>(bags, rule, cut, counts);
    check_launch("count_digits");
    constexpr std::size_t bytes = sizeof(PairMemory<Key>);
    for (unsigned pass = 0; pass < cut.passes; ++pass) {
        const PairJob<Key, Index> job{bags,
                                      rule,
                                      by_position,
                                      bag_at,
                                      counts + pass * digits,
                                      found + pass * std::size_t{tiles} * digits,
                                      keys[1 - pass % 2],
                                      places[1 - pass % 2],
                                      keys[pass % 2],
                                      places[pass % 2],
                                      pass * cut.width,
                                      (1u << cut.width) - 1};
        const auto kernel = pass == 0 ? move_pairs<true, Key, Index> : move_pairs<false, Key, Index>;
        if constexpr (bytes > 47 * 1024) {
            check(::cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(bytes)),
                  "reservation of shared memory");
        }
        kernel<<<tiles, sort_threads, bytes, on.stream>>>(job);
        check_launch("move_pairs");
    }
    const unsigned last = (cut.passes - 1) % 2;
    return {keys[last], places[last]};
}

}  // namespace fae::inline FAE_ABI::cuda::detail
