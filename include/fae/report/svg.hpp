// SPDX-License-Identifier: Apache-2.0
//
// What all charts share: their two sizes, colours, text that wraps and does not collide, titles, legends, and
// ticks that fit. The charts themselves are in line_chart.hpp and bar_chart.hpp; their colours and fonts come
// from chart_css(), once a page.
//
// A chart is drawn twice, for a screen and for a phone, because one drawing scaled down to a phone has
// letters that nobody can read. The page shows the one that fits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/report/markup.hpp"
#include "fae/report/scale.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// For which width a chart is laid out.
enum class ChartSize : std::uint8_t { wide, narrow };

/// The width of a chart in its own units, which are pixels where it is shown unscaled.
[[nodiscard]] inline double chart_width(ChartSize size) { return size == ChartSize::wide ? 720.0 : 336.0; }

/// Series beyond this many repeat the colours, with other dashes.
inline constexpr std::size_t chart_colours = 6;

/// The style sheet of charts: colours of light and dark pages as variables, told apart by colour-blind
/// readers too, and repeated by dash patterns and marker shapes.
/// @source colours after Okabe and Ito, Color Universal Design, 2008; darkened or lightened for contrast
[[nodiscard]] inline std::string_view chart_css() {
    return R"css(:root{--page:#fff;--panel:#f6f7f9;--ink:#1b1f24;--faint:#59636e;--line:#d5dae0;--grid:#e6e9ed;
--c0:#0067a8;--c1:#c84e00;--c2:#00795a;--c3:#a23c84;--c4:#7f6000;--c5:#4a5560;--hot:#e08a00;--cold:#b9cbdc}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--panel:#1d2127;--ink:#e8ebee;--faint:#a3acb6;--line:#3a414a;--grid:#2a3038;
--c0:#5cb8f0;--c1:#ff9154;--c2:#3fcf9f;--c3:#ec96cd;--c4:#e3c443;--c5:#b3bcc6;--hot:#f0a83a;--cold:#3f566c}}
svg.chart{display:block;max-width:100%;height:auto;font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
svg.chart text{font-size:12px;fill:var(--faint)}
svg.chart .title{font-size:15px;font-weight:600;fill:var(--ink)}
svg.chart .strong{fill:var(--ink)}
svg.chart .grid{stroke:var(--grid);stroke-width:1}
svg.chart .axis{stroke:var(--faint);stroke-width:1}
svg.chart .cut{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 3}
svg.chart .curve{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:butt}
svg.chart .mark{fill:var(--page);stroke-width:2}
svg.chart .ring{stroke:var(--ink)}
svg.chart .band{stroke:none;opacity:.22}
svg.chart .hot{fill:var(--hot)}
svg.chart .cold{fill:var(--cold)}
svg.chart .c0{stroke:var(--c0)}svg.chart .c1{stroke:var(--c1)}svg.chart .c2{stroke:var(--c2)}
svg.chart .c3{stroke:var(--c3)}svg.chart .c4{stroke:var(--c4)}svg.chart .c5{stroke:var(--c5)}
svg.chart .f0{fill:var(--c0)}svg.chart .f1{fill:var(--c1)}svg.chart .f2{fill:var(--c2)}
svg.chart .f3{fill:var(--c3)}svg.chart .f4{fill:var(--c4)}svg.chart .f5{fill:var(--c5)}
svg.chart .d1{stroke-dasharray:8 3}svg.chart .d2{stroke-dasharray:2 2}svg.chart .d3{stroke-dasharray:9 3 2 3}
svg.chart .d4{stroke-dasharray:5 2}svg.chart .d5{stroke-dasharray:9 3 2 3 2 3}
)css";
}

namespace detail {

inline constexpr double text_size = 12.0;
inline constexpr double line_height = 18.0;
inline constexpr double title_size = 15.0;
inline constexpr double title_height = 21.0;

/// About how wide a text is drawn, in pixels; a little more than most fonts need, so that what fits here fits
/// there.
[[nodiscard]] inline double text_width(std::string_view text, double size = text_size) {
    double em = 0.0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((byte & 0xC0u) == 0x80u) continue;  // the rest of a character already counted
        if (byte >= 0xE0u) {
            em += 1.0;
        } else if (std::string_view("ijlI.,:;'|!()[] ").find(c) != std::string_view::npos) {
            em += 0.36;
        } else if (std::string_view("mwMW%@").find(c) != std::string_view::npos) {
            em += 0.95;
        } else {
            em += c >= 'A' && c <= 'Z' ? 0.7 : 0.6;
        }
    }
    return em * size;
}

/// A text cut to a width, with an ellipsis where something is missing.
[[nodiscard]] inline std::string shortened(std::string text, double width, double size = text_size) {
    if (text_width(text, size) <= width) return text;
    do {
        while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0u) == 0x80u) text.pop_back();
        if (!text.empty()) text.pop_back();
    } while (!text.empty() && text_width(text, size) + size > width);
    return text + "\xE2\x80\xA6";
}

/// A text broken at spaces into lines of at most a width; a longer word is shortened. A number keeps its
/// unit.
[[nodiscard]] inline std::vector<std::string> wrapped(std::string_view text, double width, double size) {
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    std::vector<std::string> words;
    while (!text.empty()) {
        const std::size_t end = text.find(' ');
        const std::string_view word = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (word.empty()) continue;
        if (!words.empty() && word.size() <= 3 && is_digit(words.back().back()) && !is_digit(word.front())) {
            words.back().append(" ").append(word);
        } else {
            words.emplace_back(word);
        }
    }
    std::vector<std::string> lines;
    for (const std::string& word : words) {
        if (!lines.empty() && text_width(lines.back() + " " + word, size) <= width) {
            lines.back().append(" ").append(word);
        } else {
            lines.push_back(shortened(word, width, size));
        }
    }
    return lines;
}

[[nodiscard]] inline std::string numbered(char letter, std::size_t number) {
    return std::string(1, letter) + std::to_string(number);
}

[[nodiscard]] inline std::string stroke_class(std::size_t series) {
    return numbered('c', series % chart_colours);
}
[[nodiscard]] inline std::string fill_class(std::size_t series) {
    return numbered('f', series % chart_colours);
}
[[nodiscard]] inline std::string dash_class(std::size_t series) {
    return numbered('d', (series + series / chart_colours) % chart_colours);
}

inline void draw_text(Markup& out, double x, double y, std::string_view text, std::string_view anchor = {},
                      std::string_view style = {}) {
    out.element("text", {{"x", x}, {"y", y}, {"text-anchor", anchor}, {"class", style}}, text);
}

inline void draw_line(Markup& out, std::string_view style, double x1, double y1, double x2, double y2) {
    out.leaf("line", {{"class", style}, {"x1", x1}, {"y1", y1}, {"x2", x2}, {"y2", y2}});
}

inline void draw_rect(Markup& out, std::string_view style, double x, double y, double width, double height) {
    out.leaf("rect", {{"class", style}, {"x", x}, {"y", y}, {"width", width}, {"height", height}});
}

/// The marker of a point of a curve: circle, square, diamond or triangle, by series.
inline void draw_mark(Markup& out, std::size_t series, double x, double y) {
    const auto at = [](double value) { return coordinate(value); };
    std::string path;
    switch (series % 4) {
        case 0:
            path = "M" + at(x - 4) + " " + at(y) + "a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z";
            break;
        case 1:
            path = "M" + at(x - 3.5) + " " + at(y - 3.5) + "h7v7h-7z";
            break;
        case 2:
            path = "M" + at(x) + " " + at(y - 5) + "l5 5l-5 5l-5 -5z";
            break;
        default:
            path = "M" + at(x) + " " + at(y - 4.5) + "l4.5 8h-9z";
    }
    out.leaf("path", {{"class", "mark " + stroke_class(series)}, {"d", path}});
}

/// A ring that sets a point off, with a text that a pointer over it shows.
inline void draw_ring(Markup& out, std::string_view colour, double x, double y, std::string_view says = {}) {
    out.open("circle", {{"class", "mark " + std::string(colour)}, {"cx", x}, {"cy", y}, {"r", 5.0}});
    if (!says.empty()) out.element("title", {}, says);
    out.close();
}

/// What a legend entry shows before its text.
struct LegendItem {
    enum class Kind : std::uint8_t { curve, band, bar, ring, hot, cold };
    std::string label;
    Kind kind = Kind::curve;
    std::size_t series = 0;
    bool marked = false;
};

/// Draws a legend from (0, y) on, in as many rows as it needs. Returns the height of the rows.
inline double draw_legend(Markup& out, const std::vector<LegendItem>& items, double y, double width) {
    if (items.empty()) return 0.0;
    constexpr double swatch = 26.0;
    double x = 0.0;
    double top = y;
    for (const LegendItem& item : items) {
        const std::string label = shortened(item.label, width - swatch - 6.0);
        const double needed = swatch + 6.0 + text_width(label) + 14.0;
        if (x > 0.0 && x + needed - 14.0 > width) {
            x = 0.0;
            top += line_height;
        }
        const double middle = top + line_height / 2.0;
        using Kind = LegendItem::Kind;
        switch (item.kind) {
            case Kind::curve:
                draw_line(out, "curve " + stroke_class(item.series) + " " + dash_class(item.series), x,
                          middle, x + swatch, middle);
                if (item.marked) draw_mark(out, item.series, x + swatch / 2.0, middle);
                break;
            case Kind::band:
                draw_rect(out, "band " + fill_class(item.series), x, middle - 5.0, swatch, 10.0);
                break;
            case Kind::bar:
                draw_rect(out, fill_class(item.series), x, middle - 5.0, swatch, 10.0);
                break;
            case Kind::ring:
                draw_ring(out, "ring", x + swatch / 2.0, middle);
                break;
            case Kind::hot:
            case Kind::cold:
                draw_rect(out, item.kind == Kind::hot ? "hot" : "cold", x, middle - 4.0, swatch, 8.0);
                break;
        }
        draw_text(out, x + swatch + 6.0, middle + 4.0, label, {}, "strong");
        x += needed;
    }
    return top - y + line_height + 4.0;
}

/// Draws the title from the top on, in as many lines as it needs. Returns their height.
inline double draw_title(Markup& out, std::string_view title, double width) {
    double y = 0.0;
    for (const std::string& line : wrapped(title, width, title_size * 1.08)) {  // bold is wider
        draw_text(out, 0.0, y + 15.0, line, {}, "title");
        y += title_height;
    }
    return y + 5.0;
}

/// Draws remarks below a chart from `y` on. Returns their height.
inline double draw_remarks(Markup& out, const std::vector<std::string>& remarks, double y, double width) {
    const double start = y;
    for (const std::string& remark : remarks) {
        for (const std::string& line : wrapped(remark, width, text_size)) {
            draw_text(out, 0.0, y + 13.0, line, {}, "remark");
            y += line_height - 2.0;
        }
    }
    return y - start;
}

/// The body of a chart inside its svg element: scales with its box, and says its title to a screen reader.
[[nodiscard]] inline std::string svg_document(std::string_view title, std::string_view description,
                                              ChartSize size, double height, std::string_view body) {
    const double width = chart_width(size);
    Markup out;
    out.open("svg", {{"class", size == ChartSize::wide ? "chart wide" : "chart narrow"},
                     {"viewBox", "0 0 " + coordinate(width) + " " + coordinate(height)},
                     {"width", width},
                     {"height", height},
                     {"role", "img"},
                     {"aria-label", title}});
    out.element("title", {}, title);
    if (!description.empty()) out.element("desc", {}, description);
    return out.raw(body).close().line_break().take();
}

/// A tick of a drawn axis: where its mark is and where the middle of its label.
struct PlacedTick {
    double at;
    double label_at;
    double value;
    std::string label;
};

/// Ticks along `length` pixels whose labels keep apart. A label at an end moves inwards as far as it must to
/// stay between `least` and `most`.
[[nodiscard]] inline std::vector<PlacedTick> fitted_ticks(const Axis& axis, Range range, double length,
                                                          std::size_t at_most, double least, double most) {
    std::vector<PlacedTick> placed;
    for (std::size_t count = std::max<std::size_t>(at_most, 2); count >= 2; --count) {
        placed.clear();
        bool apart = true;
        double free_from = least;
        for (Tick& tick : ticks(axis, range, count)) {
            const double at = position(axis.scale, range, tick.value) * length;
            const double half = text_width(tick.label) / 2.0;
            const double label_at = std::min(std::max(at, least + half), most - half);
            // With the fewest ticks, those whose labels still collide are left out.
            const bool free = label_at - half >= free_from - 1e-9;
            apart = apart && free;
            if (!free && count == 2) continue;
            free_from = label_at + half + 8.0;
            placed.push_back({at, label_at, tick.value, std::move(tick.label)});
        }
        if (apart) break;
    }
    return placed;
}

[[nodiscard]] inline std::string plural(std::size_t count, std::string_view one, std::string_view many) {
    return std::to_string(count) + " " + std::string(count == 1 ? one : many);
}

}  // namespace detail
}  // namespace report
}  // namespace fae::inline FAE_ABI
