// SPDX-License-Identifier: Apache-2.0
//
// classify against a loop that looks at every look-up of every input.
#include "fae/classify/inputs.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "support/placement_oracle.hpp"

namespace {

struct Input {
    fae::RowSpace space;
    oracle::Inputs inputs;
    std::vector<bool> hot_row;
    fae::HotSet hot;
};

// Popular rows are hot, with `exceptions` of 1,000 rows turned over; some tables are hot in full.
Input make_input(std::size_t inputs, std::size_t bag_size, std::uint64_t seed, unsigned exceptions) {
    Input made;
    made.space = oracle::random_space(7, 3000, 16, seed);
    made.inputs = oracle::random_inputs(made.space, inputs, bag_size, seed + 1);
    const std::vector<std::uint64_t> counts = oracle::count_rows(made.space, made.inputs.bags());
    made.hot_row.resize(made.space.rows());
    fae::Philox rng(seed, 9);
    for (std::size_t r = 0; r < counts.size(); ++r) {
        const std::size_t table = made.space.table_of(r);
        made.hot_row[r] = table % 3 == 1 || (counts[r] > inputs / 3000) != (rng.below(1000) < exceptions);
    }
    made.hot =
        fae::HotSet::from_predicate(fae::seq, made.space.rows(), [&](auto r) { return made.hot_row[r]; });
    return made;
}

// The numbers of the hot (or cold) inputs, by looking at everything.
std::vector<std::uint64_t> numbers(const Input& of, bool hot) {
    const auto bags = of.inputs.bags();
    std::vector<std::uint64_t> found;
    for (std::size_t i = 0; i < bags.samples(); ++i) {
        bool all = true;
        for (auto v = bags.begin(i * bags.features()); v < bags.begin((i + 1) * bags.features()); ++v) {
            all = all && of.hot_row[bags.values()[v]];
        }
        if (all == hot) found.push_back(i);
    }
    return found;
}

// Compares one class with the original inputs, bag by bag.
void check_class(const Input& of, const std::vector<std::uint64_t>& inputs,
                 const fae::Bags<std::uint32_t>& packed, bool slots) {
    const auto bags = of.inputs.bags();
    REQUIRE(packed.samples() == inputs.size());
    REQUIRE(packed.features() == bags.features());
    REQUIRE(packed.bag_size() == bags.bag_size());
    REQUIRE(packed.weights().empty() == bags.weights().empty());
    std::uint64_t wrong = 0;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
        for (std::size_t f = 0; f < bags.features(); ++f) {
            const std::size_t from = inputs[k] * bags.features() + f;
            const std::size_t to = k * bags.features() + f;
            const std::size_t count = bags.end(from) - bags.begin(from);
            if (packed.end(to) - packed.begin(to) != count) {
                ++wrong;
                continue;
            }
            for (std::size_t i = 0; i < count; ++i) {
                const std::uint32_t row = bags.values()[bags.begin(from) + i];
                const std::uint32_t value = packed.values()[packed.begin(to) + i];
                wrong += (slots ? of.hot.row_of(value) : value) != row ? 1u : 0u;
                if (bags.weights().empty()) continue;
                wrong +=
                    packed.weights()[packed.begin(to) + i] != bags.weights()[bags.begin(from) + i] ? 1u : 0u;
            }
        }
    }
    CHECK(wrong == 0);
}

void check_split(const Input& of, const fae::Classification& split) {
    const std::vector<std::uint64_t> hot = numbers(of, true);
    const std::vector<std::uint64_t> cold = numbers(of, false);
    CHECK(split.inputs() == of.inputs.bags().samples());
    CHECK(split.hot_count() == hot.size());
    CHECK(split.cold_count() == cold.size());
    CHECK(fae::input_numbers(fae::seq, split.hot_inputs, true) == hot);
    CHECK(fae::input_numbers(fae::seq, split.hot_inputs, false) == cold);
    check_class(of, hot, split.hot_bags(), true);
    check_class(of, cold, split.cold_bags(), false);
    CHECK(split.hot_bags().lookups() + split.cold_bags().lookups() == of.inputs.values.size());
}

}  // namespace

// Catches an input lost, given twice, put in the wrong class or out of order, a wrong slot, and work cut
// wrongly among threads.
TEST_CASE("classify: hot and cold inputs equal a plain loop's for every executor and bag shape") {
    for (const std::size_t bag_size : {1u, 2u, 0u}) {
        for (const unsigned exceptions : {0u, 5u, 300u}) {
            CAPTURE(bag_size);
            CAPTURE(exceptions);
            const Input of = make_input(10000, bag_size, 40 + bag_size, exceptions);
            const std::size_t hot = numbers(of, true).size();
            if (exceptions == 5) {
                REQUIRE(hot > 100);
                REQUIRE(hot < 9900);
            }
            check_split(of, fae::classify(fae::seq, of.hot, of.inputs.bags()));
            check_split(of, fae::classify(fae::seq, of.hot, of.space, of.inputs.bags()));
            for (const std::size_t count : {2u, 5u}) {
                fae::Threads threads(count);
                check_split(of, fae::classify(fae::par(threads), of.hot, of.space, of.inputs.bags()));
            }
        }
    }
}

// Catches weights left behind or paired with another look-up.
TEST_CASE("classify: weights go with their look-ups") {
    Input of = make_input(3000, 0, 77, 5);
    for (std::size_t i = 0; i < of.inputs.values.size(); ++i)
        of.inputs.weights.push_back(static_cast<float>(i));
    check_split(of, fae::classify(fae::seq, of.hot, of.space, of.inputs.bags()));
}

// Catches an input without look-ups called cold, or dropped.
TEST_CASE("classify: an input without any look-up is hot, even where no row is") {
    const std::vector<std::uint32_t> values = {3, 1};
    const std::vector<std::uint64_t> offsets = {0, 0, 0, 1, 1, 1, 1, 2, 2};
    const auto bags = fae::Bags<std::uint32_t>::jagged(values, offsets, 2);
    const auto none = fae::classify(fae::seq, fae::HotSet::none(5), bags);
    CHECK(fae::input_numbers(fae::seq, none.hot_inputs, true) == std::vector<std::uint64_t>{0, 2});
    CHECK(none.hot_slots.size() == 0);
    CHECK(none.cold_rows.size() == 2);
    CHECK(none.hot_bags().samples() == 2);
    const auto one = fae::classify(fae::seq, fae::HotSet(5, std::vector<std::uint32_t>{3}), bags);
    CHECK(fae::input_numbers(fae::seq, one.hot_inputs, false) == std::vector<std::uint64_t>{3});
    CHECK(one.hot_slots[0] == 0);
}

// Catches special cases where no bitmap exists: all rows hot, no row hot, no input.
TEST_CASE("classify: all hot, all cold and no input at all are ordinary") {
    Input of = make_input(500, 1, 5, 0);
    of.hot = fae::HotSet::all(of.space.rows());
    of.hot_row.assign(of.hot_row.size(), true);
    const auto all = fae::classify(fae::seq, of.hot, of.space, of.inputs.bags());
    check_split(of, all);
    CHECK(all.cold_count() == 0);
    of.hot = fae::HotSet::none(of.space.rows());
    of.hot_row.assign(of.hot_row.size(), false);
    const auto none = fae::classify(fae::seq, of.hot, of.space, of.inputs.bags());
    check_split(of, none);
    CHECK(none.hot_count() == 0);
    const auto empty = fae::classify(fae::seq, of.hot, fae::Bags<std::uint32_t>());
    CHECK(empty.inputs() == 0);
    CHECK(empty.hot_bags().samples() == 0);
    CHECK(fae::input_numbers(fae::seq, empty.hot_inputs, true).empty());
}

// Catches slots or row ids that pass through 32 bits.
TEST_CASE("classify: 64-bit row ids give the same split") {
    const Input of = make_input(3000, 1, 12, 5);
    const std::vector<std::uint64_t> wide(of.inputs.values.begin(), of.inputs.values.end());
    const auto bags = fae::Bags<std::uint64_t>::fixed(wide, 1, of.space.features());
    const auto split = fae::classify(fae::seq, of.hot, of.space, bags);
    const auto narrow = fae::classify(fae::seq, of.hot, of.space, of.inputs.bags());
    CHECK(std::vector<std::uint64_t>(split.hot_slots.begin(), split.hot_slots.end()) ==
          std::vector<std::uint64_t>(narrow.hot_slots.begin(), narrow.hot_slots.end()));
    CHECK(std::vector<std::uint64_t>(split.cold_rows.begin(), split.cold_rows.end()) ==
          std::vector<std::uint64_t>(narrow.cold_rows.begin(), narrow.cold_rows.end()));
}

// Catches an input called hot that is hot in one row space only.
TEST_CASE("classify: with several row spaces, an input is hot if it is hot in each") {
    const Input one = make_input(4000, 1, 3, 5);
    const Input two = make_input(4000, 0, 8, 5);
    const std::vector<fae::HotQuery<std::uint32_t>> queries = {{&one.hot, one.inputs.bags(), &one.space},
                                                               {&two.hot, two.inputs.bags(), &two.space}};
    const auto hot = fae::find_hot_inputs(fae::seq, fae::Span<const fae::HotQuery<std::uint32_t>>(queries));
    std::vector<bool> expected(4000, false);
    const std::vector<std::uint64_t> in_two = numbers(two, true);
    for (const std::uint64_t i : numbers(one, true)) {
        expected[i] = std::find(in_two.begin(), in_two.end(), i) != in_two.end();
    }
    std::uint64_t both = 0;
    for (std::size_t i = 0; i < 4000; ++i) {
        CHECK(hot.contains(i) == expected[i]);
        both += expected[i] ? 1u : 0u;
    }
    CHECK(both > 0);
    CHECK(both < in_two.size());
}

// Catches hot sets and inputs of different models.
TEST_CASE("classify: a hot set of another row space is refused") {
    const Input of = make_input(10, 1, 3, 0);
    CHECK_THROWS_AS(
        (void)fae::classify(fae::seq, fae::HotSet::none(of.space.rows() + 1), of.space, of.inputs.bags()),
        fae::ContractError);
}

#if defined(FAE_CHECKED)
// Catches a row id that would be looked up beyond the bitmap.
TEST_CASE("classify: a row id outside is named") {
    const std::vector<std::uint32_t> values = {1, 5, 0};
    CHECK_THROWS_WITH_AS(
        (void)fae::classify(fae::seq, fae::HotSet::none(5), fae::Bags<std::uint32_t>::fixed(values, 1, 1)),
        "values[1] is 5, expected less than 5", fae::IndexError);
}
#endif
