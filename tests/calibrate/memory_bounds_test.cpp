// SPDX-License-Identifier: Apache-2.0
//
// What profile and hot set take of memory at the row counts of Criteo Kaggle: as they say, and as the
// operating system sees it.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/synthetic_spec.hpp"
#include "fae/profile/profiler.hpp"

using namespace fae;

namespace {

constexpr double slack = 4 << 20;  // two huge pages that are not full, stacks of threads

RowSpace kaggle_rows() {
    std::vector<TableSpec> tables;
    for (const auto& table : synthetic_kaggle().tables) tables.push_back({table.rows, 16, ""});
    return RowSpace(std::move(tables));
}

/// Bytes of this process that lie in memory.
double resident() {
    std::ifstream file("/proc/self/statm");
    double pages = 0;
    file >> pages >> pages;
    return pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

// Catches what the figures of the library's own would not show: a copy, an index beside the counters.
// The thread sanitizer's own memory grows with what is touched.
#if !defined(__SANITIZE_THREAD__)
TEST_CASE("memory: a profile takes 4 bytes a row, while it is made and afterwards") {
    const RowSpace space = kaggle_rows();
    const auto rows = static_cast<double>(space.rows());
    REQUIRE(space.rows() == 33'762'577);
    // Every 512th row of each table, so that every page of counters comes into being.
    constexpr std::size_t inputs = 20'000;
    std::vector<std::uint32_t> values;
    values.reserve(inputs * space.features());
    for (std::size_t i = 0; i < inputs; ++i) {
        for (std::size_t f = 0; f < space.features(); ++f)
            values.push_back(static_cast<std::uint32_t>(space.row(f, i * 512 % space.table(f).rows)));
    }
    Threads threads(2);
    const auto bags = Bags<std::uint32_t>::fixed(values, 1, space.features());
    const double before = resident();
    AccessProfiler<> profiler(space);
    profiler.add(par(threads), bags);
    const double counting = resident() - before;
    CHECK(counting > 3.9 * rows);  // or the pages were not touched, and this says nothing
    CHECK(counting <= 4 * rows + slack);
    const AccessProfile<> profile = profiler.finish();
    CHECK(profile.accesses() == values.size());
    CHECK(resident() - before <= 4 * rows + slack);
    CHECK(static_cast<double>(profile.counts().size() * sizeof(profile.counts()[0])) == 4 * rows);
}
#endif

// Catches ranks or bits that grow beyond what the budget is charged with.
TEST_CASE("memory: hot membership takes at most 1.5 bits a row, besides the row of each slot") {
    const std::uint64_t rows = kaggle_rows().rows();
    for (const std::uint64_t every : {1000u, 10u, 2u}) {
        CAPTURE(every);
        const double before = resident();
        const HotSet hot = HotSet::from_predicate(seq, rows, [&](RowId row) { return row % every == 0; });
        const double grown = resident() - before;
        CHECK(hot.size() == (rows + every - 1) / every);
        CHECK(static_cast<double>(hot.index_bytes()) * 8 <= 1.5 * static_cast<double>(rows));
        CHECK(hot.index_bytes() == hot.ref().bitmap().size() / 448 * 64 + 64);
#if !defined(__SANITIZE_THREAD__)
        CHECK(grown <= 1.5 / 8 * static_cast<double>(rows) + 4 * static_cast<double>(hot.size()) + slack);
#else
        static_cast<void>(grown);
#endif
    }
}
