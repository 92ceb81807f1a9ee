// SPDX-License-Identifier: Apache-2.0
//
// Workspace: scratch memory that the caller owns and an operation takes pieces from. Nothing allocates in a
// step.
//
//   Buffer<std::byte> scratch(backward_scratch(shape));   // once
//   Workspace workspace(scratch.span());                  // per call: starts empty again
//   Span<float> partial = workspace.take<float>(n);       // 64-byte aligned
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// The alignment of every piece of a workspace, in bytes.
inline constexpr std::size_t workspace_alignment = 64;

/// The bytes that take<T>(count) uses up, for x_scratch functions: their sum is what x needs, wherever the
/// workspace starts on an aligned byte.
template <class T>
[[nodiscard]] constexpr std::size_t scratch_bytes(std::size_t count) {
    return round_up(count * sizeof(T), workspace_alignment);
}

/// Hands out pieces of a byte range, front to back; pieces live as long as the range does.
class Workspace {
  public:
    Workspace() = default;
    explicit Workspace(Span<std::byte> bytes) : bytes_(bytes) {
        const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
        used_ = bytes.empty() ? 0 : static_cast<std::size_t>((0 - address) % workspace_alignment);
    }

    /// `count` uninitialised elements, 64-byte aligned.
    /// @throws ContractError if fewer bytes are left, with both numbers
    template <class T>
    [[nodiscard]] Span<T> take(std::size_t count) {
        static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= workspace_alignment);
        const std::size_t bytes = scratch_bytes<T>(count);
        require(count <= left() / sizeof(T), [&] {
            return concat("the workspace has ", left(), " bytes left, expected at least ", count * sizeof(T));
        });
        T* piece = reinterpret_cast<T*>(bytes_.data() + used_);
        used_ += bytes;
        return {piece, count};
    }

    /// Bytes not handed out yet.
    [[nodiscard]] std::size_t left() const { return used_ < bytes_.size() ? bytes_.size() - used_ : 0; }

  private:
    Span<std::byte> bytes_;
    std::size_t used_ = 0;
};

}  // namespace fae::inline FAE_ABI
