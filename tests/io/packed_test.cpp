// SPDX-License-Identifier: Apache-2.0
//
// pack(): the training inputs split into hot and cold columns, against plain loops; and what it refuses.
#include "fae/io/packed.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/classify/inputs.hpp"
#include "fae/core/threads.hpp"
#include "support/packed_case.hpp"

using namespace fae;
using namespace fae_test;

namespace {

/// pack() of inputs that are changed after they were classified.
template <class Change>
void pack_changed(const PackedCase& c, Change&& change) {
    PackedInputs inputs = packed_inputs(c);
    HotSet hot(inputs.train.shape.row_space(4).rows(), inputs.hot_rows);
    Classification classes = classify(seq, hot, inputs.train.bags());
    change(inputs, hot, classes);
    (void)pack(seq, inputs.train, inputs.validation, inputs.test, std::move(hot), std::move(classes),
               inputs.hot_counts, inputs.provenance);
}

}  // namespace

// Catches inputs that are lost, doubled or changed, and classes that a plain loop sees otherwise.
TEST_CASE("packed: a data set of every kind holds what it was made of, equal for every executor") {
    Threads threads(3);
    for (const PackedCase& c : packed_cases()) {
        CAPTURE(c.name);
        const PackedInputs inputs = packed_inputs(c);
        CHECK(difference(pack_inputs(seq, inputs), inputs) == "");
        CHECK(difference(pack_inputs(par(threads), inputs), inputs) == "");
    }
}

// Catches chunks of the parallel loops that overlap or leave gaps: more inputs than one chunk holds.
TEST_CASE("packed: many inputs are split as few are") {
    Threads threads(4);
    for (const std::size_t most_per_bag : {1u, 3u}) {
        PackedCase c;
        c.inputs = 40'000;
        c.most_per_bag = most_per_bag;
        c.hot_share = 0.9;
        const PackedInputs inputs = packed_inputs(c);
        CHECK(difference(pack_inputs(par(threads), inputs), inputs) == "");
    }
}

// Catches an order that can be told only by trying: the permutation, and its inverse.
TEST_CASE("packed: the places of hot and cold inputs are a permutation of the original order") {
    PackedCase c;
    c.inputs = 3'000;
    const PackedInputs inputs = packed_inputs(c);
    const PackedDataset packed = pack_inputs(seq, inputs);
    std::vector<std::uint64_t> order = input_numbers(seq, packed.hot_inputs(), true);
    REQUIRE(order.size() == packed.hot().inputs());
    REQUIRE(order.size() > 100);
    for (const std::uint64_t cold : input_numbers(seq, packed.hot_inputs(), false)) order.push_back(cold);
    REQUIRE(order.size() == c.inputs);
    std::vector<int> seen(c.inputs, 0);
    std::size_t wrong = 0;
    for (std::size_t place = 0; place < order.size(); ++place) {
        const auto i = static_cast<std::size_t>(order[place]);
        ++seen.at(i);
        const bool hot = place < packed.hot().inputs();
        const InputColumns& part = hot ? packed.hot() : packed.cold();
        const std::size_t own = hot ? place : place - packed.hot().inputs();
        wrong += plain_input(part, own, inputs.hot_rows) == plain_input(inputs.train, i) ? 0u : 1u;
        wrong += (hot ? packed.hot_inputs().rank(i) : i - packed.hot_inputs().rank(i)) == own ? 0u : 1u;
    }
    CHECK(wrong == 0);
    CHECK(seen == std::vector<int>(c.inputs, 1));
}

// Catches a name too few, which a reader of the packed file would take for damage.
TEST_CASE("packed: tables without names get empty ones") {
    PackedInputs inputs = packed_inputs(PackedCase{});
    inputs.train.shape.table_names = {"only"};
    const PackedDataset packed = pack_inputs(seq, inputs);
    CHECK(packed.shape().table_names == std::vector<std::string>{"only", "", ""});
}

// Catches spans that point into what was moved.
TEST_CASE("packed: a move invalidates no view") {
    PackedCase c;
    c.most_per_bag = 2;
    const PackedInputs inputs = packed_inputs(c);
    PackedDataset packed = pack_inputs(seq, inputs);
    const HotSet* const hot_set = &packed.hot_set();
    const std::uint32_t* const values = packed.validation().bags.values().data();
    PackedDataset moved = std::move(packed);
    PackedDataset assigned = pack_inputs(seq, packed_inputs(PackedCase{}));
    assigned = std::move(moved);
    CHECK(&assigned.hot_set() == hot_set);
    CHECK(assigned.validation().bags.values().data() == values);
    CHECK(difference(assigned, inputs) == "");
}

// Catches a packed file that no reader would open again, and reads out of bounds in training.
TEST_CASE("packed: inputs, hot sets and classes that do not fit together are refused with both values") {
    PackedCase fixed;
    PackedCase jagged;
    jagged.most_per_bag = 3;
    const auto refuses = [](const PackedCase& c, const char* what, auto&& change) {
        CAPTURE(std::string(what));
        CHECK_THROWS_WITH_AS(
            pack_changed(c, [&](PackedInputs& inputs, HotSet&, Classification&) { change(inputs); }),
            doctest::Contains(what), ContractError);
    };
    refuses(fixed, "train label 49 is 2, expected 0 or 1", [](auto& in) { in.train.labels[49] = 2; });
    refuses(fixed, "test label 0 is 255, expected 0 or 1", [](auto& in) { in.test.labels[0] = 255; });
    refuses(fixed, "validation value 39 is row 245, expected less than 245",
            [](auto& in) { in.validation.values[39] = 245; });
    refuses(fixed, "train dense has 149 entries, expected 50 x 3",
            [](auto& in) { in.train.dense.pop_back(); });
    refuses(fixed, "test values has 27 entries and offsets 0, expected 28 and 0",
            [](auto& in) { in.test.values.pop_back(); });
    refuses(fixed, "validation has other tables or features than the training inputs",
            [](auto& in) { in.validation.shape.table_rows[0] = 6; });
    refuses(fixed, "test has other tables or features than the training inputs",
            [](auto& in) { in.test.shape.feature_table[0] = 1; });
    refuses(fixed, "cutoffs has 2 entries, expected one for each of 3 tables",
            [](auto& in) { in.provenance.cutoffs.pop_back(); });
    refuses(fixed, "hot_counts has ", [](auto& in) { in.hot_counts.pop_back(); });
    refuses(fixed, "dim is 0, expected 1 to 4096", [](auto& in) { in.provenance.dim = 0; });
    refuses(fixed, "sample is 1.5, expected 0 to 1", [](auto& in) { in.provenance.sample = 1.5; });
    refuses(fixed, "the hot set covers 245 rows, expected 246",
            [](auto& in) { ++in.train.shape.table_rows[0]; });
    refuses(jagged, "train offsets has 200 entries, expected 201",
            [](auto& in) { in.train.offsets.pop_back(); });
    refuses(jagged, "validation offsets has 0 entries, expected 41",
            [](auto& in) { in.validation.offsets.clear(); });
    refuses(jagged, "train offset 3 is 1000, above its successor",
            [](auto& in) { in.train.offsets[3] = 1000; });
    refuses(jagged, "test offsets has 29 entries, expected 29 from 0 to ",
            [](auto& in) { in.test.offsets[0] = 1; });

    CHECK_THROWS_WITH_AS(pack_changed(fixed,
                                      [](PackedInputs& in, HotSet& hot, Classification& classes) {
                                          Dataset fewer = in.train;
                                          fewer.labels.resize(49);
                                          fewer.values.resize(49 * 4);
                                          classes = classify(seq, hot, fewer.bags());
                                      }),
                         "the classification is of 49 inputs, expected 50", ContractError);
}

// Catches: memory for as many look-ups as one class holds, where a mixed batch also has inputs of the other.
TEST_CASE("packed: the most look-ups of a batch are those of its longest inputs, however few a class has") {
    const std::vector<std::uint32_t> values{4, 5, 6, 7};
    const std::vector<std::uint64_t> offsets{0, 2, 3, 3, 4};  // inputs of 3 and of 1, two features
    const std::vector<std::uint8_t> labels{0, 1};
    const InputColumns jagged{Heat::cold, labels, {}, Bags<std::uint32_t>::jagged(values, offsets, 2)};
    CHECK(most_lookups(jagged, 1) == 3);
    CHECK(most_lookups(jagged, 16) == 48);
    const InputColumns fixed{Heat::cold, labels, {}, Bags<std::uint32_t>::fixed(values, 1, 2)};
    CHECK(most_lookups(fixed, 16) == 32);
}
