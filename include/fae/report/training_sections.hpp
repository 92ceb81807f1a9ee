// SPDX-License-Identifier: Apache-2.0
//
// The sections of a report on a training run: loss over time, time per phase, bytes moved. All take plain
// numbers.
//
//   LossCurve loss;
//   loss.training.push_back({step, mean_loss});
//   page.sections.push_back(loss_section(loss));
//   page.sections.push_back(phase_section(phase_times(metrics, wall_seconds)));
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/report/bar_chart.hpp"
#include "fae/report/html.hpp"
#include "fae/report/line_chart.hpp"
#include "fae/trace/format.hpp"
#include "fae/trace/metrics.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// A loss and the step after which it was taken.
struct StepLoss {
    std::uint64_t step;
    double loss;
};

/// Consecutive steps of one kind: [first_step, first_step + steps).
struct SegmentSteps {
    std::uint64_t first_step;
    std::uint64_t steps;
    bool hot;
};

/// The losses of a run, ascending in steps, and its segments (none for a shuffled order).
struct LossCurve {
    std::vector<StepLoss> training{};
    std::vector<StepLoss> validation{};
    std::vector<SegmentSteps> segments{};
};

/// The seconds of named phases. What they leave of the wall time is shown as "other".
struct PhaseTimes {
    struct Entry {
        std::string name;
        double seconds;
    };
    std::vector<Entry> phases{};
    double wall_seconds = 0.0;  ///< 0: the sum of the phases
};

/// The phases of a run that took any time, in the order of Phase.
[[nodiscard]] inline PhaseTimes phase_times(const Metrics& metrics, double wall_seconds = 0.0) {
    PhaseTimes times{.phases = {}, .wall_seconds = wall_seconds};
    for (std::size_t p = 0; p < phase_count; ++p) {
        const auto phase = static_cast<Phase>(p);
        if (metrics.seconds(phase) > 0.0) {
            times.phases.push_back({std::string(phase_name(phase)), metrics.seconds(phase)});
        }
    }
    return times;
}

/// Bytes and rows moved between the tiers.
struct BytesMoved {
    std::uint64_t bytes_to_fast = 0;
    std::uint64_t bytes_to_home = 0;
    std::uint64_t rows_to_fast = 0;
    std::uint64_t rows_to_home = 0;
    std::uint64_t steps = 0;  ///< mini-batches trained; 0: no bytes per mini-batch are given
};

/// What the counters of a run of `steps` mini-batches say.
[[nodiscard]] inline BytesMoved bytes_moved(const Metrics& metrics, std::uint64_t steps = 0) {
    return {metrics.bytes_to_fast, metrics.bytes_to_home, metrics.rows_to_fast, metrics.rows_to_home, steps};
}

namespace detail {

/// Losses as a curve: as they are if they are few, else means over equal numbers of steps in a band from the
/// lowest to the highest. A part without a finite loss leaves a gap.
[[nodiscard]] inline Series loss_series(std::string name, const std::vector<StepLoss>& losses) {
    constexpr std::size_t most_points = 160;
    Series series{.name = std::move(name)};
    const std::size_t each = (losses.size() + most_points - 1) / most_points;
    if (each <= 1) {
        for (const StepLoss& l : losses) series.points.push_back({static_cast<double>(l.step), l.loss});
        return series;
    }
    series.band_name = "lowest to highest of " + std::to_string(each) + " steps";
    for (std::size_t first = 0; first < losses.size(); first += each) {
        const std::size_t end = std::min(first + each, losses.size());
        Range range;
        double sum = 0.0;
        std::size_t finite = 0;
        for (std::size_t i = first; i < end; ++i) {
            if (!std::isfinite(losses[i].loss)) continue;
            range.include(losses[i].loss);
            sum += losses[i].loss;
            ++finite;
        }
        const double none = std::numeric_limits<double>::quiet_NaN();
        const double middle =
            (static_cast<double>(losses[first].step) + static_cast<double>(losses[end - 1].step)) / 2.0;
        series.points.push_back({middle, finite == 0 ? none : sum / static_cast<double>(finite)});
        series.low.push_back(finite == 0 ? none : range.low);
        series.high.push_back(finite == 0 ? none : range.high);
    }
    return series;
}

/// At most `most` items of a list, evenly spread, the first and the last among them.
[[nodiscard]] inline std::vector<std::size_t> evenly(std::size_t size, std::size_t most) {
    std::vector<std::size_t> chosen;
    const std::size_t count = std::min(size, most);
    for (std::size_t i = 0; i < count; ++i) chosen.push_back(count < 2 ? i : i * (size - 1) / (count - 1));
    return chosen;
}

}  // namespace detail

/// Loss over time, with hot and cold segments as a strip below.
[[nodiscard]] inline Section loss_section(const LossCurve& curve) {
    using detail::evenly;
    using detail::loss_series;
    LineChart chart;
    chart.description = "Steps go to the right, the mean loss of a mini-batch upwards.";
    chart.x = {.label = "step (mini-batches trained)", .unit = Unit::count};
    chart.y = {.label = "binary cross-entropy, nats per input"};
    chart.series.push_back(loss_series("training", curve.training));
    if (!curve.validation.empty()) {
        chart.series.push_back(loss_series("validation", curve.validation));
        chart.series.back().marked = chart.series.back().points.size() <= 40;
    }
    for (const SegmentSteps& segment : curve.segments) {
        chart.strip.push_back({static_cast<double>(segment.first_step),
                               static_cast<double>(segment.first_step + segment.steps), segment.hot});
    }
    chart.hot_name = "hot mini-batches";
    chart.cold_name = "cold mini-batches";

    // The mean of the first and of the last points of the curve: one mini-batch alone says little.
    const auto ends = [](const Series& series) {
        const std::size_t few = std::max<std::size_t>(series.points.size() / 20, 1);
        const auto mean = [&](std::size_t first) {
            double sum = 0.0;
            std::size_t finite = 0;
            for (std::size_t i = first; i < std::min(first + few, series.points.size()); ++i) {
                if (!std::isfinite(series.points[i].y)) continue;
                sum += series.points[i].y;
                ++finite;
            }
            return finite == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(finite);
        };
        return std::pair(mean(0), mean(series.points.size() - few));
    };
    const auto in_words = [](double loss) { return format_fixed(loss, 4); };
    chart.title = "Loss over time";
    if (!curve.training.empty()) {
        const auto [start, end] = ends(chart.series.front());
        if (std::isfinite(start) && std::isfinite(end)) {
            chart.title = "The training loss went from " + in_words(start) + " to " + in_words(end);
            if (!curve.validation.empty() && std::isfinite(curve.validation.back().loss)) {
                chart.title += "; the validation loss ended at " + in_words(curve.validation.back().loss);
            }
        }
    }
    Section section;
    section.title = "Loss over time";
    if (!curve.segments.empty()) {
        section.paragraphs.push_back(
            "Hot and cold mini-batches alternate, as the strip below the plot shows. A loss that rises "
            "whenever the kind changes suggests segments that are too long.");
    }
    section.figures.emplace_back(chart);

    if (!curve.validation.empty()) {
        NumberTable numbers;
        numbers.caption = "Validation loss";
        numbers.header = {"step", "validation loss"};
        numbers.text_columns = 0;
        for (const std::size_t i : evenly(curve.validation.size(), 40)) {
            numbers.rows.push_back(
                {group_digits(curve.validation[i].step), in_words(curve.validation[i].loss)});
        }
        section.tables.push_back(std::move(numbers));
    }
    NumberTable numbers;
    numbers.caption = "Training loss";
    const Series& training = chart.series.front();
    const bool banded = !training.low.empty();
    numbers.header = {"step", "training loss"};
    if (banded) numbers.header.insert(numbers.header.end(), {"lowest", "highest"});
    numbers.text_columns = 0;
    for (const std::size_t i : evenly(training.points.size(), 40)) {
        std::vector<std::string> row = {group_digits(static_cast<std::uint64_t>(training.points[i].x)),
                                        in_words(training.points[i].y)};
        if (banded) row.insert(row.end(), {in_words(training.low[i]), in_words(training.high[i])});
        numbers.rows.push_back(std::move(row));
    }
    section.tables.push_back(std::move(numbers));
    return section;
}

/// Time per phase.
[[nodiscard]] inline Section phase_section(const PhaseTimes& times) {
    double sum = 0.0;
    for (const PhaseTimes::Entry& entry : times.phases)
        sum += std::isfinite(entry.seconds) ? entry.seconds : 0.0;
    const double wall = std::max(times.wall_seconds, sum);
    std::vector<PhaseTimes::Entry> entries = times.phases;
    // Less than a thousandth is the time between two looks at the clock.
    if (wall - sum > wall * 1e-3) entries.push_back({"other", wall - sum});

    BarChart chart;
    chart.description = "One bar a phase, in the order in which they run.";
    chart.value = {.label = "wall time", .unit = Unit::seconds};
    NumberTable numbers;
    numbers.caption = "Phases";
    numbers.header = {"phase", "seconds", "share of the run"};
    const PhaseTimes::Entry* longest = nullptr;
    for (const PhaseTimes::Entry& entry : entries) {
        const std::string share = format_percent(wall > 0.0 ? entry.seconds / wall : 0.0);
        chart.bars.push_back({entry.name, {entry.seconds}, format_seconds(entry.seconds) + ", " + share});
        numbers.rows.push_back({entry.name, format_fixed(entry.seconds, 3), share});
        if (longest == nullptr || entry.seconds > longest->seconds) longest = &entry;
    }
    numbers.rows.push_back({"all", format_fixed(wall, 3), format_percent(wall > 0.0 ? 1.0 : 0.0)});
    chart.title = longest == nullptr || wall <= 0.0
                      ? std::string("Where the time goes")
                      : "\"" + longest->name + "\" takes " + format_percent(longest->seconds / wall) +
                            " of " + format_seconds(wall);
    Section section;
    section.title = "Where the time goes";
    section.figures.emplace_back(chart);
    section.tables.push_back(std::move(numbers));
    return section;
}

/// Bytes moved between the tiers.
[[nodiscard]] inline Section bytes_section(const BytesMoved& moved) {
    BarChart chart;
    chart.description = "One bar a direction.";
    chart.value = {.label = "bytes moved, weights and optimizer state", .unit = Unit::bytes};
    NumberTable numbers;
    numbers.caption = "Moved between the tiers";
    numbers.header = {"direction", "rows", "bytes"};
    if (moved.steps > 0) numbers.header.push_back("bytes per mini-batch");
    const auto add = [&](std::string name, std::uint64_t rows, std::uint64_t bytes) {
        const auto amount = static_cast<double>(bytes);
        std::vector<std::string> row = {name, group_digits(rows), group_digits(bytes)};
        if (moved.steps > 0) row.push_back(format_bytes(amount / static_cast<double>(moved.steps)));
        numbers.rows.push_back(std::move(row));
        chart.bars.push_back({std::move(name), {amount}, {}});
    };
    add("home to fast tier", moved.rows_to_fast, moved.bytes_to_fast);
    add("fast tier to home", moved.rows_to_home, moved.bytes_to_home);
    const double total = static_cast<double>(moved.bytes_to_fast) + static_cast<double>(moved.bytes_to_home);
    chart.title = total <= 0.0
                      ? std::string("No byte moved between the tiers")
                      : format_bytes(total) + " moved between the tiers" +
                            (moved.steps > 0 ? ", " + format_bytes(total / static_cast<double>(moved.steps)) +
                                                   " per mini-batch"
                                             : "");
    Section section;
    section.title = "Bytes moved";
    if (total > 0.0) {
        section.paragraphs.push_back(
            "Rows are copied when the fast tier is filled and when the run turns from hot to cold "
            "mini-batches or "
            "back; in between nothing crosses.");
    }
    section.figures.emplace_back(chart);
    section.tables.push_back(std::move(numbers));
    return section;
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
