// SPDX-License-Identifier: Apache-2.0
//
// What advise says: a table on the terminal, the same as JSON, and a report with pictures.
#pragma once

#include <string>

#include "advise_options.hpp"
#include "study.hpp"

namespace advise {

/// The table, the advice in words, and what to run next.
[[nodiscard]] std::string summary(const Options& options, const Study& study);
/// @throws IoError
void write_json(const std::string& path, const Study& study);
/// @throws IoError
void write_report(const std::string& path, const Options& options, const Study& study, double wall_seconds);

}  // namespace advise
