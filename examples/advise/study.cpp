// SPDX-License-Identifier: Apache-2.0
#include "study.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <utility>

#include "../train_dlrm/inputs.hpp"
#include "../train_dlrm/model.hpp"
#include "fae/advise/access_shape.hpp"
#include "fae/calibrate/calibrator.hpp"
#include "fae/calibrate/row_levels.hpp"
#include "fae/calibrate/sketched.hpp"
#include "fae/classify/budget_classes.hpp"
#include "fae/core/row_space.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/profile/sampled.hpp"
#include "fae/profile/sketch_profile.hpp"
#include "rates_file.hpp"

namespace advise {

namespace {

using Profile = fae::AccessProfile<>;

// Windows of each of the last two thirds of a log.
constexpr std::uint64_t windows = 8;

// Counts inputs [first, end), or a sample of the whole split, as train_dlrm does.
[[nodiscard]] Profile profile_of(const Executor& exec, const InputStream& stream, const fae::RowSpace& space,
                                 std::uint64_t first, std::uint64_t end, const fae::InputSampler& sampler,
                                 const std::string& label) {
    fae::AccessProfiler<> profiler(space);
    stream.for_blocks(exec, first, end, label, [&](const fae::Bags<std::uint32_t>& bags) {
        if (sampler.draws_all()) {
            profiler.add(exec, bags);
        } else {
            profiler.add(exec, bags, sampler);
        }
    });
    return profiler.finish();
}

[[nodiscard]] fae::InputSampler sampler_of(const train_dlrm::Options& run, std::uint64_t inputs) {
    const double sample = run.sample.value_or(train_dlrm::Options::default_sample);
    if (sample >= 1) return {};
    return fae::InputSampler::exact(inputs, static_cast<std::uint64_t>(sample * static_cast<double>(inputs)),
                                    run.seed.value_or(train_dlrm::Options::default_seed));
}

// The profile of --sketch: fixed memory, bounds instead of counts.
[[nodiscard]] fae::SketchProfile sketch_of(const Executor& exec, const InputStream& stream,
                                           const fae::RowSpace& space, std::uint64_t bytes) {
    fae::AccessProfiler<fae::SketchCounter> profiler(
        space, fae::SketchCounter(space, {.memory_bytes = bytes, .seed = 0}));
    stream.for_blocks(exec, 0, stream.inputs(), "profile",
                      [&](const fae::Bags<std::uint32_t>& bags) { profiler.add(exec, bags); });
    return profiler.finish();
}

// The hot rows of every budget, what a profile promises of them, and how look-ups are spread.
struct Ranked {
    fae::RowLevels levels;
    fae::AccessShape access;
    std::vector<fae::Interval> promised;  // share of look-ups, one a budget; empty where all were counted
};

[[nodiscard]] fae::CalibrationOptions calibration(std::uint64_t budget, std::uint64_t row_bytes) {
    fae::CalibrationOptions options;
    options.budget_bytes = budget;
    options.row_bytes = row_bytes;
    options.confidence = 0.99;
    return options;
}

[[nodiscard]] Ranked rank(const Executor& exec, const Profile& profile, std::uint64_t row_bytes,
                          const std::vector<std::uint64_t>& budgets) {
    Ranked ranked{
        fae::row_levels(exec, profile, row_bytes, budgets), fae::access_shape(exec, profile, row_bytes), {}};
    if (profile.exact()) return ranked;
    for (const std::uint64_t budget : budgets) {
        ranked.promised.push_back(
            fae::calibrate(exec, profile, calibration(budget, row_bytes)).report.lookup_share);
    }
    return ranked;
}

// A sketch lists its rows; those that it does not list share what is left evenly.
[[nodiscard]] Ranked rank(const Executor& exec, const fae::SketchProfile& profile, std::uint64_t row_bytes,
                          const std::vector<std::uint64_t>& budgets) {
    Ranked ranked;
    fae::Buffer<std::uint8_t, fae::PageSpace> levels(static_cast<std::size_t>(profile.space().rows()));
    std::fill_n(levels.data(), levels.size(), static_cast<std::uint8_t>(budgets.size()));
    std::vector<fae::BudgetPoint> points;
    for (std::size_t b = 0; b < budgets.size(); ++b) {
        const fae::SketchCalibration made = fae::calibrate(exec, profile, calibration(budgets[b], row_bytes));
        const fae::HotSet::Ref hot = made.hot_set.ref();
        for (fae::Slot slot = 0; slot < hot.size(); ++slot) {
            std::uint8_t& level = levels[static_cast<std::size_t>(hot.row_of(slot))];
            level = std::min(level, static_cast<std::uint8_t>(b));
        }
        points.push_back({budgets[b], made.hot_set.size(), made.report.hot_bytes(), made.report.hot_lookups});
        ranked.promised.push_back(made.report.lookup_share);
    }
    ranked.levels = fae::RowLevels(std::move(levels), std::move(points));
    double left = static_cast<double>(profile.accesses());
    for (const fae::HeavyRow& heavy : profile.rows()) {
        const double lookups = std::min(left, static_cast<double>(heavy.lower + heavy.upper) / 2);
        ranked.access.groups.push_back({1, lookups});
        ranked.access.lookups += lookups;
        left -= lookups;
    }
    const auto others = static_cast<double>(profile.space().rows() - profile.rows().size());
    if (others > 0 && left > 0) {
        const double rows = std::min(others, left);
        ranked.access.groups.push_back({rows, left});
        ranked.access.lookups += left;
    }
    return ranked;
}

// The share of look-ups in consecutive windows of [first, end) that a hot set serves.
[[nodiscard]] std::vector<double> coverage(const Executor& exec, const InputStream& stream,
                                           const fae::RowLevels& hot, std::uint64_t first, std::uint64_t end,
                                           std::uint64_t count) {
    std::vector<double> shares;
    for (std::uint64_t w = 0; w < count; ++w) {
        fae::BudgetClasses classes(hot);
        stream.for_blocks(exec, first + (end - first) * w / count, first + (end - first) * (w + 1) / count,
                          "drift", [&](const fae::Bags<std::uint32_t>& bags) { classes.add(exec, bags); });
        shares.push_back(classes.lookups() == 0 ? 0.0
                                                : static_cast<double>(classes.hot_lookups(0)) /
                                                      static_cast<double>(classes.lookups()));
    }
    return shares;
}

// The first third's hot rows in all later windows, beside the second third's in those of the last.
[[nodiscard]] fae::DriftReport drift_of(const Executor& exec, const InputStream& stream,
                                        const fae::RowSpace& space, std::uint64_t row_bytes,
                                        std::uint64_t budget) {
    const std::uint64_t third = stream.inputs() / 3;
    const std::uint64_t end = stream.inputs();
    std::vector<double> old_shares;
    {
        const Profile first = profile_of(exec, stream, space, 0, third, {}, "drift");
        const fae::RowLevels hot = fae::row_levels(exec, first, row_bytes, {budget});
        old_shares = coverage(exec, stream, hot, third, 2 * third, windows);
        const std::vector<double> last = coverage(exec, stream, hot, 2 * third, end, windows);
        old_shares.insert(old_shares.end(), last.begin(), last.end());
    }
    const Profile second = profile_of(exec, stream, space, third, 2 * third, {}, "drift");
    const fae::RowLevels hot = fae::row_levels(exec, second, row_bytes, {budget});
    return fae::drift_report(std::move(old_shares), coverage(exec, stream, hot, 2 * third, end, windows));
}

[[nodiscard]] fae::report::AccessCurves access_curves(const Profile& profile, const fae::RowLevels& levels,
                                                      std::size_t budget) {
    fae::report::AccessCurves curves;
    const fae::RowSpace& space = profile.space();
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        const auto begin = static_cast<std::size_t>(space.offset(t));
        const auto rows = static_cast<std::size_t>(space.table(t).rows);
        const fae::Span<const std::uint8_t> of_table = levels.levels().subspan(begin, rows);
        const auto hot = static_cast<std::uint64_t>(std::count_if(
            of_table.begin(), of_table.end(), [&](std::uint8_t level) { return level <= budget; }));
        curves.tables.push_back(
            fae::report::access_curve(space.table(t).name, profile.counts().subspan(begin, rows), hot));
    }
    return curves;
}

// The same from a sketch: of the rows that it lists, by their lower bounds.
[[nodiscard]] fae::report::AccessCurves access_curves(const fae::SketchProfile& profile,
                                                      const fae::RowLevels& levels, std::size_t budget) {
    fae::report::AccessCurves curves;
    const fae::RowSpace& space = profile.space();
    std::vector<std::vector<std::uint64_t>> counts(space.table_count());
    std::vector<std::uint64_t> hot(space.table_count(), 0);
    for (const fae::HeavyRow& heavy : profile.rows()) {
        const std::size_t table = space.table_of(heavy.row);
        counts[table].push_back(heavy.lower);
        hot[table] += levels.of(heavy.row) <= budget ? 1u : 0u;
    }
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        curves.tables.push_back(fae::report::access_curve(space.table(t).name,
                                                          fae::Span<const std::uint64_t>(counts[t]), hot[t]));
        curves.tables.back().rows = space.table(t).rows;
        curves.tables.back().accesses = profile.accesses(t);
    }
    return curves;
}

[[nodiscard]] double share(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

Study study(const Executor& exec, const Options& options) {
    Study made;
    made.source = options.run.data == "-" ? "standard input" : train_dlrm::source_name(options.run);
    // What can be refused is refused before the source is read.
    const bool stored = !options.rates.empty() && std::filesystem::exists(options.rates);
    if (stored) made.rates = read_rates(options.rates);

    std::optional<InputStream> opened;
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::read);
        opened.emplace(exec, options.run);
    }
    const InputStream& stream = *opened;
    const fae::DlrmShape model = train_dlrm::shape_of(options.run, stream.shape());
    const fae::RowSpace space = stream.shape().row_space(static_cast<std::uint32_t>(model.dim));
    space.require_fits<std::uint32_t>();
    made.inputs = stream.inputs();
    made.rows = space.rows();
    made.row_bytes = train_dlrm::row_bytes_of(options.run, model.dim);
    made.malformed = stream.malformed();
    made.first_malformed = stream.first_malformed();
    const fae::InputSampler sampler = sampler_of(options.run, made.inputs);
    made.sampled = !sampler.draws_all();

    made.sketched = options.sketch_bytes.has_value();

    Profile profile;
    fae::SketchProfile sketch;
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::profile);
        if (made.sketched) {
            sketch = sketch_of(exec, stream, space, *options.sketch_bytes);
        } else {
            profile = profile_of(exec, stream, space, 0, made.inputs, sampler, "profile");
        }
    }
    Ranked ranked;
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::calibrate);
        const std::vector<std::uint64_t> budgets = options.budgets(made.rows * made.row_bytes);
        ranked = made.sketched ? rank(exec, sketch, made.row_bytes, budgets)
                               : rank(exec, profile, made.row_bytes, budgets);
    }
    const fae::RowLevels& levels = ranked.levels;
    fae::BudgetClasses classes(levels);
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::classify);
        stream.for_blocks(exec, 0, made.inputs, "classify",
                          [&](const fae::Bags<std::uint32_t>& bags) { classes.add(exec, bags); });
    }
    made.lookups = classes.lookups();
    if (!made.sketched) {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::calibrate);
        made.input_aware =
            input_aware(exec, stream, profile, made.row_bytes, options.budgets(made.rows * made.row_bytes),
                        options.run.seed.value_or(train_dlrm::Options::default_seed));
    }
    std::vector<fae::BudgetOffer> offers;
    for (std::size_t b = 0; b < levels.budgets(); ++b) {
        const fae::BudgetPoint& point = levels.points()[b];
        made.hot_lookups.push_back(classes.hot_lookups(b));
        made.hot_inputs.push_back(classes.hot_inputs(b));
        const double of_lookups = share(made.hot_lookups.back(), made.lookups);
        const double of_inputs = share(made.hot_inputs.back(), made.inputs);
        offers.push_back({point.budget_bytes,
                          point.hot_rows,
                          point.hot_bytes,
                          {of_lookups, of_lookups, of_lookups},
                          {of_inputs, of_inputs, of_inputs}});
        if (!ranked.promised.empty()) {
            offers.back().lookups.lower = ranked.promised[b].lower;
            offers.back().lookups.upper = ranked.promised[b].upper;
        }
    }

    if (!stored) {
        made.rates = probe_machine(exec, options.run, model);
        if (!options.rates.empty()) write_rates(options.rates, made.rates);
    }
    made.shape.rows = made.rows;
    made.shape.dim = model.dim;
    made.shape.row_bytes = made.row_bytes;
    made.shape.lookups_per_input =
        made.inputs == 0 ? 0.0 : static_cast<double>(made.lookups) / static_cast<double>(made.inputs);
    made.shape.features = stream.shape().features();
    made.shape.batch = options.run.batch;
    made.shape.dense_flops_per_input = static_cast<double>(model.training_flops());
    made.shape.input_bytes =
        1.0 + 4.0 * (static_cast<double>(model.dense_features) + made.shape.lookups_per_input);
    made.shape.inputs = made.inputs;
    made.sweep = fae::forecast_sweep(made.rates, made.shape, ranked.access, offers);
    made.advice = fae::advise(
        made.sweep, {.target_lookups = options.target_lookups, .target_inputs = options.target_inputs});
    if (!options.report.empty()) {
        made.access = made.sketched ? access_curves(sketch, levels, made.advice.chosen)
                                    : access_curves(profile, levels, made.advice.chosen);
    }

    if (stream.in_time_order() && made.inputs >= 3 * windows) {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::validation);
        profile = Profile();
        ranked = Ranked();
        made.window_inputs = made.inputs / 3 / windows;
        made.drift =
            drift_of(exec, stream, space, made.row_bytes, made.sweep[made.advice.chosen].offer.budget_bytes);
    }
    return made;
}

}  // namespace advise
