// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/gzip.hpp.
#include "fae/io/gzip.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fae/core/random.hpp"
#include "support/gzip_writer.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

template <class Source>
std::string drain(Source source, std::size_t step = 4096) {
    std::string all;
    std::vector<char> block(step);
    for (std::size_t count = source.read(block); count != 0; count = source.read(block)) {
        all.append(block.data(), count);
    }
    return all;
}

std::string inflated(std::string_view bytes, std::size_t step = 4096) {
    return drain(GzipSource(MemorySource(bytes, "packed")), step);
}

std::string some_text(std::size_t size) {
    Philox random(size);
    std::string text;
    while (text.size() < size)
        text += std::to_string(random.below(1000)) + (random.below(9) == 0 ? "\n" : "\t");
    return text;
}

}  // namespace

// Catches output lost where a read ends within what zlib holds back.
TEST_CASE("gzip: what was compressed comes back, in reads of any size") {
    for (const std::size_t size : {0u, 1u, 100u, 70'000u, 1'000'000u}) {
        const std::string text = some_text(size);
        for (const int level : {0, 1, 9}) {
            const std::string packed = gzip(text, level);
            CHECK(inflated(packed) == text);
            if (size <= 100'000) CHECK(inflated(packed, 3) == text);
            CHECK(inflated(packed, 1 << 22) == text);
        }
    }
}

// Catches a reader that stops after the first member (as bgzip, pigz and cat a.gz b.gz write them).
TEST_CASE("gzip: members follow one another, empty ones and zero padding too") {
    const std::string a = some_text(300'000);
    CHECK(inflated(gzip(a) + gzip("") + gzip("tail")) == a + "tail");
    CHECK(inflated(gzip("x") + std::string(1000, '\0')) == "x");
}

// Catches the decision by name.
TEST_CASE("gzip: the first bytes decide, not the name") {
    TemporaryFolder folder;
    write_bytes(folder / "plain.gz", "not compressed");
    write_bytes(folder / "packed.tsv", gzip("compressed"));
    write_bytes(folder / "one.gz", "\x1f");
    write_bytes(folder / "empty.gz", "");
    CHECK(drain(GzipSource<FileSource>(folder / "plain.gz")) == "not compressed");
    CHECK(drain(GzipSource<FileSource>(folder / "packed.tsv")) == "compressed");
    CHECK(drain(GzipSource<FileSource>(folder / "one.gz")) == "\x1f");
    CHECK(drain(GzipSource<FileSource>(folder / "empty.gz")).empty());
}

// Catches a truncated download that reads as a shorter log.
TEST_CASE("gzip: every truncation is an error with the path and the byte") {
    const std::string packed = gzip(some_text(2000));
    for (std::size_t size = 2; size < packed.size(); ++size) {
        try {
            (void)inflated(packed.substr(0, size));
            FAIL_CHECK("taken whole at ", size, " of ", packed.size(), " bytes");
        } catch (const IoError& error) {
            CHECK(error.path == "packed");
            CHECK(error.byte == size);
        }
    }
}

// Catches sums that are not checked. (A few bits change no data: padding, and lengths of codes that never
// occur.)
TEST_CASE("gzip: a flipped bit in the data or its sums is an error, or harmless") {
    const std::string text = some_text(2000);
    const std::string packed = gzip(text);
    std::size_t harmless = 0;
    for (std::size_t at = 10; at < packed.size(); ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            std::string damaged = packed;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
            try {
                const std::string found = inflated(damaged);
                CHECK(found == text);
                harmless += 1;
            } catch (const IoError&) {
            }
        }
    }
    CHECK(harmless < packed.size() * 8 / 100);
}

// Catches garbage taken for padding.
TEST_CASE("gzip: other bytes behind the last member are an error") {
    CHECK_THROWS_WITH_AS((void)inflated(gzip("x") + "garbage"), doctest::Contains("no gzip member"), IoError);
    CHECK_THROWS_AS((void)inflated(gzip("x") + std::string(3, '\0') + gzip("y")), IoError);
    CHECK_THROWS_AS((void)inflated(gzip("x") + "\x1f"), IoError);
}
