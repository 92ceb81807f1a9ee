// SPDX-License-Identifier: Apache-2.0
//
// The hot step: training of RMC2 and RMC3 with all rows in device memory, batches in host memory, copies of
// the inputs among what is timed. bench/peers/torch_dlrm.py times PyTorch on the same shapes, law of ids and
// batch sizes.
//
//   dlrm_bench --benchmark_out=hot.json --benchmark_out_format=json
//
// One iteration is `steps` steps and the wait for the last; medians and spread are over the repetitions.
// Times are by the wall clock of the calling thread, so they hold what the host does too.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "axes.hpp"
#include "fae/core/random.hpp"
#include "fae/models/dlrm_trainer.cuh"

namespace {

using namespace fae;
namespace gpu = fae::cuda;  // CUB brings another namespace of that name

constexpr std::size_t steps = 64;

/// Small numbers that differ.
/// @par Launch any grid
__global__ void fill_rows(float* values, std::uint64_t count) {
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < count;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        values[i] = static_cast<float>(static_cast<std::int32_t>(mix64(i) >> 40) - (1 << 23)) * 0x1p-33f;
    }
}

/// The rows of one shape, kept from one benchmark to the next.
struct Rows {
    std::string name;
    Buffer<float, gpu::DeviceSpace> memory;
    RowsView<float> view;

    void hold(const axes::Shape& shape) {
        if (name == shape.name) return;
        memory = {};
        memory = Buffer<float, gpu::DeviceSpace>(shape.rows() * shape.dim);
        const gpu::Stream stream;
        fill_rows<<<gpu::launch_grid(memory.size(), 256), 256, 0, stream.get()>>>(memory.data(),
                                                                                  memory.size());
        gpu::check_launch("fill_rows");
        stream.synchronise();
        view = {memory.data(), nullptr, shape.dim, 0, 0, shape.rows()};
        name = shape.name;
    }
};

/// Batches in host memory.
struct Inputs {
    std::vector<std::uint32_t> values;
    std::vector<float> dense;
    std::vector<std::uint8_t> labels;
    std::vector<LoadedBatch> batches;

    Inputs(const axes::Shape& shape, std::size_t count)
        : values(axes::index_stream(shape, count, 7)),
          dense(count * shape.batch * 13),
          labels(count * shape.batch) {
        for (std::uint32_t& value : values) value |= fast_bit<std::uint32_t>;
        Philox rng(3);
        for (float& x : dense) x = static_cast<float>(rng.uniform());
        for (std::uint8_t& label : labels) label = rng.below(4) == 0 ? 1 : 0;
        const std::size_t lookups = shape.lookups();
        for (std::size_t b = 0; b < count; ++b) {
            LoadedBatch batch;
            batch.labels = Span<const std::uint8_t>(labels.data() + b * shape.batch, shape.batch);
            batch.dense = {dense.data() + b * shape.batch * 13, shape.batch, 13};
            batch.lookups.heat = Heat::hot;
            batch.lookups.bags = Bags<std::uint32_t>::fixed({values.data() + b * lookups, lookups}, 1, 26);
            batches.push_back(batch);
        }
    }
};

void run(benchmark::State& state, const axes::Shape& shape, const DlrmShape& model_shape,
         gpu::Precision precision) {
    static Rows rows;
    static std::unique_ptr<Inputs> inputs;
    static std::string inputs_of;
    rows.hold(shape);
    if (inputs_of != shape.label()) {
        inputs = std::make_unique<Inputs>(shape, std::clamp<std::size_t>(131072 / shape.batch, 8, steps));
        inputs_of = shape.label();
    }
    const gpu::Stream stream;
    const gpu::On on = gpu::on(stream);
    gpu::Dlrm model(on, model_shape, shape.batch, 1, OptimizerKind::sgd, precision);
    gpu::DlrmTrainer trainer(model, OptimizerKind::sgd, shape.lookups(), shape.rows());
    gpu::ArrayRoute route{rows.view, true};
    std::uint64_t number = 0;
    const auto train = [&](std::size_t count) {
        for (std::size_t s = 0; s < count; ++s) {
            trainer.step(on, number, inputs->batches[number % inputs->batches.size()], 0.01f, route);
            ++number;
        }
        return trainer.finish(on).loss;
    };
    // The loss must be that of an untrained model, and fall: labels are one in four ones, whose entropy is
    // 0.56.
    const double first = train(1);
    const double last = train(2 * steps);
    if (!(first < 5 && last < first && last < 0.65)) {
        state.SkipWithError(
            ("the loss goes from " + std::to_string(first) + " to " + std::to_string(last)).c_str());
        return;
    }
    for (auto _ : state) train(steps);
    const auto trained = static_cast<double>(state.iterations()) * static_cast<double>(steps);
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(steps * shape.batch));
    state.counters["step_us"] = benchmark::Counter(
        trained * 1e-6, benchmark::Counter::Flags(benchmark::Counter::kIsRate | benchmark::Counter::kInvert));
}

[[maybe_unused]] const bool registered = [] {
    for (const bool terabyte : {false, true}) {
        for (const bool tf32 : {true, false}) {
            for (const std::size_t batch : {1024u, 4096u, 16384u}) {
                const axes::Shape shape = terabyte ? axes::terabyte(batch, 1.15) : axes::kaggle(batch, 1.15);
                const DlrmShape model = terabyte ? DlrmShape::rmc3(13, 26) : DlrmShape::rmc2(13, 26);
                const std::string name = concat("dlrm/hot_step/cuda/model:", terabyte ? "rmc3" : "rmc2",
                                                "/precision:", tf32 ? "tf32" : "fp32", "/batch:", batch);
                const auto f = [=](benchmark::State& state) {
                    run(state, shape, model, tf32 ? gpu::Precision::tf32 : gpu::Precision::fp32);
                };
                benchmark::RegisterBenchmark(name.c_str(), f)
                    ->UseRealTime()
                    ->Unit(benchmark::kMillisecond)
                    ->Iterations(4)
                    ->Repetitions(9)
                    ->ReportAggregatesOnly();
            }
        }
    }
    return true;
}();

}  // namespace

BENCHMARK_MAIN();
