// SPDX-License-Identifier: Apache-2.0
//
// WindowShard: a part of the look-ahead window: its slots, which row each holds and when it was last needed,
// and which rows left it, or were served without a slot, not long ago. Shards know nothing of each other; a
// row's hash says which one it belongs to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/table/lookahead_map.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI::detail {

/// A look-up whose row is not hot.
struct ColdLookup {
    RowId row;
    std::uint32_t position;  ///< in the batch
    std::uint32_t hash;
};

/// Slots [first, first + count) of the fast tier.
///
/// The slots stand in a queue in the order of their last needs; a slot that is needed again is put at its end
/// and its old entry is dead. The oldest slot is given away once its last need is more than `lookahead` plans
/// ago, so every step that needs it is done: not sooner, whatever waits for a slot.
/// @source the rule of step-stamped slots: Guo et al., ScaleFreeCTR, SIGIR 2021
class WindowShard {
  public:
    WindowShard(Slot first, std::uint64_t count, const LookaheadOptions& options)
        : first_(first),
          lookahead_(options.lookahead),
          slots_(static_cast<std::size_t>(count)),
          queue_(static_cast<std::size_t>(2 * count)),
          rows_(count),
          left_(count),
          direct_(count) {
        moves_.reserve(static_cast<std::size_t>(most_moves(count, options)));
        for (std::size_t s = 0; s < slots_.size(); ++s) {
            slots_[s] = {no_row, 0};
            queue_[s] = {static_cast<std::uint32_t>(s), 0};
        }
        waiting_ = slots_.size();
    }
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t count, const LookaheadOptions& options) {
        return count * sizeof(Place) + 2 * count * sizeof(Waiting) + RowMap::bytes_for(count) +
               2 * RecentRows::bytes_for(count) + most_moves(count, options) * sizeof(Move);
    }
    [[nodiscard]] std::uint64_t bytes() const {
        return slots_.bytes() + queue_.bytes() + rows_.bytes() + left_.bytes() + direct_.bytes() +
               moves_.capacity() * sizeof(Move);
    }

    /// A row that is brought, and the one that had its slot, or no_row.
    struct Move {
        RowId row;
        RowId before;
        Slot slot;
    };

    /// Begins plan `number`.
    void begin(std::uint64_t number) {
        number_ = number;
        moves_.clear();
        waits_ = {};
        counts_ = {};
        const std::uint64_t oldest = number > lookahead_ ? number - lookahead_ : 0;
        left_.forget(oldest);
        direct_.forget(oldest);
    }

    /// Serves the look-ups whose rows are in the window, and moves the others to the front.
    /// @return how many others there are
    template <IndexType Index>
    [[nodiscard]] std::size_t find(Span<ColdLookup> lookups, Span<Index> located) {
        if (slots_.empty()) return lookups.size();
        std::size_t missing = 0;
        std::uint32_t at[block];
        for (std::size_t begin = 0; begin < lookups.size(); begin += block) {
            const std::size_t end = std::min(begin + block, lookups.size());
            for (std::size_t i = begin; i < end; ++i) rows_.prefetch(lookups[i].hash);
            for (std::size_t i = begin; i < end; ++i) {
                const std::uint32_t* const slot = rows_.find(lookups[i].row, lookups[i].hash);
                at[i - begin] = slot != nullptr ? *slot : none;
                if (slot != nullptr) __builtin_prefetch(slots_.data() + *slot, 1);
            }
            for (std::size_t i = begin; i < end; ++i) {
                const std::uint32_t slot = at[i - begin];
                if (slot == none) {
                    lookups[missing++] = lookups[i];
                    continue;
                }
                need(slot);
                located[lookups[i].position] = located_at<Index>(slot);
            }
        }
        counts_.hits += lookups.size() - missing;
        return missing;
    }

    /// Brings the rows that find() left over, as long as there are slots to give away; the others are direct.
    /// @pre every look-up of the batch has been through find()
    template <IndexType Index>
    void bring(Span<const ColdLookup> lookups, Span<Index> located) {
        if (slots_.empty()) {
            for (const ColdLookup& lookup : lookups)
                located[lookup.position] = static_cast<Index>(lookup.row);
            counts_.direct += lookups.size();
            return;
        }
        for (std::size_t i = 0; i < lookups.size(); ++i) {
            if (i + ahead < lookups.size()) {
                left_.prefetch(lookups[i + ahead].hash);
                direct_.prefetch(lookups[i + ahead].hash);
            }
            bring_one(lookups[i], located);
        }
    }

    [[nodiscard]] Span<const Move> moves() const { return moves_; }
    [[nodiscard]] const LookaheadWaits& waits() const { return waits_; }
    [[nodiscard]] const LookaheadCounts& counts() const { return counts_; }

    /// The slot of a row, or null.
    [[nodiscard]] Location locate(RowId row, std::uint32_t hash) const {
        if (slots_.empty()) return {false, row};
        const std::uint32_t* const slot = rows_.find(row, hash);
        return slot == nullptr ? Location{false, row} : Location{true, first_ + *slot};
    }
    /// The row of a slot of the tier, or no_row.
    [[nodiscard]] RowId row_at(Slot slot) const {
        return slots_[static_cast<std::size_t>(slot - first_)].row;
    }

  private:
    static constexpr std::size_t block = 64;
    static constexpr std::size_t ahead = 8;
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    struct Place {
        RowId row;
        std::uint64_t end;  // one more than the plan that last needs it, 0 if none has
    };
    struct Waiting {
        std::uint32_t slot;
        std::uint32_t end;  // the place's when it was put here, cut; another one now: the entry is dead
    };

    [[nodiscard]] static std::uint64_t most_moves(std::uint64_t count, const LookaheadOptions& options) {
        return std::min(count, options.most_lookups);
    }
    template <IndexType Index>
    [[nodiscard]] Index located_at(std::uint32_t slot) const {
        return static_cast<Index>(first_ + slot) | fast_bit<Index>;
    }

    // The plan in the making needs a slot.
    void need(std::uint32_t slot) {
        Place& place = slots_[slot];
        if (place.end == number_ + 1) return;
        place.end = number_ + 1;
        if (waiting_ == queue_.size()) drop_dead();
        queue_[wrapped(head_ + waiting_++)] = {slot, static_cast<std::uint32_t>(place.end)};
    }

    template <IndexType Index>
    void bring_one(const ColdLookup& lookup, Span<Index> located) {
        const auto& [row, position, hash] = lookup;
        if (const std::uint32_t* const slot = rows_.find(row, hash); slot != nullptr) {
            located[position] = located_at<Index>(*slot);
            ++counts_.brought;
            return;
        }
        const std::uint32_t slot = oldest();
        const std::uint64_t homes = left_.end_of(row, hash, number_);
        if (slot == none) {
            located[position] = static_cast<Index>(row);
            waits_.homes_before_direct = std::max(waits_.homes_before_direct, homes);
            direct_.note(row, hash, number_);
            ++counts_.direct;
            return;
        }
        waits_.homes_before_bring = std::max(waits_.homes_before_bring, homes);
        waits_.steps_before_bring = std::max(waits_.steps_before_bring, direct_.end_of(row, hash, number_));
        Place& place = slots_[slot];
        if (place.row != no_row) {
            const std::uint32_t hash_before = row_hash(place.row);
            waits_.steps_before_leave = std::max(waits_.steps_before_leave, place.end);
            rows_.erase(place.row, hash_before);
            left_.note(place.row, hash_before, number_);
            ++counts_.rows_out;
        }
        moves_.push_back({row, place.row, first_ + slot});
        place.row = row;
        rows_.put(row, hash, slot);
        need(slot);
        located[position] = located_at<Index>(slot);
        ++counts_.brought;
        ++counts_.rows_in;
    }

    // The slot whose last need is the oldest, or `none` if that is too recent.
    [[nodiscard]] std::uint32_t oldest() {
        for (;;) {
            const Waiting& first = queue_[head_];
            const Place& place = slots_[first.slot];
            const bool alive = first.end == static_cast<std::uint32_t>(place.end);
            if (alive && place.end != 0 && place.end + lookahead_ > number_) return none;
            const std::uint32_t slot = first.slot;
            head_ = wrapped(head_ + 1);
            --waiting_;
            if (alive) return slot;
        }
    }

    // Half of the queue at least is dead when it is full.
    void drop_dead() {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < waiting_; ++i) {
            const Waiting entry = queue_[wrapped(head_ + i)];
            if (entry.end == static_cast<std::uint32_t>(slots_[entry.slot].end)) {
                queue_[wrapped(head_ + kept++)] = entry;
            }
        }
        waiting_ = kept;
    }
    [[nodiscard]] std::size_t wrapped(std::size_t i) const {
        return i < queue_.size() ? i : i - queue_.size();
    }

    Slot first_;
    std::uint64_t lookahead_;
    Buffer<Place, PageSpace> slots_;
    Buffer<Waiting, PageSpace> queue_;  // a ring of waiting_ entries from head_ on
    std::size_t head_ = 0;
    std::size_t waiting_ = 0;
    RowMap rows_;
    RecentRows left_;
    RecentRows direct_;
    std::vector<Move> moves_;
    std::uint64_t number_ = 0;
    LookaheadWaits waits_;
    LookaheadCounts counts_;
};

}  // namespace fae::inline FAE_ABI::detail
