// SPDX-License-Identifier: Apache-2.0
//
// From many points to the few that pixels can show: curves thinned without losing their peaks, and stretches
// finer than a pixel as the share of it that is hot. Used by line_chart.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/report/markup.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// A point in the units of a chart's axes.
struct Point {
    double x;
    double y;
};

/// A part of the x axis that is hot or cold.
struct Stretch {
    double from;
    double to;
    bool hot;
};

namespace detail {

/// A stretch of a curve without gaps, in pixels.
using Run = std::vector<Point>;

/// Keeps the first, the last, the lowest and the highest point of every pixel column.
[[nodiscard]] inline Run thinned(const Run& run, double columns) {
    if (static_cast<double>(run.size()) <= 4.0 * columns) return run;
    Run kept;
    for (std::size_t first = 0; first < run.size();) {
        std::size_t end = first;
        std::size_t low = first;
        std::size_t high = first;
        for (; end < run.size() && std::floor(run[end].x) == std::floor(run[first].x); ++end) {
            if (run[end].y < run[low].y) low = end;
            if (run[end].y > run[high].y) high = end;
        }
        std::size_t last_kept = run.size();
        for (const std::size_t i : {first, std::min(low, high), std::max(low, high), end - 1}) {
            if (i != last_kept) kept.push_back(run[i]);
            last_kept = i;
        }
        first = end;
    }
    return kept;
}

/// Appends lines through the points of a run to the `d` of a path; the first command is `first`.
inline void append_path(std::string& path, const Run& run, char first) {
    for (const Point& p : run) {
        path += first;
        path += coordinate(p.x) + " " + coordinate(p.y);
        first = 'L';
    }
}

/// Neighbouring pixel columns that are hot to the same share.
struct PixelStretch {
    double from;
    double width;
    double hot_share;
};

/// Stretches as pixel columns: of each its hot share, in sixteenths, and columns of equal share together.
/// Columns that no stretch covers are left out. `pixel_of` maps an end of a stretch to pixels, or to NaN if
/// it cannot be drawn.
/// @cost   O(stretches + columns)
template <class PixelOf>
[[nodiscard]] std::vector<PixelStretch> strip_parts(const std::vector<Stretch>& stretches,
                                                    std::size_t columns, PixelOf&& pixel_of) {
    std::vector<double> hot(columns, 0.0);
    std::vector<double> known(columns, 0.0);
    for (const Stretch& part : stretches) {
        const double from = std::max(pixel_of(part.from), 0.0);
        const double to = std::min(pixel_of(part.to), static_cast<double>(columns));
        if (!(from < to)) continue;
        for (auto column = static_cast<std::size_t>(from); column < columns; ++column) {
            const auto start = static_cast<double>(column);
            const double covered = std::min(to, start + 1.0) - std::max(from, start);
            if (covered <= 0.0) break;
            known[column] += covered;
            if (part.hot) hot[column] += covered;
        }
    }
    const auto share = [&](std::size_t column) {
        return known[column] <= 0.0 ? -1.0 : std::round(16.0 * hot[column] / known[column]) / 16.0;
    };
    std::vector<PixelStretch> parts;
    for (std::size_t first = 0; first < columns;) {
        std::size_t end = first + 1;
        while (end < columns && share(end) == share(first)) ++end;
        if (share(first) >= 0.0) {
            parts.push_back({static_cast<double>(first), static_cast<double>(end - first), share(first)});
        }
        first = end;
    }
    return parts;
}

}  // namespace detail
}  // namespace report
}  // namespace fae::inline FAE_ABI
