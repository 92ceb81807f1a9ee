// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "device_session.cuh"
#include "device_training.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/space.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"

namespace train_dlrm {

namespace {

// Steps are queued well ahead of the device; a picture of the loss needs no more points than this.
constexpr std::uint64_t steps_between_losses = 512;

}  // namespace

void require_device() { static_cast<void>(fae::cuda::current_device()); }

TrainingResult train_on_device(const Executor& exec, const Options& options, const Prepared& prepared,
                               fae::Metrics& metrics, fae::Trace* trace) {
    using fae::cuda::DeviceSpace;
    using fae::cuda::PinnedSpace;
    const auto run = [&](auto placement) {
        DeviceSession session(exec, options, prepared.shape, prepared.data, std::move(placement), trace);
        return with_policy(options, [&](auto policy) {
            return train(session, options, prepared.data, std::move(policy), metrics, steps_between_losses);
        });
    };
    switch (options.placement) {
        case Placement::all_home:
            return run(fae::AllHome<PinnedSpace>());
        case Placement::all_slots:
            return run(fae::AllSlots<DeviceSpace>());
        case Placement::static_hot:
            return run(fae::StaticPlacement<DeviceSpace, PinnedSpace>(prepared.data.hot_set()));
        case Placement::lookahead:
            break;
    }
    const fae::LookaheadFit fit = fit_of(exec, options, prepared.data);
    const fae::RowSpace space = prepared.data.row_space();
    return run(
        fae::LookaheadPlacement<DeviceSpace, PinnedSpace>(fit.resident(prepared.data), fit.options, &space));
}

}  // namespace train_dlrm
