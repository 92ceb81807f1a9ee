// SPDX-License-Identifier: Apache-2.0
//
// Tests of core/span.hpp, core/matrix_view.hpp, core/types.hpp, core/error.hpp, core/row_layout.hpp and
// core/workspace.hpp.
#include "fae/core/span.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"

using namespace fae;

// Catches conversions that drop const, or change the element type.
TEST_CASE("Span: containers and arrays of the same elements convert, others do not") {
    static_assert(std::is_convertible_v<std::vector<float>&, Span<float>>);
    static_assert(std::is_convertible_v<std::vector<float>&, Span<const float>>);
    static_assert(std::is_convertible_v<const std::vector<float>&, Span<const float>>);
    static_assert(std::is_convertible_v<Span<float>, Span<const float>>);
    static_assert(std::is_convertible_v<std::array<int, 3>&, Span<int>>);
    static_assert(!std::is_convertible_v<const std::vector<float>&, Span<float>>);
    static_assert(!std::is_convertible_v<Span<const float>, Span<float>>);
    static_assert(!std::is_convertible_v<std::vector<double>&, Span<const float>>);
    static_assert(!std::is_convertible_v<std::vector<int>&, Span<unsigned>>);
    static_assert(std::is_trivially_copyable_v<Span<float>>);
    int array[4] = {1, 2, 3, 4};
    const Span<int> span(array);
    CHECK(span.size() == 4);
    CHECK(std::accumulate(span.begin(), span.end(), 0) == 10);
    CHECK(span.front() == 1);
    CHECK(span.back() == 4);
    CHECK(span.subspan(1, 2).data() == array + 1);
    CHECK(span.subspan(4, 0).empty());
    CHECK(Span<int>().empty());
}

// Catches a row that starts at columns instead of stride.
TEST_CASE("MatrixView: rows start a stride apart") {
    std::vector<float> data(20);
    std::iota(data.begin(), data.end(), 0.0F);
    const MatrixView<float> matrix(data.data(), 4, 3, 5);
    CHECK(matrix(2, 1) == 11);
    CHECK(matrix.row(3)[2] == 17);
    const MatrixView<const float> part = matrix.row_range(1, 2);
    CHECK(part.rows() == 2);
    CHECK(part.stride() == 5);
    CHECK(part(0, 0) == 5);
    CHECK_NOTHROW(require_shape("out", matrix, 4, 3));
    CHECK_THROWS_WITH_AS(require_shape("out", matrix, 8, 3), "out is [4, 3] at stride 5, expected [8, 3]",
                         ContractError);
    CHECK_THROWS_AS(require_shape("out", matrix, 4, 4), ContractError);
    CHECK_THROWS_AS(require_shape("out", MatrixView<float>(data.data(), 4, 3, 2), 4, 3), ContractError);
}

// Catches a tier bit that overlaps the position.
TEST_CASE_TEMPLATE("located indices: the tier bit and the position are apart", Index, std::uint32_t,
                   std::uint64_t) {
    const auto last = static_cast<Index>(max_rows<Index> - 1);
    for (const Index position : {Index{0}, Index{1}, last}) {
        CHECK_FALSE(is_fast<Index>(position));
        CHECK(is_fast<Index>(position | fast_bit<Index>));
        CHECK(position_of<Index>(position | fast_bit<Index>) == position);
        CHECK(position_of<Index>(position) == position);
    }
    CHECK((fast_bit<Index> << 1) == 0);
}

// Catches sums that wrap around before the division.
TEST_CASE("ceil_div and round_up: exact at the ends of the range") {
    CHECK(ceil_div(0u, 7u) == 0);
    CHECK(ceil_div(1u, 7u) == 1);
    CHECK(ceil_div(7u, 7u) == 1);
    CHECK(ceil_div(8u, 7u) == 2);
    CHECK(ceil_div(~std::uint64_t{0}, std::uint64_t{2}) == std::uint64_t{1} << 63);
    CHECK(round_up(0u, 64u) == 0);
    CHECK(round_up(1u, 64u) == 64);
    CHECK(round_up(64u, 64u) == 64);
    CHECK(round_up(std::uint64_t{65}, std::uint64_t{64}) == 128);
}

// Catches a record whose rows are not 16-byte aligned, or that has no room for the state.
TEST_CASE(
    "row_layout: weights and state fit the stride, which is a multiple of 16 bytes and no longer than "
    "needed") {
    for (std::size_t dim = 1; dim <= 70; ++dim) {
        for (const std::size_t state : {std::size_t{0}, std::size_t{1}, dim}) {
            const RowLayout f = row_layout<float>(dim, state);
            CHECK(f.dim == dim);
            CHECK(f.state == state);
            CHECK(f.bytes() % 16 == 0);
            CHECK(f.stride >= dim + state);
            CHECK(f.stride < dim + state + 4);
            const RowLayout d = row_layout<double>(dim, state);
            CHECK(d.bytes<double>() % 16 == 0);
            CHECK(d.stride < dim + state + 2);
        }
    }
}

// Catches pieces that overlap or are not aligned, and scratch sizes that are too small for an unaligned
// start.
TEST_CASE("Workspace: pieces are aligned, apart, and exactly as many as scratch_bytes says") {
    std::vector<std::byte> raw(4096 + 128);
    for (const std::size_t shift : {0u, 1u, 17u, 63u}) {
        const auto address = reinterpret_cast<std::uintptr_t>(raw.data()) + shift;
        const std::size_t skipped = (64 - address % 64) % 64;
        const std::size_t needed =
            scratch_bytes<float>(10) + scratch_bytes<std::byte>(1) + scratch_bytes<double>(100);
        Workspace workspace(Span<std::byte>(raw.data() + shift, needed + skipped));
        const Span<float> a = workspace.take<float>(10);
        const Span<std::byte> b = workspace.take<std::byte>(1);
        const Span<double> c = workspace.take<double>(100);
        for (const void* piece :
             {static_cast<void*>(a.data()), static_cast<void*>(b.data()), static_cast<void*>(c.data())}) {
            CHECK(reinterpret_cast<std::uintptr_t>(piece) % workspace_alignment == 0);
        }
        CHECK(reinterpret_cast<std::byte*>(a.data() + 10) <= b.data());
        CHECK(b.data() + 1 <= reinterpret_cast<std::byte*>(c.data()));
        CHECK(reinterpret_cast<std::byte*>(c.data() + 100) <= raw.data() + shift + needed + skipped);
        CHECK(workspace.left() == 0);
        CHECK_THROWS_AS((void)workspace.take<char>(1), ContractError);
        CHECK(workspace.take<char>(0).empty());
    }
}

// Catches a count whose bytes wrap around, and a workspace of no bytes.
TEST_CASE("Workspace: asking for too much is an error with both numbers, whatever the amount") {
    std::vector<std::byte> raw(256);
    Workspace workspace{Span<std::byte>(raw)};
    CHECK_THROWS_WITH_AS((void)workspace.take<float>(1000), doctest::Contains("expected at least 4000"),
                         ContractError);
    CHECK_THROWS_AS((void)workspace.take<float>(~std::size_t{0} / 4), ContractError);
    CHECK_THROWS_AS((void)workspace.take<double>((~std::size_t{0} / 8) + 1), ContractError);
    Workspace none;
    CHECK(none.left() == 0);
    CHECK_THROWS_AS((void)none.take<char>(1), ContractError);
}

// Catches messages without the place.
TEST_CASE("errors: their messages hold the place, and all are fae::Error") {
    const IoError io("a.fae", 12, "is short");
    CHECK(std::string(io.what()) == "a.fae: byte 12: is short");
    CHECK(io.path == "a.fae");
    CHECK(io.byte == 12);
    CHECK(std::string(IoError("a.fae", "is gone").what()) == "a.fae: is gone");
    const FormatError format("log", 3, 7, "no label");
    CHECK(std::string(format.what()) == "log:3:7: no label");
    CHECK(NonFiniteError(9, "loss").step == 9);
    bool made = false;
    const auto message = [&] {
        made = true;
        return std::string("wrong");
    };
    require(true, message);
    CHECK_FALSE(made);
    CHECK_THROWS_WITH_AS(require(false, message), "wrong", ContractError);
    static_assert(std::is_base_of_v<Error, IoError> && std::is_base_of_v<Error, FormatError> &&
                  std::is_base_of_v<Error, ContractError> && std::is_base_of_v<Error, IndexError>);
}
