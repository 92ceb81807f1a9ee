// SPDX-License-Identifier: Apache-2.0
//
// A session on the CPU: both tiers in host memory, the dense model on Eigen.
//
//   HostSession session(exec, options, shape, data, fae::static_placement(data.hot_set()));
//   TrainingResult result = train(session, options, data, policy, metrics, 1);
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "fae/io/packed.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/models/dlrm_trainer.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "options.hpp"
#include "training.hpp"

namespace train_dlrm {

/// Table, model and trainer on the CPU. A step is done when step() returns.
template <fae::Placement P>
class HostSession {
  public:
    /// Starts from --init's folder or from the seed.
    /// @throws IoError
    HostSession(const Executor& exec, const Options& options, const fae::DlrmShape& shape,
                const fae::PackedDataset& data, P placement)
        : exec_(exec),
          table_(data.row_space(), options.optimizer, std::move(placement)),
          model_(shape, options.batch, data.provenance().seed, options.optimizer),
          trainer_(table_, model_),
          loader_(data) {
        if (options.init.empty()) {
            table_.initialise(exec_, data.provenance().seed);
        } else {
            fae::load_checkpoint(exec_, options.init, table_, model_);
        }
    }
    HostSession(const HostSession&) = delete;
    HostSession& operator=(const HostSession&) = delete;

    fae::SyncReport synchronise(fae::Heat heat) { return table_.synchronise(exec_, heat); }
    void step(const fae::BatchRef& batch, float lr) {
        const fae::LoadedBatch loaded = loader_.load(exec_, batch);
        losses_.add(trainer_.step(exec_, batch.step, loaded, lr), loaded.size());
    }
    StepLosses losses() {
        const fae::RunningMean losses = std::exchange(losses_, {});
        return {losses.mean(), losses.count()};
    }
    fae::Evaluation evaluate(const fae::InputColumns& columns) {
        return trainer_.evaluate(exec_, loader_, columns);
    }
    fae::SyncReport write_back() { return table_.write_back(exec_); }
    std::string digest() { return fae::weights_digest(exec_, table_, model_); }
    void save(const std::string& folder) { fae::save_checkpoint(exec_, folder, table_, model_); }

  private:
    Executor exec_;
    fae::HotColdTable<float, P> table_;
    fae::Dlrm<float> model_;
    fae::DlrmTrainer<P> trainer_;
    fae::BatchLoader loader_;
    fae::RunningMean losses_;
};

}  // namespace train_dlrm
