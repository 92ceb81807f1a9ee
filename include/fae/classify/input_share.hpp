// SPDX-License-Identifier: Apache-2.0
//
// input_share: the share of inputs that a hot set makes hot, from a sample of them, with its interval.
// Cheaper than classify where only the number is wanted.
//
//   InputShare share = input_share(exec, hot, space, data.bags(), InputSampler::bernoulli(0.05, seed));
//   share.share.lower <= the true share <= share.share.upper, at 95 %
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/calibrate/quantiles.hpp"
#include "fae/classify/hot_test.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/profile/sampled.hpp"

namespace fae::inline FAE_ABI {

/// How many inputs are hot.
struct InputShare {
    std::uint64_t inputs = 0;  ///< that were looked at
    std::uint64_t hot = 0;     ///< of those
    /// Of all inputs: exact where all were looked at; [0, 1] where none was.
    Interval share;
};

/// The share of inputs all of whose look-ups are hot in every row space, from those that the sampler draws.
/// The bounds are the exact binomial ones, which hold at least at the two-sided confidence for inputs drawn
/// without replacement. They hold for these inputs: hot sets that were chosen from the same sample of inputs
/// look better on it than they are, so draw by another seed.
/// @pre    as find_hot_inputs
/// @exec   seq, par: equal results
/// @cost   as find_hot_inputs, for the inputs drawn; memory: 16 bytes for each 16,384 inputs
/// @throws ContractError as find_hot_inputs; if there are more inputs than the sampler knows, or confidence
///         is not between 0 and 1
template <Executor E, IndexType Index>
[[nodiscard]] InputShare input_share(const E& exec, Span<const HotQuery<Index>> queries,
                                     const InputSampler& sampler = {}, double confidence = 0.95) {
    require(confidence > 0 && confidence < 1,
            [&] { return concat("confidence is ", confidence, ", expected between 0 and 1"); });
    const std::vector<detail::HotTest<Index>> tests = detail::hot_tests(exec, queries);
    const std::size_t inputs = queries[0].bags.samples();
    require(inputs <= sampler.total(), [&] {
        return concat("there are ", inputs, " inputs, expected at most the sampler's ", sampler.total());
    });
    struct Found {
        std::uint64_t inputs = 0;
        std::uint64_t hot = 0;
    };
    constexpr std::size_t grain = 16384;
    std::vector<Found> found(ceil_div(inputs, grain));
    for_chunks(exec, inputs, grain, [&](std::size_t begin, std::size_t end) {
        Found mine;
        for (std::size_t first = begin; first < end; first += 64) {
            const std::size_t count = std::min<std::size_t>(64, end - first);
            if (sampler.draws_all()) {
                mine.inputs += count;
                mine.hot += detail::popcount64(detail::hot_word(tests, first, count));
                continue;
            }
            for (std::size_t input = first; input < first + count; ++input) {
                if (!sampler.draws(input)) continue;
                ++mine.inputs;
                mine.hot += detail::hot_word(tests, input, 1);
            }
        }
        found[begin / grain] = mine;
    });
    InputShare result;
    for (const Found& part : found) {
        result.inputs += part.inputs;
        result.hot += part.hot;
    }
    result.share =
        binomial_interval(static_cast<double>(result.hot), static_cast<double>(result.inputs), confidence);
    if (result.inputs == inputs && inputs != 0) {
        result.share.lower = result.share.upper = result.share.estimate;
    }
    return result;
}

/// The same for one row space; exec, cost and errors as above.
template <Executor E, IndexType Index>
[[nodiscard]] InputShare input_share(const E& exec, const HotSet& hot, const RowSpace& space,
                                     const Bags<Index>& bags, const InputSampler& sampler = {},
                                     double confidence = 0.95) {
    const HotQuery<Index> query{&hot, bags, &space};
    return input_share(exec, Span<const HotQuery<Index>>(&query, 1), sampler, confidence);
}

}  // namespace fae::inline FAE_ABI
