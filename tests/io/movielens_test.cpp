// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/movielens.hpp.
#include "fae/io/movielens.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/io/gzip.hpp"
#include "support/criteo_oracle.hpp"

using namespace fae;

namespace {

Dataset read_text(const std::string& text, const ReadOptions& options = {}) {
    return read_movielens(seq, MemorySource(text, "u.data"), options);
}

}  // namespace

// Catches swapped columns, a threshold that is off, and days counted from elsewhere.
TEST_CASE("movielens: hand-made ratings give exact arrays") {
    const Dataset data =
        read_text("7\t9\t3.5\t788918400\n7\t8\t4\t789004800\r\n3\t9\t5.00\t0\n7\t9\t4.5\t964982703");
    CHECK(data.labels == std::vector<std::uint8_t>{0, 1, 1, 1});
    CHECK(data.shape.table_rows == std::vector<std::uint64_t>{2, 2});
    CHECK(data.shape.table_names == std::vector<std::string>{"user", "item"});
    CHECK(data.values == std::vector<std::uint32_t>{0, 2, 0, 3, 1, 2, 0, 2});
    // 1 and 2 January 1995, 1970, and 2,038 days later.
    CHECK(data.dense ==
          std::vector<float>{0, static_cast<float>(std::log(2.0)), 0, static_cast<float>(std::log(2038.0))});
}

// Catches a wrong rule, or a place that is not the first byte at fault.
TEST_CASE("movielens: malformed lines are named by line and column") {
    const auto check = [](const std::string& bad, std::uint64_t column, const char* what) {
        CAPTURE(bad);
        try {
            (void)read_text("1\t1\t1\t1\n" + bad + "\n");
            FAIL_CHECK("was taken");
        } catch (const FormatError& error) {
            CHECK(error.line == 2);
            CHECK(error.column == column);
            CHECK(std::string(error.what()).find(what) != std::string::npos);
        }
    };
    check("1\t1\t1", 6, "3 fields, expected 4");
    check("1\t1\t1\t1\t", 9, "5 fields, expected 4");
    check("1::1::1::1", 11, "1 field,");
    check("0\t1\t1\t1", 1, "a user");
    check("\t1\t1\t1", 1, "a user");
    check("-1\t1\t1\t1", 1, "a user");
    check("1\t4294967296\t1\t1", 3, "an item");
    check("1\t1\t5.5\t1", 5, "a rating");
    check("1\t1\t6\t1", 5, "a rating");
    check("1\t1\t4.\t1", 5, "a rating");
    check("1\t1\t.5\t1", 5, "a rating");
    check("1\t1\t\t1", 5, "a rating");
    check("1\t1\t4,5\t1", 5, "a rating");
    check("1\t1\t4\t-1", 7, "a time");
    check("1\t1\t4\t", 7, "a time");
    check("1\t1\t4\t9223372036854775808", 7, "a time");
}

// Catches a header line taken as data, or skipped without a word.
TEST_CASE("movielens: malformed lines are skipped and counted if that is asked for") {
    ReadOptions options;
    options.skip_malformed = true;
    MovieLensReader reader(options);
    CHECK(reader.read(seq, MemorySource("user\titem\trating\ttime\n1\t1\t4\t1\n", "u.data")).inputs() == 1);
    CHECK(reader.report().malformed == 1);
    CHECK(reader.report().first_malformed->line == 1);
    CHECK_THROWS_AS((void)read_text(""), FormatError);
}

// Catches what only real ratings have: half stars and their counts, as cut, sort and wc find them.
TEST_CASE("movielens: the latest small set has 610 users, 9,724 items and 48,580 ratings of 4 and more") {
    const std::string path = FAE_SOURCE_DIR "/examples/data/movielens/movielens_latest_small.u.data.gz";
    Threads threads(3);
    const Dataset data = read_movielens(par(threads), GzipSource<FileSource>(path));
    CHECK(data.inputs() == 100'836);
    CHECK(data.shape.table_rows == std::vector<std::uint64_t>{610, 9724});
    CHECK(std::count(data.labels.begin(), data.labels.end(), 1) == 26'818 + 8'551 + 13'211);
    std::string text(3'000'000, '\0');
    GzipSource<FileSource> source(path);
    std::size_t size = 0;
    for (std::size_t n = source.read({text.data(), text.size()}); n != 0;
         n = source.read({text.data() + size, text.size() - size})) {
        size += n;
    }
    text.resize(size);
    const LogOracle expected = movielens_oracle(text);
    CHECK(data.labels == expected.labels);
    CHECK(data.dense == expected.dense);
    CHECK(data.values == expected.values);
    ReadOptions hashed;
    hashed.vocabulary = {VocabularyKind::hash, 100, 0};
    CHECK(read_text(text, hashed).shape.table_rows == std::vector<std::uint64_t>{100, 100});
}
