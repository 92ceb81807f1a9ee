// SPDX-License-Identifier: Apache-2.0
//
// Quickstart: a DLRM trained with its hot rows in a fast tier of 64 KiB. The README prints what follows.
#include <cstdio>
#include <fae/fae.hpp>
#include <fae/models/dlrm_trainer.hpp>

int main() {
    fae::Threads threads;
    const auto exec = fae::par(threads);
    const auto sgd = fae::OptimizerKind::sgd;
    const fae::SyntheticSource source(fae::synthetic_small(), 1);

    // Which rows are hot, and which inputs need hot rows only.
    const fae::PackedDataset data =
        fae::prepare(exec, source.generate(exec, 0, 90'000), source.generate(exec, 90'000, 10'000),
                     {.budget_bytes = 64 << 10, .dim = 16, .optimizer = sgd});

    // Rows in two tiers; a dense model beside them; cold and hot mini-batches in turns.
    fae::HotColdTable<float, fae::StaticPlacement<>> table(data.row_space(), sgd,
                                                           fae::static_placement(data.hot_set()));
    table.initialise(exec, 1);
    fae::Dlrm<float> model(fae::DlrmShape::small_dlrm(13, 26), 256, 1, sgd);
    fae::DlrmTrainer trainer(table, model);
    fae::BatchLoader loader(data);
    fae::BatchScheduler scheduler({data.hot().inputs(), data.cold().inputs(), 256}, fae::LossReactiveRate());
    for (fae::BatchRef batch; scheduler.next(batch);) {
        if (batch.begins_segment) table.synchronise(exec, batch.heat);
        trainer.step(exec, batch.step, loader.load(exec, batch), 0.1F);
        if (!batch.ends_round) continue;
        const fae::Evaluation held_out = trainer.evaluate(exec, loader, data.validation());
        scheduler.report(held_out.loss);
        std::printf("step %3zu: loss %.4f, AUC %.4f\n", size_t(batch.step), held_out.loss, *held_out.auc);
    }
    std::printf("%zu of %zu inputs were hot\n", data.hot().inputs(), data.inputs());
}
