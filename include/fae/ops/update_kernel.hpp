// SPDX-License-Identifier: Apache-2.0
//
// The hot loop of the optimizers: updates rows whose addresses and gradients are known. Internal to ops;
// optimizer.hpp says what an update is.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/ops/instruction_set.hpp"
#include "fae/ops/lanes.hpp"
#include "fae/ops/optimizer.hpp"

namespace fae::inline FAE_ABI {
namespace detail {

/// Rows that are to be updated.
template <class T>
struct UpdateBlock {
    const T* const* gradients;  ///< [rows]
    T* const* weights;          ///< [rows]
    T* const* states;           ///< [rows]; not read where the optimizer has no state
    std::size_t rows;
    std::size_t dim;
    T lr;
};

/// sum_of_squares in registers.
template <InstructionSet S, class T>
FAE_OPS_INLINE T sum_of_squares_in(const T* gradient, std::size_t dim) {
    constexpr std::size_t wide = vector_bytes(S) / sizeof(T);
    using Sums = Columns<S, T, wide, row_partials / wide>;
    alignas(64) T partial[row_partials];
    Sums sums;
    sums.fill(T{0});
    std::size_t c = 0;
    for (; dim - c >= row_partials; c += row_partials) {
        Sums x;
        x.load(gradient + c);
        sums.multiply_add(x, x);
    }
    sums.store(partial);
    const auto add = [&]<class Group>(Group sum, std::size_t i) FAE_OPS_LAMBDA {
        Group x;
        x.load(gradient + c + i);
        sum.load(partial + i);
        sum.multiply_add(x, x);
        sum.store(partial + i);
    };
    constexpr std::size_t narrow = 16 / sizeof(T);
    const std::size_t rest = dim - c;
    std::size_t i = 0;
    for (; rest - i >= narrow; i += narrow) add(Columns<S, T, narrow, 1>{}, i);
    for (; i < rest; ++i) add(Columns<S, T, 1, 1>{}, i);
    for (std::size_t half = row_partials / 2; half != 0; half /= 2) {
        for (std::size_t k = 0; k < half; ++k) partial[k] = partial[k] + partial[k + half];
    }
    return partial[0];
}

/// weights = weights - (lr * gradient) / divisor
template <class Group, class T>
FAE_OPS_INLINE void step_by(T lr, const T* gradient, const Group& divisor, T* weights) {
    Group w;
    Group g;
    Group step;
    w.load(weights);
    g.load(gradient);
    step.fill(lr);
    step.multiply(g);
    step.divide(divisor);
    w.subtract(step);
    w.store(weights);
}

template <InstructionSet S, class T>
FAE_OPS_INLINE void update(const Sgd&, T lr, const T* gradient, T* weights, T*, std::size_t dim) {
    for_columns<S, T>(dim, [&]<class Group>(std::size_t c) FAE_OPS_LAMBDA {
        Group w;
        Group g;
        Group rate;
        w.load(weights + c);
        g.load(gradient + c);
        rate.fill(-lr);
        w.multiply_add(rate, g);
        w.store(weights + c);
    });
}

template <InstructionSet S, class T>
FAE_OPS_INLINE void update(const Adagrad& optimizer, T lr, const T* gradient, T* weights, T* state,
                           std::size_t dim) {
    for_columns<S, T>(dim, [&]<class Group>(std::size_t c) FAE_OPS_LAMBDA {
        Group g;
        Group sum;
        Group eps;
        g.load(gradient + c);
        sum.load(state + c);
        sum.multiply_add(g, g);
        sum.store(state + c);
        sum.square_root();
        eps.fill(static_cast<T>(optimizer.eps));
        sum.add(eps);
        step_by(lr, gradient + c, sum, weights + c);
    });
}

template <InstructionSet S, class T>
FAE_OPS_INLINE void update(const RowwiseAdagrad& optimizer, T lr, const T* gradient, T* weights, T* state,
                           std::size_t dim) {
    const T squares = sum_of_squares_in<S>(gradient, dim);
    const T sum = state[0] + squares / static_cast<T>(opaque(dim));
    state[0] = sum;
    const T divisor = std::sqrt(sum) + static_cast<T>(optimizer.eps);
    for_columns<S, T>(dim, [&]<class Group>(std::size_t c) FAE_OPS_LAMBDA {
        Group d;
        d.fill(divisor);
        step_by(lr, gradient + c, d, weights + c);
    });
}

template <InstructionSet S, class T, Optimizer O>
FAE_OPS_INLINE void update_width(const UpdateBlock<T>& block, const O& optimizer, std::size_t dim) {
    for (std::size_t r = 0; r < block.rows; ++r) {
        update<S, T>(optimizer, block.lr, block.gradients[r], block.weights[r], block.states[r], dim);
    }
}

/// As in pool: a constant width leaves a single group of columns to look at.
template <InstructionSet S, class T, Optimizer O>
FAE_OPS_INLINE void update_rows(const UpdateBlock<T>& block, const O& optimizer) {
    switch (block.dim) {
        case 16:
            return update_width<S>(block, optimizer, 16);
        case 32:
            return update_width<S>(block, optimizer, 32);
        case 64:
            return update_width<S>(block, optimizer, 64);
        default:
            return update_width<S>(block, optimizer, block.dim);
    }
}

template <class T, Optimizer O>
void update_rows_baseline(const UpdateBlock<T>& block, const O& optimizer) {
    update_rows<InstructionSet::baseline>(block, optimizer);
}
#if defined(__x86_64__)
template <class T, Optimizer O>
FAE_OPS_AVX2 void update_rows_avx2(const UpdateBlock<T>& block, const O& optimizer) {
    update_rows<InstructionSet::avx2>(block, optimizer);
}
template <class T, Optimizer O>
FAE_OPS_AVX512 void update_rows_avx512(const UpdateBlock<T>& block, const O& optimizer) {
    update_rows<InstructionSet::avx512>(block, optimizer);
}
#endif

template <class T, Optimizer O>
using UpdateKernel = void (*)(const UpdateBlock<T>&, const O&);

template <class T, Optimizer O>
[[nodiscard]] UpdateKernel<T, O> update_kernel(InstructionSet set) {
#if defined(__x86_64__)
    if (set == InstructionSet::avx512) return update_rows_avx512<T, O>;
    if (set == InstructionSet::avx2) return update_rows_avx2<T, O>;
#endif
    static_cast<void>(set);
    return update_rows_baseline<T, O>;
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI
