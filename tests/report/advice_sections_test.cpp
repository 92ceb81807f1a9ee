// SPDX-License-Identifier: Apache-2.0
//
// The sections of a report on advice: that pictures and tables say what the numbers do.
#include "fae/report/advice_sections.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/markup_check.hpp"

namespace {

using namespace fae;

BudgetForecast budget(std::uint64_t bytes, double speed) {
    BudgetForecast made;
    made.offer.budget_bytes = bytes;
    for (const char* name : {"all-home", "static", "all-slots"}) {
        PlacementForecast one;
        one.name = name;
        one.fits = one.name != "all-slots";
        one.samples_per_second = one.name == "static" ? speed : one.name == "all-slots" ? 9e6 : 1e6;
        one.step_seconds = 1e3 / one.samples_per_second;
        one.seconds[static_cast<std::size_t>(Resource::dense)] = one.step_seconds * 0.25;
        one.seconds[static_cast<std::size_t>(Resource::link_up)] = one.step_seconds * 0.75;
        one.bottleneck = Resource::link_up;
        made.placements.push_back(one);
    }
    return made;
}

std::string html_of(const report::Section& section) {
    report::HtmlReport page;
    page.sections.push_back(section);
    const std::string html = page.html();
    CHECK(fae_test::read_markup(html).error == "");
    return html;
}

}  // namespace

// Catches: a placement that does not fit drawn as if it did, a title that praises what is not worth it.
TEST_CASE("speed_section: says what is advised, and draws a placement where it fits") {
    const std::vector<BudgetForecast> sweep{budget(1 << 20, 1.1e6), budget(2 << 20, 3e6)};
    const Advice advice = advise(sweep);
    const report::Section section = report::speed_section(sweep, advice);
    const std::string html = html_of(section);
    CHECK(html.find("static with 2 MiB is predicted at 3.00 times") != std::string::npos);
    CHECK(html.find("advised: 2 MiB") != std::string::npos);
    REQUIRE(section.tables.size() == 1);
    CHECK(section.tables[0].rows.size() == 2);
    CHECK(section.tables[0].rows[1] ==
          std::vector<std::string>{"2 MiB", "1 M", "3 M", "does not fit", "static", "link up"});
    const std::vector<BudgetForecast> flat{budget(1 << 20, 1.01e6)};
    CHECK(html_of(report::speed_section(flat, advise(flat))).find("No budget is predicted to be worth it") !=
          std::string::npos);
}

TEST_CASE("step_section: one bar a placement, its parts what takes any time") {
    const report::Section section = report::step_section(budget(1 << 20, 2e6));
    REQUIRE(section.tables.size() == 1);
    CHECK(section.tables[0].header ==
          std::vector<std::string>{"placement", "dense model", "link up", "step", "longest pole"});
    CHECK(section.tables[0].rows.size() == 3);
    CHECK(section.tables[0].rows[1] ==
          std::vector<std::string>{"static", "125 us", "375 us", "500 us", "link up"});
    CHECK(html_of(section).find("static spends 75.0 % of a step on: link up") != std::string::npos);
}

// Catches: windows of the new hot set drawn at the time of the old one's first.
TEST_CASE("drift_section: the new hot set stands beside the last windows of the old one") {
    std::vector<double> old_set;
    for (int w = 0; w < 16; ++w) old_set.push_back(0.9 - 0.01 * w);
    const DriftReport drift = drift_report(old_set, std::vector<double>(8, 0.9));
    const report::Section section = report::drift_section(drift, 1000);
    const std::string html = html_of(section);
    CHECK(html.find("The hot set ages") != std::string::npos);
    REQUIRE(section.tables.size() == 1);
    CHECK(section.tables[0].rows.size() == 16);
    CHECK(section.tables[0].rows[7] == std::vector<std::string>{"8", "83.0 %", "n/a"});
    CHECK(section.tables[0].rows[8] == std::vector<std::string>{"9", "82.0 %", "90.0 %"});
    CHECK(html_of(report::drift_section(drift_report({0.5, 0.6, 0.5}, {}), 10)).find("No sign") !=
          std::string::npos);
}
