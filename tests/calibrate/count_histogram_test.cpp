// SPDX-License-Identifier: Apache-2.0
//
// Histograms of counts, and the access curve made of them, against sorted counts.
#include "fae/calibrate/count_histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "fae/calibrate/access_curve.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"

namespace {

struct Made {
    fae::AccessProfile<> profile;
    std::vector<std::vector<std::uint64_t>> counts;
};

Made random_profile(const std::vector<std::uint64_t>& rows, std::uint64_t seed) {
    std::vector<fae::TableSpec> tables;
    for (const std::uint64_t r : rows) tables.push_back({r, 4, ""});
    fae::RowSpace space(std::move(tables));
    fae::Buffer<std::uint32_t, fae::PageSpace> own(space.rows());
    fae::Philox rng(seed);
    Made made;
    std::vector<std::uint64_t> accesses;
    std::size_t next = 0;
    for (const std::uint64_t r : rows) {
        made.counts.emplace_back();
        accesses.push_back(0);
        for (std::uint64_t i = 0; i < r; ++i) {
            // Mostly 0 to 3, now and then up to a million: every range that the histogram treats apart.
            const std::uint32_t count = rng.bits32() >> (rng.below(4) == 0 ? 12 + rng.below(20) : 30);
            own[next++] = count;
            made.counts.back().push_back(count);
            accesses.back() += count;
        }
    }
    made.profile = fae::AccessProfile<>(std::move(space), std::move(own), std::move(accesses), 1, 1);
    return made;
}

}  // namespace

// Catches a row counted at the wrong level, twice or not at all, at any size of table and number of threads.
TEST_CASE("count_histogram: levels equal a map of the counts") {
    const Made made = random_profile({1, 3, 4096, 4097, 100000, 2500000}, 1);
    for (const std::size_t count : {1u, 3u}) {
        fae::Threads threads(count);
        const std::vector<fae::CountHistogram> tables =
            fae::count_histograms(fae::par(threads), made.profile);
        REQUIRE(tables.size() == made.counts.size());
        for (std::size_t t = 0; t < tables.size(); ++t) {
            std::map<std::uint64_t, std::uint64_t, std::greater<>> expected;
            for (const std::uint64_t c : made.counts[t]) ++expected[c];
            expected.erase(0);
            REQUIRE(tables[t].levels.size() == expected.size());
            std::size_t i = 0;
            bool same = true;
            std::uint64_t seen = 0;
            for (const auto& [c, rows] : expected) {
                same = same && tables[t].levels[i].count == c && tables[t].levels[i].rows == rows;
                seen += rows;
                ++i;
            }
            CHECK(same);
            CHECK(tables[t].rows == made.counts[t].size());
            CHECK(tables[t].seen_rows == seen);
            CHECK(tables[t].accesses == made.profile.accesses(t));
            for (const std::uint64_t least : {0u, 1u, 2u, 300u, 70000u, 1u << 30}) {
                std::uint64_t rows = 0;
                std::uint64_t lookups = 0;
                for (const std::uint64_t c : made.counts[t]) {
                    rows += c >= least ? 1u : 0u;
                    lookups += c >= least ? c : 0;
                }
                CHECK(tables[t].at_least(least) == std::pair<std::uint64_t, std::uint64_t>(rows, lookups));
            }
        }
    }
}

// Catches a point beside the curve, a missing end, and ranks that do not rise.
TEST_CASE("access_curve: every point lies on the sorted counts, from the first rank to the last row seen") {
    const Made made = random_profile({1, 50, 60000}, 6);
    const std::vector<fae::CountHistogram> tables = fae::count_histograms(fae::seq, made.profile);
    for (std::size_t t = 0; t < tables.size(); ++t) {
        std::vector<std::uint64_t> sorted = made.counts[t];
        std::sort(sorted.begin(), sorted.end(), std::greater<>());
        std::vector<double> sum = {0};
        for (const std::uint64_t c : sorted) sum.push_back(sum.back() + static_cast<double>(c));
        const std::vector<fae::AccessPoint> points = fae::access_points(tables[t], 10);
        if (tables[t].seen_rows == 0) {
            CHECK(points.empty());
            continue;
        }
        REQUIRE(!points.empty());
        CHECK(points.front().rank == 1);
        CHECK(points.back().rank == tables[t].seen_rows);
        CHECK(points.size() < 70);
        std::uint64_t before = 0;
        for (const fae::AccessPoint& p : points) {
            CHECK(p.rank > before);
            CHECK(p.count == sorted[p.rank - 1]);
            CHECK(p.share == doctest::Approx(sum[p.rank] / sum.back()));
            before = p.rank;
        }
    }
    CHECK_THROWS_AS((void)fae::access_points(tables[0], 0), fae::ContractError);
}
