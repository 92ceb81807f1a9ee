// SPDX-License-Identifier: Apache-2.0
//
// The probe of a device: plausible rates, by the trainers themselves.
#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/core/threads.hpp"
#include "fae/models/device_probe.cuh"

namespace gpu = fae::cuda;

// Catches: a rate that was left out, rows of a step that are not those of its look-ups, a
// window of another size.
TEST_CASE("probe_device: every rate is there, and the steps' rows are those that their look-ups move") {
    fae::Threads threads(2);
    gpu::DeviceProbe probe;
    probe.model = fae::DlrmShape::small_dlrm(13, 4);
    probe.batch = 256;
    probe.home_bytes = 8u << 20;
    probe.cold_shares = {0.03, 0.4, 0.9};
    probe.seconds = 1e-4;
    probe.repetitions = 2;
    const fae::DeviceRates rates = gpu::probe_device(fae::par(threads), probe);
    CHECK_FALSE(rates.name.empty());
    for (const double rate : {rates.memory_bytes, rates.gather_bandwidth, rates.link_up, rates.link_down,
                              rates.host_gather, rates.host_scatter, rates.sync_up, rates.sync_down}) {
        CHECK(rate > 1e6);
        CHECK(rate < 1e14);
    }
    CHECK(rates.launch_seconds >= 0);
    REQUIRE(rates.dense.size() == 2);
    CHECK(rates.dense[0].batch == 128);
    CHECK(rates.dense[1].batch == 256);
    CHECK(rates.dense[1].seconds > 0);
    // 1,024 look-ups a batch. Of a head of 4,096 rows 248 look-ups find about 180 rows, of one of 16 all.
    REQUIRE(rates.home.size() == 3);
    CHECK(rates.home[0].rows > 250);
    CHECK(rates.home[0].rows < 420);
    CHECK(rates.home[2].rows > 1024 * 0.9);
    CHECK(rates.home[2].rows < 1024);
    for (const fae::MovingCost& cost : rates.home) {
        CHECK(cost.batch == 256);
        CHECK(cost.seconds > 0);
        CHECK(cost.seconds < 10);
    }
    REQUIRE(rates.planning.size() == 2);  // 17 batches of about 31 and 410 rows, and a quarter more
    CHECK(rates.planning[0].window > 17 * 31);
    CHECK(rates.planning[0].window < 17 * 31 * 2);
    CHECK(rates.planning[1].window > 17 * 410);
    CHECK(rates.planning[1].window < 17 * 410 * 2);
    for (const fae::PlanningCost& cost : rates.planning) {
        CHECK(cost.seconds > 0);
        CHECK(cost.seconds < 1);
    }
}
