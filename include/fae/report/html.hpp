// SPDX-License-Identifier: Apache-2.0
//
// HtmlReport: one self-contained page of key figures, sections, charts and tables. No script, no request to
// anywhere, light and dark, wide and on a phone. Equal content gives equal bytes.
//
//   HtmlReport page{.title = "Training run", .subtitle = "Criteo sample"};
//   page.key_figures.push_back({"samples per second", "98.4 k", ""});
//   page.sections.push_back({.title = "Loss", .figures = {Figure(chart)}, .tables = {numbers}});
//   page.save("run.html");
//
// All texts are plain text: they are escaped, never read as markup.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/report/bar_chart.hpp"
#include "fae/report/line_chart.hpp"
#include "fae/report/markup.hpp"
#include "fae/report/svg.hpp"
#include "fae/version.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// A chart, drawn for both sizes.
class Figure {
  public:
    explicit Figure(const LineChart& chart)
        : wide_(svg(chart, ChartSize::wide)), narrow_(svg(chart, ChartSize::narrow)) {}
    explicit Figure(const BarChart& chart)
        : wide_(svg(chart, ChartSize::wide)), narrow_(svg(chart, ChartSize::narrow)) {}

    [[nodiscard]] const std::string& wide() const { return wide_; }
    [[nodiscard]] const std::string& narrow() const { return narrow_; }

  private:
    std::string wide_;
    std::string narrow_;
};

/// A table; the first `text_columns` columns are set left, the others, numbers, right. A long one is folded.
struct NumberTable {
    std::string caption{};
    std::vector<std::string> header{};
    std::vector<std::vector<std::string>> rows{};
    std::size_t text_columns = 1;
    std::size_t fold_above = 10;  ///< folded if it has more rows
};

/// A number that stands at the top of the page.
struct KeyFigure {
    std::string label{};
    std::string value{};
    std::string note{};
};

/// Figures that the reader opens if she wants.
struct FoldedFigures {
    std::string summary{};
    std::vector<Figure> figures{};
};

/// A part of the page: a heading, what is to be seen, pictures, and their numbers as tables.
struct Section {
    std::string title{};
    std::vector<std::string> paragraphs{};
    std::vector<Figure> figures{};
    std::vector<FoldedFigures> folded{};
    std::vector<NumberTable> tables{};
};

/// The page.
struct HtmlReport {
    std::string title{};
    std::string subtitle{};
    std::vector<std::string> introduction{};
    std::vector<KeyFigure> key_figures{};
    std::vector<Section> sections{};

    /// The whole file.
    /// @throws ContractError if a row of a table has more cells than its header
    [[nodiscard]] std::string html() const;

    /// Writes the page. It appears under its name when it is whole.
    /// @throws IoError if it cannot be written
    void save(const std::string& path) const {
        const std::string page = html();
        AtomicFile file(path);
        file.write(page);
        file.commit();
    }
};

namespace detail {

/// The style of the page around the charts.
[[nodiscard]] inline std::string_view page_css() {
    return R"css(*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,footer{max-width:752px;margin:0 auto;padding:0 16px}
header{padding-top:28px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:20px;line-height:1.3;margin:44px 0 8px;padding-top:14px;border-top:1px solid var(--line);overflow-wrap:anywhere}
p{margin:8px 0;overflow-wrap:anywhere}
.subtitle{color:var(--faint);margin:6px 0 0}
.key{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:10px;margin:22px 0 18px}
.key.by3{grid-template-columns:repeat(3,minmax(0,1fr))}
.key div{background:var(--panel);border-radius:8px;padding:10px 14px;min-width:0}
.key dt{font-size:13px;line-height:1.35;color:var(--faint)}
.key dd{margin:0;font-size:22px;line-height:1.3;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.key dd.note{font-size:13px;font-weight:400;color:var(--faint)}
figure{margin:18px 0 6px}
.narrow{display:none!important}
.scroll{overflow-x:auto;margin:10px 0;background:linear-gradient(90deg,var(--page) 30%,transparent) left/36px 100% local no-repeat,
linear-gradient(270deg,var(--page) 30%,transparent) right/36px 100% local no-repeat,
linear-gradient(90deg,var(--line),transparent) left/12px 100% scroll no-repeat,
linear-gradient(270deg,var(--line),transparent) right/12px 100% scroll no-repeat}
table{border-collapse:collapse;font-size:14px;line-height:1.4;font-variant-numeric:tabular-nums;min-width:50%}
caption{text-align:left;color:var(--faint);padding:2px 0 6px;white-space:nowrap}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--grid);text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--faint);border-bottom-color:var(--line)}
.text{text-align:left}
th:last-child,td:last-child{padding-right:2px}
details{margin:10px 0}
summary{cursor:pointer;font-size:14px;color:var(--faint);padding:4px 0}
summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--c0);outline-offset:2px}
footer{color:var(--faint);font-size:13px;padding-top:28px;padding-bottom:36px}
@media (max-width:751px){main,footer{padding-left:12px;padding-right:12px}h1{font-size:22px}.wide{display:none!important}
svg.narrow{display:block!important;width:100%;max-width:440px}
.key,.key.by3{grid-template-columns:repeat(auto-fit,minmax(130px,1fr))}}
@media print{h2,figure,tr{break-inside:avoid}h2{break-after:avoid}}
)css";
}

inline void write_paragraphs(Markup& out, const std::vector<std::string>& paragraphs) {
    for (const std::string& paragraph : paragraphs) out.element("p", {}, paragraph).line_break();
}

inline void write_figures(Markup& out, const std::vector<Figure>& figures) {
    for (const Figure& figure : figures) {
        out.open("figure").line_break();
        out.raw(figure.wide()).raw(figure.narrow());
        out.close().line_break();
    }
}

inline void write_table(Markup& out, const NumberTable& table) {
    const bool folded = table.rows.size() > table.fold_above;
    if (folded) {
        const std::string what = table.caption.empty() ? "Numbers" : table.caption;
        out.open("details").element("summary", {},
                                    what + " (" + plural(table.rows.size(), "row", "rows") + ")");
        out.line_break();
    }
    // The box scrolls, the page does not; a keyboard can reach it.
    out.open("div", {{"class", "scroll"},
                     {"tabindex", "0"},
                     {"role", "region"},
                     {"aria-label", table.caption.empty() ? "Numbers" : table.caption}});
    out.open("table");
    if (!table.caption.empty() && !folded) out.element("caption", {}, table.caption);
    const auto style = [&](std::size_t column) { return column < table.text_columns ? "text" : ""; };
    out.open("thead").open("tr");
    for (std::size_t c = 0; c < table.header.size(); ++c) {
        out.element("th", {{"scope", "col"}, {"class", style(c)}}, table.header[c]);
    }
    out.close().close().line_break().open("tbody").line_break();
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
        const std::vector<std::string>& row = table.rows[r];
        require(row.size() <= table.header.size(), [&] {
            return concat("row ", r, " of table \"", table.caption, "\" has ", row.size(),
                          " cells, expected at most ", table.header.size());
        });
        out.open("tr");
        for (std::size_t c = 0; c < table.header.size(); ++c) {
            out.element("td", {{"class", style(c)}}, c < row.size() ? row[c] : std::string());
        }
        out.close().line_break();
    }
    out.close().close().close().line_break();
    if (folded) out.close().line_break();
}

inline void write_section(Markup& out, const Section& section) {
    out.open("section").line_break();
    out.element("h2", {}, section.title).line_break();
    write_paragraphs(out, section.paragraphs);
    write_figures(out, section.figures);
    for (const FoldedFigures& folded : section.folded) {
        out.open("details").element("summary", {}, folded.summary).line_break();
        write_figures(out, folded.figures);
        out.close().line_break();
    }
    for (const NumberTable& table : section.tables) write_table(out, table);
    out.close().line_break();
}

}  // namespace detail

inline std::string HtmlReport::html() const {
    Markup out;
    out.raw("<!DOCTYPE html>\n").open("html", {{"lang", "en"}}).line_break();
    out.open("head").line_break();
    out.leaf("meta", {{"charset", "utf-8"}}).line_break();
    out.leaf("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}}).line_break();
    // The browser itself sees to it that nothing is loaded and nothing runs.
    out.leaf("meta", {{"http-equiv", "Content-Security-Policy"},
                      {"content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}});
    out.line_break();
    out.leaf("meta", {{"name", "color-scheme"}, {"content", "light dark"}}).line_break();
    out.leaf("meta", {{"name", "generator"}, {"content", "fae " + std::string(version)}}).line_break();
    out.leaf("link", {{"rel", "icon"}, {"href", "data:,"}}).line_break();
    out.element("title", {}, title).line_break();
    out.open("style").raw(chart_css()).raw(detail::page_css()).close().line_break();
    out.close().line_break();
    out.open("body").line_break().open("main").line_break();
    out.open("header").element("h1", {}, title);
    if (!subtitle.empty()) out.element("p", {{"class", "subtitle"}}, subtitle);
    out.close().line_break();
    if (!key_figures.empty()) {
        // Three or four a row, whichever leaves fewer places empty.
        const auto empty_of = [&](std::size_t columns) {
            return (columns - key_figures.size() % columns) % columns;
        };
        out.open("dl", {{"class", empty_of(3) < empty_of(4) ? "key by3" : "key"}}).line_break();
        for (const KeyFigure& figure : key_figures) {
            out.open("div").element("dt", {}, figure.label).element("dd", {}, figure.value);
            if (!figure.note.empty()) out.element("dd", {{"class", "note"}}, figure.note);
            out.close().line_break();
        }
        out.close().line_break();
    }
    detail::write_paragraphs(out, introduction);
    for (const Section& section : sections) detail::write_section(out, section);
    out.close().line_break();
    out.open("footer").text("Written by fae " + std::string(version) + ".").close().line_break();
    out.close().line_break().close().line_break();
    return out.take();
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
