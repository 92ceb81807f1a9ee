// SPDX-License-Identifier: Apache-2.0
//
// The two small examples do what they say.
#include <doctest/doctest.h>

#include <cstdio>
#include <sstream>
#include <string>

#include "support/program.hpp"

// Catches: a quickstart that no longer trains (the loss stays), in which nothing is hot, or whose window
// holds nothing that is needed again or is too small for a batch.
TEST_CASE("01_quickstart: the held-out loss falls, and all look-ups are served by the fast tier") {
    const Outcome outcome = run_program("01_quickstart");
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    std::istringstream lines(outcome.out);
    std::string line;
    unsigned long step = 0;
    double loss = 0;
    double auc = 0;
    double last_loss = 10;
    double last_auc = 0.5;
    int epochs = 0;
    while (std::getline(lines, line) && line.rfind("step", 0) == 0) {
        REQUIRE(std::sscanf(line.c_str(), "step %lu: loss %lf, AUC %lf", &step, &loss, &auc) == 3);
        CHECK(loss < last_loss);
        CHECK(auc > last_auc);
        last_loss = loss;
        last_auc = auc;
        ++epochs;
    }
    CHECK(epochs == 2);
    unsigned long hot = 0;
    unsigned long hits = 0;
    unsigned long brought = 0;
    unsigned long direct = 0;
    REQUIRE(std::sscanf(line.c_str(), "%lu look-ups hot, %lu in the window, %lu brought, %lu at home", &hot,
                        &hits, &brought, &direct) == 4);
    CHECK(hot + hits + brought == 2 * 26 * 90'000UL);
    CHECK(hot > hits);
    CHECK(hits > 0);
    CHECK(brought > 0);
    CHECK(direct == 0);
    CHECK_FALSE(std::getline(lines, line));
}

// Catches: arrays of the host that do not end as without a fast tier (the program looks itself and then exits
// with 1), a fast tier that nothing moves to, a loop that does not learn.
TEST_CASE("02_embed_in_your_loop: trains the project's arrays in place, equal to a run without a fast tier") {
    const Outcome outcome = run_program("02_embed_in_your_loop");
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    std::istringstream lines(outcome.out);
    std::string line;
    REQUIRE(std::getline(lines, line));
    unsigned long hot_rows = 0;
    unsigned long rows = 0;
    unsigned long hot_inputs = 0;
    unsigned long inputs = 0;
    REQUIRE(std::sscanf(line.c_str(), "%lu of %lu rows are hot, %lu of %lu inputs need no others", &hot_rows,
                        &rows, &hot_inputs, &inputs) == 4);
    CHECK(rows == 58'040);
    CHECK(inputs == 40'000);
    CHECK(hot_rows > 0);
    CHECK(hot_inputs > 0);
    CHECK(hot_inputs < inputs);
    double last_loss = 10;
    for (int round = 1; round <= 4; ++round) {
        REQUIRE(std::getline(lines, line));
        int number = 0;
        double loss = 0;
        unsigned long moved = 0;
        REQUIRE(std::sscanf(line.c_str(), "round %d: mean loss %lf, %lu rows moved", &number, &loss,
                            &moved) == 3);
        CHECK(number == round);
        CHECK(loss < last_loss);
        CHECK(moved > 0);
        last_loss = loss;
    }
    REQUIRE(std::getline(lines, line));
    CHECK(line == "the arrays equal those of a run without a fast tier, bit for bit");
    CHECK_FALSE(std::getline(lines, line));
}

// Catches: a page that is not written, a program that books nothing.
TEST_CASE("03_live_metrics: writes a page for Prometheus whose counters have counted") {
    const TemporaryFolder folder;
    const Outcome outcome = run_program("03_live_metrics", {folder / "fae.prom"});
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    const std::string page = read_bytes(folder / "fae.prom");
    unsigned long fast = 0;
    unsigned long home = 0;
    const std::size_t at = page.find("fae_lookups_total{tier=\"fast\"}");
    REQUIRE(at != std::string::npos);
    REQUIRE(std::sscanf(page.c_str() + at,
                        "fae_lookups_total{tier=\"fast\"} %lu\nfae_lookups_total{tier=\"home\"} %lu", &fast,
                        &home) == 2);
    CHECK(fast + home == 40'000 * 26);
    CHECK(fast > 0);
    CHECK(home > 0);
    CHECK(outcome.out.find("window  2: fast tier") != std::string::npos);
    CHECK(run_program("03_live_metrics").code == 2);
}
