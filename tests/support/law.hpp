// SPDX-License-Identifier: Apache-2.0
//
// The law's test bench: a random or given case (tables, bags, budget, order, rate, optimizer), prepared as a
// user would and trained under any placement and executor; and the same sequence of batches for the plain
// trainer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/calibrator.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm_trainer.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/static_placement.hpp"
#include "support/plain_trainer.hpp"

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

/// A batch in plain words: every look-up a row id.
inline PlainBatch plain(const fae::LoadedBatch& batch) {
    PlainBatch out;
    out.labels.assign(batch.labels.begin(), batch.labels.end());
    for (std::size_t i = 0; i < batch.size(); ++i) {
        out.dense.insert(out.dense.end(), batch.dense.row(i), batch.dense.row(i) + batch.dense.columns());
    }
    const fae::Bags<std::uint32_t>& bags = batch.lookups.bags;
    for (std::size_t b = 0; b < bags.size(); ++b) {
        std::vector<std::uint64_t> rows;
        for (std::size_t k = bags.begin(b); k < bags.end(b); ++k) {
            const std::uint32_t value = bags.values()[k];
            rows.push_back(batch.lookups.heat == fae::Heat::hot ? batch.lookups.hot_set->row_of(value)
                                                                : value);
        }
        out.bags.push_back(std::move(rows));
    }
    return out;
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

/// Trains a case; `record`, if any, gets every batch.
template <fae::Placement P>
LawRun train_with(const LawCase& c, const fae::PackedDataset& data, P placement, std::size_t thread_count,
                  fae::SyncExtent extent = fae::SyncExtent::dirty,
                  std::vector<PlainBatch>* record = nullptr) {
    fae::Threads threads(thread_count);
    const auto exec = fae::par(threads);
    fae::HotColdTable<float, P> table(data.shape().row_space(c.dim), c.optimizer, placement);
    table.initialise(exec, c.seed);
    fae::Dlrm<float> model(c.shape(), c.batch, c.seed, c.optimizer);
    fae::DlrmTrainer<P> trainer(table, model);
    fae::BatchLoader loader(data);
    fae::BatchScheduler<CasePolicy> scheduler({.hot_inputs = data.hot().inputs(),
                                               .cold_inputs = data.cold().inputs(),
                                               .batch_size = c.batch,
                                               .epochs = c.epochs,
                                               .seed = c.seed,
                                               .order = c.order},
                                              CasePolicy(c));
    LawRun run;
    for (fae::BatchRef batch; scheduler.next(batch);) {
        if (batch.begins_segment) run.rows_moved += table.synchronise(exec, batch.heat, extent).rows;
        const fae::LoadedBatch loaded = loader.load(exec, batch);
        if (record != nullptr) record->push_back(plain(loaded));
        trainer.step(exec, batch.step, loaded, static_cast<float>(c.lr));
        ++run.batches;
        run.hot_batches += batch.heat == fae::Heat::hot ? 1 : 0;
        if (batch.ends_round) scheduler.report(trainer.evaluate(exec, loader, data.validation()).loss);
    }
    run.rows_moved += table.write_back(exec, extent).rows;
    run.digest = fae::weights_digest(exec, table, model);
    return run;
}

/// The digest that the plain trainer ends with on these batches.
inline std::string train_plainly(const LawCase& c, const std::vector<PlainBatch>& batches) {
    PlainTrainer trainer(c.table_rows, c.shape(), c.optimizer, c.seed, c.batch);
    for (const PlainBatch& batch : batches) trainer.step(batch, static_cast<float>(c.lr));
    return trainer.weights_digest().hex();
}

}  // namespace fae_test
