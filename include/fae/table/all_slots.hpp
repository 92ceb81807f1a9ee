// SPDX-License-Identifier: Apache-2.0
//
// AllSlots: every row has a slot, slot = row id; homes are not needed while training. The ceiling: what a
// fast tier that holds the whole model would give.
#pragma once

#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// Every row in the fast tier.
template <Space Fast = PageSpace>
class AllSlots {
  public:
    using FastSpace = Fast;
    using HomeSpace = NoSpace;

    struct Ref {
        [[nodiscard]] FAE_HD Location locate(RowId row) const { return {true, row}; }
        [[nodiscard]] FAE_HD RowId row_at(Slot slot) const { return slot; }
    };

    [[nodiscard]] std::uint64_t slots(const RowSpace& space) const { return space.rows(); }
    [[nodiscard]] Ref ref() const { return {}; }
    [[nodiscard]] Route route_of(Heat) const { return Route::fast; }
    template <Executor E, IndexType Index>
    [[nodiscard]] StepPlan plan(const E&, std::uint64_t, const Lookups<Index>&, Span<Index>) {
        return {Route::fast, {}, {}};
    }
};
static_assert(Placement<AllSlots<>>);

/// Every row in the fast tier, both tiers in host memory.
inline constexpr AllSlots<> all_slots{};

}  // namespace fae::inline FAE_ABI
