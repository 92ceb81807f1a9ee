// SPDX-License-Identifier: Apache-2.0
//
// The look-ahead placement on one GPU: epochs over Criteo-shaped inputs in the plain shuffled order, beside
// all rows in device memory, all at home, static, and the reference hybrid, in one run.
//
//   fae_lookahead_bench                              # RMC2, SGD, 256 and 64 MiB, batches of 4,096 and 16,384
//   fae_lookahead_bench --model rmc3 --budgets 1024
//   fae_lookahead_bench --placements all_slots,lookahead --optimizer rowwise-adagrad
//   fae_lookahead_bench --window 0.5 --lookahead 6                      # the window's share of the budget
//   fae_lookahead_bench --placements all_slots,lookahead --plan-threads 1,2,4 --load-threads 8
//   fae_lookahead_bench --placements all_slots,lookahead --way staged   # or zero-copy: how rows travel
//
// Prints, and with --json OUT writes, the seconds of an epoch (median, least, most), the share of all_slots'
// rate, what moved, what was waited for, and the digests, which must be equal: a differing one ends the
// program with 1.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/fae_epochs.cuh"
#include "fae/calibrate/hot_set.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/space.hpp"
#include "fae/io/packed.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/schedule/lookahead_fit.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"

namespace {

namespace gpu = fae::cuda;
using epochs::Epochs;
using epochs::Exec;
using Lookahead = fae::LookaheadPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;

struct Options : epochs::Setting {
    std::vector<std::uint64_t> budgets{256, 64};  // MiB; the first is the data set's
    std::vector<std::uint64_t> batches{4096, 16384};
    std::vector<std::uint64_t> planners{0};  // threads that plan, each number in turn; 0: automatic
    std::string placements = "all_slots,lookahead,static,all_home,reference";
    double window = 0;            // share of the budget; 0: automatic
    std::uint64_t lookahead = 0;  // 0: automatic
    bool rmc3 = false;
    std::string json;

    [[nodiscard]] bool asks_for(std::string_view placement) const {
        return ("," + placements + ",").find("," + std::string(placement) + ",") != std::string::npos;
    }
};

/// Prints one line and keeps it for the JSON.
class Report {
  public:
    /// @param of  model and optimizer, as the JSON names them
    Report(const fae::PackedDataset& data, std::string of, std::uint64_t record_bytes,
           std::ostringstream& json)
        : of_(std::move(of)),
          inputs_(static_cast<double>(data.inputs())),
          record_bytes_(static_cast<double>(record_bytes)),
          json_(&json) {}

    void line(std::size_t batch, const std::string& name, std::uint64_t budget, const Epochs& epochs) {
        const double rate = inputs_ / epochs.median();
        if (name == "all_slots") ceiling_ = rate;
        const auto [least, most] = std::minmax_element(epochs.seconds.begin(), epochs.seconds.end());
        std::printf(
            "  batch %5zu  %-9s %4llu MiB  %7.3f s [%.3f, %.3f]  %6.2f M samples/s  %.2f of all_slots  %s\n",
            batch, name.c_str(), static_cast<unsigned long long>(budget), epochs.median(), *least, *most,
            rate * 1e-6, ceiling_ > 0 ? rate / ceiling_ : 0.0, epochs.digest.c_str());
        const fae::LookaheadCounts& counts = epochs.counts;
        const double rounds = static_cast<double>(epochs.seconds.size() + 1);
        const double all = static_cast<double>(counts.hot + counts.hits + counts.brought + counts.direct);
        if (all > 0) {
            const auto share = [&](std::uint64_t n) { return 100 * static_cast<double>(n) / all; };
            const double in = static_cast<double>(counts.rows_in) / rounds;
            const double out = static_cast<double>(counts.rows_out) / rounds;
            std::printf(
                "      look-ups: %.1f %% hot, %.2f %% hits, %.2f %% brought, %.3f %% direct; rows %.2f M in, "
                "%.2f M "
                "out, %.2f and %.2f GB/s; planning %.0f us a batch; waited %.0f ms for steps, %.0f homes, "
                "%.0f "
                "room, %.0f rows (an epoch)\n",
                share(counts.hot), share(counts.hits), share(counts.brought), share(counts.direct), in * 1e-6,
                out * 1e-6, in * record_bytes_ / epochs.median() * 1e-9,
                out * record_bytes_ / epochs.median() * 1e-9,
                epochs.planning / static_cast<double>(epochs.batches) * 1e6,
                epochs.stalls.steps / rounds * 1e3, epochs.stalls.homes / rounds * 1e3,
                epochs.stalls.room / rounds * 1e3, epochs.stalls.rows / rounds * 1e3);
            const auto nanoseconds = [](const gpu::RecordCost& cost) { return cost.record * 1e9; };
            const double moved = static_cast<double>(counts.rows_in + counts.rows_out);
            std::printf(
                "      a row in: gathered %.1f ns a thread of three, over the link %.1f, put %.1f; from its "
                "home %.1f. "
                "Out: taken %.1f, over the link %.1f, scattered %.1f; to its home %.1f. %.0f %% of the rows "
                "went "
                "without the host\n",
                nanoseconds(epochs.gather), nanoseconds(epochs.copy_in), nanoseconds(epochs.put),
                nanoseconds(epochs.read), nanoseconds(epochs.take), nanoseconds(epochs.copy_out),
                nanoseconds(epochs.scatter), nanoseconds(epochs.write),
                moved == 0 ? 0.0
                           : 100 * static_cast<double>(epochs.zero_copy.rows_in + epochs.zero_copy.rows_out) /
                                 moved);
        }
        std::fflush(stdout);
        *json_ << (json_->tellp() == 0 ? "" : ",\n") << R"( {"of": ")" << of_ << R"(", "inputs": )" << inputs_
               << R"(, "batch": )" << batch << R"(, "placement": ")" << name << R"(", "budget_MiB": )"
               << budget << R"(, "digest": ")" << epochs.digest << R"(", "rows_in": )"
               << static_cast<double>(counts.rows_in) / rounds << R"(, "rows_out": )"
               << static_cast<double>(counts.rows_out) / rounds << R"(, "record_bytes": )" << record_bytes_
               << R"(, "direct": )" << (all > 0 ? static_cast<double>(counts.direct) / all : 0)
               << R"(, "zero_copy_rows": )"
               << static_cast<double>(epochs.zero_copy.rows_in + epochs.zero_copy.rows_out) / rounds
               << R"(, "planning_us": )"
               << (epochs.batches == 0 ? 0 : epochs.planning / static_cast<double>(epochs.batches) * 1e6)
               << R"(, "waited": {"steps": )" << epochs.stalls.steps / rounds << R"(, "homes": )"
               << epochs.stalls.homes / rounds << R"(, "room": )" << epochs.stalls.room / rounds
               << R"(, "rows": )" << epochs.stalls.rows / rounds << R"(}, "row_ns": {"gather": )"
               << epochs.gather.record * 1e9 << R"(, "copy_in": )" << epochs.copy_in.record * 1e9
               << R"(, "put": )" << epochs.put.record * 1e9 << R"(, "zero_copy_in": )"
               << epochs.read.record * 1e9 << R"(, "take": )" << epochs.take.record * 1e9
               << R"(, "copy_out": )" << epochs.copy_out.record * 1e9 << R"(, "scatter": )"
               << epochs.scatter.record * 1e9 << R"(, "zero_copy_out": )" << epochs.write.record * 1e9
               << R"(}, "seconds": [)";
        for (std::size_t i = 0; i < epochs.seconds.size(); ++i) {
            *json_ << (i == 0 ? "" : ", ") << epochs.seconds[i];
        }
        *json_ << "]}";
    }

  private:
    std::string of_;
    double inputs_;
    double record_bytes_;
    double ceiling_ = 0;
    std::ostringstream* json_;
};

bool compare(const Exec& exec, const fae::PackedDataset& data, const Options& options, std::size_t batch,
             Report& report) {
    epochs::Setting setting = options;
    setting.batch = batch;
    std::string digest;
    bool equal = true;
    const auto line = [&](const char* name, std::uint64_t budget, const Epochs& found) {
        report.line(batch, name, budget, found);
        if (digest.empty()) digest = found.digest;
        equal = equal && found.digest == digest;
    };
    if (options.asks_for("all_slots")) {
        line("all_slots", 0, epochs::run(exec, data, setting, fae::AllSlots<gpu::DeviceSpace>()));
    }
    if (options.asks_for("lookahead")) {
        for (const std::uint64_t budget : options.budgets) {
            fae::LookaheadFitOptions asked;
            asked.batch = batch;
            asked.budget_bytes = budget << 20;
            if (options.window > 0) {
                asked.window_bytes =
                    static_cast<std::uint64_t>(options.window * static_cast<double>(budget << 20));
            }
            if (options.lookahead != 0) asked.lookahead = options.lookahead;
            const fae::LookaheadFit fit = fae::fit_lookahead(exec, data, asked);
            const fae::RowSpace space = data.row_space();
            std::printf("      %llu hot rows, a window of %llu, %llu batches ahead\n",
                        static_cast<unsigned long long>(fit.resident(data).size()),
                        static_cast<unsigned long long>(fit.options.window),
                        static_cast<unsigned long long>(fit.options.lookahead));
            for (const std::uint64_t threads : options.planners) {
                if (options.planners.size() > 1) {
                    std::printf("      %llu threads plan\n", static_cast<unsigned long long>(threads));
                }
                setting.plan_threads = static_cast<std::size_t>(threads);
                line("lookahead", budget,
                     epochs::run(exec, data, setting, Lookahead(fit.resident(data), fit.options, &space)));
            }
        }
    }
    using Static = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
    epochs::Setting fewer = setting;
    fewer.repetitions = 1;  // slow and even
    std::string digest_of_two;
    const auto slow = [&](const char* name, std::uint64_t budget, const Epochs& found) {
        report.line(batch, name, budget, found);
        if (digest_of_two.empty()) digest_of_two = found.digest;
        equal = equal && found.digest == digest_of_two;
    };
    if (options.asks_for("static")) {
        slow("static", options.budgets.front(), epochs::run(exec, data, fewer, Static(data.hot_set())));
    }
    if (options.asks_for("all_home")) {
        slow("all_home", 0, epochs::run(exec, data, fewer, fae::AllHome<gpu::PinnedSpace>()));
    }
    if (options.asks_for("reference") && options.optimizer == fae::OptimizerKind::sgd) {
        slow("reference", 0, epochs::run_reference(exec, data, fewer));
    }
    return equal;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    options.order = fae::Order::shuffled;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view name = argv[i];
        const std::string_view value = argv[i + 1];
        const auto number = [&] { return std::strtoull(argv[i + 1], nullptr, 10); };
        if (name == "--counted") options.counted = number();
        if (name == "--inputs") options.inputs = number();
        if (name == "--repetitions") options.repetitions = static_cast<std::size_t>(number());
        if (name == "--placements") options.placements = value;
        if (name == "--budgets") options.budgets = epochs::numbers(value);
        if (name == "--batches") options.batches = epochs::numbers(value);
        if (name == "--window") options.window = std::strtod(argv[i + 1], nullptr);
        if (name == "--lookahead") options.lookahead = number();
        if (name == "--load-threads") options.load_threads = static_cast<std::size_t>(number());
        if (name == "--plan-threads") options.planners = epochs::numbers(value);
        if (name == "--model") options.rmc3 = value == "rmc3";
        if (name == "--optimizer" && value == "rowwise-adagrad") {
            options.optimizer = fae::OptimizerKind::rowwise_adagrad;
        }
        if (name == "--way" && value == "staged") options.way = gpu::RecordWay::staged;
        if (name == "--way" && value == "zero-copy") options.way = gpu::RecordWay::zero_copy;
        if (name == "--json") options.json = value;
    }
    if (options.rmc3) options.model = fae::DlrmShape::rmc3(13, 26);
    options.budget = options.budgets.front() << 20;
    fae::Threads threads;
    const Exec exec = fae::par(threads);
    const fae::SyntheticSource source(options.rmc3 ? fae::synthetic_terabyte() : fae::synthetic_kaggle(),
                                      epochs::seed);
    const fae::PackedDataset data = epochs::prepare(exec, source, options);
    const auto layout =
        fae::row_layout(options.model.dim, fae::state_size(options.optimizer, options.model.dim));
    const std::string of = std::string(options.rmc3 ? "rmc3" : "rmc2") + ", " +
                           (options.optimizer == fae::OptimizerKind::sgd ? "sgd" : "row-wise Adagrad");
    std::printf("%s: %llu rows of %zu bytes, %llu of them hot, %llu inputs an epoch\n", of.c_str(),
                static_cast<unsigned long long>(data.row_space().rows()),
                static_cast<std::size_t>(layout.bytes()),
                static_cast<unsigned long long>(data.hot_set().size()),
                static_cast<unsigned long long>(data.inputs()));
    std::ostringstream rows;
    bool equal = true;
    for (const std::uint64_t batch : options.batches) {
        Report report(data, of, layout.bytes(), rows);
        equal = compare(exec, data, options, static_cast<std::size_t>(batch), report) && equal;
    }
    if (!options.json.empty()) std::ofstream(options.json) << "[\n" << rows.str() << "\n]\n";
    std::puts(equal ? "digests are equal" : "digests differ");
    return equal ? 0 : 1;
}
