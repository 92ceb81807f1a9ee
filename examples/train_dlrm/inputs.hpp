// SPDX-License-Identifier: Apache-2.0
//
// Reading: from the log file or generator that the command line names to training, validation and test inputs
// in memory.
#pragma once

#include <cstdint>
#include <string>

#include "fae/io/dataset.hpp"
#include "options.hpp"
#include "training.hpp"

namespace train_dlrm {

/// The inputs of a run, before anything is known of their rows.
struct Inputs {
    fae::Dataset train;
    fae::Dataset validation;
    fae::Dataset test;
    std::uint64_t fingerprint = 0;  ///< of source, test and the options that shape them
    std::string source;             ///< for reports
    std::uint64_t malformed = 0;    ///< lines left out
    std::string first_malformed;
};

/// @throws FormatError, IoError, ContractError
[[nodiscard]] Inputs read_inputs(const Executor& exec, const Options& options);

}  // namespace train_dlrm
