// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <cstddef>
#include <optional>

#include "device_probe.hpp"
#include "fae/models/device_probe.cuh"

namespace advise {

std::optional<fae::DeviceRates> probe_device(const train_dlrm::Executor& exec,
                                             const train_dlrm::Options& options,
                                             const fae::DlrmShape& shape) {
    int count = 0;
    if (::cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        static_cast<void>(::cudaGetLastError());
        return std::nullopt;
    }
    fae::cuda::DeviceProbe probe;
    probe.model = shape;
    probe.optimizer = options.optimizer;
    probe.precision = options.tf32 ? fae::cuda::Precision::tf32 : fae::cuda::Precision::fp32;
    probe.batch = static_cast<std::size_t>(options.batch);
    return fae::cuda::probe_device(exec, probe);
}

}  // namespace advise
