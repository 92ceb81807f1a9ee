// SPDX-License-Identifier: Apache-2.0
//
// How fast synthetic inputs are drawn: items are inputs, on one thread, 26 look-ups and 13 dense features
// each. Blocks are drawn into memory that is used again, as a streaming count does.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fae/core/exec.hpp"
#include "fae/io/synthetic.hpp"

namespace {

using namespace fae;

void draw_blocks(benchmark::State& state, const SyntheticSpec& spec) {
    constexpr std::size_t block = 1 << 15;
    const SyntheticSource source(spec, 1);
    Dataset data;
    source.generate_into(seq, 0, block, data);
    double positives = 0;
    bool inside = true;
    const std::size_t features = data.shape.features();
    for (std::size_t i = 0; i < data.values.size(); ++i) {
        const std::size_t feature = i % features;
        inside =
            inside && data.values[i] == source.row_of(data.shape.feature_table[feature],
                                                      source.rank_of(i / features, feature), i / features);
    }
    for (const std::uint8_t label : data.labels) positives += label;
    if (!inside) return state.SkipWithError("a row is not the one that its rank has");
    if (spec.drift == 0 && std::fabs(positives / block - spec.positive_rate) > 0.02) {
        return state.SkipWithError("the share of positive labels is not the asked one");
    }
    std::uint64_t first = 0;
    for (auto _ : state) {
        first += block;
        source.generate_into(seq, first, block, data);
        benchmark::DoNotOptimize(data.values.data());
        benchmark::ClobberMemory();
    }
    const auto inputs = static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(block);
    state.SetItemsProcessed(inputs);
    state.SetBytesProcessed(inputs *
                            static_cast<std::int64_t>(1 + 4 * data.shape.dense_features + 4 * features));
}

void synthetic_kaggle_preset(benchmark::State& state) { draw_blocks(state, synthetic_kaggle()); }
void synthetic_terabyte_preset(benchmark::State& state) { draw_blocks(state, synthetic_terabyte()); }
void synthetic_small_preset(benchmark::State& state) { draw_blocks(state, synthetic_small()); }
void synthetic_kaggle_zipf(benchmark::State& state) {
    draw_blocks(state, with_zipf(synthetic_kaggle(), 1.05));
}
void synthetic_kaggle_drift(benchmark::State& state) {
    SyntheticSpec spec = synthetic_kaggle();
    spec.drift = 0.1;
    draw_blocks(state, spec);
}

BENCHMARK(synthetic_kaggle_preset)->Name("synthetic/generate/cpu/spec:kaggle");
BENCHMARK(synthetic_terabyte_preset)->Name("synthetic/generate/cpu/spec:terabyte");
BENCHMARK(synthetic_small_preset)->Name("synthetic/generate/cpu/spec:small");
BENCHMARK(synthetic_kaggle_zipf)->Name("synthetic/generate/cpu/spec:kaggle/zipf:1.05");
BENCHMARK(synthetic_kaggle_drift)->Name("synthetic/generate/cpu/spec:kaggle/drift:0.1");

}  // namespace

BENCHMARK_MAIN();
