// SPDX-License-Identifier: Apache-2.0
//
// Memory that fails when it is told to: the k-th call of operator new, or of mmap where the program is linked
// with -Wl,--wrap=mmap, reports that there is none left. Include it in one file of a program: it replaces
// operator new.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "support/failures.hpp"

namespace fae_test {

inline void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
    if (must_fail()) return nullptr;
    void* const memory = alignment <= alignof(std::max_align_t)
                             ? std::malloc(bytes == 0 ? 1 : bytes)
                             : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment +
                                                                 (bytes == 0 ? alignment : 0));
    if (memory != nullptr) ++live_allocations;
    return memory;
}
inline void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
    void* const memory = allocate(bytes, alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
inline void release(void* memory) noexcept {
    if (memory != nullptr) --live_allocations;
    std::free(memory);
}

}  // namespace fae_test

void* operator new(std::size_t bytes) { return fae_test::allocate_or_throw(bytes, 1); }
void* operator new[](std::size_t bytes) { return fae_test::allocate_or_throw(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return fae_test::allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return fae_test::allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return fae_test::allocate(bytes, 1); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
    return fae_test::allocate(bytes, 1);
}
void operator delete(void* memory) noexcept { fae_test::release(memory); }
void operator delete[](void* memory) noexcept { fae_test::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { fae_test::release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { fae_test::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { fae_test::release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { fae_test::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { fae_test::release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { fae_test::release(memory); }

extern "C" {
void* __real_mmap(void* address, std::size_t length, int protection, int flags, int file, off_t offset);
void* __wrap_mmap(void* address, std::size_t length, int protection, int flags, int file, off_t offset) {
    if (fae_test::must_fail()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(address, length, protection, flags, file, offset);
}
}
