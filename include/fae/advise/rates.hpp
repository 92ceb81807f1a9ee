// SPDX-License-Identifier: Apache-2.0
//
// MachineRates: what a machine does how fast, as far as training embedding tables asks for it. Plain numbers:
// measured by a probe (advise/host_probe.hpp and the program `advise`), stored, or written by hand for a
// machine that is elsewhere.
//
//   MachineRates rates;
//   rates.rows.push_back({64, 1 << 30, 2e-9, 5e-9, 5e-9, 6e-9});
//   rates.dense.push_back({flops_per_input, batch, seconds});
//   rates.row_costs(64)                       // of rows of 64 bytes, by the bytes that they are drawn from
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// Seconds of one look-up among rows of so many bytes in all, looked up evenly at random: its part in a
/// forward pass, and in a backward pass with the row's update.
struct RowCosts {
    double record_bytes = 0;   ///< of a row with its optimizer state and stride
    double working_bytes = 0;  ///< of all rows that are looked up
    double gather = 0;         ///< forward
    double scatter = 0;        ///< index, sum of gradients and update, where a row has one place
    double scatter_fast = 0;   ///< the same in the fast tier of two, where updates are noted
    double scatter_home = 0;   ///< the same at home beside a fast tier, where updates are noted
};

/// The dense model's step, forward, backward and update, at one batch size.
struct DenseCost {
    double flops_per_input = 0;  ///< of forward and backward
    double batch = 0;
    double seconds = 0;
};

/// A whole step whose rows are at home, as training does it: with its threads, its link, its kernels, and
/// what each of them waits for.
struct MovingCost {
    double batch = 0;    ///< inputs of the step
    double rows = 0;     ///< that come from their homes, and as many go back
    double seconds = 0;  ///< of the step
};

/// Planning for a row that comes into a window: the larger the window, the less of the planner a cache holds.
struct PlanningCost {
    double window = 0;   ///< slots
    double seconds = 0;  ///< for a row, however many threads plan
};

/// An accelerator beside the host: the fast tier lies in its memory, the dense model runs on it.
struct DeviceRates {
    std::string name;
    double memory_bytes = 0;      ///< of the device
    double gather_bandwidth = 0;  ///< bytes a second of rows read at random in its memory
    double link_up = 0;           ///< bytes a second from pinned host memory to the device
    double link_down = 0;         ///< and back
    double host_gather = 0;       ///< bytes a second that all host cores gather rows into pinned memory
    double host_scatter = 0;      ///< and back
    double launch_seconds = 0;    ///< of a step beside its dense model and its rows' bytes: launches, loading
    double sync_up = 0;    ///< bytes a second of rows put into the fast tier; 0: as link and gathering allow
    double sync_down = 0;  ///< and written back
    std::vector<DenseCost> dense;
    std::vector<MovingCost> home;        ///< batches served at home; empty: as link and host allow
    std::vector<PlanningCost> planning;  ///< empty: planning takes no time
};

/// Bytes of device memory that a step's look-ups move. Forward reads each row and writes a vector a bag;
/// backward reads those and rewrites each different row once.
[[nodiscard]] inline double lookup_bytes(double lookups, double bags, double different_rows, double width,
                                         double row_bytes) {
    return lookups * width + 2 * bags * width + 2 * different_rows * row_bytes;
}

/// One machine.
struct MachineRates {
    std::string machine;
    std::uint64_t cores = 1;                ///< threads that the host's rates were measured with
    double load_seconds_per_byte = 0;       ///< gathering an input of a mini-batch from a data set in memory
    double fill_seconds_per_byte = 0;       ///< copying rows, on the host, into a fast tier never used before
    double move_up_seconds_per_byte = 0;    ///< from their homes into one that was
    double move_down_seconds_per_byte = 0;  ///< and back
    double plan_seconds = 0;                ///< planning one look-up of the look-ahead placement
    std::vector<RowCosts> rows;
    std::vector<DenseCost> dense;
    std::optional<DeviceRates> device;

    /// The measured costs of the record size nearest to the one asked for (in ratio), ascending in
    /// working_bytes; seconds are those of the measured size, scaled by bytes where that is smaller.
    /// @throws ContractError if there are none
    [[nodiscard]] std::vector<RowCosts> row_costs(double record_bytes) const {
        require(!rows.empty(), [] { return std::string("the rates hold no row costs, expected some"); });
        const auto distance = [&](const RowCosts& costs) {
            return std::fabs(std::log(costs.record_bytes / record_bytes));
        };
        const RowCosts& nearest = *std::min_element(
            rows.begin(), rows.end(),
            [&](const RowCosts& a, const RowCosts& b) { return distance(a) < distance(b); });
        std::vector<RowCosts> found;
        const double factor = std::max(1.0, record_bytes / nearest.record_bytes);
        for (RowCosts costs : rows) {
            if (costs.record_bytes != nearest.record_bytes) continue;
            for (double* seconds : {&costs.gather, &costs.scatter, &costs.scatter_fast, &costs.scatter_home})
                *seconds *= factor;
            found.push_back(costs);
        }
        std::sort(found.begin(), found.end(),
                  [](const RowCosts& a, const RowCosts& b) { return a.working_bytes < b.working_bytes; });
        return found;
    }
};

/// The seconds of a dense step of `batch` inputs of so many operations each: from the model measured whose
/// operations are nearest (in ratio), in proportion to them; between measured batch sizes in proportion to
/// size, beyond them at the rate of the last.
/// @throws ContractError if nothing was measured
[[nodiscard]] inline double dense_seconds(const std::vector<DenseCost>& costs, double flops_per_input,
                                          double batch) {
    require(!costs.empty(), [] { return std::string("the rates hold no dense step, expected some"); });
    const auto distance = [&](const DenseCost& cost) {
        return std::fabs(std::log(std::max(cost.flops_per_input, 1.0) / std::max(flops_per_input, 1.0)));
    };
    double nearest = costs.front().flops_per_input;
    for (const DenseCost& cost : costs) {
        if (distance(cost) < distance({nearest, 0, 0})) nearest = cost.flops_per_input;
    }
    std::vector<DenseCost> of_model;
    for (const DenseCost& cost : costs) {
        if (cost.flops_per_input == nearest) of_model.push_back(cost);
    }
    std::sort(of_model.begin(), of_model.end(),
              [](const DenseCost& a, const DenseCost& b) { return a.batch < b.batch; });
    double seconds = of_model.back().seconds * batch / std::max(of_model.back().batch, 1.0);
    if (batch <= of_model.front().batch) {
        seconds = of_model.front().seconds * batch / std::max(of_model.front().batch, 1.0);
    } else {
        for (std::size_t i = 1; i < of_model.size(); ++i) {
            const DenseCost& low = of_model[i - 1];
            const DenseCost& high = of_model[i];
            if (batch > high.batch) continue;
            const double part = (batch - low.batch) / (high.batch - low.batch);
            seconds = low.seconds + part * (high.seconds - low.seconds);
            break;
        }
    }
    return seconds * std::max(flops_per_input, 1.0) / std::max(nearest, 1.0);
}

/// A step of `batch` inputs in which `rows` rows move: between measured numbers of rows in proportion, beyond
/// them as between the two nearest; from the batch size measured that is nearest (in ratio), in proportion.
/// @throws ContractError if nothing was measured
[[nodiscard]] inline MovingCost moving_cost(const std::vector<MovingCost>& costs, double batch, double rows) {
    require(!costs.empty(), [] { return std::string("the rates hold no moving step, expected some"); });
    double nearest = costs.front().batch;
    for (const MovingCost& cost : costs) {
        if (std::fabs(std::log(cost.batch / batch)) < std::fabs(std::log(nearest / batch)))
            nearest = cost.batch;
    }
    std::vector<MovingCost> of_batch;
    for (const MovingCost& cost : costs) {
        if (cost.batch == nearest) of_batch.push_back(cost);
    }
    std::sort(of_batch.begin(), of_batch.end(),
              [](const MovingCost& a, const MovingCost& b) { return a.rows < b.rows; });
    const double scale = batch / nearest;
    const double asked = rows / scale;
    MovingCost found = of_batch.front();
    for (std::size_t i = 1; i < of_batch.size(); ++i) {
        const MovingCost& low = of_batch[i - 1];
        const MovingCost& high = of_batch[i];
        if (high.rows <= low.rows || (i > 1 && asked <= low.rows)) continue;
        const double part = (asked - low.rows) / (high.rows - low.rows);
        found.seconds = std::max(0.0, low.seconds + part * (high.seconds - low.seconds));
    }
    return {batch, rows, found.seconds * scale};
}

/// Planning seconds for a row with a window of so many slots: between measured windows in proportion, beyond
/// them those of the nearest; 0 if nothing was measured.
[[nodiscard]] inline double planning_seconds(std::vector<PlanningCost> costs, double window) {
    if (costs.empty()) return 0;
    std::sort(costs.begin(), costs.end(),
              [](const PlanningCost& a, const PlanningCost& b) { return a.window < b.window; });
    if (window <= costs.front().window) return costs.front().seconds;
    for (std::size_t i = 1; i < costs.size(); ++i) {
        const PlanningCost& low = costs[i - 1];
        const PlanningCost& high = costs[i];
        if (window > high.window) continue;
        return low.seconds +
               (high.seconds - low.seconds) * (window - low.window) / (high.window - low.window);
    }
    return costs.back().seconds;
}

}  // namespace fae::inline FAE_ABI
