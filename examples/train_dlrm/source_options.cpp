// SPDX-License-Identifier: Apache-2.0
#include "source_options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <iostream>
#include <system_error>
#include <thread>

#include "fae/core/table_spec.hpp"
#include "fae/version.hpp"

namespace train_dlrm {

namespace {

const std::map<std::string, fae::OptimizerKind> optimizers{
    {fae::optimizer_name(fae::OptimizerKind::sgd), fae::OptimizerKind::sgd},
    {fae::optimizer_name(fae::OptimizerKind::adagrad), fae::OptimizerKind::adagrad},
    {fae::optimizer_name(fae::OptimizerKind::rowwise_adagrad), fae::OptimizerKind::rowwise_adagrad}};

constexpr double most_bytes = 9e18;  // and still a number of 63 bits

}  // namespace

void check(bool holds, const std::string& what) {
    if (!holds) throw UsageError(what);
}

std::size_t default_threads() { return std::max(1u, std::thread::hardware_concurrency()); }

fae::OptimizerKind optimizer_of(const std::string& name) { return value_of(optimizers, "--optimizer", name); }

std::string whole_number(const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return {};
    return text + ", expected a whole number of at least 0";
}

Size Size::parse(const std::string& option, const std::string& text) {
    const auto wrong = [&] {
        return UsageError(option + ": " + text + ", expected 0, or a number with B, KiB, MiB, GiB or %");
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

std::uint64_t Size::of(std::uint64_t whole_bytes) const {
    const double bytes = is_percent ? value / 100.0 * static_cast<double>(whole_bytes) : value;
    return static_cast<std::uint64_t>(std::min(bytes, most_bytes));
}

void add_source_options(CLI::App& app, Options& o, const std::string& data_help) {
    app.add_option("--data", o.data, data_help)->group("Source");
    app.add_option("--format", o.format, "format of the click logs")
        ->check(CLI::IsMember({"criteo", "movielens"}))
        ->group("Source");
    app.add_option("--synthetic", o.synthetic, "generated inputs")
        ->check(CLI::IsMember({"kaggle", "terabyte", "small"}))
        ->group("Source");
    app.add_option("--inputs", o.inputs, "number of generated inputs, before the validation split")
        ->check(whole_number)
        ->group("Source");
    app.add_option("--zipf", o.zipf, "skew of every generated table")->group("Source");
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
    app.add_option("--sample", o.sample, "share of the inputs that the profile counts [1.0]")
        ->group("Source");
    app.add_option("--seed", o.seed, "of generated inputs, samples, order, and first weights [1]")
        ->check(whole_number)
        ->group("Source");
}

void add_model_options(CLI::App& app, Options& o, std::string& optimizer) {
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
    o.threads = default_threads();
    app.add_option("--threads", o.threads, "host threads; results do not depend on it")
        ->check(whole_number)
        ->capture_default_str()
        ->group("Model");
}

bool parse_command_line(CLI::App& app, int argc, char** argv) {
    app.set_version_flag("--version", std::string(fae::version));
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& done) {
        app.exit(done, std::cout, std::cerr);
        return false;
    } catch (const CLI::ExtrasError&) {
        std::string left;
        for (const std::string& word : app.remaining()) left += " " + word;
        throw UsageError("not understood:" + left);
    } catch (const CLI::ParseError& error) {
        throw UsageError(error.what());
    }
    return true;
}

void check_source(const Options& o) {
    check(o.data.empty() || o.synthetic.empty(), "--data and --synthetic, expected one of them");
    check(o.data.empty() == o.format.empty(),
          o.data.empty() ? "--format without --data"
                         : "--data without --format, expected --format criteo or movielens");
    check(o.synthetic.empty() == (o.inputs == 0),
          o.synthetic.empty() ? "--inputs without --synthetic"
                              : "--synthetic without --inputs, expected --inputs N, at least 1");
    check(!o.zipf || !o.synthetic.empty(), "--zipf without --synthetic");
    check(!o.skip_malformed || !o.data.empty(), "--skip-malformed without --data");
    check(!o.vocabulary || o.synthetic.empty(),
          "--vocabulary with --synthetic, whose inputs are numbers already");
    if (o.zipf) check(std::isfinite(*o.zipf) && *o.zipf >= 0, "--zipf: expected a number of at least 0");
    if (o.validation)
        check(*o.validation >= 0 && *o.validation < 1, "--validation: expected 0 or more and less than 1");
    if (o.sample) check(*o.sample > 0 && *o.sample <= 1, "--sample: expected more than 0 and at most 1");
    if (o.max_rows) check(*o.max_rows >= 1, "--max-rows: expected at least 1");
    if (o.dim) check(*o.dim >= 1 && *o.dim <= fae::max_dim, "--dim: expected 1 to 4096");
    check(o.inputs <= (std::uint64_t{1} << 40), "--inputs: expected at most 1099511627776");
    check(o.batch >= 1, "--batch: expected at least 1");
    check(o.batch <= (std::uint64_t{1} << 24), "--batch: expected at most 16777216");
    check(o.threads >= 1 && o.threads <= 1024, "--threads: expected 1 to 1024");
}

}  // namespace train_dlrm
