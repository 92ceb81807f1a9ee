// SPDX-License-Identifier: Apache-2.0
//
// The sort behind RowIndex (row_index.hpp): (row, look-up) pairs by row, stable. Internal to ops.
//
// Two steps, both stable. First the pairs are dealt into groups that ascend by row: one group per feature
// where the features' rows do not overlap (the tables of a row space, one after another), else by the top
// bits of the row. Then each group, small enough for a near cache, is sorted by itself, least significant
// digit first, on the bits in which its rows can differ.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"

namespace fae::inline FAE_ABI {
namespace detail {

/// A row and a look-up in one word, where the row's bits fit.
struct NarrowPair {
    std::uint64_t bits;
    [[nodiscard]] std::uint64_t key() const { return bits >> 32; }
    [[nodiscard]] std::uint32_t lookup() const { return static_cast<std::uint32_t>(bits); }
    [[nodiscard]] static NarrowPair make(std::uint64_t key, std::uint32_t lookup) {
        return {(key << 32) | lookup};
    }
};
struct WidePair {
    std::uint64_t row;
    std::uint64_t place;
    [[nodiscard]] std::uint64_t key() const { return row; }
    [[nodiscard]] std::uint32_t lookup() const { return static_cast<std::uint32_t>(place); }
    [[nodiscard]] static WidePair make(std::uint64_t key, std::uint32_t lookup) { return {key, lookup}; }
};

inline constexpr std::size_t most_groups = 1024;
inline constexpr std::size_t group_lookups =
    2048;  ///< what a group by top bits has if rows are spread evenly
inline constexpr unsigned most_digit_bits = 10;
inline constexpr std::size_t lanes = 4;  ///< runs of a group that are counted and moved side by side

/// The most parts that the dealing is cut into, whatever the executor.
[[nodiscard]] constexpr std::size_t most_parts(std::size_t lookups) {
    return std::clamp<std::size_t>(lookups / 8192, 1, 64);
}

/// The least and the greatest key of some pairs.
struct KeyRange {
    std::uint64_t least = ~std::uint64_t{0};
    std::uint64_t most = 0;
    void add(std::uint64_t key) {
        least = std::min(least, key);
        most = std::max(most, key);
    }
    [[nodiscard]] bool empty() const { return least > most; }
    /// The low bits in which the keys can differ.
    [[nodiscard]] unsigned bits() const {
        return empty() ? 0u : static_cast<unsigned>(std::bit_width(least ^ most));
    }
};

/// The pieces of workspace that a sort takes.
template <IndexType Index>
struct RowSortSpace {
    static constexpr std::size_t words = sizeof(Index) == 4 ? 1 : 2;  ///< a wide pair's, for 64-bit indices

    RowSortSpace(std::size_t lookups, Workspace& workspace)
        : pairs(workspace.take<std::uint64_t>(lookups * words)),
          spare(workspace.take<std::uint64_t>(lookups * words)),
          counts(workspace.take<std::uint32_t>(most_parts(lookups) * most_groups)),
          ranges(workspace.take<KeyRange>(most_groups)),
          group_begin(workspace.take<std::uint32_t>(most_groups + 1)),
          group_rows(workspace.take<std::uint32_t>(most_groups)) {}

    [[nodiscard]] static constexpr std::size_t bytes(std::size_t lookups) {
        return 2 * scratch_bytes<std::uint64_t>(lookups * words) +
               scratch_bytes<std::uint32_t>(most_parts(lookups) * most_groups) +
               scratch_bytes<KeyRange>(most_groups) + scratch_bytes<std::uint32_t>(most_groups + 1) +
               scratch_bytes<std::uint32_t>(most_groups);
    }

    Span<std::uint64_t> pairs;
    Span<std::uint64_t> spare;
    Span<std::uint32_t> counts;       ///< [parts, groups] of each part's pairs in a group, then where they go
    Span<KeyRange> ranges;            ///< [groups] of the keys of each group, or of each part
    Span<std::uint32_t> group_begin;  ///< [groups + 1] the first pair of each group
    Span<std::uint32_t> group_rows;   ///< [groups] different rows, then the number of the first one
};

/// One batch being sorted.
template <IndexType Index, class Pair>
class RowSort {
  public:
    /// @param by_position  pairs hold positions instead of bags
    RowSort(const Bags<Index>& bags, bool by_position, unsigned row_bits, RowSortSpace<Index>& space)
        : bags_(bags), by_position_(by_position), row_bits_(row_bits), space_(space) {
        const std::size_t lookups = bags.lookups();
        pairs_ = {reinterpret_cast<Pair*>(space.pairs.data()), lookups};
        spare_ = {reinterpret_cast<Pair*>(space.spare.data()), lookups};
    }

    /// Sorts, and returns the number of different rows.
    template <Executor E>
    std::size_t sort(const E& exec) {
        parts_ = std::min(most_parts(pairs_.size()), std::max<std::size_t>(exec.concurrency(), 1));
        if (!deal_by_feature(exec)) deal_by_key(exec);
        exec.run(groups_, [&](std::size_t group) { sort_group(group); });
        std::uint32_t rows = 0;
        for (std::size_t g = 0; g < groups_; ++g) rows += std::exchange(space_.group_rows[g], rows);
        return rows;
    }

    /// Writes rows [n], begin [n + 1] and the look-ups of the pairs in order.
    template <Executor E>
    void write(const E& exec, Span<Index> rows, Span<std::uint32_t> begin,
               Span<std::uint32_t> lookups) const {
        begin[0] = 0;
        exec.run(groups_, [&](std::size_t g) {
            std::size_t row = space_.group_rows[g];
            const std::size_t end = space_.group_begin[g + 1];
            // Every pair writes its row and where that ends; the row's last pair is the last to do so.
            for (std::size_t i = space_.group_begin[g]; i < end; ++i) {
                const std::uint64_t key = pairs_[i].key();
                rows[row] = located(key);
                begin[row + 1] = static_cast<std::uint32_t>(i + 1);
                lookups[i] = pairs_[i].lookup();
                row += i + 1 == end || pairs_[i + 1].key() != key ? 1u : 0u;
            }
        });
    }

    /// Calls f(i, bag, feature) for the values [begin, end), in order.
    template <class F>
    void for_lookups(std::size_t begin, std::size_t end, F&& f) const {
        const std::size_t features = bags_.features();
        if (bags_.bag_size() == 1) {
            std::size_t feature = begin % features;
            for (std::size_t i = begin; i < end; ++i) {
                f(i, i, feature);
                if (++feature == features) feature = 0;
            }
            return;
        }
        std::size_t bag = 0;
        if (bags_.is_fixed()) {
            bag = begin / bags_.bag_size();
        } else {
            const auto offsets = bags_.offsets();
            bag = static_cast<std::size_t>(std::upper_bound(offsets.begin(), offsets.end(), begin) -
                                           offsets.begin() - 1);
        }
        for (std::size_t i = begin; i < end; ++bag) {
            const std::size_t feature = bag % features;
            for (const std::size_t to = std::min(bags_.end(bag), end); i < to; ++i) f(i, bag, feature);
        }
    }

  private:
    /// Ascends with the located index, and has no bits between the row's and the tier's.
    [[nodiscard]] std::uint64_t key_of(Index located) const {
        return std::uint64_t{position_of(located)} | (std::uint64_t{is_fast(located)} << row_bits_);
    }
    [[nodiscard]] Index located(std::uint64_t key) const {
        const std::uint64_t fast = key >> row_bits_;
        return static_cast<Index>(key ^ (fast << row_bits_)) |
               static_cast<Index>(fast != 0 ? fast_bit<Index> : Index{0});
    }
    /// Parts of a batch of fixed bags are whole samples.
    [[nodiscard]] std::size_t part_begin(std::size_t part) const {
        if (!bags_.is_fixed()) return pairs_.size() * part / parts_;
        return bags_.samples() * part / parts_ * (bags_.features() * bags_.bag_size());
    }
    [[nodiscard]] Pair pair_of(std::size_t i, std::size_t bag) const {
        return Pair::make(key_of(bags_.values()[i]), static_cast<std::uint32_t>(by_position_ ? i : bag));
    }

    /// Deals pairs into one group per feature. False if the features' keys do not ascend from one to the
    /// next.
    template <Executor E>
    [[nodiscard]] bool deal_by_feature(const E& exec) {
        groups_ = bags_.features();
        if (!bags_.is_fixed() || groups_ < 2 || groups_ > most_groups) return false;
        // A look at a few samples spares most batches of other kinds the dealing.
        const std::size_t sample = groups_ * bags_.bag_size();
        std::fill_n(space_.ranges.begin(), groups_, KeyRange{});
        for_lookups(0, std::min<std::size_t>(bags_.samples(), 16) * sample,
                    [&](std::size_t i, std::size_t, std::size_t feature) {
                        space_.ranges[feature].add(key_of(bags_.values()[i]));
                    });
        if (!ranges_ascend()) return false;

        const auto of_feature = static_cast<std::uint32_t>(bags_.samples() * bags_.bag_size());
        for (std::size_t g = 0; g <= groups_; ++g) {
            space_.group_begin[g] = static_cast<std::uint32_t>(g) * of_feature;
        }
        exec.run(parts_, [&](std::size_t part) {
            std::uint32_t* const next = space_.counts.data() + part * groups_;
            const std::size_t before = part_begin(part) / groups_;
            for (std::size_t g = 0; g < groups_; ++g) {
                next[g] = space_.group_begin[g] + static_cast<std::uint32_t>(before);
            }
            for_lookups(part_begin(part), part_begin(part + 1),
                        [&](std::size_t i, std::size_t bag, std::size_t feature) {
                            pairs_[next[feature]++] = pair_of(i, bag);
                        });
        });
        exec.run(groups_, [&](std::size_t g) {
            KeyRange range;
            const std::size_t end = space_.group_begin[g + 1];
            for (std::size_t i = space_.group_begin[g]; i < end; ++i) range.add(pairs_[i].key());
            space_.ranges[g] = range;
        });
        return ranges_ascend();
    }
    [[nodiscard]] bool ranges_ascend() const {
        for (std::size_t g = 1; g < groups_; ++g) {
            if (space_.ranges[g - 1].most >= space_.ranges[g].least) return false;
        }
        return true;
    }

    /// Deals pairs into groups by the top bits of what their keys exceed the least one by.
    template <Executor E>
    void deal_by_key(const E& exec) {
        const Index* const values = bags_.values().data();
        exec.run(parts_, [&](std::size_t part) {
            KeyRange range;
            const std::size_t end = part_begin(part + 1);
            for (std::size_t i = part_begin(part); i < end; ++i) range.add(key_of(values[i]));
            space_.ranges[part] = range;
        });
        KeyRange all = space_.ranges[0];
        for (std::size_t part = 1; part < parts_; ++part) {
            if (space_.ranges[part].empty()) continue;
            all.add(space_.ranges[part].least);
            all.add(space_.ranges[part].most);
        }
        const auto bits = static_cast<unsigned>(std::bit_width(all.most - all.least));
        const auto wanted =
            static_cast<unsigned>(std::bit_width(std::min(most_groups / 2, pairs_.size() / group_lookups)));
        const unsigned shift = std::min(bits > wanted ? bits - wanted : 0u, 63u);
        const auto group_of = [&](std::uint64_t key) {
            return static_cast<std::size_t>((key - all.least) >> shift);
        };
        groups_ = group_of(all.most) + 1;
        for (std::size_t g = 0; g < groups_; ++g) {
            const std::uint64_t least = all.least + (std::uint64_t{g} << shift);
            space_.ranges[g] = {least, least + ((std::uint64_t{1} << shift) - 1)};
        }
        exec.run(parts_, [&](std::size_t part) {
            std::uint32_t* const mine = space_.counts.data() + part * groups_;
            std::fill_n(mine, groups_, 0u);
            const std::size_t end = part_begin(part + 1);
            for (std::size_t i = part_begin(part); i < end; ++i) ++mine[group_of(key_of(values[i]))];
        });
        std::uint32_t next = 0;
        for (std::size_t g = 0; g < groups_; ++g) {
            space_.group_begin[g] = next;
            for (std::size_t part = 0; part < parts_; ++part) {
                next += std::exchange(space_.counts[part * groups_ + g], next);
            }
        }
        space_.group_begin[groups_] = next;
        exec.run(parts_, [&](std::size_t part) {
            std::uint32_t* const mine = space_.counts.data() + part * groups_;
            for_lookups(part_begin(part), part_begin(part + 1),
                        [&](std::size_t i, std::size_t bag, std::size_t) {
                            const Pair pair = pair_of(i, bag);
                            pairs_[mine[group_of(pair.key())]++] = pair;
                        });
        });
    }

    /// One pass of a sort: from -> to by the digit at `shift`, in order. Popular rows make the same counter
    /// wait for itself; so a group is cut into runs with counters of their own, and they go side by side.
    static void move_by_digit(const Pair* from, Pair* to, std::size_t size, unsigned shift, unsigned width) {
        std::array<std::uint32_t, lanes << most_digit_bits> counts;
        const std::uint64_t mask = (std::uint64_t{1} << width) - 1;
        const std::size_t run = size / lanes;  // and what is left goes with the last one
        const auto digit = [&](const Pair& pair) { return ((pair.key() >> shift) & mask) * lanes; };
        std::fill_n(counts.begin(), (mask + 1) * lanes, 0u);
        for (std::size_t i = 0; i < run; ++i) {
            for (std::size_t lane = 0; lane < lanes; ++lane) ++counts[digit(from[lane * run + i]) + lane];
        }
        for (std::size_t i = lanes * run; i < size; ++i) ++counts[digit(from[i]) + lanes - 1];
        std::uint32_t next = 0;
        for (std::size_t i = 0; i < (mask + 1) * lanes; ++i) next += std::exchange(counts[i], next);
        for (std::size_t i = 0; i < run; ++i) {
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                const Pair pair = from[lane * run + i];
                to[counts[digit(pair) + lane]++] = pair;
            }
        }
        for (std::size_t i = lanes * run; i < size; ++i) to[counts[digit(from[i]) + lanes - 1]++] = from[i];
    }

    /// Sorts a group, by digits of about equal width, and counts its rows.
    void sort_group(std::size_t group) const {
        const std::size_t begin = space_.group_begin[group];
        const std::size_t size = space_.group_begin[group + 1] - begin;
        const unsigned bits = space_.ranges[group].bits();
        Pair* from = pairs_.data() + begin;
        Pair* to = spare_.data() + begin;
        if (size > 1 && bits != 0) {
            // Wide digits pay where there are many pairs to count.
            const unsigned widest =
                std::clamp(static_cast<unsigned>(std::bit_width(size)), 6u, most_digit_bits + 2) - 2;
            const unsigned digits = ceil_div(bits, widest);
            const unsigned width = ceil_div(bits, digits);
            for (unsigned shift = 0; shift < bits; shift += width) {
                move_by_digit(from, to, size, shift, std::min(width, bits - shift));
                std::swap(from, to);
            }
            if (from != pairs_.data() + begin) std::copy_n(from, size, to);
        }
        const Pair* const sorted = pairs_.data() + begin;
        std::uint32_t rows = size == 0 ? 0u : 1u;
        for (std::size_t i = 1; i < size; ++i) rows += sorted[i].key() != sorted[i - 1].key() ? 1u : 0u;
        space_.group_rows[group] = rows;
    }

    const Bags<Index>& bags_;
    bool by_position_;
    unsigned row_bits_;  ///< of a row id or slot; the tier bit is the next one
    RowSortSpace<Index>& space_;
    Span<Pair> pairs_;
    Span<Pair> spare_;
    std::size_t parts_ = 1;
    std::size_t groups_ = 1;
};

}  // namespace detail
}  // namespace fae::inline FAE_ABI
