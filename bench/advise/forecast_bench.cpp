// SPDX-License-Identifier: Apache-2.0
//
// What the advisor predicts of a training step beside what the step takes, on one thread in its own processor
// time, which other programs on the machine do not change. Every placement, at several budgets, with a dense
// model that hides the look-ups and with one that hides little. A point off by more than 25 % is an error.
//
//   ratio      predicted over measured seconds of a step
//   measured, predicted     microseconds a step, synchronisation included
//   hot_inputs share of inputs that are hot at the budget
//
// bench/publish.py publishes the furthest ratio of each model.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fae/advise/forecast.hpp"
#include "fae/advise/host_probe.hpp"
#include "fae/calibrate/hot_prefix.hpp"
#include "fae/core/exec.hpp"
#include "fae/io/prepare.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/models/dlrm_trainer.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/schedule/lookahead_fit.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"
#include "stats.hpp"

namespace {

using namespace fae;

constexpr std::size_t batch = 1024;
constexpr OptimizerKind sgd = OptimizerKind::sgd;

DlrmShape shape_of(const std::string& model) {
    return model == "rmc2" ? DlrmShape::rmc2(13, 26) : DlrmShape::small_dlrm(13, 26);
}

// Kaggle's tables of at most two million rows: 11 M rows, 0.7 GB at dim 16.
const Dataset& inputs() {
    static const Dataset data = [] {
        const SyntheticSource source(with_max_rows(synthetic_kaggle(), 2'000'000), 1);
        return source.generate(seq, 0, 150'000);
    }();
    return data;
}

// The machine as one thread finds it, measured once.
const MachineRates& rates_for(const std::string& model) {
    static std::map<std::string, MachineRates> known;
    MachineRates& rates = known[model];
    if (!rates.dense.empty()) return rates;
    HostProbe probe;
    probe.batch = batch;
    probe.clock = stats::thread_seconds;
    rates = known.size() > 1 ? known.begin()->second : probe_host(seq, probe);
    if (rates.rows.empty()) rates = probe_host(seq, probe);
    const DlrmShape shape = shape_of(model);
    Dlrm<float> dense(shape, batch, 1, sgd);
    std::vector<float> features(batch * shape.dense_features, 0.5F);
    std::vector<float> pooled(batch * shape.sparse_features * shape.dim, 0.1F);
    const std::vector<std::uint8_t> labels(batch, 0);
    const double seconds = Stopwatch(probe).median([&](std::size_t) {
        dense.forward(seq, MatrixView<const float>(features.data(), batch, shape.dense_features),
                      MatrixView<const float>(pooled.data(), batch, shape.sparse_features * shape.dim));
        benchmark::DoNotOptimize(dense.loss(seq, labels));
        dense.backward(seq, labels);
        dense.step(seq, 1e-4F);
    });
    rates.dense = {{static_cast<double>(shape.training_flops()), static_cast<double>(batch), seconds}};
    return rates;
}

// Seconds of a step over one epoch, as train_dlrm counts them: batches gathered, steps, synchronisation.
template <Placement P>
double measured(const PackedDataset& data, const DlrmShape& shape, P placement, Order order) {
    HotColdTable<float, P> table(data.row_space(), sgd, std::move(placement));
    table.initialise(seq, 1);
    Dlrm<float> model(shape, batch, 1, sgd);
    DlrmTrainer<P> trainer(table, model);
    BatchLoader loader(data);
    BatchScheduler scheduler({.hot_inputs = data.hot().inputs(),
                              .cold_inputs = data.cold().inputs(),
                              .batch_size = batch,
                              .order = order},
                             FixedRate(50));
    std::uint64_t trained = 0;
    const double start = stats::thread_seconds();
    for (BatchRef next; scheduler.next(next);) {
        if (next.begins_segment) static_cast<void>(table.synchronise(seq, next.heat));
        benchmark::DoNotOptimize(trainer.step(seq, next.step, loader.load(seq, next), 0.1F));
        trained += next.inputs.size();
    }
    static_cast<void>(table.write_back(seq));
    const double seconds = stats::thread_seconds() - start;
    return seconds * static_cast<double>(batch) / static_cast<double>(trained);
}

void run(benchmark::State& state, const std::string& model, const std::string& placement,
         std::uint64_t budget) {
    const MachineRates& rates = rates_for(model);
    const DlrmShape shape = shape_of(model);
    const std::uint64_t row_bytes = row_layout(16, state_size(sgd, 16)).bytes();
    const PackedDataset data = prepare(seq, inputs(), Dataset{inputs().shape, {}, {}, {}, {}, 0},
                                       {.budget_bytes = budget, .dim = 16, .optimizer = sgd});
    AccessProfiler<> profiler(data.row_space());
    profiler.add(seq, inputs().bags());
    const AccessShape access = access_shape(seq, profiler.finish(), row_bytes);
    ModelShape of_model;
    of_model.rows = data.row_space().rows();
    of_model.dim = 16;
    of_model.row_bytes = row_bytes;
    of_model.lookups_per_input = 26;
    of_model.features = 26;
    of_model.batch = batch;
    of_model.dense_flops_per_input = static_cast<double>(shape.training_flops());
    of_model.input_bytes = 1 + 4 * (13 + 26);
    of_model.inputs = data.inputs();
    const double hot_lookups = static_cast<double>(data.hot_lookups()) / static_cast<double>(data.lookups());
    const double hot_inputs = static_cast<double>(data.hot().inputs()) / static_cast<double>(data.inputs());
    const BudgetOffer offer{budget,
                            data.hot_set().size(),
                            data.hot_set().size() * row_bytes + data.hot_set().index_bytes(),
                            {hot_lookups, hot_lookups, hot_lookups},
                            {hot_inputs, hot_inputs, hot_inputs}};
    double predicted = 0;
    for (const PlacementForecast& one : forecast(rates, of_model, access, offer)) {
        if (one.name == placement) predicted = one.step_seconds;
    }
    double seconds = 0;
    for (auto _ : state) {
        if (placement == "all-home") {
            seconds = measured(data, shape, all_home, Order::shuffled);
        } else if (placement == "all-slots") {
            seconds = measured(data, shape, all_slots, Order::shuffled);
        } else if (placement == "static") {
            seconds = measured(data, shape, static_placement(data.hot_set()), Order::fae);
        } else {
            LookaheadFitOptions asked;
            asked.batch = batch;
            const LookaheadFit fit = fit_lookahead(seq, data, asked);
            seconds =
                measured(data, shape, LookaheadPlacement<>(fit.resident(data), fit.options), Order::shuffled);
        }
    }
    const double ratio = predicted / seconds;
    state.counters["ratio"] = ratio;
    state.counters["off"] = std::fabs(ratio - 1);
    state.counters["measured"] = seconds * 1e6;
    state.counters["predicted"] = predicted * 1e6;
    state.counters["hot_inputs"] = hot_inputs;
    if (!(std::fabs(ratio - 1) <= 0.25)) {
        state.SkipWithError(concat("predicted ", predicted * 1e6, " us a step, measured ", seconds * 1e6,
                                   ": off by more than 25 %")
                                .c_str());
    }
}

[[maybe_unused]] const bool registered = [] {
    for (const std::string model : {"small", "rmc2"}) {
        for (const std::string placement : {"all-home", "static", "lookahead", "all-slots"}) {
            for (const std::uint64_t mebibytes : {4u, 16u, 64u, 256u}) {
                const bool any_budget = placement == "all-home" || placement == "all-slots";
                if (any_budget && mebibytes != 4) continue;
                benchmark::RegisterBenchmark(
                    concat("forecast/", model, "/", placement, "/budget_mib:", mebibytes).c_str(),
                    [=](benchmark::State& state) { run(state, model, placement, mebibytes << 20); })
                    ->Iterations(1)
                    ->Unit(benchmark::kMillisecond);
            }
        }
    }
    return true;
}();

}  // namespace

BENCHMARK_MAIN();
