// SPDX-License-Identifier: Apache-2.0
//
// The part of the probe that needs a device; device_probe.cu holds it, in a build with CUDA alone.
#pragma once

#include <optional>

#include "../train_dlrm/options.hpp"
#include "../train_dlrm/training.hpp"
#include "fae/advise/rates.hpp"
#include "fae/models/dlrm_shape.hpp"

namespace advise {

/// The rates of the first device; none where there is none.
/// @cost   as cuda::probe_device
/// @throws CudaError
[[nodiscard]] std::optional<fae::DeviceRates> probe_device(const train_dlrm::Executor& exec,
                                                           const train_dlrm::Options& options,
                                                           const fae::DlrmShape& shape);

}  // namespace advise
