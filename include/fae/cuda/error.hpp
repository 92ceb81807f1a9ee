// SPDX-License-Identifier: Apache-2.0
//
// CUDA's errors as exceptions. Every call of the runtime goes through check(), every launch is followed by
// check_launch().
//
//   cuda::check(cudaMemcpyAsync(...), "copy of the batch to the device");
//   gather<<<grid, block, 0, on.stream>>>(...);
//   cuda::check_launch("gather");
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// A call of CUDA, or of a library on top of it, that failed: what was being done, CUDA's name of the error
/// and its text.
struct CudaError : Error {
    CudaError(cudaError_t error, const std::string& doing)
        : Error(doing + ": " + ::cudaGetErrorName(error) + " (" + ::cudaGetErrorString(error) + ")"),
          code(error) {}
    cudaError_t code;
};

namespace cuda {

/// Throws CudaError unless `result` is success. An error that CUDA has remembered for this thread is cleared,
/// so that it is reported once.
inline void check(cudaError_t result, const char* doing) {
    if (result != cudaSuccess) [[unlikely]] {
        static_cast<void>(::cudaGetLastError());
        throw CudaError(result, doing);
    }
}

/// Throws CudaError if the launch before it was refused. What a kernel does wrong while it runs is reported
/// by the next synchronising call.
inline void check_launch(const char* kernel) {
    if (const cudaError_t result = ::cudaGetLastError(); result != cudaSuccess) [[unlikely]] {
        throw CudaError(result, std::string("launch of ") + kernel);
    }
}

}  // namespace cuda
}  // namespace fae::inline FAE_ABI
