// SPDX-License-Identifier: Apache-2.0
//
// The study of a source: profile, what each budget buys, what that is predicted to be worth, and whether it
// lasts. The way: count rows; rank them; count inputs by the budget that makes them hot; forecast; advise;
// look at the last two thirds of a log with what its first third says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "advise_options.hpp"
#include "fae/advise/advisor.hpp"
#include "fae/advise/drift.hpp"
#include "fae/advise/model_shape.hpp"
#include "fae/advise/rates.hpp"
#include "fae/report/placement_sections.hpp"
#include "fae/trace/metrics.hpp"
#include "input_aware.hpp"
#include "input_stream.hpp"

namespace advise {

/// Everything that is known in the end.
struct Study {
    std::string source;
    std::uint64_t inputs = 0;  ///< of the training split, as all counts
    std::uint64_t lookups = 0;
    std::uint64_t rows = 0;
    std::uint64_t row_bytes = 0;
    std::uint64_t malformed = 0;
    std::string first_malformed;
    bool sampled = false;   ///< the profile that chose the rows is of a sample; counts are of all inputs
    bool sketched = false;  ///< it is a sketch
    fae::MachineRates rates;
    fae::ModelShape shape;
    /// One a budget.
    std::vector<fae::BudgetForecast> sweep;
    std::vector<std::uint64_t> hot_lookups;
    std::vector<std::uint64_t> hot_inputs;
    std::vector<InputAware> input_aware;  ///< where all rows were counted; else empty
    fae::Advice advice;
    std::optional<fae::DriftReport> drift;            ///< of a log of some length
    std::uint64_t window_inputs = 0;                  ///< of a drift window
    std::optional<fae::report::AccessCurves> access;  ///< if a report is wanted
    fae::Metrics metrics;
};

/// @throws UsageError, FormatError, IoError, ContractError, Interrupted
[[nodiscard]] Study study(const Executor& exec, const Options& options);

}  // namespace advise
