// SPDX-License-Identifier: Apache-2.0
//
// Products of small tiles on tensor cores, in TF32 with sums in float32, and how their operands come to
// shared memory and from there.
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

/// The same as a float.
__device__ inline float rounded(float x) { return __uint_as_float(to_tf32(x)); }

/// to_tf32 in half the instructions, for an operand whose NaNs have come to light elsewhere: of these, some
/// become 0.
__device__ inline unsigned nearly_tf32(float x) { return (__float_as_uint(x) + 0x1000u) & 0xffffe000u; }

/// Asks for 16 bytes to be copied to shared memory; zeros where `there` is false.
__device__ inline void copy_ahead(float* to, const float* from, bool there) {
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                 "r"(there ? 16 : 0));
}
/// Ends a group of copies.
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;"); }
/// Waits until at most `Left` groups of this thread's copies are under way.
template <unsigned Left>
__device__ inline void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

/// Four tiles of 8 rows by 4 floats from shared memory: lane l names row l mod 8 of tile l / 8, 16-byte
/// aligned, and gets element l mod 4 of row l / 4 of each.
__device__ inline void load_tiles(unsigned (&x)[4], const float* row) {
    const auto address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
}

/// d += a * b on a tensor core: a [16, 8], b [8, 8], d [16, 8], spread over the warp as PTX says of m16n8k8.
__device__ inline void multiply_add_tile(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace fae::inline FAE_ABI::cuda::detail
