// SPDX-License-Identifier: Apache-2.0
//
// Coupling: uniforms of several features that are popular together. Each input has a hidden level; given the
// level the features are independent, and over all inputs each feature's number is uniform, so popularity
// laws are what they were whatever the coupling.
//
//   Coupling coupling(0.8);                                  // correlation with the other features so
//   coupled std::uint64_t u = coupling.uniform(level, block);        // level in [0, Coupling::levels)
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"

namespace fae::inline FAE_ABI {

namespace detail {
[[nodiscard]] inline double normal_cdf(double z) { return 0.5 * std::erfc(-z * 0.7071067811865476); }

/// The inverse of normal_cdf, within [-9, 9].
[[nodiscard]] inline double normal_quantile(double share) {
    double low = -9;
    double high = 9;
    for (int step = 0; step < 60; ++step) {
        const double middle = 0.5 * (low + high);
        (normal_cdf(middle) < share ? low : high) = middle;
    }
    return 0.5 * (low + high);
}
}  // namespace detail

/// A Gaussian copula of one factor, cut into a chequerboard: 64 equally likely levels of the hidden factor
/// by 64 equally wide cells of the uniform. Within a cell the number is uniform. Rows and columns of the
/// board each have equal sums (Sinkhorn scaling), which is what keeps the number uniform over all levels.
/// Two features of correlations a and b have normal scores that correlate as sqrt(a * b), nearly.
/// @source one-factor Gaussian copula: Li, On Default Correlation, 2000; alias method: Walker, TOMS 1977
class Coupling {
  public:
    static constexpr unsigned level_bits = 6;
    static constexpr std::size_t levels = std::size_t{1} << level_bits;

    /// @param correlation  0: independent; towards 1: rarity in one feature is rarity in all
    /// @throws ContractError unless 0 <= correlation <= 0.99
    explicit Coupling(double correlation) : correlation_(correlation) {
        require(correlation >= 0 && correlation <= 0.99,
                [&] { return concat("the correlation is ", correlation, ", expected 0 to 0.99"); });
        if (correlation > 0) fill();
    }

    [[nodiscard]] double correlation() const { return correlation_; }

    /// 64 uniform bits from 128; small where the level is small.
    /// @pre level < levels
    [[nodiscard]] std::uint64_t uniform(std::size_t level, const Block4& bits) const {
        const std::uint64_t fine = bits.word[2] | (std::uint64_t{bits.word[3]} << 32);
        if (cells_.empty()) return fine;
        const std::uint32_t column = bits.word[0] >> (32 - level_bits);
        const Alias& alias = cells_[level * levels + column];
        // Without a branch: it would be guessed wrong half of the time.
        const std::uint32_t kept = bits.word[1] < alias.keep ? 0xFFFFFFFFu : 0;
        const std::uint64_t cell = alias.other ^ ((alias.other ^ column) & kept);
        return (cell << (64 - level_bits)) | (fine >> level_bits);
    }

    /// The probability of a cell given the level, as drawn.
    [[nodiscard]] double probability(std::size_t level, std::size_t cell) const {
        if (cells_.empty()) return 1.0 / levels;
        double sum = 0;
        for (std::size_t column = 0; column < levels; ++column) {
            const Alias& alias = cells_[level * levels + column];
            const double keep = alias.keep * 0x1p-32;
            if (column == cell) sum += keep;
            if (alias.other == cell) sum += 1 - keep;
        }
        return sum / levels;
    }

  private:
    struct Alias {
        std::uint32_t keep;   // of 2^32: the column itself, else ...
        std::uint32_t other;  // ... this one
    };
    using Board = std::vector<double>;  // [levels, levels]

    void fill() {
        constexpr auto n = static_cast<double>(levels);
        std::array<double, levels + 1> edge{};
        edge[0] = -40;
        edge[levels] = 40;
        for (std::size_t i = 1; i < levels; ++i)
            edge[i] = detail::normal_quantile(static_cast<double>(i) / n);
        const double along = std::sqrt(correlation_);
        const double across = std::sqrt(1 - correlation_);
        Board board(levels * levels, 0.0);
        for (std::size_t level = 0; level < levels; ++level) {
            for (int quarter = 0; quarter < 4; ++quarter) {
                const double factor =
                    along * detail::normal_quantile((static_cast<double>(level) + (quarter + 0.5) / 4) / n);
                for (std::size_t cell = 0; cell < levels; ++cell) {
                    board[level * levels + cell] += detail::normal_cdf((edge[cell + 1] - factor) / across) -
                                                    detail::normal_cdf((edge[cell] - factor) / across);
                }
            }
        }
        for (int round = 0; round < 100; ++round) {
            scale(board, 1, levels);
            scale(board, levels, 1);
        }
        cells_.resize(levels * levels);
        for (std::size_t level = 0; level < levels; ++level) make_alias(board, level);
    }

    // Scales each line of the board to the sum 1; elements of a line are `inner` apart, lines `outer`.
    static void scale(Board& board, std::size_t outer, std::size_t inner) {
        for (std::size_t line = 0; line < levels; ++line) {
            double sum = 0;
            for (std::size_t i = 0; i < levels; ++i) sum += board[line * outer + i * inner];
            for (std::size_t i = 0; i < levels; ++i) board[line * outer + i * inner] /= sum;
        }
    }

    void make_alias(const Board& board, std::size_t level) {
        std::array<double, levels> weight{};
        std::vector<std::uint32_t> small_columns;
        std::vector<std::uint32_t> large_columns;
        const auto sort_in = [&](std::uint32_t column) {
            (weight[column] < 1 ? small_columns : large_columns).push_back(column);
        };
        for (std::uint32_t column = 0; column < levels; ++column) {
            weight[column] = board[level * levels + column] * static_cast<double>(levels);
            cells_[level * levels + column] = {0xFFFFFFFFu, column};
            sort_in(column);
        }
        while (!small_columns.empty() && !large_columns.empty()) {
            const std::uint32_t less = small_columns.back();
            const std::uint32_t more = large_columns.back();
            small_columns.pop_back();
            large_columns.pop_back();
            cells_[level * levels + less] = {static_cast<std::uint32_t>(weight[less] * 0x1p32), more};
            weight[more] -= 1 - weight[less];
            sort_in(more);
        }
    }

    double correlation_;
    std::vector<Alias> cells_;  // [levels, levels]; empty where independent
};

}  // namespace fae::inline FAE_ABI
