// SPDX-License-Identifier: Apache-2.0
//
// The law on the device: for one sequence of batches every placement ends in the same weights and optimizer
// state, bit for bit, in fp32 and in TF32; and a run ends as a second one does.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/space.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"
#include "support/law_case.hpp"
#include "support/reduced.hpp"

namespace gpu = fae::cuda;
using fae_test::CasePolicy;
using fae_test::LawCase;
using fae_test::LawRun;

namespace {

using AllHome = fae::AllHome<gpu::PinnedSpace>;
using AllSlots = fae::AllSlots<gpu::DeviceSpace>;
using Static = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;

template <fae::Placement P>
LawRun train_with(const LawCase& c, const fae::PackedDataset& data, P placement, gpu::Precision precision,
                  std::size_t thread_count = 4, fae::SyncExtent extent = fae::SyncExtent::dirty) {
    fae::Threads threads(thread_count);
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, fae::par(threads));
    auto table = gpu::make_table<float>(gpu::on(stream), data.shape().row_space(c.dim), c.optimizer,
                                        std::move(placement));
    table.initialise(exec, c.seed);
    gpu::Dlrm model(gpu::on(stream), c.shape(), c.batch, c.seed, c.optimizer, precision);
    gpu::PlacedTrainer<P> trainer(gpu::on(stream), table, model, data);
    fae::BatchScheduler<CasePolicy> scheduler({.hot_inputs = data.hot().inputs(),
                                               .cold_inputs = data.cold().inputs(),
                                               .batch_size = c.batch,
                                               .epochs = c.epochs,
                                               .seed = c.seed,
                                               .order = c.order},
                                              CasePolicy(c));
    LawRun run;
    for (fae::BatchRef batch; scheduler.next(batch);) {
        // The trainer synchronises by itself, and moves what is dirty.
        if (batch.begins_segment && extent == fae::SyncExtent::whole) {
            trainer.finish(exec);
            run.rows_moved += table.synchronise(exec, batch.heat, extent).rows;
        }
        trainer.step(exec, batch, static_cast<float>(c.lr));
        ++run.batches;
        run.hot_batches += batch.heat == fae::Heat::hot ? 1 : 0;
        if (batch.ends_round) scheduler.report(trainer.evaluate(exec, data.validation()).loss);
    }
    trainer.finish(exec);
    run.rows_moved += trainer.moved().rows;
    run.rows_moved += table.write_back(exec, extent).rows;
    run.digest = fae::weights_digest(exec, table, model.read_parameters(gpu::on(stream)));
    return run;
}

/// Trains a case under every placement; the digests are equal.
LawRun check_placements(const LawCase& c, gpu::Precision precision) {
    const fae::PackedDataset data = prepare(c);
    const LawRun slots = train_with(c, data, AllSlots(), precision);
    const LawRun hot = train_with(c, data, Static(data.hot_set()), precision);
    CHECK(train_with(c, data, AllHome(), precision).digest == slots.digest);
    CHECK(hot.digest == slots.digest);
    return hot;
}

}  // namespace

// Would catch a route that computes with other rows, state left behind in a tier, or a synchronisation that
// is missing or late.
TEST_CASE("cuda law: every placement ends in the same weights and state") {
    fae_test::CaseShare cases;
    for (const gpu::Precision precision : {gpu::Precision::fp32, gpu::Precision::tf32}) {
        for (const fae::OptimizerKind optimizer :
             {fae::OptimizerKind::sgd, fae::OptimizerKind::adagrad, fae::OptimizerKind::rowwise_adagrad}) {
            for (const double budget : {0.0, 0.01, 0.1, 1.0}) {
                for (const fae::Order order : {fae::Order::fae, fae::Order::shuffled}) {
                    if (!cases.take()) continue;
                    LawCase c;
                    c.table_rows = {40, 7, 3000};
                    c.budget_share = budget;
                    c.optimizer = optimizer;
                    c.order = order;
                    c.epochs = 2;
                    CAPTURE(static_cast<int>(optimizer));
                    CAPTURE(budget);
                    CAPTURE(static_cast<int>(order));
                    check_placements(c, precision);
                }
            }
        }
    }
}

// Would catch a case that only looks as if rows moved between the tiers.
TEST_CASE("cuda law: at every rate rows move between the tiers, and the digests stay equal") {
    fae_test::CaseShare cases;
    for (const unsigned rate : {1u, 25u, 100u}) {
        if (!cases.take()) continue;
        LawCase c;
        c.table_rows = {40, 7, 3000};
        c.inputs = fae_test::share() == 1 ? 2000 : 400;
        c.rate = rate;
        c.epochs = 2;
        c.optimizer = fae::OptimizerKind::rowwise_adagrad;
        CAPTURE(rate);
        const LawRun run = check_placements(c, gpu::Precision::tf32);
        CHECK(run.hot_batches > 0);
        CHECK(run.hot_batches < run.batches);
        CHECK(run.rows_moved > 0);
    }
}

// Would catch kernels that are right for one width of a row, one size of table or one number of features
// alone.
TEST_CASE("cuda law: rows of every width, in row spaces of one table to many, end in equal digests") {
    fae_test::CaseShare cases;
    unsigned kind = 0;
    for (const std::uint32_t dim : {1u, 5u, 16u, 33u, 64u, 132u}) {
        for (const auto& tables :
             {std::vector<std::uint64_t>{900}, {1, 2, 3}, {5000, 1, 40, 900, 7, 70, 3, 300}}) {
            if (!cases.take()) continue;
            LawCase c;
            c.dim = dim;
            c.table_rows = tables;
            c.feature_table.clear();
            for (std::uint32_t t = 0; t < tables.size(); ++t) c.feature_table.push_back(t);
            c.optimizer = static_cast<fae::OptimizerKind>(kind++ % 3);
            c.rate = 50;
            CAPTURE(dim);
            CAPTURE(tables.size());
            check_placements(c, kind % 2 == 0 ? gpu::Precision::fp32 : gpu::Precision::tf32);
        }
    }
}

// Would catch look-ups that several bags or features share, empty bags, and batches whose sizes differ.
TEST_CASE("cuda law: jagged bags and features that share a table") {
    for (const fae::Order order : {fae::Order::fae, fae::Order::shuffled}) {
        LawCase c;
        c.feature_table = {2, 0, 1, 2};
        c.most_per_bag = 5;
        c.optimizer = fae::OptimizerKind::adagrad;
        c.order = order;
        c.budget_share = 0.5;
        CAPTURE(static_cast<int>(order));
        check_placements(c, gpu::Precision::fp32);
    }
}

// Would catch results that depend on timing: of threads, of copies, or of the order in which blocks run.
TEST_CASE("cuda law: a run ends as a second one does, for any number of threads and either extent") {
    LawCase c;
    c.table_rows = {3, 20000, 500};
    c.inputs = fae_test::share() == 1 ? 5000 : 1500;
    c.batch = 700;
    c.dim = 16;
    c.rate = 25;
    c.epochs = 2;
    c.optimizer = fae::OptimizerKind::adagrad;
    const fae::PackedDataset data = prepare(c);
    const std::string digest = train_with(c, data, Static(data.hot_set()), gpu::Precision::tf32, 1).digest;
    fae_test::CaseShare cases;
    for (const std::size_t threads : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
        if (!cases.take()) continue;
        CHECK(train_with(c, data, Static(data.hot_set()), gpu::Precision::tf32, threads).digest == digest);
        CHECK(train_with(c, data, AllHome(), gpu::Precision::tf32, threads).digest == digest);
    }
    CHECK(
        train_with(c, data, Static(data.hot_set()), gpu::Precision::tf32, 3, fae::SyncExtent::whole).digest ==
        digest);
    LawCase other = c;
    other.lr = 0.11;
    CHECK(train_with(other, data, AllSlots(), gpu::Precision::tf32).digest != digest);
}
