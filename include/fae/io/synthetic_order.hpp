// SPDX-License-Identifier: Apache-2.0
//
// What is done to a synthetic data set, or to any other, once it is drawn: rows numbered by first appearance,
// and a seeded draw of inputs to hold out.
//
//   HeldOut split(inputs, 0.1, seed);
//   Dataset train = source.generate(par(threads), split.kept());
//   Dataset validation = source.generate(par(threads), split.held());
//   number_by_first_appearance(train);
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/core/types.hpp"
#include "fae/io/dataset.hpp"

namespace fae::inline FAE_ABI {

/// A seeded draw without replacement of floor(share * inputs) of the inputs [0, inputs). O(1) memory.
class HeldOut {
  public:
    /// @throws ContractError unless 0 <= share <= 1
    HeldOut(std::uint64_t inputs, double share, std::uint64_t seed)
        : order_(inputs, mix64(seed ^ 0x68656C64ull)) {
        require(share >= 0 && share <= 1,
                [&] { return concat("the share held out is ", share, ", expected 0 to 1"); });
        held_ = static_cast<std::uint64_t>(std::floor(share * static_cast<double>(inputs)));
    }

    [[nodiscard]] std::uint64_t inputs() const { return order_.size(); }
    [[nodiscard]] std::uint64_t held_count() const { return held_; }
    /// @pre input < inputs()
    [[nodiscard]] bool holds(std::uint64_t input) const { return order_.position_of(input) < held_; }

    /// The inputs held out, ascending.
    [[nodiscard]] std::vector<std::uint64_t> held() const { return those(true, held_); }
    /// The other inputs, ascending.
    [[nodiscard]] std::vector<std::uint64_t> kept() const { return those(false, inputs() - held_); }

  private:
    [[nodiscard]] std::vector<std::uint64_t> those(bool held, std::uint64_t count) const {
        std::vector<std::uint64_t> numbers;
        numbers.reserve(static_cast<std::size_t>(count));
        for (std::uint64_t i = 0; i < inputs(); ++i) {
            if (holds(i) == held) numbers.push_back(i);
        }
        return numbers;
    }

    Permutation order_;
    std::uint64_t held_ = 0;
};

/// Numbers the rows of each table anew, in the order in which the inputs first look them up: the first row
/// seen of a table becomes its row 0. Tables keep their size; rows never seen have no place among the new
/// numbers. Returns the rows seen of each table. The fingerprint changes with the numbering.
/// @pre   values are row ids of data.shape
/// @cost  one pass; 4 bytes a row of all tables
/// @throws ContractError for a row id outside the tables; the data set is then left as it was
inline std::vector<std::uint64_t> number_by_first_appearance(Dataset& data) {
    constexpr std::uint32_t unseen = std::numeric_limits<std::uint32_t>::max();
    std::vector<std::uint64_t> end;
    std::uint64_t rows = 0;
    for (const std::uint64_t table_rows : data.shape.table_rows) end.push_back(rows += table_rows);
    for (const std::uint32_t value : data.values) {
        require(value < rows, [&] { return concat("row id ", value, ", expected less than ", rows); });
    }
    require(rows <= max_rows<std::uint32_t>, [&] {
        return concat("the tables have ", rows, " rows, expected at most ", max_rows<std::uint32_t>);
    });
    std::vector<std::uint32_t> number(static_cast<std::size_t>(rows), unseen);
    std::vector<std::uint64_t> seen(end.size(), 0);
    const auto renumber = [&](std::uint32_t& value, std::size_t table) {
        if (number[value] == unseen) {
            const std::uint64_t offset = end[table] - data.shape.table_rows[table];
            number[value] = static_cast<std::uint32_t>(offset + seen[table]++);
        }
        value = number[value];
    };
    const std::size_t features = data.shape.features();
    const std::size_t bags = data.inputs() * features;
    for (std::size_t bag = 0; bag < bags; ++bag) {
        const std::size_t table = data.shape.feature_table[bag % features];
        const std::size_t first = data.offsets.empty() ? bag : static_cast<std::size_t>(data.offsets[bag]);
        const std::size_t last =
            data.offsets.empty() ? bag + 1 : static_cast<std::size_t>(data.offsets[bag + 1]);
        for (std::size_t i = first; i < last; ++i) renumber(data.values[i], table);
    }
    data.fingerprint = mix64(data.fingerprint ^ 0x66697273746F72ull);
    return seen;
}

}  // namespace fae::inline FAE_ABI
