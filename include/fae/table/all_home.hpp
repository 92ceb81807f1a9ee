// SPDX-License-Identifier: Apache-2.0
//
// AllHome: no fast tier; every look-up is served from the row's home. The hybrid baseline that ratios are
// taken against, and what training without any placement looks like.
#pragma once

#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// Every row at home.
template <Space Home = PageSpace>
class AllHome {
  public:
    using FastSpace = NoSpace;
    using HomeSpace = Home;

    struct Ref {
        [[nodiscard]] FAE_HD Location locate(RowId row) const { return {false, row}; }
        [[nodiscard]] FAE_HD RowId row_at(Slot slot) const { return slot; }
    };

    [[nodiscard]] std::uint64_t slots(const RowSpace&) const { return 0; }
    [[nodiscard]] Ref ref() const { return {}; }
    [[nodiscard]] Route route_of(Heat) const { return Route::home; }
    template <Executor E, IndexType Index>
    [[nodiscard]] StepPlan plan(const E&, std::uint64_t, const Lookups<Index>&, Span<Index>) {
        return {Route::home, {}, {}};
    }
};
static_assert(Placement<AllHome<>>);

/// Every look-up at home, both tiers in host memory.
inline constexpr AllHome<> all_home{};

}  // namespace fae::inline FAE_ABI
