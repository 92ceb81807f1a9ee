// SPDX-License-Identifier: Apache-2.0
//
// LearningRate: the rate of each step as a pure function of the step's number: linear warm-up, then constant,
// then quadratic decay.
//
//   LearningRate rate{.base = 0.1, .warmup_steps = 2750, .decay_start = 49315, .decay_steps = 27772};
//   model.step(seq, rate.at(step));
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// A learning rate schedule. Steps count from 0 over the whole run.
///   step <  warmup_steps                         base * (step + 1) / warmup_steps
///   step <  decay_start, or decay_steps is 0     base
///   step <  decay_start + decay_steps            base * ((decay_start + decay_steps - step) / decay_steps)^2
///   later                                        floor
/// Decay never goes below `floor`, nor above `base`.
/// @source the schedule of MLPerf Training's DLRM (Criteo Terabyte)
struct LearningRate {
    double base = 0.1;
    std::uint64_t warmup_steps = 0;
    std::uint64_t decay_start = 0;
    std::uint64_t decay_steps = 0;  ///< 0: no decay
    double floor = 1e-7;

    /// @throws ContractError unless base is positive and finite, floor at least 0 and finite, and the decay
    ///         begins after the warm-up and ends within 64 bits
    void check() const {
        require(std::isfinite(base) && base > 0,
                [&] { return concat("the learning rate is ", base, ", expected a positive number"); });
        require(std::isfinite(floor) && floor >= 0,
                [&] { return concat("the least learning rate is ", floor, ", expected at least 0"); });
        if (decay_steps == 0) return;
        require(decay_start >= warmup_steps, [&] {
            return concat("decay starts at step ", decay_start, ", expected at least the ", warmup_steps,
                          " steps of warm-up");
        });
        require(decay_steps <= ~decay_start, [&] {
            return concat("decay takes ", decay_steps, " steps, expected at most ", ~decay_start);
        });
    }

    /// The rate of one step.
    [[nodiscard]] float at(std::uint64_t step) const {
        if (step < warmup_steps) {
            const double share = (static_cast<double>(step) + 1) / static_cast<double>(warmup_steps);
            return static_cast<float>(base * share);
        }
        if (decay_steps == 0 || step < decay_start) return static_cast<float>(base);
        const std::uint64_t passed = step - decay_start;
        const std::uint64_t left = passed < decay_steps ? decay_steps - passed : 0;
        const double share = static_cast<double>(left) / static_cast<double>(decay_steps);
        return static_cast<float>(std::min(base, std::max(floor, base * (share * share))));
    }
};

}  // namespace fae::inline FAE_ABI
