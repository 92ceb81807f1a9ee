// SPDX-License-Identifier: Apache-2.0
//
// Planning a look-ahead window at Kaggle's row counts under the measured skew: the rows that a budget buys
// stay in slots for good, all others go through the window. Rates are per second of one core; items are
// inputs. `spread` rows are the same look-ups in a row space so many times as large. `cold` is the share of
// look-ups that are not hot, `hits` of these those in the window already, `direct` those without a slot;
// `planner_bytes` what the planner takes, `index_bits_a_row` the bitmap.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "fae/table/lookahead_split.hpp"

namespace {

constexpr std::uint64_t profiled_inputs = 6'000'000;
constexpr std::size_t planned_inputs = std::size_t{1} << 19;
constexpr std::size_t features = 26;

struct Workload {
    fae::RowSpace space;
    std::vector<std::uint32_t> values;
    fae::HotSet hot;
};

/// The hot set of a budget for 64-byte rows, from other inputs than those that are planned.
Workload make(fae::Threads& threads, std::uint64_t budget) {
    const auto exec = fae::par(threads);
    const fae::SyntheticSource source(fae::synthetic_kaggle(), 1);
    Workload made;
    made.space = source.generate(exec, 0, 1).shape.row_space(16);
    fae::AccessProfiler<> profiler(made.space);
    constexpr std::uint64_t part = 500'000;
    for (std::uint64_t first = 0; first < profiled_inputs; first += part) {
        profiler.add(exec, source.generate(exec, first, part).bags());
    }
    fae::CalibrationOptions options;
    options.budget_bytes = budget;
    options.row_bytes = 64;
    made.hot = fae::calibrate(exec, profiler.finish(), options).hot_set;
    made.values = source.generate(exec, profiled_inputs, planned_inputs).values;
    return made;
}

/// Row r becomes row r * factor.
Workload spread(fae::Threads& threads, const Workload& of, std::uint64_t factor) {
    Workload made;
    std::vector<fae::TableSpec> tables;
    for (std::size_t t = 0; t < of.space.table_count(); ++t) {
        tables.push_back({of.space.table(t).rows * factor, 16, ""});
    }
    made.space = fae::RowSpace(std::move(tables));
    for (const std::uint32_t value : of.values)
        made.values.push_back(static_cast<std::uint32_t>(value * factor));
    std::vector<std::uint64_t> hot;
    for (fae::Slot slot = 0; slot < of.hot.size(); ++slot) hot.push_back(of.hot.row_of(slot) * factor);
    made.hot = fae::HotSet::from_rows(fae::par(threads), of.hot.rows() * factor,
                                      fae::Span<const std::uint64_t>(hot));
    return made;
}

fae::Lookups<std::uint32_t> batch_of(const Workload& of, std::size_t first, std::size_t inputs) {
    const fae::Span<const std::uint32_t> values(of.values.data() + first * features, inputs * features);
    return {fae::Heat::mixed, fae::Bags<std::uint32_t>::fixed(values, 1, features), nullptr};
}

/// What a budget's split gives these batches (table/lookahead_split.hpp): the window and how far to plan
/// ahead.
fae::LookaheadOptions fitted(const Workload& of, std::uint64_t budget, std::size_t batch) {
    std::vector<std::uint32_t> cold;
    for (const std::uint32_t row : batch_of(of, 0, batch).bags.values()) {
        if (!of.hot.contains(row)) cold.push_back(row);
    }
    std::sort(cold.begin(), cold.end());
    const auto rows = static_cast<std::uint64_t>(std::unique(cold.begin(), cold.end()) - cold.begin());
    const fae::LookaheadSplit split = fae::split_budget({.budget_bytes = budget,
                                                         .row_bytes = 64,
                                                         .rows = of.hot.rows(),
                                                         .hot_rows = of.hot.size(),
                                                         .batch = batch,
                                                         .cold_rows = rows});
    return {split.window, split.lookahead, batch * features};
}

/// Replays the moves in an array of all rows and looks at every look-up.
bool every_lookup_finds_its_row(const Workload& of, std::size_t batch, const fae::LookaheadOptions& options,
                                const fae::RowSpace* space) {
    fae::LookaheadPlanner planner(of.hot, options, space);
    fae::LookaheadPlan plan;
    std::vector<std::uint32_t> place(of.hot.rows());
    for (std::uint64_t row = 0; row < place.size(); ++row) place[row] = static_cast<std::uint32_t>(row);
    for (fae::Slot slot = 0; slot < of.hot.size(); ++slot)
        place[of.hot.row_of(slot)] = static_cast<std::uint32_t>(slot) | fae::fast_bit<std::uint32_t>;
    std::vector<std::uint32_t> located(batch * features);
    for (std::size_t first = 0; first + batch <= planned_inputs; first += batch) {
        const auto lookups = batch_of(of, first, batch);
        planner.push(fae::seq, lookups, fae::Span<std::uint32_t>(located), plan);
        for (const auto& move : plan.leave) place[move.row] = static_cast<std::uint32_t>(move.row);
        for (const auto& move : plan.bring) {
            place[move.row] = static_cast<std::uint32_t>(move.slot) | fae::fast_bit<std::uint32_t>;
        }
        for (std::size_t i = 0; i < located.size(); ++i) {
            if (located[i] != place[lookups.bags.values()[i]]) return false;
        }
    }
    return planner.counts().rows_in != 0;
}

void plan(benchmark::State& state, const Workload& of, std::size_t thread_count, std::size_t batch,
          const fae::LookaheadOptions& options, bool tables_known) {
    const fae::RowSpace* const space = tables_known ? &of.space : nullptr;
    if (!every_lookup_finds_its_row(of, batch, options, space)) {
        state.SkipWithError("a look-up points elsewhere than to its row");
        return;
    }
    fae::Threads threads(thread_count);
    const auto exec = fae::par(threads);
    fae::LookaheadPlanner planner(of.hot, options, space);
    fae::LookaheadPlan plan;
    plan.reserve(options);
    std::vector<std::uint32_t> located(batch * features);
    std::uint64_t inputs = 0;
    for (auto _ : state) {
        for (std::size_t first = 0; first + batch <= planned_inputs; first += batch) {
            planner.push(exec, batch_of(of, first, batch), fae::Span<std::uint32_t>(located), plan);
            inputs += batch;
        }
    }
    const fae::LookaheadCounts& counts = planner.counts();
    const auto cold = static_cast<double>(counts.hits + counts.brought + counts.direct);
    state.SetItemsProcessed(static_cast<std::int64_t>(inputs));
    state.counters["cold"] = cold / static_cast<double>(inputs * features);
    state.counters["hits"] = static_cast<double>(counts.hits) / cold;
    state.counters["direct"] = static_cast<double>(counts.direct) / cold;
    state.counters["rows_in_a_batch"] =
        static_cast<double>(counts.rows_in) / static_cast<double>(planner.planned());
    state.counters["planner_bytes"] = static_cast<double>(planner.bytes());
    state.counters["index_bits_a_row"] =
        static_cast<double>(of.hot.index_bytes()) * 8 / static_cast<double>(of.hot.rows());
}

void add_all() {
    static fae::Threads threads;
    const auto add = [](const std::shared_ptr<Workload>& of, std::uint64_t budget, const std::string& what,
                        std::size_t thread_count, std::size_t batch, bool tables_known) {
        const fae::LookaheadOptions options = fitted(*of, budget, batch);
        benchmark::RegisterBenchmark(
            ("plan/" + std::string(tables_known ? "tables" : "rows") + "/" + what +
             "/cpu/threads:" + std::to_string(thread_count) +
             "/kaggle/measured/rows:" + std::to_string(of->hot.rows()) + "/batch:" + std::to_string(batch) +
             "/window:" + std::to_string(options.window) + "/ahead:" + std::to_string(options.lookahead))
                .c_str(),
            [of, thread_count, batch, options, tables_known](benchmark::State& state) {
                plan(state, *of, thread_count, batch, options, tables_known);
            })
            ->Unit(benchmark::kMillisecond)
            ->MeasureProcessCPUTime();
    };
    for (const std::uint64_t mebibytes : {256u, 64u}) {
        const std::uint64_t budget = mebibytes << 20;
        const auto of = std::make_shared<Workload>(make(threads, budget));
        const std::string name = "MiB:" + std::to_string(mebibytes);
        for (const std::size_t batch : {1024u, 4096u, 16384u}) add(of, budget, name, 1, batch, true);
        add(of, budget, name, 1, 4096, false);
        add(of, budget, name, 2, 4096, true);
        if (mebibytes != 256) continue;
        const auto wide = std::make_shared<Workload>(spread(threads, *of, 16));
        add(wide, budget, name + "/spread:16", 1, 4096, false);
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
