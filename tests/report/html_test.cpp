// SPDX-License-Identifier: Apache-2.0
//
// HtmlReport: the structure of the page, that it is self-contained, and that texts stay texts.
#include "fae/report/html.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "support/markup_check.hpp"

using namespace fae::report;
using fae_test::MarkupDocument;
using fae_test::MarkupElement;
using fae_test::read_markup;

namespace {

HtmlReport example() {
    LineChart line;
    line.title = "Loss falls";
    line.series.push_back({.name = "training", .points = {{0, 1}, {1, 0.5}}});
    BarChart bars;
    bars.title = "Training takes longest";
    bars.bars = {{"train", {2.0}}};
    HtmlReport page{.title = "A run", .subtitle = "on a sample", .introduction = {"What to notice."}};
    page.key_figures = {{"speed", "98 k", "per second"}, {"loss", "0.45", ""}};
    page.sections.push_back(
        {.title = "Loss",
         .paragraphs = {"One paragraph."},
         .figures = {Figure(line)},
         .folded = {{"More", {Figure(bars)}}},
         .tables = {{.caption = "Numbers", .header = {"step", "loss"}, .rows = {{"1", "0.5"}}}}});
    return page;
}

/// Names and classes of the page's elements, indented by depth, without what is inside charts.
std::string skeleton(const MarkupDocument& document) {
    std::string text;
    for (const MarkupElement& element : document.elements) {
        if (element.inside("svg")) continue;
        text += std::string(element.depth, ' ') + element.name;
        const std::string classes = element.attribute("class");
        if (!classes.empty()) text += "." + classes;
        text += "\n";
    }
    return text;
}

}  // namespace

// Would catch any change of the page's structure that nobody meant.
TEST_CASE("HtmlReport: the structure of the page") {
    const MarkupDocument document = read_markup(example().html());
    REQUIRE(document.error == "");
    CHECK(skeleton(document) ==
          "html\n head\n  meta\n  meta\n  meta\n  meta\n  meta\n  link\n  title\n  style\n body\n  main\n"
          "   header\n    h1\n    p.subtitle\n"
          "   dl.key by3\n    div\n     dt\n     dd\n     dd.note\n    div\n     dt\n     dd\n"
          "   p\n"
          "   section\n    h2\n    p\n"
          "    figure\n     svg.chart wide\n     svg.chart narrow\n"
          "    details\n     summary\n     figure\n      svg.chart wide\n      svg.chart narrow\n"
          "    div.scroll\n     table\n      caption\n      thead\n       tr\n        th.text\n        th\n"
          "      tbody\n       tr\n        td.text\n        td\n"
          "  footer\n");
    CHECK(document.all("h1")[0]->text == "A run");
    CHECK(document.all("title")[0]->text == "A run");
    CHECK(document.all("footer")[0]->text == "Written by fae " + std::string(fae::version) + ".");
}

// Would catch dates, addresses and hash orders in the page.
TEST_CASE("HtmlReport: equal content gives equal bytes") { CHECK(example().html() == example().html()); }

// Would catch a page that phones home or does not open without a network.
TEST_CASE("HtmlReport: no script and no request to anywhere") {
    const std::string html = example().html();
    const MarkupDocument document = read_markup(html);
    for (const char* name : {"script", "img", "iframe", "object", "embed", "image", "use", "base", "form"}) {
        CHECK(document.all(name).empty());
    }
    for (const MarkupElement& element : document.elements) {
        for (const auto& attribute : element.attributes) {
            const std::string& name = attribute.first;
            const std::string& value = attribute.second;
            CAPTURE(name);
            CAPTURE(value);
            CHECK(name.substr(0, 2) != "on");
            CHECK(name != "src");
            if (name == "href") CHECK(value == "data:,");
            CHECK(value.find("//") == std::string::npos);
        }
    }
    CHECK(html.find("url(") == std::string::npos);
    CHECK(html.find("@import") == std::string::npos);
    CHECK(html.find("default-src 'none'") == std::string::npos);  // quotes are escaped in attributes
    bool policy = false;
    for (const MarkupElement* meta : document.all("meta")) {
        policy = policy ||
                 meta->attribute("content") == "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    }
    CHECK(policy);
}

// Would catch what a phone and a dark screen need being lost.
TEST_CASE("HtmlReport: made for light and dark, wide and narrow screens") {
    const std::string html = example().html();
    CHECK(html.find("width=device-width, initial-scale=1") != std::string::npos);
    CHECK(html.find("prefers-color-scheme:dark") != std::string::npos);
    CHECK(html.find(".scroll{overflow-x:auto") != std::string::npos);
    CHECK(html.find("content=\"light dark\"") != std::string::npos);
    CHECK(html.find(".wide{display:none!important}") != std::string::npos);
}

// Would catch a place where a text of the caller becomes markup: every place is tried.
TEST_CASE("HtmlReport: texts are escaped everywhere") {
    const std::string evil = "\"><script>alert('1')</script>&";
    HtmlReport page = example();
    page.title = page.subtitle = page.introduction[0] = evil;
    page.key_figures = {{evil, evil, evil}};
    Section& section = page.sections[0];
    section.title = section.paragraphs[0] = section.folded[0].summary = evil;
    section.tables[0] = {.caption = evil, .header = {evil, evil}, .rows = {{evil, evil}}};
    section.tables.push_back(section.tables[0]);
    section.tables[1].fold_above = 0;
    const std::string html = page.html();
    const MarkupDocument document = read_markup(html);
    CHECK(document.error == "");
    CHECK(html.find("<script") == std::string::npos);
    std::size_t found = 0;
    for (const MarkupElement& element : document.elements) {
        if (element.text.find(evil) != std::string::npos) ++found;
    }
    CHECK(found == 20);
}

// Would catch long tables that bury the page, and numbers that hide.
TEST_CASE("HtmlReport: a long table is folded, a short one is open; both in boxes that scroll") {
    HtmlReport page{.title = "t"};
    NumberTable table{.caption = "c", .header = {"a", "b"}};
    for (int r = 0; r < 10; ++r) table.rows.push_back({"x", "1"});
    page.sections.push_back({.title = "s", .tables = {table}});
    MarkupDocument document = read_markup(page.html());
    CHECK(document.all("details").empty());
    CHECK(document.all("caption").size() == 1);
    page.sections[0].tables[0].rows.push_back({"x", "1"});
    document = read_markup(page.html());
    REQUIRE(document.all("details").size() == 1);
    CHECK(document.all("summary")[0]->text == "c (11 rows)");
    CHECK(document.all("td").size() == 22);
    for (const MarkupElement* each : document.all("table")) CHECK(each->path.back() == "div");
}

// Would catch cells under the wrong heading.
TEST_CASE("HtmlReport: short rows are filled up, rows longer than the header are refused") {
    HtmlReport page{.title = "t"};
    page.sections.push_back({.title = "s", .tables = {{.header = {"a", "b", "c"}, .rows = {{"x"}}}}});
    CHECK(read_markup(page.html()).all("td").size() == 3);
    page.sections[0].tables[0].rows.push_back({"1", "2", "3", "4"});
    CHECK_THROWS_WITH_AS((void)page.html(), "row 1 of table \"\" has 4 cells, expected at most 3",
                         fae::ContractError);
}

// Would catch an untidy row of one figure alone.
TEST_CASE("HtmlReport: key figures stand three or four a row, whichever fills better") {
    for (int count = 1; count <= 12; ++count) {
        HtmlReport page{.title = "t"};
        for (int i = 0; i < count; ++i) page.key_figures.push_back({"a", "1", ""});
        const int empty_of_3 = (count + 2) / 3 * 3 - count;
        const int empty_of_4 = (count + 3) / 4 * 4 - count;
        CAPTURE(count);
        CHECK(read_markup(page.html()).all("dl")[0]->attribute("class") ==
              std::string(empty_of_3 < empty_of_4 ? "key by3" : "key"));
    }
    CHECK(read_markup(HtmlReport{.title = "t"}.html()).all("dl").empty());
}

// Would catch a page that differs from what was asked for, and an error that says nothing.
TEST_CASE("HtmlReport: saved as it is; a place that cannot be written is an error") {
    std::string folder = (std::filesystem::temp_directory_path() / "fae_html_test_XXXXXX").string();
    REQUIRE(mkdtemp(folder.data()) != nullptr);
    const std::string path = folder + "/page.html";
    example().save(path);
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    CHECK(content.str() == example().html());
    CHECK_THROWS_AS(example().save(folder + "/none/page.html"), fae::IoError);
    std::filesystem::remove_all(folder);
}
