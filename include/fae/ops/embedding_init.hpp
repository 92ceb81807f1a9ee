// SPDX-License-Identifier: Apache-2.0
//
// The initial weights of an embedding table: uniform in [-sqrt(1/N), +sqrt(1/N)) for a table of N rows, each
// a function of (seed, table, row, column) alone. So a row starts with the same weights on whichever tier, in
// whichever order and on whichever device it is drawn: a value is one integer-to-float conversion and one
// multiplication.
//
//   const float scale = embedding_scale(table_rows);           // once a table, on the host
//   init_row(seed, table, row, scale, Span<float>(weights, dim));
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// What embedding_value multiplies its 24 random bits by: sqrt(1 / rows) * 2^-23, the root rounded to float.
/// @param rows  of the table, not of the row space; 0 counts as 1
[[nodiscard]] inline float embedding_scale(std::uint64_t rows) {
    const double bound = std::sqrt(1.0 / static_cast<double>(rows == 0 ? 1 : rows));
    return static_cast<float>(bound) * 0x1p-23f;
}

namespace detail {

// Apart from the streams of the dense layers and of the inputs' order, which use the plain seed.
[[nodiscard]] FAE_HD constexpr std::uint64_t embedding_key(std::uint64_t seed) {
    return mix64(seed ^ 0x656D626564646E67u);
}

[[nodiscard]] FAE_HD constexpr Block4 embedding_block(std::uint64_t key, std::uint32_t table,
                                                      std::uint64_t row, std::uint32_t block) {
    return philox(key,
                  {{block, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(row >> 32), table}});
}

[[nodiscard]] FAE_HD constexpr float embedding_weight(std::uint32_t word, float scale) {
    return static_cast<float>(static_cast<std::int32_t>(word) >> 8) * scale;
}

}  // namespace detail

/// The initial weight of one place of one table. One random block serves four neighbouring columns.
/// @param table  number of the table in the model; `row` counts within the table
/// @param scale  embedding_scale(rows of the table)
/// @source  Naumov et al., Deep Learning Recommendation Model, 2019: U(-sqrt(1/N), +sqrt(1/N))
[[nodiscard]] FAE_HD constexpr float embedding_value(std::uint64_t seed, std::uint32_t table,
                                                     std::uint64_t row, std::uint32_t column, float scale) {
    const Block4 bits = detail::embedding_block(detail::embedding_key(seed), table, row, column / 4);
    return detail::embedding_weight(bits.word[column % 4], scale);
}

/// Fills one row: weights[c] = embedding_value(seed, table, row, c, scale).
/// @shape  weights [dim]
/// @cost   one random block for four weights
FAE_HD constexpr void init_row(std::uint64_t seed, std::uint32_t table, std::uint64_t row, float scale,
                               Span<float> weights) {
    const std::uint64_t key = detail::embedding_key(seed);
    for (std::size_t first = 0; first < weights.size(); first += 4) {
        const Block4 bits = detail::embedding_block(key, table, row, static_cast<std::uint32_t>(first / 4));
        const std::size_t left = weights.size() - first;
        const std::size_t count = left < 4 ? left : 4;
        for (std::size_t c = 0; c < count; ++c) {
            weights[first + c] = detail::embedding_weight(bits.word[c], scale);
        }
    }
}

}  // namespace fae::inline FAE_ABI
