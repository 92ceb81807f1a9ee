// SPDX-License-Identifier: Apache-2.0
//
// StaticPlacement: FAE. The rows of a hot set live in the fast tier beside their homes. Hot batches train on
// the fast tier; cold and mixed batches train at home, hot rows included. Between a hot and a cold segment
// the table synchronises (HotColdTable::synchronise).
#pragma once

#include <cstdint>
#include <string>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// The rows of one hot set in slots, chosen once.
/// @source Adnan et al., Accelerating Recommendation System Training by Leveraging Popular Choices, PVLDB
/// 15(1), 2021
template <Space Fast = PageSpace, Space Home = PageSpace>
class StaticPlacement {
  public:
    using FastSpace = Fast;
    using HomeSpace = Home;

    class Ref {
      public:
        explicit Ref(HotSet::Ref hot) : hot_(hot) {}
        [[nodiscard]] FAE_HD Location locate(RowId row) const {
            return hot_.contains(row) ? Location{true, hot_.slot_of(row)} : Location{false, row};
        }
        [[nodiscard]] FAE_HD RowId row_at(Slot slot) const { return hot_.row_of(slot); }

      private:
        HotSet::Ref hot_;
    };

    /// @param hot_set  outlives the placement and every table that uses it
    explicit StaticPlacement(const HotSet& hot_set) : hot_set_(&hot_set) {}

    [[nodiscard]] const HotSet& hot_set() const { return *hot_set_; }
    [[nodiscard]] std::uint64_t slots(const RowSpace& space) const {
        require(hot_set_->rows() == space.rows(), [&] {
            return concat("the hot set covers ", hot_set_->rows(), " rows, expected ", space.rows());
        });
        return hot_set_->size();
    }
    [[nodiscard]] Ref ref() const { return Ref(hot_set_->ref()); }

    [[nodiscard]] Route route_of(Heat heat) const { return heat == Heat::hot ? Route::fast : Route::home; }
    /// Hot batches take the fast tier, all others their homes; no row ever moves for a batch.
    /// @throws ContractError if a hot batch was made for another hot set
    template <Executor E, IndexType Index>
    [[nodiscard]] StepPlan plan(const E&, std::uint64_t, const Lookups<Index>& lookups, Span<Index>) {
        if (lookups.heat != Heat::hot) return {Route::home, {}, {}};
        require(lookups.hot_set == hot_set_,
                [] { return std::string("a hot batch of another hot set than the placement's"); });
        return {Route::fast, {}, {}};
    }

  private:
    const HotSet* hot_set_;
};
static_assert(Placement<StaticPlacement<>>);

/// The rows of `hot_set` in slots, both tiers in host memory.
[[nodiscard]] inline StaticPlacement<> static_placement(const HotSet& hot_set) {
    return StaticPlacement<>(hot_set);
}

}  // namespace fae::inline FAE_ABI
