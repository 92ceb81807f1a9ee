// SPDX-License-Identifier: Apache-2.0
//
// Rate policies: R(r), how finely cold and hot mini-batches are mixed. At rate r a segment runs r percent of
// the epoch's cold mini-batches, the next one r percent of the hot ones, and so on until both are used up.
//
//   FixedRate{25}                 R(25) from start to end
//   LossReactiveRate policy;      starts at R(50) and follows the validation loss
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// A rule for the rate: rate() is asked when a cold segment begins, report(loss) told after each round.
template <class P>
concept RatePolicy = std::copyable<P> && requires(P& policy, const P& fixed, double loss) {
    { fixed.rate() } -> std::same_as<unsigned>;
    policy.report(loss);
};

/// The same rate throughout.
class FixedRate {
  public:
    /// @param percent  1 (finest mixing) to 100 (all cold, then all hot)
    /// @throws ContractError outside 1 to 100
    explicit FixedRate(unsigned percent) : percent_(percent) {
        require(percent >= 1 && percent <= 100,
                [&] { return concat("rate is ", percent, " percent, expected 1 to 100"); });
    }
    [[nodiscard]] unsigned rate() const { return percent_; }
    void report(double) {}

  private:
    unsigned percent_;
};
static_assert(RatePolicy<FixedRate>);

/// FAE's rate: halved when the validation loss rises (mix more finely), doubled when it has fallen several
/// times in a row (swap less often). A change of at most `tolerance`, relative, is neither and ends a run of
/// falls.
/// @source Adnan et al., PVLDB 15(1), 2021: the shuffle scheduler. Its cap on the rate is not published; 100
///         here
class LossReactiveRate {
  public:
    struct Options {
        unsigned start = 50;
        unsigned floor = 1;
        unsigned cap = 100;
        unsigned falls_to_double = 4;
        double tolerance = 1e-6;
    };

    LossReactiveRate() : LossReactiveRate(Options{}) {}
    /// @throws ContractError unless 1 <= floor <= start <= cap <= 100, falls_to_double is at least 1 and
    ///         tolerance a number of at least 0
    explicit LossReactiveRate(const Options& options) : options_(options), percent_(options.start) {
        require(options.floor >= 1 && options.floor <= options.start && options.start <= options.cap &&
                    options.cap <= 100,
                [&] {
                    return concat("rates are floor ", options.floor, ", start ", options.start, ", cap ",
                                  options.cap, ", expected 1 <= floor <= start <= cap <= 100");
                });
        require(options.falls_to_double >= 1 && options.tolerance >= 0, [&] {
            return concat("falls_to_double is ", options.falls_to_double, " and tolerance ",
                          options.tolerance, ", expected at least 1 and at least 0");
        });
    }

    [[nodiscard]] unsigned rate() const { return percent_; }

    /// Takes the validation loss after a round. Never the test loss: what steers training is no test.
    void report(double loss) {
        if (last_) {
            const double margin = options_.tolerance * *last_;
            if (loss > *last_ + margin) {
                falls_ = 0;
                percent_ = std::max(options_.floor, percent_ / 2);
            } else if (loss < *last_ - margin) {
                if (++falls_ == options_.falls_to_double) {
                    falls_ = 0;
                    percent_ = std::min(options_.cap, percent_ * 2);
                }
            } else {
                falls_ = 0;
            }
        }
        last_ = loss;
    }

  private:
    Options options_;
    unsigned percent_;
    unsigned falls_ = 0;
    std::optional<double> last_;
};
static_assert(RatePolicy<LossReactiveRate>);

}  // namespace fae::inline FAE_ABI
