// SPDX-License-Identifier: Apache-2.0
//
// The cases of the law's tests: tables, bags, budget, order, rate, optimizer, random or given, prepared as a
// user would. What trains them is in law.hpp (host) and the law_test of cuda (device).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/random.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/dlrm_shape.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/schedule/batch_scheduler.hpp"

namespace fae_test {

struct LawCase {
    std::vector<std::uint64_t> table_rows{40, 7, 300};
    std::vector<std::uint32_t> feature_table{0, 1, 2};
    std::size_t dense_features = 3;
    std::uint32_t dim = 4;
    std::size_t inputs = 400;
    std::size_t validation_inputs = 60;
    std::size_t most_per_bag = 1;  ///< above 1: jagged bags of 0 to this many rows
    double budget_share = 0.1;     ///< of the rows' bytes
    fae::OptimizerKind optimizer = fae::OptimizerKind::sgd;
    fae::Order order = fae::Order::fae;
    std::optional<unsigned> rate;  ///< none: loss-reactive
    std::uint64_t epochs = 1;
    std::uint64_t batch = 32;
    std::uint64_t seed = 1;
    double lr = 0.1;

    [[nodiscard]] fae::DlrmShape shape() const {
        return {dense_features, feature_table.size(), dim, {8, dim}, {6, 1}};
    }
};

/// Random inputs whose rows are skewed: small indices are frequent.
inline fae::Dataset random_dataset(const LawCase& c, std::size_t inputs, std::uint64_t stream) {
    fae::Philox random(c.seed, stream);
    fae::Dataset data;
    data.shape.table_rows = c.table_rows;
    data.shape.table_names.resize(c.table_rows.size());
    data.shape.feature_table = c.feature_table;
    data.shape.dense_features = c.dense_features;
    std::vector<std::uint64_t> first{0};
    for (const std::uint64_t rows : c.table_rows) first.push_back(first.back() + rows);
    if (c.most_per_bag > 1) data.offsets.push_back(0);
    for (std::size_t i = 0; i < inputs; ++i) {
        data.labels.push_back(random.uniform() < 0.3 ? 1 : 0);
        for (std::size_t d = 0; d < c.dense_features; ++d)
            data.dense.push_back(static_cast<float>(random.normal()));
        for (const std::uint32_t table : c.feature_table) {
            const std::uint64_t size = c.most_per_bag > 1 ? random.below(c.most_per_bag + 1) : 1;
            for (std::uint64_t k = 0; k < size; ++k) {
                const double u = random.uniform();
                const auto index =
                    static_cast<std::uint64_t>(u * u * u * static_cast<double>(c.table_rows[table]));
                data.values.push_back(static_cast<std::uint32_t>(first[table] + index));
            }
            if (c.most_per_bag > 1) data.offsets.push_back(data.values.size());
        }
    }
    return data;
}

/// Profile, calibrate, classify, pack.
inline fae::PackedDataset prepare(const LawCase& c) {
    fae::Dataset train = random_dataset(c, c.inputs, 1);
    fae::Dataset validation = random_dataset(c, c.validation_inputs, 2);
    const fae::RowSpace space = train.shape.row_space(c.dim);
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::seq, train.bags());
    const fae::AccessProfile<> profile = profiler.finish();
    const std::uint64_t row_bytes = fae::row_layout(c.dim, fae::state_size(c.optimizer, c.dim)).bytes();
    fae::CalibrationOptions options;
    options.budget_bytes =
        static_cast<std::uint64_t>(c.budget_share * static_cast<double>(space.rows() * row_bytes));
    if (c.budget_share >= 1) options.budget_bytes = space.rows() * row_bytes + (std::uint64_t{1} << 20);
    options.row_bytes = row_bytes;
    fae::Calibration calibration = fae::calibrate(fae::seq, profile, options);
    fae::HotSet hot_set = std::move(calibration.hot_set);
    fae::Classification classes = fae::classify(fae::seq, hot_set, space, train.bags());
    std::vector<std::uint64_t> counts;
    for (std::uint64_t s = 0; s < hot_set.size(); ++s) counts.push_back(profile.counts()[hot_set.row_of(s)]);
    fae::Provenance provenance;
    provenance.budget_bytes = options.budget_bytes;
    provenance.row_bytes = row_bytes;
    provenance.dim = c.dim;
    provenance.seed = c.seed;
    provenance.cutoffs.resize(c.table_rows.size());
    return fae::pack(fae::seq, train, std::move(validation), {}, std::move(hot_set), std::move(classes),
                     std::move(counts), provenance);
}

struct LawRun {
    std::string digest;
    std::uint64_t batches = 0;
    std::uint64_t hot_batches = 0;
    std::uint64_t rows_moved = 0;
};

/// A fixed or the loss-reactive rate, chosen at run time: one type keeps these tests quick to compile, as
/// does their one executor.
class CasePolicy {
  public:
    explicit CasePolicy(const LawCase& c) : fixed_(c.rate) {}
    [[nodiscard]] unsigned rate() const { return fixed_ ? *fixed_ : reactive_.rate(); }
    void report(double loss) { reactive_.report(loss); }

  private:
    std::optional<unsigned> fixed_;
    fae::LossReactiveRate reactive_;
};

}  // namespace fae_test
