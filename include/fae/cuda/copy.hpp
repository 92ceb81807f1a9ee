// SPDX-License-Identifier: Apache-2.0
//
// Copies between the spaces of a machine with a GPU, queued on a stream.
//
//   cuda::copy(cuda::on(stream), Span<const float>(staging.span()), slots.span());
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda {

/// Copies `from` to `to`; the addresses say what lies on the device.
/// @exec   cuda::On: queued. Where one side is pageable host memory, CUDA makes the call wait.
/// @throws ContractError if the sizes differ; CudaError
template <class T>
void copy(On on, std::type_identity_t<Span<const T>> from, Span<T> to) {
    static_assert(std::is_trivially_copyable_v<T>);
    require(from.size() == to.size(),
            [&] { return concat("a copy of ", from.size(), " elements, expected ", to.size()); });
    if (from.empty()) return;
    check(::cudaMemcpyAsync(to.data(), from.data(), from.size() * sizeof(T), cudaMemcpyDefault, on.stream),
          "copy between host and device");
}

/// Sets every byte of `to`.
/// @exec cuda::On: queued
template <class T>
void fill_bytes(On on, Span<T> to, unsigned char value) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (to.empty()) return;
    check(::cudaMemsetAsync(to.data(), value, to.size() * sizeof(T), on.stream), "fill of device memory");
}

}  // namespace fae::inline FAE_ABI::cuda
