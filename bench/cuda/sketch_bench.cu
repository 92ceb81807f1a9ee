// SPDX-License-Identifier: Apache-2.0
//
// The heavy-hitter sketch of keys that lie in device memory, on Kaggle's row counts. Items are look-ups;
// times are of the device. Bounds are checked against exact counts before anything is timed.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "axes.hpp"
#include "fae/cuda/sketch.cuh"

namespace {

namespace gpu = fae::cuda;

void update(benchmark::State& state, const axes::Shape& shape, const std::vector<std::uint32_t>& values,
            std::uint64_t mebibytes) {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    fae::Buffer<std::uint32_t, gpu::DeviceSpace> resident(values.size());
    gpu::copy(on, values, resident.span());
    const fae::Span<const std::uint32_t> keys = resident.span();
    gpu::HeavyHitterSketch sketch(on, {mebibytes << 20, 1});
    sketch.add(on, keys);
    std::vector<std::uint32_t> truth(shape.rows(), 0);
    for (const std::uint32_t row : values) ++truth[row];
    const gpu::SketchListing seen = sketch.listing(on);
    std::uint64_t lower = 0;
    for (const fae::HeavyKey& heavy : seen.keys) {
        lower += heavy.lower;
        std::uint32_t& count = truth[heavy.key];
        if (heavy.lower > count || heavy.upper < count) state.SkipWithError("bounds miss a count");
        count = 0;
    }
    for (const std::uint32_t count : truth) {
        if (count > seen.floor) state.SkipWithError("a row above the floor is not listed");
    }
    gpu::Event begin(gpu::Event::Timing::on);
    gpu::Event end(gpu::Event::Timing::on);
    for (auto _ : state) {
        begin.record(on);
        sketch.add(on, keys);
        end.record(on);
        end.synchronise();
        state.SetIterationTime(static_cast<double>(end.milliseconds_since(begin)) * 1e-3);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(values.size()) *
                            static_cast<std::int64_t>(state.iterations()));
    state.counters["lower_share"] = static_cast<double>(lower) / static_cast<double>(values.size());
    state.counters["floor"] = static_cast<double>(seen.floor);
    state.counters["bytes"] = static_cast<double>(sketch.memory_bytes());
}

void add_all() {
    const axes::Shape shape = axes::kaggle(std::size_t{1} << 20, 1.05);
    const auto values = std::make_shared<std::vector<std::uint32_t>>(axes::index_stream(shape, 1, 1));
    for (const std::uint64_t mebibytes : {16u, 64u, 256u}) {
        benchmark::RegisterBenchmark(
            ("sketch/update/cuda/MiB:" + std::to_string(mebibytes) +
             "/kaggle/zipf:1.05/rows:" + std::to_string(shape.rows()))
                .c_str(),
            [shape, values, mebibytes](benchmark::State& state) { update(state, shape, *values, mebibytes); })
            ->UseManualTime()
            ->Unit(benchmark::kMillisecond);
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
