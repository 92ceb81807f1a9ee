// SPDX-License-Identifier: Apache-2.0
//
// A session on the CPU: both tiers in host memory, the dense model on Eigen.
//
//   HostSession session(exec, options, shape, data, fae::static_placement(data.hot_set()), nullptr);
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
#include "fae/table/lookahead_planner.hpp"
#include "fae/trace/trace.hpp"
#include "options.hpp"
#include "training.hpp"

namespace train_dlrm {

/// Table, model and trainer on the CPU. A step is done when step() returns.
template <fae::Placement P>
class HostSession {
  public:
    /// Starts from --init's folder or from the seed.
    /// @throws IoError
    /// @param trace  null: nothing is traced
    HostSession(const Executor& exec, const Options& options, const fae::DlrmShape& shape,
                const fae::PackedDataset& data, P placement, fae::Trace* trace)
        : exec_(exec),
          table_(data.row_space(), options.optimizer, std::move(placement)),
          model_(shape, largest_batch(options, data), data.provenance().seed, options.optimizer),
          trainer_(table_, model_),
          loader_(data),
          trace_(trace) {
        if (trace != nullptr) {
            load_lane_ = trace->lane("load");
            table_.set_trace(trace);
            step_lane_ = trace->lane("step");
        }
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
        const fae::LoadedBatch loaded = [&] {
            const fae::TraceScope scope(trace_, load_lane_, "load", batch.step);
            return loader_.load(exec_, batch);
        }();
        const fae::TraceScope scope(trace_, step_lane_, "step", batch.step);
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
    WindowFigures window() const requires requires(const P& placement) { placement.planner(); }
    {
        const fae::LookaheadPlanner& planner = table_.placement().planner();
        const auto& moves = table_.move_seconds();
        return {
            .bytes = planner.options().window * table_.layout().bytes(),
            .resident_rows = planner.resident().size(),
            .lookahead = planner.options().lookahead,
            .counts = planner.counts(),
            .record_bytes = table_.record_bytes(),
            .planner_seconds = planner.seconds(),
            .stalls = {{"planner", planner.seconds()}, {"gather", moves.bring}, {"write_back", moves.leave}}};
    }

  private:
    Executor exec_;
    fae::HotColdTable<float, P> table_;
    fae::Dlrm<float> model_;
    fae::DlrmTrainer<P> trainer_;
    fae::BatchLoader loader_;
    fae::RunningMean losses_;
    fae::Trace* trace_;
    std::uint32_t load_lane_ = 0;
    std::uint32_t step_lane_ = 0;
};

}  // namespace train_dlrm
