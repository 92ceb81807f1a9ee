// SPDX-License-Identifier: Apache-2.0
//
// The access curve of a table: its rows by popularity, as a few points evenly spaced on a log scale.
//
//   for (const AccessPoint& p : access_points(histogram)) plot(p.rank, p.count);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "fae/calibrate/count_histogram.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// One row of the curve.
struct AccessPoint {
    std::uint64_t rank = 0;   ///< from 1, the most popular
    std::uint64_t count = 0;  ///< accesses of the row of that rank
    double share = 0;         ///< of the table's accesses that rows up to this rank have
};

/// Points at ranks 1 to the last row seen, about `per_decade` between powers of ten; the first and the last
/// rank are always among them.
/// @throws ContractError if per_decade is 0
[[nodiscard]] inline std::vector<AccessPoint> access_points(const CountHistogram& table,
                                                            std::uint32_t per_decade = 20) {
    require(per_decade >= 1, [&] { return concat("per_decade is ", per_decade, ", expected at least 1"); });
    std::vector<AccessPoint> points;
    const double step = std::pow(10.0, 1.0 / per_decade);
    std::uint64_t next = 1;
    std::uint64_t rows = 0;
    std::uint64_t accesses = 0;
    for (const CountLevel& level : table.levels) {
        const std::uint64_t last = rows + level.rows;
        while (next <= last) {
            const std::uint64_t lookups = accesses + (next - rows) * level.count;
            points.push_back(
                {next, level.count, static_cast<double>(lookups) / static_cast<double>(table.accesses)});
            if (next == table.seen_rows) break;
            const auto wider = static_cast<std::uint64_t>(static_cast<double>(next) * step);
            next = std::min(std::max(next + 1, wider), table.seen_rows);
        }
        rows = last;
        accesses += level.rows * level.count;
    }
    return points;
}

}  // namespace fae::inline FAE_ABI
