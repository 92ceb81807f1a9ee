// SPDX-License-Identifier: Apache-2.0
//
// Epochs of a DLRM over Criteo-shaped inputs on one GPU, under any placement: what fae_bench and
// fae_lookahead_bench time.
//
//   PackedDataset data = epochs::prepare(exec, source, setting);          // counted over all, packed a part
//   epochs::Epochs found = epochs::run(exec, data, setting, AllSlots<cuda::DeviceSpace>());
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/reference_hybrid.cuh"
#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/space.hpp"
#include "fae/io/packed.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/lookahead_trainer.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/profile/profiler.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "stats.hpp"

namespace epochs {

namespace gpu = fae::cuda;
using Exec = fae::Par<fae::Threads>;

inline constexpr std::uint64_t counted_inputs = 39'291'958;
inline constexpr unsigned segment_rate = 50;
inline constexpr float lr = 0.01f;
inline constexpr std::uint64_t seed = 1;

/// What is trained, and how often.
struct Setting {
    fae::DlrmShape model = fae::DlrmShape::rmc2(13, 26);
    fae::OptimizerKind optimizer = fae::OptimizerKind::sgd;
    fae::Order order = fae::Order::fae;
    std::uint64_t counted = counted_inputs;
    std::uint64_t inputs = 2'000'000;
    std::uint64_t budget = std::uint64_t{256} << 20;  ///< bytes, of the data set's hot set
    std::size_t batch = 4096;
    std::size_t repetitions = 3;
    std::size_t load_threads = 0;
    std::size_t plan_threads = 0;  ///< as LookaheadThreads
    gpu::RecordWay way = gpu::RecordWay::measured;
};

/// The numbers of an option's list: "256,64".
inline std::vector<std::uint64_t> numbers(std::string_view list) {
    std::vector<std::uint64_t> found;
    std::istringstream text{std::string(list)};
    for (std::string number; std::getline(text, number, ',');) {
        found.push_back(std::strtoull(number.c_str(), nullptr, 10));
    }
    return found;
}

/// Seconds of epochs, and what they ended in.
struct Epochs {
    std::vector<double> seconds;
    std::string digest;
    double moved_rows = 0;          ///< before segments, in an epoch
    double synchronising = 0;       ///< seconds of it
    fae::LookaheadCounts counts;    ///< of all epochs, the first one too, where the placement plans ahead
    gpu::LookaheadStalls stalls;    ///< likewise
    double planning = 0;            ///< seconds, likewise
    std::uint64_t batches = 0;      ///< likewise
    gpu::ZeroCopyCounts zero_copy;  ///< likewise
    gpu::RecordCost gather, copy_in, put, read;      ///< what a row was measured to cost on its way in
    gpu::RecordCost scatter, copy_out, take, write;  ///< and out

    [[nodiscard]] double median() const { return stats::median(seconds); }
    [[nodiscard]] double least() const { return *std::min_element(seconds.begin(), seconds.end()); }
    [[nodiscard]] double most() const { return *std::max_element(seconds.begin(), seconds.end()); }
};

/// Counts all inputs piece by piece, and packs the first ones.
inline fae::PackedDataset prepare(const Exec& exec, const fae::SyntheticSource& source,
                                  const Setting& options) {
    constexpr std::uint64_t piece = 1'000'000;
    fae::Dataset some = source.generate(exec, 0, static_cast<std::size_t>(piece));
    const auto dim = static_cast<std::uint32_t>(options.model.dim);
    const fae::RowSpace space = some.shape.row_space(dim);
    fae::AccessProfiler<> profiler(space);
    for (std::uint64_t first = 0; first < options.counted; first += piece) {
        source.generate_into(exec, first, static_cast<std::size_t>(std::min(piece, options.counted - first)),
                             some);
        profiler.add(exec, some.bags());
    }
    const fae::AccessProfile<> profile = profiler.finish();
    fae::CalibrationOptions asked;
    asked.budget_bytes = options.budget;
    asked.row_bytes =
        fae::row_layout(options.model.dim, fae::state_size(options.optimizer, options.model.dim)).bytes();
    fae::Calibration calibration = fae::calibrate(exec, profile, asked);
    const fae::Dataset train = source.generate(exec, 0, static_cast<std::size_t>(options.inputs));
    fae::Classification classes = fae::classify(exec, calibration.hot_set, space, train.bags());
    std::vector<std::uint64_t> counts = fae::slot_counts(exec, profile, calibration.hot_set);
    fae::Provenance provenance;
    provenance.budget_bytes = asked.budget_bytes;
    provenance.row_bytes = asked.row_bytes;
    provenance.seed = seed;
    provenance.dim = dim;
    provenance.cutoffs = calibration.report.cutoffs.front();
    return fae::pack(exec, train, {}, {}, std::move(calibration.hot_set), std::move(classes),
                     std::move(counts), std::move(provenance));
}

inline fae::BatchScheduler<fae::FixedRate> schedule(const fae::PackedDataset& data, const Setting& setting) {
    return {{.hot_inputs = data.hot().inputs(),
             .cold_inputs = data.cold().inputs(),
             .batch_size = setting.batch,
             .epochs = setting.repetitions + 1,
             .seed = seed,
             .order = setting.order},
            fae::FixedRate(segment_rate)};
}

/// Runs a first epoch, in which graphs are made and pages touched, and then the timed ones.
/// @param step    step(batch): queues a batch
/// @param finish  finish(): all is done, and rows are where they belong
template <class Step, class Finish>
std::vector<double> time_epochs(const fae::PackedDataset& data, const Setting& setting, Step&& step,
                                Finish&& finish) {
    auto scheduler = schedule(data, setting);
    std::vector<double> seconds;
    auto start = std::chrono::steady_clock::now();
    for (fae::BatchRef batch; scheduler.next(batch);) {
        step(batch);
        if (!batch.ends_epoch) continue;
        finish();
        const auto now = std::chrono::steady_clock::now();
        if (batch.epoch != 0) seconds.push_back(std::chrono::duration<double>(now - start).count());
        start = now;
    }
    return seconds;
}

template <fae::Placement P>
Epochs run(const Exec& host, const fae::PackedDataset& data, const Setting& setting, P placement) {
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, host);
    auto table =
        gpu::make_table<float>(gpu::on(stream), data.row_space(), setting.optimizer, std::move(placement));
    table.initialise(exec, seed);
    gpu::Dlrm model(gpu::on(stream), setting.model, setting.batch, seed, setting.optimizer);
    const auto load_threads = [&] {
        if constexpr (gpu::PlansAhead<P>) {
            return gpu::LookaheadThreads{.load = setting.load_threads, .plan = setting.plan_threads};
        } else {
            return setting.load_threads == 0 ? std::size_t{8} : setting.load_threads;
        }
    };
    const auto trainer_of = [&] {
        if constexpr (gpu::PlansAhead<P>) {
            return std::make_unique<gpu::PlacedTrainer<P>>(gpu::on(stream), table, model, data,
                                                           load_threads(), nullptr, setting.way);
        } else {
            return std::make_unique<gpu::PlacedTrainer<P>>(gpu::on(stream), table, model, data,
                                                           load_threads());
        }
    };
    const auto made = trainer_of();
    auto& trainer = *made;
    Epochs epochs;
    epochs.seconds = time_epochs(
        data, setting, [&](const fae::BatchRef& batch) { trainer.step(exec, batch, lr); },
        [&] {
            trainer.finish(exec);
            // A placement that plans ahead has no segments: its rows stay where they are.
            if constexpr (!gpu::PlansAhead<P>) table.write_back(exec);
            exec.on().synchronise();
        });
    const double rounds = static_cast<double>(setting.repetitions + 1);
    epochs.moved_rows = static_cast<double>(trainer.moved().rows) / rounds;
    if constexpr (gpu::PlansAhead<P>) {
        epochs.counts = trainer.counts();
        epochs.stalls = trainer.stalls();
        epochs.planning = trainer.planning_seconds();
        epochs.zero_copy = trainer.zero_copy();
        const auto& ways = trainer.record_ways();
        epochs.gather = ways.gather();
        epochs.copy_in = ways.copy_in();
        epochs.put = ways.put();
        epochs.read = ways.zero_copy_read();
        epochs.scatter = ways.scatter();
        epochs.copy_out = ways.copy_out();
        epochs.take = ways.take();
        epochs.write = ways.zero_copy_write();
        epochs.batches = schedule(data, setting).batches_per_epoch() * (setting.repetitions + 1);
    } else {
        epochs.synchronising = trainer.synchronising_seconds() / rounds;
    }
    epochs.digest = fae::weights_digest(exec, table, model.read_parameters(gpu::on(stream)));
    return epochs;
}

/// The reference hybrid: embeddings on the host table by table, the dense model call by call on the device.
inline Epochs run_reference(const Exec& exec, const fae::PackedDataset& data, const Setting& setting) {
    const gpu::Stream stream;
    const gpu::On on = gpu::on(stream);
    reference::ReferenceHybrid rows(exec, data.row_space(), seed);
    gpu::Dlrm model(on, setting.model, setting.batch, seed, fae::OptimizerKind::sgd);
    const std::size_t width = 26 * setting.model.dim;
    fae::BatchLoader loader(data);
    fae::Buffer<float, gpu::DeviceSpace> pooled(setting.batch * width);
    fae::Buffer<float, gpu::DeviceSpace> dense(setting.batch * 13);
    fae::Buffer<std::uint8_t, gpu::DeviceSpace> labels(setting.batch);
    fae::Buffer<float, gpu::DeviceSpace> rate(1);
    gpu::copy(on, fae::Span<const float>(&lr, 1), rate.span());
    std::vector<std::uint32_t> ids;
    Epochs epochs;
    epochs.seconds = time_epochs(
        data, setting,
        [&](const fae::BatchRef& batch) {
            const fae::LoadedBatch loaded = loader.load(exec, batch);
            const std::size_t n = loaded.size();
            const auto& values = loaded.lookups.bags.values();
            ids.assign(values.begin(), values.end());
            if (loaded.lookups.heat == fae::Heat::hot) {
                for (std::uint32_t& id : ids) {
                    id = static_cast<std::uint32_t>(loaded.lookups.hot_set->row_of(id));
                }
            }
            gpu::copy(on, fae::Span<const float>(loaded.dense.data(), n * 13),
                      fae::Span<float>(dense.data(), n * 13));
            gpu::copy(on, loaded.labels, fae::Span<std::uint8_t>(labels.data(), n));
            rows.forward(exec, on, ids.data(), n, pooled.data());
            model.forward(on, {dense.data(), n, 13}, {pooled.data(), n, width});
            const auto gradient = model.backward(on, {labels.data(), n});
            rows.backward_step(exec, on, gradient.data(), lr);
            model.step(on, rate.data());
        },
        [&] { on.synchronise(); });
    fae::Digest digest;
    rows.add_to(exec, digest);
    const fae::DenseParameters parameters = model.read_parameters(on);
    for (const auto& parameter : parameters.parameters()) {
        digest.add_floats(fae::Span<const float>(parameter.values));
        digest.add_floats(fae::Span<const float>(parameter.state));
    }
    epochs.digest = digest.hex();
    return epochs;
}

}  // namespace epochs
