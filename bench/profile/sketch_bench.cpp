// SPDX-License-Identifier: Apache-2.0
//
// The heavy-hitter sketch on Kaggle's row counts: items are look-ups, per second of one core. The bounds of
// every row are checked against exact counts before anything is timed. `lower_share` and `upper_share` are
// what the sketch says at least and at most of the look-ups that the rows it lists have. distinct: 64-bit
// keys that never repeat, in 16 MiB; `bytes` is what the sketch takes after all of them.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "axes.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/sketch.hpp"

namespace {

constexpr std::size_t inputs = std::size_t{1} << 19;

bool holds(const fae::HeavyHitterSketch& sketch, const std::vector<std::uint32_t>& truth) {
    for (std::size_t row = 0; row < truth.size(); ++row) {
        const fae::HeavyKey heavy = sketch.bounds(row);
        if (heavy.lower > truth[row] || heavy.upper < truth[row]) return false;
    }
    return true;
}

void update(benchmark::State& state, const axes::Shape& shape, const std::vector<std::uint32_t>& values,
            std::uint64_t mebibytes, std::size_t thread_count) {
    fae::Threads threads(thread_count);
    const fae::Span<const std::uint32_t> keys(values.data(), values.size());
    fae::HeavyHitterSketch sketch({mebibytes << 20, 1});
    sketch.add(fae::par(threads), keys);
    {
        std::vector<std::uint32_t> truth(shape.rows(), 0);
        for (const std::uint32_t row : values) ++truth[row];
        if (!holds(sketch, truth)) {
            state.SkipWithError("a row's look-ups are outside its bounds");
            return;
        }
    }
    double lower = 0;
    double upper = 0;
    for (const fae::HeavyKey& heavy : sketch.listed()) {
        lower += static_cast<double>(heavy.lower);
        upper += static_cast<double>(heavy.upper);
    }
    for (auto _ : state) sketch.add(fae::par(threads), keys);
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(values.size()));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(values.size() * (4 + 32)));
    state.counters["lower_share"] = lower / static_cast<double>(values.size());
    state.counters["upper_share"] = upper / static_cast<double>(values.size());
    state.counters["bytes"] = static_cast<double>(sketch.memory_bytes());
}

void distinct(benchmark::State& state) {
    const auto count = static_cast<std::uint64_t>(state.range(0));
    constexpr std::size_t block = std::size_t{1} << 20;
    std::vector<std::uint64_t> keys(block);
    double bytes = 0;
    double floor = 0;
    for (auto _ : state) {
        fae::HeavyHitterSketch sketch({16u << 20, 1});
        for (std::uint64_t first = 0; first < count; first += block) {
            const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(block, count - first));
            for (std::size_t i = 0; i < some; ++i) keys[i] = fae::mix64(first + i);
            sketch.add(fae::seq, fae::Span<const std::uint64_t>(keys.data(), some));
        }
        bytes = static_cast<double>(sketch.memory_bytes());
        floor = static_cast<double>(sketch.floor());
        if (sketch.memory_bytes() > sketch.options().memory_bytes || sketch.total() != count) {
            state.SkipWithError("the sketch outgrew its memory");
            return;
        }
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(count));
    state.counters["bytes"] = bytes;
    state.counters["floor"] = floor;
}

void add_all() {
    for (const double exponent : {1.05, 1.10}) {
        const axes::Shape shape = axes::kaggle(inputs, exponent);
        const auto values = std::make_shared<std::vector<std::uint32_t>>(axes::index_stream(shape, 1, 1));
        for (const std::uint64_t mebibytes : {1u, 16u, 64u}) {
            for (const std::size_t threads : {1u, 2u}) {
                benchmark::RegisterBenchmark(("sketch/update/cpu/threads:" + std::to_string(threads) +
                                              "/MiB:" + std::to_string(mebibytes) +
                                              "/kaggle/zipf:" + (exponent < 1.08 ? "1.05" : "1.10") +
                                              "/rows:" + std::to_string(shape.rows()))
                                                 .c_str(),
                                             [shape, values, mebibytes, threads](benchmark::State& state) {
                                                 update(state, shape, *values, mebibytes, threads);
                                             })
                    ->Unit(benchmark::kMillisecond)
                    ->MeasureProcessCPUTime();
            }
        }
    }
    benchmark::RegisterBenchmark("sketch/distinct/cpu/MiB:16", distinct)
        ->ArgName("keys")
        ->Arg(10'000'000)
        ->Arg(1'000'000'000)
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime();
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
