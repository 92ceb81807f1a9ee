// SPDX-License-Identifier: Apache-2.0
//
// Lanes: groups of neighbouring columns in vector registers, for each instruction set. Internal to ops.
//
// A hot loop is an always_inline template over an InstructionSet, called from a function that carries the
// set's target attribute (kernels.hpp). Such a template may hold vectors and add, multiply and divide them,
// for the compiler knows the target where the loop ends up. What it cannot know, a fused multiply-add and a
// square root of a whole vector without a detour through errno, comes from the small functions here, which
// carry the target themselves; they take references, for vectors passed by value would depend on the target's
// calling convention.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/ops/instruction_set.hpp"

// nvcc passes the unrolling on to the host compiler, and warns that it does not know it.
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675
#endif

#define FAE_OPS_INLINE [[gnu::always_inline]] inline
#define FAE_OPS_LAMBDA __attribute__((always_inline))
#if defined(__clang__)
#define FAE_OPS_UNROLL _Pragma("unroll")
#else
#define FAE_OPS_UNROLL _Pragma("GCC unroll 16")
#endif
#if defined(__x86_64__)
#define FAE_OPS_AVX2 [[gnu::target("avx2,fma")]]
#define FAE_OPS_AVX512 [[gnu::target("avx512f,avx2,fma")]]
#endif

namespace fae::inline FAE_ABI {
namespace detail {

/// W neighbouring elements of T, W * sizeof(T) = 16, 32 or 64 bytes.
template <class T, std::size_t W>
struct VectorOf {
    typedef T type __attribute__((vector_size(W * sizeof(T))));
};
template <class T>
struct VectorOf<T, 1> {
    using type = T;
};
template <class T, std::size_t W>
using Vector = typename VectorOf<T, W>::type;

/// Bytes of the widest register of a set.
[[nodiscard]] constexpr std::size_t vector_bytes(InstructionSet set) {
    return set == InstructionSet::avx512 ? 64 : set == InstructionSet::avx2 ? 32 : 16;
}

/// Ends a product: what follows cannot be contracted with it.
template <class T, std::size_t W>
FAE_OPS_INLINE void round_product(Vector<T, W>& value) {
#if defined(__x86_64__)
    asm("" : "+x"(value));
#elif defined(__aarch64__)
    asm("" : "+w"(value));
#else
    asm("" : "+m"(value));
#endif
}

/// In the instructions of a set: acc = fma(a, b, acc); value = sqrt(value); value = a product that is rounded
/// before anything else happens to it; value = x in every lane (x - 0 keeps a negative zero).
template <InstructionSet S, class T, std::size_t W>
struct Lanes {
    using V = Vector<T, W>;
    FAE_OPS_INLINE static void multiply_add(V& acc, const V& a, const V& b) {
        if constexpr (W == 1) {
            acc = std::fma(a, b, acc);
        } else {
            T x[W];
            T y[W];
            T z[W];
            std::memcpy(x, &a, sizeof(V));
            std::memcpy(y, &b, sizeof(V));
            std::memcpy(z, &acc, sizeof(V));
            for (std::size_t i = 0; i < W; ++i) z[i] = std::fma(x[i], y[i], z[i]);
            std::memcpy(&acc, z, sizeof(V));
        }
    }
    FAE_OPS_INLINE static void fill(V& value, T x) { value = x - V{}; }
    FAE_OPS_INLINE static void square_root(V& value) {
        if constexpr (W == 1) {
            value = std::sqrt(value);
        } else {
            T x[W];
            std::memcpy(x, &value, sizeof(V));
            for (std::size_t i = 0; i < W; ++i) x[i] = std::sqrt(x[i]);
            std::memcpy(&value, x, sizeof(V));
        }
    }
    FAE_OPS_INLINE static void multiply(V& value, const V& by) {
        value = value * by;
        round_product<T, W>(value);
    }
};

#if defined(__x86_64__)
// The assembler derives the width from the registers that the operands are in.
template <class T, std::size_t W>
requires(W > 1) struct Lanes<InstructionSet::avx2, T, W> {
    using V = Vector<T, W>;
    FAE_OPS_AVX2 static inline void multiply_add(V& acc, const V& a, const V& b) {
        if constexpr (sizeof(T) == 4) {
            asm("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b));
        } else {
            asm("vfmadd231pd %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b));
        }
    }
    FAE_OPS_AVX2 static inline void fill(V& value, T x) { value = x - V{}; }
    FAE_OPS_AVX2 static inline void square_root(V& value) {
        if constexpr (sizeof(T) == 4) {
            asm("vsqrtps %0, %0" : "+x"(value));
        } else {
            asm("vsqrtpd %0, %0" : "+x"(value));
        }
    }
    FAE_OPS_AVX2 static inline void multiply(V& value, const V& by) {
        value = value * by;
        asm("" : "+x"(value));
    }
};

template <class T, std::size_t W>
requires(W * sizeof(T) == 64) struct Lanes<InstructionSet::avx512, T, W> {
    using V = Vector<T, W>;
    FAE_OPS_AVX512 static inline void multiply_add(V& acc, const V& a, const V& b) {
        if constexpr (sizeof(T) == 4) {
            asm("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
        } else {
            asm("vfmadd231pd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
        }
    }
    FAE_OPS_AVX512 static inline void fill(V& value, T x) { value = x - V{}; }
    FAE_OPS_AVX512 static inline void square_root(V& value) {
        if constexpr (sizeof(T) == 4) {
            asm("vsqrtps %0, %0" : "+v"(value));
        } else {
            asm("vsqrtpd %0, %0" : "+v"(value));
        }
    }
    FAE_OPS_AVX512 static inline void multiply(V& value, const V& by) {
        value = value * by;
        asm("" : "+v"(value));
    }
};
template <class T, std::size_t W>
requires(W > 1 && W * sizeof(T) < 64) struct Lanes<InstructionSet::avx512, T, W>
    : Lanes<InstructionSet::avx2, T, W> {
};
#endif

/// N * W neighbouring columns in registers.
template <InstructionSet S, class T, std::size_t W, std::size_t N>
struct Columns {
    using V = Vector<T, W>;
    using L = Lanes<S, T, W>;
    V v[N];

    FAE_OPS_INLINE void load(const T* from) {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) std::memcpy(&v[k], from + k * W, sizeof(V));
    }
    FAE_OPS_INLINE void store(T* to) const {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) std::memcpy(to + k * W, &v[k], sizeof(V));
    }
    FAE_OPS_INLINE void fill(T x) { FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) L::fill(v[k], x); }
    FAE_OPS_INLINE void add(const Columns& x) {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) v[k] = v[k] + x.v[k];
    }
    FAE_OPS_INLINE void subtract(const Columns& x) {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) v[k] = v[k] - x.v[k];
    }
    FAE_OPS_INLINE void multiply(const Columns& x) {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) L::multiply(v[k], x.v[k]);
    }
    FAE_OPS_INLINE void divide(const Columns& x) {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) v[k] = v[k] / x.v[k];
    }
    /// this = fma(a, b, this)
    FAE_OPS_INLINE void multiply_add(const Columns& a, const Columns& b) {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) L::multiply_add(v[k], a.v[k], b.v[k]);
    }
    FAE_OPS_INLINE void square_root() {
        FAE_OPS_UNROLL for (std::size_t k = 0; k < N; ++k) L::square_root(v[k]);
    }
};

/// Cuts `dim` columns into groups that registers hold, widest first, and calls f.template
/// operator()<Group>(c) for each, Group a Columns and c its first column: 256 bytes at a time (128 in the
/// baseline), then 64, then 16, then one column.
template <InstructionSet S, class T, class F>
FAE_OPS_INLINE void for_columns(std::size_t dim, F&& f) {
    constexpr std::size_t wide = vector_bytes(S) / sizeof(T);
    constexpr std::size_t narrow = 16 / sizeof(T);
    constexpr std::size_t line = 64 / sizeof(T);
    constexpr std::size_t most = vector_bytes(S) == 16 ? 2 * line : 4 * line;
    std::size_t c = 0;
    for (; dim - c >= most; c += most) f.template operator()<Columns<S, T, wide, most / wide>>(c);
    for (; dim - c >= line; c += line) f.template operator()<Columns<S, T, wide, line / wide>>(c);
    for (; dim - c >= narrow; c += narrow) f.template operator()<Columns<S, T, narrow, 1>>(c);
    for (; c < dim; ++c) f.template operator()<Columns<S, T, 1, 1>>(c);
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI

#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif
