// SPDX-License-Identifier: Apache-2.0
//
// A RowSource as kernels take it: one home part by value, several by address. Internal to the operations.
//
// The views of a RowSource hold addresses of the device (or pinned ones). Where there are several home parts,
// the arrays of parts and of feature_part themselves must be addressable by host and device (PinnedSpace).
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/ops/row_source.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

template <class T>
struct DeviceRows {
    RowsView<T> fast;
    RowsView<T> home;                    ///< where there is one part
    const RowsView<T>* parts = nullptr;  ///< where there are several
    std::size_t part_count = 0;
    const std::uint32_t* feature_part = nullptr;

    explicit DeviceRows(const RowSource<T>& source) : fast(source.fast) {
        if (source.home.size() == 1) {
            home = source.home[0];
        } else if (source.home.size() > 1) {
            parts = source.home.data();
            part_count = source.home.size();
            feature_part = source.feature_part.data();
        }
    }

    /// The view that holds a located index; O(log parts).
    template <IndexType Index>
    [[nodiscard]] __device__ RowsView<T> view_of(Index located) const {
        if (is_fast(located)) return fast;
        if (parts == nullptr) return home;
        std::size_t low = 0;
        std::size_t high = part_count;
        while (high - low > 1) {
            const std::size_t middle = low + (high - low) / 2;
            if (parts[middle].first <= position_of(located)) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return parts[low];
    }

    /// The weights of a located index that a bag of `feature` looks up.
    template <IndexType Index>
    [[nodiscard]] __device__ const T* weights_of(Index located, std::size_t feature) const {
        const std::uint64_t row = position_of(located);
        if (is_fast(located)) return fast.weights_of(row);
        return parts == nullptr ? home.weights_of(row) : parts[feature_part[feature]].weights_of(row);
    }
};

}  // namespace fae::inline FAE_ABI::cuda::detail
