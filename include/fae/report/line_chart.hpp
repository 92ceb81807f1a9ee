// SPDX-License-Identifier: Apache-2.0
//
// LineChart: curves over linear or log axes, with bands, marked points, vertical cuts, and a strip of hot and
// cold stretches under the plot.
//
//   LineChart chart{.title = "Loss falls", .x = {.label = "step", .unit = Unit::count}, .y = {.label =
//   "loss"}}; chart.series.push_back({.name = "training", .points = {{1, 0.69}, {2, 0.61}}}); std::string
//   markup = svg(chart, ChartSize::wide);
//
// A point that is not finite, or not positive on a log axis, is left out, interrupts its curve, and is
// counted below the chart. Curves of more points than the chart has pixels are thinned without losing their
// peaks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/report/markup.hpp"
#include "fae/report/pixels.hpp"
#include "fae/report/scale.hpp"
#include "fae/report/svg.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// One curve. `low` and `high` are the band around it: both empty, or one value a point each.
struct Series {
    std::string name{};
    std::vector<Point> points{};
    std::vector<double> low{};
    std::vector<double> high{};
    std::string band_name{};  ///< what the band is, for the legend
    bool marked = false;      ///< a marker at every point
};

/// A vertical line through the plot with its label above.
struct Cut {
    double x{};
    std::string label{};
};

/// A point set off on the curve of a series, with a text that a pointer over it shows.
struct MarkedPoint {
    std::size_t series{};
    Point point{};
    std::string says{};
};

/// Curves over two axes, with cuts, marked points and a strip of hot and cold stretches below.
struct LineChart {
    std::string title{};        ///< says what to see
    std::string description{};  ///< for who cannot see it
    Axis x = Axis();
    Axis y = Axis();
    std::vector<Series> series{};
    std::vector<Cut> cuts{};
    std::vector<MarkedPoint> marks{};
    std::string marks_name{};  ///< what the marked points are, for the legend
    std::vector<Stretch> strip{};
    std::string hot_name = "hot";
    std::string cold_name = "cold";
    std::vector<std::string> remarks{};  ///< lines below the chart
};

namespace detail {

/// One drawing of one LineChart.
class LineDrawing {
  public:
    LineDrawing(const LineChart& chart, ChartSize size)
        : chart_(chart), size_(size), width_(chart_width(size)) {}

    [[nodiscard]] std::string draw() {
        find_ranges();
        double y = draw_title(out_, chart_.title, width_);
        y += draw_legend(out_, legend(), y, width_);
        if (!chart_.y.label.empty()) {
            draw_text(out_, 0.0, y + 13.0, shortened(chart_.y.label, width_));
            y += line_height + 2.0;
        }
        place_plot(y);
        draw_axes();
        for (std::size_t s = 0; s < chart_.series.size(); ++s) draw_band(s);
        for (std::size_t s = 0; s < chart_.series.size(); ++s) draw_curve(s);
        for (const MarkedPoint& mark : chart_.marks) {
            if (!visible(mark.point)) continue;
            draw_ring(out_, stroke_class(mark.series), x_of(mark.point.x), y_of(mark.point.y), mark.says);
        }
        if (nothing_) {
            draw_text(out_, (left_ + right_) / 2.0, (top_ + bottom_) / 2.0, "no data", "middle", "strong");
        }
        double end = bottom_ + 8.0 + (strip_ranged() ? 12.0 : 0.0);
        end += line_height - 2.0;
        if (!chart_.x.label.empty()) {
            draw_text(out_, (left_ + right_) / 2.0, end + 13.0, shortened(chart_.x.label, width_), "middle");
            end += line_height;
        }
        end += draw_remarks(out_, remarks(), end + 2.0, width_);
        return svg_document(chart_.title, chart_.description, size_, std::ceil(end + 4.0), out_.take());
    }

  private:
    [[nodiscard]] bool visible(Point p) const {
        return drawable(chart_.x.scale, p.x) && drawable(chart_.y.scale, p.y);
    }

    [[nodiscard]] bool strip_ranged() const { return !chart_.strip.empty(); }

    /// Takes in what can be drawn and counts what cannot.
    void find_ranges() {
        Range x;
        Range y;
        const auto count_if_left_out = [&](Point p) {
            if (visible(p)) return false;
            ++(std::isfinite(p.x) && std::isfinite(p.y) ? not_positive_ : not_finite_);
            return true;
        };
        for (const Series& series : chart_.series) {
            for (std::size_t i = 0; i < series.points.size(); ++i) {
                if (count_if_left_out(series.points[i])) continue;
                x.include(series.points[i].x);
                y.include(series.points[i].y);
                if (has_band(series, i)) {
                    y.include(series.low[i]);
                    y.include(series.high[i]);
                }
            }
        }
        for (const MarkedPoint& mark : chart_.marks) {
            if (count_if_left_out(mark.point)) continue;
            x.include(mark.point.x);
            y.include(mark.point.y);
        }
        nothing_ = x.empty();
        for (const Cut& cut : chart_.cuts) {
            if (drawable(chart_.x.scale, cut.x)) x.include(cut.x);
        }
        for (const Stretch& part : chart_.strip) {
            for (const double end : {part.from, part.to}) {
                if (drawable(chart_.x.scale, end)) x.include(end);
            }
        }
        x_range_ = axis_range(chart_.x, x, false);
        y_range_ = axis_range(chart_.y, y, true);
    }

    [[nodiscard]] bool has_band(const Series& series, std::size_t i) const {
        return i < series.low.size() && i < series.high.size() && drawable(chart_.y.scale, series.low[i]) &&
               drawable(chart_.y.scale, series.high[i]);
    }

    [[nodiscard]] std::vector<LegendItem> legend() const {
        using Kind = LegendItem::Kind;
        std::vector<LegendItem> items;
        bool only_one = chart_.series.size() == 1 && chart_.strip.empty() && chart_.marks_name.empty();
        for (const Series& series : chart_.series) only_one = only_one && series.band_name.empty();
        if (only_one) return items;
        for (std::size_t s = 0; s < chart_.series.size(); ++s) {
            const Series& series = chart_.series[s];
            if (!series.name.empty()) items.push_back({series.name, Kind::curve, s, series.marked});
            if (!series.band_name.empty()) items.push_back({series.band_name, Kind::band, s});
        }
        if (!chart_.marks.empty() && !chart_.marks_name.empty()) {
            items.push_back({chart_.marks_name, Kind::ring});
        }
        const auto any = [&](bool hot) {
            return std::any_of(chart_.strip.begin(), chart_.strip.end(),
                               [&](const Stretch& part) { return part.hot == hot; });
        };
        if (any(true)) items.push_back({chart_.hot_name, Kind::hot});
        if (any(false)) items.push_back({chart_.cold_name, Kind::cold});
        return items;
    }

    /// Settles where the plot is: below `y`, under the labels of the cuts, right of the widest tick label.
    void place_plot(double y) {
        const double height = size_ == ChartSize::wide ? 270.0 : 210.0;
        y_ticks_ = ticks(chart_.y, y_range_, 6);
        double widest = 0.0;
        for (const Tick& tick : y_ticks_) widest = std::max(widest, text_width(tick.label));
        left_ = widest + 10.0;
        right_ = width_ - 14.0;
        top_ = y + place_cut_labels(y) + 6.0;
        bottom_ = top_ + height;
    }

    struct CutLabel {
        double x;
        double label_x;
        double baseline;
        std::string label;
    };

    /// Spreads the labels of the cuts over as many rows as keep them apart. Returns the height of the rows.
    double place_cut_labels(double y) {
        std::vector<double> row_ends;
        for (const Cut& cut : chart_.cuts) {
            if (!drawable(chart_.x.scale, cut.x)) continue;
            std::string label = shortened(cut.label, width_ - left_);
            const double half = text_width(label) / 2.0;
            const double x = x_of(cut.x);
            const double at = std::min(std::max(x, left_ + half), width_ - half);
            std::size_t row = 0;
            while (row < row_ends.size() && at - half < row_ends[row] + 8.0) ++row;
            if (row == row_ends.size()) row_ends.push_back(0.0);
            row_ends[row] = at + half;
            cut_labels_.push_back(
                {x, at, y + 12.0 + static_cast<double>(row) * (line_height - 2.0), std::move(label)});
        }
        return static_cast<double>(row_ends.size()) * (line_height - 2.0);
    }

    [[nodiscard]] double x_of(double x) const {
        return left_ + position(chart_.x.scale, x_range_, x) * (right_ - left_);
    }
    [[nodiscard]] double y_of(double y) const {
        return bottom_ - position(chart_.y.scale, y_range_, y) * (bottom_ - top_);
    }

    void draw_axes() {
        for (const Tick& tick : y_ticks_) {
            const double y = y_of(tick.value);
            draw_line(out_, "grid", left_, y, right_, y);
            draw_text(out_, left_ - 7.0, y + 4.0, tick.label, "end");
        }
        const double length = right_ - left_;
        const double labels = bottom_ + (strip_ranged() ? 12.0 : 0.0) + 19.0;
        const std::size_t at_most = size_ == ChartSize::wide ? 9 : 5;
        for (const PlacedTick& tick :
             fitted_ticks(chart_.x, x_range_, length, at_most, -left_, width_ - left_)) {
            draw_line(out_, "grid", left_ + tick.at, top_, left_ + tick.at, bottom_);
            draw_line(out_, "axis", left_ + tick.at, bottom_, left_ + tick.at, bottom_ + 4.0);
            draw_text(out_, left_ + tick.label_at, labels, tick.label, "middle");
        }
        draw_line(out_, "axis", left_, bottom_, right_, bottom_);
        draw_strip();
        for (const CutLabel& cut : cut_labels_) {
            draw_line(out_, "cut", cut.x, cut.baseline + 4.0, cut.x, bottom_);
            draw_text(out_, cut.label_x, cut.baseline, cut.label, "middle", "strong");
        }
    }

    void draw_strip() {
        if (!strip_ranged()) return;
        const std::vector<PixelStretch> parts =
            strip_parts(chart_.strip, static_cast<std::size_t>(std::max(right_ - left_, 1.0)), [&](double x) {
                return drawable(chart_.x.scale, x) ? x_of(x) - left_
                                                   : std::numeric_limits<double>::quiet_NaN();
            });
        for (const PixelStretch& part : parts) {
            const double x = left_ + part.from;
            if (part.hot_share < 1.0) draw_rect(out_, "cold", x, bottom_ + 5.0, part.width, 8.0);
            if (part.hot_share <= 0.0) continue;
            out_.leaf("rect", {{"class", "hot"},
                               {"x", x},
                               {"y", bottom_ + 5.0},
                               {"width", part.width},
                               {"height", 8.0},
                               {"fill-opacity", format_significant(part.hot_share)}});
        }
    }

    /// The stretches of a curve between points that cannot be drawn.
    template <class Make>
    [[nodiscard]] std::vector<Run> runs_of(const Series& series, bool banded, Make&& make) const {
        std::vector<Run> runs(1);
        for (std::size_t i = 0; i < series.points.size(); ++i) {
            if (visible(series.points[i]) && (!banded || has_band(series, i))) {
                runs.back().push_back(make(i));
            } else if (!runs.back().empty()) {
                runs.emplace_back();
            }
        }
        if (runs.back().empty()) runs.pop_back();
        return runs;
    }

    void draw_band(std::size_t s) {
        const Series& series = chart_.series[s];
        const auto edge = [&](const std::vector<double>& values) {
            return runs_of(series, true, [&](std::size_t i) {
                return Point{x_of(series.points[i].x), y_of(values[i])};
            });
        };
        const std::vector<Run> low = edge(series.low);
        const std::vector<Run> high = edge(series.high);
        for (std::size_t r = 0; r < low.size(); ++r) {
            if (low[r].size() < 2) continue;
            std::string path;
            append_path(path, thinned(high[r], right_ - left_), 'M');
            Run back = thinned(low[r], right_ - left_);
            std::reverse(back.begin(), back.end());
            append_path(path, back, 'L');
            out_.leaf("path", {{"class", "band " + fill_class(s)}, {"d", path + "z"}});
        }
    }

    void draw_curve(std::size_t s) {
        const Series& series = chart_.series[s];
        const std::vector<Run> runs = runs_of(series, false, [&](std::size_t i) {
            return Point{x_of(series.points[i].x), y_of(series.points[i].y)};
        });
        std::string path;
        for (const Run& run : runs) {
            if (run.size() > 1) append_path(path, thinned(run, right_ - left_), 'M');
        }
        if (!path.empty()) {
            out_.leaf("path", {{"class", "curve " + stroke_class(s) + " " + dash_class(s)}, {"d", path}});
        }
        for (const Run& run : runs) {
            // A point between gaps would otherwise not be seen.
            if (run.size() > 1 && !series.marked) continue;
            for (const Point& p : run) draw_mark(out_, s, p.x, p.y);
        }
    }

    [[nodiscard]] std::vector<std::string> remarks() const {
        std::vector<std::string> lines = chart_.remarks;
        if (not_finite_ > 0) {
            lines.push_back(plural(not_finite_, "point is", "points are") + " not finite and left out.");
        }
        if (not_positive_ > 0) {
            lines.push_back(plural(not_positive_, "point", "points") +
                            " at or below zero cannot be drawn on a log axis and " +
                            (not_positive_ == 1 ? "is" : "are") + " left out.");
        }
        return lines;
    }

    const LineChart& chart_;
    ChartSize size_;
    double width_;
    Markup out_;
    Range x_range_;
    Range y_range_;
    std::vector<Tick> y_ticks_;
    std::vector<CutLabel> cut_labels_;
    std::size_t not_finite_ = 0;
    std::size_t not_positive_ = 0;
    bool nothing_ = false;
    double left_ = 0.0;
    double right_ = 0.0;
    double top_ = 0.0;
    double bottom_ = 0.0;
};

}  // namespace detail

/// The chart as an svg element for a page that includes chart_css().
/// @cost   O(points); the result has at most four points a pixel column and curve
[[nodiscard]] inline std::string svg(const LineChart& chart, ChartSize size) {
    return detail::LineDrawing(chart, size).draw();
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
