// SPDX-License-Identifier: Apache-2.0
//
// The dot interaction of DLRM on the device, forward and backward, one kernel each: a warp takes an input,
// its vectors lie in shared memory, a lane computes tiles of 4 x 4 results in registers. Nothing but the
// packed pairs and the gradients is written.
//
//   cuda::detail::InteractionShape shape(vectors, dim);
//   cuda::detail::interact(cuda::on(stream), shape, Precision::tf32, dense, pooled, out);
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/launch.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/models/gemm.cuh"
#include "fae/models/layer_product.cuh"
#include "fae/models/tensor_core.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// How one input's vectors lie in shared memory.
/// @units floats
struct InteractionShape {
    unsigned vectors = 1;
    unsigned dim = 1;
    unsigned tiles = 1;            ///< groups of four vectors
    unsigned stride = 12;          ///< of a vector; 4 mod 8, so that eight rows of float4 share no bank
    unsigned forward_floats = 0;   ///< of shared memory for an input
    unsigned backward_floats = 0;  ///< of shared memory for an input

    InteractionShape() = default;
    InteractionShape(std::size_t vector_count, std::size_t vector_dim)
        : vectors(static_cast<unsigned>(vector_count)),
          dim(static_cast<unsigned>(vector_dim)),
          tiles(ceil_div(vectors, 4u)),
          stride(round_up(dim, 8u) + 4) {
        forward_floats = rows() * stride + round_up(width(), 4u);
        backward_floats = rows() * stride + rows() * rows();
    }
    /// Vectors, rounded up to whole tiles.
    [[nodiscard]] FAE_HD unsigned rows() const { return tiles * 4; }
    [[nodiscard]] FAE_HD unsigned pairs() const { return vectors * (vectors - 1) / 2; }
    /// The packed output: the dense vector, then the pairs.
    [[nodiscard]] FAE_HD unsigned width() const { return dim + pairs(); }
};

/// The place of pair (i, j), j < i, among the pairs.
[[nodiscard]] FAE_HD constexpr unsigned pair_place(unsigned i, unsigned j) { return i * (i - 1) / 2 + j; }

/// The largest n with n (n + 1) / 2 <= place.
__device__ inline unsigned triangle_row(unsigned place) {
    auto n = static_cast<unsigned>((__fsqrt_rn(static_cast<float>(8 * place + 1)) - 1.0f) * 0.5f);
    while ((n + 1) * (n + 2) / 2 <= place) ++n;
    while (n * (n + 1) / 2 > place) --n;
    return n;
}

/// How vectors are read: as so many float4 each, as any number of float4, or element by element.
enum class VectorLoads : unsigned {
    narrow = 0,
    wide = 1,
    quads4 = 4,
    quads8 = 8,
    quads16 = 16,
    quads32 = 32
};

/// Copies one input's vectors to shared memory, zeros behind them and after each.
template <VectorLoads L>
__device__ inline void load_vectors(const InteractionShape& s, const float* dense, const float* pooled,
                                    float* rows, unsigned lane) {
    if constexpr (L == VectorLoads::narrow || L == VectorLoads::wide) {
        constexpr unsigned step = L == VectorLoads::wide ? 4 : 1;
        for (unsigned v = 0; v < s.rows(); ++v) {
            const float* from = v == 0 ? dense : pooled + std::size_t{v - 1} * s.dim;
            for (unsigned c = lane * step; c < s.stride; c += 32 * step) {
                const bool inside = v < s.vectors && c < s.dim;
                if constexpr (L == VectorLoads::wide) {
                    *reinterpret_cast<float4*>(rows + v * s.stride + c) =
                        inside ? *reinterpret_cast<const float4*>(from + c) : float4{0, 0, 0, 0};
                } else {
                    rows[v * s.stride + c] = inside ? from[c] : 0.0f;
                }
            }
        }
    } else {
        constexpr auto quads = static_cast<unsigned>(L);
        const unsigned count = s.rows() * quads;
#pragma unroll 8
        for (unsigned i = lane; i < count; i += 32) {
            const unsigned v = i / quads;
            const unsigned c = i % quads;
            float4 x{0, 0, 0, 0};
            if (v == 0) {
                x = reinterpret_cast<const float4*>(dense)[c];
            } else if (v < s.vectors) {
                x = reinterpret_cast<const float4*>(pooled)[i - quads];
            }
            reinterpret_cast<float4*>(rows + v * s.stride)[c] = x;
        }
    }
}

__device__ inline void add_dot(float4 a, float4 b, float& sum) {
    sum = __fmaf_rn(a.x, b.x, sum);
    sum = __fmaf_rn(a.y, b.y, sum);
    sum = __fmaf_rn(a.z, b.z, sum);
    sum = __fmaf_rn(a.w, b.w, sum);
}

__device__ inline void add_scaled(float a, float4 b, float4& sum) {
    sum.x = __fmaf_rn(a, b.x, sum.x);
    sum.y = __fmaf_rn(a, b.y, sum.y);
    sum.z = __fmaf_rn(a, b.z, sum.z);
    sum.w = __fmaf_rn(a, b.w, sum.w);
}

/// out[i] = [dense, dot(v[1], v[0]), dot(v[2], v[0]), dot(v[2], v[1]), ...], zeros up to a multiple of 4. A
/// dot product runs over ascending columns.
/// @par Launch one warp an input; shared memory forward_floats a warp. Tile (p, q) holds the vectors p + 4
/// tiles
///      ... by q + tiles ..., so lanes read neighbouring rows.
template <VectorLoads L>
__global__ void __launch_bounds__(256)
    interact_kernel(InteractionShape s, MatrixView<const float> dense, MatrixView<const float> pooled,
                    MatrixView<float> out) {
    extern __shared__ float4 interaction_memory[];
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const std::size_t input = std::size_t{blockIdx.x} * (blockDim.x / 32) + warp;
    if (input >= dense.rows()) return;
    float* const rows = reinterpret_cast<float*>(interaction_memory) + warp * s.forward_floats;
    float* const packed = rows + s.rows() * s.stride;
    load_vectors<L>(s, dense.row(input), pooled.row(input), rows, lane);
    __syncwarp();
    const unsigned depth = ceil_div(s.dim, 4u);
    const unsigned row = s.stride / 4;
    for (unsigned c = lane; c < s.dim; c += 32) packed[c] = rows[c];
    for (unsigned t = lane; t < s.tiles * (s.tiles + 1) / 2; t += 32) {
        const unsigned p = triangle_row(t);
        const unsigned q = t - p * (p + 1) / 2;
        float sum[4][4] = {};
        const float4* const left = reinterpret_cast<const float4*>(rows) + p * row;
        const float4* const right = reinterpret_cast<const float4*>(rows) + q * row;
#pragma unroll 2
        for (unsigned k = 0; k < depth; ++k) {
            float4 a[4];
            float4 b[4];
#pragma unroll
            for (unsigned r = 0; r < 4; ++r) {
                a[r] = left[r * s.tiles * row + k];
                b[r] = right[r * s.tiles * row + k];
            }
#pragma unroll
            for (unsigned r = 0; r < 4; ++r) {
#pragma unroll
                for (unsigned c = 0; c < 4; ++c) add_dot(a[r], b[c], sum[r][c]);
            }
        }
#pragma unroll
        for (unsigned r = 0; r < 4; ++r) {
#pragma unroll
            for (unsigned c = 0; c < 4; ++c) {
                const unsigned i = p + r * s.tiles;
                const unsigned j = q + c * s.tiles;
                if (i >= s.vectors || j >= s.vectors || (p == q && r <= c)) continue;
                packed[s.dim + (i > j ? pair_place(i, j) : pair_place(j, i))] = sum[r][c];
            }
        }
    }
    const unsigned width = s.width();
    const unsigned padded = round_up(width, 4u);
    if (width + lane < padded) packed[width + lane] = 0;
    __syncwarp();
    float* const to = out.row(input);
    for (unsigned c = lane * 4; c < padded; c += 128) {
        *reinterpret_cast<float4*>(to + c) = *reinterpret_cast<const float4*>(packed + c);
    }
}

/// The gradients of dense (through the ReLU that made it) and of pooled from the gradient of the packed
/// pairs: a vector's is the sum over the others, ascending. Zeros where `stopped` is set. With `round`, that
/// of dense is rounded to TF32, for the products that read it.
/// @par Launch one warp an input; shared memory backward_floats a warp; a lane has 4 vectors by 4 columns
template <VectorLoads L>
__global__ void __launch_bounds__(256)
    separate_kernel(InteractionShape s, MatrixView<const float> dense, MatrixView<const float> pooled,
                    MatrixView<const float> out_gradient, MatrixView<float> dense_gradient,
                    MatrixView<float> pooled_gradient, const unsigned* stopped, bool round) {
    extern __shared__ float4 interaction_memory[];
    if (dense.rows() <= product_batch) let_next_launch();
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const std::size_t input = std::size_t{blockIdx.x} * (blockDim.x / 32) + warp;
    if (input >= dense.rows()) return;
    float* const rows = reinterpret_cast<float*>(interaction_memory) + warp * s.backward_floats;
    float* const pairs = rows + s.rows() * s.stride;
    const float* const gradient = out_gradient.row(input);
    load_vectors<L>(s, dense.row(input), pooled.row(input), rows, lane);
    // The gradients of the dot products as a symmetric matrix with a zero diagonal.
    for (unsigned i = lane; i < s.rows() * s.tiles; i += 32) {
        reinterpret_cast<float4*>(pairs)[i] = float4{0, 0, 0, 0};
    }
    __syncwarp();
#pragma unroll 4
    for (unsigned place = lane; place < s.pairs(); place += 32) {
        const float g = gradient[s.dim + place];
        const unsigned i = triangle_row(place) + 1;
        const unsigned j = place - pair_place(i, 0);
        pairs[i * s.rows() + j] = g;
        pairs[j * s.rows() + i] = g;
    }
    const bool stop = *stopped != 0;
    __syncwarp();
    const unsigned columns = ceil_div(s.dim, 4u);
    for (unsigned t = lane; t < s.tiles * columns; t += 32) {
        const unsigned p = t / columns;
        const unsigned c = t % columns * 4;
        float4 sum[4] = {};
#pragma unroll 4
        for (unsigned j = 0; j < s.vectors; ++j) {
            const float4 g = *reinterpret_cast<const float4*>(pairs + j * s.rows() + p * 4);
            const float4 x = *reinterpret_cast<const float4*>(rows + j * s.stride + c);
            add_scaled(g.x, x, sum[0]);
            add_scaled(g.y, x, sum[1]);
            add_scaled(g.z, x, sum[2]);
            add_scaled(g.w, x, sum[3]);
        }
#pragma unroll
        for (unsigned r = 0; r < 4; ++r) {
            const unsigned i = p * 4 + r;
            if (i >= s.vectors) continue;
            const float x[4] = {sum[r].x, sum[r].y, sum[r].z, sum[r].w};
            if (i == 0) {
                float* const to = dense_gradient.row(input) + c;
                for (unsigned k = 0; k < 4 && c + k < s.dim; ++k) {
                    const float z = !stop && rows[c + k] > 0 ? x[k] + gradient[c + k] : 0.0f;
                    to[k] = round ? rounded(z) : z;
                }
                continue;
            }
            float* const to = pooled_gradient.row(input) + std::size_t{i - 1} * s.dim + c;
            if constexpr (L == VectorLoads::narrow) {
                for (unsigned k = 0; k < 4 && c + k < s.dim; ++k) to[k] = stop ? 0.0f : x[k];
            } else {
                *reinterpret_cast<float4*>(to) = stop ? float4{0, 0, 0, 0} : sum[r];
            }
        }
    }
}

/// The most vectors that the kernels on tensor cores take.
inline constexpr unsigned tensor_vectors = 32;
/// interact_kernel on tensor cores, operands rounded to TF32; dim a multiple of 16, at most 32 vectors.
/// @par Launch one warp an input; shared memory for the packed output. Row r of vectors belongs to lanes
///      4 (r mod 8) ...; lane l has columns 4 (l mod 4) ... of every 16: which columns make one product's
///      depth is of no matter, as both operands are the same rows.
static __global__ void __launch_bounds__(256)
    interact_tensor_kernel(InteractionShape s, MatrixView<const float> dense, MatrixView<const float> pooled,
                           MatrixView<float> out) {
    extern __shared__ float4 interaction_memory[];
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const std::size_t input = std::size_t{blockIdx.x} * (blockDim.x / 32) + warp;
    if (input >= dense.rows()) return;
    const unsigned width = s.width();
    const unsigned padded = round_up(width, 4u);
    float* const packed = reinterpret_cast<float*>(interaction_memory) + warp * padded;
    const unsigned row = lane / 4;
    const unsigned column = lane % 4 * 4;
    const float* from[4];
#pragma unroll
    for (unsigned g = 0; g < 4; ++g) {
        const unsigned v = row + 8 * g;
        from[g] = v == 0 ? dense.row(input) : pooled.row(input) + std::size_t{v - 1} * s.dim;
        if (v >= s.vectors) from[g] = nullptr;
    }
    // Tiles of the lower triangle: rows 0 to 15 by 0 to 15, rows 16 to 31 by 0 to 31.
    float sum[6][4] = {};
#pragma unroll 4
    for (unsigned k = 0; k < s.dim; k += 16) {
        float4 x[4];
#pragma unroll
        for (unsigned g = 0; g < 4; ++g) {
            x[g] = from[g] == nullptr ? float4{0, 0, 0, 0}
                                      : *reinterpret_cast<const float4*>(from[g] + k + column);
        }
        if (row == 0) *reinterpret_cast<float4*>(packed + k + column) = x[0];
#pragma unroll
        for (unsigned half = 0; half < 2; ++half) {
            unsigned a[4];
            unsigned b[4];
#pragma unroll
            for (unsigned g = 0; g < 4; ++g) {
                a[g] = to_tf32(half == 0 ? x[g].x : x[g].z);
                b[g] = to_tf32(half == 0 ? x[g].y : x[g].w);
            }
            const unsigned low[4] = {a[0], a[1], b[0], b[1]};
            const unsigned high[4] = {a[2], a[3], b[2], b[3]};
            multiply_add_tile(sum[0], low, a[0], b[0]);
            multiply_add_tile(sum[1], low, a[1], b[1]);
#pragma unroll
            for (unsigned g = 0; g < 4; ++g) multiply_add_tile(sum[2 + g], high, a[g], b[g]);
        }
    }
#pragma unroll
    for (unsigned tile = 0; tile < 6; ++tile) {
        const unsigned top = tile < 2 ? 0 : 16;
        const unsigned left = tile < 2 ? tile * 8 : (tile - 2) * 8;
#pragma unroll
        for (unsigned e = 0; e < 4; ++e) {
            const unsigned i = top + row + (e / 2) * 8;
            const unsigned j = left + lane % 4 * 2 + e % 2;
            if (j < i && i < s.vectors) packed[s.dim + pair_place(i, j)] = sum[tile][e];
        }
    }
    if (width + lane < padded) packed[width + lane] = 0;
    __syncwarp();
    float* const to = out.row(input);
    for (unsigned c = lane * 4; c < padded; c += 128) {
        *reinterpret_cast<float4*>(to + c) = *reinterpret_cast<const float4*>(packed + c);
    }
}

/// separate_kernel on tensor cores, operands rounded to TF32; dim a multiple of 8 Columns, at most 32
/// vectors.
/// @par Launch one warp an input; shared memory for the packed gradient. Lane l has Columns neighbouring
/// columns of the
///      vectors l mod 4, l mod 4 + 4, ...
template <unsigned Columns>
__global__ void __launch_bounds__(256, 2)
    separate_tensor_kernel(InteractionShape s, MatrixView<const float> dense, MatrixView<const float> pooled,
                           MatrixView<const float> out_gradient, MatrixView<float> dense_gradient,
                           MatrixView<float> pooled_gradient, const unsigned* stopped) {
    extern __shared__ float4 interaction_memory[];
    if (dense.rows() <= product_batch) let_next_launch();
    struct alignas(4 * Columns) Vector {
        float at[Columns];
    };
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const unsigned row = lane / 4;
    const unsigned quarter = lane % 4;
    const std::size_t input = std::size_t{blockIdx.x} * (blockDim.x / 32) + warp;
    if (input >= dense.rows()) return;
    const unsigned padded = round_up(s.width(), 4u);
    float* const packed = reinterpret_cast<float*>(interaction_memory) + warp * padded;
    const float* const gradient = out_gradient.row(input);
    const auto load = [&](unsigned first, Vector(&x)[8]) {
#pragma unroll
        for (unsigned k = 0; k < 8; ++k) {
            const unsigned v = quarter + 4 * k;
            x[k] = Vector{};
            if (v < s.vectors) {
                const float* const from =
                    v == 0 ? dense.row(input) : pooled.row(input) + std::size_t{v - 1} * s.dim;
                x[k] = *reinterpret_cast<const Vector*>(from + first + row * Columns);
            }
        }
    };
    // All that is read first is asked for at once.
    Vector x[8];
    load(0, x);
#pragma unroll 4
    for (unsigned c = lane * 4; c < padded; c += 128) {
        *reinterpret_cast<float4*>(packed + c) = *reinterpret_cast<const float4*>(gradient + c);
    }
    const bool stop = *stopped != 0;
    __syncwarp();
    // The gradients of the dot products as a symmetric matrix with a zero diagonal.
    unsigned a[2][4][4];
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) {
#pragma unroll
            for (unsigned e = 0; e < 4; ++e) {
                const unsigned i = half * 16 + row + e % 2 * 8;
                const unsigned j = k * 8 + quarter + e / 2 * 4;
                const bool inside = i < s.vectors && j < s.vectors && i != j;
                const unsigned place = i > j ? pair_place(i, j) : pair_place(j, i);
                a[half][k][e] = inside ? to_tf32(packed[s.dim + place]) : 0u;
            }
        }
    }
    for (unsigned first = 0; first < s.dim; first += 8 * Columns) {
        if (first != 0) load(first, x);
        float sum[2][Columns][4] = {};
#pragma unroll
        for (unsigned c = 0; c < Columns; ++c) {
#pragma unroll
            for (unsigned k = 0; k < 4; ++k) {
                const unsigned b0 = to_tf32(x[2 * k].at[c]);
                const unsigned b1 = to_tf32(x[2 * k + 1].at[c]);
                multiply_add_tile(sum[0][c], a[0][k], b0, b1);
                multiply_add_tile(sum[1][c], a[1][k], b0, b1);
            }
        }
        // A lane's results: 2 Columns neighbouring columns of the rows row, row + 8, row + 16, row + 24.
#pragma unroll
        for (unsigned r = 0; r < 4; ++r) {
            const unsigned i = row + r * 8;
            if (i >= s.vectors) continue;
            const unsigned column = first + quarter * 2 * Columns;
            float* const to = i == 0 ? dense_gradient.row(input) + column
                                     : pooled_gradient.row(input) + std::size_t{i - 1} * s.dim + column;
#pragma unroll
            for (unsigned pair = 0; pair < 2; ++pair) {
                Vector result;
#pragma unroll
                for (unsigned c = 0; c < Columns; ++c) {
                    float z = sum[r / 2][c][r % 2 * 2 + pair];
                    if (i == 0) {
                        const unsigned at = column + pair * Columns + c;
                        z = dense.row(input)[at] > 0 ? rounded(z + packed[at]) : 0.0f;
                    }
                    result.at[c] = stop ? 0.0f : z;
                }
                *reinterpret_cast<Vector*>(to + pair * Columns) = result;
            }
        }
    }
}

/// @throws ContractError if an input's vectors do not fit the shared memory of a block
inline void check_interaction(const InteractionShape& s) {
    const std::size_t bytes = std::max(s.forward_floats, s.backward_floats) * sizeof(float);
    const std::size_t most = current_device().shared_bytes;
    require(bytes <= most, [&] {
        return concat("the interaction of ", s.vectors, " vectors of dim ", s.dim, " takes ", bytes,
                      " bytes of shared memory, expected at most ", most);
    });
}

/// Warps of a block: as many as leave several blocks to a multiprocessor.
[[nodiscard]] inline unsigned interaction_warps(unsigned floats) {
    constexpr unsigned budget = 48 * 1024;
    return std::clamp(budget / (floats * static_cast<unsigned>(sizeof(float))), 1u, 8u);
}

[[nodiscard]] inline bool reads_wide(MatrixView<const float> rows) {
    return rows.stride() % 4 == 0 && reinterpret_cast<std::uintptr_t>(rows.data()) % 16 == 0;
}

/// Calls f<loads>() with how vectors of this dim are read.
template <class F>
void visit_loads(const InteractionShape& s, bool wide, F&& f) {
    using L = VectorLoads;
    if (!wide || s.dim % 4 != 0) return f.template operator()<L::narrow>();
    switch (s.dim) {
        case 16:
            return f.template operator()<L::quads4>();
        case 32:
            return f.template operator()<L::quads8>();
        case 64:
            return f.template operator()<L::quads16>();
        case 128:
            return f.template operator()<L::quads32>();
        default:
            return f.template operator()<L::wide>();
    }
}

template <class... Arguments>
void launch_interaction(On on, void (*kernel)(Arguments...), std::size_t inputs, unsigned floats,
                        std::type_identity_t<Arguments>... arguments) {
    const unsigned warps = interaction_warps(floats);
    const std::size_t bytes = std::size_t{warps} * floats * sizeof(float);
    if (bytes > 48 * 1024) {
        check(::cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     static_cast<int>(bytes)),
              "shared memory for the interaction");
    }
    kernel<<<static_cast<unsigned>(ceil_div<std::size_t>(inputs, warps)), warps * 32, bytes, on.stream>>>(
        arguments...);
    check_launch("interact_kernel or separate_kernel");
}

/// Whether TF32 products of this shape run on tensor cores.
[[nodiscard]] inline bool on_tensor_cores(const InteractionShape& s, Precision precision, bool wide) {
    return precision == Precision::tf32 && wide && s.vectors <= tensor_vectors && s.dim % 16 == 0;
}

/// Queues the forward kernel.
/// @shape dense [n, dim]; pooled [n, (vectors - 1) * dim]; out [n, width], stride a multiple of 4
/// @exec  cuda::On: queued
/// @cost  reads n * vectors * dim, writes n * width elements
inline void interact(On on, const InteractionShape& s, Precision precision, MatrixView<const float> dense,
                     MatrixView<const float> pooled, MatrixView<float> out) {
    const bool wide = reads_wide(dense) && reads_wide(pooled);
    if (on_tensor_cores(s, precision, wide)) {
        launch_interaction(on, interact_tensor_kernel, dense.rows(), round_up(s.width(), 4u), s, dense,
                           pooled, out);
        return;
    }
    visit_loads(s, wide, [&]<VectorLoads L>() {
        launch_interaction(on, interact_kernel<L>, dense.rows(), s.forward_floats, s, dense, pooled, out);
    });
}

/// Queues the backward kernel.
/// @shape as interact; each gradient as what it is the gradient of; stopped [1]
///        with Precision::tf32, the gradient of dense is rounded to TF32
/// @exec  cuda::On: queued
/// @cost  reads n * (vectors * dim + width), writes n * vectors * dim elements
inline void separate(On on, const InteractionShape& s, Precision precision, MatrixView<const float> dense,
                     MatrixView<const float> pooled, MatrixView<const float> out_gradient,
                     MatrixView<float> dense_gradient, MatrixView<float> pooled_gradient,
                     const unsigned* stopped) {
    const bool wide = reads_wide(dense) && reads_wide(pooled) && reads_wide(pooled_gradient);
    if (on_tensor_cores(s, precision, wide && reads_wide(dense_gradient))) {
        launch_interaction(on, s.dim % 32 == 0 ? separate_tensor_kernel<4> : separate_tensor_kernel<2>,
                           dense.rows(), round_up(s.width(), 4u), s, dense, pooled, out_gradient,
                           dense_gradient, pooled_gradient, stopped);
        return;
    }
    visit_loads(s, wide, [&]<VectorLoads L>() {
        launch_interaction(on, separate_kernel<L>, dense.rows(), s.backward_floats, s, dense, pooled,
                           out_gradient, dense_gradient, pooled_gradient, stopped,
                           precision == Precision::tf32);
    });
}

}  // namespace fae::inline FAE_ABI::cuda::detail
