// SPDX-License-Identifier: Apache-2.0
#include "output.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "fae/io/atomic_file.hpp"
#include "fae/report/run_report.hpp"
#include "fae/trace/format.hpp"
#include "fae/version.hpp"

namespace train_dlrm {

namespace {

[[nodiscard]] double training_seconds(const fae::Metrics& metrics) {
    return metrics.seconds(fae::Phase::train) + metrics.seconds(fae::Phase::sync);
}

[[nodiscard]] double samples_per_second(const Run& run) {
    const double seconds = training_seconds(run.metrics);
    return seconds > 0 ? static_cast<double>(run.result.trained_inputs) / seconds : 0.0;
}

[[nodiscard]] double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// A figure that a run without validation or test inputs does not have is null.
[[nodiscard]] nlohmann::ordered_json loss_of(const fae::Evaluation& evaluation) {
    if (evaluation.inputs == 0) return nullptr;
    return evaluation.loss;
}
[[nodiscard]] nlohmann::ordered_json auc_of(const fae::Evaluation& evaluation) {
    if (!evaluation.auc) return nullptr;
    return *evaluation.auc;
}
[[nodiscard]] std::string auc_text(const fae::Evaluation& evaluation) {
    return evaluation.auc ? fae::format_significant(*evaluation.auc, 4) : "none: one class only";
}

[[nodiscard]] nlohmann::ordered_json json_of(const WindowFigures& window) {
    nlohmann::ordered_json json;
    json["bytes"] = window.bytes;
    json["lookahead"] = window.lookahead;
    json["resident_rows"] = window.resident_rows;
    json["hot_lookups"] = window.counts.hot;
    json["hits"] = window.counts.hits;
    json["brought_lookups"] = window.counts.brought;
    json["direct_lookups"] = window.counts.direct;
    json["rows_in"] = window.counts.rows_in;
    json["rows_out"] = window.counts.rows_out;
    json["zero_copy_rows"] = window.zero_copy_rows;
    json["pinned_bytes"] = window.pinned_bytes;
    json["device_bytes"] = window.device_bytes;
    for (const auto& [cause, seconds] : window.stalls) json["stalls"][cause] = seconds;
    json["planner_seconds"] = window.planner_seconds;
    return json;
}

// How far a planner is ahead.
[[nodiscard]] std::string batches_ahead(std::uint64_t count) {
    return std::to_string(count) + (count == 1 ? " batch ahead" : " batches ahead");
}

}  // namespace

void write_json(const std::string& path, const Run& run) {
    const fae::PackedDataset& data = run.prepared.data;
    const fae::Metrics& metrics = run.metrics;
    nlohmann::ordered_json json;
    json["inputs"] = data.inputs();
    json["hot_inputs"] = data.hot().inputs();
    json["lookups"] = data.lookups();
    json["hot_lookups"] = data.hot_lookups();
    json["rows"] = data.hot_set().rows();
    json["hot_rows"] = data.hot_set().size();
    json["hot_bytes"] = run.prepared.hot_bytes;
    json["budget_bytes"] = run.prepared.budget_bytes();
    for (const fae::Phase phase :
         {fae::Phase::read, fae::Phase::profile, fae::Phase::calibrate, fae::Phase::classify,
          fae::Phase::pack, fae::Phase::train, fae::Phase::sync, fae::Phase::validation}) {
        json["seconds"][std::string(fae::phase_name(phase))] = metrics.seconds(phase);
    }
    json["samples_per_second"] = samples_per_second(run);
    json["train_loss"] = run.result.train_loss;
    json["validation_loss"] = loss_of(run.result.validation);
    json["validation_auc"] = auc_of(run.result.validation);
    json["test_auc"] = auc_of(run.result.test);
    json["bytes_to_fast"] = metrics.bytes_to_fast;
    json["bytes_to_home"] = metrics.bytes_to_home;
    json["weights_digest"] = run.result.weights_digest;
    json["placement"] = run.options.placement_name();
    json["order"] = run.options.order_name();
    json["device"] = run.options.device_name();
    json["precision"] = run.options.precision_name();
    json["threads"] = run.options.threads;
    json["version"] = fae::version;
    if (run.result.window) json["window"] = json_of(*run.result.window);
    write_text(path, json.dump(2) + "\n");
}

void write_text(const std::string& path, const std::string& text) {
    fae::AtomicFile file(path);
    file.write({reinterpret_cast<const std::byte*>(text.data()), text.size()});
    file.commit();
}

std::string summary(const Run& run) {
    const fae::PackedDataset& data = run.prepared.data;
    std::ostringstream out;
    const auto line = [&](const char* name, const std::string& value) {
        out << "  " << name << std::string(18 - std::min<std::size_t>(17, std::string(name).size()), ' ')
            << value << '\n';
    };
    const auto part = [](std::uint64_t hot, std::uint64_t all, const char* things) {
        return fae::group_digits(hot) + " of " + fae::group_digits(all) + " " + things + " (" +
               fae::format_percent(share(hot, all)) + ")";
    };
    line("hot rows", part(data.hot_set().size(), data.hot_set().rows(), "rows") + ", " +
                         fae::format_bytes(static_cast<double>(run.prepared.hot_bytes)) + " of " +
                         fae::format_bytes(static_cast<double>(run.prepared.budget_bytes())));
    line("hot look-ups", part(data.hot_lookups(), data.lookups(), "look-ups"));
    line("hot inputs", part(data.hot().inputs(), data.inputs(), "inputs"));
    if (run.prepared.malformed != 0) {
        line("malformed", fae::group_digits(run.prepared.malformed) +
                              " lines left out, the first: " + run.prepared.first_malformed);
    }
    std::string phases;
    for (std::size_t p = 0; p < fae::phase_count; ++p) {
        const auto phase = static_cast<fae::Phase>(p);
        if (run.metrics.seconds(phase) <= 0) continue;
        phases += (phases.empty() ? "" : ", ") + std::string(fae::phase_name(phase)) + " " +
                  fae::format_seconds(run.metrics.seconds(phase));
    }
    line("seconds", phases);
    const double pass = run.metrics.seconds(fae::Phase::profile) +
                        run.metrics.seconds(fae::Phase::calibrate) +
                        run.metrics.seconds(fae::Phase::classify) + run.metrics.seconds(fae::Phase::pack);
    if (run.options.unpack.empty() && run.options.epochs != 0 && training_seconds(run.metrics) > 0) {
        const double epoch = training_seconds(run.metrics) / static_cast<double>(run.options.epochs);
        line("static pass", "profile, calibrate, classify and pack: " + fae::format_percent(pass / epoch) +
                                " of the time of one epoch");
    }
    line("speed", fae::format_rate(samples_per_second(run), "samples"));
    line("moved", fae::format_bytes(static_cast<double>(run.metrics.bytes_to_fast)) + " to the fast tier, " +
                      fae::format_bytes(static_cast<double>(run.metrics.bytes_to_home)) + " to the homes");
    if (const auto& window = run.result.window; window) {
        const fae::LookaheadCounts& counts = window->counts;
        const std::uint64_t all = counts.hot + counts.hits + counts.brought + counts.direct;
        line("window", fae::format_bytes(static_cast<double>(window->bytes)) + ", " +
                           batches_ahead(window->lookahead) + ", beside " +
                           fae::group_digits(window->resident_rows) + " hot rows; " +
                           fae::group_digits(counts.rows_in) + " rows came in, " +
                           fae::group_digits(counts.rows_out) + " left");
        line("served", "hot " + fae::format_percent(share(counts.hot, all)) + ", window " +
                           fae::format_percent(share(counts.hits + counts.brought, all)) + ", at home " +
                           fae::format_percent(share(counts.direct, all)));
    }
    line("training loss", fae::format_significant(run.result.train_loss, 5));
    if (run.result.validation.inputs != 0) {
        line("validation", "loss " + fae::format_significant(run.result.validation.loss, 5) + ", AUC " +
                               auc_text(run.result.validation));
    }
    if (run.result.test.inputs != 0) {
        line("test", "loss " + fae::format_significant(run.result.test.loss, 5) + ", AUC " +
                         auc_text(run.result.test));
    }
    line("weights digest", run.result.weights_digest);
    return out.str();
}

void write_report(const std::string& path, const Run& run) {
    const fae::PackedDataset& data = run.prepared.data;
    const fae::Provenance& provenance = data.provenance();
    const double hot_lookups = share(data.hot_lookups(), data.lookups());
    const double hot_inputs = share(data.hot().inputs(), data.inputs());
    fae::report::RunReport report;
    report.title = "Training a DLRM: what was hot, and what it bought";
    report.subtitle = provenance.source;
    report.introduction.push_back(
        fae::format_percent(share(data.hot_set().size(), data.hot_set().rows())) + " of the rows, " +
        fae::format_bytes(static_cast<double>(run.prepared.hot_bytes)) +
        " with optimizer state and index, serve " + fae::format_percent(hot_lookups) +
        " of the look-ups. An input is hot only where all of its rows are: " +
        fae::format_percent(hot_inputs) + " of the inputs.");
    report.introduction.push_back(
        "Placement never changes what is trained: the weights digest below is the same for every placement, "
        "number of "
        "threads and budget of the fast tier, as long as the order of inputs is.");
    report.key_figures.push_back({"hot look-ups", fae::format_percent(hot_lookups), "of all look-ups"});
    report.key_figures.push_back({"hot inputs", fae::format_percent(hot_inputs), "every row hot"});
    report.key_figures.push_back({"speed", fae::format_count(samples_per_second(run)), "samples/s"});
    if (run.result.validation.inputs != 0) {
        report.key_figures.push_back({"validation loss",
                                      fae::format_significant(run.result.validation.loss, 4),
                                      "AUC " + auc_text(run.result.validation)});
    }
    report.access = run.prepared.access;
    report.budgets = run.prepared.budgets;
    report.loss = run.result.losses;
    report.phases = fae::report::phase_times(run.metrics, run.wall_seconds);
    report.moved = fae::report::bytes_moved(run.metrics, run.result.steps);
    const auto setting = [&](const char* name, const std::string& value) {
        report.settings.push_back({name, value});
    };
    setting("placement", run.options.placement_name());
    if (run.result.window) {
        setting("window", fae::format_bytes(static_cast<double>(run.result.window->bytes)) + ", " +
                              batches_ahead(run.result.window->lookahead));
    }
    setting("order", run.options.order_name());
    setting("rate", run.options.fixed_rate ? std::to_string(*run.options.fixed_rate) + " %" : "adaptive");
    setting("budget", fae::format_bytes(static_cast<double>(provenance.budget_bytes)));
    if (run.options.hot_rows_for_inputs) setting("hot rows", "chosen for inputs");
    setting("model", run.options.model + ", dim " + std::to_string(provenance.dim));
    setting("optimizer", run.options.optimizer_name());
    setting("batch", std::to_string(run.options.batch));
    setting("epochs", std::to_string(run.options.epochs));
    setting("learning rate", fae::format_significant(run.options.lr, 6));
    setting("seed", std::to_string(provenance.seed));
    setting("device", std::string(run.options.device_name()) + ", " + run.options.precision_name());
    setting("threads", std::to_string(run.options.threads));
    setting("weights digest", run.result.weights_digest);
    report.save(path);
}

}  // namespace train_dlrm
