// SPDX-License-Identifier: Apache-2.0
//
// Graph: queued work, captured once and replayed with one call.
//
//   cuda::Graph graph(cuda::on(stream), [&] { queue_a_step(cuda::on(stream)); });   // nothing runs yet
//   graph.launch(cuda::on(any_stream));
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "fae/core/config.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda {

/// What a function queued on a stream, and on the streams that it forked from it and joined again. Addresses
/// and sizes are those of the capture; what lies at the addresses is read at each launch. Move-only.
class Graph {
  public:
    Graph() = default;
    /// Calls queue(), which queues on the stream; nothing of it runs. The priorities of the streams become
    /// those of the work.
    /// @throws CudaError; what queue throws, with the capture given up
    template <class F>
    Graph(On on, F&& queue) {
        check(::cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeRelaxed), "capture of a graph");
        cudaGraph_t graph = nullptr;
        try {
            std::forward<F>(queue)();
        } catch (...) {
            static_cast<void>(::cudaStreamEndCapture(on.stream, &graph));
            if (graph != nullptr) static_cast<void>(::cudaGraphDestroy(graph));
            static_cast<void>(::cudaGetLastError());
            throw;
        }
        check(::cudaStreamEndCapture(on.stream, &graph), "capture of a graph");
        const cudaError_t result =
            ::cudaGraphInstantiate(&graph_, graph, cudaGraphInstantiateFlagUseNodePriority);
        static_cast<void>(::cudaGraphDestroy(graph));
        check(result, "instantiation of a graph");
    }
    Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
    Graph& operator=(Graph&& other) noexcept {
        Graph moved(std::move(other));
        std::swap(graph_, moved.graph_);
        return *this;
    }
    ~Graph() {
        if (graph_ != nullptr) static_cast<void>(::cudaGraphExecDestroy(graph_));
    }

    /// @exec cuda::On: queued
    void launch(On on) const { check(::cudaGraphLaunch(graph_, on.stream), "launch of a graph"); }
    /// Moves to the device what the first launch would.
    void upload(On on) const { check(::cudaGraphUpload(graph_, on.stream), "upload of a graph"); }

  private:
    cudaGraphExec_t graph_ = nullptr;
};

}  // namespace fae::inline FAE_ABI::cuda
