// SPDX-License-Identifier: Apache-2.0
//
// What is to be summed, made from sorted look-ups in one pass: the rows, where each begins, and lists of work
// of about equal size. Internal to RowIndex (row_index.cuh); the kernels of row_gradient.cuh walk the lists.
//
// A row of at most 16 contributions stands in the list of its size class; a group of lanes sums it at once. A
// longer row is cut as the law's tree is: into blocks of 64 contributions, `spans` of 64 blocks, and a
// `tower` where there is more than one span. The order of a list's entries means nothing: each is summed by
// itself, and what one list leaves to the next lies at a place that follows from where the row begins.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/lanes.cuh"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

inline constexpr std::uint32_t block_terms = 64;                        ///< the law's tree has this arity
inline constexpr std::uint32_t span_terms = block_terms * block_terms;  ///< contributions of a span
inline constexpr std::uint32_t short_terms = 16;                        ///< the most of a short row
inline constexpr unsigned size_classes = 5;  ///< 1, 2, 3 to 4, 5 to 8, 9 to 16 contributions
inline constexpr unsigned size_bits = 4;     ///< of a short row's size
/// Look-ups are numbered in 28 bits, so that a short row's size fits beside.
inline constexpr std::size_t most_lookups = std::size_t{1} << (32 - size_bits);
inline constexpr std::uint32_t no_place = ~0u;

/// Where the sum over a block, and over a span, of a row that begins at `begin` goes: rows of more than one
/// have at least 65 contributions (4,097), so the places of two rows never meet.
__host__ __device__ inline std::uint32_t block_place(std::uint32_t begin, std::uint32_t block) {
    return (begin + 31) / 32 + block;
}
__host__ __device__ inline std::uint32_t span_place(std::uint32_t begin, std::uint32_t span) {
    return (begin + 2047) / 2048 + span;
}
[[nodiscard]] constexpr std::size_t block_places(std::size_t lookups) { return lookups / 32 + 2; }
[[nodiscard]] constexpr std::size_t span_places(std::size_t lookups) { return lookups / 2048 + 2; }

/// Terms [from, from + count) of a row: contributions, or sums at places. The result goes to `place`, or is
/// the row's gradient where there is none.
struct alignas(16) SumEntry {
    std::uint32_t row;
    std::uint32_t from;
    std::uint32_t count;
    std::uint32_t place;
};

/// A row of at most 16 contributions: the first one, and how many less one in the top bits.
struct alignas(8) ShortEntry {
    std::uint32_t row;
    std::uint32_t from_and_size;
    __device__ std::uint32_t from() const { return from_and_size & ((1u << (32 - size_bits)) - 1); }
    __device__ std::uint32_t size() const { return (from_and_size >> (32 - size_bits)) + 1; }
};

/// How long the lists are.
struct ListSizes {
    std::uint32_t rows;
    std::uint32_t shorts[size_classes];
    std::uint32_t blocks;
    std::uint32_t spans;
    std::uint32_t towers;
};

/// The lists of work of a batch, in device memory.
struct WorkLists {
    ListSizes* sizes = nullptr;
    ShortEntry* shorts[size_classes] = {};
    SumEntry* blocks = nullptr;  ///< of contributions
    SumEntry* spans = nullptr;   ///< of blocks
    SumEntry* towers = nullptr;  ///< of spans

    [[nodiscard]] static constexpr std::size_t most_shorts(std::size_t lookups, unsigned size_class) {
        return lookups / (size_class == 0 ? 1 : (std::size_t{1} << (size_class - 1)) + 1) + 1;
    }
    [[nodiscard]] static constexpr std::size_t most_blocks(std::size_t lookups) {
        return lookups / (short_terms + 1) + 1;
    }
    [[nodiscard]] static constexpr std::size_t most_spans(std::size_t lookups) {
        return lookups / (block_terms + 1) + 1;
    }
    [[nodiscard]] static constexpr std::size_t most_towers(std::size_t lookups) {
        return lookups / (span_terms + 1) + 1;
    }
    [[nodiscard]] static constexpr std::size_t bytes(std::size_t lookups) {
        std::size_t sum = scratch_bytes<SumEntry>(most_blocks(lookups)) +
                          scratch_bytes<SumEntry>(most_spans(lookups)) +
                          scratch_bytes<SumEntry>(most_towers(lookups));
        for (unsigned c = 0; c < size_classes; ++c) sum += scratch_bytes<ShortEntry>(most_shorts(lookups, c));
        return sum;
    }
    /// All but the sizes.
    [[nodiscard]] static WorkLists take(std::size_t lookups, Workspace& workspace) {
        WorkLists lists;
        lists.blocks = workspace.take<SumEntry>(most_blocks(lookups)).data();
        lists.spans = workspace.take<SumEntry>(most_spans(lookups)).data();
        lists.towers = workspace.take<SumEntry>(most_towers(lookups)).data();
        for (unsigned c = 0; c < size_classes; ++c) {
            lists.shorts[c] = workspace.take<ShortEntry>(most_shorts(lookups, c)).data();
        }
        return lists;
    }
};

/// What a tile has found so far, and how far that reaches: one word, so that it is read whole.
inline constexpr std::uint64_t own_rows = std::uint64_t{1} << 32;  ///< the tile's own rows
inline constexpr std::uint64_t all_rows = std::uint64_t{2} << 32;  ///< those of all tiles up to it

/// The rows of all tiles before this one. By one whole warp; tiles start in order, so those before it end.
/// All tiles of a batch may be there at once, so many are looked at together.
__device__ inline std::uint32_t rows_before(volatile std::uint64_t* found, std::uint32_t tile) {
    constexpr unsigned at_once = 4;  // tiles a lane
    const unsigned lane = threadIdx.x % warp_size;
    std::uint32_t sum = 0;
    for (std::int64_t last = static_cast<std::int64_t>(tile) - 1; last >= 0; last -= warp_size * at_once) {
        std::uint64_t word[at_once];
        bool known = false;
        do {
            known = true;
#pragma unroll
            for (unsigned i = 0; i < at_once; ++i) {
                const std::int64_t at = last - i * warp_size - lane;
                word[i] = at >= 0 ? std::uint64_t{found[at]} : std::uint64_t{all_rows};
            }
#pragma unroll
            for (unsigned i = 0; i < at_once; ++i) known = known && word[i] >= own_rows;
        } while (!__all_sync(all_lanes, known));
#pragma unroll
        for (unsigned i = 0; i < at_once; ++i) {
            const unsigned whole = __ballot_sync(all_lanes, word[i] >= all_rows);
            const unsigned until =
                whole == 0 ? warp_size - 1 : static_cast<unsigned>(__ffs(static_cast<int>(whole))) - 1;
            sum += __reduce_add_sync(all_lanes, lane <= until ? static_cast<std::uint32_t>(word[i]) : 0u);
            if (whole != 0) return sum;
        }
    }
    return sum;
}

/// The first position in [low, high) whose key is not below (`above`: is above) `key`; by one whole warp.
/// Most rows are short, so the keys at the near end are looked at first.
template <bool above, class Key>
__device__ std::uint32_t search_keys(const Key* keys, std::uint32_t low, std::uint32_t high, Key key) {
    const unsigned lane = threadIdx.x % warp_size;
    const auto right_of = [&](std::uint32_t at) { return above ? keys[at] > key : keys[at] >= key; };
    const auto first_of = [](unsigned lanes) {
        return static_cast<unsigned>(__ffs(static_cast<int>(lanes))) - 1;
    };
    if constexpr (above) {
        const unsigned rights = __ballot_sync(all_lanes, low + lane >= high || right_of(low + lane));
        if (rights != 0) return min(low + first_of(rights), high);
        low += warp_size;
    } else if (high - low > warp_size) {
        const unsigned lefts = __ballot_sync(all_lanes, !right_of(high - 1 - lane));
        if (lefts != 0) return high - first_of(lefts);
        high -= warp_size;
    }
    while (low < high) {
        const std::uint32_t step = (high - low + warp_size - 1) / warp_size;
        const std::uint32_t at = low + lane * step;
        const unsigned rights = __ballot_sync(all_lanes, at >= high || right_of(at));
        const unsigned first = rights == 0 ? warp_size : first_of(rights);
        if (first == 0) return low;
        high = min(low + first * step, high);
        low = low + (first - 1) * step + 1;
    }
    return low;
}

/// What the lists are made from, and where everything goes.
template <class Key, IndexType Index>
struct ListJob {
    const Key* keys;              ///< [lookups] ascending
    const std::uint32_t* places;  ///< [lookups] bags, or positions if `by_position`
    std::uint32_t lookups;
    std::uint32_t segment;  ///< keys that ascend together: all, or those of a feature
    bool by_position;
    bool one_tier;      ///< the tier is that of the first value; else it is the key's top bit
    unsigned row_bits;  ///< of a key, below the tier's
    Bags<Index> batch;
    const std::uint32_t* bag_at;  ///< [lookups] of each position, where bags are jagged
    volatile std::uint64_t* found;
    Index* rows;
    std::uint32_t* begin;
    std::uint32_t* bags;      ///< written if `by_position`
    std::uint32_t* ordinals;  ///< null: not asked for
    WorkLists lists;
};

inline constexpr unsigned list_threads = 256;

/// The class of a short row.
__device__ inline unsigned size_class(std::uint32_t size) {
    return size == 1
               ? 0u
               : static_cast<unsigned>(warp_size) - static_cast<unsigned>(__clz(static_cast<int>(size - 1)));
}

/// What a long row adds to the lists in a tile: blocks and spans that begin there, and a tower where it does.
struct LongRow {
    std::uint32_t begin;
    std::uint32_t size;
    std::uint32_t first_block;  ///< that begins in the tile
    std::uint32_t blocks;
    std::uint32_t first_span;
    std::uint32_t spans;
    bool tower;

    /// Of a row [begin, end), in the tile [low, high).
    __device__ LongRow(std::uint32_t begin_of, std::uint32_t end, std::uint32_t low, std::uint32_t high)
        : begin(begin_of), size(end - begin_of) {
        const auto from = [&](std::uint32_t step) {
            return begin >= low ? 0 : (low - begin + step - 1) / step;
        };
        const auto until = [&](std::uint32_t step) { return (min(end, high) - begin + step - 1) / step; };
        first_block = from(block_terms);
        blocks = until(block_terms) - min(first_block, until(block_terms));
        first_span = from(span_terms);
        spans = size > block_terms ? until(span_terms) - min(first_span, until(span_terms)) : 0;
        tower = size > span_terms && begin >= low;
    }
};

/// Makes rows, beginnings and lists from sorted keys.
/// @par Launch a block per tile of list_threads * Items keys; tiles tell one another of their rows
template <unsigned Items, class Key, IndexType Index>
__global__ void __launch_bounds__(list_threads) make_lists(ListJob<Key, Index> job) {
    constexpr std::uint32_t tile_keys = list_threads * Items;
    constexpr unsigned lists = size_classes + 3;     // then blocks, spans, towers
    __shared__ Key keys[tile_keys + 2];              // the tile's, from 1 on, and one on either side
    __shared__ std::uint32_t starts[tile_keys + 2];  // of the row that came in, the tile's own, the end
    __shared__ std::uint32_t warp_rows[list_threads / warp_size];
    __shared__ std::uint32_t shared_before;
    __shared__ std::uint32_t counts[lists];  // of a list's entries here, then where the next one goes

    wait_for_previous();
    const std::uint32_t tile = blockIdx.x;
    const std::uint32_t first = tile * tile_keys;
    const std::uint32_t count = min(job.lookups - first, tile_keys);
    const unsigned thread = threadIdx.x;
    const unsigned lane = thread % warp_size;
    const unsigned warp = thread / warp_size;
    {
        Key key[Items];
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = k * list_threads + thread;
            if (i < count) key[k] = job.keys[first + i];
        }
        if (thread == 0 && first != 0) keys[0] = job.keys[first - 1];
        if (thread == 1 && first + count < job.lookups) keys[count + 1] = job.keys[first + count];
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = k * list_threads + thread;
            if (i < count) keys[i + 1] = key[k];
        }
        if (thread < lists) counts[thread] = 0;
    }
    __syncthreads();

    // Which keys begin a row, and how many do so before this thread's.
    unsigned heads = 0;
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const std::uint32_t i = thread * Items + k;
        const bool head = i < count && (first + i == 0 || keys[i + 1] != keys[i]);
        heads |= head ? 1u << k : 0u;
    }
    auto rows_in_warp = static_cast<std::uint32_t>(__popc(heads));
    for (unsigned step = 1; step < warp_size; step *= 2) {
        const std::uint32_t other = __shfl_up_sync(all_lanes, rows_in_warp, step);
        if (lane >= step) rows_in_warp += other;
    }
    if (lane == warp_size - 1) warp_rows[warp] = rows_in_warp;
    __syncthreads();
    std::uint32_t row = rows_in_warp - static_cast<std::uint32_t>(__popc(heads));
    std::uint32_t own = 0;
    for (unsigned w = 0; w < list_threads / warp_size; ++w) {
        if (w < warp) row += warp_rows[w];
        own += warp_rows[w];
    }
    if (thread == 0) job.found[tile] = (tile == 0 ? all_rows : own_rows) | own;
    {
        std::uint32_t r = row;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            if ((heads >> k & 1u) != 0) starts[++r] = first + thread * Items + k;
        }
    }
    // Two warps look outside the tile: where the row that came in begins, and where the last one ends.
    const std::uint32_t end = first + count;
    const bool came_in = first != 0 && keys[1] == keys[0];
    const bool goes_on = end < job.lookups && keys[count + 1] == keys[count];
    if (warp == 1) {
        const std::uint32_t low = first / job.segment * job.segment;
        const std::uint32_t begin = came_in ? search_keys<false>(job.keys, low, first, keys[1]) : first;
        if (lane == 0) starts[0] = begin;
    } else if (warp == 2) {
        const std::uint32_t last = end - 1;
        const std::uint32_t high = min(last / job.segment * job.segment + job.segment, job.lookups);
        const std::uint32_t found = goes_on ? search_keys<true>(job.keys, last + 2, high, keys[count]) : end;
        if (lane == 0) starts[own + 1] = found;
    }
    __syncthreads();

    // Twice over the tile's rows, a lane a row: to count what is added to each list, then to add it.
    const auto for_rows = [&](auto&& short_row, auto&& long_row) {
        for (std::uint32_t base = 1 + warp * warp_size; base <= own; base += list_threads) {
            const std::uint32_t r = base + lane;
            const std::uint32_t begin = r <= own ? starts[r] : 0;
            const std::uint32_t size = r <= own ? starts[r + 1] - begin : 0;
            short_row(r, begin, size);
            if (size > short_terms) long_row(r, LongRow(begin, begin + size, first, end));
        }
        if (came_in && thread == list_threads - 1 && starts[1] - starts[0] > short_terms) {
            long_row(0, LongRow(starts[0], starts[1], first, end));
        }
    };
    const auto of_class = [](unsigned size_class_of, std::uint32_t size) {
        return __ballot_sync(all_lanes,
                             size != 0 && size <= short_terms && size_class(size) == size_class_of);
    };
    for_rows(
        [&](std::uint32_t, std::uint32_t, std::uint32_t size) {
#pragma unroll
            for (unsigned c = 0; c < size_classes; ++c) {
                const unsigned rows = of_class(c, size);
                if (lane == c && rows != 0) atomicAdd(&counts[c], static_cast<unsigned>(__popc(rows)));
            }
        },
        [&](std::uint32_t, const LongRow& of) {
            atomicAdd(&counts[size_classes], of.blocks);
            if (of.spans != 0) atomicAdd(&counts[size_classes + 1], of.spans);
            if (of.tower) atomicAdd(&counts[size_classes + 2], 1u);
        });
    __syncthreads();
    // One warp makes room in the lists, while another looks for the rows before: those tiles have had time.
    if (warp == 1 && lane < lists) {
        std::uint32_t* const size = lane < size_classes ? &job.lists.sizes->shorts[lane]
                                                        : &job.lists.sizes->blocks + (lane - size_classes);
        counts[lane] = counts[lane] == 0 ? 0 : atomicAdd(size, counts[lane]);
    } else if (warp == 0) {
        const std::uint32_t rows = rows_before(job.found, tile);
        if (lane == 0) {
            if (tile != 0) job.found[tile] = all_rows | (rows + own);
            shared_before = rows;
            if (end == job.lookups) {
                job.lists.sizes->rows = rows + own;
                job.begin[rows + own] = job.lookups;
            }
        }
    }
    __syncthreads();
    const std::uint32_t before = shared_before;
    const Index tier = job.one_tier ? job.batch.values()[0] & fast_bit<Index> : Index{0};
    for_rows(
        [&](std::uint32_t r, std::uint32_t begin, std::uint32_t size) {
            const std::uint32_t number = before + r - 1;  // of the row, in the batch
            if (size != 0) {
                const Key key = keys[begin - first + 1];
                Index located = static_cast<Index>(key);
                if (!job.one_tier && (key >> job.row_bits) != 0) {
                    located = static_cast<Index>(key ^ (Key{1} << job.row_bits)) | fast_bit<Index>;
                }
                job.rows[number] = located | tier;
                job.begin[number] = begin;
            }
#pragma unroll
            for (unsigned c = 0; c < size_classes; ++c) {
                const unsigned rows = of_class(c, size);
                std::uint32_t to = 0;
                if (lane == 0 && rows != 0) to = atomicAdd(&counts[c], static_cast<unsigned>(__popc(rows)));
                to = __shfl_sync(all_lanes, to, 0);
                if ((rows >> lane & 1u) != 0) {
                    job.lists.shorts[c][to + static_cast<unsigned>(__popc(rows & ((1u << lane) - 1)))] = {
                        number, begin | (size - 1) << (32 - size_bits)};
                }
            }
        },
        [&](std::uint32_t r, const LongRow& of) {
            std::uint32_t to = atomicAdd(&counts[size_classes], of.blocks);
            for (std::uint32_t b = of.first_block; b < of.first_block + of.blocks; ++b) {
                const std::uint32_t at = b * block_terms;
                job.lists.blocks[to++] = {before + r - 1, of.begin + at, min(of.size - at, block_terms),
                                          of.size > block_terms ? block_place(of.begin, b) : no_place};
            }
            if (of.spans != 0) to = atomicAdd(&counts[size_classes + 1], of.spans);
            for (std::uint32_t p = of.first_span; p < of.first_span + of.spans; ++p) {
                const std::uint32_t terms = min(of.size - p * span_terms, span_terms);
                job.lists.spans[to++] = {before + r - 1, block_place(of.begin, p * block_terms),
                                         (terms + block_terms - 1) / block_terms,
                                         of.size > span_terms ? span_place(of.begin, p) : no_place};
            }
            if (of.tower) {
                job.lists.towers[atomicAdd(&counts[size_classes + 2], 1u)] = {
                    before + r - 1, span_place(of.begin, 0), (of.size + span_terms - 1) / span_terms,
                    no_place};
            }
        });
    if (job.by_position || job.ordinals != nullptr) {
        std::uint32_t r = row;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = first + thread * Items + k;
            r += heads >> k & 1u;
            if (i >= first + count) break;
            const std::uint32_t place = job.places[i];
            if (job.by_position) {
                job.bags[i] = job.batch.is_fixed() ? place / static_cast<std::uint32_t>(job.batch.bag_size())
                                                   : job.bag_at[place];
            }
            if (job.ordinals != nullptr) job.ordinals[place] = before + r - 1;
        }
    }
}

/// Keys of a tile: small ones where there would be few.
template <class Key, IndexType Index>
void queue_lists(On on, const ListJob<Key, Index>& job) {
    const auto launch = [&](auto items) {
        constexpr unsigned of_thread = decltype(items)::value;
        const std::uint32_t tiles = ceil_div<std::uint32_t>(job.lookups, list_threads * of_thread);
        launch_behind(on, "launch of make_lists", make_lists<of_thread, Key, Index>, tiles, list_threads, 0,
                      job);
    };
    if (job.lookups < (1u << 19)) {
        launch(std::integral_constant<unsigned, 4>{});
    } else {
        launch(std::integral_constant<unsigned, 12>{});
    }
}
/// The most tiles of a batch.
[[nodiscard]] constexpr std::size_t most_tiles(std::size_t lookups) {
    return lookups / (list_threads * 4) + 1;
}

}  // namespace fae::inline FAE_ABI::cuda::detail
