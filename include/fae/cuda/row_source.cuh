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
#include "fae/core/error.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/index_check.cuh"
#include "fae/ops/row_source.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// A RowsView in few registers: addresses are those that row 0 would have.
template <class T>
struct DeviceView {
    std::uintptr_t weights = 0;
    std::uintptr_t state = 0;
    std::uint32_t stride = 0;  ///< in bytes, as is the next
    std::uint32_t state_stride = 0;

    DeviceView() = default;
    FAE_HD explicit DeviceView(const RowsView<T>& view)
        : weights(reinterpret_cast<std::uintptr_t>(view.weights) - view.first * view.stride * sizeof(T)),
          state(reinterpret_cast<std::uintptr_t>(view.state) - view.first * view.state_stride * sizeof(T)),
          stride(static_cast<std::uint32_t>(view.stride * sizeof(T))),
          state_stride(static_cast<std::uint32_t>(view.state_stride * sizeof(T))) {}

    template <class Row>
    [[nodiscard]] __device__ T* weights_of(Row row) const {
        return reinterpret_cast<T*>(weights + std::uint64_t{row} * stride);
    }
    template <class Row>
    [[nodiscard]] __device__ T* state_of(Row row) const {
        return reinterpret_cast<T*>(state + std::uint64_t{row} * state_stride);
    }
};

template <class T>
struct DeviceRows {
    DeviceView<T> fast;
    DeviceView<T> home;                  ///< where there is one part
    const RowsView<T>* parts = nullptr;  ///< where there are several
    std::uint32_t part_count = 0;
    const std::uint32_t* feature_part = nullptr;
    const IndexReport* report = nullptr;

    /// @param on  where look-ups are reported (FAE_CHECKED)
    /// @throws ContractError if rows are 2^32 bytes apart or more
    explicit DeviceRows(const RowSource<T>& source, On on) : fast(source.fast), report(on.report) {
        require_near(source.fast);
        for (const RowsView<T>& part : source.home) require_near(part);
        if (source.home.size() == 1) {
            home = DeviceView<T>(source.home[0]);
        } else if (source.home.size() > 1) {
            parts = source.home.data();
            part_count = static_cast<std::uint32_t>(source.home.size());
            feature_part = source.feature_part.data();
        }
    }

    /// True where the operation must leave rows and results alone.
    [[nodiscard]] __device__ bool is_spoilt() const { return detail::is_spoilt(report); }

    /// The view that holds a located index; O(log parts).
    template <IndexType Index>
    [[nodiscard]] __device__ DeviceView<T> view_of(Index located) const {
        if (parts == nullptr || is_fast(located)) return is_fast(located) ? fast : home;
        std::uint32_t low = 0;
        std::uint32_t high = part_count;
        while (high - low > 1) {
            const std::uint32_t middle = low + (high - low) / 2;
            if (parts[middle].first <= position_of(located)) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return DeviceView<T>(parts[low]);
    }

    /// The weights of a located index that a bag of `feature` looks up.
    template <IndexType Index>
    [[nodiscard]] __device__ const T* weights_of(Index located, std::size_t feature) const {
        const Index row = position_of(located);
        if (parts != nullptr && !is_fast(located)) {
            return parts[feature_part[feature]].weights_of(row);
        }
        return (is_fast(located) ? fast : home).weights_of(row);
    }

  private:
    static void require_near(const RowsView<T>& view) {
        constexpr std::size_t most = ~std::uint32_t{0} / sizeof(T);
        require(view.stride <= most && view.state_stride <= most, [&] {
            return concat("rows have strides of ", view.stride, " and ", view.state_stride,
                          " elements, expected at most ", most);
        });
    }
};

}  // namespace fae::inline FAE_ABI::cuda::detail
