// SPDX-License-Identifier: Apache-2.0
//
// Schedules for the look-ahead planner, and a plain judge of its plans: maps that replay what the plans say,
// and rules that every plan must keep.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/random.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "fae/table/placement.hpp"

namespace fae_test {

using Batch = std::vector<std::uint32_t>;

/// Batches of row ids over so many rows, some of them hot.
struct LookaheadCase {
    std::uint64_t rows = 40;
    std::vector<std::uint32_t> hot;  // ascending
    fae::LookaheadOptions options;
    std::vector<Batch> batches;

    [[nodiscard]] fae::HotSet hot_set() const {
        return fae::HotSet(rows, fae::Span<const std::uint32_t>(hot));
    }
    void set_most_lookups() {
        for (const Batch& batch : batches)
            options.most_lookups = std::max<std::uint64_t>(options.most_lookups, batch.size());
    }
};

inline fae::Lookups<std::uint32_t> lookups_of(const Batch& batch) {
    return {fae::Heat::mixed, fae::Bags<std::uint32_t>::fixed(batch, 1, 1), nullptr};
}

/// The schedules that break caches: the same cold row in every batch, in every second one, each row once, and
/// every batch larger than most windows.
inline std::vector<LookaheadCase> adversarial_cases() {
    std::vector<LookaheadCase> cases(4);
    for (std::uint32_t b = 0; b < 60; ++b) {
        cases[0].batches.push_back({7, 7, (3 * b) % 40, 7});
        cases[1].batches.push_back(b % 2 == 0 ? Batch{7, (5 * b) % 40} : Batch{(5 * b) % 40});
        cases[2].batches.push_back({});
        for (std::uint32_t i = 0; i < 5; ++i) cases[2].batches.back().push_back(5 * b + i);
        cases[3].batches.push_back({});
        for (std::uint32_t i = 0; i < 40; ++i) cases[3].batches.back().push_back((i * 7 + b) % 40);
    }
    cases[2].rows = 300;
    for (LookaheadCase& c : cases) {
        c.hot = {0, 11, 12};
        c.set_most_lookups();
    }
    return cases;
}

/// A random case: few rows or many, a window from nothing to all, any look-ahead up to 64, rows that come
/// back often or hardly ever, empty batches too.
inline LookaheadCase random_lookahead_case(std::uint64_t seed, std::size_t most_batches) {
    fae::Philox random(seed, 77);
    LookaheadCase c;
    c.rows = 1 + random.below(random.below(4) == 0 ? 400 : 40);
    const std::uint64_t hot_share = random.below(4);
    for (std::uint32_t r = 0; r < c.rows; ++r) {
        if (random.below(4) < hot_share) c.hot.push_back(r);
    }
    c.options.window = random.below(3) == 0 ? random.below(4) : random.below(c.rows + 2);
    c.options.lookahead = random.below(2) == 0 ? 1 + random.below(4) : 1 + random.below(64);
    const std::uint64_t largest = 1 + random.below(random.below(4) == 0 ? 200 : 20);
    const std::uint64_t near = 1 + random.below(c.rows);  // how far the rows of a batch lie apart
    const std::size_t count = 1 + static_cast<std::size_t>(random.below(most_batches));
    for (std::size_t b = 0; b < count; ++b) {
        Batch batch(static_cast<std::size_t>(random.below(largest + 1)));
        const std::uint64_t base = random.below(3) == 0 ? random.below(c.rows) : b * near / 3;
        for (std::uint32_t& row : batch) {
            row = static_cast<std::uint32_t>((base + random.below(near)) % c.rows);
        }
        c.batches.push_back(std::move(batch));
    }
    c.set_most_lookups();
    return c;
}

/// Replays plans in plain maps, and fails the test case where one breaks a rule.
class PlanJudge {
  public:
    explicit PlanJudge(const LookaheadCase& c) : options_(c.options), hot_(c.hot) {}

    /// @param exact  the window is one shard: a look-up is direct only if no slot at all may be given away
    void see(const Batch& batch, const std::vector<std::uint32_t>& located, const fae::LookaheadPlan& plan,
             bool exact = true) {
        REQUIRE(plan.number == step_);
        const std::set<std::uint64_t> needed(batch.begin(), batch.end());
        fae::LookaheadWaits waits;
        const std::map<std::uint64_t, std::uint64_t> before = slot_of_;
        for (const auto& [row, slot] : plan.leave) {
            REQUIRE(slot_of_.count(row) == 1);
            REQUIRE(slot_of_.at(row) == slot);
            REQUIRE(needed.count(row) == 0);
            // The slot's last need is more than the look-ahead ago: that step is done, whatever the executor.
            REQUIRE(last_need_.at(slot) + options_.lookahead < step_);
            waits.steps_before_leave = std::max(waits.steps_before_leave, last_need_.at(slot) + 1);
            slot_of_.erase(row);
            row_of_.erase(slot);
        }
        for (const auto& [row, slot] : plan.bring) {
            REQUIRE(needed.count(row) == 1);
            REQUIRE(!is_hot(row));
            REQUIRE(slot >= hot_.size());
            REQUIRE(slot < hot_.size() + options_.window);
            REQUIRE(before.count(row) == 0);
            REQUIRE(slot_of_.emplace(row, slot).second);  // never two slots of a row
            REQUIRE(row_of_.emplace(slot, row).second);   // never two rows in a slot
            if (is_coming_home(row)) {
                waits.homes_before_bring = std::max(waits.homes_before_bring, left_.at(row) + 1);
            }
            if (direct_.count(row) == 1 && direct_.at(row) + options_.lookahead >= step_) {
                waits.steps_before_bring = std::max(waits.steps_before_bring, direct_.at(row) + 1);
            }
        }
        REQUIRE(row_of_.size() <= options_.window);
        fae::LookaheadCounts counts;
        counts.rows_in = plan.bring.size();
        counts.rows_out = plan.leave.size();
        std::set<std::uint64_t> direct;
        REQUIRE(located.size() == batch.size());
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const std::uint64_t row = batch[i];
            if (is_hot(row)) {
                REQUIRE(located[i] == (fae::fast_bit<std::uint32_t> | hot_slot(row)));
                ++counts.hot;
            } else if (slot_of_.count(row) == 1) {
                REQUIRE(located[i] == (fae::fast_bit<std::uint32_t> | slot_of_.at(row)));
                ++(before.count(row) == 1 ? counts.hits : counts.brought);
                last_need_[slot_of_.at(row)] = step_;
            } else {
                REQUIRE(located[i] == row);
                ++counts.direct;
                direct.insert(row);
                if (is_coming_home(row)) {
                    waits.homes_before_direct = std::max(waits.homes_before_direct, left_.at(row) + 1);
                }
            }
        }
        if (!direct.empty() && exact) {
            REQUIRE(row_of_.size() == options_.window);
            for (const auto& [slot, row] : row_of_)
                REQUIRE(last_need_.at(slot) + options_.lookahead >= step_);
        }
        REQUIRE(plan.counts == counts);
        REQUIRE(plan.waits.steps_before_leave == waits.steps_before_leave);
        // Where more rows were direct than are remembered, the answers may be later than need be.
        REQUIRE(plan.waits.homes_before_bring >= waits.homes_before_bring);
        REQUIRE(plan.waits.homes_before_direct >= waits.homes_before_direct);
        REQUIRE(std::max(plan.waits.homes_before_bring, plan.waits.homes_before_direct) <= step_);
        REQUIRE(plan.waits.steps_before_bring >= waits.steps_before_bring);
        REQUIRE(plan.waits.steps_before_bring <= step_);
        for (const std::uint64_t row : direct) direct_[row] = step_;
        direct_counts_.push_back(direct.size());
        std::uint64_t remembered = 0;
        for (std::uint64_t k = 0; k <= std::min(step_, options_.lookahead); ++k)
            remembered += direct_counts_[static_cast<std::size_t>(step_ - k)];
        if (remembered > options_.window / 2) overflowed_at_ = step_ + 1;
        const bool all_known = overflowed_at_ == 0 || overflowed_at_ + options_.lookahead < step_;
        if (exact && all_known) {
            REQUIRE(plan.waits.steps_before_bring == waits.steps_before_bring);
            REQUIRE(plan.waits.homes_before_bring == waits.homes_before_bring);
            REQUIRE(plan.waits.homes_before_direct == waits.homes_before_direct);
        }
        for (const auto& move : plan.leave) left_[move.row] = step_;
        total_.add(counts);
        ++step_;
    }

    /// Where the planner says that rows are.
    void see_places(const fae::LookaheadPlanner& planner, std::uint64_t rows) const {
        for (std::uint64_t row = 0; row < rows; ++row) {
            const fae::Location expected = is_hot(row)                ? fae::Location{true, hot_slot(row)}
                                           : slot_of_.count(row) == 1 ? fae::Location{true, slot_of_.at(row)}
                                                                      : fae::Location{false, row};
            REQUIRE(planner.locate(row) == expected);
        }
        for (fae::Slot slot = 0; slot < planner.slots(); ++slot) {
            const std::uint64_t expected = slot < hot_.size()         ? hot_[static_cast<std::size_t>(slot)]
                                           : row_of_.count(slot) == 1 ? row_of_.at(slot)
                                                                      : fae::no_row;
            REQUIRE(planner.row_at(slot) == expected);
        }
    }

    [[nodiscard]] const fae::LookaheadCounts& total() const { return total_; }
    [[nodiscard]] bool is_hot(std::uint64_t row) const {
        return std::binary_search(hot_.begin(), hot_.end(), static_cast<std::uint32_t>(row));
    }
    [[nodiscard]] std::uint32_t hot_slot(std::uint64_t row) const {
        return static_cast<std::uint32_t>(
            std::lower_bound(hot_.begin(), hot_.end(), static_cast<std::uint32_t>(row)) - hot_.begin());
    }

  private:
    // The row left not long ago, and no step has had it direct since: such a step has waited for it.
    [[nodiscard]] bool is_coming_home(std::uint64_t row) const {
        return left_.count(row) == 1 && left_.at(row) + options_.lookahead >= step_ &&
               (direct_.count(row) == 0 || direct_.at(row) < left_.at(row));
    }

    fae::LookaheadOptions options_;
    std::vector<std::uint32_t> hot_;
    std::map<std::uint64_t, std::uint64_t> slot_of_;    // of rows in the window
    std::map<std::uint64_t, std::uint64_t> row_of_;     // of slots of the window
    std::map<std::uint64_t, std::uint64_t> last_need_;  // of slots
    std::map<std::uint64_t, std::uint64_t> left_;       // row -> the latest plan that let it leave
    std::map<std::uint64_t, std::uint64_t> direct_;     // row -> the latest step that had it direct
    std::vector<std::uint64_t> direct_counts_;
    std::uint64_t overflowed_at_ = 0;
    fae::LookaheadCounts total_;
    std::uint64_t step_ = 0;
};

}  // namespace fae_test
