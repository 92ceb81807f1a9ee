// SPDX-License-Identifier: Apache-2.0
//
// A placement that is replaced during training: the weights must not notice, and only the difference may
// move.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/table/all_home.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "fae/table/static_placement.hpp"
#include "support/kernels.hpp"

using namespace fae;

namespace {

using Index = std::uint32_t;
const RowSpace two_tables({{300, 5, "a"}, {700, 5, "b"}});

HotSet some_rows(std::uint64_t seed) {
    return HotSet::from_predicate(seq, two_tables.rows(),
                                  [=](std::uint64_t row) { return mix64(row ^ seed << 40) % 3 == 0; });
}

// A step on rows of both tables; in slots where the batch is hot.
template <class Table>
void step_on(Table& table, std::uint64_t number, Heat heat, const HotSet* hot,
             const std::vector<Index>& values) {
    table.synchronise(seq, heat);
    std::vector<Index> located(values.size());
    const Bags<Index> bags =
        table.locate(seq, number, Lookups<Index>{heat, Bags<Index>::fixed(values, 1, 2), hot},
                     Span<Index>(located.data(), located.size()));
    std::vector<float> gradient(values.size() * 5);
    Philox random(number, 3);
    for (float& g : gradient) g = static_cast<float>(random.normal());
    Buffer<std::byte> scratch(
        table.template backward_step_scratch<Index>(values.size(), bags.size(), Pooling::sum));
    Workspace workspace(scratch.span());
    visit_optimizer(table.optimizer(), [&](auto optimizer) {
        table.backward_step(seq, optimizer, 0.1F, bags, Pooling::sum,
                            MatrixView<const float>(gradient.data(), bags.size(), 5), workspace);
    });
}

// Rows of a batch: hot ones of a set as slots, or any.
std::vector<Index> batch_of(std::uint64_t number, const HotSet* hot) {
    Philox random(number, 1);
    std::vector<Index> values;
    for (int i = 0; i < 40; ++i) {
        for (const auto& [first, count] : {std::pair<std::uint64_t, std::uint64_t>{0, 300}, {300, 700}}) {
            std::uint64_t row = first + random.below(count);
            while (hot != nullptr && !hot->contains(row)) row = first + (row - first + 1) % count;
            values.push_back(static_cast<Index>(hot != nullptr ? hot->slot_of(row) : row));
        }
    }
    return values;
}

template <class Table>
std::uint64_t digest_of(Table& table) {
    Digest digest;
    table.add_to(seq, digest);
    return digest.value();
}

}  // namespace

// Catches: a row that comes with the values of another, of an older step or without its state; a slot that is
// stale because the homes were newer; rows that cross the tiers without need.
TEST_CASE("table: training goes on bit for bit when the hot set is replaced, and only the difference moves") {
    Threads threads(3);
    const HotSet first = some_rows(1);
    const HotSet second = some_rows(2);
    std::uint64_t only_second = 0;
    for (std::uint64_t row = 0; row < two_tables.rows(); ++row)
        only_second += second.contains(row) && !first.contains(row) ? 1u : 0u;
    for (const OptimizerKind optimizer : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        for (const Heat last : {Heat::hot, Heat::cold}) {
            CAPTURE(static_cast<int>(last));
            HotColdTable<float, StaticPlacement<>> table(two_tables, optimizer, static_placement(first));
            HotColdTable<float, AllHome<>> plain(two_tables, optimizer, all_home);
            table.initialise(seq, 4);
            plain.initialise(seq, 4);
            const auto both = [&](std::uint64_t number, Heat heat, const HotSet* hot) {
                const std::vector<Index> values = batch_of(number, heat == Heat::hot ? hot : nullptr);
                step_on(table, number, heat, heat == Heat::hot ? hot : nullptr, values);
                step_on(plain, number, heat, heat == Heat::hot ? hot : nullptr, values);
            };
            both(0, Heat::hot, &first);
            both(1, Heat::cold, &first);
            both(2, Heat::hot, &first);
            if (last == Heat::cold) both(3, Heat::cold, &first);
            const SyncReport moved = table.replace(par(threads), static_placement(second));
            CHECK(digest_of(table) == digest_of(plain));
            // Where the homes are newer, changed rows that keep a slot must come too.
            CHECK(moved.rows >= only_second);
            if (last == Heat::hot) CHECK(moved.rows == only_second);
            CHECK(moved.bytes == moved.rows * table.record_bytes());
            both(4, Heat::hot, &second);
            both(5, Heat::cold, &second);
            both(6, Heat::hot, &second);
            CHECK(digest_of(table) == digest_of(plain));
            table.replace(seq, static_placement(first));
            both(7, Heat::hot, &first);
            CHECK(digest_of(table) == digest_of(plain));
        }
    }
}

// Catches: rows of a window that are forgotten with it.
TEST_CASE("table: a look-ahead placement is replaced with the rows in its window") {
    const HotSet first = some_rows(1);
    const HotSet second = some_rows(2);
    const LookaheadOptions options{.window = 60, .lookahead = 1, .most_lookups = 80};
    HotColdTable<float, LookaheadPlacement<>> table(two_tables, OptimizerKind::adagrad,
                                                    LookaheadPlacement<>(first, options));
    HotColdTable<float, AllHome<>> plain(two_tables, OptimizerKind::adagrad, all_home);
    table.initialise(seq, 4);
    plain.initialise(seq, 4);
    for (std::uint64_t number = 0; number < 9; ++number) {
        if (number == 3) table.replace(seq, LookaheadPlacement<>(second, options));
        if (number == 6)
            table.replace(seq,
                          LookaheadPlacement<>(first, {.window = 200, .lookahead = 1, .most_lookups = 80}));
        const std::vector<Index> values = batch_of(number, nullptr);
        step_on(table, number, Heat::mixed, nullptr, values);
        step_on(plain, number, Heat::mixed, nullptr, values);
        CHECK(digest_of(table) == digest_of(plain));
    }
}
