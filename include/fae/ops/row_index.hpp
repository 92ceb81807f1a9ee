// SPDX-License-Identifier: Apache-2.0
//
// RowIndex: the look-ups of a batch grouped by row, so that each row's gradient can be summed by one thread,
// in one order. It depends on the batch's indices alone, so it can be made ahead of the step.
//
//   Buffer<std::byte> scratch(row_index_scratch<std::uint32_t>(bags.lookups()));
//   Workspace workspace(scratch.span());
//   RowIndex<std::uint32_t> index = build_row_index(seq, bags, space.rows(), workspace);
//
// The grouping is a stable sort of (row, look-up) pairs (row_sort.hpp): by counting, or by digits of the bits
// that the row space needs. A stable sort has one result, so the index is the same for every executor.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/ops/row_sort.hpp"

namespace fae::inline FAE_ABI {

/// The look-ups of a batch by located row, ascending; those of one row in the order of their positions.
/// Lives as long as the workspace that it was built in.
template <IndexType Index = std::uint32_t>
struct RowIndex {
    Span<const Index> rows;           ///< [n] the different located indices, ascending: home rows, then slots
    Span<const std::uint32_t> begin;  ///< [n + 1] row r's look-ups are entries begin[r] .. begin[r + 1]
    Span<const std::uint32_t> bags;   ///< [look-ups] the bag of each entry
    /// [look-ups] the position of each entry among the batch's values; empty unless built for weighted
    /// pooling
    Span<const std::uint32_t> positions;

    [[nodiscard]] std::size_t lookups() const { return bags.size(); }
};

namespace detail {

template <class Pair, Executor E, IndexType Index>
RowIndex<Index> build_row_index_of(const E& exec, const Bags<Index>& bags, bool weighted, unsigned row_bits,
                                   Workspace& workspace) {
    const std::size_t lookups = bags.lookups();
    const auto rows = workspace.take<Index>(lookups);
    const auto begin = workspace.take<std::uint32_t>(lookups + 1);
    const auto bag_of = workspace.take<std::uint32_t>(lookups);
    const auto positions = workspace.take<std::uint32_t>(weighted ? lookups : 0);
    const auto bag_at = workspace.take<std::uint32_t>(weighted ? lookups : 0);
    RowSortSpace<Index> space(lookups, workspace);
    begin[0] = 0;
    if (lookups == 0) return {{rows.data(), 0}, {begin.data(), 1}, bag_of, positions};

    RowSort<Index, Pair> sorted(bags, weighted, row_bits, space);
    const std::size_t different = sorted.sort(exec, weighted ? positions : bag_of);
    sorted.write(exec, rows, begin);
    if (weighted) {
        constexpr std::size_t grain = 8192;
        for_chunks(exec, lookups, grain, [&](std::size_t from, std::size_t to) {
            sorted.for_lookups(bags, from, to, [&](std::size_t i, std::size_t bag) {
                bag_at[i] = static_cast<std::uint32_t>(bag);
            });
        });
        for_chunks(exec, lookups, grain, [&](std::size_t from, std::size_t to) {
            for (std::size_t i = from; i < to; ++i) bag_of[i] = bag_at[positions[i]];
        });
    }
    return {{rows.data(), different}, {begin.data(), different + 1}, bag_of, positions};
}

}  // namespace detail

/// Bytes of workspace that build_row_index takes for a batch of so many look-ups. The index lives in it.
template <IndexType Index = std::uint32_t>
[[nodiscard]] constexpr std::size_t row_index_scratch(std::size_t lookups, Pooling pooling = Pooling::sum) {
    const std::size_t weighted = pooling == Pooling::weighted ? lookups : 0;
    return scratch_bytes<Index>(lookups) + scratch_bytes<std::uint32_t>(lookups + 1) +
           scratch_bytes<std::uint32_t>(lookups) + 2 * scratch_bytes<std::uint32_t>(weighted) +
           detail::RowSortSpace<Index>::bytes(lookups);
}

/// Groups the look-ups of a batch by located row.
/// @param rows  every row id and slot of the batch is below it; only the bits that it needs are sorted
/// @param pooling  weighted: the index holds positions too
/// @shape  values [nnz]; the result: rows [n], begin [n + 1], bags [nnz]
/// @pre    position_of(values[i]) < rows (FAE_CHECKED)
/// @exec   seq, par: returns when done; equal for every executor
/// @cost   reads the values three times, and 8 bytes a look-up (16 where a 64-bit index needs more than 32
/// bits)
///         once or twice per 11 bits in which the rows of a feature can differ; no allocation
/// @throws ContractError if the workspace has less than row_index_scratch bytes, or the batch has 2^32 bags
/// or
///         look-ups; IndexError (FAE_CHECKED)
template <Executor E, IndexType Index>
[[nodiscard]] RowIndex<Index> build_row_index(const E& exec, const Bags<Index>& bags, std::uint64_t rows,
                                              Workspace& workspace, Pooling pooling = Pooling::sum) {
    const std::size_t lookups = bags.lookups();
    constexpr std::uint64_t most = ~std::uint32_t{0};
    require(lookups < most && bags.size() < most, [&] {
        return concat("the batch has ", lookups, " look-ups in ", bags.size(), " bags, expected less than ",
                      most, " of each");
    });
    require(rows <= max_rows<Index>,
            [&] { return concat("the row space has ", rows, " rows, expected at most ", max_rows<Index>); });
    const std::size_t needed = row_index_scratch<Index>(lookups, pooling);
    require(workspace.left() >= needed,
            [&] { return concat("the workspace has ", workspace.left(), " bytes left, expected ", needed); });
    if constexpr (checked) {
        for (std::size_t i = 0; i < lookups; ++i) {
            if (position_of(bags.values()[i]) >= rows) {
                throw IndexError(concat("values[", i, "] is ", position_of(bags.values()[i]),
                                        ", expected less than ", rows));
            }
        }
    }
    const auto row_bits = static_cast<unsigned>(rows > 1 ? std::bit_width(rows - 1) : 1);
    const bool weighted = pooling == Pooling::weighted;
    if constexpr (sizeof(Index) == 8) {
        if (row_bits + 1 > 32) {
            return detail::build_row_index_of<detail::WidePair>(exec, bags, weighted, row_bits, workspace);
        }
    }
    return detail::build_row_index_of<detail::NarrowPair>(exec, bags, weighted, row_bits, workspace);
}

}  // namespace fae::inline FAE_ABI
