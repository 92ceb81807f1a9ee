// SPDX-License-Identifier: Apache-2.0
//
// How many rows of each table were looked up how often: one linear pass over a profile, after which every
// cut-off, threshold or budget can be tried without looking at the rows again.
//
//   for (const CountHistogram& table : count_histograms(par(threads), profile)) table.levels ...
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/profile/access_profile.hpp"

namespace fae::inline FAE_ABI {

/// The rows of a table with one count.
struct CountLevel {
    std::uint64_t count = 0;
    std::uint64_t rows = 0;
};

/// The rows of one table by count.
struct CountHistogram {
    std::vector<CountLevel> levels;  ///< counts above 0, descending
    std::uint64_t rows = 0;          ///< rows never looked up included
    std::uint64_t seen_rows = 0;
    std::uint64_t accesses = 0;

    /// Rows with at least this count, and the look-ups of those rows.
    [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> at_least(std::uint64_t count) const {
        if (count == 0) return {rows, accesses};
        std::uint64_t found = 0;
        std::uint64_t lookups = 0;
        for (const CountLevel& level : levels) {
            if (level.count < count) break;
            found += level.rows;
            lookups += level.rows * level.count;
        }
        return {found, lookups};
    }
};

namespace detail {

/// The levels of some rows, in no particular order.
template <class Count>
void append_levels(Span<const Count> counts, std::vector<CountLevel>& levels) {
    constexpr std::size_t few = 4096;
    constexpr std::size_t common = 65536;  // counts below have a bin each
    constexpr std::size_t rare = 256;      // counts below have four bins, so that equal neighbours don't wait
    std::vector<Count> listed;
    if (counts.size() <= few) {
        listed.assign(counts.begin(), counts.end());
    } else {
        std::vector<std::uint32_t> bins(common, 0);
        std::vector<std::uint32_t> low(4 * rare, 0);
        std::size_t most = 0;
        for (std::size_t i = 0; i < counts.size(); ++i) {
            const auto count = counts[i];
            if (count < rare) {
                ++low[(i % 4) * rare + static_cast<std::size_t>(count)];
            } else if (count < common) {
                ++bins[static_cast<std::size_t>(count)];
                most = std::max(most, static_cast<std::size_t>(count));
            } else {
                listed.push_back(count);
            }
        }
        for (std::size_t c = 1; c < rare; ++c) {
            const std::uint32_t rows = low[c] + low[rare + c] + low[2 * rare + c] + low[3 * rare + c];
            if (rows != 0) levels.push_back({c, rows});
        }
        for (std::size_t c = rare; c <= most; ++c) {
            if (bins[c] != 0) levels.push_back({c, bins[c]});
        }
    }
    std::sort(listed.begin(), listed.end());
    for (std::size_t i = 0; i < listed.size();) {
        std::size_t end = i + 1;
        while (end < listed.size() && listed[end] == listed[i]) ++end;
        if (listed[i] != 0) levels.push_back({listed[i], end - i});
        i = end;
    }
}

}  // namespace detail

/// The histogram of every table of a profile.
/// @exec seq, par: equal results
/// @cost reads each count once; 256 KiB a running task
template <Executor E, class Count>
[[nodiscard]] std::vector<CountHistogram> count_histograms(const E& exec,
                                                           const AccessProfile<Count>& profile) {
    constexpr std::uint64_t piece_rows = std::uint64_t{1} << 21;
    struct Piece {
        std::size_t table;
        std::uint64_t begin;
        std::uint64_t end;
        std::vector<CountLevel> levels;
    };
    const RowSpace& space = profile.space();
    std::vector<Piece> pieces;
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        for (std::uint64_t begin = space.offset(t); begin < space.offset(t + 1); begin += piece_rows) {
            pieces.push_back({t, begin, std::min(begin + piece_rows, space.offset(t + 1)), {}});
        }
    }
    exec.run(pieces.size(), [&](std::size_t i) {
        Piece& piece = pieces[i];
        detail::append_levels(profile.counts().subspan(static_cast<std::size_t>(piece.begin),
                                                       static_cast<std::size_t>(piece.end - piece.begin)),
                              piece.levels);
    });
    std::vector<CountHistogram> tables(space.table_count());
    for (const Piece& piece : pieces) {
        std::vector<CountLevel>& levels = tables[piece.table].levels;
        levels.insert(levels.end(), piece.levels.begin(), piece.levels.end());
    }
    exec.run(tables.size(), [&](std::size_t t) {
        CountHistogram& table = tables[t];
        std::sort(table.levels.begin(), table.levels.end(),
                  [](const CountLevel& a, const CountLevel& b) { return a.count > b.count; });
        std::size_t kept = 0;
        for (const CountLevel& level : table.levels) {
            if (kept != 0 && table.levels[kept - 1].count == level.count) {
                table.levels[kept - 1].rows += level.rows;
            } else {
                table.levels[kept++] = level;
            }
            table.seen_rows += level.rows;
            table.accesses += level.rows * level.count;
        }
        table.levels.resize(kept);
        table.rows = space.table(t).rows;
    });
    return tables;
}

}  // namespace fae::inline FAE_ABI
