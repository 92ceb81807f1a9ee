// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "device_probe.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/graph.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"
#include "fae/models/dlrm.cuh"

namespace advise {

namespace {

namespace gpu = fae::cuda;

constexpr std::size_t probed_bytes = std::size_t{256} << 20;
constexpr int repetitions = 7;

/// A bijection of [0, rows), rows a power of two, without order.
__host__ __device__ std::uint64_t scattered(std::uint64_t i, std::uint64_t rows) {
    std::uint64_t x = i * 0x9E3779B97F4A7C15u & (rows - 1);
    x ^= x >> 9;
    return x * 0xBF58476D1CE4E5B9u & (rows - 1);
}

/// Adds up rows read in a random order, a warp a row.
/// @par Launch any grid of blocks of 256 threads
__global__ void gather_rows(const float4* rows, std::uint64_t row_count, unsigned row_vectors, float4* sums) {
    const std::uint64_t warps = gridDim.x * std::uint64_t{blockDim.x} / 32;
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    // Narrow rows: several at once in a warp.
    const unsigned lanes = row_vectors < 32 ? row_vectors : 32;
    const unsigned at_once = 32 / lanes;
    const unsigned lane = threadIdx.x % 32 % lanes;
    const unsigned which = threadIdx.x % 32 / lanes;
    float4 sum{};
    if (which < at_once) {
        for (std::uint64_t i = warp * at_once + which; i < row_count; i += warps * at_once) {
            const float4* row = rows + scattered(i, row_count) * row_vectors;
            for (unsigned v = lane; v < row_vectors; v += lanes) {
                const float4 x = row[v];
                sum.x += x.x;
                sum.y += x.y;
                sum.z += x.z;
                sum.w += x.w;
            }
        }
    }
    sums[blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x] = sum;
}

/// Does nothing.
/// @par Launch one thread
__global__ void nothing() {}

// The median seconds of queued work.
template <class F>
double seconds_of(const gpu::Stream& stream, F&& queue) {
    std::vector<double> seconds;
    for (int i = 0; i <= repetitions; ++i) {
        stream.synchronise();
        const auto start = std::chrono::steady_clock::now();
        queue();
        stream.synchronise();
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        if (i != 0) seconds.push_back(taken.count());
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds[seconds.size() / 2];
}

// The dense model's step as one graph, twenty at a time.
double dense_step(const gpu::Stream& stream, const train_dlrm::Options& options, const fae::DlrmShape& shape,
                  std::size_t batch) {
    constexpr int steps = 20;
    const gpu::On on = gpu::on(stream);
    gpu::Dlrm model(on, shape, batch, 1, options.optimizer,
                    options.tf32 ? gpu::Precision::tf32 : gpu::Precision::fp32);
    fae::Buffer<float, gpu::DeviceSpace> dense(batch * model.dense_stride());
    fae::Buffer<float, gpu::DeviceSpace> pooled(batch * shape.sparse_features * shape.dim);
    fae::Buffer<std::uint8_t, gpu::DeviceSpace> labels(batch);
    fae::Buffer<float, gpu::DeviceSpace> lr(1);
    for (const auto& [data, bytes] : {std::pair<void*, std::size_t>{dense.data(), dense.size() * 4},
                                      {pooled.data(), pooled.size() * 4},
                                      {labels.data(), labels.size()},
                                      {lr.data(), std::size_t{4}}}) {
        gpu::check(::cudaMemsetAsync(data, 0, bytes, stream.get()), "probe of the dense model");
    }
    model.prepare(batch);
    stream.synchronise();
    const gpu::Graph graph(on, [&] {
        model.forward(
            on, fae::MatrixView<const float>(dense.data(), batch, shape.dense_features, model.dense_stride()),
            fae::MatrixView<const float>(pooled.data(), batch, shape.sparse_features * shape.dim));
        static_cast<void>(model.backward(on, fae::Span<const std::uint8_t>(labels.data(), batch)));
        model.step(on, lr.data());
    });
    const double seconds = seconds_of(stream, [&] {
        for (int s = 0; s < steps; ++s) graph.launch(on);
    });
    return seconds / steps;
}

}  // namespace

std::optional<fae::DeviceRates> probe_device(const train_dlrm::Executor& exec,
                                             const train_dlrm::Options& options,
                                             const fae::DlrmShape& shape) {
    int count = 0;
    if (::cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        static_cast<void>(::cudaGetLastError());
        return std::nullopt;
    }
    const gpu::Stream stream;
    fae::DeviceRates rates;
    rates.name = gpu::current_device().name;
    std::size_t free_bytes = 0;
    std::size_t all_bytes = 0;
    gpu::check(::cudaMemGetInfo(&free_bytes, &all_bytes), "query of the device's memory");
    rates.memory_bytes = static_cast<double>(all_bytes);

    const auto row_bytes = static_cast<std::size_t>(
        fae::row_layout(shape.dim, fae::state_size(options.optimizer, shape.dim)).bytes());
    const std::uint64_t rows = std::bit_floor(probed_bytes / row_bytes);
    const auto bytes = static_cast<double>(rows * row_bytes);
    fae::Buffer<float, gpu::DeviceSpace> device(probed_bytes / sizeof(float));
    fae::Buffer<float, gpu::PinnedSpace> pinned(probed_bytes / sizeof(float));
    const unsigned grid = gpu::launch_grid(rows * 8, 256);
    fae::Buffer<float, gpu::DeviceSpace> sums(std::size_t{grid} * 256 * 4);
    rates.gather_bandwidth =
        bytes / seconds_of(stream, [&] {
            gather_rows<<<grid, 256, 0, stream.get()>>>(reinterpret_cast<const float4*>(device.data()), rows,
                                                        static_cast<unsigned>(row_bytes / 16),
                                                        reinterpret_cast<float4*>(sums.data()));
            gpu::check_launch("gather_rows");
        });
    const auto copied = [&](void* to, const void* from, cudaMemcpyKind kind) {
        return static_cast<double>(probed_bytes) / seconds_of(stream, [&] {
                   gpu::check(::cudaMemcpyAsync(to, from, probed_bytes, kind, stream.get()),
                              "probe of the link");
               });
    };
    rates.link_up = copied(device.data(), pinned.data(), cudaMemcpyHostToDevice);
    rates.link_down = copied(pinned.data(), device.data(), cudaMemcpyDeviceToHost);

    // Rows between their homes, here and there in a larger memory, and a pinned buffer in order.
    fae::Buffer<char, fae::PageSpace> homes(probed_bytes);
    const auto moved = [&](bool up) {
        return bytes / seconds_of(stream, [&] {
                   fae::for_chunks(
                       exec, static_cast<std::size_t>(rows), 4096, [&](std::size_t begin, std::size_t end) {
                           for (std::size_t i = begin; i < end; ++i) {
                               char* home = homes.data() + scattered(i, rows) * row_bytes;
                               char* slot = reinterpret_cast<char*>(pinned.data()) + i * row_bytes;
                               std::memcpy(up ? slot : home, up ? home : slot, row_bytes);
                           }
                       });
               });
    };
    rates.host_gather = moved(true);
    rates.host_scatter = moved(false);
    rates.launch_seconds = seconds_of(stream, [&] {
        nothing<<<1, 1, 0, stream.get()>>>();
        gpu::check_launch("nothing");
    });
    for (const std::size_t part : {2u, 1u}) {
        const auto batch = static_cast<std::size_t>(std::max<std::uint64_t>(options.batch / part, 1));
        rates.dense.push_back({static_cast<double>(shape.training_flops()), static_cast<double>(batch),
                               dense_step(stream, options, shape, batch)});
    }
    return rates;
}

}  // namespace advise
