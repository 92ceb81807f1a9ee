// SPDX-License-Identifier: Apache-2.0
//
// WindowShard: a part of the look-ahead window: its slots, which row each holds and when it was last needed,
// and which rows left it, or were served without a slot, not long ago. Shards know nothing of each other; a
// row's hash says which one it belongs to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/table/lookahead_map.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI::detail {

/// A look-up whose row is not hot.
struct ColdLookup {
    /// The row; once it is served, its slot with the tier bit of 64-bit indices where it has one.
    RowId row;
    std::uint32_t position;  ///< in the batch
    std::uint32_t hash;
};

/// A row that is brought, and the one that had its slot, or no_row.
struct WindowMove {
    RowId row;
    RowId before;
    Slot slot;
};

/// Slots [first, first + count) of the fast tier.
///
/// A slot knows its row and the row before that one, and the map leads to it from both. So a row that left is
/// found, and with it when it left, as long as its slot has not been given away again: which is longer than
/// an executor may be behind. Of direct rows a ring remembers when they were, as long as that matters.
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
          rows_(most_rows(count)),
          direct_(static_cast<std::size_t>(most_direct(count))) {
        for (std::size_t s = 0; s < slots_.size(); ++s) {
            slots_[s] = {no_row, no_row, 0, 0};
            queue_[s] = {static_cast<std::uint32_t>(s), 0};
        }
        waiting_ = slots_.size();
    }
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t count) {
        return count * sizeof(Place) + 2 * count * sizeof(Waiting) + HashMap32::bytes_for(most_rows(count)) +
               most_direct(count) * sizeof(Direct);
    }
    [[nodiscard]] std::uint64_t bytes() const {
        return slots_.bytes() + queue_.bytes() + rows_.bytes() + direct_.bytes();
    }

    /// Begins plan `number`.
    /// @param moves  of rows that bring() brings, one for each look-up at most
    void begin(std::uint64_t number, WindowMove* moves) {
        number_ = number;
        moves_ = moves;
        move_count_ = 0;
        waits_ = {};
        counts_ = {};
        forget();
    }

    /// Serves the look-ups whose rows are in the window, and moves the others to the front.
    /// @return how many others there are
    [[nodiscard]] std::size_t find(Span<ColdLookup> lookups) {
        if (slots_.empty()) return lookups.size();
        std::size_t missing = 0;
        std::uint32_t at[block];
        for (std::size_t begin = 0; begin < lookups.size(); begin += block) {
            const std::size_t end = std::min(begin + block, lookups.size());
            for (std::size_t i = begin; i < end; ++i) rows_.fetch(lookups[i].hash);
            for (std::size_t i = begin; i < end; ++i) {
                at[i - begin] = rows_.first(lookups[i].hash);
                if (is_slot(at[i - begin])) prefetch_for_write(slots_.data() + at[i - begin]);
            }
            for (std::size_t i = begin; i < end; ++i) {
                std::uint32_t slot = at[i - begin];
                // Nearly always the one entry of this hash, where there is any, is the row's.
                if (slot != none && !holds(slot, lookups[i].row)) slot = slot_of(lookups[i]);
                if (slot == none) {
                    std::swap(lookups[missing++], lookups[i]);
                    continue;
                }
                need(slot);
                serve(lookups[i], slot);
            }
        }
        counts_.hits += lookups.size() - missing;
        return missing;
    }

    /// Brings the rows that find() left over, as long as there are slots to give away; the others are direct.
    /// @pre every look-up of the batch has been through find()
    void bring(Span<ColdLookup> lookups) {
        if (slots_.empty()) {
            counts_.direct += lookups.size();
            return;
        }
        for (std::size_t i = 0; i < lookups.size(); ++i) {
            if (i + ahead < lookups.size()) rows_.fetch(lookups[i + ahead].hash);
            fetch_oldest();
            bring_one(lookups[i]);
        }
    }

    /// Rows that came in this plan.
    [[nodiscard]] std::uint32_t moves() const { return move_count_; }
    [[nodiscard]] const LookaheadWaits& waits() const { return waits_; }
    [[nodiscard]] const LookaheadCounts& counts() const { return counts_; }

    /// The slot of a row, or null.
    [[nodiscard]] Location locate(RowId row, std::uint32_t hash) const {
        if (slots_.empty()) return {false, row};
        const std::uint32_t slot = slot_of({row, 0, hash});
        return slot == none ? Location{false, row} : Location{true, first_ + slot};
    }
    /// The row of a slot of the tier, or no_row.
    [[nodiscard]] RowId row_at(Slot slot) const {
        return slots_[static_cast<std::size_t>(slot - first_)].row;
    }

  private:
    static constexpr std::size_t block = 64;
    static constexpr std::size_t ahead = 8;
    static constexpr std::uint32_t none = HashMap32::none;
    // What the map leads to: a slot that a row has or had, or with this bit a place of direct_.
    static constexpr std::uint32_t direct_bit = std::uint32_t{1} << 31;

    struct Place {
        RowId row;
        RowId before;        // the row that it had before, while the map still leads from that one to here
        std::uint64_t end;   // one more than the plan that last needs it, 0 if none has
        std::uint64_t came;  // the plan in which the row came and the one before left
    };
    struct Waiting {
        std::uint32_t slot;
        std::uint32_t end;  // the place's when it was put here, cut; another one now: the entry is dead
    };
    /// A row was direct.
    struct Direct {
        RowId row;
        std::uint64_t number;  // of the plan
        std::uint32_t hash;
    };

    // Of direct rows half as many are remembered as there are slots.
    [[nodiscard]] static std::uint64_t most_direct(std::uint64_t count) { return count / 2; }
    [[nodiscard]] static std::uint64_t most_rows(std::uint64_t count) {
        return count == 0 ? 0 : 2 * count + most_direct(count) + 1;
    }
    [[nodiscard]] static bool is_slot(std::uint32_t is) { return is < direct_bit; }
    [[nodiscard]] Direct& direct_of(std::uint32_t is) { return direct_[is & ~direct_bit]; }
    [[nodiscard]] bool holds(std::uint32_t is, RowId row) const {
        return is_slot(is) && slots_[is].row == row;
    }
    /// Whether an executor may not have done what ended then.
    [[nodiscard]] bool is_recent(std::uint64_t end) const { return end + lookahead_ > number_; }

    [[nodiscard]] std::uint32_t slot_of(const ColdLookup& lookup) const {
        const std::uint32_t* const is =
            rows_.find(lookup.hash, [&](std::uint32_t at) { return holds(at, lookup.row); });
        return is == nullptr ? none : *is;
    }
    void serve(ColdLookup& lookup, std::uint32_t slot) const {
        lookup.row = (first_ + slot) | fast_bit<RowId>;
    }

    // The plan in the making needs a slot.
    void need(std::uint32_t slot) {
        Place& place = slots_[slot];
        if (place.end == number_ + 1) return;
        place.end = number_ + 1;
        if (waiting_ == queue_.size()) drop_dead();
        queue_[wrapped(head_ + waiting_++)] = {slot, static_cast<std::uint32_t>(place.end)};
    }

    void bring_one(ColdLookup& lookup) {
        const RowId row = lookup.row;
        std::uint32_t* const is = rows_.find(lookup.hash, [&](std::uint32_t at) {
            if (!is_slot(at)) return direct_of(at).row == row;
            return slots_[at].row == row || slots_[at].before == row;
        });
        if (is != nullptr && holds(*is, row)) {
            ++counts_.brought;
            return serve(lookup, *is);
        }
        const std::uint32_t slot = oldest();
        if (slot == none) {
            ++counts_.direct;
            return note_direct(lookup, is);
        }
        waits_.steps_before_bring = std::max(waits_.steps_before_bring, untold_);
        if (is == nullptr) {
            rows_.put(lookup.hash, slot);
        } else {
            if (!is_slot(*is)) {
                waits_.steps_before_bring = std::max(waits_.steps_before_bring, direct_of(*is).number + 1);
            } else {
                wait_for_home(slots_[*is], waits_.homes_before_bring);
                slots_[*is].before = no_row;
            }
            *is = slot;
        }
        give(slot, row);
        need(slot);
        serve(lookup, slot);
        ++counts_.brought;
        ++counts_.rows_in;
    }

    // A slot's row leaves, if it has any, and another one comes.
    void give(std::uint32_t slot, RowId row) {
        Place& place = slots_[slot];
        if (place.before != no_row) static_cast<void>(rows_.erase(row_hash(place.before), slot));
        moves_[move_count_++] = {row, place.row, first_ + slot};
        if (place.row != no_row) {
            waits_.steps_before_leave = std::max(waits_.steps_before_leave, place.end);
            ++counts_.rows_out;
        }
        place.before = place.row;
        place.row = row;
        place.came = number_;
    }

    // The row that a slot had before is needed at home.
    void wait_for_home(const Place& place, std::uint64_t& homes) const {
        if (is_recent(place.came + 1)) homes = std::max(homes, place.came + 1);
    }

    // A row has no slot in this plan. What finds no room is remembered for all rows at once.
    void note_direct(const ColdLookup& lookup, std::uint32_t* is) {
        if (is != nullptr && !is_slot(*is) && direct_of(*is).number == number_) return;
        if (is != nullptr && is_slot(*is)) wait_for_home(slots_[*is], waits_.homes_before_direct);
        if (direct_count_ == direct_.size()) {
            untold_ = number_ + 1;
            return;
        }
        const std::size_t at = wrapped_direct(first_direct_ + direct_count_++);
        direct_[at] = {lookup.row, number_, lookup.hash};
        const std::uint32_t now = static_cast<std::uint32_t>(at) | direct_bit;
        if (is == nullptr) {
            rows_.put(lookup.hash, now);
        } else {
            if (is_slot(*is)) slots_[*is].before = no_row;
            *is = now;
        }
    }

    // Forgets what every executor has done.
    void forget() {
        for (; direct_count_ != 0; --direct_count_) {
            const Direct& first = direct_[first_direct_];
            if (is_recent(first.number + 1)) break;
            // It may be elsewhere by now.
            static_cast<void>(
                rows_.erase(first.hash, static_cast<std::uint32_t>(first_direct_) | direct_bit));
            first_direct_ = wrapped_direct(first_direct_ + 1);
        }
        if (!is_recent(untold_)) untold_ = 0;
    }
    [[nodiscard]] std::size_t wrapped_direct(std::size_t i) const {
        return i < direct_.size() ? i : i - direct_.size();
    }

    // The slot whose last need is the oldest, or `none` if that is too recent.
    [[nodiscard]] std::uint32_t oldest() {
        for (;;) {
            const Waiting& first = queue_[head_];
            const Place& place = slots_[first.slot];
            const bool alive = first.end == static_cast<std::uint32_t>(place.end);
            if (alive && place.end != 0 && is_recent(place.end)) return none;
            const std::uint32_t slot = first.slot;
            head_ = wrapped(head_ + 1);
            --waiting_;
            if (alive) return slot;
        }
    }

    // Asks for what giving away the next slots will look at.
    void fetch_oldest() const {
        if (waiting_ <= 2 * ahead) return;
        prefetch_for_write(slots_.data() + queue_[wrapped(head_ + 2 * ahead)].slot);
        const RowId before = slots_[queue_[wrapped(head_ + ahead)].slot].before;
        if (before != no_row) rows_.fetch(row_hash(before));
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
    HashMap32 rows_;                    // rows of slots, rows before these, and direct rows
    Buffer<Direct, PageSpace> direct_;  // a ring of direct_count_ entries, in the order of time
    std::size_t first_direct_ = 0;
    std::size_t direct_count_ = 0;
    std::uint64_t untold_ = 0;     // one more than the latest step with a direct row that found no room
    WindowMove* moves_ = nullptr;  // the plan's own memory
    std::uint32_t move_count_ = 0;
    std::uint64_t number_ = 0;
    LookaheadWaits waits_;
    LookaheadCounts counts_;
};

}  // namespace fae::inline FAE_ABI::detail
