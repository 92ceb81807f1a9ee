// SPDX-License-Identifier: Apache-2.0
#include "study.hpp"

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <utility>

#include "../train_dlrm/inputs.hpp"
#include "../train_dlrm/model.hpp"
#include "fae/advise/access_shape.hpp"
#include "fae/calibrate/row_levels.hpp"
#include "fae/classify/budget_classes.hpp"
#include "fae/core/row_space.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/profile/sampled.hpp"
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

    Profile profile;
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::profile);
        profile = profile_of(exec, stream, space, 0, made.inputs, sampler, "profile");
    }
    fae::RowLevels levels;
    fae::AccessShape access;
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::calibrate);
        levels = fae::row_levels(exec, profile, made.row_bytes, options.budgets(made.rows * made.row_bytes));
        access = fae::access_shape(exec, profile, made.row_bytes);
    }
    fae::BudgetClasses classes(levels);
    {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::classify);
        stream.for_blocks(exec, 0, made.inputs, "classify",
                          [&](const fae::Bags<std::uint32_t>& bags) { classes.add(exec, bags); });
    }
    made.lookups = classes.lookups();
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
    made.sweep = fae::forecast_sweep(made.rates, made.shape, access, offers);
    made.advice = fae::advise(
        made.sweep, {.target_lookups = options.target_lookups, .target_inputs = options.target_inputs});
    if (!options.report.empty()) made.access = access_curves(profile, levels, made.advice.chosen);

    if (stream.in_time_order() && made.inputs >= 3 * windows) {
        const fae::ScopedSeconds timer(made.metrics, fae::Phase::validation);
        profile = Profile();
        levels = fae::RowLevels();
        made.window_inputs = made.inputs / 3 / windows;
        made.drift =
            drift_of(exec, stream, space, made.row_bytes, made.sweep[made.advice.chosen].offer.budget_bytes);
    }
    return made;
}

}  // namespace advise
