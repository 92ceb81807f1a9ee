// SPDX-License-Identifier: Apache-2.0
//
// The order in which rows become hot, and how far into it a budget reaches. calibrate (calibrator.hpp) and
// budget_curve (budget_curve.hpp) are made of it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "fae/calibrate/count_histogram.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// Which tables are small, and when they are hot in full.
struct SmallTables {
    /// A table of at most this many bytes, state and stride included, is small. 0: none is.
    std::uint64_t bytes = std::uint64_t{1} << 20;
    /// A small table goes in whole once the cut-off falls to its mean count divided by this.
    std::uint64_t share = 64;

    /// The count that every row of the table is worth at least; 0 if the table is not small.
    /// @throws ContractError if share or row_bytes is 0
    [[nodiscard]] std::uint64_t least_worth(const CountHistogram& table, std::uint64_t row_bytes) const {
        require(share >= 1 && row_bytes >= 1, [&] {
            return concat("share is ", share, " and row_bytes ", row_bytes, ", expected at least 1");
        });
        if (table.rows == 0 || table.rows > bytes / row_bytes) return 0;
        return std::max<std::uint64_t>(1, table.accesses / share / table.rows);
    }
};

namespace detail {

/// Rows that are equally worth having, all of one table: those of one count, or a small table's rest.
struct RankedGroup {
    std::size_t space = 0;
    std::size_t table = 0;
    std::uint64_t worth = 0;  ///< count, or what a small table's rows are worth at least
    std::uint64_t rows = 0;
    std::uint64_t lookups = 0;
    bool rest = false;  ///< all rows of a small table that are not worth more by their own count
};

/// How far a budget reaches: so many groups, and so many rows (the first ones) of the next.
struct Cut {
    std::size_t groups = 0;
    std::uint64_t partial_rows = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t row_bytes = 0;    ///< of the hot rows
    std::uint64_t index_bytes = 0;  ///< of the row spaces that need one
    std::uint64_t lookups = 0;      ///< of the whole groups
};

/// A row space as the ranking sees it.
struct RankedSpace {
    const RowSpace* space = nullptr;
    std::uint64_t row_bytes = 0;
    std::vector<CountHistogram> tables;
};

/// All rows that may become hot, best first: by worth per byte, then by space, table and row. The order knows
/// no budget, and a budget buys the longest prefix that fits, so budgets nest.
class Ranking {
  public:
    Ranking(const std::vector<RankedSpace>& spaces, const SmallTables& small_tables) {
        for (std::size_t s = 0; s < spaces.size(); ++s) {
            rows_.push_back(spaces[s].space->rows());
            row_bytes_.push_back(spaces[s].row_bytes);
            for (std::size_t t = 0; t < spaces[s].tables.size(); ++t) {
                const CountHistogram& table = spaces[s].tables[t];
                const std::uint64_t least = small_tables.least_worth(table, spaces[s].row_bytes);
                RankedGroup rest{s, t, least, table.rows, table.accesses, true};
                for (const CountLevel& level : table.levels) {
                    if (level.count <= least) break;
                    groups_.push_back({s, t, level.count, level.rows, level.rows * level.count, false});
                    rest.rows -= level.rows;
                    rest.lookups -= level.rows * level.count;
                }
                if (least != 0 && rest.rows != 0) groups_.push_back(rest);
            }
        }
        std::sort(groups_.begin(), groups_.end(), [&](const RankedGroup& a, const RankedGroup& b) {
            __extension__ using Wide = unsigned __int128;
            const Wide left = Wide{a.worth} * row_bytes_[b.space];
            const Wide right = Wide{b.worth} * row_bytes_[a.space];
            if (left != right) return left > right;
            return std::tie(a.space, a.table) < std::tie(b.space, b.table);
        });
    }

    [[nodiscard]] const std::vector<RankedGroup>& groups() const { return groups_; }

    /// The longest prefix of the order whose rows and indices take at most `budget` bytes. A row space needs
    /// an index unless none or all of its rows are hot.
    [[nodiscard]] Cut cut(std::uint64_t budget) const {
        std::size_t best = 0;
        Taken taken(rows_.size());
        for (std::size_t g = 0; g < groups_.size(); ++g) {
            if (groups_[g].rows > (budget - taken.bytes) / row_bytes_[groups_[g].space]) break;
            take(taken, groups_[g], groups_[g].rows);
            if (taken.bytes + index_bytes(taken) <= budget) best = g + 1;
        }
        Cut cut;
        cut.groups = best;
        taken = Taken(rows_.size());
        for (std::size_t g = 0; g < best; ++g) {
            take(taken, groups_[g], groups_[g].rows);
            cut.lookups += groups_[g].lookups;
        }
        if (best < groups_.size()) {
            // A part of the next group; it is never the last row of its space, or all of it would fit.
            const RankedGroup& next = groups_[best];
            Taken one_more = taken;
            take(one_more, next, 1);
            const std::uint64_t first = one_more.bytes + index_bytes(one_more);
            if (next.rows > 1 && first <= budget) {
                cut.partial_rows = std::min(next.rows - 1, 1 + (budget - first) / row_bytes_[next.space]);
                take(taken, next, cut.partial_rows);
            }
        }
        cut.row_bytes = taken.bytes;
        cut.index_bytes = index_bytes(taken);
        for (const std::uint64_t rows : taken.rows) cut.hot_rows += rows;
        return cut;
    }

    /// The least count that is hot in each table of a space after a cut, its partial group left aside; 0
    /// where the whole table is, the greatest number where none of it is.
    [[nodiscard]] std::vector<std::uint64_t> cutoffs(const Cut& cut, std::size_t space,
                                                     std::size_t tables) const {
        std::vector<std::uint64_t> least(tables, std::numeric_limits<std::uint64_t>::max());
        for (std::size_t g = 0; g < cut.groups; ++g) {
            if (groups_[g].space == space) least[groups_[g].table] = groups_[g].rest ? 0 : groups_[g].worth;
        }
        return least;
    }

  private:
    struct Taken {
        explicit Taken(std::size_t spaces) : rows(spaces, 0) {}
        std::vector<std::uint64_t> rows;
        std::uint64_t bytes = 0;
    };
    void take(Taken& taken, const RankedGroup& group, std::uint64_t rows) const {
        taken.rows[group.space] += rows;
        taken.bytes += rows * row_bytes_[group.space];
    }
    [[nodiscard]] std::uint64_t index_bytes(const Taken& taken) const {
        std::uint64_t bytes = 0;
        for (std::size_t s = 0; s < rows_.size(); ++s)
            bytes += HotSet::index_bytes_for(rows_[s], taken.rows[s]);
        return bytes;
    }

    std::vector<std::uint64_t> rows_;
    std::vector<std::uint64_t> row_bytes_;
    std::vector<RankedGroup> groups_;
};

/// Rows [begin, end) of one table are hot from this count on; 0: all, the greatest number: none.
struct CutoffRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t least = 0;
};

/// The word of hot bits of 64 rows that share a cut-off.
template <class Count>
[[nodiscard]] std::uint64_t at_least_word(const Count* counts, std::uint64_t least) {
    if (least > std::numeric_limits<Count>::max()) return 0;
    const auto bound = static_cast<Count>(least);
    // A loop that compilers turn into vector code, then eight bytes of 0 or 1 into a byte of bits: the factor
    // moves byte i to bit 56 + i.
    std::uint8_t flags[64];
    for (unsigned i = 0; i < 64; ++i) flags[i] = counts[i] >= bound ? 1 : 0;
    std::uint64_t bits = 0;
    for (unsigned byte = 0; byte < 8; ++byte) {
        std::uint64_t eight = 0;
        if constexpr (std::endian::native == std::endian::little) {
            std::memcpy(&eight, flags + 8 * byte, 8);
        } else {
            for (unsigned i = 0; i < 8; ++i) eight |= std::uint64_t{flags[8 * byte + i]} << (8 * i);
        }
        bits |= (eight * 0x0102040810204080u >> 56) << (8 * byte);
    }
    return bits;
}

/// The hot set of rows at or above their cut-offs.
/// @param ranges  cover the rows, ascending
/// @cost  reads each count once
template <Executor E, class Count>
[[nodiscard]] HotSet hot_set_above(const E& exec, Span<const Count> counts,
                                   const std::vector<CutoffRange>& ranges) {
    const std::uint64_t rows = counts.size();
    return HotSet::from_bitmap(
        exec, RankBitmap::from_word_function(exec, rows, [&](std::uint64_t w) {
            const std::uint64_t first = w * 64;
            const std::uint64_t last = std::min<std::uint64_t>(first + 64, rows);
            auto range = std::partition_point(ranges.begin(), ranges.end(),
                                              [&](const CutoffRange& r) { return r.end <= first; });
            if (last == first + 64 && range->end >= last)
                return at_least_word(counts.data() + first, range->least);
            std::uint64_t bits = 0;
            for (std::uint64_t row = first; row < last; ++row) {
                while (range->end <= row) ++range;
                bits |=
                    static_cast<std::uint64_t>(counts[static_cast<std::size_t>(row)] >= range->least ? 1 : 0)
                    << (row - first);
            }
            return bits;
        }));
}

}  // namespace detail

}  // namespace fae::inline FAE_ABI
