// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <CLI/CLI.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "device_training.hpp"
#include "source_options.hpp"

namespace train_dlrm {

namespace {

const std::map<std::string, Placement> placements{{"lookahead", Placement::lookahead},
                                                  {"static", Placement::static_hot},
                                                  {"all-home", Placement::all_home},
                                                  {"all-slots", Placement::all_slots}};
const std::map<std::string, fae::Order> orders{{"fae", fae::Order::fae}, {"shuffled", fae::Order::shuffled}};

template <class Value>
const char* name_in(const std::map<std::string, Value>& names, Value value) {
    for (const auto& [name, of_name] : names) {
        if (of_name == value) return name.c_str();
    }
    return "";
}

// Rules between options.
void check_together(const Options& o, bool has_decay_start, bool has_decay_steps) {
    check(o.has_source() || !o.unpack.empty(), "no input, expected one of --data, --synthetic, --unpack");
    check_source(o);
    check(o.test.empty() || !o.data.empty(),
          "--test without --data (its vocabularies number the test's tokens)");
    check(!o.hot_rows_for_inputs || o.unpack.empty(),
          "--hot-rows inputs with --unpack, whose hot rows are chosen already");
    check(o.pack.empty() || o.unpack.empty(), "--pack and --unpack, expected one of them");
    check(o.json.empty() || (o.json != o.report && o.json != o.pack), "--json: the file of another output");
    check(o.report.empty() || o.report != o.pack, "--report: the file of another output");
    check(o.trace.empty() || (o.trace != o.json && o.trace != o.report && o.trace != o.pack),
          "--trace: the file of another output");
    check(o.placement == Placement::lookahead || (!o.window && !o.lookahead),
          std::string(o.window ? "--window" : "--lookahead") + " with --placement " + o.placement_name() +
              ", expected --placement lookahead");
    check(has_decay_start == has_decay_steps, "--decay-start and --decay-steps, expected both or neither");
    check(std::isfinite(o.lr) && o.lr >= 0 && o.lr <= double{std::numeric_limits<float>::max()},
          "--lr: expected a finite number of at least 0");
    check(!has_decay_start || o.decay_start >= o.warmup,
          "--decay-start: expected at least the steps of --warmup");
    check(o.decay_steps <= ~o.decay_start, "--decay-steps: expected an end within 64 bits");
}

}  // namespace

const char* Options::placement_name() const { return name_in(placements, placement); }
const char* Options::order_name() const { return name_in(orders, order); }
const char* Options::optimizer_name() const { return fae::optimizer_name(optimizer); }

std::optional<Options> parse_options(int argc, char** argv) {
    Options o;
    std::string placement = "lookahead";
    std::string window = "auto";
    std::string lookahead = "auto";
    std::string order = "shuffled";
    std::string optimizer = "sgd";
    std::string rate = "adaptive";
    std::string device = "cpu";
    std::string precision = "tf32";
    std::string budget;
    std::string hot_rows = "count";
    CLI::App app(
        "Trains a DLRM from a click log or a synthetic set, with the rows that are touched most in a fast "
        "tier.",
        "train_dlrm");

    add_source_options(app, o, "click log, plain or gzip");
    app.add_option("--unpack", o.unpack, "packed data set that --pack wrote")->group("Source");
    app.add_option("--test", o.test, "click log that the trained model is tested on")->group("Source");

    app.add_option("--budget", budget,
                   "bytes of the fast tier: 256MiB, 0, or 10% of the model's rows [256MiB]")
        ->group("Placement");
    app.add_option("--hot-rows", hot_rows,
                   "what the budget is spent on: count (rows looked up most), inputs (rows that make most "
                   "inputs hot)")
        ->check(CLI::IsMember({"count", "inputs"}))
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--placement", placement, "where rows live: lookahead, static, all-home, all-slots")
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--window", window,
                   "bytes of the budget for rows that coming batches need: auto, 16MiB, 0, or 10% of it")
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--lookahead", lookahead, "batches that are planned ahead: auto, or 1 to 1024")
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--order", order, "of mini-batches: shuffled, fae (cold and hot segments)")
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--rate", rate, "percent of the batches in a segment: adaptive, or 1 to 100")
        ->capture_default_str()
        ->group("Placement");

    add_model_options(app, o, optimizer);
    app.add_option("--epochs", o.epochs, "passes over the training inputs")
        ->check(whole_number)
        ->capture_default_str()
        ->group("Model");
    app.add_option("--lr", o.lr, "learning rate")->capture_default_str()->group("Model");
    app.add_option("--warmup", o.warmup, "steps of linear warm-up")->check(whole_number)->group("Model");
    CLI::Option* decay_start = app.add_option("--decay-start", o.decay_start, "step at which decay begins")
                                   ->check(whole_number)
                                   ->group("Model");
    CLI::Option* decay_steps =
        app.add_option("--decay-steps", o.decay_steps, "steps of decay")->check(whole_number)->group("Model");
    app.add_option("--device", device, "cpu, cuda")
        ->check(CLI::IsMember({"cpu", "cuda"}))
        ->capture_default_str()
        ->group("Model");
    app.add_option("--precision", precision,
                   "of matrix products on a GPU: tf32, fp32; the CPU computes in fp32")
        ->check(CLI::IsMember({"tf32", "fp32"}))
        ->capture_default_str()
        ->group("Model");

    app.add_option("--json", o.json, "write the run's figures here")->group("Output");
    app.add_option("--report", o.report, "write an HTML report here")->group("Output");
    app.add_option("--trace", o.trace, "write what ran when here, as Chrome trace events")->group("Output");
    app.add_option("--pack", o.pack, "write the classified data set here, then train")->group("Output");
    app.add_option("--save", o.save, "write the trained model into this folder, one .npy a table and layer")
        ->group("Output");
    app.add_option("--init", o.init, "start from a folder that --save wrote")->group("Output");

    if (!parse_command_line(app, argc, argv)) return std::nullopt;
    o.placement = value_of(placements, "--placement", placement);
    o.order = value_of(orders, "--order", order);
    o.optimizer = optimizer_of(optimizer);
    if (rate != "adaptive") {
        unsigned percent = 0;
        for (const char digit : rate) {
            check(digit >= '0' && digit <= '9' && percent <= 100,
                  "--rate: " + rate + ", expected adaptive or 1 to 100");
            percent = percent * 10 + static_cast<unsigned>(digit - '0');
        }
        check(percent >= 1 && percent <= 100, "--rate: " + rate + ", expected adaptive or 1 to 100");
        o.fixed_rate = percent;
    }
    o.hot_rows_for_inputs = hot_rows == "inputs";
    if (!budget.empty()) o.budget = Size::parse("--budget", budget);
    if (window != "auto") o.window = Size::parse("--window", window);
    if (lookahead != "auto") {
        std::uint64_t batches = 0;
        check(whole_number(lookahead).empty() && lookahead.size() <= 4,
              "--lookahead: " + lookahead + ", expected auto or 1 to 1024");
        for (const char digit : lookahead) batches = batches * 10 + static_cast<std::uint64_t>(digit - '0');
        check(batches >= 1 && batches <= 1024, "--lookahead: " + lookahead + ", expected auto or 1 to 1024");
        o.lookahead = batches;
    }
    o.device = device == "cuda" ? Device::cuda : Device::cpu;
    o.tf32 = precision == "tf32";
    check(o.device == Device::cpu || built_with_cuda, "--device cuda: built without CUDA");
    check_together(o, decay_start->count() > 0, decay_steps->count() > 0);
    return o;
}

}  // namespace train_dlrm
