// SPDX-License-Identifier: Apache-2.0
//
// Packed data sets of every kind to test with, and what a plain loop says of them: which inputs are hot, and
// what each holds.
//
//   PackedCase c;
//   c.most_per_bag = 3;                              // jagged
//   const PackedInputs inputs = packed_inputs(c);    // train, validation, test, hot rows
//   fae::PackedDataset packed = pack_inputs(fae::seq, inputs);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/packed.hpp"

namespace fae_test {

struct PackedCase {
    std::string name = "fixed bags";
    std::vector<std::uint64_t> table_rows{5, 40, 200};
    std::vector<std::uint32_t> feature_table{0, 1, 2, 1};
    std::size_t dense_features = 3;
    std::size_t inputs = 50;
    std::size_t validation = 10;
    std::size_t test = 7;
    std::size_t most_per_bag = 1;  ///< above 1: jagged bags of 0 to this many rows
    double hot_share = 0.8;        ///< of the rows; 0: none is hot, 1: all are
    std::uint64_t seed = 1;
};

struct PackedInputs {
    fae::Dataset train;
    fae::Dataset validation;
    fae::Dataset test;
    std::vector<std::uint32_t> hot_rows;
    std::vector<std::uint64_t> hot_counts;
    fae::Provenance provenance;
};

/// Random inputs of a case.
inline fae::Dataset random_inputs(const PackedCase& c, std::size_t inputs, std::uint64_t stream) {
    fae::Philox random(c.seed, stream);
    fae::Dataset data;
    data.shape.table_rows = c.table_rows;
    for (std::size_t t = 0; t < c.table_rows.size(); ++t)
        data.shape.table_names.push_back(std::string(t, 'C') + std::to_string(t));
    data.shape.feature_table = c.feature_table;
    data.shape.dense_features = c.dense_features;
    std::vector<std::uint64_t> first{0};
    for (const std::uint64_t rows : c.table_rows) first.push_back(first.back() + rows);
    if (c.most_per_bag > 1) data.offsets.push_back(0);
    for (std::size_t i = 0; i < inputs; ++i) {
        data.labels.push_back(static_cast<std::uint8_t>(random.below(2)));
        for (std::size_t d = 0; d < c.dense_features; ++d)
            data.dense.push_back(static_cast<float>(random.normal()));
        for (const std::uint32_t table : c.feature_table) {
            const std::uint64_t size = c.most_per_bag > 1 ? random.below(c.most_per_bag + 1) : 1;
            for (std::uint64_t k = 0; k < size; ++k)
                data.values.push_back(
                    static_cast<std::uint32_t>(first[table] + random.below(c.table_rows[table])));
            if (c.most_per_bag > 1) data.offsets.push_back(data.values.size());
        }
    }
    data.fingerprint = 0xFEDCBA9876543210u + stream;
    return data;
}

inline PackedInputs packed_inputs(const PackedCase& c) {
    PackedInputs made;
    made.train = random_inputs(c, c.inputs, 1);
    if (c.validation != 0) made.validation = random_inputs(c, c.validation, 2);
    if (c.test != 0) made.test = random_inputs(c, c.test, 3);
    fae::Philox random(c.seed, 4);
    std::uint64_t rows = 0;
    for (const std::uint64_t table : c.table_rows) rows += table;
    for (std::uint32_t row = 0; row < rows; ++row) {
        if (random.uniform() >= c.hot_share) continue;
        made.hot_rows.push_back(row);
        made.hot_counts.push_back(random.bits64());
    }
    made.provenance.fingerprint = made.train.fingerprint;
    made.provenance.budget_bytes = (std::uint64_t{1} << 40) + 11;
    made.provenance.row_bytes = 68;
    made.provenance.seed = ~std::uint64_t{6};
    made.provenance.max_rows = 77;
    made.provenance.sample = 0.3;
    made.provenance.validation = 0.1;
    made.provenance.dim = 16;
    made.provenance.vocabulary = "first-seen";
    made.provenance.source = "log with a 0 byte: " + std::string(1, '\0') + " and \xC3\xA9";
    made.provenance.optimizer = "adagrad";
    for (std::size_t t = 0; t < c.table_rows.size(); ++t)
        made.provenance.cutoffs.push_back(t == 0 ? 0 : ~std::uint64_t{0} - t + 1);
    return made;
}

/// The inputs split by their hot rows, through classify() and pack().
template <fae::Executor E>
[[nodiscard]] fae::PackedDataset pack_inputs(const E& exec, const PackedInputs& inputs) {
    const fae::RowSpace space = inputs.train.shape.row_space(4);
    fae::HotSet hot(space.rows(), inputs.hot_rows);
    fae::Classification classes = fae::classify(exec, hot, space, inputs.train.bags());
    return fae::pack(exec, inputs.train, inputs.validation, inputs.test, std::move(hot), std::move(classes),
                     inputs.hot_counts, inputs.provenance);
}

/// Every kind of packed data set, each small.
inline std::vector<PackedCase> packed_cases() {
    std::vector<PackedCase> cases;
    const auto add = [&](const char* name, auto&& change) {
        PackedCase c;
        c.name = name;
        c.seed = cases.size() + 1;
        change(c);
        cases.push_back(c);
    };
    add("fixed bags", [](PackedCase&) {});
    add("jagged bags", [](PackedCase& c) { c.most_per_bag = 3; });
    add("all hot", [](PackedCase& c) { c.hot_share = 1; });
    add("all cold", [](PackedCase& c) { c.hot_share = 0; });
    add("all hot, jagged", [](PackedCase& c) { c.hot_share = 1, c.most_per_bag = 2; });
    add("all cold, jagged", [](PackedCase& c) { c.hot_share = 0, c.most_per_bag = 2; });
    add("no validation", [](PackedCase& c) { c.validation = 0; });
    add("no validation, no test", [](PackedCase& c) { c.validation = 0, c.test = 0; });
    add("no validation, no test, jagged",
        [](PackedCase& c) { c.validation = 0, c.test = 0, c.most_per_bag = 2; });
    add("no dense features", [](PackedCase& c) { c.dense_features = 0; });
    add("no training inputs", [](PackedCase& c) { c.inputs = 0; });
    add("no training inputs, jagged", [](PackedCase& c) { c.inputs = 0, c.most_per_bag = 2; });
    add("one input", [](PackedCase& c) { c.inputs = 1, c.validation = 0, c.test = 0; });
    add("64 inputs: the bits of a word", [](PackedCase& c) { c.inputs = 64; });
    add("one table, one feature",
        [](PackedCase& c) { c.table_rows = {3}, c.feature_table = {0}, c.dense_features = 1; });
    add("more slots than 16 bits count", [](PackedCase& c) {
        c.table_rows = {1, 150'000}, c.feature_table = {1, 0};
    });
    return cases;
}

/// One input in plain words.
struct PlainInput {
    std::uint8_t label = 0;
    std::vector<float> dense;
    std::vector<std::vector<std::uint32_t>> bags;  ///< row ids
    friend bool operator==(const PlainInput&, const PlainInput&) = default;
};

[[nodiscard]] inline PlainInput plain_input(const fae::Dataset& data, std::size_t i) {
    PlainInput input;
    input.label = data.labels[i];
    const std::size_t width = data.shape.dense_features;
    for (std::size_t d = 0; d < width; ++d) input.dense.push_back(data.dense[i * width + d]);
    const std::size_t features = data.shape.features();
    for (std::size_t b = i * features; b < (i + 1) * features; ++b) {
        input.bags.emplace_back();
        const std::size_t begin = data.offsets.empty() ? b : static_cast<std::size_t>(data.offsets[b]);
        const std::size_t end = data.offsets.empty() ? b + 1 : static_cast<std::size_t>(data.offsets[b + 1]);
        for (std::size_t k = begin; k < end; ++k) input.bags.back().push_back(data.values[k]);
    }
    return input;
}

/// Input i of a part, its slots turned into rows by the plain list of hot rows.
[[nodiscard]] inline PlainInput plain_input(const fae::InputColumns& part, std::size_t i,
                                            const std::vector<std::uint32_t>& hot_rows) {
    PlainInput input;
    input.label = part.labels[i];
    for (std::size_t d = 0; d < part.dense.columns(); ++d) input.dense.push_back(part.dense(i, d));
    const std::size_t features = part.bags.features();
    for (std::size_t b = i * features; b < (i + 1) * features; ++b) {
        input.bags.emplace_back();
        for (std::size_t k = part.bags.begin(b); k < part.bags.end(b); ++k) {
            const std::uint32_t value = part.bags.values()[k];
            input.bags.back().push_back(part.heat == fae::Heat::hot ? hot_rows.at(value) : value);
        }
    }
    return input;
}

/// What differs between a packed data set and what it was made of; empty if nothing does. The inputs are
/// put back into their original order, one by one, by plain loops.
[[nodiscard]] inline std::string difference(const fae::PackedDataset& packed, const PackedInputs& from) {
    if (packed.shape().table_rows != from.train.shape.table_rows) return "table rows";
    if (packed.shape().table_names != from.train.shape.table_names) return "table names";
    if (packed.shape().feature_table != from.train.shape.feature_table) return "feature table";
    if (packed.shape().dense_features != from.train.shape.dense_features) return "dense features";
    if (!(packed.provenance() == from.provenance)) return "provenance";
    if (packed.hot_set().size() != from.hot_rows.size()) return "number of hot rows";
    std::uint64_t rows = 0;
    for (const std::uint64_t table : from.train.shape.table_rows) rows += table;
    if (packed.hot_set().rows() != rows) return "rows of the hot set";
    for (std::size_t slot = 0; slot < from.hot_rows.size(); ++slot) {
        if (packed.hot_set().row_of(slot) != from.hot_rows[slot]) return "row of a slot";
        if (packed.hot_set().find(from.hot_rows[slot]) != slot) return "slot of a row";
    }
    if (!std::equal(packed.hot_counts().begin(), packed.hot_counts().end(), from.hot_counts.begin(),
                    from.hot_counts.end()))
        return "hot counts";

    std::vector<bool> row_is_hot(static_cast<std::size_t>(rows), false);
    for (const std::uint32_t row : from.hot_rows) row_is_hot[row] = true;
    std::uint64_t hot_lookups = 0;
    for (const std::uint32_t row : from.train.values) hot_lookups += row_is_hot[row] ? 1u : 0u;
    if (packed.hot_lookups() != hot_lookups) return "look-ups of hot rows";
    if (packed.lookups() != from.train.values.size()) return "look-ups";
    if (packed.inputs() != from.train.inputs()) return "number of inputs";
    if (packed.hot_inputs().size() != from.train.inputs()) return "size of the classes";
    if (packed.hot().heat != fae::Heat::hot || packed.cold().heat != fae::Heat::cold) return "heat";
    if (packed.validation().heat != fae::Heat::mixed || packed.test().heat != fae::Heat::mixed)
        return "heat of what is held back";
    std::size_t hot = 0;
    std::size_t cold = 0;
    for (std::size_t i = 0; i < from.train.inputs(); ++i) {
        const PlainInput expected = plain_input(from.train, i);
        bool all_hot = true;
        for (const auto& bag : expected.bags) {
            for (const std::uint32_t row : bag) all_hot = all_hot && row_is_hot[row];
        }
        const std::string number = " of input " + std::to_string(i);
        if (packed.hot_inputs().contains(i) != all_hot) return "class" + number;
        const std::size_t place = all_hot ? hot++ : cold++;
        if (packed.hot_inputs().rank(i) != (all_hot ? place : hot)) return "rank" + number;
        const fae::InputColumns& part = all_hot ? packed.hot() : packed.cold();
        if (place >= part.inputs()) return "place" + number;
        if (!(plain_input(part, place, from.hot_rows) == expected)) return "content" + number;
    }
    if (packed.hot().inputs() != hot || packed.cold().inputs() != cold) return "inputs of a class";
    const std::pair<const fae::InputColumns*, const fae::Dataset*> held[] = {
        {&packed.validation(), &from.validation}, {&packed.test(), &from.test}};
    for (const auto& [part, data] : held) {
        if (part->inputs() != data->inputs()) return "inputs held back";
        if (part->lookups() != data->values.size()) return "look-ups held back";
        for (std::size_t i = 0; i < data->inputs(); ++i) {
            if (!(plain_input(*part, i, from.hot_rows) == plain_input(*data, i)))
                return "held-back input " + std::to_string(i);
        }
    }
    return {};
}

}  // namespace fae_test
