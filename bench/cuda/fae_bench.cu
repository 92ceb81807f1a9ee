// SPDX-License-Identifier: Apache-2.0
//
// FAE itself, on one GPU: epochs of RMC2 over Kaggle-shaped inputs in the order `fae`, the rows placed by the
// reference hybrid, all at home, static, and all in device memory, in one run. The hot set is calibrated from
// counts over as many inputs as the real set has; a part of these is trained on.
//
//   fae_bench                              # --skew zipf:1.1, then the measured skew
//   fae_bench --inputs 500000 --repetitions 1
//   fae_bench --skew measured --placements static,all_slots    # without the slow reference
//
// Prints, and with --json OUT writes, for every batch size the seconds of an epoch under each placement
// (median, least, most), the share h of hot inputs, 1 / (1 - h), the time that h predicts, and the digests,
// which must be equal: a differing one ends the program with 1.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/fae_epochs.cuh"
#include "fae/core/threads.hpp"
#include "fae/cuda/space.hpp"
#include "fae/io/packed.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"

namespace {

namespace gpu = fae::cuda;
using epochs::Epochs;
using epochs::Exec;

struct Options : epochs::Setting {
    std::string skew = "both";  // zipf, measured or both
    std::string placements = "static,all_home,all_slots,reference";
    std::string json;

    [[nodiscard]] bool asks_for(std::string_view placement) const {
        return ("," + placements + ",").find("," + std::string(placement) + ",") != std::string::npos;
    }
};

/// One skew: a table for people, rows for the JSON. False if digests differ.
bool compare(const Exec& exec, const char* skew, fae::SyntheticSpec spec, bool with_reference,
             const Options& options, std::ostringstream& json) {
    const fae::SyntheticSource source(std::move(spec), epochs::seed);
    const fae::PackedDataset data = epochs::prepare(exec, source, options);
    const double h = static_cast<double>(data.hot().inputs()) / static_cast<double>(data.inputs());
    std::printf("\n%s: %llu hot rows, h = %.4f, 1 / (1 - h) = %.2f, %llu inputs an epoch\n", skew,
                static_cast<unsigned long long>(data.hot_set().size()), h, 1 / (1 - h),
                static_cast<unsigned long long>(data.inputs()));
    bool equal = true;
    for (const std::size_t batch : {std::size_t{1024}, std::size_t{4096}}) {
        std::vector<std::pair<std::string, Epochs>> all;
        epochs::Setting setting = options;
        setting.batch = batch;
        const auto add = [&](const char* name, auto placement) -> const Epochs* {
            if (!options.asks_for(name)) return nullptr;
            all.emplace_back(name, epochs::run(exec, data, setting, std::move(placement)));
            return &all.back().second;
        };
        all.reserve(4);
        using Static = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
        const Epochs* hot = add("static", Static(data.hot_set()));
        const Epochs* home = add("all_home", fae::AllHome<gpu::PinnedSpace>());
        const Epochs* slots = add("all_slots", fae::AllSlots<gpu::DeviceSpace>());
        for (const auto& [name, epochs] : all) equal = equal && epochs.digest == all.front().second.digest;
        if (with_reference && options.asks_for("reference")) {
            // Slow and even: two epochs, the second timed. Its digest is that of static after two as well.
            epochs::Setting two = setting;
            two.repetitions = 1;
            all.emplace_back("reference", epochs::run_reference(exec, data, two));
            equal = equal &&
                    epochs::run(exec, data, two, Static(data.hot_set())).digest == all.back().second.digest;
        }
        const double base = all.empty() ? 0 : all.front().second.median();
        const double predicted =
            home == nullptr || slots == nullptr ? 0 : (1 - h) * home->median() + h * slots->median();
        for (const auto& [name, epochs] : all) {
            const auto [least, most] = std::minmax_element(epochs.seconds.begin(), epochs.seconds.end());
            std::printf("  batch %5zu  %-9s  %7.3f s [%.3f, %.3f]  %6.2f M samples/s  %5.2fx %s  %s\n", batch,
                        name.c_str(), epochs.median(), *least, *most,
                        static_cast<double>(data.inputs()) / epochs.median() * 1e-6, epochs.median() / base,
                        all.front().first.c_str(), epochs.digest.c_str());
            json << (json.tellp() == 0 ? "" : ",\n") << R"( {"skew": ")" << skew << R"(", "batch": )" << batch
                 << R"(, "placement": ")" << name << R"(", "h": )" << h << R"(, "predicted_static": )"
                 << predicted << R"(, "digest": ")" << epochs.digest << R"(", "seconds": [)";
            for (std::size_t i = 0; i < epochs.seconds.size(); ++i) {
                json << (i == 0 ? "" : ", ") << epochs.seconds[i];
            }
            json << "]}";
        }
        if (hot != nullptr) {
            std::printf("  batch %5zu  static synchronises %.2f M rows in %.3f s of an epoch\n", batch,
                        hot->moved_rows * 1e-6, hot->synchronising);
        }
        if (hot != nullptr && predicted > 0) {
            std::printf("  batch %5zu  (1-h) all_home + h all_slots = %.3f s: static reaches %.2f of it\n",
                        batch, predicted, predicted / hot->median());
        }
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
        if (name == "--skew") options.skew = argv[i + 1];
        if (name == "--placements") options.placements = argv[i + 1];
        if (name == "--load-threads") options.load_threads = static_cast<std::size_t>(number());
        if (name == "--json") options.json = argv[i + 1];
    }
    fae::Threads threads;
    const Exec exec = fae::par(threads);
    std::ostringstream rows;
    const bool zipf =
        options.skew == "measured" ||
        compare(exec, "zipf 1.1", fae::with_zipf(fae::synthetic_kaggle(), 1.1), true, options, rows);
    const bool real = options.skew == "zipf" ||
                      compare(exec, "measured skew", fae::synthetic_kaggle(), false, options, rows);
    if (!options.json.empty()) std::ofstream(options.json) << "[\n" << rows.str() << "\n]\n";
    if (!zipf || !real) {
        std::puts("digests differ");
        return 1;
    }
    std::puts("digests are equal");
    return 0;
}
