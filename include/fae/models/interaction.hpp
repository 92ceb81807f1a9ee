// SPDX-License-Identifier: Apache-2.0
//
// The dot interaction of DLRM: all pairs of an input's vectors (the dense one and the pooled ones), and its
// gradient. Both are small matrix products per input, kept in registers.
//
//   detail::Interaction<float> interaction(vectors, dim);
//   interaction.forward(dense, pooled, out, scratch);     // out: dense, then (1,0), (2,0), (2,1), ...
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI::detail {

// Eight elements in one register (or in as many as the machine needs for eight).
template <class T>
struct EightOf {
    typedef T type __attribute__((vector_size(8 * sizeof(T))));  // NOLINT: an alias cannot carry the size
};

inline constexpr std::size_t tile_columns = 16;

// out[r][0..16) = sum over k of a[r, k] * b[k, 0..16), k ascending; lda and ldb are row strides.
template <class T, std::size_t Rows>
[[gnu::always_inline]] inline void small_tile(std::size_t depth, const T* a, std::size_t lda, const T* b,
                                              std::size_t ldb, T (*out)[tile_columns]) {
    using Eight = typename EightOf<T>::type;
    Eight sum[Rows][2] = {};
    for (std::size_t k = 0; k < depth; ++k) {
        Eight left;
        Eight right;
        std::memcpy(&left, b + k * ldb, sizeof(Eight));
        std::memcpy(&right, b + k * ldb + 8, sizeof(Eight));
        for (std::size_t r = 0; r < Rows; ++r) {
            const T x = a[r * lda + k];
            sum[r][0] += x * left;
            sum[r][1] += x * right;
        }
    }
    for (std::size_t r = 0; r < Rows; ++r) {
        std::memcpy(out[r], &sum[r][0], sizeof(Eight));
        std::memcpy(out[r] + 8, &sum[r][1], sizeof(Eight));
    }
}

inline constexpr std::size_t tile_rows = 4;

template <class T>
[[gnu::always_inline]] inline void small_tile(std::size_t rows, std::size_t depth, const T* a,
                                              std::size_t lda, const T* b, std::size_t ldb,
                                              T (*out)[tile_columns]) {
    switch (rows) {
        case 1:
            return small_tile<T, 1>(depth, a, lda, b, ldb, out);
        case 2:
            return small_tile<T, 2>(depth, a, lda, b, ldb, out);
        case 3:
            return small_tile<T, 3>(depth, a, lda, b, ldb, out);
        default:
            return small_tile<T, 4>(depth, a, lda, b, ldb, out);
    }
}

/// The interaction of one input at a time.
template <class T>
class Interaction {
  public:
    Interaction() = default;
    Interaction(std::size_t vectors, std::size_t dim)
        : vectors_(vectors),
          dim_(dim),
          padded_vectors_(round_up(vectors, tile_columns)),
          padded_dim_(round_up(dim, tile_columns)) {}

    /// Elements of scratch that forward and backward need.
    [[nodiscard]] std::size_t scratch_size() const {
        return std::max(dim_ * padded_vectors_, vectors_ * padded_dim_ + vectors_ * vectors_);
    }

    /// out = [dense, dot(v[1], v[0]), dot(v[2], v[0]), dot(v[2], v[1]), ...], where v[0] is dense and v[i]
    /// row i - 1 of pooled.
    /// @shape dense [dim]; pooled [vectors - 1, dim]; out [dim + vectors * (vectors - 1) / 2]
    [[gnu::noinline]] void forward(const T* dense, const T* pooled, T* out, T* scratch) const {
        // The vectors as columns, padded with zeros: what the rows are multiplied by.
        T* columns = scratch;
        for (std::size_t c = 0; c < dim_; ++c) {
            T* to = columns + c * padded_vectors_;
            to[0] = dense[c];
            for (std::size_t v = 1; v < vectors_; ++v) to[v] = pooled[(v - 1) * dim_ + c];
            for (std::size_t v = vectors_; v < padded_vectors_; ++v) to[v] = 0;
        }
        std::copy_n(dense, dim_, out);
        T* pairs = out + dim_;
        for (std::size_t i = 1; i < vectors_; i += tile_rows) {
            const std::size_t rows = std::min(tile_rows, vectors_ - i);
            for (std::size_t j = 0; j + 1 < i + rows; j += tile_columns) {
                T tile[tile_rows][tile_columns];
                small_tile(rows, dim_, pooled + (i - 1) * dim_, dim_, columns + j, padded_vectors_, tile);
                for (std::size_t r = 0; r < rows; ++r) {
                    if (i + r <= j) continue;
                    std::copy_n(tile[r], std::min(tile_columns, i + r - j),
                                pairs + (i + r) * (i + r - 1) / 2 + j);
                }
            }
        }
    }

    /// The gradients of dense and pooled from the gradient of out.
    /// @shape as in forward
    [[gnu::noinline]] void backward(const T* dense, const T* pooled, const T* out_gradient, T* dense_gradient,
                                    T* pooled_gradient, T* scratch) const {
        T* rows = scratch;
        T* pairs = scratch + vectors_ * padded_dim_;
        for (std::size_t v = 0; v < vectors_; ++v) {
            const T* from = v == 0 ? dense : pooled + (v - 1) * dim_;
            std::fill(std::copy_n(from, dim_, rows + v * padded_dim_), rows + (v + 1) * padded_dim_, T{0});
        }
        // The gradients of the dot products as a symmetric matrix.
        const T* next = out_gradient + dim_;
        for (std::size_t i = 0; i < vectors_; ++i) {
            for (std::size_t j = 0; j < i; ++j) pairs[i * vectors_ + j] = pairs[j * vectors_ + i] = *next++;
            pairs[i * vectors_ + i] = 0;
        }
        for (std::size_t c = 0; c < dim_; c += tile_columns) {
            const std::size_t columns = std::min(tile_columns, dim_ - c);
            for (std::size_t v = 0; v < vectors_; v += tile_rows) {
                const std::size_t count = std::min(tile_rows, vectors_ - v);
                T tile[tile_rows][tile_columns];
                small_tile(count, vectors_, pairs + v * vectors_, vectors_, rows + c, padded_dim_, tile);
                for (std::size_t r = 0; r < count; ++r) {
                    T* to = v + r == 0 ? dense_gradient : pooled_gradient + (v + r - 1) * dim_;
                    std::copy_n(tile[r], columns, to + c);
                }
            }
        }
        for (std::size_t c = 0; c < dim_; ++c) dense_gradient[c] += out_gradient[c];
    }

  private:
    std::size_t vectors_ = 1;
    std::size_t dim_ = 1;
    std::size_t padded_vectors_ = tile_columns;
    std::size_t padded_dim_ = tile_columns;
};

}  // namespace fae::inline FAE_ABI::detail
