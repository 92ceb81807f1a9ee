// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer: any bytes as an .npy file.
//
//   clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -Iinclude -Itests tests/fuzz/npy_fuzz.cpp
//   -lz
#include <cstddef>
#include <cstdint>

#include "support/reader_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    reader_fuzz::npy(data, size);
    return 0;
}
