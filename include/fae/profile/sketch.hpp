// SPDX-License-Identifier: Apache-2.0
//
// HeavyHitterSketch: which keys of a stream come most often, and between which bounds how often, in memory
// that is fixed before the first key and does not depend on how many different keys there are.
//
//   HeavyHitterSketch sketch({.memory_bytes = 16u << 20});
//   sketch.add(par(threads), keys);                  // 32 or 64 bits each
//   sketch.halve();                                  // whatever was seen so far counts half from here on
//   sketch.merge(of_another_worker);
//   for (const HeavyKey& k : sketch.listed()) ...    // k.lower <= what the key really has <= k.upper
//
// Keys are spread by a hash over shards of a fixed number of counters. A shard that is full raises its floor
// to the median of its counters and drops those that are not above: half of them, so a key costs O(1)
// amortised. A key without a counter has at most the floor; one that gets a counter starts at the floor, and
// remembers it, for that much may be wrong with it. This is SpaceSaving with the eviction done for many
// counters at once.
//
// The bound. Let N be the look-ups of a shard, k its counters. Each time the floor rises by d, at least k / 2
// counters each lose d of what they have above the floor, and all that all of them ever gain is N. So
//   floor <= 2 N / k,    and with T(j) the look-ups of all but the j most frequent keys, for any j < k / 2:
//   floor <= T(j) / (k / 2 - j),
// because of each such d at most j counters are of those j keys. The second is what holds on skewed streams:
// keys with more look-ups than that are all listed. Both hold for a shard, whatever the order of keys; shards
// share keys evenly under a random seed, so T(j) of a shard is about that of the stream over shards. floor(),
// which is known afterwards, is the bound that is reported.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI {

/// What a sketch may take.
struct SketchOptions {
    std::uint64_t memory_bytes = std::uint64_t{16} << 20;  ///< at least 256; never exceeded
    std::uint64_t seed = 0;                                ///< of the hash that spreads keys
};

/// A key that has a counter, and what is known of its look-ups.
/// @units sketch units: HeavyHitterSketch::unit() of them are one look-up
struct HeavyKey {
    std::uint64_t key = 0;
    std::uint64_t lower = 0;
    std::uint64_t upper = 0;
};

/// Heavy hitters of a stream of 64-bit keys. The result depends on the keys in their order, halve() and
/// merge() alone, not on batches, executors or threads. Move-only.
/// @source Metwally, Agrawal, El Abbadi, ICDT 2005 (SpaceSaving); Berinde et al., TODS 35(4), 2010, section 3
///         (bounds by the tail); Anderson et al., IMC 2017, sections 2 and 3 (eviction by the median);
///         Agarwal et al., PODS 2012, section 2 (merging keeps the bound)
class HeavyHitterSketch {
  public:
    /// Bytes of one counter's place; three places in four may be taken.
    static constexpr std::uint64_t place_bytes = 20;

    /// @throws ContractError if memory_bytes is below 256
    explicit HeavyHitterSketch(SketchOptions options = {}) : options_(options) {
        require(options.memory_bytes >= 256, [&] {
            return concat("a sketch of ", options.memory_bytes, " bytes, expected at least 256");
        });
        const std::uint64_t fit = options.memory_bytes / (place_bytes * shard_places + sizeof(Shard));
        std::size_t places = shard_places;
        if (fit == 0) {
            while (places * place_bytes + sizeof(Shard) > options.memory_bytes) places /= 2;
        }
        const std::size_t shards = std::max<std::size_t>(1, static_cast<std::size_t>(fit));
        mask_ = places - 1;
        shard_counters_ = places / 4 * 3;
        shards_.resize(shards);
        entries_ = Buffer<Entry, PageSpace>(shards * places);
        late_ = Buffer<std::uint32_t, PageSpace>(shards * places);
        key_ = mix64(mix64(options.seed) ^ 0x736B65746368u);
    }

    [[nodiscard]] const SketchOptions& options() const { return options_; }
    /// Keys that it may list.
    [[nodiscard]] std::uint64_t counters() const { return shards_.size() * shard_counters_; }
    [[nodiscard]] std::size_t shards() const { return shards_.size(); }
    /// What it takes: at most options().memory_bytes.
    [[nodiscard]] std::uint64_t memory_bytes() const {
        return entries_.bytes() + late_.bytes() + shards_.size() * sizeof(Shard);
    }
    /// Sketch units that one look-up of now counts.
    [[nodiscard]] std::uint64_t unit() const { return unit_; }
    /// Times that halve() was called.
    [[nodiscard]] std::uint64_t halvings() const { return halvings_; }
    /// All look-ups, decayed.
    /// @units sketch units
    [[nodiscard]] std::uint64_t total() const { return total_; }
    /// Keys that are not listed have at most this; the upper bound of a listed one exceeds its lower bound by
    /// at most this and the rounding of halve().
    /// @units sketch units
    [[nodiscard]] std::uint64_t floor() const {
        std::uint64_t most = 0;
        for (const Shard& shard : shards_) most = std::max(most, shard.floor);
        return most;
    }

    /// Adds one look-up of each key.
    /// @exec   seq, par: equal results
    /// @cost   a hash and one cache line a key, fetched ahead; each of n threads hashes all keys. No
    /// allocation
    /// @throws ContractError if total() could exceed 2^62
    template <Executor E, IndexType Index>
    void add(const E& exec, Span<const Index> keys) {
        grow_total(keys.size(), unit_);
        const std::size_t workers = std::min(exec.concurrency(), shards_.size());
        if (workers < 2 || keys.size() < least_parallel) {
            count<false>(keys, 0, shards_.size());
            return;
        }
        exec.run(workers, [&](std::size_t worker) {
            count<true>(keys, worker * shards_.size() / workers, (worker + 1) * shards_.size() / workers);
        });
    }

    /// Adds `lookups` look-ups of one key.
    /// @throws ContractError as above
    void add(std::uint64_t key, std::uint64_t lookups) {
        if (lookups == 0) return;
        grow_total(lookups, unit_);
        const std::uint64_t hash = hash_of(key);
        bump(shard_of(hash), hash, key, lookups * unit_, lookups * unit_);
    }

    /// What is known of the look-ups of a key.
    /// @units sketch units
    [[nodiscard]] HeavyKey bounds(std::uint64_t key) const {
        const std::uint64_t hash = hash_of(key);
        const std::size_t shard = shard_of(hash);
        const std::size_t base = shard * (mask_ + 1);
        for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
            const Entry& entry = entries_[base + at];
            if (entry.upper == 0) return {key, 0, shards_[shard].floor};
            if (entry.key == key) return {key, lower_of(shard, base + at), entry.upper};
        }
    }

    /// Every key that has a counter, the largest lower bound first, then the smallest key.
    /// @cost a sort; 24 bytes a key
    [[nodiscard]] std::vector<HeavyKey> listed() const {
        std::vector<HeavyKey> keys;
        std::size_t used = 0;
        for (const Shard& shard : shards_) used += shard.used;
        keys.reserve(used);
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (entries_[i].upper == 0) continue;
            keys.push_back({entries_[i].key, lower_of(i / (mask_ + 1), i), entries_[i].upper});
        }
        std::sort(keys.begin(), keys.end(), [](const HeavyKey& a, const HeavyKey& b) {
            return a.lower != b.lower ? a.lower > b.lower : a.key < b.key;
        });
        return keys;
    }

    /// What was added so far counts half from here on. Called at even steps of time it is exponential decay
    /// with that half-life. Bounds stay bounds of the decayed look-ups: a look-up of now counts two units
    /// where it counted one, in whole numbers. Once in ten times all is divided by 1024, rounded to the safe
    /// side, which widens bounds by less than 2^-9 of one look-up.
    /// @source Cormode, Shkapenyuk, Srivastava, Xu, Forward Decay, ICDE 2009, section 3
    void halve() {
        ++halvings_;
        unit_ *= 2;
        if (unit_ <= most_unit) return;
        unit_ >>= rescale_bits;
        total_ = up(total_);
        for (std::size_t s = 0; s < shards_.size(); ++s) {
            Shard& shard = shards_[s];
            const std::uint64_t floor_before = shard.floor;
            if (shard.floor != 0)
                shard.floor = up(shard.floor) + 1;  // at least the rounding of any upper bound
            for (std::size_t i = s * (mask_ + 1); i < (s + 1) * (mask_ + 1); ++i) {
                Entry& entry = entries_[i];
                if (entry.upper == 0) continue;
                const std::uint64_t late = late_[i] == unknown ? floor_before : late_[i];
                const std::uint64_t lower = (entry.upper - late) >> rescale_bits;
                entry.upper = up(entry.upper);
                late_[i] = narrow(entry.upper - lower);
            }
            evict(s, shard.floor);
        }
    }

    /// Adds what another sketch has seen: bounds and totals of both streams together.
    /// @throws ContractError if the other differs in options or in the times it was halved
    void merge(const HeavyHitterSketch& other) {
        require(other.options_.memory_bytes == options_.memory_bytes && other.options_.seed == options_.seed,
                [&] {
                    return concat("the other sketch has ", other.options_.memory_bytes, " bytes and seed ",
                                  other.options_.seed, ", expected ", options_.memory_bytes, " and ",
                                  options_.seed);
                });
        require_halvings(other.halvings_);
        grow_total(other.total_, 1);
        for (std::size_t s = 0; s < shards_.size(); ++s) {
            const std::size_t base = s * (mask_ + 1);
            raise(s, other.shards_[s].floor);
            // Not in the order of their places: that would fill one end of the table first.
            for (std::size_t step = 0; step <= mask_; ++step) {
                const std::size_t at = base + ((step * 0x9E3779B1u) & mask_);
                const Entry& entry = other.entries_[at];
                if (entry.upper == 0) continue;
                bump(s, hash_of(entry.key), entry.key, entry.upper - other.shards_[s].floor,
                     other.lower_of(s, at));
            }
        }
    }

    /// Adds what a sketch of any kind has seen: a device's, or one that was stored.
    /// @param listed    its keys and their bounds
    /// @param floor     what any other key has at most, and no upper bound is below
    /// @param total     its look-ups
    /// @param halvings  times that it was halved
    /// @throws ContractError if it was not halved as often as this, or an upper bound is below the floor
    void merge(Span<const HeavyKey> listed, std::uint64_t floor, std::uint64_t total,
               std::uint64_t halvings) {
        require_halvings(halvings);
        for (const HeavyKey& heavy : listed) {
            require(heavy.upper >= floor && heavy.lower <= heavy.upper, [&] {
                return concat("a key has bounds ", heavy.lower, " and ", heavy.upper,
                              ", expected a lower one of at most the upper, and that of at least the floor ",
                              floor);
            });
        }
        grow_total(total, 1);
        for (std::size_t s = 0; s < shards_.size(); ++s) raise(s, floor);
        for (const HeavyKey& heavy : listed) {
            const std::uint64_t hash = hash_of(heavy.key);
            if (heavy.upper != 0) bump(shard_of(hash), hash, heavy.key, heavy.upper - floor, heavy.lower);
        }
    }

    /// A sketch with the same options that has seen nothing.
    [[nodiscard]] HeavyHitterSketch fresh() const { return HeavyHitterSketch(options_); }

  private:
    struct Entry {
        std::uint64_t key;
        std::uint64_t upper;  // 0: no key here
    };
    struct Shard {
        std::uint64_t floor = 0;
        std::size_t used = 0;
    };

    static constexpr std::size_t shard_places = std::size_t{1} << 14;
    static constexpr std::size_t least_parallel = std::size_t{1} << 14;
    static constexpr std::size_t ahead = 64;
    static constexpr std::uint64_t most_unit = std::uint64_t{1} << 20;
    static constexpr unsigned rescale_bits = 10;
    static constexpr std::uint32_t unknown = std::numeric_limits<std::uint32_t>::max();

    [[nodiscard]] static std::uint64_t up(std::uint64_t units) {
        return (units >> rescale_bits) + ((units & ((std::uint64_t{1} << rescale_bits) - 1)) != 0 ? 1u : 0u);
    }
    // What was missed before a key got its counter; if it is too much to note, all below the floor may be.
    [[nodiscard]] static std::uint32_t narrow(std::uint64_t late) {
        return late < unknown ? static_cast<std::uint32_t>(late) : unknown;
    }
    [[nodiscard]] std::uint64_t lower_of(std::size_t shard, std::size_t place) const {
        const std::uint64_t late = late_[place] == unknown ? shards_[shard].floor : late_[place];
        return entries_[place].upper - late;
    }

    [[nodiscard]] std::uint64_t hash_of(std::uint64_t key) const { return mix64(key ^ key_); }
    [[nodiscard]] std::size_t shard_of(std::uint64_t hash) const {
        return static_cast<std::size_t>(((hash >> 32) * shards_.size()) >> 32);
    }

    void grow_total(std::uint64_t lookups, std::uint64_t unit) {
        constexpr std::uint64_t most = std::uint64_t{1} << 62;
        require(lookups <= (most - total_) / unit, [&] {
            return concat("the sketch holds ", total_, " units and is to get ", lookups, " of ", unit,
                          ", expected at most 2^62 together");
        });
        total_ += lookups * unit;
    }

    void require_halvings(std::uint64_t others) const {
        require(others == halvings_, [&] {
            return concat("the other sketch was halved ", others, " times, expected ", halvings_);
        });
    }
    // What any key of a shard may have besides, in a stream whose floor is `theirs`.
    void raise(std::size_t s, std::uint64_t theirs) {
        for (std::size_t i = s * (mask_ + 1); i < (s + 1) * (mask_ + 1); ++i) {
            if (entries_[i].upper == 0) continue;
            entries_[i].upper += theirs;
            if (late_[i] != unknown) late_[i] = narrow(late_[i] + theirs);
        }
        shards_[s].floor += theirs;
    }

    // Counts the keys of shards [first, last): their places are fetched a list of keys ahead.
    template <bool filter, IndexType Index>
    void count(Span<const Index> keys, std::size_t first, std::size_t last) {
        struct Listed {
            std::uint64_t key;
            std::uint64_t hash;
        };
        Listed list[ahead];
        std::size_t listed = 0;
        const auto count_list = [&] {
            for (std::size_t i = 0; i < listed; ++i) {
                bump(shard_of(list[i].hash), list[i].hash, list[i].key, unit_, unit_);
            }
            listed = 0;
        };
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const std::uint64_t key = keys[i];
            const std::uint64_t hash = hash_of(key);
            const std::size_t shard = shard_of(hash);
            if constexpr (filter) {
                if (shard < first || shard >= last) continue;
            }
            list[listed++] = {key, hash};
            __builtin_prefetch(entries_.data() + (shard * (mask_ + 1) + (hash & mask_)), 1);
            if (listed == ahead) count_list();
        }
        count_list();
    }

    // Adds `units` to a key's upper bound above the floor and `lower` to its lower bound.
    void bump(std::size_t s, std::uint64_t hash, std::uint64_t key, std::uint64_t units,
              std::uint64_t lower) {
        const std::size_t base = s * (mask_ + 1);
        Shard& shard = shards_[s];
        for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
            Entry& entry = entries_[base + at];
            if (entry.upper == 0) {
                entry = {key, shard.floor + units};
                late_[base + at] = narrow(entry.upper - lower);
                if (++shard.used == shard_counters_) make_room(s);
                return;
            }
            if (entry.key != key) continue;
            entry.upper += units;
            if (units != lower && late_[base + at] != unknown) {
                late_[base + at] = narrow(late_[base + at] + units - lower);
            }
            return;
        }
    }

    // Raises the floor of a full shard to the median of its counters.
    void make_room(std::size_t s) {
        const std::size_t base = s * (mask_ + 1);
        const std::uint64_t floor = shards_[s].floor;
        constexpr unsigned digit = 10;
        constexpr std::uint64_t bins = std::uint64_t{1} << digit;
        // The digit of the median at the lowest place where it is not beyond the last bin, then those below.
        std::uint32_t in_bin[bins];
        const auto tally = [&](unsigned shift, bool all, std::uint64_t above) {
            std::fill(in_bin, in_bin + bins, 0u);
            for (std::size_t i = base; i <= base + mask_; ++i) {
                if (entries_[i].upper == 0) continue;
                const std::uint64_t value = (entries_[i].upper - floor) >> shift;
                if (all) {
                    ++in_bin[std::min(value, bins - 1)];
                } else if (value >> digit == above) {
                    ++in_bin[value & (bins - 1)];
                }
            }
        };
        std::size_t rank = (shards_[s].used - 1) / 2;
        const auto find = [&] {
            std::size_t left = rank;
            std::uint64_t bin = 0;
            for (; left >= in_bin[bin]; ++bin) left -= in_bin[bin];
            rank = left;
            return bin;
        };
        unsigned shift = 0;
        const std::size_t rank_of_all = rank;
        tally(0, true, 0);
        std::uint64_t median = find();
        while (median == bins - 1) {
            shift += digit;
            rank = rank_of_all;
            tally(shift, true, 0);
            median = find();
        }
        while (shift != 0) {
            shift -= digit;
            tally(shift, false, median);
            median = (median << digit) | find();
        }
        evict(s, floor + median);
    }

    // Makes `floor` the floor of a shard and drops the counters that are not above it. Begins behind an empty
    // place and goes round once: each kept entry finds a place at or before its own.
    void evict(std::size_t s, std::uint64_t floor) {
        const std::size_t base = s * (mask_ + 1);
        Shard& shard = shards_[s];
        shard.floor = floor;
        std::size_t start = 0;
        while (entries_[base + start].upper != 0) ++start;
        for (std::size_t step = 1; step <= mask_; ++step) {
            const std::size_t from = (start + step) & mask_;
            const Entry entry = entries_[base + from];
            if (entry.upper == 0) continue;
            entries_[base + from].upper = 0;
            if (entry.upper <= floor) {
                --shard.used;
                continue;
            }
            std::size_t to = hash_of(entry.key) & mask_;
            while (entries_[base + to].upper != 0) to = (to + 1) & mask_;
            entries_[base + to] = entry;
            late_[base + to] = late_[base + from];
        }
    }

    SketchOptions options_;
    std::uint64_t key_ = 0;
    std::size_t mask_ = 0;
    std::size_t shard_counters_ = 0;
    std::uint64_t unit_ = 1;
    std::uint64_t halvings_ = 0;
    std::uint64_t total_ = 0;
    std::vector<Shard> shards_;
    Buffer<Entry, PageSpace> entries_;
    Buffer<std::uint32_t, PageSpace> late_;  // of each entry, what may have been missed before it began
};

}  // namespace fae::inline FAE_ABI
