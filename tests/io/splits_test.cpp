// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/splits.hpp.
#include "fae/io/splits.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace fae;

// Catches sizes other than those that the published models of Criteo Kaggle were trained with.
TEST_CASE("day_split: the Kaggle data set is cut as its published preprocessing cuts it") {
    const DaySplit split = day_split(45'840'617, 7);
    REQUIRE(split.days.size() == 7);
    for (std::size_t d = 0; d < 7; ++d) CHECK(split.days[d].size() == (d < 4 ? 6'548'660 : 6'548'659));
    CHECK(split.train.size() == 39'291'958);
    CHECK(split.test.size() == 3'274'330);
    CHECK(split.validation.size() == 3'274'329);
}

// Catches gaps and overlaps.
TEST_CASE("day_split: the days are consecutive, equal but for one input, and cover everything") {
    for (const std::uint64_t inputs : {0u, 1u, 6u, 7u, 8u, 1000u, 1003u}) {
        for (const std::size_t days : {1u, 2u, 7u, 24u}) {
            const DaySplit split = day_split(inputs, days);
            std::uint64_t at = 0;
            for (const InputRange& day : split.days) {
                CHECK(day.begin == at);
                CHECK(day.size() >= inputs / days);
                CHECK(day.size() <= inputs / days + 1);
                at = day.end;
            }
            CHECK(at == inputs);
            CHECK(split.train == InputRange{0, split.days.back().begin});
            CHECK(split.test.begin == split.train.end);
            CHECK(split.validation.begin == split.test.end);
            CHECK(split.validation.end == inputs);
            CHECK(split.test.size() - split.validation.size() <= 1);
        }
    }
    CHECK_THROWS_AS((void)day_split(5, 0), ContractError);
}

// Catches bags cut at the wrong value, and offsets that do not start at 0.
TEST_CASE("slice: copies the inputs of a range, of fixed and of jagged bags") {
    Dataset data;
    data.shape = {{10, 20}, {"a", "b"}, {0, 1}, 2};
    data.labels = {0, 1, 0, 1};
    data.dense = {0, 1, 2, 3, 4, 5, 6, 7};
    data.values = {0, 10, 1, 11, 2, 12, 3, 13};
    data.fingerprint = 5;
    const Dataset part = slice(data, {1, 3});
    CHECK(part.labels == std::vector<std::uint8_t>{1, 0});
    CHECK(part.dense == std::vector<float>{2, 3, 4, 5});
    CHECK(part.values == std::vector<std::uint32_t>{1, 11, 2, 12});
    CHECK(part.shape.table_rows == data.shape.table_rows);
    CHECK(part.fingerprint != data.fingerprint);
    CHECK(part.fingerprint != slice(data, {1, 2}).fingerprint);
    CHECK(slice(data, {2, 2}).inputs() == 0);

    data.offsets = {0, 1, 1, 4, 5, 5, 5, 6, 8};
    const Dataset jagged = slice(data, {1, 3});
    CHECK(jagged.offsets == std::vector<std::uint64_t>{0, 3, 4, 4, 4});
    CHECK(jagged.values == std::vector<std::uint32_t>{10, 1, 11, 2});
    CHECK(jagged.bags().samples() == 2);
    CHECK_THROWS_AS((void)slice(data, {3, 5}), ContractError);
    CHECK_THROWS_AS((void)slice(data, {3, 2}), ContractError);
}
