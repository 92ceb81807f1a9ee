// SPDX-License-Identifier: Apache-2.0
//
// Progress: a number in pinned memory that a stream advances and any thread of the host can look at, without
// asking CUDA: many threads that ask for events stand in the way of the one that queues.
//
//   cuda::Progress steps;
//   steps.tell(cuda::on(stream), 7);            // queued: all before it on the stream is done
//   while (steps.now() < 7) ...                 // by any thread
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "fae/core/config.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// Writes a number where the host reads it, behind all that the stream did before.
/// @par Launch one thread
inline __global__ void tell_host(volatile std::uint64_t* word, std::uint64_t number) {
    __threadfence_system();
    *word = number;
}

}  // namespace detail

/// A number that does not fall. Move-only; what tells it is done before it is destroyed.
class Progress {
  public:
    /// @throws CudaError
    Progress() : word_(1) {}

    /// @exec cuda::On: queued
    void tell(On on, std::uint64_t number) {
        detail::tell_host<<<1, 1, 0, on.stream>>>(word_.data(), number);
        check_launch("tell_host");
    }
    [[nodiscard]] std::uint64_t now() const {
        return std::atomic_ref<std::uint64_t>(const_cast<std::uint64_t&>(word_[0]))
            .load(std::memory_order_acquire);
    }

  private:
    Buffer<std::uint64_t, PinnedSpace> word_;
};

/// Returns when a number has been told. Looks for some milliseconds, giving way to other threads, then asks
/// CUDA.
/// @param event  recorded on the stream just behind the number
/// @throws CudaError, also for what failed on the stream
inline void wait_for(const Progress& progress, std::uint64_t number, const Event& event) {
    constexpr unsigned turns = 20'000;
    for (unsigned turn = 0; progress.now() < number; ++turn) {
        if (turn == turns) return event.synchronise();
        std::this_thread::yield();
    }
}

}  // namespace fae::inline FAE_ABI::cuda
