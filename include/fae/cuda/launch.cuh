// SPDX-License-Identifier: Apache-2.0
//
// Kernels of one operation that follow one another closely: the next one is launched while its predecessor
// runs, and waits on the device for what it needs. Internal to the operations.
//
//   __global__ void second(...) {
//       let_next_launch();      // the kernel behind this one may be launched once all blocks have come here
//       wait_for_previous();    // all kernels before this one have ended, and what they wrote is here
//   ...
//   first<<<grid, threads, 0, on.stream>>>(...);
//   launch_behind(on, "second", second, grid, threads, 0, ...);
//
// Devices before compute capability 9.0 know nothing of this: kernels follow one another as usual.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// Lets the kernel behind this one be launched as soon as every block has called this, or has ended.
__device__ inline void let_next_launch() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits for the kernels before this one. Returns at once in a kernel that was launched as usual.
__device__ inline void wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets blocks of a kernel have this much shared memory, which may be more than a kernel has by itself.
/// @throws CudaError
template <class... Parameters>
void allow_shared_bytes(void (*kernel)(Parameters...), std::size_t bytes) {
    if (bytes <= 48 * 1024) return;
    check(
        ::cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "reservation of shared memory");
}

/// Queues a kernel that calls wait_for_previous().
/// @param behind  directly behind another kernel; else as usual
/// @throws CudaError
template <class... Parameters, class... Arguments>
void launch(On on, bool behind, const char* name, void (*kernel)(Parameters...), dim3 grid, unsigned threads,
            std::size_t shared_bytes, Arguments&&... arguments) {
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = threads;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = on.stream;
    config.attrs = &attribute;
    config.numAttrs = behind && current_device().has_clusters ? 1 : 0;
    check(::cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), name);
}

/// Queues a kernel that calls wait_for_previous(), directly behind another kernel of the same operation.
/// @throws CudaError
template <class... Parameters, class... Arguments>
void launch_behind(On on, const char* name, void (*kernel)(Parameters...), unsigned grid, unsigned threads,
                   std::size_t shared_bytes, Arguments&&... arguments) {
    launch(on, true, name, kernel, grid, threads, shared_bytes, std::forward<Arguments>(arguments)...);
}

}  // namespace fae::inline FAE_ABI::cuda::detail
