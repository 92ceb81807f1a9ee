// SPDX-License-Identifier: Apache-2.0
//
// Synchronising the fast tier with the homes: 256 MiB of rows of 64 bytes among Kaggle's rows, all of them
// and a share. Each is set against what bounds it, measured in the same run: the link for as many bytes, and
// the host's gather (scatter) of the same sorted rows into (from) pinned memory. `of_bound` is the time over
// the larger of the two.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "axes.hpp"
#include "fae/core/digest.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/table/static_placement.hpp"
#include "stats.hpp"

namespace {

namespace gpu = fae::cuda;
using Placement = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
using Table = fae::HotColdTable<float, Placement>;

constexpr std::uint64_t wanted_slots = std::uint64_t{4} << 20;

template <class F>
double seconds_of(F&& f) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

template <class F>
double median_of(F&& f) {
    std::vector<double> seconds;
    for (int i = 0; i < 7; ++i) seconds.push_back(seconds_of(f));
    return stats::median(seconds);
}

/// One table for all cases: its homes take 2 GiB and a second to pin.
struct Bench {
    fae::Threads threads;
    gpu::Stream stream;
    fae::RowSpace space;
    fae::HotSet hot;
    std::unique_ptr<Table> table;
    std::vector<std::uint64_t> rows;
    fae::Buffer<float, gpu::PinnedSpace> packed;
    bool equal = false;

    [[nodiscard]] auto exec() { return gpu::on(stream, fae::par(threads)); }

    Bench() {
        std::vector<fae::TableSpec> tables;
        for (const std::uint64_t count : axes::kaggle_rows) tables.push_back({count, 16, ""});
        space = fae::RowSpace(tables);
        const double share = static_cast<double>(wanted_slots) / static_cast<double>(space.rows());
        hot = fae::HotSet::from_predicate(fae::par(threads), space.rows(), [&](std::uint64_t row) {
            return fae::to_unit(fae::mix64(row)) < share;
        });
        table = std::make_unique<Table>(space, fae::OptimizerKind::sgd, Placement(hot), gpu::on(stream));
        table->initialise(exec(), 1);
        for (std::uint64_t slot = 0; slot < hot.size(); ++slot) rows.push_back(hot.row_of(slot));
        packed = fae::Buffer<float, gpu::PinnedSpace>(rows.size() * 16);

        // Up, then the homes spoilt, then down: all must be as it was.
        const std::string before = digest();
        table->synchronise(exec(), fae::Heat::hot);
        for (const std::uint64_t row : rows) std::fill_n(table->homes()[0].weights_of(row), 16, -1.0f);
        table->trained_on_device();
        table->write_back(exec(), fae::SyncExtent::whole);
        equal = digest() == before;
    }

    [[nodiscard]] std::string digest() {
        fae::Digest digest;
        table->add_to(exec(), digest);
        return digest.hex();
    }

    static Bench& get() {
        static Bench bench;
        return bench;
    }

    /// Seconds of the host's gather or scatter of the first `count` rows, the better of a plain loop and one
    /// that fetches ahead.
    double host_seconds(std::size_t count, bool gather) {
        const auto& home = table->homes()[0];
        const auto copy_rows = [&](std::size_t ahead) {
            fae::for_chunks(fae::par(threads), count, 1024, [&](std::size_t begin, std::size_t end) {
                for (std::size_t i = begin; i < end; ++i) {
                    if (i + ahead < end) __builtin_prefetch(home.weights_of(rows[i + ahead]));
                    float* const at = home.weights_of(rows[i]);
                    float* const record = packed.data() + i * 16;
                    std::memcpy(gather ? record : at, gather ? at : record, 64);
                }
            });
        };
        if (!gather) copy_rows_in();
        const double fetching = median_of([&] { copy_rows(16); });
        return std::min(fetching, median_of([&] { copy_rows(count); }));
    }
    void copy_rows_in() {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            std::memcpy(packed.data() + i * 16, table->homes()[0].weights_of(rows[i]), 64);
        }
    }
    double link_seconds(std::size_t count, bool up) {
        fae::Buffer<float, gpu::DeviceSpace> there(count * 16);
        const auto on = gpu::on(stream);
        const fae::Span<float> here(packed.data(), count * 16);
        return median_of([&] {
            if (up) {
                gpu::copy(on, here, there.span());
            } else {
                gpu::copy(on, there.span(), here);
            }
            on.synchronise();
        });
    }
};

void synchronise(benchmark::State& state, bool up, double share) {
    Bench& bench = Bench::get();
    if (!bench.equal) {
        state.SkipWithError("what came back is not what went up");
        return;
    }
    const auto count = static_cast<std::size_t>(share * static_cast<double>(bench.rows.size()));
    // Every n-th slot has changed.
    const std::size_t step = bench.rows.size() / std::max<std::size_t>(count, 1);
    std::vector<std::uint32_t> changed;
    for (std::size_t slot = 0; slot < bench.rows.size(); slot += step) {
        changed.push_back(up ? static_cast<std::uint32_t>(bench.rows[slot])
                             : static_cast<std::uint32_t>(slot) | fae::fast_bit<std::uint32_t>);
    }
    fae::Buffer<std::uint32_t, gpu::DeviceSpace> located(changed.size());
    gpu::copy(gpu::on(bench.stream), changed, located.span());
    const double link = bench.link_seconds(changed.size(), up);
    const double host = bench.host_seconds(changed.size(), up);
    std::vector<double> seconds;
    for (auto _ : state) {
        if (up) {
            bench.table->touched(fae::par(bench.threads), fae::Span<const std::uint32_t>(changed));
        } else {
            bench.table->touched(gpu::on(bench.stream), fae::Span<const std::uint32_t>(located.span()));
        }
        bench.stream.synchronise();
        fae::SyncReport report;
        seconds.push_back(seconds_of([&] {
            report = bench.table->synchronise(bench.exec(), up ? fae::Heat::hot : fae::Heat::cold);
            bench.stream.synchronise();
        }));
        if (report.rows != changed.size()) state.SkipWithError("another number of rows moved");
        state.SetIterationTime(seconds.back());
    }
    const auto moved =
        static_cast<std::int64_t>(changed.size()) * static_cast<std::int64_t>(state.iterations());
    state.SetItemsProcessed(moved);
    state.SetBytesProcessed(moved * 128);
    state.counters["link_ms"] = link * 1e3;
    state.counters["host_ms"] = host * 1e3;
    state.counters["of_bound"] = stats::median(seconds) / std::max(link, host);
}

void add_all() {
    for (const bool up : {true, false}) {
        for (const double share : {1.0, 0.1, 0.01}) {
            benchmark::RegisterBenchmark(
                (std::string("synchronise/") + (up ? "up" : "down") +
                 "/cuda/rows:33762577/dim:16/mib:256/changed:" + std::to_string(share))
                    .c_str(),
                [=](benchmark::State& state) { synchronise(state, up, share); })
                ->Unit(benchmark::kMillisecond)
                ->Iterations(9)
                ->UseManualTime();
        }
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
