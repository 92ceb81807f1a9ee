// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C (Castagnoli), the checksum of fae's files: reflected polynomial 0x82F63B78, initial value and final
// exclusive or of all ones. It finds every error within 32 consecutive bits, so every flipped byte, and every
// three flipped bits of a piece of less than 2^31 bits.
//
//   std::uint32_t sum = crc32c(header);
//   sum = crc32c(body, sum);                // as if header and body were one piece
//
// On x86-64 with SSE 4.2 the processor's instruction is used, in three independent lanes (one alone would
// wait for its own latency); elsewhere eight tables take eight bytes a step. The choice is made once, at run
// time.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace fae::inline FAE_ABI {

namespace detail {

inline constexpr std::uint32_t crc32c_polynomial = 0x82F63B78u;

/// a * b modulo the polynomial; bit 31 is x^0, as in every reflected CRC.
[[nodiscard]] constexpr std::uint32_t crc32c_multiply(std::uint32_t a, std::uint32_t b) {
    std::uint32_t product = 0;
    for (std::uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
        if ((a & bit) != 0) product ^= b;
        b = (b >> 1) ^ ((b & 1u) != 0 ? crc32c_polynomial : 0u);
    }
    return product;
}

/// x^(8 * bytes) modulo the polynomial: what following zero bytes multiply a remainder by.
[[nodiscard]] constexpr std::uint32_t crc32c_power(std::uint64_t bytes) {
    std::uint32_t power = 0x80000000u;   // x^0
    std::uint32_t square = 0x00800000u;  // x^8
    for (; bytes != 0; bytes >>= 1) {
        if ((bytes & 1u) != 0) power = crc32c_multiply(power, square);
        square = crc32c_multiply(square, square);
    }
    return power;
}

/// Table k, entry b: the remainder of byte b followed by k zero bytes.
inline constexpr auto crc32c_slices = [] {
    std::array<std::array<std::uint32_t, 256>, 8> slices{};
    for (std::uint32_t b = 0; b < 256; ++b) {
        std::uint32_t remainder = b;
        for (int bit = 0; bit < 8; ++bit) {
            remainder = (remainder >> 1) ^ ((remainder & 1u) != 0 ? crc32c_polynomial : 0u);
        }
        slices[0][b] = remainder;
    }
    for (std::size_t k = 1; k < 8; ++k) {
        for (std::size_t b = 0; b < 256; ++b) {
            const std::uint32_t before = slices[k - 1][b];
            slices[k][b] = (before >> 8) ^ slices[0][before & 0xFFu];
        }
    }
    return slices;
}();

[[nodiscard]] inline std::uint32_t crc32c_byte(std::uint32_t state, std::byte value) {
    return (state >> 8) ^ crc32c_slices[0][(state ^ static_cast<std::uint32_t>(value)) & 0xFFu];
}

/// The portable level: a state (neither initial value nor final exclusive or) moved over `size` bytes.
/// @source the tables are Kounavis and Berry's slicing-by-8, ISCC 2005
[[nodiscard]] inline std::uint32_t crc32c_sliced(std::uint32_t state, const std::byte* data,
                                                 std::size_t size) {
    for (; size >= 8; size -= 8, data += 8) {
        std::uint32_t low = 0;
        std::uint32_t high = 0;
        for (unsigned i = 0; i < 4; ++i) {
            low |= static_cast<std::uint32_t>(data[i]) << (8 * i);
            high |= static_cast<std::uint32_t>(data[i + 4]) << (8 * i);
        }
        low ^= state;
        state = 0;
        for (unsigned i = 0; i < 4; ++i) {
            state ^= crc32c_slices[7 - i][(low >> (8 * i)) & 0xFFu];
            state ^= crc32c_slices[3 - i][(high >> (8 * i)) & 0xFFu];
        }
    }
    for (; size != 0; --size, ++data) state = crc32c_byte(state, *data);
    return state;
}

#if defined(__x86_64__)
inline constexpr std::size_t crc32c_lane = 8192;  ///< bytes of one of the three lanes

/// Multiplies a remainder by x^(8 * crc32c_lane), a byte of it at a time.
inline constexpr auto crc32c_lane_shift = [] {
    std::array<std::array<std::uint32_t, 256>, 4> shift{};
    const std::uint32_t power = crc32c_power(crc32c_lane);
    for (std::uint32_t k = 0; k < 4; ++k) {
        for (std::uint32_t b = 0; b < 256; ++b) shift[k][b] = crc32c_multiply(power, b << (8 * k));
    }
    return shift;
}();

[[nodiscard]] inline std::uint32_t crc32c_shift_lane(std::uint32_t state) {
    return crc32c_lane_shift[0][state & 0xFFu] ^ crc32c_lane_shift[1][(state >> 8) & 0xFFu] ^
           crc32c_lane_shift[2][(state >> 16) & 0xFFu] ^ crc32c_lane_shift[3][state >> 24];
}

/// The level of SSE 4.2; the same state as crc32c_sliced.
[[nodiscard]] __attribute__((target("sse4.2"))) inline std::uint32_t crc32c_sse42(std::uint32_t state,
                                                                                  const std::byte* data,
                                                                                  std::size_t size) {
    const auto word = [](const std::byte* at) {
        std::uint64_t value;
        std::memcpy(&value, at, sizeof value);
        return value;
    };
    for (; size >= 3 * crc32c_lane; size -= 3 * crc32c_lane, data += 3 * crc32c_lane) {
        std::uint64_t first = state;
        std::uint64_t second = 0;
        std::uint64_t third = 0;
        for (std::size_t i = 0; i < crc32c_lane; i += 8) {
            first = _mm_crc32_u64(first, word(data + i));
            second = _mm_crc32_u64(second, word(data + crc32c_lane + i));
            third = _mm_crc32_u64(third, word(data + 2 * crc32c_lane + i));
        }
        state = crc32c_shift_lane(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
        state = crc32c_shift_lane(state) ^ static_cast<std::uint32_t>(third);
    }
    std::uint64_t wide = state;
    for (; size >= 8; size -= 8, data += 8) wide = _mm_crc32_u64(wide, word(data));
    state = static_cast<std::uint32_t>(wide);
    for (; size != 0; --size, ++data) state = _mm_crc32_u8(state, static_cast<unsigned char>(*data));
    return state;
}
#endif

using Crc32cLevel = std::uint32_t (*)(std::uint32_t, const std::byte*, std::size_t);

/// The fastest level of this processor.
[[nodiscard]] inline Crc32cLevel crc32c_level() {
#if defined(__x86_64__)
    static const Crc32cLevel level = __builtin_cpu_supports("sse4.2") ? crc32c_sse42 : crc32c_sliced;
    return level;
#else
    return crc32c_sliced;
#endif
}

}  // namespace detail

/// The CRC-32C of `bytes`; with the sum of what comes before them, of the whole.
/// @cost   reads the bytes once; no allocation
/// @source RFC 3720, appendix B.4 (the polynomial and its test values)
[[nodiscard]] inline std::uint32_t crc32c(Span<const std::byte> bytes, std::uint32_t before = 0) {
    return ~detail::crc32c_level()(~before, bytes.data(), bytes.size());
}

}  // namespace fae::inline FAE_ABI
