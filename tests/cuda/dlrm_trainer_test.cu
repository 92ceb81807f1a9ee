// SPDX-License-Identifier: Apache-2.0
//
// cuda::DlrmTrainer: what graphs, two sets of buffers and a stream beside the caller's may not change.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fae/core/row_layout.hpp"
#include "fae/models/dlrm_trainer.cuh"
#include "fae/ops/embedding_bag.hpp"
#include "support/cuda/trainer_run.cuh"

using namespace fae;
namespace gpu = fae::cuda;  // CUB brings another namespace of that name

using fae_test::all_rows;
using fae_test::equal_bits;
using fae_test::features;
using fae_test::HostBatch;
using fae_test::initial_records;
using fae_test::view_of;
using Run = fae_test::TrainerRun;

namespace {

const DlrmShape& shape = fae_test::trainer_shape;

std::vector<HostBatch> batches(std::size_t bag_size) {
    std::vector<HostBatch> list;
    std::uint64_t seed = 10;
    for (const std::size_t n : {150u, 150u, 1u, 64u, 150u, 37u, 150u, 150u})
        list.emplace_back(n, bag_size, seed++);
    return list;
}

/// Another at each step: it must be that of the step that is run, not of the one that a graph was made for.
float rate_of(std::size_t step) { return 0.05f / static_cast<float>(1 + step); }

/// The same steps by plain calls of the operations, one after another: embedding rows on the host.
std::vector<float> plain_steps(OptimizerKind kind, const std::vector<HostBatch>& list) {
    Run run(kind);
    std::vector<float> records = initial_records(run.layout);
    const RowSource<float> source{view_of(records.data(), run.layout), {}, {}};
    for (std::size_t s = 0; s < list.size(); ++s) {
        const HostBatch& batch = list[s];
        const Bags<std::uint32_t>& bags = batch.loaded.lookups.bags;
        const std::size_t n = batch.labels.size();
        std::vector<float> pooled(bags.size() * shape.dim);
        embedding_bag::forward(seq, source, bags, Pooling::sum,
                               MatrixView<float>(pooled.data(), bags.size(), shape.dim));
        Buffer<float, gpu::DeviceSpace> device_dense(batch.dense.size());
        Buffer<float, gpu::DeviceSpace> device_pooled(pooled.size());
        Buffer<std::uint8_t, gpu::DeviceSpace> device_labels(n);
        Buffer<float, gpu::DeviceSpace> device_lr(1);
        const std::vector<float> lr{rate_of(s)};
        gpu::copy(run.on, batch.dense, device_dense.span());
        gpu::copy(run.on, pooled, device_pooled.span());
        gpu::copy(run.on, batch.labels, device_labels.span());
        gpu::copy(run.on, lr, device_lr.span());
        run.model.forward(run.on, {device_dense.data(), n, shape.dense_features},
                          {device_pooled.data(), n, features * shape.dim});
        const auto gradient = run.model.backward(run.on, device_labels.span());
        run.model.step(run.on, device_lr.data());
        std::vector<float> host_gradient(pooled.size());
        gpu::copy(run.on, Span<const float>(gradient.data(), pooled.size()), Span<float>(host_gradient));
        run.on.synchronise();
        visit_optimizer(kind, [&](auto optimizer) {
            Buffer<std::byte> scratch(embedding_bag::backward_step_scratch<float>(
                {bags.lookups(), bags.lookups(), bags.size(), shape.dim, Pooling::sum}));
            Buffer<std::byte> index_scratch(row_index_scratch<std::uint32_t>(bags.lookups()));
            Workspace workspace(scratch.span());
            Workspace index_space(index_scratch.span());
            const auto index = build_row_index(seq, bags, all_rows, index_space);
            embedding_bag::backward_step(
                seq, optimizer, lr[0], index, bags, Pooling::sum,
                MatrixView<const float>(host_gradient.data(), bags.size(), shape.dim), source, workspace);
        });
    }
    gpu::copy(run.on, records, run.memory.span());
    return run.everything();
}

}  // namespace

// Catches a step that reads the next batch's buffers, a graph replayed for another size, an index of another
// batch, a learning rate of another step, and rows updated in another order than the host's.
TEST_CASE("cuda trainer: steps give the bits of plain calls with the rows on the host") {
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        for (const std::size_t bag_size : {std::size_t{1}, std::size_t{3}, std::size_t{0}}) {
            CAPTURE(bag_size);
            const std::vector<HostBatch> list = batches(bag_size);
            Run run(kind);
            for (std::size_t s = 0; s < list.size(); ++s) run.step(s, list[s], rate_of(s));
            const auto status = run.trainer.finish(run.on);
            CHECK(status.inputs == 150 * 5 + 1 + 64 + 37);
            CHECK(equal_bits(run.everything(), plain_steps(kind, list)));
        }
    }
}

// Catches a batch whose host memory is still read when step has returned.
TEST_CASE("cuda trainer: a batch's memory may be used again when step returns") {
    const std::vector<HostBatch> list = batches(1);
    Run kept(OptimizerKind::sgd);
    for (std::size_t s = 0; s < list.size(); ++s) kept.step(s, list[s]);
    Run reused(OptimizerKind::sgd);
    for (std::size_t s = 0; s < list.size(); ++s) {
        HostBatch batch(list[s].labels.size(), 1, 10 + s);
        reused.step(s, batch);
        std::fill(batch.values.begin(), batch.values.end(), fast_bit<std::uint32_t>);
        std::fill(batch.dense.begin(), batch.dense.end(), std::numeric_limits<float>::quiet_NaN());
    }
    kept.trainer.finish(kept.on);
    reused.trainer.finish(reused.on);
    CHECK(equal_bits(kept.everything(), reused.everything()));
}

// Catches memory that is laid out otherwise than the step reads it, and memory that is loaded into while the
// copy of the batch before is still under way.
TEST_CASE("cuda trainer: batches in its pinned memory give the bits of others, whenever they are loaded") {
    for (const std::size_t bag_size : {std::size_t{1}, std::size_t{0}}) {
        const std::vector<HostBatch> list = batches(bag_size);
        Run plain(OptimizerKind::adagrad);
        Run staged(OptimizerKind::adagrad);
        std::vector<gpu::PinnedBatch> memory;
        for (int i = 0; i < 2; ++i) memory.push_back(staged.trainer.pinned_batch());
        for (std::size_t s = 0; s < 3 * list.size(); ++s) {
            const LoadedBatch& batch = list[s % list.size()].loaded;
            plain.step(s, list[s % list.size()]);
            gpu::PinnedBatch& to = memory[s % memory.size()];
            const Bags<std::uint32_t>& bags = batch.lookups.bags;
            const BatchColumns columns =
                to.columns({batch.size(), shape.dense_features, bags.lookups(), bags.offsets().size()});
            std::copy(batch.labels.begin(), batch.labels.end(), columns.labels.begin());
            for (std::size_t r = 0; r < batch.size(); ++r) {
                float* const row = columns.dense.row(r);
                std::fill(std::copy_n(batch.dense.row(r), shape.dense_features, row),
                          row + columns.dense.stride(), 0.0f);
            }
            std::copy(bags.values().begin(), bags.values().end(), columns.values.begin());
            std::copy(bags.offsets().begin(), bags.offsets().end(), columns.offsets.begin());
            LoadedBatch loaded;
            loaded.labels = columns.labels;
            loaded.dense = columns.dense;
            const Span<const std::uint32_t> values = columns.values;
            loaded.lookups = {Heat::hot,
                              bag_size != 0 ? Bags<std::uint32_t>::fixed(values, bag_size, features)
                                            : Bags<std::uint32_t>::jagged(values, columns.offsets, features),
                              nullptr};
            staged.trainer.step(staged.on, s, gpu::StagedBatch{loaded, &to}, 0.05f, staged.route);
        }
        plain.trainer.finish(plain.on);
        staged.trainer.finish(staged.on);
        CHECK(equal_bits(plain.everything(), staged.everything()));
    }
}

// Catches an evaluation that changes weights or gives another batch's logits.
TEST_CASE("cuda trainer: predict gives the loss of the step that follows it and changes nothing") {
    Run run(OptimizerKind::adagrad);
    const HostBatch warm(150, 1, 4);
    run.step(0, warm);
    run.trainer.finish(run.on);
    const std::vector<float> before = run.everything();
    for (const std::size_t n : {37u, 150u, 37u}) {
        const HostBatch batch(n, 1, 5);
        const auto predicted = run.trainer.predict(run.on, batch.loaded, run.route);
        REQUIRE(predicted.logits.size() == n);
        double sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double x = static_cast<double>(predicted.logits[i]);
            sum += std::log1p(std::exp(batch.labels[i] != 0 ? -x : x));
        }
        CHECK(predicted.loss == doctest::Approx(sum / static_cast<double>(n)));
        CHECK(equal_bits(run.everything(), before));
    }
    const HostBatch batch(150, 1, 5);
    const double predicted = run.trainer.predict(run.on, batch.loaded, run.route).loss;
    run.step(1, batch);
    CHECK(run.trainer.finish(run.on).loss == predicted);
}

// Catches an update of rows or layers with a gradient that is not a number.
TEST_CASE("cuda trainer: a loss that is not finite stops training and names its step") {
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::rowwise_adagrad}) {
        Run run(kind);
        run.step(0, HostBatch(150, 1, 4));
        run.trainer.finish(run.on);
        const std::vector<float> before = run.everything();
        HostBatch bad(150, 1, 5);
        bad.dense[77] = std::numeric_limits<float>::infinity();
        run.step(1, bad);
        bool named = false;
        try {
            for (std::uint64_t s = 2; s < 6; ++s) run.step(s, HostBatch(150, 1, s));
            run.trainer.finish(run.on);
        } catch (const NonFiniteError& error) {
            named = error.step == 1;
        }
        CHECK(named);
        CHECK(equal_bits(run.everything(), before));
    }
}

// Catches memory taken by a step: a graph captured again, a buffer that grows.
TEST_CASE("cuda trainer: steps take no device memory once sizes and sets have been seen") {
    Run run(OptimizerKind::sgd);
    const std::vector<HostBatch> list = batches(1);
    std::size_t before = 0;
    for (int round = 0; round < 4; ++round) {
        for (std::size_t s = 0; s < list.size(); ++s) run.step(s, list[s]);
        run.step(9, list[0]);  // an odd number of steps: the other set of buffers in the next round
        run.trainer.finish(run.on);
        std::size_t available = 0;
        std::size_t total = 0;
        gpu::check(cudaMemGetInfo(&available, &total), "memory");
        if (round == 1) before = available;
        if (round > 1) CHECK(available == before);
    }
}

TEST_CASE("cuda trainer: a batch that does not fit is refused with both numbers") {
    Run run(OptimizerKind::sgd, 20);
    CHECK_THROWS_WITH_AS(run.step(0, HostBatch(21, 1, 1)),
                         "the batch has 21 inputs and 126 look-ups, expected at most 20 and 480",
                         ContractError);
    run.route.view.rows = all_rows + 1;
    CHECK_THROWS_WITH_AS(run.step(0, HostBatch(20, 1, 1)), "the route has 241 rows, expected at most 240",
                         ContractError);
}
