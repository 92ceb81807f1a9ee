// SPDX-License-Identifier: Apache-2.0
//
// advise: from a click log to how much fast memory its model should get, and whether it is worth it.
//
//   advise --data day_0.gz --format criteo --budgets 64MiB..4GiB --report advice.html
//   zcat day_*.gz | advise --data - --format criteo
//
// The way of the data: input_stream.cpp reads once and keeps the look-ups in a file; study.cpp profiles,
// ranks, counts and asks the advisor; rates_file.cpp measures the machine; output.cpp says what came of it.
#include <chrono>
#include <iostream>

#include "../train_dlrm/console.hpp"
#include "../train_dlrm/exit_code.hpp"
#include "advise_options.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/atomic_file.hpp"
#include "output.hpp"
#include "study.hpp"

namespace {

void run(const advise::Options& options) {
    const auto start = std::chrono::steady_clock::now();
    for (const std::string& path : {options.json, options.report}) {
        if (!path.empty()) fae::AtomicFile(path).abandon();
    }
    fae::Threads threads(options.run.threads);
    const advise::Executor exec = fae::par(threads);
    const advise::Study study = advise::study(exec, options);
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    if (!options.json.empty()) advise::write_json(options.json, study);
    if (!options.report.empty()) advise::write_report(options.report, options, study, wall.count());
    std::cout << advise::summary(options, study);
    if (!options.report.empty()) std::cout << "report: " << options.report << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    return train_dlrm::exit_code_of("advise", [&] {
        const auto options = advise::parse_options(argc, argv);
        if (!options) return;
        train_dlrm::catch_interrupts();
        run(*options);
    });
}
