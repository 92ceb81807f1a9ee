// SPDX-License-Identifier: Apache-2.0
//
// The small types that every layer shares: row ids, slots, pooling, the kinds of inputs and batches, and the
// one bit of a located index that says which tier holds the row.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// A row of a row space: table offset + index within the table. 64-bit at every interface.
using RowId = std::uint64_t;

/// A place in the fast tier.
using Slot = std::uint64_t;

/// How a bag's rows become one vector.
enum class Pooling : std::uint8_t {
    sum,       ///< out = row[0] + row[1] + ..., front to back
    mean,      ///< the sum, divided once by the number of rows
    weighted,  ///< out = fma(w[i], row[i], out), front to back; needs one weight per value
};

/// What is known of the look-ups of an input or of a batch.
enum class Heat : std::uint8_t {
    cold,   ///< at least one look-up is outside the hot set; indices are row ids
    hot,    ///< every look-up is in the hot set; indices are slots
    mixed,  ///< not looked at (the plain shuffled order); indices are row ids
};

/// An index type that a batch can be stored in.
template <class T>
concept IndexType = std::same_as<T, std::uint32_t> || std::same_as<T, std::uint64_t>;

/// The bit of a *located* index that says "this is a slot of the fast tier"; without it, a row id at home.
template <IndexType Index>
inline constexpr Index fast_bit = Index{1} << (sizeof(Index) * 8 - 1);

/// True if a located index addresses the fast tier.
template <IndexType Index>
[[nodiscard]] FAE_HD constexpr bool is_fast(Index located) {
    return (located & fast_bit<Index>) != 0;
}

/// The slot or row id of a located index, without its tier bit.
template <IndexType Index>
[[nodiscard]] FAE_HD constexpr Index position_of(Index located) {
    return located & static_cast<Index>(~fast_bit<Index>);
}

/// The most rows that a row space (or slots that a fast tier) may have to be indexed by `Index`.
template <IndexType Index>
inline constexpr std::uint64_t max_rows = static_cast<std::uint64_t>(fast_bit<Index>);

/// `value` rounded up to a multiple of `step`.
template <std::unsigned_integral T>
[[nodiscard]] FAE_HD constexpr T round_up(T value, T step) {
    return (value + (step - 1)) / step * step;
}

/// The number of parts of at most `part` that `whole` is cut into.
template <std::unsigned_integral T>
[[nodiscard]] FAE_HD constexpr T ceil_div(T whole, T part) {
    return whole / part + (whole % part != 0 ? 1 : 0);
}

}  // namespace fae::inline FAE_ABI
