// SPDX-License-Identifier: Apache-2.0
//
// What the program shows while it works, and Ctrl-C: a long run stops between two batches, so that every file
// is either whole or not there.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "fae/trace/progress.hpp"

namespace train_dlrm {

/// Ctrl-C, seen between two pieces of work.
struct Interrupted : std::runtime_error {
    Interrupted() : std::runtime_error("interrupted; nothing was written that is not whole") {}
};

/// Makes the first Ctrl-C ask for a stop; a second one ends the process at once.
void catch_interrupts();

/// @throws Interrupted after a Ctrl-C
void stop_if_interrupted();

/// A progress bar on standard error, silent where that is not a terminal.
[[nodiscard]] std::unique_ptr<fae::Progress> progress(const std::string& label, std::uint64_t total,
                                                      const std::string& things);

}  // namespace train_dlrm
