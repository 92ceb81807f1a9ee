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
/// One map says of a row that it has a slot, or, as long as an executor may be behind, which plan let it
/// leave or which step had it direct, whichever was later: a direct step has itself waited for the row to be
/// at home.
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
          events_(static_cast<std::size_t>(most_events(count))) {
        moves_.reserve(static_cast<std::size_t>(most_moves(count, options)));
        for (std::size_t s = 0; s < slots_.size(); ++s) {
            slots_[s] = {no_row, 0};
            queue_[s] = {static_cast<std::uint32_t>(s), 0};
        }
        waiting_ = slots_.size();
    }
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t count, const LookaheadOptions& options) {
        return count * sizeof(Place) + 2 * count * sizeof(Waiting) + RowMap::bytes_for(most_rows(count)) +
               most_events(count) * sizeof(Event) + most_moves(count, options) * sizeof(Move);
    }
    [[nodiscard]] std::uint64_t bytes() const {
        return slots_.bytes() + queue_.bytes() + rows_.bytes() + events_.bytes() +
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
        if (number > lookahead_) forget(number - lookahead_);
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
                const std::uint32_t* const is = rows_.find(lookups[i].row, lookups[i].hash);
                const bool found = is != nullptr && has_slot(*is);
                at[i - begin] = found ? *is : none;
                if (found) __builtin_prefetch(slots_.data() + *is, 1);
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
            if (i + ahead < lookups.size()) rows_.prefetch(lookups[i + ahead].hash);
            fetch_oldest();
            bring_one(lookups[i], located);
        }
    }

    [[nodiscard]] Span<const Move> moves() const { return moves_; }
    [[nodiscard]] const LookaheadWaits& waits() const { return waits_; }
    [[nodiscard]] const LookaheadCounts& counts() const { return counts_; }

    /// The slot of a row, or null.
    [[nodiscard]] Location locate(RowId row, std::uint32_t hash) const {
        if (slots_.empty()) return {false, row};
        const std::uint32_t* const is = rows_.find(row, hash);
        return is == nullptr || !has_slot(*is) ? Location{false, row} : Location{true, first_ + *is};
    }
    /// The row of a slot of the tier, or no_row.
    [[nodiscard]] RowId row_at(Slot slot) const {
        return slots_[static_cast<std::size_t>(slot - first_)].row;
    }

  private:
    static constexpr std::size_t block = 64;
    static constexpr std::size_t ahead = 8;
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    // What the map says of a row: a slot; or that it left or was direct, and when, cut to what is below.
    static constexpr std::uint32_t left = std::uint32_t{1} << 30;
    static constexpr std::uint32_t direct = std::uint32_t{2} << 30;
    static constexpr std::uint32_t time_mask = left - 1;

    struct Place {
        RowId row;
        std::uint64_t end;  // one more than the plan that last needs it, 0 if none has
    };
    struct Waiting {
        std::uint32_t slot;
        std::uint32_t end;  // the place's when it was put here, cut; another one now: the entry is dead
    };

    /// A row left, or was direct.
    struct Event {
        RowId row;
        std::uint32_t hash;
        std::uint32_t is;
    };

    // Within the look-ahead each slot is left once at most. Of direct rows, half as many are remembered.
    [[nodiscard]] static std::uint64_t most_direct(std::uint64_t count) { return count / 2; }
    [[nodiscard]] static std::uint64_t most_events(std::uint64_t count) { return count + most_direct(count); }
    [[nodiscard]] static std::uint64_t most_rows(std::uint64_t count) { return count + most_events(count); }
    [[nodiscard]] static bool has_slot(std::uint32_t is) { return is < left; }
    [[nodiscard]] static bool was_direct(std::uint32_t is) { return is >= direct; }
    // One more than the time of what the map says; it is at most 2^20 plans ago.
    [[nodiscard]] std::uint64_t end_of(std::uint32_t is) const {
        return number_ - ((static_cast<std::uint32_t>(number_) - is) & time_mask) + 1;
    }
    [[nodiscard]] std::uint32_t now(std::uint32_t kind) const {
        return kind | (static_cast<std::uint32_t>(number_) & time_mask);
    }

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
        std::uint32_t* const is = rows_.find(row, hash);
        if (is != nullptr && has_slot(*is)) {
            located[position] = located_at<Index>(*is);
            ++counts_.brought;
            return;
        }
        const std::uint32_t slot = oldest();
        if (slot == none) {
            located[position] = static_cast<Index>(row);
            ++counts_.direct;
            if (is == nullptr || *is != now(direct)) note_direct(lookup, is);
            return;
        }
        waits_.steps_before_bring = std::max(waits_.steps_before_bring, untold_);
        if (is == nullptr) {
            rows_.put(row, hash, slot);
        } else {
            std::uint64_t& wait = was_direct(*is) ? waits_.steps_before_bring : waits_.homes_before_bring;
            wait = std::max(wait, end_of(*is));
            *is = slot;
        }
        Place& place = slots_[slot];
        moves_.push_back({row, place.row, first_ + slot});
        if (place.row != no_row) {
            const std::uint32_t hash_before = row_hash(place.row);
            waits_.steps_before_leave = std::max(waits_.steps_before_leave, place.end);
            *rows_.find(place.row, hash_before) = now(left);
            add_event({place.row, hash_before, now(left)});
            ++counts_.rows_out;
        }
        place.row = row;
        need(slot);
        located[position] = located_at<Index>(slot);
        ++counts_.brought;
        ++counts_.rows_in;
    }

    // A row has no slot in this plan. What finds no room is remembered for all rows at once.
    void note_direct(const ColdLookup& lookup, std::uint32_t* is) {
        if (is != nullptr && !was_direct(*is)) {
            waits_.homes_before_direct = std::max(waits_.homes_before_direct, end_of(*is));
        }
        if (direct_events_ == most_direct(slots_.size())) {
            untold_ = number_ + 1;
            return;
        }
        ++direct_events_;
        add_event({lookup.row, lookup.hash, now(direct)});
        if (is == nullptr) {
            rows_.put(lookup.row, lookup.hash, now(direct));
        } else {
            *is = now(direct);
        }
    }

    void add_event(const Event& event) { events_[wrapped_event(first_event_ + event_count_++)] = event; }
    // Forgets what happened before a time.
    void forget(std::uint64_t time) {
        for (; event_count_ != 0; --event_count_) {
            const Event& event = events_[first_event_];
            if (end_of(event.is) > time) break;
            if (event_count_ > ahead) rows_.prefetch(events_[wrapped_event(first_event_ + ahead)].hash);
            if (was_direct(event.is)) --direct_events_;
            const std::uint32_t* const is = rows_.find(event.row, event.hash);
            if (is != nullptr && *is == event.is) rows_.erase(event.row, event.hash);
            first_event_ = wrapped_event(first_event_ + 1);
        }
        if (untold_ <= time) untold_ = 0;
    }
    [[nodiscard]] std::size_t wrapped_event(std::size_t i) const {
        return i < events_.size() ? i : i - events_.size();
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

    // Asks for what giving away the next slots will look at.
    void fetch_oldest() const {
        if (waiting_ <= 2 * ahead) return;
        __builtin_prefetch(slots_.data() + queue_[wrapped(head_ + 2 * ahead)].slot, 1);
        const RowId row = slots_[queue_[wrapped(head_ + ahead)].slot].row;
        if (row == no_row) return;
        rows_.prefetch(row_hash(row));
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
    Buffer<Event, PageSpace> events_;  // a ring of event_count_ entries, in the order of time
    std::size_t first_event_ = 0;
    std::size_t event_count_ = 0;
    std::uint64_t direct_events_ = 0;
    std::uint64_t untold_ = 0;  // one more than the latest step with a direct row that found no room
    std::vector<Move> moves_;
    std::uint64_t number_ = 0;
    LookaheadWaits waits_;
    LookaheadCounts counts_;
};

}  // namespace fae::inline FAE_ABI::detail
