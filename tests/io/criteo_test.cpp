// SPDX-License-Identifier: Apache-2.0
//
// Tests of io/criteo.hpp and of what it stands on: text_block, text_rounds, text_reader, fingerprint.
#include "fae/io/criteo.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/io/gzip.hpp"
#include "support/criteo_oracle.hpp"
#include "support/gzip_writer.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;

namespace {

/// 40 fields, all empty but those that are given, by number from 0.
std::string line_of(std::string label, const std::vector<std::pair<std::size_t, std::string>>& given = {}) {
    std::vector<std::string> fields(40);
    fields[0] = std::move(label);
    for (const auto& [i, text] : given) fields[i] = text;
    std::string line = fields[0];
    for (std::size_t i = 1; i < 40; ++i) {
        line += '\t';
        line += fields[i];
    }
    return line;
}

/// A random well-formed log.
std::string random_log(std::uint64_t seed, std::size_t inputs, bool crlf = false) {
    Philox random(seed);
    std::string text;
    char field[32];
    for (std::size_t i = 0; i < inputs; ++i) {
        text += random.below(5) == 0 ? '1' : '0';
        for (std::size_t f = 0; f < 39; ++f) {
            text += '\t';
            if (random.below(6) == 0) continue;
            if (f < 13) {
                const std::int64_t value = static_cast<std::int64_t>(random.bits64() >> random.below(64));
                text += std::to_string(random.below(8) == 0 ? -(value >> 1) : value >> 1);
            } else {
                std::snprintf(field, sizeof field, random.below(2) == 0 ? "%x" : "%08X",
                              static_cast<unsigned>(mix64(random.below(std::uint64_t{1} << (f / 2))) >> 32));
                text += field;
            }
        }
        text += crlf ? "\r\n" : "\n";
    }
    return text;
}

Dataset read(const std::string& text, const ReadOptions& options = {}) {
    return read_criteo(seq, MemorySource(text, "log"), options);
}

void check_equal(const Dataset& data, const LogOracle& expected) {
    CHECK(data.labels == expected.labels);
    CHECK(data.dense == expected.dense);
    CHECK(data.values == expected.values);
    CHECK(data.shape.table_rows == expected.table_rows);
    CHECK(data.offsets.empty());
}

/// The error that reading gives, without its type; the fingerprint where it gives none.
template <class Read>
std::string outcome(const Read& make) {
    try {
        return "fingerprint " + std::to_string(make().fingerprint);
    } catch (const Error& error) {
        return error.what();
    }
}

}  // namespace

// Catches fields out of place, negative or missing integers taken for something else, and rows not offset.
TEST_CASE("criteo: a hand-made log gives exact arrays") {
    const std::string text = line_of("1", {{1, "5"},
                                           {2, "-3"},
                                           {4, "0"},
                                           {13, "9223372036854775807"},
                                           {14, "ff"},
                                           {15, "1"},
                                           {39, "0000000A"}}) +
                             "\n" + line_of("0", {{2, "-9223372036854775808"}, {14, "FF"}, {15, "2"}}) +
                             "\r\n" + line_of("0", {{14, "0"}, {39, "a"}});
    const Dataset data = read(text);
    CHECK(data.labels == std::vector<std::uint8_t>{1, 0, 0});
    CHECK(data.shape.features() == 26);
    CHECK(data.shape.dense_features == 13);
    CHECK(data.shape.table_names.front() == "C1");
    CHECK(data.shape.table_names.back() == "C26");
    // C1 saw ff, ff, 0; C2 saw 1, 2, empty; C3 to C25 only empty fields; C26 saw a, empty, a.
    std::vector<std::uint64_t> rows(26, 1);
    rows[0] = 2;
    rows[1] = 3;
    rows[25] = 2;
    CHECK(data.shape.table_rows == rows);
    CHECK(data.values[0] == 0);
    CHECK(data.values[26] == 0);
    CHECK(data.values[52] == 1);
    CHECK(data.values[1] == 2);
    CHECK(data.values[27] == 3);
    CHECK(data.values[53] == 4);
    CHECK(data.values[2] == 5);
    CHECK(data.values[25] == 28);
    CHECK(data.values[51] == 29);
    CHECK(data.values[77] == 28);
    CHECK(data.dense[0] == static_cast<float>(std::log(6.0)));
    CHECK(data.dense[1] == 0.0F);
    CHECK(data.dense[2] == 0.0F);
    CHECK(data.dense[12] == static_cast<float>(63 * std::log(2.0)));
    CHECK(data.dense[14] == 0.0F);
}

// Catches any difference to the plain reader, under each rule for rows.
TEST_CASE("criteo: random logs read as the oracle reads them") {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        const std::string text = random_log(seed, 400, seed % 2 == 1);
        for (const bool hash : {false, true}) {
            for (const std::uint64_t max_rows : {0u, 1u, 1000u}) {
                LogOracleOptions plain;
                plain.hash = hash;
                plain.max_rows = max_rows;
                ReadOptions options;
                options.vocabulary.kind = hash ? VocabularyKind::hash : VocabularyKind::first_seen;
                options.vocabulary.max_rows = max_rows;
                check_equal(read(text, options), criteo_oracle(text, plain));
            }
        }
    }
}

// Catches a last line that is lost, or a last '\r' that is kept.
TEST_CASE("criteo: line endings do not matter, nor a missing last one") {
    const std::string text = random_log(1, 50);
    const std::uint64_t expected = read(text).fingerprint;
    CHECK(read(random_log(1, 50, true)).fingerprint == expected);
    CHECK(read(text.substr(0, text.size() - 1)).fingerprint == expected);
    CHECK(read(text.substr(0, text.size() - 1) + "\r").fingerprint == expected);
    CHECK(read(text + text).fingerprint != expected);
}

// Catches a wrong rule, or a place that is not the first byte at fault.
TEST_CASE("criteo: malformed lines are named by line and column") {
    const std::string good = line_of("0") + "\n";
    const auto check = [&](const std::string& bad, std::uint64_t column, const char* what) {
        CAPTURE(bad);
        try {
            (void)read(good + good + bad + "\n" + good);
            FAIL_CHECK("was taken");
        } catch (const FormatError& error) {
            CHECK(error.path == "log");
            CHECK(error.line == 3);
            CHECK(error.column == column);
            CHECK(std::string(error.what()).find(what) != std::string::npos);
        }
    };
    check("", 1, "1 field,");
    check(line_of("0").substr(1 + 1), 39, "39 fields, expected 40");
    check(line_of("0") + "\t", 42, "41 fields, expected 40");
    check(line_of(""), 1, "0 or 1");
    check(line_of("2"), 1, "\"2\"");
    check(line_of("01"), 1, "0 or 1");
    check(line_of("-1"), 1, "0 or 1");
    check(line_of("0", {{1, "-"}}), 3, "an integer");
    check(line_of("0", {{1, "7"}, {2, "1.5"}}), 5, "field 3 is \"1.5\"");
    check(line_of("0", {{1, "+1"}}), 3, "an integer");
    check(line_of("0", {{1, " 1"}}), 3, "an integer");
    check(line_of("0", {{13, "9223372036854775808"}}), 15, "64 bits");
    check(line_of("0", {{13, "-9223372036854775809"}}), 15, "64 bits");
    check(line_of("0", {{14, "123456789"}}), 16, "8 hexadecimal digits");
    check(line_of("0", {{14, "0000000g"}}), 16, "hexadecimal");
    check(line_of("0", {{39, "x"}}), 41, "field 40 is \"x\"");
    check(line_of("0", {{20, "\r"}}), 22, "\"?\"");
    check(line_of("0", {{20, std::string(70'000, '0')}}), max_line_bytes + 1, "longer than 65536 bytes");
}

// Catches every byte that the eight-at-once digits take wrongly.
TEST_CASE("criteo: a byte in a category is taken just if it is a hexadecimal digit") {
    for (int byte = 0; byte < 256; ++byte) {
        if (byte == '\t' || byte == '\n' || byte == '\r') continue;
        const char c = static_cast<char>(byte);
        const bool hex = std::string("0123456789abcdefABCDEF").find(c) != std::string::npos;
        for (std::size_t at = 0; at < 8; ++at) {
            std::string word = "12345678";
            word[at] = c;
            for (const std::size_t field : {14u, 39u}) {
                const std::string text = line_of("1", {{field, word}});
                if (hex) {
                    const Dataset data = read(text, {.vocabulary = {VocabularyKind::hash, 1u << 26, 0}});
                    CHECK(data.values[field - 14] ==
                          (std::stoull(word, nullptr, 16) & ((1u << 26) - 1)) + ((field - 14) << 26));
                } else {
                    CHECK_THROWS_AS((void)read(text), FormatError);
                }
            }
        }
    }
}

// Catches results, or the choice among several faults, that depend on how the text was cut or who parsed it.
TEST_CASE(
    "criteo: every number of threads, size of chunks and compression gives the same data set or error") {
    std::vector<std::string> logs = {random_log(11, 1500)};
    Philox random(12);
    for (int k = 0; k < 3; ++k) {
        std::string damaged = logs.front();
        for (int n = 0; n < 4; ++n) damaged[random.below(damaged.size())] = '#';
        logs.push_back(damaged);
    }
    for (const std::string& text : logs) {
        const std::string packed = gzip(text, 1);
        for (const bool skip : {false, true}) {
            ReadOptions options;
            options.skip_malformed = skip;
            const std::string expected = outcome([&] { return read(text, options); });
            for (const std::size_t count : {1u, 2u, 3u, 8u}) {
                Threads threads(count);
                for (const std::size_t chunk : {1u, 300u, 5000u, 1u << 20}) {
                    options.chunk_bytes = chunk;
                    CHECK(outcome([&] {
                              return read_criteo(par(threads), MemorySource(text, "log"), options);
                          }) == expected);
                    CHECK(outcome([&] {
                              return read_criteo(par(threads), GzipSource(MemorySource(packed, "log")),
                                                 options);
                          }) == expected);
                }
            }
        }
    }
}

// Catches a compressed log cut short whose error hides, or hides behind, a malformed line.
TEST_CASE("criteo: of a malformed line and a damaged file, the first is reported") {
    std::string text = random_log(3, 3000);
    const std::string packed = gzip(text);
    const std::string truncated = packed.substr(0, packed.size() / 2);
    text[10] = '#';
    const std::string bad_line = gzip(text).substr(0, packed.size() / 2);
    for (const std::size_t count : {1u, 4u}) {
        Threads threads(count);
        CHECK_THROWS_AS((void)read_criteo(par(threads), GzipSource(MemorySource(truncated)), {}), IoError);
        CHECK_THROWS_AS((void)read_criteo(par(threads), GzipSource(MemorySource(bad_line)), {}), FormatError);
        // What lies behind the limit is not looked at.
        ReadOptions options;
        options.limit = 100;
        CHECK(read_criteo(par(threads), GzipSource(MemorySource(truncated)), options).inputs() == 100);
    }
}

// Catches skipped lines that shift line numbers, or are counted behind the limit.
TEST_CASE("criteo: malformed lines are skipped and counted if that is asked for") {
    const std::string good = line_of("1") + "\n";
    const std::string text = good + "bad\n" + good + "\n" + good + "worse\tline\n" + good;
    ReadOptions options;
    options.skip_malformed = true;
    {
        CriteoReader reader(options);
        CHECK(reader.read(seq, MemorySource(text, "log")).inputs() == 4);
        CHECK(reader.report().inputs == 4);
        CHECK(reader.report().malformed == 3);
        REQUIRE(reader.report().first_malformed);
        CHECK(reader.report().first_malformed->line == 2);
        CHECK(reader.report().first_malformed->column == 4);
    }
    options.limit = 2;
    for (const std::size_t chunk : {1u, 1000u}) {
        options.chunk_bytes = chunk;
        CriteoReader reader(options);
        CHECK(reader.read(seq, MemorySource(text, "log")).inputs() == 2);
        CHECK(reader.report().malformed == 1);
    }
    CHECK_THROWS_WITH_AS((void)read("bad\n", options), doctest::Contains("no well-formed input"),
                         FormatError);
}

// Catches an empty data set that pretends to be one.
TEST_CASE("criteo: a source without one input is an error") {
    CHECK_THROWS_WITH_AS((void)read(""), doctest::Contains("holds no input"), FormatError);
    CHECK_THROWS_WITH_AS((void)read_criteo(seq, GzipSource(MemorySource(gzip("")))),
                         doctest::Contains("holds no input"), FormatError);
    CHECK_THROWS_WITH_AS((void)read(line_of("0"), {.drop_negatives = 1.0}), doctest::Contains("no input"),
                         FormatError);
}

// Catches draws that depend on chunks, positives that are dropped, and a wrong share.
TEST_CASE("criteo: sub-sampling drops negatives only, by seed and input number alone") {
    const std::string text = random_log(21, 6000);
    const Dataset all = read(text);
    ReadOptions options;
    options.drop_negatives = 0.875;
    options.seed = 5;
    const Dataset some = read(text, options);
    const auto positives = [](const Dataset& data) {
        return static_cast<std::size_t>(std::count(data.labels.begin(), data.labels.end(), 1));
    };
    CHECK(positives(some) == positives(all));
    const double negatives = static_cast<double>(all.inputs() - positives(all));
    const double kept = static_cast<double>(some.inputs() - positives(some));
    CHECK(std::abs(kept - negatives / 8) < 5 * std::sqrt(negatives * 0.875 / 8));
    // The kept inputs are inputs of the whole, in order.
    std::size_t at = 0;
    for (std::size_t i = 0; i < some.inputs(); ++i, ++at) {
        while (at < all.inputs() &&
               (all.labels[at] != some.labels[i] ||
                !std::equal(all.dense.begin() + static_cast<std::ptrdiff_t>(at * 13),
                            all.dense.begin() + static_cast<std::ptrdiff_t>(at * 13 + 13),
                            some.dense.begin() + static_cast<std::ptrdiff_t>(i * 13)))) {
            ++at;
        }
        REQUIRE(at < all.inputs());
    }
    Threads threads(3);
    for (const std::size_t chunk : {1u, 777u, 100'000u}) {
        options.chunk_bytes = chunk;
        CHECK(read_criteo(par(threads), MemorySource(text), options).fingerprint == some.fingerprint);
        options.limit = 700;
        const Dataset limited = read_criteo(par(threads), MemorySource(text), options);
        REQUIRE(limited.inputs() == 700);
        CHECK(std::equal(limited.labels.begin(), limited.labels.end(), some.labels.begin()));
        CHECK(std::equal(limited.dense.begin(), limited.dense.end(), some.dense.begin()));
        options.limit = 0;
    }
    options.seed = 6;
    CHECK(read(text, options).fingerprint != some.fingerprint);
    CHECK_THROWS_AS(CriteoReader({.drop_negatives = 1.5}), ContractError);
}

// Catches a test file with a vocabulary of its own, and offsets assigned before all tokens are known.
TEST_CASE("criteo: files read through one reader share their tables") {
    const std::string first = random_log(31, 700);
    const std::string second = random_log(32, 500);
    const LogOracle both = criteo_oracle(first + second);
    CriteoReader reader;
    Dataset train = reader.read(seq, MemorySource(first));
    Dataset test = reader.read(seq, MemorySource(second));
    CHECK(train.shape.table_rows.empty());
    reader.finish(seq, {&train, &test});
    CHECK(train.shape.table_rows == both.table_rows);
    CHECK(test.shape.table_rows == both.table_rows);
    std::vector<std::uint32_t> values = train.values;
    values.insert(values.end(), test.values.begin(), test.values.end());
    CHECK(values == both.values);
    CHECK(train.fingerprint != test.fingerprint);
    CHECK_THROWS_AS(reader.finish(seq, {&train}), ContractError);

    CriteoReader days;
    Dataset appended;
    days.append(seq, MemorySource(first), appended);
    days.append(seq, MemorySource(second), appended);
    days.finish(seq, {&appended});
    check_equal(appended, both);
    CHECK_THROWS_AS(days.append(seq, MemorySource(first), appended), ContractError);
}

// Catches 32-bit row ids that wrap around.
TEST_CASE("criteo: more than 2^31 rows in all are refused") {
    CHECK_THROWS_WITH_AS(
        (void)read(line_of("0"), {.vocabulary = {VocabularyKind::hash, std::uint64_t{1} << 27, 0}}),
        doctest::Contains("expected at most 2147483648"), ContractError);
}

// Catches a fingerprint that overlooks a part of the data.
TEST_CASE("criteo: any change of the data set changes its fingerprint") {
    const Dataset data = read(random_log(41, 200));
    CHECK(fingerprint_of(seq, data) == data.fingerprint);
    const auto changed = [&](const auto& change) {
        Dataset copy = data;
        change(copy);
        return fingerprint_of(seq, copy) != data.fingerprint;
    };
    for (std::size_t i = 0; i < 200; ++i) {
        CHECK(changed([&](Dataset& d) { d.labels[i] ^= 1; }));
        CHECK(changed([&](Dataset& d) { d.dense[i * 13] += 1; }));
        CHECK(changed([&](Dataset& d) { d.values[i * 26 + 25] ^= 1; }));
    }
    CHECK(changed([](Dataset& d) { std::swap(d.values[0], d.values[1]); }));
    CHECK(changed([](Dataset& d) { ++d.shape.table_rows[3]; }));
    CHECK(changed([](Dataset& d) { d.labels.pop_back(); }));
}

// Catches blocks out of order, and wrong line numbers in later rounds.
TEST_CASE("criteo: rounds stream a log block by block, with the raw integers and tokens") {
    const std::string good = line_of("1", {{1, "-7"}, {14, "beef"}}) + "\n";
    std::string text;
    std::size_t lines = 0;
    while (text.size() < 400'000) {
        text += good;
        ++lines;
    }
    text += "bad\n";
    MemorySource source(text, "log");
    TextRounds<CriteoFormat, MemorySource> rounds(source, false, 1000);
    std::size_t inputs = 0;
    std::optional<FormatError> error;
    std::size_t count = 0;
    while (rounds.next(seq)) {
        ++count;
        for (const TextBlock<CriteoFormat>& block : rounds.blocks()) {
            for (std::size_t i = 0; i < block.inputs(); ++i) {
                if (block.integers(0)[i] != -7 || block.tokens(0)[i] != 0xbeef || block.labels()[i] != 1)
                    FAIL(i);
                if (block.missing()[i] != ((std::uint64_t{1} << 39) - 1 - 1 - (1 << 13))) FAIL(i);
            }
            inputs += block.inputs();
            if (block.fault()) error = rounds.format_error(block);
        }
    }
    CHECK(count > 1);
    CHECK(inputs == lines);
    REQUIRE(error);
    CHECK(error->line == lines + 1);
}

// Catches a round that is given twice, rounds whose tokens are numbered anew, tables without their last rows.
TEST_CASE("criteo: a log streamed round by round is the log read whole, but for the tables' offsets") {
    std::string text;
    for (int i = 0; text.size() < 300'000; ++i) {
        text += line_of(i % 3 == 0 ? "1" : "0", {{2, std::to_string(i % 97)},
                                                 {14, std::to_string(i % 61)},
                                                 {39, std::to_string(i * i % 1009)}}) +
                "\n";
    }
    const Dataset whole = read_criteo(seq, MemorySource(text));
    const RowSpace space = whole.shape.row_space(16);
    TextReader<CriteoFormat> reader(ReadOptions{.chunk_bytes = 1000});
    Dataset streamed;
    std::size_t rounds = 0;
    Threads threads(2);
    reader.stream(par(threads), MemorySource(text), [&](const Dataset& round) {
        ++rounds;
        streamed.labels.insert(streamed.labels.end(), round.labels.begin(), round.labels.end());
        streamed.dense.insert(streamed.dense.end(), round.dense.begin(), round.dense.end());
        for (std::size_t i = 0; i < round.values.size(); ++i) {
            const std::uint64_t row = space.row(i % 26, round.values[i]);
            streamed.values.push_back(static_cast<std::uint32_t>(row));
        }
    });
    CHECK(rounds > 1);
    CHECK(streamed.labels == whole.labels);
    CHECK(streamed.dense == whole.dense);
    CHECK(streamed.values == whole.values);
    CHECK(reader.tables().table_rows == whole.shape.table_rows);
    CHECK(reader.tables().table_names == whole.shape.table_names);
    CHECK(reader.report().inputs == whole.inputs());
}

// Catches what only real lines have. The expected numbers were counted with cut, sort and wc.
TEST_CASE("criteo: the first 10,000 lines of day_0 hold 265 clicks and the known numbers of categories") {
    const std::string path = FAE_SOURCE_DIR "/examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz";
    Threads threads(2);
    const Dataset data = read_criteo(par(threads), GzipSource<FileSource>(path));
    CHECK(data.inputs() == 10'000);
    CHECK(std::count(data.labels.begin(), data.labels.end(), 1) == 265);
    CHECK(data.shape.table_rows == std::vector<std::uint64_t>{2756, 1796, 2704, 724,  1452, 3,    1934,
                                                              518,  20,   2551, 1452, 3019, 9,    356,
                                                              1127, 30,   4,    166,  12,   2800, 2089,
                                                              2693, 1261, 2136, 29,   24});
    TemporaryFolder folder;
    GzipSource<FileSource> source(path);
    std::string text(4'000'000, '\0');
    std::size_t size = 0;
    for (std::size_t n = source.read({text.data(), text.size()}); n != 0;
         n = source.read({text.data() + size, text.size() - size})) {
        size += n;
    }
    text.resize(size);
    write_bytes(folder / "day_0", text);
    CHECK(read_criteo(par(threads), folder / "day_0").fingerprint == data.fingerprint);
    check_equal(data, criteo_oracle(text));
    CHECK_THROWS_WITH_AS((void)read_criteo(seq, path), doctest::Contains("GzipSource"), IoError);
}
