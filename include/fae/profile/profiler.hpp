// SPDX-License-Identifier: Apache-2.0
//
// AccessProfiler: counts how often each row is looked up, batch by batch.
//
//   AccessProfiler<> profiler(space);
//   while (read(batch)) profiler.add(par(threads), batch.bags());
//   AccessProfile<> profile = profiler.finish();
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/types.hpp"
#include "fae/profile/counter.hpp"
#include "fae/profile/sampled.hpp"
#include "fae/profile/select_inputs.hpp"

namespace fae::inline FAE_ABI {

/// Streams batches of one row space into a counter. The profile depends on the inputs and the sampler alone,
/// not on batches, executors or threads.
template <AccessCounter Counter = ExactCounter<std::uint32_t>>
class AccessProfiler {
  public:
    using count_type = typename Counter::count_type;

    explicit AccessProfiler(RowSpace space) : space_(std::move(space)), counter_(space_) {
        table_accesses_.assign(space_.table_count(), 0);
    }
    /// Counts with a counter that has seen nothing: a sketch of some size, say.
    AccessProfiler(RowSpace space, Counter counter) : space_(std::move(space)), counter_(std::move(counter)) {
        table_accesses_.assign(space_.table_count(), 0);
    }

    /// Counts every look-up of the batch: inputs inputs_seen() and on of the stream.
    /// @pre    each value is a row of the table of its feature (FAE_CHECKED)
    /// @cost   see ExactCounter::add
    /// @throws ContractError if the features are not the row space's, or if the look-ups of one table could
    ///         exceed what a counter holds; IndexError (FAE_CHECKED). Nothing of the batch is counted then
    template <Executor E, IndexType Index>
    void add(const E& exec, const Bags<Index>& bags) {
        require_features(bags);
        count(exec, bags);
        inputs_seen_ += bags.samples();
    }

    /// Counts the look-ups of those inputs that the sampler draws; the first input of the batch is number
    /// inputs_seen() of the stream.
    /// @cost   as above for the drawn inputs, which are copied in blocks of 262,144 inputs
    /// @throws as above, but blocks before the one that a counter could not hold are counted; ContractError
    ///         if the stream outgrows the sampler's total
    template <Executor E, IndexType Index>
    void add(const E& exec, const Bags<Index>& bags, const InputSampler& sampler) {
        require_features(bags);
        require(inputs_seen_ <= sampler.total() && bags.samples() <= sampler.total() - inputs_seen_, [&] {
            return concat("the batch ends with input ", inputs_seen_ + bags.samples(),
                          " of the stream, expected at most the sampler's ", sampler.total());
        });
        if (sampler.draws_all()) return add(exec, bags);
        if constexpr (checked) detail::check_rows(exec, space_, bags);
        // A block at a time, to bound the copy of the drawn inputs.
        for (std::size_t first = 0; first < bags.samples(); first += block_inputs) {
            const std::size_t inputs = std::min(block_inputs, bags.samples() - first);
            const std::uint64_t number = inputs_seen_;
            const RankBitmap drawn = RankBitmap::from_predicate(
                exec, inputs, [&](std::uint64_t i) { return sampler.draws(number + i); });
            const SelectedInputs<Index> sample =
                select_inputs(exec, drawn, true, bags, first, detail::CopyValues());
            count(exec, sample.bags());
            inputs_seen_ += inputs;
        }
    }

    [[nodiscard]] const RowSpace& space() const { return space_; }
    [[nodiscard]] std::uint64_t inputs_seen() const { return inputs_seen_; }
    [[nodiscard]] std::uint64_t inputs_counted() const { return inputs_counted_; }
    [[nodiscard]] Counter& counter() { return counter_; }
    [[nodiscard]] const Counter& counter() const { return counter_; }

    /// The profile of all that was added: an AccessProfile of exact counts, a SketchProfile of a sketch's.
    /// The profiler starts again from nothing.
    /// @throws std::bad_alloc: what was added is still there
    [[nodiscard]] auto finish() {
        AccessProfiler next(space_, counter_.fresh(space_));  // what may fail comes first: nothing is lost
        auto profile = counter_.profile(space_, table_accesses_, inputs_counted_, inputs_seen_);
        *this = std::move(next);
        return profile;
    }

  private:
    static constexpr std::size_t block_inputs = std::size_t{1} << 18;

    template <IndexType Index>
    void require_features(const Bags<Index>& bags) const {
        require(bags.features() == space_.features() || bags.size() == 0, [&] {
            return concat("the batch has ", bags.features(), " features, expected ", space_.features());
        });
    }

    template <Executor E, IndexType Index>
    void count(const E& exec, const Bags<Index>& bags) {
        if (bags.size() == 0) return;
        std::vector<std::uint64_t> accesses = table_accesses_;
        const std::vector<std::uint64_t> added = detail::lookups_per_feature(exec, bags);
        for (std::size_t f = 0; f < added.size(); ++f) accesses[space_.feature_table()[f]] += added[f];
        for (std::size_t table = 0; table < accesses.size(); ++table) {
            require(accesses[table] <= Counter::max_count, [&] {
                return concat("table ", table, " has ", accesses[table], " look-ups, expected at most ",
                              Counter::max_count, ", which one counter holds");
            });
        }
        if constexpr (checked) detail::check_rows(exec, space_, bags);
        counter_.add(exec, space_, bags, added);
        table_accesses_ = std::move(accesses);
        inputs_counted_ += bags.samples();
    }

    RowSpace space_;
    Counter counter_;
    std::vector<std::uint64_t> table_accesses_;
    std::uint64_t inputs_counted_ = 0;
    std::uint64_t inputs_seen_ = 0;
};

}  // namespace fae::inline FAE_ABI
