// SPDX-License-Identifier: Apache-2.0
//
// The main job, as an algorithm: train a DLRM over a packed data set under one placement, in the order that
// the schedule gives, and say what came of it. Everything above it chooses values; everything below it is the
// library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "console.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/models/dlrm_trainer.hpp"
#include "fae/models/learning_rate.hpp"
#include "fae/models/metrics.hpp"
#include "fae/report/training_sections.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/trace/metrics.hpp"
#include "options.hpp"

namespace train_dlrm {

/// What a training run ends with.
struct TrainingResult {
    double train_loss = 0;  ///< mean over the inputs of the last epoch, each before its own update
    fae::Evaluation validation;
    fae::Evaluation test;
    std::string weights_digest;
    std::uint64_t steps = 0;
    std::uint64_t trained_inputs = 0;
    fae::report::LossCurve losses;
};

using Executor = fae::Par<fae::Threads>;

/// Trains from first step to last.
/// @throws NonFiniteError, Interrupted, IoError (--init, --save)
template <fae::Placement P, fae::RatePolicy Policy>
TrainingResult train(const Executor& exec, const Options& options, const fae::DlrmShape& shape,
                     const fae::PackedDataset& data, P placement, Policy policy, fae::Metrics& metrics) {
    const std::uint64_t seed = data.provenance().seed;
    fae::HotColdTable<float, P> table(data.row_space(), options.optimizer, std::move(placement));
    fae::Dlrm<float> model(shape, options.batch, seed, options.optimizer);
    if (options.init.empty()) {
        table.initialise(exec, seed);
    } else {
        fae::load_checkpoint(exec, options.init, table, model);
    }
    fae::DlrmTrainer<P> trainer(table, model);
    fae::BatchLoader loader(data);
    fae::BatchScheduler<Policy> scheduler({.hot_inputs = data.hot().inputs(),
                                           .cold_inputs = data.cold().inputs(),
                                           .batch_size = options.batch,
                                           .epochs = options.epochs,
                                           .seed = seed,
                                           .order = options.order},
                                          std::move(policy));
    const fae::LearningRate rate{.base = options.lr,
                                 .warmup_steps = options.warmup,
                                 .decay_start = options.decay_start,
                                 .decay_steps = options.decay_steps};
    TrainingResult result;
    fae::RunningMean epoch_loss;
    auto bar = progress("train", data.inputs() * options.epochs, "inputs");

    for (fae::BatchRef batch; scheduler.next(batch);) {
        stop_if_interrupted();
        if (batch.begins_segment) {
            const fae::ScopedSeconds timer(metrics, fae::Phase::sync);
            const fae::SyncReport moved = table.synchronise(exec, batch.heat);
            metrics.add_moved(batch.heat == fae::Heat::hot ? fae::Tier::fast : fae::Tier::home, moved.rows,
                              moved.bytes);
            if (batch.heat != fae::Heat::mixed) {
                result.losses.segments.push_back({batch.step, 0, batch.heat == fae::Heat::hot});
            }
        }
        {
            const fae::ScopedSeconds timer(metrics, fae::Phase::train);
            const fae::LoadedBatch loaded = loader.load(exec, batch);
            const double loss = trainer.step(exec, batch.step, loaded, rate.at(batch.step));
            epoch_loss.add(loss, loaded.size());
            result.losses.training.push_back({batch.step, loss});
            if (!result.losses.segments.empty()) ++result.losses.segments.back().steps;
            result.steps = batch.step + 1;
            result.trained_inputs += loaded.size();
            bar->add(loaded.size());
        }
        if (batch.ends_round && data.validation().inputs() != 0) {
            const fae::ScopedSeconds timer(metrics, fae::Phase::validation);
            result.validation = trainer.evaluate(exec, loader, data.validation());
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
        const fae::SyncReport moved = table.write_back(exec);
        metrics.add_moved(fae::Tier::home, moved.rows, moved.bytes);
    }
    if (result.losses.validation.empty()) {
        result.validation = trainer.evaluate(exec, loader, data.validation());
    }
    result.test = trainer.evaluate(exec, loader, data.test());
    fae::require_finite(result.steps, result.test.loss);
    result.weights_digest = fae::weights_digest(exec, table, model);
    if (!options.save.empty()) fae::save_checkpoint(exec, options.save, table, model);
    return result;
}

}  // namespace train_dlrm
