// SPDX-License-Identifier: Apache-2.0
//
// Row gradients on the device: the sums of each row's contributions, in the canonical order, and what a sink
// (optimizer.cuh) does with them. Internal to embedding_bag.cuh.
//
// Four kernels, one for each kind of list that the index holds: blocks of contributions, spans (64 sums of
// blocks), towers (the sums of a row's spans), and rows of up to four contributions. The first three follow
// from one another; the last depends on none, and can run beside them: blocks live on the second-level cache,
// rows of few contributions on memory. Without a stream beside it begins once the blocks are done, while
// spans and towers, which are few, still run.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/lanes.cuh"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/optimizer.cuh"
#include "fae/cuda/row_index.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/ops/row_gradient.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A second stream for the part of an operation that can run beside the rest, and the events that tie the
/// two. It can be used by one operation at a time, and in a graph under capture.
struct SideStream {
    Stream stream{Priority::high};
    Event fork;
    Event join;
};

namespace detail {

inline constexpr unsigned sum_threads = 128;
inline constexpr unsigned sum_blocks_a_multiprocessor =
    7;  ///< that many are there at a time: registers for eight loads
inline constexpr std::size_t small_batch = std::size_t{1} << 19;  ///< in look-ups

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

/// Short rows of a class of at most `Most` contributions, `Items` rows a group at a time.
template <unsigned Most, unsigned Items, class Lanes, bool Weighted, class T, class Sink>
__device__ void sum_shorts(const SumJob<T, Sink>& job, const ShortEntry* list, std::uint32_t size,
                           std::uint32_t task) {
    using Vector = typename Lanes::Vector;
    ShortEntry entry[Items];
    bool active[Items];
    unsigned column[Items];
    Vector term[Items][Most];
    T weight[Items][Most];
    std::uint32_t bag[Items][Most];
    typename Sink::Found found[Items];
    typename Sink::template Ready<Lanes> ready[Items];
#pragma unroll
    for (unsigned i = 0; i < Items; ++i) {
        const auto [at, of_lane] = job.template item<Lanes>(task * Items + i, size);
        column[i] = of_lane;
        active[i] = at < size && column[i] < job.dim;
        entry[i] = active[i] ? list[at] : ShortEntry{0, 0};
    }
    // Behind the last contribution the last one is read again, and not added.
#pragma unroll
    for (unsigned i = 0; i < Items; ++i) {
#pragma unroll
        for (unsigned u = 0; u < Most; ++u) {
            const std::uint32_t at = entry[i].from() + (Most == 1 ? 0 : min(u, entry[i].size() - 1));
            bag[i][u] = job.of.bags[at];
            if constexpr (Weighted) weight[i][u] = static_cast<T>(job.of.weights[job.of.positions[at]]);
        }
        found[i] = active[i] ? job.sink.find(entry[i].row) : typename Sink::Found{0};
    }
    // All rows of this thread have been looked for before it waits for the first.
#pragma unroll
    for (unsigned i = 0; i < Items; ++i) {
        ready[i] = job.sink.template begin_found<Lanes, true>(found[i], column[i], active[i]);
    }
#pragma unroll
    for (unsigned i = 0; i < Items; ++i) {
#pragma unroll
        for (unsigned u = 0; u < Most; ++u) {
            if (active[i]) {
                term[i][u] =
                    Vector::load(job.of.gradients + std::size_t{bag[i][u]} * job.of.stride + column[i]);
            }
        }
    }
#pragma unroll
    for (unsigned i = 0; i < Items; ++i) {
        Vector sum = Vector::none();
#pragma unroll
        for (unsigned u = 0; u < Most; ++u) {
            if (Most > 1 && u >= entry[i].size()) term[i][u] = Vector::none();
            if constexpr (Weighted) {
                sum.multiply_add(weight[i][u], term[i][u]);
            } else {
                sum.add(term[i][u]);
            }
        }
        job.sink.template finish<Lanes, true>(ready[i], sum, active[i]);
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
    for (std::uint32_t task = warp_of_grid(); task < end; task += warps_of_grid()) {
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
/// @par Launch any grid of sum_threads threads; a group of lanes takes one row, or a few, (in one slice of
/// columns) of one class: `Ones` rows of one contribution, for which `blocks_at_once` leave registers
template <class Lanes, bool Weighted, unsigned Ones, unsigned blocks_at_once, class T, class Sink>
__global__ void __launch_bounds__(sum_threads, blocks_at_once) sum_short_rows(const SumJob<T, Sink> job) {
    if (job.sink.stopped()) return wait_for_previous();
    const std::uint32_t fours = job.lists.sizes->shorts[2];
    const std::uint32_t twos = job.lists.sizes->shorts[1];
    const std::uint32_t ones = job.lists.sizes->shorts[0];
    const std::uint32_t end_of_fours = tasks_of<Lanes>(job, fours, 1);
    const std::uint32_t end_of_twos = end_of_fours + tasks_of<Lanes>(job, twos, 2);
    const std::uint32_t end = end_of_twos + tasks_of<Lanes>(job, ones, Ones);
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

/// Divides the gradient of each bag by its size, once a bag.
/// @par Launch a thread a column of a bag, stepping by the grid
template <class T, IndexType Index>
__global__ void divide_by_size(Bags<Index> bags, MatrixView<const T> from, T* to) {
    const std::size_t dim = from.columns();
    const std::size_t total = bags.size() * dim;
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < total;
         i += std::size_t{gridDim.x} * blockDim.x) {
        const std::size_t bag = i / dim;
        const std::size_t size = bags.end(bag) - bags.begin(bag);
        to[i] = divided(from(bag, i % dim), static_cast<T>(size == 0 ? 1 : size));
    }
}

/// Bytes that the sums take, whatever is done with them.
template <class T>
[[nodiscard]] constexpr std::size_t sum_scratch(const BackwardShape& shape) {
    return scratch_bytes<T>(shape.pooling == Pooling::mean ? shape.bags * shape.dim : 0) +
           scratch_bytes<T>(block_places(shape.lookups) * shape.dim) +
           scratch_bytes<T>(span_places(shape.lookups) * shape.dim);
}

/// Throws ContractError unless the arguments of a backward pass fit together.
template <class T, IndexType Index>
void require_backward(const RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling,
                      const MatrixView<const T>& grad_out) {
    require(index.lookups() == bags.lookups(), [&] {
        return concat("the row index has ", index.lookups(), " look-ups, expected ", bags.lookups());
    });
    const std::size_t dim = grad_out.columns();
    require(dim >= 1 && dim <= max_dim, [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
    require_shape("grad_out", grad_out, bags.size(), dim);
    if (pooling == Pooling::weighted) {
        require(bags.weights().size() == bags.lookups(), [&] {
            return concat("weights has ", bags.weights().size(), " entries, expected ", bags.lookups());
        });
        require(index.positions.size() == bags.lookups(), [&] {
            return concat("the row index has ", index.positions.size(), " positions, expected ",
                          bags.lookups(), " (build it for weighted pooling)");
        });
    }
}

/// Queues the sums of all rows of an index; `aligned`: rows and gradients of the sink are.
template <class T, IndexType Index, class Sink>
void queue_sums(On on, const RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling,
                MatrixView<const T> grad_out, const Sink& sink, bool aligned, Workspace& workspace,
                SideStream* side) {
    const std::size_t lookups = bags.lookups();
    if (lookups == 0) return;
    const std::size_t dim = grad_out.columns();
    if (pooling == Pooling::mean) {
        const auto divided_gradients = workspace.take<T>(bags.size() * dim);
        if (bags.bag_size() != 1) {
            divide_by_size<T, Index><<<launch_grid(bags.size() * dim, 256), 256, 0, on.stream>>>(
                bags, grad_out, divided_gradients.data());
            check_launch("divide_by_size");
            grad_out = {divided_gradients.data(), bags.size(), dim};
        }
    }
    const auto block_sums = workspace.take<T>(block_places(lookups) * dim);
    const auto span_sums = workspace.take<T>(span_places(lookups) * dim);
    const bool weighted = pooling == Pooling::weighted;
    SumJob<T, Sink> job{{index.bags.data(), index.positions.data(), bags.weights().data(), grad_out.data(),
                         grad_out.stride()},
                        index.lists,
                        sink,
                        block_sums.data(),
                        span_sums.data(),
                        static_cast<unsigned>(dim),
                        1};
    const bool packs = aligned && aligned_rows(grad_out);
    require(lookups * ceil_div<std::size_t>(dim, packs ? 64 : 32) < (std::size_t{1} << 32), [&] {
        return concat("the batch has ", lookups, " look-ups of ", dim,
                      " columns, expected less than 2^32 slices of columns");
    });
    // As many blocks as are there at a time; their warps go through the lists.
    const auto grid = [&](std::size_t entries, std::size_t of_warp, std::size_t at_once) {
        const std::size_t warps = ceil_div<std::size_t>(entries * job.slices, of_warp) + 3;
        const auto most = static_cast<std::size_t>(current_device().multiprocessors) * at_once;
        return static_cast<unsigned>(
            std::clamp<std::size_t>(ceil_div<std::size_t>(warps, sum_threads / warp_size), 1, most));
    };
    On long_on = on;
    if (side != nullptr) {
        long_on = cuda::on(side->stream);
        side->fork.record(on);
        side->fork.wait(long_on);
    }
    constexpr bool whole = Sink::needs_whole_rows;
    with_lanes<T, whole ? Deal::whole_rows : Deal::more_lanes>(dim, packs, [&]<class Lanes>(Lanes) {
        job.slices = Lanes::slices(dim);
        // Side by side, both kinds are to be on every multiprocessor at a time: blocks of a large batch leave
        // room for short rows, those of a small one are over soon.
        const unsigned beside = lookups < small_batch ? sum_blocks_a_multiprocessor - 2 : 3;
        const unsigned at_once = side == nullptr ? sum_blocks_a_multiprocessor : beside;
        const auto kernel = weighted ? sum_blocks<Lanes, true, T, Sink> : sum_blocks<Lanes, false, T, Sink>;
        kernel<<<grid(lookups / 5 + 1, Lanes::groups, at_once), sum_threads, 0, long_on.stream>>>(job);
        check_launch("sum_blocks");
    });
    if (lookups > block_terms) {
        const std::size_t most = WorkLists::most_spans(lookups) * ceil_div<std::size_t>(dim, warp_size);
        launch_behind(long_on, "launch of sum_spans", sum_spans<T, Sink>,
                      launch_grid(most * warp_size, sum_threads), sum_threads, 0, job);
    }
    if (lookups > span_terms) {
        const unsigned towers = launch_grid(WorkLists::most_towers(lookups), 1);
        launch_behind(long_on, "launch of sum_towers", sum_towers<T, Sink>, towers, sum_threads, 0, job);
    }
    with_lanes<T, whole ? Deal::whole_rows : Deal::packs>(dim, packs, [&]<class Lanes>(Lanes) {
        job.slices = Lanes::slices(dim);
        const auto kernel_of = [&]<unsigned Ones, unsigned blocks_at_once>(
                                   std::integer_sequence<unsigned, Ones, blocks_at_once>) {
            return weighted ? sum_short_rows<Lanes, true, Ones, blocks_at_once, T, Sink>
                            : sum_short_rows<Lanes, false, Ones, blocks_at_once, T, Sink>;
        };
        auto kernel = kernel_of(std::integer_sequence<unsigned, 2, sum_blocks_a_multiprocessor>{});
        if constexpr (Lanes::pack > 1 && Lanes::width == 16 && !Sink::has_state) {
            // Rows of several slices come from memory: more of them on their way are worth fewer warps.
            if (job.slices > 1) kernel = kernel_of(std::integer_sequence<unsigned, 4, 5>{});
        }
        // Side by side, a few times as many as are there at a time: the later ones take the room that the
        // long rows leave.
        const unsigned rounds = side == nullptr || lookups < small_batch ? 1 : 4;
        const unsigned blocks = grid(lookups, 2 * Lanes::groups, rounds * sum_blocks_a_multiprocessor);
        if (side == nullptr) {
            launch_behind(on, "launch of sum_short_rows", kernel, blocks, sum_threads, 0, job);
        } else {
            kernel<<<blocks, sum_threads, 0, on.stream>>>(job);
            check_launch("sum_short_rows");
        }
    });
    if (side != nullptr) {
        side->join.record(long_on);
        side->join.wait(on);
    }
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI::cuda
