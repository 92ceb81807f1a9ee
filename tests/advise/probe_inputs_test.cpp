// SPDX-License-Identifier: Apache-2.0
//
// The inputs that a probe trains on: that their batches have the rows that it says.
#include "fae/advise/probe_inputs.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/table/lookahead_planner.hpp"

// Catches: a share of cold look-ups that is not the one asked for, hot rows that were never meant to be, rows
// of a batch reckoned by another law than the one drawn by, a window that holds no batch.
TEST_CASE("ProbeInputs: batches have the hot look-ups and the different rows that are said of them") {
    for (const double cold_share : {0.03, 0.4, 1.0}) {
        CAPTURE(cold_share);
        const fae::ProbeInputsOptions options{
            .batch = 512, .cold_share = cold_share, .features = 5, .dense_features = 2, .table_rows = 20'000};
        const fae::ProbeInputs inputs(fae::seq, options);
        const fae::PackedDataset& data = inputs.data();
        CHECK(data.inputs() == 32 * 512);
        CHECK(data.hot_set().size() == 3 * fae::probe_head + 2 * fae::probe_short_head);
        const double lookups = static_cast<double>(data.lookups());
        CHECK(static_cast<double>(data.hot_lookups()) / lookups ==
              doctest::Approx(1 - cold_share).epsilon(0.02));

        const fae::LookaheadOptions window = inputs.window(fae::seq);
        CHECK(window.lookahead >= 8);
        CHECK(window.lookahead <= 16);
        fae::LookaheadPlanner planner(data.hot_set(), window);
        fae::LookaheadPlan plan;
        fae::BatchLoader loader(data);
        fae::BatchScheduler scheduler({.hot_inputs = data.hot().inputs(),
                                       .cold_inputs = data.cold().inputs(),
                                       .batch_size = 512,
                                       .order = fae::Order::shuffled},
                                      fae::FixedRate(50));
        std::set<std::uint64_t> before;
        double different = 0;
        double shared = 0;
        double batches = 0;
        std::vector<std::uint32_t> located(512 * 5);
        for (fae::BatchRef batch; scheduler.next(batch); ++batches) {
            const fae::Lookups<std::uint32_t> loaded = loader.load(fae::seq, batch).lookups;
            std::set<std::uint64_t> rows;
            for (const std::uint32_t value : loaded.bags.values())
                rows.insert(loaded.heat == fae::Heat::hot ? loaded.hot_set->row_of(value) : value);
            different += static_cast<double>(rows.size());
            for (const std::uint64_t row : rows) shared += static_cast<double>(before.count(row));
            before = std::move(rows);
            planner.push(fae::seq, loaded, fae::Span<std::uint32_t>(located), plan);
        }
        CHECK(inputs.rows().different == doctest::Approx(different / batches).epsilon(0.02));
        CHECK(inputs.rows().shared == doctest::Approx(shared / (batches - 1)).epsilon(0.08));
        // Nothing is served at home, and most cold rows are brought.
        CHECK(planner.counts().direct == 0);
        CHECK(static_cast<double>(planner.counts().rows_in) > 0.5 * cold_share * lookups);
        CHECK(static_cast<double>(planner.counts().rows_in) <= 1.2 * cold_share * lookups);
    }
    CHECK_THROWS_AS(fae::ProbeInputs(fae::seq, {.table_rows = fae::probe_head}), fae::ContractError);
}
