// SPDX-License-Identifier: Apache-2.0
//
// How the columns of a row are dealt to threads. Internal to the kernels of the embedding operations.
//
// A row is read by a group of `width` neighbouring lanes of a warp, `pack` consecutive columns each: 16 bytes
// where rows are aligned, one column else. Rows that are wider than a group are cut into slices. Every sum
// begins with the negative zero, which added to anything leaves it as it is: what begins so begins with its
// first term, and what is missing at the end of a batch of loads is filled with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/types.hpp"
#include "fae/ops/row_source.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

inline constexpr unsigned warp_size = 32;
inline constexpr unsigned all_lanes = 0xffffffffu;

/// One rounding each, whatever surrounds them: nothing here is contracted.
__device__ inline float multiplied(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double multiplied(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float added(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double added(double a, double b) { return __dadd_rn(a, b); }
__device__ inline float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
__device__ inline float divided(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline double divided(double a, double b) { return __ddiv_rn(a, b); }
__device__ inline float square_root(float a) { return __fsqrt_rn(a); }
__device__ inline double square_root(double a) { return __dsqrt_rn(a); }

/// Consecutive columns of a row, moved by one instruction.
template <class T, unsigned Columns>
struct alignas(sizeof(T) * Columns) Pack {
    using Word = std::conditional_t<sizeof(T) * Columns == 16, uint4,
                                    std::conditional_t<sizeof(T) * Columns == 8, uint2, unsigned>>;
    T x[Columns];

    __device__ static Pack filled(T value) {
        Pack pack;
#pragma unroll
        for (unsigned i = 0; i < Columns; ++i) pack.x[i] = value;
        return pack;
    }
    /// What a sum begins with.
    __device__ static Pack none() { return filled(-T{0}); }
    __device__ static Pack load(const T* from) { return *reinterpret_cast<const Pack*>(from); }
    __device__ void store(T* to) const { *reinterpret_cast<Pack*>(to) = *this; }
    /// The same for what is not needed again soon: it is to leave the caches first.
    __device__ static Pack load_once(const T* from) {
        const Word word = __ldcs(reinterpret_cast<const Word*>(from));
        return reinterpret_cast<const Pack&>(word);
    }
    /// The same for what nothing writes while the kernel runs.
    __device__ static Pack load_constant(const T* from) {
        const Word word = __ldg(reinterpret_cast<const Word*>(from));
        return reinterpret_cast<const Pack&>(word);
    }
    __device__ void store_once(T* to) const {
        __stcs(reinterpret_cast<Word*>(to), reinterpret_cast<const Word&>(*this));
    }
    __device__ void add(const Pack& other) {
#pragma unroll
        for (unsigned i = 0; i < Columns; ++i) x[i] = added(x[i], other.x[i]);
    }
    __device__ void multiply_add(T factor, const Pack& other) {
#pragma unroll
        for (unsigned i = 0; i < Columns; ++i) x[i] = fused(factor, other.x[i], x[i]);
    }
    __device__ void divide(T divisor) {
#pragma unroll
        for (unsigned i = 0; i < Columns; ++i) x[i] = divided(x[i], divisor);
    }
};

/// A way to deal a row's columns: groups of `Width` lanes, `Columns` columns a lane.
template <class T, unsigned Columns, unsigned Width>
struct Lanes {
    using Element = T;
    using Vector = Pack<T, Columns>;
    static constexpr unsigned pack = Columns;
    static constexpr unsigned width = Width;
    static constexpr unsigned groups = warp_size / Width;  ///< of a warp
    static constexpr unsigned slice = Columns * Width;     ///< columns of a slice

    [[nodiscard]] static unsigned slices(std::size_t dim) {
        return static_cast<unsigned>(ceil_div<std::size_t>(dim, slice));
    }
    /// The lane's number within its group, and the group's within the warp.
    __device__ static unsigned lane() { return threadIdx.x % Width; }
    __device__ static unsigned group() { return threadIdx.x % warp_size / Width; }
};

/// Value i of those that the lanes of a group hold, lane after lane.
template <class Lanes, class Value, unsigned PerLane>
__device__ Value of_lane(const Value (&values)[PerLane], unsigned i) {
    return __shfl_sync(all_lanes, values[i / Lanes::width], static_cast<int>(i % Lanes::width), Lanes::width);
}

/// The sum of `count` terms in the columns of this lane, front to back. A term is known by a key:
/// finder.find(i), by one lane; finder.load<Vector>(key, column), by all; finder.weight(i). All groups of the
/// warp take as many turns as the one with the most terms, and all lanes must call. A lane that is not
/// `active` reads no term.
template <class Lanes, bool Weighted, class Finder>
__device__ typename Lanes::Vector sum_terms(const Finder& finder, std::uint32_t count, unsigned column,
                                            bool active) {
    using Vector = typename Lanes::Vector;
    using T = typename Lanes::Element;
    using Key = typename Finder::Key;
    // Loads in flight: as many as registers hold, of terms and of long keys.
    constexpr unsigned batch = Lanes::pack >= 4 || sizeof(Key) == 8 ? 8 : 16;
    constexpr unsigned chunk = Lanes::width < batch ? batch : Lanes::width;
    constexpr unsigned per_lane = chunk / Lanes::width;
    Vector sum = Vector::none();
    const std::uint32_t most = __reduce_max_sync(all_lanes, count);
    const std::uint32_t mine = active ? count : 0;
    const std::uint32_t least = __reduce_min_sync(all_lanes, mine);  // all lanes have as many
    Key next[per_lane];
    const auto find = [&](std::uint32_t base) {
#pragma unroll
        for (unsigned q = 0; q < per_lane; ++q) {
            const std::uint32_t i = base + q * Lanes::width + Lanes::lane();
            next[q] = i < count ? finder.find(i) : Key{0};
        }
    };
    find(0);
    for (std::uint32_t base = 0; base < most; base += chunk) {
        Key key[per_lane];
        T weight[per_lane];
#pragma unroll
        for (unsigned q = 0; q < per_lane; ++q) {
            key[q] = next[q];
            weight[q] = T{1};
            if constexpr (Weighted) {
                const std::uint32_t i = base + q * Lanes::width + Lanes::lane();
                if (i < count) weight[q] = finder.weight(i);
            }
        }
        // The keys of the next chunk are on their way while this one is summed.
        if (base + chunk < most) find(base + chunk);
#pragma unroll
        for (unsigned j = 0; j < chunk; j += batch) {
            if (base + j >= most) break;
            Key found[batch];
            Vector term[batch];
#pragma unroll
            for (unsigned u = 0; u < batch; ++u) found[u] = of_lane<Lanes>(key, j + u);
            const bool whole = base + j + batch <= least;
            if (whole) {
#pragma unroll
                for (unsigned u = 0; u < batch; ++u) term[u] = finder.template load<Vector>(found[u], column);
            } else {
#pragma unroll
                for (unsigned u = 0; u < batch; ++u) {
                    if (base + j + u < mine) term[u] = finder.template load<Vector>(found[u], column);
                }
            }
#pragma unroll
            for (unsigned u = 0; u < batch; ++u) {
                T factor = T{1};
                if constexpr (Weighted) factor = of_lane<Lanes>(weight, j + u);
                if (whole || base + j + u < mine) {
                    if constexpr (Weighted) {
                        sum.multiply_add(factor, term[u]);
                    } else {
                        sum.add(term[u]);
                    }
                }
            }
        }
    }
    return sum;
}

/// True if rows of this base and stride can be moved 16 bytes at a time.
template <class T>
[[nodiscard]] bool aligned_rows(const T* base, std::size_t stride) {
    return reinterpret_cast<std::uintptr_t>(base) % 16 == 0 && stride * sizeof(T) % 16 == 0;
}
template <class T>
[[nodiscard]] bool aligned_rows(const MatrixView<T>& matrix) {
    return aligned_rows(matrix.data(), matrix.stride());
}
/// `state`: the optimizer has as many elements of state as there are columns, which are moved alike.
template <class T>
[[nodiscard]] bool aligned_rows(const RowSource<T>& source, bool state = false) {
    const auto aligned = [&](const RowsView<T>& view) {
        return view.rows == 0 || (aligned_rows(view.weights, view.stride) &&
                                  (!state || aligned_rows(view.state, view.state_stride)));
    };
    bool all = aligned(source.fast);
    for (const RowsView<T>& part : source.home) all = all && aligned(part);
    return all;
}

/// How rows are dealt to lanes.
enum class Deal : std::uint8_t {
    packs,        ///< 16 bytes a lane
    more_lanes,   ///< narrow rows 8 bytes a lane: more loads are under way where few rows have many terms
    whole_rows,   ///< 16 bytes a lane, and rows of up to 512 bytes in one slice
    wide_slices,  ///< 16 bytes a lane, and slices of 512 bytes where they leave no more lanes idle
};

/// Calls f with the Lanes that fit rows of `dim` columns. Wide rows are cut into slices of 256 bytes, for a
/// slice of all gradients of a batch to stay in the second-level cache.
template <class T, Deal deal, class F>
void with_lanes(std::size_t dim, bool aligned, F&& f) {
    constexpr unsigned columns = 16 / sizeof(T);
    if (aligned && dim % columns == 0) {
        const std::size_t packs = dim / columns;
        if (packs <= 4) {
            if constexpr (deal == Deal::more_lanes) {
                return f(Lanes<T, columns / 2, 8>{});
            } else {
                return f(Lanes<T, columns, 4>{});
            }
        }
        if (packs <= 8) return f(Lanes<T, columns, 8>{});
        if constexpr (deal == Deal::whole_rows) {
            if (packs > 16 && packs <= 32) return f(Lanes<T, columns, 32>{});
        }
        if constexpr (deal == Deal::wide_slices) {
            if (ceil_div<std::size_t>(packs, 16) % 2 == 0) return f(Lanes<T, columns, 32>{});
        }
        return f(Lanes<T, columns, 16>{});
    }
    return f(Lanes<T, 1, 32>{});
}

}  // namespace fae::inline FAE_ABI::cuda::detail
