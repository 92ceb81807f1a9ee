// SPDX-License-Identifier: Apache-2.0
//
// Matrix products by Eigen that allocate nothing and whose pieces depend on the shape alone.
//
//   add_product(as_eigen(out), as_eigen(x), as_eigen(weights).transpose());    // out += x * weights^T
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"

#if defined(EIGEN_HAS_OPENMP)
#error "fae: Eigen's sums depend on its number of threads; link fae::models, or define EIGEN_DONT_PARALLELIZE"
#endif

namespace fae::inline FAE_ABI::detail {

template <class T>
using EigenRows = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class T>
using EigenView = Eigen::Map<std::conditional_t<std::is_const_v<T>, const EigenRows<T>, EigenRows<T>>,
                             Eigen::Unaligned, Eigen::OuterStride<>>;

/// A matrix of ours as one of Eigen's.
template <class T>
[[nodiscard]] EigenView<T> as_eigen(const MatrixView<T>& matrix) {
    return EigenView<T>(matrix.data(), static_cast<Eigen::Index>(matrix.rows()),
                        static_cast<Eigen::Index>(matrix.columns()),
                        Eigen::OuterStride<>(static_cast<Eigen::Index>(matrix.stride())));
}

/// out += lhs * rhs. Eigen packs its operands and takes memory for that from the heap where a packed block is
/// over 128 KiB (EIGEN_STACK_ALLOCATION_LIMIT), from the stack otherwise. So the product is cut: 64 rows of
/// lhs, a depth that keeps these in 128 KiB, and as many columns of rhs as fit there too.
/// @cost  up to 256 KiB of the calling thread's stack; no allocation
template <class Out, class Lhs, class Rhs>
void add_product(Out&& out, const Lhs& lhs, const Rhs& rhs) {
    using T = typename std::remove_cvref_t<Out>::Scalar;
    using Eigen::Index;
    constexpr Index block = Index{128} * 1024 / Index{sizeof(T)};
    constexpr Index most_rows = 64;
    constexpr Index most_depth = block / most_rows;
    for (Index k = 0; k < lhs.cols(); k += most_depth) {
        const Index depth = std::min(most_depth, lhs.cols() - k);
        const Index most_columns = block / depth;
        for (Index r = 0; r < out.rows(); r += most_rows) {
            const Index rows = std::min(most_rows, out.rows() - r);
            for (Index c = 0; c < out.cols(); c += most_columns) {
                const Index columns = std::min(most_columns, out.cols() - c);
                out.block(r, c, rows, columns).noalias() +=
                    lhs.block(r, k, rows, depth) * rhs.block(k, c, depth, columns);
            }
        }
    }
}

}  // namespace fae::inline FAE_ABI::detail
