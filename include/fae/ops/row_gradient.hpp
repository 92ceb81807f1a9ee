// SPDX-License-Identifier: Apache-2.0
//
// Row gradients: the gradient of each row that a batch looked up, once per row, summed in the canonical
// order.
//
//   RowIndex<std::uint32_t> index = build_row_index(seq, bags, space.rows(), workspace);
//   auto [rows, gradients] = embedding_bag::backward(seq, index, bags, Pooling::sum, grad_out, workspace);
//
// The canonical order is part of the law: a row's contributions, ordered by position in the batch, are summed
// as a 64-ary tree. Blocks of 64 are summed front to back, then blocks of 64 block sums, and so on; a sum
// starts from its first term. A long row is therefore many subtrees that several threads can sum.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/core/table_spec.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/ops/instruction_set.hpp"
#include "fae/ops/pool_kernel.hpp"
#include "fae/ops/row_index.hpp"

namespace fae::inline FAE_ABI {

/// The gradients of a batch's rows: row r of `gradients` belongs to the located index rows[r].
template <class T, IndexType Index = std::uint32_t>
struct RowGradients {
    Span<const Index> rows;
    MatrixView<T> gradients;
};

/// What the workspace of a backward pass depends on. `rows` may be any bound on the different rows of the
/// batch (the look-ups, say, before the index is built).
struct BackwardShape {
    std::size_t rows = 0;
    std::size_t lookups = 0;
    std::size_t bags = 0;
    std::size_t dim = 0;
    Pooling pooling = Pooling::sum;
};

namespace detail {

/// The arity of the tree in which a row's contributions are summed.
inline constexpr std::size_t tree_arity = 64;

/// Contributions of the pieces that a long row is cut into: a subtree of the law's tree.
inline constexpr std::size_t piece_contributions = tree_arity * tree_arity;

/// Bounds on the rows of more than one piece, and on the pieces of all of them.
[[nodiscard]] constexpr std::size_t most_long_rows(std::size_t lookups) {
    return lookups / piece_contributions;
}
[[nodiscard]] constexpr std::size_t most_pieces(std::size_t lookups) { return 2 * most_long_rows(lookups); }

/// Bytes that summing the rows takes, whatever is done with the sums.
template <class T>
[[nodiscard]] constexpr std::size_t sum_scratch(const BackwardShape& shape) {
    return scratch_bytes<T>(shape.pooling == Pooling::mean ? shape.bags * shape.dim : 0) +
           scratch_bytes<T>(most_pieces(shape.lookups) * shape.dim) +
           scratch_bytes<std::uint32_t>(most_long_rows(shape.lookups)) +
           scratch_bytes<std::uint32_t>(most_long_rows(shape.lookups) + 1);
}

inline void require_workspace(const Workspace& workspace, std::size_t needed) {
    require(workspace.left() >= needed,
            [&] { return concat("the workspace has ", workspace.left(), " bytes left, expected ", needed); });
}

/// Throws ContractError unless the arguments of a backward pass fit together.
template <class T, IndexType Index>
void require_backward(const RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling,
                      const MatrixView<const T>& grad_out) {
    require(index.lookups() == bags.lookups(), [&] {
        return concat("the row index has ", index.lookups(), " look-ups, expected ", bags.lookups());
    });
    require(index.begin.size() == index.rows.size() + 1, [&] {
        return concat("the row index has ", index.begin.size(), " beginnings, expected ",
                      index.rows.size() + 1);
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

/// Divides the gradient of each bag by its size, once a bag.
template <class T, Executor E, IndexType Index>
MatrixView<const T> divide_by_size(const E& exec, const Bags<Index>& bags, MatrixView<const T> grad_out,
                                   Span<T> space, InstructionSet set) {
    constexpr std::size_t block = 64;
    const std::size_t dim = grad_out.columns();
    const DivideKernel<T> divide = divide_kernel<T>(set);
    for_chunks(
        exec, bags.size(), std::max<std::size_t>(block, 32768 / dim), [&](std::size_t b, std::size_t end) {
            T divisors[block];
            for (; b < end; b += block) {
                const std::size_t rows = std::min(block, end - b);
                for (std::size_t i = 0; i < rows; ++i) {
                    divisors[i] =
                        static_cast<T>(std::max<std::size_t>(1, bags.end(b + i) - bags.begin(b + i)));
                }
                divide({grad_out.row(b), grad_out.stride(), space.data() + b * dim, rows, dim, divisors});
            }
        });
    return {space.data(), bags.size(), dim};
}

/// The most rows that are summed at a time, and the contributions that they may have together: what is
/// fetched while the rows before are summed.
inline constexpr std::size_t sum_rows = 128;
inline constexpr std::size_t sum_contributions = 2 * sum_rows;
/// The same for rows of so many bytes: long blocks keep more misses in flight, wide rows would leave the near
/// caches before they are used.
[[nodiscard]] constexpr std::size_t sum_rows_of(std::size_t row_bytes) {
    return std::clamp<std::size_t>(16384 / row_bytes, tree_arity, sum_rows);
}

/// The sums of a batch's contributions: which kernel adds up what. Contribution i is the gradient of bags[i],
/// times the weight at positions[i] where the pooling is weighted.
template <class T>
struct ContributionSums {
    PoolKernel<T> first;  ///< sums contributions
    PoolKernel<T> plain;  ///< sums sums
    Span<const std::uint32_t> bags;
    Span<const std::uint32_t> positions;  ///< empty: unweighted
    const float* weights;
    MatrixView<const T> gradients;
    bool aligned;  ///< all gradients begin at a cache line

    [[nodiscard]] bool weighted() const { return !positions.empty(); }

    /// Finds the gradients and weights of the contributions [from, from + count); asks for them if told to.
    void find(std::size_t from, std::size_t count, const T** rows, float* weight, bool fetches) const {
        const std::size_t bytes = gradients.columns() * sizeof(T);
        const std::uint32_t* const bag = bags.data() + from;
        if (!fetches) {
            for (std::size_t i = 0; i < count; ++i) rows[i] = gradients.row(bag[i]);
        } else if (aligned) {
            for (std::size_t i = 0; i < count; ++i) {
                rows[i] = gradients.row(bag[i]);
                fetch_aligned<0>(rows[i], bytes);
            }
        } else {
            for (std::size_t i = 0; i < count; ++i) {
                rows[i] = gradients.row(bag[i]);
                fetch<0>(rows[i], bytes);
            }
        }
        if (weighted()) {
            for (std::size_t i = 0; i < count; ++i) weight[i] = weights[positions[from + i]];
        }
    }

    /// out = the tree over the contributions [from, to), at most one piece of them.
    void sum_piece(std::size_t from, std::size_t to, T* out) const {
        constexpr std::size_t blocks_of = 4;
        constexpr std::size_t most_ahead = 32;
        const std::size_t dim = gradients.columns();
        const std::size_t most = std::clamp<std::size_t>(max_dim / dim, 1, blocks_of);
        const std::size_t ahead = rows_ahead(dim * sizeof(T), most_ahead);
        alignas(64) T sums[max_dim];
        const T* rows[blocks_of * tree_arity + most_ahead];
        float weight[blocks_of * tree_arity + most_ahead];
        for (std::size_t i = from; i < to; i += most * tree_arity) {
            const std::size_t count = std::min(to - i, most * tree_arity);
            std::uint32_t bounds[blocks_of + 1] = {0};
            const T* parts[blocks_of];
            std::uint32_t blocks = 0;
            while (bounds[blocks] < count) {
                parts[blocks] = sums + blocks * dim;
                const std::size_t end = std::min(count, bounds[blocks] + tree_arity);
                bounds[++blocks] = static_cast<std::uint32_t>(end);
            }
            const std::size_t known = std::min(count + ahead, bags.size() - i);
            find(i, known, rows, weight, false);
            for (std::size_t k = known; k < count + ahead; ++k) rows[k] = rows[known - 1];
            first({rows, weight, bounds, bounds + 1, blocks, ahead, aligned, sums, dim, dim, false, false,
                   false});
            const std::uint32_t zero = 0;
            plain({parts, nullptr, &zero, &blocks, 1, 0, false, out, dim, dim, i != from, false, false});
        }
    }

    /// sums[0] = the tree over `count` neighbouring sums, made in place.
    void sum_sums(T* sums, std::size_t count) const {
        const std::size_t dim = gradients.columns();
        for (; count > 1; count = ceil_div(count, tree_arity)) {
            for (std::size_t i = 0; i < count; i += tree_arity) {
                const T* rows[tree_arity];
                const auto terms = static_cast<std::uint32_t>(std::min(tree_arity, count - i));
                for (std::size_t k = 0; k < terms; ++k) rows[k] = sums + (i + k) * dim;
                const std::uint32_t zero = 0;
                plain({rows, nullptr, &zero, &terms, 1, 0, false, sums + i / tree_arity * dim, dim, dim,
                       false, false, false});
            }
        }
    }
};

/// Rows that are to be summed by a task: neighbours of at most 64 contributions each, or one with more.
template <class T>
struct SumBlock {
    std::size_t r = 0;
    std::size_t rows = 0;
    std::size_t from = 0;  ///< the first contribution
    std::uint32_t ends[sum_rows];
    const T* contributions[sum_contributions];
    float weight[sum_contributions];
};

/// Sums the contributions of every row of the index. Each task makes a sink by make_sink(); the sink is told
/// of the rows [r, r + n) that come next, sink.expect(turn, r, n), says where their gradients go,
/// sink.place(r, buffer), and is told when they are there, sink.take(turn, n, pointers). Rows of turn 1 may
/// be expected before those of turn 0 are taken, and so on by turns. A sink that takes_any gets the gradient
/// of a row of one contribution from where it is.
///
/// Work is cut into runs of rows of about equal contributions. A row of more than one piece is summed piece
/// by piece beside them, and its pieces are summed afterwards.
template <class T, Executor E, IndexType Index, class MakeSink>
void sum_index(const E& exec, const RowIndex<Index>& index, const ContributionSums<T>& sums,
               MakeSink&& make_sink, Workspace& workspace) {
    const std::size_t lookups = index.lookups();
    const std::size_t dim = sums.gradients.columns();
    const auto begin = index.begin;
    if (lookups == 0) return;

    const auto partial = workspace.take<T>(most_pieces(lookups) * dim);
    const auto long_rows = workspace.take<std::uint32_t>(most_long_rows(lookups));
    const auto first_piece = workspace.take<std::uint32_t>(most_long_rows(lookups) + 1);
    std::size_t longs = 0;
    std::uint32_t pieces = 0;
    // A row of more than one piece holds a multiple of the piece's size.
    for (std::size_t at = piece_contributions; at < lookups; at += piece_contributions) {
        const auto r =
            static_cast<std::size_t>(std::upper_bound(begin.begin(), begin.end(), at) - begin.begin() - 1);
        const std::size_t size = begin[r + 1] - begin[r];
        if (size <= piece_contributions || (longs != 0 && long_rows[longs - 1] == r)) continue;
        long_rows[longs] = static_cast<std::uint32_t>(r);
        first_piece[longs++] = pieces;
        pieces += static_cast<std::uint32_t>(ceil_div(size, piece_contributions));
    }
    first_piece[longs] = pieces;

    const auto sum_piece = [&](std::size_t piece) {
        const auto of = static_cast<std::size_t>(
            std::upper_bound(first_piece.begin(), first_piece.begin() + longs, piece) - first_piece.begin() -
            1);
        const std::uint32_t row = long_rows[of];
        const std::size_t from = begin[row] + (piece - first_piece[of]) * piece_contributions;
        sums.sum_piece(from, std::min<std::size_t>(from + piece_contributions, begin[row + 1]),
                       partial.data() + piece * dim);
    };
    const std::size_t most_rows = sum_rows_of(dim * sizeof(T));
    const std::size_t most_contributions = 2 * most_rows;
    const std::size_t grain = std::max<std::size_t>(most_contributions, 65536 / dim);
    const auto row_at = [&](std::size_t lookup) {
        return static_cast<std::size_t>(std::lower_bound(begin.begin(), begin.end() - 1, lookup) -
                                        begin.begin());
    };
    const auto sum_run = [&](std::size_t run) {
        const std::size_t end = row_at(std::min(lookups, (run + 1) * grain));
        const std::size_t most = std::clamp<std::size_t>(max_dim / dim, 1, most_rows);
        alignas(64) T buffer[max_dim];
        SumBlock<T> blocks[2];
        auto sink = make_sink();
        const bool copies = !sink.takes_any || sums.weighted();
        std::size_t next = row_at(run * grain);
        const auto prepare = [&](std::size_t turn) {
            SumBlock<T>& block = blocks[turn];
            block.r = next;
            block.rows = 0;
            if (next == end) return false;
            block.from = begin[next];
            std::size_t count = 0;
            while (block.rows < most && next < end) {
                const std::size_t to = begin[next + 1] - block.from;
                if (to > most_contributions || to - count > tree_arity) break;
                block.ends[block.rows++] = static_cast<std::uint32_t>(to);
                count = to;
                ++next;
            }
            if (block.rows == 0) ++next;  // a row of more than one block
            sink.expect(turn, block.r, std::max<std::size_t>(block.rows, 1));
            sums.find(block.from, count, block.contributions, block.weight, true);
            return true;
        };
        const auto finish = [&](std::size_t turn) {
            const SumBlock<T>& block = blocks[turn];
            T* const out = sink.place(block.r, buffer);
            const T* gradient[sum_rows] = {out};
            if (block.rows == 0) {
                if (begin[block.r + 1] - block.from > piece_contributions) return;
                sums.sum_piece(block.from, begin[block.r + 1], out);
                sink.take(turn, 1, gradient);
                return;
            }
            // Rows of one contribution are left out of the sums, where they may be.
            std::uint32_t begins[sum_rows];
            std::uint32_t ends[sum_rows];
            std::size_t summed = 0;
            std::uint32_t at = 0;
            for (std::size_t i = 0; i < block.rows; ++i) {
                const std::uint32_t to = block.ends[i];
                const bool sum = copies || to - at > 1;
                gradient[i] = sum ? out + summed * dim : block.contributions[at];
                begins[summed] = at;
                ends[summed] = to;
                summed += sum ? 1u : 0u;
                at = to;
            }
            sums.first({block.contributions, block.weight, begins, ends, summed, 0, false, out, dim, dim,
                        false, false, false});
            sink.take(turn, block.rows, gradient);
        };
        std::size_t turn = 0;
        for (bool more = prepare(turn); more; turn = 1 - turn) {
            more = prepare(1 - turn);
            finish(turn);
        }
    };
    exec.run(pieces + ceil_div(lookups, grain), [&](std::size_t task) {
        if (task < pieces) {
            sum_piece(task);
        } else {
            sum_run(task - pieces);
        }
    });
    exec.run(longs, [&](std::size_t i) {
        T* const sum = partial.data() + std::size_t{first_piece[i]} * dim;
        sums.sum_sums(sum, first_piece[i + 1] - first_piece[i]);
        auto sink = make_sink();
        sink.expect(0, long_rows[i], 1);
        T* const out = sink.place(long_rows[i], sum);
        if (out != sum) std::copy_n(sum, dim, out);
        sink.take(0, 1, &out);
    });
}

/// sum_index of a pooling: divides first where the pooling is a mean.
template <class T, Executor E, IndexType Index, class MakeSink>
void sum_pooled(const E& exec, const RowIndex<Index>& index, const Bags<Index>& bags, Pooling pooling,
                MatrixView<const T> grad_out, MakeSink&& make_sink, Workspace& workspace,
                InstructionSet set) {
    if (pooling == Pooling::mean && bags.bag_size() != 1) {
        grad_out =
            divide_by_size(exec, bags, grad_out, workspace.take<T>(bags.size() * grad_out.columns()), set);
    }
    const bool weighted = pooling == Pooling::weighted;
    const Span<const std::uint32_t> positions = weighted ? index.positions : Span<const std::uint32_t>{};
    sum_index<T>(exec, index,
                 {pool_kernel<T>(set, weighted), pool_kernel<T>(set, false), index.bags, positions,
                  bags.weights().data(), grad_out, begin_at_lines(grad_out.data(), grad_out.stride())},
                 make_sink, workspace);
}

/// Writes gradients where the caller wants them.
template <class T>
struct StoreSink {
    static constexpr bool takes_any = false;
    MatrixView<T> result;
    void expect(std::size_t, std::size_t, std::size_t) const {}
    [[nodiscard]] T* place(std::size_t r, T*) const { return result.row(r); }
    void take(std::size_t, std::size_t, const T* const*) const {}
};

}  // namespace detail

namespace embedding_bag {

/// Bytes of workspace that backward takes. The gradients live in it.
template <class T>
[[nodiscard]] constexpr std::size_t backward_scratch(const BackwardShape& shape) {
    return scratch_bytes<T>(shape.rows * shape.dim) + detail::sum_scratch<T>(shape);
}

/// The gradient of each row of the batch, in the canonical order: the sum over its look-ups i of
/// grad_out[bag(i), :], divided by the bag's size (mean) or times weights[i] (weighted).
/// @shape  index of bags.lookups() look-ups; grad_out [bags, dim]; the result: rows [n], gradients [n, dim]
/// @pre    index was built from these bags, and for this pooling where it is weighted
/// @exec   seq, par: returns when done; equal to the bit for every executor and instruction set
/// @cost   reads nnz * (dim * sizeof(T) + 4) bytes, writes n * dim * sizeof(T); mean with bags of more than
/// one
///         row besides reads and writes bags * dim * sizeof(T); no allocation
/// @throws ContractError if shapes differ, or the workspace has less than backward_scratch bytes
template <Executor E, class G, IndexType Index, class T = std::remove_const_t<G>>
[[nodiscard]] RowGradients<T, Index> backward(const E& exec, const RowIndex<Index>& index,
                                              const Bags<Index>& bags, Pooling pooling,
                                              MatrixView<G> grad_out, Workspace& workspace,
                                              InstructionSet set = best_instruction_set()) {
    const MatrixView<const T> gradient = grad_out;
    detail::require_backward<T>(index, bags, pooling, gradient);
    require_supported(set);
    const std::size_t rows = index.rows.size();
    const std::size_t dim = grad_out.columns();
    detail::require_workspace(workspace,
                              backward_scratch<T>({rows, bags.lookups(), bags.size(), dim, pooling}));
    const MatrixView<T> result(workspace.take<T>(rows * dim).data(), rows, dim);
    detail::sum_pooled<T>(
        exec, index, bags, pooling, gradient, [&] { return detail::StoreSink<T>{result}; }, workspace, set);
    return {index.rows, result};
}

}  // namespace embedding_bag
}  // namespace fae::inline FAE_ABI
