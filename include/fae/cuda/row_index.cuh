// SPDX-License-Identifier: Apache-2.0
//
// RowIndex on the device: the look-ups of a batch grouped by row, and lists of work of about equal size for
// the sums of their gradients. It depends on the batch's indices alone, so it can be made ahead of the step,
// on a stream beside it.
//
//   Buffer<std::byte, cuda::DeviceSpace> scratch(cuda::row_index_scratch<std::uint32_t>(shape));
//   Workspace workspace(scratch.span());
//   auto index = build_row_index(cuda::on(stream), bags, space.rows(), workspace);
//   embedding_bag::backward_step(cuda::on(stream), Sgd{}, lr, index, bags, Pooling::sum, grad_out, rows,
//   ...);
//
// How many rows there are is known on the device alone: the host neither waits nor reads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/feature_sort.cuh"
#include "fae/cuda/index_check.cuh"
#include "fae/cuda/pair_sort.cuh"
#include "fae/cuda/row_key.cuh"
#include "fae/cuda/row_lists.cuh"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI {
namespace cuda {

/// The look-ups of a batch by located row; those of one row in the order of their positions. All pointers are
/// the device's. Lives as long as the workspace that it was built in.
template <IndexType Index = std::uint32_t>
struct RowIndex {
    Span<const Index> rows;  ///< [capacity] the different located indices; `count` of them are there
    Span<const std::uint32_t>
        begin;                       ///< [capacity + 1] row r's look-ups are entries begin[r] .. begin[r + 1]
    Span<const std::uint32_t> bags;  ///< [look-ups] the bag of each entry
    /// [look-ups] the position of each entry among the batch's values; empty unless it was built for weighted
    /// pooling, or for ordinals of bags of more than one look-up
    Span<const std::uint32_t> positions;
    /// [look-ups] of each look-up its row's number: values[i] == rows[ordinals[i]]; empty unless asked for
    Span<const std::uint32_t> ordinals;
    const std::uint32_t* count = nullptr;  ///< the number of different rows
    detail::WorkLists lists;
    /// Row r of the index is slot r of the fast view, whatever `rows` holds: rows were gathered there.
    bool gathered = false;

    [[nodiscard]] std::size_t lookups() const { return bags.size(); }
    /// The most rows that there can be.
    [[nodiscard]] std::size_t capacity() const { return rows.size(); }
    /// The same index for rows that have been gathered in its order: row r is slot r of the fast view. Costs
    /// nothing.
    [[nodiscard]] RowIndex over_gathered() const {
        RowIndex index = *this;
        index.gathered = true;
        return index;
    }
};

/// What is known of a batch ahead, and what the index is to hold.
struct RowIndexOptions {
    Pooling pooling = Pooling::sum;  ///< weighted: the index holds positions
    bool ordinals = false;           ///< the index holds ordinals
    /// All look-ups are in one tier: the sort has one bit less to look at.
    bool one_tier = false;
    /// No row is looked up by two features: features can be sorted apart. Rows then ascend within a feature
    /// only.
    bool features_apart = false;
};

namespace detail {

/// A 64-bit index can be sorted by 32-bit keys where the row space fits.
template <IndexType Index>
[[nodiscard]] bool has_wide_keys(std::uint64_t rows, bool one_tier) {
    return sizeof(Index) == 8 &&
           static_cast<unsigned>(std::bit_width(rows > 1 ? rows - 1 : 1)) + (one_tier ? 0u : 1u) > 32;
}
[[nodiscard]] constexpr bool needs_positions(const RowIndexOptions& options, std::size_t bag_size) {
    return options.pooling == Pooling::weighted || (options.ordinals && bag_size != 1);
}
/// Words that must be zero before the lists are made: their sizes, and what tiles know.
inline constexpr std::size_t words_of_sizes =
    round_up<std::size_t>(sizeof(ListSizes) / sizeof(std::uint32_t), 2);
[[nodiscard]] constexpr std::size_t list_words(std::size_t lookups) {
    return words_of_sizes + RowSums::words(most_tiles(lookups));
}

/// Bytes of the pieces that building an index takes.
template <class Key, IndexType Index>
[[nodiscard]] constexpr std::size_t index_bytes(std::size_t lookups, const RowIndexOptions& options) {
    const std::size_t positions = options.pooling == Pooling::weighted || options.ordinals ? lookups : 0;
    return scratch_bytes<Index>(lookups) + scratch_bytes<std::uint32_t>(lookups + 1) +
           2 * scratch_bytes<std::uint32_t>(positions) +
           scratch_bytes<std::uint32_t>(options.ordinals ? lookups : 0) + WorkLists::bytes(lookups) +
           scratch_bytes<std::uint32_t>(list_words(lookups) + most_sort_words<Key>(lookups)) +
           2 * scratch_bytes<Pair<Key>>(lookups);
}

template <class Key, IndexType Index>
RowIndex<Index> build_row_index_of(On on, const Bags<Index>& bags, std::uint64_t rows, Workspace& workspace,
                                   const RowIndexOptions& options) {
    const std::size_t lookups = bags.lookups();
    const bool by_position = needs_positions(options, bags.bag_size());
    const auto row_of = workspace.take<Index>(lookups);
    const auto begin = workspace.take<std::uint32_t>(lookups + 1);
    const auto bag_of = workspace.take<std::uint32_t>(by_position ? lookups : 0);
    const auto bag_at = workspace.take<std::uint32_t>(by_position && !bags.is_fixed() ? lookups : 0);
    const auto ordinals = workspace.take<std::uint32_t>(options.ordinals ? lookups : 0);
    WorkLists lists = WorkLists::take(lookups, workspace);
    const KeyRule rule{static_cast<unsigned>(std::bit_width(rows > 1 ? rows - 1 : 1)), options.one_tier};
    const std::size_t words = list_words(lookups);
    const auto zeros = workspace.take<std::uint32_t>(words + sort_words(lookups, Digits(rule.bits()).passes));
    lists.sizes = reinterpret_cast<ListSizes*>(zeros.data());
    Pair<Key>* const pairs[2] = {workspace.take<Pair<Key>>(lookups).data(),
                                 workspace.take<Pair<Key>>(lookups).data()};
    const std::uint64_t most_rows = (options.one_tier ? 1 : 2) * std::max<std::uint64_t>(rows, 1);
    const std::size_t capacity = std::min<std::uint64_t>(lookups, most_rows);
    RowIndex<Index> index;
    index.rows = {row_of.data(), capacity};
    index.begin = {begin.data(), capacity + 1};
    index.ordinals = ordinals;
    index.count = &lists.sizes->rows;
    index.lists = lists;
    if (lookups == 0) {
        fill_bytes(on, zeros, 0);
        fill_bytes(on, begin, 0);
        return index;
    }
    const bool apart =
        options.features_apart && bags.bag_size() == 1 && bags.samples() <= most_feature_lookups();
    const Sorted<Key> sorted = apart ? sort_features(on, bags, rule, sorted_in(pairs[0], lookups),
                                                     zeros.data(), static_cast<std::uint32_t>(words))
                                     : sort_pairs(on, bags, rule, by_position, bag_at.data(), pairs, zeros);
    // Where bags are single look-ups, the bag is the position.
    const bool derives_bags = by_position && bags.bag_size() != 1;
    queue_lists(on, ListJob<Key, Index>{sorted.keys, sorted.places, static_cast<std::uint32_t>(lookups),
                                        static_cast<std::uint32_t>(apart ? bags.samples() : lookups),
                                        derives_bags, options.one_tier, rule.row_bits, bags, bag_at.data(),
                                        RowSums(zeros.data() + words_of_sizes, most_tiles(lookups)),
                                        row_of.data(), begin.data(), bag_of.data(),
                                        options.ordinals ? ordinals.data() : nullptr, lists});
    index.bags = {derives_bags ? bag_of.data() : sorted.places, lookups};
    if (by_position) index.positions = {sorted.places, lookups};
    return index;
}

}  // namespace detail

/// Bytes of workspace that build_row_index takes. The index lives in it.
template <IndexType Index = std::uint32_t>
[[nodiscard]] std::size_t row_index_scratch(std::size_t lookups, std::uint64_t rows,
                                            const RowIndexOptions& options = {}) {
    return detail::has_wide_keys<Index>(rows, options.one_tier)
               ? detail::index_bytes<std::uint64_t, Index>(lookups, options)
               : detail::index_bytes<std::uint32_t, Index>(lookups, options);
}

}  // namespace cuda

/// Groups the look-ups of a batch by located row, on the device.
/// @param rows  every row id and slot of the batch is below it; only the bits that it needs are sorted
/// @shape  values [nnz] in device memory; the result: rows [n], begin [n + 1], bags [nnz]
/// @pre    position_of(values[i]) < rows; what the options say is so
/// @exec   cuda::On: queued; two kernels where features are sorted apart, else three and one per 8 bits that
///         rows need. No wait, no allocation: it can be captured
/// @cost   reads the values twice, moves 4 or 8 bytes a look-up (16 where keys are wide) once per 8 bits that
///         rows need; or once where features are sorted apart. The lists: at most 25 bytes a look-up more
/// @throws ContractError if the workspace has less than cuda::row_index_scratch bytes, or the batch has 2^28
///         look-ups or 2^32 bags; CudaError. A look-up that is not below `rows` is an IndexError of the next
///         synchronising call (FAE_CHECKED)
template <IndexType Index>
[[nodiscard]] cuda::RowIndex<Index> build_row_index(cuda::On on, const Bags<Index>& bags, std::uint64_t rows,
                                                    Workspace& workspace,
                                                    const cuda::RowIndexOptions& options = {}) {
    require(bags.lookups() < cuda::detail::most_lookups && bags.size() < ~std::uint32_t{0}, [&] {
        return concat("the batch has ", bags.lookups(), " look-ups in ", bags.size(),
                      " bags, expected less than ", cuda::detail::most_lookups, " and ", ~std::uint32_t{0});
    });
    require(rows <= max_rows<Index>,
            [&] { return concat("the row space has ", rows, " rows, expected at most ", max_rows<Index>); });
    const std::size_t needed = cuda::row_index_scratch<Index>(bags.lookups(), rows, options);
    require(workspace.left() >= needed,
            [&] { return concat("the workspace has ", workspace.left(), " bytes left, expected ", needed); });
    cuda::detail::look_at(on, bags.values(), cuda::detail::IndexBelow{rows}, "values[");
    if constexpr (sizeof(Index) == 8) {
        if (cuda::detail::has_wide_keys<Index>(rows, options.one_tier)) {
            return cuda::detail::build_row_index_of<std::uint64_t>(on, bags, rows, workspace, options);
        }
    }
    return cuda::detail::build_row_index_of<std::uint32_t>(on, bags, rows, workspace, options);
}

/// The same for a pooling.
template <IndexType Index>
[[nodiscard]] cuda::RowIndex<Index> build_row_index(cuda::On on, const Bags<Index>& bags, std::uint64_t rows,
                                                    Workspace& workspace, Pooling pooling) {
    return build_row_index(on, bags, rows, workspace, cuda::RowIndexOptions{.pooling = pooling});
}

}  // namespace fae::inline FAE_ABI
