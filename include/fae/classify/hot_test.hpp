// SPDX-License-Identifier: Apache-2.0
//
// Whether all look-ups of an input are hot: the test that classify (inputs.hpp) and input_share
// (input_share.hpp) are made of. It asks the feature that is most often cold first, and asks nothing of a
// feature whose table is hot in full.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/types.hpp"
#include "fae/profile/counter.hpp"

namespace fae::inline FAE_ABI {

/// The look-ups of some inputs in one row space, and the hot set that they are asked against.
template <IndexType Index = std::uint32_t>
struct HotQuery {
    const HotSet* hot = nullptr;
    Bags<Index> bags;
    /// The tables behind the features, where known: a table hot in full is then not asked about.
    const RowSpace* space = nullptr;
};

namespace detail {

/// A feature whose table is hot in full has its slots at row + shift (modulo 2^64).
struct WholeFeature {
    bool whole = false;
    std::uint64_t shift = 0;
};

/// Which features of a query look up tables that are hot in full.
template <IndexType Index>
[[nodiscard]] std::vector<WholeFeature> whole_features(const HotQuery<Index>& query) {
    const HotSet::Ref hot = query.hot->ref();
    std::vector<WholeFeature> features(query.bags.features());
    if (hot.trivial()) {
        features.assign(features.size(), WholeFeature{hot.size() != 0, 0});
    } else if (query.space != nullptr) {
        for (std::size_t f = 0; f < features.size(); ++f) {
            const std::size_t table = query.space->feature_table()[f];
            const RowId first = query.space->offset(table);
            features[f] = {hot.covers(first, query.space->offset(table + 1)), hot.rank(first) - first};
        }
    }
    return features;
}

/// Throws where a query does not fit together, or (FAE_CHECKED) an index is outside.
template <Executor E, IndexType Index>
void check_query(const E& exec, const HotQuery<Index>& query) {
    if (query.space != nullptr) {
        require(query.hot->rows() == query.space->rows(), [&] {
            return concat("the hot set covers ", query.hot->rows(), " rows, expected ", query.space->rows());
        });
        require(query.bags.features() == query.space->features() || query.bags.size() == 0, [&] {
            return concat("the batch has ", query.bags.features(), " features, expected ",
                          query.space->features());
        });
    }
    if constexpr (checked) {
        if (query.space != nullptr && query.bags.size() != 0) check_rows(exec, *query.space, query.bags);
        for (std::size_t i = 0; i < query.bags.lookups(); ++i) {
            if (query.bags.values()[i] < query.hot->rows()) continue;
            throw IndexError(concat("values[", i, "] is ", query.bags.values()[i], ", expected less than ",
                                    query.hot->rows()));
        }
    }
}

/// Tests the inputs of one query.
template <IndexType Index>
class HotTest {
  public:
    HotTest(const HotQuery<Index>& query, const std::vector<WholeFeature>& whole)
        : bags_(query.bags), hot_(query.hot->ref()) {
        for (std::size_t f = 0; f < whole.size(); ++f) {
            if (!whole[f].whole) asked_.push_back(f);
        }
        // The features that are most often cold among inputs spread over the batch come first.
        constexpr std::size_t most_tried = 1024;
        const std::size_t step = bags_.samples() / most_tried + 1;
        std::vector<std::size_t> misses(whole.size(), 0);
        for (std::size_t input = 0; input < bags_.samples(); input += step) {
            for (const std::size_t f : asked_) misses[f] += bag_is_hot(input * whole.size() + f) ? 0u : 1u;
        }
        std::stable_sort(asked_.begin(), asked_.end(),
                         [&](std::size_t a, std::size_t b) { return misses[a] > misses[b]; });
    }

    /// True if every look-up of the input is hot; so is an input without any.
    [[nodiscard]] bool operator()(std::size_t input) const {
        const std::size_t bag = input * bags_.features();
        for (const std::size_t f : asked_) {
            if (!bag_is_hot(bag + f)) return false;
        }
        return true;
    }

    /// The inputs [first, first + count) at once, count <= 64: bit i for input first + i.
    [[nodiscard]] std::uint64_t word(std::size_t first, std::size_t count) const {
        std::uint64_t bits = 0;
        if (bags_.bag_size() != 1 || hot_.trivial()) {
            for (std::size_t i = 0; i < count; ++i) {
                bits |= static_cast<std::uint64_t>((*this)(first + i) ? 1 : 0) << i;
            }
            return bits;
        }
        // One look-up a bag: the two most selective features without a branch, the others while hot.
        const RankBitmap::Ref members = hot_.bitmap();
        const std::size_t features = bags_.features();
        const Index* row = bags_.values().data() + first * features;
        const std::size_t* const asked = asked_.data();
        const std::size_t asked_count = asked_.size();
        const std::size_t at_once = std::min<std::size_t>(asked_count, 2);
        const std::size_t fetched = std::min<std::size_t>(asked_count, 4);
        for (std::size_t i = 0; i < count; ++i, row += features) {
            if (i + ahead < count) {
                for (std::size_t k = 0; k < fetched; ++k) {
                    prefetch(members.address(row[ahead * features + asked[k]]));
                }
            }
            bool is_hot = true;
            for (std::size_t k = 0; k < at_once; ++k) is_hot &= members.contains(row[asked[k]]);
            for (std::size_t k = at_once; is_hot && k < asked_count; ++k) {
                is_hot = members.contains(row[asked[k]]);
            }
            bits |= static_cast<std::uint64_t>(is_hot ? 1 : 0) << i;
        }
        return bits;
    }

  private:
    static constexpr std::size_t ahead = 8;  // inputs between the fetch of a bit and its use

    [[nodiscard]] bool bag_is_hot(std::size_t bag) const {
        const std::size_t end = bags_.end(bag);
        for (std::size_t i = bags_.begin(bag); i < end; ++i) {
            if (!hot_.contains(bags_.values()[i])) return false;
        }
        return true;
    }

    Bags<Index> bags_;
    HotSet::Ref hot_;
    std::vector<std::size_t> asked_;
};

/// The checked tests of several queries over the same inputs.
template <Executor E, IndexType Index>
[[nodiscard]] std::vector<HotTest<Index>> hot_tests(const E& exec, Span<const HotQuery<Index>> queries) {
    require(!queries.empty(), [] { return std::string("0 queries, expected at least 1"); });
    std::vector<HotTest<Index>> tests;
    for (const HotQuery<Index>& query : queries) {
        require(query.bags.samples() == queries[0].bags.samples(), [&] {
            return concat("a query has ", query.bags.samples(), " inputs, expected ",
                          queries[0].bags.samples());
        });
        check_query(exec, query);
        tests.emplace_back(query, whole_features(query));
    }
    return tests;
}

/// The inputs [first, first + count) that pass all tests, count <= 64: bit i for input first + i.
template <IndexType Index>
[[nodiscard]] std::uint64_t hot_word(const std::vector<HotTest<Index>>& tests, std::size_t first,
                                     std::size_t count) {
    std::uint64_t bits = ~std::uint64_t{0};
    for (const HotTest<Index>& test : tests) {
        if (bits != 0) bits &= test.word(first, count);
    }
    return bits;
}

}  // namespace detail

/// The inputs all of whose look-ups are hot, in every row space that they look up: several dims side by side.
/// @param queries  one per row space, over the same inputs
/// @exec   seq, par: equal results
/// @cost   reads each input's look-ups until one is cold, a bit of the hot set for each; writes 1.15 bits
///         an input
/// @throws ContractError where queries have different inputs or do not fit their row spaces; IndexError
///         (FAE_CHECKED)
template <Executor E, IndexType Index>
[[nodiscard]] RankBitmap find_hot_inputs(const E& exec, Span<const HotQuery<Index>> queries) {
    const std::vector<detail::HotTest<Index>> tests = detail::hot_tests(exec, queries);
    const std::size_t inputs = queries[0].bags.samples();
    return RankBitmap::from_word_function(exec, inputs, [&](std::uint64_t w) {
        const std::size_t first = static_cast<std::size_t>(w) * 64;
        return detail::hot_word(tests, first, std::min<std::size_t>(64, inputs - first));
    });
}

}  // namespace fae::inline FAE_ABI
