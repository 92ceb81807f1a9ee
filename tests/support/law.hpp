// SPDX-License-Identifier: Apache-2.0
//
// Trains the law's cases (law_case.hpp) on the host under any placement and executor; and the same sequence
// of batches by the plain trainer.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.hpp"
#include "fae/models/dlrm_trainer.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"
#include "support/law_case.hpp"
#include "support/plain_trainer.hpp"

namespace fae_test {

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

/// Trains a case; `record`, if any, gets every batch.
template <fae::Placement P>
LawRun train_with(const LawCase& c, const fae::PackedDataset& data, P placement, std::size_t thread_count,
                  fae::SyncExtent extent = fae::SyncExtent::dirty,
                  std::vector<PlainBatch>* record = nullptr) {
    fae::Threads threads(thread_count);
    const auto exec = fae::par(threads);
    fae::HotColdTable<float, P> table(data.shape().row_space(c.dim), c.optimizer, std::move(placement));
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

/// A look-ahead placement for a case: `window` slots beside those of `resident`.
inline fae::LookaheadPlacement<> lookahead_placement(const LawCase& c, const fae::HotSet& resident,
                                                     std::uint64_t window, std::uint64_t lookahead) {
    return {resident,
            {.window = window,
             .lookahead = lookahead,
             .most_lookups = c.batch * c.feature_table.size() * c.most_per_bag}};
}

/// The digest that the plain trainer ends with on these batches.
inline std::string train_plainly(const LawCase& c, const std::vector<PlainBatch>& batches) {
    PlainTrainer trainer(c.table_rows, c.shape(), c.optimizer, c.seed, c.batch);
    for (const PlainBatch& batch : batches) trainer.step(batch, static_cast<float>(c.lr));
    return trainer.weights_digest().hex();
}

}  // namespace fae_test
