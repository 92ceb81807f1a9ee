// SPDX-License-Identifier: Apache-2.0
//
// AccessProfile: how often each row of a row space was looked up, and in how many inputs that was seen. What
// a profiler yields and a calibrator reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI {

/// Counts of look-ups, one per row of a row space. Move-only; the counts are as large as the model has rows.
/// @shape counts [rows]; table_accesses [tables], the sum of each table's counts
template <class Count = std::uint32_t>
class AccessProfile {
  public:
    using count_type = Count;

    AccessProfile() = default;

    /// @param inputs_counted  the inputs whose look-ups are in `counts`
    /// @param inputs_seen     the inputs that those were drawn from; equal where nothing was left out
    /// @throws ContractError if the sizes do not fit the row space, or more was counted than seen
    AccessProfile(RowSpace space, Buffer<Count, PageSpace> counts, std::vector<std::uint64_t> table_accesses,
                  std::uint64_t inputs_counted, std::uint64_t inputs_seen)
        : space_(std::move(space)),
          counts_(std::move(counts)),
          table_accesses_(std::move(table_accesses)),
          inputs_counted_(inputs_counted),
          inputs_seen_(inputs_seen) {
        require(counts_.size() == space_.rows(),
                [&] { return concat("counts has ", counts_.size(), " entries, expected ", space_.rows()); });
        require(table_accesses_.size() == space_.table_count(), [&] {
            return concat("table_accesses has ", table_accesses_.size(), " entries, expected ",
                          space_.table_count());
        });
        require(inputs_counted_ <= inputs_seen_, [&] {
            return concat("inputs counted is ", inputs_counted_, ", expected at most the ", inputs_seen_,
                          " seen");
        });
    }

    [[nodiscard]] const RowSpace& space() const { return space_; }
    [[nodiscard]] Span<const Count> counts() const { return counts_.span(); }
    [[nodiscard]] std::uint64_t accesses(std::size_t table) const { return table_accesses_[table]; }
    /// Look-ups counted, over all tables.
    [[nodiscard]] std::uint64_t accesses() const {
        return std::accumulate(table_accesses_.begin(), table_accesses_.end(), std::uint64_t{0});
    }
    [[nodiscard]] std::uint64_t inputs_counted() const { return inputs_counted_; }
    [[nodiscard]] std::uint64_t inputs_seen() const { return inputs_seen_; }
    /// The share of the inputs seen that the counts stand for; 1 where nothing was seen.
    [[nodiscard]] double sampling_rate() const {
        return inputs_seen_ == 0 ? 1.0
                                 : static_cast<double>(inputs_counted_) / static_cast<double>(inputs_seen_);
    }
    /// True where every input seen was counted.
    [[nodiscard]] bool exact() const { return inputs_counted_ == inputs_seen_; }

  private:
    RowSpace space_;
    Buffer<Count, PageSpace> counts_;
    std::vector<std::uint64_t> table_accesses_;
    std::uint64_t inputs_counted_ = 0;
    std::uint64_t inputs_seen_ = 0;
};

}  // namespace fae::inline FAE_ABI
