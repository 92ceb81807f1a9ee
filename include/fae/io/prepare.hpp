// SPDX-License-Identifier: Apache-2.0
//
// prepare: FAE's static pass in one call. Profiles the training inputs, turns the budget into a hot set,
// classifies the inputs by it and packs the result.
//
//   PackedDataset data = prepare(par(threads), train, std::move(validation), {.budget_bytes = 64 << 20});
//   HotColdTable<float, StaticPlacement<>> table(data.row_space(), OptimizerKind::sgd,
//                                                static_placement(data.hot_set()));
//
// Who wants what lies between the steps (the profile, what the budget bought) calls them one by one.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/row_space.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/packed.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/profile/sampled.hpp"

namespace fae::inline FAE_ABI {

/// What prepare is asked for.
struct PrepareOptions {
    std::uint64_t budget_bytes = 0;  ///< of the fast tier: hot rows with state and stride, and their index
    std::uint32_t dim = 16;          ///< floats in a row
    OptimizerKind optimizer = OptimizerKind::sgd;  ///< whose state is part of a row
    double sample = 1.0;                           ///< share of the training inputs that are profiled
    std::uint64_t seed = 1;                        ///< of the sample; kept for the order of training
    std::string source{};                          ///< free text for reports
};

/// Profiles, calibrates, classifies and packs.
/// @shape  validation and test are of the shape of `train`, or without inputs
/// @exec   seq, par: returns when done; equal for every executor
/// @cost   memory: 4 bytes a row for the profile, and a second copy of the training inputs
/// @throws ContractError if sample is not in (0, 1], or as RowSpace and pack
/// @source Adnan et al., PVLDB 15(1), 2021: the static pass
template <Executor E>
[[nodiscard]] PackedDataset prepare(const E& exec, const Dataset& train, Dataset validation, Dataset test,
                                    const PrepareOptions& options) {
    require(options.sample > 0 && options.sample <= 1,
            [&] { return concat("sample is ", options.sample, ", expected more than 0 and at most 1"); });
    const RowSpace space = train.shape.row_space(options.dim);
    AccessProfiler<> profiler(space);
    if (options.sample == 1) {
        profiler.add(exec, train.bags());
    } else {
        const auto count = static_cast<std::uint64_t>(options.sample * static_cast<double>(train.inputs()));
        profiler.add(exec, train.bags(), InputSampler::exact(train.inputs(), count, options.seed));
    }
    const AccessProfile<> profile = profiler.finish();

    CalibrationOptions asked;
    asked.budget_bytes = options.budget_bytes;
    asked.row_bytes = row_layout(options.dim, state_size(options.optimizer, options.dim)).bytes();
    Calibration calibration = calibrate(exec, profile, asked);
    std::vector<std::uint64_t> counts = slot_counts(exec, profile, calibration.hot_set);
    Classification classes = classify(exec, calibration.hot_set, space, train.bags());

    Provenance provenance;
    provenance.fingerprint = train.fingerprint;
    provenance.budget_bytes = asked.budget_bytes;
    provenance.row_bytes = asked.row_bytes;
    provenance.seed = options.seed;
    provenance.sample = options.sample;
    provenance.dim = options.dim;
    provenance.source = options.source;
    provenance.optimizer = optimizer_name(options.optimizer);
    provenance.cutoffs = calibration.report.cutoffs.front();
    return pack(exec, train, std::move(validation), std::move(test), std::move(calibration.hot_set),
                std::move(classes), std::move(counts), std::move(provenance));
}
/// The same without test inputs.
template <Executor E>
[[nodiscard]] PackedDataset prepare(const E& exec, const Dataset& train, Dataset validation,
                                    const PrepareOptions& options) {
    return prepare(exec, train, std::move(validation), {}, options);
}

}  // namespace fae::inline FAE_ABI
