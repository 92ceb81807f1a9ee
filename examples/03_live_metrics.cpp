// SPDX-License-Identifier: Apache-2.0
//
// A training loop that is watched while it runs: the table books look-ups, hits, moves and stalls into
// counters of the host's own; every few batches a window ends and a file is written that Prometheus'
// node_exporter picks up (its textfile collector), or any scraper that reads the text format.
//
//   build/release/examples/03_live_metrics /var/lib/node_exporter/fae.prom
#include <cstdio>
#include <exception>
#include <fae/fae.hpp>
#include <fae/models/dlrm_trainer.hpp>
#include <string>

namespace {

void train(const std::string& path) {
    fae::Threads threads;
    const auto exec = fae::par(threads);
    const auto sgd = fae::OptimizerKind::sgd;
    const fae::SyntheticSource source(fae::synthetic_small(), 1);
    const fae::PackedDataset data =
        fae::prepare(exec, source.generate(exec, 0, 40'000), source.generate(exec, 40'000, 1'000),
                     {.budget_bytes = 64 << 10, .dim = 16, .optimizer = sgd});
    fae::HotColdTable<float, fae::StaticPlacement<>> table(data.row_space(), sgd,
                                                           fae::static_placement(data.hot_set()));
    table.initialise(exec, 1);

    // The last ten windows are kept. Without set_metrics the table books nothing and asks once a batch.
    fae::MetricsHistory history(10);
    table.set_metrics(&history.current());

    fae::Dlrm<float> model(fae::DlrmShape::small_dlrm(13, 26), 256, 1, sgd);
    fae::DlrmTrainer trainer(table, model);
    fae::BatchLoader loader(data);
    fae::BatchScheduler scheduler({data.hot().inputs(), data.cold().inputs(), 256}, fae::FixedRate(20));
    for (fae::BatchRef batch; scheduler.next(batch);) {
        if (batch.begins_segment) table.synchronise(exec, batch.heat);
        {
            const fae::ScopedSeconds timer(history.current(), fae::Phase::train);
            trainer.step(exec, batch.step, loader.load(exec, batch), 0.1F);
        }
        if (batch.step % 16 != 15 && !batch.ends_epoch) continue;
        history.roll();
        // Whole or not there: a scraper never reads half a page.
        fae::AtomicFile file(path);
        file.write(fae::prometheus_text(history));
        file.commit();
        std::printf("window %2zu: fast tier %5.1f %% of the look-ups, worst of the last ten %5.1f %%\n",
                    static_cast<std::size_t>(history.ended()), 100 * history.last().fast_share(),
                    100 * history.worst_fast_share());
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: 03_live_metrics FILE.prom\n");
        return 2;
    }
    try {
        train(argv[1]);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "03_live_metrics: %s\n", error.what());
        return 1;
    }
}
