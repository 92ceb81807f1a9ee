// SPDX-License-Identifier: Apache-2.0
//
// ExactCounter: one counter per row, filled by any number of threads without a data race and with the same
// result for each number. It is what AccessProfiler (profiler.hpp) uses; a host uses that.
//
// One thread adds 1 in place, looking ahead to fetch the counters of look-ups to come. More than one thread
// work in three rounds over a block of inputs: each takes a share of the inputs, counts small tables in an
// array of its own and the other look-ups per shard; then sorts those look-ups by shard; then shards are
// counted side by side. A shard is every n-th cache line of the counters, so popular rows spread over shards
// whatever their order, and no line has two writers.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
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

namespace fae::inline FAE_ABI {

/// What AccessProfiler counts with. add(exec, space, bags) adds the look-ups of whole batches; take() gives
/// the counts and leaves the counter empty. No count may exceed `max_count`; the profiler sees to it.
template <class C>
concept AccessCounter = requires(C& counter, const RowSpace& space, const Bags<std::uint32_t>& bags) {
    typename C::count_type;
    { C::max_count } -> std::convertible_to<std::uint64_t>;
    C(space);
    counter.add(seq, space, bags);
    { counter.take() } -> std::same_as<Buffer<typename C::count_type, PageSpace>>;
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

    explicit ExactCounter(const RowSpace& space) : counts_(static_cast<std::size_t>(space.rows())) {
        // Tables counted in an array per thread: the smallest ones, while they fit together.
        std::vector<std::size_t> order(space.table_count());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return space.table(a).rows < space.table(b).rows;
        });
        own_start_.assign(space.table_count(), no_start);
        for (const std::size_t table : order) {
            if (space.table(table).rows > own_limit - own_rows_) break;
            own_start_[table] = own_rows_;
            own_rows_ += static_cast<std::size_t>(space.table(table).rows);
        }
    }

    /// Adds the look-ups of `bags`.
    /// @pre   every value is a row of the table of its feature
    /// @cost  one thread: reads sizeof(Index) and touches one counter a look-up. More: also writes and reads
    ///        each look-up of a large table once; scratch of 2^21 look-ups, and 128 Ki counters a thread,
    ///        kept until take()
    template <Executor E, IndexType Index>
    void add(const E& exec, const RowSpace& space, const Bags<Index>& bags) {
        const std::size_t workers = exec.concurrency();
        if (workers < 2 || bags.lookups() < least_parallel) {
            count_here(bags.values());
            return;
        }
        own_.resize(workers * own_rows_, Count{0});
        for (std::size_t first = 0; first < bags.samples();) {
            const std::size_t last = block_end(bags, first);
            add_block(exec, space, bags, first, last, workers);
            first = last;
        }
        for (std::size_t table = 0; table < own_start_.size(); ++table) {
            if (own_start_[table] == no_start) continue;
            const auto rows = static_cast<std::size_t>(space.table(table).rows);
            Count* const counts = counts_.data() + space.offset(table);
            for (std::size_t worker = 0; worker < workers; ++worker) {
                Count* const mine = own_.data() + worker * own_rows_ + own_start_[table];
                for (std::size_t r = 0; r < rows; ++r) counts[r] += std::exchange(mine[r], Count{0});
            }
        }
    }

    [[nodiscard]] Span<const Count> counts() const { return counts_.span(); }

    [[nodiscard]] Buffer<Count, PageSpace> take() {
        own_ = {};
        sorted_ = {};
        return std::move(counts_);
    }

  private:
    static constexpr std::size_t no_start = std::numeric_limits<std::size_t>::max();
    static constexpr std::size_t own_limit = std::size_t{1} << 15;
    static constexpr std::size_t block_lookups = std::size_t{1} << 21;
    static constexpr std::size_t least_parallel = std::size_t{1} << 16;
    static constexpr std::size_t ahead = 48;  // look-ups between the fetch of a counter and its use
    static constexpr unsigned line_bits = sizeof(Count) == 4 ? 4 : 3;

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

    // A feature and what must be added (modulo 2^64) to its row ids to index a worker's own array.
    struct OwnFeature {
        std::size_t feature;
        std::uint64_t shift;
    };

    // Calls body(begin_of), where bag b is values[begin_of(b) .. begin_of(b + 1)).
    template <IndexType Index, class Body>
    static void with_bag_begin(const Bags<Index>& bags, Body&& body) {
        if (bags.bag_size() == 1) {
            body([](std::size_t bag) { return bag; });
        } else {
            body([&](std::size_t bag) { return bags.begin(bag); });
        }
    }

    template <Executor E, IndexType Index>
    void add_block(const E& exec, const RowSpace& space, const Bags<Index>& bags, std::size_t first,
                   std::size_t last, std::size_t workers) {
        const std::size_t shards = std::min<std::size_t>(std::bit_ceil(workers * 4), 256);
        const std::size_t features = bags.features();
        const Index* const rows = bags.values().data();
        const auto share = [&](std::size_t worker) { return first + (last - first) * worker / workers; };
        const auto shard_of = [&](Index row) {
            return static_cast<std::size_t>(row >> line_bits) & (shards - 1);
        };
        std::vector<OwnFeature> small_features;
        std::vector<std::size_t> large_features;
        for (std::size_t f = 0; f < features; ++f) {
            const std::size_t table = space.feature_table()[f];
            if (own_start_[table] == no_start) {
                large_features.push_back(f);
            } else {
                small_features.push_back({f, own_start_[table] - space.offset(table)});
            }
        }
        // place[worker][shard]: first the number of look-ups, then where the next one is written.
        std::vector<std::size_t> place(workers * shards, 0);
        exec.run(workers, [&](std::size_t worker) {
            Count* const own = own_.data() + worker * own_rows_;
            std::vector<std::size_t> found(shards, 0);
            with_bag_begin(bags, [&](auto begin_of) {
                for (std::size_t sample = share(worker); sample < share(worker + 1); ++sample) {
                    const std::size_t bag = sample * features;
                    for (const auto [f, shift] : small_features) {
                        const std::size_t end = begin_of(bag + f + 1);
                        for (std::size_t i = begin_of(bag + f); i < end; ++i) ++own[rows[i] + shift];
                    }
                    for (const std::size_t f : large_features) {
                        const std::size_t end = begin_of(bag + f + 1);
                        for (std::size_t i = begin_of(bag + f); i < end; ++i) ++found[shard_of(rows[i])];
                    }
                }
            });
            std::copy(found.begin(), found.end(), place.data() + worker * shards);
        });
        std::vector<std::size_t> shard_begin(shards + 1, 0);
        std::size_t next = 0;
        for (std::size_t shard = 0; shard < shards; ++shard) {
            shard_begin[shard] = next;
            for (std::size_t worker = 0; worker < workers; ++worker) {
                next += std::exchange(place[worker * shards + shard], next);
            }
        }
        shard_begin[shards] = next;
        if (sorted_.size() < next * sizeof(Index)) {
            sorted_ = Buffer<std::byte, PageSpace>(std::max(next, block_lookups) * sizeof(Index));
        }
        auto* const sorted = reinterpret_cast<Index*>(sorted_.data());
        exec.run(workers, [&](std::size_t worker) {
            const std::size_t* const start = place.data() + worker * shards;
            std::vector<std::size_t> to(start, start + shards);
            with_bag_begin(bags, [&](auto begin_of) {
                for (std::size_t sample = share(worker); sample < share(worker + 1); ++sample) {
                    for (const std::size_t f : large_features) {
                        const std::size_t end = begin_of(sample * features + f + 1);
                        for (std::size_t i = begin_of(sample * features + f); i < end; ++i) {
                            sorted[to[shard_of(rows[i])]++] = rows[i];
                        }
                    }
                }
            });
        });
        exec.run(shards, [&](std::size_t shard) {
            count_here(
                Span<const Index>(sorted + shard_begin[shard], shard_begin[shard + 1] - shard_begin[shard]));
        });
    }

    Buffer<Count, PageSpace> counts_;
    std::vector<std::size_t> own_start_;  // of each table in a worker's own array, or no_start
    std::size_t own_rows_ = 0;
    std::vector<Count> own_;
    Buffer<std::byte, PageSpace> sorted_;
};

static_assert(AccessCounter<ExactCounter<std::uint32_t>>);
static_assert(AccessCounter<ExactCounter<std::uint64_t>>);

}  // namespace fae::inline FAE_ABI
