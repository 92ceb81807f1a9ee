// SPDX-License-Identifier: Apache-2.0
//
// SyntheticSource: inputs of any number, each a pure function of (spec, seed, input number). Equal for every
// executor and every cut, so millions of inputs can be counted without being stored.
//
//   SyntheticSource source(synthetic_kaggle(), seed);
//   Dataset data = source.generate(par(threads), 0, 1'000'000);
//   source.for_blocks(par(threads), 39'291'958, 1 << 18, [&](const Dataset& block) { count(block.bags()); });
//   HeldOut split(n, 0.1, seed);                             // synthetic_order.hpp
//   Dataset validation = source.generate(par(threads), split.held());
//
// A draw: Philox block (input, feature) -> a uniform, coupled to the input's hidden level -> a popularity
// rank -> a row of the table. The true model of the labels weighs rows and some dense features.
//
// In time order 15 % of the second half's accesses of 20,000 kaggle inputs go to rows that the first half
// never touched (13 % on the real ones), with no drift at all: the tail alone does it. So drift is 0 by
// default.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/synthetic_coupling.hpp"
#include "fae/io/synthetic_labels.hpp"
#include "fae/io/synthetic_law.hpp"
#include "fae/io/synthetic_spec.hpp"
#include "fae/io/synthetic_table.hpp"

namespace fae::inline FAE_ABI {

namespace detail {
/// A number for a spec: equal specs, equal numbers.
[[nodiscard]] inline std::uint64_t spec_fingerprint(const SyntheticSpec& spec) {
    std::uint64_t state = 0;
    const auto add = [&](std::uint64_t bits) { state = mix64(state ^ mix64(bits)); };
    const auto real = [&](double x) { add(std::bit_cast<std::uint64_t>(x)); };
    const auto text = [&](const std::string& s) {
        add(s.size());
        for (const char c : s) add(static_cast<unsigned char>(c));
    };
    text(spec.name);
    add(spec.tables.size());
    for (const SyntheticTable& table : spec.tables) {
        add(table.rows);
        text(table.name);
        add(table.zipf.has_value() ? 1 : 0);
        real(table.zipf.value_or(0.0));
        add(table.points.size());
        for (const LawPoint& point : table.points) {
            real(point.rows);
            real(point.accesses);
        }
    }
    add(spec.features.size());
    for (const SyntheticFeature& feature : spec.features) {
        add(feature.table);
        real(feature.coupling);
    }
    add(spec.dense.size());
    for (const SyntheticDense& dense : spec.dense) {
        real(dense.zero_share);
        real(dense.spread);
        real(dense.weight);
    }
    for (const double x : {spec.drift, spec.positive_rate, spec.logit_spread}) real(x);
    add(spec.scatter_rows ? 1 : 0);
    return state;
}
}  // namespace detail

/// The inputs of a spec under a seed. Immutable once made; any thread may ask.
class SyntheticSource {
  public:
    /// @throws ContractError for a spec without features, a feature of no table, more than 2^31 rows
    ///         together, a drift that is not 0 to 1e6, and whatever PopularityLaw, Coupling, DenseColumn and
    ///         PlantedModel refuse
    /// @cost   about 0.1 s: permutes the popular ranks, and draws 4,096 inputs (none that a data set holds)
    ///         to set bias and scale of the labels' model for the popularity at input 0
    SyntheticSource(SyntheticSpec spec, std::uint64_t seed)
        : spec_(std::move(spec)), seed_(seed), key_(mix64(mix64(seed) ^ 0x73796E7468ull)) {
        require(!spec_.features.empty(), [] { return std::string("0 features, expected at least 1"); });
        require(spec_.features.size() < dense_place, [&] {
            return concat("the spec has ", spec_.features.size(), " features, expected less than ",
                          dense_place);
        });
        require(std::isfinite(spec_.drift) && spec_.drift >= 0 && spec_.drift < 1e6,
                [&] { return concat("the drift is ", spec_.drift, ", expected 0 to less than 1e6"); });
        std::uint64_t offset = 0;
        for (std::size_t t = 0; t < spec_.tables.size(); ++t) {
            const SyntheticTable& table = spec_.tables[t];
            require(table.rows >= 1 && table.rows <= max_rows<std::uint32_t> - offset, [&] {
                return concat("table ", t, " has ", table.rows, " rows after ", offset,
                              " of other tables, expected 1 to ", max_rows<std::uint32_t>, " together");
            });
            tables_.emplace_back(spec_, t, offset, seed);
            shape_.table_rows.push_back(table.rows);
            shape_.table_names.push_back(table.name);
            offset += table.rows;
        }
        for (std::size_t f = 0; f < spec_.features.size(); ++f) {
            const SyntheticFeature& feature = spec_.features[f];
            require(feature.table < tables_.size(), [&] {
                return concat("feature ", f, " uses table ", feature.table, ", expected less than ",
                              tables_.size());
            });
            shape_.feature_table.push_back(feature.table);
            coupling_of_.push_back(coupling(feature.coupling));
        }
        for (const SyntheticDense& dense : spec_.dense) dense_.emplace_back(dense);
        shape_.dense_features = dense_.size();
        constexpr std::size_t sample = 4096;
        std::vector<std::int64_t> sums(sample);
        Draft draft(*this);
        for (std::size_t i = 0; i < sample; ++i) {
            draw(std::numeric_limits<std::uint64_t>::max() - i, 0, draft);
            sums[i] = draft.sum;
        }
        model_ = PlantedModel::fit(sums, spec_.positive_rate, spec_.logit_spread);
    }

    [[nodiscard]] const SyntheticSpec& spec() const { return spec_; }
    [[nodiscard]] std::uint64_t seed() const { return seed_; }
    [[nodiscard]] const DatasetShape& shape() const { return shape_; }
    [[nodiscard]] const PlantedModel& model() const { return model_; }
    /// The law over the popularity ranks of a table.
    [[nodiscard]] const PopularityLaw& law(std::size_t table) const { return tables_[table].law(); }
    /// The row id, over all tables, that popularity rank `rank` of a table has at the time of an input.
    [[nodiscard]] std::uint32_t row_of(std::size_t table, std::uint64_t rank, std::uint64_t input) const {
        return static_cast<std::uint32_t>(tables_[table].offset() + tables_[table].row(rank, input));
    }
    /// The popularity rank that an input draws for a feature.
    [[nodiscard]] std::uint64_t rank_of(std::uint64_t input, std::size_t feature) const {
        return draw_rank(input, feature, level_of(block(input, input_place, 0)));
    }

    /// Names spec, seed and the inputs [first, first + count).
    [[nodiscard]] std::uint64_t fingerprint(std::uint64_t first, std::uint64_t count) const {
        return mix64(mix64(mix64(detail::spec_fingerprint(spec_) ^ seed_) + first) + count);
    }

    /// Inputs [first, first + count), in order. Into `probabilities`, if given: P(label = 1) of each.
    /// @exec seq, par: returns when done; equal for every executor
    /// @cost memory: count * (1 + 4 * dense + 4 * features) bytes
    template <Executor E>
    [[nodiscard]] Dataset generate(const E& exec, std::uint64_t first, std::size_t count,
                                   std::vector<double>* probabilities = nullptr) const {
        Dataset data;
        generate_into(exec, first, count, data, probabilities);
        return data;
    }

    /// As generate(), into a data set whose memory is used again.
    template <Executor E>
    void generate_into(const E& exec, std::uint64_t first, std::size_t count, Dataset& data,
                       std::vector<double>* probabilities = nullptr) const {
        make(exec, count, data, probabilities, [&](std::size_t i) { return first + i; });
        data.fingerprint = fingerprint(first, count);
    }

    /// The inputs of these numbers, in this order.
    template <Executor E>
    [[nodiscard]] Dataset generate(const E& exec, Span<const std::uint64_t> inputs,
                                   std::vector<double>* probabilities = nullptr) const {
        Dataset data;
        make(exec, inputs.size(), data, probabilities, [&](std::size_t i) { return inputs[i]; });
        std::uint64_t numbers = 0;
        bool consecutive = true;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            numbers += mix64(inputs[i] ^ mix64(i));
            consecutive = consecutive && inputs[i] == inputs[0] + i;
        }
        data.fingerprint = consecutive ? fingerprint(inputs.empty() ? 0 : inputs[0], inputs.size())
                                       : mix64(fingerprint(0, inputs.size()) ^ numbers);
        return data;
    }

    /// Calls f(const Dataset&) for inputs [0, count) in blocks of `block` (the last one shorter), in order,
    /// on the calling thread. Memory is one block's, whatever the count.
    template <Executor E, class F>
    void for_blocks(const E& exec, std::uint64_t count, std::size_t block, F&& f) const {
        require(block >= 1, [] { return std::string("blocks of 0 inputs, expected at least 1"); });
        Dataset data;
        for (std::uint64_t first = 0; first < count; first += block) {
            generate_into(exec, first,
                          static_cast<std::size_t>(std::min<std::uint64_t>(block, count - first)), data);
            f(std::as_const(data));
        }
    }

  private:
    // Places of Philox blocks within one input: features from 0, dense features, the input itself.
    static constexpr std::uint32_t dense_place = 0x4000'0000u;
    static constexpr std::uint32_t input_place = 0x8000'0000u;
    static constexpr std::size_t grain = 2048;

    struct Draft {
        explicit Draft(const SyntheticSource& source)
            : dense(source.dense_.size()), rows(source.spec_.features.size()) {}
        std::vector<float> dense;
        std::vector<std::uint32_t> rows;
        std::int64_t sum = 0;
        std::uint64_t label_bits = 0;
    };

    std::uint32_t coupling(double correlation) {
        for (std::size_t c = 0; c < couplings_.size(); ++c) {
            if (couplings_[c].correlation() == correlation) return static_cast<std::uint32_t>(c);
        }
        couplings_.emplace_back(correlation);
        return static_cast<std::uint32_t>(couplings_.size() - 1);
    }

    [[nodiscard]] Block4 block(std::uint64_t input, std::uint32_t place, std::uint32_t attempt) const {
        return philox(key_, {{static_cast<std::uint32_t>(input), static_cast<std::uint32_t>(input >> 32),
                              place, attempt}});
    }
    [[nodiscard]] static std::size_t level_of(const Block4& bits) {
        return bits.word[0] >> (32 - Coupling::level_bits);
    }
    [[nodiscard]] static std::uint64_t high_half(const Block4& bits) {
        return bits.word[2] | (std::uint64_t{bits.word[3]} << 32);
    }

    [[nodiscard]] std::uint64_t draw_rank(std::uint64_t input, std::size_t feature, std::size_t level) const {
        const auto place = static_cast<std::uint32_t>(feature);
        std::uint32_t attempt = 0;
        return tables_[shape_.feature_table[feature]].law().rank(
            couplings_[coupling_of_[feature]].uniform(level, block(input, place, 0)),
            [&] { return high_half(block(input, place, ++attempt)); });
    }

    // One function for all executors, so that all run the same code. Drift is that at the time of input
    // `time`.
    void draw(std::uint64_t input, std::uint64_t time, Draft& draft) const {
        const Block4 own = block(input, input_place, 0);
        const std::size_t level = level_of(own);
        draft.label_bits = high_half(own);
        draft.sum = 0;
        for (std::size_t f = 0; f < draft.rows.size(); ++f) {
            const SyntheticRows& table = tables_[shape_.feature_table[f]];
            const std::uint64_t row = table.row(draw_rank(input, f, level), time);
            draft.sum += planted_weight(table.label_key(), row);
            draft.rows[f] = static_cast<std::uint32_t>(table.offset() + row);
        }
        Block4 bits{};
        for (std::size_t d = 0; d < draft.dense.size(); ++d) {
            if (d % 4 == 0) bits = block(input, dense_place + static_cast<std::uint32_t>(d / 4), 0);
            const DenseColumn::Entry& entry = dense_[d].at(bits.word[d % 4]);
            draft.dense[d] = entry.value;
            draft.sum += entry.planted;
        }
    }

    template <Executor E, class NumberOf>
    void make(const E& exec, std::size_t count, Dataset& data, std::vector<double>* probabilities,
              NumberOf number_of) const {
        const std::size_t features = spec_.features.size();
        const std::size_t dense = dense_.size();
        data.shape = shape_;
        data.labels.resize(count);
        data.dense.resize(count * dense);
        data.values.resize(count * features);
        data.offsets.clear();
        if (probabilities != nullptr) probabilities->resize(count);
        for_chunks(exec, count, grain, [&](std::size_t begin, std::size_t end) {
            Draft draft(*this);
            for (std::size_t i = begin; i < end; ++i) {
                const std::uint64_t number = number_of(i);
                draw(number, number, draft);
                const double probability = model_.probability(draft.sum);
                data.labels[i] = to_unit(draft.label_bits) < probability ? 1 : 0;
                std::copy(draft.dense.begin(), draft.dense.end(), data.dense.data() + i * dense);
                std::copy(draft.rows.begin(), draft.rows.end(), data.values.data() + i * features);
                if (probabilities != nullptr) (*probabilities)[i] = probability;
            }
        });
    }

    SyntheticSpec spec_;
    std::uint64_t seed_;
    std::uint64_t key_;
    DatasetShape shape_;
    std::vector<SyntheticRows> tables_;
    std::vector<Coupling> couplings_;
    std::vector<std::uint32_t> coupling_of_;  // of each feature
    std::vector<DenseColumn> dense_;
    PlantedModel model_;
};

}  // namespace fae::inline FAE_ABI
