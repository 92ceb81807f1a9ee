// SPDX-License-Identifier: Apache-2.0
//
// The model that the command line names, over the inputs that were read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/row_layout.hpp"
#include "fae/io/dataset.hpp"
#include "fae/models/dlrm_shape.hpp"
#include "fae/ops/optimizer.hpp"
#include "options.hpp"

namespace train_dlrm {

/// The dense model.
[[nodiscard]] inline fae::DlrmShape shape_of(const Options& options, const fae::DatasetShape& data) {
    if (options.model == "rmc3") {
        return fae::DlrmShape::rmc3(data.dense_features, data.features(), options.dim.value_or(64));
    }
    if (options.model == "small") {
        return fae::DlrmShape::small_dlrm(data.dense_features, data.features(), options.dim.value_or(16));
    }
    return fae::DlrmShape::rmc2(data.dense_features, data.features(), options.dim.value_or(16));
}

/// Bytes of a row with its optimizer state and stride.
[[nodiscard]] inline std::uint64_t row_bytes_of(const Options& options, std::size_t dim) {
    return fae::row_layout(dim, fae::state_size(options.optimizer, dim)).bytes();
}

}  // namespace train_dlrm
