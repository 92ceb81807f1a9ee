// SPDX-License-Identifier: Apache-2.0
//
// DeviceHotSet: a copy of a HotSet in device memory, whose Ref kernels can ask.
//
//   cuda::DeviceHotSet copy(cuda::on(stream), hot_set);
//   HotSet::Ref ref = copy.ref();                      // contains(), slot_of(), row_of(), in kernels alone
#pragma once

#include <cstdint>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A hot set that kernels can ask. Immutable, move-only; a move leaves Refs valid.
class DeviceHotSet {
  public:
    enum class Parts : std::uint8_t {
        membership,  ///< contains() and slot_of(): 1.15 bits a row
        all,         ///< row_of() too: 4 bytes a slot (8 beyond 2^32 rows) more
    };

    /// No row of an empty row space.
    DeviceHotSet() = default;

    /// @exec   cuda::On: queued; host memory is read before the call returns
    /// @throws CudaError
    DeviceHotSet(On on, const HotSet& hot, Parts parts = Parts::all) {
        const HotSet::Storage storage = hot.storage();
        copy_to(on, storage.blocks, blocks_);
        if (parts == Parts::all) {
            copy_to(on, storage.narrow, narrow_);
            copy_to(on, storage.wide, wide_);
        }
        ref_ = hot.ref_to({blocks_.span(), narrow_.span(), wide_.span()});
    }

    [[nodiscard]] HotSet::Ref ref() const { return ref_; }
    /// The device memory that it takes.
    [[nodiscard]] std::uint64_t bytes() const { return blocks_.bytes() + narrow_.bytes() + wide_.bytes(); }

  private:
    template <class T>
    static void copy_to(On on, Span<const T> from, Buffer<T, DeviceSpace>& to) {
        to = Buffer<T, DeviceSpace>(from.size());
        copy(on, from, to.span());
    }

    Buffer<std::uint64_t, DeviceSpace> blocks_;
    Buffer<std::uint32_t, DeviceSpace> narrow_;
    Buffer<std::uint64_t, DeviceSpace> wide_;
    HotSet::Ref ref_;
};

}  // namespace fae::inline FAE_ABI::cuda
