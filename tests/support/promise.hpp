// SPDX-License-Identifier: Apache-2.0
//
// What the fuzzers and the mutation test ask of a reader; a broken promise is a std::logic_error, which no
// reader throws.
#pragma once

#include <stdexcept>
#include <string>

namespace reader_fuzz {

inline void promise(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
}
inline void promise(bool holds, const std::string& what) { promise(holds, what.c_str()); }

}  // namespace reader_fuzz
