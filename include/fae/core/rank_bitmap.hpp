// SPDX-License-Identifier: Apache-2.0
//
// RankBitmap: a fixed set of numbers below `size`, one bit each, with the rank of any position in constant
// time, one cache line a question: 1.15 bits per position for both.
//
//   RankBitmap hot = RankBitmap::from_predicate(exec, rows, [&](std::uint64_t r) { return count[r] > 3; });
//   RankBitmap::Ref ref = hot.ref();            // copyable, for loops and kernels
//   if (ref.contains(row)) slot = ref.rank(row);   // members below `row`
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

/// The number of ones. Written as the idiom that g++ and clang turn into the machine's instruction where the
/// target has one; without one, std::popcount would be a call into the compiler's library.
[[nodiscard]] FAE_HD constexpr std::uint64_t popcount64(std::uint64_t x) {
    x = x - ((x >> 1) & 0x5555555555555555u);
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
    return (x * 0x0101010101010101u) >> 56;
}

/// The ones of both words together.
[[nodiscard]] FAE_HD constexpr std::uint64_t popcount64_of_two(std::uint64_t x, std::uint64_t y) {
    x = x - ((x >> 1) & 0x5555555555555555u);
    y = y - ((y >> 1) & 0x5555555555555555u);
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = x + (y & 0x3333333333333333u) + ((y >> 2) & 0x3333333333333333u);
    x = (x & 0x0F0F0F0F0F0F0F0Fu) + ((x >> 4) & 0x0F0F0F0F0F0F0F0Fu);
    return (x * 0x0101010101010101u) >> 56;
}

}  // namespace detail

/// A set of positions in [0, size) with constant-time rank. Immutable once built.
///
/// 448 positions make a block of one cache line: a word of ranks, and seven words of bits. The word of ranks
/// holds the members before the block in its upper 37 bits, and below, nine bits each, those between the
/// block's first position and its words 2, 4 and 6.
/// @source after Vigna, Broadword Implementation of Rank/Select Queries, WEA 2008 (rank9), made to fit a line
class RankBitmap {
  public:
    static constexpr std::size_t words_per_block = 8;
    static constexpr std::size_t bits_per_block = 448;
    /// The most positions that the ranks have room for: 2^37, about 137 billion.
    static constexpr std::uint64_t max_size = std::uint64_t{1} << 37;

    /// What loops and kernels carry: three words, no ownership.
    class Ref {
      public:
        constexpr Ref() = default;
        FAE_HD constexpr Ref(const std::uint64_t* blocks, std::uint64_t size, std::uint64_t ones)
            : blocks_(blocks), size_(size), ones_(ones) {}

        [[nodiscard]] FAE_HD constexpr std::uint64_t size() const { return size_; }
        [[nodiscard]] FAE_HD constexpr std::uint64_t ones() const { return ones_; }

        /// @pre i < size()
        [[nodiscard]] FAE_HD constexpr bool contains(std::uint64_t i) const {
            return ((word(i / 64) >> (i % 64)) & 1) != 0;
        }

        /// The members below i.
        /// @pre i <= size()
        [[nodiscard]] FAE_HD constexpr std::uint64_t rank(std::uint64_t i) const {
            const std::uint64_t w = i / 64;
            const std::uint64_t block = w / 7;
            const std::uint64_t ranks = blocks_[block * words_per_block];
            const std::uint64_t* const at = blocks_ + (w + block + 1);
            const std::uint64_t k = w - block * 7;
            // The word before counts if its pair began in it; for word 0 that would be the ranks, and does
            // not.
            const std::uint64_t before = at[-1] & (0 - (k & 1));
            const std::uint64_t below = at[0] & ((std::uint64_t{1} << (i % 64)) - 1);
            return (ranks >> 27) + (((ranks << 9) >> (9 * (k / 2))) & 511) +
                   detail::popcount64_of_two(before, below);
        }

        /// Positions 64 w to 64 w + 63 as one word, the first in the lowest bit; zeros beyond size().
        /// @pre w < ceil(size() / 64)
        [[nodiscard]] FAE_HD constexpr std::uint64_t word(std::uint64_t w) const {
            return blocks_[w + w / 7 + 1];
        }

        /// Where everything about position i lies; for prefetching.
        [[nodiscard]] FAE_HD constexpr const std::uint64_t* address(std::uint64_t i) const {
            return blocks_ + i / bits_per_block * words_per_block;
        }

      private:
        const std::uint64_t* blocks_ = nullptr;
        std::uint64_t size_ = 0;
        std::uint64_t ones_ = 0;
    };

    /// The empty set of no positions; its rank must not be asked.
    RankBitmap() = default;

    /// The set whose word w (positions 64 w on, the first in the lowest bit) is word_of(w). Bits beyond
    /// `size` are dropped. word_of is called once for every w, from any thread.
    /// @cost   one call a word; writes 64 bytes per 448 positions
    /// @throws ContractError if size exceeds max_size
    template <Executor E, class WordOf>
    [[nodiscard]] static RankBitmap from_word_function(const E& exec, std::uint64_t size, WordOf&& word_of) {
        require(size <= max_size, [&] { return concat("size is ", size, ", expected at most ", max_size); });
        RankBitmap made;
        made.size_ = size;
        const std::uint64_t words = ceil_div<std::uint64_t>(size, 64);
        const std::size_t blocks = block_count(size);
        made.blocks_.reset(static_cast<std::uint64_t*>(
            ::operator new(blocks* words_per_block * sizeof(std::uint64_t), alignment)));
        std::uint64_t* const data = made.blocks_.get();
        // Ranks from the start of a chunk first, then the chunks' own starts are added.
        std::vector<std::uint64_t> chunk_ones(ceil_div(blocks, blocks_per_chunk), 0);
        for_chunks(exec, blocks, blocks_per_chunk, [&](std::size_t begin, std::size_t end) {
            std::uint64_t ones = 0;
            for (std::size_t b = begin; b < end; ++b) {
                std::uint64_t* block = data + b * words_per_block;
                std::uint64_t within = 0;
                std::uint64_t packed = 0;
                for (std::uint64_t k = 0; k < 7; ++k) {
                    const std::uint64_t w = b * 7 + k;
                    std::uint64_t bits = w < words ? static_cast<std::uint64_t>(word_of(w)) : 0;
                    if (w + 1 == words && size % 64 != 0) bits &= (std::uint64_t{1} << (size % 64)) - 1;
                    if (k % 2 == 0 && k != 0) packed |= within << (9 * (k / 2 - 1));
                    within += detail::popcount64(bits);
                    block[1 + k] = bits;
                }
                block[0] = (ones << 27) | packed;
                ones += within;
            }
            chunk_ones[begin / blocks_per_chunk] = ones;
        });
        for (std::uint64_t& chunk : chunk_ones) made.ones_ += std::exchange(chunk, made.ones_);
        for_chunks(exec, blocks, blocks_per_chunk, [&](std::size_t begin, std::size_t end) {
            const std::uint64_t before = chunk_ones[begin / blocks_per_chunk];
            for (std::size_t b = begin; b < end; ++b) data[b * words_per_block] += before << 27;
        });
        return made;
    }

    /// The positions for which `member(i)` holds; called once for every i, from any thread.
    template <Executor E, class Predicate>
    [[nodiscard]] static RankBitmap from_predicate(const E& exec, std::uint64_t size, Predicate&& member) {
        return from_word_function(exec, size, [&](std::uint64_t w) {
            const std::uint64_t first = w * 64;
            const std::uint64_t count = size - first < 64 ? size - first : 64;
            std::uint64_t bits = 0;
            for (std::uint64_t i = 0; i < count; ++i) {
                bits |= static_cast<std::uint64_t>(member(first + i) ? 1 : 0) << i;
            }
            return bits;
        });
    }

    /// The positions whose bit is set in `words`: position i is bit i % 64 of words[i / 64].
    /// @throws ContractError unless words has ceil(size / 64) entries
    template <Executor E>
    [[nodiscard]] static RankBitmap from_words(const E& exec, std::uint64_t size,
                                               Span<const std::uint64_t> words) {
        const std::uint64_t expected = ceil_div<std::uint64_t>(size, 64);
        require(words.size() == expected, [&] {
            return concat("words has ", words.size(), " entries, expected ", expected, " for ", size,
                          " positions");
        });
        return from_word_function(exec, size, [&](std::uint64_t w) { return words[w]; });
    }

    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] std::uint64_t ones() const { return ones_; }
    [[nodiscard]] bool contains(std::uint64_t i) const { return ref().contains(i); }
    [[nodiscard]] std::uint64_t rank(std::uint64_t i) const { return ref().rank(i); }
    [[nodiscard]] Ref ref() const { return {blocks_.get(), size_, ones_}; }

    /// The memory of bits and ranks.
    [[nodiscard]] std::uint64_t bytes() const { return blocks_ == nullptr ? 0 : bytes_for(size_); }
    /// What a bitmap of `size` positions takes.
    [[nodiscard]] static std::uint64_t bytes_for(std::uint64_t size) {
        return std::uint64_t{block_count(size)} * words_per_block * sizeof(std::uint64_t);
    }
    /// The blocks as they lie in memory; for a copy in another space, over which a Ref can be made.
    [[nodiscard]] Span<const std::uint64_t> storage() const {
        return {blocks_.get(), static_cast<std::size_t>(bytes() / sizeof(std::uint64_t))};
    }

    /// Calls visit(position, its rank) for every member, ascending within a chunk; chunks run side by side.
    template <Executor E, class Visit>
    void for_each(const E& exec, Visit&& visit) const {
        visit_words(
            exec, [&](std::uint64_t w, Ref set) { return set.word(w); },
            [&](std::uint64_t first, Ref set) { return set.rank(first); }, visit);
    }

    /// Calls visit(position, number of earlier positions outside the set) for every position outside it.
    template <Executor E, class Visit>
    void for_each_missing(const E& exec, Visit&& visit) const {
        visit_words(
            exec,
            [&](std::uint64_t w, Ref set) {
                const std::uint64_t left = set.size() - w * 64;
                return ~set.word(w) & (left < 64 ? (std::uint64_t{1} << left) - 1 : ~std::uint64_t{0});
            },
            [&](std::uint64_t first, Ref set) { return first - set.rank(first); }, visit);
    }

  private:
    static constexpr std::size_t blocks_per_chunk = 256;
    static constexpr std::align_val_t alignment{words_per_block * sizeof(std::uint64_t)};

    struct Free {
        void operator()(std::uint64_t* blocks) const { ::operator delete(blocks, alignment); }
    };

    // One block more than the bits fill exactly, so that rank(size) needs no special case.
    [[nodiscard]] static std::size_t block_count(std::uint64_t size) {
        return static_cast<std::size_t>(size / bits_per_block) + 1;
    }

    template <Executor E, class WordOf, class RankOf, class Visit>
    void visit_words(const E& exec, WordOf&& word_of, RankOf&& rank_of, Visit&& visit) const {
        const Ref set = ref();
        const auto words = static_cast<std::size_t>(ceil_div<std::uint64_t>(size_, 64));
        for_chunks(exec, words, blocks_per_chunk * 7, [&](std::size_t begin, std::size_t end) {
            std::uint64_t rank = rank_of(std::uint64_t{begin} * 64, set);
            for (std::size_t w = begin; w < end; ++w) {
                for (std::uint64_t bits = word_of(w, set); bits != 0; bits &= bits - 1) {
                    const std::uint64_t lowest = bits & (0 - bits);
                    visit(std::uint64_t{w} * 64 + detail::popcount64(lowest - 1), rank++);
                }
            }
        });
    }

    std::unique_ptr<std::uint64_t, Free> blocks_;
    std::uint64_t size_ = 0;
    std::uint64_t ones_ = 0;
};

}  // namespace fae::inline FAE_ABI
