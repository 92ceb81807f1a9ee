// SPDX-License-Identifier: Apache-2.0
//
// What is to be summed, made from sorted look-ups in one pass: the rows, where each begins, and lists of work
// of about equal size. Internal to RowIndex (row_index.cuh); the kernels of row_sums.cuh walk the lists.
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
#include "fae/cuda/tile_sums.cuh"

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

/// What tiles know of their rows.
using RowSums = TileSums<1, warp_size>;

/// The first position in [low, high) whose key is not below (`above`: is above) `key`; by one whole warp.
/// Most rows are short, so the near end is looked at first, ever further apart, then what is left in equal
/// parts.
template <bool above, class Key>
__device__ std::uint32_t search_keys(const Key* keys, std::uint32_t low, std::uint32_t high, Key key) {
    const unsigned lane = threadIdx.x % warp_size;
    const auto right_of = [&](std::uint32_t at) { return above ? keys[at] > key : keys[at] >= key; };
    const auto first_of = [](unsigned lanes) {
        return static_cast<unsigned>(__ffs(static_cast<int>(lanes))) - 1;
    };
    // The first 32 one by one, and beside them the one that is 32, 64, 128, ... away, while there are any.
    const std::uint32_t size = high > low ? high - low : 0;
    const std::uint64_t far = std::uint64_t{warp_size} << lane;
    if constexpr (above) {
        const bool near_right = lane >= size || right_of(low + lane);
        const bool far_right = far >= size || right_of(low + static_cast<std::uint32_t>(far));
        const unsigned near = __ballot_sync(all_lanes, near_right);
        const unsigned beyond = first_of(__ballot_sync(all_lanes, far_right));
        if (near != 0) return min(low + first_of(near), high);
        const std::uint64_t most = std::uint64_t{warp_size} << beyond;
        const std::uint32_t from = low;
        low = beyond == 0 ? from + warp_size : from + (warp_size << (beyond - 1)) + 1;
        high = most >= size ? high : from + static_cast<std::uint32_t>(most);
    } else {
        const bool near_left = lane < size && !right_of(high - 1 - lane);
        const bool far_left = far >= size || !right_of(high - 1 - static_cast<std::uint32_t>(far));
        const unsigned near = __ballot_sync(all_lanes, near_left);
        const unsigned beyond = first_of(__ballot_sync(all_lanes, far_left));
        if (near != 0) return high - first_of(near);
        if (size <= warp_size) return low;
        const std::uint64_t most = std::uint64_t{warp_size} << beyond;
        const std::uint32_t end = high;
        high = beyond == 0 ? end - warp_size : end - 1 - (warp_size << (beyond - 1));
        low = most >= size ? low : end - static_cast<std::uint32_t>(most);
    }
    constexpr unsigned probes = 4;  // of a lane, on their way together
    while (low < high) {
        const std::uint32_t step = (high - low + probes * warp_size - 1) / (probes * warp_size);
        bool right[probes];
#pragma unroll
        for (unsigned i = 0; i < probes; ++i) {
            const std::uint64_t at = low + std::uint64_t{i * warp_size + lane} * step;
            right[i] = at >= high || right_of(static_cast<std::uint32_t>(at));
        }
        unsigned first = probes * warp_size;
#pragma unroll
        for (unsigned i = probes; i-- != 0;) {
            const unsigned rights = __ballot_sync(all_lanes, right[i]);
            if (rights != 0) first = i * warp_size + first_of(rights);
        }
        if (first == 0) return low;
        high = static_cast<std::uint32_t>(min(low + std::uint64_t{first} * step, std::uint64_t{high}));
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
    RowSums sums;                 ///< zeroed
    Index* rows;
    std::uint32_t* begin;
    std::uint32_t* bags;      ///< written if `by_position`
    std::uint32_t* ordinals;  ///< null: not asked for
    WorkLists lists;
};

inline constexpr unsigned key_threads = 256;  ///< of a block: those that hold its keys
inline constexpr unsigned list_threads = key_threads + 2 * warp_size;  ///< and two warps that search

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
/// @par Launch a block of list_threads per tile of key_threads * Items keys; tiles tell one another of their
/// rows
template <unsigned Items, class Key, IndexType Index>
__global__ void __launch_bounds__(list_threads, 4)
    make_lists(const __grid_constant__ ListJob<Key, Index> job) {
    constexpr std::uint32_t tile_keys = key_threads * Items;
    constexpr unsigned lists = size_classes + 3;  // then blocks, spans, towers
    static_assert((sizeof(Key) + sizeof(std::uint32_t)) * (tile_keys + 1) < (std::size_t{47} << 10));
    __shared__ Key keys[tile_keys + 1];              // of the row that came in, then of the tile's own rows
    __shared__ std::uint32_t starts[tile_keys + 1];  // of the same rows
    __shared__ unsigned heads[key_threads / warp_size * Items];  // of 32 keys each, which begin a row
    __shared__ std::uint32_t warp_rows[key_threads / warp_size];
    __shared__ std::uint32_t shared_end;  // of the last row
    __shared__ bool shared_came_in;
    __shared__ std::uint32_t shared_before;
    __shared__ std::uint32_t counts[lists];  // of a list's entries here, then where the next one goes

    wait_for_previous();
    const std::uint32_t tile = blockIdx.x;
    const std::uint32_t first = tile * tile_keys;
    const std::uint32_t count = min(job.lookups - first, tile_keys);
    const std::uint32_t end = first + count;
    const unsigned thread = threadIdx.x;
    const unsigned lane = thread % warp_size;
    const unsigned warp = thread / warp_size;
    const unsigned lanes_to_here = ~0u >> (warp_size - 1 - lane);
    const std::uint32_t base = first + warp * Items * warp_size;  // of the warp's keys, lane after lane
    Key key[Items];
    if (thread < key_threads) {
        // Which keys begin a row.
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = base + k * warp_size + lane;
            key[k] = i < end ? job.keys[i] : Key{0};
        }
        Key left = base != 0 && base < end ? job.keys[base - 1] : Key{0};  // of the warp's first key
        if (thread < lists) counts[thread] = 0;
        std::uint32_t rows_in_warp = 0;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const std::uint32_t i = base + k * warp_size + lane;
            const Key before = __shfl_up_sync(all_lanes, key[k], 1);
            const bool head = i < end && (i == 0 || key[k] != (lane == 0 ? left : before));
            left = __shfl_sync(all_lanes, key[k], warp_size - 1);
            const unsigned of_lanes = __ballot_sync(all_lanes, head);
            if (lane == 0) heads[warp * Items + k] = of_lanes;
            rows_in_warp += static_cast<std::uint32_t>(__popc(of_lanes));
        }
        if (lane == 0) warp_rows[warp] = rows_in_warp;
    } else if (warp == key_threads / warp_size) {
        // Where the row that comes in begins,
        const Key first_key = job.keys[first];
        const bool came_in = first != 0 && job.keys[first - 1] == first_key;
        const std::uint32_t low = first / job.segment * job.segment;
        const std::uint32_t begin = came_in ? search_keys<false>(job.keys, low, first, first_key) : first;
        if (lane == 0) {
            shared_came_in = came_in;
            starts[0] = begin;
        }
    } else {
        // and where the last one ends.
        const std::uint32_t last = end - 1;
        const Key last_key = job.keys[last];
        const bool goes_on = end < job.lookups && job.keys[end] == last_key;
        const std::uint32_t high = min(last / job.segment * job.segment + job.segment, job.lookups);
        const std::uint32_t found = goes_on ? search_keys<true>(job.keys, last + 2, high, last_key) : end;
        if (lane == 0) shared_end = found;
    }
    __syncthreads();
    std::uint32_t row = 0;  // how many keys begin one before this warp's
    std::uint32_t own = 0;  // in the tile
#pragma unroll
    for (unsigned w = 0; w < key_threads / warp_size; ++w) {
        if (w < warp) row += warp_rows[w];
        own += warp_rows[w];
    }
    if (thread == 0) job.sums.put(tile, 0, own);
    if (thread < key_threads) {
        std::uint32_t r = row;
#pragma unroll
        for (unsigned k = 0; k < Items; ++k) {
            const unsigned of_lanes = heads[warp * Items + k];
            if ((of_lanes >> lane & 1u) != 0) {
                const std::uint32_t at = r + static_cast<std::uint32_t>(__popc(of_lanes & lanes_to_here));
                starts[at] = base + k * warp_size + lane;
                keys[at] = key[k];
            }
            r += static_cast<std::uint32_t>(__popc(of_lanes));
        }
    }
    __syncthreads();
    const std::uint32_t end_of_last = shared_end;
    const auto end_of = [&](std::uint32_t r) { return r == own ? end_of_last : starts[r + 1]; };

    // Twice over the tile's rows, a lane a row: to count what is added to each list, then to add it. The row
    // that came in adds no more than blocks and spans.
    const auto for_rows = [&](auto&& rows_of_lanes) {
        for (std::uint32_t from = warp * warp_size; from <= own; from += list_threads) {
            const std::uint32_t r = from + lane;
            const bool there = r <= own && (r != 0 || shared_came_in);
            const std::uint32_t begin = there ? starts[r] : 0;
            rows_of_lanes(r, begin, there ? end_of(r) - begin : 0);
        }
    };
    // How many short rows of class `lane` the warp's lanes have; in rows[c], which lanes have one of class c.
    const auto count_classes = [&](std::uint32_t r, std::uint32_t size, unsigned(&rows)[size_classes]) {
        unsigned of_class = 0;
#pragma unroll
        for (unsigned c = 0; c < size_classes; ++c) {
            rows[c] =
                __ballot_sync(all_lanes, r != 0 && size != 0 && size <= short_terms && size_class(size) == c);
            if (lane == c) of_class = rows[c];
        }
        return static_cast<std::uint32_t>(__popc(of_class));
    };
    for_rows([&](std::uint32_t r, std::uint32_t begin, std::uint32_t size) {
        unsigned rows[size_classes];
        const std::uint32_t of_class = count_classes(r, size, rows);
        if (of_class != 0) atomicAdd(&counts[lane], of_class);
        if (size > short_terms) {
            const LongRow of(begin, begin + size, first, end);
            atomicAdd(&counts[size_classes], of.blocks);
            if (of.spans != 0) atomicAdd(&counts[size_classes + 1], of.spans);
            if (of.tower) atomicAdd(&counts[size_classes + 2], 1u);
        }
    });
    __syncthreads();
    // One warp makes room in the lists, while another adds up the rows before: those tiles have had time.
    if (warp == 1 && lane < lists) {
        std::uint32_t* const size = lane < size_classes ? &job.lists.sizes->shorts[lane]
                                                        : &job.lists.sizes->blocks + (lane - size_classes);
        counts[lane] = counts[lane] == 0 ? 0 : atomicAdd(size, counts[lane]);
    } else if (warp == 0) {
        const std::uint32_t rows = job.sums.before_by_warp(tile, 0);
        if (lane == 0) {
            job.sums.pass_on(tile, 0, rows);
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
    for_rows([&](std::uint32_t r, std::uint32_t begin, std::uint32_t size) {
        const std::uint32_t number = before + r - 1;  // of the row, in the batch
        if (r != 0 && size != 0) {
            const Key key = keys[r];
            Index located = static_cast<Index>(key);
            if (!job.one_tier && (key >> job.row_bits) != 0) {
                located = static_cast<Index>(key ^ (Key{1} << job.row_bits)) | fast_bit<Index>;
            }
            job.rows[number] = located | tier;
            job.begin[number] = begin;
        }
        unsigned rows[size_classes];
        const std::uint32_t of_class = count_classes(r, size, rows);
        std::uint32_t room = 0;
        if (of_class != 0) room = atomicAdd(&counts[lane], of_class);
#pragma unroll
        for (unsigned c = 0; c < size_classes; ++c) {
            const std::uint32_t to = __shfl_sync(all_lanes, room, static_cast<int>(c));
            if ((rows[c] >> lane & 1u) != 0) {
                job.lists.shorts[c][to + static_cast<unsigned>(__popc(rows[c] & lanes_to_here)) - 1] =
                    ShortEntry{number, begin | (size - 1) << (32 - size_bits)};
            }
        }
        const bool is_long = size > short_terms;
        if (!__any_sync(all_lanes, is_long)) return;
        constexpr unsigned few_blocks = 4;  // of a row, which its lane writes by itself
        const auto put_block = [&](std::uint32_t to, std::uint32_t of_row, const LongRow& of, unsigned i) {
            const std::uint32_t at = (of.first_block + i) * block_terms;
            job.lists.blocks[to + i] =
                SumEntry{of_row, of.begin + at, min(of.size - at, block_terms),
                         of.size > block_terms ? block_place(of.begin, of.first_block + i) : no_place};
        };
        std::uint32_t blocks = 0;
        std::uint32_t to = 0;
        if (is_long) {
            const LongRow of(begin, begin + size, first, end);
            blocks = of.blocks;
            to = atomicAdd(&counts[size_classes], blocks);
            for (unsigned i = 0; i < blocks && blocks <= few_blocks; ++i) put_block(to, number, of, i);
            std::uint32_t span = of.spans == 0 ? 0 : atomicAdd(&counts[size_classes + 1], of.spans);
            for (std::uint32_t p = of.first_span; p < of.first_span + of.spans; ++p) {
                const std::uint32_t terms = min(of.size - p * span_terms, span_terms);
                job.lists.spans[span++] = SumEntry{number, block_place(of.begin, p * block_terms),
                                                   (terms + block_terms - 1) / block_terms,
                                                   of.size > span_terms ? span_place(of.begin, p) : no_place};
            }
            if (of.tower) {
                job.lists.towers[atomicAdd(&counts[size_classes + 2], 1u)] = SumEntry{
                    number, span_place(of.begin, 0), (of.size + span_terms - 1) / span_terms, no_place};
            }
        }
        unsigned left = __ballot_sync(all_lanes, blocks > few_blocks);
        for (; left != 0; left &= left - 1) {  // by the whole warp
            const int of_lane = __ffs(static_cast<int>(left)) - 1;
            const std::uint32_t at = __shfl_sync(all_lanes, begin, of_lane);
            const LongRow of(at, at + __shfl_sync(all_lanes, size, of_lane), first, end);
            const std::uint32_t row_number = __shfl_sync(all_lanes, number, of_lane);
            const std::uint32_t row_to = __shfl_sync(all_lanes, to, of_lane);
            for (unsigned i = lane; i < of.blocks; i += warp_size) put_block(row_to, row_number, of, i);
        }
    });
    if (thread >= key_threads || !(job.by_position || job.ordinals != nullptr)) return;
    std::uint32_t r = before + row;
#pragma unroll
    for (unsigned k = 0; k < Items; ++k) {
        const std::uint32_t i = base + k * warp_size + lane;
        const unsigned of_lanes = heads[warp * Items + k];
        const std::uint32_t number = r + static_cast<std::uint32_t>(__popc(of_lanes & lanes_to_here)) - 1;
        r += static_cast<std::uint32_t>(__popc(of_lanes));
        if (i >= end) break;
        const std::uint32_t place = job.places[i];
        if (job.by_position) {
            job.bags[i] = job.batch.is_fixed() ? place / static_cast<std::uint32_t>(job.batch.bag_size())
                                               : job.bag_at[place];
        }
        if (job.ordinals != nullptr) job.ordinals[place] = number;
    }
}

/// Keys of a tile: small ones where there would be few.
template <class Key, IndexType Index>
void queue_lists(On on, const ListJob<Key, Index>& job) {
    const auto launch = [&](auto items) {
        constexpr unsigned of_thread = decltype(items)::value;
        const std::uint32_t tiles = ceil_div<std::uint32_t>(job.lookups, key_threads * of_thread);
        launch_behind(on, "launch of make_lists", make_lists<of_thread, Key, Index>, tiles, list_threads, 0,
                      job);
    };
    if (job.lookups < (1u << 19)) {
        launch(std::integral_constant<unsigned, 4>{});
    } else if (sizeof(Key) == 8 || job.lookups < (1u << 21)) {
        // Of wide keys, more would not fit the shared memory that every device gives without being asked.
        launch(std::integral_constant<unsigned, 13>{});
    } else if constexpr (sizeof(Key) == 4) {
        launch(std::integral_constant<unsigned, 16>{});
    }
}
/// The most tiles of a batch.
[[nodiscard]] constexpr std::size_t most_tiles(std::size_t lookups) {
    return lookups / (key_threads * 4) + 1;
}

}  // namespace fae::inline FAE_ABI::cuda::detail
