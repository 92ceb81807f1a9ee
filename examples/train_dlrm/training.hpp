// SPDX-License-Identifier: Apache-2.0
//
// The main job, as an algorithm: train a DLRM over a packed data set under one placement, in the order that
// the schedule gives, and say what came of it. Everything above it chooses values; a session below it
// (host_session.hpp, device_session.cuh) holds table and model and does the steps with the library.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "console.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/learning_rate.hpp"
#include "fae/models/metrics.hpp"
#include "fae/report/training_sections.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/schedule/lookahead_fit.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/trace/metrics.hpp"
#include "options.hpp"

namespace train_dlrm {

/// What a look-ahead window did.
struct WindowFigures {
    std::uint64_t bytes = 0;          ///< of its slots
    std::uint64_t resident_rows = 0;  ///< hot rows beside it
    std::uint64_t lookahead = 0;
    fae::LookaheadCounts counts;
    std::uint64_t record_bytes = 0;    ///< of a row that moves
    std::uint64_t zero_copy_rows = 0;  ///< of those that moved, without the host's help
    std::uint64_t pinned_bytes = 0;    ///< of the host, beside the homes: batches and rows on their way
    std::uint64_t device_bytes = 0;    ///< beside the fast tier and the dense model
    double planner_seconds = 0;
    /// Seconds that training waited, by what it waited for.
    std::vector<std::pair<std::string, double>> stalls;
};

/// What a training run ends with.
struct TrainingResult {
    double train_loss = 0;  ///< mean over the inputs of the last epoch, each before its own update
    fae::Evaluation validation;
    fae::Evaluation test;
    std::string weights_digest;
    std::optional<WindowFigures> window;
    std::uint64_t steps = 0;
    std::uint64_t trained_inputs = 0;
    fae::report::LossCurve losses;
};

using Executor = fae::Par<fae::Threads>;

/// The mean loss of some steps.
struct StepLosses {
    double mean = 0;
    std::uint64_t inputs = 0;
};

/// A table and a model in training.
///   synchronise(heat)   makes ready for batches of this kind
///   step(batch, lr)     trains on a batch, or queues it
///   losses()            waits for the steps so far; the mean loss of those since the last call
///   evaluate(columns)   predicts held-out inputs
///   write_back()        makes the homes current
///   digest(), save(folder)   what has been learnt
///   window()            optional: what its look-ahead window did
template <class S>
concept Session = requires(S& session, fae::Heat heat, const fae::BatchRef& batch, float lr,
                           const fae::InputColumns& columns, const std::string& folder) {
    { session.synchronise(heat) } -> std::same_as<fae::SyncReport>;
    session.step(batch, lr);
    { session.losses() } -> std::same_as<StepLosses>;
    { session.evaluate(columns) } -> std::same_as<fae::Evaluation>;
    { session.write_back() } -> std::same_as<fae::SyncReport>;
    { session.digest() } -> std::same_as<std::string>;
    session.save(folder);
};

/// The most inputs that a batch of this run can have: what memory is taken for.
[[nodiscard]] inline std::uint64_t largest_batch(const Options& options, const fae::PackedDataset& data) {
    const std::uint64_t most = std::max<std::uint64_t>(
        {data.inputs(), data.validation().inputs(), data.test().inputs(), std::uint64_t{1}});
    return std::min<std::uint64_t>(options.batch, most);
}

/// Trains from first step to last.
/// @param steps_between_losses  a session that queues its steps is waited for only so often
/// @throws NonFiniteError, Interrupted, IoError (--save)
template <Session S, fae::RatePolicy Policy>
TrainingResult train(S& session, const Options& options, const fae::PackedDataset& data, Policy policy,
                     fae::Metrics& metrics, std::uint64_t steps_between_losses) {
    fae::BatchScheduler<Policy> scheduler({.hot_inputs = data.hot().inputs(),
                                           .cold_inputs = data.cold().inputs(),
                                           .batch_size = options.batch,
                                           .epochs = options.epochs,
                                           .seed = data.provenance().seed,
                                           .order = options.order},
                                          std::move(policy));
    const fae::LearningRate rate{.base = options.lr,
                                 .warmup_steps = options.warmup,
                                 .decay_start = options.decay_start,
                                 .decay_steps = options.decay_steps};
    TrainingResult result;
    fae::RunningMean epoch_loss;
    std::uint64_t without_losses = 0;
    const auto take_losses = [&] {
        if (std::exchange(without_losses, 0) == 0) return;
        const StepLosses losses = session.losses();
        epoch_loss.add(losses.mean, losses.inputs);
        result.losses.training.push_back({result.steps - 1, losses.mean});
    };
    auto bar = progress("train", data.inputs() * options.epochs, "inputs");

    for (fae::BatchRef batch; scheduler.next(batch);) {
        stop_if_interrupted();
        if (batch.begins_segment) {
            {
                const fae::ScopedSeconds timer(metrics, fae::Phase::train);
                take_losses();
            }
            const fae::ScopedSeconds timer(metrics, fae::Phase::sync);
            const fae::SyncReport moved = session.synchronise(batch.heat);
            metrics.add_moved(moved.into, moved.rows, moved.bytes);
            if (batch.heat != fae::Heat::mixed) {
                result.losses.segments.push_back({batch.step, 0, batch.heat == fae::Heat::hot});
            }
        }
        {
            const fae::ScopedSeconds timer(metrics, fae::Phase::train);
            session.step(batch, rate.at(batch.step));
            if (!result.losses.segments.empty()) ++result.losses.segments.back().steps;
            result.steps = batch.step + 1;
            result.trained_inputs += batch.inputs.size();
            if (++without_losses >= steps_between_losses || batch.ends_round || batch.ends_epoch) {
                take_losses();
            }
            bar->add(batch.inputs.size());
        }
        if (batch.ends_round && data.validation().inputs() != 0) {
            const fae::ScopedSeconds timer(metrics, fae::Phase::validation);
            result.validation = session.evaluate(data.validation());
            fae::require_finite(batch.step, result.validation.loss);
            scheduler.report(result.validation.loss);
            result.losses.validation.push_back({batch.step, result.validation.loss});
        }
        if (batch.ends_epoch) {
            result.train_loss = epoch_loss.mean();
            epoch_loss = {};
        }
    }
    bar->finish();
    {
        const fae::ScopedSeconds timer(metrics, fae::Phase::sync);
        const fae::SyncReport moved = session.write_back();
        metrics.add_moved(fae::Tier::home, moved.rows, moved.bytes);
    }
    if (result.losses.validation.empty()) result.validation = session.evaluate(data.validation());
    result.test = session.evaluate(data.test());
    fae::require_finite(result.steps, result.test.loss);
    result.weights_digest = session.digest();
    if (!options.save.empty()) session.save(options.save);
    if constexpr (requires { session.window(); }) result.window = session.window();
    if (result.window) {
        const fae::LookaheadCounts& counts = result.window->counts;
        metrics.add_moved(fae::Tier::fast, counts.rows_in, counts.rows_in * result.window->record_bytes);
        metrics.add_moved(fae::Tier::home, counts.rows_out, counts.rows_out * result.window->record_bytes);
    }
    return result;
}

/// The hot set and the window of --placement lookahead.
template <fae::Executor E>
fae::LookaheadFit fit_of(const E& exec, const Options& options, const fae::PackedDataset& data) {
    fae::LookaheadFitOptions asked;
    asked.batch = largest_batch(options, data);
    asked.order = options.order;
    if (options.window) asked.window_bytes = options.window->of(data.provenance().budget_bytes);
    asked.lookahead = options.lookahead;
    return fae::fit_lookahead(exec, data, asked);
}

/// Calls run(policy) with the rate policy that the options ask for.
template <class F>
auto with_policy(const Options& options, F&& run) {
    if (options.fixed_rate) return run(fae::FixedRate(*options.fixed_rate));
    return run(fae::LossReactiveRate());
}

}  // namespace train_dlrm
