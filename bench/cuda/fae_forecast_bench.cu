// SPDX-License-Identifier: Apache-2.0
//
// What the advisor predicts of a training step on one GPU, from a probe of this machine, beside what the step
// takes: every placement, at several budgets and batch sizes, Criteo-shaped inputs of measured skew, RMC2.
//
//   fae_forecast_bench                                  # batches of 4,096, 16,384 and 1,024; 16, 64 and 256
//   MiB fae_forecast_bench --batches 4096 --budgets 64 --inputs 500000
//
// Prints, and with --json OUT writes, microseconds of a step, predicted and measured (the median epoch,
// synchronisation included), and what the prediction is made of. A point off by more than 25 % ends the
// program with 1, and so do digests that differ between placements in the shuffled order.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/fae_epochs.cuh"
#include "fae/advise/access_shape.hpp"
#include "fae/advise/forecast.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/space.hpp"
#include "fae/io/packed.hpp"
#include "fae/io/prepare.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/models/device_probe.cuh"
#include "fae/schedule/lookahead_fit.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"
#include "stats.hpp"

namespace {

namespace gpu = fae::cuda;
using epochs::Epochs;
using epochs::Exec;

constexpr double most_off = 0.25;

struct Options : epochs::Setting {
    std::vector<std::uint64_t> batches{4096, 16384, 1024};
    std::vector<std::uint64_t> budgets{64, 256, 16};  // MiB
    std::uint64_t max_rows = 2'000'000;               // of a table; 0: all of them
    std::string json;
};

/// The inputs, packed for every budget, and how their look-ups are spread.
struct Case {
    std::vector<fae::PackedDataset> of_budget;
    fae::AccessShape access;
    std::uint64_t row_bytes = 0;
};

Case make_case(const Exec& exec, const Options& options) {
    fae::SyntheticSpec spec = fae::synthetic_kaggle();
    if (options.max_rows != 0) spec = fae::with_max_rows(spec, options.max_rows);
    const fae::SyntheticSource source(spec, epochs::seed);
    const fae::Dataset inputs = source.generate(exec, 0, static_cast<std::size_t>(options.inputs));
    Case made;
    made.row_bytes =
        fae::row_layout(options.model.dim, fae::state_size(options.optimizer, options.model.dim)).bytes();
    const auto dim = static_cast<std::uint32_t>(options.model.dim);
    for (const std::uint64_t budget : options.budgets) {
        made.of_budget.push_back(
            fae::prepare(exec, inputs, fae::Dataset{inputs.shape, {}, {}, {}, {}, 0},
                         {.budget_bytes = budget << 20, .dim = dim, .optimizer = options.optimizer}));
    }
    fae::AccessProfiler<> profiler(made.of_budget.front().row_space());
    profiler.add(exec, inputs.bags());
    made.access = fae::access_shape(exec, profiler.finish(), made.row_bytes);
    return made;
}

fae::BudgetOffer offer_of(const fae::PackedDataset& data, std::uint64_t row_bytes) {
    const double lookups = static_cast<double>(data.hot_lookups()) / static_cast<double>(data.lookups());
    const double inputs = static_cast<double>(data.hot().inputs()) / static_cast<double>(data.inputs());
    return {data.provenance().budget_bytes,
            data.hot_set().size(),
            data.hot_set().size() * row_bytes + data.hot_set().index_bytes(),
            {lookups, lookups, lookups},
            {inputs, inputs, inputs}};
}

void print(const fae::DeviceRates& rates, double seconds) {
    std::printf(
        "%s, probed in %.2f s: gather %.0f GB/s, link %.1f and %.1f, host %.1f and %.1f, "
        "synchronising %.1f and %.1f; launches %.1f us\n",
        rates.name.c_str(), seconds, rates.gather_bandwidth * 1e-9, rates.link_up * 1e-9,
        rates.link_down * 1e-9, rates.host_gather * 1e-9, rates.host_scatter * 1e-9, rates.sync_up * 1e-9,
        rates.sync_down * 1e-9, rates.launch_seconds * 1e6);
    for (const fae::DenseCost& cost : rates.dense)
        std::printf("    dense, %.0f inputs: %.1f us\n", cost.batch, cost.seconds * 1e6);
    for (const fae::MovingCost& cost : rates.home)
        std::printf("    at home, %.0f rows: %.1f us\n", cost.rows, cost.seconds * 1e6);
    for (const fae::PlanningCost& cost : rates.planning)
        std::printf("    planning, a window of %.0f: %.1f ns a row\n", cost.window, cost.seconds * 1e9);
}

/// Prints points and keeps them for the JSON.
class Report {
  public:
    void point(const fae::PlacementForecast& predicted, const Epochs& found, std::uint64_t inputs,
               std::size_t batch, std::uint64_t budget, fae::Order order) {
        const double steps_of_epoch = static_cast<double>(inputs) / static_cast<double>(batch);
        const auto of_epoch = [&](double seconds) { return seconds / steps_of_epoch * 1e6; };
        const double seconds = found.median() / steps_of_epoch;
        const double ratio = predicted.step_seconds / seconds;
        const bool off = !(std::fabs(ratio - 1) <= most_off);
        good_ = good_ && !off;
        if (order == fae::Order::shuffled) {  // that of FAE depends on the budget
            std::string& digest = digests_[batch];
            if (digest.empty()) digest = found.digest;
            good_ = good_ && digest == found.digest;
        }
        std::printf(
            "  batch %5zu %-9s %4llu MiB  predicted %7.1f us, measured %7.1f (%.1f to %.1f), ratio %.2f%s  (",
            batch, predicted.name.c_str(), static_cast<unsigned long long>(budget),
            predicted.step_seconds * 1e6, seconds * 1e6, of_epoch(found.least()), of_epoch(found.most()),
            ratio, off ? " OFF" : "");
        for (std::size_t r = 0; r < fae::resource_count; ++r) {
            if (predicted.seconds[r] > 0) {
                std::printf("%s %.1f, ",
                            std::string(fae::resource_name(static_cast<fae::Resource>(r))).c_str(),
                            predicted.seconds[r] * 1e6);
            }
        }
        const auto steps = static_cast<double>(std::max<std::uint64_t>(found.batches, 1));
        std::printf("moved %.0f rows a step, planned %.1f us, synchronised %.3f s)\n",
                    static_cast<double>(found.counts.rows_in) / steps, found.planning / steps * 1e6,
                    found.synchronising);
        std::fflush(stdout);
        json_ << (json_.tellp() == 0 ? "" : ",\n") << R"( {"placement": ")" << predicted.name
              << R"(", "budget_MiB": )" << budget << R"(, "batch": )" << batch << R"(, "predicted_us": )"
              << predicted.step_seconds * 1e6 << R"(, "measured_us": )" << seconds * 1e6 << R"(, "ratio": )"
              << ratio << R"(, "bottleneck": ")" << fae::resource_name(predicted.bottleneck) << R"("})";
    }
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] std::string json() const { return "[\n" + json_.str() + "\n]\n"; }

  private:
    bool good_ = true;
    std::map<std::size_t, std::string> digests_;
    std::ostringstream json_;
};

void compare(const Exec& exec, const Case& of, const Options& options, std::size_t batch, Report& report) {
    gpu::DeviceProbe probe;
    probe.model = options.model;
    probe.optimizer = options.optimizer;
    probe.batch = batch;
    fae::MachineRates rates;
    const auto start = std::chrono::steady_clock::now();
    rates.device = gpu::probe_device(exec, probe);
    print(*rates.device, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());

    const fae::RowSpace space = of.of_budget.front().row_space();
    const std::uint64_t inputs = of.of_budget.front().inputs();
    fae::ModelShape shape;
    shape.rows = space.rows();
    shape.dim = options.model.dim;
    shape.row_bytes = of.row_bytes;
    shape.lookups_per_input = static_cast<double>(space.features());
    shape.features = space.features();
    shape.batch = batch;
    shape.dense_flops_per_input = static_cast<double>(options.model.training_flops());
    shape.input_bytes = 1 + 4 * static_cast<double>(options.model.dense_features + space.features());
    shape.inputs = inputs;
    shape.epochs = 1e9;  // the first is not timed
    epochs::Setting setting = options;
    setting.batch = batch;
    const auto point = [&](const char* name, std::size_t b, fae::Order order, auto placement) {
        setting.order = order;
        const fae::PackedDataset& data = of.of_budget[b];
        const Epochs found = epochs::run(exec, data, setting, std::move(placement));
        for (const fae::PlacementForecast& one :
             fae::forecast(rates, shape, of.access, offer_of(data, of.row_bytes))) {
            if (one.name == name) {
                report.point(one, found, inputs, batch, options.budgets[b], order);
            }
        }
    };
    for (std::size_t b = 0; b < options.budgets.size(); ++b) {
        const fae::PackedDataset& data = of.of_budget[b];
        if (b == 0) {
            point("all-slots", b, fae::Order::shuffled, fae::AllSlots<gpu::DeviceSpace>());
            point("all-home", b, fae::Order::shuffled, fae::AllHome<gpu::PinnedSpace>());
        }
        fae::LookaheadFitOptions asked;
        asked.batch = batch;
        const fae::LookaheadFit fit = fae::fit_lookahead(exec, data, asked);
        point("lookahead", b, fae::Order::shuffled,
              fae::LookaheadPlacement<gpu::DeviceSpace, gpu::PinnedSpace>(fit.resident(data), fit.options,
                                                                          &space));
        point("static", b, fae::Order::fae,
              fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>(data.hot_set()));
    }
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    options.inputs = 2'000'000;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view name = argv[i];
        const auto number = [&] { return std::strtoull(argv[i + 1], nullptr, 10); };
        if (name == "--inputs") options.inputs = number();
        if (name == "--repetitions") options.repetitions = static_cast<std::size_t>(number());
        if (name == "--budgets") options.budgets = epochs::numbers(argv[i + 1]);
        if (name == "--batches") options.batches = epochs::numbers(argv[i + 1]);
        if (name == "--max-rows") options.max_rows = number();
        if (name == "--json") options.json = argv[i + 1];
    }
    fae::Threads threads;
    const Exec exec = fae::par(threads);
    const Case of = make_case(exec, options);
    Report report;
    for (const std::uint64_t batch : options.batches) {
        compare(exec, of, options, static_cast<std::size_t>(batch), report);
        if (!options.json.empty()) std::ofstream(options.json) << report.json();
    }
    std::puts(report.good() ? "every point is within 25 %, digests are equal"
                            : "points are off, or digests differ");
    return report.good() ? 0 : 1;
}
