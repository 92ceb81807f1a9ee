// SPDX-License-Identifier: Apache-2.0
//
// What the look-ahead planner knows rows by: RowMap, an open-addressed map from rows to 32-bit numbers, and
// RecentRows, the rows that something happened to lately. Both are of fixed capacity: nothing is allocated
// after they are made, and nothing grows with the number of rows.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

/// The hash of a row: the upper bits choose its shard, the lower ones its place in the shard's maps.
[[nodiscard]] inline std::uint32_t row_hash(RowId row) { return static_cast<std::uint32_t>(mix64(row)); }

/// A map from rows to 32-bit numbers, at most half full. Linear probing; a removal closes its gap, so that a
/// map in use for ever is as quick as a new one.
/// @cost 32 to 64 bytes for each row of its capacity
class RowMap {
  public:
    RowMap() = default;
    explicit RowMap(std::uint64_t capacity) : entries_(entries_for(capacity)) {
        if (entries_.empty()) return;
        mask_ = static_cast<std::uint32_t>(entries_.size() - 1);
        for (Entry& entry : entries_) entry = {};
    }
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t capacity) {
        return entries_for(capacity) * sizeof(Entry);
    }
    [[nodiscard]] std::uint64_t bytes() const { return entries_.bytes(); }

    /// Asks for the memory that find(hash) will look at first.
    void prefetch(std::uint32_t hash) const { __builtin_prefetch(entries_.data() + (hash & mask_)); }

    /// The number of a row, or null.
    /// @pre the capacity is not 0; so for the others
    [[nodiscard]] const std::uint32_t* find(RowId row, std::uint32_t hash) const {
        for (std::uint32_t i = hash & mask_;; i = (i + 1) & mask_) {
            if (entries_[i].row == row) return &entries_[i].value;
            if (entries_[i].row == no_row) return nullptr;
        }
    }
    /// Puts a row in, or gives it another number.
    /// @pre it is in, or less rows than the capacity are
    void put(RowId row, std::uint32_t hash, std::uint32_t value) {
        std::uint32_t i = hash & mask_;
        while (entries_[i].row != row && entries_[i].row != no_row) i = (i + 1) & mask_;
        entries_[i] = {row, value, hash};
    }
    /// Takes a row out.
    /// @pre it is in
    void erase(RowId row, std::uint32_t hash) {
        std::uint32_t gap = hash & mask_;
        while (entries_[gap].row != row) gap = (gap + 1) & mask_;
        for (std::uint32_t i = gap;;) {
            i = (i + 1) & mask_;
            if (entries_[i].row == no_row) break;
            // An entry may move back to the gap if its own place is not between the two.
            if (((i - (entries_[i].hash & mask_)) & mask_) >= ((i - gap) & mask_)) {
                entries_[gap] = entries_[i];
                gap = i;
            }
        }
        entries_[gap] = {};
    }

  private:
    struct Entry {
        RowId row = no_row;
        std::uint32_t value = 0;
        std::uint32_t hash = 0;
    };
    [[nodiscard]] static std::size_t entries_for(std::uint64_t capacity) {
        return capacity == 0 ? 0 : std::bit_ceil(static_cast<std::size_t>(2 * capacity));
    }

    Buffer<Entry, PageSpace> entries_;
    std::uint32_t mask_ = 0;
};

/// When something last happened to a row, as long as that is not long ago. What does not fit is remembered
/// for all rows at once: an answer may be too late then, never too early.
/// @cost 64 to 112 bytes for each event of its capacity
class RecentRows {
  public:
    RecentRows() = default;
    explicit RecentRows(std::uint64_t capacity)
        : map_(capacity), events_(static_cast<std::size_t>(capacity)) {}
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t capacity) {
        return RowMap::bytes_for(capacity) + capacity * sizeof(Event);
    }
    [[nodiscard]] std::uint64_t bytes() const { return map_.bytes() + events_.bytes(); }
    [[nodiscard]] bool empty() const { return count_ == 0; }

    void prefetch(std::uint32_t hash) const {
        if (count_ != 0) map_.prefetch(hash);
    }

    /// Forgets what happened before `time`.
    void forget(std::uint64_t time) {
        while (count_ != 0 && events_[first_].time < time) {
            const Event& event = events_[first_];
            const std::uint32_t* const latest = map_.find(event.row, event.hash);
            if (latest != nullptr && *latest == event.stamp()) map_.erase(event.row, event.hash);
            first_ = next(first_);
            --count_;
        }
        if (untold_ <= time) untold_ = 0;
    }

    /// Something happens to a row.
    /// @pre times do not fall, and forget() leaves less than 2^32 of them
    void note(RowId row, std::uint32_t hash, std::uint64_t time) {
        const Event event{row, time, hash};
        if (const std::uint32_t* const latest = count_ == 0 ? nullptr : map_.find(row, hash);
            latest != nullptr && *latest == event.stamp()) {
            return;
        }
        if (count_ == events_.size()) {
            untold_ = time + 1;
            return;
        }
        map_.put(row, hash, event.stamp());
        events_[last_] = event;
        last_ = next(last_);
        ++count_;
    }

    /// One more than the latest time at which something happened to a row; 0 if it is not remembered.
    /// @param now  not before any time that was noted
    [[nodiscard]] std::uint64_t end_of(RowId row, std::uint32_t hash, std::uint64_t now) const {
        if (count_ == 0) return untold_;
        const std::uint32_t* const latest = map_.find(row, hash);
        if (latest == nullptr) return untold_;
        const std::uint64_t end = now - (static_cast<std::uint32_t>(now) - *latest) + 1;
        return end < untold_ ? untold_ : end;
    }

  private:
    struct Event {
        RowId row;
        std::uint64_t time;
        std::uint32_t hash;
        [[nodiscard]] std::uint32_t stamp() const { return static_cast<std::uint32_t>(time); }
    };
    [[nodiscard]] std::size_t next(std::size_t i) const { return i + 1 == events_.size() ? 0 : i + 1; }

    RowMap map_;
    Buffer<Event, PageSpace> events_;  // a ring, in the order of time
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    std::size_t count_ = 0;
    std::uint64_t untold_ = 0;  // one more than the time of the latest event that found no room
};

}  // namespace detail

}  // namespace fae::inline FAE_ABI
