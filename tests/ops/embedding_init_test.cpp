// SPDX-License-Identifier: Apache-2.0
//
// Initial embedding weights: their range, spread, independence, and that each has its own place.
#include "fae/ops/embedding_init.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <vector>

using namespace fae;

// Catches a change of the numbers: saved models and results would no longer be reproducible.
TEST_CASE("embedding_init: known values stay") {
    const float scale = embedding_scale(1000);
    CHECK(scale == static_cast<float>(std::sqrt(0.001)) / 8388608.0f);
    const Block4 bits = philox(mix64(7u ^ 0x656D626564646E67u), {{2, 0x89ABCDEFu, 0x1u, 3}});
    for (std::uint32_t c = 0; c < 4; ++c) {
        const auto integer = static_cast<std::int32_t>(bits.word[c]) / 256;
        const float value = embedding_value(7, 3, 0x189ABCDEFu, 8 + c, scale);
        CHECK(std::fabs(value / scale - static_cast<float>(integer)) <= 1.0f);
    }
    CHECK(embedding_scale(0) == embedding_scale(1));
}

// Catches a block that repeats within a row, and a last block that is written past the row's end.
TEST_CASE("embedding_init: a row is filled with the values of its columns and nothing more") {
    for (const std::size_t dim : {1u, 3u, 4u, 5u, 16u, 67u}) {
        std::vector<float> row(dim + 4, 9.0f);
        init_row(5, 2, 77, embedding_scale(100), Span<float>(row.data(), dim));
        std::set<float> distinct;
        for (std::size_t c = 0; c < dim; ++c) {
            CHECK(row[c] == embedding_value(5, 2, 77, static_cast<std::uint32_t>(c), embedding_scale(100)));
            distinct.insert(row[c]);
        }
        CHECK(distinct.size() == dim);
        for (std::size_t c = dim; c < row.size(); ++c) CHECK(row[c] == 9.0f);
    }
}

// Catches a coordinate that is left out of the counter or the key, its high half included.
TEST_CASE("embedding_init: seed, table, row and column each change the value") {
    const float scale = embedding_scale(10);
    const float value = embedding_value(1, 2, 3, 4, scale);
    CHECK(embedding_value(1, 2, 3, 4, scale) == value);
    CHECK(embedding_value(2, 2, 3, 4, scale) != value);
    CHECK(embedding_value(1 + (std::uint64_t{1} << 40), 2, 3, 4, scale) != value);
    CHECK(embedding_value(1, 3, 3, 4, scale) != value);
    CHECK(embedding_value(1, 2, 4, 4, scale) != value);
    CHECK(embedding_value(1, 2, 3 + (std::uint64_t{1} << 32), 4, scale) != value);
    CHECK(embedding_value(1, 2, 3, 5, scale) != value);
    CHECK(embedding_value(1, 2, 3, 8, scale) != value);
}

// Catches a one-sided range, a wrong bound and a wrong spread.
TEST_CASE("embedding_init: values are uniform between minus and plus the root of 1 / rows") {
    const std::uint64_t rows = 400;
    const double bound = std::sqrt(1.0 / static_cast<double>(rows));
    std::vector<float> row(16);
    double sum = 0;
    double squares = 0;
    double least = 1;
    double most = -1;
    for (std::uint64_t r = 0; r < rows; ++r) {
        init_row(9, 0, r, embedding_scale(rows), Span<float>(row));
        for (const float weight : row) {
            const double x = static_cast<double>(weight) / bound;
            sum += x;
            squares += x * x;
            least = std::min(least, x);
            most = std::max(most, x);
        }
    }
    const double n = static_cast<double>(rows) * 16;
    CHECK(least >= -1);
    CHECK(most < 1);
    CHECK(least < -0.998);
    CHECK(most > 0.998);
    CHECK(std::fabs(sum / n) < 4.5 * std::sqrt(1.0 / 3 / n));
    CHECK(std::fabs(squares / n - 1.0 / 3) < 4.5 * std::sqrt(4.0 / 45 / n));
}
