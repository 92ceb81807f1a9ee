// SPDX-License-Identifier: Apache-2.0
//
// The one pass over a sweep of budgets against calibrating and classifying at each of them.
#include "fae/classify/budget_classes.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

constexpr std::uint64_t row_bytes = 64;

// Budgets around every place where something changes: nothing, parts of groups, small tables, everything.
std::vector<std::uint64_t> sweep(const fae::RowSpace& space) {
    std::vector<std::uint64_t> budgets{0, 100};
    for (std::uint64_t part = 40; part > 0; --part) budgets.push_back(space.rows() * 70 / part);
    return budgets;
}

}  // namespace

// Catches: a level one too high or low, the rows of a group that a budget cuts taken from its wrong end, a
// pass that forgets look-ups of jagged bags, counts that depend on threads.
TEST_CASE("BudgetClasses: at every budget of a sweep it counts what calibrate and classify find") {
    fae::Threads threads(3);
    for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
        for (const std::size_t bag_size : {1u, 2u, 0u}) {
            CAPTURE(seed);
            CAPTURE(bag_size);
            const fae::RowSpace space = oracle::random_space(5, 6000, 16, seed);
            const oracle::Inputs inputs = oracle::random_inputs(space, 20000, bag_size, seed);
            fae::AccessProfiler<> profiler(space);
            profiler.add(fae::par(threads), inputs.bags());
            const fae::AccessProfile<> profile = profiler.finish();
            const std::vector<std::uint64_t> budgets = sweep(space);
            const fae::SmallTables small{.bytes = 64 * 300, .share = 64};
            const fae::RowLevels levels =
                fae::row_levels(fae::par(threads), profile, row_bytes, budgets, small);
            fae::BudgetClasses classes(levels);
            classes.add(fae::par(threads), inputs.bags());
            REQUIRE(levels.budgets() == budgets.size());
            CHECK(classes.inputs() == 20000);
            CHECK(classes.lookups() == inputs.values.size());
            for (std::size_t b = 0; b < budgets.size(); ++b) {
                CAPTURE(budgets[b]);
                fae::CalibrationOptions options;
                options.budget_bytes = budgets[b];
                options.row_bytes = row_bytes;
                options.small_tables = small;
                const fae::Calibration made = fae::calibrate(fae::seq, profile, options);
                std::uint64_t wrong = 0;
                for (std::uint64_t row = 0; row < space.rows(); ++row)
                    wrong += made.hot_set.contains(row) != (levels.of(row) <= b) ? 1u : 0u;
                CHECK(wrong == 0);
                CHECK(levels.points()[b].hot_rows == made.hot_set.size());
                CHECK(levels.points()[b].hot_bytes == made.report.hot_bytes());
                CHECK(levels.points()[b].hot_lookups == made.report.hot_lookups);
                CHECK(classes.hot_lookups(b) == made.report.hot_lookups);
                CHECK(classes.hot_inputs(b) ==
                      fae::classify(fae::seq, made.hot_set, space, inputs.bags()).hot_count());
            }
        }
    }
}

// Catches: inputs numbered from 0 again in the second batch, or counted without being drawn.
TEST_CASE("BudgetClasses: batches of a sampled stream count the inputs that the sampler draws") {
    const fae::RowSpace space = oracle::random_space(4, 3000, 16, 7);
    const oracle::Inputs inputs = oracle::random_inputs(space, 3000, 1, 7);
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::seq, inputs.bags());
    const fae::RowLevels levels =
        fae::row_levels(fae::seq, profiler.finish(), row_bytes, {space.rows() * 8, space.rows() * 16});
    const auto sampler = fae::InputSampler::exact(3000, 500, 3);
    fae::BudgetClasses whole(levels);
    whole.add(fae::seq, inputs.bags(), sampler);
    fae::BudgetClasses parts(levels);
    const std::size_t features = space.features();
    const fae::Span<const std::uint32_t> values(inputs.values);
    for (const auto& [first, count] :
         std::vector<std::pair<std::size_t, std::size_t>>{{0, 1}, {1, 1000}, {1001, 0}, {1001, 1999}}) {
        parts.add(
            fae::seq,
            fae::Bags<std::uint32_t>::fixed(values.subspan(first * features, count * features), 1, features),
            sampler);
    }
    CHECK(whole.inputs() == 500);
    CHECK(parts.seen() == 3000);
    std::uint64_t hot = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
        bool all = sampler.draws(i);
        for (std::size_t f = 0; f < features; ++f) all = all && levels.of(values[i * features + f]) <= 1;
        hot += all ? 1u : 0u;
    }
    CHECK(hot > 0);
    CHECK(hot < 500);
    CHECK(whole.hot_inputs(1) == hot);
    CHECK(parts.inputs() == 500);
    for (const std::size_t b : {0u, 1u}) {
        CHECK(parts.hot_inputs(b) == whole.hot_inputs(b));
        CHECK(parts.hot_lookups(b) == whole.hot_lookups(b));
    }
}

TEST_CASE("row_levels: budgets that do not ascend, or are too many, are refused") {
    const fae::RowSpace space = oracle::random_space(2, 50, 16, 1);
    const oracle::Inputs inputs = oracle::random_inputs(space, 10, 1, 1);
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::seq, inputs.bags());
    const fae::AccessProfile<> profile = profiler.finish();
    CHECK_THROWS_AS((void)fae::row_levels(fae::seq, profile, row_bytes, {64, 63}), fae::ContractError);
    CHECK_THROWS_AS((void)fae::row_levels(fae::seq, profile, row_bytes, std::vector<std::uint64_t>(256, 64)),
                    fae::ContractError);
    CHECK(fae::row_levels(fae::seq, profile, row_bytes, {}).budgets() == 0);
}
