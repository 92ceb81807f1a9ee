// SPDX-License-Identifier: Apache-2.0
//
// Embedding bags on the host: pool the rows of each bag, and update the rows from the gradients of the bags.
// One call serves all tables of a row space and all tiers: rows are found through a RowSource.
//
//   embedding_bag::forward(par(threads), rows, bags, Pooling::sum, out);
//   ...                                                       // the model turns out into grad_out
//   RowIndex<std::uint32_t> index = build_row_index(par(threads), bags, space.rows(), workspace);
//   embedding_bag::backward_step(par(threads), Sgd{}, lr, index, bags, Pooling::sum, grad_out, rows,
//   workspace);
//
// backward_step equals backward (row_gradient.hpp) and then step, to the bit, and writes no gradient.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/ops/instruction_set.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/pool_kernel.hpp"
#include "fae/ops/row_gradient.hpp"
#include "fae/ops/row_index.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/ops/update_kernel.hpp"

namespace fae::inline FAE_ABI {
namespace detail {

/// Throws ContractError unless every view of the source holds rows of `dim` weights and their state.
template <class T>
void require_source(const RowSource<T>& source, std::size_t dim, std::size_t state) {
    const auto check = [&](const RowsView<T>& view, const char* tier) {
        if (view.rows == 0) return;
        require(view.weights != nullptr && view.stride >= dim, [&] {
            return concat("rows at ", tier, " have a stride of ", view.stride, ", expected at least ", dim);
        });
        require(state == 0 || (view.state != nullptr && view.state_stride >= state), [&] {
            return concat("rows at ", tier, " have ", view.state == nullptr ? 0 : view.state_stride,
                          " elements of state, expected at least ", state);
        });
    };
    check(source.fast, "fast");
    for (const RowsView<T>& part : source.home) check(part, "home");
}

/// Throws IndexError unless the source holds the row of a located index.
template <class T, IndexType Index>
void check_index(const RowSource<T>& source, const char* name, std::size_t i, Index located) {
    const std::uint64_t row = position_of(located);
    if (is_fast(located)) {
        if (row >= source.fast.rows) {
            throw IndexError(
                concat(name, "[", i, "] is slot ", row, ", expected less than ", source.fast.rows));
        }
        return;
    }
    const std::uint64_t end = source.home.empty() ? 0 : source.home.back().first + source.home.back().rows;
    if (row >= end || row < source.home.front().first) {
        throw IndexError(concat(name, "[", i, "] is ", row, ", expected less than ", end));
    }
}

/// The weights of each look-up's row, front to back.
template <class T, IndexType Index>
class RowFinder {
  public:
    RowFinder(const RowSource<T>& source, const Bags<Index>& bags, std::size_t bag)
        : source_(source), bags_(bags), at_(bags.begin(bag)), bag_(bag), bag_end_(bags.end(bag)) {
        feature_ = bag % bags.features();
    }

    /// Writes the next `count` rows.
    void find(std::size_t count, const T** to) {
        const Index* const values = bags_.values().data() + at_;
        if (source_.home.size() <= 1) {
            const RowsView<T> home = source_.home.empty() ? RowsView<T>{} : source_.home[0];
            for (std::size_t i = 0; i < count; ++i) {
                const RowsView<T>& view = is_fast(values[i]) ? source_.fast : home;
                to[i] = view.weights_of(position_of(values[i]));
            }
        } else {
            for (std::size_t i = 0; i < count; ++i) {
                while (at_ + i >= bag_end_) next_bag();
                to[i] = source_.view_of(values[i], feature_).weights_of(position_of(values[i]));
            }
        }
        at_ += count;
    }

  private:
    void next_bag() {
        bag_end_ = bags_.end(++bag_);
        if (++feature_ == bags_.features()) feature_ = 0;
    }

    const RowSource<T>& source_;
    const Bags<Index>& bags_;
    std::size_t at_;
    std::size_t bag_;
    std::size_t bag_end_;
    std::size_t feature_;
};

/// True if every row of the source begins at a cache line.
template <class T>
[[nodiscard]] bool begin_at_lines(const RowSource<T>& source) {
    bool all = begin_at_lines(source.fast.weights, source.fast.stride);
    for (const RowsView<T>& part : source.home) all = all && begin_at_lines(part.weights, part.stride);
    return all;
}

/// Pools the bags [bag, end), block by block: first the addresses, then the sums.
template <class T, IndexType Index>
void pool_bags(PoolKernel<T> kernel, const RowSource<T>& source, const Bags<Index>& bags, Pooling pooling,
               MatrixView<T> out, std::size_t bag, std::size_t end) {
    constexpr std::size_t most = 256;
    constexpr std::size_t most_ahead = 128;
    const std::size_t dim = out.columns();
    const std::size_t ahead = rows_ahead(dim * sizeof(T), most_ahead);
    const bool aligned = begin_at_lines(source);
    RowFinder<T, Index> finder(source, bags, bag);
    const T* rows[most + most_ahead];
    std::uint32_t bounds[most + 1] = {0};
    std::size_t at = bags.begin(bag);
    const std::size_t last = bags.begin(end);
    std::size_t found = 0;
    const bool single = bags.bag_size() == 1 && pooling != Pooling::weighted;
    bool continued = false;
    while (bag < end) {
        const std::size_t wanted = std::min(most + ahead, last - at);
        finder.find(wanted - found, rows + found);
        found = wanted;
        const std::size_t lookups = std::min(most, last - at);
        for (std::size_t i = found; found != 0 && i < lookups + ahead; ++i) rows[i] = rows[found - 1];

        std::size_t whole = 0;
        std::size_t used = 0;
        if (single) {
            whole = lookups;
            used = lookups;
        }
        for (; !single && whole < most && bag + whole < end; ++whole) {
            const std::size_t to = bags.end(bag + whole) - at;
            if (to > lookups) break;
            bounds[whole + 1] = static_cast<std::uint32_t>(to);
            used = to;
        }
        const bool cut = whole < most && used < lookups;
        if (cut) {
            bounds[whole + 1] = static_cast<std::uint32_t>(lookups);
            used = lookups;
        }
        const float* const weights = pooling == Pooling::weighted ? bags.weights().data() + at : nullptr;
        kernel({rows, weights, bounds, single ? nullptr : bounds + 1, whole + (cut ? 1 : 0), ahead, aligned,
                out.row(bag), out.stride(), dim, continued, cut, pooling == Pooling::mean});
        if (continued && whole != 0 && pooling == Pooling::mean) {
            const T size = static_cast<T>(bags.end(bag) - bags.begin(bag));
            for (std::size_t c = 0; c < dim; ++c) out(bag, c) = out(bag, c) / size;
        }
        continued = cut;
        bag += whole;
        at += used;
        found -= used;
        std::memmove(rows, rows + used, found * sizeof(rows[0]));
    }
}

/// Updates rows of a batch as their gradients come.
template <class T, IndexType Index, Optimizer O>
struct UpdateSink {
    static constexpr bool takes_any = true;  ///< gradients may lie anywhere
    const RowSource<T>& source;
    Span<const Index> located;  ///< ascending where rows are to be found fast
    const O& optimizer;
    T lr;
    UpdateKernel<T, O> kernel;
    std::size_t dim;
    bool aligned;  ///< all rows begin at a cache line
    T* weights[2][sum_rows];
    T* states[2][sum_rows];

    /// Finds the rows [r, r + rows), at most sum_rows of them, and asks for them.
    void expect(std::size_t turn, std::size_t r, std::size_t rows) {
        const RowsView<T>* part = nullptr;
        for (std::size_t i = 0; i < rows; ++i) {
            const Index value = located[r + i];
            const std::uint64_t row = position_of(value);
            if (is_fast(value)) {
                part = &source.fast;
            } else if (part == nullptr || part == &source.fast || row - part->first >= part->rows) {
                part = &source.part_of(row);
            }
            T* const weight = part->weights_of(row);
            weights[turn][i] = weight;
            if (aligned) {
                fetch_aligned<1>(weight, dim * sizeof(T));
            } else {
                fetch<1>(weight, dim * sizeof(T));
            }
            if constexpr (O::state_size(1) != 0) {
                states[turn][i] = part->state_of(row);
                fetch<1>(states[turn][i], O::state_size(dim) * sizeof(T));
            }
        }
    }
    [[nodiscard]] T* place(std::size_t, T* buffer) const { return buffer; }
    /// Updates the rows expected in this turn.
    void take(std::size_t turn, std::size_t rows, const T* const* gradient) {
        kernel({gradient, weights[turn], states[turn], rows, dim, lr}, optimizer);
    }
};

}  // namespace detail

namespace embedding_bag {

/// Pools the rows of each bag: out[b, :] = the sum over i in bag b of row(values[i]), front to back from the
/// first term; divided once by the bag's size (mean), or fma(weights[i], row, sum) from weights[0] * row[0]
/// (weighted). An empty bag gives zeros.
/// @shape  values [nnz] located indices; offsets [bags + 1] or one bag size; weights [nnz] (weighted); out
///         [bags, dim]; rows of at least dim weights
/// @units  offsets count values, not bytes
/// @pre    the source holds every row (FAE_CHECKED); out overlaps no row
/// @exec   seq, par: returns when done; equal to the bit for every executor and instruction set
/// @cost   reads nnz * (dim * sizeof(T) + sizeof(Index)) + 8 * (bags + 1) bytes, writes bags * dim *
/// sizeof(T);
///         no allocation
/// @throws ContractError if out is not [bags, dim], rows are shorter than dim, weights are missing, or there
/// are
///         several home parts and no part for each feature; IndexError (FAE_CHECKED)
/// @source semantics of torch.nn.EmbeddingBag
template <Executor E, class T, IndexType Index>
void forward(const E& exec, const RowSource<T>& rows, const Bags<Index>& bags, Pooling pooling,
             std::type_identity_t<MatrixView<T>> out, InstructionSet set = best_instruction_set()) {
    const std::size_t dim = out.columns();
    require(dim >= 1 && dim <= max_dim, [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
    require_shape("out", out, bags.size(), dim);
    detail::require_source(rows, dim, 0);
    require_supported(set);
    require(pooling != Pooling::weighted || bags.weights().size() == bags.lookups(), [&] {
        return concat("weights has ", bags.weights().size(), " entries, expected ", bags.lookups());
    });
    require(rows.home.size() <= 1 || rows.feature_part.size() == bags.features(), [&] {
        return concat("feature_part has ", rows.feature_part.size(), " entries, expected ", bags.features(),
                      " (one per feature, for ", rows.home.size(), " home parts)");
    });
    if constexpr (checked) {
        for (std::size_t i = 0; i < bags.lookups(); ++i) {
            detail::check_index(rows, "values", i, bags.values()[i]);
        }
    }
    const detail::PoolKernel<T> kernel = detail::pool_kernel<T>(set, pooling == Pooling::weighted);
    const std::size_t per_bag = bags.size() == 0 ? 1 : bags.lookups() / bags.size() + 1;
    for_chunks(exec, bags.size(), std::max<std::size_t>(64, 65536 / dim / per_bag),
               [&](std::size_t begin, std::size_t end) {
                   detail::pool_bags(kernel, rows, bags, pooling, out, begin, end);
               });
}

/// Updates rows with gradients that backward has summed: one optimizer step per row.
/// @shape  gradients: rows [n] located and different, gradients [n, dim]; rows of at least dim weights and
/// the
///         optimizer's state
/// @pre    the source holds every row (FAE_CHECKED)
/// @exec   seq, par: returns when done; equal to the bit for every executor and instruction set
/// @cost   reads n * dim * sizeof(T) bytes of gradients; reads and writes n records; no allocation
/// @throws ContractError if rows or states are shorter than dim demands; IndexError (FAE_CHECKED)
template <Executor E, Optimizer O, class T, IndexType Index>
void step(const E& exec, const O& optimizer, std::type_identity_t<T> lr,
          const RowGradients<T, Index>& gradients, const RowSource<T>& rows,
          InstructionSet set = best_instruction_set()) {
    const std::size_t dim = gradients.gradients.columns();
    require(dim >= 1 && dim <= max_dim, [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
    require_shape("gradients", gradients.gradients, gradients.rows.size(), dim);
    detail::require_source(rows, dim, O::state_size(dim));
    require_supported(set);
    if constexpr (checked) {
        for (std::size_t i = 0; i < gradients.rows.size(); ++i) {
            detail::check_index(rows, "rows", i, gradients.rows[i]);
        }
    }
    const bool aligned = detail::begin_at_lines(rows);
    const auto kernel = detail::update_kernel<T, O>(set);
    const MatrixView<T> from = gradients.gradients;
    const std::size_t block = std::clamp<std::size_t>(max_dim / 2 / dim, 1, detail::sum_rows);
    for_chunks(exec, from.rows(), std::max<std::size_t>(block, 65536 / dim),
               [&](std::size_t r, std::size_t end) {
                   detail::UpdateSink<T, Index, O> sink{rows, gradients.rows, optimizer, lr, kernel,
                                                        dim,  aligned,        {},        {}};
                   // The rows of a block are asked for while the block before is updated.
                   std::size_t turn = 0;
                   sink.expect(turn, r, std::min(block, end - r));
                   for (; r < end; r += block, turn = 1 - turn) {
                       const std::size_t next = r + block;
                       if (next < end) sink.expect(1 - turn, next, std::min(block, end - next));
                       const T* gradient[detail::sum_rows];
                       const std::size_t count = std::min(block, end - r);
                       for (std::size_t i = 0; i < count; ++i) gradient[i] = from.row(r + i);
                       sink.take(turn, count, gradient);
                   }
               });
}

/// Bytes of workspace that backward_step takes; none of it is needed after the call.
template <class T>
[[nodiscard]] constexpr std::size_t backward_step_scratch(const BackwardShape& shape) {
    return detail::sum_scratch<T>(shape);
}

/// backward and step in one: sums each row's gradient and updates the row at once. Equal to the two, to the
/// bit.
/// @shape  index of bags.lookups() look-ups; grad_out [bags, dim]; rows of at least dim weights and the
///         optimizer's state
/// @pre    index was built from these bags, and for this pooling where it is weighted; the source holds every
///         row (FAE_CHECKED)
/// @exec   seq, par: returns when done; equal to the bit for every executor and instruction set
/// @cost   reads nnz * (dim * sizeof(T) + 4) bytes of gradients and index, reads and writes n records; mean
/// as
///         in backward; no allocation
/// @throws ContractError if shapes differ, rows or states are shorter than dim demands, or the workspace has
/// less
///         than backward_step_scratch bytes; IndexError (FAE_CHECKED)
template <Executor E, Optimizer O, class T, IndexType Index>
void backward_step(const E& exec, const O& optimizer, std::type_identity_t<T> lr,
                   const RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling,
                   std::type_identity_t<MatrixView<const T>> grad_out, const RowSource<T>& rows,
                   Workspace& workspace, InstructionSet set = best_instruction_set()) {
    detail::require_backward<T>(index, bags, pooling, grad_out);
    const std::size_t dim = grad_out.columns();
    detail::require_source(rows, dim, O::state_size(dim));
    require_supported(set);
    detail::require_workspace(
        workspace, backward_step_scratch<T>({index.rows.size(), bags.lookups(), bags.size(), dim, pooling}));
    if constexpr (checked) {
        for (std::size_t i = 0; i < index.rows.size(); ++i) {
            detail::check_index(rows, "rows", i, index.rows[i]);
        }
    }
    const bool aligned = detail::begin_at_lines(rows);
    const auto kernel = detail::update_kernel<T, O>(set);
    const auto make_sink = [&] {
        return detail::UpdateSink<T, Index, O>{rows, index.rows, optimizer, lr, kernel, dim, aligned, {}, {}};
    };
    detail::sum_pooled<T>(exec, index, bags, pooling, grad_out, make_sink, workspace, set);
}

}  // namespace embedding_bag
}  // namespace fae::inline FAE_ABI
