// SPDX-License-Identifier: Apache-2.0
//
// BatchScheduler: the order of training. It emits each input exactly once per epoch, in pure cold and pure
// hot mini-batches (order fae) or in the plain shuffled order, and says when to synchronise and when to
// evaluate.
//
//   BatchScheduler scheduler({.hot_inputs = 620, .cold_inputs = 380, .batch_size = 64}, LossReactiveRate{});
//   for (BatchRef batch; scheduler.next(batch);) {
//       if (batch.begins_segment) table.synchronise(exec, batch.heat);
//       train(batch);
//       if (batch.ends_round) scheduler.report(validation_loss());
//   }
//
// Each epoch permutes the inputs of a class by (seed, epoch, class). A scheduler is a value: a copy replays
// from there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/schedule/policy.hpp"

namespace fae::inline FAE_ABI {

/// The order of mini-batches.
enum class Order : std::uint8_t {
    fae,       ///< segments of cold, then of hot mini-batches, as long as the rate says
    shuffled,  ///< all inputs permuted; mini-batches mix hot and cold
};

/// What a schedule is made of.
struct ScheduleOptions {
    std::uint64_t hot_inputs = 0;
    std::uint64_t cold_inputs = 0;
    std::uint64_t batch_size = 1024;
    std::uint64_t epochs = 1;
    std::uint64_t seed = 1;
    Order order = Order::fae;
};

/// A stream of mini-batches over some epochs. Models BatchSource.
/// Where all inputs are of one class, the shuffled order is a stream of hot, or of cold, batches: the numbers
/// of the inputs are then the same.
/// @cost memory: one batch of input numbers
template <RatePolicy Policy>
class BatchScheduler {
  public:
    /// @throws ContractError if batch_size is 0
    BatchScheduler(const ScheduleOptions& options, Policy policy)
        : options_(options), policy_(std::move(policy)) {
        require(options.batch_size >= 1,
                [&] { return concat("batch_size is ", options.batch_size, ", expected at least 1"); });
        begin_epoch(0);
    }

    /// Fills in the next batch, of at most batch_size inputs, never empty.
    /// @return false after the last batch of the last epoch
    bool next(BatchRef& batch) {
        if (epoch_ >= options_.epochs || inputs() == 0) return false;
        const bool begins = segment_left_ == 0;
        if (begins) begin_segment();
        Class& current = classes_[segment_];
        const std::uint64_t count = std::min(options_.batch_size, current.inputs - current.done);
        chosen_.resize(static_cast<std::size_t>(count));
        current.order.fill(current.done, chosen_);
        current.done += count;
        --segment_left_;
        batch.step = step_++;
        batch.epoch = epoch_;
        batch.heat = current.heat;
        batch.begins_segment = begins;
        batch.inputs = chosen_;
        batch.ends_epoch = classes_[0].left() == 0 && classes_[1].left() == 0;
        batch.ends_round =
            batch.ends_epoch || (segment_left_ == 0 && (segment_ == 1 || classes_[1].left() == 0));
        if (batch.ends_epoch) begin_epoch(epoch_ + 1);
        return true;
    }

    /// Tells the policy the validation loss after a round.
    void report(double validation_loss) { policy_.report(validation_loss); }

    [[nodiscard]] unsigned rate() const { return policy_.rate(); }
    [[nodiscard]] std::uint64_t inputs() const { return options_.hot_inputs + options_.cold_inputs; }
    [[nodiscard]] std::uint64_t batches_per_epoch() const {
        if (options_.order == Order::shuffled) return ceil_div(inputs(), options_.batch_size);
        return ceil_div(options_.hot_inputs, options_.batch_size) +
               ceil_div(options_.cold_inputs, options_.batch_size);
    }

  private:
    // The inputs of one class in this epoch: class 0 runs first in a round.
    struct Class {
        Heat heat = Heat::mixed;
        std::uint64_t inputs = 0;
        std::uint64_t done = 0;
        Permutation order;
        [[nodiscard]] std::uint64_t left() const { return inputs - done; }
    };

    // What the look-ups of a batch are, where batches are drawn from all inputs.
    [[nodiscard]] Heat heat_of_all() const {
        if (options_.cold_inputs == 0) return Heat::hot;
        return options_.hot_inputs == 0 ? Heat::cold : Heat::mixed;
    }

    void begin_epoch(std::uint64_t epoch) {
        epoch_ = epoch;
        segment_ = 1;
        segment_left_ = 0;
        if (options_.order == Order::shuffled) {
            classes_[0] = {heat_of_all(), inputs(), 0, Permutation(inputs(), options_.seed, 3 * epoch)};
            classes_[1] = {};
        } else {
            classes_[0] = {Heat::cold, options_.cold_inputs, 0,
                           Permutation(options_.cold_inputs, options_.seed, 3 * epoch + 1)};
            classes_[1] = {Heat::hot, options_.hot_inputs, 0,
                           Permutation(options_.hot_inputs, options_.seed, 3 * epoch + 2)};
        }
    }

    // The other class follows; where it is used up, the same one goes on. A round asks for the rate as it
    // begins.
    void begin_segment() {
        segment_ = 1 - segment_;
        if (classes_[segment_].left() == 0) segment_ = 1 - segment_;
        if (segment_ == 0 || classes_[0].left() == 0) round_rate_ = policy_.rate();
        const Class& current = classes_[segment_];
        const std::uint64_t batches = ceil_div(current.inputs, options_.batch_size);
        const std::uint64_t left = ceil_div(current.left(), options_.batch_size);
        const bool whole = options_.order == Order::shuffled;
        segment_left_ = whole ? left : std::min(left, ceil_div(batches * round_rate_, std::uint64_t{100}));
    }

    ScheduleOptions options_;
    Policy policy_;
    std::uint64_t epoch_ = 0;
    std::uint64_t step_ = 0;
    unsigned round_rate_ = 0;
    std::size_t segment_ = 1;         // index of the running segment's class
    std::uint64_t segment_left_ = 0;  // batches left in it
    Class classes_[2];
    std::vector<std::uint64_t> chosen_;
};

}  // namespace fae::inline FAE_ABI
