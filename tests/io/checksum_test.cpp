// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C against its published test values, a bit-by-bit oracle, and between its levels.
#include "fae/io/checksum.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "fae/core/random.hpp"

namespace {

using namespace fae;

std::uint32_t sum_of(std::string_view text) {
    return crc32c({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(mix64(seed * 1'000'003 + i));
    return bytes;
}

// The definition: divide bit by bit.
std::uint32_t oracle(Span<const std::byte> bytes) {
    std::uint32_t state = 0xFFFFFFFFu;
    for (const std::byte value : bytes) {
        state ^= static_cast<std::uint32_t>(value);
        for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1u) != 0 ? 0x82F63B78u : 0u);
    }
    return ~state;
}

}  // namespace

// Catches a wrong polynomial, bit order, initial value or final exclusive or.
TEST_CASE("crc32c: gives the values of RFC 3720 and of the catalogue of CRCs") {
    CHECK(sum_of("") == 0u);
    CHECK(sum_of("123456789") == 0xE3069283u);
    CHECK(sum_of("The quick brown fox jumps over the lazy dog") == 0x22620404u);
    std::vector<std::byte> bytes(32, std::byte{0});
    CHECK(crc32c(bytes) == 0x8A9136AAu);
    bytes.assign(32, std::byte{0xFF});
    CHECK(crc32c(bytes) == 0x62A8AB43u);
    for (unsigned i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(i);
    CHECK(crc32c(bytes) == 0x46DD794Eu);
    for (unsigned i = 0; i < 32; ++i) bytes[i] = static_cast<std::byte>(31 - i);
    CHECK(crc32c(bytes) == 0x113FDB5Cu);
}

// Catches a level that is right only for short or aligned pieces: lanes and tails begin at 8 bytes and 24
// KiB.
TEST_CASE("crc32c: every level equals the division bit by bit, at every length and alignment") {
    const std::vector<std::byte> bytes = random_bytes(1, 80'000);
    std::vector<std::size_t> sizes;
    for (std::size_t size = 0; size < 70; ++size) sizes.push_back(size);
    for (const std::size_t size : {24'575u, 24'576u, 24'577u, 49'152u, 49'159u, 79'000u})
        sizes.push_back(size);
    for (const std::size_t size : sizes) {
        for (std::size_t start = 0; start < (size < 70 ? 9u : 2u); ++start) {
            CAPTURE(size);
            CAPTURE(start);
            const Span<const std::byte> piece(bytes.data() + start, size);
            const std::uint32_t expected = oracle(piece);
            CHECK(crc32c(piece) == expected);
            CHECK(~detail::crc32c_sliced(0xFFFFFFFFu, piece.data(), piece.size()) == expected);
#if defined(__x86_64__)
            if (__builtin_cpu_supports("sse4.2")) {
                CHECK(~detail::crc32c_sse42(0xFFFFFFFFu, piece.data(), piece.size()) == expected);
            }
#endif
        }
    }
}

// Catches a sum that restarts at the seam.
TEST_CASE("crc32c: pieces laid end to end have the sum of the whole") {
    const std::vector<std::byte> bytes = random_bytes(2, 60'000);
    const Span<const std::byte> whole(bytes);
    for (const std::size_t cut : {0u, 1u, 7u, 8u, 4'096u, 30'001u, 59'999u, 60'000u}) {
        CAPTURE(cut);
        const std::uint32_t first = crc32c(whole.subspan(0, cut));
        const Span<const std::byte> rest = whole.subspan(cut, bytes.size() - cut);
        CHECK(crc32c(rest, first) == crc32c(whole));
    }
}

// Catches a sum that leaves some byte out.
TEST_CASE("crc32c: any one changed byte changes the sum") {
    std::vector<std::byte> bytes = random_bytes(3, 700);
    const std::uint32_t sum = crc32c(bytes);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::byte kept = bytes[i];
        for (unsigned change = 1; change < 256; ++change) {
            bytes[i] = kept ^ static_cast<std::byte>(change);
            REQUIRE(crc32c(bytes) != sum);
        }
        bytes[i] = kept;
    }
}
