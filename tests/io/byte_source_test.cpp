// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/byte_source.hpp and io/line_blocks.hpp.
#include "fae/io/byte_source.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/io/line_blocks.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

template <class Source>
std::string drain(Source& source, std::size_t step) {
    std::string all;
    std::vector<char> block(step);
    for (std::size_t count = source.read(block); count != 0; count = source.read(block)) {
        all.append(block.data(), count);
    }
    return all;
}

/// Gives its text in pieces of random size, and then, if asked to, fails.
class FitfulSource {
  public:
    FitfulSource(std::string text, std::uint64_t seed, bool fails = false)
        : text_(std::move(text)), random_(seed), fails_(fails) {}
    std::size_t read(Span<char> out) {
        const std::size_t left = text_.size() - at_;
        if (left == 0 && fails_) throw IoError(name(), at_, "the disk is gone");
        const std::size_t count = std::min({left, out.size(), std::size_t{1} + random_.below(5000)});
        std::copy_n(text_.data() + at_, count, out.data());
        at_ += count;
        return count;
    }
    std::string name() const { return "fitful"; }

  private:
    std::string text_;
    Philox random_;
    std::size_t at_ = 0;
    bool fails_;
};
static_assert(ByteSource<FitfulSource>);

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

}  // namespace

// Catches lost or repeated bytes at the ends of reads.
TEST_CASE("sources: memory and file give the same bytes in reads of any size") {
    TemporaryFolder folder;
    const std::string text = "some bytes\n\0and more\r\n" + std::string(5000, 'x');
    write_bytes(folder / "log", text);
    for (const std::size_t step : {1u, 2u, 7u, 4096u, 100000u}) {
        MemorySource memory(text);
        FileSource file(folder / "log");
        CHECK(drain(memory, step) == text);
        CHECK(drain(file, step) == text);
    }
}

// Catches a size that is asked of the wrong object, and moves that close the file.
TEST_CASE("sources: a file knows its size and name, and survives being moved") {
    TemporaryFolder folder;
    write_bytes(folder / "log", "12345");
    FileSource first(folder / "log");
    FileSource second(std::move(first));
    FileSource third(folder / "log");
    third = std::move(second);
    CHECK(total_bytes_of(third) == 5);
    CHECK(third.name() == folder / "log");
    CHECK(drain(third, 100) == "12345");
    CHECK(total_bytes_of(FitfulSource("abc", 1)) == 0);
}

// Catches a missing check of open(), and folders that read as empty files.
TEST_CASE("sources: a missing file and a folder are errors that name the path") {
    TemporaryFolder folder;
    CHECK_THROWS_WITH_AS(FileSource(folder / "none"), doctest::Contains("none"), IoError);
    CHECK_THROWS_WITH_AS(FileSource(folder.path().string()), doctest::Contains("is a folder"), IoError);
}

// Catches lines torn at the end of a block, and a last line lost for want of its ending.
TEST_CASE("line blocks: every line comes whole, once and in order, whatever the reads and blocks") {
    Philox random(7);
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        std::string text;
        while (text.size() < 600'000) {
            text.append(random.below(seed % 3 == 0 ? 30'000 : 300),
                        static_cast<char>('a' + random.below(26)));
            text += '\n';
        }
        if (seed % 2 == 0) text += "the last line";
        FitfulSource source(text, seed);
        LineBlocks lines(source, 1);
        LineBlock block;
        std::string all;
        std::size_t blocks = 0;
        while (lines.next(block)) {
            const Span<const char> piece = block.text();
            if (all.size() + piece.size() < text.size()) CHECK(piece.back() == '\n');
            all.append(piece.data(), piece.size());
            ++blocks;
        }
        CHECK(all == text);
        CHECK(blocks > 2);
    }
}

// Catches unbounded memory on a file without newlines, and a long line that swallows its neighbours.
TEST_CASE("line blocks: a line that is too long is cut but still too long, and its neighbours are whole") {
    for (const std::size_t length :
         {max_line_bytes - 1, max_line_bytes, max_line_bytes + 1, max_line_bytes + 2, std::size_t{130'000},
          std::size_t{132'000}, std::size_t{3'000'000}}) {
        CAPTURE(length);
        for (const bool at_end : {false, true}) {
            const std::string text = "first\n" + std::string(length, 'x') + (at_end ? "" : "\nlast\n");
            FitfulSource source(text, length);
            LineBlocks lines(source, 1);
            LineBlock block;
            std::string all;
            std::size_t largest = 0;
            while (lines.next(block)) {
                all.append(block.text().data(), block.text().size());
                largest = std::max(largest, block.text().size());
            }
            const std::vector<std::string> found = lines_of(all);
            REQUIRE(found.size() == (at_end ? 2 : 3));
            CHECK(found[0] == "first");
            if (length <= max_line_bytes) {
                CHECK(found[1].size() == length);
            } else {
                CHECK(found[1].size() > max_line_bytes);
            }
            if (!at_end) CHECK(found[2] == "last");
            CHECK(largest <= 2 * max_line_bytes);
        }
    }
}

// Catches a cut that leaves a long line short enough to be taken, wherever the end of a block falls in it.
TEST_CASE("line blocks: a line that is cut at the end of a block stays too long") {
    for (std::size_t before = max_line_bytes - 8; before <= max_line_bytes + 8; ++before) {
        for (const std::size_t length : {max_line_bytes + 1, max_line_bytes + 3, max_line_bytes + 9}) {
            const std::string text =
                std::string(before - 1, 'a') + "\n" + std::string(length, 'x') + "\nlast\n";
            FitfulSource source(text, before);
            LineBlocks lines(source, 1);
            LineBlock block;
            std::string all;
            while (lines.next(block)) all.append(block.text().data(), block.text().size());
            const std::vector<std::string> found = lines_of(all);
            REQUIRE(found.size() == 3);
            CHECK(found[1].size() > max_line_bytes);
            CHECK(found[1].size() <= length);
        }
    }
}

// Catches a reader that waits for ever, or writes beyond its memory, when a file has grown since it was
// opened.
TEST_CASE("line blocks: a source may hold more than it said") {
    struct Modest : FitfulSource {
        using FitfulSource::FitfulSource;
        std::uint64_t total_bytes() const { return 100; }
    };
    for (const std::size_t length : {50u, 500u, 70'000u, 300'000u}) {
        Modest source(std::string(length, 'x') + "\ntwo\nthree\n" + std::string(length, 'y') + "\nlast",
                      length);
        LineBlocks lines(source, 1 << 20);
        LineBlock block;
        std::string all;
        while (lines.next(block)) all.append(block.text().data(), block.text().size());
        const std::vector<std::string> found = lines_of(all);
        REQUIRE(found.size() == 5);
        CHECK((found[0].size() == length || (length > max_line_bytes && found[0].size() > max_line_bytes)));
        CHECK(found[1] == "two");
        CHECK(found[4] == "last");
    }
}

// Catches an error that overtakes the lines before it, and half a line given as a whole one.
TEST_CASE("line blocks: a failing source gives its whole lines first, then the error") {
    FitfulSource source("one\ntwo\nhalf a li", 3, /*fails=*/true);
    LineBlocks lines(source, 1);
    LineBlock block;
    REQUIRE(lines.next(block));
    CHECK(std::string(block.text().data(), block.text().size()) == "one\ntwo\n");
    CHECK_THROWS_WITH_AS((void)lines.next(block), doctest::Contains("the disk is gone"), IoError);
}

// Catches compressed bytes reported as a malformed first line.
TEST_CASE("line blocks: a compressed source is refused by name") {
    MemorySource source(std::string_view("\x1f\x8b\x08...", 6), "day_0.gz");
    LineBlocks lines(source, 1);
    LineBlock block;
    CHECK_THROWS_WITH_AS((void)lines.next(block), doctest::Contains("gzip"), IoError);
}
