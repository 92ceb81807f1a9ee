// SPDX-License-Identifier: Apache-2.0
//
// Products by warp groups (four warps), in TF32 with sums in float32, whose operands come to shared memory in
// boxes of a matrix: instructions of compute capability 9.0a alone. Rows of an operand are 32 floats of the
// depth, 128 bytes, whose 16-byte pieces lie swizzled by the row's number; a box starts at a multiple of
// 1,024 bytes.
//
//   const CUtensorMap map = box_map(rows, columns, stride, data, box_rows);                 // on the host
//   ask_box(to, map, column, row, arrived); arrived.wait(0); multiply_add_group(sum, a, b);  // on the device
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/cuda/error.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// Floats of a box's rows.
inline constexpr unsigned box_columns = 32;

/// How boxes of [box_rows, box_columns] are taken from a matrix in device memory, rounded to TF32, to
/// nearest. What lies outside of the matrix is zero.
/// @shape data [rows, columns] at stride, a multiple of 4, 16-byte aligned
/// @cost  no call of the device
/// @throws CudaError
[[nodiscard]] inline CUtensorMap box_map(const float* data, std::size_t rows, std::size_t columns,
                                         std::size_t stride, unsigned box_rows) {
    using Encode = decltype(&::cuTensorMapEncodeTiled);
    static const Encode encode = [] {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
#if CUDART_VERSION >= 12050
        check(::cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                                 &result),
              "look for cuTensorMapEncodeTiled");
#else
        check(::cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result),
              "look for cuTensorMapEncodeTiled");
#endif
        check(result == cudaDriverEntryPointSuccess ? cudaSuccess : cudaErrorNotSupported,
              "look for cuTensorMapEncodeTiled");
        return reinterpret_cast<Encode>(found);
    }();
    CUtensorMap map;
    const cuuint64_t sizes[2] = {columns, rows};
    const cuuint64_t strides[1] = {stride * sizeof(float)};
    const cuuint32_t box[2] = {box_columns, box_rows};
    const cuuint32_t steps[2] = {1, 1};
    const CUresult status =
        encode(&map, CU_TENSOR_MAP_DATA_TYPE_TFLOAT32, 2, const_cast<float*>(data), sizes, strides, box,
               steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    check(status == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue, "map of a matrix's boxes");
    return map;
}

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// An address in shared memory as instructions take it.
__device__ inline unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

/// A barrier in shared memory. It counts arrivals, and bytes that are under way, in turns.
struct GroupBarrier {
    std::uint64_t state;

    __device__ void start(unsigned arrivals) {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&state)), "r"(arrivals)
                     : "memory");
    }
    __device__ void arrive() {
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&state)) : "memory");
    }
    /// Arrives, and lets the turn end only when so many bytes are there.
    __device__ void arrive_and_expect(unsigned bytes) {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&state)),
                     "r"(bytes)
                     : "memory");
    }
    /// Waits for the end of a turn of this parity.
    __device__ void wait(unsigned parity) {
        asm volatile(
            "{ .reg .pred done; again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; "
            "@done bra over; bra again; over: }" ::"r"(shared_address(&state)),
            "r"(parity)
            : "memory");
    }
};

/// Makes barriers that have been started known to copies of boxes.
__device__ inline void publish_barriers() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Asks for the box from (row, column) on; its bytes arrive at the barrier.
__device__ inline void ask_box(float* to, const CUtensorMap& map, unsigned column, unsigned row,
                               GroupBarrier& arrived) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4}], [%2];" ::"r"(shared_address(to)),
        "l"(&map), "r"(shared_address(&arrived)), "r"(column), "r"(row)
        : "memory");
}

/// An operand as products see it: rows of 128 bytes, swizzled, eight of them 1,024 bytes.
__device__ inline std::uint64_t operand_at(const float* first) {
    constexpr std::uint64_t swizzled = std::uint64_t{1} << 62;
    constexpr std::uint64_t eight_rows = std::uint64_t{1024 / 16} << 32;
    return swizzled | eight_rows | std::uint64_t{1} << 16 | (shared_address(first) & 0x3ffffu) / 16;
}
/// What is added to an operand for its next 8 floats of the depth.
inline constexpr std::uint64_t next_depth = 8 * sizeof(float) / 16;

/// Before the first product that adds to registers which others have written.
__device__ inline void begin_group_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group of products.
__device__ inline void end_group_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Keeps what reads these registers behind the wait before it.
template <unsigned Count>
__device__ inline void settle(float (&d)[Count]) {
#pragma unroll
    for (unsigned i = 0; i < Count; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
/// Waits until at most `Left` groups are under way.
template <unsigned Left>
__device__ inline void wait_for_group_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
}

/// d = a * b, added to d where `add` says so: a [64, 8], b [64, 8], d [64, 64] spread over the warp group as
/// PTX says of m64n64k8.
__device__ inline void multiply_add_group(float (&d)[32], std::uint64_t a, std::uint64_t b, bool add) {
    asm volatile(
        "{ .reg .pred add; setp.ne.b32 add, %34, 0; "
        "wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, add, 1, 1; }"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),
          "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),
          "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),
          "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

/// d = a * b, added to d where `add` says so: a [64, 8], b [128, 8], d [64, 128] spread over the warp group
/// as PTX says of m64n128k8.
__device__ inline void multiply_add_group(float (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
    asm volatile(
        "{ .reg .pred add; setp.ne.b32 add, %66, 0; "
        "wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, add, 1, 1; }"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),
          "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),
          "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),
          "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),
          "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),
          "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),
          "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
          "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}

#endif

}  // namespace fae::inline FAE_ABI::cuda::detail
