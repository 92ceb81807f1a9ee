// SPDX-License-Identifier: Apache-2.0
//
// Bags: which rows each (sample, feature) pair of a batch pools, as values and either offsets (jagged) or one
// fixed bag size. A batch has samples x features bags, sample-major: bag = sample * features + feature.
//
//   auto bags = Bags<std::uint32_t>::fixed(values, /*bag_size=*/1, /*features=*/26);
//   auto bags = Bags<std::uint32_t>::jagged(values, offsets, /*features=*/26);
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// The look-ups of one batch. A value is a row id, or a located index (types.hpp) once a placement has seen
/// it.
/// @shape values [nnz]; offsets [bags + 1], first 0, last nnz, non-decreasing (jagged only); weights [nnz] or
///        empty
/// @units offsets count values, not bytes
template <IndexType Index = std::uint32_t>
class Bags {
  public:
    Bags() = default;

    /// Bags of `bag_size` values each.
    /// @throws ContractError if values is not a multiple of bag_size * features, or weights has another size
    [[nodiscard]] static Bags fixed(Span<const Index> values, std::size_t bag_size, std::size_t features,
                                    Span<const float> weights = {}) {
        require(bag_size > 0 && features > 0, [&] {
            return concat("bags of ", bag_size, " values and ", features,
                          " features, expected at least 1 of each");
        });
        require(values.size() % (bag_size * features) == 0, [&] {
            return concat("values has ", values.size(), " entries, expected a multiple of ", bag_size, " x ",
                          features);
        });
        return Bags(values, {}, bag_size, values.size() / bag_size, features, weights);
    }

    /// Bags of any size, empty ones too: bag b is values[offsets[b] .. offsets[b + 1]).
    /// @throws ContractError if offsets is empty, does not start at 0 and end at nnz, or is no multiple of
    ///         features
    [[nodiscard]] static Bags jagged(Span<const Index> values, Span<const std::uint64_t> offsets,
                                     std::size_t features, Span<const float> weights = {}) {
        require_offsets(offsets.size(), features);
        require(offsets.front() == 0 && offsets.back() == values.size(), [&] {
            return concat("offsets run from ", offsets.front(), " to ", offsets.back(), ", expected 0 to ",
                          values.size());
        });
        if constexpr (checked) {
            for (std::size_t b = 0; b + 1 < offsets.size(); ++b) {
                if (offsets[b] > offsets[b + 1]) {
                    throw IndexError(concat("offsets[", b, "] is ", offsets[b], ", above offsets[", b + 1,
                                            "] = ", offsets[b + 1]));
                }
            }
        }
        return Bags(values, offsets, 0, offsets.size() - 1, features, weights);
    }

    /// Bags of any size whose arrays lie where the host cannot read (a device's memory): only sizes are
    /// checked.
    /// @pre    the first offset is 0, the last values.size(), none is smaller than the one before
    /// @throws ContractError if offsets is empty or no multiple of features
    [[nodiscard]] static Bags jagged_elsewhere(Span<const Index> values, Span<const std::uint64_t> offsets,
                                               std::size_t features, Span<const float> weights = {}) {
        require_offsets(offsets.size(), features);
        return Bags(values, offsets, 0, offsets.size() - 1, features, weights);
    }

    [[nodiscard]] FAE_HD Span<const Index> values() const { return values_; }
    [[nodiscard]] FAE_HD Span<const std::uint64_t> offsets() const { return offsets_; }
    [[nodiscard]] FAE_HD Span<const float> weights() const { return weights_; }
    /// The number of bags: samples x features.
    [[nodiscard]] FAE_HD std::size_t size() const { return bags_; }
    [[nodiscard]] FAE_HD std::size_t features() const { return features_; }
    [[nodiscard]] FAE_HD std::size_t samples() const { return features_ == 0 ? 0 : bags_ / features_; }
    /// The number of look-ups.
    [[nodiscard]] FAE_HD std::size_t lookups() const { return values_.size(); }
    /// The common size of all bags, or 0 where the batch is jagged.
    [[nodiscard]] FAE_HD std::size_t bag_size() const { return bag_size_; }
    [[nodiscard]] FAE_HD bool is_fixed() const { return bag_size_ != 0; }
    /// Bag b is values[begin(b) .. end(b)).
    [[nodiscard]] FAE_HD std::size_t begin(std::size_t bag) const {
        return bag_size_ != 0 ? bag * bag_size_ : static_cast<std::size_t>(offsets_[bag]);
    }
    [[nodiscard]] FAE_HD std::size_t end(std::size_t bag) const { return begin(bag + 1); }

    /// The same bags over other values (row ids turned into located indices, say).
    [[nodiscard]] Bags with_values(Span<const Index> values) const {
        require(values.size() == values_.size(),
                [&] { return concat("values has ", values.size(), " entries, expected ", values_.size()); });
        return Bags(values, offsets_, bag_size_, bags_, features_, weights_);
    }

  private:
    Bags(Span<const Index> values, Span<const std::uint64_t> offsets, std::size_t bag_size, std::size_t bags,
         std::size_t features, Span<const float> weights)
        : values_(values),
          offsets_(offsets),
          weights_(weights),
          bag_size_(bag_size),
          bags_(bags),
          features_(features) {
        require(weights.empty() || weights.size() == values.size(), [&] {
            return concat("weights has ", weights.size(), " entries, expected ", values.size(),
                          " (one per value)");
        });
    }

    static void require_offsets(std::size_t count, std::size_t features) {
        require(count != 0, [] { return std::string("offsets has 0 entries, expected bags + 1"); });
        require(features > 0 && (count - 1) % features == 0, [&] {
            return concat("offsets describes ", count - 1, " bags, expected a multiple of ", features,
                          " features");
        });
    }

    Span<const Index> values_;
    Span<const std::uint64_t> offsets_;
    Span<const float> weights_;
    std::size_t bag_size_ = 1;
    std::size_t bags_ = 0;
    std::size_t features_ = 1;
};

}  // namespace fae::inline FAE_ABI
