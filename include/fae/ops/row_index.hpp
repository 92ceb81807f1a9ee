// SPDX-License-Identifier: Apache-2.0
//
// RowIndex: the look-ups of a batch grouped by row, so that each row's gradient can be summed by one thread,
// in one order. It depends on the batch's indices alone, so it can be made ahead of the step.
//
//   Buffer<std::byte> scratch(row_index_scratch<std::uint32_t>(bags.lookups()));
//   Workspace workspace(scratch.span());
//   RowIndex<std::uint32_t> index = build_row_index(seq, bags, space.rows(), workspace);
//
// The grouping is a stable radix sort of (row, look-up) pairs, least significant digit first, on the bits
// that the row space needs. A stable sort has one result, so the index is the same for every executor.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"

namespace fae::inline FAE_ABI {

/// The look-ups of a batch by located row, ascending; those of one row in the order of their positions.
/// Lives as long as the workspace that it was built in.
template <IndexType Index = std::uint32_t>
struct RowIndex {
    Span<const Index> rows;           ///< [n] the different located indices, ascending: home rows, then slots
    Span<const std::uint32_t> begin;  ///< [n + 1] row r's look-ups are entries begin[r] .. begin[r + 1]
    Span<const std::uint32_t> bags;   ///< [look-ups] the bag of each entry
    /// [look-ups] the position of each entry among the batch's values; empty unless built for weighted
    /// pooling
    Span<const std::uint32_t> positions;

    [[nodiscard]] std::size_t lookups() const { return bags.size(); }
};

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

inline constexpr unsigned radix_bits = 9;
inline constexpr std::size_t radix_buckets = std::size_t{1} << radix_bits;
inline constexpr std::size_t radix_parts = 64;  ///< the most parts that a sort is cut into
inline constexpr std::size_t radix_part_lookups = 8192;

/// The most parts that a batch is cut into, whatever the executor.
[[nodiscard]] constexpr std::size_t most_parts(std::size_t lookups) {
    return std::clamp<std::size_t>(lookups / radix_part_lookups, 1, radix_parts);
}

/// A batch being indexed: its parts, and what each executor step needs.
template <IndexType Index, class Pair>
struct RowSort {
    const Bags<Index>& bags;
    bool weighted;
    unsigned row_bits;  ///< bits of a row id or slot; the tier bit is the next one
    std::size_t parts;
    Span<Pair> pairs;
    Span<Pair> spare;
    Span<std::uint32_t> counts;  ///< [parts, radix_buckets]; [parts] where rows are counted
    Span<std::uint64_t> used;    ///< [parts] the union of the bits of a part's keys

    [[nodiscard]] std::size_t part_begin(std::size_t part) const {
        return static_cast<std::size_t>(std::uint64_t{pairs.size()} * part / parts);
    }
    [[nodiscard]] std::uint64_t key_of(Index located) const {
        return std::uint64_t{position_of(located)} | (std::uint64_t{is_fast(located)} << row_bits);
    }
    [[nodiscard]] Index located(std::uint64_t key) const {
        const std::uint64_t fast = key >> row_bits;
        return static_cast<Index>(key ^ (fast << row_bits)) |
               static_cast<Index>(fast != 0 ? fast_bit<Index> : Index{0});
    }

    /// Writes the pairs [begin, end) and returns the union of their keys' bits.
    std::uint64_t fill(std::size_t begin, std::size_t end) const {
        const Index* const values = bags.values().data();
        std::uint64_t bits = 0;
        const auto put = [&](std::size_t i, std::size_t lookup) {
            const std::uint64_t key = key_of(values[i]);
            bits |= key;
            pairs[i] = Pair::make(key, static_cast<std::uint32_t>(lookup));
        };
        if (weighted || bags.bag_size() == 1) {
            for (std::size_t i = begin; i < end; ++i) put(i, i);
            return bits;
        }
        for_bags(begin, end, [&](std::size_t bag, std::size_t from, std::size_t to) {
            for (std::size_t i = from; i < to; ++i) put(i, bag);
        });
        return bits;
    }

    /// Calls f(bag, from, to) for each bag that has values in [begin, end), with those values.
    template <class F>
    void for_bags(std::size_t begin, std::size_t end, F&& f) const {
        std::size_t bag = 0;
        if (bags.is_fixed()) {
            bag = begin / bags.bag_size();
        } else {
            const auto offsets = bags.offsets();
            bag = static_cast<std::size_t>(std::upper_bound(offsets.begin(), offsets.end(), begin) -
                                           offsets.begin()) -
                  1;
        }
        for (std::size_t i = begin; i < end; ++bag) {
            const std::size_t to = std::min(bags.end(bag), end);
            f(bag, i, to);
            i = to;
        }
    }

    void count(std::size_t part, unsigned shift) const {
        std::uint32_t* const mine = counts.data() + part * radix_buckets;
        std::fill_n(mine, radix_buckets, 0u);
        const std::size_t end = part_begin(part + 1);
        for (std::size_t i = part_begin(part); i < end; ++i) {
            ++mine[(pairs[i].key() >> shift) & (radix_buckets - 1)];
        }
    }
    /// Turns counts into the place of each part's first pair of each digit. False if all digits are equal.
    [[nodiscard]] bool place() const {
        std::uint32_t next = 0;
        for (std::size_t digit = 0; digit < radix_buckets; ++digit) {
            const std::uint32_t first = next;
            for (std::size_t part = 0; part < parts; ++part) {
                next += std::exchange(counts[part * radix_buckets + digit], next);
            }
            if (next - first == pairs.size()) return false;
        }
        return true;
    }
    void scatter(std::size_t part, unsigned shift) const {
        std::uint32_t* const mine = counts.data() + part * radix_buckets;
        const std::size_t end = part_begin(part + 1);
        for (std::size_t i = part_begin(part); i < end; ++i) {
            const Pair pair = pairs[i];
            spare[mine[(pair.key() >> shift) & (radix_buckets - 1)]++] = pair;
        }
    }

    template <Executor E>
    void sort(const E& exec) {
        exec.run(parts, [&](std::size_t part) { used[part] = fill(part_begin(part), part_begin(part + 1)); });
        std::uint64_t bits = 0;
        for (std::size_t part = 0; part < parts; ++part) bits |= used[part];
        const auto end = static_cast<unsigned>(std::bit_width(bits));
        for (unsigned shift = 0; shift < end; shift += radix_bits) {
            exec.run(parts, [&](std::size_t part) { count(part, shift); });
            if (!place()) continue;
            exec.run(parts, [&](std::size_t part) { scatter(part, shift); });
            std::swap(pairs, spare);
        }
    }

    /// The first pair at or after the part's beginning that starts a row.
    [[nodiscard]] std::size_t row_begin(std::size_t part) const {
        const std::size_t at = part_begin(part);
        if (at == 0 || at == pairs.size()) return at;
        const std::uint64_t before = pairs[at - 1].key();
        return static_cast<std::size_t>(
            std::partition_point(pairs.begin() + at, pairs.end(),
                                 [&](const Pair& pair) { return pair.key() == before; }) -
            pairs.begin());
    }
    /// How many rows start in the part.
    [[nodiscard]] std::uint32_t count_rows(std::size_t part) const {
        const std::size_t begin = row_begin(part);
        const std::size_t end = row_begin(part + 1);
        if (begin >= end) return 0;
        std::uint32_t rows = 1;
        for (std::size_t i = begin + 1; i < end; ++i) rows += pairs[i].key() != pairs[i - 1].key() ? 1u : 0u;
        return rows;
    }
    /// Writes the rows that start in the part; `row` is the number of the first one.
    void write_rows(std::size_t part, std::size_t row, Span<Index> rows, Span<std::uint32_t> begin,
                    Span<std::uint32_t> bag_of, Span<std::uint32_t> position_of_entry) const {
        const std::size_t from = row_begin(part);
        const std::size_t to = row_begin(part + 1);
        const std::size_t bag_size = bags.bag_size();
        // Every entry writes its row and where that ends; the row's last entry is the last to do so.
        for (std::size_t i = from; i < to; ++i) {
            const Pair pair = pairs[i];
            rows[row] = located(pair.key());
            begin[row + 1] = static_cast<std::uint32_t>(i + 1);
            row += i + 1 == to || pairs[i + 1].key() != pair.key() ? 1u : 0u;
            if (weighted) {
                position_of_entry[i] = pair.lookup();
                if (bag_size != 0) bag_of[i] = static_cast<std::uint32_t>(pair.lookup() / bag_size);
            } else {
                bag_of[i] = pair.lookup();
            }
        }
    }
};

template <Executor E, IndexType Index, class Pair>
RowIndex<Index> sort_rows(const E& exec, RowSort<Index, Pair> sort, Workspace& workspace) {
    const std::size_t lookups = sort.pairs.size();
    const auto rows = workspace.take<Index>(lookups);
    const auto begin = workspace.take<std::uint32_t>(lookups + 1);
    const auto bag_of = workspace.take<std::uint32_t>(lookups);
    const auto positions = workspace.take<std::uint32_t>(sort.weighted ? lookups : 0);
    const auto bag_at = workspace.take<std::uint32_t>(sort.weighted ? lookups : 0);
    begin[0] = 0;
    if (lookups == 0) return {{rows.data(), 0}, {begin.data(), 1}, bag_of, positions};

    sort.sort(exec);
    exec.run(sort.parts, [&](std::size_t part) { sort.counts[part] = sort.count_rows(part); });
    std::uint32_t total = 0;
    for (std::size_t part = 0; part < sort.parts; ++part) total += std::exchange(sort.counts[part], total);
    exec.run(sort.parts, [&](std::size_t part) {
        sort.write_rows(part, sort.counts[part], rows, begin, bag_of, positions);
    });
    if (sort.weighted && !sort.bags.is_fixed()) {
        for_chunks(exec, lookups, radix_part_lookups, [&](std::size_t from, std::size_t to) {
            sort.for_bags(from, to, [&](std::size_t bag, std::size_t a, std::size_t b) {
                for (std::size_t i = a; i < b; ++i) bag_at[i] = static_cast<std::uint32_t>(bag);
            });
        });
        for_chunks(exec, lookups, radix_part_lookups, [&](std::size_t from, std::size_t to) {
            for (std::size_t i = from; i < to; ++i) bag_of[i] = bag_at[positions[i]];
        });
    }
    return {{rows.data(), total}, {begin.data(), total + std::size_t{1}}, bag_of, positions};
}

template <class Pair, Executor E, IndexType Index>
RowIndex<Index> build_row_index_of(const E& exec, const Bags<Index>& bags, bool weighted, unsigned row_bits,
                                   Workspace& workspace) {
    const std::size_t lookups = bags.lookups();
    // The space for pairs is that of the wide ones for 64-bit indices, so that scratch depends on less.
    constexpr std::size_t words = sizeof(Index) == 4 ? 1 : 2;
    const auto pairs = workspace.take<std::uint64_t>(lookups * words);
    const auto spare = workspace.take<std::uint64_t>(lookups * words);
    const auto counts = workspace.take<std::uint32_t>(most_parts(lookups) * radix_buckets);
    const auto used = workspace.take<std::uint64_t>(most_parts(lookups));
    const std::size_t parts = std::min(most_parts(lookups), std::max<std::size_t>(exec.concurrency(), 1));
    return sort_rows(exec,
                     RowSort<Index, Pair>{bags,
                                          weighted,
                                          row_bits,
                                          parts,
                                          {reinterpret_cast<Pair*>(pairs.data()), lookups},
                                          {reinterpret_cast<Pair*>(spare.data()), lookups},
                                          counts,
                                          used},
                     workspace);
}

}  // namespace detail

/// Bytes of workspace that build_row_index takes for a batch of so many look-ups. The index lives in it.
template <IndexType Index = std::uint32_t>
[[nodiscard]] constexpr std::size_t row_index_scratch(std::size_t lookups, Pooling pooling = Pooling::sum) {
    constexpr std::size_t words = sizeof(Index) == 4 ? 1 : 2;
    const std::size_t weighted = pooling == Pooling::weighted ? lookups : 0;
    return 2 * scratch_bytes<std::uint64_t>(lookups * words) +
           scratch_bytes<std::uint32_t>(detail::most_parts(lookups) * detail::radix_buckets) +
           scratch_bytes<std::uint64_t>(detail::most_parts(lookups)) + scratch_bytes<Index>(lookups) +
           scratch_bytes<std::uint32_t>(lookups + 1) + scratch_bytes<std::uint32_t>(lookups) +
           2 * scratch_bytes<std::uint32_t>(weighted);
}

/// Groups the look-ups of a batch by located row.
/// @param rows  every row id and slot of the batch is below it; only the bits that it needs are sorted
/// @param pooling  weighted: the index holds positions too
/// @shape  values [nnz]; the result: rows [n], begin [n + 1], bags [nnz]
/// @pre    position_of(values[i]) < rows (FAE_CHECKED)
/// @exec   seq, par: returns when done; equal for every executor
/// @cost   one pass over the values, ceil(bits / 9) passes over 8 bytes a look-up (16 where a 64-bit index
///         needs more than 32 bits), one pass that writes the index; no allocation
/// @throws ContractError if the workspace has less than row_index_scratch bytes, or the batch has 2^32 bags
/// or
///         look-ups; IndexError (FAE_CHECKED)
template <Executor E, IndexType Index>
[[nodiscard]] RowIndex<Index> build_row_index(const E& exec, const Bags<Index>& bags, std::uint64_t rows,
                                              Workspace& workspace, Pooling pooling = Pooling::sum) {
    const std::size_t lookups = bags.lookups();
    constexpr std::uint64_t most = ~std::uint32_t{0};
    require(lookups < most && bags.size() < most, [&] {
        return concat("the batch has ", lookups, " look-ups in ", bags.size(), " bags, expected less than ",
                      most, " of each");
    });
    require(rows <= max_rows<Index>,
            [&] { return concat("the row space has ", rows, " rows, expected at most ", max_rows<Index>); });
    const std::size_t needed = row_index_scratch<Index>(lookups, pooling);
    require(workspace.left() >= needed,
            [&] { return concat("the workspace has ", workspace.left(), " bytes left, expected ", needed); });
    if constexpr (checked) {
        for (std::size_t i = 0; i < lookups; ++i) {
            if (position_of(bags.values()[i]) >= rows) {
                throw IndexError(concat("values[", i, "] is ", position_of(bags.values()[i]),
                                        ", expected less than ", rows));
            }
        }
    }
    const auto row_bits = static_cast<unsigned>(rows > 1 ? std::bit_width(rows - 1) : 1);
    const bool weighted = pooling == Pooling::weighted;
    if constexpr (sizeof(Index) == 8) {
        if (row_bits + 1 > 32) {
            return detail::build_row_index_of<detail::WidePair>(exec, bags, weighted, row_bits, workspace);
        }
    }
    return detail::build_row_index_of<detail::NarrowPair>(exec, bags, weighted, row_bits, workspace);
}

}  // namespace fae::inline FAE_ABI
