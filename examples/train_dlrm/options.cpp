// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <map>
#include <system_error>
#include <thread>

#include "device_training.hpp"
#include "fae/core/table_spec.hpp"
#include "fae/version.hpp"

namespace train_dlrm {

namespace {

const std::map<std::string, Placement> placements{{"static", Placement::static_hot},
                                                  {"all-home", Placement::all_home},
                                                  {"all-slots", Placement::all_slots}};
const std::map<std::string, fae::Order> orders{{"fae", fae::Order::fae}, {"shuffled", fae::Order::shuffled}};
const std::map<std::string, fae::OptimizerKind> optimizers{
    {fae::optimizer_name(fae::OptimizerKind::sgd), fae::OptimizerKind::sgd},
    {fae::optimizer_name(fae::OptimizerKind::adagrad), fae::OptimizerKind::adagrad},
    {fae::optimizer_name(fae::OptimizerKind::rowwise_adagrad), fae::OptimizerKind::rowwise_adagrad}};

template <class Value>
const char* name_in(const std::map<std::string, Value>& names, Value value) {
    for (const auto& [name, of_name] : names) {
        if (of_name == value) return name.c_str();
    }
    return "";
}

// "must be one of" for an option whose names stand for values.
template <class Value>
Value value_of(const std::map<std::string, Value>& names, const char* option, const std::string& name) {
    const auto found = names.find(name);
    if (found != names.end()) return found->second;
    std::string known;
    for (const auto& entry : names) known += (known.empty() ? "" : ", ") + entry.first;
    throw UsageError(std::string(option) + ": " + name + ", expected one of " + known);
}

void check(bool holds, const std::string& what) {
    if (!holds) throw UsageError(what);
}

constexpr double most_bytes = 9e18;  // and still a number of 63 bits

// The command line's own numbers take -5 for a huge one and cut what does not fit.
std::string whole_number(const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return {};
    return text + ", expected a whole number of at least 0";
}

// Rules between options.
void check_together(const Options& o, bool has_decay_start, bool has_decay_steps) {
    check(o.data.empty() || o.synthetic.empty(), "--data and --synthetic, expected one of them");
    check(o.has_source() || !o.unpack.empty(), "no input, expected one of --data, --synthetic, --unpack");
    check(o.data.empty() == o.format.empty(),
          o.data.empty() ? "--format without --data"
                         : "--data without --format, expected --format criteo or movielens");
    check(o.synthetic.empty() == (o.inputs == 0),
          o.synthetic.empty() ? "--inputs without --synthetic"
                              : "--synthetic without --inputs, expected --inputs N, at least 1");
    check(!o.zipf || !o.synthetic.empty(), "--zipf without --synthetic");
    check(o.test.empty() || !o.data.empty(),
          "--test without --data (its vocabularies number the test's tokens)");
    check(!o.skip_malformed || !o.data.empty(), "--skip-malformed without --data");
    check(!o.vocabulary || o.synthetic.empty(),
          "--vocabulary with --synthetic, whose inputs are numbers already");
    check(o.pack.empty() || o.unpack.empty(), "--pack and --unpack, expected one of them");
    check(o.json.empty() || (o.json != o.report && o.json != o.pack), "--json: the file of another output");
    check(o.report.empty() || o.report != o.pack, "--report: the file of another output");
    check(has_decay_start == has_decay_steps, "--decay-start and --decay-steps, expected both or neither");
    if (o.zipf) check(std::isfinite(*o.zipf) && *o.zipf >= 0, "--zipf: expected a number of at least 0");
    if (o.validation)
        check(*o.validation >= 0 && *o.validation < 1, "--validation: expected 0 or more and less than 1");
    if (o.sample) check(*o.sample > 0 && *o.sample <= 1, "--sample: expected more than 0 and at most 1");
    if (o.max_rows) check(*o.max_rows >= 1, "--max-rows: expected at least 1");
    if (o.dim) check(*o.dim >= 1 && *o.dim <= fae::max_dim, "--dim: expected 1 to 4096");
    check(o.inputs <= (std::uint64_t{1} << 40), "--inputs: expected at most 1099511627776");
    check(o.batch >= 1, "--batch: expected at least 1");
    check(o.batch <= (std::uint64_t{1} << 24), "--batch: expected at most 16777216");
    check(std::isfinite(o.lr) && o.lr >= 0 && o.lr <= double{std::numeric_limits<float>::max()},
          "--lr: expected a finite number of at least 0");
    check(!has_decay_start || o.decay_start >= o.warmup,
          "--decay-start: expected at least the steps of --warmup");
    check(o.decay_steps <= ~o.decay_start, "--decay-steps: expected an end within 64 bits");
    check(o.threads >= 1 && o.threads <= 1024, "--threads: expected 1 to 1024");
}

}  // namespace

Size Size::parse(const std::string& text) {
    const auto wrong = [&] {
        return UsageError("size: " + text + ", expected 0, or a number with B, KiB, MiB, GiB or %");
    };
    std::size_t end = 0;
    double number = 0;
    if (text.empty() || !(text[0] >= '0' && text[0] <= '9')) throw wrong();
    try {
        number = std::stod(text, &end);
    } catch (const std::exception&) {
        throw wrong();
    }
    const std::string unit = text.substr(end);
    static const std::map<std::string, double> units{
        {"B", 1.0}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}};
    if (!std::isfinite(number)) throw wrong();
    if (unit == "%") return {number, true};
    if (unit.empty() && number == 0) return {0, false};
    const auto found = units.find(unit);
    if (found == units.end() || number * found->second > most_bytes) throw wrong();
    return {number * found->second, false};
}

std::uint64_t Size::of(std::uint64_t row_bytes) const {
    const double bytes = is_percent ? value / 100.0 * static_cast<double>(row_bytes) : value;
    return static_cast<std::uint64_t>(std::min(bytes, most_bytes));
}

const char* Options::placement_name() const { return name_in(placements, placement); }
const char* Options::order_name() const { return name_in(orders, order); }
const char* Options::optimizer_name() const { return fae::optimizer_name(optimizer); }

std::optional<Options> parse_options(int argc, char** argv) {
    Options o;
    std::string placement = "static";
    std::string order = "fae";
    std::string optimizer = "sgd";
    std::string rate = "adaptive";
    std::string device = "cpu";
    std::string precision = "tf32";
    std::string budget;
    CLI::App app(
        "Trains a DLRM from a click log or a synthetic set, with the rows that are touched most in a fast "
        "tier.",
        "train_dlrm");
    app.set_version_flag("--version", std::string(fae::version));

    app.add_option("--data", o.data, "click log, plain or gzip")->group("Source");
    app.add_option("--format", o.format, "format of --data and --test")
        ->check(CLI::IsMember({"criteo", "movielens"}))
        ->group("Source");
    app.add_option("--synthetic", o.synthetic, "generated inputs")
        ->check(CLI::IsMember({"kaggle", "terabyte", "small"}))
        ->group("Source");
    app.add_option("--inputs", o.inputs, "number of generated inputs, before the validation split")
        ->check(whole_number)
        ->group("Source");
    app.add_option("--zipf", o.zipf, "skew of every generated table")->group("Source");
    app.add_option("--unpack", o.unpack, "packed data set that --pack wrote")->group("Source");
    app.add_option("--test", o.test, "click log that the trained model is tested on")->group("Source");
    app.add_flag("--skip-malformed", o.skip_malformed, "leave malformed lines out, and count them")
        ->group("Source");
    app.add_option("--max-rows", o.max_rows, "no table has more rows than this")
        ->check(whole_number)
        ->group("Source");
    app.add_option("--vocabulary", o.vocabulary,
                   "how tokens become row numbers [first-seen]; hash: a million rows a table or --max-rows")
        ->check(CLI::IsMember({"first-seen", "hash"}))
        ->group("Source");
    app.add_option("--validation", o.validation,
                   "share of the inputs held out: the last ones, or drawn if synthetic [0.1]")
        ->group("Source");
    app.add_option("--seed", o.seed, "of generated inputs, order, and first weights [1]")
        ->check(whole_number)
        ->group("Source");

    app.add_option("--budget", budget,
                   "bytes of the fast tier: 256MiB, 0, or 10% of the model's rows [256MiB]")
        ->group("Placement");
    app.add_option("--sample", o.sample, "share of the inputs that the profile counts [1.0]")
        ->group("Placement");
    app.add_option("--placement", placement, "where rows live: static, all-home, all-slots")
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--order", order, "of mini-batches: fae (cold and hot segments), shuffled")
        ->capture_default_str()
        ->group("Placement");
    app.add_option("--rate", rate, "percent of the batches in a segment: adaptive, or 1 to 100")
        ->capture_default_str()
        ->group("Placement");

    app.add_option("--model", o.model, "layer widths: rmc2, rmc3, small")
        ->check(CLI::IsMember({"rmc2", "rmc3", "small"}))
        ->capture_default_str()
        ->group("Model");
    app.add_option("--dim", o.dim, "floats in an embedding row [the model's]")
        ->check(whole_number)
        ->group("Model");
    app.add_option("--optimizer", optimizer, "sgd, adagrad, rowwise-adagrad")
        ->capture_default_str()
        ->group("Model");
    app.add_option("--batch", o.batch, "inputs in a mini-batch")
        ->check(whole_number)
        ->capture_default_str()
        ->group("Model");
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
    o.threads = std::max(1u, std::thread::hardware_concurrency());
    app.add_option("--threads", o.threads, "host threads; results do not depend on it")
        ->check(whole_number)
        ->capture_default_str()
        ->group("Model");
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
    app.add_option("--pack", o.pack, "write the classified data set here, then train")->group("Output");
    app.add_option("--save", o.save, "write the trained model into this folder, one .npy a table and layer")
        ->group("Output");
    app.add_option("--init", o.init, "start from a folder that --save wrote")->group("Output");

    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& done) {
        app.exit(done, std::cout, std::cerr);
        return std::nullopt;
    } catch (const CLI::ExtrasError&) {
        std::string left;
        for (const std::string& word : app.remaining()) left += " " + word;
        throw UsageError("not understood:" + left);
    } catch (const CLI::ParseError& error) {
        throw UsageError(error.what());
    }
    o.placement = value_of(placements, "--placement", placement);
    o.order = value_of(orders, "--order", order);
    o.optimizer = value_of(optimizers, "--optimizer", optimizer);
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
    if (!budget.empty()) o.budget = Size::parse(budget);
    o.device = device == "cuda" ? Device::cuda : Device::cpu;
    o.tf32 = precision == "tf32";
    check(o.device == Device::cpu || built_with_cuda, "--device cuda: built without CUDA");
    check_together(o, decay_start->count() > 0, decay_steps->count() > 0);
    return o;
}

}  // namespace train_dlrm
