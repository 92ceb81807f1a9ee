// SPDX-License-Identifier: Apache-2.0
//
// The rates of a machine: read from a JSON file, or measured here and stored in it.
#pragma once

#include <string>

#include "../train_dlrm/options.hpp"
#include "../train_dlrm/training.hpp"
#include "fae/advise/rates.hpp"
#include "fae/models/dlrm_shape.hpp"

namespace advise {

using train_dlrm::Executor;

/// @throws IoError if the file cannot be read; FormatError if it holds something else than rates
[[nodiscard]] fae::MachineRates read_rates(const std::string& path);

/// @throws IoError
void write_rates(const std::string& path, const fae::MachineRates& rates);

/// Measures this machine for a model: the host, and a device where the build and the machine have one.
[[nodiscard]] fae::MachineRates probe_machine(const Executor& exec, const train_dlrm::Options& options,
                                              const fae::DlrmShape& shape);

}  // namespace advise
