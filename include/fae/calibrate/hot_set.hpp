// SPDX-License-Identifier: Apache-2.0
//
// HotSet: which rows of a row space are hot, and the slot of each in the fast tier: a bijection, ascending.
//
//   HotSet hot(rows, sorted_row_ids);
//   HotSet::Ref ref = hot.ref();                      // copyable, for loops and kernels
//   Slot slot = ref.find(row);                        // or HotSet::cold
//   ref.row_of(slot) == row
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI {

/// The hot rows of one row space. The slot of a hot row is the number of hot rows below it, so a gather from
/// the homes in slot order walks memory forwards, and a table that is hot in full lies in the fast tier as it
/// does at home. Immutable, move-only; a move leaves Refs valid.
///
/// Membership is a bitmap with ranks, 1.15 bits a row; a set of no row or of all rows needs none. The row of
/// each slot is a list in host memory, of 4 bytes a slot up to 2^32 rows, else 8; it serves synchronisation
/// and is no part of the index that a fast tier holds.
class HotSet {
  public:
    /// What find() answers for a row outside the set.
    static constexpr Slot cold = std::numeric_limits<Slot>::max();

    class Ref {
      public:
        constexpr Ref() = default;

        /// Rows of the row space.
        [[nodiscard]] FAE_HD constexpr std::uint64_t rows() const { return rows_; }
        /// Hot rows, and so slots.
        [[nodiscard]] FAE_HD constexpr std::uint64_t size() const { return size_; }
        /// True where no look-up needs a test: no row is hot, or all are.
        [[nodiscard]] FAE_HD constexpr bool trivial() const { return size_ == 0 || size_ == rows_; }

        /// @pre row < rows()
        [[nodiscard]] FAE_HD constexpr bool contains(RowId row) const {
            return trivial() ? size_ != 0 : bitmap_.contains(row);
        }
        /// @pre contains(row)
        [[nodiscard]] FAE_HD constexpr Slot slot_of(RowId row) const { return rank(row); }
        /// The slot of a row, or `cold`.
        /// @pre row < rows()
        [[nodiscard]] FAE_HD constexpr Slot find(RowId row) const { return contains(row) ? rank(row) : cold; }
        /// The hot rows below `row`.
        /// @pre row <= rows()
        [[nodiscard]] FAE_HD constexpr std::uint64_t rank(RowId row) const {
            return trivial() ? (size_ == 0 ? 0 : row) : bitmap_.rank(row);
        }
        /// @pre slot < size()
        [[nodiscard]] FAE_HD constexpr RowId row_of(Slot slot) const {
            return narrow_ != nullptr ? RowId{narrow_[slot]} : wide_ != nullptr ? wide_[slot] : slot;
        }
        /// True if every row in [begin, end) is hot: a whole table, say; its slots then start at rank(begin).
        /// @pre begin <= end <= rows()
        [[nodiscard]] FAE_HD constexpr bool covers(RowId begin, RowId end) const {
            return rank(end) - rank(begin) == end - begin;
        }
        /// The bits behind a set that is not trivial.
        [[nodiscard]] FAE_HD constexpr RankBitmap::Ref bitmap() const { return bitmap_; }

      private:
        friend class HotSet;
        RankBitmap::Ref bitmap_;
        const std::uint32_t* narrow_ = nullptr;
        const std::uint64_t* wide_ = nullptr;
        std::uint64_t rows_ = 0;
        std::uint64_t size_ = 0;
    };

    /// No row of an empty row space.
    HotSet() = default;

    /// The given rows.
    /// @param hot_rows  strictly ascending, each below `rows`
    /// @throws ContractError where that does not hold
    HotSet(std::uint64_t rows, Span<const std::uint32_t> hot_rows) { assign(seq, rows, hot_rows); }
    HotSet(std::uint64_t rows, Span<const std::uint64_t> hot_rows) { assign(seq, rows, hot_rows); }

    /// The same, in parallel.
    template <Executor E, IndexType Index>
    [[nodiscard]] static HotSet from_rows(const E& exec, std::uint64_t rows, Span<const Index> hot_rows) {
        HotSet made;
        made.assign(exec, rows, hot_rows);
        return made;
    }
    [[nodiscard]] static HotSet none(std::uint64_t rows) { return HotSet(rows, Span<const std::uint32_t>()); }
    [[nodiscard]] static HotSet all(std::uint64_t rows) {
        HotSet made;
        made.rows_ = made.size_ = rows;
        return made;
    }
    /// The rows for which `hot(row)` holds; called once for every row, from any thread.
    template <Executor E, class Predicate>
    [[nodiscard]] static HotSet from_predicate(const E& exec, std::uint64_t rows, Predicate&& hot) {
        return from_bitmap(exec, RankBitmap::from_predicate(exec, rows, std::forward<Predicate>(hot)));
    }
    /// The members of `members`, one position a row.
    template <Executor E>
    [[nodiscard]] static HotSet from_bitmap(const E& exec, RankBitmap members) {
        HotSet made;
        made.rows_ = members.size();
        made.size_ = members.ones();
        if (made.size_ == 0 || made.size_ == made.rows_) return made;
        made.bitmap_ = std::move(members);
        const auto slots = static_cast<std::size_t>(made.size_);
        if (made.rows_ <= std::uint64_t{1} << 32) {
            made.narrow_ = Buffer<std::uint32_t, PageSpace>(slots);
            std::uint32_t* const to = made.narrow_.data();
            made.bitmap_.for_each(exec, [to](std::uint64_t row, std::uint64_t slot) {
                to[slot] = static_cast<std::uint32_t>(row);
            });
        } else {
            made.wide_ = Buffer<std::uint64_t, PageSpace>(slots);
            std::uint64_t* const to = made.wide_.data();
            made.bitmap_.for_each(exec, [to](std::uint64_t row, std::uint64_t slot) { to[slot] = row; });
        }
        return made;
    }

    [[nodiscard]] std::uint64_t rows() const { return rows_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] bool contains(RowId row) const { return ref().contains(row); }
    [[nodiscard]] Slot slot_of(RowId row) const { return ref().slot_of(row); }
    [[nodiscard]] Slot find(RowId row) const { return ref().find(row); }
    [[nodiscard]] RowId row_of(Slot slot) const { return ref().row_of(slot); }
    [[nodiscard]] std::uint64_t rank(RowId row) const { return ref().rank(row); }
    [[nodiscard]] bool covers(RowId begin, RowId end) const { return ref().covers(begin, end); }

    [[nodiscard]] Ref ref() const {
        Ref made;
        made.bitmap_ = bitmap_.ref();
        made.narrow_ = narrow_.data();
        made.wide_ = wide_.data();
        made.rows_ = rows_;
        made.size_ = size_;
        return made;
    }

    /// The memory behind a set: the bits with their ranks, and the row of each slot in one list or none.
    struct Storage {
        Span<const std::uint64_t> blocks;
        Span<const std::uint32_t> narrow;
        Span<const std::uint64_t> wide;
    };
    [[nodiscard]] Storage storage() const { return {bitmap_.storage(), narrow_.span(), wide_.span()}; }
    /// A Ref that reads a copy of storage() in another space: a device's memory, say. A list that was not
    /// copied may be empty; row_of must not be asked then.
    [[nodiscard]] Ref ref_to(const Storage& copy) const {
        Ref made = ref();
        made.bitmap_ = RankBitmap::Ref(copy.blocks.data(), bitmap_.size(), bitmap_.ones());
        made.narrow_ = copy.narrow.data();
        made.wide_ = copy.wide.data();
        return made;
    }

    /// The bytes of bitmap and ranks, which count in the budget.
    [[nodiscard]] std::uint64_t index_bytes() const { return bitmap_.bytes(); }
    /// The same for a set of `size` among `rows` rows, before it is built.
    [[nodiscard]] static std::uint64_t index_bytes_for(std::uint64_t rows, std::uint64_t size) {
        return size == 0 || size == rows ? 0 : RankBitmap::bytes_for(rows);
    }

  private:
    template <Executor E, IndexType Index>
    void assign(const E& exec, std::uint64_t rows, Span<const Index> hot_rows) {
        for_chunks(exec, hot_rows.size(), std::size_t{1} << 16, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                require(hot_rows[i] < rows, [&] {
                    return concat("hot row ", i, " is ", hot_rows[i], ", expected less than ", rows);
                });
                require(i == 0 || hot_rows[i - 1] < hot_rows[i], [&] {
                    return concat("hot row ", i, " is ", hot_rows[i], " after ", hot_rows[i - 1],
                                  ", expected strictly ascending rows");
                });
            }
        });
        // The bits of 2^16 rows at a time, from the part of the list that falls among them.
        Buffer<std::uint64_t, PageSpace> words(static_cast<std::size_t>(ceil_div<std::uint64_t>(rows, 64)));
        for_chunks(exec, words.size(), 1024, [&](std::size_t begin, std::size_t end) {
            const auto first = static_cast<std::uint64_t>(begin) * 64;
            std::size_t low = 0;
            std::size_t high = hot_rows.size();
            while (low < high) {
                const std::size_t middle = low + (high - low) / 2;
                if (hot_rows[middle] < first) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            for (; low < hot_rows.size() && hot_rows[low] / 64 < end; ++low) {
                words[static_cast<std::size_t>(hot_rows[low] / 64)] |= std::uint64_t{1}
                                                                       << (hot_rows[low] % 64);
            }
        });
        *this = from_bitmap(exec, RankBitmap::from_words(exec, rows, words.span()));
    }

    RankBitmap bitmap_;
    Buffer<std::uint32_t, PageSpace> narrow_;
    Buffer<std::uint64_t, PageSpace> wide_;
    std::uint64_t rows_ = 0;
    std::uint64_t size_ = 0;
};

}  // namespace fae::inline FAE_ABI
