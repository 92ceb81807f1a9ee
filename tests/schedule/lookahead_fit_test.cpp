// SPDX-License-Identifier: Apache-2.0
//
// fit_lookahead: what batches need beside the resident rows, and how a budget is shared, against plain loops.
#include "fae/schedule/lookahead_fit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/core/threads.hpp"
#include "support/packed_case.hpp"

namespace {

// The rows of each training input.
std::vector<std::vector<std::uint32_t>> rows_of_inputs(const fae::Dataset& data) {
    const std::size_t features = data.shape.features();
    std::vector<std::vector<std::uint32_t>> inputs;
    for (std::size_t i = 0; i < data.inputs(); ++i) {
        const std::size_t begin = data.offsets.empty() ? i * features : data.offsets[i * features];
        const std::size_t end = data.offsets.empty() ? begin + features : data.offsets[(i + 1) * features];
        inputs.emplace_back(data.values.begin() + static_cast<std::ptrdiff_t>(begin),
                            data.values.begin() + static_cast<std::ptrdiff_t>(end));
    }
    return inputs;
}

}  // namespace

// Catches: rows counted twice, resident ones counted, hot inputs in what order fae trains cold, slots taken
// for rows.
TEST_CASE("fit_lookahead: the cold rows of a batch of all inputs are those of a plain loop") {
    fae::Threads threads(3);
    for (const fae_test::PackedCase& c : fae_test::packed_cases()) {
        CAPTURE(c.name);
        const fae_test::PackedInputs inputs = fae_test::packed_inputs(c);
        const fae::PackedDataset data = fae_test::pack_inputs(fae::seq, inputs);
        const std::set<std::uint32_t> hot(inputs.hot_rows.begin(), inputs.hot_rows.end());
        std::set<std::uint32_t> all;
        std::set<std::uint32_t> of_cold_inputs;
        std::size_t cold = 0;
        for (const auto& rows : rows_of_inputs(inputs.train)) {
            all.insert(rows.begin(), rows.end());
            if (std::all_of(rows.begin(), rows.end(), [&](std::uint32_t row) { return hot.count(row) != 0; }))
                continue;
            of_cold_inputs.insert(rows.begin(), rows.end());
            ++cold;
        }
        const auto not_hot = static_cast<std::uint64_t>(
            std::count_if(all.begin(), all.end(), [&](std::uint32_t row) { return hot.count(row) == 0; }));
        const std::uint64_t batch = std::max<std::uint64_t>(inputs.train.inputs(), 1);
        const fae::HotSet none = fae::HotSet::none(data.hot_set().rows());
        REQUIRE(data.cold().inputs() == cold);
        using fae::Order;
        const auto par = fae::par(threads);
        CHECK(fae::cold_rows_of_batch(par, data, data.hot_set(), batch, Order::shuffled) == not_hot);
        CHECK(fae::cold_rows_of_batch(par, data, data.hot_set(), batch, Order::fae) == not_hot);
        CHECK(fae::cold_rows_of_batch(par, data, none, batch, Order::shuffled) == all.size());
        CHECK(fae::cold_rows_of_batch(par, data, none, batch, Order::fae) == of_cold_inputs.size());
    }
}

// Catches: more than the budget, a resident set that is not the best part of the hot set, a batch that has
// more look-ups than the placement takes.
TEST_CASE("fit_lookahead: the parts keep to the budget, to the hot set and to every batch that may come") {
    for (const fae_test::PackedCase& c : fae_test::packed_cases()) {
        for (const std::uint64_t budget : {0u, 200u, 2000u, 9000u, 40000u}) {
            CAPTURE(c.name);
            CAPTURE(budget);
            fae_test::PackedInputs inputs = fae_test::packed_inputs(c);
            inputs.provenance.budget_bytes = budget;
            const fae::PackedDataset data = fae_test::pack_inputs(fae::seq, inputs);
            fae::LookaheadFitOptions asked;
            asked.batch = 7;
            const fae::LookaheadFit fit = fae::fit_lookahead(fae::seq, data, asked);
            const fae::HotSet& resident = fit.resident(data);
            CHECK(fit.resident_bytes + fit.window_bytes <= budget);
            CHECK(fit.window_bytes == fit.options.window * inputs.provenance.row_bytes);
            CHECK(fit.is_part == (resident.size() < data.hot_set().size()));
            std::uint64_t least_kept = ~std::uint64_t{0};
            std::uint64_t most_left = 0;
            for (std::size_t slot = 0; slot < inputs.hot_rows.size(); ++slot) {
                const std::uint64_t count = inputs.hot_counts[slot];
                if (resident.contains(inputs.hot_rows[slot])) {
                    least_kept = std::min(least_kept, count);
                } else {
                    most_left = std::max(most_left, count);
                }
            }
            CHECK(most_left <= least_kept);
            std::uint64_t most = 0;
            for (const auto& rows : rows_of_inputs(inputs.train))
                most = std::max<std::uint64_t>(most, rows.size());
            if (c.most_per_bag > 1 || inputs.train.inputs() != 0) CHECK(fit.options.most_lookups == 7 * most);
        }
    }
}

// Catches: a split of what is needed beside all hot rows where the window leaves but a part of them.
TEST_CASE("fit_lookahead: what a batch needs is sampled beside the rows that the window leaves") {
    fae_test::PackedCase c;
    c.hot_share = 1;
    c.inputs = 400;
    c.table_rows = {400, 400, 400};
    fae_test::PackedInputs inputs = fae_test::packed_inputs(c);
    inputs.provenance.budget_bytes = 600 * inputs.provenance.row_bytes;
    const fae::PackedDataset data = fae_test::pack_inputs(fae::seq, inputs);
    fae::LookaheadFitOptions asked;
    asked.batch = 20;
    asked.window_bytes = 300 * inputs.provenance.row_bytes;
    const fae::LookaheadFit fit = fae::fit_lookahead(fae::seq, data, asked);
    CHECK(fit.options.window == 300);
    REQUIRE(fit.is_part);
    CHECK(fit.resident(data).size() >= 290);
    CHECK(fit.cold_rows > 20);  // beside all hot rows it would be 0
    CHECK(fit.cold_rows <= 80);
}
