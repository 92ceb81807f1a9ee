// SPDX-License-Identifier: Apache-2.0
//
// TiledJobs: several matrices of one launch, cut into tiles that are numbered through.
//
//   struct CopyJobs : TiledJobs<CopyJob, 8> {
//       void add(...) { jobs[count++] = {..., tiles}; tiles += ...; }
//   };
//   const CopyJob& job = jobs.of_tile(blockIdx.x);        // in the kernel
#pragma once

#include <cuda_runtime.h>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// @tparam Job  with `first_tile`, the number of its first tile
template <class Job, unsigned Most>
struct TiledJobs {
    static constexpr unsigned most = Most;
    Job jobs[Most] = {};
    unsigned count = 0;
    unsigned tiles = 0;  ///< of all jobs

    [[nodiscard]] bool full() const { return count == most; }
    /// The job that has a tile.
    [[nodiscard]] __device__ const Job& of_tile(unsigned tile) const {
        unsigned j = 0;
        while (j + 1 < count && jobs[j + 1].first_tile <= tile) ++j;
        return jobs[j];
    }
};

}  // namespace fae::inline FAE_ABI::cuda::detail
