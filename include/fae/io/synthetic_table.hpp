// SPDX-License-Identifier: Apache-2.0
//
// The columns of a synthetic data set: SyntheticRows turns a table's popularity ranks into its rows, now and
// under drift; DenseColumn holds the values of a dense feature.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/io/synthetic_coupling.hpp"
#include "fae/io/synthetic_labels.hpp"
#include "fae/io/synthetic_law.hpp"
#include "fae/io/synthetic_spec.hpp"

namespace fae::inline FAE_ABI {

/// One table: the law of its ranks, and which row a rank is.
///
/// Without drift the row of a rank is a seeded permutation of the ranks (or the rank itself). Drift: the
/// ranks, themselves in random order, form rings of 1,024 (the last one smaller). A ring turns by one place
/// each 1e6 / drift inputs, each ring at its own moments: every rank of it then passes to the row that its
/// neighbour had. So at any time ranks and rows are a bijection and the law over ranks is the same; after n
/// inputs, a share of about min(1, n * drift / 1e6) of a table's ranks has passed to another row; and a row
/// comes back to its rank after 1,024 turns. O(1) a draw.
class SyntheticRows {
  public:
    /// The table number `table` of the spec; its first row has id `offset`.
    SyntheticRows(const SyntheticSpec& spec, std::size_t table, std::uint64_t offset, std::uint64_t seed)
        : law_(spec.tables[table].zipf
                   ? PopularityLaw::zipf(spec.tables[table].rows, *spec.tables[table].zipf)
                   : PopularityLaw::through(spec.tables[table].rows, spec.tables[table].points)),
          offset_(offset),
          label_key_(mix64(mix64(seed ^ 0x6C6162656Cull) + table)),
          ring_key_(mix64(mix64(seed ^ 0x72696E67ull) + table)),
          scatter_(spec.scatter_rows),
          rows_(law_.rows(), seed, table),
          rings_(law_.rows(), ring_key_, table) {
        // At most 1 turn an input: 2^64 of it would not fit 64 bits, 2^63 and a shift do.
        turn_ = static_cast<std::uint64_t>(spec.drift * 1e-6 * 0x1p63);
        if (turn_ == 0 && scatter_) {
            popular_.resize(static_cast<std::size_t>(std::min(law_.rows(), cached)));
            for (std::size_t rank = 0; rank < popular_.size(); ++rank) {
                popular_[rank] = static_cast<std::uint32_t>(rows_(rank));
            }
        }
    }

    [[nodiscard]] const PopularityLaw& law() const { return law_; }
    [[nodiscard]] std::uint64_t offset() const { return offset_; }
    [[nodiscard]] std::uint64_t label_key() const { return label_key_; }

    /// The row, within the table, of a rank at the time of an input.
    [[nodiscard]] std::uint64_t row(std::uint64_t rank, std::uint64_t input) const {
        if (rank < popular_.size()) return popular_[static_cast<std::size_t>(rank)];
        const std::uint64_t place = turn_ == 0 ? rank : turned(rank, input);
        return scatter_ ? rows_(place) : place;
    }

  private:
    static constexpr std::uint64_t cached = 1 << 14;
    static constexpr std::uint64_t ring_size = 1024;

    [[nodiscard]] std::uint64_t turned(std::uint64_t rank, std::uint64_t input) const {
        __extension__ using Wide = unsigned __int128;
        const std::uint64_t at = rings_.position_of(rank);
        const std::uint64_t ring = at / ring_size;
        const std::uint64_t begin = ring * ring_size;
        const std::uint64_t size = std::min(ring_size, law_.rows() - begin);
        const auto phase = mix64(ring_key_ ^ ring) >> 1;
        const auto turns = static_cast<std::uint64_t>((Wide{input} * turn_ + phase) >> 63);
        return rings_(begin + (at - begin + turns) % size);
    }

    PopularityLaw law_;
    std::uint64_t offset_;
    std::uint64_t label_key_;
    std::uint64_t ring_key_;
    bool scatter_;
    std::uint64_t turn_ = 0;  // turns an input, in units of 2^-63
    Permutation rows_;
    Permutation rings_;
    std::vector<std::uint32_t> popular_;  // rows of the first ranks, where they do not drift
};

/// A dense feature: its values at 1,024 equally likely quantiles, each with what it adds to the label's sum.
class DenseColumn {
  public:
    struct Entry {
        float value;           ///< log(1 + count)
        std::int32_t planted;  ///< as planted_weight, times the feature's weight
    };

    /// @throws ContractError unless 0 < zero_share < 1, 0 < spread <= 10 and |weight| <= 1000
    explicit DenseColumn(const SyntheticDense& spec) {
        require(spec.zero_share > 0 && spec.zero_share < 1, [&] {
            return concat("the share of zeros is ", spec.zero_share, ", expected between 0 and 1");
        });
        require(spec.spread > 0 && spec.spread <= 10, [&] {
            return concat("the spread of the count is ", spec.spread, ", expected above 0, to 10");
        });
        require(std::fabs(spec.weight) <= 1000,
                [&] { return concat("the weight is ", spec.weight, ", expected -1000 to 1000"); });
        // A count below 1 is 0: the median lies where a share zero_share of the counts is below 1.
        const double centre = -spec.spread * detail::normal_quantile(spec.zero_share);
        std::array<double, size> value{};
        double mean = 0;
        for (std::size_t i = 0; i < size; ++i) {
            const double quantile = detail::normal_quantile((static_cast<double>(i) + 0.5) / size);
            value[i] = std::log1p(std::floor(std::exp(std::fma(spec.spread, quantile, centre))));
            mean += value[i] / size;
        }
        double variance = 0;
        for (const double v : value) variance = std::fma(v - mean, (v - mean) / size, variance);
        const double unit = variance > 0 ? spec.weight * planted_deviation / std::sqrt(variance) : 0.0;
        for (std::size_t i = 0; i < size; ++i) {
            entries_[i] = {static_cast<float>(value[i]),
                           static_cast<std::int32_t>(std::lround(unit * (value[i] - mean)))};
        }
    }

    /// The entry that 32 random bits choose.
    [[nodiscard]] const Entry& at(std::uint32_t bits) const { return entries_[bits >> (32 - size_bits)]; }

  private:
    static constexpr unsigned size_bits = 10;
    static constexpr std::size_t size = std::size_t{1} << size_bits;
    std::array<Entry, size> entries_{};
};

}  // namespace fae::inline FAE_ABI
