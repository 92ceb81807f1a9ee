// SPDX-License-Identifier: Apache-2.0
//
// Gather and scatter of random rows on the index streams of axes.hpp: the yardstick of bench/ops.
//
//   peak --benchmark_filter=gather
#include <benchmark/benchmark.h>

#include "axes.hpp"
#include "fae/memory/buffer.hpp"
#include "peak/peak.hpp"

namespace {

constexpr std::size_t batches = 48;

template <std::size_t Dim>
void run(benchmark::State& state, const axes::Shape& shape, bool write) {
    const std::vector<std::uint32_t> stream = axes::index_stream(shape, batches + 1, 1);
    fae::Buffer<float, fae::PageSpace> table(shape.rows() * Dim);
    fae::Buffer<float, fae::PageSpace> bags(shape.bags() * Dim);
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 1024);
    for (std::size_t i = 0; i < bags.size(); ++i) bags[i] = 0.0f;
    peak::gather<Dim>(table.data(), stream.data(), shape.bags(), shape.bag_size, bags.data(), 8);
    float expected = 0.0f;
    for (std::size_t i = 0; i < shape.bag_size; ++i) expected += table[stream[i] * Dim + Dim - 1];
    if (bags[Dim - 1] != expected) return state.SkipWithError("gather: wrong sum");

    const auto distance = static_cast<std::size_t>(state.range(0));
    std::size_t batch = 0;
    for (auto _ : state) {
        const std::uint32_t* values = stream.data() + batch * shape.lookups();
        if (write) {
            peak::scatter<Dim>(table.data(), values, shape.bags(), shape.bag_size, bags.data(), 1e-6f,
                               distance);
        } else {
            peak::gather<Dim>(table.data(), values, shape.bags(), shape.bag_size, bags.data(), distance);
        }
        benchmark::ClobberMemory();
        batch = (batch + 1) % batches;
    }
    const auto lookups = static_cast<std::int64_t>(shape.lookups()) * state.iterations();
    const auto moved = static_cast<std::int64_t>(shape.bags()) * state.iterations();
    state.SetItemsProcessed(lookups);
    state.SetBytesProcessed(
        (lookups * (write ? 2 : 1) + moved) * static_cast<std::int64_t>(Dim * sizeof(float)) + lookups * 4);
}

[[maybe_unused]] const bool registered = [] {
    for (const bool write : {false, true}) {
        for (const std::size_t batch : {std::size_t{4096}, std::size_t{16384}}) {
            for (const double exponent : {1.05, 1.15}) {
                const std::string name = write ? "peak/scatter/" : "peak/gather/";
                const auto add = [&](const axes::Shape& shape, auto body) {
                    auto* bench = benchmark::RegisterBenchmark(
                        (name + shape.label()).c_str(),
                        [=](benchmark::State& state) { body(state, shape, write); });
                    bench->ArgName("ahead");
                    for (const std::size_t d : peak::distances) bench->Arg(static_cast<std::int64_t>(d));
                };
                add(axes::kaggle(batch, exponent), run<16>);
                if (batch == 4096) add(axes::wide(batch, exponent), run<64>);
            }
        }
    }
    return true;
}();

}  // namespace

BENCHMARK_MAIN();
