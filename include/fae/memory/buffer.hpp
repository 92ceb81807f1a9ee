// SPDX-License-Identifier: Apache-2.0
//
// Buffer: a fixed number of trivially copyable elements in one space, owned, move-only.
//
//   Buffer<float> heap(n);                    // uninitialised
//   Buffer<float, PageSpace> table(n);        // zero, huge pages, placed at first touch
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI {

/// Owns `size` elements of T in space S. Elements are not initialised (zero where the space says so).
template <class T, Space S = HostSpace>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

  public:
    Buffer() = default;
    /// @throws std::bad_alloc, also where size * sizeof(T) does not fit a size_t
    explicit Buffer(std::size_t size) : size_(size) {
        if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_array_new_length();
        if (size != 0) data_ = static_cast<T*>(S::allocate(size * sizeof(T)));
    }
    Buffer(Buffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        Buffer moved(std::move(other));
        std::swap(data_, moved.data_);
        std::swap(size_, moved.size_);
        return *this;
    }
    ~Buffer() {
        if (data_ != nullptr) S::deallocate(data_, size_ * sizeof(T));
    }

    [[nodiscard]] T* data() { return data_; }
    [[nodiscard]] const T* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::size_t bytes() const { return size_ * sizeof(T); }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] Span<T> span() { return {data_, size_}; }
    [[nodiscard]] Span<const T> span() const { return {data_, size_}; }

    [[nodiscard]] T* begin() requires S::host_accessible { return data_; }
    [[nodiscard]] T* end() requires S::host_accessible { return data_ + size_; }
    [[nodiscard]] const T* begin() const requires S::host_accessible { return data_; }
    [[nodiscard]] const T* end() const requires S::host_accessible { return data_ + size_; }
    [[nodiscard]] T& operator[](std::size_t i) requires S::host_accessible { return data_[i]; }
    [[nodiscard]] const T& operator[](std::size_t i) const requires S::host_accessible { return data_[i]; }

  private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fae::inline FAE_ABI
