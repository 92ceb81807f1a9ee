// SPDX-License-Identifier: Apache-2.0
//
// The embedding operations on the device: forward, the row index, backward with the SGD update applied, and
// the two together, at the DLRM shape (26 Kaggle tables) and at the shapes of single tables that cuEmbed is
// compared at.
//
//   embedding_bag --benchmark_filter=backward_step/sgd/cuda/kaggle
//
// An operation is captured into a graph a dozen times, over batches that differ, and the graph is replayed:
// what is counted is the device's time for one, without the host's for its launches; the median of the
// replays is the counter `median_us`. `backward_step` is given its index; `index+backward_step` builds it
// too. Long rows are summed on a stream beside. Results are checked before they are timed. `copy_GBs` is what
// a copy of 1 GiB within the device's memory moves, bytes read and written.
//
// cuEmbed (version 0.2) is not part of this repository. What bench/results says of it beside ours was
// measured by a program that calls both as this one calls ours: the same batches, a dozen calls over four of
// them in a graph, medians. Its backward pass ends with a gradient of the different rows; that this must yet
// be applied is counted as three times the gradient's bytes at `copy_GBs`.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "axes.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/embedding_bag.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"

namespace {

using fae::Bags;
using fae::Pooling;
using fae::Span;
template <class T>
using DeviceBuffer = fae::Buffer<T, fae::cuda::DeviceSpace>;
using Index = fae::cuda::RowIndex<std::uint32_t>;

constexpr std::size_t batches = 4;
constexpr std::size_t in_graph = 12;
constexpr int replays = 15;
constexpr float rate = 1e-6f;

/// Small numbers that differ between rows and columns.
__global__ void fill(float* values, std::size_t count, float scale) {
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
         i += std::size_t{gridDim.x} * blockDim.x) {
        values[i] = scale * static_cast<float>(static_cast<int>(i * 2654435761u >> 7 & 1023) - 512);
    }
}

/// Batches of a shape, kept until another shape is asked for.
const std::vector<std::uint32_t>& batches_of(const axes::Shape& shape) {
    static std::string label;
    static std::vector<std::uint32_t> values;
    if (label != shape.label()) {
        label = shape.label();
        values.resize(batches * shape.lookups());
        std::vector<std::thread> threads;
        for (std::size_t b = 0; b < batches; ++b) {
            threads.emplace_back([&shape, b] {
                const auto batch = axes::index_stream(shape, 1, b + 1);
                std::copy(batch.begin(), batch.end(),
                          values.begin() + static_cast<std::ptrdiff_t>(b * shape.lookups()));
            });
        }
        for (std::thread& thread : threads) thread.join();
    }
    return values;
}

/// A table, batches over it, and room for what is computed.
class Work {
  public:
    explicit Work(const axes::Shape& of)
        : shape(of),
          host_values(batches_of(of)),
          options{.one_tier = true, .features_apart = of.tables.size() > 1},
          values(batches * of.lookups()),
          table(of.rows() * of.dim),
          out(of.bags() * of.dim),
          gradients(of.bags() * of.dim),
          step_space(fae::cuda::backward_step_scratch<float, fae::Sgd>(
              {std::min<std::size_t>(of.lookups(), of.rows()), of.lookups(), of.bags(), of.dim,
               Pooling::sum})),
          indices(batches) {
        fae::cuda::copy(on(), Span<const std::uint32_t>(host_values), values.span());
        fill<<<2048, 256, 0, stream.get()>>>(table.data(), table.size(), 1e-3f);
        fae::cuda::check_launch("fill");
        fill<<<2048, 256, 0, stream.get()>>>(gradients.data(), gradients.size(), 1e-3f);
        fae::cuda::check_launch("fill");
        home = {table.data(), nullptr, of.dim, 0, 0, of.rows()};
        for (std::size_t b = 0; b < batches; ++b) {
            index_spaces.emplace_back(
                fae::cuda::row_index_scratch<std::uint32_t>(of.lookups(), of.rows(), options));
        }
        stream.synchronise();
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    [[nodiscard]] fae::cuda::On on() const { return fae::cuda::on(stream); }
    [[nodiscard]] fae::RowSource<float> source() const { return {{}, {&home, 1}, {}}; }
    [[nodiscard]] Bags<std::uint32_t> bags(std::size_t batch) const {
        const std::size_t count = shape.lookups();
        return Bags<std::uint32_t>::fixed({values.data() + batch % batches * count, count}, shape.bag_size,
                                          shape.tables.size());
    }
    void forward(std::size_t batch) {
        fae::embedding_bag::forward(on(), source(), bags(batch), Pooling::sum,
                                    {out.data(), shape.bags(), shape.dim});
    }
    void build(std::size_t batch) {
        fae::Workspace space(index_spaces[batch % batches].span());
        indices[batch % batches] = build_row_index(on(), bags(batch), shape.rows(), space, options);
    }
    void step(std::size_t batch) {
        fae::Workspace space(step_space.span());
        fae::embedding_bag::backward_step(on(), fae::Sgd{}, rate, indices[batch % batches], bags(batch),
                                          Pooling::sum, {gradients.data(), shape.bags(), shape.dim}, source(),
                                          space, {.side = &side});
    }
    template <class T>
    std::vector<T> to_host(const T* from, std::size_t count) const {
        std::vector<T> to(count);
        fae::cuda::copy(on(), Span<const T>(from, count), Span<T>(to));
        stream.synchronise();
        return to;
    }
    [[nodiscard]] std::uint32_t rows_of(std::size_t batch) const {
        return to_host(indices[batch % batches].count, 1)[0];
    }
    /// The last column of rows of the table.
    template <class Rows>
    std::vector<float> last_column(const Rows& rows) const {
        std::vector<float> column(rows.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            fae::cuda::copy(on(), {table.data() + std::size_t{rows[i]} * shape.dim + shape.dim - 1, 1},
                            Span<float>(&column[i], 1));
        }
        stream.synchronise();
        return column;
    }

    axes::Shape shape;
    const std::vector<std::uint32_t>& host_values;
    fae::cuda::RowIndexOptions options;
    fae::cuda::Stream stream;
    fae::cuda::SideStream side;
    DeviceBuffer<std::uint32_t> values;
    DeviceBuffer<float> table;
    DeviceBuffer<float> out;
    DeviceBuffer<float> gradients;
    DeviceBuffer<std::byte> step_space;
    std::vector<DeviceBuffer<std::byte>> index_spaces;
    std::vector<Index> indices;
    fae::RowsView<float> home;
};

/// Captures `in_graph` runs and times replays of them.
template <class Run>
void replay(benchmark::State& state, Work& work, Run&& run) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    const cudaStream_t stream = work.stream.get();
    fae::cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (std::size_t i = 0; i < in_graph; ++i) run(i);
    fae::cuda::check(cudaStreamEndCapture(stream, &graph), "capture");
    fae::cuda::check(cudaGraphInstantiate(&exec, graph, cudaGraphInstantiateFlagUseNodePriority),
                     "instantiation");
    using Event = fae::cuda::Event;
    Event start(Event::Timing::on);
    Event end(Event::Timing::on);
    for (int i = 0; i < 3; ++i) fae::cuda::check(cudaGraphLaunch(exec, stream), "replay");
    std::vector<double> seconds;
    for (auto _ : state) {
        start.record(work.on());
        fae::cuda::check(cudaGraphLaunch(exec, stream), "replay");
        end.record(work.on());
        end.synchronise();
        seconds.push_back(static_cast<double>(end.milliseconds_since(start)) * 1e-3 / in_graph);
        state.SetIterationTime(seconds.back());
    }
    const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
    std::nth_element(seconds.begin(), middle, seconds.end());
    state.counters["median_us"] = *middle * 1e6;
    state.SetItemsProcessed(static_cast<std::int64_t>(work.shape.lookups()) * state.iterations());
    fae::cuda::check(cudaGraphExecDestroy(exec), "destruction of a graph");
    fae::cuda::check(cudaGraphDestroy(graph), "destruction of a graph");
}

/// The last column of the first bags, against sums in double precision.
bool pools(Work& work) {
    const std::size_t bags = std::min<std::size_t>(work.shape.bags(), 64);
    const auto out = work.to_host(work.out.data(), bags * work.shape.dim);
    for (std::size_t b = 0; b < bags; ++b) {
        const Span<const std::uint32_t> rows(work.host_values.data() + b * work.shape.bag_size,
                                             work.shape.bag_size);
        double sum = 0;
        for (const float x : work.last_column(rows)) sum += static_cast<double>(x);
        if (std::abs(sum - static_cast<double>(out[(b + 1) * work.shape.dim - 1])) > 1e-3) return false;
    }
    return true;
}

/// The last column of some rows of the first batch after a step, against gradients added in double precision.
template <class Step>
bool steps(Work& work, Step&& step) {
    work.build(0);
    const std::uint32_t count = work.rows_of(0);
    const auto begin = work.to_host(work.indices[0].begin.data(), count + 1);
    const auto all = work.to_host(work.indices[0].rows.data(), count);
    const auto bag_of = work.to_host(work.indices[0].bags.data(), work.shape.lookups());
    const auto gradients = work.to_host(work.gradients.data(), work.gradients.size());
    std::vector<std::uint32_t> rows;
    std::vector<std::uint32_t> numbers;
    for (std::uint32_t r = 0; r < count; r += 1 + count / 64) {
        rows.push_back(all[r]);
        numbers.push_back(r);
    }
    const auto before = work.last_column(rows);
    step();
    const auto after = work.last_column(rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        double sum = 0;
        for (std::uint32_t at = begin[numbers[i]]; at < begin[numbers[i] + 1]; ++at) {
            sum += static_cast<double>(gradients[(std::size_t{bag_of[at]} + 1) * work.shape.dim - 1]);
        }
        const double expected = static_cast<double>(before[i]) - static_cast<double>(rate) * sum;
        if (std::abs(expected - static_cast<double>(after[i])) > 1e-6) return false;
    }
    return true;
}

/// A copy within the device's memory.
void copy(benchmark::State& state) {
    constexpr std::size_t bytes = std::size_t{1} << 30;
    const DeviceBuffer<std::byte> from(bytes);
    DeviceBuffer<std::byte> to(bytes);
    fae::cuda::Stream stream;
    using Event = fae::cuda::Event;
    Event start(Event::Timing::on);
    Event end(Event::Timing::on);
    const fae::cuda::On on = fae::cuda::on(stream);
    fae::cuda::copy(on, from.span(), to.span());
    double least = 1;
    for (auto _ : state) {
        start.record(on);
        fae::cuda::copy(on, from.span(), to.span());
        end.record(on);
        end.synchronise();
        state.SetIterationTime(static_cast<double>(end.milliseconds_since(start)) * 1e-3);
        least = std::min(least, static_cast<double>(end.milliseconds_since(start)) * 1e-3);
    }
    state.counters["copy_GBs"] = 2e-9 * static_cast<double>(bytes) / least;
}

void forward(benchmark::State& state, const axes::Shape& shape) {
    Work work(shape);
    work.forward(0);
    if (!pools(work)) return state.SkipWithError("forward: wrong sum");
    replay(state, work, [&](std::size_t i) { work.forward(i); });
    state.SetBytesProcessed(
        static_cast<std::int64_t>(shape.lookups() * (shape.dim + 1) * 4 + shape.bags() * shape.dim * 4) *
        state.iterations());
}

void index(benchmark::State& state, const axes::Shape& shape) {
    Work work(shape);
    work.build(0);
    replay(state, work, [&](std::size_t i) { work.build(i); });
    state.counters["unique_share"] =
        static_cast<double>(work.rows_of(0)) / static_cast<double>(shape.lookups());
}

void backward(benchmark::State& state, const axes::Shape& shape, bool with_index) {
    Work work(shape);
    if (!steps(work, [&] { work.step(0); })) return state.SkipWithError("backward_step: wrong weights");
    double rows = 0;
    for (std::size_t b = 0; b < batches; ++b) {
        work.build(b);
        rows += work.rows_of(b) / static_cast<double>(batches);
    }
    replay(state, work, [&](std::size_t i) {
        if (with_index) work.build(i);
        work.step(i);
    });
    const double bytes = static_cast<double>(shape.lookups() * (shape.dim + 1) * 4) +
                         2 * rows * static_cast<double>(shape.dim * 4);
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
    state.counters["unique_share"] = rows / static_cast<double>(shape.lookups());
}

[[maybe_unused]] const bool registered = [] {
    std::vector<axes::Shape> shapes;
    for (const std::size_t batch : {1024u, 4096u, 16'384u}) shapes.push_back(axes::kaggle(batch, 1.05));
    for (const double exponent : {1.05, 1.15}) {
        const auto table = [&](std::uint64_t rows, std::size_t dim, std::size_t batch, std::size_t bag_size) {
            shapes.push_back({"table", {rows}, dim, batch, bag_size, exponent});
        };
        table(10'000'000, 16, 262'144, 1);
        table(10'000'000, 16, 65'536, 26);
        table(10'000'000, 32, 65'536, 64);
        table(10'000'000, 64, 65'536, 26);
        table(5'000'000, 128, 65'536, 26);
        table(5'000'000, 128, 65'536, 64);
        table(5'000'000, 256, 65'536, 64);
    }
    benchmark::RegisterBenchmark("copy/cuda", copy)
        ->Iterations(replays)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
    for (const axes::Shape& shape : shapes) {
        const auto put = [&](const std::string& name, auto body) {
            benchmark::RegisterBenchmark(("embedding_bag/" + name + "/cuda/" + shape.label()).c_str(),
                                         [=](benchmark::State& state) { body(state); })
                ->Iterations(replays)
                ->UseManualTime()
                ->Unit(benchmark::kMicrosecond);
        };
        put("forward", [=](benchmark::State& state) { forward(state, shape); });
        put("index", [=](benchmark::State& state) { index(state, shape); });
        put("backward_step/sgd", [=](benchmark::State& state) { backward(state, shape, false); });
        put("index+backward_step/sgd", [=](benchmark::State& state) { backward(state, shape, true); });
    }
    return true;
}();

}  // namespace

BENCHMARK_MAIN();
