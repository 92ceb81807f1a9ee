// SPDX-License-Identifier: Apache-2.0
//
// Tests of memory/mapped_file.hpp.
#include "fae/memory/mapped_file.hpp"

#include <doctest/doctest.h>

#include <string>
#include <type_traits>
#include <utility>

#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

std::string text_of(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
}

}  // namespace

// Catches a length that is rounded to pages.
TEST_CASE("MappedFile: holds exactly the bytes of the file") {
    TemporaryFolder folder;
    for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 1'000'000u}) {
        std::string text(size, '\0');
        for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 256);
        write_bytes(folder / "file", text);
        for (const FileAccess access : {FileAccess::normal, FileAccess::sequential, FileAccess::random}) {
            const MappedFile file(folder / "file", access);
            CHECK(file.size() == size);
            CHECK(text_of(file) == text);
            CHECK(file.path() == folder / "file");
        }
    }
}

// Catches a mapping that is undone twice, or by the object it was moved from.
TEST_CASE("MappedFile: can be moved, not copied") {
    static_assert(!std::is_copy_constructible_v<MappedFile> && std::is_nothrow_move_assignable_v<MappedFile>);
    TemporaryFolder folder;
    write_bytes(folder / "a", "first");
    write_bytes(folder / "b", "second");
    MappedFile a(folder / "a");
    MappedFile b(std::move(a));
    CHECK(a.size() == 0);
    CHECK(text_of(b) == "first");
    b = MappedFile(folder / "b");
    CHECK(text_of(b) == "second");
    CHECK(MappedFile().bytes().empty());
}

// Catches errors without the path, and folders or devices that read as something.
TEST_CASE("MappedFile: what cannot be mapped is an error with the path") {
    TemporaryFolder folder;
    CHECK_THROWS_WITH_AS(MappedFile(folder / "none"), doctest::Contains("none"), IoError);
    CHECK_THROWS_WITH_AS(MappedFile(folder.path().string()), doctest::Contains("not a regular file"),
                         IoError);
    CHECK_THROWS_AS(MappedFile("/dev/null"), IoError);
}
