// SPDX-License-Identifier: Apache-2.0
//
// The sort behind cuda::RowIndex (row_index.cuh): look-ups by row, stable, least digit first. Internal to it.
//
// Two ways. Where every bag is one look-up and no row belongs to two features, a cluster of blocks sorts the
// look-ups of a feature in shared memory, all passes in one kernel. Else (row, look-up) pairs are moved
// through device memory, one kernel per digit; a tile of pairs learns from the tiles before it where its
// pairs go. Only the bits that the row space needs are looked at. Nothing of a library is used: the first
// kernel makes the pairs from the batch while it moves them, and the digits of all passes are counted in one
// read.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/radix.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/cuda/tile_sums.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// How a look-up's value becomes the key that it is sorted by.
struct KeyRule {
    unsigned row_bits;
    bool one_tier;
    [[nodiscard]] unsigned bits() const { return row_bits + (one_tier ? 0u : 1u); }
    template <class Key, IndexType Index>
    __device__ Key key_of(Index located) const {
        Key row = static_cast<Key>(position_of(located));
        if (checked) row &= (Key{1} << row_bits) - 1;  // a row that is not there has been reported
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
    Key* keys;
    std::uint32_t* places;
};
/// The two arrays that a sort leaves in the memory of `lookups` pairs.
template <class Key>
[[nodiscard]] Sorted<Key> sorted_in(Pair<Key>* pairs, std::size_t lookups) {
    Key* const keys = reinterpret_cast<Key*>(pairs);
    return {keys, reinterpret_cast<std::uint32_t*>(keys + lookups)};
}

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

// ---- all look-ups, through device memory
// ---------------------------------------------------------------------

/// Pairs of a thread: few where there are few look-ups, for all multiprocessors to have some.
inline constexpr unsigned few_items = 4;
inline constexpr unsigned many_items = 13;
inline constexpr std::size_t many_pairs = std::size_t{1} << 19;
[[nodiscard]] constexpr unsigned items_for(std::size_t lookups) {
    return lookups < many_pairs ? few_items : many_items;
}

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

/// Zeroes words.
/// @par Launch a thread a word, stepping by the grid
template <class Word>
__global__ void clear_words(Word* words, std::uint32_t count) {
    let_next_launch();
    for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        words[i] = 0;
    }
}

/// Counts the digits of all passes. Each lane has counters of its own, so that no two lanes of a warp meet in
/// a bank of shared memory; where keys are wide, a few lanes share them.
/// @par Launch any grid of count_threads threads, stepping by the grid; counter_bytes() of shared memory
inline constexpr unsigned count_threads = 1024;
inline constexpr unsigned count_at_once = 14;                      ///< loads in flight
[[nodiscard]] constexpr unsigned counter_lanes(unsigned passes) {  // a power of two
    return passes <= 4 ? warp_size : 8;
}
[[nodiscard]] constexpr std::size_t counter_bytes(unsigned passes) {
    return std::size_t{passes} * digits * counter_lanes(passes) * sizeof(std::uint32_t);
}
template <class Key, IndexType Index>
__global__ void __launch_bounds__(count_threads)
    count_digits(Bags<Index> bags, KeyRule rule, Digits cut, unsigned lanes, std::uint32_t* counts) {
    constexpr unsigned most_passes = Digits::most_passes(sizeof(Key));
    extern __shared__ uint4 sort_words_memory[];
    std::uint32_t* const own = reinterpret_cast<std::uint32_t*>(sort_words_memory);
    let_next_launch();
    const auto lookups = static_cast<std::uint32_t>(bags.lookups());
    const unsigned mask = (1u << cut.width) - 1;
    const unsigned lane = threadIdx.x & (lanes - 1);
    const std::uint32_t step = gridDim.x * count_threads;
    std::uint32_t first = blockIdx.x * count_threads + threadIdx.x;
    Index value[count_at_once];
    const auto read = [&] {
#pragma unroll
        for (unsigned k = 0; k < count_at_once; ++k) {
            const std::uint64_t i = first + std::uint64_t{k} * step;
            if (i < lookups) value[k] = bags.values()[i];
        }
    };
    read();
    auto* const wide = reinterpret_cast<uint4*>(own);
    for (unsigned i = threadIdx.x; i < cut.passes * digits * lanes / 4; i += count_threads) wide[i] = {};
    __syncthreads();
    for (;;) {
#pragma unroll
        for (unsigned k = 0; k < count_at_once; ++k) {
            if (first + std::uint64_t{k} * step >= lookups) break;
            const Key key = rule.key_of<Key>(value[k]);
#pragma unroll
            for (unsigned p = 0; p < most_passes; ++p) {
                if (p < cut.passes) {
                    atomicAdd(&own[(p * digits + digit_of(key, p * cut.width, mask)) * lanes + lane], 1u);
                }
            }
        }
        if (first + std::uint64_t{count_at_once} * step >= lookups) break;
        first += count_at_once * step;
        read();
    }
    __syncthreads();
    wait_for_previous();
    for (unsigned d = threadIdx.x; d < cut.passes * digits; d += count_threads) {
        std::uint32_t count = 0;
        for (unsigned i = 0; i < lanes; ++i) count += own[d * lanes + ((i + threadIdx.x) & (lanes - 1))];
        if (count != 0) atomicAdd(&counts[d], count);
    }
}

/// What tiles know of the digits.
using DigitSums = TileSums<digits, 16>;

template <unsigned Items, class Key>
struct PairMemory {
    RankMemory rank;
    Pair<Key> pair[sort_threads * Items];
    std::uint32_t target[digits];  ///< where a digit's keys go, less where they lie in the tile
};

/// Division of a number below 2^28 by one that the host knows.
class Divisor {
  public:
    explicit Divisor(std::size_t by) {
        if (by <= 1) return;
        shift_ = static_cast<unsigned>(std::bit_width(by - 1)) - 1;
        factor_ = static_cast<std::uint32_t>(((std::uint64_t{1} << (32 + shift_)) + by - 1) / by);
    }
    [[nodiscard]] __device__ std::uint32_t divide(std::uint32_t number) const {
        return factor_ == 0 ? number : __umulhi(number, factor_) >> shift_;
    }

  private:
    std::uint32_t factor_ = 0;  ///< 2^(32 + shift) over the divisor, rounded up; 0: the divisor is 1
    unsigned shift_ = 0;
};

/// What a pass moves.
template <class Key, IndexType Index>
struct PairJob {
    Bags<Index> bags;
    KeyRule rule;
    Divisor bag_size;  ///< of fixed bags
    bool by_position;
    std::uint32_t* bag_at;       ///< [lookups] written by the first pass where bags are jagged, by position
    const std::uint32_t* count;  ///< [digits] of this pass
    DigitSums sums;              ///< of this pass, zeroed
    const Pair<Key>* from;       ///< the first pass makes pairs from the batch
    Pair<Key>* to;               ///< null: the last pass, which writes keys and places apart
    Key* keys;
    std::uint32_t* places;
    unsigned shift;
    unsigned mask;
};

/// Moves pairs by one digit; the first pass makes them.
/// @par Launch a block a tile of sort_threads * Items pairs
template <bool First, unsigned Items, class Key, IndexType Index>
__global__ void __launch_bounds__(sort_threads, 2) move_pairs(const PairJob<Key, Index> job) {
    constexpr std::uint32_t tile = sort_threads * Items;
    extern __shared__ uint4 sort_memory[];
    auto& memory = *reinterpret_cast<PairMemory<Items, Key>*>(sort_memory);
    const auto lookups = static_cast<std::uint32_t>(job.bags.lookups());
    const std::uint32_t first = blockIdx.x * tile;
    const unsigned d = threadIdx.x;
    let_next_launch();
    if constexpr (!First) wait_for_previous();
    Pair<Key> pair[Items];
    if constexpr (First) {
        Index value[Items];
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + key_place<Items>(k);
            value[k] = i < lookups ? job.bags.values()[i] : Index{0};
        }
        const bool divides = job.bags.is_fixed() && !job.by_position;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + key_place<Items>(k);
            pair[k] = {job.rule.template key_of<Key>(value[k]), divides ? job.bag_size.divide(i) : i};
        }
        if (!job.bags.is_fixed()) {
#pragma unroll
            for (unsigned k = 0; k < Items; ++k) {
                const std::uint32_t i = first + key_place<Items>(k);
                const std::uint32_t bag = i < lookups ? bag_of(job.bags, i) : 0;
                if (!job.by_position) {
                    pair[k].place = bag;
                } else if (i < lookups) {
                    job.bag_at[i] = bag;
                }
            }
        }
    } else {
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + key_place<Items>(k);
            if (i < lookups) pair[k] = job.from[i];
        }
    }
    // What is missing behind the last look-up has all bits set: a stable sort leaves it at the end.
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        if (first + key_place<Items>(k) >= lookups) pair[k] = {~Key{0}, 0};
    }
    std::uint16_t rank[Items];
    rank_in_warps(memory.rank, pair, job.shift, job.mask, rank);
    if constexpr (First) wait_for_previous();
    std::uint32_t total = 0;
    std::uint32_t start = 0;
    if (d < digits) {
        start = job.count[d];
#pragma unroll
        for (unsigned w = 0; w < sort_warps; ++w) total += memory.rank.of_warp[w][d];
        job.sums.put(blockIdx.x, d, total);
    }
    std::uint32_t local = total;
    scan_digits(memory.rank, start, local);
    if (d < digits) begin_warps(memory.rank, d, local);
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const unsigned digit = digit_of(pair[k].key, job.shift, job.mask);
        memory.pair[memory.rank.of_warp[d / warp_size][digit] + rank[k]] = pair[k];
    }
    if (d < digits) {
        const std::uint32_t before = job.sums.before(blockIdx.x, d);
        job.sums.pass_on(blockIdx.x, d, before);
        memory.target[d] = start + before - local;
    }
    __syncthreads();
    const std::uint32_t count = min(lookups - first, tile);
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const unsigned i = k * sort_threads + d;
        if (i < count) {
            const Pair<Key> moved = memory.pair[i];
            const std::uint32_t to = memory.target[digit_of(moved.key, job.shift, job.mask)] + i;
            if (job.to != nullptr) {
                job.to[to] = moved;
            } else {
                job.keys[to] = moved.key;
                job.places[to] = moved.place;
            }
        }
    }
}

/// Words that a sort needs zero: counts of digits, and what tiles know.
[[nodiscard]] constexpr std::size_t sort_words(std::size_t lookups, unsigned passes) {
    const std::size_t tiles = ceil_div<std::size_t>(lookups, std::size_t{sort_threads} * items_for(lookups));
    return passes * (digits + DigitSums::words(tiles));
}
/// Not fewer than any smaller batch needs.
template <class Key>
[[nodiscard]] constexpr std::size_t most_sort_words(std::size_t lookups) {
    constexpr unsigned passes = Digits::most_passes(sizeof(Key));
    return std::max(sort_words(lookups, passes), sort_words(std::min(lookups, many_pairs - 1), passes));
}

/// Sorts pairs of row and bag (or position). `words`, of which the last are the sort's, need not be zero.
template <class Key, IndexType Index>
Sorted<Key> sort_pairs(On on, const Bags<Index>& bags, KeyRule rule, bool by_position, std::uint32_t* bag_at,
                       Pair<Key>* const (&pairs)[2], Span<std::uint32_t> words) {
    const Digits cut(rule.bits());
    const auto lookups = static_cast<std::uint32_t>(bags.lookups());
    const auto multiprocessors = static_cast<std::uint32_t>(current_device().multiprocessors);
    std::uint32_t* const counts = words.data() + words.size() - sort_words(lookups, cut.passes);
    std::uint32_t* const sums = counts + cut.passes * digits;
    clear_words<<<launch_grid(words.size(), sort_threads), sort_threads, 0, on.stream>>>(
        words.data(), static_cast<std::uint32_t>(words.size()));
    check_launch("clear_words");
    const std::size_t counters = counter_bytes(cut.passes);
    allow_shared_bytes(count_digits<Key, Index>, counters);
    launch_behind(on, "launch of count_digits", count_digits<Key, Index>,
                  std::min(ceil_div(lookups, count_threads), multiprocessors), count_threads, counters, bags,
                  rule, cut, counter_lanes(cut.passes), counts);
    Sorted<Key> sorted{};
    const auto move = [&]<unsigned Items>(std::integral_constant<unsigned, Items>) {
        constexpr std::size_t bytes = sizeof(PairMemory<Items, Key>);
        const std::uint32_t tiles = ceil_div(lookups, sort_threads * Items);
        for (unsigned pass = 0; pass < cut.passes; ++pass) {
            const bool last = pass + 1 == cut.passes;
            sorted = sorted_in(pairs[pass % 2], lookups);
            const PairJob<Key, Index> job{bags,
                                          rule,
                                          Divisor(bags.bag_size()),
                                          by_position,
                                          bag_at,
                                          counts + pass * digits,
                                          DigitSums(sums + pass * DigitSums::words(tiles), tiles),
                                          pairs[1 - pass % 2],
                                          last ? nullptr : pairs[pass % 2],
                                          sorted.keys,
                                          sorted.places,
                                          pass * cut.width,
                                          (1u << cut.width) - 1};
            const auto kernel =
                pass == 0 ? move_pairs<true, Items, Key, Index> : move_pairs<false, Items, Key, Index>;
            allow_shared_bytes(kernel, bytes);
            launch_behind(on, "launch of move_pairs", kernel, tiles, sort_threads, bytes, job);
        }
    };
    if (items_for(lookups) == few_items) {
        move(std::integral_constant<unsigned, few_items>{});
    } else {
        move(std::integral_constant<unsigned, many_items>{});
    }
    return sorted;
}

}  // namespace fae::inline FAE_ABI::cuda::detail
