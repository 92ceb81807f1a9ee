// SPDX-License-Identifier: Apache-2.0
//
// Quickstart: a DLRM trained with its hot rows in a fast tier of 128 KiB. The README prints what follows.
#include <cstdio>
#include <fae/fae.hpp>
#include <fae/models/dlrm_trainer.hpp>

int main() {
    fae::Threads threads;
    const auto exec = fae::par(threads);
    const auto sgd = fae::OptimizerKind::sgd;
    const fae::SyntheticSource source(fae::synthetic_small(), 1);

    // Which rows are hot, and how the budget is shared between them and a window for rows of coming batches.
    const fae::PackedDataset data =
        fae::prepare(exec, source.generate(exec, 0, 90'000), source.generate(exec, 90'000, 10'000),
                     {.budget_bytes = 128 << 10, .dim = 16, .optimizer = sgd});
    const fae::LookaheadFit fit = fae::fit_lookahead(exec, data, {.batch = 256});

    // Rows in two tiers, brought to the fast one before a batch needs them; a dense model beside them.
    using Placement = fae::LookaheadPlacement<>;
    fae::HotColdTable<float, Placement> table(data.row_space(), sgd,
                                              Placement(fit.resident(data), fit.options));
    table.initialise(exec, 1);
    fae::Dlrm<float> model(fae::DlrmShape::small_dlrm(13, 26), 256, 1, sgd);
    fae::DlrmTrainer trainer(table, model);
    fae::BatchLoader loader(data);
    fae::BatchScheduler scheduler({.hot_inputs = data.hot().inputs(),
                                   .cold_inputs = data.cold().inputs(),
                                   .batch_size = 256,
                                   .epochs = 2,
                                   .order = fae::Order::shuffled},
                                  fae::FixedRate(50));
    for (fae::BatchRef batch; scheduler.next(batch);) {
        if (batch.begins_segment) table.synchronise(exec, batch.heat);
        trainer.step(exec, batch.step, loader.load(exec, batch), 0.1F);
        if (!batch.ends_epoch) continue;
        const fae::Evaluation held_out = trainer.evaluate(exec, loader, data.validation());
        std::printf("step %4zu: loss %.4f, AUC %.4f\n", size_t(batch.step), held_out.loss, *held_out.auc);
    }
    const fae::LookaheadCounts& served = table.placement().planner().counts();
    std::printf("%zu look-ups hot, %zu in the window, %zu brought, %zu at home\n", size_t(served.hot),
                size_t(served.hits), size_t(served.brought), size_t(served.direct));
}
