// SPDX-License-Identifier: Apache-2.0
//
// The Rand-Em Box: how often its bound holds, for ids in random order and by first appearance; the search for
// the budget; thresholds.
#include "fae/calibrate/estimate.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();

// Counts of a table of Zipf-like popularity. By first appearance, popular rows have the lowest ids; else they
// are scattered.
std::vector<std::uint32_t> skewed_counts(std::uint64_t rows, bool first_appearance) {
    std::vector<std::uint32_t> counts(rows);
    const fae::Permutation place(rows, 17, /*stream=*/99);  // not one that a box draws by
    for (std::uint64_t rank = 0; rank < rows; ++rank) {
        const auto count = static_cast<std::uint32_t>(3e4 / std::pow(static_cast<double>(rank + 1), 0.9));
        counts[first_appearance ? rank : place(rank)] = count;
    }
    return counts;
}

double rows_at_least(const std::vector<std::uint32_t>& counts, std::uint32_t least) {
    return static_cast<double>(
        std::count_if(counts.begin(), counts.end(), [least](std::uint32_t c) { return c >= least; }));
}

struct Model {
    fae::RowSpace space;
    fae::AccessProfile<> profile;
};

Model random_model(std::uint64_t seed) {
    Model made;
    made.space = fae::RowSpace({{200000, 16, ""}, {90, 16, ""}, {60000, 16, ""}, {3000, 16, ""}});
    fae::AccessProfiler<> profiler(made.space);
    profiler.add(fae::seq, oracle::random_inputs(made.space, 80000, seed % 2 == 0 ? 0 : 1, seed).bags());
    made.profile = profiler.finish();
    return made;
}

fae::CalibrationOptions box_options(std::uint64_t budget, std::uint64_t small_bytes) {
    fae::CalibrationOptions options;
    options.selection = fae::Selection::rand_em_box;
    options.budget_bytes = budget;
    options.row_bytes = 64;
    options.small_tables.bytes = small_bytes;
    return options;
}

}  // namespace

// Catches runs drawn instead of rows, a wrong quantile, and a bound that fails where hot rows are rare: over
// 1,000 draws the bound must hold at its confidence, whatever the order of ids and the cut-off.
TEST_CASE("rand_em_box: the bound covers at least at its confidence over 1,000 draws") {
    constexpr std::uint64_t rows = 262144;
    constexpr int draws = 1000;
    int all_covered = 0;
    for (const bool first_appearance : {false, true}) {
        const std::vector<std::uint32_t> counts = skewed_counts(rows, first_appearance);
        std::vector<int> covered(6, 0);
        std::vector<int> student_covered(6, 0);
        std::vector<double> sum(6, 0);
        const std::uint32_t cutoffs[] = {1, 2, 4, 40, 400, 4000};
        std::vector<double> truth;
        for (const std::uint32_t least : cutoffs) truth.push_back(rows_at_least(counts, least));
        for (int draw = 0; draw < draws; ++draw) {
            fae::RandEmBoxOptions options;
            options.seed = static_cast<std::uint64_t>(draw);
            options.rows_per_draw = 256;
            const fae::RandEmBox<std::uint32_t> box(fae::Span<const std::uint32_t>(counts), options);
            for (std::size_t c = 0; c < 6; ++c) {
                const fae::BoxEstimate estimate = box.rows_at_least(cutoffs[c]);
                covered[c] += estimate.upper >= truth[c] ? 1 : 0;
                student_covered[c] += estimate.student_upper >= truth[c] ? 1 : 0;
                sum[c] += estimate.rows;
                REQUIRE(!estimate.exact);
                REQUIRE(estimate.upper >= estimate.rows);
            }
        }
        for (std::size_t c = 0; c < 6; ++c) {
            CAPTURE(first_appearance);
            CAPTURE(cutoffs[c]);
            CHECK(covered[c] >= 996);  // chance alone lets one cut-off in a thousand fall below
            all_covered += covered[c];
            // Unbiased, within five standard errors of a binomial share.
            const double p = truth[c] / rows;
            const double error = rows * std::sqrt(p * (1 - p) / (35 * 256.0 * draws));
            CHECK(std::fabs(sum[c] / draws - p * rows) <= 5 * error + 1e-6);
        }
        // Why Student's bound is not enough: a few rows in 262,144 are mostly not met at all.
        CHECK(student_covered[5] < 500);
    }
    CHECK(all_covered >= 12 * draws * 999 / 1000);
}

// Catches a bound that is no better than the whole table.
TEST_CASE("rand_em_box: with the defaults the bound is near the truth where hot rows are not rare") {
    const std::vector<std::uint32_t> counts = skewed_counts(400000, true);
    const fae::RandEmBox<std::uint32_t> box(fae::Span<const std::uint32_t>(counts), fae::RandEmBoxOptions{});
    const fae::BoxEstimate estimate = box.rows_at_least(1);
    const double truth = rows_at_least(counts, 1);
    CHECK(estimate.upper >= truth);
    CHECK(estimate.upper <= 1.1 * truth);
    const double half = fae::student_quantile(0.999, 34) * estimate.deviation / std::sqrt(35.0);
    CHECK(estimate.student_upper == doctest::Approx((estimate.mean + half) / 1024 * 400000));
}

// Catches estimates of tables that were looked at in full.
TEST_CASE("rand_em_box: a table of no more rows than are drawn is counted exactly") {
    const std::vector<std::uint32_t> counts = skewed_counts(35 * 16, true);
    fae::RandEmBoxOptions options;
    options.rows_per_draw = 16;
    const fae::RandEmBox<std::uint32_t> box(fae::Span<const std::uint32_t>(counts), options);
    for (const std::uint32_t least : {0u, 1u, 100u, 1000u, 100000u}) {
        const fae::BoxEstimate estimate = box.rows_at_least(least);
        CHECK(estimate.exact);
        CHECK(estimate.upper == rows_at_least(counts, least));
    }
}

// Catches draws and confidences from which no bound follows, two-sided ones above all, which half of a wrong
// confidence makes look right.
TEST_CASE("rand_em_box: draws and confidences that make no sense are refused") {
    const std::vector<std::uint32_t> counts = skewed_counts(100000, true);
    const auto made_with = [&](std::uint32_t draws, std::uint32_t rows, double confidence, bool two_sided) {
        fae::RandEmBoxOptions options;
        options.draws = draws;
        options.rows_per_draw = rows;
        options.confidence = confidence;
        options.two_sided = two_sided;
        return fae::RandEmBox<std::uint32_t>(fae::Span<const std::uint32_t>(counts), options);
    };
    CHECK(made_with(2, 1, 0.5, false).rows() == 100000);
    CHECK_THROWS_AS(made_with(1, 16, 0.9, false), fae::ContractError);
    CHECK_THROWS_AS(made_with(35, 0, 0.9, false), fae::ContractError);
    for (const bool two_sided : {false, true}) {
        for (const double confidence : {-0.5, 0.0, 1.0, std::nan("")}) {
            CAPTURE(two_sided);
            CAPTURE(confidence);
            CHECK_THROWS_AS(made_with(35, 16, confidence, two_sided), fae::ContractError);
        }
    }
}

// Catches divisions by what a caller left at 0.
TEST_CASE("small tables: a share of 0 is refused, and a table without rows is not small") {
    fae::CountHistogram table;
    fae::SmallTables small_tables;
    CHECK(small_tables.least_worth(table, 64) == 0);
    table.rows = 10;
    table.accesses = 64000;
    CHECK(small_tables.least_worth(table, 64) == 100);
    CHECK_THROWS_AS((void)small_tables.least_worth(table, 0), fae::ContractError);
    small_tables.share = 0;
    CHECK_THROWS_AS((void)small_tables.least_worth(table, 64), fae::ContractError);
}

// Catches a search that stops early or overshoots, and a budget that real rows exceed.
TEST_CASE("rand_em_box: the search ends where the estimate fits and the next lower threshold's does not") {
    fae::Threads threads(2);
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        const Model model = random_model(seed);
        const std::uint64_t all = model.space.rows() * 64;
        std::uint64_t searched = 0;
        double last = 2;
        for (const std::uint64_t budget : {all / 100, all / 30, all / 10, all / 4, all, all * 2}) {
            CAPTURE(seed);
            CAPTURE(budget);
            const fae::Calibration made =
                fae::calibrate(fae::par(threads), model.profile, box_options(budget, 10000));
            CHECK(made.report.hot_bytes() <= budget);
            CHECK(made.report.estimated_bytes <= budget);
            CHECK(made.report.threshold <= last);
            last = made.report.threshold;
            if (made.report.estimated_bytes_below != 0) {
                CHECK(made.report.estimated_bytes_below > budget);
                ++searched;
            }
            // What is hot is what the cut-offs say, and unseen rows of large tables are not.
            std::uint64_t wrong = 0;
            for (std::size_t r = 0; r < model.space.rows(); ++r) {
                const std::uint64_t least = made.report.cutoffs[0][model.space.table_of(r)];
                wrong += made.hot_set.contains(r) != (model.profile.counts()[r] >= least) ? 1u : 0u;
            }
            CHECK(wrong == 0);
            CHECK(made.report.cutoffs[0][1] == 0);  // 90 rows: small
            CHECK(made.report.cutoffs[0][0] >= 1);
        }
        CHECK(searched >= 2);
    }
}

// Catches a search that stops one cut-off too early or too late: of one table, the box can be asked again.
TEST_CASE("rand_em_box: of one table, one access less at the cut-off would not be estimated to fit") {
    const std::vector<std::uint32_t> counts = skewed_counts(150000, true);
    const fae::RowSpace space({{150000, 16, ""}});
    fae::Buffer<std::uint32_t, fae::PageSpace> own(counts.size());
    std::uint64_t accesses = 0;
    for (std::size_t r = 0; r < counts.size(); ++r) accesses += own[r] = counts[r];
    const fae::AccessProfile<> profile(space, std::move(own), {accesses}, 1, 1);
    const fae::RandEmBox<std::uint32_t> box(fae::Span<const std::uint32_t>(counts), fae::RandEmBoxOptions{});
    const std::uint64_t index = fae::RankBitmap::bytes_for(space.rows());
    const auto bytes = [&](std::uint64_t least) {
        return index + 64 * static_cast<std::uint64_t>(std::ceil(box.rows_at_least(least).upper));
    };
    for (const std::uint64_t rows : {1000u, 5000u, 20000u, 70000u}) {
        const fae::Calibration made = fae::calibrate(fae::seq, profile, box_options(index + rows * 64, 0));
        const std::uint64_t least = made.report.cutoffs[0][0];
        CAPTURE(least);
        CHECK(least > 1);
        CHECK(bytes(least) <= index + rows * 64);
        CHECK(bytes(least - 1) > index + rows * 64);
        CHECK(made.report.estimated_bytes == bytes(least));
        CHECK(made.report.estimated_bytes_below == bytes(least - 1));
        CHECK(made.report.threshold ==
              doctest::Approx(static_cast<double>(least) / static_cast<double>(accesses)));
    }
}

// Catches small tables that exceed the budget together, and a budget below the index.
TEST_CASE("rand_em_box: where small tables alone exceed the budget, the smallest go in while they fit") {
    const Model model = random_model(4);
    const std::uint64_t index = fae::RankBitmap::bytes_for(model.space.rows());
    const auto cutoffs = [&](std::uint64_t budget) {
        const fae::Calibration made = fae::calibrate(fae::seq, model.profile, box_options(budget, 1u << 20));
        CHECK(made.report.hot_bytes() <= budget);
        return made.report.cutoffs[0];
    };
    CHECK(cutoffs(index + 90 * 64 - 1) == std::vector<std::uint64_t>{none, none, none, none});
    CHECK(cutoffs(index + 90 * 64) == std::vector<std::uint64_t>{none, 0, none, none});
    CHECK(cutoffs(index + 3089 * 64) == std::vector<std::uint64_t>{none, 0, none, none});
    CHECK(cutoffs(index - 1) == std::vector<std::uint64_t>{none, none, none, none});
    CHECK(cutoffs(0) == std::vector<std::uint64_t>{none, none, none, none});
}

// Catches the formula of the cut-off: at least 1, rounded up; and the rule "at least 4 accesses at 1e-7".
TEST_CASE("threshold: the cut-off is the threshold's share of a table's accesses, rounded up") {
    CHECK(fae::threshold_cutoff(1e-7, 39291958) == 4);
    CHECK(fae::threshold_cutoff(0, 39291958) == 1);
    CHECK(fae::threshold_cutoff(1e-9, 39291958) == 1);
    CHECK(fae::threshold_cutoff(0.25, 1000) == 250);
    CHECK(fae::threshold_cutoff(0.2501, 1000) == 251);
    CHECK_THROWS_AS((void)fae::threshold_cutoff(1.5, 10), fae::ContractError);
}

// Catches rows chosen on the wrong side of the cut-off, a sweep that disagrees with the sets, and bytes that
// do not fall as the threshold rises.
TEST_CASE("threshold: hot rows are those at or above each table's cut-off, and a sweep counts them") {
    const Model model = random_model(5);
    const std::vector<double> thresholds = {0, 1e-6, 1e-5, 3e-5, 1e-4, 1e-3, 1e-2, 0.1, 1};
    fae::SmallTables small_tables;
    small_tables.bytes = 90 * 64;
    const auto histograms = fae::count_histograms(fae::seq, model.profile);
    const auto sweep = fae::sweep_thresholds(histograms, 64, thresholds, small_tables);
    std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < thresholds.size(); ++i) {
        fae::CalibrationOptions options;
        options.selection = fae::Selection::threshold;
        options.threshold = thresholds[i];
        options.row_bytes = 64;
        options.small_tables = small_tables;
        const fae::Calibration made = fae::calibrate(fae::seq, model.profile, options);
        std::uint64_t hot_lookups = 0;
        std::uint64_t wrong = 0;
        for (std::size_t r = 0; r < model.space.rows(); ++r) {
            const std::size_t table = model.space.table_of(r);
            const auto accesses = static_cast<double>(model.profile.accesses(table));
            const std::uint64_t count = model.profile.counts()[r];
            const bool hot =
                table == 1 || (count >= 1 && static_cast<double>(count) >= thresholds[i] * accesses);
            wrong += made.hot_set.contains(r) != hot ? 1u : 0u;
            hot_lookups += hot ? count : 0;
        }
        CAPTURE(thresholds[i]);
        CHECK(wrong == 0);
        CHECK(made.report.hot_lookups == hot_lookups);
        CHECK(sweep[i].hot_rows == made.hot_set.size());
        CHECK(sweep[i].hot_bytes == made.report.hot_bytes());
        CHECK(sweep[i].hot_lookups == hot_lookups);
        CHECK(sweep[i].hot_bytes <= last);
        last = sweep[i].hot_bytes;
    }
}
