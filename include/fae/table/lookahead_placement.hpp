// SPDX-License-Identifier: Apache-2.0
//
// LookaheadPlacement: a hot set in slots for good, and a window of slots for the rows that the coming batches
// need beside it (lookahead_planner.hpp). Every batch, hot or not, trains in the fast tier; a look-up for
// which there is no slot goes to its row's home. With a hot set of no row it is a cache that knows the
// future; with a window of no slot, hot rows are served from their slots and all others at home.
//
//   LookaheadPlacement<> placement(resident, {.window = 4096, .lookahead = 8, .most_lookups = 1024 * 26});
//   HotColdTable<float, LookaheadPlacement<>> table(space, OptimizerKind::sgd, std::move(placement));
//
// Where both tiers are in host memory, the table carries out a batch's plan as it locates the batch. A
// device's executor plans ahead (cuda/).
#pragma once

#include <cstdint>
#include <utility>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// The rows of one hot set in slots, and a window for all others. Move-only.
template <Space Fast = PageSpace, Space Home = PageSpace>
class LookaheadPlacement {
  public:
    using FastSpace = Fast;
    using HomeSpace = Home;

    class Ref {
      public:
        explicit Ref(const LookaheadPlanner& planner) : planner_(&planner) {}
        [[nodiscard]] Location locate(RowId row) const { return planner_->locate(row); }
        [[nodiscard]] RowId row_at(Slot slot) const { return planner_->row_at(slot); }

      private:
        const LookaheadPlanner* planner_;
    };

    /// @param resident  the hot rows that have a slot; outlives the placement and every table that uses it
    /// @cost   LookaheadPlanner::bytes_for() and LookaheadPlan::bytes_for() bytes
    /// @param space     as LookaheadPlanner's
    /// @throws ContractError if an option is outside its range
    LookaheadPlacement(const HotSet& resident, const LookaheadOptions& options,
                       const RowSpace* space = nullptr)
        : planner_(resident, options, space) {
        plan_.reserve(options);
    }

    [[nodiscard]] const LookaheadPlanner& planner() const { return planner_; }
    /// To plan ahead of the table, which then must not be asked to locate batches.
    [[nodiscard]] LookaheadPlanner& planner() { return planner_; }
    [[nodiscard]] std::uint64_t slots(const RowSpace& space) const {
        require(planner_.resident().rows() == space.rows(), [&] {
            return concat("the hot set covers ", planner_.resident().rows(), " rows, expected ",
                          space.rows());
        });
        return planner_.slots();
    }
    [[nodiscard]] Ref ref() const { return Ref(planner_); }

    [[nodiscard]] Route route_of(Heat) const { return Route::fast; }
    /// Plans the next batch, whatever number its step has.
    template <Executor E, IndexType Index>
    [[nodiscard]] StepPlan plan(const E& exec, std::uint64_t, const Lookups<Index>& lookups,
                                Span<Index> located) {
        planner_.push(exec, lookups, located, plan_);
        return {plan_.counts.direct != 0 ? Route::direct : Route::fast, plan_.bring, plan_.leave, true};
    }

  private:
    LookaheadPlanner planner_;
    LookaheadPlan plan_;
};
static_assert(Placement<LookaheadPlacement<>>);

}  // namespace fae::inline FAE_ABI
