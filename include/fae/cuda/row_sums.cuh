// SPDX-License-Identifier: Apache-2.0
//
// The kernels that sum the contributions of rows, in the canonical order, and hand each sum to a sink
// (optimizer.cuh). Internal to row_gradient.cuh, which launches them.
//
// One for each kind of list that the index holds (row_lists.cuh): sum_blocks for blocks of contributions and
// rows of 5 to 16, sum_spans for 64 sums of blocks, sum_towers for the sums of a row's spans, and
// sum_short_rows. A warp goes from task to task of a list; a task is a few entries, in one slice of columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/lanes.cuh"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/row_lists.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

inline constexpr unsigned sum_threads = 128;
/// That many are there at a time: registers for eight loads.
inline constexpr unsigned sum_blocks_a_multiprocessor = 7;

/// The contributions of a batch: entry i is the gradient of bags[i], times weights[positions[i]] where sums
/// are weighted.
template <class T>
struct Contributions {
    const std::uint32_t* bags;
    const std::uint32_t* positions;
    const float* weights;
    const T* gradients;
    std::size_t stride;

    /// As sum_terms() asks for terms.
    struct Finder {
        using Key = std::uint32_t;
        const Contributions of;
        std::uint32_t from;
        __device__ Key find(std::uint32_t i) const { return of.bags[from + i]; }
        __device__ T weight(std::uint32_t i) const {
            return static_cast<T>(of.weights[of.positions[from + i]]);
        }
        template <class Vector>
        __device__ Vector load(Key bag, unsigned column) const {
            return Vector::load_constant(of.gradients + std::size_t{bag} * of.stride + column);
        }
    };
    [[nodiscard]] __device__ Finder from(std::uint32_t first) const { return {*this, first}; }
};

/// What the kernels of a backward pass share.
template <class T, class Sink>
struct SumJob {
    Contributions<T> of;
    WorkLists lists;
    Sink sink;
    T* block_sums;  ///< at block_place()
    T* span_sums;   ///< at span_place()
    unsigned dim;
    unsigned slices;
    std::uint32_t lookups;
    /// The part of the long rows' grid that works beside short rows, if these were none; 0: none are beside
    float beside = 0;
    unsigned held = warp_size;  ///< short rows that a warp takes at a time, at most as many as it has lanes

    struct Item {
        std::uint32_t at;
        unsigned column;
    };
    /// What a lane does of a warp's task: which of a list's entries, and from which column on. All entries of
    /// a slice of columns come before those of the next.
    template <class Lanes>
    __device__ Item item(std::uint32_t task, std::uint32_t entries) const {
        const std::uint32_t number = task * Lanes::groups + Lanes::group();
        const unsigned column = Lanes::lane() * Lanes::pack;
        if (slices == 1) return {number, column};
        const std::uint32_t whole = ceil_div<std::uint32_t>(entries, Lanes::groups) * Lanes::groups;
        return {number % whole, number / whole * Lanes::slice + column};
    }
};

/// What a lane holds of an entry of a list of short rows, for the groups of its warp to read it from there:
/// its row's place, and the bags of its contributions.
template <unsigned Most, bool Weighted, class T, class Found>
struct HeldRow {
    std::uint32_t size;  ///< 0: there is no such row
    Found found;
    std::uint32_t bag[Most];
    T weight[Weighted ? Most : 1];
};

/// Rows [first, first + rows) of a list, of at most `Most` contributions, in one slice of columns. Each lane
/// looks for one of them, so that what leads to a row's columns is on its way for all at once; then every
/// group of lanes sums `Items` rows at a time.
template <unsigned Most, unsigned Items, class Lanes, bool Weighted, class T, class Sink>
__device__ void sum_shorts(const SumJob<T, Sink>& job, const ShortEntry* list, std::uint32_t size,
                           std::uint32_t task) {
    using Vector = typename Lanes::Vector;
    const std::uint32_t chunks = ceil_div(size, job.held);
    const std::uint32_t first = task % chunks * job.held;
    const unsigned column = task / chunks * Lanes::slice + Lanes::lane() * Lanes::pack;
    const unsigned lane = threadIdx.x % warp_size;
    const unsigned rows = min(size - first, job.held);
    HeldRow<Most, Weighted, T, typename Sink::Found> held{};
    if (lane < rows) {
        const ShortEntry entry = list[first + lane];
        held.size = entry.size();
        held.found = job.sink.find(entry.row);
        // Behind the last contribution the last one is read again, and not added.
#pragma unroll
        for (unsigned u = 0; u < Most; ++u) {
            const std::uint32_t at = entry.from() + (Most == 1 ? 0 : min(u, entry.size() - 1));
            held.bag[u] = job.of.bags[at];
            if constexpr (Weighted) {
                held.weight[u] =
                    u < entry.size() ? static_cast<T>(job.of.weights[job.of.positions[at]]) : T{1};
            }
        }
    }
    for (unsigned from = 0; from < rows; from += Lanes::groups * Items) {
        Vector term[Items][Most];
        typename Sink::template Ready<Lanes> ready[Items];
        bool active[Items];
        // All rows of this thread are on their way before it waits for the first.
#pragma unroll
        for (unsigned i = 0; i < Items; ++i) {
            const unsigned at = from + i * Lanes::groups + Lanes::group();
            const auto found = __shfl_sync(all_lanes, held.found, static_cast<int>(at));
            active[i] = at < rows && column < job.dim;
            ready[i] = job.sink.template begin_found<Lanes, true>(found, column, active[i]);
#pragma unroll
            for (unsigned u = 0; u < Most; ++u) {
                const std::uint32_t bag = __shfl_sync(all_lanes, held.bag[u], static_cast<int>(at));
                if (active[i]) {
                    term[i][u] = Vector::load(job.of.gradients + std::size_t{bag} * job.of.stride + column);
                }
            }
        }
#pragma unroll
        for (unsigned i = 0; i < Items; ++i) {
            const auto at = static_cast<int>(from + i * Lanes::groups + Lanes::group());
            const std::uint32_t terms = Most == 1 ? 1 : __shfl_sync(all_lanes, held.size, at);
            Vector sum = Vector::none();
#pragma unroll
            for (unsigned u = 0; u < Most; ++u) {
                if (Most > 1 && u >= terms) term[i][u] = Vector::none();
                if constexpr (Weighted) {
                    sum.multiply_add(__shfl_sync(all_lanes, held.weight[u], at), term[i][u]);
                } else {
                    sum.add(term[i][u]);
                }
            }
            job.sink.template finish<Lanes, true>(ready[i], sum, active[i]);
        }
    }
}

/// The warp's number within the grid, and how many warps the grid has.
__device__ inline std::uint32_t warp_of_grid() {
    return blockIdx.x * (sum_threads / warp_size) + threadIdx.x / warp_size;
}
__device__ inline std::uint32_t warps_of_grid() { return gridDim.x * (sum_threads / warp_size); }

/// A warp's tasks for the entries of a list, `at_a_time` for each group of lanes.
template <class Lanes, class T, class Sink>
__device__ std::uint32_t tasks_of(const SumJob<T, Sink>& job, std::uint32_t entries,
                                  std::uint32_t at_a_time) {
    return ceil_div<std::uint32_t>(ceil_div<std::uint32_t>(entries, Lanes::groups) * job.slices, at_a_time);
}

/// How many blocks of the grid sum long rows. Beside short rows, which live on the same caches and memory,
/// that is the long ones' share of what is read and written: a gradient each contribution, and each short row
/// there and back.
template <class T, class Sink>
__device__ unsigned blocks_beside(const SumJob<T, Sink>& job) {
    if (job.beside == 0) return gridDim.x;
    const ListSizes& sizes = *job.lists.sizes;
    const std::uint32_t rows = sizes.shorts[0] + sizes.shorts[1] + sizes.shorts[2];
    const std::uint32_t terms = sizes.shorts[0] + 2 * sizes.shorts[1] + 4 * sizes.shorts[2];
    const auto of_long = static_cast<float>(job.lookups - min(terms, job.lookups));
    const float of_short = static_cast<float>(terms) + 2 * static_cast<float>(rows);
    const float blocks = job.beside * static_cast<float>(gridDim.x) * of_long / (of_long + of_short);
    return min(gridDim.x, 1 + static_cast<unsigned>(blocks));
}

/// Sums blocks of contributions, and rows of 5 to 16.
/// @par Launch any grid of sum_threads threads; a group of lanes takes an entry (in one slice of columns),
/// longest ones first
template <class Lanes, bool Weighted, class T, class Sink>
__global__ void __launch_bounds__(sum_threads, sum_blocks_a_multiprocessor)
    sum_blocks(const SumJob<T, Sink> job) {
    if (job.sink.stopped()) return;
    const std::uint32_t blocks = job.lists.sizes->blocks;
    const std::uint32_t longest = job.lists.sizes->shorts[4];
    const std::uint32_t longer = job.lists.sizes->shorts[3];
    const ShortEntry* const longest_rows = job.lists.shorts[4];
    const ShortEntry* const longer_rows = job.lists.shorts[3];
    const std::uint32_t end_of_blocks = tasks_of<Lanes>(job, blocks, 1);
    const std::uint32_t end_of_longest = end_of_blocks + tasks_of<Lanes>(job, longest, 1);
    const std::uint32_t end = end_of_longest + tasks_of<Lanes>(job, longer, 1);
    const unsigned present = blocks_beside(job);
    if (blockIdx.x >= present) return let_next_launch();
    const std::uint32_t step = present * (sum_threads / warp_size);
    for (std::uint32_t task = warp_of_grid(); task < end; task += step) {
        SumEntry entry{0, 0, 0, no_place};
        unsigned column = 0;
        if (task < end_of_blocks) {
            const auto [at, first] = job.template item<Lanes>(task, blocks);
            column = first;
            if (at < blocks) entry = job.lists.blocks[at];
        } else {
            const bool is_longest = task < end_of_longest;
            const std::uint32_t entries = is_longest ? longest : longer;
            const auto [at, first] =
                job.template item<Lanes>(task - (is_longest ? end_of_blocks : end_of_longest), entries);
            column = first;
            if (at < entries) {
                const ShortEntry row = (is_longest ? longest_rows : longer_rows)[at];
                entry = {row.row, row.from(), row.size(), no_place};
            }
        }
        const bool active = entry.count != 0 && column < job.dim;
        const bool ends = active && entry.place == no_place;
        auto ready = job.sink.template begin<Lanes>(entry.row, column, ends);
        const auto sum = sum_terms<Lanes, Weighted>(job.of.from(entry.from), entry.count, column, active);
        if (active && !ends) sum.store(job.block_sums + std::size_t{entry.place} * job.dim + column);
        job.sink.template finish<Lanes>(ready, sum, ends);
    }
    let_next_launch();
}

/// Sums rows of 1 to 4 contributions. What it reads is there before the kernels that it may be launched
/// behind begin, so it waits for them only at its end.
/// @par Launch any grid of sum_threads threads; a warp takes job.held rows of a class (in one slice
/// of columns), a group of lanes one or two of them at a time, or `Ones` of one contribution, for which
/// `blocks_at_once` leave registers
template <class Lanes, bool Weighted, unsigned Ones, unsigned blocks_at_once, class T, class Sink>
__global__ void __launch_bounds__(sum_threads, blocks_at_once) sum_short_rows(const SumJob<T, Sink> job) {
    if (job.sink.stopped()) return wait_for_previous();
    const std::uint32_t fours = job.lists.sizes->shorts[2];
    const std::uint32_t twos = job.lists.sizes->shorts[1];
    const std::uint32_t ones = job.lists.sizes->shorts[0];
    const auto tasks = [&](std::uint32_t rows) { return ceil_div(rows, job.held) * job.slices; };
    const std::uint32_t end_of_fours = tasks(fours);
    const std::uint32_t end_of_twos = end_of_fours + tasks(twos);
    const std::uint32_t end = end_of_twos + tasks(ones);
    for (std::uint32_t task = warp_of_grid(); task < end; task += warps_of_grid()) {
        if (task < end_of_fours) {
            sum_shorts<4, 1, Lanes, Weighted>(job, job.lists.shorts[2], fours, task);
        } else if (task < end_of_twos) {
            sum_shorts<2, 2, Lanes, Weighted>(job, job.lists.shorts[1], twos, task - end_of_fours);
        } else {
            sum_shorts<1, Ones, Lanes, Weighted>(job, job.lists.shorts[0], ones, task - end_of_twos);
        }
    }
    wait_for_previous();
}

/// What the kernels that sum sums read rows by: a column a lane, whatever the dim.
template <class T>
using ColumnLanes = Lanes<T, 1, warp_size>;

/// The sum of `count` elements that lie `stride` apart, front to back.
template <class T>
__device__ T sum_column(const T* from, std::uint32_t count, std::size_t stride) {
    constexpr unsigned batch = 32;  // loads in flight
    T sum = -T{0};
    for (std::uint32_t base = 0; base < count; base += batch) {
        T term[batch];
#pragma unroll
        for (unsigned u = 0; u < batch; ++u) term[u] = from[min(base + u, count - 1) * stride];
        asm volatile("" ::: "memory");  // all loads stand before the first addition
#pragma unroll
        for (unsigned u = 0; u < batch; ++u) sum = added(sum, base + u < count ? term[u] : -T{0});
    }
    return sum;
}

/// Sums the blocks of spans.
/// @par Launch any grid of sum_threads threads; a warp takes 32 columns of a span, or all where the sink
/// needs whole rows, a lane a column
template <class T, class Sink>
__global__ void __launch_bounds__(sum_threads) sum_spans(const SumJob<T, Sink> job) {
    using Column = ColumnLanes<T>;
    let_next_launch();
    wait_for_previous();
    if (job.sink.stopped()) return;
    const std::uint32_t parts = Sink::needs_whole_rows ? 1 : (job.dim + warp_size - 1) / warp_size;
    const std::uint32_t tasks = job.lists.sizes->spans * parts;
    for (std::uint32_t task = warp_of_grid(); task < tasks; task += warps_of_grid()) {
        const SumEntry entry = job.lists.spans[task / parts];
        const bool ends = entry.place == no_place;
        // A lane's columns are its own, so that the sum can stand where the first block's stood.
        T* const from = job.block_sums + std::size_t{entry.from} * job.dim;
        T* const to = ends ? from : job.span_sums + std::size_t{entry.place} * job.dim;
        if constexpr (Sink::needs_whole_rows) {
            for (unsigned c = threadIdx.x % warp_size; c < job.dim; c += warp_size) {
                to[c] = sum_column(from + c, entry.count, job.dim);
            }
            if (ends) job.sink.template take<Column>(entry.row, from, true);
        } else {
            const unsigned c = task % parts * warp_size + threadIdx.x % warp_size;
            if (c >= job.dim) continue;
            auto ready = job.sink.template begin<Column>(entry.row, c, ends);
            const auto sum = Column::Vector::filled(sum_column(from + c, entry.count, job.dim));
            if (!ends) sum.store(to + c);
            job.sink.template finish<Column>(ready, sum, ends);
        }
    }
}

/// Sums the spans of rows that have more than one, level by level, in place: the sums of a level stand where
/// their first terms stood.
/// @par Launch any grid of sum_threads threads; a block takes a row, a thread a column of a sum of 64
template <class T, class Sink>
__global__ void __launch_bounds__(sum_threads) sum_towers(const SumJob<T, Sink> job) {
    let_next_launch();
    wait_for_previous();
    if (job.sink.stopped()) return;
    const std::uint32_t towers = job.lists.sizes->towers;
    for (std::uint32_t tower = blockIdx.x; tower < towers; tower += gridDim.x) {
        const SumEntry entry = job.lists.towers[tower];
        T* const sums = job.span_sums + std::size_t{entry.from} * job.dim;
        for (std::size_t step = 1; step < entry.count; step *= block_terms) {
            const auto terms = static_cast<std::uint32_t>(ceil_div<std::size_t>(entry.count, step));
            const std::uint32_t nodes = ceil_div(terms, block_terms);
            for (std::size_t work = threadIdx.x; work < std::size_t{nodes} * job.dim; work += sum_threads) {
                const auto node = static_cast<std::uint32_t>(work / job.dim);
                T* const from = sums + std::size_t{node} * block_terms * step * job.dim + work % job.dim;
                *from = sum_column(from, min(terms - node * block_terms, block_terms), step * job.dim);
            }
            __syncthreads();
        }
        if (threadIdx.x < warp_size) job.sink.template take<ColumnLanes<T>>(entry.row, sums, true);
        __syncthreads();
    }
}

}  // namespace fae::inline FAE_ABI::cuda::detail
