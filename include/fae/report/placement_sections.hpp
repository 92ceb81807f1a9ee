// SPDX-License-Identifier: Apache-2.0
//
// The sections of a report on what is hot: how accesses are spread over the rows of each table, and what a
// budget buys. Both take plain numbers.
//
//   AccessCurves curves{{access_curve("C3", Span<const std::uint32_t>(counts), hot_rows), ...}};
//   page.sections.push_back(access_section(curves));
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/report/html.hpp"
#include "fae/report/line_chart.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// How the accesses of one table are spread over its rows, the most accessed first.
struct AccessCurve {
    std::string name{};
    std::uint64_t rows = 0;
    std::uint64_t seen_rows = 0;  ///< rows accessed at least once
    std::uint64_t accesses = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t hot_accesses = 0;
    std::vector<Point> points{};     ///< rank, counted from 1, and accesses of the row of that rank
    std::optional<Point> hot_cut{};  ///< the hot row of the last rank
};

/// The access curve of a table from the counts of its rows, when its `hot_rows` most accessed rows are hot.
/// @shape  counts [rows], one a row, in any order
/// @cost   O(rows), and O(n log n) in the n rows of 65,536 accesses or more; 512 KiB and 8 n bytes
template <std::unsigned_integral Count>
[[nodiscard]] AccessCurve access_curve(std::string name, Span<const Count> counts, std::uint64_t hot_rows) {
    constexpr std::uint64_t common = 65536;
    std::vector<std::uint64_t> rows_of(common, 0);
    std::vector<std::uint64_t> large;
    for (const Count count : counts) {
        if (count < common) {
            ++rows_of[static_cast<std::size_t>(count)];
        } else {
            large.push_back(count);
        }
    }
    std::sort(large.begin(), large.end(), [](std::uint64_t a, std::uint64_t b) { return a > b; });

    AccessCurve curve;
    curve.name = std::move(name);
    curve.rows = counts.size();
    curve.hot_rows = std::min<std::uint64_t>(hot_rows, counts.size());
    std::uint64_t next = 1;  // the first rank not yet close to a point of the curve
    std::uint64_t drawn = 0;
    // Takes in `many` rows of equal count: the flat part of the curve from rank `first` to rank `last`.
    const auto take = [&](std::uint64_t count, std::uint64_t many) {
        const std::uint64_t first = curve.seen_rows + 1;
        const std::uint64_t last = curve.seen_rows + many;
        if (curve.hot_rows >= first) {
            const std::uint64_t hot = std::min(curve.hot_rows, last);
            curve.hot_accesses += count * (hot - curve.seen_rows);
            curve.hot_cut = Point{static_cast<double>(hot), static_cast<double>(count)};
        }
        curve.seen_rows = last;
        curve.accesses += count * many;
        if (last < next) return;
        for (const std::uint64_t rank : {first, last}) {
            if (rank <= drawn) continue;
            curve.points.push_back({static_cast<double>(rank), static_cast<double>(count)});
            drawn = rank;
        }
        next = std::max(last + 1, static_cast<std::uint64_t>(static_cast<double>(last) * 1.08));
    };
    for (std::size_t i = 0; i < large.size();) {
        std::size_t end = i;
        while (end < large.size() && large[end] == large[i]) ++end;
        take(large[i], end - i);
        i = end;
    }
    for (std::uint64_t count = common - 1; count > 0; --count) {
        const std::uint64_t many = rows_of[static_cast<std::size_t>(count)];
        if (many == 0) continue;
        // The last step ends the curve even where a point is near.
        const bool last_step = curve.seen_rows + many + rows_of[0] == curve.rows;
        if (last_step) next = std::min(next, curve.seen_rows + many);
        take(count, many);
    }
    return curve;
}

/// The access curves of all tables.
struct AccessCurves {
    std::vector<AccessCurve> tables{};
};

/// One budget and what it buys. Shares are of one; unknown ones are left empty.
struct BudgetPoint {
    /// A statement with some confidence about a share.
    struct Interval {
        double low;
        double high;
    };
    std::uint64_t budget_bytes = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t hot_bytes = 0;
    double hot_lookups = 0.0;
    std::optional<double> hot_inputs{};
    std::optional<Interval> lookups_interval{};
    std::optional<Interval> inputs_interval{};
};

/// What the budget buys, over a sweep of budgets; the granted one is marked.
struct BudgetCurve {
    std::vector<BudgetPoint> points{};  ///< ascending budgets
    std::optional<std::uint64_t> granted_bytes{};
    std::string interval_name = "confidence interval";
};

namespace detail {

[[nodiscard]] inline double ratio(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

[[nodiscard]] inline LineChart access_chart(const std::vector<const AccessCurve*>& tables,
                                            std::string title) {
    LineChart chart;
    chart.title = std::move(title);
    chart.description =
        "Both axes are logarithmic. A curve falls from the most accessed row of its table on the left to the "
        "least accessed row on the right; the marker is its last hot row.";
    chart.x = {
        .label = "rows of the table, the most accessed first", .scale = Scale::log, .unit = Unit::count};
    chart.y = {.label = "accesses of the row", .scale = Scale::log, .unit = Unit::count, .from = 1.0};
    for (const AccessCurve* table : tables) {
        const std::size_t s = chart.series.size();
        chart.series.push_back({.name = table->name, .points = table->points});
        if (!table->hot_cut) continue;
        chart.marks.push_back({s, *table->hot_cut,
                               table->name + ": " + group_digits(table->hot_rows) + " of " +
                                   group_digits(table->rows) + " rows are hot and take " +
                                   format_percent(ratio(table->hot_accesses, table->accesses)) +
                                   " of its look-ups"});
    }
    chart.marks_name = "last hot row";
    return chart;
}

}  // namespace detail

/// How accesses are spread: the largest tables in one chart, the others, six a chart, folded; all of them in
/// a table.
[[nodiscard]] inline Section access_section(const AccessCurves& curves) {
    using detail::access_chart;
    using detail::plural;
    using detail::ratio;
    std::vector<const AccessCurve*> order;
    AccessCurve all;
    for (const AccessCurve& table : curves.tables) {
        all.rows += table.rows;
        all.seen_rows += table.seen_rows;
        all.accesses += table.accesses;
        all.hot_rows += table.hot_rows;
        all.hot_accesses += table.hot_accesses;
        if (!table.points.empty()) order.push_back(&table);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const AccessCurve* a, const AccessCurve* b) { return a->rows > b->rows; });

    Section section;
    section.title = "Which rows are hot";
    std::string title;
    if (all.hot_rows == 0) {
        title = "How look-ups are spread over the rows of each table: no row is hot";
    } else if (all.hot_rows == all.rows) {
        title = "How look-ups are spread over the rows of each table: every row is hot";
    } else {
        title = format_percent(ratio(all.hot_rows, all.rows)) + " of the rows are hot and take " +
                format_percent(ratio(all.hot_accesses, all.accesses)) + " of the look-ups";
    }
    section.paragraphs.push_back(
        "The steeper a curve falls, the fewer rows are worth keeping in the fast tier. The marker is the "
        "last hot "
        "row of a table: everything left of it is hot, everything right of it stays at home.");
    for (std::size_t first = 0; first == 0 || first < order.size(); first += chart_colours) {
        const std::size_t end = std::min(first + chart_colours, order.size());
        const std::vector<const AccessCurve*> group(order.begin() + static_cast<std::ptrdiff_t>(first),
                                                    order.begin() + static_cast<std::ptrdiff_t>(end));
        if (first == 0) {
            LineChart chart = access_chart(group, title);
            if (order.size() > end) {
                chart.remarks.push_back("The " + std::to_string(end) + " largest of " +
                                        plural(order.size(), "table", "tables") + ".");
            }
            section.figures.emplace_back(chart);
        } else {
            if (section.folded.empty()) {
                section.folded.push_back(
                    {"The other " + plural(order.size() - end + group.size(), "table", "tables"), {}});
            }
            section.folded.back().figures.emplace_back(access_chart(
                group, "Tables " + std::to_string(first + 1) + " to " + std::to_string(end) + " by rows"));
        }
    }
    NumberTable numbers;
    numbers.caption = "Tables";
    numbers.header = {"table",    "rows",          "accessed",         "look-ups",
                      "hot rows", "share of rows", "share of look-ups"};
    const auto add = [&](const AccessCurve& table) {
        numbers.rows.push_back(
            {table.name, group_digits(table.rows), group_digits(table.seen_rows),
             group_digits(table.accesses), group_digits(table.hot_rows),
             format_percent(ratio(table.hot_rows, table.rows)),
             table.accesses == 0 ? "n/a" : format_percent(ratio(table.hot_accesses, table.accesses))});
    };
    for (const AccessCurve& table : curves.tables) add(table);
    if (curves.tables.size() > 1) {
        all.name = "all";
        add(all);
    }
    section.tables.push_back(std::move(numbers));
    return section;
}

/// What the budget buys: shares of look-ups and of inputs that are hot, over the budget.
[[nodiscard]] inline Section budget_section(const BudgetCurve& curve) {
    LineChart chart;
    chart.description = "The budget grows to the right on a logarithmic axis; the curves are the hot shares.";
    chart.x = {.label = "budget of the fast tier", .scale = Scale::log, .unit = Unit::bytes};
    chart.y = {.label = "hot share", .unit = Unit::share, .from = 0.0, .to = 1.0};
    const bool few = curve.points.size() <= 40;
    Series lookups{.name = "look-ups", .marked = few};
    Series inputs{.name = "inputs with all rows hot", .marked = few};
    const BudgetPoint* granted = nullptr;
    bool any_interval = false;
    bool any_input = false;
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    NumberTable numbers;
    numbers.caption = "Budgets";
    numbers.fold_above = 14;
    numbers.header = {"budget", "hot rows", "hot bytes", "hot look-ups"};
    for (const BudgetPoint& point : curve.points) {
        any_interval = any_interval || point.lookups_interval || point.inputs_interval;
        any_input = any_input || point.hot_inputs;
    }
    if (any_interval) numbers.caption += "; interval: " + curve.interval_name;
    if (any_interval) numbers.header.push_back("interval");
    if (any_input) numbers.header.push_back("hot inputs");
    if (any_input && any_interval) numbers.header.push_back("interval");
    for (const BudgetPoint& point : curve.points) {
        const auto bytes = static_cast<double>(point.budget_bytes);
        if (curve.granted_bytes && point.budget_bytes <= *curve.granted_bytes) granted = &point;
        const auto add = [&](Series& series, double share,
                             const std::optional<BudgetPoint::Interval>& interval) {
            series.points.push_back({bytes, share});
            series.low.push_back(interval ? interval->low : unknown);
            series.high.push_back(interval ? interval->high : unknown);
            if (interval) series.band_name = series.name + ", " + curve.interval_name;
        };
        add(lookups, point.hot_lookups, point.lookups_interval);
        if (point.hot_inputs) add(inputs, *point.hot_inputs, point.inputs_interval);
        std::vector<std::string> row = {format_bytes(bytes), group_digits(point.hot_rows),
                                        format_bytes(static_cast<double>(point.hot_bytes)),
                                        format_percent(point.hot_lookups)};
        const auto interval_cell = [](const std::optional<BudgetPoint::Interval>& interval) {
            return interval ? format_percent(interval->low) + " to " + format_percent(interval->high)
                            : std::string("n/a");
        };
        if (any_interval) row.push_back(interval_cell(point.lookups_interval));
        if (any_input) row.push_back(point.hot_inputs ? format_percent(*point.hot_inputs) : "n/a");
        if (any_input && any_interval) row.push_back(interval_cell(point.inputs_interval));
        numbers.rows.push_back(std::move(row));
    }
    chart.series.push_back(std::move(lookups));
    if (any_input) chart.series.push_back(std::move(inputs));
    if (curve.granted_bytes) {
        chart.cuts.push_back({static_cast<double>(*curve.granted_bytes),
                              "granted: " + format_bytes(static_cast<double>(*curve.granted_bytes))});
    }
    const BudgetPoint* shown =
        granted != nullptr ? granted : (curve.points.empty() ? nullptr : &curve.points.back());
    if (shown == nullptr) {
        chart.title = "What the budget buys";
    } else {
        chart.title =
            format_bytes(static_cast<double>(shown->budget_bytes)) + " keep " +
            format_percent(shown->hot_lookups) + " of the look-ups" +
            (shown->hot_inputs ? " and " + format_percent(*shown->hot_inputs) + " of the inputs" : "") +
            " hot";
    }
    Section section;
    section.title = "What the budget buys";
    section.paragraphs.push_back(
        any_input
            ? "An input is hot only if every row it looks up is hot, so inputs follow look-ups late: the gap "
              "between the curves is what input-level placement leaves unused."
            : "Where the curve flattens, a larger budget buys little.");
    section.figures.emplace_back(chart);
    section.tables.push_back(std::move(numbers));
    return section;
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
