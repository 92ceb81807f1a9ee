// SPDX-License-Identifier: Apache-2.0
//
// Tests of core/row_space.hpp.
#include "fae/core/row_space.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/core/random.hpp"

using namespace fae;

// Catches offsets that are off by a table.
TEST_CASE("RowSpace: tables lie end to end, and every row belongs to the table it came from") {
    const RowSpace space({{1460, 16, "C1"}, {583, 16, "C2"}, {1, 16, ""}, {7, 16, "C4"}});
    CHECK(space.rows() == 2051);
    CHECK(space.row(1, 7) == 1467);
    CHECK(space.dim() == 16);
    CHECK(space.features() == 4);
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        for (std::uint64_t index = 0; index < space.table(t).rows; ++index) {
            REQUIRE(space.table_of(space.row(t, index)) == t);
        }
    }
}

// Catches features that all look up their own table.
TEST_CASE("RowSpace: features may share a table, in any order") {
    const RowSpace space({{10, 4, "a"}, {20, 4, "b"}}, {1, 0, 1});
    CHECK(space.features() == 3);
    CHECK(space.row(0, 5) == 15);
    CHECK(space.row(1, 5) == 5);
    CHECK(space.row(2, 5) == 15);
}

// Catches spaces that no operation could serve.
TEST_CASE("RowSpace: what cannot be one space is refused") {
    using Tables = std::vector<TableSpec>;
    CHECK_THROWS_AS(RowSpace(Tables{}), ContractError);
    CHECK_THROWS_AS(RowSpace({{1, 0, ""}}), ContractError);
    CHECK_THROWS_AS(RowSpace({{1, max_dim + 1, ""}}), ContractError);
    CHECK_THROWS_AS(RowSpace({{1, 4, ""}, {1, 8, ""}}), ContractError);
    CHECK_THROWS_AS(RowSpace({{0, 4, ""}}), ContractError);
    CHECK_THROWS_AS(RowSpace({{std::uint64_t{1} << 63, 4, ""}, {1, 4, ""}}), ContractError);
    CHECK_THROWS_AS(RowSpace({{1, 4, ""}}, {1}), ContractError);
}

// Catches 32-bit ids that run into the tier bit.
TEST_CASE("RowSpace: 32-bit indices hold 2^31 rows and no more") {
    const RowSpace fits({{(std::uint64_t{1} << 31) - 1, 1, ""}, {1, 1, ""}});
    const RowSpace does_not({{std::uint64_t{1} << 31, 1, ""}, {1, 1, ""}});
    CHECK_NOTHROW(fits.require_fits<std::uint32_t>());
    CHECK_THROWS_WITH_AS(does_not.require_fits<std::uint32_t>(), doctest::Contains("2147483649"),
                         ContractError);
    CHECK_NOTHROW(does_not.require_fits<std::uint64_t>());
}

// Catches features or tables that are lost when a model has several dims.
TEST_CASE("row_spaces: every table and feature of a model is in exactly one space, that of its dim") {
    Philox random(3);
    for (int round = 0; round < 50; ++round) {
        std::vector<TableSpec> tables;
        for (std::uint64_t t = 0; t < 1 + random.below(8); ++t) {
            tables.push_back({1 + random.below(9), static_cast<std::uint32_t>(1 + random.below(3)), ""});
        }
        std::vector<std::uint32_t> feature_table;
        for (const TableSpec& table : tables) {
            (void)table;
            feature_table.push_back(static_cast<std::uint32_t>(random.below(tables.size())));
        }
        std::vector<int> table_seen(tables.size());
        std::vector<int> feature_seen(feature_table.size());
        std::uint32_t last_dim = 0;
        // A table that no feature looks up is still a table of its space.
        for (const RowSpaceOf& of : row_spaces(tables, feature_table)) {
            CHECK(of.space.dim() > last_dim);
            last_dim = of.space.dim();
            for (std::size_t t = 0; t < of.tables.size(); ++t) {
                ++table_seen[of.tables[t]];
                CHECK(of.space.table(t).rows == tables[of.tables[t]].rows);
                CHECK(tables[of.tables[t]].dim == last_dim);
            }
            if (of.features.empty()) continue;
            REQUIRE(of.space.features() == of.features.size());
            for (std::size_t f = 0; f < of.features.size(); ++f) {
                ++feature_seen[of.features[f]];
                CHECK(of.tables[of.space.feature_table()[f]] == feature_table[of.features[f]]);
            }
        }
        CHECK(table_seen == std::vector<int>(tables.size(), 1));
        CHECK(feature_seen == std::vector<int>(feature_table.size(), 1));
    }
    CHECK_THROWS_AS((void)row_spaces({{1, 4, ""}}, {1}), ContractError);
}
