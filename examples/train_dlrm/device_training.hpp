// SPDX-License-Identifier: Apache-2.0
//
// Training on the GPU, for programs whose main function a host compiler translates; device_training.cu holds
// the rest, and is part of a build with CUDA alone.
#pragma once

#include "fae/trace/metrics.hpp"
#include "fae/trace/trace.hpp"
#include "options.hpp"
#include "preparation.hpp"
#include "training.hpp"

namespace train_dlrm {

/// True in a build with CUDA.
#if defined(FAE_EXAMPLES_WITH_CUDA)
inline constexpr bool built_with_cuda = true;
#else
inline constexpr bool built_with_cuda = false;
#endif

/// Throws CudaError, in one line, if no GPU can be used: before anything else is done.
void require_device();

/// As the host's sessions, with rows in device memory where the placement puts them in the fast tier, and the
/// dense model on the device.
/// @param trace  null: nothing is traced
/// @throws CudaError, and as train()
[[nodiscard]] TrainingResult train_on_device(const Executor& exec, const Options& options,
                                             const Prepared& prepared, fae::Metrics& metrics,
                                             fae::Trace* trace);

}  // namespace train_dlrm
