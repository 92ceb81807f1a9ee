// SPDX-License-Identifier: Apache-2.0
//
// Counting and classifying look-ups that lie in device memory. Items are look-ups; bytes are the indices
// read, and for counting the counters read and written. Times are of the device.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "axes.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/classify.cuh"
#include "fae/cuda/profile.cuh"
#include "fae/profile/profiler.hpp"

namespace {

namespace gpu = fae::cuda;
using Values = std::shared_ptr<std::vector<std::uint32_t>>;

fae::RowSpace space_of(const axes::Shape& shape) {
    std::vector<fae::TableSpec> tables;
    for (const std::uint64_t rows : shape.tables) {
        tables.push_back({rows, static_cast<std::uint32_t>(shape.dim), ""});
    }
    return fae::RowSpace(std::move(tables));
}

/// Runs f() in the benchmark's loop, timed by events.
template <class F>
void time_on(benchmark::State& state, const gpu::Stream& stream, F&& f) {
    gpu::Event begin(gpu::Event::Timing::on);
    gpu::Event end(gpu::Event::Timing::on);
    for (auto _ : state) {
        begin.record(gpu::on(stream));
        f();
        end.record(gpu::on(stream));
        end.synchronise();
        state.SetIterationTime(static_cast<double>(end.milliseconds_since(begin)) * 1e-3);
    }
}

void count(benchmark::State& state, const axes::Shape& shape, const Values& values, double sample) {
    const fae::RowSpace space = space_of(shape);
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    fae::Buffer<std::uint32_t, gpu::DeviceSpace> resident(values->size());
    gpu::copy(on, *values, resident.span());
    const auto bags = fae::Bags<std::uint32_t>::fixed(resident.span(), shape.bag_size, space.features());
    const auto sampler = sample < 1 ? fae::InputSampler::bernoulli(sample, 1) : fae::InputSampler();
    gpu::AccessProfiler<> profiler(on, space);
    profiler.add(on, bags, sampler);
    const fae::AccessProfile<> profile = profiler.finish(on);
    std::vector<std::uint32_t> expected(space.rows(), 0);
    const std::size_t width = space.features() * shape.bag_size;
    for (std::size_t i = 0; i < values->size(); ++i)
        expected[(*values)[i]] += sampler.draws(i / width) ? 1u : 0u;
    for (std::size_t r = 0; r < expected.size(); ++r) {
        if (profile.counts()[r] != expected[r]) {
            state.SkipWithError("a count differs from a plain loop's");
            return;
        }
    }
    time_on(state, stream, [&] { profiler.add(on, bags, sampler); });
    const auto lookups =
        static_cast<std::int64_t>(values->size()) * static_cast<std::int64_t>(state.iterations());
    state.SetItemsProcessed(lookups);
    state.SetBytesProcessed(lookups * 12);
}

void classify_all(benchmark::State& state, const axes::Shape& shape, const Values& values,
                  std::uint32_t least) {
    const fae::RowSpace space = space_of(shape);
    fae::Threads threads;
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto host_bags = fae::Bags<std::uint32_t>::fixed(*values, shape.bag_size, space.features());
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::par(threads), host_bags);
    const fae::AccessProfile<> profile = profiler.finish();
    const fae::HotSet hot = fae::HotSet::from_predicate(
        fae::par(threads), space.rows(), [&](std::uint64_t row) { return profile.counts()[row] >= least; });
    const gpu::DeviceHotSet copy(on, hot, gpu::DeviceHotSet::Parts::membership);
    fae::Buffer<std::uint32_t, gpu::DeviceSpace> resident(values->size());
    gpu::copy(on, *values, resident.span());
    const auto bags = fae::Bags<std::uint32_t>::fixed(resident.span(), shape.bag_size, space.features());
    {
        const auto split = gpu::to_host(on, fae::par(threads), classify(on, copy, bags));
        const auto expected = classify(fae::par(threads), hot, space, host_bags);
        if (split.hot_count() != expected.hot_count() ||
            !std::equal(split.hot_slots.begin(), split.hot_slots.end(), expected.hot_slots.begin()) ||
            !std::equal(split.cold_rows.begin(), split.cold_rows.end(), expected.cold_rows.begin())) {
            state.SkipWithError("the classification differs from the host's");
            return;
        }
        state.counters["hot_inputs"] =
            static_cast<double>(split.hot_count()) / static_cast<double>(split.inputs());
    }
    time_on(state, stream, [&] { benchmark::DoNotOptimize(classify(on, copy, bags).hot_inputs.hot); });
    const auto lookups =
        static_cast<std::int64_t>(values->size()) * static_cast<std::int64_t>(state.iterations());
    state.SetItemsProcessed(lookups);
    state.SetBytesProcessed(lookups * 12);
}

void add_all() {
    constexpr std::size_t inputs = std::size_t{1} << 20;
    const std::vector<axes::Shape> shapes = {
        axes::kaggle(inputs, 1.05),
        axes::kaggle(inputs / 256, 1.05),
        {"three-rows", {3}, 16, inputs * 16, 1, 1.05},
        {"one-table", {10131227}, 16, inputs * 16, 1, 1.2},
    };
    for (const axes::Shape& shape : shapes) {
        const auto values = std::make_shared<std::vector<std::uint32_t>>(axes::index_stream(shape, 1, 1));
        const auto add = [&](const std::string& name, auto f) {
            benchmark::RegisterBenchmark((name + "/cuda/" + shape.label()).c_str(), f)
                ->Unit(benchmark::kMicrosecond)
                ->Iterations(50)
                ->UseManualTime();
        };
        add("count", [=](benchmark::State& state) { count(state, shape, values, 1.0); });
        if (shape.tables.size() == 1) continue;
        add("count-sample-5-percent", [=](benchmark::State& state) { count(state, shape, values, 0.05); });
        add("classify", [=](benchmark::State& state) { classify_all(state, shape, values, 3); });
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
