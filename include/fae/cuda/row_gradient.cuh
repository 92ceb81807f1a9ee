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
#include "fae/cuda/row_sums.cuh"
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

inline constexpr std::size_t small_batch = std::size_t{1} << 19;  ///< in look-ups

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
                        1,
                        static_cast<std::uint32_t>(lookups)};
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
        // Side by side, both kinds are to be on every multiprocessor at a time: of a large batch, in a
        // proportion that the kernel knows; blocks of a small one are over soon.
        const bool by_share = side != nullptr && lookups >= small_batch;
        if (by_share) job.beside = dim * sizeof(T) <= 64 ? 0.93f : 0.77f;
        const unsigned at_once = sum_blocks_a_multiprocessor - (side == nullptr || by_share ? 0 : 2);
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
    with_lanes<T, whole ? Deal::whole_rows : Deal::wide_slices>(dim, packs, [&]<class Lanes>(Lanes) {
        job.slices = Lanes::slices(dim);
        const auto kernel_of = [&]<unsigned Ones, unsigned blocks_at_once>(
                                   std::integer_sequence<unsigned, Ones, blocks_at_once>) {
            return weighted ? sum_short_rows<Lanes, true, Ones, blocks_at_once, T, Sink>
                            : sum_short_rows<Lanes, false, Ones, blocks_at_once, T, Sink>;
        };
        auto kernel = kernel_of(std::integer_sequence<unsigned, 2, 6>{});
        if constexpr (Lanes::pack > 1 && Lanes::width >= 16 && !Sink::has_state) {
            // Wide rows come from memory: more of them on their way are worth fewer warps.
            if (dim * sizeof(T) > 256) kernel = kernel_of(std::integer_sequence<unsigned, 4, 5>{});
        }
        // Side by side, a few times as many as are there at a time: the later ones take the room that the
        // long rows leave.
        const unsigned rounds = side == nullptr || lookups < small_batch ? 1 : 4;
        // Of a small batch a warp takes fewer rows, for all to have some.
        const std::size_t warps = std::size_t{sum_blocks_a_multiprocessor} * (sum_threads / warp_size) *
                                  static_cast<std::size_t>(current_device().multiprocessors);
        while (job.held > 2 * Lanes::groups && lookups * job.slices / 2 < warps * job.held) job.held /= 2;
        const unsigned blocks = grid(lookups, job.held, rounds * sum_blocks_a_multiprocessor);
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
