// SPDX-License-Identifier: Apache-2.0
//
// What a checked build (FAE_CHECKED) knows of look-ups that name no row: kernels write the first one to a
// report in device memory, the next synchronising call throws it as IndexError.
//
// Each cuda::Stream owns an IndexStatus, and cuda::on(stream) hands its report to the operations; a host that
// brings a stream of its own brings a status too:
//
//   cuda::IndexStatus status;
//   const cuda::On on{stream, status.report()};
//   embedding_bag::forward(on, rows, bags, Pooling::sum, out);    // a bad look-up: out is NaN, nothing
//   faults on.synchronise();                                             // throws IndexError
//
// Once a look-up has been reported, operations that report to the same place change no row until it has been
// thrown. Builds without FAE_CHECKED report nothing and have no memory for it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/cuda/error.hpp"

namespace fae::inline FAE_ABI::cuda {

/// The first look-up that names no row, in device memory; all its bits are set where there is none.
struct IndexReport {
    std::uint64_t position;
    std::uint64_t value;
    std::uint64_t bound;    ///< what the value must be less than
    std::uint64_t is_slot;  ///< else a row
    const char* name;       ///< what was looked at, "values[" or "look-up "; the host's, kernels pass it on
};

inline constexpr std::uint64_t no_position = ~std::uint64_t{0};

/// Throws what was reported on this stream or before, and forgets it. Waits for the stream.
/// @throws IndexError; CudaError
inline void throw_reported(cudaStream_t stream, IndexReport* report) {
    IndexReport found{};
    check(::cudaMemcpyAsync(&found, report, sizeof found, cudaMemcpyDeviceToHost, stream), "look at indices");
    check(::cudaStreamSynchronize(stream), "synchronisation of a stream");
    if (found.position == no_position) return;
    check(::cudaMemsetAsync(report, 0xFF, sizeof found, stream), "look at indices");
    const bool subscript = found.name[std::strlen(found.name) - 1] == '[';
    throw IndexError(concat(found.name, found.position, subscript ? "] is " : " is ",
                            found.is_slot != 0 ? "slot " : "", found.value, ", expected less than ",
                            found.bound));
}

/// Owns a report. Move-only.
class IndexStatus {
  public:
    /// @throws CudaError
    IndexStatus() {
        if constexpr (checked) {
            check(::cudaMalloc(reinterpret_cast<void**>(&report_), sizeof(IndexReport)),
                  "allocation of bytes of device memory for an index report");
            if (const cudaError_t result = ::cudaMemset(report_, 0xFF, sizeof(IndexReport));
                result != cudaSuccess) {
                static_cast<void>(::cudaFree(report_));
                check(result, "allocation of bytes of device memory for an index report");
            }
        }
    }
    IndexStatus(IndexStatus&& other) noexcept : report_(std::exchange(other.report_, nullptr)) {}
    IndexStatus& operator=(IndexStatus&& other) noexcept {
        std::swap(report_, other.report_);
        return *this;
    }
    ~IndexStatus() {
        if (report_ != nullptr) static_cast<void>(::cudaFree(report_));
    }

    /// Null in builds without FAE_CHECKED.
    [[nodiscard]] IndexReport* report() const { return report_; }

  private:
    IndexReport* report_ = nullptr;
};

}  // namespace fae::inline FAE_ABI::cuda
