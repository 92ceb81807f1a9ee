// SPDX-License-Identifier: Apache-2.0
//
// ModelShape: what of a model decides how long a training step takes and how much memory its rows need.
//
//   ModelShape shape{.rows = 33'762'577, .dim = 16, .row_bytes = 64, .lookups_per_input = 26,
//                    .features = 26, .batch = 1024, .dense_flops_per_input = 1.6e6, .input_bytes = 157};
#pragma once

#include <cstdint>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// The shape of a model and of its mini-batches.
struct ModelShape {
    std::uint64_t rows = 0;
    std::uint64_t dim = 0;
    std::uint64_t row_bytes = 0;       ///< of a row with optimizer state and stride (core/row_layout.hpp)
    double lookups_per_input = 0;      ///< pooled rows included
    std::uint64_t features = 0;        ///< bags of an input, one pooled vector each
    std::uint64_t batch = 0;           ///< inputs in a mini-batch
    double dense_flops_per_input = 0;  ///< forward and backward of the dense model
    double input_bytes = 0;            ///< of label, dense features and row ids
    std::uint64_t inputs = 0;          ///< of an epoch
    double epochs = 1;  ///< what is moved once, before the first hot batch, is shared by so many
};

}  // namespace fae::inline FAE_ABI
