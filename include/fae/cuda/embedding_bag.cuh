// SPDX-License-Identifier: Apache-2.0
//
// Embedding bags on the device: the twins of ops/embedding_bag.hpp and ops/row_gradient.hpp, equal to them to
// the bit.
//
//   embedding_bag::forward(cuda::on(stream), rows, bags, Pooling::sum, out);
//   ...                                                       // the model turns out into grad_out
//   auto index = build_row_index(cuda::on(stream), bags, space.rows(), index_space);
//   embedding_bag::backward_step(cuda::on(stream), Sgd{}, lr, index, bags, Pooling::sum, grad_out, rows,
//   scratch);
//
// Views, bags, matrices and workspaces hold addresses of the device (or pinned ones). Everything is queued:
// nothing waits, nothing allocates, all can be captured into a graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/index_check.cuh"
#include "fae/cuda/lanes.cuh"
#include "fae/cuda/optimizer.cuh"
#include "fae/cuda/row_gradient.cuh"
#include "fae/cuda/row_index.cuh"
#include "fae/cuda/row_source.cuh"
#include "fae/cuda/scalar.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/ops/embedding_bag.hpp"

namespace fae::inline FAE_ABI {
namespace cuda {

/// The gradients of a batch's rows: row r of `gradients` belongs to row r of the index; `count` of them are
/// there.
template <class T, IndexType Index = std::uint32_t>
struct RowGradients {
    RowIndex<Index> index;
    MatrixView<T> gradients;  ///< [capacity, dim]
};

/// How an update runs.
struct UpdateOptions {
    /// Where the sums of long rows may run beside those of short ones; null: all on the operation's stream.
    SideStream* side = nullptr;
    /// In device memory: rows stay as they are if it is not zero (the loss was not finite, say); null: they
    /// are updated.
    const std::uint32_t* stop = nullptr;
};

/// Bytes of workspace that backward takes. The gradients live in it. `rows` of the shape: the index's
/// capacity, or any bound on it.
template <class T>
[[nodiscard]] constexpr std::size_t backward_scratch(const BackwardShape& shape) {
    return scratch_bytes<T>(shape.rows * shape.dim) + detail::sum_scratch<T>(shape);
}

/// Bytes of workspace that backward_step takes; none of it is needed after the call has run.
template <class T, Optimizer O>
[[nodiscard]] constexpr std::size_t backward_step_scratch(const BackwardShape& shape) {
    // Row-wise Adagrad must know a row's whole gradient: that of a wide row is written first.
    const bool whole = O::kind == OptimizerKind::rowwise_adagrad && shape.dim > detail::warp_size;
    return detail::sum_scratch<T>(shape) + scratch_bytes<T>(whole ? shape.rows * shape.dim : 0);
}

namespace detail {

/// Finds the rows of a bag, as sum_terms() asks for them: the keys are addresses.
template <class T, IndexType Index>
struct RowOfBag {
    using Key = unsigned long long;
    const DeviceRows<T>& source;
    const Index* values;   ///< of the bag
    const float* weights;  ///< of the bag
    std::size_t feature;
    __device__ Key find(std::uint32_t i) const {
        return reinterpret_cast<Key>(source.weights_of(values[i], feature));
    }
    __device__ T weight(std::uint32_t i) const { return static_cast<T>(weights[i]); }
    template <class Vector>
    __device__ Vector load(Key key, unsigned column) const {
        return Vector::load_constant(reinterpret_cast<const T*>(key) + column);
    }
};

inline constexpr unsigned pool_threads = 256;

/// Pools bags.
/// @par Launch a group of lanes for each bag and slice of columns; all bags of a slice before the next slice
template <class Lanes, bool Weighted, class T, IndexType Index>
__global__ void __launch_bounds__(pool_threads, 4)
    pool_bags(const DeviceRows<T> source, const Bags<Index> bags, bool mean, MatrixView<T> out,
              unsigned slices) {
    using Vector = typename Lanes::Vector;
    if (source.is_spoilt()) return;
    const std::size_t warp = blockIdx.x * std::size_t{pool_threads / warp_size} + threadIdx.x / warp_size;
    const std::size_t item = warp * Lanes::groups + Lanes::group();
    const std::size_t whole =
        slices == 1 ? bags.size() : ceil_div<std::size_t>(bags.size(), Lanes::groups) * Lanes::groups;
    const std::size_t bag = slices == 1 ? item : item % whole;
    const auto slice = static_cast<unsigned>(slices == 1 ? 0 : item / whole);
    const unsigned column = slice * Lanes::slice + Lanes::lane() * Lanes::pack;
    const bool there = bag < bags.size();
    const bool active = there && column < out.columns();
    const std::size_t begin = there ? bags.begin(bag) : 0;
    const auto size = static_cast<std::uint32_t>(there ? bags.end(bag) - begin : 0);
    const std::size_t feature = source.parts == nullptr || !there ? 0 : bag % bags.features();
    const RowOfBag<T, Index> rows{source, bags.values().data() + begin, bags.weights().data() + begin,
                                  feature};
    Vector sum = sum_terms<Lanes, Weighted>(rows, size, column, active);
    if (size == 0) sum = Vector::filled(T{0});
    if (mean && size > 1) sum.divide(static_cast<T>(size));
    if (active) sum.store_once(out.row(bag) + column);
}

/// Look-ups of fixed bags that a block holds in shared memory at most.
inline constexpr std::size_t most_staged = 4096;

/// Pools fixed bags whose look-ups fit in shared memory: a warp reads those of its bags once, side by side,
/// so that nothing stands between the loads of rows, of which a lane has `batch` in flight. `TwoViews`: rows
/// may lie in either view; else all are in that of the homes.
/// @par Launch as pool_bags
template <class Lanes, unsigned batch, unsigned blocks_at_once, bool TwoViews, class T, IndexType Index>
__global__ void __launch_bounds__(pool_threads, blocks_at_once)
    pool_staged(const DeviceRows<T> source, const Bags<Index> bags, bool mean, MatrixView<T> out) {
    using Vector = typename Lanes::Vector;
    constexpr unsigned bags_of_block = pool_threads / Lanes::width;
    constexpr unsigned at_once = 4;  // look-ups on their way
    extern __shared__ std::uint64_t staged_values[];
    if (source.is_spoilt()) return;
    const auto size = static_cast<unsigned>(bags.bag_size());
    const auto blocks = static_cast<unsigned>(ceil_div<std::size_t>(bags.size(), bags_of_block));
    const unsigned warp = threadIdx.x / warp_size;
    const std::size_t first = std::size_t{blockIdx.x % blocks} * bags_of_block + warp * Lanes::groups;
    if (first >= bags.size()) return;
    const auto count = static_cast<unsigned>(min(std::size_t{Lanes::groups}, bags.size() - first));
    Index* const staged = reinterpret_cast<Index*>(staged_values) + warp * Lanes::groups * size;
    const Index* const from = bags.values().data() + first * size;
    for (unsigned i = threadIdx.x % warp_size; i < count * size; i += at_once * warp_size) {
        Index value[at_once];
#pragma unroll
        for (unsigned k = 0; k < at_once; ++k) {
            if (i + k * warp_size < count * size) value[k] = __ldcs(from + i + k * warp_size);
        }
#pragma unroll
        for (unsigned k = 0; k < at_once; ++k) {
            if (i + k * warp_size < count * size) staged[i + k * warp_size] = value[k];
        }
    }
    __syncwarp();
    const unsigned own = Lanes::group();
    const auto column =
        static_cast<unsigned>(blockIdx.x / blocks) * Lanes::slice + Lanes::lane() * Lanes::pack;
    if (own >= count || column >= out.columns()) return;
    DeviceView<T> home = source.home;
    if constexpr (TwoViews) {
        if (source.parts != nullptr) {
            home = DeviceView<T>(source.parts[source.feature_part[(first + own) % bags.features()]]);
        }
    } else {
        home.weights += column * sizeof(T);
    }
    const Index* const mine = staged + own * size;
    const auto load = [&](unsigned i) {
        const Index row = position_of(mine[i]);
        if constexpr (!TwoViews) return Vector::load_constant(home.weights_of(row));
        return Vector::load_constant((is_fast(mine[i]) ? source.fast : home).weights_of(row) + column);
    };
    Vector sum = Vector::none();
    for (unsigned i = 0; i < size; i += batch) {
        Vector term[batch];
        // Behind the last row there is what a sum begins with.
        if (i + batch <= size) {
#pragma unroll
            for (unsigned u = 0; u < batch; ++u) term[u] = load(i + u);
        } else {
#pragma unroll
            for (unsigned u = 0; u < batch; ++u) {
                term[u] = Vector::none();
                if (i + u < size) term[u] = load(i + u);
            }
        }
#pragma unroll
        for (unsigned u = 0; u < batch; ++u) sum.add(term[u]);
    }
    if (mean && size > 1) sum.divide(static_cast<T>(size));
    sum.store_once(out.row(first + own) + column);
}

/// Queues pool_staged, unless the look-ups of a block are too many. How many rows a lane has in flight, and
/// so how many blocks there is room for, is what was fastest for rows and bags of about that size.
template <class Lanes, bool TwoViews, class T, IndexType Index>
bool queue_staged(On on, const DeviceRows<T>& source, const Bags<Index>& bags, bool mean, MatrixView<T> out) {
    constexpr std::size_t bags_of_block = pool_threads / Lanes::width;
    const std::size_t size = bags.bag_size();
    if (bags_of_block * size > most_staged) return false;
    const auto blocks = static_cast<unsigned>(ceil_div<std::size_t>(bags.size(), bags_of_block) *
                                              Lanes::slices(out.columns()));
    const auto launch = [&](auto kernel) {
        kernel<<<blocks, pool_threads, bags_of_block * size * sizeof(Index), on.stream>>>(source, bags, mean,
                                                                                          out);
        check_launch("pool_staged");
        return true;
    };
    if constexpr (!TwoViews && Lanes::pack > 1) {
        if constexpr (Lanes::width == 4) {
            if (size > 16 && size <= 26) return launch(pool_staged<Lanes, 13, 3, false, T, Index>);
        } else if constexpr (Lanes::width == 8) {
            if (size > 32) return launch(pool_staged<Lanes, 16, 3, false, T, Index>);
        } else {
            if (size <= 32) return launch(pool_staged<Lanes, 4, 8, false, T, Index>);
        }
    }
    constexpr unsigned at_once = Lanes::width == 8 ? 4 : 5;
    return launch(pool_staged<Lanes, 8, at_once, TwoViews, T, Index>);
}

/// Copies the rows of bags of one row each.
/// @par Launch a group of lanes for each copy_items bags, neighbouring groups with neighbouring bags
inline constexpr unsigned copy_items = 4;
template <class Lanes, class T, IndexType Index>
__global__ void __launch_bounds__(pool_threads)
    copy_rows(const DeviceRows<T> source, const Bags<Index> bags, MatrixView<T> out) {
    using Vector = typename Lanes::Vector;
    if (source.is_spoilt()) return;
    const std::size_t warp = blockIdx.x * std::size_t{pool_threads / warp_size} + threadIdx.x / warp_size;
    const std::size_t first = warp * Lanes::groups * copy_items + Lanes::group();
    const T* row[copy_items];
#pragma unroll
    for (unsigned i = 0; i < copy_items; ++i) {
        const std::size_t bag = first + i * Lanes::groups;
        row[i] = nullptr;
        if (bag < bags.size()) {
            row[i] =
                source.weights_of(bags.values()[bag], source.parts == nullptr ? 0 : bag % bags.features());
        }
    }
    for (unsigned c = Lanes::lane() * Lanes::pack; c < out.columns(); c += Lanes::slice) {
        Vector value[copy_items];
#pragma unroll
        for (unsigned i = 0; i < copy_items; ++i) {
            if (row[i] != nullptr) value[i] = Vector::load(row[i] + c);
        }
#pragma unroll
        for (unsigned i = 0; i < copy_items; ++i) {
            if (row[i] != nullptr) value[i].store_once(out.row(first + i * Lanes::groups) + c);
        }
    }
}

/// Updates rows with gradients that lie in memory.
/// @par Launch any grid of sum_threads threads; a group of lanes takes a row
template <class Lanes, class T, class Sink>
__global__ void __launch_bounds__(sum_threads)
    step_rows(const Sink sink, MatrixView<const T> gradients, const std::uint32_t* count) {
    if (sink.stopped()) return;
    const std::uint32_t rows = *count;
    const std::uint32_t step = gridDim.x * (sum_threads / warp_size) * Lanes::groups;
    const std::uint32_t warp = blockIdx.x * (sum_threads / warp_size) + threadIdx.x / warp_size;
    for (std::uint64_t first = std::uint64_t{warp} * Lanes::groups; first < rows; first += step) {
        const auto row = static_cast<std::uint32_t>(first + Lanes::group());
        sink.template take<Lanes>(row, gradients.row(row), row < rows);
    }
}

template <class T, IndexType Index, Optimizer O>
UpdateSink<T, Index, O> update_sink(On on, const RowIndex<Index>& index, const O& optimizer, Scalar<T> lr,
                                    const RowSource<T>& rows, std::size_t dim, const std::uint32_t* stop) {
    fae::detail::require_source(rows, dim, O::state_size(dim));
    if (!index.gathered) look_at(on, index.rows, IndexInSource(rows), "rows[", index.count);
    return {DeviceRows<T>(rows, on), index.gathered ? nullptr : index.rows.data(), optimizer, lr, stop, dim};
}

}  // namespace detail
}  // namespace cuda

namespace embedding_bag {

/// Pools the rows of each bag on the device; as the host's forward, to the bit.
/// @shape  values [nnz] located indices; offsets [bags + 1] or one bag size; weights [nnz] (weighted); out
///         [bags, dim]; rows of at least dim weights
/// @units  offsets count values, not bytes
/// @pre    the source holds every row; out overlaps no row. Several home parts: their array and feature_part
///         are addressable by host and device
/// @exec   cuda::On: queued, one kernel
/// @cost   reads nnz * (dim * sizeof(T) + sizeof(Index)) + 8 * (bags + 1) bytes, writes bags * dim *
/// sizeof(T);
///         no allocation
/// @throws ContractError if out is not [bags, dim], rows are shorter than dim, weights are missing, or there
///         are several home parts and no part for each feature; CudaError. A look-up that names no row is an
///         IndexError of the next synchronising call (FAE_CHECKED), and out is NaN
template <class T, IndexType Index>
void forward(cuda::On on, const RowSource<T>& rows, const Bags<Index>& bags, Pooling pooling,
             std::type_identity_t<MatrixView<T>> out) {
    namespace impl = cuda::detail;
    const std::size_t dim = out.columns();
    require(dim >= 1 && dim <= max_dim, [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
    require_shape("out", out, bags.size(), dim);
    detail::require_source(rows, dim, 0);
    require(pooling != Pooling::weighted || bags.weights().size() == bags.lookups(), [&] {
        return concat("weights has ", bags.weights().size(), " entries, expected ", bags.lookups());
    });
    require(rows.home.size() <= 1 || rows.feature_part.size() == bags.features(), [&] {
        return concat("feature_part has ", rows.feature_part.size(), " entries, expected ", bags.features(),
                      " (one per feature, for ", rows.home.size(), " home parts)");
    });
    if (bags.size() == 0) return;
    const impl::DeviceRows<T> source(rows, on);
    impl::look_at(on, bags.values(), impl::IndexInSource(rows), "values[");
    impl::spoil_if_reported(on, out);
    const bool aligned = impl::aligned_rows(rows) && impl::aligned_rows(out);
    if (pooling != Pooling::weighted && bags.is_fixed() && bags.bag_size() > 1) {
        const bool mean = pooling == Pooling::mean;
        bool pooled = false;
        if (rows.home.size() > 1 || (rows.fast.rows != 0 && rows.home.size() == 1)) {
            impl::with_lanes<T, impl::Deal::packs>(dim, aligned, [&]<class Lanes>(Lanes) {
                pooled = impl::queue_staged<Lanes, true>(on, source, bags, mean, out);
            });
        } else {
            impl::DeviceRows<T> one_view = source;
            if (rows.home.empty()) one_view.home = source.fast;
            impl::with_lanes<T, impl::Deal::wide_slices>(dim, aligned, [&]<class Lanes>(Lanes) {
                pooled = impl::queue_staged<Lanes, false>(on, one_view, bags, mean, out);
            });
        }
        if (pooled) return;
    }
    impl::with_lanes<T, impl::Deal::packs>(dim, aligned, [&]<class Lanes>(Lanes) {
        const auto grid = [](std::size_t groups) {
            constexpr std::size_t of_block = Lanes::groups * impl::pool_threads / impl::warp_size;
            return static_cast<unsigned>(ceil_div(groups, of_block));
        };
        if (pooling != Pooling::weighted && bags.bag_size() == 1) {
            impl::copy_rows<Lanes, T, Index><<<grid(ceil_div<std::size_t>(bags.size(), impl::copy_items)),
                                               impl::pool_threads, 0, on.stream>>>(source, bags, out);
            return cuda::check_launch("copy_rows");
        }
        const unsigned slices = Lanes::slices(dim);
        const bool mean = pooling == Pooling::mean;
        if (pooling == Pooling::weighted) {
            impl::pool_bags<Lanes, true, T, Index>
                <<<grid(ceil_div<std::size_t>(bags.size(), Lanes::groups) * Lanes::groups * slices),
                   impl::pool_threads, 0, on.stream>>>(source, bags, mean, out, slices);
        } else {
            impl::pool_bags<Lanes, false, T, Index>
                <<<grid(ceil_div<std::size_t>(bags.size(), Lanes::groups) * Lanes::groups * slices),
                   impl::pool_threads, 0, on.stream>>>(source, bags, mean, out, slices);
        }
        cuda::check_launch("pool_bags");
    });
}

/// The gradient of each row of the batch, in the canonical order; as the host's backward, to the bit.
/// @shape  index of bags.lookups() look-ups; grad_out [bags, dim]; the result: gradients [capacity, dim], row
/// r
///         for row r of the index
/// @pre    index was built from these bags, and for this pooling where it is weighted
/// @exec   cuda::On: queued, up to four kernels, and one more where the pooling is a mean
/// @cost   reads nnz * (dim * sizeof(T) + 4) bytes, writes n * dim * sizeof(T); sums of blocks of 64 pass
///         through the workspace; no allocation
/// @throws ContractError if shapes differ, or the workspace has less than cuda::backward_scratch bytes
template <class G, IndexType Index, class T = std::remove_const_t<G>>
[[nodiscard]] cuda::RowGradients<T, Index> backward(cuda::On on, const cuda::RowIndex<Index>& index,
                                                    const Bags<Index>& bags, Pooling pooling,
                                                    MatrixView<G> grad_out, Workspace& workspace,
                                                    cuda::SideStream* side = nullptr) {
    namespace impl = cuda::detail;
    const MatrixView<const T> gradient = grad_out;
    impl::require_backward<T>(index, bags, pooling, gradient);
    const std::size_t dim = grad_out.columns();
    detail::require_workspace(
        workspace, cuda::backward_scratch<T>({index.capacity(), bags.lookups(), bags.size(), dim, pooling}));
    const MatrixView<T> result(workspace.take<T>(index.capacity() * dim).data(), index.capacity(), dim);
    impl::queue_sums<T>(on, index, bags, pooling, gradient, impl::StoreSink<T>{result.data(), dim},
                        impl::aligned_rows(result), workspace, side);
    return {index, result};
}

/// Updates rows with gradients that backward has summed: one optimizer step per row, as the host's, to the
/// bit.
/// @shape  gradients of an index's rows; rows of at least dim weights and the optimizer's state
/// @pre    the source holds every row
/// @exec   cuda::On: queued, one kernel
/// @cost   reads n * dim * sizeof(T) bytes of gradients; reads and writes n records; no allocation
/// @throws ContractError if rows or states are shorter than dim demands. A row that the source does not hold
///         is an IndexError of the next synchronising call (FAE_CHECKED), and no row is changed
template <Optimizer O, class T, IndexType Index>
void step(cuda::On on, const O& optimizer, std::type_identity_t<cuda::Scalar<T>> lr,
          const cuda::RowGradients<T, Index>& gradients, const RowSource<T>& rows,
          const cuda::UpdateOptions& options = {}) {
    namespace impl = cuda::detail;
    const MatrixView<const T> from = gradients.gradients;
    const std::size_t dim = from.columns();
    require(dim >= 1 && dim <= max_dim, [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
    require_shape("gradients", from, gradients.index.capacity(), dim);
    const auto sink = impl::update_sink<T>(on, gradients.index, optimizer, lr, rows, dim, options.stop);
    if (from.rows() == 0) return;
    const bool aligned =
        impl::aligned_rows(rows, O::kind == OptimizerKind::adagrad) && impl::aligned_rows(from);
    impl::with_lanes<T, impl::Deal::packs>(dim, aligned, [&]<class Lanes>(Lanes) {
        const unsigned grid = cuda::launch_grid(from.rows() * Lanes::width, impl::sum_threads);
        impl::step_rows<Lanes, T>
            <<<grid, impl::sum_threads, 0, on.stream>>>(sink, from, gradients.index.count);
        cuda::check_launch("step_rows");
    });
}

/// backward and step in one: sums each row's gradient and updates the row at once. Equal to the two, and to
/// the host, to the bit.
/// @shape  index of bags.lookups() look-ups; grad_out [bags, dim]; rows of at least dim weights and the
///         optimizer's state
/// @pre    index was built from these bags, and for this pooling where it is weighted; the source holds every
///         row
/// @exec   cuda::On: queued, up to four kernels (two more where the pooling is a mean, or row-wise Adagrad
///         updates rows of more than 32 columns that are not aligned to 16 bytes, or of more than 128)
/// @cost   reads nnz * (dim * sizeof(T) + 4) bytes of gradients and index, reads and writes n records; sums
/// of
///         blocks of 64 pass through the workspace; no allocation
/// @throws ContractError if shapes differ, rows or states are shorter than dim demands, or the workspace has
///         less than cuda::backward_step_scratch bytes; IndexError as step
template <Optimizer O, class T, IndexType Index>
void backward_step(cuda::On on, const O& optimizer, std::type_identity_t<cuda::Scalar<T>> lr,
                   const cuda::RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling,
                   std::type_identity_t<MatrixView<const T>> grad_out, const RowSource<T>& rows,
                   Workspace& workspace, const cuda::UpdateOptions& options = {}) {
    namespace impl = cuda::detail;
    impl::require_backward<T>(index, bags, pooling, grad_out);
    const std::size_t dim = grad_out.columns();
    detail::require_workspace(workspace, cuda::backward_step_scratch<T, O>(
                                             {index.capacity(), bags.lookups(), bags.size(), dim, pooling}));
    const bool aligned = impl::aligned_rows(rows, O::kind == OptimizerKind::adagrad);
    const auto sink = impl::update_sink<T>(on, index, optimizer, lr, rows, dim, options.stop);
    if constexpr (impl::UpdateSink<T, Index, O>::needs_whole_rows) {
        bool one_slice = false;
        impl::with_lanes<T, impl::Deal::whole_rows>(
            dim, aligned && impl::aligned_rows(grad_out),
            [&]<class Lanes>(Lanes) { one_slice = Lanes::slices(dim) == 1; });
        if (!one_slice) {
            const auto gradients = backward(on, index, bags, pooling, grad_out, workspace, options.side);
            return step(on, optimizer, lr, gradients, rows, options);
        }
    }
    impl::queue_sums<T>(on, index, bags, pooling, grad_out, sink, aligned, workspace, options.side);
}

}  // namespace embedding_bag
}  // namespace fae::inline FAE_ABI
