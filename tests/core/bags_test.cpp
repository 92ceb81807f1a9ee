// SPDX-License-Identifier: Apache-2.0
//
// Tests of core/bags.hpp.
#include "fae/core/bags.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace fae;

// Catches bounds of a bag that are off.
TEST_CASE_TEMPLATE("bags: of one size, bag b is the b-th piece", Index, std::uint32_t, std::uint64_t) {
    const std::vector<Index> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const auto bags = Bags<Index>::fixed(values, 2, 3);
    CHECK(bags.size() == 6);
    CHECK(bags.samples() == 2);
    CHECK(bags.features() == 3);
    CHECK(bags.lookups() == 12);
    CHECK(bags.is_fixed());
    CHECK(bags.begin(4) == 8);
    CHECK(bags.end(4) == 10);
    CHECK(bags.weights().empty());
}

// Catches offsets that are read at the wrong place.
TEST_CASE("bags: jagged ones may be empty, at the ends too") {
    const std::vector<std::uint32_t> values = {5, 6, 7};
    const std::vector<std::uint64_t> offsets = {0, 0, 2, 2, 3};
    const auto bags = Bags<>::jagged(values, offsets, 2);
    CHECK(bags.size() == 4);
    CHECK(bags.samples() == 2);
    CHECK_FALSE(bags.is_fixed());
    CHECK(bags.end(0) == 0);
    CHECK(bags.begin(1) == 0);
    CHECK(bags.end(1) == 2);
    CHECK(bags.begin(3) == 2);
    CHECK(bags.end(3) == 3);
    const std::vector<std::uint64_t> nothing = {0};
    CHECK(Bags<>::jagged(Span<const std::uint32_t>(), nothing, 3).size() == 0);
}

// Catches descriptions that do not fit together, each with its numbers.
TEST_CASE("bags: what does not fit together is refused") {
    const std::vector<std::uint32_t> values = {1, 2, 3, 4, 5};
    using Offsets = std::vector<std::uint64_t>;
    CHECK_THROWS_WITH_AS((void)Bags<>::fixed(values, 1, 2),
                         "values has 5 entries, expected a multiple of 1 x 2", ContractError);
    CHECK_THROWS_AS((void)Bags<>::fixed(values, 0, 2), ContractError);
    CHECK_THROWS_AS((void)Bags<>::fixed(values, 1, 0), ContractError);
    CHECK_THROWS_AS((void)Bags<>::jagged(values, Offsets{}, 1), ContractError);
    CHECK_THROWS_AS((void)Bags<>::jagged(values, Offsets{1, 5}, 1), ContractError);
    CHECK_THROWS_AS((void)Bags<>::jagged(values, Offsets{0, 4}, 1), ContractError);
    CHECK_THROWS_AS((void)Bags<>::jagged(values, Offsets{0, 2, 5}, 3), ContractError);
    CHECK_THROWS_AS((void)Bags<>::jagged(values, Offsets{0, 5}, 0), ContractError);
    const std::vector<float> weights = {1, 2};
    CHECK_THROWS_WITH_AS((void)Bags<>::fixed(values, 1, 1, weights),
                         doctest::Contains("weights has 2 entries"), ContractError);
    if (checked) CHECK_THROWS_AS((void)Bags<>::jagged(values, Offsets{0, 3, 2, 5}, 1), IndexError);
}

// Catches bags that lose their shape when their values are located.
TEST_CASE("bags: with other values they keep their shape") {
    const std::vector<std::uint32_t> values = {1, 2, 3};
    const std::vector<std::uint32_t> located = {7, 8, 9};
    const std::vector<std::uint64_t> offsets = {0, 1, 3};
    const std::vector<float> weights = {.5F, .25F, 1};
    const auto bags = Bags<>::jagged(values, offsets, 1, weights).with_values(located);
    CHECK(bags.values()[2] == 9);
    CHECK(bags.end(1) == 3);
    CHECK(bags.weights().size() == 3);
    CHECK_THROWS_AS((void)bags.with_values(Span<const std::uint32_t>(located.data(), 2)), ContractError);
}

// Catches a look at arrays that only a device can read, and a size that is not checked.
TEST_CASE("bags: arrays that the host cannot read are not looked at") {
    const auto* const nowhere = reinterpret_cast<const std::uint64_t*>(std::uintptr_t{64});
    const auto* const values = reinterpret_cast<const std::uint32_t*>(std::uintptr_t{128});
    const auto bags = Bags<>::jagged_elsewhere({values, 10}, {nowhere, 7}, 3);
    CHECK(bags.size() == 6);
    CHECK(bags.samples() == 2);
    CHECK(bags.lookups() == 10);
    CHECK_FALSE(bags.is_fixed());
    CHECK_THROWS_WITH_AS((void)Bags<>::jagged_elsewhere({values, 10}, {nowhere, 6}, 3),
                         "offsets describes 5 bags, expected a multiple of 3 features", ContractError);
}
