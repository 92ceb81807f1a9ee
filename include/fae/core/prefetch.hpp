// SPDX-License-Identifier: Apache-2.0
//
// prefetch: asks for a cache line that will be read, or written, soon.
//
//   if (i + ahead < n) prefetch(row_of(i + ahead));
//
// What the builtin alone does not do is stay: g++ takes a function of which nothing comes but prefetches for
// one without effect, and drops calls of it that it has not inlined before it thinks so.
#pragma once

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// Asks for the line of an address, which need not be one that can be read.
/// @cost an instruction
[[gnu::always_inline]] inline void prefetch(const void* address) {
    __builtin_prefetch(address, 0);
    asm volatile("");
}
/// The same for a line that will be written.
[[gnu::always_inline]] inline void prefetch_for_write(const void* address) {
    __builtin_prefetch(address, 1);
    asm volatile("");
}

}  // namespace fae::inline FAE_ABI
