// SPDX-License-Identifier: Apache-2.0
//
// Optimizers of embedding rows: what one row's update does, as a value that names the rule and its constants.
//
//   update_row(Adagrad{}, lr, weights, state, gradient, dim);     // the rule, one row
//   visit_optimizer(kind, [&](auto optimizer) { ... });           // from a name known at run time
//
// Every rule is part of the law that placement and backend change no bit: each step below is one rounding, to
// nearest, denormals kept. `fma` rounds once; nothing else may be contracted.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"

namespace fae::inline FAE_ABI {

/// The update rules, for choices made at run time.
enum class OptimizerKind : std::uint8_t { sgd, adagrad, rowwise_adagrad };

/// Stochastic gradient descent: w = fma(-lr, g, w). No state.
struct Sgd {
    static constexpr OptimizerKind kind = OptimizerKind::sgd;
    [[nodiscard]] static constexpr std::size_t state_size(std::size_t) { return 0; }
};

/// Adagrad, one accumulator per weight: s = fma(g, g, s), then w = w - (lr * g) / (sqrt(s) + eps).
/// @source Duchi, Hazan, Singer, JMLR 2011
struct Adagrad {
    static constexpr OptimizerKind kind = OptimizerKind::adagrad;
    [[nodiscard]] static constexpr std::size_t state_size(std::size_t dim) { return dim; }
    float eps = 1e-8f;
};

/// Adagrad with one accumulator per row: s = s + q / dim, then w = w - (lr * g) / (sqrt(s) + eps), where q is
/// the sum of squares of the row's gradient in this order: 32 partial sums, p[c mod 32] = fma(g[c], g[c],
/// p[c mod 32]) over ascending columns c from p = 0, then p[i] = p[i] + p[i + h] for h = 16, 8, 4, 2, 1.
struct RowwiseAdagrad {
    static constexpr OptimizerKind kind = OptimizerKind::rowwise_adagrad;
    [[nodiscard]] static constexpr std::size_t state_size(std::size_t) { return 1; }
    float eps = 1e-8f;
};

/// An update rule: Sgd, Adagrad, RowwiseAdagrad.
template <class O>
concept Optimizer = std::is_trivially_copyable_v<O> && requires(std::size_t dim) {
    { O::kind } -> std::convertible_to<OptimizerKind>;
    { O::state_size(dim) } -> std::convertible_to<std::size_t>;
};
static_assert(Optimizer<Sgd> && Optimizer<Adagrad> && Optimizer<RowwiseAdagrad>);

/// Calls f with the optimizer of a kind and returns what f returns. `eps` is for the kinds that have one.
template <class F>
decltype(auto) visit_optimizer(OptimizerKind kind, F&& f, float eps = 1e-8f) {
    switch (kind) {
        case OptimizerKind::adagrad:
            return std::forward<F>(f)(Adagrad{eps});
        case OptimizerKind::rowwise_adagrad:
            return std::forward<F>(f)(RowwiseAdagrad{eps});
        case OptimizerKind::sgd:
            break;
    }
    return std::forward<F>(f)(Sgd{});
}

/// Elements of optimizer state that a row of `dim` weights carries: 0 (SGD), dim (Adagrad), 1 (row-wise).
[[nodiscard]] inline std::size_t state_size(OptimizerKind kind, std::size_t dim) {
    return visit_optimizer(kind, [&](auto optimizer) { return optimizer.state_size(dim); });
}

/// What an optimizer is called: in provenances, in reports and on command lines.
[[nodiscard]] inline const char* optimizer_name(OptimizerKind kind) {
    switch (kind) {
        case OptimizerKind::adagrad:
            return "adagrad";
        case OptimizerKind::rowwise_adagrad:
            return "rowwise-adagrad";
        case OptimizerKind::sgd:
            break;
    }
    return "sgd";
}

namespace detail {

/// Hides from the compiler that a count is a constant. A division by a constant power of two would become a
/// product, and a product that feeds an addition is contracted.
[[nodiscard, gnu::always_inline]] inline std::size_t opaque(std::size_t count) {
    asm("" : "+r"(count));
    return count;
}

/// The partial sums of a sum over a row's columns.
inline constexpr std::size_t row_partials = 32;

/// The sum of squares of a gradient in the order of RowwiseAdagrad.
template <class T>
[[nodiscard, gnu::always_inline]] FAE_HD inline T sum_of_squares(const T* gradient, std::size_t dim) {
    T partial[row_partials] = {};
    std::size_t c = 0;
    for (; c + row_partials <= dim; c += row_partials) {
        for (std::size_t i = 0; i < row_partials; ++i) {
            partial[i] = std::fma(gradient[c + i], gradient[c + i], partial[i]);
        }
    }
    for (std::size_t i = 0; c + i < dim; ++i) {
        partial[i] = std::fma(gradient[c + i], gradient[c + i], partial[i]);
    }
    for (std::size_t half = row_partials / 2; half != 0; half /= 2) {
        for (std::size_t i = 0; i < half; ++i) partial[i] = partial[i] + partial[i + half];
    }
    return partial[0];
}

}  // namespace detail

/// One step of SGD on one row.
/// @shape weights, gradient [dim]; state unused
template <class T>
[[gnu::always_inline]] FAE_HD inline void update_row(const Sgd&, std::type_identity_t<T> lr,
                                                     T* __restrict weights, T* /*state*/,
                                                     const T* __restrict gradient, std::size_t dim) {
    for (std::size_t c = 0; c < dim; ++c) weights[c] = std::fma(-lr, gradient[c], weights[c]);
}

/// One step of Adagrad on one row.
/// @shape weights, state, gradient [dim]
template <class T>
[[gnu::always_inline]] FAE_HD inline void update_row(const Adagrad& optimizer, std::type_identity_t<T> lr,
                                                     T* __restrict weights, T* __restrict state,
                                                     const T* __restrict gradient, std::size_t dim) {
    const T eps = static_cast<T>(optimizer.eps);
    for (std::size_t c = 0; c < dim; ++c) {
        const T sum = std::fma(gradient[c], gradient[c], state[c]);
        state[c] = sum;
        weights[c] = weights[c] - (lr * gradient[c]) / (std::sqrt(sum) + eps);
    }
}

/// One step of row-wise Adagrad on one row.
/// @shape weights, gradient [dim]; state [1]
template <class T>
[[gnu::always_inline]] FAE_HD inline void update_row(const RowwiseAdagrad& optimizer,
                                                     std::type_identity_t<T> lr, T* __restrict weights,
                                                     T* __restrict state, const T* __restrict gradient,
                                                     std::size_t dim) {
    const T sum = state[0] + detail::sum_of_squares(gradient, dim) / static_cast<T>(detail::opaque(dim));
    state[0] = sum;
    const T divisor = std::sqrt(sum) + static_cast<T>(optimizer.eps);
    for (std::size_t c = 0; c < dim; ++c) weights[c] = weights[c] - (lr * gradient[c]) / divisor;
}

}  // namespace fae::inline FAE_ABI
