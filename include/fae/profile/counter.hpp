// SPDX-License-Identifier: Apache-2.0
//
// ExactCounter: one counter per row, filled by any number of threads without a data race and with the same
// result for each number. It is what AccessProfiler (profiler.hpp) uses; a host uses that.
//
// One thread adds 1 in place, looking ahead to fetch the counters of look-ups to come. Of more threads, each
// owns some tables, or every n-th cache line of the counters of a table that is too much for one thread; all
// read the same block of inputs at a time, and each counts what is its own. No counter has two writers.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"
#include "fae/profile/access_profile.hpp"

namespace fae::inline FAE_ABI {

/// What AccessProfiler counts with. add(exec, space, bags, lookups) adds whole batches, `lookups` being their
/// number per feature; fresh(space) is a counter of the same kind that has seen nothing; profile(space,
/// accesses of each table, inputs counted, inputs seen) gives what was counted and leaves the counter empty.
/// No table may get more than `max_count` look-ups; the profiler sees to it.
template <class C>
concept AccessCounter = requires(C& counter, const RowSpace& space, const Bags<std::uint32_t>& bags,
                                 Span<const std::uint64_t> lookups, std::vector<std::uint64_t> accesses,
                                 std::uint64_t inputs) {
    typename C::count_type;
    { C::max_count } -> std::convertible_to<std::uint64_t>;
    counter.add(seq, space, bags, lookups);
    { counter.fresh(space) } -> std::same_as<C>;
    counter.profile(space, accesses, inputs, inputs);
};

namespace detail {

/// The look-ups of each feature in a batch.
template <Executor E, IndexType Index>
[[nodiscard]] std::vector<std::uint64_t> lookups_per_feature(const E& exec, const Bags<Index>& bags) {
    const std::size_t features = bags.features();
    if (bags.is_fixed()) return std::vector<std::uint64_t>(features, bags.samples() * bags.bag_size());
    constexpr std::size_t grain = 16384;
    const std::size_t chunks = ceil_div(bags.samples(), grain);
    std::vector<std::uint64_t> partial(chunks * features, 0);
    for_chunks(exec, bags.samples(), grain, [&](std::size_t begin, std::size_t end) {
        std::uint64_t* const mine = partial.data() + begin / grain * features;
        for (std::size_t sample = begin; sample < end; ++sample) {
            for (std::size_t f = 0; f < features; ++f) {
                const std::size_t bag = sample * features + f;
                mine[f] += bags.end(bag) - bags.begin(bag);
            }
        }
    });
    std::vector<std::uint64_t> total(features, 0);
    for (std::size_t i = 0; i < partial.size(); ++i) total[i % features] += partial[i];
    return total;
}

/// Throws IndexError at the first look-up outside the table of its feature.
template <Executor E, IndexType Index>
void check_rows(const E& exec, const RowSpace& space, const Bags<Index>& bags) {
    constexpr std::size_t grain = 4096;
    constexpr auto none = std::numeric_limits<std::size_t>::max();
    std::vector<std::size_t> first(ceil_div(bags.size(), grain), none);
    const auto out_of_table = [&](std::size_t bag, std::size_t i) {
        const std::size_t table = space.feature_table()[bag % bags.features()];
        const std::uint64_t row = bags.values()[i];
        return row < space.offset(table) || row >= space.offset(table + 1);
    };
    for_chunks(exec, bags.size(), grain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t bag = begin; bag < end; ++bag) {
            for (std::size_t i = bags.begin(bag); i < bags.end(bag); ++i) {
                if (!out_of_table(bag, i)) continue;
                first[begin / grain] = i;
                return;
            }
        }
    });
    const auto found = std::find_if(first.begin(), first.end(), [](std::size_t i) { return i != none; });
    if (found == first.end()) return;
    const std::size_t i = *found;
    std::size_t bag = static_cast<std::size_t>(found - first.begin()) * grain;
    while (bags.end(bag) <= i) ++bag;
    const std::size_t feature = bag % bags.features();
    const std::size_t table = space.feature_table()[feature];
    throw IndexError(concat("values[", i, "] is ", bags.values()[i], ", outside the rows ",
                            space.offset(table), " to ", space.offset(table + 1) - 1, " of table ", table,
                            " that feature ", feature, " looks up"));
}

}  // namespace detail

/// Exact counts, one Count per row, in zeroed (huge where possible) pages.
template <class Count = std::uint32_t>
requires(std::same_as<Count, std::uint32_t> || std::same_as<Count, std::uint64_t>) class ExactCounter {
  public:
    using count_type = Count;
    static constexpr std::uint64_t max_count = std::numeric_limits<Count>::max();

    explicit ExactCounter(const RowSpace& space) : counts_(static_cast<std::size_t>(space.rows())) {}

    /// Adds the look-ups of `bags`; `lookups` holds their number per feature.
    /// @pre   every value is a row of the table of its feature
    /// @cost  touches one counter a look-up; every thread reads the cache lines of all look-ups (from a cache
    ///        that it shares with the others). No memory but 16 KiB a thread
    template <Executor E, IndexType Index>
    void add(const E& exec, const RowSpace& space, const Bags<Index>& bags,
             Span<const std::uint64_t> lookups) {
        const std::size_t workers = exec.concurrency();
        if (workers < 2 || bags.lookups() < least_parallel) {
            count_here(bags.values());
            return;
        }
        const std::vector<Share> shares = split(space, lookups, workers);
        for (std::size_t first = 0; first < bags.samples();) {
            const std::size_t last = block_end(bags, first);
            exec.run(shares.size(), [&](std::size_t worker) {
                if (bags.bag_size() == 1) {
                    count_share(bags, shares[worker], first, last, [](std::size_t bag) { return bag; });
                } else {
                    count_share(bags, shares[worker], first, last,
                                [&](std::size_t bag) { return bags.begin(bag); });
                }
            });
            first = last;
        }
    }

    [[nodiscard]] ExactCounter fresh(const RowSpace& space) const { return ExactCounter(space); }

    /// The counts of all that was added. The counter must not be added to any more.
    [[nodiscard]] AccessProfile<Count> profile(RowSpace space, std::vector<std::uint64_t> table_accesses,
                                               std::uint64_t inputs_counted, std::uint64_t inputs_seen) {
        return {std::move(space), std::move(counts_), std::move(table_accesses), inputs_counted, inputs_seen};
    }

  private:
    static constexpr std::size_t block_lookups = std::size_t{1} << 20;
    static constexpr std::size_t least_parallel = std::size_t{1} << 16;
    static constexpr std::size_t ahead = 48;  // look-ups between the fetch of a counter and its use
    static constexpr unsigned line_bits = sizeof(Count) == 4 ? 4 : 3;
    static constexpr std::size_t near_rows = std::size_t{1} << 14;  // tables whose counters stay in a cache

    // The look-ups of one feature that a worker counts: those of rows in lines `part` of every `mask` + 1.
    struct Part {
        std::size_t feature;
        std::size_t part;
        std::size_t mask;
    };
    struct Share {
        std::vector<Part> near;  // whole small tables, counted at once
        std::vector<Part> far;   // counted by way of a list, so that counters can be fetched ahead
        std::uint64_t load = 0;
    };

    // Gives each worker tables, or parts of them, of about equal load: the heaviest part first, to whom has
    // the least.
    [[nodiscard]] static std::vector<Share> split(const RowSpace& space, Span<const std::uint64_t> lookups,
                                                  std::size_t workers) {
        std::vector<std::uint64_t> load(space.table_count(), 0);
        std::uint64_t all = 0;
        for (std::size_t f = 0; f < lookups.size(); ++f) {
            const std::size_t table = space.feature_table()[f];
            const std::uint64_t cost = lookups[f] * (space.table(table).rows <= near_rows ? 1 : 3);
            load[table] += cost;
            all += cost;
        }
        struct Piece {
            std::size_t table;
            std::size_t part;
            std::size_t parts;
            std::uint64_t load;
        };
        std::vector<Piece> pieces;
        for (std::size_t table = 0; table < load.size(); ++table) {
            std::size_t parts = 1;
            while (parts < 64 && load[table] / parts > all / workers + all / workers / 4) parts *= 2;
            for (std::size_t part = 0; part < parts; ++part)
                pieces.push_back({table, part, parts, load[table] / parts});
        }
        std::stable_sort(pieces.begin(), pieces.end(),
                         [](const Piece& a, const Piece& b) { return a.load > b.load; });
        std::vector<Share> shares(workers);
        for (const Piece& piece : pieces) {
            Share& least = *std::min_element(shares.begin(), shares.end(),
                                             [](const Share& a, const Share& b) { return a.load < b.load; });
            least.load += piece.load;
            const bool near = piece.parts == 1 && space.table(piece.table).rows <= near_rows;
            for (std::size_t f = 0; f < lookups.size(); ++f) {
                if (space.feature_table()[f] != piece.table) continue;
                (near ? least.near : least.far).push_back({f, piece.part, piece.parts - 1});
            }
        }
        return shares;
    }

    template <IndexType Index>
    void count_here(Span<const Index> rows) {
        Count* const counts = counts_.data();
        const std::size_t fetched = rows.size() > ahead ? rows.size() - ahead : 0;
        for (std::size_t i = 0; i < fetched; ++i) {
            __builtin_prefetch(counts + rows[i + ahead], 1);
            ++counts[rows[i]];
        }
        for (std::size_t i = fetched; i < rows.size(); ++i) ++counts[rows[i]];
    }

    // The end of the block of inputs from `first` on: about block_lookups look-ups, at least one input.
    template <IndexType Index>
    [[nodiscard]] static std::size_t block_end(const Bags<Index>& bags, std::size_t first) {
        const std::size_t features = bags.features();
        const std::size_t limit = bags.begin(first * features) + block_lookups;
        std::size_t low = first + 1;
        std::size_t high = bags.samples();
        while (low < high) {
            const std::size_t middle = low + (high - low + 1) / 2;
            if (bags.begin(middle * features) <= limit) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return low;
    }

    // Counts a worker's share of the inputs [first, last), where bag b is values[begin_of(b) .. begin_of(b +
    // 1)).
    template <IndexType Index, class BeginOf>
    void count_share(const Bags<Index>& bags, const Share& share, std::size_t first, std::size_t last,
                     BeginOf begin_of) {
        constexpr std::size_t capacity = 16384 / sizeof(Index);
        Index list[capacity];
        std::size_t listed = 0;
        const Index* const rows = bags.values().data();
        Count* const counts = counts_.data();
        for (std::size_t sample = first; sample < last; ++sample) {
            const std::size_t bag = sample * bags.features();
            for (const Part& part : share.near) {
                const std::size_t end = begin_of(bag + part.feature + 1);
                for (std::size_t i = begin_of(bag + part.feature); i < end; ++i) ++counts[rows[i]];
            }
            for (const Part& part : share.far) {
                const std::size_t end = begin_of(bag + part.feature + 1);
                for (std::size_t i = begin_of(bag + part.feature); i < end; ++i) {
                    if (listed == capacity) {
                        count_here(Span<const Index>(list, listed));
                        listed = 0;
                    }
                    list[listed] = rows[i];
                    listed +=
                        ((static_cast<std::size_t>(rows[i]) >> line_bits) & part.mask) == part.part ? 1u : 0u;
                }
            }
        }
        count_here(Span<const Index>(list, listed));
    }

    Buffer<Count, PageSpace> counts_;
};

static_assert(AccessCounter<ExactCounter<std::uint32_t>>);
static_assert(AccessCounter<ExactCounter<std::uint64_t>>);

}  // namespace fae::inline FAE_ABI
