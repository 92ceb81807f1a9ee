// SPDX-License-Identifier: Apache-2.0
//
// BarChart: horizontal bars, each of one part or of several stacked ones, with its number written at its end.
//
//   BarChart chart{.title = "Training takes most of the time", .value = {.label = "time", .unit =
//   Unit::seconds}}; chart.bars.push_back({.label = "train", .parts = {12.3}, .says = "12.3 s, 87 %"});
//   std::string markup = svg(chart, ChartSize::narrow);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/report/markup.hpp"
#include "fae/report/scale.hpp"
#include "fae/report/svg.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// One bar. A part that is not finite, or negative, is left out and counted below the chart.
struct Bar {
    std::string label{};
    std::vector<double> parts{};
    std::string says{};  ///< written at the end; the sum of the parts if empty
};

/// Bars from zero along a linear axis.
struct BarChart {
    std::string title{};        ///< says what to see
    std::string description{};  ///< for who cannot see it
    Axis value = Axis();
    std::vector<std::string> part_names{};  ///< for the legend, where bars are stacked
    std::vector<Bar> bars{};
    std::vector<std::string> remarks{};
};

namespace detail {

[[nodiscard]] inline std::string draw_bar_chart(const BarChart& chart, ChartSize size) {
    const bool narrow = size == ChartSize::narrow;
    const double width = chart_width(size);
    Markup out;

    std::size_t left_out = 0;
    const auto length_of = [](double part) {
        return drawable(Scale::linear, part) && part >= 0.0 ? part : 0.0;
    };
    Range data{0.0, 0.0};
    double widest_label = 0.0;
    double widest_number = 0.0;
    std::vector<std::string> numbers;
    for (const Bar& bar : chart.bars) {
        double sum = 0.0;
        for (const double part : bar.parts) {
            left_out += drawable(Scale::linear, part) && part >= 0.0 ? 0u : 1u;
            sum += length_of(part);
        }
        data.include(sum);
        numbers.push_back(bar.says.empty() ? format_value(chart.value.unit, sum) : bar.says);
        widest_label = std::max(widest_label, text_width(bar.label));
        widest_number = std::max(widest_number, text_width(numbers.back()));
    }
    Axis axis = chart.value;
    axis.scale = Scale::linear;
    if (data.high <= 0.0) data = Range{0.0, 1.0};
    const Range range = axis_range(axis, data, false);

    double y = draw_title(out, chart.title, width);
    std::vector<LegendItem> legend;
    for (std::size_t p = 0; p < chart.part_names.size(); ++p) {
        legend.push_back({chart.part_names[p], LegendItem::Kind::bar, p});
    }
    y += draw_legend(out, legend, y, width);

    // On a phone the label stands above its bar, else to its left; the number follows the bar.
    const double label_space = narrow ? 0.0 : std::min(widest_label, width * 0.35);
    const double left = narrow ? 0.0 : label_space + 10.0;
    const double length = std::max(width - left - std::min(widest_number, width * 0.45) - 10.0, width * 0.2);
    const double bar_height = 16.0;
    const double row_height = narrow ? bar_height + line_height + 6.0 : bar_height + 10.0;
    const double top = y;
    const double bottom = y + static_cast<double>(std::max<std::size_t>(chart.bars.size(), 1)) * row_height;
    const std::vector<PlacedTick> placed =
        fitted_ticks(axis, range, length, narrow ? 4 : 7, -left, width - left);
    for (const PlacedTick& tick : placed) draw_line(out, "grid", left + tick.at, top, left + tick.at, bottom);
    if (chart.bars.empty())
        draw_text(out, width / 2.0, (top + bottom) / 2.0 + 4.0, "no data", "middle", "strong");
    for (std::size_t b = 0; b < chart.bars.size(); ++b) {
        const Bar& bar = chart.bars[b];
        const double row = top + static_cast<double>(b) * row_height;
        const double bar_top = row + (narrow ? line_height : 5.0);
        if (narrow) {
            draw_text(out, 0.0, row + 13.0, shortened(bar.label, width), {}, "strong");
        } else {
            draw_text(out, left - 8.0, bar_top + 12.0, shortened(bar.label, label_space), "end", "strong");
        }
        double sum = 0.0;
        for (std::size_t p = 0; p < bar.parts.size(); ++p) {
            const double part = length_of(bar.parts[p]);
            if (part <= 0.0) continue;
            const double from = position(Scale::linear, range, sum) * length;
            sum += part;
            const double to = position(Scale::linear, range, sum) * length;
            // A pixel between stacked parts tells them apart; even the shortest part leaves a trace.
            const double gap = p + 1 < bar.parts.size() && to - from > 3.0 ? 1.0 : 0.0;
            out.open("rect", {{"class", fill_class(p)},
                              {"x", left + from},
                              {"y", bar_top},
                              {"width", std::max(to - from - gap, 1.0)},
                              {"height", bar_height}});
            const std::string part_name =
                p < chart.part_names.size() ? ", " + chart.part_names[p] : std::string();
            out.element("title", {}, bar.label + part_name + ": " + format_value(chart.value.unit, part));
            out.close();
        }
        const double end = left + position(Scale::linear, range, sum) * length;
        draw_text(out, end + 7.0, bar_top + 12.0, shortened(numbers[b], width - end - 7.0), {}, "number");
    }
    if (!narrow) draw_line(out, "axis", left, top, left, bottom);
    y = bottom + 15.0;
    for (const PlacedTick& tick : placed) draw_text(out, left + tick.label_at, y, tick.label, "middle");
    y += 4.0;
    if (!chart.value.label.empty()) {
        draw_text(out, left + length / 2.0, y + 13.0, shortened(chart.value.label, width), "middle");
        y += line_height;
    }
    std::vector<std::string> remarks = chart.remarks;
    if (left_out > 0) {
        remarks.push_back(plural(left_out, "value is", "values are") +
                          " negative or not finite and left out.");
    }
    y += draw_remarks(out, remarks, y + 2.0, width);
    return svg_document(chart.title, chart.description, size, std::ceil(y + 4.0), out.take());
}

}  // namespace detail

/// The chart as an svg element for a page that includes chart_css().
[[nodiscard]] inline std::string svg(const BarChart& chart, ChartSize size) {
    return detail::draw_bar_chart(chart, size);
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
