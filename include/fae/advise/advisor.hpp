// SPDX-License-Identifier: Apache-2.0
//
// advise: how much fast memory to give, under which placement, and whether it is worth it at all.
//
//   std::vector<BudgetForecast> sweep = forecast_sweep(rates, shape, access, offers);
//   Advice advice = advise(sweep);
//   advice.worth_it, advice.budget_bytes, advice.placement, advice.why
//
// The knee is the smallest budget whose fastest placement reaches 95 % of the best speed of the sweep and is
// 5 % faster than all rows at home. Where none is, fast memory is not worth it, and the knee is that of the
// look-ups: the smallest budget that keeps hot 95 % of what the largest one does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/advise/access_shape.hpp"
#include "fae/advise/forecast.hpp"
#include "fae/advise/model_shape.hpp"
#include "fae/advise/rates.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {

/// One budget: what it buys, and every placement with it.
struct BudgetForecast {
    BudgetOffer offer;
    std::vector<PlacementForecast> placements;

    /// @throws ContractError if there is none of this name
    [[nodiscard]] const PlacementForecast& placement(const std::string& name) const {
        for (const PlacementForecast& one : placements) {
            if (one.name == name) return one;
        }
        throw ContractError(concat("placement ", name, ", expected one that was forecast"));
    }
    /// The fastest placement whose fast tier fits the budget; of equal ones the first.
    [[nodiscard]] const PlacementForecast& best() const {
        const PlacementForecast* found = nullptr;
        for (const PlacementForecast& one : placements) {
            if (one.fits && (found == nullptr || one.samples_per_second > found->samples_per_second)) {
                found = &one;
            }
        }
        require(found != nullptr, [] { return std::string("no placement fits, expected all-home to"); });
        return *found;
    }
};

/// The forecasts of a sweep of budgets.
[[nodiscard]] inline std::vector<BudgetForecast> forecast_sweep(const MachineRates& rates,
                                                                const ModelShape& shape,
                                                                const AccessShape& access,
                                                                const std::vector<BudgetOffer>& offers) {
    std::vector<BudgetForecast> sweep;
    for (const BudgetOffer& offer : offers) sweep.push_back({offer, forecast(rates, shape, access, offer)});
    return sweep;
}

/// What the user wants beside speed.
struct AdviceOptions {
    std::optional<double> target_lookups;  ///< least share of look-ups that are hot
    std::optional<double> target_inputs;   ///< least share of inputs that are hot
    double knee_share = 0.95;              ///< of the best speed
    double least_gain = 1.05;              ///< times the speed of all-home
};

/// What to do.
struct Advice {
    std::size_t knee = 0;    ///< number of its budget in the sweep
    std::size_t chosen = 0;  ///< number of the budget that the advice speaks of
    std::uint64_t budget_bytes = 0;
    std::string placement;
    bool worth_it = false;
    bool target_reached = true;
    std::string why;
};

namespace detail {

[[nodiscard]] inline std::string times(double ratio) { return format_fixed(ratio, 2) + " times"; }

/// Where a step's time goes, in words.
[[nodiscard]] inline std::string spent_on(const PlacementForecast& one) {
    return std::string(resource_name(one.bottleneck)) + " takes " +
           format_percent(one.of(one.bottleneck) / one.step_seconds) + " of a step";
}

[[nodiscard]] inline bool meets(const BudgetOffer& offer, const AdviceOptions& options) {
    // What is promised is the lower bound.
    return (!options.target_lookups || offer.lookups.lower >= *options.target_lookups) &&
           (!options.target_inputs || offer.inputs.lower >= *options.target_inputs);
}

}  // namespace detail

/// Reads a sweep of ascending budgets. With a target the smallest budget that meets it is chosen, by the
/// lower bound of what it buys; else the knee.
/// @throws ContractError if the sweep is empty
[[nodiscard]] inline Advice advise(const std::vector<BudgetForecast>& sweep,
                                   const AdviceOptions& options = {}) {
    require(!sweep.empty(), [] { return std::string("the sweep has 0 budgets, expected at least 1"); });
    Advice advice;
    double best = 0;
    for (const BudgetForecast& budget : sweep) best = std::max(best, budget.best().samples_per_second);
    const double at_home = sweep.front().placement("all-home").samples_per_second;
    const bool any_gain = best >= options.least_gain * at_home;
    const double enough = std::max(options.knee_share * best, options.least_gain * at_home);
    const auto is_knee = [&](const BudgetForecast& budget) {
        if (any_gain) return budget.best().samples_per_second >= enough;
        return budget.offer.lookups.estimate >= options.knee_share * sweep.back().offer.lookups.estimate;
    };
    while (advice.knee + 1 < sweep.size() && !is_knee(sweep[advice.knee])) ++advice.knee;
    advice.chosen = advice.knee;
    const bool wanted = options.target_lookups || options.target_inputs;
    if (wanted) {
        advice.chosen = 0;
        while (advice.chosen + 1 < sweep.size() && !detail::meets(sweep[advice.chosen].offer, options))
            ++advice.chosen;
        advice.target_reached = detail::meets(sweep[advice.chosen].offer, options);
    }
    const BudgetForecast& chosen = sweep[advice.chosen];
    const PlacementForecast& fastest = chosen.best();
    const double gain = at_home > 0 ? fastest.samples_per_second / at_home : 1.0;
    advice.worth_it = gain >= options.least_gain;
    advice.placement = advice.worth_it ? fastest.name : "all-home";
    advice.budget_bytes = advice.worth_it || wanted ? chosen.offer.budget_bytes : 0;
    const std::string size = format_bytes(static_cast<double>(chosen.offer.budget_bytes));
    if (advice.worth_it) {
        advice.why = fastest.name + " with " + size + " is predicted at " + detail::times(gain) +
                     " the speed of all rows at home; " + detail::spent_on(fastest);
        if (!wanted && advice.chosen + 1 < sweep.size()) {
            advice.why += "; the largest budget gives " + detail::times(best / fastest.samples_per_second) +
                          " this speed";
        }
    } else {
        const PlacementForecast& home = chosen.placement("all-home");
        const PlacementForecast& other = [&]() -> const PlacementForecast& {
            const PlacementForecast* found = nullptr;
            for (const PlacementForecast& one : sweep.back().placements) {
                if (one.name == "all-home") continue;
                if (found == nullptr || one.samples_per_second > found->samples_per_second) found = &one;
            }
            return found != nullptr ? *found : home;
        }();
        advice.why = "hot/cold placement is not worth it: at best " + other.name + " is predicted at " +
                     detail::times(at_home > 0 ? other.samples_per_second / at_home : 1.0) +
                     " the speed of all rows at home, and " + detail::times(options.least_gain) +
                     " is asked; there " + detail::spent_on(home);
        if (gain < options.least_gain && any_gain) {
            advice.why = "hot/cold placement is not worth it with " + size + ": " + fastest.name +
                         " is predicted at " + detail::times(gain) +
                         " the speed of all rows at home; a larger budget gives up to " +
                         detail::times(best / at_home);
        }
    }
    if (!advice.target_reached) {
        advice.why += "; the target is not reached with the largest budget, " +
                      format_percent(chosen.offer.lookups.lower) + " of look-ups and " +
                      format_percent(chosen.offer.inputs.lower) + " of inputs are";
    }
    return advice;
}

}  // namespace fae::inline FAE_ABI
