// SPDX-License-Identifier: Apache-2.0
//
// Reading: from the log file or generator that the command line names to training, validation and test inputs
// in memory.
#pragma once

#include <cstdint>
#include <string>

#include "fae/io/dataset.hpp"
#include "fae/io/synthetic_spec.hpp"
#include "fae/io/text_reader.hpp"
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

/// How a log is read, which synthetic set is meant, and what reports call the source.
[[nodiscard]] fae::ReadOptions reading_of(const Options& options);
[[nodiscard]] fae::SyntheticSpec synthetic_of(const Options& options);
[[nodiscard]] std::string source_name(const Options& options);

/// The inputs at the end of a log that a share holds out.
[[nodiscard]] std::uint64_t held_out(std::uint64_t inputs, double share);

/// @throws FormatError, IoError, ContractError
[[nodiscard]] Inputs read_inputs(const Executor& exec, const Options& options);

}  // namespace train_dlrm
