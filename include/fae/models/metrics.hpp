// SPDX-License-Identifier: Apache-2.0
//
// What a model's predictions are worth: mean loss, accuracy, exact area under the ROC curve.
//
//   RunningMean loss;
//   loss.add(model.loss(seq, labels), labels.size());        // batch after batch
//   std::optional<double> auc = roc_auc(par(threads), logits, labels);
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI {

/// The mean over inputs of a quantity whose mean per batch is given. Sums are in double, in the order of add.
class RunningMean {
  public:
    /// Takes in a batch of `count` inputs whose mean is `mean`. An empty batch counts for nothing.
    void add(double mean, std::uint64_t count) {
        if (count == 0) return;
        sum_ = std::fma(mean, static_cast<double>(count), sum_);
        count_ += count;
    }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    /// The mean so far; 0 before the first input.
    [[nodiscard]] double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  private:
    double sum_ = 0;
    std::uint64_t count_ = 0;
};

/// Stops training on a loss that is not a number.
/// @throws NonFiniteError, naming the step, if the loss is infinite or NaN
inline void require_finite(std::uint64_t step, double loss) {
    if (!std::isfinite(loss)) [[unlikely]] {
        throw NonFiniteError(step, concat("the loss is ", loss));
    }
}

namespace detail {

inline void require_labels(std::size_t scores, std::size_t labels) {
    require(scores == labels, [&] {
        return concat("there are ", labels, " labels, expected one for each of ", scores, " scores");
    });
}

// Orders floats as unsigned integers; -0 and +0 are one score.
[[nodiscard]] inline std::uint32_t ordered_bits(float score) {
    const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

inline constexpr std::size_t sort_grain = std::size_t{1} << 16;

// Sorts keys by the 32 bits above the lowest one, stably, in three passes over 11, 11 and 10 bits. `spare` is
// as long as `keys`; returns where the sorted keys are. The cut into chunks does not depend on the executor.
template <Executor E>
[[nodiscard]] Span<std::uint64_t> sort_keys(const E& exec, Span<std::uint64_t> keys,
                                            Span<std::uint64_t> spare) {
    constexpr std::size_t digits = 2048;
    const std::size_t chunks = ceil_div(keys.size(), sort_grain);
    Buffer<std::size_t> places(chunks * digits);
    for (unsigned shift = 1; shift < 33; shift += 11) {
        for_chunks(exec, keys.size(), sort_grain, [&](std::size_t begin, std::size_t end) {
            std::array<std::size_t, digits> count{};
            for (std::size_t i = begin; i < end; ++i) ++count[(keys[i] >> shift) % digits];
            std::size_t* out = places.data() + begin / sort_grain * digits;
            for (std::size_t d = 0; d < digits; ++d) out[d] = count[d];
        });
        std::size_t next = 0;
        for (std::size_t d = 0; d < digits; ++d) {
            for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
                const std::size_t count = std::exchange(places[chunk * digits + d], next);
                next += count;
            }
        }
        for_chunks(exec, keys.size(), sort_grain, [&](std::size_t begin, std::size_t end) {
            std::size_t* place = places.data() + begin / sort_grain * digits;
            for (std::size_t i = begin; i < end; ++i) spare[place[(keys[i] >> shift) % digits]++] = keys[i];
        });
        std::swap(keys, spare);
    }
    return keys;
}

}  // namespace detail

/// How many predictions are right: class 1 is predicted where the logit is above 0, that is, where the
/// probability is above one half.
/// @throws ContractError if there is not one label for each logit
[[nodiscard]] inline std::uint64_t correct_predictions(Span<const float> logits,
                                                       Span<const std::uint8_t> labels) {
    detail::require_labels(logits.size(), labels.size());
    std::uint64_t correct = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) correct += (logits[i] > 0) == (labels[i] != 0) ? 1u : 0u;
    return correct;
}

/// The exact area under the ROC curve: the share of pairs (one input of class 1, one of class 0) whose scores
/// are in the right order, where equal scores count one half. Nothing where there is only one class.
/// @shape  scores, labels [n]; any scores that rise with the probability: logits keep apart what
///         probabilities round to 1
/// @exec   seq, par: returns when done; the result is equal for every executor
/// @cost   O(n): a radix sort; allocates 16 bytes an input and 16 KiB for each 65,536 inputs
/// @throws ContractError if there is not one label for each score, or a score is NaN (its position is named)
template <Executor E>
[[nodiscard]] std::optional<double> roc_auc(const E& exec, Span<const float> scores,
                                            Span<const std::uint8_t> labels) {
    detail::require_labels(scores.size(), labels.size());
    Buffer<std::uint64_t> keys(scores.size());
    Buffer<std::uint64_t> spare(scores.size());
    for_chunks(exec, scores.size(), detail::sort_grain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            require(!std::isnan(scores[i]),
                    [&] { return concat("score ", i, " of ", scores.size(), " is NaN, expected a number"); });
            keys[i] = std::uint64_t{detail::ordered_bits(scores[i])} << 1 | (labels[i] != 0 ? 1u : 0u);
        }
    });
    const Span<std::uint64_t> sorted = detail::sort_keys(exec, keys.span(), spare.span());

    __extension__ using Wide = unsigned __int128;
    Wide half_pairs = 0;  // two for a pair in order, one for a tie
    std::uint64_t below = 0;
    std::uint64_t ones = 0;
    for (std::size_t i = 0; i < sorted.size();) {
        const std::uint64_t score = sorted[i] >> 1;
        std::uint64_t tied[2] = {0, 0};
        for (; i < sorted.size() && sorted[i] >> 1 == score; ++i) ++tied[sorted[i] & 1];
        half_pairs += Wide{tied[1]} * (2 * below + tied[0]);
        below += tied[0];
        ones += tied[1];
    }
    if (below == 0 || ones == 0) return std::nullopt;
    return static_cast<double>(half_pairs) / (2 * static_cast<double>(below) * static_cast<double>(ones));
}

/// What a model predicts on held-out inputs.
struct Evaluation {
    std::uint64_t inputs = 0;
    double loss = 0;            ///< mean binary cross-entropy
    double accuracy = 0;        ///< share of inputs whose class the sign of the logit names
    std::optional<double> auc;  ///< exact area under the ROC curve; nothing where there is one class only
};

/// Takes in held-out inputs batch after batch.
/// @cost memory: 4 bytes an input
class EvaluationSum {
  public:
    explicit EvaluationSum(std::size_t inputs) { logits_.reserve(inputs); }

    /// @param loss  the mean loss of these inputs
    /// @shape logits, labels [n]
    void add(double loss, Span<const float> logits, Span<const std::uint8_t> labels) {
        loss_.add(loss, logits.size());
        correct_ += correct_predictions(logits, labels);
        logits_.insert(logits_.end(), logits.begin(), logits.end());
    }

    /// @param labels  of all inputs, in the order in which they were added
    template <Executor E>
    [[nodiscard]] Evaluation finish(const E& exec, Span<const std::uint8_t> labels) const {
        Evaluation result;
        result.inputs = logits_.size();
        if (logits_.empty()) return result;
        result.loss = loss_.mean();
        result.accuracy = static_cast<double>(correct_) / static_cast<double>(logits_.size());
        if (std::isfinite(result.loss)) result.auc = roc_auc(exec, logits_, labels);
        return result;
    }

  private:
    RunningMean loss_;
    std::uint64_t correct_ = 0;
    std::vector<float> logits_;
};

}  // namespace fae::inline FAE_ABI
