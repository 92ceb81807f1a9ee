// SPDX-License-Identifier: Apache-2.0
//
// FAE itself, on one GPU: epochs of RMC2 over Kaggle-shaped inputs in the order `fae`, the rows placed by the
// reference hybrid, all at home, static, and all in device memory, in one run. The hot set is calibrated from
// counts over as many inputs as the real set has; a part of these is trained on.
//
//   fae_bench                              # --skew zipf:1.1, then the measured skew
//   fae_bench --inputs 500000 --repetitions 1
//
// Prints, and with --json OUT writes, for every batch size the seconds of an epoch under each placement
// (median, least, most), the share h of hot inputs, 1 / (1 - h), the time that h predicts, and the digests,
// which must be equal: a differing one ends the program with 1.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
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
#include "fae/models/placed_trainer.cuh"
#include "fae/profile/profiler.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"
#include "stats.hpp"

namespace {

namespace gpu = fae::cuda;
using Exec = fae::Par<fae::Threads>;

constexpr std::uint64_t counted_inputs = 39'291'958;
constexpr std::uint64_t budget_bytes = std::uint64_t{256} << 20;
constexpr unsigned segment_rate = 50;
constexpr float lr = 0.01f;
constexpr std::uint64_t seed = 1;
constexpr auto optimizer = fae::OptimizerKind::sgd;

struct Options {
    std::uint64_t counted = counted_inputs;
    std::uint64_t inputs = 2'000'000;
    std::size_t repetitions = 3;
    std::string json;
};

/// Seconds of epochs, and what they ended in.
struct Epochs {
    std::vector<double> seconds;
    std::string digest;

    [[nodiscard]] double median() const { return stats::median(seconds); }
};

/// Counts all inputs piece by piece, and packs the first ones.
fae::PackedDataset prepare(const Exec& exec, const fae::SyntheticSource& source, const Options& options) {
    constexpr std::uint64_t piece = 1'000'000;
    fae::Dataset some = source.generate(exec, 0, static_cast<std::size_t>(piece));
    const fae::RowSpace space = some.shape.row_space(16);
    fae::AccessProfiler<> profiler(space);
    for (std::uint64_t first = 0; first < options.counted; first += piece) {
        source.generate_into(exec, first, static_cast<std::size_t>(std::min(piece, options.counted - first)),
                             some);
        profiler.add(exec, some.bags());
    }
    const fae::AccessProfile<> profile = profiler.finish();
    fae::CalibrationOptions asked;
    asked.budget_bytes = budget_bytes;
    asked.row_bytes = fae::row_layout(16, 0).bytes();
    fae::Calibration calibration = fae::calibrate(exec, profile, asked);
    const fae::Dataset train = source.generate(exec, 0, static_cast<std::size_t>(options.inputs));
    fae::Classification classes = fae::classify(exec, calibration.hot_set, space, train.bags());
    std::vector<std::uint64_t> counts = fae::slot_counts(exec, profile, calibration.hot_set);
    fae::Provenance provenance;
    provenance.budget_bytes = asked.budget_bytes;
    provenance.row_bytes = asked.row_bytes;
    provenance.seed = seed;
    provenance.dim = 16;
    provenance.cutoffs = calibration.report.cutoffs.front();
    return fae::pack(exec, train, {}, {}, std::move(calibration.hot_set), std::move(classes),
                     std::move(counts), std::move(provenance));
}

fae::BatchScheduler<fae::FixedRate> schedule(const fae::PackedDataset& data, std::size_t batch,
                                             std::size_t epochs) {
    return {{.hot_inputs = data.hot().inputs(),
             .cold_inputs = data.cold().inputs(),
             .batch_size = batch,
             .epochs = epochs,
             .seed = seed,
             .order = fae::Order::fae},
            fae::FixedRate(segment_rate)};
}

/// Runs a first epoch, in which graphs are made and pages touched, and then the timed ones.
/// @param step    step(batch): queues a batch
/// @param finish  finish(): all is done, and rows are where they belong
template <class Step, class Finish>
std::vector<double> time_epochs(const fae::PackedDataset& data, std::size_t batch_size,
                                std::size_t repetitions, Step&& step, Finish&& finish) {
    auto scheduler = schedule(data, batch_size, repetitions + 1);
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
Epochs run(const Exec& host, const fae::PackedDataset& data, std::size_t batch_size, std::size_t repetitions,
           P placement) {
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, host);
    auto table = gpu::make_table<float>(gpu::on(stream), data.row_space(), optimizer, std::move(placement));
    table.initialise(exec, seed);
    gpu::Dlrm model(gpu::on(stream), fae::DlrmShape::rmc2(13, 26), batch_size, seed, optimizer);
    gpu::PlacedTrainer<P> trainer(gpu::on(stream), table, model, data);
    Epochs epochs;
    epochs.seconds = time_epochs(
        data, batch_size, repetitions,
        [&](const fae::BatchRef& batch) {
            if (batch.begins_segment) {
                trainer.finish(exec);
                table.synchronise(exec, batch.heat);
            }
            trainer.step(exec, batch, lr);
        },
        [&] {
            trainer.finish(exec);
            table.write_back(exec);
            exec.on().synchronise();
        });
    epochs.digest = fae::weights_digest(exec, table, model.read_parameters(gpu::on(stream)));
    return epochs;
}

/// The reference hybrid: embeddings on the host table by table, the dense model call by call on the device.
Epochs run_reference(const Exec& exec, const fae::PackedDataset& data, std::size_t batch_size,
                     std::size_t repetitions) {
    const gpu::Stream stream;
    const gpu::On on = gpu::on(stream);
    reference::ReferenceHybrid rows(exec, data.row_space(), seed);
    gpu::Dlrm model(on, fae::DlrmShape::rmc2(13, 26), batch_size, seed, optimizer);
    fae::BatchLoader loader(data);
    fae::Buffer<float, gpu::DeviceSpace> pooled(batch_size * 26 * 16);
    fae::Buffer<float, gpu::DeviceSpace> dense(batch_size * 13);
    fae::Buffer<std::uint8_t, gpu::DeviceSpace> labels(batch_size);
    fae::Buffer<float, gpu::DeviceSpace> rate(1);
    gpu::copy(on, fae::Span<const float>(&lr, 1), rate.span());
    std::vector<std::uint32_t> ids;
    Epochs epochs;
    epochs.seconds = time_epochs(
        data, batch_size, repetitions,
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
            model.forward(on, {dense.data(), n, 13}, {pooled.data(), n, 26 * 16});
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

/// One skew: a table for people, rows for the JSON. False if digests differ.
bool compare(const Exec& exec, const char* skew, fae::SyntheticSpec spec, bool with_reference,
             const Options& options, std::ostringstream& json) {
    const fae::SyntheticSource source(std::move(spec), seed);
    const fae::PackedDataset data = prepare(exec, source, options);
    const double h = static_cast<double>(data.hot().inputs()) / static_cast<double>(data.inputs());
    std::printf("\n%s: %llu hot rows, h = %.4f, 1 / (1 - h) = %.2f, %llu inputs an epoch\n", skew,
                static_cast<unsigned long long>(data.hot_set().size()), h, 1 / (1 - h),
                static_cast<unsigned long long>(data.inputs()));
    bool equal = true;
    for (const std::size_t batch : {std::size_t{1024}, std::size_t{4096}}) {
        std::vector<std::pair<std::string, Epochs>> all;
        all.emplace_back("static",
                         run(exec, data, batch, options.repetitions,
                             fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>(data.hot_set())));
        all.emplace_back("all_home",
                         run(exec, data, batch, options.repetitions, fae::AllHome<gpu::PinnedSpace>()));
        all.emplace_back("all_slots",
                         run(exec, data, batch, options.repetitions, fae::AllSlots<gpu::DeviceSpace>()));
        if (with_reference) {
            // Slow and even: two epochs, the second timed. Its digest is that of static after two as well.
            all.emplace_back("reference", run_reference(exec, data, batch, 1));
            const Epochs two = run(exec, data, batch, 1,
                                   fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>(data.hot_set()));
            equal = equal && two.digest == all.back().second.digest;
        }
        const double of_static = all[0].second.median();
        const double predicted = (1 - h) * all[1].second.median() + h * all[2].second.median();
        equal = equal && all[0].second.digest == all[1].second.digest &&
                all[0].second.digest == all[2].second.digest;
        for (const auto& [name, epochs] : all) {
            const auto [least, most] = std::minmax_element(epochs.seconds.begin(), epochs.seconds.end());
            std::printf("  batch %5zu  %-9s  %7.3f s [%.3f, %.3f]  %6.2f M samples/s  %5.2fx static  %s\n",
                        batch, name.c_str(), epochs.median(), *least, *most,
                        static_cast<double>(data.inputs()) / epochs.median() * 1e-6,
                        epochs.median() / of_static, epochs.digest.c_str());
            json << (json.tellp() == 0 ? "" : ",\n") << R"( {"skew": ")" << skew << R"(", "batch": )" << batch
                 << R"(, "placement": ")" << name << R"(", "h": )" << h << R"(, "predicted_static": )"
                 << predicted << R"(, "digest": ")" << epochs.digest << R"(", "seconds": [)";
            for (std::size_t i = 0; i < epochs.seconds.size(); ++i) {
                json << (i == 0 ? "" : ", ") << epochs.seconds[i];
            }
            json << "]}";
        }
        std::printf("  batch %5zu  (1-h) all_home + h all_slots = %.3f s: static reaches %.2f of it\n", batch,
                    predicted, predicted / of_static);
        std::fflush(stdout);
    }
    return equal;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view name = argv[i];
        const auto number = [&] { return std::strtoull(argv[i + 1], nullptr, 10); };
        if (name == "--counted") options.counted = number();
        if (name == "--inputs") options.inputs = number();
        if (name == "--repetitions") options.repetitions = static_cast<std::size_t>(number());
        if (name == "--json") options.json = argv[i + 1];
    }
    fae::Threads threads;
    const Exec exec = fae::par(threads);
    std::ostringstream rows;
    const bool zipf =
        compare(exec, "zipf 1.1", fae::with_zipf(fae::synthetic_kaggle(), 1.1), true, options, rows);
    const bool real = compare(exec, "measured skew", fae::synthetic_kaggle(), false, options, rows);
    if (!options.json.empty()) std::ofstream(options.json) << "[\n" << rows.str() << "\n]\n";
    if (!zipf || !real) {
        std::puts("digests differ");
        return 1;
    }
    std::puts("digests are equal");
    return 0;
}
