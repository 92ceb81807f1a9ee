// SPDX-License-Identifier: Apache-2.0
//
// What choosing rows for inputs (classify/input_selection.hpp) would give at each budget, beside count order.
// Of many inputs only a sample is looked at, so that time and memory stay bounded.
#pragma once

#include <cstdint>
#include <vector>

#include "../train_dlrm/training.hpp"
#include "fae/profile/access_profile.hpp"
#include "input_stream.hpp"

namespace advise {

/// The hot inputs of one budget's sets: among the inputs that rows were chosen for, and among others.
struct InputAware {
    std::uint64_t chosen_from = 0;  ///< all inputs, or a sample
    std::uint64_t hot_inputs = 0;   ///< of them
    std::uint64_t hot_inputs_by_count = 0;
    std::uint64_t held_out =
        0;  ///< inputs that the rows were not chosen for; of the sample, or of a second choice
    std::uint64_t held_out_hot_inputs = 0;
    std::uint64_t held_out_hot_inputs_by_count = 0;
};

/// Inputs that all are chosen from; of more inputs about as many.
inline constexpr std::uint64_t most_chosen_from = 250'000;

/// One for each budget. Up to most_chosen_from inputs the first choice is from all of them, and the one that
/// is tried on held-out inputs from four in five; of more inputs both are one, from a sample.
/// @cost   two passes over the file; memory: 4 bytes for each look-up of 500,000 inputs, 7 an input, 8 a row
/// @throws IoError, Interrupted
[[nodiscard]] std::vector<InputAware> input_aware(const Executor& exec, const InputStream& stream,
                                                  const fae::AccessProfile<>& profile,
                                                  std::uint64_t row_bytes,
                                                  const std::vector<std::uint64_t>& budgets,
                                                  std::uint64_t seed);

}  // namespace advise
