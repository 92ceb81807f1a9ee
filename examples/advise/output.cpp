// SPDX-License-Identifier: Apache-2.0
#include "output.hpp"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <vector>

#include "../train_dlrm/source_options.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/report/advice_sections.hpp"
#include "fae/report/run_report.hpp"
#include "fae/trace/format.hpp"

namespace advise {

namespace {

[[nodiscard]] std::string bytes_text(std::uint64_t bytes) {
    return fae::format_bytes(static_cast<double>(bytes));
}

// Bytes as the programs' --budget takes them.
[[nodiscard]] std::string size_option(std::uint64_t bytes) {
    for (const auto& [unit, name] :
         {std::pair<std::uint64_t, const char*>{1u << 30, "GiB"}, {1u << 20, "MiB"}, {1u << 10, "KiB"}}) {
        if (bytes != 0 && bytes % unit == 0) return std::to_string(bytes / unit) + name;
    }
    return std::to_string(bytes) + (bytes == 0 ? "" : "B");
}

// Columns as wide as what is in them, numbers to the right.
[[nodiscard]] std::string aligned(const std::vector<std::vector<std::string>>& rows,
                                  std::size_t left_columns_from) {
    std::vector<std::size_t> width;
    for (const auto& row : rows) {
        width.resize(std::max(width.size(), row.size()), 0);
        for (std::size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
    }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t c = 0; c < row.size(); ++c) {
            const std::string space(width[c] - row[c].size(), ' ');
            line += "  " + (c < left_columns_from ? space + row[c] : row[c] + space);
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

// A word as a shell takes it.
[[nodiscard]] std::string shell_word(const std::string& word) {
    const auto plain = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               std::string_view("_./-+:=,@%").find(c) != std::string_view::npos;
    };
    if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

[[nodiscard]] double ratio(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// The share of inputs that rows chosen for inputs make hot at a budget: of all where they were chosen from
// all, else of those that the sample left.
[[nodiscard]] double input_aware_share(const Study& study, std::size_t budget) {
    const InputAware& aware = study.input_aware[budget];
    return aware.chosen_from == study.inputs ? ratio(aware.hot_inputs, aware.chosen_from)
                                             : ratio(aware.held_out_hot_inputs, aware.held_out);
}

// What the column of rows chosen for inputs says, and what it does not.
[[nodiscard]] std::string input_aware_text(const Study& study) {
    const InputAware& aware = study.input_aware[study.advice.chosen];
    const std::string size = bytes_text(study.sweep[study.advice.chosen].offer.budget_bytes);
    const std::string others = fae::format_percent(ratio(aware.held_out_hot_inputs, aware.held_out)) +
                               ", by count " +
                               fae::format_percent(ratio(aware.held_out_hot_inputs_by_count, aware.held_out));
    if (aware.chosen_from == study.inputs) {
        return "  for inputs: the inputs that would be hot with rows chosen for them (--hot-rows inputs), "
               "which holds\n"
               "  for these inputs; of inputs that rows were not chosen for, with " +
               size + ": " + others + "\n";
    }
    return "  for inputs: the inputs that are hot with rows chosen for a sample of " +
           fae::group_digits(aware.chosen_from) + ", of others than these\n  (with " + size + " " + others +
           "; of the sample itself " + fae::format_percent(ratio(aware.hot_inputs, aware.chosen_from)) +
           ", by count " + fae::format_percent(ratio(aware.hot_inputs_by_count, aware.chosen_from)) +
           ");\n  train_dlrm --hot-rows inputs chooses from all inputs that it trains on\n";
}

// The training run that the advice asks for.
[[nodiscard]] std::string next_command(const Options& options, const Study& study) {
    const train_dlrm::Options& run = options.run;
    std::string text = shell_word(options.trainer);
    if (run.synthetic.empty()) {
        text += " --data " + (run.data == "-" ? "FILE" : shell_word(run.data)) + " --format " + run.format;
    } else {
        text += " --synthetic " + run.synthetic + " --inputs " + std::to_string(run.inputs);
        if (run.zipf) text += " --zipf " + fae::format_significant(*run.zipf, 6);
    }
    if (run.max_rows) text += " --max-rows " + std::to_string(*run.max_rows);
    if (run.vocabulary) text += " --vocabulary " + *run.vocabulary;
    if (run.validation) text += " --validation " + fae::format_significant(*run.validation, 6);
    if (run.sample) text += " --sample " + fae::format_significant(*run.sample, 6);
    if (run.seed) text += " --seed " + std::to_string(*run.seed);
    if (run.skip_malformed) text += " --skip-malformed";
    text += " --model " + run.model;
    if (run.dim) text += " --dim " + std::to_string(*run.dim);
    text += " --optimizer " + std::string(fae::optimizer_name(run.optimizer));
    text += " --batch " + std::to_string(run.batch);
    if (run.threads != train_dlrm::default_threads()) text += " --threads " + std::to_string(run.threads);
    if (study.rates.device) text += " --device cuda";
    text += " --placement " + study.advice.placement;
    // In plain shuffled order static serves every batch at home: what is predicted is FAE's order.
    if (study.advice.placement == "static") text += " --order fae";
    if (study.advice.budget_bytes != 0) text += " --budget " + size_option(study.advice.budget_bytes);
    return text;
}

[[nodiscard]] std::string drift_text(const fae::DriftReport& drift) {
    std::string text = drift.falls ? "the hot set ages" : "no sign that the hot set ages";
    text += " (p = " + fae::format_significant(drift.p_value, 2) + "); profiling again would gain " +
            fae::format_fixed(drift.gain.estimate * 100, 2) + " points of the look-ups, " +
            fae::format_fixed(drift.gain.lower * 100, 2) + " to " +
            fae::format_fixed(drift.gain.upper * 100, 2);
    return text;
}

[[nodiscard]] std::string machine_text(const Study& study) {
    return study.rates.machine + ", " + std::to_string(study.rates.cores) +
           (study.rates.cores == 1 ? " thread" : " threads");
}

// True where the rates hold a step of this dense model and look-ups of rows of this size.
[[nodiscard]] bool measured_for(const Study& study) {
    const auto is = [](double a, double b) { return a >= 0.999 * b && b >= 0.999 * a; };
    const std::vector<fae::DenseCost>& dense =
        study.rates.device ? study.rates.device->dense : study.rates.dense;
    return std::any_of(dense.begin(), dense.end(),
                       [&](const fae::DenseCost& cost) {
                           return is(cost.flops_per_input, study.shape.dense_flops_per_input);
                       }) &&
           std::any_of(study.rates.rows.begin(), study.rates.rows.end(), [&](const fae::RowCosts& costs) {
               return is(costs.record_bytes, static_cast<double>(study.shape.row_bytes));
           });
}

}  // namespace

std::string summary(const Options& options, const Study& study) {
    std::ostringstream out;
    out << "  " << fae::group_digits(study.inputs) << " inputs, " << fae::group_digits(study.lookups)
        << " look-ups of " << fae::group_digits(study.rows) << " rows, "
        << bytes_text(study.rows * study.row_bytes) << " with optimizer state\n";
    if (study.malformed != 0) {
        out << "  " << fae::group_digits(study.malformed)
            << " malformed lines left out, the first: " << study.first_malformed << '\n';
    }
    out << "  predicted for: " << machine_text(study) << '\n';
    if (!measured_for(study)) {
        out << "  the rates are of another model or row size, scaled to this one: a file of its own is "
               "closer\n";
    }
    out << '\n';

    std::vector<std::vector<std::string>> table{{"budget", "hot rows", "look-ups", "inputs", "for inputs",
                                                 "samples/s", "placement", "bottleneck", ""}};
    for (std::size_t b = 0; b < study.sweep.size(); ++b) {
        const fae::BudgetForecast& budget = study.sweep[b];
        const fae::PlacementForecast& best = budget.best();
        std::string mark = b == study.advice.knee ? "<- knee" : "";
        if (b == study.advice.chosen && b != study.advice.knee) mark = "<- target";
        table.push_back({bytes_text(budget.offer.budget_bytes), fae::group_digits(budget.offer.hot_rows),
                         fae::format_percent(budget.offer.lookups.estimate),
                         fae::format_percent(budget.offer.inputs.estimate),
                         study.input_aware.empty() ? "n/a" : fae::format_percent(input_aware_share(study, b)),
                         fae::format_count(best.samples_per_second), best.name,
                         std::string(fae::resource_name(best.bottleneck)), mark});
    }
    out << aligned(table, 6) << '\n';
    out << "  samples/s are predicted, of the fastest placement that fits; the knee is the smallest budget\n"
           "  that is worth it at 95 % of the best speed or, where none is, at 95 % of the look-ups that "
           "the\n"
           "  largest keeps hot\n";
    if (!study.input_aware.empty()) out << input_aware_text(study);
    out << '\n';
    out << "  advice: " << study.advice.why << '\n';
    if (study.drift) out << "  drift:  " << drift_text(*study.drift) << '\n';
    out << "  next:   " << next_command(options, study) << '\n';
    if (study.advice.placement == "static" && !study.input_aware.empty() &&
        study.input_aware[study.advice.chosen].hot_inputs >
            study.input_aware[study.advice.chosen].hot_inputs_by_count) {
        out << "  or:     the same with --hot-rows inputs, for more hot batches than predicted\n";
    }
    return out.str();
}

void write_json(const std::string& path, const Study& study) {
    nlohmann::ordered_json json;
    json["inputs"] = study.inputs;
    json["lookups"] = study.lookups;
    json["rows"] = study.rows;
    json["budgets"] = nlohmann::ordered_json::array();
    for (std::size_t b = 0; b < study.sweep.size(); ++b) {
        const fae::BudgetForecast& budget = study.sweep[b];
        nlohmann::ordered_json one;
        one["budget_bytes"] = budget.offer.budget_bytes;
        one["hot_rows"] = budget.offer.hot_rows;
        one["hot_bytes"] = budget.offer.hot_bytes;
        one["hot_lookups"] = study.hot_lookups[b];
        one["hot_inputs"] = study.hot_inputs[b];
        one["lookups_interval"] = {budget.offer.lookups.lower, budget.offer.lookups.upper};
        one["inputs_interval"] = {budget.offer.inputs.lower, budget.offer.inputs.upper};
        if (!study.input_aware.empty()) {
            const InputAware& aware = study.input_aware[b];
            one["input_aware"] = {{"chosen_from", aware.chosen_from},
                                  {"hot_inputs", aware.hot_inputs},
                                  {"hot_inputs_by_count", aware.hot_inputs_by_count},
                                  {"held_out", aware.held_out},
                                  {"held_out_hot_inputs", aware.held_out_hot_inputs},
                                  {"held_out_hot_inputs_by_count", aware.held_out_hot_inputs_by_count}};
        }
        for (const fae::PlacementForecast& placement : budget.placements) {
            one["placements"][placement.name] = {
                {"samples_per_second", placement.samples_per_second},
                {"bytes", placement.fast_bytes},
                {"bottleneck", std::string(fae::resource_name(placement.bottleneck))}};
        }
        json["budgets"].push_back(std::move(one));
    }
    json["recommended"] = {{"budget_bytes", study.advice.budget_bytes},
                           {"placement", study.advice.placement},
                           {"worth_it", study.advice.worth_it},
                           {"why", study.advice.why}};
    fae::AtomicFile file(path);
    file.write(json.dump(2) + "\n");
    file.commit();
}

void write_report(const std::string& path, const Options& options, const Study& study, double wall_seconds) {
    const fae::BudgetForecast& chosen = study.sweep[study.advice.chosen];
    fae::report::RunReport report;
    report.title = "What is hot, and how much memory to give it";
    report.subtitle = study.source;
    report.introduction.push_back(fae::group_digits(study.inputs) + " inputs look up " +
                                  fae::group_digits(study.rows) + " rows, " +
                                  bytes_text(study.rows * study.row_bytes) + " with optimizer state. " +
                                  (study.advice.worth_it ? "Worth it: " : "") + study.advice.why + ".");
    report.introduction.push_back("Predicted for: " + machine_text(study) + ".");
    report.key_figures.push_back({"budget", bytes_text(chosen.offer.budget_bytes),
                                  study.advice.worth_it ? "advised" : "looked at, not worth it"});
    report.key_figures.push_back(
        {"hot look-ups", fae::format_percent(chosen.offer.lookups.estimate), "of all look-ups"});
    report.key_figures.push_back(
        {"hot inputs", fae::format_percent(chosen.offer.inputs.estimate), "every row hot"});
    report.key_figures.push_back({"predicted speed", fae::format_count(chosen.best().samples_per_second),
                                  "samples/s, " + chosen.best().name});
    report.access = study.access;
    fae::report::BudgetCurve curve;
    for (const fae::BudgetForecast& budget : study.sweep) {
        fae::report::BudgetPoint point;
        point.budget_bytes = budget.offer.budget_bytes;
        point.hot_rows = budget.offer.hot_rows;
        point.hot_bytes = budget.offer.hot_bytes;
        point.hot_lookups = budget.offer.lookups.estimate;
        point.hot_inputs = budget.offer.inputs.estimate;
        if (budget.offer.lookups.lower < budget.offer.lookups.upper) {
            point.lookups_interval = {{budget.offer.lookups.lower, budget.offer.lookups.upper}};
        }
        curve.points.push_back(point);
    }
    curve.granted_bytes = chosen.offer.budget_bytes;
    curve.interval_name = study.sketched ? "what the sketch promises" : "what the sample promises, 99 %";
    report.budgets = std::move(curve);
    report.more.push_back(fae::report::speed_section(study.sweep, study.advice));
    report.more.push_back(fae::report::step_section(chosen));
    if (study.drift) report.more.push_back(fae::report::drift_section(*study.drift, study.window_inputs));
    fae::report::PhaseTimes times = fae::report::phase_times(study.metrics, wall_seconds);
    for (fae::report::PhaseTimes::Entry& phase : times.phases) {
        if (phase.name == "validation") phase.name = "drift";
        if (phase.name == "classify") phase.name = "count hot inputs";
    }
    report.more.push_back(fae::report::phase_section(times));
    const auto setting = [&](const char* name, const std::string& value) {
        report.settings.push_back({name, value});
    };
    const train_dlrm::Options& run = options.run;
    setting("model", run.model + ", dim " + std::to_string(study.shape.dim));
    setting("optimizer", fae::optimizer_name(run.optimizer));
    setting("batch", std::to_string(run.batch));
    setting("profile", study.sketched  ? "a sketch of " + bytes_text(*options.sketch_bytes)
                       : study.sampled ? fae::format_percent(*run.sample) + " of the inputs"
                                       : "exact");
    setting("validation",
            fae::format_percent(run.validation.value_or(train_dlrm::Options::default_validation)));
    setting("seed", std::to_string(run.seed.value_or(train_dlrm::Options::default_seed)));
    setting("threads", std::to_string(run.threads));
    setting("next", next_command(options, study));
    report.save(path);
}

}  // namespace advise
