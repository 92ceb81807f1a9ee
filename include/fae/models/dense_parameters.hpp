// SPDX-License-Identifier: Apache-2.0
//
// The parameters of a model's fully connected layers as a host sees them: names, shapes, and the values they
// start from. Every backend starts from these values: they are drawn on the host, whose libm decides their
// last bits.
//
//   DenseParameters dense(shape, OptimizerKind::adagrad);   // zero
//   dense.draw(seed);
//   for (const Parameter<float>& p : dense.parameters()) write_npy(p.name + ".npy", ...);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/dlrm_shape.hpp"
#include "fae/ops/optimizer.hpp"

namespace fae::inline FAE_ABI {

/// One weight matrix [outputs, inputs] or bias [1, outputs] of a model, row-major without padding.
template <class T>
struct Parameter {
    std::string name;  ///< "bottom.0.weight", "bottom.0.bias", ..., "top.2.bias"
    std::size_t rows = 0;
    std::size_t columns = 0;
    Span<T> values;
    Span<T> state;  ///< Adagrad's accumulators, as long as values; empty under SGD
};

namespace detail {

/// What the dense layers' streams of random bits are keyed by.
[[nodiscard]] inline std::uint64_t dense_key(std::uint64_t seed) { return mix64(seed ^ 0x64656E7365u); }

/// The initial weights of one layer, from N(0, sqrt(2 / (in + out))), and biases, from N(0, sqrt(1 / out)).
/// @shape weights [out, in]; bias [out]
template <class T>
void draw_layer(std::uint64_t key, std::uint64_t layer, std::size_t in, std::size_t out, T* weights,
                T* bias) {
    Philox weight_bits(key, 2 * layer);
    const double weight_scale = std::sqrt(2.0 / static_cast<double>(in + out));
    for (std::size_t i = 0; i < in * out; ++i) {
        weights[i] = static_cast<T>(weight_scale * weight_bits.normal());
    }
    Philox bias_bits(key, 2 * layer + 1);
    const double bias_scale = std::sqrt(1.0 / static_cast<double>(out));
    for (std::size_t i = 0; i < out; ++i) bias[i] = static_cast<T>(bias_scale * bias_bits.normal());
}

/// "bottom.0" for the first layer, and so on.
[[nodiscard]] inline std::string layer_name(const DlrmShape& shape, std::size_t layer) {
    const std::size_t bottom = shape.bottom.size();
    return layer < bottom ? concat("bottom.", layer) : concat("top.", layer - bottom);
}

}  // namespace detail

/// All dense parameters of a DLRM in host memory, with their state: what is drawn, saved, loaded, digested,
/// and copied to a device. Move-only.
class DenseParameters {
  public:
    DenseParameters() = default;
    DenseParameters(const DlrmShape& shape, OptimizerKind optimizer) {
        std::size_t size = 0;
        shape.for_each_layer([&](std::size_t in, std::size_t out) { size += (in + 1) * out; });
        const bool stateful = optimizer != OptimizerKind::sgd;
        values_ = Buffer<float>(size);
        state_ = Buffer<float>(stateful ? size : 0);
        std::fill(values_.begin(), values_.end(), 0.0f);
        std::fill(state_.begin(), state_.end(), 0.0f);
        std::size_t at = 0;
        const auto add = [&](const std::string& name, std::size_t rows, std::size_t columns) {
            const std::size_t count = rows * columns;
            list_.push_back({name, rows, columns, {values_.data() + at, count}, {}});
            if (stateful) list_.back().state = {state_.data() + at, count};
            at += count;
        };
        shape.for_each_layer([&](std::size_t in, std::size_t out) {
            const std::string name = detail::layer_name(shape, list_.size() / 2);
            add(name + ".weight", out, in);
            add(name + ".bias", 1, out);
        });
    }

    /// The values that training starts from, a function of the shape and the seed alone.
    void draw(std::uint64_t seed) {
        for (std::size_t l = 0; l < list_.size() / 2; ++l) {
            const Parameter<float>& weight = list_[2 * l];
            detail::draw_layer(detail::dense_key(seed), l, weight.columns, weight.rows, weight.values.data(),
                               list_[2 * l + 1].values.data());
        }
    }

    /// Bottom to top, weight before bias, as Dlrm::parameters().
    [[nodiscard]] const std::vector<Parameter<float>>& parameters() const { return list_; }

  private:
    Buffer<float> values_;
    Buffer<float> state_;
    std::vector<Parameter<float>> list_;
};

}  // namespace fae::inline FAE_ABI
