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
    std::uint64_t step = 0;       ///< number of the batch since training began, from 0
    std::uint64_t epoch = 0;      ///< from 0
    Heat heat = Heat::mixed;      ///< the class of its inputs
    bool begins_segment = false;  ///< the tier that it needs may be behind: synchronise before it
    bool ends_round =
        false;  ///< the last batch of a cold and hot pair of segments, or of an epoch: evaluate after it
    bool ends_epoch = false;  ///< the last batch of its epoch
    /// The batch's inputs: hot and cold batches number the inputs of their own class, in original order;
    /// mixed ones number all training inputs. Valid until the next call.
    Span<const std::uint64_t> inputs;
};

/// A sequence of batches: next(batch) fills in the next one, or returns false at the end.
template <class S>
concept BatchSource = requires(S& source, BatchRef& batch) {
    { source.next(batch) } -> std::same_as<bool>;
};

}  // namespace fae::inline FAE_ABI
