// SPDX-License-Identifier: Apache-2.0
//
// The part of the command line that train_dlrm and advise have in common: where inputs come from, what is
// held out, which model looks them up. Both programs add it to their own options.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "fae/ops/optimizer.hpp"
#include "options.hpp"

namespace CLI {
class App;
}

namespace train_dlrm {

/// Adds --data to --seed and --sample.
/// @param data_help  what --data takes
void add_source_options(CLI::App& app, Options& options, const std::string& data_help);

/// Adds --model, --dim, --optimizer, --batch and --threads.
/// @param optimizer  its name, for optimizer_of() once the line is parsed
void add_model_options(CLI::App& app, Options& options, std::string& optimizer);

/// Parses the line. False where it asked for help or version, which are then printed.
/// @throws UsageError with one line of text
[[nodiscard]] bool parse_command_line(CLI::App& app, int argc, char** argv);

/// The rules among the options of add_source_options and add_model_options.
/// @throws UsageError
void check_source(const Options& options);

/// @throws UsageError(what) unless `holds`
void check(bool holds, const std::string& what);

/// The value of --threads where it is not given: one a processor.
[[nodiscard]] std::size_t default_threads();

/// @throws UsageError for a name that no optimizer has
[[nodiscard]] fae::OptimizerKind optimizer_of(const std::string& name);

/// For CLI11's check(): the command line's own numbers take -5 for a huge one and cut what does not fit.
[[nodiscard]] std::string whole_number(const std::string& text);

/// The value that a name stands for.
/// @throws UsageError, "expected one of", for another name
template <class Value>
Value value_of(const std::map<std::string, Value>& names, const char* option, const std::string& name) {
    const auto found = names.find(name);
    if (found != names.end()) return found->second;
    std::string known;
    for (const auto& entry : names) known += (known.empty() ? "" : ", ") + entry.first;
    throw UsageError(std::string(option) + ": " + name + ", expected one of " + known);
}

}  // namespace train_dlrm
