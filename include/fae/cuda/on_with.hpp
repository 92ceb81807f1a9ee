// SPDX-License-Identifier: Apache-2.0
//
// OnWith: the execution argument of what host and device do together: a stream for the device's part, an
// executor for the host's. It is an Executor too, so that code written for a table of the host takes a table
// of the device.
//
//   const auto exec = cuda::on(stream, par(threads));
//   table.synchronise(exec, Heat::hot);
//   weights_digest(exec, table, model);
//
// It is for tables; operations on device memory take cuda::on(stream) alone.
#pragma once

#include <cuda_runtime_api.h>

#include <concepts>
#include <cstddef>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A stream that it does not own, and an executor.
template <Executor E>
class OnWith {
  public:
    OnWith(On on, E exec) : on_(on), exec_(std::move(exec)) {}
    [[nodiscard]] On on() const { return on_; }
    [[nodiscard]] std::size_t concurrency() const { return exec_.concurrency(); }
    template <class F>
    void run(std::size_t n, F&& task) const {
        exec_.run(n, task);
    }

  private:
    On on_;
    E exec_;
};

/// Queues on the stream, and runs the host's part with the executor.
template <Executor E>
[[nodiscard]] OnWith<E> on(cudaStream_t stream, E exec) {
    return {On{stream}, std::move(exec)};
}
template <Executor E>
[[nodiscard]] OnWith<E> on(const Stream& stream, E exec) {
    return {cuda::on(stream), std::move(exec)};
}

/// An executor that knows a stream.
template <class E>
concept DeviceExecutor = Executor<E> && requires(const E& exec) {
    { exec.on() } -> std::same_as<On>;
};
static_assert(DeviceExecutor<OnWith<Seq>>);

}  // namespace fae::inline FAE_ABI::cuda
