// SPDX-License-Identifier: Apache-2.0
//
// SketchProfile: the rows of a row space that are looked up most, with bounds of their look-ups, and the
// SketchCounter by which AccessProfiler makes it in fixed memory.
//
//   AccessProfiler<SketchCounter> profiler(space, SketchCounter(space, {.memory_bytes = 64u << 20}));
//   while (read(batch)) profiler.add(par(threads), batch.bags());
//   SketchProfile profile = profiler.finish();
//   SketchCalibration made = calibrate(par(threads), profile, options);      // calibrate/sketched.hpp
#pragma once

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
#include "fae/profile/counter.hpp"
#include "fae/profile/sketch.hpp"

namespace fae::inline FAE_ABI {

/// A row that a sketch lists, and bounds of its look-ups.
/// @units SketchProfile::unit() of them are one look-up
struct HeavyRow {
    RowId row = 0;
    std::uint64_t lower = 0;
    std::uint64_t upper = 0;
};

/// What a sketch knows of the look-ups of a row space. Counts are of the inputs counted; where the sketch was
/// halved, of decayed look-ups.
/// @units all counts: unit() of them are one look-up (of the latest, where the sketch was halved)
class SketchProfile {
  public:
    SketchProfile() = default;

    /// @param rows            the listed rows, the largest lower bound first, then the smallest row
    /// @param floor           no other row has more, and no listed row's bounds are further apart
    /// @param table_accesses  the look-ups of each table, exact
    /// @throws ContractError if table_accesses does not fit the row space, unit is 0, or more was counted
    /// than
    ///         seen
    SketchProfile(RowSpace space, std::vector<HeavyRow> rows, std::uint64_t floor, std::uint64_t unit,
                  std::vector<std::uint64_t> table_accesses, std::uint64_t inputs_counted,
                  std::uint64_t inputs_seen)
        : space_(std::move(space)),
          rows_(std::move(rows)),
          floor_(floor),
          unit_(unit),
          table_accesses_(std::move(table_accesses)),
          inputs_counted_(inputs_counted),
          inputs_seen_(inputs_seen) {
        require(table_accesses_.size() == space_.table_count(), [&] {
            return concat("table_accesses has ", table_accesses_.size(), " entries, expected ",
                          space_.table_count());
        });
        require(unit_ >= 1 && inputs_counted_ <= inputs_seen_, [&] {
            return concat("a unit of ", unit_, " and ", inputs_counted_, " inputs counted of ", inputs_seen_,
                          ", expected at least 1 and at most as many as seen");
        });
    }

    [[nodiscard]] const RowSpace& space() const { return space_; }
    [[nodiscard]] const std::vector<HeavyRow>& rows() const { return rows_; }
    /// No row that is not listed has more, and no listed row's bounds are further apart, but for the rounding
    /// of halve().
    [[nodiscard]] std::uint64_t floor() const { return floor_; }
    [[nodiscard]] std::uint64_t unit() const { return unit_; }
    /// The look-ups of a table, exact; decayed ones are rounded up, by less than two units.
    [[nodiscard]] std::uint64_t accesses(std::size_t table) const { return table_accesses_[table]; }
    [[nodiscard]] std::uint64_t accesses() const {
        return std::accumulate(table_accesses_.begin(), table_accesses_.end(), std::uint64_t{0});
    }
    [[nodiscard]] std::uint64_t inputs_counted() const { return inputs_counted_; }
    [[nodiscard]] std::uint64_t inputs_seen() const { return inputs_seen_; }

  private:
    RowSpace space_;
    std::vector<HeavyRow> rows_;
    std::uint64_t floor_ = 0;
    std::uint64_t unit_ = 1;
    std::vector<std::uint64_t> table_accesses_;
    std::uint64_t inputs_counted_ = 0;
    std::uint64_t inputs_seen_ = 0;
};

/// Counts into a HeavyHitterSketch: AccessProfiler's counter where a counter for every row is too much, or
/// where old look-ups are to count less.
class SketchCounter {
  public:
    using count_type = std::uint64_t;
    static constexpr std::uint64_t max_count = std::uint64_t{1} << 40;  // beside any decay

    explicit SketchCounter(const RowSpace& space, SketchOptions options = {})
        : sketch_(options), table_accesses_(space.table_count(), 0) {}

    /// @cost as HeavyHitterSketch::add
    template <Executor E, IndexType Index>
    void add(const E& exec, const RowSpace& space, const Bags<Index>& bags,
             Span<const std::uint64_t> lookups) {
        sketch_.add(exec, bags.values());
        for (std::size_t f = 0; f < lookups.size(); ++f) {
            table_accesses_[space.feature_table()[f]] += lookups[f] * sketch_.unit();
        }
    }

    /// What was counted so far counts half from here on (HeavyHitterSketch::halve).
    void halve() {
        const std::uint64_t before = sketch_.unit();
        sketch_.halve();
        const std::uint64_t divisor = before * 2 / sketch_.unit();
        for (std::uint64_t& accesses : table_accesses_) accesses = ceil_div(accesses, divisor);
    }

    /// Adds what a counter of another worker has seen, of the same row space.
    /// @throws ContractError as HeavyHitterSketch::merge, or if the tables differ in number
    void merge(const SketchCounter& other) {
        require(other.table_accesses_.size() == table_accesses_.size(), [&] {
            return concat("the other counter has ", other.table_accesses_.size(), " tables, expected ",
                          table_accesses_.size());
        });
        sketch_.merge(other.sketch_);
        for (std::size_t t = 0; t < table_accesses_.size(); ++t) {
            table_accesses_[t] += other.table_accesses_[t];
        }
    }

    [[nodiscard]] const HeavyHitterSketch& sketch() const { return sketch_; }

    [[nodiscard]] SketchCounter fresh(const RowSpace& space) const {
        return SketchCounter(space, sketch_.options());
    }

    /// What is known of all that was added. Nothing is taken away: it may be asked for at any time.
    /// @cost a sort of the listed rows; 24 bytes each, twice
    [[nodiscard]] SketchProfile profile(RowSpace space, const std::vector<std::uint64_t>&,
                                        std::uint64_t inputs_counted, std::uint64_t inputs_seen) const {
        std::vector<HeavyRow> rows;
        for (const HeavyKey& key : sketch_.listed()) rows.push_back({key.key, key.lower, key.upper});
        return {std::move(space), std::move(rows), sketch_.floor(), sketch_.unit(),
                table_accesses_,  inputs_counted,  inputs_seen};
    }

  private:
    HeavyHitterSketch sketch_;
    std::vector<std::uint64_t> table_accesses_;  // in sketch units
};

static_assert(AccessCounter<SketchCounter>);

}  // namespace fae::inline FAE_ABI
