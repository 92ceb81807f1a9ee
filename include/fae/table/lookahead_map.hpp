// SPDX-License-Identifier: Apache-2.0
//
// HashMap32: what the look-ahead planner knows rows by, an open-addressed map from hashes of rows to 32-bit
// numbers, by which its owner finds the row itself. It is of fixed capacity: nothing is allocated after it is
// made, and nothing grows with the number of rows.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

/// The hash of a row: it chooses the row's shard, and its lower bits the place in the shard's map.
[[nodiscard]] inline std::uint32_t row_hash(RowId row) { return static_cast<std::uint32_t>(mix64(row)); }

/// A multimap from 32-bit hashes to 32-bit numbers, at most five eighths full. Linear probing; a removal
/// closes its gap, so that a map in use for ever is as quick as a new one. Eight bytes an entry: rows are not
/// kept here, so half as many lines of memory are on the way as with rows beside their numbers.
/// @cost 13 to 26 bytes for each entry of its capacity
class HashMap32 {
  public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};  ///< no number that is put in

    HashMap32() = default;
    explicit HashMap32(std::uint64_t capacity) : entries_(entries_for(capacity)) {
        if (entries_.empty()) return;
        mask_ = static_cast<std::uint32_t>(entries_.size() - 1);
        for (Entry& entry : entries_) entry = {};
    }
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t capacity) {
        return entries_for(capacity) * sizeof(Entry);
    }
    [[nodiscard]] std::uint64_t bytes() const { return entries_.bytes(); }

    /// Asks for the memory that looking for a hash will see first.
    void fetch(std::uint32_t hash) const { prefetch_for_write(entries_.data() + (hash & mask_)); }

    /// The number of some entry of this hash, or none.
    /// @pre the capacity is not 0; so for the others
    [[nodiscard]] std::uint32_t first(std::uint32_t hash) const {
        for (std::uint32_t i = hash & mask_;; i = (i + 1) & mask_) {
            if (entries_[i].value == none || entries_[i].hash == hash) return entries_[i].value;
        }
    }
    /// The number, of those of this hash, for which is(number) holds, or null. It may be changed; it moves
    /// when an entry is taken out.
    template <class Is>
    [[nodiscard]] std::uint32_t* find(std::uint32_t hash, Is&& is) {
        return const_cast<std::uint32_t*>(std::as_const(*this).find(hash, is));
    }
    template <class Is>
    [[nodiscard]] const std::uint32_t* find(std::uint32_t hash, Is&& is) const {
        for (std::uint32_t i = hash & mask_; entries_[i].value != none; i = (i + 1) & mask_) {
            if (entries_[i].hash == hash && is(entries_[i].value)) return &entries_[i].value;
        }
        return nullptr;
    }
    /// Puts an entry in.
    /// @pre less entries than the capacity are in
    void put(std::uint32_t hash, std::uint32_t value) {
        std::uint32_t i = hash & mask_;
        while (entries_[i].value != none) i = (i + 1) & mask_;
        entries_[i] = {hash, value};
    }
    /// Takes an entry out, one of several equal ones.
    /// @return false if there is none
    bool erase(std::uint32_t hash, std::uint32_t value) {
        std::uint32_t gap = hash & mask_;
        while (entries_[gap].hash != hash || entries_[gap].value != value) {
            if (entries_[gap].value == none) return false;
            gap = (gap + 1) & mask_;
        }
        for (std::uint32_t i = gap;;) {
            i = (i + 1) & mask_;
            if (entries_[i].value == none) break;
            // An entry may move back to the gap if its own place is not between the two.
            if (((i - entries_[i].hash) & mask_) >= ((i - gap) & mask_)) {
                entries_[gap] = entries_[i];
                gap = i;
            }
        }
        entries_[gap] = {};
        return true;
    }

  private:
    struct Entry {
        std::uint32_t hash = 0;
        std::uint32_t value = none;
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
