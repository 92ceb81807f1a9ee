// SPDX-License-Identifier: Apache-2.0
//
// The sections of a run's report: that their numbers are those of the run.
#include "fae/report/run_report.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "fae/core/random.hpp"
#include "support/markup_check.hpp"

using namespace fae::report;
using fae_test::MarkupDocument;
using fae_test::MarkupElement;
using fae_test::read_markup;

namespace {

const double nan_value = std::numeric_limits<double>::quiet_NaN();

std::string title_of(const Figure& figure) {
    return read_markup(figure.wide()).elements.front().attribute("aria-label");
}

bool says(const Figure& figure, const std::string& text) {
    for (const MarkupElement& element : read_markup(figure.wide()).elements) {
        if (element.text == text) return true;
    }
    return false;
}

AccessCurves tables_of(std::size_t count) {
    AccessCurves curves;
    for (std::size_t t = 0; t < count; ++t) {
        std::vector<std::uint32_t> counts;
        for (std::uint32_t row = 0; row < 50 + 10 * t; ++row) counts.push_back(1000 / (row + 1));
        curves.tables.push_back(
            access_curve("C" + std::to_string(t + 1), fae::Span<const std::uint32_t>(counts), 5));
    }
    return curves;
}

}  // namespace

// Would catch wrong ranks, lost ends, and sums over the wrong rows: all compared to sorting.
TEST_CASE("access_curve: equals the sorted counts") {
    fae::Philox random(5);
    for (int round = 0; round < 60; ++round) {
        std::vector<std::uint64_t> counts(1 + random.bits32() % 3000);
        const double skew = 3.0 * random.uniform();
        for (std::uint64_t& count : counts) {
            // Some rows above the 65,536 that are counted apart, many never accessed.
            count = static_cast<std::uint64_t>(3e5 * std::pow(random.uniform(), 1.0 + 4.0 * skew));
        }
        const std::uint64_t hot = random.bits32() % (counts.size() + 1);
        const AccessCurve curve = access_curve("t", fae::Span<const std::uint64_t>(counts), hot);

        std::vector<std::uint64_t> sorted = counts;
        std::sort(sorted.rbegin(), sorted.rend());
        const auto seen =
            static_cast<std::uint64_t>(std::find(sorted.begin(), sorted.end(), 0u) - sorted.begin());
        CHECK(curve.rows == counts.size());
        CHECK(curve.seen_rows == seen);
        CHECK(curve.accesses == std::accumulate(sorted.begin(), sorted.end(), std::uint64_t{0}));
        CHECK(curve.hot_rows == hot);
        CHECK(curve.hot_accesses == std::accumulate(sorted.begin(),
                                                    sorted.begin() + static_cast<std::ptrdiff_t>(hot),
                                                    std::uint64_t{0}));
        REQUIRE(curve.points.empty() == (seen == 0));
        if (seen == 0) continue;
        CHECK(curve.points.front().x == 1.0);
        CHECK(curve.points.back().x == static_cast<double>(seen));
        double last = 0.0;
        for (const Point& p : curve.points) {
            REQUIRE(p.x > last);
            REQUIRE(p.y == static_cast<double>(sorted[static_cast<std::size_t>(p.x) - 1]));
            // Between two points nothing is missing: they are near in rank, or of one count.
            const bool is_near = p.x <= std::max(last + 1.0, last * 1.08);
            const bool is_flat = last > 0.0 && sorted[static_cast<std::size_t>(last) - 1] ==
                                                   sorted[static_cast<std::size_t>(p.x) - 1];
            CHECK((is_near || is_flat));
            last = p.x;
        }
        CHECK(curve.points.size() < 400);
        REQUIRE(curve.hot_cut.has_value() == (hot > 0));
        if (hot > 0) {
            const std::uint64_t rank = std::min(hot, seen);
            CHECK(curve.hot_cut->x == static_cast<double>(rank));
            CHECK(curve.hot_cut->y == static_cast<double>(sorted[rank - 1]));
        }
    }
}

// Would catch curves of as many points as rows.
TEST_CASE("access_curve: a large table has few points") {
    std::vector<std::uint32_t> counts(2000000);
    for (std::size_t row = 0; row < counts.size(); ++row) {
        counts[row] = static_cast<std::uint32_t>(4e6 / (static_cast<double>(row) + 1.0));
    }
    const AccessCurve curve = access_curve("t", fae::Span<const std::uint32_t>(counts), 1000);
    CHECK(curve.points.size() < 450);
    CHECK(curve.points.size() > 100);
    CHECK(curve.hot_cut->x == 1000.0);
    CHECK(curve.hot_cut->y == 4000.0);
}

// Would catch an unreadable tangle of 26 curves, and tables that are shown nowhere.
TEST_CASE("access_section: the six largest tables in front, the others folded, all in the table") {
    const Section section = access_section(tables_of(26));
    REQUIRE(section.figures.size() == 1);
    CHECK(says(section.figures[0], "C26"));
    CHECK(says(section.figures[0], "C21"));
    CHECK_FALSE(says(section.figures[0], "C20"));
    CHECK(says(section.figures[0], "The 6 largest of 26 tables."));
    REQUIRE(section.folded.size() == 1);
    CHECK(section.folded[0].summary == "The other 20 tables");
    REQUIRE(section.folded[0].figures.size() == 4);
    CHECK(title_of(section.folded[0].figures[3]) == "Tables 25 to 26 by rows");
    CHECK(says(section.folded[0].figures[3], "C1"));
    REQUIRE(section.tables.size() == 1);
    REQUIRE(section.tables[0].rows.size() == 27);
    CHECK(section.tables[0].rows[0][0] == "C1");
    CHECK(section.tables[0].rows[26][0] == "all");
}

// Would catch shares of the wrong whole.
TEST_CASE("access_section: title and table give the hot shares") {
    AccessCurves curves;
    const std::vector<std::uint32_t> counts = {60, 20, 10, 10, 0, 0, 0, 0};
    curves.tables.push_back(access_curve("a", fae::Span<const std::uint32_t>(counts), 2));
    const Section section = access_section(curves);
    CHECK(title_of(section.figures[0]) == "25.0 % of the rows are hot and take 80.0 % of the look-ups");
    CHECK(section.folded.empty());
    REQUIRE(section.tables[0].rows.size() == 1);
    CHECK(section.tables[0].rows[0] ==
          std::vector<std::string>{"a", "8", "4", "100", "2", "25.0 %", "80.0 %"});
    CHECK(says(section.figures[0], "a: 2 of 8 rows are hot and take 80.0 % of its look-ups"));
}

// Would catch divisions by zero where nothing is hot or nothing was seen.
TEST_CASE("access_section: no tables, no accesses and nothing hot are said") {
    CHECK(access_section({}).figures.size() == 1);
    AccessCurves curves;
    const std::vector<std::uint32_t> none(10, 0);
    const std::vector<std::uint32_t> some(10, 3);
    curves.tables.push_back(access_curve("none", fae::Span<const std::uint32_t>(none), 0));
    curves.tables.push_back(access_curve("some", fae::Span<const std::uint32_t>(some), 0));
    const Section section = access_section(curves);
    CHECK(title_of(section.figures[0]).find("no row is hot") != std::string::npos);
    CHECK_FALSE(says(section.figures[0], "none"));
    CHECK(section.tables[0].rows[0].back() == "n/a");
    CHECK(section.tables[0].rows[1].back() == "0 %");
}

// Would catch a title that names another budget than the granted one.
TEST_CASE("budget_section: title, cut and table are those of the granted budget") {
    BudgetCurve curve;
    for (int i = 0; i < 8; ++i) {
        curve.points.push_back({.budget_bytes = std::uint64_t{1} << (24 + i),
                                .hot_rows = std::uint64_t{1000} << i,
                                .hot_bytes = std::uint64_t{1} << (23 + i),
                                .hot_lookups = 0.6 + 0.05 * i,
                                .hot_inputs = 0.1 * i});
    }
    curve.granted_bytes = std::uint64_t{1} << 28;
    Section section = budget_section(curve);
    CHECK(title_of(section.figures[0]) == "256 MiB keep 80.0 % of the look-ups and 40.0 % of the inputs hot");
    CHECK(says(section.figures[0], "granted: 256 MiB"));
    CHECK(section.tables[0].header ==
          std::vector<std::string>{"budget", "hot rows", "hot bytes", "hot look-ups", "hot inputs"});
    CHECK(section.tables[0].rows[4] ==
          std::vector<std::string>{"256 MiB", "16,000", "128 MiB", "80.0 %", "40.0 %"});

    // Without inputs, with intervals.
    for (BudgetPoint& point : curve.points) {
        point.hot_inputs.reset();
        point.lookups_interval = BudgetPoint::Interval{point.hot_lookups - 0.1, point.hot_lookups + 0.05};
    }
    curve.interval_name = "95 % interval";
    section = budget_section(curve);
    CHECK(title_of(section.figures[0]) == "256 MiB keep 80.0 % of the look-ups hot");
    CHECK(says(section.figures[0], "look-ups, 95 % interval"));
    CHECK_FALSE(says(section.figures[0], "inputs with all rows hot"));
    CHECK(section.tables[0].rows[0].back() == "50.0 % to 65.0 %");
    CHECK(section.tables[0].caption == "Budgets; interval: 95 % interval");
    CHECK(title_of(budget_section({}).figures[0]) == "What the budget buys");
}

// Would catch means, bands or steps that are off by one.
TEST_CASE("loss_series: means, lowest and highest of equal numbers of steps") {
    fae::Philox random(9);
    std::vector<StepLoss> losses;
    for (std::uint64_t step = 1; step <= 1000; ++step) losses.push_back({step, random.uniform()});
    const Series series = detail::loss_series("training", losses);
    REQUIRE(series.points.size() == 143);  // of 7 steps each, the last of 6
    CHECK(series.band_name == "lowest to highest of 7 steps");
    for (std::size_t p = 0; p < series.points.size(); ++p) {
        double sum = 0.0;
        double low = 2.0;
        double high = -1.0;
        const std::size_t end = std::min<std::size_t>(7 * p + 7, 1000);
        for (std::size_t i = 7 * p; i < end; ++i) {
            sum += losses[i].loss;
            low = std::min(low, losses[i].loss);
            high = std::max(high, losses[i].loss);
        }
        CHECK(series.points[p].y == doctest::Approx(sum / static_cast<double>(end - 7 * p)));
        CHECK(series.low[p] == low);
        CHECK(series.high[p] == high);
        CHECK(series.points[p].x == (static_cast<double>(7 * p + 1) + static_cast<double>(end)) / 2.0);
    }
    losses.resize(160);
    CHECK(detail::loss_series("training", losses).points.size() == 160);
    CHECK(detail::loss_series("training", losses).low.empty());
}

// Would catch a title that states other losses than the curve shows.
TEST_CASE("loss_section: the title gives start and end, the strip the segments") {
    LossCurve curve;
    for (std::uint64_t step = 0; step < 10; ++step) {
        curve.training.push_back({step, 0.7 - 0.02 * static_cast<double>(step)});
    }
    curve.validation = {{5, 0.61}, {10, 0.55}};
    curve.segments = {{0, 5, true}, {5, 5, false}};
    const Section section = loss_section(curve);
    CHECK(title_of(section.figures[0]) ==
          "The training loss went from 0.7000 to 0.5200; the validation loss ended at 0.5500");
    CHECK(says(section.figures[0], "hot mini-batches"));
    CHECK(says(section.figures[0], "cold mini-batches"));
    REQUIRE(section.tables.size() == 2);
    CHECK(section.tables[0].rows.back() == std::vector<std::string>{"10", "0.5500"});
    CHECK(section.tables[1].rows.size() == 10);
    // A run without any, and one that ended in no number.
    CHECK(title_of(loss_section({}).figures[0]) == "Loss over time");
    LossCurve lost;
    lost.training = {{1, nan_value}};
    CHECK(title_of(loss_section(lost).figures[0]) == "Loss over time");
    CHECK(says(loss_section(lost).figures[0], "1 point is not finite and left out."));
}

// Would catch shares of the wrong whole, and time that nobody accounts for.
TEST_CASE("phase_section: phases, the rest as other, and shares of the wall time") {
    fae::Metrics metrics;
    metrics.seconds(fae::Phase::read) = 2.0;
    metrics.seconds(fae::Phase::train) = 6.0;
    const PhaseTimes times = phase_times(metrics, 10.0);
    REQUIRE(times.phases.size() == 2);
    const Section section = phase_section(times);
    CHECK(title_of(section.figures[0]) == "\"train\" takes 60.0 % of 10 s");
    const auto& rows = section.tables[0].rows;
    REQUIRE(rows.size() == 4);
    CHECK(rows[0] == std::vector<std::string>{"read", "2.000", "20.0 %"});
    CHECK(rows[1] == std::vector<std::string>{"train", "6.000", "60.0 %"});
    CHECK(rows[2] == std::vector<std::string>{"other", "2.000", "20.0 %"});
    CHECK(rows[3] == std::vector<std::string>{"all", "10.000", "100 %"});
    // Phases of several threads may exceed a wall time given too small; then they are the whole.
    CHECK(phase_section({{{"train", 4.0}}, 3.0}).tables[0].rows.size() == 2);
    CHECK(title_of(phase_section({}).figures[0]) == "Where the time goes");
}

// Would catch the directions swapped.
TEST_CASE("bytes_section: bytes and rows of both directions") {
    fae::Metrics metrics;
    metrics.add_moved(fae::Tier::fast, 30, 3 << 20);
    metrics.add_moved(fae::Tier::home, 10, 1 << 20);
    const Section section = bytes_section(bytes_moved(metrics, 4));
    CHECK(title_of(section.figures[0]) == "4 MiB moved between the tiers, 1 MiB per mini-batch");
    CHECK(section.tables[0].rows[0] ==
          std::vector<std::string>{"home to fast tier", "30", "3,145,728", "768 KiB"});
    CHECK(section.tables[0].rows[1] ==
          std::vector<std::string>{"fast tier to home", "10", "1,048,576", "256 KiB"});
    CHECK(title_of(bytes_section({}).figures[0]) == "No byte moved between the tiers");
}

// Would catch empty sections, and known numbers that are not shown.
TEST_CASE("RunReport: what is known is on the page, in order, and nothing else") {
    RunReport run{.title = "run"};
    MarkupDocument document = read_markup(run.html());
    CHECK(document.error == "");
    CHECK(document.all("section").empty());

    run.access = tables_of(3);
    run.budgets = BudgetCurve{{{.budget_bytes = 1 << 20, .hot_lookups = 0.5}}};
    run.loss = LossCurve{{{1, 0.7}, {2, 0.6}}, {}, {}};
    run.phases = PhaseTimes{{{"train", 1.0}}};
    run.moved = BytesMoved{1, 2, 3, 4, 5};
    run.more.push_back({.title = "Of the program's own"});
    run.settings = {{"--budget", "1MiB"}};
    document = read_markup(run.html());
    CHECK(document.error == "");
    std::vector<std::string> titles;
    for (const MarkupElement* h2 : document.all("h2")) titles.push_back(h2->text);
    CHECK(titles == std::vector<std::string>{"Which rows are hot", "What the budget buys", "Loss over time",
                                             "Where the time goes", "Bytes moved", "Of the program's own",
                                             "Settings of this run"});
    CHECK(document.all("figure").size() == 5);
    // Every picture has its numbers under it.
    for (const MarkupElement* table : document.all("table")) CHECK(table->inside("section"));
    CHECK(document.all("table").size() == 6);
}
