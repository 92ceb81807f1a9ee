// SPDX-License-Identifier: Apache-2.0
//
// Classifying inputs at Kaggle's row counts, tables of 16-float rows, by the rows that a budget buys. Rates
// are per second of one core; items are inputs; bytes are the indices read (twice) and written (once).
// `index_bits_a_row` is what membership takes.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "axes.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/threads.hpp"

namespace {

constexpr std::size_t inputs = std::size_t{1} << 20;
constexpr std::size_t batch_inputs = std::size_t{1} << 16;

struct Workload {
    fae::RowSpace space;
    std::vector<std::uint32_t> values;
    fae::HotSet hot;
};

/// The most popular rows of the law itself, as many as the budget holds: no profile is needed for that. Rows
/// of a table are as popular as rank^-exponent, shared out over the table.
Workload make(const axes::Shape& shape, std::uint64_t budget_rows) {
    Workload made;
    std::vector<fae::TableSpec> tables;
    for (const std::uint64_t rows : shape.tables) {
        tables.push_back({rows, static_cast<std::uint32_t>(shape.dim), ""});
    }
    made.space = fae::RowSpace(std::move(tables));
    made.values = axes::index_stream(shape, 1, 1);
    // The first ranks of each table, equally many of each of the large ones.
    std::uint64_t left = budget_rows;
    std::vector<std::pair<std::uint64_t, std::size_t>> order;
    for (std::size_t t = 0; t < shape.tables.size(); ++t) order.emplace_back(shape.tables[t], t);
    std::sort(order.begin(), order.end());
    std::vector<std::uint32_t> hot;
    for (std::size_t k = 0; k < order.size(); ++k) {
        const auto [rows, table] = order[k];
        const std::uint64_t taken = std::min(rows, left / (order.size() - k));
        left -= taken;
        const std::uint64_t step = axes::spread_step(rows);
        for (std::uint64_t rank = 0; rank < taken; ++rank) {
            hot.push_back(static_cast<std::uint32_t>(made.space.offset(table) + rank * step % rows));
        }
    }
    std::sort(hot.begin(), hot.end());
    made.hot = fae::HotSet(made.space.rows(), hot);
    return made;
}

bool equals_plain_loop(const Workload& of, const fae::Classification& split) {
    const std::size_t features = of.space.features();
    std::vector<std::uint8_t> is_hot(of.space.rows(), 0);
    for (std::uint64_t slot = 0; slot < of.hot.size(); ++slot) is_hot[of.hot.row_of(slot)] = 1;
    std::size_t hot = 0;
    std::size_t cold = 0;
    for (std::size_t i = 0; i < of.values.size() / features; ++i) {
        const std::uint32_t* const row = of.values.data() + i * features;
        const bool all = std::all_of(row, row + features, [&](std::uint32_t r) { return is_hot[r] != 0; });
        if (split.hot_inputs.contains(i) != all) return false;
        for (std::size_t f = 0; f < features; ++f) {
            if ((all ? of.hot.row_of(split.hot_slots[hot++]) : split.cold_rows[cold++]) != row[f])
                return false;
        }
    }
    return hot == split.hot_slots.size() && cold == split.cold_rows.size();
}

void classify(benchmark::State& state, const Workload& of, std::size_t thread_count, bool tables_known) {
    fae::Threads threads(thread_count);
    const auto exec = fae::par(threads);
    const auto bags = fae::Bags<std::uint32_t>::fixed(of.values, 1, of.space.features());
    double hot_share = 0;
    {
        const fae::Classification once =
            tables_known ? fae::classify(exec, of.hot, of.space, bags) : fae::classify(exec, of.hot, bags);
        if (!equals_plain_loop(of, once)) {
            state.SkipWithError("a class, slot or row differs from a plain loop's");
            return;
        }
        hot_share = static_cast<double>(once.hot_count()) / static_cast<double>(once.inputs());
    }
    // Batch by batch: the memory of the results is then the allocator's to reuse, not new pages every time.
    const std::size_t values = batch_inputs * of.space.features();
    for (auto _ : state) {
        for (std::size_t first = 0; first < of.values.size(); first += values) {
            const auto batch = fae::Bags<std::uint32_t>::fixed(
                fae::Span<const std::uint32_t>(of.values.data() + first, values), 1, of.space.features());
            benchmark::DoNotOptimize(tables_known ? fae::classify(exec, of.hot, of.space, batch)
                                                  : fae::classify(exec, of.hot, batch));
        }
    }
    const auto done = static_cast<std::int64_t>(state.iterations());
    state.SetItemsProcessed(done * static_cast<std::int64_t>(bags.samples()));
    state.SetBytesProcessed(done * static_cast<std::int64_t>(bags.lookups() * 12));
    state.counters["hot_inputs"] = hot_share;
    state.counters["index_bits_a_row"] =
        static_cast<double>(of.hot.index_bytes()) * 8 / static_cast<double>(of.space.rows());
}

void add_all() {
    const axes::Shape shape = axes::kaggle(inputs, 1.05);
    for (const std::uint64_t mebibytes : {16u, 64u, 256u, 1024u}) {
        const auto of = std::make_shared<Workload>(make(shape, (mebibytes << 20) / 64));
        for (const std::size_t threads : {1u, 2u}) {
            for (const bool tables_known : {true, false}) {
                if (threads == 2 && !tables_known) continue;
                benchmark::RegisterBenchmark((std::string("classify/") + (tables_known ? "tables" : "rows") +
                                              "/cpu/threads:" + std::to_string(threads) +
                                              "/kaggle/zipf:1.05/rows:" + std::to_string(of->space.rows()) +
                                              "/MiB:" + std::to_string(mebibytes))
                                                 .c_str(),
                                             [of, threads, tables_known](benchmark::State& state) {
                                                 classify(state, *of, threads, tables_known);
                                             })
                    ->Unit(benchmark::kMillisecond)
                    ->MeasureProcessCPUTime();
            }
        }
    }
}

const int registered = (add_all(), 0);

}  // namespace

BENCHMARK_MAIN();
