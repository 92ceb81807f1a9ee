// SPDX-License-Identifier: Apache-2.0
//
// The sort behind RowIndex (row_index.hpp): (row, look-up) pairs by row, stable. Internal to ops.
//
// Two steps, both stable. First the pairs are dealt into groups that ascend by row: one group per feature
// where the features' rows do not overlap (the tables of a row space, one after another), else by the top
// bits of the row. Then each group, small enough for a near cache, is sorted by itself: a feature with no
// more rows than look-ups by counting them, any other group least significant digit first, on the bits in
// which its rows can differ.
#pragma once

#include <algorithm>
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
#include "fae/ops/lanes.hpp"

// nvcc passes the unrolling on to the host compiler, and warns that it does not know it.
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675
#endif

namespace fae::inline FAE_ABI {
namespace detail {

/// A row and a look-up in one word, where the row's bits fit.
struct NarrowPair {
    using Key = std::uint32_t;
    std::uint64_t bits;
    [[nodiscard]] std::uint64_t key() const { return bits >> 32; }
    [[nodiscard]] std::uint32_t lookup() const { return static_cast<std::uint32_t>(bits); }
    [[nodiscard]] static NarrowPair make(std::uint64_t key, std::uint32_t lookup) {
        return {(key << 32) | lookup};
    }
};
struct WidePair {
    using Key = std::uint64_t;
    std::uint64_t row;
    std::uint64_t place;
    [[nodiscard]] std::uint64_t key() const { return row; }
    [[nodiscard]] std::uint32_t lookup() const { return static_cast<std::uint32_t>(place); }
    [[nodiscard]] static WidePair make(std::uint64_t key, std::uint32_t lookup) { return {key, lookup}; }
};

inline constexpr std::size_t most_groups = 1024;
inline constexpr std::size_t group_lookups =
    2048;  ///< what a group by top bits has if rows are spread evenly
inline constexpr std::size_t group_gap =
    8;  ///< pairs between groups, lest their streams fall on one cache set
inline constexpr unsigned most_digit_bits = 10;
inline constexpr std::size_t lanes = 4;  ///< runs of a group that are counted and moved side by side
inline constexpr std::size_t most_counted_rows = 16384;  ///< rows of a feature that get a counter each

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
        : pairs(workspace.take<std::uint64_t>(room(lookups))),
          spare(workspace.take<std::uint64_t>(room(lookups))),
          counts(workspace.take<std::uint32_t>(most_parts(lookups) * most_groups)),
          ranges(workspace.take<KeyRange>(most_groups)),
          group_begin(workspace.take<std::uint32_t>(most_groups + 1)),
          group_rows(workspace.take<std::uint32_t>(most_groups)) {}

    [[nodiscard]] static constexpr std::size_t room(std::size_t lookups) {
        return (lookups + most_groups * group_gap) * words;
    }
    [[nodiscard]] static constexpr std::size_t bytes(std::size_t lookups) {
        return 2 * scratch_bytes<std::uint64_t>(room(lookups)) +
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
        pairs_ = reinterpret_cast<Pair*>(space.pairs.data());
        spare_ = reinterpret_cast<Pair*>(space.spare.data());
    }

    /// Sorts, writes the look-ups in order, and returns the number of different rows.
    template <Executor E>
    std::size_t sort(const E& exec, Span<std::uint32_t> lookups) {
        parts_ = std::min(most_parts(bags_.lookups()), std::max<std::size_t>(exec.concurrency(), 1));
        const auto sort_groups = [&] {
            exec.run(groups_, [&](std::size_t group) { sort_group(group, lookups); });
        };
        bool sorted = false;
        if (deal_by_feature(exec)) {
            sort_groups();
            sorted = ranges_ascend();
        }
        if (!sorted) {
            deal_by_key(exec);
            sort_groups();
        }
        std::uint32_t rows = 0;
        for (std::size_t g = 0; g < groups_; ++g) rows += std::exchange(space_.group_rows[g], rows);
        return different_ = rows;
    }

    /// Writes rows [n] and begin [n + 1]; the look-ups were written by sort.
    template <Executor E>
    void write(const E& exec, Span<Index> rows, Span<std::uint32_t> begin) const {
        begin[0] = 0;
        exec.run(groups_, [&](std::size_t g) {
            const RowEnd* const ended = row_ends(g);
            const std::size_t first = space_.group_rows[g];
            const std::size_t end = g + 1 < groups_ ? space_.group_rows[g + 1] : different_;
            for (std::size_t row = first; row < end; ++row) {
                rows[row] = located(ended[row - first].key, row_bits_);
                begin[row + 1] = ended[row - first].end;
            }
        });
    }

    /// Calls f(i, bag) for the values [begin, end), in order.
    template <class F>
    FAE_OPS_INLINE static void for_lookups(const Bags<Index>& bags, std::size_t begin, std::size_t end,
                                           F&& f) {
        const std::size_t bag_size = bags.bag_size();
        std::size_t i = begin;
        if (bag_size == 1) {
            for (; i < end; ++i) f(i, i);
        } else if (bag_size != 0) {
            std::size_t bag = begin / bag_size;
            for (std::size_t to = (bag + 1) * bag_size; i < end; ++bag, to += bag_size) {
                for (const std::size_t last = std::min(to, end); i < last; ++i) f(i, bag);
            }
        } else {
            const Span<const std::uint64_t> offsets = bags.offsets();
            auto bag = static_cast<std::size_t>(std::upper_bound(offsets.begin(), offsets.end(), begin) -
                                                offsets.begin() - 1);
            for (; i < end; ++bag) {
                const auto last = std::min(static_cast<std::size_t>(offsets[bag + 1]), end);
                for (; i < last; ++i) f(i, bag);
            }
        }
    }

  private:
    /// A row's key, and where its look-ups end: as large as a pair, so that a group's fit where its pairs
    /// were.
    struct RowEnd {
        typename Pair::Key key;
        std::uint32_t end;
    };
    static_assert(sizeof(RowEnd) == sizeof(Pair));

    /// Where a group's pairs are kept.
    [[nodiscard]] std::size_t group_at(std::size_t group) const {
        return space_.group_begin[group] + group * group_gap;
    }
    /// Ascends with the located index, and has no bits between the row's and the tier's.
    [[nodiscard]] static std::uint64_t key_of(Index located, unsigned row_bits) {
        return std::uint64_t{position_of(located)} | (std::uint64_t{is_fast(located)} << row_bits);
    }
    [[nodiscard]] std::uint64_t key_of(Index located) const { return key_of(located, row_bits_); }
    [[nodiscard]] static Index located(std::uint64_t key, unsigned row_bits) {
        const std::uint64_t fast = key >> row_bits;
        return static_cast<Index>(static_cast<Index>(key ^ (fast << row_bits)) |
                                  (static_cast<Index>(fast) << (sizeof(Index) * 8 - 1)));
    }
    /// Parts of a batch of fixed bags are whole samples.
    [[nodiscard]] std::size_t part_begin(std::size_t part) const {
        if (!bags_.is_fixed()) return bags_.lookups() * part / parts_;
        return bags_.samples() * part / parts_ * (bags_.features() * bags_.bag_size());
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
        for (std::size_t i = 0; i < std::min<std::size_t>(bags_.samples(), 16) * sample; ++i) {
            space_.ranges[i / bags_.bag_size() % groups_].add(key_of(bags_.values()[i]));
        }
        if (!ranges_ascend()) return false;

        const std::size_t bag_size = bags_.bag_size();
        const std::size_t of_feature = bags_.samples() * bag_size;
        compact_ = bag_size == 1 && sizeof(Index) == 4;
        for (std::size_t g = 0; g <= groups_; ++g) {
            space_.group_begin[g] = static_cast<std::uint32_t>(g * of_feature);
        }
        exec.run(parts_, [&](std::size_t part) {
            const Index* const values = bags_.values().data();
            const std::size_t groups = groups_;
            const std::size_t stride = of_feature + group_gap;
            const std::size_t samples = bags_.samples();
            const unsigned row_bits = row_bits_;
            const std::size_t end = samples * (part + 1) / parts_;
            for (std::size_t at = samples * part / parts_; at < end; ++at) {
                const Index* value = values + at * sample;
                if (compact_) {
                    constexpr std::size_t values_of_pair = sizeof(Pair) / sizeof(Index);
                    Index* to = reinterpret_cast<Index*>(pairs_) + at;
                    for (std::size_t f = 0; f < groups; ++f, to += stride * values_of_pair) *to = value[f];
                    continue;
                }
                Pair* to = pairs_ + at * bag_size;
                for (std::size_t f = 0; f < groups; ++f, to += stride, value += bag_size) {
                    const std::size_t bag = at * groups + f;
                    for (std::size_t k = 0; k < bag_size; ++k) {
                        to[k] =
                            Pair::make(key_of(value[k], row_bits),
                                       static_cast<std::uint32_t>(by_position_ ? bag * bag_size + k : bag));
                    }
                }
            }
        });
        return true;
    }
    /// True if the keys of each group lie above those of the group before.
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
        const unsigned row_bits = row_bits_;
        compact_ = false;
        exec.run(parts_, [&](std::size_t part) {
            KeyRange range;
            const std::size_t end = part_begin(part + 1);
            for (std::size_t i = part_begin(part); i < end; ++i) range.add(key_of(values[i], row_bits));
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
            static_cast<unsigned>(std::bit_width(std::min(most_groups / 2, bags_.lookups() / group_lookups)));
        const unsigned shift = std::min(bits > wanted ? bits - wanted : 0u, 63u);
        const auto group_of = [least = all.least, shift](std::uint64_t key) {
            return static_cast<std::size_t>((key - least) >> shift);
        };
        groups_ = group_of(all.most) + 1;
        exec.run(parts_, [&](std::size_t part) {
            std::uint32_t* const mine = space_.counts.data() + part * groups_;
            std::fill_n(mine, groups_, 0u);
            const std::size_t end = part_begin(part + 1);
            for (std::size_t i = part_begin(part); i < end; ++i)
                ++mine[group_of(key_of(values[i], row_bits))];
        });
        std::uint32_t before = 0;
        for (std::size_t g = 0; g < groups_; ++g) {
            space_.group_begin[g] = before;
            const std::size_t gap = group_at(g) - before;
            for (std::size_t part = 0; part < parts_; ++part) {
                std::uint32_t& mine = space_.counts[part * groups_ + g];
                const std::uint32_t count = std::exchange(mine, static_cast<std::uint32_t>(before + gap));
                before += count;
            }
        }
        space_.group_begin[groups_] = before;
        exec.run(parts_, [&](std::size_t part) {
            std::uint32_t* const mine = space_.counts.data() + part * groups_;
            Pair* const to = pairs_;
            const auto put = [&](std::size_t i, std::size_t lookup) FAE_OPS_LAMBDA {
                const std::uint64_t key = key_of(values[i], row_bits);
                to[mine[group_of(key)]++] = Pair::make(key, static_cast<std::uint32_t>(lookup));
            };
            const std::size_t end = part_begin(part + 1);
            if (by_position_) {
                for (std::size_t i = part_begin(part); i < end; ++i) put(i, i);
            } else {
                for_lookups(bags_, part_begin(part), end, put);
            }
        });
    }

    /// Calls f(i, lane) for all i: each lane's run in order, the runs side by side. Popular rows make the
    /// same counter wait for itself, so every run has counters of its own. What is left over goes with the
    /// last.
    template <std::size_t Lanes = lanes, class F>
    FAE_OPS_INLINE static void for_runs(std::size_t size, F&& f) {
        const std::size_t run = size / Lanes;
        for (std::size_t i = 0; i < run; ++i) {
            FAE_OPS_UNROLL for (std::size_t lane = 0; lane < Lanes; ++lane) f(lane * run + i, lane);
        }
        for (std::size_t i = Lanes * run; i < size; ++i) f(i, Lanes - 1);
    }
    /// One pass: moves what make(i, from[i]) gives to its place by digit(from[i]) < 2^width, in order.
    template <class From, class To, class Digit, class Make>
    FAE_OPS_INLINE static void move_by_digit(const From* __restrict from, To* __restrict to, std::size_t size,
                                             unsigned width, Digit&& digit, Make&& make) {
        std::uint32_t counts[lanes << most_digit_bits];
        std::fill_n(counts, lanes << width, 0u);
        for_runs(size, [&](std::size_t i, std::size_t lane)
                           FAE_OPS_LAMBDA { ++counts[digit(from[i]) * lanes + lane]; });
        std::uint32_t next = 0;
        for (std::size_t i = 0; i < lanes << width; ++i) {
            const std::uint32_t here = counts[i];
            counts[i] = next;
            next += here;
        }
        for_runs(size, [&](std::size_t i, std::size_t lane) FAE_OPS_LAMBDA {
            const From value = from[i];
            to[counts[digit(value) * lanes + lane]++] = make(i, value);
        });
    }
    /// The width of digits that `bits` are cut into evenly. Wide ones pay where there is much to count.
    [[nodiscard]] static unsigned digit_width(unsigned bits, std::size_t size) {
        const unsigned widest =
            std::clamp(static_cast<unsigned>(std::bit_width(size)), 6u, most_digit_bits + 2) - 2;
        return ceil_div(bits, ceil_div(bits, widest));
    }
    /// Writes the look-ups of sorted things, and their rows with the ends of each one's look-ups; returns how
    /// many rows there are. Everyone writes its row and where that ends; the row's last is the last to do so.
    template <class Sorted, class Key, class Lookup>
    FAE_OPS_INLINE static std::uint32_t write_group(const Sorted* __restrict from, std::size_t size,
                                                    std::uint32_t begin, std::uint32_t* __restrict lookups,
                                                    RowEnd* __restrict ended, Key&& key, Lookup&& lookup) {
        if (size == 0) return 0;
        std::uint32_t row = 0;
        auto now = key(from[0]);
        for (std::size_t i = 0; i < size; ++i) {
            const auto next = i + 1 < size ? key(from[i + 1]) : static_cast<decltype(now)>(now + 1);
            lookups[i] = lookup(from[i]);
            ended[row] = {static_cast<typename Pair::Key>(now), begin + static_cast<std::uint32_t>(i) + 1};
            row += static_cast<std::uint32_t>(next != now);
            now = next;
        }
        return row;
    }

    /// Sorts a group, least digit first, and writes its look-ups in order, and its rows where the pairs were
    /// not left.
    void sort_group(std::size_t group, Span<std::uint32_t> lookups) const {
        const std::size_t begin = space_.group_begin[group];
        const std::size_t size = space_.group_begin[group + 1] - begin;
        if (compact_) {
            const auto* const values = reinterpret_cast<const Index*>(pairs_ + group_at(group));
            Index least = ~Index{0};
            Index most = 0;
            for (std::size_t i = 0; i < size; ++i) {
                least = std::min(least, values[i]);
                most = std::max(most, values[i]);
            }
            space_.ranges[group] = {key_of(least), key_of(most)};
            // Where there are no more rows than look-ups, each gets a counter; where there are few of them,
            // and each is popular, one in every lane.
            if (const std::uint64_t rows = std::uint64_t{most} - least + 1;
                size != 0 && rows <= std::min(size, most_counted_rows)) {
                if (rows <= most_counted_rows / lanes / lanes) {
                    count_values<lanes>(group, size, least, rows, lookups.data() + begin);
                } else {
                    count_values<1>(group, size, least, rows, lookups.data() + begin);
                }
                return;
            }
            // A value's place in the group is its sample; the two share as small a word as they fit.
            const auto bits =
                std::max(1u, static_cast<unsigned>(std::bit_width(static_cast<Index>(most - least))));
            const auto place_bits = static_cast<unsigned>(std::bit_width(size));
            if (bits + place_bits <= 32) {
                sort_values<std::uint32_t>(group, size, least, bits, place_bits, lookups.data() + begin);
            } else {
                sort_values<std::uint64_t>(group, size, least, bits, place_bits, lookups.data() + begin);
            }
            return;
        }
        Pair* from = pairs_ + group_at(group);
        Pair* to = spare_ + group_at(group);
        KeyRange range;
        for (std::size_t i = 0; i < size; ++i) range.add(from[i].key());
        space_.ranges[group] = range;
        if (const unsigned bits = range.bits(); bits != 0) {
            const unsigned width = digit_width(bits, size);
            for (unsigned shift = 0; shift < bits; shift += width) {
                move_by_digit(
                    from, to, size, width,
                    [=, mask = (std::uint64_t{1} << width) - 1](const Pair& pair)
                        FAE_OPS_LAMBDA { return (pair.key() >> shift) & mask; },
                    [](std::size_t, const Pair& pair) FAE_OPS_LAMBDA { return pair; });
                std::swap(from, to);
            }
        }
        space_.group_rows[group] = write_group(
            from, size, static_cast<std::uint32_t>(begin), lookups.data() + begin,
            reinterpret_cast<RowEnd*>(to), [](const Pair& pair) FAE_OPS_LAMBDA { return pair.key(); },
            [](const Pair& pair) FAE_OPS_LAMBDA { return pair.lookup(); });
        space_.counts[group] = to == spare_ + group_at(group) ? 1u : 0u;
    }

    /// Sorts the values of a feature that has one in each sample and few different rows: the counters say
    /// which rows there are and where each value's look-up goes.
    template <std::size_t Lanes>
    void count_values(std::size_t group, std::size_t size, Index least, std::size_t rows,
                      std::uint32_t* __restrict lookups) const {
        const auto* const values = reinterpret_cast<const Index*>(pairs_ + group_at(group));
        auto* const __restrict ended = reinterpret_cast<RowEnd*>(spare_ + group_at(group));
        constexpr std::size_t most_counts = Lanes == 1 ? most_counted_rows : most_counted_rows / lanes;
        std::uint32_t counts[most_counts];
        std::fill_n(counts, Lanes * rows, 0u);
        for_runs<Lanes>(size, [&](std::size_t i, std::size_t lane) FAE_OPS_LAMBDA {
            ++counts[static_cast<std::size_t>(values[i] - least) * Lanes + lane];
        });
        // What a row without look-ups writes, the next one overwrites; the last has some.
        const std::uint32_t begin = space_.group_begin[group];
        std::uint32_t next = 0;
        std::uint32_t row = 0;
        for (std::size_t r = 0; r < rows; ++r) {
            std::uint32_t here = 0;
            FAE_OPS_UNROLL for (std::size_t lane = 0; lane < Lanes; ++lane) {
                const std::uint32_t count = counts[r * Lanes + lane];
                counts[r * Lanes + lane] = next + here;
                here += count;
            }
            next += here;
            ended[row] = {static_cast<typename Pair::Key>(key_of(static_cast<Index>(least + r))),
                          begin + next};
            row += static_cast<std::uint32_t>(here != 0);
        }
        const auto features = static_cast<std::uint32_t>(bags_.features());
        const auto feature = static_cast<std::uint32_t>(group);
        for_runs<Lanes>(size, [&](std::size_t i, std::size_t lane) FAE_OPS_LAMBDA {
            std::uint32_t& to = counts[static_cast<std::size_t>(values[i] - least) * Lanes + lane];
            lookups[to++] = static_cast<std::uint32_t>(i) * features + feature;
        });
        space_.group_rows[group] = row;
        space_.counts[group] = 1;
    }

    /// Sorts the values of a feature that has one in each sample. A word holds how much a value exceeds the
    /// least one, and below that its sample.
    template <class Word>
    void sort_values(std::size_t group, std::size_t size, Index least, unsigned bits, unsigned place_bits,
                     std::uint32_t* lookups) const {
        const auto* const values = reinterpret_cast<const Index*>(pairs_ + group_at(group));
        auto* from = reinterpret_cast<Word*>(spare_ + group_at(group));
        auto* to = reinterpret_cast<Word*>(pairs_ + group_at(group));
        const unsigned width = digit_width(bits, size);
        const Word mask = static_cast<Word>((Word{1} << width) - 1);
        move_by_digit(
            values, from, size, width,
            [=](Index value) FAE_OPS_LAMBDA { return static_cast<Word>(value - least) & mask; },
            [=](std::size_t i, Index value) FAE_OPS_LAMBDA {
                return static_cast<Word>((static_cast<Word>(value - least) << place_bits) |
                                         static_cast<Word>(i));
            });
        for (unsigned shift = width; shift < bits; shift += width) {
            move_by_digit(
                from, to, size, width,
                [=, at = shift + place_bits](Word word) FAE_OPS_LAMBDA { return (word >> at) & mask; },
                [](std::size_t, Word word) FAE_OPS_LAMBDA { return word; });
            std::swap(from, to);
        }
        const Word place_mask = static_cast<Word>((Word{1} << place_bits) - 1);
        const auto features = static_cast<std::uint32_t>(bags_.features());
        const auto feature = static_cast<std::uint32_t>(group);
        auto* const ended = reinterpret_cast<RowEnd*>(to);
        const std::uint32_t rows = write_group(
            from, size, space_.group_begin[group], lookups, ended,
            [=](Word word) FAE_OPS_LAMBDA { return word >> place_bits; },
            [=](Word word) FAE_OPS_LAMBDA {
                return static_cast<std::uint32_t>(word & place_mask) * features + feature;
            });
        for (std::uint32_t r = 0; r < rows; ++r) {
            ended[r].key = static_cast<typename Pair::Key>(key_of(static_cast<Index>(least + ended[r].key)));
        }
        space_.group_rows[group] = rows;
        space_.counts[group] = reinterpret_cast<Pair*>(to) == spare_ + group_at(group) ? 1u : 0u;
    }
    /// The rows of a sorted group.
    [[nodiscard]] const RowEnd* row_ends(std::size_t group) const {
        const Pair* const in = space_.counts[group] != 0 ? spare_ : pairs_;
        return reinterpret_cast<const RowEnd*>(in + group_at(group));
    }

    const Bags<Index>& bags_;
    bool by_position_;
    unsigned row_bits_;  ///< of a row id or slot; the tier bit is the next one
    RowSortSpace<Index>& space_;
    Pair* pairs_;
    Pair* spare_;
    std::size_t parts_ = 1;
    std::size_t groups_ = 1;
    bool compact_ = false;  ///< groups hold values, one for each sample, instead of pairs
    std::size_t different_ = 0;
};

}  // namespace detail
}  // namespace fae::inline FAE_ABI

#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif
