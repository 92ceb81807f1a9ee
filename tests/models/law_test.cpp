// SPDX-License-Identifier: Apache-2.0
//
// The law: placement changes where bytes live, never what is computed. For one sequence of mini-batches every
// placement, thread count and synchronisation ends in the same weights and optimizer state as a plain
// trainer, bit for bit.
#include "support/law.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fae/core/threads.hpp"
#include "support/kernels.hpp"

using namespace fae;
using namespace fae_test;

namespace {

const OptimizerKind all_kinds[] = {OptimizerKind::sgd, OptimizerKind::adagrad,
                                   OptimizerKind::rowwise_adagrad};

// Trains a case under all placements and the plain trainer, and wants one digest.
void check_law(const LawCase& c, const std::vector<std::size_t>& thread_counts) {
    const PackedDataset data = prepare(c);
    const auto hot = static_placement(data.hot_set());
    std::vector<PlainBatch> batches;
    const LawRun home = train_with(c, data, all_home, 1, SyncExtent::dirty, &batches);
    REQUIRE(home.batches == batches.size());
    CHECK(train_plainly(c, batches) == home.digest);
    CHECK(train_with(c, data, all_slots, 1).digest == home.digest);
    CHECK(train_with(c, data, hot, 1).digest == home.digest);
    CHECK(train_with(c, data, hot, 1, SyncExtent::whole).digest == home.digest);
    // A window of nothing, of some rows and of all, beside the schedule's hot set, none and another one.
    const std::uint64_t rows = data.hot_set().rows();
    const HotSet none = HotSet::none(rows);
    const HotSet other =
        HotSet::from_predicate(seq, rows, [&](RowId row) { return (row + c.seed) % 3 == 0; });
    const HotSet* const residents[] = {&data.hot_set(), &none, &other};
    for (std::uint64_t k = 0; k < 3; ++k) {
        const HotSet& resident = *residents[(k + c.seed + c.epochs) % 3];
        const std::uint64_t window = k == 0 ? 0 : k == 1 ? 1 + (rows + c.batch) / 7 : rows - resident.size();
        const std::uint64_t lookahead = k == 0 ? 64 : 1 + (c.seed + rows + c.batch) % 5;
        const std::size_t threads = thread_counts.empty() ? 1 : thread_counts[k % thread_counts.size()];
        CAPTURE(k);
        CHECK(train_with(c, data, lookahead_placement(c, resident, window, lookahead), threads).digest ==
              home.digest);
    }
    for (const std::size_t threads : thread_counts) {
        CHECK(train_with(c, data, all_home, threads).digest == home.digest);
        CHECK(train_with(c, data, all_slots, threads).digest == home.digest);
        CHECK(train_with(c, data, hot, threads).digest == home.digest);
    }
}

}  // namespace

// A case in which even a hundredth of the rows' bytes buys some rows beside their index.
LawCase case_of_budget(double share) {
    LawCase c;
    c.table_rows = {40, 7, 853};
    c.dim = 16;
    c.budget_share = share;
    return c;
}

// Catches: any arithmetic that depends on the tier, a row whose state stays behind, a synchronisation that
// misses a row or moves the wrong way, an order that depends on the placement.
TEST_CASE("law: equal digests for every placement, optimizer, budget, rate, order and number of epochs") {
    std::size_t number = 0;
    for (const OptimizerKind kind : all_kinds) {
        for (const double budget : {0.0, 0.01, 0.1, 1.0}) {
            for (const Order order : {Order::fae, Order::shuffled}) {
                for (const std::optional<unsigned> rate : {std::optional<unsigned>(1), {25}, {100}, {}}) {
                    if (order == Order::shuffled && rate != 25u) continue;
                    for (const std::uint64_t epochs : {1u, 2u}) {
                        LawCase c = case_of_budget(budget);
                        c.optimizer = kind;
                        c.order = order;
                        c.rate = rate;
                        c.epochs = epochs;
                        CAPTURE(static_cast<int>(kind));
                        CAPTURE(budget);
                        CAPTURE(static_cast<int>(order));
                        CAPTURE(rate.value_or(0));
                        CAPTURE(epochs);
                        // Cases in turn meet every thread count; 7 of 8 are more than one.
                        check_law(c, {1 + number++ % 8});
                    }
                }
            }
        }
    }
}

// Catches: a sum whose order depends on which thread did what.
TEST_CASE("law: equal digests for 1 to 8 threads") {
    for (const OptimizerKind kind : all_kinds) {
        for (const Order order : {Order::fae, Order::shuffled}) {
            LawCase c;
            c.optimizer = kind;
            c.order = order;
            c.batch = 200;
            c.inputs = 600;
            c.epochs = 2;
            c.budget_share = 0.3;
            CAPTURE(static_cast<int>(kind));
            CAPTURE(static_cast<int>(order));
            check_law(c, {1, 2, 3, 4, 5, 6, 7, 8});
        }
    }
}

// Catches: what the cases above have in common by chance: odd dims, shared tables, jagged and empty bags,
// one-row tables, rows repeated in a bag, batches of one, batches larger than the fast tier.
TEST_CASE("law: equal digests on random models") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        Philox random(seed, 99);
        LawCase c;
        c.seed = seed;
        c.table_rows.clear();
        const std::uint64_t tables = 1 + random.below(4);
        for (std::uint64_t t = 0; t < tables; ++t) {
            c.table_rows.push_back(random.below(4) == 0 ? 1 + random.below(3) : 1 + random.below(500));
        }
        c.feature_table.clear();
        const std::uint64_t features = 1 + random.below(5);
        for (std::uint64_t f = 0; f < features; ++f) {
            c.feature_table.push_back(static_cast<std::uint32_t>(random.below(tables)));
        }
        c.dense_features = 1 + random.below(4);
        c.dim = static_cast<std::uint32_t>(1 + random.below(20));
        c.most_per_bag = 1 + random.below(4);
        c.inputs = 1 + random.below(300);
        c.validation_inputs = random.below(30);
        c.batch = 1 + random.below(100);
        c.budget_share = random.below(5) == 0 ? 1.0 : random.uniform();
        c.optimizer = all_kinds[random.below(3)];
        c.order = random.below(3) == 0 ? Order::shuffled : Order::fae;
        if (random.below(2) == 0) c.rate = static_cast<unsigned>(1 + random.below(100));
        c.epochs = 1 + random.below(2);
        CAPTURE(seed);
        check_law(c, {static_cast<std::size_t>(1 + random.below(8))});
    }
}

// Catches: a check that cannot fail: digests that are equal because nothing was trained, or nothing was hot.
TEST_CASE("law: its cases train hot and cold batches and move rows, and the digest sees what was trained") {
    LawCase c;
    c.budget_share = 0.3;
    c.rate = 25;
    const PackedDataset data = prepare(c);
    const LawRun run = train_with(c, data, static_placement(data.hot_set()), 1);
    CHECK(run.hot_batches > 0);
    CHECK(run.hot_batches < run.batches);
    CHECK(run.rows_moved > data.hot_set().size());
    for (const double share : {0.01, 0.1, 1.0}) {
        CAPTURE(share);
        const LawCase of_budget = case_of_budget(share);
        const PackedDataset split = prepare(of_budget);
        CHECK(split.hot_set().size() > 0);
        CHECK(split.hot().inputs() > 0);
        CHECK((split.cold().inputs() > 0) == (share < 1));
    }
    LawCase other = c;
    other.lr = 0.2;
    CHECK(train_with(other, data, all_home, 1).digest != run.digest);
    other = c;
    other.rate = 100;
    CHECK(train_with(other, data, all_home, 1).digest != run.digest);
}

// Catches: a digest that is blind to a tier, to weights, to state or to the dense layers.
TEST_CASE("weights_digest: one flipped bit of each kind changes it") {
    for (const OptimizerKind kind : all_kinds) {
        LawCase c;
        c.optimizer = kind;
        c.budget_share = 0.3;
        const PackedDataset data = prepare(c);
        Threads threads(1);
        const auto exec = par(threads);
        HotColdTable<float, StaticPlacement<>> table(data.shape().row_space(c.dim), kind,
                                                     static_placement(data.hot_set()));
        table.initialise(exec, 1);
        Dlrm<float> model(c.shape(), c.batch, 1, kind);
        std::set<std::string> seen{weights_digest(exec, table, model)};
        const auto flip = [&](float* value) {
            const auto bits = std::bit_cast<std::uint32_t>(*value);
            *value = std::bit_cast<float>(bits ^ 1u);
            CHECK(seen.insert(weights_digest(exec, table, model)).second);
            *value = std::bit_cast<float>(bits);
            CHECK(seen.count(weights_digest(exec, table, model)) == 1);
        };
        const RowsView<float> home = table.source().home[0];
        for (const RowId row : {RowId{0}, RowId{46}, RowId{346}}) {
            flip(home.weights_of(row));
            flip(home.weights_of(row) + c.dim - 1);
            for (std::size_t s = 0; s < table.layout().state; ++s) flip(home.state_of(row) + s);
        }
        for (const auto& parameter : model.parameters()) {
            flip(parameter.values.data());
            if (parameter.values.size() > 1) flip(&parameter.values.back());
            if (!parameter.state.empty()) flip(&parameter.state.back());
        }
        // A hot row counts where it is newest: on the fast tier after a hot batch.
        table.synchronise(exec, Heat::hot);
        const auto last = static_cast<std::uint32_t>(table.slots() - 1);
        REQUIRE(data.hot_set().row_of(last) != 346);
        const std::uint32_t located = fast_bit<std::uint32_t> | last;
        table.touched(exec, Span<const std::uint32_t>(&located, 1));
        flip(table.source().fast.weights_of(last) + 1);
    }
}
