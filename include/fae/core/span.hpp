// SPDX-License-Identifier: Apache-2.0
//
// Span: a pointer and a count, usable in kernels (std::span is not, without extra compiler flags).
// Any contiguous container of the same element type converts to it.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// A view of `size` consecutive elements that somebody else owns.
template <class T>
class Span {
  public:
    using element_type = T;
    using value_type = std::remove_cv_t<T>;
    using iterator = T*;

    constexpr Span() = default;
    FAE_HD constexpr Span(T* data, std::size_t size) : data_(data), size_(size) {}

    /// From a container with data() and size(), whose elements are T (or T without const).
    template <class Container>
    requires requires(Container& c) {
        { c.data() } -> std::convertible_to<T*>;
        { c.size() } -> std::convertible_to<std::size_t>;
    } && std::is_same_v<std::remove_cv_t<std::remove_pointer_t<decltype(std::declval<Container&>().data())>>,
                        std::remove_cv_t<T>>
    constexpr Span(Container&& container) : data_(container.data()), size_(container.size()) {}  // NOLINT

    /// From an array.
    template <std::size_t N>
    FAE_HD constexpr Span(T (&array)[N]) : data_(array), size_(N) {}  // NOLINT

    [[nodiscard]] FAE_HD constexpr T* data() const { return data_; }
    [[nodiscard]] FAE_HD constexpr std::size_t size() const { return size_; }
    [[nodiscard]] FAE_HD constexpr bool empty() const { return size_ == 0; }
    [[nodiscard]] FAE_HD constexpr T* begin() const { return data_; }
    [[nodiscard]] FAE_HD constexpr T* end() const { return data_ + size_; }
    [[nodiscard]] FAE_HD constexpr T& operator[](std::size_t i) const { return data_[i]; }
    [[nodiscard]] FAE_HD constexpr T& front() const { return data_[0]; }
    [[nodiscard]] FAE_HD constexpr T& back() const { return data_[size_ - 1]; }

    /// `count` elements from `first` on; the caller sees to it that they exist.
    [[nodiscard]] FAE_HD constexpr Span subspan(std::size_t first, std::size_t count) const {
        return {data_ + first, count};
    }

  private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fae::inline FAE_ABI
