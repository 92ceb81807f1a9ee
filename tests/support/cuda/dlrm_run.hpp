// SPDX-License-Identifier: Apache-2.0
//
// A few steps of cuda::Dlrm, for tests that a host compiler compiles because they use the CPU's model too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/models/dense_parameters.hpp"
#include "fae/models/dlrm_shape.hpp"
#include "fae/ops/optimizer.hpp"

namespace fae_test {

/// What to run: `steps` steps on one batch.
struct DlrmTask {
    fae::DlrmShape shape;
    std::size_t max_batch = 0;
    std::uint64_t seed = 0;
    fae::OptimizerKind optimizer = fae::OptimizerKind::sgd;
    bool tf32 = false;
    double clamp = 0;
    std::vector<float> dense;   ///< [n, dense_features]
    std::vector<float> pooled;  ///< [n, sparse_features * dim]
    std::vector<std::uint8_t> labels;
    float lr = 0;
    int steps = 1;
};

/// What came of it: of the last step, but for the parameters, which are after it.
struct DlrmOutcome {
    std::vector<float> logits;
    std::vector<float> pooled_gradient;
    std::vector<double> losses;  ///< of every step
    fae::DenseParameters gradients;
    fae::DenseParameters parameters;
};

[[nodiscard]] DlrmOutcome run_on_device(const DlrmTask& task);

}  // namespace fae_test
