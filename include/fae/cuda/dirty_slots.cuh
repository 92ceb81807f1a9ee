// SPDX-License-Identifier: Apache-2.0
//
// DeviceDirtySlots: the slots that training on the device has changed, one bit each, marked by a kernel from
// a batch's row index.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// Sets the bits of the slots among located rows.
/// @par Launch one thread a row, of those there may be
/// @param count  how many there are; null: all
/// @param slots  that have bits; others have been reported (FAE_CHECKED)
template <IndexType Index>
__global__ void mark_slots(const Index* rows, std::uint64_t most, const std::uint32_t* count,
                           std::uint32_t* bits, std::uint64_t slots) {
    const std::uint64_t end = count != nullptr && *count < most ? *count : most;
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < end;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        if (!is_fast(rows[i])) continue;
        const Index slot = position_of(rows[i]);
        if (checked && slot >= slots) continue;
        const std::uint32_t bit = std::uint32_t{1} << (slot % 32);
        if ((bits[slot / 32] & bit) == 0) atomicOr(bits + slot / 32, bit);
    }
}

}  // namespace detail

/// A set of slots in device memory.
/// @cost one bit a slot on the device, and the same in pinned memory
class DeviceDirtySlots {
  public:
    DeviceDirtySlots(On on, std::uint64_t slots)
        : bits_(static_cast<std::size_t>(ceil_div<std::uint64_t>(slots, 64))), copy_(bits_.size()) {
        clear(on);
    }

    /// Queues the marking of located rows; those at home are passed over.
    /// @param count  in device memory: how many of `rows` there are; null: all
    template <IndexType Index>
    void mark(On on, Span<const Index> rows, const std::uint32_t* count = nullptr) {
        if (rows.empty() || bits_.empty()) return;
        detail::mark_slots<<<launch_grid(rows.size(), 256), 256, 0, on.stream>>>(
            rows.data(), rows.size(), count, reinterpret_cast<std::uint32_t*>(bits_.data()),
            bits_.size() * 64);
        check_launch("mark_slots");
    }

    /// The marks as words: slot s is bit s % 64 of word s / 64. Waits.
    [[nodiscard]] Span<const std::uint64_t> read(On on) {
        copy(on, bits_.span(), copy_.span());
        on.synchronise();
        return copy_.span();
    }

    void clear(On on) { fill_bytes(on, bits_.span(), 0); }

  private:
    Buffer<std::uint64_t, DeviceSpace> bits_;
    Buffer<std::uint64_t, PinnedSpace> copy_;
};

}  // namespace fae::inline FAE_ABI::cuda
