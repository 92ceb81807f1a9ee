// SPDX-License-Identifier: Apache-2.0
#include "preparation.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "fae/calibrate/budget_curve.hpp"
#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/input_selection.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/io/fae_file.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/profile/sampled.hpp"
#include "inputs.hpp"
#include "model.hpp"

namespace train_dlrm {

namespace {

// What the fast tier holds: the records of the hot rows and the index that finds them.
[[nodiscard]] std::uint64_t hot_bytes_of(const fae::HotSet& hot_set, std::uint64_t row_bytes) {
    return hot_set.size() * row_bytes + hot_set.index_bytes();
}

using Profile = fae::AccessProfile<>;

// Of each table, the smallest count that is hot: 0 where the whole table is, UINT64_MAX where none of it is.
[[nodiscard]] std::vector<std::uint64_t> smallest_hot_counts(const Profile& profile,
                                                             const fae::HotSet& hot_set) {
    const fae::RowSpace& space = profile.space();
    std::vector<std::uint64_t> counts(space.table_count(), ~std::uint64_t{0});
    const fae::HotSet::Ref hot = hot_set.ref();
    std::vector<std::uint64_t> rows(space.table_count(), 0);
    for (fae::Slot slot = 0; slot < hot.size(); ++slot) {
        const fae::RowId row = hot.row_of(slot);
        const std::size_t table = space.table_of(row);
        counts[table] =
            std::min<std::uint64_t>(counts[table], profile.counts()[static_cast<std::size_t>(row)]);
        ++rows[table];
    }
    for (std::size_t t = 0; t < counts.size(); ++t) {
        if (rows[t] == space.table(t).rows) counts[t] = 0;
    }
    return counts;
}

[[nodiscard]] fae::report::AccessCurves access_curves(const Profile& profile, const fae::HotSet& hot_set) {
    fae::report::AccessCurves curves;
    const fae::RowSpace& space = profile.space();
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        const std::uint64_t begin = space.offset(t);
        const std::uint64_t rows = space.table(t).rows;
        curves.tables.push_back(fae::report::access_curve(
            space.table(t).name,
            profile.counts().subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(rows)),
            hot_set.rank(begin + rows) - hot_set.rank(begin)));
    }
    return curves;
}

// Budgets that double from a 256th of the model to all of it, and the granted one.
[[nodiscard]] fae::report::BudgetCurve budgets_of(const Executor& exec, const Profile& profile,
                                                  std::uint64_t row_bytes, std::uint64_t granted) {
    const std::uint64_t all = profile.space().rows() * row_bytes;
    std::vector<std::uint64_t> budgets{granted};
    for (std::uint64_t part = 256; part != 0; part /= 2) budgets.push_back(all / part);
    std::sort(budgets.begin(), budgets.end());
    budgets.erase(std::unique(budgets.begin(), budgets.end()), budgets.end());
    fae::report::BudgetCurve curve;
    const auto lookups = static_cast<double>(std::max<std::uint64_t>(1, profile.accesses()));
    for (const fae::BudgetPoint& bought : fae::budget_curve(exec, profile, row_bytes, budgets)) {
        fae::report::BudgetPoint point;
        point.budget_bytes = bought.budget_bytes;
        point.hot_rows = bought.hot_rows;
        point.hot_bytes = bought.hot_bytes;
        point.hot_lookups = static_cast<double>(bought.hot_lookups) / lookups;
        curve.points.push_back(point);
    }
    curve.granted_bytes = granted;
    return curve;
}

[[nodiscard]] Profile profile_of(const Executor& exec, const Options& options, const fae::Dataset& train,
                                 const fae::RowSpace& space) {
    fae::AccessProfiler<> profiler(space);
    const double sample = options.sample.value_or(Options::default_sample);
    if (sample >= 1) {
        profiler.add(exec, train.bags());
    } else {
        const auto count = static_cast<std::uint64_t>(sample * static_cast<double>(train.inputs()));
        profiler.add(
            exec, train.bags(),
            fae::InputSampler::exact(train.inputs(), count, options.seed.value_or(Options::default_seed)));
    }
    return profiler.finish();
}

// Read, profile, calibrate, classify, pack.
[[nodiscard]] Prepared prepare_source(const Executor& exec, const Options& options, fae::Metrics& metrics) {
    Inputs inputs;
    {
        const fae::ScopedSeconds timer(metrics, fae::Phase::read);
        inputs = read_inputs(exec, options);
    }
    stop_if_interrupted();
    const fae::DlrmShape shape = shape_of(options, inputs.train.shape);
    const auto dim = static_cast<std::uint32_t>(shape.dim);
    const fae::RowSpace space = inputs.train.shape.row_space(dim);
    fae::Provenance provenance;
    provenance.fingerprint = inputs.fingerprint;
    provenance.row_bytes = row_bytes_of(options, shape.dim);
    provenance.budget_bytes =
        options.budget.value_or(Size{Options::default_budget, false}).of(space.rows() * provenance.row_bytes);
    provenance.seed = options.seed.value_or(Options::default_seed);
    provenance.max_rows = options.max_rows.value_or(0);
    provenance.sample = options.sample.value_or(Options::default_sample);
    provenance.validation = options.validation.value_or(Options::default_validation);
    provenance.dim = dim;
    provenance.vocabulary =
        options.synthetic.empty() ? options.vocabulary.value_or("first-seen") : "synthetic";
    provenance.source = inputs.source;
    provenance.optimizer = options.optimizer_name();

    Profile profile;
    {
        const fae::ScopedSeconds timer(metrics, fae::Phase::profile);
        profile = profile_of(exec, options, inputs.train, space);
    }
    stop_if_interrupted();
    fae::Calibration calibration;
    {
        const fae::ScopedSeconds timer(metrics, fae::Phase::calibrate);
        fae::CalibrationOptions asked;
        asked.budget_bytes = provenance.budget_bytes;
        asked.row_bytes = provenance.row_bytes;
        calibration = fae::calibrate(exec, profile, asked);
    }
    provenance.cutoffs = calibration.report.cutoffs.front();
    if (options.hot_rows_for_inputs) {
        const fae::ScopedSeconds timer(metrics, fae::Phase::calibrate);
        fae::CalibrationOptions asked;
        asked.budget_bytes = provenance.budget_bytes;
        asked.row_bytes = provenance.row_bytes;
        calibration.hot_set = fae::calibrate_inputs(exec, profile, inputs.train.bags(), asked).hot_set;
        provenance.cutoffs = smallest_hot_counts(profile, calibration.hot_set);
        stop_if_interrupted();
    }
    const std::uint64_t hot_bytes = hot_bytes_of(calibration.hot_set, provenance.row_bytes);
    std::optional<fae::report::AccessCurves> access;
    std::optional<fae::report::BudgetCurve> budgets;
    if (!options.report.empty()) {
        access = access_curves(profile, calibration.hot_set);
        budgets = budgets_of(exec, profile, provenance.row_bytes, provenance.budget_bytes);
    }
    fae::Classification classes;
    {
        const fae::ScopedSeconds timer(metrics, fae::Phase::classify);
        classes = fae::classify(exec, calibration.hot_set, space, inputs.train.bags());
    }
    stop_if_interrupted();
    const fae::ScopedSeconds timer(metrics, fae::Phase::pack);
    std::vector<std::uint64_t> counts = fae::slot_counts(exec, profile, calibration.hot_set);
    return {fae::pack(exec, inputs.train, std::move(inputs.validation), std::move(inputs.test),
                      std::move(calibration.hot_set), std::move(classes), std::move(counts), provenance),
            shape,
            hot_bytes,
            inputs.malformed,
            inputs.first_malformed,
            std::move(access),
            std::move(budgets)};
}

// What the file fixes may be repeated on the command line, not changed.
void check_repeated(const Options& options, const fae::Provenance& file, const fae::DlrmShape& shape,
                    std::uint64_t rows) {
    const auto same = [](bool equal, const char* option, const auto& asked, const auto& packed) {
        if (!equal) {
            throw UsageError(
                fae::concat(option, " is ", asked, ", and the packed file was made with ", packed));
        }
    };
    if (options.seed) same(*options.seed == file.seed, "--seed", *options.seed, file.seed);
    if (options.sample) same(*options.sample == file.sample, "--sample", *options.sample, file.sample);
    if (options.validation) {
        same(*options.validation == file.validation, "--validation", *options.validation, file.validation);
    }
    if (options.max_rows)
        same(*options.max_rows == file.max_rows, "--max-rows", *options.max_rows, file.max_rows);
    if (options.vocabulary) {
        same(*options.vocabulary == file.vocabulary, "--vocabulary", *options.vocabulary, file.vocabulary);
    }
    if (options.budget) {
        const std::uint64_t bytes = options.budget->of(rows * file.row_bytes);
        same(bytes == file.budget_bytes, "--budget in bytes", bytes, file.budget_bytes);
    }
    same(shape.dim == file.dim, "the model's dim", shape.dim, file.dim);
    const std::uint64_t row_bytes = row_bytes_of(options, shape.dim);
    same(row_bytes == file.row_bytes, "the row of --optimizer in bytes", row_bytes, file.row_bytes);
}

[[nodiscard]] Prepared open_packed(const Executor& exec, const Options& options, fae::Metrics& metrics) {
    const fae::ScopedSeconds timer(metrics, fae::Phase::read);
    fae::PackedDataset data = fae::open_fae_file(exec, options.unpack);
    const fae::DlrmShape shape = shape_of(options, data.shape());
    check_repeated(options, data.provenance(), shape, data.hot_set().rows());
    if (options.has_source()) {
        Options source = options;
        source.seed = data.provenance().seed;
        source.validation = data.provenance().validation;
        if (source.max_rows.value_or(0) == 0 && data.provenance().max_rows != 0) {
            source.max_rows = data.provenance().max_rows;
        }
        if (!options.data.empty()) source.vocabulary = data.provenance().vocabulary;
        fae::require_same_source(data, read_inputs(exec, source).fingerprint);
    }
    const std::uint64_t hot_bytes = hot_bytes_of(data.hot_set(), data.provenance().row_bytes);
    return {std::move(data), shape, hot_bytes, 0, {}, std::nullopt, std::nullopt};
}

}  // namespace

Prepared prepare(const Executor& exec, const Options& options, fae::Metrics& metrics) {
    return options.unpack.empty() ? prepare_source(exec, options, metrics)
                                  : open_packed(exec, options, metrics);
}

}  // namespace train_dlrm
