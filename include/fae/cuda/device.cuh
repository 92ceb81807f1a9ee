// SPDX-License-Identifier: Apache-2.0
//
// The device that work goes to: is there one, what is it, and does it compute as the law demands.
//
//   const cuda::Device& device = cuda::current_device();   // throws one clear line where there is none
//   cuda::launch_grid(items, threads)                      // blocks for a grid-stride loop
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda {

/// What launches need to know of a device.
struct Device {
    int ordinal = 0;
    int multiprocessors = 0;
    std::size_t shared_bytes = 0;  ///< the most shared memory that a block may opt in to
    std::size_t l2_bytes = 0;
    /// Blocks of a cluster can use one another's shared memory, and a kernel can be launched while the one
    /// before it runs: device and code are both of compute capability 9.0 or later.
    bool has_clusters = false;
    std::string name;
};

namespace detail {

/// The smallest positive denormal, doubled by an addition and by a fused multiplication: both must survive.
/// @par Launch one thread
template <class T>
__global__ void probe_denormals(T smallest, int* flushed) {
    volatile T x = smallest;
    const T sum = x + x;
    const T fused = fma(static_cast<T>(x), static_cast<T>(2), static_cast<T>(0));
    *flushed = (sum == 2 * static_cast<double>(smallest) ? 0 : 1) |
               (fused == 2 * static_cast<double>(smallest) ? 0 : 2);
}

inline Device look_at_device(int ordinal) {
    Device device;
    device.ordinal = ordinal;
    cudaDeviceProp properties{};
    check(::cudaGetDeviceProperties(&properties, ordinal), "query of the CUDA device");
    device.name = properties.name;
    device.multiprocessors = properties.multiProcessorCount;
    device.shared_bytes = properties.sharedMemPerBlockOptin;
    // Code for an older device runs on a newer one and still knows no clusters.
    cudaFuncAttributes code{};
    check(::cudaFuncGetAttributes(&code, probe_denormals<float>), "look at the device code");
    device.has_clusters = properties.major >= 9 && code.ptxVersion >= 90;
    device.l2_bytes = static_cast<std::size_t>(properties.l2CacheSize);
    // Code that was compiled to flush denormals computes other bits than the host: refuse to start.
    Stream stream;
    int* flushed = nullptr;
    check(::cudaMallocAsync(reinterpret_cast<void**>(&flushed), sizeof(int), stream.get()),
          "allocation for the probe of the device's arithmetic");
    probe_denormals<float><<<1, 1, 0, stream.get()>>>(1.401298464e-45f, flushed);
    check_launch("probe_denormals");
    int answer = -1;
    check(::cudaMemcpyAsync(&answer, flushed, sizeof(int), cudaMemcpyDeviceToHost, stream.get()),
          "probe of the device's arithmetic");
    check(::cudaFreeAsync(flushed, stream.get()), "probe of the device's arithmetic");
    stream.synchronise();
    require(answer == 0, [&] {
        return "the device code flushes denormals to zero, expected IEEE arithmetic (compile without "
               "--use_fast_math and --ftz=true)";
    });
    return device;
}

/// That, with one error for all that can be wrong with a device that is there: taken by another process, out
/// of memory, of another architecture.
inline Device start_device(int ordinal) {
    try {
        return look_at_device(ordinal);
    } catch (const CudaError& error) {
        throw CudaError(error.code, concat("start of CUDA device ", ordinal));
    }
}

}  // namespace detail

/// The calling thread's current device, looked at and probed at first use.
/// @throws CudaError if there is no device or it cannot be used; ContractError if device code was compiled to
///         flush denormals
[[nodiscard]] inline const Device& current_device() {
    constexpr int most = 64;
    static std::array<Device, most> devices;
    static std::array<std::once_flag, most> looked;
    int ordinal = 0;
    check(::cudaGetDevice(&ordinal), "look for a CUDA device");
    require(ordinal < most, [&] { return concat("device ", ordinal, ", expected less than ", most); });
    const auto i = static_cast<std::size_t>(ordinal);
    std::call_once(looked[i], [&] { devices[i] = detail::start_device(ordinal); });
    return devices[i];
}

/// The blocks of `threads` threads that `items` items need, one thread an item; at most what keeps every
/// multiprocessor busy with 16 blocks, so kernels step through the rest.
[[nodiscard]] inline unsigned launch_grid(std::uint64_t items, unsigned threads) {
    const auto most = static_cast<std::uint64_t>(current_device().multiprocessors) * 16;
    const std::uint64_t blocks = ceil_div<std::uint64_t>(items, threads);
    return static_cast<unsigned>(blocks < most ? (blocks == 0 ? 1 : blocks) : most);
}

}  // namespace fae::inline FAE_ABI::cuda
