// SPDX-License-Identifier: Apache-2.0
//
// LookaheadPlan: what one batch needs of a fast tier whose window is planned ahead, and what has to be done
// before each part of it. The planner (lookahead_planner.hpp) writes it, an executor carries it out:
//
//   1. read the slots of `leave`, once steps_before_leave steps are done, and write their rows home;
//   2. read the rows of `bring` at home, once homes_before_bring and steps_before_bring are reached;
//   3. put them into their slots, once 1 has read them;
//   4. do the step, once 3 is done and, where it has direct look-ups, homes_before_direct is reached.
//
// Steps are done in order. Everything else may be done at any time that these rules leave open.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// What a planner is made of. Plans depend on it, on the hot set and on the batches, and on nothing else.
struct LookaheadOptions {
    std::uint64_t window = 0;        ///< slots for rows that are not of the hot set; less than 2^31
    std::uint64_t lookahead = 1;     ///< the most plans that may be under way when one is made; 1 to 2^20
    std::uint64_t most_lookups = 0;  ///< of a batch; less than 2^32
};

/// Look-ups by where they are served, and rows that move.
struct LookaheadCounts {
    std::uint64_t hot = 0;       ///< look-ups of hot rows
    std::uint64_t hits = 0;      ///< look-ups of rows that the window held already
    std::uint64_t brought = 0;   ///< look-ups of rows that this plan brings
    std::uint64_t direct = 0;    ///< look-ups that find no slot
    std::uint64_t rows_in = 0;   ///< rows that are brought
    std::uint64_t rows_out = 0;  ///< rows that leave

    void add(const LookaheadCounts& other) {
        hot += other.hot;
        hits += other.hits;
        brought += other.brought;
        direct += other.direct;
        rows_in += other.rows_in;
        rows_out += other.rows_out;
    }
    [[nodiscard]] friend constexpr bool operator==(const LookaheadCounts&, const LookaheadCounts&) = default;
};

/// What has to be done before the parts of a plan. A number n stands for all that is numbered [0, n); 0 for
/// nothing.
struct LookaheadWaits {
    /// Steps that have to be done before the leaving slots are read.
    std::uint64_t steps_before_leave = 0;
    /// Steps that have to be done before the brought rows are read at home: one had such a row direct.
    std::uint64_t steps_before_bring = 0;
    /// Plans whose leaving rows have to be at home before the brought rows are read there.
    std::uint64_t homes_before_bring = 0;
    /// The same before this step's kernels address direct rows.
    std::uint64_t homes_before_direct = 0;

    /// Waits for both.
    void add(const LookaheadWaits& other) {
        steps_before_leave = std::max(steps_before_leave, other.steps_before_leave);
        steps_before_bring = std::max(steps_before_bring, other.steps_before_bring);
        homes_before_bring = std::max(homes_before_bring, other.homes_before_bring);
        homes_before_direct = std::max(homes_before_direct, other.homes_before_direct);
    }
};

/// The plan of one batch.
struct LookaheadPlan {
    std::uint64_t number = 0;    ///< of the plan and of its step, from 0
    std::vector<RowMove> bring;  ///< rows and the slots that they come into
    std::vector<RowMove> leave;  ///< rows that had some of these slots; no row is in both lists
    LookaheadWaits waits;
    LookaheadCounts counts;

    /// The most rows that a plan brings, and lets leave.
    [[nodiscard]] static std::uint64_t most_moves(const LookaheadOptions& options) {
        return options.window < options.most_lookups ? options.window : options.most_lookups;
    }
    /// The bytes of a plan for which reserve() was called.
    [[nodiscard]] static std::uint64_t bytes_for(const LookaheadOptions& options) {
        return 2 * most_moves(options) * sizeof(RowMove);
    }
    /// Takes all memory that plans of a planner of these options need.
    void reserve(const LookaheadOptions& options) {
        bring.reserve(static_cast<std::size_t>(most_moves(options)));
        leave.reserve(static_cast<std::size_t>(most_moves(options)));
    }
};

}  // namespace fae::inline FAE_ABI
