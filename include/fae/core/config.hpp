// SPDX-License-Identifier: Apache-2.0
//
// Compile-time configuration: what a translation unit must know before any other header of fae.
//
//   FAE_HD       marks a function that runs on the host and, under nvcc, on the device.
//   FAE_CHECKED  define it (to nothing or 1) to add O(n) checks: every index of every batch is looked at.
//                It changes function bodies, so it is part of the inline namespace: a program that mixes
//                checked and unchecked translation units links, and each keeps its own bodies.
#pragma once

#if defined(__FAST_MATH__)
#error "fae: -ffast-math and --use_fast_math change rounding and denormals; results would depend on placement"
#endif

#if defined(__CUDACC__)
#define FAE_HD __host__ __device__
#else
#define FAE_HD
#endif

#if defined(FAE_CHECKED)
#define FAE_ABI v0_checked
#else
#define FAE_ABI v0
#endif

namespace fae::inline FAE_ABI {

/// True where O(n) checks are compiled in (FAE_CHECKED).
#if defined(FAE_CHECKED)
inline constexpr bool checked = true;
#else
inline constexpr bool checked = false;
#endif

}  // namespace fae::inline FAE_ABI
