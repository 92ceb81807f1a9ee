// SPDX-License-Identifier: Apache-2.0
//
// Plain-loop oracles of profiling, calibration and classification, and the random cases that their tests run
// on. Nothing here is clever: every answer is found by looking at everything.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/random.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/row_space.hpp"

namespace oracle {

/// Look-ups that own their memory.
struct Inputs {
    std::vector<std::uint32_t> values;
    std::vector<std::uint64_t> offsets;  // empty: fixed bags
    std::vector<float> weights;          // empty: none
    std::size_t bag_size = 1;
    std::size_t features = 1;

    [[nodiscard]] fae::Bags<std::uint32_t> bags() const {
        return offsets.empty() ? fae::Bags<std::uint32_t>::fixed(values, bag_size, features, weights)
                               : fae::Bags<std::uint32_t>::jagged(values, offsets, features, weights);
    }
};

/// A skewed index below `rows`: about a third of the draws fall on the first row, the rest thin out.
inline std::uint64_t skewed(fae::Philox& rng, std::uint64_t rows) {
    std::uint64_t limit = rows;
    while (limit > 1 && rng.uniform() < 0.6) limit = (limit + 3) / 4;
    return rng.below(limit);
}

/// Random inputs over a row space: `bag_size` look-ups a bag, or bags of 0 to 3 look-ups where it is 0.
/// Popularity is scattered over each table by a permutation.
inline Inputs random_inputs(const fae::RowSpace& space, std::size_t inputs, std::size_t bag_size,
                            std::uint64_t seed) {
    Inputs made;
    made.features = space.features();
    made.bag_size = bag_size;
    fae::Philox rng(seed);
    std::vector<fae::Permutation> place;
    for (std::size_t t = 0; t < space.table_count(); ++t) place.emplace_back(space.table(t).rows, 99, t);
    if (bag_size == 0) made.offsets.push_back(0);
    for (std::size_t bag = 0; bag < inputs * made.features; ++bag) {
        const std::size_t f = bag % made.features;
        const std::size_t table = space.feature_table()[f];
        const std::size_t count = bag_size != 0 ? bag_size : static_cast<std::size_t>(rng.below(4));
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t index = place[table](skewed(rng, space.table(table).rows));
            made.values.push_back(static_cast<std::uint32_t>(space.row(f, index)));
        }
        if (bag_size == 0) made.offsets.push_back(made.values.size());
    }
    return made;
}

/// A row space of a few tables of 1 to `most` rows, two features of which share a table.
inline fae::RowSpace random_space(std::size_t tables, std::uint64_t most, std::uint32_t dim,
                                  std::uint64_t seed) {
    fae::Philox rng(seed, 5);
    std::vector<fae::TableSpec> specs;
    std::vector<std::uint32_t> feature_table;
    for (std::size_t t = 0; t < tables; ++t) {
        specs.push_back({1 + rng.below(t % 2 == 0 ? most : 1 + most / 16), dim, ""});
        feature_table.push_back(static_cast<std::uint32_t>(t));
    }
    feature_table.push_back(static_cast<std::uint32_t>(rng.below(tables)));
    return fae::RowSpace(std::move(specs), std::move(feature_table));
}

/// The look-ups of each row.
inline std::vector<std::uint64_t> count_rows(const fae::RowSpace& space,
                                             const fae::Bags<std::uint32_t>& bags) {
    std::vector<std::uint64_t> counts(space.rows(), 0);
    for (std::size_t i = 0; i < bags.values().size(); ++i) ++counts[bags.values()[i]];
    return counts;
}

/// One row space as the selection sees it.
struct SelectionSpace {
    const fae::RowSpace* space;
    std::vector<std::uint64_t> counts;
    std::uint64_t row_bytes;
};

/// What exact selection must give: membership per space and row.
struct Selection {
    std::vector<std::vector<bool>> hot;
    std::uint64_t bytes = 0;
    std::uint64_t lookups = 0;
    std::uint64_t next_bytes = 0;  ///< the bytes with one row more; 0 if none was left out
};

/// Exact selection by sorting all rows.
inline Selection select(const std::vector<SelectionSpace>& spaces, std::uint64_t budget,
                        std::uint64_t small_bytes, std::uint64_t small_share) {
    struct Row {
        std::size_t space;
        std::size_t table;
        std::uint64_t row;
        std::uint64_t worth;
    };
    std::vector<Row> rows;
    Selection result;
    for (std::size_t s = 0; s < spaces.size(); ++s) {
        const fae::RowSpace& space = *spaces[s].space;
        result.hot.emplace_back(space.rows(), false);
        for (std::size_t t = 0; t < space.table_count(); ++t) {
            std::uint64_t least = 0;
            if (space.table(t).rows * spaces[s].row_bytes <= small_bytes) {
                std::uint64_t accesses = 0;
                for (auto r = space.offset(t); r < space.offset(t + 1); ++r) accesses += spaces[s].counts[r];
                least = std::max<std::uint64_t>(1, accesses / small_share / space.table(t).rows);
            }
            for (auto r = space.offset(t); r < space.offset(t + 1); ++r) {
                const std::uint64_t worth = std::max(least, spaces[s].counts[r]);
                if (worth != 0) rows.push_back({s, t, r, worth});
            }
        }
    }
    std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
        const std::uint64_t left = a.worth * spaces[b.space].row_bytes;
        const std::uint64_t right = b.worth * spaces[a.space].row_bytes;
        if (left != right) return left > right;
        return std::tie(a.space, a.table, a.row) < std::tie(b.space, b.table, b.row);
    });
    // The longest prefix that fits: every prefix is tried.
    std::vector<std::uint64_t> taken(spaces.size(), 0);
    const auto cost = [&] {
        std::uint64_t bytes = 0;
        for (std::size_t s = 0; s < spaces.size(); ++s) {
            bytes += taken[s] * spaces[s].row_bytes;
            const bool indexed = taken[s] != 0 && taken[s] != spaces[s].space->rows();
            if (indexed) bytes += fae::RankBitmap::bytes_for(spaces[s].space->rows());
        }
        return bytes;
    };
    std::size_t best = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        ++taken[rows[i].space];
        const std::uint64_t bytes = cost();
        if (bytes <= budget) {
            best = i + 1;
            result.bytes = bytes;
        }
        if (i == best) result.next_bytes = bytes;
    }
    if (best == rows.size()) result.next_bytes = 0;
    for (std::size_t i = 0; i < best; ++i) {
        result.hot[rows[i].space][rows[i].row] = true;
        result.lookups += spaces[rows[i].space].counts[rows[i].row];
    }
    return result;
}

}  // namespace oracle
