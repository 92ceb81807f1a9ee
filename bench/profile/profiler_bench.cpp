// SPDX-License-Identifier: Apache-2.0
//
// Counting look-ups at Kaggle's row counts. Rates are per second of one core; items are inputs; bytes are the
// indices read and the counters read and written. `profile_bytes_a_row` is what a profile takes.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "axes.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"

namespace {

constexpr std::size_t inputs = std::size_t{1} << 20;

fae::RowSpace space_of(const axes::Shape& shape) {
    std::vector<fae::TableSpec> tables;
    for (const std::uint64_t rows : shape.tables) {
        tables.push_back({rows, static_cast<std::uint32_t>(shape.dim), ""});
    }
    return fae::RowSpace(std::move(tables));
}

/// The popular rows of each table first: what numbering by first appearance comes close to.
std::vector<std::uint32_t> by_popularity(const axes::Shape& shape) {
    std::vector<std::uint32_t> values(shape.lookups());
    std::uint64_t first = 0;
    for (std::size_t f = 0; f < shape.tables.size(); ++f) {
        fae::Philox random(1, f);
        for (std::size_t sample = 0; sample < shape.batch; ++sample) {
            values[sample * shape.tables.size() + f] = static_cast<std::uint32_t>(
                first + axes::power_law_rank(random.uniform(), shape.tables[f], shape.exponent));
        }
        first += shape.tables[f];
    }
    return values;
}

template <class Count>
void count(benchmark::State& state, const axes::Shape& shape, const std::vector<std::uint32_t>& values,
           std::size_t thread_count, double sample) {
    const fae::RowSpace space = space_of(shape);
    const auto bags = fae::Bags<std::uint32_t>::fixed(values, shape.bag_size, space.features());
    fae::Threads threads(thread_count);
    const auto exec = fae::par(threads);
    const auto sampler = sample < 1 ? fae::InputSampler::bernoulli(sample, 1) : fae::InputSampler();

    std::vector<std::uint64_t> expected(space.rows(), 0);
    for (std::size_t i = 0; i < bags.samples(); ++i) {
        if (!sampler.draws(i)) continue;
        for (std::size_t f = 0; f < space.features(); ++f) ++expected[values[i * space.features() + f]];
    }
    fae::AccessProfiler<fae::ExactCounter<Count>> profiler(space);
    profiler.add(exec, bags, sampler);
    const auto profile = profiler.finish();
    for (std::size_t r = 0; r < expected.size(); ++r) {
        if (profile.counts()[r] != expected[r]) {
            state.SkipWithError("a count differs from a plain loop's");
            return;
        }
    }
    expected = {};
    // The first add touches the counters' pages: that is part of profiling once, not of its rate.
    std::uint64_t seen = 0;
    for (auto _ : state) {
        if (seen % 64 == 0) {
            state.PauseTiming();
            profiler = fae::AccessProfiler<fae::ExactCounter<Count>>(space);
            profiler.add(exec, bags, sampler);
            state.ResumeTiming();
        }
        profiler.add(exec, bags, sampler);
        ++seen;
    }
    const auto done = static_cast<std::int64_t>(state.iterations());
    state.SetItemsProcessed(done * static_cast<std::int64_t>(bags.samples()));
    state.SetBytesProcessed(done * static_cast<std::int64_t>(bags.lookups() * (4 + 2 * sizeof(Count))));
    state.counters["profile_bytes_a_row"] =
        static_cast<double>(profile.counts().size() * sizeof(Count)) / static_cast<double>(space.rows());
}

void add_all() {
    const std::vector<std::pair<std::string, axes::Shape>> shapes = {
        {"kaggle/zipf:1.05", axes::kaggle(inputs, 1.05)},
        {"kaggle/zipf:1.10", axes::kaggle(inputs, 1.10)},
        {"two-tables/zipf:1.05", {"two", {10131227, 8351593}, 16, inputs * 4, 1, 1.05}},
    };
    for (const auto& [name, shape] : shapes) {
        const auto spread = std::make_shared<std::vector<std::uint32_t>>(axes::index_stream(shape, 1, 1));
        const auto ordered = std::make_shared<std::vector<std::uint32_t>>(by_popularity(shape));
        for (const std::size_t threads : {1u, 2u}) {
            const auto add = [&](const std::string& what, auto values, double sample, auto width) {
                benchmark::RegisterBenchmark(
                    ("count/" + what + "/cpu/threads:" + std::to_string(threads) + "/" + name +
                     "/rows:" + std::to_string(shape.rows()))
                        .c_str(),
                    [shape = shape, values, threads, sample](benchmark::State& state) {
                        count<decltype(width)>(state, shape, *values, threads, sample);
                    })
                    ->Unit(benchmark::kMillisecond)
                    ->MeasureProcessCPUTime();
            };
            add("spread-ids/bits:32", spread, 1.0, std::uint32_t{});
            add("first-appearance-ids/bits:32", ordered, 1.0, std::uint32_t{});
            add("spread-ids/bits:64", spread, 1.0, std::uint64_t{});
            add("sample-5-percent/bits:32", spread, 0.05, std::uint32_t{});
        }
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
