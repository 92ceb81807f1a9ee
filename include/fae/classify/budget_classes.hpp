// SPDX-License-Identifier: Apache-2.0
//
// BudgetClasses: how many inputs and look-ups are hot at each budget of a sweep, from one pass over the
// inputs: an input becomes hot with the budget that makes its last row hot.
//
//   BudgetClasses classes(levels);                      // calibrate/row_levels.hpp
//   while (read(batch)) classes.add(par(threads), batch.bags());
//   classes.hot_inputs(2), classes.hot_lookups(2)       // at the third budget
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "fae/calibrate/row_levels.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/types.hpp"
#include "fae/profile/sampled.hpp"

namespace fae::inline FAE_ABI {

/// Counts inputs and look-ups by the budget that first makes them hot. What it says of a budget is what
/// classify finds with that budget's hot set.
class BudgetClasses {
  public:
    /// @param levels  outlives this object
    explicit BudgetClasses(const RowLevels& levels)
        : levels_(&levels), inputs_(levels.budgets() + 1, 0), lookups_(levels.budgets() + 1, 0) {}

    /// Counts inputs seen() and on of a stream, those that the sampler draws.
    /// @pre    every value is a row of the levels (FAE_CHECKED)
    /// @exec   seq, par: equal results
    /// @cost   reads each look-up and the byte of its row once; 4 KiB for each 8,192 inputs
    /// @throws IndexError (FAE_CHECKED)
    template <Executor E, IndexType Index>
    void add(const E& exec, const Bags<Index>& bags, const InputSampler& sampler = {}) {
        constexpr std::size_t grain = 8192;
        std::vector<Counts> counted(ceil_div(bags.samples(), grain));
        for_chunks(exec, bags.samples(), grain, [&](std::size_t begin, std::size_t end) {
            count(bags, begin, end, sampler, counted[begin / grain]);
        });
        for (const Counts& part : counted) {
            for (std::size_t l = 0; l < inputs_.size(); ++l) {
                inputs_[l] += part.inputs[l];
                lookups_[l] += part.lookups[l];
            }
        }
        seen_ += bags.samples();
    }

    /// Inputs of the stream so far, drawn or not.
    [[nodiscard]] std::uint64_t seen() const { return seen_; }
    /// Inputs counted, and their look-ups.
    [[nodiscard]] std::uint64_t inputs() const { return sum(inputs_, inputs_.size()); }
    [[nodiscard]] std::uint64_t lookups() const { return sum(lookups_, lookups_.size()); }
    /// Of those, the ones that are hot at budget number `budget` of the sweep.
    /// @pre budget < levels.budgets()
    [[nodiscard]] std::uint64_t hot_inputs(std::size_t budget) const { return sum(inputs_, budget + 1); }
    [[nodiscard]] std::uint64_t hot_lookups(std::size_t budget) const { return sum(lookups_, budget + 1); }

  private:
    struct Counts {
        std::array<std::uint32_t, RowLevels::most_budgets + 1> inputs{};
        std::array<std::uint64_t, RowLevels::most_budgets + 1> lookups{};
    };

    template <IndexType Index>
    void count(const Bags<Index>& bags, std::size_t begin, std::size_t end, const InputSampler& sampler,
               Counts& mine) const {
        constexpr std::size_t ahead = 4;  // inputs between the fetch of a row's byte and its use
        const std::uint8_t* const level = levels_->levels().data();
        const Index* const row = bags.values().data();
        const std::size_t features = bags.features();
        const std::size_t last = bags.begin(end * features);
        for (std::size_t input = begin; input < end; ++input) {
            const std::size_t from = bags.begin(input * features);
            const std::size_t to = bags.begin((input + 1) * features);
            const std::size_t fetched = std::min(to + (to - from) * ahead, last);
            for (std::size_t i = std::min(from + (to - from) * ahead, last); i < fetched; ++i) {
                prefetch(level + row[i]);
            }
            if (!sampler.draws(seen_ + input)) continue;
            std::uint8_t worst = 0;
            for (std::size_t i = from; i < to; ++i) {
                if constexpr (checked) {
                    if (row[i] >= levels_->rows()) {
                        throw IndexError(
                            concat("values[", i, "] is ", row[i], ", expected less than ", levels_->rows()));
                    }
                }
                const std::uint8_t of_row = level[row[i]];
                ++mine.lookups[of_row];
                worst = std::max(worst, of_row);
            }
            ++mine.inputs[worst];
        }
    }

    [[nodiscard]] static std::uint64_t sum(const std::vector<std::uint64_t>& counts, std::size_t count) {
        return std::accumulate(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(count),
                               std::uint64_t{0});
    }

    const RowLevels* levels_;
    std::vector<std::uint64_t> inputs_;   // by level
    std::vector<std::uint64_t> lookups_;  // by the level of their row
    std::uint64_t seen_ = 0;
};

}  // namespace fae::inline FAE_ABI
