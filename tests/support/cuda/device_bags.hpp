// SPDX-License-Identifier: Apache-2.0
//
// Host arrays and bags copied to the device and back, for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/space.hpp"
#include "fae/memory/buffer.hpp"

namespace fae_test {

/// A copy of host elements in device memory.
template <class T>
fae::Buffer<T, fae::cuda::DeviceSpace> to_device(fae::cuda::On on, fae::Span<const T> from) {
    fae::Buffer<T, fae::cuda::DeviceSpace> to(from.size());
    fae::cuda::copy(on, from, to.span());
    return to;
}

/// A copy of device elements; waits for it.
template <class T>
std::vector<T> from_device(fae::cuda::On on, fae::Span<const T> from) {
    std::vector<T> to(from.size());
    fae::cuda::copy(on, from, fae::Span<T>(to));
    on.synchronise();
    return to;
}

/// Bags in device memory that own what they view.
template <fae::IndexType Index = std::uint32_t>
class DeviceBags {
  public:
    DeviceBags(fae::cuda::On on, const fae::Bags<Index>& bags)
        : values_(to_device(on, bags.values())),
          offsets_(to_device(on, bags.offsets())),
          weights_(to_device(on, bags.weights())),
          bag_size_(bags.bag_size()),
          features_(bags.features()) {}

    [[nodiscard]] fae::Bags<Index> bags() const {
        return bag_size_ != 0 ? fae::Bags<Index>::fixed(values_.span(), bag_size_, features_, weights_.span())
                              : fae::Bags<Index>::jagged_elsewhere(values_.span(), offsets_.span(), features_,
                                                                   weights_.span());
    }

  private:
    fae::Buffer<Index, fae::cuda::DeviceSpace> values_;
    fae::Buffer<std::uint64_t, fae::cuda::DeviceSpace> offsets_;
    fae::Buffer<float, fae::cuda::DeviceSpace> weights_;
    std::size_t bag_size_;
    std::size_t features_;
};

}  // namespace fae_test
