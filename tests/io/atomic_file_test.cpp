// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/atomic_file.hpp.
#include "fae/io/atomic_file.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

Span<const std::byte> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

// Catches pieces lost or reordered around the buffer.
TEST_CASE("AtomicFile: pieces of any size are written in order, and can be written over") {
    TemporaryFolder folder;
    std::string expected;
    AtomicFile file(folder / "out");
    for (const std::size_t size : {1u, 1000u, 300'000u, 0u, 262'144u, 262'143u, 5u}) {
        const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
        file.write(piece);
        expected += piece;
        CHECK(file.size() == expected.size());
    }
    file.write_at(10, bytes_of("OVER"));
    expected.replace(10, 4, "OVER");
    file.write_at(expected.size() - 2, bytes_of("!!"));
    expected.replace(expected.size() - 2, 2, "!!");
    CHECK_THROWS_AS(file.write_at(expected.size() - 1, bytes_of("!!")), ContractError);
    file.write("the end");
    expected += "the end";
    file.commit();
    CHECK(read_bytes(folder / "out") == expected);
    CHECK_THROWS_AS(file.write("more"), ContractError);
    CHECK_THROWS_AS(file.commit(), ContractError);
}

// Catches a file that is visible before it is whole, and leftovers.
TEST_CASE("AtomicFile: nothing changes under the name before commit, and nothing is left without it") {
    TemporaryFolder folder;
    write_bytes(folder / "out", "old");
    {
        AtomicFile file(folder / "out");
        file.write(std::string(1'000'000, 'x'));
        CHECK(read_bytes(folder / "out") == "old");
        AtomicFile moved(std::move(file));
        moved.write("y");
    }
    CHECK(read_bytes(folder / "out") == "old");
    CHECK(folder.files() == 1);
    AtomicFile file(folder / "out");
    file.write("new");
    file.commit();
    CHECK(read_bytes(folder / "out") == "new");
    CHECK(folder.files() == 1);
}

// Catches half a file at the final name after an interrupt.
TEST_CASE("AtomicFile: a process that is killed while writing leaves the old file") {
    TemporaryFolder folder;
    write_bytes(folder / "out", "old");
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        AtomicFile file(folder / "out");
        file.write(std::string(1'000'000, 'x'));
        const char byte = 1;
        if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
        for (;;) ::pause();
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    CHECK(read_bytes(folder / "out") == "old");
}

// Catches a link replaced by a file, and permissions that get lost.
TEST_CASE("AtomicFile: links are followed and permissions kept") {
    TemporaryFolder folder;
    write_bytes(folder / "real", "old");
    ::chmod((folder / "real").c_str(), 0640);
    std::filesystem::create_symlink("real", folder / "link");
    AtomicFile file(folder / "link");
    file.write("new");
    file.commit();
    CHECK(std::filesystem::is_symlink(folder / "link"));
    CHECK(read_bytes(folder / "real") == "new");
    struct stat status {};
    ::stat((folder / "real").c_str(), &status);
    CHECK((status.st_mode & 0777) == 0640);
}

// Catches devices replaced by files, and errors without the path.
TEST_CASE("AtomicFile: devices are written through; folders and missing ones are errors") {
    TemporaryFolder folder;
    AtomicFile null("/dev/null");
    null.write("gone");
    CHECK_THROWS_AS(null.write_at(0, bytes_of("x")), ContractError);
    null.commit();
    CHECK(std::filesystem::is_character_file("/dev/null"));
    CHECK_THROWS_WITH_AS(AtomicFile(folder.path().string()), doctest::Contains("is a folder"), IoError);
    CHECK_THROWS_WITH_AS(AtomicFile(folder / "no/out"), doctest::Contains("no/out"), IoError);
    // A full device must not look like success.
    if (std::filesystem::exists("/dev/full")) {
        AtomicFile full("/dev/full");
        full.write("x");
        CHECK_THROWS_AS(full.commit(), IoError);
    }
}
