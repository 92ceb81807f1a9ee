// SPDX-License-Identifier: Apache-2.0
//
// The version of the library, and the only place where it is written: CMake reads these three numbers.
//
//     #if FAE_VERSION_MAJOR == 0 && FAE_VERSION_MINOR < 2
//     std::puts(fae::version.data());  // "0.1.0"
//
// While the major version is 0, a minor version may change the interface and a patch may not.
#pragma once

#include <string_view>

#define FAE_VERSION_MAJOR 0
#define FAE_VERSION_MINOR 1
#define FAE_VERSION_PATCH 0

#define FAE_DETAIL_TEXT_OF(x) #x
#define FAE_DETAIL_TEXT(x) FAE_DETAIL_TEXT_OF(x)
#define FAE_VERSION_STRING             \
    FAE_DETAIL_TEXT(FAE_VERSION_MAJOR) \
    "." FAE_DETAIL_TEXT(FAE_VERSION_MINOR) "." FAE_DETAIL_TEXT(FAE_VERSION_PATCH)

namespace fae::inline v0 {

/// "major.minor.patch"; null-terminated.
inline constexpr std::string_view version = FAE_VERSION_STRING;

}  // namespace fae::inline v0
