// SPDX-License-Identifier: Apache-2.0
//
// What a sampled profile proves. The hot set is chosen from one random sample of inputs and tried on another,
// which it has not seen:
//
//   auto [choose, check] = InputSampler::exact(total, total / 20, seed).split(0.5);
//   profiler.add(exec, bags, choose);                        // profile -> calibrate -> hot
//   CoverageSums tried;
//   tried.add(exec, hot, bags, check);
//   CoverageStatement said = coverage_statement(profile, hot, tried, options);
//   // With probability 1 - delta: the share of all look-ups that `hot` serves is in said.lookups, the share
//   of
//   // inputs that are hot in said.inputs, and no set of as many rows serves more than said.lookups.lower +
//   // said.epsilon().
//   double n = inputs_for_epsilon(0.02, 0.05, hot_rows, row_concentration(space));  // before a draw
//
// Derivation. Inputs 1..M are fixed; X(i) look-ups of input i fall on the set S, L(i) are all; what is asked
// for is c(S), the sum of X over the sum of L. Only the draw of inputs is random, so order, drift and the
// dependence of look-ups of one input do not matter.
//
// (1) c(S). Given the first sample, S is fixed, and the second is a random sample of the other inputs. For c
// =
//     c(S) the values Z(i) = X(i) - c L(i) lie in a range of max L and add up to 0 over all inputs; over the
//     first sample their sum is known, so their mean over the others is too, and the mean over the second
//     sample is near that by mean_bounds.hpp. The interval is every c that this does not rule out. All
//     deviations of a side share half of its delta between the two bounds.
// (2) The best set S* of as many rows is one fixed set. So what it serves of the first sample is near c(S*)
// by
//     a bound for one mean; and the set that serves most of that sample, which is known, serves no less of
//     it: c(S*) <= (share of the sample's m most frequent rows) + h. No bound over all sets is needed.
// (3) Ahead of the draw, of the set S that serves most of n inputs: c(S*) - c(S) <= h(n) for S* as in (2),
//     plus the largest amount by which any set of m rows is overrated. Let p(r) be the share of look-ups that
//     fall on row r. That amount is at most the sum over some m rows of what the sample has too much of each,
//     at most sqrt(m sum over r of (error of p(r))^2) by Cauchy and Schwarz, and sqrt(m q / n) on average,
//     with q the mean over inputs of the sum of squared shares of its rows; one input changes it by at most 1
//     / n, so it exceeds its average by h(n) at most (McDiarmid; without replacement: El-Yaniv and Pechyony).
//     With delta / 2 for each, n = ((sqrt(m q) + sqrt(2 log(2 / delta))) / epsilon)^2 inputs are enough.
//     Of fixed bags, an input has a share of f(t) / F in table t, so q <= the sum over t of (f(t) / F)^2.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/calibrate/mean_bounds.hpp"
#include "fae/calibrate/quantiles.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/profile/access_profile.hpp"
#include "fae/profile/sampled.hpp"

namespace fae::inline FAE_ABI {

/// What inputs of a sample said of a hot set.
struct CoverageSums {
    std::uint64_t inputs_seen = 0;     ///< of the stream, drawn or not
    std::uint64_t most_lookups = 0;    ///< of one input, drawn or not
    std::uint64_t inputs = 0;          ///< drawn
    std::uint64_t hot_inputs = 0;      ///< of those, all of whose look-ups are hot
    std::uint64_t lookups = 0;         ///< of the inputs drawn
    std::uint64_t hot_lookups = 0;     ///< of those
    std::uint64_t hot_squares = 0;     ///< sum over the inputs drawn of hot look-ups squared,
    std::uint64_t products = 0;        ///< of hot look-ups times look-ups,
    std::uint64_t lookup_squares = 0;  ///< and of look-ups squared

    /// Adds the inputs of a batch that the sampler draws; its first input is number inputs_seen of the
    /// stream.
    /// @pre    every value is a row of the hot set's row space
    /// @exec   seq, par: equal results
    /// @cost   reads the look-ups of the inputs drawn, a bit of the hot set for each; where bags are jagged,
    ///         all offsets
    /// @throws ContractError if the stream outgrows the sampler's total
    template <Executor E, IndexType Index>
    void add(const E& exec, const HotSet& hot, const Bags<Index>& bags, const InputSampler& sampler = {}) {
        require(inputs_seen <= sampler.total() && bags.samples() <= sampler.total() - inputs_seen, [&] {
            return concat("the batch ends with input ", inputs_seen + bags.samples(),
                          " of the stream, expected at most the sampler's ", sampler.total());
        });
        constexpr std::size_t grain = 8192;
        const HotSet::Ref members = hot.ref();
        const std::size_t features = bags.features();
        std::vector<CoverageSums> parts(ceil_div(bags.samples(), grain));
        for_chunks(exec, bags.samples(), grain, [&](std::size_t begin, std::size_t end) {
            CoverageSums mine;
            for (std::size_t input = begin; input < end; ++input) {
                const std::size_t first = bags.begin(input * features);
                const std::size_t last = bags.begin((input + 1) * features);
                const std::uint64_t all = last - first;
                mine.most_lookups = std::max(mine.most_lookups, all);
                if (!sampler.draws(inputs_seen + input)) continue;
                std::uint64_t served = 0;
                for (std::size_t i = first; i < last; ++i) {
                    served += members.contains(bags.values()[i]) ? 1u : 0u;
                }
                mine.inputs += 1;
                mine.hot_inputs += served == all ? 1u : 0u;
                mine.lookups += all;
                mine.hot_lookups += served;
                mine.hot_squares += served * served;
                mine.products += served * all;
                mine.lookup_squares += all * all;
            }
            parts[begin / grain] = mine;
        });
        for (const CoverageSums& part : parts) *this += part;
        inputs_seen += bags.samples();
    }

    CoverageSums& operator+=(const CoverageSums& other) {
        inputs_seen += other.inputs_seen;
        most_lookups = std::max(most_lookups, other.most_lookups);
        inputs += other.inputs;
        hot_inputs += other.hot_inputs;
        lookups += other.lookups;
        hot_lookups += other.hot_lookups;
        hot_squares += other.hot_squares;
        products += other.products;
        lookup_squares += other.lookup_squares;
        return *this;
    }
};

/// What is claimed, and of what.
struct CoverageOptions {
    double delta = 0.05;  ///< the statement as a whole is wrong with at most this probability
    /// True: about the inputs that the samples were drawn from. False: about the law that those were drawn
    /// from, each input independently of the others, and so about inputs to come if nothing drifts.
    bool of_these_inputs = true;
    /// The rows that the budget has room for, where the hot set has fewer; 0: as many as it has.
    std::uint64_t budget_rows = 0;
};

/// What a sample proves of a hot set, at 1 - delta all of it together.
struct CoverageStatement {
    Interval lookups;  ///< share of look-ups that the hot set serves
    Interval inputs;   ///< share of inputs that are hot
    double best = 1;   ///< no set of as many rows (or of budget_rows) serves a larger share of look-ups
    double delta = 0.05;

    /// The hot set is within this of the best one of as many rows.
    [[nodiscard]] double epsilon() const { return std::max(0.0, best - lookups.lower); }
};

namespace detail {

/// Every share c that the second sample does not rule out: where the mean of X - c L over it is within both
/// bounds of its mean over the inputs drawn from.
/// @param known_hot, known_lookups  of the inputs that are known and not drawn from
/// @param of                        the inputs drawn from
/// @param side                      the probability that the truth is left out below (and that it is above)
inline Interval coverage_interval(const CoverageSums& sums, double known_hot, double known_lookups, double of,
                                  double side) {
    const auto n = static_cast<double>(sums.inputs);
    const auto hot = static_cast<double>(sums.hot_lookups) / n;
    const auto all = static_cast<double>(sums.lookups) / n;
    const auto range = static_cast<double>(sums.most_lookups);
    const double shift_hot = std::isinf(of) ? 0 : known_hot / of;
    const double shift_all = std::isinf(of) ? 0 : known_lookups / of;
    // Over the sample, and over everything as the sample has it.
    const double estimate = (hot + shift_hot) / (all + shift_all);
    const double plain = range * hoeffding_serfling(n, of, side / 2);
    const auto excess = [&](double c) { return (hot - c * all) + (shift_hot - c * shift_all); };
    const auto within = [&](double c) {
        const double mean = hot - c * all;
        const double square =
            (static_cast<double>(sums.hot_squares) - 2 * c * static_cast<double>(sums.products) +
             c * c * static_cast<double>(sums.lookup_squares)) /
            n;
        const double deviation = std::sqrt(std::max(0.0, square - mean * mean)) / range;
        const double distance =
            std::min(plain, range * empirical_bernstein_serfling(n, of, deviation, side / 2));
        return std::fabs(excess(c)) <= distance;
    };
    const auto edge = [&](double inside, double outside) {
        if (within(outside)) return outside;
        for (int i = 0; i < 60; ++i) {
            const double middle = inside + (outside - inside) / 2;
            (within(middle) ? inside : outside) = middle;
        }
        return outside;
    };
    return {estimate, edge(estimate, 0), edge(estimate, 1)};
}

}  // namespace detail

/// The largest share of look-ups that any set of `rows` rows can serve, proved at one-sided 1 - delta from
/// the sample that the profile counted: (2) of the derivation above.
/// @param most_lookups  of one input
/// @param of            the inputs that the sample was drawn from; `unlimited`: a law
/// @cost   two passes over the counts; memory: 4 or 8 bytes a row that was seen
/// @throws ContractError unless 0 < delta < 1
template <class Count>
[[nodiscard]] double best_coverage(const AccessProfile<Count>& profile, std::uint64_t rows,
                                   std::uint64_t most_lookups, double of, double delta) {
    std::vector<Count> seen;
    for (const Count count : profile.counts()) {
        if (count != 0) seen.push_back(count);
    }
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(rows, seen.size()));
    std::nth_element(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(taken), seen.end(),
                     std::greater<>());
    std::uint64_t served = 0;
    for (std::size_t i = 0; i < taken; ++i) served += seen[i];
    const std::uint64_t lookups = profile.accesses();
    const auto n = static_cast<double>(profile.inputs_counted());
    if (lookups == 0) return n == of ? 0 : 1;
    const double share = static_cast<double>(served) / static_cast<double>(lookups);
    const double range = static_cast<double>(most_lookups) * n / static_cast<double>(lookups);
    double best = share + range * hoeffding_serfling(n, of, delta);
    // Where all inputs have as many look-ups the share is a mean of values in [0, 1]. Whichever of two fixed
    // bounds of one event is better holds at the same delta.
    if (lookups == most_lookups * profile.inputs_counted()) {
        best = std::min(best, chernoff_upper(share, n, delta));
    }
    return std::min(1.0, best);
}

/// What the sample that a hot set was chosen from and another that it was tried on prove together: with
/// probability at least 1 - delta all of the statement is true. The profile's inputs are known exactly, so
/// the statement is about the rest alone, and about nothing where every input was drawn by one or the other.
/// @param chosen_from  what the first sampler drew; any selection may have chosen `hot` from it
/// @param tried        what the second, disjoint sampler drew of the same stream
/// @param chosen_sums  what the first sampler's inputs say of the hot set, if somebody has looked: the
/// interval
///                     of inputs is wider by the share of inputs that the first sampler drew otherwise
/// @cost   passes over the counts; no look at the inputs
/// @throws ContractError unless the samples are of the same stream and leave each other's inputs out, and 0 <
///         delta < 1
/// @source the derivation at the head of this file
template <class Count>
[[nodiscard]] CoverageStatement coverage_statement(const AccessProfile<Count>& chosen_from, const HotSet& hot,
                                                   const CoverageSums& tried,
                                                   const CoverageOptions& options = {},
                                                   const CoverageSums* chosen_sums = nullptr) {
    require(tried.inputs_seen == chosen_from.inputs_seen(), [&] {
        return concat("the hot set was tried on a stream of ", tried.inputs_seen,
                      " inputs, expected the profile's ", chosen_from.inputs_seen());
    });
    require(tried.inputs <= chosen_from.inputs_seen() - chosen_from.inputs_counted(), [&] {
        return concat("the samples have ", chosen_from.inputs_counted(), " and ", tried.inputs,
                      " inputs, expected at most the ", chosen_from.inputs_seen(), " seen together");
    });
    require(options.delta > 0 && options.delta < 1,
            [&] { return concat("delta is ", options.delta, ", expected between 0 and 1"); });
    require(hot.rows() == chosen_from.space().rows(), [&] {
        return concat("the hot set covers ", hot.rows(), " rows, expected ", chosen_from.space().rows());
    });
    CoverageStatement said;
    said.delta = options.delta;
    const auto seen = static_cast<double>(chosen_from.inputs_seen());
    const auto first = static_cast<double>(chosen_from.inputs_counted());
    const bool finite = options.of_these_inputs;
    const double third = options.delta / 3;
    said.best = best_coverage(chosen_from, std::max(hot.size(), options.budget_rows), tried.most_lookups,
                              finite ? seen : unlimited, third);
    std::uint64_t known_hot = 0;
    for (std::uint64_t slot = 0; slot < hot.size(); ++slot) {
        known_hot += chosen_from.counts()[static_cast<std::size_t>(hot.row_of(slot))];
    }
    const double rest = finite ? seen - first : unlimited;
    if (rest == 0) {
        const double share = chosen_from.accesses() == 0 ? 0
                                                         : static_cast<double>(known_hot) /
                                                               static_cast<double>(chosen_from.accesses());
        said.lookups = {share, share, share};
    } else if (tried.inputs == 0 || tried.lookups == 0) {
        said.lookups = {0.5, 0, 1};
    } else {
        said.lookups =
            detail::coverage_interval(tried, static_cast<double>(known_hot),
                                      static_cast<double>(chosen_from.accesses()), rest, third / 2);
    }
    said.inputs = binomial_interval(static_cast<double>(tried.hot_inputs), static_cast<double>(tried.inputs),
                                    1 - third);
    if (finite && seen != 0) {
        // Without a look at them the first sample's inputs may all be hot or all be cold.
        const double known = first / seen;
        const auto known_inputs = chosen_sums == nullptr ? 0.0 : static_cast<double>(chosen_sums->hot_inputs);
        said.inputs.estimate = chosen_sums == nullptr
                                   ? said.inputs.estimate
                                   : known_inputs / seen + said.inputs.estimate * (1 - known);
        said.inputs.lower = known_inputs / seen + said.inputs.lower * (1 - known);
        said.inputs.upper = (chosen_sums == nullptr ? known : known_inputs / seen) +
                            (rest == 0 ? 0.0 : said.inputs.upper * (1 - known));
    }
    said.best = std::max(said.best, said.lookups.lower);
    return said;
}

/// The mean over inputs of the sum of squared shares of their rows is at most this: where bags have one size
/// and features of a table share it evenly. 1 holds for any inputs.
[[nodiscard]] inline double row_concentration(const RowSpace& space) {
    std::vector<double> features(space.table_count(), 0);
    for (const std::uint32_t table : space.feature_table()) features[table] += 1;
    double sum = 0;
    for (const double f : features) sum += f * f;
    const auto all = static_cast<double>(space.features());
    return sum / (all * all);
}

/// Inputs to draw so that the set of `rows` rows that serves most of them is, with probability at least 1 -
/// delta, within epsilon of the best set: (3) of the derivation above. Needs no look at the data, so the data
/// that it must hold for are the worst; a statement made afterwards is usually closer. At most `of`.
/// @param concentration  row_concentration of the row space, or 1
/// @throws ContractError unless 0 < epsilon <= 1, 0 < delta < 1 and 0 < concentration <= 1
/// @source McDiarmid, On the method of bounded differences, 1989; El-Yaniv, Pechyony, JAIR 35, 2009, lemma 2
///         (without replacement)
[[nodiscard]] inline double inputs_for_epsilon(double epsilon, double delta, std::uint64_t rows,
                                               double concentration, double of = unlimited) {
    require(epsilon > 0 && epsilon <= 1 && delta > 0 && delta < 1 && concentration > 0 && concentration <= 1,
            [&] {
                return concat("epsilon ", epsilon, ", delta ", delta, " and concentration ", concentration,
                              ", expected between 0 and 1");
            });
    const double root =
        std::sqrt(static_cast<double>(rows) * concentration) + std::sqrt(2 * std::log(2 / delta));
    return std::min(of, std::ceil(std::max(2.0, root / epsilon * (root / epsilon))));
}

/// Inputs to try a hot set on so that the interval of the look-ups that it serves reaches at most
/// `half_width` to either side, at a confidence of 1 - delta: where all inputs have as many look-ups. At most
/// `of`.
/// @throws ContractError unless 0 < half_width <= 1 and 0 < delta < 1
/// @source Serfling, Annals of Statistics 2(1), 1974
[[nodiscard]] inline double inputs_for_interval(double half_width, double delta, double of = unlimited) {
    require(half_width > 0 && half_width <= 1 && delta > 0 && delta < 1, [&] {
        return concat("half_width ", half_width, " and delta ", delta, ", expected between 0 and 1");
    });
    double low = 1;
    double high = std::min(of, std::ceil(std::log(4 / delta) / (2 * half_width * half_width)));
    while (high - low > 0.5) {
        const double middle = std::floor(low + (high - low) / 2);
        if (middle <= low && hoeffding_serfling(low, of, delta / 4) > half_width) break;
        (hoeffding_serfling(middle, of, delta / 4) <= half_width ? high : low) = middle;
        if (low >= high) break;
    }
    return high;
}

}  // namespace fae::inline FAE_ABI
