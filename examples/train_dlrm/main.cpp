// SPDX-License-Identifier: Apache-2.0
//
// train_dlrm: from a click log to a trained DLRM, with the rows that training touches most in a fast tier.
//
//   train_dlrm --data day_0.gz --format criteo --budget 10% --report run.html
//
// The way of the data: inputs.cpp reads, preparation.cpp profiles, calibrates, classifies and packs,
// training.hpp trains with the session of a device (host_session.hpp, device_session.cuh), output.cpp
// reports.
#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

#include "console.hpp"
#include "device_training.hpp"
#include "exit_code.hpp"
#include "fae/core/error.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/io/fae_file.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"
#include "fae/trace/metrics.hpp"
#include "fae/trace/trace.hpp"
#include "host_session.hpp"
#include "options.hpp"
#include "output.hpp"
#include "preparation.hpp"
#include "training.hpp"

namespace {

using namespace train_dlrm;

TrainingResult train_on_host(const Executor& exec, const Options& options, const Prepared& prepared,
                             fae::Metrics& metrics, fae::Trace* trace) {
    const auto run = [&](auto placement) {
        HostSession session(exec, options, prepared.shape, prepared.data, std::move(placement), trace);
        return with_policy(options, [&](auto policy) {
            return train(session, options, prepared.data, std::move(policy), metrics, 1);
        });
    };
    switch (options.placement) {
        case Placement::all_home:
            return run(fae::all_home);
        case Placement::all_slots:
            return run(fae::all_slots);
        case Placement::static_hot:
            return run(fae::static_placement(prepared.data.hot_set()));
        case Placement::lookahead:
            break;
    }
    const fae::LookaheadFit fit = fit_of(exec, options, prepared.data);
    const fae::RowSpace space = prepared.data.row_space();
    return run(fae::LookaheadPlacement<>(fit.resident(prepared.data), fit.options, &space));
}

TrainingResult train_as_asked(const Executor& exec, const Options& options, const Prepared& prepared,
                              fae::Metrics& metrics, fae::Trace* trace) {
#if defined(FAE_EXAMPLES_WITH_CUDA)
    if (options.device == Device::cuda) return train_on_device(exec, options, prepared, metrics, trace);
#endif
    return train_on_host(exec, options, prepared, metrics, trace);
}

// A run of hours must not end with a file that cannot be written.
void check_writable(const Options& options) {
    for (const std::string& path : {options.json, options.report, options.trace, options.pack}) {
        if (!path.empty()) fae::AtomicFile(path).abandon();
    }
    if (options.save.empty()) return;
    // The folder is made when there is something to put into it; until then its place must take files.
    std::filesystem::path folder = std::filesystem::absolute(options.save);
    while (!std::filesystem::exists(folder) && folder.has_relative_path()) folder = folder.parent_path();
    if (!std::filesystem::is_directory(folder))
        throw fae::IoError(folder.string(), "is no folder, which --save needs");
    fae::AtomicFile((folder / "weights_digest.txt").string()).abandon();
}

void run(const Options& options) {
    const auto start = std::chrono::steady_clock::now();
    check_writable(options);
#if defined(FAE_EXAMPLES_WITH_CUDA)
    if (options.device == Device::cuda) require_device();
#endif
    fae::Threads threads(options.threads);
    const Executor exec = fae::par(threads);
    fae::Metrics metrics;
    const Prepared prepared = prepare(exec, options, metrics);
    if (!options.pack.empty()) {
        const fae::ScopedSeconds timer(metrics, fae::Phase::pack);
        fae::write_fae_file(exec, options.pack, prepared.data);
    }
    std::optional<fae::Trace> trace;
    if (!options.trace.empty()) trace.emplace();
    const TrainingResult result = train_as_asked(exec, options, prepared, metrics, trace ? &*trace : nullptr);
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    const Run done{options, prepared, result, metrics, wall.count()};
    if (!options.json.empty()) write_json(options.json, done);
    if (!options.report.empty()) write_report(options.report, done);
    if (trace) write_text(options.trace, trace->json());
    std::cout << summary(done);
    if (!options.report.empty()) std::cout << "report: " << options.report << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    return exit_code_of("train_dlrm", [&] {
        const auto options = parse_options(argc, argv);
        if (!options) return;
        catch_interrupts();
        run(*options);
    });
}
