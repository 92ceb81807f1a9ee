// SPDX-License-Identifier: Apache-2.0
//
// MetricsHistory: windows of counters; and the page that Prometheus reads.
#include "fae/trace/metrics_history.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <sstream>
#include <string>

#include "fae/trace/prometheus.hpp"

using namespace fae;

namespace {

// Ends a window with so many look-ups in the fast tier of a hundred.
void window(MetricsHistory& history, std::uint64_t fast) {
    history.current().add_lookups(Tier::fast, fast, fast);
    history.current().add_lookups(Tier::home, 100 - fast, 100 - fast);
    history.roll();
}

}  // namespace

// Catches: a window that is counted twice or not at all, an old one that is never forgotten.
TEST_CASE("MetricsHistory: the last windows, the worst of them and the whole run") {
    MetricsHistory history(3);
    CHECK(history.last() == Metrics());
    CHECK(history.worst_fast_share() == 0);
    Metrics* const address = &history.current();
    window(history, 20);
    window(history, 90);
    CHECK(history.worst_fast_share() == doctest::Approx(0.2));
    window(history, 60);
    window(history, 80);  // forgets the first
    CHECK(&history.current() == address);
    CHECK(history.ended() == 4);
    CHECK(history.last().fast_share() == doctest::Approx(0.8));
    CHECK(history.recent().fast_share() == doctest::Approx((90.0 + 60 + 80) / 300));
    CHECK(history.worst_fast_share() == doctest::Approx(0.6));
    history.current().add_lookups(Tier::fast, 50, 50);
    CHECK(history.total().fast.lookups == 20 + 90 + 60 + 80 + 50);
    CHECK(history.last().fast.lookups == 80);
    history.roll();
    window(history, 0);
    CHECK(history.worst_fast_share() == 0);
    CHECK_THROWS_AS(MetricsHistory(0), ContractError);
}

// Catches: an empty window that counts as one without a hit.
TEST_CASE("MetricsHistory: a window without look-ups is not the worst") {
    MetricsHistory history(2);
    window(history, 70);
    history.roll();
    CHECK(history.worst_fast_share() == doctest::Approx(0.7));
}

// Catches: a line that Prometheus refuses, a counter under another tier's label, a family announced twice.
TEST_CASE("prometheus_text: every line is a comment or a sample, every counter has its value") {
    MetricsHistory history(2);
    history.current().add_lookups(Tier::fast, 100, 90);
    history.current().add_lookups(Tier::home, 30, 30);
    history.current().add_moved(Tier::fast, 7, 448);
    history.current().add_moved(Tier::home, 5, 320);
    history.current().stalled(Tier::fast) = 0.25;
    history.current().stalled(Tier::home) = 1.5;
    history.current().seconds(Phase::train) = 12.5;
    history.roll();
    const std::string page = prometheus_text(history, "fae", "model=\"ads\"");
    std::map<std::string, double> samples;
    std::map<std::string, int> families;
    std::istringstream lines(page);
    for (std::string line; std::getline(lines, line);) {
        CAPTURE(line);
        if (line.rfind("# ", 0) == 0) {
            std::istringstream words(line);
            std::string hash;
            std::string what;
            std::string name;
            words >> hash >> what >> name;
            CHECK((what == "HELP" || what == "TYPE"));
            if (what == "TYPE") ++families[name];
            continue;
        }
        const std::size_t space = line.rfind(' ');
        REQUIRE(space != std::string::npos);
        std::size_t used = 0;
        const double value = std::stod(line.substr(space + 1), &used);
        CHECK(used == line.size() - space - 1);
        CHECK(samples.emplace(line.substr(0, space), value).second);
        CHECK(families.count(line.substr(0, line.find_first_of("{ "))) == 1);
    }
    for (const auto& [family, times] : families) {
        const std::string& name = family;  // what clang lets a lambda name
        CAPTURE(name);
        CHECK(times == 1);
    }
    const auto of = [&](const std::string& name, const std::string& label) {
        const auto found = samples.find("fae_" + name + "{model=\"ads\"" + label + "}");
        REQUIRE(found != samples.end());
        return found->second;
    };
    CHECK(of("lookups_total", ",tier=\"fast\"") == 100);
    CHECK(of("hits_total", ",tier=\"fast\"") == 90);
    CHECK(of("lookups_total", ",tier=\"home\"") == 30);
    CHECK(of("bytes_moved_total", ",tier=\"fast\"") == 448);
    CHECK(of("bytes_moved_total", ",tier=\"home\"") == 320);
    CHECK(of("rows_moved_total", ",tier=\"home\"") == 5);
    CHECK(of("stall_seconds_total", ",tier=\"fast\"") == 0.25);
    CHECK(of("stall_seconds_total", ",tier=\"home\"") == 1.5);
    CHECK(of("phase_seconds_total", ",phase=\"train\"") == 12.5);
    CHECK(of("windows_total", "") == 1);
    CHECK(of("fast_share", ",of=\"run\"") == doctest::Approx(0.75));
    CHECK(of("fast_share", ",of=\"worst_recent_window\"") == doctest::Approx(0.75));
    CHECK(prometheus_text(history, "x").find("\nx_windows_total 1\n") != std::string::npos);
}
