// SPDX-License-Identifier: Apache-2.0
//
// The look-ahead placement on the device: whatever the window, the look-ahead and the delays of threads and
// streams, training ends in the bits of all rows in slots.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/record_ways.cuh"
#include "fae/cuda/space.hpp"
#include "fae/models/checkpoint.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/lookahead_trainer.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "support/law_case.hpp"
#include "support/reduced.hpp"

namespace gpu = fae::cuda;
using fae_test::CasePolicy;
using fae_test::LawCase;

namespace {

using AllSlots = fae::AllSlots<gpu::DeviceSpace>;
using Lookahead = fae::LookaheadPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;

/// What a run ended in.
struct Outcome {
    std::string digest;
    double loss = 0;
    fae::LookaheadCounts counts;
    gpu::ZeroCopyCounts zero_copy;
};

/// Nobody's microsecond is safe: threads sleep and streams are busy, at random.
struct RandomDelays {
    using At = gpu::NoDelays::At;

    static std::uint64_t draw(At at, std::uint64_t number) {
        return fae::mix64(number * 8 + static_cast<std::uint64_t>(at));
    }
    static void host(At at, std::uint64_t number) {
        const std::uint64_t random = draw(at, number);
        if (random % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random / 3 % 700));
    }
    static void device(gpu::On on, At at, std::uint64_t number);
};

__global__ void be_busy(std::uint64_t nanoseconds) {
    for (std::uint64_t waited = 0; waited < nanoseconds; waited += 1000) __nanosleep(1000);
}

void RandomDelays::device(gpu::On on, At at, std::uint64_t number) {
    const std::uint64_t random = draw(at, number ^ 0x5555);
    if (random % 2 == 0) be_busy<<<1, 1, 0, on.stream>>>(random / 2 % 400'000);
}

/// Batches of a data set in an order of the test's own: their inputs, of this kind.
struct Schedule {
    fae::Heat heat = fae::Heat::mixed;
    std::vector<std::vector<std::uint64_t>> batches;
};

/// The case's own schedule, with an evaluation in the middle.
Schedule schedule_of(const LawCase& c, const fae::PackedDataset& data) {
    fae::BatchScheduler<CasePolicy> scheduler({.hot_inputs = data.hot().inputs(),
                                               .cold_inputs = data.cold().inputs(),
                                               .batch_size = c.batch,
                                               .epochs = c.epochs,
                                               .seed = c.seed,
                                               .order = fae::Order::shuffled},
                                              CasePolicy(c));
    Schedule schedule;
    for (fae::BatchRef batch; scheduler.next(batch);) {
        schedule.heat = batch.heat;
        schedule.batches.emplace_back(batch.inputs.begin(), batch.inputs.end());
    }
    return schedule;
}

template <class Trainer, fae::Placement P, class... Options>
Outcome train_with(const LawCase& c, const fae::PackedDataset& data, const Schedule& schedule, P placement,
                   const Options&... options) {
    fae::Threads threads(3);
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, fae::par(threads));
    auto table = gpu::make_table<float>(gpu::on(stream), data.shape().row_space(c.dim), c.optimizer,
                                        std::move(placement));
    table.initialise(exec, c.seed);
    gpu::Dlrm model(gpu::on(stream), c.shape(), c.batch, c.seed, c.optimizer, gpu::Precision::fp32);
    Trainer trainer(gpu::on(stream), table, model, data, options...);
    Outcome outcome;
    std::uint64_t step = 0;
    for (const auto& inputs : schedule.batches) {
        fae::BatchRef batch;
        batch.step = step;
        batch.heat = schedule.heat;
        batch.begins_segment = step == 0;
        batch.inputs = inputs;
        trainer.step(exec, batch, static_cast<float>(c.lr));
        if (++step == schedule.batches.size() / 2)
            outcome.loss = trainer.evaluate(exec, data.validation()).loss;
    }
    trainer.finish(exec);
    if constexpr (gpu::PlansAhead<P>) {
        outcome.counts = trainer.counts();
        outcome.zero_copy = trainer.zero_copy();
    }
    table.write_back(exec);
    outcome.digest = fae::weights_digest(exec, table, model.read_parameters(gpu::on(stream)));
    return outcome;
}

Outcome all_slots(const LawCase& c, const fae::PackedDataset& data, const Schedule& schedule) {
    return train_with<gpu::PlacedTrainer<AllSlots>>(c, data, schedule, AllSlots());
}

// By both ways of rows over the link, which must end alike.
template <class Delays = gpu::NoDelays>
Outcome look_ahead(const LawCase& c, const fae::PackedDataset& data, const Schedule& schedule,
                   const fae::HotSet& resident, std::uint64_t window, std::uint64_t lookahead) {
    const std::uint64_t most = c.batch * c.feature_table.size() * c.most_per_bag;
    const auto by = [&](gpu::RecordWay way) {
        return train_with<gpu::LookaheadTrainer<Lookahead, Delays>>(
            c, data, schedule,
            Lookahead(resident, {.window = window, .lookahead = lookahead, .most_lookups = most}),
            gpu::LookaheadThreads{}, nullptr, way);
    };
    const Outcome staged = by(gpu::RecordWay::staged);
    const Outcome zero_copy = by(gpu::RecordWay::zero_copy);
    CHECK(zero_copy.digest == staged.digest);
    CHECK(zero_copy.loss == staged.loss);
    CHECK(zero_copy.counts == staged.counts);
    CHECK(staged.zero_copy.rows_in + staged.zero_copy.rows_out == 0);
    CHECK(zero_copy.zero_copy.rows_in == zero_copy.counts.rows_in);
    CHECK(zero_copy.zero_copy.rows_out == zero_copy.counts.rows_out);
    return zero_copy;
}

void check_equal(const Outcome& found, const Outcome& expected) {
    CHECK(found.digest == expected.digest);
    CHECK(found.loss == expected.loss);
}

fae::HotSet no_rows(const fae::PackedDataset& data) { return fae::HotSet::none(data.hot_set().rows()); }

}  // namespace

// Would catch a row that is read before it came home, put into a slot that is in use, or left behind with its
// state; a direct look-up of a row that is on its way; an evaluation that finds a row elsewhere.
TEST_CASE("cuda look-ahead: every window and look-ahead ends in the bits of all rows in slots") {
    fae_test::CaseShare cases;
    for (const fae::OptimizerKind optimizer :
         {fae::OptimizerKind::sgd, fae::OptimizerKind::adagrad, fae::OptimizerKind::rowwise_adagrad}) {
        LawCase c;
        c.table_rows = {40, 7, 3000};
        c.inputs = fae_test::share() > 1 ? 500 : 2000;
        c.batch = 64;
        c.epochs = 2;
        c.optimizer = optimizer;
        CAPTURE(static_cast<int>(optimizer));
        const fae::PackedDataset data = prepare(c);
        const fae::HotSet none = no_rows(data);
        const Schedule schedule = schedule_of(c, data);
        const Outcome expected = all_slots(c, data, schedule);
        for (const fae::HotSet* resident : {&none, &data.hot_set()}) {
            for (const std::uint64_t window : {0u, 1u, 50u, 700u, 3047u}) {
                for (const std::uint64_t lookahead : {1u, 3u, 16u, 64u}) {
                    if (!cases.take()) continue;
                    CAPTURE(resident->size());
                    CAPTURE(window);
                    CAPTURE(lookahead);
                    const Outcome found = look_ahead(c, data, schedule, *resident, window, lookahead);
                    check_equal(found, expected);
                    if (window == 0) CHECK(found.counts.rows_in == 0);
                    if (window == 3047) CHECK(found.counts.direct == 0);
                    if (window == 700 && lookahead < 16 && fae_test::share() == 1)
                        CHECK(found.counts.rows_out > 0);
                }
            }
        }
    }
}

// Would catch look-ups that several bags or features share, empty bags, and batches whose sizes differ.
TEST_CASE("cuda look-ahead: jagged bags, and features that share a table") {
    LawCase c;
    c.feature_table = {2, 0, 1, 2};
    c.most_per_bag = 5;
    c.optimizer = fae::OptimizerKind::adagrad;
    const fae::PackedDataset data = prepare(c);
    const Schedule schedule = schedule_of(c, data);
    const Outcome expected = all_slots(c, data, schedule);
    const fae::HotSet none = no_rows(data);
    fae_test::CaseShare cases;
    for (const std::uint64_t window : {0u, 30u, 347u}) {
        for (const std::uint64_t lookahead : {1u, 5u}) {
            if (!cases.take()) continue;
            CAPTURE(window);
            CAPTURE(lookahead);
            check_equal(look_ahead(c, data, schedule, none, window, lookahead), expected);
            check_equal(look_ahead(c, data, schedule, data.hot_set(), window, lookahead), expected);
        }
    }
}

// Would catch what only regular schedules hide: a row that leaves and comes back at once, one that is direct
// in one batch and has a slot in the next, batches larger than the window.
TEST_CASE("cuda look-ahead: adversarial schedules") {
    LawCase c;
    c.table_rows = {600, 600};
    c.feature_table = {0, 1};
    c.inputs = 600;
    c.batch = 40;
    c.budget_share = 0;
    c.optimizer = fae::OptimizerKind::rowwise_adagrad;
    const fae::PackedDataset data = prepare(c);
    REQUIRE(data.hot().inputs() == 0);
    const auto batch_from = [&](std::uint64_t first, std::uint64_t count) {
        std::vector<std::uint64_t> inputs;
        for (std::uint64_t i = 0; i < count; ++i) inputs.push_back((first + i) % c.inputs);
        return inputs;
    };
    std::vector<Schedule> schedules(4, Schedule{fae::Heat::cold, {}});
    for (std::uint64_t b = 0; b < 60; ++b) {
        // The same inputs in every batch; in every second one; each once in a round; and growing batches.
        schedules[0].batches.push_back(batch_from(0, 40));
        schedules[1].batches.push_back(b % 2 == 0 ? batch_from(0, 40) : batch_from(40 + b * 20, 20));
        schedules[2].batches.push_back(batch_from(b * 40, 40));
        schedules[3].batches.push_back(batch_from(b * 17, 1 + b % 40));
    }
    const fae::HotSet none = no_rows(data);
    fae_test::CaseShare cases;
    for (std::size_t s = 0; s < schedules.size(); ++s) {
        CAPTURE(s);
        const Outcome expected = all_slots(c, data, schedules[s]);
        for (const std::uint64_t window : {1u, 20u, 60u, 200u}) {
            for (const std::uint64_t lookahead : {1u, 2u, 8u}) {
                if (!cases.take()) continue;
                CAPTURE(window);
                CAPTURE(lookahead);
                check_equal(look_ahead(c, data, schedules[s], none, window, lookahead), expected);
            }
        }
    }
}

// Would catch an order of events that only holds while threads and streams are as quick as usual.
TEST_CASE("cuda look-ahead: random delays in every thread and stream change no bit") {
    LawCase c;
    c.table_rows = {40, 7, 3000};
    c.inputs = 1500;
    c.batch = 50;
    c.epochs = 2;
    c.optimizer = fae::OptimizerKind::adagrad;
    const fae::PackedDataset data = prepare(c);
    const fae::HotSet none = no_rows(data);
    const Schedule schedule = schedule_of(c, data);
    const Outcome expected = all_slots(c, data, schedule);
    fae_test::CaseShare cases;
    for (const std::uint64_t window : {0u, 60u, 400u}) {
        for (const std::uint64_t lookahead : {1u, 4u, 12u}) {
            if (!cases.take()) continue;
            CAPTURE(window);
            CAPTURE(lookahead);
            check_equal(look_ahead<RandomDelays>(c, data, schedule, none, window, lookahead), expected);
            check_equal(look_ahead<RandomDelays>(c, data, schedule, data.hot_set(), window, lookahead),
                        expected);
        }
    }
}

// Would catch a thread that waits for ever for one that has failed, or that is left behind.
TEST_CASE("cuda look-ahead: a trainer may be given up while batches are under way") {
    LawCase c;
    c.table_rows = {40, 7, 3000};
    c.inputs = 2000;
    c.batch = 64;
    const fae::PackedDataset data = prepare(c);
    const fae::HotSet none = no_rows(data);
    const Schedule schedule = schedule_of(c, data);
    fae::Threads threads(2);
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, fae::par(threads));
    for (std::size_t taken = 0; taken < schedule.batches.size(); taken += 7 * fae_test::share()) {
        auto table = gpu::make_table<float>(
            gpu::on(stream), data.shape().row_space(c.dim), c.optimizer,
            Lookahead(none, {.window = 300, .lookahead = 4, .most_lookups = 3 * c.batch}));
        table.initialise(exec, c.seed);
        gpu::Dlrm model(gpu::on(stream), c.shape(), c.batch, c.seed, c.optimizer);
        gpu::PlacedTrainer<Lookahead> trainer(gpu::on(stream), table, model, data);
        for (std::size_t b = 0; b < taken; ++b) {
            fae::BatchRef batch;
            batch.step = b;
            batch.inputs = schedule.batches[b];
            trainer.step(exec, batch, 0.1f);
        }
        if (taken % 2 == 1) {
            const std::vector<std::uint64_t> wrong{data.inputs()};
            fae::BatchRef batch;
            batch.inputs = wrong;
            trainer.step(exec, batch, 0.1f);
            CHECK_THROWS_AS(trainer.finish(exec), fae::ContractError);
        }
    }
}

// Catches: bits of homes, of weights, state or what is behind them, that measuring changes; homes that a
// kernel cannot address in vectors taken for zero copy.
TEST_CASE("cuda look-ahead: measuring the ways of records leaves every byte of the homes") {
    for (const std::uint32_t dim : {4u, 6u, 64u}) {
        for (const std::uint32_t state : {0u, 1u, dim}) {
            const fae::RowLayout layout = fae::row_layout(dim, state);
            constexpr std::uint64_t rows = 5000;
            fae::Buffer<float, gpu::PinnedSpace> memory(rows * layout.stride + 1);
            fae::Philox random(dim, state);
            for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(random.bits32());
            const std::vector<float> before(memory.data(), memory.data() + memory.size());
            for (const std::size_t off : {std::size_t{0}, std::size_t{1}}) {
                CAPTURE(dim);
                CAPTURE(state);
                CAPTURE(off);
                float* const first = memory.data() + off;
                const fae::RowsView<float> homes{first, first + dim, layout.stride, layout.stride, 0, rows};
                const auto of = [&](gpu::RecordWay way) {
                    return gpu::RecordWays<float>(way, layout,
                                                  fae::Span<const fae::RowsView<float>>(&homes, 1), 3, 3);
                };
                const auto measured = of(gpu::RecordWay::measured);
                CHECK(std::equal(before.begin(), before.end(), memory.data()));
                CHECK((measured.zero_copy_read().of(4096) > 0) == (off == 0));
                CHECK(of(gpu::RecordWay::zero_copy).zero_copy_in(1, 0) == (off == 0));
                CHECK(!of(gpu::RecordWay::staged).zero_copy_in(1, 0));
            }
        }
    }
}
