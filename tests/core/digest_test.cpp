// SPDX-License-Identifier: Apache-2.0
//
// Digest: golden values, worked out apart from this code, and what must change them.
#include "fae/core/digest.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fae/core/threads.hpp"

using namespace fae;

namespace {

template <class T>
std::string of_floats(const std::vector<T>& values) {
    Digest digest;
    digest.add_floats(Span<const T>(values));
    return digest.hex();
}

// Row r holds r and 2 r; `changed` holds one more.
template <Executor E>
std::string of_rows(const E& exec, std::uint64_t rows, std::uint64_t changed = ~std::uint64_t{0}) {
    Digest digest;
    digest_rows(exec, digest, rows, [&](Digest& of_chunk, std::uint64_t r) {
        of_chunk.add(r + (r == changed ? 1 : 0));
        of_chunk.add(2 * r);
    });
    return digest.hex();
}

}  // namespace

// Catches a digest that changes with a release, after which no saved one could be compared.
TEST_CASE("digest: gives the values that it always gave") {
    Digest digest;
    CHECK(digest.hex() == "0000000000000000");
    digest.add(1);
    CHECK(digest.hex() == "910a2dec89025cc1");
    CHECK(digest.value() == 0x910A2DEC89025CC1u);
    digest.add(2);
    digest.add(3);
    CHECK(digest.hex() == "d0734750fde362b3");
    CHECK(of_floats<float>({1.0f, -0.0f}) == "8a9decb745295d26");
    CHECK(of_floats<double>({1.5}) == "d6dab18e1392608a");
    CHECK(of_rows(seq, 2500) == "d6be8b22ee105753");
}

// Catches values that are compared as numbers: zeros of both signs are equal, no NaN equals itself.
TEST_CASE("digest: every bit of a value counts, and so does its place") {
    std::set<std::string> seen{of_floats<float>({1.0f, 2.0f}), of_floats<float>({2.0f, 1.0f}),
                               of_floats<float>({1.0f}), of_floats<float>({1.0f, 2.0f, 0.0f})};
    CHECK(seen.size() == 4);
    CHECK(of_floats<float>({0.0f}) != of_floats<float>({-0.0f}));
    const auto nan = [](std::uint32_t bits) { return std::bit_cast<float>(0x7FC00000u | bits); };
    CHECK(of_floats<float>({nan(1)}) == of_floats<float>({nan(1)}));
    CHECK(of_floats<float>({nan(1)}) != of_floats<float>({nan(2)}));
    for (unsigned bit = 0; bit < 32; ++bit) {
        const float flipped = std::bit_cast<float>(std::bit_cast<std::uint32_t>(1.0f) ^ (1u << bit));
        CHECK(seen.insert(of_floats<float>({flipped, 2.0f})).second);
    }
    for (unsigned bit = 0; bit < 64; ++bit) {
        const double flipped = std::bit_cast<double>(std::bit_cast<std::uint64_t>(1.0) ^ (1ull << bit));
        CHECK(seen.insert(of_floats<double>({flipped})).second);
    }
}

// Catches a value that depends on how many threads there are, and chunks that leave a row out at a seam.
TEST_CASE("digest_rows: equal for every executor, and every row counts") {
    for (const std::uint64_t rows : {0u, 1u, 1023u, 1024u, 1025u, 2500u}) {
        CAPTURE(rows);
        const std::string expected = of_rows(seq, rows);
        for (const std::size_t count : {1u, 2u, 5u}) {
            Threads threads(count);
            CHECK(of_rows(par(threads), rows) == expected);
        }
        std::set<std::string> seen{expected};
        for (std::uint64_t r = 0; r < rows; r += 1 + rows / 50)
            CHECK(seen.insert(of_rows(seq, rows, r)).second);
        for (const std::uint64_t r : {1022u, 1023u, 1024u, 2047u, 2048u, 2499u}) {
            if (r < rows) CHECK(of_rows(seq, rows, r) != expected);
        }
    }
    CHECK(of_rows(seq, 1024) != of_rows(seq, 1025));
}
