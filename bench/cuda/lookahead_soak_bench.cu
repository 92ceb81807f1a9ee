// SPDX-License-Identifier: Apache-2.0
//
// A soak of the look-ahead placement on the GPU: a hundred thousand batches of 64 Kaggle-shaped inputs with a
// fast tier far smaller than what they touch, so that rows come and go in every batch, beside the same
// batches with all rows in device memory. At the end both hold the same bits, and the memory of device and
// process is what it was after a tenth of the batches; else it exits with 1.
//
//   build/cuda/bench/cuda/lookahead_soak_bench [BATCHES [JSON]]
#include <cuda_runtime_api.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "cuda/fae_epochs.cuh"
#include "fae/calibrate/hot_set.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/io/packed.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/schedule/lookahead_fit.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"

namespace {

namespace gpu = fae::cuda;
using epochs::Exec;
using Lookahead = fae::LookaheadPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;

struct Memory {
    std::uint64_t process = 0;  ///< resident
    std::uint64_t device = 0;   ///< in use
};

Memory memory_now() {
    Memory now;
    std::uint64_t pages = 0;
    std::uint64_t resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    now.process = resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    std::size_t free_bytes = 0;
    std::size_t all_bytes = 0;
    gpu::check(::cudaMemGetInfo(&free_bytes, &all_bytes), "query of the device's memory");
    now.device = all_bytes - free_bytes;
    return now;
}

struct Soak {
    std::string digest;
    double seconds = 0;
    Memory before;  ///< there is a table, a model and no trainer
    Memory announced;
    Memory at_tenth;
    Memory at_end;
    fae::LookaheadCounts counts;
    gpu::LookaheadStalls stalls;
};

template <fae::Placement P>
Soak soak(const Exec& host, const fae::PackedDataset& data, const epochs::Setting& setting,
          std::uint64_t batches, P placement) {
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, host);
    auto table =
        gpu::make_table<float>(gpu::on(stream), data.row_space(), setting.optimizer, std::move(placement));
    table.initialise(exec, epochs::seed);
    gpu::Dlrm model(gpu::on(stream), setting.model, setting.batch, epochs::seed, setting.optimizer);
    Soak found;
    found.before = memory_now();
    gpu::PlacedTrainer<P> trainer(gpu::on(stream), table, model, data);
    if constexpr (gpu::PlansAhead<P>) found.announced = {trainer.pinned_bytes(), trainer.device_bytes()};
    auto scheduler = epochs::schedule(data, setting);
    const auto start = std::chrono::steady_clock::now();
    fae::BatchRef batch;
    for (std::uint64_t b = 0; b < batches && scheduler.next(batch); ++b) {
        trainer.step(exec, batch, epochs::lr);
        if (b + 1 == batches / 10) found.at_tenth = memory_now();
    }
    trainer.finish(exec);
    found.at_end = memory_now();
    found.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if constexpr (gpu::PlansAhead<P>) {
        found.counts = trainer.counts();
        found.stalls = trainer.stalls();
    }
    found.digest = fae::weights_digest(exec, table, model.read_parameters(gpu::on(stream)));
    return found;
}

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t batches = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100'000;
    if (batches < 10) {
        std::fprintf(stderr, "%llu batches, expected at least 10\n",
                     static_cast<unsigned long long>(batches));
        return 2;
    }
    epochs::Setting setting;
    setting.order = fae::Order::shuffled;
    setting.optimizer = fae::OptimizerKind::rowwise_adagrad;
    setting.counted = 2'000'000;
    setting.inputs = 400'000;
    setting.budget = std::uint64_t{16} << 20;
    setting.batch = 64;
    setting.repetitions = static_cast<std::size_t>(batches * setting.batch / setting.inputs);
    fae::Threads threads;
    const Exec exec = fae::par(threads);
    const fae::SyntheticSource source(fae::synthetic_kaggle(), epochs::seed);
    const fae::PackedDataset data = epochs::prepare(exec, source, setting);
    const fae::RowSpace space = data.row_space();
    fae::LookaheadFitOptions asked;
    asked.batch = setting.batch;
    const fae::LookaheadFit fit = fae::fit_lookahead(exec, data, asked);
    const Soak ahead = soak(exec, data, setting, batches, Lookahead(fit.resident(data), fit.options, &space));
    const Soak slots = soak(exec, data, setting, batches, fae::AllSlots<gpu::DeviceSpace>());
    const auto mb = [](std::uint64_t bytes) { return static_cast<double>(bytes) * 1e-6; };
    std::printf(
        "%llu batches of %zu: %.1f s ahead of a window of %llu, %.1f s with all rows in slots; %.2f M rows "
        "in, %.2f M out, %llu hits, %llu direct; waited %.2f s for steps, %.2f homes, %.2f room, %.2f rows\n",
        static_cast<unsigned long long>(batches), setting.batch, ahead.seconds,
        static_cast<unsigned long long>(fit.options.window), slots.seconds,
        static_cast<double>(ahead.counts.rows_in) * 1e-6, static_cast<double>(ahead.counts.rows_out) * 1e-6,
        static_cast<unsigned long long>(ahead.counts.hits),
        static_cast<unsigned long long>(ahead.counts.direct), ahead.stalls.steps, ahead.stalls.homes,
        ahead.stalls.room, ahead.stalls.rows);
    std::printf(
        "the trainer announced %.1f MB pinned and %.1f MB of the device; device %.1f MB before it, %.1f at a "
        "tenth, %.1f at the end; process %.1f, %.1f, %.1f MB\n",
        mb(ahead.announced.process), mb(ahead.announced.device), mb(ahead.before.device),
        mb(ahead.at_tenth.device), mb(ahead.at_end.device), mb(ahead.before.process),
        mb(ahead.at_tenth.process), mb(ahead.at_end.process));
    std::printf("digests %s and %s\n", ahead.digest.c_str(), slots.digest.c_str());
    if (argc > 2) {
        const auto three = [](std::uint64_t a, std::uint64_t b, std::uint64_t c) {
            return "[" + std::to_string(a) + ", " + std::to_string(b) + ", " + std::to_string(c) + "]";
        };
        std::ofstream(argv[2]) << R"({"batches": )" << batches << R"(, "batch": )" << setting.batch
                               << R"(, "window": )" << fit.options.window << R"(, "seconds": )"
                               << ahead.seconds << R"(, "seconds_all_slots": )" << slots.seconds
                               << R"(, "rows_in": )" << ahead.counts.rows_in << R"(, "rows_out": )"
                               << ahead.counts.rows_out << R"(, "announced_bytes": {"pinned": )"
                               << ahead.announced.process << R"(, "device": )" << ahead.announced.device
                               << R"(}, "device": )"
                               << three(ahead.before.device, ahead.at_tenth.device, ahead.at_end.device)
                               << R"(, "process": )"
                               << three(ahead.before.process, ahead.at_tenth.process, ahead.at_end.process)
                               << R"(, "waited": {"steps": )" << ahead.stalls.steps << R"(, "homes": )"
                               << ahead.stalls.homes << R"(, "room": )" << ahead.stalls.room
                               << R"(, "rows": )" << ahead.stalls.rows << R"(}, "digests": [")"
                               << ahead.digest << R"(", ")" << slots.digest << "\"]}\n";
    }
    const bool same_memory = ahead.at_end.device == ahead.at_tenth.device &&
                             ahead.at_end.process <= ahead.at_tenth.process + (std::uint64_t{1} << 20);
    return ahead.digest == slots.digest && same_memory ? 0 : 1;
}
