// SPDX-License-Identifier: Apache-2.0
//
// BatchSource: the coming mini-batches, in order. A scheduler models it, a host's own loop can, and whoever
// plans placement ahead of training reads it.
#pragma once

#include <concepts>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// One mini-batch of a schedule.
struct BatchRef {
    std::uint64_t step = 0;            ///< number of the batch since training began, from 0
    Heat heat = Heat::mixed;           ///< what is known of its look-ups
    bool begins_segment = false;       ///< the first batch of its segment: synchronise before it
    Span<const std::uint64_t> inputs;  ///< input numbers; valid until the next call
};

/// A sequence of batches: next(batch) fills in the next one, or returns false at the end.
template <class S>
concept BatchSource = requires(S& source, BatchRef& batch) {
    { source.next(batch) } -> std::same_as<bool>;
};

}  // namespace fae::inline FAE_ABI
