// SPDX-License-Identifier: Apache-2.0
//
// RowLayout: how a tier that fae owns lays out one row's record: weights first, then the optimizer state,
// padded to 16 bytes. A record moves whole between tiers, and its stride is what counts in a budget.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// The record of one row.
/// @units elements of the table's type, but for bytes()
struct RowLayout {
    std::size_t dim = 0;     ///< weights
    std::size_t state = 0;   ///< optimizer state: 0 (SGD), dim (Adagrad), 1 (row-wise Adagrad)
    std::size_t stride = 0;  ///< dim + state, padded to 16 bytes

    /// Bytes that one row takes in a tier.
    template <class T = float>
    [[nodiscard]] constexpr std::size_t bytes() const {
        return stride * sizeof(T);
    }
};

/// The layout of rows of `dim` weights of T and `state` elements of optimizer state.
template <class T = float>
[[nodiscard]] constexpr RowLayout row_layout(std::size_t dim, std::size_t state) {
    return {dim, state, round_up<std::size_t>(dim + state, sizeof(T) >= 16 ? 1 : 16 / sizeof(T))};
}

}  // namespace fae::inline FAE_ABI
