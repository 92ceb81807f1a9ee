// SPDX-License-Identifier: Apache-2.0
//
// How long a training step takes under each placement, predicted from a profile, a model and the rates of a
// machine.
//
//   BudgetOffer offer{.budget_bytes = 256u << 20, .hot_rows = n, .hot_bytes = b, .lookups = {...}, ...};
//   for (const PlacementForecast& f : forecast(rates, shape, access, offer)) f.name, f.samples_per_second
//
// On the host, everything that a step does shares the same cores, so its times add up. Beside a device, what
// a placement overlaps counts once, by its longest pole.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fae/advise/access_shape.hpp"
#include "fae/advise/model_shape.hpp"
#include "fae/advise/rates.hpp"
#include "fae/calibrate/quantiles.hpp"
#include "fae/core/config.hpp"
#include "fae/table/lookahead_split.hpp"

namespace fae::inline FAE_ABI {

/// What a budget buys, from an exact profile (intervals of no width), a sample or a sketch.
struct BudgetOffer {
    std::uint64_t budget_bytes = 0;
    std::uint64_t hot_rows = 0;
    std::uint64_t hot_bytes = 0;  ///< rows with state and stride, and index
    Interval lookups;             ///< share of look-ups that are hot
    Interval inputs;              ///< share of inputs all of whose rows are hot
};

/// What a step spends its time on.
enum class Resource : std::uint8_t {
    dense,
    load,
    gather,
    scatter,
    synchronise,
    plan,
    device_memory,
    link_up,
    link_down,
    host_gather,
    host_scatter,
    launch,
    moving
};

inline constexpr std::size_t resource_count = 13;

/// What tables and reports call it.
[[nodiscard]] constexpr std::string_view resource_name(Resource resource) {
    constexpr std::array<std::string_view, resource_count> names = {
        "dense model",  "input loading", "row gather", "row scatter", "synchronisation",
        "planning",     "device memory", "link up",    "link down",   "host gather",
        "host scatter", "launches",      "moving rows"};
    return names[static_cast<std::size_t>(resource)];
}

/// One placement at one budget.
struct PlacementForecast {
    std::string name;  ///< as the programs' --placement
    std::uint64_t fast_bytes = 0;
    bool fits = false;  ///< its fast tier is within the budget
    double step_seconds = 0;
    double samples_per_second = 0;
    Resource bottleneck = Resource::dense;
    std::array<double, resource_count> seconds{};  ///< of a step, by what it is spent on
    bool overlaps = false;                         ///< the step takes its longest pole, not the sum

    [[nodiscard]] double of(Resource resource) const { return seconds[static_cast<std::size_t>(resource)]; }
};

namespace detail {

/// Seconds of look-ups spread unevenly over rows, from the seconds of look-ups spread evenly over working
/// sets. An even look-up among the first x bytes of rows takes t(x), so rows at place x of the popularity
/// order take d(x t(x))/dx: those that a cache holds little, those behind it much.
class RowTimer {
  public:
    /// @pre costs ascending in working_bytes, not empty
    RowTimer(const std::vector<RowCosts>& costs, double RowCosts::*what) {
        double longest = 0;
        for (const RowCosts& cost : costs) {
            longest = std::max(longest, cost.*what);  // a larger working set is not faster: that was noise
            knots_.push_back({cost.working_bytes, cost.working_bytes * longest});
        }
    }

    /// The seconds of one look-up of rows that lie in the order at bytes [from, to).
    [[nodiscard]] double at(double from, double to) const {
        return to > from ? (sum(to) - sum(from)) / (to - from) : 0.0;
    }

  private:
    struct Knot {
        double bytes;
        double sum;
    };

    [[nodiscard]] double sum(double bytes) const {
        Knot low{0, 0};
        Knot high = knots_.front();
        for (std::size_t k = 1; k < knots_.size() && bytes > high.bytes; ++k) {
            low = high;
            high = knots_[k];
        }
        return low.sum + (bytes - low.bytes) * (high.sum - low.sum) / (high.bytes - low.bytes);
    }

    std::vector<Knot> knots_;
};

/// One forecast in the making.
class Forecaster {
  public:
    Forecaster(const MachineRates& rates, const ModelShape& shape, const AccessShape& access,
               const BudgetOffer& offer)
        : rates_(rates), shape_(shape), access_(access), offer_(offer) {
        for (const AccessGroup& group : access.groups) seen_rows_ += group.rows;
        hot_ = std::min(static_cast<double>(offer.hot_rows), seen_rows_);
        draws_ = static_cast<double>(shape.batch) * shape.lookups_per_input;
        inputs_ = std::clamp(offer.inputs.estimate, 0.0, 1.0);
        hot_share_ = access.share(0, hot_);
    }

    [[nodiscard]] std::vector<PlacementForecast> all() const {
        std::vector<PlacementForecast> found;
        for (const char* name : {"all-home", "static", "all-slots", "lookahead"}) {
            PlacementForecast one;
            one.name = name;
            const std::string_view placement = one.name;
            const std::uint64_t all_bytes = shape_.rows * shape_.row_bytes;
            one.fast_bytes = placement == "all-home"    ? 0
                             : placement == "all-slots" ? all_bytes
                             : placement == "static"    ? offer_.hot_bytes
                                                        : std::min(offer_.budget_bytes, all_bytes);
            one.fits = one.fast_bytes <= offer_.budget_bytes;
            if (rates_.device) {
                on_device(placement, one);
            } else {
                on_host(placement, one);
            }
            finish(one);
            found.push_back(std::move(one));
        }
        return found;
    }

  private:
    static double& part(PlacementForecast& of, Resource resource) {
        return of.seconds[static_cast<std::size_t>(resource)];
    }
    [[nodiscard]] double row_bytes() const { return static_cast<double>(shape_.row_bytes); }

    /// Mean seconds of a look-up, ranks [0, hot) weighing `hot_weight` of their look-ups, others
    /// `cold_weight`.
    [[nodiscard]] double mean(double RowCosts::*what, double hot_weight, double cold_weight) const {
        const RowTimer timer(rates_.row_costs(row_bytes()), what);
        double seconds = 0;
        double weight = 0;
        double rank = 0;
        const auto add = [&](double factor) {
            return [&, factor](double rows, double lookups) {
                seconds += factor * lookups * timer.at(rank * row_bytes(), (rank + rows) * row_bytes());
                weight += factor * lookups;
                rank += rows;
            };
        };
        access_.for_ranks(0, hot_, add(hot_weight));
        if (cold_weight > 0) access_.for_ranks(hot_, seen_rows_, add(cold_weight));
        return weight > 0 ? seconds / weight : 0.0;
    }

    /// What is left of the hot rows' look-ups for inputs that are not hot.
    [[nodiscard]] double hot_weight_of_cold() const {
        return hot_share_ > 0 ? std::max(0.0, (hot_share_ - inputs_) / hot_share_) : 0.0;
    }

    void on_host(std::string_view placement, PlacementForecast& one) const {
        const auto batch = static_cast<double>(shape_.batch);
        part(one, Resource::dense) = dense_seconds(rates_.dense, shape_.dense_flops_per_input, batch);
        part(one, Resource::load) = batch * shape_.input_bytes * rates_.load_seconds_per_byte;
        double& gather = part(one, Resource::gather);
        double& scatter = part(one, Resource::scatter);
        if (placement == "static") {
            const double colder = hot_weight_of_cold();
            const double gather_hot = mean(&RowCosts::gather, 1, 0);
            const double scatter_hot = mean(&RowCosts::scatter_fast, 1, 0);
            gather = draws_ * (inputs_ * gather_hot + (1 - inputs_) * mean(&RowCosts::gather, colder, 1));
            scatter =
                draws_ * (inputs_ * scatter_hot + (1 - inputs_) * mean(&RowCosts::scatter_home, colder, 1));
            const Moved moved = moved_by_static();
            part(one, Resource::synchronise) =
                (moved.filled * rates_.fill_seconds_per_byte + moved.up * rates_.move_up_seconds_per_byte +
                 moved.down * rates_.move_down_seconds_per_byte) *
                row_bytes() / steps();
            return;
        }
        const bool lookahead = placement == "lookahead";
        gather = draws_ * mean(&RowCosts::gather, 1, 1);
        scatter = draws_ * mean(lookahead ? &RowCosts::scatter_fast : &RowCosts::scatter, 1, 1);
        if (!lookahead) return;
        const double moved = moved_by_lookahead().rows * row_bytes();
        part(one, Resource::plan) = draws_ * rates_.plan_seconds;
        part(one, Resource::synchronise) =
            moved * (rates_.move_up_seconds_per_byte + rates_.move_down_seconds_per_byte);
    }

    void on_device(std::string_view placement, PlacementForecast& one) const {
        const DeviceRates& device = *rates_.device;
        const auto batch = static_cast<double>(shape_.batch);
        const double width = static_cast<double>(shape_.dim) * 4.0;
        part(one, Resource::dense) = dense_seconds(device.dense, shape_.dense_flops_per_input, batch);
        part(one, Resource::launch) = device.launch_seconds;
        part(one, Resource::device_memory) =
            lookup_bytes(draws_, batch * static_cast<double>(shape_.features),
                         access_.touched(0, seen_rows_, draws_, 1.0), width, row_bytes()) /
            device.gather_bandwidth;
        if (placement == "all-home") serve_at_home(one, device, batch_at_home(1.0, seen_rows_), 1.0);
        if (placement == "static" && inputs_ < 1) {
            const double of_hot_rows = hot_weight_of_cold() * hot_share_;
            const double of_others = 1 - hot_share_;
            const double sum = of_hot_rows + of_others;
            const double hot = sum > 0 ? of_hot_rows / sum : 0.0;
            serve_at_home(one, device, batch_at_home(hot, hot_), 1 - inputs_);
        }
        if (placement == "static") {
            const double up =
                device.sync_up > 0 ? device.sync_up : std::min(device.link_up, device.host_gather);
            const double down =
                device.sync_down > 0 ? device.sync_down : std::min(device.link_down, device.host_scatter);
            const Moved moved = moved_by_static();
            part(one, Resource::synchronise) =
                row_bytes() * ((moved.filled + moved.up) / up + moved.down / down) / steps();
        }
        if (placement != "lookahead") return;
        const WindowMoves moves = moved_by_lookahead();
        const double bytes = moves.rows * row_bytes();
        one.overlaps = true;
        part(one, Resource::plan) = moves.rows * planning_seconds(device.planning, moves.window);
        part(one, Resource::host_gather) = bytes / device.host_gather;
        part(one, Resource::host_scatter) = bytes / device.host_scatter;
        part(one, Resource::link_up) = bytes / device.link_up;
        part(one, Resource::link_down) = bytes / device.link_down;
    }

    struct AtHome {
        double rows = 0;    // different rows of a batch, which all go home again
        double shared = 0;  // of them, with the batch before: these stay on the device between the two
    };
    /// A batch of which a share `hot` of the look-ups goes to the first `end` ranks, and the others behind.
    [[nodiscard]] AtHome batch_at_home(double hot, double end) const {
        return {access_.touched(0, end, draws_, hot) + access_.touched(end, seen_rows_, draws_, 1 - hot),
                access_.touched_twice(0, end, draws_, hot) +
                    access_.touched_twice(end, seen_rows_, draws_, 1 - hot)};
    }

    /// The part of a step for batches that are served at home, `share` of all.
    void serve_at_home(PlacementForecast& one, const DeviceRates& device, const AtHome& rows,
                       double share) const {
        if (device.home.empty()) {
            part(one, Resource::link_up) = share * rows.rows * row_bytes() / device.link_up;
            part(one, Resource::link_down) = share * rows.rows * row_bytes() / device.link_down;
            return;
        }
        const double seconds =
            moving_cost(device.home, static_cast<double>(shape_.batch), rows.rows - rows.shared / 2).seconds;
        // Rows are gathered and scattered while the device computes.
        one.overlaps = share == 1;
        part(one, Resource::moving) =
            one.overlaps ? seconds : share * std::max(0.0, seconds - computing_seconds(one));
    }

    [[nodiscard]] double steps() const {
        return std::max(1.0,
                        std::ceil(static_cast<double>(shape_.inputs) / static_cast<double>(shape_.batch)));
    }

    struct Moved {
        double filled = 0;  // into slots never used before
        double up = 0;
        double down = 0;
    };
    /// Rows that an epoch of static moves: two rounds of a cold and a hot segment, as the adaptive rate
    /// starts. All hot rows go up once; later those that a segment has changed go to the other tier.
    [[nodiscard]] Moved moved_by_static() const {
        constexpr double rounds = 2;
        if (hot_ <= 0 || inputs_ <= 0) return {};
        const double lookups = static_cast<double>(shape_.inputs) * shape_.lookups_per_input;
        const double by_hot = access_.touched(0, hot_, inputs_ * lookups / rounds, 1.0);
        const double of_cold = (1 - inputs_) * lookups / rounds;
        const double chance = inputs_ < 1 ? hot_weight_of_cold() * hot_share_ / (1 - inputs_) : 0.0;
        const double by_cold = access_.touched(0, hot_, of_cold, std::min(1.0, chance));
        const double once = 1 / std::max(shape_.epochs, 1.0);
        return {once * static_cast<double>(offer_.hot_rows), inputs_ < 1 ? (rounds - once) * by_cold : 0.0,
                (inputs_ < 1 ? rounds : 1.0) * by_hot};
    }

    /// Rows that come into the window, and leave it, a step. A window as split_budget makes it holds the cold
    /// rows of the last so many steps; what a step needs beyond them is brought.
    struct WindowMoves {
        double rows = 0;
        double window = 0;  // slots
    };
    [[nodiscard]] WindowMoves moved_by_lookahead() const {
        LookaheadDemand demand;
        demand.budget_bytes = offer_.budget_bytes;
        demand.row_bytes = shape_.row_bytes;
        demand.rows = shape_.rows;
        demand.hot_rows = offer_.hot_rows;
        demand.batch = shape_.batch;
        LookaheadSplit split;
        double resident = hot_;
        for (int round = 0; round < 2; ++round) {
            demand.cold_rows = static_cast<std::uint64_t>(cold_rows(resident, 1));
            split = split_budget(demand);
            resident = std::min(static_cast<double>(split.resident_rows), seen_rows_);
        }
        const auto window = static_cast<double>(split.window);
        double low = 0;
        double high = steps();
        for (int i = 0; i < 40; ++i) {
            const double middle = (low + high) / 2;
            (cold_rows(resident, middle) < window ? low : high) = middle;
        }
        return {cold_rows(resident, low + 1) - cold_rows(resident, low), window};
    }
    /// Different rows behind the first `resident` of the order, in the look-ups of some steps.
    [[nodiscard]] double cold_rows(double resident, double of_steps) const {
        return access_.touched(resident, seen_rows_, of_steps * draws_, 1 - access_.share(0, resident));
    }

    [[nodiscard]] static bool is_computing(std::size_t r) {
        const auto resource = static_cast<Resource>(r);
        return resource == Resource::dense || resource == Resource::device_memory ||
               resource == Resource::launch;
    }
    [[nodiscard]] static double computing_seconds(const PlacementForecast& one) {
        double sum = 0;
        for (std::size_t r = 0; r < resource_count; ++r) sum += is_computing(r) ? one.seconds[r] : 0.0;
        return sum;
    }

    void finish(PlacementForecast& one) const {
        const double computing = computing_seconds(one);
        double sum = 0;
        std::size_t longest = 0;
        for (std::size_t r = 0; r < resource_count; ++r) {
            sum += one.seconds[r];
            if (one.seconds[r] > one.seconds[longest]) longest = r;
        }
        one.step_seconds = sum;
        if (one.overlaps) {
            one.step_seconds = computing;
            std::size_t pole = resource_count;
            for (std::size_t r = 0; r < resource_count; ++r) {
                if (is_computing(r) || one.seconds[r] <= one.step_seconds) continue;
                one.step_seconds = one.seconds[r];
                pole = r;
            }
            if (pole == resource_count) {
                longest = 0;
                for (std::size_t r = 0; r < resource_count; ++r) {
                    if (is_computing(r) && one.seconds[r] > one.seconds[longest]) longest = r;
                }
            } else {
                longest = pole;
            }
        }
        one.bottleneck = static_cast<Resource>(longest);
        one.samples_per_second =
            one.step_seconds > 0 ? static_cast<double>(shape_.batch) / one.step_seconds : 0.0;
    }

    const MachineRates& rates_;
    const ModelShape& shape_;
    const AccessShape& access_;
    const BudgetOffer& offer_;
    double seen_rows_ = 0;
    double hot_ = 0;        // hot rows that are looked up at all
    double draws_ = 0;      // look-ups of a step
    double inputs_ = 0;     // share of inputs that are hot
    double hot_share_ = 0;  // of look-ups
};

}  // namespace detail

/// The step of each placement at one budget: all-home, static, all-slots, lookahead, in this order.
/// @cost   O(groups of the access shape) a placement
/// @throws ContractError if the rates lack what the shape asks for
/// @source after Acun et al., HPCA 2021: placement decided by measured rates and the model's shape
[[nodiscard]] inline std::vector<PlacementForecast> forecast(const MachineRates& rates,
                                                             const ModelShape& shape,
                                                             const AccessShape& access,
                                                             const BudgetOffer& offer) {
    return detail::Forecaster(rates, shape, access, offer).all();
}

}  // namespace fae::inline FAE_ABI
