// SPDX-License-Identifier: Apache-2.0
//
// RowMap: what the look-ahead planner knows rows by, an open-addressed map from rows to 32-bit numbers. It is
// of fixed capacity: nothing is allocated after it is made, and nothing grows with the number of rows.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

/// The hash of a row: the upper bits choose its shard, the lower ones its place in the shard's maps.
[[nodiscard]] inline std::uint32_t row_hash(RowId row) { return static_cast<std::uint32_t>(mix64(row)); }

/// A map from rows to 32-bit numbers, at most five eighths full. Linear probing; a removal closes its gap, so
/// that a map in use for ever is as quick as a new one.
/// @cost 26 to 52 bytes for each row of its capacity
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

    /// The number of a row, or null. It may be changed; it moves when a row is put in or taken out.
    /// @pre the capacity is not 0; so for the others
    [[nodiscard]] std::uint32_t* find(RowId row, std::uint32_t hash) {
        return const_cast<std::uint32_t*>(std::as_const(*this).find(row, hash));
    }
    [[nodiscard]] const std::uint32_t* find(RowId row, std::uint32_t hash) const {
        for (std::uint32_t i = hash & mask_;; i = (i + 1) & mask_) {
            if (entries_[i].row == row) return &entries_[i].value;
            if (entries_[i].row == no_row) return nullptr;
        }
    }
    /// Puts a row in.
    /// @pre it is not in, and less rows than the capacity are
    void put(RowId row, std::uint32_t hash, std::uint32_t value) {
        std::uint32_t i = hash & mask_;
        while (entries_[i].row != no_row) i = (i + 1) & mask_;
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
        return capacity == 0
                   ? 0
                   : std::bit_ceil(static_cast<std::size_t>(ceil_div<std::uint64_t>(capacity * 8, 5) + 1));
    }

    Buffer<Entry, PageSpace> entries_;
    std::uint32_t mask_ = 0;
};

}  // namespace detail

}  // namespace fae::inline FAE_ABI
