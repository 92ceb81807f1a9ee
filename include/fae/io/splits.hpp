// SPDX-License-Identifier: Apache-2.0
//
// Splits of a data set in file order: the days of Criteo, and slices.
//
//   DaySplit split = day_split(data.inputs(), 7);        // the Kaggle data set holds seven days
//   Dataset train = slice(data, split.train);
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/io/dataset.hpp"

namespace fae::inline FAE_ABI {

/// Consecutive inputs [begin, end).
struct InputRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    [[nodiscard]] std::uint64_t size() const { return end - begin; }
    bool operator==(const InputRange&) const = default;
};

/// Inputs cut into consecutive days: all but the last are for training, the first half of the last (the
/// larger, where they differ) for the test, its second half for validation.
struct DaySplit {
    std::vector<InputRange> days;
    InputRange train;
    InputRange test;
    InputRange validation;
};

/// Cuts `inputs` into `days` equal parts; where they cannot be equal, the first ones are larger by one.
/// @throws ContractError if days is 0
/// @source upstream DLRM's preprocessing of Criteo Kaggle, with 7 days
[[nodiscard]] inline DaySplit day_split(std::uint64_t inputs, std::size_t days) {
    require(days != 0, [] { return std::string("days is 0, expected at least 1"); });
    DaySplit split;
    const std::uint64_t size = inputs / days;
    const std::uint64_t extras = inputs % days;
    std::uint64_t at = 0;
    for (std::size_t d = 0; d < days; ++d) {
        const std::uint64_t end = at + size + (d < extras ? 1 : 0);
        split.days.push_back({at, end});
        at = end;
    }
    const InputRange last = split.days.back();
    const std::uint64_t half = last.begin + (last.size() + 1) / 2;
    split.train = {0, last.begin};
    split.test = {last.begin, half};
    split.validation = {half, last.end};
    return split;
}

/// A copy of consecutive inputs, with the tables of the whole.
/// @throws ContractError if the range is not within the data set
[[nodiscard]] inline Dataset slice(const Dataset& data, InputRange range) {
    require(range.begin <= range.end && range.end <= data.inputs(), [&] {
        return concat("inputs ", range.begin, " to ", range.end, " are asked for, expected at most ",
                      data.inputs());
    });
    using Offset = std::ptrdiff_t;
    const auto begin = static_cast<std::size_t>(range.begin);
    const auto end = static_cast<std::size_t>(range.end);
    const std::size_t dense = data.shape.dense_features;
    const std::size_t features = data.shape.features();
    Dataset part;
    part.shape = data.shape;
    part.labels.assign(data.labels.begin() + static_cast<Offset>(begin),
                       data.labels.begin() + static_cast<Offset>(end));
    part.dense.assign(data.dense.begin() + static_cast<Offset>(begin * dense),
                      data.dense.begin() + static_cast<Offset>(end * dense));
    std::size_t first = begin * features;
    std::size_t last = end * features;
    if (!data.offsets.empty()) {
        for (std::size_t b = first; b <= last; ++b)
            part.offsets.push_back(data.offsets[b] - data.offsets[first]);
        const std::size_t first_bag = first;
        first = static_cast<std::size_t>(data.offsets[first_bag]);
        last = static_cast<std::size_t>(data.offsets[last]);
    }
    part.values.assign(data.values.begin() + static_cast<Offset>(first),
                       data.values.begin() + static_cast<Offset>(last));
    part.fingerprint = mix64(mix64(data.fingerprint ^ range.begin) ^ range.end);
    return part;
}

}  // namespace fae::inline FAE_ABI
