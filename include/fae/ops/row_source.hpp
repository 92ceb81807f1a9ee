// SPDX-License-Identifier: Apache-2.0
//
// RowSource: where an operation finds the rows of a batch. A located index (core/types.hpp) with its tier bit
// set is a slot of the fast view; without it, a row id in the home view. Operations never see a placement.
//
// A row's record is its weights and its optimizer state. The two may lie side by side (a tier that fae owns)
// or in arrays of their own (homes that the caller owns): a view has a base and a stride for each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// Consecutive rows: row ids [first, first + rows) of a home, or slots [0, rows) of a fast tier.
/// @units strides count elements of T; `state` is null where the optimizer has none
template <class T>
struct RowsView {
    T* weights = nullptr;
    T* state = nullptr;
    std::size_t stride = 0;        ///< from one row's weights to the next row's
    std::size_t state_stride = 0;  ///< from one row's state to the next row's
    std::uint64_t first = 0;       ///< row id of the first row (0 for a fast tier)
    std::uint64_t rows = 0;

    [[nodiscard]] FAE_HD T* weights_of(std::uint64_t row) const {
        return weights + static_cast<std::size_t>(row - first) * stride;
    }
    [[nodiscard]] FAE_HD T* state_of(std::uint64_t row) const {
        return state + static_cast<std::size_t>(row - first) * state_stride;
    }
};

/// The rows that a batch can address: one fast view and the home parts, ascending and without gaps.
/// One part covers the whole row space where fae owns the homes; a caller's homes have one part per table.
template <class T>
struct RowSource {
    RowsView<T> fast;
    Span<const RowsView<T>> home;
    /// The home part that each feature looks up; empty where there is one part only.
    Span<const std::uint32_t> feature_part;

    /// The home part that holds `row`. O(log parts).
    [[nodiscard]] FAE_HD const RowsView<T>& part_of(std::uint64_t row) const {
        std::size_t low = 0;
        std::size_t high = home.size();
        while (high - low > 1) {
            const std::size_t middle = low + (high - low) / 2;
            if (home[middle].first <= row) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return home[low];
    }

    /// The view that a located index of `feature` is in.
    template <IndexType Index>
    [[nodiscard]] FAE_HD const RowsView<T>& view_of(Index located, std::size_t feature) const {
        if (is_fast(located)) return fast;
        return feature_part.empty() ? home[0] : home[feature_part[feature]];
    }
};

}  // namespace fae::inline FAE_ABI
