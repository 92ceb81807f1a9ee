// SPDX-License-Identifier: Apache-2.0
//
// What choosing hot rows for inputs is worth, and what it costs: on inputs shaped as Kaggle's and on the
// first 10,000 lines of Criteo's day 0. Items are inputs. `hot_inputs` and `by_count` are shares of the
// inputs that the sets were chosen from, counted again by classify; `new_hot_inputs` and `new_by_count` are
// shares of inputs that neither set has seen; `lookups` and `lookups_by_count` are shares of look-ups served.
// Run it from the root of the sources, where the lines of Criteo are.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <utility>

#include "fae/classify/input_selection.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/criteo.hpp"
#include "fae/io/gzip.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/profile/profiler.hpp"

namespace {

struct Case {
    fae::Dataset chosen_from;
    fae::Dataset unseen;
};

const Case& kaggle() {
    static const Case made = [] {
        const fae::SyntheticSource source(fae::synthetic_kaggle(), 1);
        return Case{source.generate(fae::seq, 0, 1'000'000), source.generate(fae::seq, 1'000'000, 200'000)};
    }();
    return made;
}

const Case& criteo() {
    static const Case made = [] {
        const fae::Dataset all = fae::read_criteo(
            fae::seq,
            fae::GzipSource<fae::FileSource>("examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz"));
        const auto part = [&](std::size_t first, std::size_t last) {
            fae::Dataset some;
            some.shape = all.shape;
            const std::size_t width = all.shape.features();
            some.labels.assign(all.labels.begin() + static_cast<std::ptrdiff_t>(first),
                               all.labels.begin() + static_cast<std::ptrdiff_t>(last));
            some.values.assign(all.values.begin() + static_cast<std::ptrdiff_t>(first * width),
                               all.values.begin() + static_cast<std::ptrdiff_t>(last * width));
            return some;
        };
        return Case{part(0, 8000), part(8000, 10000)};
    }();
    return made;
}

double hot_share(const fae::HotSet& hot, const fae::RowSpace& space, const fae::Dataset& data) {
    return static_cast<double>(fae::classify(fae::seq, hot, space, data.bags()).hot_count()) /
           static_cast<double>(data.inputs());
}

void select(benchmark::State& state, const Case& (*make)()) {
    const Case& of = make();
    const auto budget = static_cast<std::uint64_t>(state.range(0)) << 10;
    fae::Threads threads(static_cast<std::size_t>(state.range(1)));
    const fae::RowSpace space = of.chosen_from.shape.row_space(16);
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::par(threads), of.chosen_from.bags());
    const fae::AccessProfile<> profile = profiler.finish();
    fae::CalibrationOptions options;
    options.budget_bytes = budget;
    options.row_bytes = 64;
    const fae::Calibration by_count = fae::calibrate(fae::par(threads), profile, options);
    fae::InputSelection made;
    for (auto _ : state) {
        made = fae::calibrate_inputs(fae::par(threads), profile, of.chosen_from.bags(), options);
    }
    const double hot = hot_share(made.hot_set, space, of.chosen_from);
    const double count = hot_share(by_count.hot_set, space, of.chosen_from);
    const auto inputs = static_cast<double>(of.chosen_from.inputs());
    if (hot < count || hot * inputs != static_cast<double>(made.hot_inputs) || made.hot_bytes > budget) {
        state.SkipWithError("the selection is worse than count order, beyond the budget or misreported");
        return;
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(of.chosen_from.inputs()));
    state.counters["hot_inputs"] = hot;
    state.counters["by_count"] = count;
    state.counters["gain"] = hot / count;
    const double new_hot = hot_share(made.hot_set, space, of.unseen);
    const double new_count = hot_share(by_count.hot_set, space, of.unseen);
    state.counters["new_hot_inputs"] = new_hot;
    state.counters["new_by_count"] = new_count;
    state.counters["new_gain"] = new_hot / new_count;
    const auto lookups = static_cast<double>(made.lookups);
    state.counters["lookups"] = static_cast<double>(made.hot_lookups) / lookups;
    state.counters["lookups_by_count"] = static_cast<double>(made.hot_lookups_by_count) / lookups;
}

void add_all() {
    benchmark::RegisterBenchmark("select-inputs/cpu/kaggle/inputs:1000000", select, kaggle)
        ->ArgNames({"KiB", "threads"})
        ->ArgsProduct({{8 << 10, 16 << 10, 32 << 10, 64 << 10}, {1}})
        ->Args({32 << 10, 2})
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime();
    benchmark::RegisterBenchmark("select-inputs/cpu/criteo/inputs:8000", select, criteo)
        ->ArgNames({"KiB", "threads"})
        ->ArgsProduct({{128, 512, 1024}, {1}})
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime();
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
