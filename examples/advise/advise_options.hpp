// SPDX-License-Identifier: Apache-2.0
//
// The command line of advise. Source and model are train_dlrm's options.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../train_dlrm/options.hpp"

namespace advise {

/// Everything that the command line says.
struct Options {
    train_dlrm::Options run;             ///< source, model, sample, seed, threads
    std::string trainer = "train_dlrm";  ///< how this user's shell finds it: beside this program
    train_dlrm::Size first_budget{16.0 * 1024 * 1024, false};
    train_dlrm::Size last_budget{8.0 * 1024 * 1024 * 1024, false};
    std::optional<double> target_inputs;
    std::optional<double> target_lookups;
    std::optional<std::uint64_t> sketch_bytes;  ///< profile in so much memory instead of a counter a row
    std::string rates;
    std::string json;
    std::string report;

    /// The sweep over a model of so many bytes of rows: doubled from the first budget, ending with the last.
    /// @throws UsageError if the first is 0 or above the last
    [[nodiscard]] std::vector<std::uint64_t> budgets(std::uint64_t row_bytes) const;
};

/// Reads the command line. Prints help or version itself and then returns none.
/// @throws UsageError with one line of text
[[nodiscard]] std::optional<Options> parse_options(int argc, char** argv);

}  // namespace advise
