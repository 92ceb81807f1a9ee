// SPDX-License-Identifier: Apache-2.0
//
// DlrmShape: the widths of a DLRM, checked, and what follows from them: parameters, floating-point
// operations.
//
//   DlrmShape shape = DlrmShape::rmc2(data.dense_features, data.features());   // 13-512-256-64-16, 512-256-1
//   shape.bottom = {128, 16};                                                  // or widths of one's own
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/table_spec.hpp"

namespace fae::inline FAE_ABI {

/// A deep learning recommendation model: a bottom MLP takes the dense features to a vector of the embeddings'
/// dim, the interaction takes the dot products of all pairs of vectors, a top MLP takes these to one logit.
/// @source Naumov et al., Deep Learning Recommendation Model for Personalization and Recommendation Systems,
///         2019
struct DlrmShape {
    std::size_t dense_features = 0;   ///< width of the dense input; 0 is allowed
    std::size_t sparse_features = 0;  ///< pooled vectors of an input; 0 is allowed
    std::size_t dim = 0;              ///< of every vector that takes part in the interaction
    std::vector<std::size_t> bottom;  ///< widths of the bottom MLP's layers; the last is dim
    std::vector<std::size_t> top;     ///< widths of the top MLP's layers; the last is 1

    /// Criteo Kaggle's: 512-256-64-16 and 512-256-1. Another dim takes the place of the bottom's last width.
    [[nodiscard]] static DlrmShape rmc2(std::size_t dense, std::size_t sparse, std::size_t dim = 16) {
        return {dense, sparse, dim, {512, 256, 64, dim}, {512, 256, 1}};
    }
    /// Criteo Terabyte's: 512-256-64 and 512-512-256-1.
    [[nodiscard]] static DlrmShape rmc3(std::size_t dense, std::size_t sparse, std::size_t dim = 64) {
        return {dense, sparse, dim, {512, 256, dim}, {512, 512, 256, 1}};
    }
    /// For tests and first looks, the `small` of the programs: 64-16 and 64-1.
    [[nodiscard]] static DlrmShape small_dlrm(std::size_t dense, std::size_t sparse, std::size_t dim = 16) {
        return {dense, sparse, dim, {64, dim}, {64, 1}};
    }

    /// The vectors that interact: the dense one and one for each sparse feature.
    [[nodiscard]] std::size_t vectors() const { return sparse_features + 1; }
    /// The dot products of an input: pairs (i, j) of vectors with j < i.
    [[nodiscard]] std::size_t pairs() const { return vectors() * (vectors() - 1) / 2; }
    /// The top MLP's input: the dense vector, then the pairs in order (1,0), (2,0), (2,1), (3,0), ...
    [[nodiscard]] std::size_t interaction_width() const { return dim + pairs(); }

    /// Weights and biases of both MLPs, without embeddings.
    [[nodiscard]] std::uint64_t parameters() const {
        std::uint64_t sum = 0;
        for_each_layer([&](std::size_t in, std::size_t out) { sum += std::uint64_t{in + 1} * out; });
        return sum;
    }
    /// Floating-point operations of one input's forward pass, matrix products and dot products alone: 2 for
    /// each multiplication and addition.
    [[nodiscard]] std::uint64_t forward_flops() const {
        std::uint64_t sum = std::uint64_t{2} * pairs() * dim;
        for_each_layer([&](std::size_t in, std::size_t out) { sum += std::uint64_t{2} * in * out; });
        return sum;
    }
    /// Floating-point operations of one input's forward and backward pass. The dense input needs no gradient.
    [[nodiscard]] std::uint64_t training_flops() const {
        const std::uint64_t first = bottom.empty() ? 0 : std::uint64_t{2} * dense_features * bottom.front();
        return 3 * forward_flops() - first;
    }

    /// @throws ContractError, with both values, unless dim is 1 to max_dim, every width at least 1, the
    ///         bottom's last width dim and the top's last width 1
    void check() const {
        require(dim >= 1 && dim <= max_dim,
                [&] { return concat("dim is ", dim, ", expected 1 to ", max_dim); });
        check_widths("bottom", bottom, dim);
        check_widths("top", top, 1);
    }

    /// Calls f(inputs, outputs) for every layer: bottom first, front to back.
    template <class F>
    void for_each_layer(F&& f) const {
        std::size_t in = dense_features;
        for (const std::size_t out : bottom) f(std::exchange(in, out), out);
        in = interaction_width();
        for (const std::size_t out : top) f(std::exchange(in, out), out);
    }

  private:
    static void check_widths(const char* name, const std::vector<std::size_t>& widths, std::size_t last) {
        require(!widths.empty(),
                [&] { return concat("the ", name, " MLP has 0 layers, expected at least 1"); });
        for (std::size_t i = 0; i < widths.size(); ++i) {
            require(widths[i] >= 1, [&] {
                return concat("layer ", i, " of the ", name, " MLP is 0 wide, expected at least 1");
            });
        }
        require(widths.back() == last, [&] {
            return concat("the ", name, " MLP's last layer is ", widths.back(), " wide, expected ", last);
        });
    }
};

}  // namespace fae::inline FAE_ABI
