// SPDX-License-Identifier: Apache-2.0
//
// Row gradients on the device: the sums of each row's contributions, in the canonical order, and what a sink
// (optimizer.cuh) does with them. Internal to embedding_bag.cuh.
//
// Three kernels, one for each kind of list that the index holds: blocks of contributions beside short rows,
// then spans (64 sums of blocks), then towers (the sums of a row's spans). Most batches have no tower and few
// spans; the last two kernels then end at once. The first can run as two, side by side: the long rows and
// what follows from them on a stream of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/lanes.cuh"
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
        __device__ const T* at(Key bag) const { return of.gradients + std::size_t{bag} * of.stride; }
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
    bool long_rows;   ///< this launch sums the blocks of long rows
    bool short_rows;  ///< this launch sums short rows

    struct Item {
        std::uint32_t at;
        unsigned column;
    };
    /// What a lane does of a warp's task: which entry of a list, and from which column on.
    template <class Lanes>
    __device__ Item item(std::uint32_t task) const {
        const std::uint32_t number = task * Lanes::groups + Lanes::group();
        const unsigned column = Lanes::lane() * Lanes::pack;
        if (slices == 1) return {number, column};
        return {number / slices, number % slices * Lanes::slice + column};
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
    typename Sink::template Ready<Lanes> ready[Items];
#pragma unroll
    for (unsigned i = 0; i < Items; ++i) {
        const auto [at, of_lane] = job.template item<Lanes>(task * Items + i);
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
        ready[i] = job.sink.template begin<Lanes>(entry[i].row, column[i], active[i]);
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
        job.sink.template finish<Lanes>(ready[i], sum, active[i]);
    }
}

/// Sums blocks of contributions and short rows.
/// @par Launch any grid of sum_threads threads. A warp takes tasks in turn: first blocks, then short rows
/// from the longest class on; a task is an item (of a list, in one slice of columns) for each group of lanes,
/// or a few
template <class Lanes, bool Weighted, class T, class Sink>
__global__ void __launch_bounds__(sum_threads, 5) sum_rows(const SumJob<T, Sink> job) {
    if (job.sink.stopped()) return;
    constexpr std::uint32_t items[size_classes] = {4, 2, 1, 1, 1};
    const auto tasks_of = [&](std::uint32_t entries, std::uint32_t at_a_time) {
        return ceil_div<std::uint32_t>(entries * job.slices, at_a_time * Lanes::groups);
    };
    const ListSizes sizes = *job.lists.sizes;
    std::uint32_t end[size_classes + 1];
    end[size_classes] = job.long_rows ? tasks_of(sizes.blocks, 1) : 0;
#pragma unroll
    for (unsigned c = size_classes; c-- > 0;) {
        end[c] = end[c + 1] + (job.short_rows ? tasks_of(sizes.shorts[c], items[c]) : 0);
    }
    const ShortEntry* const longest = job.lists.shorts[4];
    const ShortEntry* const longer = job.lists.shorts[3];
    const std::uint32_t warps = gridDim.x * (sum_threads / warp_size);
    for (std::uint32_t task = blockIdx.x * (sum_threads / warp_size) + threadIdx.x / warp_size; task < end[0];
         task += warps) {
        if (task < end[3]) {
            const unsigned of = task < end[5] ? 5u : task < end[4] ? 4u : 3u;
            const auto [at, column] =
                job.template item<Lanes>(of == 5 ? task : task - (of == 4 ? end[5] : end[4]));
            SumEntry entry{0, 0, 0, no_place};
            if (of == 5) {
                if (at < sizes.blocks) entry = job.lists.blocks[at];
            } else {
                const ShortEntry* const list = of == 4 ? longest : longer;
                if (at < (of == 4 ? sizes.shorts[4] : sizes.shorts[3]))
                    entry = {list[at].row, list[at].from(), list[at].size(), no_place};
            }
            const bool active = entry.count != 0 && column < job.dim;
            const bool ends = active && entry.place == no_place;
            auto ready = job.sink.template begin<Lanes>(entry.row, column, ends);
            const auto sum = sum_terms<Lanes, Weighted>(job.of.from(entry.from), entry.count, column, active);
            if (active && !ends) sum.store(job.block_sums + std::size_t{entry.place} * job.dim + column);
            job.sink.template finish<Lanes>(ready, sum, ends);
        } else if (task < end[2]) {
            sum_shorts<4, 1, Lanes, Weighted>(job, job.lists.shorts[2], sizes.shorts[2], task - end[3]);
        } else if (task < end[1]) {
            sum_shorts<2, 2, Lanes, Weighted>(job, job.lists.shorts[1], sizes.shorts[1], task - end[2]);
        } else {
            sum_shorts<1, 4, Lanes, Weighted>(job, job.lists.shorts[0], sizes.shorts[0], task - end[1]);
        }
    }
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
/// @par Launch any grid of sum_threads threads; a warp takes a span, a lane a column
template <class T, class Sink>
__global__ void __launch_bounds__(sum_threads) sum_spans(const SumJob<T, Sink> job) {
    if (job.sink.stopped()) return;
    const std::uint32_t spans = job.lists.sizes->spans;
    const std::uint32_t warps = gridDim.x * (sum_threads / warp_size);
    for (std::uint32_t at = blockIdx.x * (sum_threads / warp_size) + threadIdx.x / warp_size; at < spans;
         at += warps) {
        const SumEntry entry = job.lists.spans[at];
        // A lane's columns are its own, so that the sum can stand where the first block's stood.
        T* const from = job.block_sums + std::size_t{entry.from} * job.dim;
        T* const to = entry.place == no_place ? from : job.span_sums + std::size_t{entry.place} * job.dim;
        for (unsigned column = threadIdx.x % warp_size; column < job.dim; column += warp_size) {
            to[column] = sum_column(from + column, entry.count, job.dim);
        }
        if (entry.place == no_place) job.sink.template take<ColumnLanes<T>>(entry.row, from, true);
    }
}

/// Sums the spans of rows that have more than one, level by level, in place: the sums of a level stand where
/// their first terms stood.
/// @par Launch any grid of sum_threads threads; a block takes a row, a thread a column of a sum of 64
template <class T, class Sink>
__global__ void __launch_bounds__(sum_threads) sum_towers(const SumJob<T, Sink> job) {
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
    with_lanes<T>(dim, aligned && aligned_rows(grad_out), [&]<class Lanes>(Lanes) {
        require(lookups * Lanes::slices(dim) < (std::size_t{1} << 32), [&] {
            return concat("the batch has ", lookups, " look-ups of ", Lanes::slices(dim),
                          " slices of columns, expected less than 2^32 of both");
        });
        SumJob<T, Sink> job{{index.bags.data(), index.positions.data(), bags.weights().data(),
                             grad_out.data(), grad_out.stride()},
                            index.lists,
                            sink,
                            block_sums.data(),
                            span_sums.data(),
                            static_cast<unsigned>(dim),
                            Lanes::slices(dim),
                            true,
                            true};
        const auto grid = [&](std::size_t entries) {
            const std::size_t tasks = ceil_div<std::size_t>(entries * job.slices, Lanes::groups);
            return launch_grid(tasks * warp_size, sum_threads);
        };
        const auto rows = [&](On where, bool long_rows, bool short_rows) {
            job.long_rows = long_rows;
            job.short_rows = short_rows;
            if (weighted) {
                sum_rows<Lanes, true, T, Sink><<<grid(lookups), sum_threads, 0, where.stream>>>(job);
            } else {
                sum_rows<Lanes, false, T, Sink><<<grid(lookups), sum_threads, 0, where.stream>>>(job);
            }
            check_launch("sum_rows");
        };
        On long_on = on;
        if (side != nullptr) {
            long_on = cuda::on(side->stream);
            side->fork.record(on);
            side->fork.wait(long_on);
            rows(long_on, true, false);
            rows(on, false, true);
        } else {
            rows(on, true, true);
        }
        if (lookups > block_terms) {
            const unsigned spans = launch_grid(WorkLists::most_spans(lookups) * warp_size, sum_threads);
            sum_spans<T, Sink><<<spans, sum_threads, 0, long_on.stream>>>(job);
            check_launch("sum_spans");
        }
        if (lookups > span_terms) {
            const unsigned towers = launch_grid(WorkLists::most_towers(lookups), 1);
            sum_towers<T, Sink><<<towers, sum_threads, 0, long_on.stream>>>(job);
            check_launch("sum_towers");
        }
        if (side != nullptr) {
            side->join.record(long_on);
            side->join.wait(on);
        }
    });
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI::cuda
