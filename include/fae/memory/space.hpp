// SPDX-License-Identifier: Apache-2.0
//
// Spaces: where a tier's bytes live. A space allocates and frees raw memory; it has no state of its own.
//
//   HostSpace    64-byte aligned memory of the C++ heap
//   PageSpace    pages of the operating system, huge where it grants them, zero, placed at first touch
#pragma once

#include <sys/mman.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <new>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// Memory of one kind. allocate(bytes) gives at least 64-byte aligned memory or throws std::bad_alloc;
/// deallocate takes back exactly what allocate gave. `zeroed` says whether fresh memory reads as zero.
template <class S>
concept Space = requires(void* memory, std::size_t bytes) {
    { S::allocate(bytes) } -> std::same_as<void*>;
    { S::deallocate(memory, bytes) }
    noexcept;
    { S::host_accessible } -> std::convertible_to<bool>;
    { S::zeroed } -> std::convertible_to<bool>;
};

/// The heap, 64-byte aligned.
struct HostSpace {
    static constexpr bool host_accessible = true;
    static constexpr bool zeroed = false;
    [[nodiscard]] static void* allocate(std::size_t bytes) {
        return ::operator new (bytes, std::align_val_t{64});
    }
    static void deallocate(void* memory, std::size_t) noexcept {
        ::operator delete (memory, std::align_val_t{64});
    }
};
static_assert(Space<HostSpace>);

/// Pages from the operating system. From 2 MiB on, memory is aligned to 2 MiB and huge pages are asked for,
/// which saves most of the translation misses of random rows. Pages read as zero and come into being where
/// they are first touched, so fill large tables with the threads that will use them.
struct PageSpace {
    static constexpr bool host_accessible = true;
    static constexpr bool zeroed = true;
    static constexpr std::size_t huge_page = std::size_t{2} << 20;

    [[nodiscard]] static void* allocate(std::size_t bytes) {
        const std::size_t length = mapped_length(bytes);
        const std::size_t extra = length >= huge_page ? huge_page : 0;
        void* whole = ::mmap(nullptr, length + extra, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (whole == MAP_FAILED) throw std::bad_alloc();
        if (extra == 0) return whole;
        // Give back what lies before the first 2 MiB boundary and after the end.
        const auto start = reinterpret_cast<std::uintptr_t>(whole);
        const std::uintptr_t aligned = round_up<std::uintptr_t>(start, huge_page);
        if (aligned != start) ::munmap(whole, aligned - start);
        const std::size_t tail = extra - (aligned - start);
        if (tail != 0) ::munmap(reinterpret_cast<void*>(aligned + length), tail);
        auto* memory = reinterpret_cast<void*>(aligned);
        ::madvise(memory, length, MADV_HUGEPAGE);  // advice: refused where the kernel has none to give
        return memory;
    }
    static void deallocate(void* memory, std::size_t bytes) noexcept {
        ::munmap(memory, mapped_length(bytes));
    }

  private:
    [[nodiscard]] static std::size_t mapped_length(std::size_t bytes) {
        return round_up(bytes == 0 ? std::size_t{1} : bytes,
                        bytes >= huge_page ? huge_page : std::size_t{4096});
    }
};
static_assert(Space<PageSpace>);

}  // namespace fae::inline FAE_ABI
