// SPDX-License-Identifier: Apache-2.0
//
// Training steps of embeddings alone, rows of 64 bytes at home, over Kaggle's tables: what all_home pays for
// its rows beside the dense model. The step on the device is one update of each different row. Items are
// samples; `rows` are the different rows of a batch. Beside it stand the reference hybrid's embeddings
// (reference_hybrid.cuh), and the time of finding the different rows, on the device and on host threads.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "axes.hpp"
#include "cuda/reference_hybrid.cuh"
#include "fae/core/digest.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/home_route.cuh"
#include "fae/ops/row_index.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/hot_cold_table.hpp"

namespace {

namespace gpu = fae::cuda;
using Table = fae::HotColdTable<float, fae::AllHome<gpu::PinnedSpace>>;

__global__ void add_one(fae::RowsView<float> rows, std::size_t dim, const std::uint32_t* count) {
    const std::uint64_t all = *count * std::uint64_t{dim};
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < all;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        rows.weights_of(i / dim)[i % dim] += 1.0f;
    }
}

/// One table for all cases: its homes take 2 GiB and a second to pin.
struct Bench {
    fae::Threads threads;
    gpu::Stream stream;
    fae::RowSpace space;
    std::unique_ptr<Table> table;

    Bench() {
        std::vector<fae::TableSpec> tables;
        for (const std::uint64_t rows : axes::kaggle_rows) tables.push_back({rows, 16, ""});
        space = fae::RowSpace(tables);
        table = std::make_unique<Table>(space, fae::OptimizerKind::sgd, fae::AllHome<gpu::PinnedSpace>());
        table->initialise(fae::par(threads), 1);
    }
    static Bench& get() {
        static Bench bench;
        return bench;
    }
};

void home_route(benchmark::State& state, std::size_t batch_size, double exponent) {
    constexpr std::size_t batches = 32;
    Bench& bench = Bench::get();
    const axes::Shape shape = axes::kaggle(batch_size, exponent);
    const std::vector<std::uint32_t> values = axes::index_stream(shape, batches, 1);
    const auto on = gpu::on(bench.stream);
    const auto exec = gpu::on(bench.stream, fae::par(bench.threads));
    fae::Buffer<std::uint32_t, gpu::DeviceSpace> resident(values.size());
    gpu::copy(on, values, resident.span());
    gpu::HomeRoute<Table> route(*bench.table, shape.lookups());
    const auto lookups_of = [&](std::uint64_t batch) {
        const std::size_t first = static_cast<std::size_t>(batch % batches) * shape.lookups();
        return fae::Lookups<std::uint32_t>{
            fae::Heat::mixed,
            fae::Bags<std::uint32_t>::fixed({resident.data() + first, shape.lookups()}, 1, 26), nullptr};
    };
    // What one row has been given must be the number of batches that looked it up.
    const std::uint32_t watched = values[0];
    const float before = bench.table->home_record(watched).weights[3];
    std::uint64_t visits = 0;
    std::uint64_t rows = 0;
    std::uint64_t next = 0;
    route.announce(on, lookups_of(next++));
    const auto step = [&] {
        const std::uint64_t number = next - 1;
        route.announce(on, lookups_of(next++));
        const auto batch = route.begin(exec);
        add_one<<<gpu::launch_grid(batch.rows.rows * 16 + 1, 256), 256, 0, on.stream>>>(batch.rows, 16,
                                                                                        batch.index.count);
        gpu::check_launch("add_one");
        rows += batch.rows.rows;
        route.end(exec);
        const auto* const first =
            values.data() + static_cast<std::size_t>(number % batches) * shape.lookups();
        for (std::size_t i = 0; i < shape.lookups(); i += 26) {
            if (first[i] != watched) continue;
            ++visits;
            break;
        }
    };
    for (std::uint64_t i = 0; i < batches; ++i) step();
    rows = 0;
    for (auto _ : state) {
        const auto begin = std::chrono::steady_clock::now();
        for (std::uint64_t i = 0; i < batches; ++i) step();
        bench.stream.synchronise();
        state.SetIterationTime(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() /
            static_cast<double>(batches));
    }
    const double steps = static_cast<double>(state.iterations()) * static_cast<double>(batches);
    state.counters["rows"] = static_cast<double>(rows) / steps;
    state.counters["rows_per_second"] = benchmark::Counter(
        static_cast<double>(rows) / static_cast<double>(batches), benchmark::Counter::kIsRate);
    state.SetItemsProcessed(static_cast<std::int64_t>(batch_size) *
                            static_cast<std::int64_t>(state.iterations()));
    route.finish(exec);
    if (bench.table->home_record(watched).weights[3] != before + static_cast<float>(visits)) {
        // Adding 1 a few thousand times is exact only for what is a multiple of its last place.
        const float given = bench.table->home_record(watched).weights[3] - before;
        if (given < static_cast<float>(visits) - 0.5f || given > static_cast<float>(visits) + 0.5f) {
            state.SkipWithError("a row was not given what its batches gave it");
        }
    }
}

/// The digest of a few steps whose gradient is the pooled output itself: by the reference hybrid, and by a
/// table of the host.
bool digests_agree(fae::Threads& threads, gpu::On on) {
    const fae::RowSpace space({{50, 16, ""}, {3, 16, ""}, {7000, 16, ""}}, {0, 1, 2, 1});
    const auto exec = fae::par(threads);
    reference::ReferenceHybrid hybrid(exec, space, 5);
    fae::HotColdTable<float, fae::AllHome<>> table(space, fae::OptimizerKind::sgd, fae::all_home);
    table.initialise(exec, 5);
    constexpr std::size_t samples = 5000;
    fae::Buffer<float, gpu::DeviceSpace> pooled(samples * 4 * 16);
    std::vector<float> host_pooled(samples * 4 * 16);
    std::vector<std::uint32_t> located(samples * 4);
    fae::Buffer<std::byte> scratch(
        table.backward_step_scratch<std::uint32_t>(samples * 4, samples * 4, fae::Pooling::sum));
    for (std::uint64_t step = 0; step < 3; ++step) {
        fae::Philox random(step);
        std::vector<std::uint32_t> rows;
        for (std::size_t i = 0; i < samples * 4; ++i) {
            rows.push_back(static_cast<std::uint32_t>(
                space.row(i % 4, random.below(space.table(space.feature_table()[i % 4]).rows))));
        }
        hybrid.forward(exec, on, rows.data(), samples, pooled.data());
        hybrid.backward_step(exec, on, pooled.data(), 0.1f);
        const auto bags =
            table.locate(exec, step, {fae::Heat::mixed, fae::Bags<std::uint32_t>::fixed(rows, 1, 4), nullptr},
                         fae::Span<std::uint32_t>(located));
        const fae::MatrixView<float> out(host_pooled.data(), samples * 4, 16);
        fae::embedding_bag::forward(exec, table.source(), bags, fae::Pooling::sum, out);
        fae::Workspace workspace(scratch.span());
        table.backward_step(exec, fae::Sgd{}, 0.1f, bags, fae::Pooling::sum,
                            fae::MatrixView<const float>(out), workspace);
    }
    fae::Digest a;
    fae::Digest b;
    hybrid.add_to(exec, a);
    table.add_to(exec, b);
    return a.value() == b.value();
}

void reference_hybrid(benchmark::State& state, std::size_t batch_size, double exponent) {
    constexpr std::size_t batches = 4;
    Bench& bench = Bench::get();
    const auto on = gpu::on(bench.stream);
    if (!digests_agree(bench.threads, on)) {
        state.SkipWithError("the digest differs from a table's");
        return;
    }
    static reference::ReferenceHybrid hybrid(fae::par(bench.threads), bench.space, 1);
    const axes::Shape shape = axes::kaggle(batch_size, exponent);
    const std::vector<std::uint32_t> values = axes::index_stream(shape, batches, 1);
    fae::Buffer<float, gpu::DeviceSpace> pooled(shape.lookups() * 16);
    std::size_t batch = 0;
    for (auto _ : state) {
        hybrid.forward(fae::par(bench.threads), on, values.data() + batch * shape.lookups(), batch_size,
                       pooled.data());
        hybrid.backward_step(fae::par(bench.threads), on, pooled.data(), 0.001f);
        bench.stream.synchronise();
        batch = (batch + 1) % batches;
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(batch_size) *
                            static_cast<std::int64_t>(state.iterations()));
}

void dedupe_on_host(benchmark::State& state, std::size_t batch_size, double exponent) {
    Bench& bench = Bench::get();
    const axes::Shape shape = axes::kaggle(batch_size, exponent);
    const std::vector<std::uint32_t> values = axes::index_stream(shape, 1, 1);
    const auto bags = fae::Bags<std::uint32_t>::fixed(values, 1, 26);
    fae::Buffer<std::byte> scratch(fae::row_index_scratch<std::uint32_t>(bags.lookups()));
    for (auto _ : state) {
        fae::Workspace workspace(scratch.span());
        benchmark::DoNotOptimize(
            build_row_index(fae::par(bench.threads), bags, bench.space.rows(), workspace).rows.size());
    }
}

void dedupe_on_device(benchmark::State& state, std::size_t batch_size, double exponent) {
    Bench& bench = Bench::get();
    const axes::Shape shape = axes::kaggle(batch_size, exponent);
    const std::vector<std::uint32_t> values = axes::index_stream(shape, 1, 1);
    const auto on = gpu::on(bench.stream);
    fae::Buffer<std::uint32_t, gpu::DeviceSpace> resident(values.size());
    gpu::copy(on, values, resident.span());
    fae::Buffer<std::uint32_t, gpu::PinnedSpace> list(values.size());
    const gpu::RowIndexOptions options{.ordinals = true, .one_tier = true, .features_apart = true};
    fae::Buffer<std::byte, gpu::DeviceSpace> scratch(
        gpu::row_index_scratch<std::uint32_t>(values.size(), bench.space.rows(), options));
    for (auto _ : state) {
        fae::Workspace workspace(scratch.span());
        const auto index = build_row_index(on, fae::Bags<std::uint32_t>::fixed(resident.span(), 1, 26),
                                           bench.space.rows(), workspace, options);
        gpu::copy(on, index.rows, fae::Span<std::uint32_t>(list.data(), index.rows.size()));
        on.synchronise();
    }
}

void add_all() {
    for (const std::size_t batch : {1024u, 4096u, 16384u}) {
        const std::string name = "/rows:33762577/dim:16/batch:" + std::to_string(batch) + "/zipf:1.10";
        benchmark::RegisterBenchmark(("home-route/cuda" + name).c_str(),
                                     [=](benchmark::State& state) { home_route(state, batch, 1.1); })
            ->Unit(benchmark::kMicrosecond)
            ->Iterations(10)
            ->UseManualTime();
        benchmark::RegisterBenchmark(("reference-hybrid/cuda" + name).c_str(),
                                     [=](benchmark::State& state) { reference_hybrid(state, batch, 1.1); })
            ->Unit(benchmark::kMicrosecond)
            ->Iterations(12)
            ->UseRealTime();
        benchmark::RegisterBenchmark(("different-rows/cpu" + name).c_str(),
                                     [=](benchmark::State& state) { dedupe_on_host(state, batch, 1.1); })
            ->Unit(benchmark::kMicrosecond)
            ->Iterations(30)
            ->UseRealTime();
        benchmark::RegisterBenchmark(("different-rows/cuda" + name).c_str(),
                                     [=](benchmark::State& state) { dedupe_on_device(state, batch, 1.1); })
            ->Unit(benchmark::kMicrosecond)
            ->Iterations(30)
            ->UseRealTime();
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
