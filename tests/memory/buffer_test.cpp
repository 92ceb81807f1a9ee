// SPDX-License-Identifier: Apache-2.0
//
// Tests of memory/space.hpp and memory/buffer.hpp.
#include "fae/memory/buffer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <new>
#include <type_traits>
#include <utility>

using namespace fae;

// Catches memory that is not aligned, too short, or not returned whole (the address sanitizer looks).
TEST_CASE_TEMPLATE("spaces: memory is aligned and usable from the first byte to the last", S, HostSpace,
                   PageSpace) {
    for (const std::size_t bytes :
         {std::size_t{1}, std::size_t{63}, std::size_t{4096}, std::size_t{4097}, PageSpace::huge_page - 1,
          PageSpace::huge_page, PageSpace::huge_page + 1, 5 * PageSpace::huge_page + 12345}) {
        auto* memory = static_cast<unsigned char*>(S::allocate(bytes));
        CHECK(reinterpret_cast<std::uintptr_t>(memory) % 64 == 0);
        if (S::zeroed) {
            CHECK(memory[0] == 0);
            CHECK(memory[bytes / 2] == 0);
            CHECK(memory[bytes - 1] == 0);
        }
        memory[0] = 1;
        memory[bytes - 1] = 2;
        CHECK(memory[bytes - 1] == 2);
        S::deallocate(memory, bytes);
    }
}

// Catches pages that cannot be huge because they start at an odd address.
TEST_CASE("PageSpace: from 2 MiB on, memory starts at a multiple of 2 MiB") {
    for (int round = 0; round < 5; ++round) {
        const std::size_t bytes = PageSpace::huge_page + static_cast<std::size_t>(round) * 777'777;
        void* memory = PageSpace::allocate(bytes);
        CHECK(reinterpret_cast<std::uintptr_t>(memory) % PageSpace::huge_page == 0);
        PageSpace::deallocate(memory, bytes);
    }
}

// Catches memory that never comes back, be it the few pages by which a length is rounded up.
TEST_CASE("PageSpace: what is freed is unmapped whole") {
    const auto mapped_pages = [] {
        std::size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;  // stays 0 where there is no such file
        return pages;
    };
    const std::size_t bytes = 3 * PageSpace::huge_page + 4097;
    PageSpace::deallocate(PageSpace::allocate(bytes), bytes);
    const std::size_t before = mapped_pages();
    for (int round = 0; round < 500; ++round) PageSpace::deallocate(PageSpace::allocate(bytes), bytes);
    CHECK(mapped_pages() < before + 50'000);
}

// Catches copies of a move-only owner and moves that leave two owners.
TEST_CASE_TEMPLATE("Buffer: owns its elements and can be moved", S, HostSpace, PageSpace) {
    using Floats = Buffer<float, S>;
    static_assert(!std::is_copy_constructible_v<Floats> && std::is_nothrow_move_constructible_v<Floats>);
    Floats a(1000);
    CHECK(a.size() == 1000);
    CHECK(a.bytes() == 4000);
    std::fill(a.begin(), a.end(), 2.0F);
    const float* where = a.data();
    Floats b(std::move(a));
    CHECK(b.data() == where);
    CHECK(a.empty());
    CHECK(a.data() == nullptr);
    Floats c(5);
    c = std::move(b);
    CHECK(c.data() == where);
    CHECK(c.size() == 1000);
    CHECK(c[999] == 2.0F);
    CHECK(c.span().size() == 1000);
    Floats& same = c;
    c = std::move(same);
    CHECK(c.size() == 1000);
    CHECK(Floats().empty());
    CHECK(Floats(0).data() == nullptr);
}

// Catches a size whose bytes wrap around to a small one.
TEST_CASE("Buffer: a size that does not fit is refused") {
    volatile std::size_t size = ~std::size_t{0} / 4 + 2;
    CHECK_THROWS_AS(Buffer<float>{size}, std::bad_alloc);
    CHECK_THROWS_AS((Buffer<double, PageSpace>{size}), std::bad_alloc);
}
