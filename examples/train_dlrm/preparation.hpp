// SPDX-License-Identifier: Apache-2.0
//
// Preparation: FAE's static pass. Profile the training inputs, calibrate the budget to a hot set, classify
// the inputs, pack the result; or open what an earlier run packed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fae/io/packed.hpp"
#include "fae/models/dlrm_shape.hpp"
#include "fae/report/placement_sections.hpp"
#include "fae/trace/metrics.hpp"
#include "options.hpp"
#include "training.hpp"

namespace train_dlrm {

/// A data set ready for training, and what is known about its placement.
struct Prepared {
    fae::PackedDataset data;
    fae::DlrmShape shape;
    std::uint64_t hot_bytes = 0;  ///< hot rows with state and stride, and their index
    std::uint64_t malformed = 0;
    std::string first_malformed;
    // Pictures for the report, where the profile was taken in this run.
    std::optional<fae::report::AccessCurves> access;
    std::optional<fae::report::BudgetCurve> budgets;

    [[nodiscard]] std::uint64_t budget_bytes() const { return data.provenance().budget_bytes; }
};

/// @throws UsageError where the command line contradicts the packed file; FormatError, IoError, ContractError
[[nodiscard]] Prepared prepare(const Executor& exec, const Options& options, fae::Metrics& metrics);

}  // namespace train_dlrm
