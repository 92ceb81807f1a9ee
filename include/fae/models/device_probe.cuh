// SPDX-License-Identifier: Apache-2.0
//
// A probe of a device: in a few seconds, what a training step takes on it where all rows are there, where
// they come from home, and where they come into a window, by the very trainers that training uses.
//
//   MachineRates rates = probe_host(par(threads), ...);
//   rates.device = cuda::probe_device(par(threads), {.model = DlrmShape::rmc2(13, 26), .batch = 4096});
//
// The inputs are those of advise/probe_inputs.hpp, over more memory than caches hold.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "fae/advise/probe_inputs.hpp"
#include "fae/advise/rates.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/random.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/table_spec.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/graph.hpp"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/io/packed.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/dlrm_shape.hpp"
#include "fae/models/lookahead_trainer.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/ops/optimizer.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/static_placement.hpp"
#include "fae/table/table_tiers.hpp"

namespace fae::inline FAE_ABI::cuda {

/// What is probed.
struct DeviceProbe {
    DlrmShape model = DlrmShape::rmc2(13, 26);
    OptimizerKind optimizer = OptimizerKind::sgd;
    Precision precision = Precision::tf32;
    std::size_t batch = 1024;
    std::uint64_t home_bytes = std::uint64_t{512} << 20;  ///< of rows and their state, in host memory
    /// Shares of the look-ups that go to rows without a slot, one measurement each; beyond a half of them no
    /// window is tried. The first one decides what is measured of rows in slots.
    std::vector<double> cold_shares{0.02, 0.08, 0.2, 1.0};
    double seconds = 0.05;        ///< of steps in a row, the least
    std::size_t repetitions = 7;  ///< of each measurement, whose median counts
};

namespace detail {

/// Rows read at random, each by lanes side by side, and added up.
/// @par Launch any grid of blocks of 256 threads
__global__ inline void gather_rows(const float4* rows, std::uint64_t row_count, unsigned row_vectors,
                                   float4* sums) {
    const std::uint64_t warps = gridDim.x * std::uint64_t{blockDim.x} / 32;
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    // Narrow rows: several at once in a warp.
    const unsigned lanes = row_vectors < 32 ? row_vectors : 32;
    const unsigned at_once = 32 / lanes;
    const unsigned lane = threadIdx.x % 32 % lanes;
    const unsigned which = threadIdx.x % 32 / lanes;
    float4 sum{};
    if (which < at_once) {
        for (std::uint64_t i = warp * at_once + which; i < row_count; i += warps * at_once) {
            // An odd factor modulo a power of two leaves no row out.
            std::uint64_t row = i * 0x9E3779B97F4A7C15u & (row_count - 1);
            row = (row ^ row >> 9) * 0xBF58476D1CE4E5B9u & (row_count - 1);
            for (unsigned v = lane; v < row_vectors; v += lanes) {
                const float4 x = rows[row * row_vectors + v];
                sum.x += x.x;
                sum.y += x.y;
                sum.z += x.z;
                sum.w += x.w;
            }
        }
    }
    sums[blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x] = sum;
}

/// The measurements of one probe.
template <Executor E>
class ProbedDevice {
  public:
    ProbedDevice(const E& exec, const DeviceProbe& probe)
        : exec_(exec),
          probe_(probe),
          row_bytes_(row_layout(probe.model.dim, state_size(probe.optimizer, probe.model.dim)).bytes()),
          features_(std::max<std::size_t>(probe.model.sparse_features, 1)),
          table_rows_(std::max<std::uint64_t>(probe.home_bytes / (row_bytes_ * features_), 2 * probe_head)) {}

    /// Bytes a second of rows read at random.
    [[nodiscard]] double gather_bandwidth() const {
        std::uint64_t rows = 1;
        while (2 * rows * row_bytes_ <= probe_.home_bytes / 2) rows *= 2;
        const Stream stream;
        Buffer<float, DeviceSpace> memory(static_cast<std::size_t>(rows * row_bytes_ / sizeof(float)));
        fill_bytes(cuda::on(stream), memory.span(), 0);
        const unsigned grid = launch_grid(rows * 8, 256);
        Buffer<float, DeviceSpace> sums(std::size_t{grid} * 256 * 4);
        return static_cast<double>(rows * row_bytes_) / median_of(stream, [&] {
                   gather_rows<<<grid, 256, 0, stream.get()>>>(
                       reinterpret_cast<const float4*>(memory.data()), rows,
                       static_cast<unsigned>(row_bytes_ / sizeof(float4)),
                       reinterpret_cast<float4*>(sums.data()));
                   check_launch("gather_rows");
               });
    }

    /// Bytes a second over the link, to the device and back.
    [[nodiscard]] std::pair<double, double> link() const {
        const std::size_t bytes = std::size_t{64} << 20;
        const Stream stream;
        Buffer<char, DeviceSpace> device(bytes);
        Buffer<char, PinnedSpace> pinned(bytes);
        const auto copied = [&](void* to, const void* from, cudaMemcpyKind kind) {
            return static_cast<double>(bytes) / median_of(stream, [&] {
                       check(::cudaMemcpyAsync(to, from, bytes, kind, stream.get()), "probe of the link");
                   });
        };
        const double up = copied(device.data(), pinned.data(), cudaMemcpyHostToDevice);
        return {up, copied(pinned.data(), device.data(), cudaMemcpyDeviceToHost)};
    }

    /// Bytes a second that the host gathers rows from here and there into a buffer, and scatters them.
    [[nodiscard]] std::pair<double, double> host() const {
        const std::uint64_t rows = table_rows_ * features_;
        const std::uint64_t some = std::max<std::uint64_t>(rows / 8, 1);
        Buffer<char, PageSpace> homes(static_cast<std::size_t>(rows * row_bytes_));
        Buffer<char, PinnedSpace> packed(static_cast<std::size_t>(some * row_bytes_));
        const Permutation places(rows, 1, 0);
        std::vector<std::uint64_t> chosen(static_cast<std::size_t>(some));
        for (std::size_t i = 0; i < chosen.size(); ++i) chosen[i] = places(i);
        for_chunks(exec_, homes.size(), std::size_t{1} << 20, [&](std::size_t begin, std::size_t end) {
            std::fill(homes.data() + begin, homes.data() + end, char{1});
        });
        const Stream stream;
        const auto moved = [&](bool up) {
            return static_cast<double>(packed.size()) / median_of(stream, [&] {
                       for_chunks(exec_, chosen.size(), 4096, [&](std::size_t begin, std::size_t end) {
                           for (std::size_t i = begin; i < end; ++i) {
                               char* const home = homes.data() + chosen[i] * row_bytes_;
                               char* const place = packed.data() + i * row_bytes_;
                               std::copy_n(up ? home : place, row_bytes_, up ? place : home);
                           }
                       });
                   });
        };
        const double up = moved(true);
        return {up, moved(false)};
    }

    /// Seconds of the dense model's step as one graph.
    [[nodiscard]] double dense_step(std::size_t batch) const {
        constexpr int steps = 20;
        const Stream stream;
        const On on = cuda::on(stream);
        const DlrmShape& shape = probe_.model;
        Dlrm model(on, shape, batch, 1, probe_.optimizer, probe_.precision);
        Buffer<float, DeviceSpace> dense(batch * model.dense_stride());
        Buffer<float, DeviceSpace> pooled(batch * shape.sparse_features * shape.dim);
        Buffer<std::uint8_t, DeviceSpace> labels(batch);
        Buffer<float, DeviceSpace> lr(1);
        for (const auto& [data, bytes] :
             {std::pair<void*, std::size_t>{dense.data(), dense.size() * sizeof(float)},
              {pooled.data(), pooled.size() * sizeof(float)},
              {labels.data(), labels.size()},
              {lr.data(), sizeof(float)}}) {
            check(::cudaMemsetAsync(data, 0, bytes, stream.get()), "probe of the dense model");
        }
        model.prepare(batch);
        stream.synchronise();
        const Graph graph(on, [&] {
            model.forward(
                on, MatrixView<const float>(dense.data(), batch, shape.dense_features, model.dense_stride()),
                MatrixView<const float>(pooled.data(), batch, shape.sparse_features * shape.dim));
            static_cast<void>(model.backward(on, Span<const std::uint8_t>(labels.data(), batch)));
            model.step(on, lr.data());
        });
        return median_of(stream,
                         [&] {
                             for (int s = 0; s < steps; ++s) graph.launch(on);
                         }) /
               steps;
    }

    /// Inputs a share of whose look-ups are cold.
    void draw(double cold_share) {
        inputs_.reset();
        inputs_.emplace(exec_, ProbeInputsOptions{.batch = probe_.batch,
                                                  .cold_share = cold_share,
                                                  .features = features_,
                                                  .dense_features = probe_.model.dense_features,
                                                  .dim = static_cast<std::uint32_t>(probe_.model.dim),
                                                  .row_bytes = row_bytes_,
                                                  .table_rows = table_rows_});
    }

    /// A step where all rows are in device memory, and the bytes of its look-ups.
    [[nodiscard]] std::pair<double, double> step_in_slots() const {
        const double lookups = static_cast<double>(probe_.batch * features_);
        const double bytes = lookup_bytes(lookups, lookups, inputs_->rows().different,
                                          static_cast<double>(probe_.model.dim * sizeof(float)),
                                          static_cast<double>(row_bytes_));
        return {time_steps(AllSlots<DeviceSpace>()).seconds, bytes};
    }
    [[nodiscard]] MovingCost step_at_home() const {
        const BatchRows rows = inputs_->rows();
        return {static_cast<double>(probe_.batch), rows.different - rows.shared / 2,
                time_steps(AllHome<PinnedSpace>()).seconds};
    }
    /// Planning with a window, for a row that comes in.
    [[nodiscard]] PlanningCost planning() const {
        const HotSet& hot = inputs_->data().hot_set();
        const LookaheadOptions options = inputs_->window(exec_);
        const RowSpace space = inputs_->data().row_space();
        const Steps steps = time_steps(LookaheadPlacement<DeviceSpace, PinnedSpace>(hot, options, &space));
        // However many threads plan, a step does not wait longer than it takes.
        return {static_cast<double>(options.window),
                std::min(steps.planning, steps.seconds) / std::max(steps.rows_in, 1.0)};
    }

    /// Bytes a second that a fast tier is filled with, and written back: half of the rows.
    [[nodiscard]] std::pair<double, double> synchronising() const {
        const RowSpace space(std::vector<TableSpec>(
            features_, {table_rows_, static_cast<std::uint32_t>(probe_.model.dim), ""}));
        const HotSet hot =
            HotSet::from_predicate(exec_, space.rows(), [](std::uint64_t row) { return row % 2 == 0; });
        const Stream stream;
        const auto on = cuda::on(stream, exec_);
        auto table = make_table<float>(cuda::on(stream), space, probe_.optimizer,
                                       StaticPlacement<DeviceSpace, PinnedSpace>(hot));
        table.initialise(on, 1);
        const double bytes = static_cast<double>(hot.size() * row_bytes_);
        static_cast<void>(table.synchronise(on, Heat::hot));
        std::vector<double> up;
        std::vector<double> down;
        for (int i = 0; i < 3; ++i) {
            table.trained_on_device();
            down.push_back(
                seconds_of(stream, [&] { static_cast<void>(table.write_back(on, SyncExtent::whole)); }));
            table.trained_at_home();
            up.push_back(seconds_of(
                stream, [&] { static_cast<void>(table.synchronise(on, Heat::hot, SyncExtent::whole)); }));
        }
        return {bytes / middle(up), bytes / middle(down)};
    }

  private:
    [[nodiscard]] static double middle(std::vector<double>& seconds) {
        std::sort(seconds.begin(), seconds.end());
        return seconds[seconds.size() / 2];
    }
    template <class F>
    [[nodiscard]] static double seconds_of(const Stream& stream, F&& queue) {
        stream.synchronise();
        const auto start = std::chrono::steady_clock::now();
        queue();
        stream.synchronise();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    /// The median seconds of queued work, which is run once more before.
    template <class F>
    [[nodiscard]] double median_of(const Stream& stream, F&& queue) const {
        queue();
        std::vector<double> seconds;
        for (std::size_t i = 0; i < std::max<std::size_t>(probe_.repetitions, 1); ++i)
            seconds.push_back(seconds_of(stream, queue));
        return middle(seconds);
    }

    /// A table, a model and a trainer over the packed inputs.
    template <Placement P>
    struct Training {
        Training(const E& host, const DeviceProbe& probe, const PackedDataset& data, P placement)
            : exec(cuda::on(stream, host)),
              table(make_table<float>(cuda::on(stream), data.row_space(), probe.optimizer,
                                      std::move(placement))),
              model(cuda::on(stream), probe.model, probe.batch, 1, probe.optimizer, probe.precision),
              trainer(cuda::on(stream), table, model, data) {
            table.initialise(exec, 1);
        }

        Stream stream;
        OnWith<E> exec;
        HotColdTable<float, P> table;
        Dlrm model;
        PlacedTrainer<P> trainer;
    };

    /// Seconds of a step, of them those that the planner is busy, and the rows that come into a window.
    struct Steps {
        double seconds = 0;
        double planning = 0;
        double rows_in = 0;
    };

    /// Steps in the plain shuffled order, one after another without a pause.
    template <Placement P>
    [[nodiscard]] Steps time_steps(P placement) const {
        const PackedDataset& data = inputs_->data();
        Training<P> of(exec_, probe_, data, std::move(placement));
        BatchScheduler scheduler({.hot_inputs = data.hot().inputs(),
                                  .cold_inputs = data.cold().inputs(),
                                  .batch_size = probe_.batch,
                                  .epochs = std::uint64_t{1} << 20,
                                  .order = Order::shuffled},
                                 FixedRate(50));
        const auto train = [&](std::uint64_t steps) {
            const auto start = std::chrono::steady_clock::now();
            BatchRef batch;
            for (std::uint64_t s = 0; s < steps; ++s) {
                static_cast<void>(scheduler.next(batch));
                // The tiers are current from the first batch on; an epoch's first one would wait for nothing.
                batch.begins_segment = batch.begins_segment && batch.step == 0;
                of.trainer.step(of.exec, batch, 1e-3F);
            }
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        };
        // Planned so far: seconds, and rows that came in.
        const auto planned = [&] {
            if constexpr (PlansAhead<P>) {
                return std::pair(of.trainer.planning_seconds(),
                                 static_cast<double>(of.trainer.counts().rows_in));
            } else {
                return std::pair(0.0, 0.0);
            }
        };
        // Graphs are made, pages touched and the pipeline filled; then what comes in is what goes out.
        const std::uint64_t first = scheduler.batches_per_epoch();
        const double once = train(first);
        static_cast<void>(of.trainer.finish(of.exec));
        static_cast<void>(train(first));
        const std::uint64_t steps = std::clamp<std::uint64_t>(
            static_cast<std::uint64_t>(probe_.seconds * static_cast<double>(first) / std::max(once, 1e-9)), 4,
            256);
        std::vector<double> seconds;
        std::vector<double> planning;
        const auto [warm_seconds, warm_rows] = planned();
        double so_far = warm_seconds;
        for (std::size_t i = 0; i < std::max<std::size_t>(probe_.repetitions, 1); ++i) {
            seconds.push_back(train(steps) / static_cast<double>(steps));
            const double now = planned().first;
            planning.push_back((now - so_far) / static_cast<double>(steps));
            so_far = now;
        }
        const double rows = planned().second - warm_rows;
        static_cast<void>(of.trainer.finish(of.exec));
        Steps found;
        found.rows_in = rows / static_cast<double>(steps * seconds.size());
        found.seconds = middle(seconds);
        found.planning = middle(planning);
        return found;
    }

    const E& exec_;
    const DeviceProbe& probe_;
    std::uint64_t row_bytes_;
    std::size_t features_;
    std::uint64_t table_rows_;
    std::optional<ProbeInputs> inputs_;
};

}  // namespace detail

/// Measures the current device and its link for one model, optimizer and batch size.
/// @exec   seq, par: the host's part, with the threads that training will have
/// @cost   a few seconds; memory: probe.home_bytes of the device's, and twice that of the host's, pinned
/// @throws CudaError
template <Executor E>
[[nodiscard]] DeviceRates probe_device(const E& exec, const DeviceProbe& probe) {
    detail::ProbedDevice<E> device(exec, probe);
    DeviceRates rates;
    rates.name = current_device().name;
    std::size_t free_bytes = 0;
    std::size_t all_bytes = 0;
    check(::cudaMemGetInfo(&free_bytes, &all_bytes), "query of the device's memory");
    rates.memory_bytes = static_cast<double>(all_bytes);
    rates.gather_bandwidth = device.gather_bandwidth();
    std::tie(rates.link_up, rates.link_down) = device.link();
    std::tie(rates.host_gather, rates.host_scatter) = device.host();
    std::tie(rates.sync_up, rates.sync_down) = device.synchronising();
    for (const std::size_t part : {2u, 1u}) {
        const std::size_t batch = std::max<std::size_t>(probe.batch / part, 1);
        if (!rates.dense.empty() && rates.dense.back().batch == static_cast<double>(batch)) continue;
        rates.dense.push_back({static_cast<double>(probe.model.training_flops()), static_cast<double>(batch),
                               device.dense_step(batch)});
    }
    bool first = true;
    for (const double cold_share : probe.cold_shares) {
        device.draw(cold_share);
        if (std::exchange(first, false)) {
            const auto [seconds, bytes] = device.step_in_slots();
            rates.launch_seconds =
                std::max(0.0, seconds - rates.dense.back().seconds - bytes / rates.gather_bandwidth);
        }
        rates.home.push_back(device.step_at_home());
        if (cold_share <= 0.5) rates.planning.push_back(device.planning());
    }
    return rates;
}

}  // namespace fae::inline FAE_ABI::cuda
