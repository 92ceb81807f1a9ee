// SPDX-License-Identifier: Apache-2.0
//
// The hot loop of both passes: sums rows whose addresses are known. The forward pass pools the rows of bags,
// the backward pass the gradients of a row's bags. Internal to ops; the callers find the addresses block by
// block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/ops/instruction_set.hpp"
#include "fae/ops/lanes.hpp"

namespace fae::inline FAE_ABI {
namespace detail {

/// Asks for the cache lines of `bytes` bytes from `from` on; `Write` if they are to be changed.
template <int Write>
FAE_OPS_INLINE void fetch(const void* from, std::size_t bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(from);
    for (std::uintptr_t line = begin & ~std::uintptr_t{63}; line < begin + bytes; line += 64) {
        __builtin_prefetch(reinterpret_cast<const void*>(line), Write, 3);
    }
}

/// The same of rows that begin at a cache line: no line has to be looked for.
template <int Write>
FAE_OPS_INLINE void fetch_aligned(const void* from, std::size_t bytes) {
    const auto* const line = static_cast<const char*>(from);
    for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(line + at, Write, 3);
}

/// True if rows of this base and stride all begin at a cache line.
template <class T>
[[nodiscard]] bool begin_at_lines(const T* base, std::size_t stride) {
    return reinterpret_cast<std::uintptr_t>(base) % 64 == 0 && stride * sizeof(T) % 64 == 0;
}

/// How many rows to fetch ahead: enough to hide a miss, few enough to stay in the first-level cache.
[[nodiscard]] constexpr std::size_t rows_ahead(std::size_t row_bytes, std::size_t most) {
    const std::size_t fit = 16384 / (row_bytes + 64);
    return fit < 2 ? 2 : fit > most ? most : fit;
}

/// Bags, whole or in part, that are to be pooled. (In the backward pass, a "bag" is a row's contributions.)
template <class T>
struct PoolBlock {
    const T* const* rows;  ///< [lookups + ahead] the row of each look-up; the last `ahead` only fetched
    const float* weights;  ///< [lookups], weighted pooling only
    const std::uint32_t* begins;  ///< [bags] where each bag's look-ups begin, counted from the block's first,
    const std::uint32_t* ends;    ///< [bags] and end; null where bags have one row each and no weight
    std::size_t bags;
    std::size_t ahead;  ///< look-ups to fetch a row ahead; 0: rows have been fetched
    bool aligned;       ///< all rows begin at a cache line
    T* out;             ///< the first bag's result
    std::size_t out_stride;
    std::size_t dim;
    bool continued;  ///< the first bag began in an earlier block: out holds its sum so far
    bool cut;        ///< the last bag goes on in a later block
    bool mean;       ///< bags are divided by their sizes, but for the one continued and the one cut
};

/// One row a bag: copies it.
template <InstructionSet S, class T>
FAE_OPS_INLINE void pool_single(const PoolBlock<T>& block, std::size_t dim) {
    const T* const* const rows = block.rows;
    const T* const* const ahead = rows + block.ahead;
    const bool aligned = block.aligned;
    const std::size_t bags = block.bags;
    const std::size_t stride = block.out_stride;
    T* out = block.out;
    for (std::size_t b = 0; b < bags; ++b, out += stride) {
        if (aligned) {
            fetch_aligned<0>(ahead[b], dim * sizeof(T));
        } else {
            fetch<0>(ahead[b], dim * sizeof(T));
        }
        for_columns<S, T>(dim, [&]<class Group>(std::size_t c) FAE_OPS_LAMBDA {
            Group row;
            row.load(rows[b] + c);
            row.store(out + c);
        });
    }
}

template <InstructionSet S, class T, bool Weighted>
FAE_OPS_INLINE void pool_any(const PoolBlock<T>& block, std::size_t dim) {
    const T* const* const rows = block.rows;
    const std::size_t ahead = block.ahead;
    const bool fetches = ahead != 0;
    const auto fetch_row = [&](std::size_t i) FAE_OPS_LAMBDA {
        if (block.aligned) {
            fetch_aligned<0>(rows[i + ahead], dim * sizeof(T));
        } else {
            fetch<0>(rows[i + ahead], dim * sizeof(T));
        }
    };
    T* out = block.out;
    for (std::size_t b = 0; b < block.bags; ++b, out += block.out_stride) {
        const std::size_t begin = block.begins[b];
        const std::size_t end = block.ends[b];
        const bool continued = b == 0 && block.continued;
        const bool divided =
            block.mean && end - begin > 1 && !continued && !(b + 1 == block.bags && block.cut);
        for_columns<S, T>(dim, [&]<class Group>(std::size_t c) FAE_OPS_LAMBDA {
            Group sum;
            std::size_t i = begin;
            if (continued) {
                sum.load(out + c);
            } else if (begin == end) {
                sum.fill(T{0});
            } else {
                if (fetches && c == 0) fetch_row(i);
                sum.load(rows[i] + c);
                if constexpr (Weighted) {
                    Group weight;
                    weight.fill(static_cast<T>(block.weights[i]));
                    sum.multiply(weight);
                }
                ++i;
            }
            for (; i < end; ++i) {
                if (fetches && c == 0) fetch_row(i);
                Group row;
                row.load(rows[i] + c);
                if constexpr (Weighted) {
                    Group weight;
                    weight.fill(static_cast<T>(block.weights[i]));
                    sum.multiply_add(weight, row);
                } else {
                    sum.add(row);
                }
            }
            if (divided) {
                Group size;
                size.fill(static_cast<T>(end - begin));
                sum.divide(size);
            }
            sum.store(out + c);
        });
    }
}

/// The loops of one width: a constant one leaves a single group of columns to look at.
template <InstructionSet S, class T, bool Weighted>
FAE_OPS_INLINE void pool_width(const PoolBlock<T>& block, std::size_t dim) {
    if (!Weighted && block.ends == nullptr) {
        pool_single<S>(block, dim);
    } else {
        pool_any<S, T, Weighted>(block, dim);
    }
}

template <InstructionSet S, class T, bool Weighted>
FAE_OPS_INLINE void pool(const PoolBlock<T>& block) {
    switch (block.dim) {
        case 16:
            return pool_width<S, T, Weighted>(block, 16);
        case 32:
            return pool_width<S, T, Weighted>(block, 32);
        case 64:
            return pool_width<S, T, Weighted>(block, 64);
        default:
            return pool_width<S, T, Weighted>(block, block.dim);
    }
}

template <class T, bool Weighted>
void pool_baseline(const PoolBlock<T>& block) {
    pool<InstructionSet::baseline, T, Weighted>(block);
}
#if defined(__x86_64__)
template <class T, bool Weighted>
FAE_OPS_AVX2 void pool_avx2(const PoolBlock<T>& block) {
    pool<InstructionSet::avx2, T, Weighted>(block);
}
template <class T, bool Weighted>
FAE_OPS_AVX512 void pool_avx512(const PoolBlock<T>& block) {
    pool<InstructionSet::avx512, T, Weighted>(block);
}
#endif

template <class T>
using PoolKernel = void (*)(const PoolBlock<T>&);

template <class T, bool Weighted>
[[nodiscard]] inline PoolKernel<T> pool_kernel(InstructionSet set) {
#if defined(__x86_64__)
    if (set == InstructionSet::avx512) return pool_avx512<T, Weighted>;
    if (set == InstructionSet::avx2) return pool_avx2<T, Weighted>;
#endif
    static_cast<void>(set);
    return pool_baseline<T, Weighted>;
}

template <class T>
[[nodiscard]] PoolKernel<T> pool_kernel(InstructionSet set, bool weighted) {
    return weighted ? pool_kernel<T, true>(set) : pool_kernel<T, false>(set);
}

/// Gradients of bags, each to be divided by a number of its own.
template <class T>
struct DivideBlock {
    const T* from;
    std::size_t from_stride;
    T* to;  ///< rows of dim, one after another
    std::size_t rows;
    std::size_t dim;
    const T* divisors;  ///< [rows]
};

template <InstructionSet S, class T>
FAE_OPS_INLINE void divide(const DivideBlock<T>& block) {
    for (std::size_t r = 0; r < block.rows; ++r) {
        for_columns<S, T>(block.dim, [&]<class Group>(std::size_t c) FAE_OPS_LAMBDA {
            Group value;
            Group divisor;
            value.load(block.from + r * block.from_stride + c);
            divisor.fill(block.divisors[r]);
            value.divide(divisor);
            value.store(block.to + r * block.dim + c);
        });
    }
}

template <class T>
void divide_baseline(const DivideBlock<T>& block) {
    divide<InstructionSet::baseline>(block);
}
#if defined(__x86_64__)
template <class T>
FAE_OPS_AVX2 void divide_avx2(const DivideBlock<T>& block) {
    divide<InstructionSet::avx2>(block);
}
template <class T>
FAE_OPS_AVX512 void divide_avx512(const DivideBlock<T>& block) {
    divide<InstructionSet::avx512>(block);
}
#endif

template <class T>
using DivideKernel = void (*)(const DivideBlock<T>&);

template <class T>
[[nodiscard]] inline DivideKernel<T> divide_kernel(InstructionSet set) {
#if defined(__x86_64__)
    if (set == InstructionSet::avx512) return divide_avx512<T>;
    if (set == InstructionSet::avx2) return divide_avx2<T>;
#endif
    static_cast<void>(set);
    return divide_baseline<T>;
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI
