// SPDX-License-Identifier: Apache-2.0
//
// Calibration at Kaggle's row counts: exact selection, the curve of many budgets, and the Rand-Em Box beside
// the scan that it replaces. Rates are per second of one core; items are rows; bytes are the counts read.
// `index_bits_a_row` is what membership takes, `lookup_share` what the hot rows serve.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "axes.hpp"
#include "fae/calibrate/budget_curve.hpp"
#include "fae/calibrate/calibrator.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"

namespace {

constexpr std::uint64_t row_bytes = 64;

/// The profile of 8 M inputs of 26 look-ups.
const fae::AccessProfile<>& kaggle_profile() {
    static const fae::AccessProfile<> profile = [] {
        const axes::Shape shape = axes::kaggle(std::size_t{1} << 20, 1.05);
        std::vector<fae::TableSpec> tables;
        for (const std::uint64_t rows : shape.tables) tables.push_back({rows, 16, ""});
        const fae::RowSpace space(std::move(tables));
        fae::AccessProfiler<> profiler(space);
        for (std::uint64_t part = 0; part < 8; ++part) {
            const std::vector<std::uint32_t> values = axes::index_stream(shape, 1, part);
            profiler.add(fae::seq, fae::Bags<std::uint32_t>::fixed(values, 1, 26));
        }
        return profiler.finish();
    }();
    return profile;
}

/// By a sort of all rows that were seen: what the hot set must be where no table is small.
bool is_best(const fae::AccessProfile<>& profile, const fae::Calibration& made, std::uint64_t budget) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> seen;
    for (std::size_t r = 0; r < profile.counts().size(); ++r) {
        if (profile.counts()[r] != 0) seen.emplace_back(~profile.counts()[r], static_cast<std::uint32_t>(r));
    }
    std::sort(seen.begin(), seen.end());
    const std::uint64_t index = fae::RankBitmap::bytes_for(profile.counts().size());
    const std::uint64_t fits = budget < index ? 0 : (budget - index) / row_bytes;
    seen.resize(std::min<std::size_t>(seen.size(), fits));
    if (made.hot_set.size() != seen.size()) return false;
    return std::all_of(seen.begin(), seen.end(),
                       [&](const auto& row) { return made.hot_set.contains(row.second); });
}

fae::CalibrationOptions options_for(std::uint64_t budget, fae::Selection selection) {
    fae::CalibrationOptions options;
    options.budget_bytes = budget;
    options.row_bytes = row_bytes;
    options.selection = selection;
    return options;
}

void set_rates(benchmark::State& state, const fae::AccessProfile<>& profile) {
    const auto done = state.iterations() * static_cast<std::int64_t>(profile.counts().size());
    state.SetItemsProcessed(done);
    state.SetBytesProcessed(done * 4);
}

void exact(benchmark::State& state) {
    const fae::AccessProfile<>& profile = kaggle_profile();
    const std::uint64_t budget = static_cast<std::uint64_t>(state.range(0)) << 20;
    fae::Threads threads(static_cast<std::size_t>(state.range(1)));
    fae::CalibrationOptions options = options_for(budget, fae::Selection::exact);
    options.small_tables.bytes = 0;
    if (!is_best(profile, fae::calibrate(fae::par(threads), profile, options), budget)) {
        state.SkipWithError("the hot set is not the best that fits");
        return;
    }
    options.small_tables = {};
    double bits = 0;
    double share = 0;
    for (auto _ : state) {
        const fae::Calibration made = fae::calibrate(fae::par(threads), profile, options);
        bits =
            static_cast<double>(made.report.index_bytes) * 8 / static_cast<double>(profile.counts().size());
        share = made.report.lookup_share.estimate;
        if (made.report.hot_bytes() > budget) {
            state.SkipWithError("the hot set exceeds the budget");
            return;
        }
    }
    set_rates(state, profile);
    state.counters["index_bits_a_row"] = bits;
    state.counters["lookup_share"] = share;
}

void curve(benchmark::State& state) {
    const fae::AccessProfile<>& profile = kaggle_profile();
    std::vector<std::uint64_t> budgets;
    for (std::uint64_t mebibytes = 1; mebibytes <= 4096; mebibytes *= 2) budgets.push_back(mebibytes << 20);
    std::vector<fae::BudgetPoint> points = fae::budget_curve(fae::seq, profile, row_bytes, budgets);
    for (const fae::BudgetPoint& point : points) {
        const auto options = options_for(point.budget_bytes, fae::Selection::exact);
        if (fae::calibrate(fae::seq, profile, options).report.hot_lookups != point.hot_lookups) {
            state.SkipWithError("a point differs from what calibrate reports");
            return;
        }
    }
    for (auto _ : state) benchmark::DoNotOptimize(fae::budget_curve(fae::seq, profile, row_bytes, budgets));
    set_rates(state, profile);
}

/// How many rows of the largest table have at least 4 accesses: by a scan, or by drawing 35 x 1024 rows.
void rows_at_least_4(benchmark::State& state) {
    const fae::AccessProfile<>& profile = kaggle_profile();
    const bool by_box = state.range(0) != 0;
    const fae::RowSpace& space = profile.space();
    const auto counts = profile.counts().subspan(space.offset(2), space.table(2).rows);
    const auto scan = [&] {
        std::uint64_t rows = 0;
        for (const std::uint32_t c : counts) rows += c >= 4 ? 1u : 0u;
        return rows;
    };
    const auto box = [&] {
        return fae::RandEmBox<std::uint32_t>(counts, fae::RandEmBoxOptions{}).rows_at_least(4);
    };
    const auto truth = static_cast<double>(scan());
    if (box().upper < truth) {
        state.SkipWithError("the bound is below the truth");
        return;
    }
    for (auto _ : state) {
        if (by_box) {
            benchmark::DoNotOptimize(box());
        } else {
            benchmark::DoNotOptimize(scan());
        }
    }
    state.counters["upper_over_truth"] = by_box ? box().upper / truth : 1.0;
}

void add_all() {
    const auto rows = "/rows:" + std::to_string(kaggle_profile().counts().size());
    benchmark::RegisterBenchmark(("calibrate/exact/cpu/kaggle" + rows).c_str(), exact)
        ->ArgNames({"MiB", "threads"})
        ->ArgsProduct({{16, 256, 1024}, {1, 2}})
        ->Unit(benchmark::kMillisecond)
        ->MeasureProcessCPUTime();
    benchmark::RegisterBenchmark(("calibrate/curve/cpu/kaggle" + rows + "/budgets:13").c_str(), curve)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark("calibrate/rows-at-least-4/cpu/rows:10131227", rows_at_least_4)
        ->ArgName("box")
        ->Arg(0)
        ->Arg(1)
        ->Unit(benchmark::kMillisecond);
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
