// SPDX-License-Identifier: Apache-2.0
//
// Line and bar charts: what is drawn where, what is left out and said, and that texts keep apart.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/report/bar_chart.hpp"
#include "fae/report/line_chart.hpp"
#include "support/markup_check.hpp"

using namespace fae::report;
using fae_test::MarkupDocument;
using fae_test::MarkupElement;
using fae_test::read_markup;

namespace {

constexpr ChartSize sizes[] = {ChartSize::wide, ChartSize::narrow};
const double nan_value = std::numeric_limits<double>::quiet_NaN();
const double infinite = std::numeric_limits<double>::infinity();

struct Box {
    double left, top, right, bottom;
};

/// About where a text stands, by its anchor and size.
Box box_of(const MarkupElement& text) {
    const bool title = text.attribute("class") == "title";
    const double width = detail::text_width(text.text, title ? 15.0 : 12.0);
    const std::string anchor = text.attribute("text-anchor");
    const double x = text.number("x");
    const double left = anchor == "middle" ? x - width / 2.0 : (anchor == "end" ? x - width : x);
    return {left, text.number("y") - 9.0, left + width, text.number("y") + 2.0};
}

/// Well-formed, named, every number finite, every text inside the picture and apart from every other.
MarkupDocument check_chart(const std::string& markup) {
    MarkupDocument document = read_markup(markup);
    REQUIRE(document.error == "");
    const MarkupElement& root = document.elements.front();
    CHECK(root.name == "svg");
    CHECK(root.attribute("role") == "img");
    CHECK(root.attribute("viewBox") == "0 0 " + root.attribute("width") + " " + root.attribute("height"));
    REQUIRE(document.elements.size() > 1);
    CHECK(document.elements[1].name == "title");
    CHECK(document.elements[1].text == root.attribute("aria-label"));
    for (const MarkupElement& element : document.elements) {
        for (const auto& attribute : element.attributes) {
            const std::string& name = attribute.first;
            const std::string& value = attribute.second;
            if (name == "aria-label") continue;
            CAPTURE(name);
            CAPTURE(value);
            CHECK(value.find("nan") == std::string::npos);
            CHECK(value.find("inf") == std::string::npos);
            CHECK(value.find("n/a") == std::string::npos);
        }
    }
    std::vector<Box> boxes;
    for (const MarkupElement* text : document.all("text")) {
        const Box box = box_of(*text);
        CAPTURE(text->text);
        CHECK(box.left >= -0.6);
        CHECK(box.right <= root.number("width") + 0.6);
        CHECK(box.top >= 0.0);
        CHECK(box.bottom <= root.number("height"));
        for (const Box& other : boxes) {
            const bool apart = box.left >= other.right || box.right <= other.left ||
                               box.top >= other.bottom || box.bottom <= other.top;
            CHECK(apart);
        }
        boxes.push_back(box);
    }
    return document;
}

bool has_class(const MarkupElement& element, std::string_view name) {
    std::istringstream classes(element.attribute("class"));
    for (std::string each; classes >> each;) {
        if (each == name) return true;
    }
    return false;
}

std::vector<const MarkupElement*> of_class(const MarkupDocument& document, std::string_view name) {
    std::vector<const MarkupElement*> found;
    for (const MarkupElement& element : document.elements) {
        if (has_class(element, name)) found.push_back(&element);
    }
    return found;
}

bool has_text(const MarkupDocument& document, std::string_view text) {
    for (const MarkupElement* element : document.all("text")) {
        if (element->text == text) return true;
    }
    return false;
}

std::size_t count_of(std::string_view text, char c) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), c));
}

/// The coordinates of a path of M and L commands.
std::vector<Point> points_of(std::string path) {
    std::vector<Point> points;
    for (char& c : path) {
        if (c == 'M' || c == 'L' || c == 'z') c = ' ';
    }
    const char* at = path.c_str();
    for (;;) {
        char* end = nullptr;
        const double x = std::strtod(at, &end);
        if (end == at) return points;
        at = end;
        const double y = std::strtod(at, &end);
        at = end;
        points.push_back({x, y});
    }
}

/// The path of the curve of a series; the one in the legend is a line element.
std::string curve_path(const MarkupDocument& document, std::string_view colour) {
    for (const MarkupElement* element : of_class(document, "curve")) {
        if (element->name == "path" && has_class(*element, colour)) {
            return element->attribute("d");
        }
    }
    return {};
}

/// A chart of these axes, still without curves.
LineChart lines(const Axis& x = {}, const Axis& y = {}) {
    LineChart chart;
    chart.title = "t";
    chart.x = x;
    chart.y = y;
    return chart;
}

/// A chart of these bars.
BarChart bars_of(const std::vector<Bar>& bars, const Axis& value = {}) {
    BarChart chart;
    chart.title = "t";
    chart.value = value;
    chart.bars = bars;
    return chart;
}

LineChart example() {
    LineChart chart{.title = "A title that says what to see and is long enough to need two lines on a phone",
                    .description = "What it shows.",
                    .x = {.label = "budget", .scale = Scale::log, .unit = Unit::bytes},
                    .y = {.label = "hot share", .unit = Unit::share, .from = 0.0, .to = 1.0}};
    for (const char* name : {"look-ups", "inputs"}) {
        Series series{.name = name, .band_name = std::string(name) + ", 95 % interval"};
        for (int i = 0; i < 12; ++i) {
            const double share = 0.2 + 0.06 * i;
            series.points.push_back({std::ldexp(1.0, 20 + i), share});
            series.low.push_back(share - 0.05);
            series.high.push_back(share + 0.05);
        }
        chart.series.push_back(series);
    }
    chart.cuts = {{0x1p28, "granted: 256 MiB"}, {0x1p29, "the knee: 512 MiB"}, {0x1p20, "the least"}};
    return chart;
}

}  // namespace

// Would catch labels that collide or leave the picture, at both sizes.
TEST_CASE("line chart: well-formed, named, and its texts keep apart") {
    for (const ChartSize size : sizes) {
        const MarkupDocument document = check_chart(svg(example(), size));
        CHECK(document.all("desc").size() == 1);
        CHECK(has_text(document, "granted: 256 MiB"));
        CHECK(has_text(document, "budget"));
        CHECK(has_text(document, "hot share"));
        CHECK(has_text(document, "100 %"));
        CHECK(has_text(document, "look-ups"));
    }
}

// Would catch collisions that only certain ranges and units bring about.
TEST_CASE("line chart: texts keep apart whatever the ranges, units and cuts") {
    fae::Philox random(3);
    for (int round = 0; round < 150; ++round) {
        LineChart chart = lines({.label = "across"}, {.label = "up"});
        for (Axis* axis : {&chart.x, &chart.y}) {
            axis->scale = random.bits32() % 2 == 0 ? Scale::linear : Scale::log;
            axis->unit = static_cast<Unit>(random.bits32() % 5);
        }
        const double scale = std::pow(10.0, 9.0 * random.uniform() - 2.0);
        Series series{.name = "series"};
        for (int i = 0; i < 20; ++i) {
            series.points.push_back({scale * random.uniform() + scale * 1e-3, random.uniform() + 1e-6});
        }
        chart.series = {series, series};
        for (unsigned c = 0; c < random.bits32() % 5; ++c) {
            chart.cuts.push_back({scale * random.uniform(), "cut number " + std::to_string(c)});
        }
        for (const ChartSize size : sizes) check_chart(svg(chart, size));
    }
}

// Would catch names that become markup.
TEST_CASE("line chart: texts are escaped") {
    LineChart chart = example();
    const std::string evil = "</svg><script>alert(1)</script>";
    chart.title = chart.x.label = chart.series[0].name = chart.cuts[0].label = evil;
    const std::string markup = svg(chart, ChartSize::wide);
    CHECK(read_markup(markup).error == "");
    CHECK(markup.find("<script") == std::string::npos);
}

// Would catch a flipped axis, or points between the wrong ticks.
TEST_CASE("line chart: points lie where the axes say") {
    LineChart chart = lines({.scale = Scale::log, .unit = Unit::count});
    chart.series.push_back({.points = {{1.0, 0.0}, {10.0, 1.0}, {1000.0, 4.0}}});
    const MarkupDocument document = check_chart(svg(chart, ChartSize::wide));
    const std::vector<Point> points = points_of(curve_path(document, "c0"));
    REQUIRE(points.size() == 3);
    CHECK(points[0].x < points[2].x);
    CHECK(points[0].y > points[2].y);  // pixels count from the top
    CHECK(points[1].x - points[0].x == doctest::Approx((points[2].x - points[0].x) / 3.0).epsilon(0.01));
    CHECK(points[0].y - points[1].y == doctest::Approx((points[0].y - points[2].y) / 4.0).epsilon(0.01));
    // The label of a tick stands at its value.
    for (const MarkupElement* text : document.all("text")) {
        if (text->text == "10") CHECK(text->number("x") == doctest::Approx(points[1].x).epsilon(0.001));
        if (text->text == "4") CHECK(text->number("y") - 4.0 == doctest::Approx(points[2].y).epsilon(0.001));
    }
}

// Would catch a cut drawn elsewhere than at its value.
TEST_CASE("line chart: a cut stands at its value") {
    const MarkupDocument document = check_chart(svg(example(), ChartSize::wide));
    const auto cuts = of_class(document, "cut");
    REQUIRE(cuts.size() == 3);
    const std::vector<Point> points = points_of(curve_path(document, "c0"));
    REQUIRE(points.size() == 12);
    CHECK(cuts[0]->number("x1") == doctest::Approx(points[8].x));
    CHECK(cuts[0]->number("x2") == cuts[0]->number("x1"));
    CHECK(cuts[1]->number("x1") == doctest::Approx(points[9].x));
    CHECK(cuts[2]->number("x1") == doctest::Approx(points[0].x));
}

// Would catch zeros drawn at minus infinity, and points dropped in silence.
TEST_CASE("line chart: zeros on a log axis are left out, and it says so") {
    LineChart chart = lines({}, {.scale = Scale::log, .unit = Unit::count});
    chart.series.push_back({.points = {{1, 100}, {2, 10}, {3, 0}, {4, 5}, {5, 0}, {6, -1}}});
    for (const ChartSize size : sizes) {
        const MarkupDocument document = check_chart(svg(chart, size));
        std::string remarks;
        for (const MarkupElement* remark : of_class(document, "remark")) remarks += remark->text + " ";
        CHECK(remarks == "3 points at or below zero cannot be drawn on a log axis and are left out. ");
        CHECK(points_of(curve_path(document, "c0")).size() == 2);
        CHECK(of_class(document, "mark").size() == 1);  // the point between two gaps
    }
}

// Would catch a curve that bridges what is missing.
TEST_CASE("line chart: points that are not finite interrupt the curve, and it says so") {
    LineChart chart = lines();
    chart.series.push_back({.points = {{1, 1}, {2, 2}, {3, nan_value}, {4, 4}, {5, 5}, {infinite, 6}}});
    const MarkupDocument document = check_chart(svg(chart, ChartSize::wide));
    CHECK(count_of(curve_path(document, "c0"), 'M') == 2);
    CHECK(points_of(curve_path(document, "c0")).size() == 4);
    CHECK(has_text(document, "2 points are not finite and left out."));
}

// Would catch a division by zero, or an empty box without a word.
TEST_CASE("line chart: no points are said, one point is marked") {
    LineChart nothing = lines();
    LineChart empty = lines();
    empty.series.push_back({.name = "a"});
    LineChart lost = lines();
    lost.series.push_back({.points = {{nan_value, 1}}});
    LineChart one = lines();
    one.series.push_back({.points = {{3, 7}}});
    for (const ChartSize size : sizes) {
        for (const LineChart& chart : {nothing, empty, lost}) {
            CHECK(has_text(check_chart(svg(chart, size)), "no data"));
        }
        const MarkupDocument document = check_chart(svg(one, size));
        CHECK_FALSE(has_text(document, "no data"));
        CHECK(of_class(document, "mark").size() == 1);
    }
}

// Would catch a band that covers other than low to high.
TEST_CASE("line chart: a band reaches from low to high") {
    LineChart chart = lines();
    chart.series.push_back({.name = "a",
                            .points = {{0, 5}, {1, 5}, {2, 5}},
                            .low = {0, 2, 4},
                            .high = {10, 8, 6},
                            .band_name = "band"});
    const MarkupDocument document = check_chart(svg(chart, ChartSize::wide));
    const auto bands = of_class(document, "band");
    REQUIRE(bands.size() == 2);  // one is in the legend
    const std::vector<Point> edge = points_of(bands.back()->attribute("d"));
    REQUIRE(edge.size() == 6);
    const double unit = (edge[5].y - edge[0].y) / 10.0;
    CHECK(edge[1].y - edge[0].y == doctest::Approx(2.0 * unit).epsilon(0.01));
    CHECK(edge[3].y - edge[2].y == doctest::Approx(2.0 * unit).epsilon(0.01));
    CHECK(edge[5].y - edge[4].y == doctest::Approx(2.0 * unit).epsilon(0.01));
}

// Would catch pages of many megabytes, and thinning that loses a spike.
TEST_CASE("line chart: a million points stay small and keep their peak") {
    LineChart chart = lines({}, {.from = 0.0, .to = 10.0});
    Series series;
    for (int i = 0; i < 1000000; ++i)
        series.points.push_back({static_cast<double>(i), i == 654321 ? 10.0 : 1.0});
    chart.series.push_back(series);
    const std::string markup = svg(chart, ChartSize::wide);
    CHECK(markup.size() < 60000);
    double highest = 1e9;
    double ordinary = 0.0;
    for (const Point& p : points_of(curve_path(read_markup(markup), "c0"))) {
        highest = std::min(highest, p.y);
        ordinary = std::max(ordinary, p.y);
    }
    CHECK(ordinary - highest > 200.0);
}

// Would catch a strip that is shifted, or that shows stretches finer than pixels as all hot or all cold.
TEST_CASE("line chart: the strip shows hot and cold stretches, and their mixture where they are fine") {
    LineChart chart = lines();
    chart.series.push_back({.points = {{0, 1}, {100, 2}}});
    chart.strip = {{0, 25, true}, {25, 100, false}};
    const MarkupDocument document = check_chart(svg(chart, ChartSize::wide));
    double hot = 0.0;
    double cold = 0.0;
    for (const MarkupElement* rect : of_class(document, "hot")) {
        if (rect->attributes.count("fill-opacity") != 0)
            hot += rect->number("width") * rect->number("fill-opacity");
    }
    for (const MarkupElement* rect : of_class(document, "cold")) cold += rect->number("width");
    cold -= 26.0;  // the swatch in the legend
    CHECK(hot / (hot + cold) == doctest::Approx(0.25).epsilon(0.02));

    LineChart fine = lines();
    fine.series = chart.series;
    for (int i = 0; i < 20000; ++i) fine.strip.push_back({i * 0.005, (i + 1) * 0.005, i % 4 == 0});
    const std::string markup = svg(fine, ChartSize::wide);
    CHECK(markup.size() < 20000);
    hot = 0.0;
    double width = 0.0;
    const MarkupDocument fine_document = read_markup(markup);
    for (const MarkupElement* rect : of_class(fine_document, "hot")) {
        if (rect->attributes.count("fill-opacity") == 0) continue;
        hot += rect->number("width") * rect->number("fill-opacity");
        width += rect->number("width");
    }
    CHECK(hot / width == doctest::Approx(0.25).epsilon(0.05));
}

// Would catch curves that only their colour tells apart.
TEST_CASE("line chart: no two of twelve series look alike") {
    LineChart chart = lines();
    for (int s = 0; s < 12; ++s) {
        chart.series.push_back(
            {.name = "series " + std::to_string(s), .points = {{0, 1.0 * s}, {1, 2.0 * s}}});
    }
    const MarkupDocument document = check_chart(svg(chart, ChartSize::wide));
    std::vector<std::string> looks;
    for (const MarkupElement* curve : of_class(document, "curve")) {
        if (curve->name == "path") looks.push_back(curve->attribute("class"));
    }
    REQUIRE(looks.size() == 12);
    std::sort(looks.begin(), looks.end());
    CHECK(std::unique(looks.begin(), looks.end()) == looks.end());
}

// Would catch letters that are too small to read, and a colour without its dark twin.
TEST_CASE("chart_css: letters of 11 px and more, every colour for light and dark") {
    const std::string css(chart_css());
    for (std::size_t at = css.find("font-size:"); at != std::string::npos;
         at = css.find("font-size:", at + 1)) {
        CHECK(std::strtod(css.c_str() + at + 10, nullptr) >= 11.0);
    }
    const std::size_t dark = css.find("prefers-color-scheme:dark");
    REQUIRE(dark != std::string::npos);
    for (std::size_t at = css.find("var("); at != std::string::npos; at = css.find("var(", at + 1)) {
        const std::string name = css.substr(at + 4, css.find(')', at) - at - 4) + ":";
        CAPTURE(name);
        CHECK(css.find(name) < dark);
        CHECK(css.find(name, dark) != std::string::npos);
    }
}

// Would catch bars out of proportion and numbers that do not belong to them.
TEST_CASE("bar chart: lengths follow the values, parts are stacked") {
    BarChart chart =
        bars_of({{"static", {3.0, 1.0}}, {"all-home", {0.0, 8.0}}}, {.label = "time", .unit = Unit::seconds});
    chart.part_names = {"fast", "home"};
    for (const ChartSize size : sizes) {
        const MarkupDocument document = check_chart(svg(chart, size));
        std::vector<const MarkupElement*> bars;
        for (const MarkupElement* rect : document.all("rect")) {
            if (rect->number("height") > 12.0) bars.push_back(rect);
        }
        REQUIRE(bars.size() == 3);
        const double unit = bars[2]->number("width") / 8.0;
        CHECK(bars[0]->number("width") + 1.0 == doctest::Approx(3.0 * unit).epsilon(0.01));
        CHECK(bars[1]->number("width") == doctest::Approx(unit).epsilon(0.02));
        CHECK(bars[1]->number("x") == doctest::Approx(bars[0]->number("x") + 3.0 * unit).epsilon(0.01));
        CHECK(bars[0]->attribute("class") == "f0");
        CHECK(bars[2]->attribute("class") == "f1");
        CHECK(has_text(document, "4 s"));
        CHECK(has_text(document, "static"));
        CHECK(has_text(document, "fast"));
    }
}

// Would catch labels that run into each other: long names, long numbers, many bars.
TEST_CASE("bar chart: long names and numbers stay inside and apart") {
    BarChart chart = bars_of({}, {.label = "bytes", .unit = Unit::bytes});
    for (int b = 0; b < 12; ++b) {
        chart.bars.push_back(
            {"a bar with a name of many words that no phone has room for " + std::to_string(b),
             {std::pow(10.0, b)},
             "a number with a long explanation"});
    }
    for (const ChartSize size : sizes) check_chart(svg(chart, size));
}

// Would catch negative widths, and values dropped in silence.
TEST_CASE("bar chart: values that cannot be drawn are left out, and it says so") {
    const BarChart chart = bars_of({{"a", {nan_value}}, {"b", {-1.0}}, {"c", {infinite, 2.0}}});
    for (const ChartSize size : sizes) {
        const MarkupDocument document = check_chart(svg(chart, size));
        CHECK(has_text(document, "3 values are negative or not finite and left out."));
        for (const MarkupElement* rect : document.all("rect")) CHECK(rect->number("width") > 0.0);
    }
}

// Would catch a division by zero.
TEST_CASE("bar chart: no bars, and bars of nothing, are drawn as such") {
    for (const ChartSize size : sizes) {
        CHECK(has_text(check_chart(svg(bars_of({}), size)), "no data"));
        const MarkupDocument document =
            check_chart(svg(bars_of({{"a", {0.0}}, {"b", {}}}, {.unit = Unit::bytes}), size));
        CHECK(document.all("rect").empty());
        CHECK(has_text(document, "0 B"));
    }
}

// Would catch titles cut off, or a number torn from its unit.
TEST_CASE("wrapped: breaks at spaces within the width, and keeps a number with its unit") {
    const std::string text = "256 MiB keep 90.8 % of the look-ups and 28.9 % of the inputs hot";
    for (double width = 60.0; width < 700.0; width += 7.0) {
        std::string joined;
        for (const std::string& line : detail::wrapped(text, width, 15.0)) {
            CHECK(detail::text_width(line, 15.0) <= width);
            CHECK(line.front() != '%');
            CHECK(line.substr(0, 3) != "MiB");
            joined += (joined.empty() ? "" : " ") + line;
        }
        if (width > 90.0) CHECK(joined == text);
    }
    CHECK(detail::wrapped("", 100.0, 15.0).empty());
}

// Would catch an ellipsis in the middle of a character.
TEST_CASE("shortened: cuts whole characters and marks the cut") {
    CHECK(detail::shortened("short", 100.0) == "short");
    const std::string cut =
        detail::shortened("\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4", 50.0);
    CHECK(cut.substr(cut.size() - 3) == "\xE2\x80\xA6");
    CHECK(escape(cut) == cut);
    CHECK(detail::text_width(cut) <= 50.0);
}
