// SPDX-License-Identifier: Apache-2.0
//
// LookaheadPlanner: reads the batches of a schedule ahead of training and decides for each which rows come
// into the window of the fast tier, which leave it, and where each look-up is served. Pure host code.
//
//   LookaheadPlanner planner(resident_hot_set, {.window = 100000, .lookahead = 8, .most_lookups = 4096 *
//   26}); LookaheadPlan plan; plan.reserve(planner.options()); for each batch, in the order of the schedule:
//       // now: steps and write-backs of all plans but the last `lookahead` are done
//       planner.push(par(threads), lookups, located, plan);
//
// The fast tier has two parts. Slots [0, hot rows) are the resident hot set's; slots [hot rows, hot rows +
// window) are the window. A row that is not hot comes into the window before the step that needs it, stays
// while it is needed again within the plans under way, and leaves when its slot, the one whose last need is
// oldest, is given to another row. What finds no slot is direct: served at home. Plans depend on the batches
// in their order, the hot set and the options alone, never on threads or time.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_window.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

class LookaheadPlanner;

/// The look-ups of one batch that are not of hot rows, as a planner's window looks at them: what serve_hot()
/// leaves, push() serves, and list_moves() and locate_others() read.
class ColdLookups {
  public:
    /// None.
    ColdLookups() = default;
    /// Takes the memory of the largest batch of a planner: pages, of which the cold look-ups touch their own.
    explicit ColdLookups(const LookaheadPlanner& planner);

    /// The batch's look-ups, hot ones too.
    [[nodiscard]] std::size_t all() const { return all_; }

  private:
    friend class LookaheadPlanner;

    [[nodiscard]] std::uint64_t bytes() const {
        return lookups_.bytes() + chunks_.bytes() + moves_.bytes() + runs_.bytes() + begins_.bytes() +
               move_counts_.bytes();
    }

    Buffer<detail::ColdLookup, PageSpace> lookups_;  // shard after shard, without gaps
    Buffer<detail::ColdLookup, PageSpace> chunks_;   // of a chunk, by shard, from the chunk's begin on
    Buffer<std::uint32_t, PageSpace> runs_;          // of each chunk: where its shards begin, and the end
    Buffer<std::uint32_t, PageSpace> begins_;        // of each shard among lookups_, and the end
    Buffer<detail::WindowMove, PageSpace> moves_;    // of each shard, from where its look-ups begin on
    Buffer<std::uint32_t, PageSpace> move_counts_;   // of each shard
    std::size_t all_ = 0;
    std::size_t count_ = 0;
};

/// Plans batches in order. One push at a time.
/// @source Guo et al., ScaleFreeCTR, SIGIR 2021 (step-stamped slots); Agarwal et al., BagPipe, SOSP 2023
/// (rows
///         needed again within the look-ahead stay)
class LookaheadPlanner {
  public:
    /// @param resident  the hot rows that have a slot; outlives the planner
    /// @param space     the tables behind the features, where known: nothing is looked up of those that are
    ///                  resident in full. Not kept
    /// @cost   bytes_for() bytes, all of them now
    /// @throws ContractError if an option is outside its range, or the space has other rows than the hot set
    LookaheadPlanner(const HotSet& resident, const LookaheadOptions& options, const RowSpace* space = nullptr)
        : hot_(resident.ref()), hot_set_(&resident), options_(options), shard_count_(shards_for(options)) {
        require(options.lookahead >= 1 && options.lookahead <= std::uint64_t{1} << 20,
                [&] { return concat("lookahead is ", options.lookahead, ", expected 1 to 1048576"); });
        require(options.window < std::uint64_t{1} << 31, [&] {
            return concat("window is ", options.window, " slots, expected less than 2147483648");
        });
        require(options.most_lookups < ~std::uint32_t{0}, [&] {
            return concat("most_lookups is ", options.most_lookups, ", expected less than ",
                          ~std::uint32_t{0});
        });
        if (space != nullptr) find_whole_features(*space);
        shards_.reserve(shard_count_);
        for (std::size_t s = 0; s < shard_count_; ++s) {
            const auto [first, end] = slots_of(options, s);
            shards_.emplace_back(hot_.size() + first, end - first, options);
        }
        own_ = ColdLookups(*this);
    }

    /// The bytes that a planner of these options takes, beside the hot set.
    [[nodiscard]] static std::uint64_t bytes_for(const LookaheadOptions& options) {
        std::uint64_t bytes = cold_bytes_for(options);
        for (std::size_t s = 0; s < shards_for(options); ++s) {
            const auto [first, end] = slots_of(options, s);
            bytes += detail::WindowShard::bytes_for(end - first);
        }
        return bytes;
    }
    /// The bytes that ColdLookups take at most.
    [[nodiscard]] static std::uint64_t cold_bytes_for(const LookaheadOptions& options) {
        const std::uint64_t shards = shards_for(options);
        return options.most_lookups * (2 * sizeof(detail::ColdLookup) + sizeof(detail::WindowMove)) +
               ((chunks_for(options) + 1) * (shards + 1) + shards) * sizeof(std::uint32_t);
    }
    /// The bytes that this one has taken.
    [[nodiscard]] std::uint64_t bytes() const {
        std::uint64_t bytes = own_.bytes();
        for (const auto& shard : shards_) bytes += shard.bytes();
        return bytes;
    }

    [[nodiscard]] const LookaheadOptions& options() const { return options_; }
    [[nodiscard]] const HotSet& resident() const { return *hot_set_; }
    /// Slots of the fast tier: the hot set's and the window's.
    [[nodiscard]] std::uint64_t slots() const { return hot_.size() + options_.window; }
    /// The plans made so far.
    [[nodiscard]] std::uint64_t planned() const { return planned_; }
    /// Of all plans so far.
    [[nodiscard]] const LookaheadCounts& counts() const { return counts_; }
    /// The time that push() has taken: in parts, the second of them.
    [[nodiscard]] double seconds() const { return seconds_; }

    /// Where a row is once all plans so far are carried out.
    /// @cost   one or two cache lines
    [[nodiscard]] Location locate(RowId row) const {
        if (const Slot slot = hot_.find(row); slot != HotSet::cold) return {true, slot};
        const std::uint32_t hash = detail::row_hash(row);
        return shards_[shard_of(hash)].locate(row, hash);
    }
    /// The row of a slot once all plans so far are carried out; no_row for one that holds none.
    /// @pre slot < slots()
    [[nodiscard]] RowId row_at(Slot slot) const {
        if (slot < hot_.size()) return hot_.row_of(slot);
        const auto s = static_cast<std::size_t>((slot - hot_.size()) * shard_count_ / options_.window);
        // Shares are rounded down: the slot may be the next shard's first.
        const bool next = s + 1 < shard_count_ && slot - hot_.size() >= slots_of(options_, s + 1).first;
        return shards_[s + (next ? 1 : 0)].row_at(slot);
    }

    /// Plans the next batch.
    /// @param located  [look-ups], filled in: a slot with the tier bit, or the row id of a direct look-up.
    /// May
    ///                 be the memory of the look-ups themselves
    /// @param plan     overwritten; takes no memory if reserve() was called
    /// @pre    at most options().lookahead plans made before are not done, each with its step and its
    /// write-backs
    /// @exec   seq, par: returns when done; equal for every executor
    /// @cost   reads the look-ups, a cache line of the hot set's bitmap each, and three of the window's for
    /// each
    ///         that is not hot; no allocation
    /// @throws ContractError if the batch has more than most_lookups look-ups, or is hot and names no hot
    /// set;
    ///         IndexError (FAE_CHECKED) for a row or slot that does not exist
    template <Executor E, IndexType Index>
    void push(const E& exec, const Lookups<Index>& lookups, Span<Index> located, LookaheadPlan& plan) {
        const auto start = std::chrono::steady_clock::now();
        serve_hot(exec, lookups, located, own_);
        serve_others(exec, own_, plan);
        list_moves(own_, plan);
        locate_others(exec, own_, located);
        seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

    /// push() in parts. The first locates what is hot and knows nothing of other batches: any thread
    /// may do it, for any batch, at any time.
    /// @param cold  made for this planner; overwritten
    template <Executor E, IndexType Index>
    void serve_hot(const E& exec, const Lookups<Index>& lookups, Span<Index> located,
                   ColdLookups& cold) const {
        const std::size_t count = lookups.bags.lookups();
        require(located.size() == count,
                [&] { return concat("located has ", located.size(), " entries, expected ", count); });
        require(count <= options_.most_lookups, [&] {
            return concat("the batch has ", count, " look-ups, expected at most ", options_.most_lookups);
        });
        require(lookups.heat != Heat::hot || lookups.hot_set != nullptr,
                [] { return std::string("a hot batch without its hot set, expected one"); });
        const bool own = lookups.heat == Heat::hot && lookups.hot_set == hot_set_;
        for_chunks(exec, count, grain, [&](std::size_t begin, std::size_t end) {
            if constexpr (checked) check(lookups, begin, end);
            if (own) {
                for (std::size_t i = begin; i < end; ++i)
                    located[i] = static_cast<Index>(lookups.bags.values()[i] | fast_bit<Index>);
            } else {
                sort_out(lookups, begin, end, located, cold);
            }
        });
        cold.all_ = count;
        close_up(own ? 0 : ceil_div(count, grain), cold);
    }
    /// The second serves the others, batch after batch: what push() has to be one at a time for. Of the plan
    /// it gives all but the lists of rows.
    template <Executor E>
    void push(const E& exec, ColdLookups& cold, LookaheadPlan& plan) {
        const auto start = std::chrono::steady_clock::now();
        serve_others(exec, cold, plan);
        seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    /// The third lists the rows that come and leave: any thread, once the second is done.
    void list_moves(const ColdLookups& cold, LookaheadPlan& plan) const {
        plan.bring.clear();
        plan.leave.clear();
        for (std::size_t s = 0; s < shard_count_; ++s) {
            const detail::WindowMove* const moves = cold.moves_.data() + cold.begins_[s];
            for (std::size_t i = 0; i < cold.move_counts_[s]; ++i) {
                plan.bring.push_back({moves[i].row, moves[i].slot});
                if (moves[i].before != no_row) plan.leave.push_back({moves[i].before, moves[i].slot});
            }
        }
    }
    /// The fourth locates the others, likewise.
    template <Executor E, IndexType Index>
    void locate_others(const E& exec, const ColdLookups& cold, Span<Index> located) const {
        require(located.size() == cold.all_,
                [&] { return concat("located has ", located.size(), " entries, expected ", cold.all_); });
        for_chunks(exec, cold.count_, grain, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                const detail::ColdLookup& lookup = cold.lookups_[i];
                const bool fast = (lookup.row & fast_bit<RowId>) != 0;
                located[lookup.position] =
                    static_cast<Index>(lookup.row) | (fast ? fast_bit<Index> : Index{0});
            }
        });
    }

  private:
    friend class ColdLookups;
    static constexpr std::size_t grain = 2048;
    static constexpr std::uint64_t slots_per_shard = 4096;
    static constexpr std::uint64_t most_shards = 16;

    [[nodiscard]] static std::size_t shards_for(const LookaheadOptions& options) {
        return static_cast<std::size_t>(
            std::bit_floor(std::clamp<std::uint64_t>(options.window / slots_per_shard, 1, most_shards)));
    }
    [[nodiscard]] static std::pair<std::uint64_t, std::uint64_t> slots_of(const LookaheadOptions& options,
                                                                          std::size_t shard) {
        const std::uint64_t shards = shards_for(options);
        return {options.window * shard / shards, options.window * (shard + 1) / shards};
    }
    [[nodiscard]] static std::size_t chunks_for(const LookaheadOptions& options) {
        return static_cast<std::size_t>(ceil_div<std::uint64_t>(options.most_lookups, grain));
    }
    /// Where shard s's look-ups of a chunk begin among the chunk's; s = shards: where they end.
    [[nodiscard]] std::uint32_t& run(ColdLookups& cold, std::size_t chunk, std::size_t s) const {
        return cold.runs_[chunk * (shard_count_ + 1) + s];
    }
    // By bits that do not say where in the shard's map a row is.
    [[nodiscard]] std::size_t shard_of(std::uint32_t hash) const {
        return (hash * 0x9E3779B1u >> 28) & (shard_count_ - 1);
    }

    // Serves the hot look-ups of a chunk, and puts the others in order of their shards.
    template <IndexType Index>
    void sort_out(const Lookups<Index>& lookups, std::size_t begin, std::size_t end, Span<Index> located,
                  ColdLookups& to) const {
        detail::ColdLookup cold[grain];
        std::uint32_t bounds[most_shards + 1] = {};
        const std::size_t count = collect(lookups, begin, end, located, cold);
        for (std::size_t i = 0; i < count; ++i) {
            cold[i].hash = detail::row_hash(cold[i].row);
            ++bounds[shard_of(cold[i].hash) + 1];
        }
        const std::size_t chunk = begin / grain;
        bounds[0] = static_cast<std::uint32_t>(begin);
        for (std::size_t s = 0; s <= shard_count_; ++s) {
            if (s != 0) bounds[s] += bounds[s - 1];
            run(to, chunk, s) = bounds[s];
        }
        for (std::size_t i = 0; i < count; ++i) to.chunks_[bounds[shard_of(cold[i].hash)]++] = cold[i];
    }

    // Puts the look-ups of all chunks behind each other, shard after shard: who plans reads them in order.
    void close_up(std::size_t chunks, ColdLookups& cold) const {
        cold.count_ = 0;
        for (std::size_t s = 0; s < shard_count_; ++s) {
            cold.begins_[s] = static_cast<std::uint32_t>(cold.count_);
            for (std::size_t c = 0; c < chunks; ++c) {
                const std::size_t count = run(cold, c, s + 1) - run(cold, c, s);
                std::copy_n(cold.chunks_.data() + run(cold, c, s), count, cold.lookups_.data() + cold.count_);
                cold.count_ += count;
            }
        }
        cold.begins_[shard_count_] = static_cast<std::uint32_t>(cold.count_);
    }

    // Serves the hot look-ups of a chunk and lists the others.
    template <IndexType Index>
    std::size_t collect(const Lookups<Index>& lookups, std::size_t begin, std::size_t end,
                        Span<Index> located, detail::ColdLookup* cold) const {
        Index rows[grain];
        std::uint32_t positions[grain];
        const std::size_t asked = ask(lookups, begin, end, located, rows, positions);
        constexpr std::size_t ahead = 64;
        const bool trivial = hot_.trivial();
        for (std::size_t i = 0; !trivial && i < std::min(ahead, asked); ++i) {
            prefetch(hot_.bitmap().address(rows[i]));
        }
        std::size_t count = 0;
        for (std::size_t i = 0; i < asked; ++i) {
            if (!trivial && i + ahead < asked) prefetch(hot_.bitmap().address(rows[i + ahead]));
            const RowId row{rows[i]};
            located[positions[i]] = static_cast<Index>(hot_.rank(row)) | fast_bit<Index>;
            cold[count].row = row;
            cold[count].position = positions[i];
            count += hot_.contains(row) ? 0u : 1u;
        }
        return count;
    }

    // Lists the look-ups of a chunk that have to be looked up, and serves those of whole tables.
    template <IndexType Index>
    std::size_t ask(const Lookups<Index>& lookups, std::size_t begin, std::size_t end, Span<Index> located,
                    Index* rows, std::uint32_t* positions) const {
        const Span<const Index> values = lookups.bags.values();
        const bool slots = lookups.heat == Heat::hot;
        const std::size_t features = whole_shift_.size();
        std::size_t asked = 0;
        if (slots || lookups.bags.bag_size() != 1 || lookups.bags.features() != features) {
            const HotSet::Ref from = slots ? lookups.hot_set->ref() : HotSet::Ref();
            for (std::size_t i = begin; i < end; ++i, ++asked) {
                rows[asked] = slots ? static_cast<Index>(from.row_of(values[i])) : values[i];
                positions[asked] = static_cast<std::uint32_t>(i);
            }
            return asked;
        }
        for (std::size_t sample = begin / features; sample * features < end; ++sample) {
            const std::size_t first = sample * features;
            const std::size_t from = std::max(first, begin);
            const std::size_t to = std::min(first + features, end);
            // Read before the located indices are written: they may take the look-ups' place.
            for (const std::size_t f : asked_features_) {
                if (first + f < from || first + f >= to) continue;
                rows[asked] = values[first + f];
                positions[asked++] = static_cast<std::uint32_t>(first + f);
            }
            for (std::size_t i = from; i < to; ++i) {
                located[i] = static_cast<Index>(values[i] + whole_shift_[i - first]) | fast_bit<Index>;
            }
        }
        return asked;
    }

    // A feature whose table is resident in full has its slots at row + shift (modulo 2^64).
    void find_whole_features(const RowSpace& space) {
        require(space.rows() == hot_.rows(),
                [&] { return concat("the hot set covers ", hot_.rows(), " rows, expected ", space.rows()); });
        for (std::size_t f = 0; f < space.features(); ++f) {
            const std::size_t table = space.feature_table()[f];
            const RowId first = space.offset(table);
            whole_shift_.push_back(hot_.rank(first) - first);
            if (!hot_.covers(first, space.offset(table + 1))) asked_features_.push_back(f);
        }
    }

    template <Executor E>
    void serve_others(const E& exec, ColdLookups& cold, LookaheadPlan& plan) {
        const std::uint64_t number = planned_++;
        // One shard's part of the batch: first all rows that it holds, so that none of them is given away.
        const auto serve = [&](std::size_t s) {
            const std::uint32_t begin = cold.begins_[s];
            const Span<detail::ColdLookup> its(cold.lookups_.data() + begin, cold.begins_[s + 1] - begin);
            shards_[s].begin(number, cold.moves_.data() + begin);
            shards_[s].bring(its.subspan(0, shards_[s].find(its)));
            cold.move_counts_[s] = shards_[s].moves();
        };
        if (cold.count_ < grain) {
            seq.run(shard_count_, serve);
        } else {
            exec.run(shard_count_, serve);
        }
        gather(number, cold.all_ - cold.count_, plan);
        counts_.add(plan.counts);
    }

    // Puts together what the shards' parts of a plan have to wait for, and what they count.
    void gather(std::uint64_t number, std::uint64_t hot, LookaheadPlan& plan) const {
        plan.number = number;
        plan.waits = {};
        plan.counts = {};
        plan.counts.hot = hot;
        for (const auto& shard : shards_) {
            plan.waits.add(shard.waits());
            plan.counts.add(shard.counts());
        }
    }

    template <IndexType Index>
    void check(const Lookups<Index>& lookups, std::size_t begin, std::size_t end) const {
        const std::uint64_t bound = lookups.heat == Heat::hot ? lookups.hot_set->size() : hot_.rows();
        for (std::size_t i = begin; i < end; ++i) {
            if (lookups.bags.values()[i] >= bound) {
                throw IndexError(
                    concat("look-up ", i, " is ", lookups.bags.values()[i], ", expected less than ", bound));
            }
        }
    }

    HotSet::Ref hot_;
    const HotSet* hot_set_;
    LookaheadOptions options_;
    std::size_t shard_count_;
    std::vector<std::uint64_t> whole_shift_;   // of each feature, where the space is known
    std::vector<std::size_t> asked_features_;  // those whose tables are not resident in full
    std::vector<detail::WindowShard> shards_;
    ColdLookups own_;
    std::uint64_t planned_ = 0;
    LookaheadCounts counts_;
    double seconds_ = 0;
};

inline ColdLookups::ColdLookups(const LookaheadPlanner& planner)
    : lookups_(static_cast<std::size_t>(planner.options_.most_lookups)),
      chunks_(static_cast<std::size_t>(planner.options_.most_lookups)),
      runs_(LookaheadPlanner::chunks_for(planner.options_) * (planner.shard_count_ + 1)),
      begins_(planner.shard_count_ + 1),
      moves_(static_cast<std::size_t>(planner.options_.most_lookups)),
      move_counts_(planner.shard_count_) {}

}  // namespace fae::inline FAE_ABI
