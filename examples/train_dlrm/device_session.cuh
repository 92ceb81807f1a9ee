// SPDX-License-Identifier: Apache-2.0
//
// A session on the GPU: the fast tier and the dense model in device memory, the homes in pinned host memory.
//
//   DeviceSession session(exec, options, shape, data, placement);
//   TrainingResult result = train(session, options, data, policy, metrics, 64);
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/lookahead_trainer.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/table/lookahead_planner.hpp"
#include "fae/trace/trace.hpp"
#include "options.hpp"
#include "training.hpp"

namespace train_dlrm {

/// Table, model and trainer on the device. Steps are queued; losses() waits for them.
template <fae::Placement P>
class DeviceSession {
  public:
    /// Starts from --init's folder or from the seed.
    /// @throws CudaError, IoError
    DeviceSession(const Executor& exec, const Options& options, const fae::DlrmShape& shape,
                  const fae::PackedDataset& data, P placement, fae::Trace* trace)
        : exec_(fae::cuda::on(stream_, exec)),
          table_(fae::cuda::make_table<float>(fae::cuda::on(stream_), data.row_space(), options.optimizer,
                                              std::move(placement))),
          model_(fae::cuda::on(stream_), shape, largest_batch(options, data), data.provenance().seed,
                 options.optimizer, options.tf32 ? fae::cuda::Precision::tf32 : fae::cuda::Precision::fp32),
          trainer_(make_trainer(data, trace)) {
        if (options.init.empty()) {
            table_.initialise(exec_, data.provenance().seed);
        } else {
            fae::DenseParameters parameters(shape, options.optimizer);
            fae::load_checkpoint(exec_, options.init, table_, parameters);
            model_.write_parameters(fae::cuda::on(stream_), parameters);
        }
    }
    DeviceSession(const DeviceSession&) = delete;
    DeviceSession& operator=(const DeviceSession&) = delete;

    fae::SyncReport synchronise(fae::Heat heat) {
        trainer_.finish(exec_);
        return table_.synchronise(exec_, heat);
    }
    void step(const fae::BatchRef& batch, float lr) { trainer_.step(exec_, batch, lr); }
    StepLosses losses() {
        const fae::cuda::TrainingStatus status = trainer_.finish(exec_);
        const std::uint64_t inputs = status.inputs - before_.inputs;
        const double sum = status.loss_sum - before_.loss_sum;
        before_ = status;
        return {inputs == 0 ? 0.0 : sum / static_cast<double>(inputs), inputs};
    }
    fae::Evaluation evaluate(const fae::InputColumns& columns) { return trainer_.evaluate(exec_, columns); }
    fae::SyncReport write_back() {
        trainer_.finish(exec_);
        return table_.write_back(exec_);
    }
    std::string digest() {
        return fae::weights_digest(exec_, table_, model_.read_parameters(fae::cuda::on(stream_)));
    }
    void save(const std::string& folder) {
        fae::save_checkpoint(exec_, folder, table_, model_.read_parameters(fae::cuda::on(stream_)));
    }

    WindowFigures window() const requires fae::cuda::PlansAhead<P> {
        const fae::LookaheadPlanner& planner = table_.placement().planner();
        const fae::cuda::LookaheadStalls& stalls = trainer_.stalls();
        return {.bytes = planner.options().window * table_.layout().bytes(),
                .resident_rows = planner.resident().size(),
                .lookahead = planner.options().lookahead,
                .counts = planner.counts(),
                .record_bytes = table_.record_bytes(),
                .zero_copy_rows = trainer_.zero_copy().rows_in + trainer_.zero_copy().rows_out,
                .pinned_bytes = trainer_.pinned_bytes(),
                .device_bytes = trainer_.device_bytes(),
                .planner_seconds = planner.seconds(),
                .stalls = {{"steps", stalls.steps},
                           {"homes", stalls.homes},
                           {"room", stalls.room},
                           {"rows", stalls.rows}}};
    }

  private:
    fae::cuda::PlacedTrainer<P> make_trainer(const fae::PackedDataset& data, fae::Trace* trace) {
        if constexpr (fae::cuda::PlansAhead<P>) {
            return {fae::cuda::on(stream_), table_, model_, data, fae::cuda::LookaheadThreads{}, trace};
        } else {
            return {fae::cuda::on(stream_), table_, model_, data};
        }
    }

    fae::cuda::Stream stream_;
    fae::cuda::OnWith<Executor> exec_;
    fae::HotColdTable<float, P> table_;
    fae::cuda::Dlrm model_;
    fae::cuda::PlacedTrainer<P> trainer_;
    fae::cuda::TrainingStatus before_;
};

}  // namespace train_dlrm
