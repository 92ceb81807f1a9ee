// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer: any bytes as a packed data set (the first byte says whether they are the file, a file whose sums
// are made right first, or a recipe for one). Its seeds are made by the library itself: an input that is very
// short, and one in eight of the others, is replaced by one of them before it is mutated. One mutation in
// three changes an element of a recipe.
//
//   clang++ -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -Iinclude -Itests
//   tests/fuzz/fae_file_fuzz.cpp
#include "support/fae_file_fuzz.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

const std::vector<std::string>& seeds() {
    static const std::vector<std::string> made = reader_fuzz::fae_file_seeds();
    return made;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    if (size < 5 || seed % 8 == 0) {
        // The first of every three is a recipe, and small.
        const std::string& chosen = seeds()[seed / 8 % (seeds().size() / 3) * 3];
        if (chosen.size() <= max_size) {
            std::memcpy(data, chosen.data(), chosen.size());
            size = chosen.size();
        }
    }
    if (size != 0 && data[0] == static_cast<std::uint8_t>(reader_fuzz::FaeInput::recipe) && seed % 3 == 0) {
        std::string recipe(reinterpret_cast<const char*>(data), size);
        fae::Philox random(seed);
        reader_fuzz::change_element(recipe, random);
        std::memcpy(data, recipe.data(), size);
        return size;
    }
    return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    reader_fuzz::fae_file(data, size);
    return 0;
}
