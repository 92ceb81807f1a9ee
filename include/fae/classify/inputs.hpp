// SPDX-License-Identifier: Apache-2.0
//
// classify: splits inputs into hot ones, all of whose look-ups are in a hot set, and cold ones. Hot inputs
// get the slots of their rows, cold inputs keep their row ids; order is kept within each, nothing is lost.
//
//   Classification split = classify(par(threads), hot, space, data.bags());
//   split.hot_bags()                      // slots
//   split.cold_bags()                     // row ids
//   split.hot_inputs.contains(i)          // input i is hot, and number rank(i) among the hot
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/classify/hot_test.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"
#include "fae/profile/select_inputs.hpp"

namespace fae::inline FAE_ABI {

/// The inputs of one row space, split.
/// @shape hot_inputs [inputs]; hot_slots, cold_rows [look-ups of the class]; offsets [inputs of the class *
///        features + 1], or empty where bags are fixed; weights like the indices, or empty
template <IndexType Index = std::uint32_t>
struct ClassifiedInputs {
    RankBitmap hot_inputs;  ///< input i is number rank(i) of the hot, or number i - rank(i) of the cold
    std::size_t features = 1;
    std::size_t bag_size = 1;  ///< 0: jagged
    Buffer<Index, PageSpace> hot_slots;
    Buffer<Index, PageSpace> cold_rows;
    Buffer<std::uint64_t, PageSpace> hot_offsets;
    Buffer<std::uint64_t, PageSpace> cold_offsets;
    Buffer<float, PageSpace> hot_weights;
    Buffer<float, PageSpace> cold_weights;

    [[nodiscard]] std::uint64_t inputs() const { return hot_inputs.size(); }
    [[nodiscard]] std::uint64_t hot_count() const { return hot_inputs.ones(); }
    [[nodiscard]] std::uint64_t cold_count() const { return hot_inputs.size() - hot_inputs.ones(); }

    [[nodiscard]] Bags<Index> hot_bags() const { return bags(hot_slots, hot_offsets, hot_weights); }
    [[nodiscard]] Bags<Index> cold_bags() const { return bags(cold_rows, cold_offsets, cold_weights); }

  private:
    [[nodiscard]] Bags<Index> bags(const Buffer<Index, PageSpace>& values,
                                   const Buffer<std::uint64_t, PageSpace>& offsets,
                                   const Buffer<float, PageSpace>& weights) const {
        return bag_size != 0 ? Bags<Index>::fixed(values.span(), bag_size, features, weights.span())
                             : Bags<Index>::jagged(values.span(), offsets.span(), features, weights.span());
    }
};

/// A classification of inputs with 32-bit row ids.
using Classification = ClassifiedInputs<std::uint32_t>;

namespace detail {

/// Turns the row ids of a hot input into slots.
template <IndexType Index>
class ToSlots {
  public:
    explicit ToSlots(const HotQuery<Index>& query)
        : bags_(query.bags), members_(query.hot->ref().bitmap()), shift_(query.bags.features(), 0) {
        const std::vector<WholeFeature> whole = whole_features(query);
        for (std::size_t f = 0; f < whole.size(); ++f) {
            if (whole[f].whole) {
                shift_[f] = static_cast<Index>(whole[f].shift);
            } else {
                ranked_.push_back(f);
            }
        }
    }

    void operator()(const Index* from, Index* to, std::size_t n, std::size_t input) const {
        const std::size_t features = shift_.size();
        if (bags_.bag_size() == 1) {
            const Index* __restrict const shift = shift_.data();
            const Index* __restrict const row = from;
            Index* __restrict const slot = to;
            for (std::size_t f = 0; f < n; ++f) slot[f] = static_cast<Index>(row[f] + shift[f]);
            for (const std::size_t f : ranked_) to[f] = static_cast<Index>(members_.rank(from[f]));
            return;
        }
        const std::size_t bag = input * features;
        const std::size_t first = bags_.begin(bag);
        for (std::size_t f = 0; f < features; ++f) {
            for (std::size_t i = bags_.begin(bag + f) - first; i < bags_.end(bag + f) - first; ++i) {
                to[i] = static_cast<Index>(from[i] + shift_[f]);
            }
        }
        for (const std::size_t f : ranked_) {
            for (std::size_t i = bags_.begin(bag + f) - first; i < bags_.end(bag + f) - first; ++i) {
                to[i] = static_cast<Index>(members_.rank(from[i]));
            }
        }
    }

    void prefetch(const Bags<Index>& bags, std::size_t input) const {
        if (bags.bag_size() != 1) return;
        const Index* const row = bags.values().data() + input * shift_.size();
        for (const std::size_t f : ranked_) fae::prefetch(members_.address(row[f]));
    }

  private:
    Bags<Index> bags_;
    RankBitmap::Ref members_;
    std::vector<Index> shift_;         // of features whose table is hot in full; 0 for the others
    std::vector<std::size_t> ranked_;  // the others
};

}  // namespace detail

/// The original numbers of the hot inputs, or of all others, ascending.
/// @exec   seq, par: equal results
/// @cost   reads the set once; writes 8 bytes a number
template <Executor E>
[[nodiscard]] std::vector<std::uint64_t> input_numbers(const E& exec, const RankBitmap& hot_inputs,
                                                       bool hot) {
    std::vector<std::uint64_t> numbers(
        static_cast<std::size_t>(hot ? hot_inputs.ones() : hot_inputs.size() - hot_inputs.ones()));
    const auto put = [&](std::uint64_t input, std::uint64_t rank) {
        numbers[static_cast<std::size_t>(rank)] = input;
    };
    if (hot_inputs.size() == 0) return numbers;
    if (hot) {
        hot_inputs.for_each(exec, put);
    } else {
        hot_inputs.for_each_missing(exec, put);
    }
    return numbers;
}

/// Splits the inputs of a query by a set of hot inputs that find_hot_inputs found.
/// @pre    every input in `hot_inputs` has hot look-ups only
/// @exec   seq, par: equal results
/// @cost   reads and writes each look-up once; ranks those of hot inputs
/// @throws ContractError if the set is not of these inputs, or slots do not fit Index
template <Executor E, IndexType Index>
[[nodiscard]] ClassifiedInputs<Index> split_inputs(const E& exec, RankBitmap hot_inputs,
                                                   const HotQuery<Index>& query) {
    require(hot_inputs.size() == query.bags.samples(), [&] {
        return concat("the hot inputs are of ", hot_inputs.size(), " inputs, expected ",
                      query.bags.samples());
    });
    require(query.hot->size() <= max_rows<Index>, [&] {
        return concat("the hot set has ", query.hot->size(), " slots, expected at most ", max_rows<Index>,
                      " for ", sizeof(Index) * 8, "-bit indices");
    });
    ClassifiedInputs<Index> split;
    split.features = query.bags.features();
    split.bag_size = query.bags.bag_size();
    {
        SelectedInputs<Index> selected =
            select_inputs(exec, hot_inputs, true, query.bags, 0, detail::ToSlots<Index>(query));
        split.hot_slots = std::move(selected.values);
        split.hot_offsets = std::move(selected.offsets);
        split.hot_weights = std::move(selected.weights);
    }
    SelectedInputs<Index> selected =
        select_inputs(exec, hot_inputs, false, query.bags, 0, detail::CopyValues());
    split.cold_rows = std::move(selected.values);
    split.cold_offsets = std::move(selected.offsets);
    split.cold_weights = std::move(selected.weights);
    split.hot_inputs = std::move(hot_inputs);
    return split;
}

/// Classifies the inputs of one row space. An input is hot if all its look-ups are; one without any is hot.
/// @pre    every value is a row of the hot set's row space (FAE_CHECKED)
/// @exec   seq, par: equal results
/// @cost   asks about each input until one look-up is cold; then split_inputs
/// @throws ContractError, IndexError as find_hot_inputs and split_inputs
/// @source Adnan et al., PVLDB 15(1), 2021: hot and cold inputs
template <Executor E, IndexType Index>
[[nodiscard]] ClassifiedInputs<Index> classify(const E& exec, const HotSet& hot, const Bags<Index>& bags) {
    const HotQuery<Index> query{&hot, bags, nullptr};
    return split_inputs(exec, find_hot_inputs(exec, Span<const HotQuery<Index>>(&query, 1)), query);
}

/// The same, knowing the tables: those that are hot in full cost one addition a look-up. Exec and
/// errors as above.
/// @pre    every value is a row of the table of its feature (FAE_CHECKED)
template <Executor E, IndexType Index>
[[nodiscard]] ClassifiedInputs<Index> classify(const E& exec, const HotSet& hot, const RowSpace& space,
                                               const Bags<Index>& bags) {
    const HotQuery<Index> query{&hot, bags, &space};
    return split_inputs(exec, find_hot_inputs(exec, Span<const HotQuery<Index>>(&query, 1)), query);
}

}  // namespace fae::inline FAE_ABI
