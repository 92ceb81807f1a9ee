// SPDX-License-Identifier: Apache-2.0
//
// MatrixView: rows of equal length at a fixed stride, row-major, owned by somebody else.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// A row-major matrix [rows, columns] whose rows start `stride` elements apart.
/// @pre stride >= columns
template <class T>
class MatrixView {
  public:
    constexpr MatrixView() = default;
    FAE_HD constexpr MatrixView(T* data, std::size_t rows, std::size_t columns, std::size_t stride)
        : data_(data), rows_(rows), columns_(columns), stride_(stride) {}
    FAE_HD constexpr MatrixView(T* data, std::size_t rows, std::size_t columns)
        : MatrixView(data, rows, columns, columns) {}

    /// A view of mutable elements is also a view of const ones.
    template <class U>
    requires(!std::is_const_v<T> && std::is_same_v<U, const T>) FAE_HD constexpr operator MatrixView<U>()
        const {  // NOLINT
        return {data_, rows_, columns_, stride_};
    }

    [[nodiscard]] FAE_HD constexpr T* data() const { return data_; }
    [[nodiscard]] FAE_HD constexpr std::size_t rows() const { return rows_; }
    [[nodiscard]] FAE_HD constexpr std::size_t columns() const { return columns_; }
    [[nodiscard]] FAE_HD constexpr std::size_t stride() const { return stride_; }
    [[nodiscard]] FAE_HD constexpr T* row(std::size_t r) const { return data_ + r * stride_; }
    [[nodiscard]] FAE_HD constexpr T& operator()(std::size_t r, std::size_t c) const {
        return data_[r * stride_ + c];
    }

    /// `count` rows from `first` on; the caller sees to it that they exist.
    [[nodiscard]] FAE_HD constexpr MatrixView row_range(std::size_t first, std::size_t count) const {
        return {row(first), count, columns_, stride_};
    }

  private:
    T* data_ = nullptr;
    std::size_t rows_ = 0;
    std::size_t columns_ = 0;
    std::size_t stride_ = 0;
};

/// Throws ContractError unless `matrix` is [rows, columns]: "out is [7, 16], expected [8, 16]".
template <class T>
void require_shape(const char* name, const MatrixView<T>& matrix, std::size_t rows, std::size_t columns) {
    require(matrix.rows() == rows && matrix.columns() == columns && matrix.stride() >= columns, [&] {
        return concat(name, " is [", matrix.rows(), ", ", matrix.columns(), "] at stride ", matrix.stride(),
                      ", expected [", rows, ", ", columns, "]");
    });
}

}  // namespace fae::inline FAE_ABI
