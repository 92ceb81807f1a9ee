// SPDX-License-Identifier: Apache-2.0
//
// select_inputs: some inputs of a batch, copied in their order; on the way each value may be mapped to
// another. The sampled profile and the classifier are made of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI {

/// Inputs that own their look-ups.
/// @shape values [lookups]; offsets [inputs * features + 1], or empty where all bags have bag_size values;
///        weights [lookups], or empty
template <IndexType Index = std::uint32_t>
struct SelectedInputs {
    std::uint64_t inputs = 0;
    std::size_t features = 1;
    std::size_t bag_size = 0;  ///< 0: jagged
    Buffer<Index, PageSpace> values;
    Buffer<std::uint64_t, PageSpace> offsets;
    Buffer<float, PageSpace> weights;

    [[nodiscard]] std::size_t lookups() const { return values.size(); }

    [[nodiscard]] Bags<Index> bags() const {
        return bag_size != 0 ? Bags<Index>::fixed(values.span(), bag_size, features, weights.span())
                             : Bags<Index>::jagged(values.span(), offsets.span(), features, weights.span());
    }
};

namespace detail {

/// The map that changes nothing.
struct CopyValues {
    template <class Index>
    void operator()(const Index* from, Index* to, std::size_t n, std::size_t) const {
        std::copy_n(from, n, to);
    }
    template <class Index>
    void prefetch(const Bags<Index>&, std::size_t) const {}
};

/// Calls visit(position) for the positions in [begin, end) that are in the set (wanted) or not (!wanted).
/// @pre begin is a multiple of 64
template <class Visit>
void visit_positions(RankBitmap::Ref set, bool wanted, std::uint64_t begin, std::uint64_t end,
                     Visit&& visit) {
    for (std::uint64_t first = begin; first < end; first += 64) {
        std::uint64_t bits = wanted ? set.word(first / 64) : ~set.word(first / 64);
        if (end - first < 64) bits &= (std::uint64_t{1} << (end - first)) - 1;
        for (; bits != 0; bits &= bits - 1) visit(first + popcount64((bits & (0 - bits)) - 1));
    }
}

}  // namespace detail

/// The inputs first_input + p of `bags` for every position p that is in `set` (wanted) or not (!wanted), in
/// order, values mapped: map(from, to, n, input) writes the n values of one input;
/// map.prefetch(bags, input) may fetch what an input a little later will need.
/// @exec   seq, par: equal results
/// @cost   reads and writes each selected look-up once; a pass over the offsets where jagged
/// @throws ContractError if the set reaches beyond the inputs
template <Executor E, IndexType Index, class MapInput>
[[nodiscard]] SelectedInputs<Index> select_inputs(const E& exec, const RankBitmap& set, bool wanted,
                                                  const Bags<Index>& bags, std::size_t first_input,
                                                  MapInput&& map) {
    require(first_input <= bags.samples() && set.size() <= bags.samples() - first_input, [&] {
        return concat("the set has ", set.size(), " positions from input ", first_input,
                      " on, expected at most ", bags.samples(), " inputs in all");
    });
    constexpr std::size_t grain = 4096;
    constexpr std::size_t ahead = 4;
    const std::size_t features = bags.features();
    const auto positions = static_cast<std::size_t>(set.size());
    const RankBitmap::Ref members = set.ref();
    const auto selected_before = [&](std::size_t position) {
        if (positions == 0) return std::uint64_t{0};
        const std::uint64_t inside = members.rank(position);
        return wanted ? inside : position - inside;
    };
    SelectedInputs<Index> selected;
    selected.inputs = selected_before(positions);
    selected.features = features;
    selected.bag_size = bags.bag_size();

    // Where each chunk's look-ups begin.
    std::vector<std::uint64_t> start(ceil_div(positions, grain) + 1, 0);
    for_chunks(exec, positions, grain, [&](std::size_t begin, std::size_t end) {
        std::uint64_t lookups = 0;
        if (bags.is_fixed()) {
            lookups = (selected_before(end) - selected_before(begin)) * features * bags.bag_size();
        } else {
            detail::visit_positions(members, wanted, begin, end, [&](std::uint64_t p) {
                const std::size_t input = first_input + static_cast<std::size_t>(p);
                lookups += bags.begin((input + 1) * features) - bags.begin(input * features);
            });
        }
        start[begin / grain + 1] = lookups;
    });
    for (std::size_t chunk = 1; chunk < start.size(); ++chunk) start[chunk] += start[chunk - 1];

    selected.values = Buffer<Index, PageSpace>(static_cast<std::size_t>(start.back()));
    if (!bags.weights().empty()) selected.weights = Buffer<float, PageSpace>(selected.values.size());
    if (!bags.is_fixed()) {
        selected.offsets =
            Buffer<std::uint64_t, PageSpace>(static_cast<std::size_t>(selected.inputs) * features + 1);
        selected.offsets[selected.offsets.size() - 1] = start.back();
    }
    for_chunks(exec, positions, grain, [&](std::size_t begin, std::size_t end) {
        auto to = static_cast<std::size_t>(start[begin / grain]);
        auto bag_to = static_cast<std::size_t>(selected_before(begin)) * features;
        std::array<std::uint32_t, grain> list;  // the selected positions of the chunk, so as to look ahead
        std::size_t listed = 0;
        detail::visit_positions(members, wanted, begin, end, [&](std::uint64_t p) {
            list[listed++] = static_cast<std::uint32_t>(p - begin);
        });
        for (std::size_t k = 0; k < listed; ++k) {
            const std::size_t input = first_input + begin + list[k];
            if (k + ahead < listed) map.prefetch(bags, first_input + begin + list[k + ahead]);
            const std::size_t from = bags.begin(input * features);
            const std::size_t n = bags.begin((input + 1) * features) - from;
            map(bags.values().data() + from, selected.values.data() + to, n, input);
            if (!bags.weights().empty()) {
                std::copy_n(bags.weights().data() + from, n, selected.weights.data() + to);
            }
            if (!bags.is_fixed()) {
                for (std::size_t f = 0; f < features; ++f) {
                    selected.offsets[bag_to++] = to + (bags.begin(input * features + f) - from);
                }
            }
            to += n;
        }
    });
    return selected;
}

}  // namespace fae::inline FAE_ABI
