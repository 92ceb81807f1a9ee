// SPDX-License-Identifier: Apache-2.0
//
// Exact selection against a sort of all rows, and its properties: the budget, nestedness, ties, small tables.
#include "fae/calibrate/calibrator.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "fae/calibrate/budget_curve.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

constexpr std::uint64_t everything = std::numeric_limits<std::uint64_t>::max() / 4;

fae::AccessProfile<> profile_of(const fae::RowSpace& space, const oracle::Inputs& inputs) {
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::seq, inputs.bags());
    return profiler.finish();
}

// A profile that holds the given counts.
template <class Count = std::uint32_t>
fae::AccessProfile<Count> profile_of_counts(const fae::RowSpace& space,
                                            const std::vector<std::uint64_t>& counts) {
    fae::Buffer<Count, fae::PageSpace> own(counts.size());
    std::vector<std::uint64_t> accesses(space.table_count(), 0);
    for (std::size_t r = 0; r < counts.size(); ++r) {
        own[r] = static_cast<Count>(counts[r]);
        accesses[space.table_of(r)] += counts[r];
    }
    return fae::AccessProfile<Count>(space, std::move(own), std::move(accesses), 1, 1);
}

fae::CalibrationOptions options_of(std::uint64_t budget, std::uint64_t row_bytes, std::uint64_t small_bytes) {
    fae::CalibrationOptions options;
    options.budget_bytes = budget;
    options.row_bytes = row_bytes;
    options.small_tables.bytes = small_bytes;
    return options;
}

bool equal(const fae::HotSet& set, const std::vector<bool>& expected) {
    for (std::size_t r = 0; r < expected.size(); ++r) {
        if (set.contains(r) != expected[r]) return false;
    }
    return set.rows() == expected.size();
}

// Budgets from nothing to more than everything, tight ones among them.
std::vector<std::uint64_t> budgets_for(std::uint64_t all) {
    std::vector<std::uint64_t> budgets = {
        0,       1,       79,      80,  1000,    all / 1000,    all / 100, all / 10,
        all / 3, all / 2, all - 1, all, all + 1, all + all / 8, everything};
    fae::Philox rng(all);
    for (int i = 0; i < 12; ++i) budgets.push_back(rng.below(all + all / 16));
    std::sort(budgets.begin(), budgets.end());
    return budgets;
}

}  // namespace

// Catches a wrong cut-off, a wrong tie, an unseen row let in, bytes or look-ups counted wrongly, an index
// forgotten or charged for nothing, and a budget exceeded or left unused.
TEST_CASE("calibrator: exact selection equals a sort of all rows at every budget") {
    fae::Threads threads(3);
    for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
        for (const std::uint64_t small_bytes : {0u, 3000u, 1u << 20}) {
            const fae::RowSpace space = oracle::random_space(5, 9000, 16, seed);
            const oracle::Inputs inputs = oracle::random_inputs(space, 4000, seed % 3, seed);
            const fae::AccessProfile<> profile = profile_of(space, inputs);
            const std::uint64_t row_bytes = 16 + 4 * seed;
            const std::vector<oracle::SelectionSpace> all = {
                {&space, oracle::count_rows(space, inputs.bags()), row_bytes}};
            for (const std::uint64_t budget : budgets_for(space.rows() * row_bytes)) {
                CAPTURE(seed);
                CAPTURE(small_bytes);
                CAPTURE(budget);
                const oracle::Selection expected = oracle::select(all, budget, small_bytes, 64);
                const fae::Calibration made =
                    fae::calibrate(fae::par(threads), profile, options_of(budget, row_bytes, small_bytes));
                CHECK(equal(made.hot_set, expected.hot[0]));
                CHECK(made.report.hot_bytes() == expected.bytes);
                CHECK(made.report.hot_bytes() <= budget);
                CHECK((expected.next_bytes == 0 || expected.next_bytes > budget));
                CHECK(made.report.hot_lookups == expected.lookups);
                CHECK(made.report.hot_rows == made.hot_set.size());
                CHECK(made.report.index_bytes == made.hot_set.index_bytes());
                CHECK(made.report.lookup_share.lower == made.report.lookup_share.upper);
            }
        }
    }
}

// Catches a comparison of counts where it must be counts per byte, a rounding of that quotient, and an index
// charged for a row space without hot rows.
TEST_CASE("calibrator: row spaces of several dims share a budget by count per byte") {
    fae::Threads threads(2);
    for (const std::uint64_t seed : {5u, 6u, 7u}) {
        const fae::RowSpace narrow = oracle::random_space(3, 4000, 16, seed);
        const fae::RowSpace wide = oracle::random_space(4, 900, 64, seed + 10);
        const fae::RowSpace tiny({{40, 5, ""}});
        const oracle::Inputs a = oracle::random_inputs(narrow, 3000, 1, seed);
        const oracle::Inputs b = oracle::random_inputs(wide, 3000, 0, seed);
        const oracle::Inputs c = oracle::random_inputs(tiny, 3000, 2, seed);
        const fae::AccessProfile<> pa = profile_of(narrow, a);
        const fae::AccessProfile<> pb = profile_of(wide, b);
        const fae::AccessProfile<> pc = profile_of(tiny, c);
        const std::vector<fae::ProfiledSpace<>> spaces = {{&pa, 68}, {&pb, 260}, {&pc, 24}};
        const std::vector<oracle::SelectionSpace> all = {{&narrow, oracle::count_rows(narrow, a.bags()), 68},
                                                         {&wide, oracle::count_rows(wide, b.bags()), 260},
                                                         {&tiny, oracle::count_rows(tiny, c.bags()), 24}};
        const std::uint64_t bytes = narrow.rows() * 68 + wide.rows() * 260 + tiny.rows() * 24;
        std::vector<std::uint64_t> budgets = budgets_for(bytes);
        for (std::uint64_t budget = 100; budget < 4000; budget += 97) budgets.push_back(budget);
        for (const std::uint64_t budget : budgets) {
            CAPTURE(budget);
            const oracle::Selection expected = oracle::select(all, budget, 20000, 64);
            const fae::Calibrations made =
                fae::calibrate(fae::par(threads), fae::Span<const fae::ProfiledSpace<>>(spaces),
                               options_of(budget, 0, 20000));
            for (std::size_t s = 0; s < 3; ++s) CHECK(equal(made.hot_sets[s], expected.hot[s]));
            CHECK(made.report.hot_bytes() == expected.bytes);
            CHECK(made.report.hot_bytes() <= budget);
            CHECK((expected.next_bytes == 0 || expected.next_bytes > budget));
            CHECK(made.report.hot_lookups == expected.lookups);
        }
    }
}

// Catches small tables that push rows out when a larger budget takes them in.
TEST_CASE("calibrator: the hot set of a smaller budget is part of that of a larger one") {
    // Many tables around the sizes at which they become worth taking whole, and a large one.
    std::vector<fae::TableSpec> tables = {{50000, 16, ""}};
    for (std::uint64_t t = 1; t < 60; ++t) tables.push_back({t * t, 16, ""});
    const fae::RowSpace space(std::move(tables));
    const oracle::Inputs inputs = oracle::random_inputs(space, 20000, 1, 8);
    const fae::AccessProfile<> profile = profile_of(space, inputs);
    std::vector<bool> smaller(space.rows(), false);
    for (const std::uint64_t budget : budgets_for(space.rows() * 64)) {
        const fae::Calibration made = fae::calibrate(fae::seq, profile, options_of(budget, 64, 1u << 20));
        std::uint64_t lost = 0;
        for (std::size_t r = 0; r < smaller.size(); ++r) {
            const bool hot = made.hot_set.contains(r);
            lost += smaller[r] && !hot ? 1u : 0u;
            smaller[r] = hot;
        }
        CAPTURE(budget);
        CHECK(lost == 0);
    }
}

// Catches small tables left in part although the budget has long passed them, and unseen rows of large ones.
TEST_CASE("calibrator: small tables are hot in full, unseen rows included, and unseen rows of others never") {
    const fae::RowSpace space({{100, 16, ""}, {40000, 16, ""}});
    std::vector<std::uint64_t> counts(space.rows(), 0);
    for (std::size_t r = 0; r < 10; ++r) counts[r] = 640;  // 6,400 in 100 rows: worth 1 each at least
    for (std::size_t r = 100; r < 20100; ++r) counts[r] = 1 + r % 3;  // half of the large table is seen
    const auto profile = profile_of_counts(space, counts);
    const fae::Calibration made = fae::calibrate(fae::seq, profile, options_of(everything, 64, 100 * 64));
    CHECK(made.hot_set.covers(0, 100));
    CHECK(made.hot_set.size() == 20100);
    CHECK(made.report.cutoffs[0] == std::vector<std::uint64_t>{0, 1});
    // One byte less, and the first table is not small.
    const fae::Calibration without =
        fae::calibrate(fae::seq, profile, options_of(everything, 64, 100 * 64 - 1));
    CHECK(without.hot_set.size() == 20010);
    CHECK(without.report.cutoffs[0] == std::vector<std::uint64_t>{640, 1});
}

// Catches an index charged where all rows are hot: everything must fit in what its rows take.
TEST_CASE("calibrator: a budget of all rows' bytes takes all rows where all were seen") {
    const fae::RowSpace space({{3000, 8, ""}, {70, 8, ""}});
    std::vector<std::uint64_t> counts(space.rows(), 2);
    const auto profile = profile_of_counts(space, counts);
    const std::uint64_t all = space.rows() * 32;
    CHECK(fae::calibrate(fae::seq, profile, options_of(all, 32, 0)).hot_set.size() == space.rows());
    CHECK(fae::calibrate(fae::seq, profile, options_of(all, 32, 0)).report.index_bytes == 0);
    const fae::Calibration less = fae::calibrate(fae::seq, profile, options_of(all - 1, 32, 0));
    CHECK(less.hot_set.size() == (all - 1 - fae::RankBitmap::bytes_for(space.rows())) / 32);
    CHECK(less.hot_set.contains(less.hot_set.size() - 1));  // equal counts: rows ascending
    CHECK(!less.hot_set.contains(less.hot_set.size()));
}

// Catches an empty profile, a zero budget and one too small for an index and a row.
TEST_CASE("calibrator: where nothing fits or nothing was seen, no row is hot") {
    const fae::RowSpace space({{3000, 8, ""}});
    std::vector<std::uint64_t> counts(space.rows(), 0);
    CHECK(fae::calibrate(fae::seq, profile_of_counts(space, counts), options_of(everything, 32, 0))
              .hot_set.empty());
    counts[7] = 5;
    const auto profile = profile_of_counts(space, counts);
    const std::uint64_t least = fae::RankBitmap::bytes_for(3000) + 32;
    CHECK(fae::calibrate(fae::seq, profile, options_of(0, 32, 1u << 20)).hot_set.empty());
    CHECK(fae::calibrate(fae::seq, profile, options_of(least - 1, 32, 0)).hot_set.empty());
    CHECK(fae::calibrate(fae::seq, profile, options_of(least, 32, 0)).hot_set.size() == 1);
    CHECK_THROWS_AS((void)fae::calibrate(fae::seq, profile, options_of(1, 0, 0)), fae::ContractError);
}

// Catches counts cut to 16 or 32 bits on the way: counts in every range of the histogram.
TEST_CASE("calibrator: counts of any size are ranked") {
    const fae::RowSpace space({{9000, 8, ""}, {50, 8, ""}});
    std::vector<std::uint64_t> counts(space.rows(), 0);
    fae::Philox rng(4);
    for (std::size_t r = 0; r < counts.size(); ++r) counts[r] = rng.bits64() >> (20 + rng.below(44));
    const auto profile = profile_of_counts<std::uint64_t>(space, counts);
    const std::vector<oracle::SelectionSpace> all = {{&space, counts, 1}};
    for (const std::uint64_t budget : {2000u, 5000u, 9000u, 12000u}) {
        const oracle::Selection expected = oracle::select(all, budget, 0, 64);
        CHECK(equal(fae::calibrate(fae::seq, profile, options_of(budget, 1, 0)).hot_set, expected.hot[0]));
    }
}

// Catches a result that depends on the executor, and wrong slot counts.
TEST_CASE("calibrator: every executor chooses the same rows, and slots carry their counts") {
    const fae::RowSpace space = oracle::random_space(6, 200000, 16, 2);
    const oracle::Inputs inputs = oracle::random_inputs(space, 30000, 1, 2);
    const fae::AccessProfile<> profile = profile_of(space, inputs);
    const auto options = options_of(space.rows() * 2, 64, 5000);
    const fae::Calibration serial = fae::calibrate(fae::seq, profile, options);
    REQUIRE(serial.hot_set.size() > 100);
    for (const std::size_t count : {2u, 7u}) {
        fae::Threads threads(count);
        const fae::Calibration parallel = fae::calibrate(fae::par(threads), profile, options);
        REQUIRE(parallel.hot_set.size() == serial.hot_set.size());
        bool same = parallel.report.cutoffs == serial.report.cutoffs;
        const std::vector<std::uint64_t> counts =
            fae::slot_counts(fae::par(threads), profile, parallel.hot_set);
        for (std::uint64_t slot = 0; slot < serial.hot_set.size(); ++slot) {
            same = same && parallel.hot_set.row_of(slot) == serial.hot_set.row_of(slot);
            same = same && counts[slot] == profile.counts()[serial.hot_set.row_of(slot)];
        }
        CHECK(same);
    }
}

// Catches a curve that says something else than calibrate does.
TEST_CASE("budget_curve: its points equal the reports of calibrate") {
    const fae::RowSpace space = oracle::random_space(6, 20000, 16, 12);
    const oracle::Inputs inputs = oracle::random_inputs(space, 9000, 0, 12);
    const fae::AccessProfile<> profile = profile_of(space, inputs);
    const std::vector<std::uint64_t> budgets = budgets_for(space.rows() * 48);
    fae::SmallTables small_tables;
    small_tables.bytes = 30000;
    const std::vector<fae::BudgetPoint> curve =
        fae::budget_curve(fae::seq, profile, 48, budgets, small_tables);
    REQUIRE(curve.size() == budgets.size());
    for (std::size_t i = 0; i < budgets.size(); ++i) {
        const fae::Calibration made = fae::calibrate(fae::seq, profile, options_of(budgets[i], 48, 30000));
        CHECK(curve[i].budget_bytes == budgets[i]);
        CHECK(curve[i].hot_rows == made.report.hot_rows);
        CHECK(curve[i].hot_bytes == made.report.hot_bytes());
        CHECK(curve[i].hot_lookups == made.report.hot_lookups);
    }
}

// Catches the optimism of a sample that judges its own choice: the interval must hold the true share.
TEST_CASE("calibrator: the interval of a sampled profile holds the true share of look-ups") {
    const fae::RowSpace space({{60000, 16, ""}, {900, 16, ""}});
    const oracle::Inputs inputs = oracle::random_inputs(space, 60000, 1, 3);
    const std::vector<std::uint64_t> truth = oracle::count_rows(space, inputs.bags());
    int held = 0;
    int too_good = 0;
    constexpr int seeds = 60;
    for (int seed = 0; seed < seeds; ++seed) {
        fae::AccessProfiler<> profiler(space);
        profiler.add(fae::seq, inputs.bags(),
                     fae::InputSampler::exact(60000, 3000, static_cast<std::uint64_t>(seed)));
        const fae::AccessProfile<> profile = profiler.finish();
        const fae::Calibration made =
            fae::calibrate(fae::seq, profile, options_of(seed % 2 == 0 ? everything : 40000, 64, 0));
        std::uint64_t hot = 0;
        for (std::size_t r = 0; r < truth.size(); ++r) hot += made.hot_set.contains(r) ? truth[r] : 0;
        const double share = static_cast<double>(hot) / 120000;
        held += made.report.lookup_share.lower <= share && share <= made.report.lookup_share.upper ? 1 : 0;
        too_good += made.report.lookup_share.estimate > share ? 1 : 0;
        CHECK(made.report.lookup_share.upper - made.report.lookup_share.lower < 0.5);
    }
    CHECK(held >= seeds * 95 / 100);
    CHECK(too_good > seeds / 2);
}
