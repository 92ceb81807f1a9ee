// SPDX-License-Identifier: Apache-2.0
//
// The probe of the host: that every rate is filled in and comes from the clock that it was given. How fast
// the machine is, no test asks.
#include "fae/advise/host_probe.hpp"

#include <doctest/doctest.h>

#include "fae/core/threads.hpp"
#include "support/kernels.hpp"

// Catches: a rate that is forgotten, time that is not divided by the work, a clock that is not asked.
TEST_CASE("probe_host: with a clock that ticks once a look every rate is one tick over its work") {
    fae::Threads threads(2);
    double ticks = 0;
    fae::HostProbe probe;
    probe.dim = 4;
    probe.optimizer = fae::OptimizerKind::rowwise_adagrad;
    probe.batch = 32;
    probe.features = 3;
    probe.dense_features = 2;
    probe.working_bytes = {4096, 65536};
    probe.repetitions = 2;
    probe.clock = [&] { return ticks += 1; };
    const fae::MachineRates rates = fae::probe_host(fae::par(threads), probe);
    const std::size_t state = fae::state_size(fae::OptimizerKind::rowwise_adagrad, 4);
    const auto record = static_cast<double>(fae::row_layout(4, state).bytes());
    CHECK(rates.cores == 2);
    REQUIRE(rates.rows.size() == 2);
    for (const fae::RowCosts& costs : rates.rows) {
        CHECK(costs.record_bytes == record);
        for (const double seconds : {costs.gather, costs.scatter, costs.scatter_fast, costs.scatter_home}) {
            CHECK(seconds == doctest::Approx(1.0 / (32 * 3)));
        }
    }
    CHECK(rates.rows[0].working_bytes <= 4096);
    CHECK(rates.rows[0].working_bytes > 2048);
    CHECK(rates.rows[1].working_bytes <= 65536);
    CHECK(rates.rows[1].working_bytes > 32768);
    CHECK(rates.plan_seconds == doctest::Approx(1.0 / (32 * 3)));
    CHECK(rates.load_seconds_per_byte == doctest::Approx(1.0 / (8 * 32 * 21)));
    const double hot_bytes = rates.rows[1].working_bytes * 3 / 4;
    CHECK(rates.move_up_seconds_per_byte == doctest::Approx(1.0 / hot_bytes).epsilon(0.02));
    CHECK(rates.move_down_seconds_per_byte == rates.move_up_seconds_per_byte);
    CHECK(rates.fill_seconds_per_byte == rates.move_up_seconds_per_byte);
    probe.working_bytes.clear();
    CHECK_THROWS_AS((void)fae::probe_host(fae::par(threads), probe), fae::ContractError);
}
