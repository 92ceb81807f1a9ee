// SPDX-License-Identifier: Apache-2.0
//
// Tests of HotColdTable: routes, synchronisation, borrowed homes, reading and writing rows, misuse.
#include "fae/table/hot_cold_table.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"
#include "support/kernels.hpp"

using namespace fae;

namespace {

using Static = HotColdTable<float, StaticPlacement<>>;
using Index = std::uint32_t;

const RowSpace small_space({{5, 3, "a"}, {8, 3, "b"}});

HotSet hot_rows(const std::vector<std::uint32_t>& rows) {
    return HotSet(small_space.rows(), Span<const std::uint32_t>(rows));
}

std::vector<float> row_of(auto& table, RowId row) {
    std::vector<float> weights(table.layout().dim);
    std::vector<float> state(table.layout().state);
    table.read_rows(seq, Span<const RowId>(&row, 1), MatrixView<float>(weights.data(), 1, weights.size()),
                    MatrixView<float>(state.empty() ? nullptr : state.data(), 1, state.size()));
    weights.insert(weights.end(), state.begin(), state.end());
    return weights;
}

// One SGD or Adagrad step with gradient 1 on the given look-ups (one feature-pair a sample).
template <class Table>
void step_on(Table& table, Heat heat, const HotSet* hot_set, const std::vector<Index>& values) {
    std::vector<Index> located(values.size());
    const Lookups<Index> lookups{heat, Bags<Index>::fixed(values, 1, 2), hot_set};
    const Bags<Index> bags = table.locate(seq, 0, lookups, Span<Index>(located));
    std::vector<float> gradient(values.size() * 3, 1.0f);
    Buffer<std::byte> scratch(
        table.template backward_step_scratch<Index>(values.size(), bags.size(), Pooling::sum));
    Workspace workspace(scratch.span());
    visit_optimizer(table.optimizer(), [&](auto optimizer) {
        table.backward_step(seq, optimizer, 0.5f, bags, Pooling::sum,
                            MatrixView<const float>(gradient.data(), bags.size(), 3), workspace);
    });
}

}  // namespace

// Catches: slots that are not the hot set's, the tier bit missing or set where it must not be.
TEST_CASE("table: locate gives slots on the fast route and row ids at home") {
    const HotSet hot = hot_rows({1, 4, 7, 12});
    Static table(small_space, OptimizerKind::sgd, static_placement(hot));
    table.initialise(seq, 1);
    std::vector<Index> located(2);
    const std::vector<Index> slots{0, 3};
    const std::vector<Index> rows{1, 12};
    table.synchronise(seq, Heat::hot);
    CHECK(table
              .locate(seq, 0, Lookups<Index>{Heat::hot, Bags<Index>::fixed(slots, 1, 2), &hot},
                      Span<Index>(located))
              .values()[1] == (3u | fast_bit<Index>));
    CHECK(table
              .locate(seq, 0, Lookups<Index>{Heat::cold, Bags<Index>::fixed(rows, 1, 2), nullptr},
                      Span<Index>(located))
              .values()[1] == 12u);

    HotColdTable<float, AllHome<>> home(small_space, OptimizerKind::sgd, all_home);
    CHECK(home.locate(seq, 0, Lookups<Index>{Heat::hot, Bags<Index>::fixed(slots, 1, 2), &hot},
                      Span<Index>(located))
              .values()[1] == 12u);
    HotColdTable<float, AllSlots<>> fast(small_space, OptimizerKind::sgd, all_slots);
    CHECK(fast.locate(seq, 0, Lookups<Index>{Heat::hot, Bags<Index>::fixed(slots, 1, 2), &hot},
                      Span<Index>(located))
              .values()[1] == (12u | fast_bit<Index>));
}

// Catches: a batch that trains on stale rows because nobody synchronised.
TEST_CASE("table: a batch whose tier is behind is refused") {
    const HotSet hot = hot_rows({1, 6});
    Static table(small_space, OptimizerKind::sgd, static_placement(hot));
    table.initialise(seq, 1);
    CHECK_THROWS_WITH_AS(step_on(table, Heat::hot, &hot, {0, 1}),
                         "the fast tier is behind the homes, expected synchronise() before this batch",
                         ContractError);
    table.synchronise(seq, Heat::hot);
    step_on(table, Heat::hot, &hot, {0, 1});
    CHECK_THROWS_AS(step_on(table, Heat::cold, nullptr, {1, 6}), ContractError);
    CHECK_THROWS_AS(step_on(table, Heat::mixed, nullptr, {1, 6}), ContractError);
    table.synchronise(seq, Heat::cold);
    CHECK_NOTHROW(step_on(table, Heat::cold, nullptr, {1, 6}));
}

// Catches: rows moved that nobody touched, touched rows left behind, state left behind, the wrong direction.
TEST_CASE("table: synchronisation moves the rows that were touched, with their state, and no others") {
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        const HotSet hot = hot_rows({1, 4, 7, 12});
        Static table(small_space, kind, static_placement(hot));
        table.initialise(seq, 3);
        const std::uint64_t record = (3 + state_size(kind, 3)) * sizeof(float);
        CHECK(table.synchronise(seq, Heat::hot).rows == 4);  // the first time, all
        CHECK(table.synchronise(seq, Heat::hot).rows == 0);
        step_on(table, Heat::hot, &hot, {0, 2, 0, 2});
        const std::vector<float> one = row_of(table, 1);
        const std::vector<float> seven = row_of(table, 7);
        const SyncReport down = table.synchronise(seq, Heat::cold);
        CHECK(down.rows == 2);
        CHECK(down.bytes == 2 * record);
        CHECK(row_of(table, 1) == one);
        CHECK(row_of(table, 7) == seven);
        step_on(table, Heat::cold, nullptr, {4, 8, 3, 12});
        const std::vector<float> four = row_of(table, 4);
        const SyncReport up = table.synchronise(seq, Heat::hot);
        CHECK(up.rows == 2);  // rows 4 and 12 have slots, 3 and 8 have none
        step_on(table, Heat::hot, &hot, {0, 2});
        CHECK(row_of(table, 4) == four);
        CHECK(table.synchronise(seq, Heat::mixed, SyncExtent::whole).rows == 4);
    }
}

// Catches: owned and borrowed homes that compute differently; a caller's arrays that are not updated, or
// whose padding is.
TEST_CASE("table: a caller's strided arrays serve as homes and are updated in place") {
    const HotSet hot = hot_rows({0, 4, 5, 9});
    Static owned(small_space, OptimizerKind::adagrad, static_placement(hot));
    owned.initialise(seq, 7);
    std::vector<float> a(5 * 4, -9.0f);
    std::vector<float> b(8 * 6, -9.0f);
    std::vector<float> a_state(5 * 3, 0.0f);
    std::vector<float> b_state(8 * 5, 0.0f);
    for (RowId r = 0; r < small_space.rows(); ++r) {
        const std::vector<float> row = row_of(owned, r);
        std::copy_n(row.begin(), 3, r < 5 ? &a[r * 4] : &b[(r - 5) * 6]);
    }
    Static borrowed(small_space, OptimizerKind::adagrad, static_placement(hot),
                    {{a.data(), a_state.data(), 4, 3, 0, 5}, {b.data(), b_state.data(), 6, 5, 0, 8}});
    const auto train = [&](Static& table) {
        table.synchronise(seq, Heat::hot);
        step_on(table, Heat::hot, &hot, {0, 2, 1, 3});
        table.synchronise(seq, Heat::cold);
        step_on(table, Heat::cold, nullptr, {0, 5, 3, 12});
        table.write_back(seq);
    };
    train(owned);
    train(borrowed);
    for (RowId r = 0; r < small_space.rows(); ++r) {
        const std::vector<float> expected = row_of(owned, r);
        CHECK(row_of(borrowed, r) == expected);
        const float* weights = r < 5 ? &a[r * 4] : &b[(r - 5) * 6];
        const float* state = r < 5 ? &a_state[r * 3] : &b_state[(r - 5) * 5];
        CHECK(std::vector<float>(weights, weights + 3) ==
              std::vector<float>(expected.begin(), expected.begin() + 3));
        CHECK(std::vector<float>(state, state + 3) ==
              std::vector<float>(expected.begin() + 3, expected.end()));
    }
    CHECK(a[3] == -9.0f);
    CHECK(b[3] == -9.0f);
    CHECK(b[5] == -9.0f);
    // The ceiling over a caller's homes: filled from them, written back to them.
    HotColdTable<float, AllSlots<>> fast(
        small_space, OptimizerKind::adagrad, all_slots,
        {{a.data(), a_state.data(), 4, 3, 0, 5}, {b.data(), b_state.data(), 6, 5, 0, 8}});
    CHECK(fast.synchronise(seq, Heat::hot).rows == small_space.rows());
    const float before = a[0];
    step_on(fast, Heat::mixed, nullptr, {0, 5});
    CHECK(a[0] == before);
    CHECK(fast.write_back(seq).rows == 2);
    CHECK(a[0] != before);
}

// Catches: a write that reaches one tier only, or the wrong row.
TEST_CASE("table: rows that are written are read back on either tier, whatever the placement") {
    const HotSet hot = hot_rows({0, 4, 5, 9});
    const auto check = [&](auto table) {
        table.initialise(seq, 7);
        const std::vector<RowId> rows{9, 2, 4};
        const std::vector<float> weights{1, 2, 3, 4, 5, 6, 7, 8, 9};
        const std::vector<float> state{10, 11, 12};
        table.write_rows(seq, rows, MatrixView<const float>(weights.data(), 3, 3),
                         MatrixView<const float>(state.data(), 3, 1));
        CHECK(row_of(table, 9) == std::vector<float>{1, 2, 3, 10});
        CHECK(row_of(table, 2) == std::vector<float>{4, 5, 6, 11});
        table.synchronise(seq, Heat::hot);
        CHECK(row_of(table, 4) == std::vector<float>{7, 8, 9, 12});
    };
    check(Static(small_space, OptimizerKind::rowwise_adagrad, static_placement(hot)));
    check(HotColdTable<float, AllHome<>>(small_space, OptimizerKind::rowwise_adagrad, all_home));
    check(HotColdTable<float, AllSlots<>>(small_space, OptimizerKind::rowwise_adagrad, all_slots));
}

// Catches: an evaluation that reads a stale tier, or that has to synchronise.
TEST_CASE("table: look-ups that only read find each row where it is current") {
    const HotSet hot = hot_rows({1, 6});
    Static table(small_space, OptimizerKind::sgd, static_placement(hot));
    table.initialise(seq, 1);
    table.synchronise(seq, Heat::hot);
    step_on(table, Heat::hot, &hot, {0, 1});
    const std::vector<Index> values{1, 8, 2, 6};
    std::vector<Index> located(4);
    const Bags<Index> bags =
        table.locate_for_reading(seq, Bags<Index>::fixed(values, 1, 2), Span<Index>(located));
    std::vector<float> out(4 * 3);
    embedding_bag::forward(seq, table.source(), bags, Pooling::sum, MatrixView<float>(out.data(), 4, 3));
    for (std::size_t i = 0; i < values.size(); ++i) {
        CHECK(std::vector<float>(out.begin() + static_cast<std::ptrdiff_t>(3 * i),
                                 out.begin() + static_cast<std::ptrdiff_t>(3 * i + 3)) ==
              row_of(table, values[i]));
    }
}

// Catches: tables of different dim in one space that disturb each other, or features that lose their table.
TEST_CASE("table: several dims side by side, one table per row space") {
    const std::vector<TableSpec> tables{{4, 2, ""}, {6, 5, ""}, {3, 2, ""}};
    const auto spaces = row_spaces(tables, {0, 1, 2, 0});
    REQUIRE(spaces.size() == 2);
    CHECK(spaces[0].features == std::vector<std::uint32_t>{0, 2, 3});
    CHECK(spaces[1].tables == std::vector<std::uint32_t>{1});
    for (const auto& of : spaces) {
        HotColdTable<float, AllHome<>> table(of.space, OptimizerKind::sgd, all_home);
        table.initialise(seq, 1);
        CHECK(table.layout().dim == of.space.dim());
        CHECK(row_of(table, of.space.rows() - 1).size() == of.space.dim());
    }
}

// Catches: misuse that goes through, or a message without both values.
TEST_CASE("table: misuse is refused with both values") {
    const HotSet hot = hot_rows({1, 6});
    const HotSet other = hot_rows({1, 6});
    Static table(small_space, OptimizerKind::sgd, static_placement(hot));
    table.initialise(seq, 1);
    table.synchronise(seq, Heat::hot);
    CHECK_THROWS_AS(step_on(table, Heat::hot, &other, {0, 1}), ContractError);
    CHECK_THROWS_AS(step_on(table, Heat::hot, nullptr, {0, 1}), ContractError);
    const RowId beyond = small_space.rows();
    std::vector<float> row(3);
    CHECK_THROWS_WITH_AS(
        table.read_rows(seq, Span<const RowId>(&beyond, 1), MatrixView<float>(row.data(), 1, 3)),
        "row 13, expected less than 13", ContractError);
    CHECK_THROWS_AS(table.read_rows(seq, Span<const RowId>(&beyond, 1), MatrixView<float>(row.data(), 1, 2)),
                    ContractError);
    const RowSpace larger({{50, 3, ""}});
    CHECK_THROWS_AS(Static(larger, OptimizerKind::sgd, static_placement(hot)), ContractError);
    std::vector<float> home(13 * 3);
    CHECK_THROWS_AS(
        Static(small_space, OptimizerKind::sgd, static_placement(hot), {{home.data(), nullptr, 3, 0, 0, 13}}),
        ContractError);
    CHECK_THROWS_AS(Static(small_space, OptimizerKind::adagrad, static_placement(hot),
                           {{home.data(), nullptr, 3, 0, 0, 5}, {home.data() + 15, nullptr, 3, 0, 0, 8}}),
                    ContractError);
    std::vector<Index> located(1);
    const std::vector<Index> values{1, 6};
    CHECK_THROWS_WITH_AS(
        (void)table.locate(seq, 0, Lookups<Index>{Heat::cold, Bags<Index>::fixed(values, 1, 2), nullptr},
                           Span<Index>(located)),
        "located has 1 entries, expected 2", ContractError);
}

// Catches: one-row batches, empty batches or empty tiers that crash.
TEST_CASE("table: an empty batch, an empty hot set and a full one are ordinary") {
    const HotSet none = HotSet::none(small_space.rows());
    Static cold(small_space, OptimizerKind::sgd, static_placement(none));
    cold.initialise(seq, 1);
    step_on(cold, Heat::cold, nullptr, {});
    step_on(cold, Heat::cold, nullptr, {0, 5});
    CHECK(cold.synchronise(seq, Heat::hot).rows == 0);
    const HotSet all = HotSet::all(small_space.rows());
    Static hot(small_space, OptimizerKind::sgd, static_placement(all));
    hot.initialise(seq, 1);
    CHECK(hot.synchronise(seq, Heat::hot).rows == small_space.rows());
    step_on(hot, Heat::hot, &all, {0, 5});
    hot.write_back(seq);
    CHECK(row_of(hot, 0) == row_of(cold, 0));
    CHECK(row_of(hot, 5) == row_of(cold, 5));
    CHECK(row_of(hot, 1) == row_of(cold, 1));
}

// Catches: marking lost between threads, or bits beyond the end.
TEST_CASE("dirty slots: marks from many threads are all kept") {
    Threads threads(4);
    DirtySlots dirty(1000);
    par(threads).run(1000, [&](std::size_t i) {
        if (i % 3 == 0) dirty.mark(i);
    });
    std::vector<int> seen(1000, 0);
    dirty.for_each(par(threads), [&](Slot slot) { ++seen[slot]; });
    for (std::size_t i = 0; i < 1000; ++i) REQUIRE(seen[i] == (i % 3 == 0 ? 1 : 0));
    CHECK(dirty.count() == 334);
    dirty.mark_all();
    CHECK(dirty.count() == 1000);
    dirty.clear();
    CHECK(dirty.count() == 0);
}

// Catches a group that misses or repeats a slot, a count of another group, and marks lost in a merge.
TEST_CASE("dirty slots: groups cut the slots, and merged marks join those that were there") {
    DirtySlots dirty(2500);
    for (Slot slot = 0; slot < 2500; slot += 7) dirty.mark(slot);
    std::vector<std::uint64_t> words(40, 0);
    words[1023 / 64] |= std::uint64_t{1} << (1023 % 64);
    words[2499 / 64] |= std::uint64_t{1} << (2499 % 64);
    dirty.merge(words);
    REQUIRE(dirty.groups() == 3);
    std::vector<int> seen(2500, 0);
    for (std::size_t group = 0; group < 3; ++group) {
        std::uint64_t count = 0;
        dirty.for_each_in(group, [&](Slot slot) {
            ++seen[slot];
            ++count;
            CHECK(slot / DirtySlots::group_slots == group);
        });
        CHECK(dirty.count_in(group) == count);
    }
    for (Slot slot = 0; slot < 2500; ++slot) {
        REQUIRE(seen[slot] == (slot % 7 == 0 || slot == 1023 || slot == 2499 ? 1 : 0));
    }
    words.pop_back();
    CHECK_THROWS_WITH_AS(dirty.merge(words), "words has 39 entries, expected 40", ContractError);
}
