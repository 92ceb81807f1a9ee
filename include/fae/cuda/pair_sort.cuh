// SPDX-License-Identifier: Apache-2.0
//
// Sorts (row, place) pairs of all look-ups through device memory, a place being a bag or a position. Internal
// to cuda::RowIndex; row_key.cuh says when.
//
// One kernel counts the digits of all passes, one a pass moves the pairs, and a tile of pairs learns from the
// tiles before it where its pairs go. What a pass has sorted by is known of a pair from where it lies, so its
// digit does not travel: the next pass puts it where the digit that it moves by was. A pair of 24 bits of row
// and 16 of bag is then a word of 32 bits.
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
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/radix.cuh"
#include "fae/cuda/row_key.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/cuda/tile_sums.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// Pairs of a thread: few where there are few look-ups, for all multiprocessors to have some; more where
/// tiles of words then take two turns of the device instead of three.
inline constexpr unsigned few_items = 2;
inline constexpr unsigned many_items = 13;
inline constexpr unsigned most_items = 16;
inline constexpr std::size_t many_pairs = std::size_t{1} << 19;
inline constexpr std::size_t most_pairs = std::size_t{1} << 21;
[[nodiscard]] constexpr unsigned least_items_for(std::size_t lookups) {
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

// ---- counting

inline constexpr unsigned count_threads = 1024;
/// Blocks of so many threads that a multiprocessor has room for.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 800 || __CUDA_ARCH__ == 900 || __CUDA_ARCH__ / 100 == 10)
inline constexpr unsigned count_blocks = 2;
#else
inline constexpr unsigned count_blocks = 1;
#endif
inline constexpr unsigned count_at_once = 8;  ///< loads in flight, for two blocks to be on a multiprocessor
/// Lanes of a warp that have counters of their own, a power of two. All, so that no two lanes meet in a bank
/// of shared memory; a few where counters are many, or keys so few that clearing counters would take longer.
[[nodiscard]] constexpr unsigned counter_lanes(unsigned passes, std::size_t lookups) {
    return passes <= 3 && lookups >= many_pairs ? warp_size : 8;
}

/// Counts the digits of all passes.
/// @par Launch any grid of count_threads threads, stepping by the grid; a word of shared memory for each
/// pass, digit and lane of counter_lanes()
template <class Key, IndexType Index>
__global__ void __launch_bounds__(count_threads, count_blocks)
    count_digits(Bags<Index> bags, KeyRule rule, Digits cut, unsigned lanes, std::uint32_t* counts) {
    constexpr unsigned most_passes = Digits::most_passes(sizeof(Key));
    extern __shared__ uint4 counter_memory[];
    std::uint32_t* const own = reinterpret_cast<std::uint32_t*>(counter_memory);
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

// ---- moving

/// What tiles know of the digits.
using DigitSums = TileSums<digits, 16>;

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

/// True where a pair fits a word as it travels: all digits but one, and a place of `place_bits`.
[[nodiscard]] constexpr bool fits_word(const Digits& cut, unsigned place_bits) {
    return place_bits < 32 && (cut.passes - 1) * cut.width + place_bits <= 32;
}

/// What a pass moves.
template <class Key, IndexType Index>
struct PairJob {
    Bags<Index> bags;
    KeyRule rule;
    Divisor bag_size;  ///< of fixed bags
    bool by_position;
    std::uint32_t* bag_at;       ///< [lookups] written by the first pass where bags are jagged, by position
    const std::uint32_t* count;  ///< [digits] of this pass
    const std::uint32_t* count_before;  ///< [digits] of the pass before
    DigitSums sums;                     ///< of this pass, zeroed
    const void* from;                   ///< pairs, or words; the first pass makes them from the batch
    void* to;                           ///< null: the last pass, which writes keys and places apart
    Key* keys;
    std::uint32_t* places;
    unsigned shift;
    Digits cut;
    unsigned place_bits;  ///< of a word, the low ones; the key's other digits are above

    /// The bag or position of look-up i.
    [[nodiscard]] __device__ std::uint32_t place_of(std::uint32_t i) const {
        if (bags.is_fixed()) return by_position ? i : bag_size.divide(i);
        if (i >= bags.lookups()) return 0;
        const std::uint32_t bag = bag_of(bags, i);
        if (by_position) bag_at[i] = bag;
        return by_position ? i : bag;
    }
};

/// A tile in the order of its pairs' digits.
template <bool Words, unsigned Items, class Key>
struct TileMemory {
    RankMemory rank;
    std::conditional_t<Words, std::uint32_t, Pair<Key>> pair[sort_threads * Items];
    std::uint8_t digit[Words ? sort_threads * Items : 1];  ///< of each word
    std::uint32_t target[digits];             ///< where a digit's pairs go, less where they lie here
    std::uint32_t begin[Words ? digits : 1];  ///< of each digit of the pass before, among all
};

/// Moves pairs by one digit, as words if they fit; the first pass makes them.
/// @par Launch a block a tile of sort_threads * Items pairs
template <bool First, bool Words, unsigned Items, class Key, IndexType Index>
__global__ void __launch_bounds__(sort_threads, 2) move_pairs(const PairJob<Key, Index> job) {
    constexpr std::uint32_t tile = sort_threads * Items;
    // The first pass makes a word once it has ranked its key.
    using Item = std::conditional_t<!Words, Pair<Key>, std::conditional_t<First, Key, std::uint32_t>>;
    using Moved = std::conditional_t<Words, std::uint32_t, Pair<Key>>;
    extern __shared__ uint4 sort_memory[];
    auto& memory = *reinterpret_cast<TileMemory<Words, Items, Key>*>(sort_memory);
    const auto lookups = static_cast<std::uint32_t>(job.bags.lookups());
    const std::uint32_t first = blockIdx.x * tile;
    const unsigned d = threadIdx.x;
    const unsigned mask = (1u << job.cut.width) - 1;
    let_next_launch();
    if constexpr (!First) wait_for_previous();
    // What is missing behind the last look-up has all bits set: a stable sort leaves it at the end.
    Item item[Items];
    if constexpr (First) {
        Index value[Items];
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + key_place<Items>(k);
            value[k] = i < lookups ? job.bags.values()[i] : Index{0};
        }
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + key_place<Items>(k);
            const Key key = i < lookups ? job.rule.template key_of<Key>(value[k]) : ~Key{0};
            if constexpr (Words) {
                item[k] = key;
            } else {
                item[k] = {key, job.place_of(i)};
            }
        }
    } else {
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + key_place<Items>(k);
            if (i < lookups) item[k] = static_cast<const Item*>(job.from)[i];
        }
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            if (first + key_place<Items>(k) < lookups) continue;
            if constexpr (Words) {
                item[k] = ~0u;
            } else {
                item[k] = {~Key{0}, 0};
            }
        }
    }
    // Where the digit is in an item: of a word, where the digit before is put once this one has been dropped.
    const unsigned shift = Words && !First ? job.place_bits + job.shift - job.cut.width : job.shift;
    std::uint16_t rank[Items];
    rank_in_warps(memory.rank, item, shift, mask, rank);
    if constexpr (First) wait_for_previous();
    std::uint32_t total = 0;
    std::uint32_t start = 0;
    std::uint32_t begin = 0;
    if (d < digits) {
        start = job.count[d];
        if constexpr (Words && !First) begin = job.count_before[d];
#pragma unroll
        for (unsigned w = 0; w < sort_warps; ++w) total += memory.rank.of_warp[w][d];
        job.sums.put(blockIdx.x, d, total);
    }
    std::uint32_t local = total;
    if constexpr (Words && !First) {
        scan_digits(memory.rank, start, local, begin);
        if (d < digits) memory.begin[d] = begin;
    } else {
        scan_digits(memory.rank, start, local);
    }
    if (d < digits) begin_warps(memory.rank, d, local);
    __syncthreads();
    unsigned before = 0;  // the digit of the pass before
    if constexpr (Words && !First) {
#pragma unroll
        for (unsigned step = digits / 2; step != 0; step /= 2) {
            if (memory.begin[before + step] <= first + key_place<Items>(0)) before += step;
        }
    }
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const unsigned digit = digit_of(key_in(item[k]), shift, mask);
        const unsigned to = memory.rank.of_warp[d / warp_size][digit] + rank[k];
        if constexpr (!Words) {
            memory.pair[to] = item[k];
        } else {
            const std::uint32_t i = first + key_place<Items>(k);
            memory.digit[to] = static_cast<std::uint8_t>(digit);
            if constexpr (First) {
                memory.pair[to] = item[k] >> job.cut.width << job.place_bits | job.place_of(i);
            } else {
                while (before + 1 < digits && memory.begin[before + 1] <= i) ++before;
                memory.pair[to] = (item[k] & ~(mask << shift)) | before << shift;
            }
        }
    }
    if (d < digits) {
        const std::uint32_t of_tiles_before = job.sums.before(blockIdx.x, d);
        job.sums.pass_on(blockIdx.x, d, of_tiles_before);
        memory.target[d] = start + of_tiles_before - local;
    }
    __syncthreads();
    const std::uint32_t count = min(lookups - first, tile);
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const unsigned i = k * sort_threads + d;
        if (i >= count) continue;
        const Moved moved = memory.pair[i];
        Pair<Key> pair{};
        unsigned digit = 0;
        if constexpr (Words) {
            digit = memory.digit[i];
            pair = {moved >> job.place_bits | digit << job.shift, moved & ((1u << job.place_bits) - 1)};
        } else {
            digit = digit_of(moved.key, shift, mask);
            pair = moved;
        }
        const std::uint32_t to = memory.target[digit] + i;
        if (job.to != nullptr) {
            static_cast<Moved*>(job.to)[to] = moved;
        } else {
            job.keys[to] = pair.key;
            job.places[to] = pair.place;
        }
    }
}

/// Words that a sort needs zero: counts of digits, and what tiles know.
[[nodiscard]] constexpr std::size_t sort_words(std::size_t lookups, unsigned passes) {
    const std::size_t tiles =
        ceil_div<std::size_t>(lookups, std::size_t{sort_threads} * least_items_for(lookups));
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
    const unsigned lanes = counter_lanes(cut.passes, lookups);
    const std::size_t counter_bytes = cut.passes * digits * lanes * sizeof(std::uint32_t);
    allow_shared_bytes(count_digits<Key, Index>, counter_bytes);
    launch_behind(
        on, "launch of count_digits", count_digits<Key, Index>,
        std::min(ceil_div(lookups, count_threads), (lookups < many_pairs ? 1 : 2) * multiprocessors),
        count_threads, counter_bytes, bags, rule, cut, lanes, counts);
    const auto place_bits =
        static_cast<unsigned>(std::bit_width(std::uint64_t{by_position ? lookups : bags.size()} - 1));
    Sorted<Key> sorted{};
    const auto move = [&]<bool Words, unsigned Items>(std::bool_constant<Words>,
                                                      std::integral_constant<unsigned, Items>) {
        constexpr std::size_t bytes = sizeof(TileMemory<Words, Items, Key>);
        const std::uint32_t tiles = ceil_div(lookups, sort_threads * Items);
        for (unsigned pass = 0; pass < cut.passes; ++pass) {
            const bool first = pass == 0;
            const bool last = pass + 1 == cut.passes;
            sorted = sorted_in(pairs[pass % 2], lookups);
            const PairJob<Key, Index> job{bags,
                                          rule,
                                          Divisor(bags.bag_size()),
                                          by_position,
                                          bag_at,
                                          counts + pass * digits,
                                          first ? nullptr : counts + (pass - 1) * digits,
                                          DigitSums(sums + pass * DigitSums::words(tiles), tiles),
                                          pairs[1 - pass % 2],
                                          last ? nullptr : pairs[pass % 2],
                                          sorted.keys,
                                          sorted.places,
                                          pass * cut.width,
                                          cut,
                                          place_bits};
            const auto kernel = first ? move_pairs<true, Words, Items, Key, Index>
                                      : move_pairs<false, Words, Items, Key, Index>;
            allow_shared_bytes(kernel, bytes);
            launch_behind(on, "launch of move_pairs", kernel, tiles, sort_threads, bytes, job);
        }
    };
    const auto move_all = [&]<bool Words>(std::bool_constant<Words> as_words) {
        if (lookups < many_pairs) {
            move(as_words, std::integral_constant<unsigned, few_items>{});
        } else if (!Words || lookups < most_pairs) {
            move(as_words, std::integral_constant<unsigned, many_items>{});
        } else if constexpr (Words) {
            move(as_words, std::integral_constant<unsigned, most_items>{});
        }
    };
    if constexpr (sizeof(Key) == sizeof(std::uint32_t)) {
        if (fits_word(cut, place_bits)) {
            move_all(std::true_type{});
            return sorted;
        }
    }
    move_all(std::false_type{});
    return sorted;
}

}  // namespace fae::inline FAE_ABI::cuda::detail
