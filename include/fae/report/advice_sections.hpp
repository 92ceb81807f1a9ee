// SPDX-License-Identifier: Apache-2.0
//
// The sections of a report on advice: the speed that each budget is predicted to give, where a step's time
// would go under each placement, and whether the hot set lasts.
//
//   page.sections.push_back(speed_section(sweep, advice));
//   page.sections.push_back(step_section(sweep[advice.chosen]));
//   page.sections.push_back(drift_section(drift, inputs_a_window));
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/advise/advisor.hpp"
#include "fae/advise/drift.hpp"
#include "fae/advise/forecast.hpp"
#include "fae/core/config.hpp"
#include "fae/report/bar_chart.hpp"
#include "fae/report/html.hpp"
#include "fae/report/line_chart.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// Predicted samples a second over the budget, one curve a placement, where its fast tier fits.
[[nodiscard]] inline Section speed_section(const std::vector<BudgetForecast>& sweep, const Advice& advice) {
    LineChart chart;
    chart.description =
        "The budget grows to the right on a logarithmic axis; a curve is a placement's predicted speed and "
        "is "
        "drawn where its fast tier fits the budget.";
    chart.x = {.label = "budget of the fast tier", .scale = Scale::log, .unit = Unit::bytes};
    chart.y = {.label = "predicted samples a second", .unit = Unit::count, .from = 0.0};
    NumberTable numbers;
    numbers.caption = "Predicted samples a second";
    numbers.fold_above = 14;
    numbers.header = {"budget"};
    if (!sweep.empty()) {
        for (const PlacementForecast& one : sweep.front().placements) {
            Series series{.name = one.name};
            for (const BudgetForecast& budget : sweep) {
                const PlacementForecast& there = budget.placement(one.name);
                if (!there.fits) continue;
                series.points.push_back(
                    {static_cast<double>(budget.offer.budget_bytes), there.samples_per_second});
            }
            series.marked = series.points.size() <= 40;
            if (!series.points.empty()) chart.series.push_back(std::move(series));
            numbers.header.push_back(one.name);
        }
        const BudgetForecast& chosen = sweep[advice.chosen];
        const PlacementForecast& fastest = chosen.best();
        const double at_home = chosen.placement("all-home").samples_per_second;
        const std::string size = format_bytes(static_cast<double>(chosen.offer.budget_bytes));
        chart.cuts.push_back({static_cast<double>(chosen.offer.budget_bytes),
                              (advice.worth_it ? "advised: " : "looked at: ") + size});
        chart.title = advice.worth_it
                          ? fastest.name + " with " + size + " is predicted at " +
                                format_fixed(fastest.samples_per_second / at_home, 2) +
                                " times the speed of all rows at home"
                          : "No budget is predicted to be worth it: " + fastest.name + " reaches " +
                                format_fixed(fastest.samples_per_second / at_home, 2) +
                                " times the speed of all rows at home";
    } else {
        chart.title = "Predicted speed";
    }
    numbers.header.push_back("fastest");
    numbers.header.push_back("bottleneck");
    for (const BudgetForecast& budget : sweep) {
        std::vector<std::string> row{format_bytes(static_cast<double>(budget.offer.budget_bytes))};
        for (const PlacementForecast& one : budget.placements)
            row.push_back(one.fits ? format_count(one.samples_per_second) : "does not fit");
        row.push_back(budget.best().name);
        row.push_back(std::string(resource_name(budget.best().bottleneck)));
        numbers.rows.push_back(std::move(row));
    }
    Section section;
    section.title = "What each budget is predicted to be worth";
    section.paragraphs.push_back("Advice: " + advice.why + ".");
    section.paragraphs.push_back(
        "Predicted from measured rates of a machine, the model's shape and the access curve; not a run. A "
        "placement is worth its memory where its curve lies well above that of all rows at home.");
    section.figures.emplace_back(chart);
    section.tables.push_back(std::move(numbers));
    return section;
}

/// Where a step's time would go at one budget, one bar a placement.
[[nodiscard]] inline Section step_section(const BudgetForecast& budget) {
    BarChart chart;
    chart.description = "One bar a placement, its parts what a step spends its time on.";
    chart.value = {.label = "time of a step", .unit = Unit::seconds};
    std::array<bool, resource_count> used{};
    for (const PlacementForecast& one : budget.placements) {
        for (std::size_t r = 0; r < resource_count; ++r) used[r] = used[r] || one.seconds[r] > 0;
    }
    NumberTable numbers;
    numbers.caption = "Seconds of a step";
    numbers.header = {"placement"};
    for (std::size_t r = 0; r < resource_count; ++r) {
        if (!used[r]) continue;
        chart.part_names.emplace_back(resource_name(static_cast<Resource>(r)));
        numbers.header.push_back(chart.part_names.back());
    }
    numbers.header.push_back("step");
    numbers.header.push_back("longest pole");
    for (const PlacementForecast& one : budget.placements) {
        Bar bar{.label = one.name + (one.fits ? "" : " (does not fit)")};
        std::vector<std::string> row{bar.label};
        for (std::size_t r = 0; r < resource_count; ++r) {
            if (!used[r]) continue;
            bar.parts.push_back(one.seconds[r]);
            row.push_back(format_seconds(one.seconds[r]));
        }
        bar.says = format_seconds(one.step_seconds) + ", " + std::string(resource_name(one.bottleneck));
        row.push_back(format_seconds(one.step_seconds) + (one.overlaps ? " (overlapped)" : ""));
        row.push_back(std::string(resource_name(one.bottleneck)));
        chart.bars.push_back(std::move(bar));
        numbers.rows.push_back(std::move(row));
    }
    const PlacementForecast& best = budget.best();
    chart.title = "With " + format_bytes(static_cast<double>(budget.offer.budget_bytes)) + ", " + best.name +
                  " spends " + format_percent(best.of(best.bottleneck) / best.step_seconds) +
                  " of a step on: " + std::string(resource_name(best.bottleneck));
    Section section;
    section.title = "Where a step's time would go";
    section.paragraphs.push_back(
        "The longest part is the bottleneck. Parts add up, but for all-home and look-ahead beside a device, "
        "which do several things at a time: there the longest of them is the step.");
    section.figures.emplace_back(chart);
    section.tables.push_back(std::move(numbers));
    return section;
}

/// Coverage over time of a hot set chosen before, beside that of one chosen anew.
[[nodiscard]] inline Section drift_section(const DriftReport& drift, std::uint64_t inputs_a_window) {
    LineChart chart;
    chart.description = "Time goes to the right, in windows of equally many inputs.";
    chart.x = {.label = "inputs since the first profile", .unit = Unit::count, .from = 0.0};
    chart.y = {.label = "share of look-ups that are hot", .unit = Unit::share};
    const auto middle = [&](std::size_t window) {
        return (static_cast<double>(window) + 0.5) * static_cast<double>(inputs_a_window);
    };
    Series old_set{.name = "profiled once"};
    old_set.marked = true;
    Series new_set{.name = "profiled again"};
    new_set.marked = true;
    NumberTable numbers;
    numbers.caption = "Windows of " + group_digits(inputs_a_window) + " inputs";
    numbers.header = {"window", "profiled once", "profiled again"};
    numbers.text_columns = 0;
    numbers.fold_above = 20;
    const std::size_t first = drift.coverage.size() - drift.fresh.size();
    for (std::size_t w = 0; w < drift.coverage.size(); ++w) {
        old_set.points.push_back({middle(w), drift.coverage[w]});
        if (w >= first) new_set.points.push_back({middle(w), drift.fresh[w - first]});
        numbers.rows.push_back({group_digits(w + 1), format_percent(drift.coverage[w]),
                                w >= first ? format_percent(drift.fresh[w - first]) : "n/a"});
    }
    chart.series.push_back(std::move(old_set));
    if (!drift.fresh.empty()) chart.series.push_back(std::move(new_set));
    const std::string probability = "p = " + format_significant(drift.p_value, 2);
    chart.title = drift.falls ? "The hot set ages: it serves fewer look-ups with time (" + probability + ")"
                              : "No sign that the hot set ages (" + probability + ")";
    Section section;
    section.title = "Does the hot set last";
    section.paragraphs.push_back(
        "Rows are chosen from the first third of the log and looked at in windows of the other two thirds; "
        "for "
        "the last third also from the second one. The test asks how likely coverage falls so consistently by "
        "chance: Mann's test on Kendall's S, exact.");
    if (!drift.fresh.empty()) {
        section.paragraphs.push_back(
            "Profiling again would gain " + format_fixed(drift.gain.estimate * 100, 2) +
            " points of the look-ups (between " + format_fixed(drift.gain.lower * 100, 2) + " and " +
            format_fixed(drift.gain.upper * 100, 2) + " at 99 % confidence).");
    }
    section.figures.emplace_back(chart);
    section.tables.push_back(std::move(numbers));
    return section;
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
