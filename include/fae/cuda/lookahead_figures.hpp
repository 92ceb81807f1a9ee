// SPDX-License-Identifier: Apache-2.0
//
// What a LookaheadRoute says of its work beside what the planner counts (table/lookahead_plan.hpp).
#pragma once

#include <cstdint>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI::cuda {

/// What kept a LookaheadRoute from going on.
/// @units seconds
struct LookaheadStalls {
    double steps = 0;  ///< planning waited for steps: the device is the longest pole
    double homes = 0;  ///< planning waited for rows on their way home
    double room = 0;   ///< rows that come or leave waited for pinned memory
    double rows = 0;   ///< training waited for rows: planning, gathering or the link is the longest pole
};

/// Rows that travelled without the host's help: RecordWay::zero_copy, or measured to be quicker that way.
struct ZeroCopyCounts {
    std::uint64_t rows_in = 0;
    std::uint64_t rows_out = 0;
};

}  // namespace fae::inline FAE_ABI::cuda
