// SPDX-License-Identifier: Apache-2.0
//
// DirtySlots: which slots' rows differ between the fast tier and their homes. One bit a slot; marking is safe
// from several threads at once.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// A set of slots.
/// @cost one bit a slot
class DirtySlots {
  public:
    DirtySlots() = default;
    explicit DirtySlots(std::uint64_t slots)
        : slots_(slots), words_(static_cast<std::size_t>(ceil_div<std::uint64_t>(slots, 64)), 0) {}

    void mark_all() {
        std::fill(words_.begin(), words_.end(), ~std::uint64_t{0});
        if (slots_ % 64 != 0) words_.back() = (std::uint64_t{1} << (slots_ % 64)) - 1;
    }
    void clear() { std::fill(words_.begin(), words_.end(), 0); }

    /// Marks one slot. Several threads may mark at once.
    void mark(Slot slot) {
        const std::uint64_t bit = std::uint64_t{1} << (slot % 64);
        std::atomic_ref<std::uint64_t> word(words_[static_cast<std::size_t>(slot / 64)]);
        if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit, std::memory_order_relaxed);
    }

    /// Takes out the marked slots for which is_out(slot) holds.
    template <Executor E, class IsOut>
    void drop(const E& exec, IsOut&& is_out) {
        for_chunks(exec, words_.size(), 64, [&](std::size_t begin, std::size_t end) {
            for (std::size_t w = begin; w < end; ++w) {
                for (std::uint64_t left = words_[w]; left != 0; left &= left - 1) {
                    const auto bit = std::countr_zero(left);
                    if (is_out(static_cast<Slot>(w) * 64 + static_cast<Slot>(bit))) {
                        words_[w] &= ~(std::uint64_t{1} << bit);
                    }
                }
            }
        });
    }

    [[nodiscard]] bool contains(Slot slot) const {
        return (words_[static_cast<std::size_t>(slot / 64)] >> (slot % 64) & 1u) != 0;
    }
    [[nodiscard]] std::uint64_t count() const {
        std::uint64_t ones = 0;
        for (const std::uint64_t word : words_) ones += static_cast<std::uint64_t>(std::popcount(word));
        return ones;
    }

    /// Calls f(slot) for every marked slot, ascending within a task; tasks are ranges of 4,096 slots.
    template <Executor E, class F>
    void for_each(const E& exec, F&& f) const {
        for_chunks(exec, words_.size(), 64, [&](std::size_t begin, std::size_t end) {
            for (std::size_t w = begin; w < end; ++w) {
                for (std::uint64_t left = words_[w]; left != 0; left &= left - 1) {
                    f(static_cast<Slot>(w) * 64 + static_cast<Slot>(std::countr_zero(left)));
                }
            }
        });
    }

    /// Slots that are looked at together; see for_each_in.
    static constexpr std::uint64_t group_slots = 1024;
    [[nodiscard]] std::size_t groups() const {
        return static_cast<std::size_t>(ceil_div(slots_, group_slots));
    }
    /// Calls f(slot) for every marked slot of one group, ascending.
    template <class F>
    void for_each_in(std::size_t group, F&& f) const {
        const std::size_t begin = group * group_words;
        const std::size_t end = std::min(begin + group_words, words_.size());
        for (std::size_t w = begin; w < end; ++w) {
            for (std::uint64_t left = words_[w]; left != 0; left &= left - 1) {
                f(static_cast<Slot>(w) * 64 + static_cast<Slot>(std::countr_zero(left)));
            }
        }
    }
    [[nodiscard]] std::uint64_t count_in(std::size_t group) const {
        const std::size_t begin = group * group_words;
        const std::size_t end = std::min(begin + group_words, words_.size());
        std::uint64_t ones = 0;
        for (std::size_t w = begin; w < end; ++w)
            ones += static_cast<std::uint64_t>(std::popcount(words_[w]));
        return ones;
    }

    /// Marks what is marked in `words`: slot s is bit s % 64 of word s / 64.
    /// @throws ContractError unless words has ceil(slots / 64) entries
    void merge(Span<const std::uint64_t> words) {
        require(words.size() == words_.size(),
                [&] { return concat("words has ", words.size(), " entries, expected ", words_.size()); });
        for (std::size_t w = 0; w < words_.size(); ++w) words_[w] |= words[w];
    }

  private:
    static constexpr std::size_t group_words = group_slots / 64;

    std::uint64_t slots_ = 0;
    std::vector<std::uint64_t> words_;
};

}  // namespace fae::inline FAE_ABI
