// SPDX-License-Identifier: Apache-2.0
//
// What a run leaves behind: its figures as JSON, a table that a person can read, and the HTML report.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fae/report/placement_sections.hpp"
#include "fae/trace/metrics.hpp"
#include "options.hpp"
#include "preparation.hpp"
#include "training.hpp"

namespace train_dlrm {

/// Everything that is known when a run ends.
struct Run {
    const Options& options;
    const Prepared& prepared;
    const TrainingResult& result;
    const fae::Metrics& metrics;
    double wall_seconds = 0;
};

/// @throws IoError
void write_json(const std::string& path, const Run& run);
/// @throws IoError
void write_report(const std::string& path, const Run& run);
/// Writes a file whole or not at all.
/// @throws IoError
void write_text(const std::string& path, const std::string& text);
/// The closing table.
[[nodiscard]] std::string summary(const Run& run);

}  // namespace train_dlrm
