// SPDX-License-Identifier: Apache-2.0
#include "advise_options.hpp"

#include <CLI/CLI.hpp>
#include <cstddef>

#include "../train_dlrm/source_options.hpp"
#include "fae/trace/format.hpp"

namespace advise {

using train_dlrm::check;
using train_dlrm::Size;

std::vector<std::uint64_t> Options::budgets(std::uint64_t row_bytes) const {
    const std::uint64_t first = first_budget.of(row_bytes);
    const std::uint64_t last = last_budget.of(row_bytes);
    check(first >= 1 && first <= last, "--budgets: expected A..B with A at least 1 byte and at most B");
    std::vector<std::uint64_t> found;
    for (std::uint64_t budget = first; budget < last; budget *= 2) found.push_back(budget);
    found.push_back(last);
    return found;
}

std::optional<Options> parse_options(int argc, char** argv) {
    Options o;
    std::string optimizer = "sgd";
    std::string budgets;
    std::string sketch;
    CLI::App app(
        "Says from a click log, before anything is allocated, which rows are hot, what each budget of fast "
        "memory would buy, and whether it is worth it.",
        "advise");
    train_dlrm::add_source_options(app, o.run, "click log, plain or gzip; -: standard input");
    app.add_option("--budgets", budgets,
                   "A..B: doubled from A, ending with B; each as 64KiB, 1.5GiB, or 10% of the model's rows "
                   "[16MiB..8GiB]")
        ->group("Advice");
    app.add_option("--sketch", sketch,
                   "profile in this much memory, as 64MiB, instead of a counter a row; what is promised of "
                   "look-ups is then an interval")
        ->group("Advice");
    app.add_option("--target-inputs", o.target_inputs, "the least share of inputs that shall be hot, 0 to 1")
        ->group("Advice");
    app.add_option("--target-lookups", o.target_lookups,
                   "the least share of look-ups that shall be hot, 0 to 1")
        ->group("Advice");
    app.add_option("--rates", o.rates,
                   "rates of the machine to advise for; if there is no such file, this machine is probed and "
                   "they are written there")
        ->group("Advice");
    train_dlrm::add_model_options(app, o.run, optimizer);
    app.add_option("--json", o.json, "write the advice here")->group("Output");
    app.add_option("--report", o.report, "write an HTML report here")->group("Output");

    if (!train_dlrm::parse_command_line(app, argc, argv)) return std::nullopt;
    const std::string self = argc > 0 ? argv[0] : "";
    o.trainer.insert(0, self, 0, self.rfind('/') + 1);
    o.run.optimizer = train_dlrm::optimizer_of(optimizer);
    check(o.run.has_source() || o.run.inputs != 0 || !o.run.format.empty(),
          "no input, expected one of --data, --synthetic");
    train_dlrm::check_source(o.run);
    if (!budgets.empty()) {
        const std::size_t dots = budgets.find("..");
        check(dots != std::string::npos, "--budgets: " + budgets + ", expected A..B, as 16MiB..8GiB");
        o.first_budget = Size::parse("--budgets", budgets.substr(0, dots));
        o.last_budget = Size::parse("--budgets", budgets.substr(dots + 2));
        if (o.first_budget.is_percent == o.last_budget.is_percent) {
            check(o.first_budget.value > 0 && o.first_budget.value <= o.last_budget.value,
                  "--budgets: " + budgets + ", expected A..B with A above 0 and at most B");
        }
    }
    if (!sketch.empty()) {
        const Size size = Size::parse("--sketch", sketch);
        check(!size.is_percent && size.value >= 4096, "--sketch: " + sketch + ", expected 4KiB or more");
        check(!o.run.sample, "--sketch with --sample, expected one of them");
        o.sketch_bytes = size.of(0);
    }
    const auto check_share = [](const char* option, const std::optional<double>& share) {
        if (!share) return;
        check(*share >= 0 && *share <= 1,
              std::string(option) + ": " + fae::format_significant(*share) + ", expected 0 to 1");
    };
    check_share("--target-inputs", o.target_inputs);
    check_share("--target-lookups", o.target_lookups);
    check(o.json.empty() || o.json != o.report, "--json: the file of another output");
    check(o.rates.empty() || (o.rates != o.json && o.rates != o.report), "--rates: the file of an output");
    return o;
}

}  // namespace advise
