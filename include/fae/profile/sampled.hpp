// SPDX-License-Identifier: Apache-2.0
//
// InputSampler: which inputs of a stream belong to a sample. Whether input i is drawn is a function of
// (seed, i) alone, so the sample does not depend on how the stream is cut into batches or on threads.
//
//   auto sampler = InputSampler::exact(total, total / 20, seed);   // 5 %, without replacement
//   auto sampler = InputSampler::bernoulli(0.05, seed);            // the total is not known yet
//   profiler.add(exec, bags, sampler);
//   auto [choose, check] = sampler.split(0.5);                     // two disjoint samples of the same inputs
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"

namespace fae::inline FAE_ABI {

/// A seeded sample without replacement of the inputs of a stream.
class InputSampler {
  public:
    /// Draws every input.
    InputSampler() = default;

    /// Draws exactly `count` of `total` inputs, each set of that size about equally likely.
    /// @cost   draws(i): a few walks through a Feistel network (about 0.1 us)
    /// @throws ContractError if count > total
    [[nodiscard]] static InputSampler exact(std::uint64_t total, std::uint64_t count, std::uint64_t seed) {
        require(count <= total,
                [&] { return concat("count is ", count, ", expected at most the ", total, " inputs"); });
        InputSampler sampler;
        sampler.total_ = total;
        sampler.count_ = count;
        sampler.rate_ = rate_of(count, total);
        sampler.permutation_ = Permutation(total, seed, stream);
        return sampler;
    }

    /// Draws each input with probability `rate`, independently; for streams of unknown length.
    /// @throws ContractError unless 0 <= rate <= 1
    [[nodiscard]] static InputSampler bernoulli(double rate, std::uint64_t seed) {
        require(rate >= 0 && rate <= 1, [&] { return concat("rate is ", rate, ", expected 0 to 1"); });
        InputSampler sampler;
        sampler.rate_ = rate;
        sampler.key_ = mix64(mix64(seed) ^ stream);
        sampler.independent_ = true;
        sampler.end_ = rate;
        return sampler;
    }

    /// Two samples that share no input and together are this one: the first has about `share` of it. Each is
    /// a sample without replacement of the stream, and of what the other leaves.
    /// @throws ContractError unless 0 <= share <= 1, or if this draws every input without a seed
    [[nodiscard]] std::pair<InputSampler, InputSampler> split(double share) const {
        require(share >= 0 && share <= 1, [&] { return concat("share is ", share, ", expected 0 to 1"); });
        require(independent_ || permutation_.size() == total_, [] {
            return std::string("a sampler without a seed cannot be split, expected exact() or bernoulli()");
        });
        std::pair<InputSampler, InputSampler> parts(*this, *this);
        if (independent_) {
            parts.first.end_ = begin_ + share * (end_ - begin_);
            parts.second.begin_ = parts.first.end_;
            parts.first.rate_ = parts.first.end_ - begin_;
            parts.second.rate_ = end_ - parts.second.begin_;
        } else {
            const auto first = static_cast<std::uint64_t>(share * static_cast<double>(count_));
            parts.first.count_ = first < count_ ? first : count_;
            parts.second.first_ = first_ + parts.first.count_;
            parts.second.count_ = count_ - parts.first.count_;
            parts.first.rate_ = rate_of(parts.first.count_, total_);
            parts.second.rate_ = rate_of(parts.second.count_, total_);
        }
        return parts;
    }

    /// True if input number `input` belongs to the sample.
    /// @pre input < total()
    [[nodiscard]] FAE_HD bool draws(std::uint64_t input) const {
        if (draws_all()) return true;
        if (independent_) {
            const double place = to_unit(mix64(key_ ^ mix64(input)));
            return place >= begin_ && place < end_;
        }
        const std::uint64_t place = permutation_(input);
        return place >= first_ && place - first_ < count_;
    }

    [[nodiscard]] FAE_HD bool draws_all() const { return rate_ >= 1.0; }
    /// The expected share of inputs drawn.
    [[nodiscard]] double rate() const { return rate_; }
    /// The inputs that it can be asked about: unlimited but for exact().
    [[nodiscard]] std::uint64_t total() const { return total_; }

  private:
    static constexpr std::uint64_t stream = 0x696E70757473u;  // a stream of its own under the run's seed

    [[nodiscard]] static double rate_of(std::uint64_t count, std::uint64_t total) {
        return total == 0 ? 1.0 : static_cast<double>(count) / static_cast<double>(total);
    }

    double rate_ = 1.0;
    bool independent_ = false;
    std::uint64_t total_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t first_ = 0;  // exact: inputs whose places are [first_, first_ + count_) are drawn
    std::uint64_t count_ = 0;
    std::uint64_t key_ = 0;
    double begin_ = 0;  // bernoulli: those whose places in [0, 1) are [begin_, end_)
    double end_ = 1;
    Permutation permutation_;
};

}  // namespace fae::inline FAE_ABI
