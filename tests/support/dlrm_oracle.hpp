// SPDX-License-Identifier: Apache-2.0
//
// A DLRM as plain loops in double, one input at a time: what the model must compute, to rounding.
//
//   std::vector<OracleLayer> layers = oracle_layers(model);
//   double logit = oracle_logit(shape, layers, dense_row, pooled_row);
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/models/dlrm.hpp"

namespace fae_test {

/// One fully connected layer: weights [out][in].
struct OracleLayer {
    std::vector<std::vector<double>> weight;
    std::vector<double> bias;
};

template <class T>
std::vector<OracleLayer> oracle_layers(const fae::Dlrm<T>& model) {
    std::vector<OracleLayer> layers;
    for (const auto& parameter : model.parameters()) {
        if (parameter.name.ends_with(".weight")) {
            OracleLayer layer;
            for (std::size_t r = 0; r < parameter.rows; ++r) {
                layer.weight.emplace_back(parameter.values.begin() + r * parameter.columns,
                                          parameter.values.begin() + (r + 1) * parameter.columns);
            }
            layers.push_back(layer);
        } else {
            layers.back().bias.assign(parameter.values.begin(), parameter.values.end());
        }
    }
    return layers;
}

inline std::vector<double> oracle_layer(const OracleLayer& layer, const std::vector<double>& x, bool relu) {
    std::vector<double> y;
    for (std::size_t o = 0; o < layer.weight.size(); ++o) {
        double sum = layer.bias[o];
        for (std::size_t i = 0; i < x.size(); ++i) sum += layer.weight[o][i] * x[i];
        y.push_back(relu && sum < 0 ? 0 : sum);
    }
    return y;
}

/// The logit of one input.
inline double oracle_logit(const fae::DlrmShape& shape, const std::vector<OracleLayer>& layers,
                           const std::vector<double>& dense, const std::vector<double>& pooled) {
    std::vector<double> x = dense;
    std::size_t next = 0;
    for (std::size_t l = 0; l < shape.bottom.size(); ++l) x = oracle_layer(layers[next++], x, true);
    std::vector<std::vector<double>> vectors{x};
    for (std::size_t f = 0; f < shape.sparse_features; ++f) {
        std::vector<double> vector;
        for (std::size_t c = 0; c < shape.dim; ++c) vector.push_back(pooled[f * shape.dim + c]);
        vectors.push_back(vector);
    }
    for (std::size_t i = 0; i < vectors.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            double dot = 0;
            for (std::size_t c = 0; c < shape.dim; ++c) dot += vectors[i][c] * vectors[j][c];
            x.push_back(dot);
        }
    }
    for (std::size_t l = 0; l < shape.top.size(); ++l) {
        x = oracle_layer(layers[next++], x, l + 1 != shape.top.size());
    }
    return x[0];
}

/// Binary cross-entropy from the definition, the prediction clamped to [clamp, 1 - clamp].
inline double oracle_loss(double logit, bool label, double clamp = 0) {
    double p = 1 / (1 + std::exp(-logit));
    if (clamp > 0) p = p < clamp ? clamp : (p > 1 - clamp ? 1 - clamp : p);
    return label ? -std::log(p) : -std::log(1 - p);
}

/// Area under the ROC curve by looking at all pairs.
inline double oracle_auc(const std::vector<float>& scores, const std::vector<std::uint8_t>& labels) {
    double won = 0;
    double pairs = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
        for (std::size_t j = 0; j < scores.size(); ++j) {
            if (labels[i] == 0 || labels[j] != 0) continue;
            pairs += 1;
            won += scores[i] > scores[j] ? 1 : (scores[i] == scores[j] ? 0.5 : 0);
        }
    }
    return won / pairs;
}

}  // namespace fae_test
