// SPDX-License-Identifier: Apache-2.0
//
// Spaces of a machine with a GPU: device memory, and host memory that the device can copy from and to without
// a detour, or address itself.
//
//   Buffer<float, cuda::DeviceSpace> slots(n);      // uninitialised, not for the host
//   Buffer<float, cuda::PinnedSpace> staging(n);    // zero, for both
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>

#include "fae/core/config.hpp"
#include "fae/cuda/error.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI::cuda {

/// Memory of the current device, 256-byte aligned.
struct DeviceSpace {
    static constexpr bool host_accessible = false;
    static constexpr bool zeroed = false;

    /// @throws CudaError naming the bytes that were asked for
    [[nodiscard]] static void* allocate(std::size_t bytes) {
        void* memory = nullptr;
        if (const cudaError_t result = ::cudaMalloc(&memory, bytes); result != cudaSuccess) {
            static_cast<void>(::cudaGetLastError());
            throw CudaError(result, "allocation of " + std::to_string(bytes) + " bytes of device memory");
        }
        return memory;
    }
    static void deallocate(void* memory, std::size_t) noexcept { static_cast<void>(::cudaFree(memory)); }
};
static_assert(Space<DeviceSpace>);

/// Pages of the host, huge where granted, that stay where they are: copies run at the speed of the link and
/// beside the host's work, and a kernel can address them at the host's own addresses. Pages read as zero; all
/// of them come into being at once.
/// @cost registering takes a fraction of a second per GiB; it is for memory that lives long
struct PinnedSpace {
    static constexpr bool host_accessible = true;
    static constexpr bool zeroed = true;

    /// @throws CudaError naming the bytes that were asked for; std::bad_alloc
    [[nodiscard]] static void* allocate(std::size_t bytes) {
        void* const memory = PageSpace::allocate(bytes);
        const cudaError_t result =
            ::cudaHostRegister(memory, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped);
        if (result != cudaSuccess) {
            static_cast<void>(::cudaGetLastError());
            PageSpace::deallocate(memory, bytes);
            throw CudaError(result, "pinning of " + std::to_string(bytes) + " bytes of host memory");
        }
        return memory;
    }
    static void deallocate(void* memory, std::size_t bytes) noexcept {
        static_cast<void>(::cudaHostUnregister(memory));
        PageSpace::deallocate(memory, bytes);
    }
};
static_assert(Space<PinnedSpace>);

}  // namespace fae::inline FAE_ABI::cuda
