// SPDX-License-Identifier: Apache-2.0
//
// Placement: where the rows of a row space live while a model trains. A placement is a value that answers
// three questions: in which spaces the tiers are, where a row is now, and what the next batch needs.
// HotColdTable asks them; operations never see a placement.
//
//   all_home             every look-up at home: the hybrid baseline, no fast tier
//   all_slots            every row in the fast tier: the ceiling
//   static_placement     FAE: the rows of a hot set have a slot; hot batches train there, all others at home
//   lookahead_placement  a hot set and a window: what a batch needs beside it is brought before its step
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI {

/// Where a row is: a slot of the fast tier, or its home.
struct Location {
    bool fast = false;
    std::uint64_t position = 0;  ///< slot, or row id

    [[nodiscard]] friend constexpr bool operator==(const Location&, const Location&) = default;
};

/// The row of a slot that holds none.
inline constexpr RowId no_row = std::numeric_limits<RowId>::max();

/// A row that changes tier.
struct RowMove {
    RowId row = 0;
    Slot slot = 0;
};

/// Where a batch's look-ups are served.
enum class Route : std::uint8_t {
    fast,    ///< all in the fast tier
    home,    ///< all at home, hot rows too
    direct,  ///< each where it is: a kernel addresses the homes of rows without a slot
};

/// What one batch needs: its route, the rows to bring into slots before it and those that leave for home,
/// which are read before any row is brought. Views are valid until the next plan.
struct StepPlan {
    Route route = Route::home;
    Span<const RowMove> bring;
    Span<const RowMove> leave;
    bool located = false;  ///< the plan has filled in the batch's located indices; else the table does
};

/// The look-ups of one batch as a schedule hands them out.
template <IndexType Index = std::uint32_t>
struct Lookups {
    Heat heat = Heat::mixed;          ///< hot: values are slots of `hot_set`; else row ids
    Bags<Index> bags;                 ///< sample-major
    const HotSet* hot_set = nullptr;  ///< the hot set of the schedule; needed where heat is hot
};

/// The space of a tier that a placement does without: nothing is ever allocated in it.
struct NoSpace {
    static constexpr bool host_accessible = true;
    static constexpr bool zeroed = true;
    [[nodiscard]] static void* allocate(std::size_t) { throw std::bad_alloc(); }
    static void deallocate(void*, std::size_t) noexcept {}
};
static_assert(Space<NoSpace>);

/// A placement's answers. ref() is a small copyable view for loops and kernels; it is valid until the next
/// plan.
///  where do the tiers live      FastSpace, HomeSpace (NoSpace: the placement does without that tier)
///  how many slots               slots(space)
///  where is a row, and who has a slot   ref().locate(row) and ref().row_at(slot), O(1); no_row: nobody
///  which tier do batches of a kind need      route_of(heat): home, or fast, also where some look-ups may be
///  direct what does the next batch need        plan(exec, step, lookups, located), called once a batch, in
///  order; a
///                                       placement that moves no rows reads neither look-ups nor located
///                                       indices, which may then lie in another space
template <class P>
concept Placement = requires(P placement, const P& fixed, const RowSpace& space, std::uint64_t step,
                             Heat heat, const Lookups<std::uint32_t>& lookups, Span<std::uint32_t> located,
                             RowId row, Slot slot) {
    requires Space<typename P::FastSpace> && Space<typename P::HomeSpace>;
    { fixed.slots(space) } -> std::same_as<std::uint64_t>;
    { fixed.ref().locate(row) } -> std::same_as<Location>;
    { fixed.ref().row_at(slot) } -> std::same_as<RowId>;
    { fixed.route_of(heat) } -> std::same_as<Route>;
    { placement.plan(seq, step, lookups, located) } -> std::same_as<StepPlan>;
};

}  // namespace fae::inline FAE_ABI
