// SPDX-License-Identifier: Apache-2.0
//
// Products of small tiles on tensor cores, in TF32 with sums in float32.
//
//   multiply_add_tile(sum, a, to_tf32(b0), to_tf32(b1));   // a warp together
#pragma once

#include <cuda_runtime.h>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// A float32 rounded to TF32, to nearest, ties away from zero.
__device__ inline unsigned to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

/// d += a * b on a tensor core: a [16, 8], b [8, 8], d [16, 8], spread over the warp as PTX says of m16n8k8.
__device__ inline void multiply_add_tile(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace fae::inline FAE_ABI::cuda::detail
