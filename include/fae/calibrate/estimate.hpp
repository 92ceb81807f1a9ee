// SPDX-License-Identifier: Apache-2.0
//
// The Rand-Em Box: how many rows of a table have at least some count, estimated from n draws of m random rows
// instead of a look at all of them; and the search for the least threshold whose hot rows are estimated to
// fit a budget. It draws rows, never runs of neighbouring rows: where ids are given by first appearance,
// popular rows are neighbours and an interval from runs would be wrong.
//
//   RandEmBox<std::uint32_t> box(counts_of_the_table, options, table);
//   BoxEstimate rows = box.rows_at_least(4);       // rows.upper bounds the true number
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/calibrate/quantiles.hpp"
#include "fae/calibrate/ranking.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// How a Rand-Em Box draws.
struct RandEmBoxOptions {
    std::uint32_t draws = 35;            ///< n
    std::uint32_t rows_per_draw = 1024;  ///< m
    double confidence = 0.999;
    bool two_sided = false;  ///< by default only "not more than" matters
    std::uint64_t seed = 1;
};

/// An estimated number of rows.
struct BoxEstimate {
    double mean = 0;           ///< rows found in a draw
    double deviation = 0;      ///< its standard deviation between draws
    double rows = 0;           ///< of the table: mean / m * N
    double student_upper = 0;  ///< (mean + t * deviation / sqrt(n)) / m * N
    double upper = 0;          ///< not exceeded at the confidence, also where rows found are few
    bool exact = false;        ///< the table has at most n * m rows and all were looked at
};

/// The random rows of one table, drawn once, without replacement.
///
/// Student's bound takes the draws' mean for normal. Where hot rows are rare it is not: of 35 x 1024 rows
/// none may be hot, and the bound is then 0. `upper` is the greater of Student's bound and the exact binomial
/// one of all n * m rows, so that it holds at its confidence for every cut-off.
/// @cost reads n * m counts and sorts them; a question is n binary searches
/// @source Adnan et al., PVLDB 15(1), 2021 (Rand-Em Box); Clopper, Pearson, Biometrika 26(4), 1934
template <class Count>
class RandEmBox {
  public:
    /// @param stream  tells apart the draws of several tables under one seed
    /// @throws ContractError unless n >= 2, m >= 1 and 0 < confidence < 1
    RandEmBox(Span<const Count> counts, const RandEmBoxOptions& options, std::uint64_t stream = 0)
        : options_(options), rows_(counts.size()) {
        require(options.draws >= 2 && options.rows_per_draw >= 1, [&] {
            return concat(options.draws, " draws of ", options.rows_per_draw,
                          " rows, expected at least 2 draws of 1");
        });
        require(options.confidence > 0 && options.confidence < 1,
                [&] { return concat("confidence is ", options.confidence, ", expected between 0 and 1"); });
        const double p = options.two_sided ? 1 - (1 - options.confidence) / 2 : options.confidence;
        student_ = student_quantile(p, options.draws - 1);
        bound_confidence_ = p;
        const std::uint64_t wanted = std::uint64_t{options.draws} * options.rows_per_draw;
        exact_ = rows_ <= wanted;
        if (exact_) {
            drawn_.assign(counts.begin(), counts.end());
            std::sort(drawn_.begin(), drawn_.end());
            return;
        }
        const Permutation order(rows_, options.seed, stream);
        drawn_.resize(static_cast<std::size_t>(wanted));
        for (std::size_t i = 0; i < drawn_.size(); ++i)
            drawn_[i] = counts[static_cast<std::size_t>(order(i))];
        for (std::size_t d = 0; d < options.draws; ++d) std::sort(draw_begin(d), draw_begin(d + 1));
    }

    /// The rows with at least `count` accesses.
    [[nodiscard]] BoxEstimate rows_at_least(std::uint64_t count) const {
        BoxEstimate estimate;
        const auto found_in = [&](auto begin, auto end) {
            return static_cast<double>(
                end - std::lower_bound(begin, end, count,
                                       [](Count value, std::uint64_t least) { return value < least; }));
        };
        const auto n = static_cast<double>(options_.draws);
        const auto m = static_cast<double>(options_.rows_per_draw);
        const auto all = static_cast<double>(rows_);
        if (exact_) {
            estimate.exact = true;
            estimate.rows = found_in(drawn_.begin(), drawn_.end());
            estimate.student_upper = estimate.upper = estimate.rows;
            estimate.mean = rows_ == 0 ? 0 : estimate.rows / all * m;
            return estimate;
        }
        double hits = 0;
        double squares = 0;
        for (std::size_t d = 0; d < options_.draws; ++d) {
            const double y = found_in(draw_begin(d), draw_begin(d + 1));
            hits += y;
            squares = std::fma(y, y, squares);
        }
        estimate.mean = hits / n;
        const double spread =
            std::max(0.0, squares - hits * estimate.mean);  // whole numbers: no cancellation
        estimate.deviation = std::sqrt(spread / (n - 1));
        estimate.rows = estimate.mean / m * all;
        const double student = estimate.mean + student_ * estimate.deviation / std::sqrt(n);
        estimate.student_upper = std::min(student / m, 1.0) * all;
        const double binomial = binomial_upper(hits, n * m, bound_confidence_) * all;
        // Rows seen to be below the count are not above it.
        estimate.upper = std::min(std::max(estimate.student_upper, binomial), all - (n * m - hits));
        return estimate;
    }

    [[nodiscard]] std::uint64_t rows() const { return rows_; }

  private:
    [[nodiscard]] auto draw_begin(std::size_t draw) {
        return drawn_.begin() + static_cast<std::ptrdiff_t>(draw * options_.rows_per_draw);
    }
    [[nodiscard]] auto draw_begin(std::size_t draw) const {
        return drawn_.begin() + static_cast<std::ptrdiff_t>(draw * options_.rows_per_draw);
    }

    RandEmBoxOptions options_;
    std::uint64_t rows_ = 0;
    double student_ = 0;
    double bound_confidence_ = 0;
    bool exact_ = false;
    std::vector<Count> drawn_;
};

/// The threshold that a search has found.
struct BoxSearch {
    double threshold = 0;
    std::vector<std::vector<std::uint64_t>> cutoffs;  ///< by row space and table
    std::uint64_t bytes = 0;                          ///< estimated at this threshold: at most the budget
    std::uint64_t bytes_below = 0;  ///< estimated at the next lower one: above the budget; 0 if there is none
};

/// Finds the least threshold whose estimated bytes fit the budget, by bisection over distinct cut-offs: t
/// runs over the multiples of 1 / A, A being the greatest number of accesses of any table, so H rises by at
/// most one from t to t. Small tables are hot in full, ascending by bytes while they fit.
///
/// The estimate does not exceed the truth by rule: at worst once in 1 / (1 - confidence) tables does it fall
/// short. The rows found are counted, and t is raised where they do not fit after all, so the budget holds
/// always.
/// @exec   seq, par: equal results
/// @cost   n * m random reads a table of more rows; 30 questions a table
/// @throws ContractError as RandEmBox and SmallTables::least_worth
/// @source Adnan et al., PVLDB 15(1), 2021: the statistical optimizer
template <Executor E, class Count>
[[nodiscard]] BoxSearch search_rand_em_box(const E& exec, const std::vector<detail::RankedSpace>& spaces,
                                           const std::vector<Span<const Count>>& counts, std::uint64_t budget,
                                           const RandEmBoxOptions& options, const SmallTables& small_tables) {
    struct Candidate {
        std::size_t space;
        std::size_t table;
        std::uint64_t bytes;
    };
    BoxSearch found;
    std::vector<Candidate> whole;
    std::vector<Candidate> large;
    std::uint64_t most_accesses = 0;
    std::uint64_t fixed_bytes = 0;  // indices, then small tables
    for (std::size_t s = 0; s < spaces.size(); ++s) {
        found.cutoffs.emplace_back(spaces[s].tables.size(), ~std::uint64_t{0});
        fixed_bytes += HotSet::index_bytes_for(spaces[s].space->rows(), 1);
        for (std::size_t t = 0; t < spaces[s].tables.size(); ++t) {
            const CountHistogram& table = spaces[s].tables[t];
            const bool small_table = small_tables.least_worth(table, spaces[s].row_bytes) != 0;
            (small_table ? whole : large).push_back({s, t, table.rows * spaces[s].row_bytes});
            most_accesses = std::max(most_accesses, table.accesses);
        }
    }
    std::stable_sort(whole.begin(), whole.end(),
                     [](const Candidate& a, const Candidate& b) { return a.bytes < b.bytes; });
    bool all_whole = true;
    for (const Candidate& table : whole) {
        all_whole = all_whole && fixed_bytes <= budget && table.bytes <= budget - fixed_bytes;
        if (!all_whole) break;
        found.cutoffs[table.space][table.table] = 0;
        fixed_bytes += table.bytes;
    }
    found.threshold = 1;
    found.bytes = fixed_bytes <= budget ? fixed_bytes : 0;
    if (!all_whole || fixed_bytes > budget || large.empty() || most_accesses == 0) return found;

    std::vector<std::vector<RandEmBox<Count>>> box(large.size());
    exec.run(large.size(), [&](std::size_t i) {
        const RowSpace& space = *spaces[large[i].space].space;
        const std::uint64_t first = space.offset(large[i].table);
        box[i].emplace_back(counts[large[i].space].subspan(
                                static_cast<std::size_t>(first),
                                static_cast<std::size_t>(space.offset(large[i].table + 1) - first)),
                            options, (std::uint64_t{large[i].space} << 32) + large[i].table);
    });
    // The cut-off of a table at t = k / A: ceil(k * its accesses / A), at least 1.
    const auto cutoff = [&](const Candidate& table, std::uint64_t k) {
        __extension__ using Wide = unsigned __int128;
        const Wide scaled = Wide{k} * spaces[table.space].tables[table.table].accesses;
        return std::max<std::uint64_t>(
            1, static_cast<std::uint64_t>((scaled + most_accesses - 1) / most_accesses));
    };
    const auto estimated = [&](std::uint64_t k) {
        std::uint64_t bytes = fixed_bytes;
        for (std::size_t i = 0; i < large.size(); ++i) {
            // A table of so many accesses has no more rows of that count, whatever was drawn.
            const std::uint64_t least = cutoff(large[i], k);
            const std::uint64_t most = spaces[large[i].space].tables[large[i].table].accesses / least;
            const auto upper = static_cast<std::uint64_t>(std::ceil(box[i][0].rows_at_least(least).upper));
            bytes += std::min(upper, most) * spaces[large[i].space].row_bytes;
        }
        return bytes;
    };
    const auto counted = [&](std::uint64_t k) {
        std::uint64_t bytes = fixed_bytes;
        for (const Candidate& table : large) {
            bytes += spaces[table.space].tables[table.table].at_least(cutoff(table, k)).first *
                     spaces[table.space].row_bytes;
        }
        return bytes;
    };
    std::uint64_t k = 1;
    if (estimated(1) > budget) {
        std::uint64_t low = 1;                   // does not fit
        std::uint64_t high = most_accesses + 1;  // nothing is hot at this t
        while (high - low > 1) {
            const std::uint64_t middle = low + (high - low) / 2;
            (estimated(middle) > budget ? low : high) = middle;
        }
        k = high;
        found.bytes_below = estimated(low);
    }
    found.bytes = estimated(k);
    while (counted(k) > budget) ++k;
    for (const Candidate& table : large) found.cutoffs[table.space][table.table] = cutoff(table, k);
    found.threshold = static_cast<double>(k) / static_cast<double>(most_accesses);
    return found;
}

}  // namespace fae::inline FAE_ABI
