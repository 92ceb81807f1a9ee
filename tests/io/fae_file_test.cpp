// SPDX-License-Identifier: Apache-2.0
//
// The packed data set on disk: what is written comes back; the bytes lie where fae_file_layout.hpp says; and
// whatever is not exactly such a file is refused, with what is wrong and where.
#include "fae/io/fae_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/threads.hpp"
#include "support/fae_file_bytes.hpp"
#include "support/file_size_limit.hpp"
#include "support/packed_case.hpp"
#include "support/temporary_folder.hpp"

using namespace fae;
using namespace fae_test;
using detail::fae_page;
using detail::fae_section_kinds;
using detail::fae_section_of;
using detail::fae_sections;
using detail::FaeColumn;
using detail::FaeSection;

namespace {

std::string file_of(const PackedCase& c) {
    const PackedInputs inputs = packed_inputs(c);
    return file_bytes(pack_inputs(seq, inputs));
}

std::string jagged_file() {
    PackedCase c;
    c.most_per_bag = 3;
    return file_of(c);
}

/// The position that a FormatError of a binary file names.
std::uint64_t byte_of(const FormatError& error) { return error.column - 1; }

/// What is wrong with how a file is refused; empty where the error is at `byte` and its message has `what`.
std::string wrong_refusal(const std::string& file, std::uint64_t byte, const std::string& what) {
    const std::optional<FormatError> error = refusal(file);
    if (!error) return "is not refused, expected: " + what;
    const std::string message = error->what();
    if (error->path != "bytes.fae" || error->line != 1) return "another path or line: " + message;
    if (byte_of(*error) != byte) return "another byte than " + std::to_string(byte) + ": " + message;
    if (message.find("byte " + std::to_string(byte) + ": ") == std::string::npos)
        return "no byte: " + message;
    if (message.find(what) == std::string::npos) return "not `" + what + "`: " + message;
    return {};
}

/// CRC-32C by division, bit by bit.
std::uint32_t plain_sum(const std::string& bytes) {
    std::uint32_t state = ~0u;
    for (const char c : bytes) {
        state ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? 0x82F63B78u : 0u);
    }
    return ~state;
}

/// The section whose bytes or padding hold a position behind the header.
[[maybe_unused]] std::size_t section_at(const std::string& file, std::size_t position) {
    std::size_t found = 0;
    for (std::size_t s = 0; s < fae_sections; ++s) {
        const FaeSectionEntry entry = section(file, s);
        if (entry.bytes != 0 && entry.offset <= position) found = s;
    }
    return found;
}

}  // namespace

// Catches anything that is lost, swapped or put in another order on the way to the disk and back.
TEST_CASE(
    "fae_file: a data set of every kind comes back equal, its inputs in an order that can be restored") {
    TemporaryFolder folder;
    Threads threads(3);
    for (const PackedCase& c : packed_cases()) {
        CAPTURE(c.name);
        const PackedInputs inputs = packed_inputs(c);
        const std::string path = folder / "data.fae";
        write_fae_file(seq, path, pack_inputs(seq, inputs));
        CHECK(difference(open_fae_file(seq, path), inputs) == "");
        CHECK(difference(open_fae_file(par(threads), path), inputs) == "");
    }
    CHECK(folder.files() == 1);
}

// Catches a case list that no longer holds what its names say.
TEST_CASE("fae_file: the kinds tried are what they are called") {
    for (const PackedCase& c : packed_cases()) {
        CAPTURE(c.name);
        const PackedInputs inputs = packed_inputs(c);
        const PackedDataset packed = pack_inputs(seq, inputs);
        const bool all_hot = c.hot_share == 1;
        const bool all_cold = c.hot_share == 0 && c.most_per_bag == 1;
        if (c.inputs > 1) {
            CHECK((packed.hot().inputs() == 0) == all_cold);
            CHECK((packed.cold().inputs() == 0) == all_hot);
        }
        CHECK(packed.hot().bags.is_fixed() == (c.most_per_bag == 1));
    }
    CHECK(packed_inputs(packed_cases().back()).hot_rows.size() > 65536);
}

// Catches bytes that depend on how many threads wrote them, or when.
TEST_CASE("fae_file: equal data sets give equal bytes whatever the executor") {
    TemporaryFolder folder;
    Threads threads(4);
    PackedCase c;
    c.most_per_bag = 4;
    c.inputs = 60'000;  // sections of several blocks
    const PackedInputs inputs = packed_inputs(c);
    const PackedDataset packed = pack_inputs(seq, inputs);
    write_fae_file(seq, folder / "one.fae", packed);
    write_fae_file(par(threads), folder / "four.fae", pack_inputs(par(threads), inputs));
    write_fae_file(folder / "again.fae", open_fae_file(par(threads), folder / "one.fae"));
    const std::string one = read_bytes(folder / "one.fae");
    CHECK(section(one, fae_section_of(1, FaeColumn::values)).bytes > detail::fae_block);
    CHECK(read_bytes(folder / "four.fae") == one);
    CHECK(read_bytes(folder / "again.fae") == one);
    CHECK(file_bytes(packed) == one);
    CHECK(difference(open_fae_file(par(threads), folder / "four.fae"), inputs) == "");
}

// Catches a file that only this library's own reader understands: every number is looked for at the place
// that the description of the format gives.
TEST_CASE("fae_file: the bytes lie where the format says, and their sums are CRC-32C") {
    PackedCase c;
    c.most_per_bag = 3;
    const PackedInputs inputs = packed_inputs(c);
    const PackedDataset packed = pack_inputs(seq, inputs);
    std::string file = file_bytes(packed);
    CHECK(file.substr(0, 8) ==
          "\x89"
          "FAE\r\n\x1A\n");
    CHECK(get<std::uint32_t>(file, 8) == 1);
    CHECK(file.substr(12, 4) == "\x04\x03\x02\x01");
    CHECK(get<std::uint64_t>(file, 16) == file.size());
    CHECK(get<std::uint32_t>(file, 32) == 4096);
    CHECK(get<std::uint32_t>(file, 36) == 24);
    CHECK(get<std::uint64_t>(file, 40) == inputs.provenance.fingerprint);
    CHECK(get<std::uint64_t>(file, 48) == inputs.provenance.budget_bytes);
    CHECK(get<std::uint64_t>(file, 56) == inputs.provenance.row_bytes);
    CHECK(get<std::uint64_t>(file, 64) == inputs.provenance.seed);
    CHECK(get<std::uint64_t>(file, 72) == inputs.provenance.max_rows);
    CHECK(get<double>(file, 80) == inputs.provenance.sample);
    CHECK(get<double>(file, 88) == inputs.provenance.validation);
    CHECK(get<std::uint64_t>(file, 96) == packed.hot_lookups());
    CHECK(get<std::uint64_t>(file, 104) == 3);
    CHECK(get<std::uint32_t>(file, 112) == inputs.provenance.dim);
    CHECK(get<std::uint32_t>(file, 116) == 1);
    CHECK(file.substr(696, 3400) == std::string(3400, '\0'));

    std::uint64_t next = 4096;
    std::string sums;
    std::vector<std::string> content;
    const std::uint32_t elements[] = {4, 8, 4, 8, 1, 4, 8, 8, 1, 4, 4, 8, 1, 4, 4, 8, 1, 4, 4, 8, 1, 4, 4, 8};
    for (std::size_t s = 0; s < 24; ++s) {
        CAPTURE(s);
        const std::size_t entry = 120 + 24 * s;
        CHECK(get<std::uint32_t>(file, entry) == s);
        CHECK(get<std::uint32_t>(file, entry + 4) == elements[s]);
        CHECK(get<std::uint64_t>(file, entry + 8) == next);
        const auto bytes = get<std::uint64_t>(file, entry + 16);
        content.push_back(file.substr(next, bytes));
        const std::string padded = file.substr(next, (bytes + 4095) / 4096 * 4096);
        CHECK(padded.substr(bytes) == std::string(padded.size() - bytes, '\0'));
        if (s != 0 && bytes != 0) {
            const std::uint32_t sum = plain_sum(padded);
            sums.append(reinterpret_cast<const char*>(&sum), 4);
        }
        next += padded.size();
    }
    CHECK(next == file.size());
    CHECK(content[0] == sums);
    CHECK(get<std::uint32_t>(file, 28) == plain_sum(file.substr(4096, 4096)));
    const auto header_sum = get<std::uint32_t>(file, 24);
    put(file, 24, std::uint32_t{0});
    CHECK(header_sum == plain_sum(file.substr(0, 4096)));

    const auto bytes = [](const auto& values) {
        return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0]));
    };
    CHECK(content[1] == bytes(inputs.train.shape.table_rows));
    CHECK(content[2] == bytes(inputs.train.shape.feature_table));
    CHECK(content[3] == bytes(inputs.provenance.cutoffs));
    std::string text;
    for (const std::string& piece :
         {std::string("0"), std::string("C1"), std::string("CC2"), inputs.provenance.vocabulary,
          inputs.provenance.source, inputs.provenance.optimizer}) {
        text += static_cast<char>(piece.size());
        text += std::string(3, '\0') + piece;
    }
    CHECK(content[4] == text);
    CHECK(content[5] == bytes(inputs.hot_rows));
    CHECK(content[6] == bytes(inputs.hot_counts));
    std::string classes((c.inputs + 63) / 64 * 8, '\0');
    for (std::size_t i = 0; i < c.inputs; ++i) {
        if (packed.hot_inputs().contains(i))
            classes[i / 8] = static_cast<char>(classes[i / 8] | 1 << (i % 8));
    }
    CHECK(content[7] == classes);
    CHECK(content[8] == bytes(packed.hot().labels));
    CHECK(content[14] == bytes(packed.cold().bags.values()));
    CHECK(content[16] == bytes(inputs.validation.labels));
    CHECK(content[17] == bytes(inputs.validation.dense));
    CHECK(content[18] == bytes(inputs.validation.values));
    CHECK(content[19] == bytes(inputs.validation.offsets));
    CHECK(content[20] == bytes(inputs.test.labels));
    CHECK(content[23] == bytes(inputs.test.offsets));
}

#if !defined(__SANITIZE_THREAD__)  // 10^5 files twice: minutes under the thread sanitizer, and no thread
// Catches a byte that no checksum covers, and an error that names another place.
TEST_CASE("fae_file: a flipped byte at every position is refused, and the section that holds it named") {
    std::string file = jagged_file();
    const std::string good = file;
    std::size_t failures = 0;
    for (std::size_t i = 0; i < file.size() && failures < 5; ++i) {
        const char kept = file[i];
        file[i] = static_cast<char>(static_cast<unsigned char>(kept) ^ (1 + mix64(i) % 255));
        std::uint64_t byte = 0;
        std::string what = "the header is damaged";
        if (i < 8) {
            what = "is not a .fae file";
        } else if (i < 12) {
            byte = 8, what = "this library reads version 1";
        } else if (i < 16) {
            byte = 12, what = "endianness";
        } else if (i >= fae_page) {
            const std::size_t s = section_at(good, i);
            byte = section(good, s).offset;
            what = concat("section `", fae_section_kinds[s].name, "` is damaged: the checksum of bytes ",
                          byte, " to ");
        }
        const std::string wrong = wrong_refusal(file, byte, what);
        if (!wrong.empty()) {
            ++failures;
            FAIL_CHECK("byte ", i, ": ", wrong);
        }
        file[i] = kept;
    }
    CHECK(failures == 0);
    CHECK(!refusal(file));
}

// Catches a read beyond the end, and a file whose missing pages would be found out in training.
TEST_CASE("fae_file: a file cut at every length is refused at its end") {
    const std::string good = jagged_file();
    std::size_t failures = 0;
    for (std::size_t size = 0; size < good.size() && failures < 5; ++size) {
        const std::string file(good, 0, size);
        const std::string wrong =
            size < 8 ? wrong_refusal(file, 0, "is not a .fae file")
                     : wrong_refusal(file, size, concat("truncated: it has ", size, " bytes"));
        if (!wrong.empty()) {
            ++failures;
            FAIL_CHECK("length ", size, ": ", wrong);
        }
    }
    CHECK(failures == 0);
}
#endif

// Catches bytes that nothing vouches for.
TEST_CASE("fae_file: appended bytes are refused, zeros and whole pages too") {
    const std::string good = jagged_file();
    for (const std::string& tail :
         {std::string(1, '\0'), std::string("x"), std::string(4096, '\0'), std::string(good)}) {
        CAPTURE(tail.size());
        CHECK(wrong_refusal(good + tail, good.size(),
                            concat("too long: it has ", good.size() + tail.size(), " bytes")) == "");
    }
}

// Catches a newer format read as if it were this one.
TEST_CASE("fae_file: a newer version is refused with both versions, however its sums are made") {
    std::string file = jagged_file();
    put(file, 8, std::uint32_t{2});
    CHECK(wrong_refusal(file, 8, "the file is of version 2, this library reads version 1 and no newer one") ==
          "");
    fix_sums(file);
    CHECK(wrong_refusal(file, 8, "the file is of version 2, this library reads version 1 and no newer one") ==
          "");
    put(file, 8, std::uint32_t{0});
    CHECK(wrong_refusal(file, 8, "the file is of version 0, this library reads version 1") == "");
    put(file, 8, std::uint32_t{1});
    put(file, 12, std::uint32_t{0x04030201});
    CHECK(wrong_refusal(file, 12, "the endianness tag is 67305985, expected 16909060") == "");
}

// Catches a data set trained on that is not the one that was named.
TEST_CASE("fae_file: a file of another data set is refused with both fingerprints and its source") {
    TemporaryFolder folder;
    PackedInputs inputs = packed_inputs(PackedCase{});
    inputs.provenance.source = "day_0.gz";
    write_fae_file(folder / "a.fae", pack_inputs(seq, inputs));
    const PackedDataset packed = open_fae_file(seq, folder / "a.fae");
    require_same_source(packed, inputs.train.fingerprint);
    CHECK_THROWS_WITH_AS(require_same_source(packed, 0xABCDEF),
                         "the packed data set is of the source with fingerprint fedcba9876543211 (day_0.gz), "
                         "expected abcdef",
                         ContractError);
}

// Catches padding that a checksum covers, but that could hold anything.
TEST_CASE("fae_file: padding that is not zero is refused at its byte, though the sums are right") {
    const std::string good = jagged_file();
    std::size_t failures = 0;
    std::size_t tried = 0;
    const auto check = [&](std::size_t i) {
        std::string file = good;
        file[i] = static_cast<char>(1 << i % 8);
        fix_sums(file);
        ++tried;
        const std::string wrong = wrong_refusal(file, i, "padding is not zero");
        if (wrong.empty() || failures == 5) return;
        ++failures;
        FAIL_CHECK("byte ", i, ": ", wrong);
    };
    for (std::size_t i = 696; i < fae_page; i += 61) check(i);
    check(fae_page - 1);
    for (std::size_t s = 0; s < fae_sections; ++s) {
        const FaeSectionEntry entry = section(good, s);
        const std::uint64_t end = entry.offset + detail::fae_padded_bytes(entry.bytes);
        for (std::uint64_t i = entry.offset + entry.bytes; i < end; i += 251) check(i);
        if (entry.bytes != end - entry.offset) check(end - 1);
    }
    CHECK(failures == 0);
    CHECK(tried > 24 * 10);
}

// Catches a number in the file that is believed: each of these would be an index out of bounds, a wrong
// count or a nonsense share later on.
TEST_CASE("fae_file: content that does not fit together is refused where it is, though the sums are right") {
    const std::string good = jagged_file();
    const auto check = [&](const std::string& name, std::uint64_t byte, const std::string& what,
                           auto&& change) {
        std::string file = good;
        change(file);
        fix_sums(file);
        CAPTURE(name);
        CHECK(wrong_refusal(file, byte, what) == "");
    };
    const auto at = [&](std::size_t s, std::uint64_t entry = 0) {
        return static_cast<std::size_t>(section(good, s).offset + entry * fae_section_kinds[s].element_bytes);
    };
    // Puts a value over an entry of a section.
    const auto entry = [&](std::size_t s, std::uint64_t number, auto value, const std::string& what) {
        check(fae_section_kinds[s].name, at(s, number), what,
              [&](std::string& file) { put(file, at(s, number), value); });
    };
    const auto count = [&](std::size_t s) {
        return section(good, s).bytes / fae_section_kinds[s].element_bytes;
    };
    // Changes a field of the header.
    const auto field = [&](std::size_t offset, auto value, std::uint64_t byte, const std::string& what) {
        check("header", byte, what, [&](std::string& file) { put(file, offset, value); });
    };
    constexpr std::size_t hot_rows = fae_section_of(FaeSection::hot_rows);
    constexpr std::size_t hot_inputs = fae_section_of(FaeSection::hot_inputs);
    const std::uint64_t slots = count(hot_rows);

    field(16, std::uint64_t{1} << 60, good.size(), "truncated");
    field(16, std::uint64_t{0}, 0, "too long");
    field(32, std::uint32_t{4097}, 32, "a header of 4097 bytes and 24 sections, expected 4096 and 24");
    field(36, std::uint32_t{25}, 32, "a header of 4096 bytes and 25 sections");
    field(80, -0.5, 80, "sample is -0.5, expected 0 to 1");
    field(80, std::numeric_limits<double>::quiet_NaN(), 80, "sample is nan, expected 0 to 1");
    field(88, 1.5, 80, "validation is 1.5, expected 0 to 1");
    field(96, ~std::uint64_t{0}, 96, "look-ups of hot rows are 18446744073709551615, expected");
    field(96, std::uint64_t{0}, 96, "look-ups of hot rows are 0, expected");
    field(104, std::uint64_t{1} << 63, at(1), "dense features, expected at most 1048576");
    field(104, std::uint64_t{4}, at(fae_section_of(0, FaeColumn::dense)), "section `hot dense` has");
    field(112, std::uint32_t{0}, 80, "dim is 0, expected 1 to 4096");
    field(112, std::uint32_t{4097}, 80, "dim is 4097, expected 1 to 4096");
    field(116, std::uint32_t{3}, 116, "unknown flags 3");
    field(116, std::uint32_t{0}, at(fae_section_of(0, FaeColumn::offsets)), "section `hot offsets` has");
    field(120, std::uint32_t{1}, 120,
          "section 0 is of kind 1 with elements of 4 bytes, expected `sums` with 4");
    field(124, std::uint32_t{8}, 120,
          "section 0 is of kind 0 with elements of 8 bytes, expected `sums` with 4");
    field(120 + 24 + 8, std::uint64_t{4096}, 120 + 24, "section `table rows` is at byte 4096, expected 8192");
    field(120 + 24 + 16, std::uint64_t{23}, 120 + 24,
          "section `table rows` has 23 bytes, expected a multiple of 8");
    field(120 + 24 + 16, ~std::uint64_t{7}, 120 + 24, "section `table rows` has 18446744073709551608 bytes");
    field(120 + 24 + 16, std::uint64_t{1} << 40, 120 + 24, "section `table rows` has 1099511627776 bytes");
    field(120 + 16, std::uint64_t{4}, 4096, "section `sums` has 1 entries, expected 23");

    entry(1, 0, std::uint64_t{0}, "section `table rows` or `feature table`: table 0 has 0 rows");
    entry(1, 0, (std::uint64_t{1} << 31) - 239,
          "table 2 has 200 rows after 2147483449 of the tables before it, expected at most 2147483648");
    entry(1, 0, ~std::uint64_t{0}, "together");
    check("feature table", at(1), "feature 2 uses table 3, expected less than 3",
          [&](std::string& file) { put(file, at(2, 2), std::uint32_t{3}); });
    check("text", at(4), "section `text` ends within a string of 4294967295 bytes",
          [&](std::string& file) { put(file, at(4), ~std::uint32_t{0}); });
    const std::size_t optimizer = at(4, count(4)) - std::string("adagrad").size();
    check("text", at(4), "section `text` has 3 bytes after its last string",
          [&](std::string& file) { put(file, optimizer - 4, std::uint32_t{4}); });
    check("text", at(4), "section `text` ends within a string of 8 bytes",
          [&](std::string& file) { put(file, optimizer - 4, std::uint32_t{8}); });
    check("text", at(4), "section `text` ends within the length of a string",
          [&](std::string& file) { put(file, at(4), static_cast<std::uint32_t>(count(4) - 4 - 2)); });
    entry(hot_rows, slots - 1, std::uint32_t{245},
          concat("section `hot rows`: entry ", slots - 1, " is 245, expected a row id less than 245"));
    entry(hot_rows, 0, get<std::uint32_t>(good, at(hot_rows, 1)), "section `hot rows`: entry 0 is ");
    entry(hot_inputs, 0, std::uint64_t{1} << 50, "no bit beyond the last of 50 inputs");
    check("classes", at(hot_inputs), "bits set, expected", [&](std::string& file) {
        const auto word = get<std::uint64_t>(file, at(hot_inputs));
        put(file, at(hot_inputs), word ^ 1);
    });
    for (std::size_t part = 0; part < detail::fae_parts; ++part) {
        const std::size_t labels = fae_section_of(part, FaeColumn::labels);
        const std::size_t values = fae_section_of(part, FaeColumn::values);
        const std::size_t offsets = fae_section_of(part, FaeColumn::offsets);
        const std::uint32_t limit = part == 0 ? static_cast<std::uint32_t>(slots) : 245u;
        REQUIRE(count(labels) > 1);
        REQUIRE(count(values) > 1);
        entry(labels, count(labels) - 1, std::uint8_t{2}, "is 2, expected 0 or 1");
        entry(values, count(values) - 1, limit,
              concat("is ", limit, ", expected a ", part == 0 ? "slot" : "row id", " less than ", limit));
        entry(values, 0, ~std::uint32_t{0}, "is 4294967295, expected a ");
        entry(offsets, 0, std::uint64_t{1}, "entry 0 is 1, expected 0");
        entry(offsets, 1, count(values) + 1, "expected at most the next");
        entry(offsets, count(offsets) - 1, count(values) + 1,
              concat("expected the number of values, ", count(values)));
    }
}

// Catches an error that depends on which thread looked first, and blocks that are taken for one another.
TEST_CASE("fae_file: of two damaged blocks the first is named, whatever the executor") {
    PackedCase c;
    c.most_per_bag = 4;
    c.inputs = 120'000;
    std::string file = file_of(c);
    const FaeSectionEntry values = section(file, fae_section_of(1, FaeColumn::values));
    REQUIRE(values.bytes > 2 * detail::fae_block);
    const std::uint64_t second = values.offset + detail::fae_block;
    file[static_cast<std::size_t>(values.offset + values.bytes - 1)] ^= 1;
    file[static_cast<std::size_t>(second + detail::fae_block - 1)] ^= 1;
    const std::string what = concat("section `cold values` is damaged: the checksum of bytes ", second,
                                    " to ", second + detail::fae_block, " is ");
    CHECK(wrong_refusal(file, second, what) == "");
    const std::string expected = refusal(file)->what();
    Threads threads(4);
    for (int repeat = 0; repeat < 20; ++repeat)
        CHECK(std::string(refusal(par(threads), file)->what()) == expected);
    // An entry is checked against its neighbour in the next block too.
    file = file_of(c);
    const std::size_t offsets = fae_section_of(1, FaeColumn::offsets);
    const std::size_t last = detail::fae_block / 8 - 1;
    const auto at = static_cast<std::size_t>(section(file, offsets).offset) + 8 * last;
    put(file, at, get<std::uint64_t>(file, at + 8) + 1);
    fix_sums(file);
    CHECK(wrong_refusal(file, at, concat("section `cold offsets`: entry ", last, " is ")) == "");
}

// Catches an error without its file.
TEST_CASE("fae_file: on disk as in memory: errors name the path") {
    TemporaryFolder folder;
    const std::string path = folder / "data.fae";
    std::string file = jagged_file();
    file[5000] ^= 1;
    write_bytes(path, file);
    try {
        (void)open_fae_file(seq, path);
        FAIL_CHECK("a damaged file was opened");
    } catch (const FormatError& error) {
        CHECK(error.path == path);
        CHECK(byte_of(error) == 4096);
        CHECK(std::string(error.what()).find(path + ":1:4097: byte 4096: section `sums` is damaged") == 0);
    }
    write_bytes(path, "");
    CHECK_THROWS_AS((void)open_fae_file(seq, path), FormatError);
    CHECK_THROWS_WITH_AS((void)open_fae_file(seq, folder / "none.fae"),
                         doctest::Contains("none.fae: cannot be opened"), IoError);
    CHECK_THROWS_AS((void)open_fae_file(seq, folder.path().string()), IoError);
}

// Catches half a file under the final name, and leftovers beside it.
TEST_CASE("fae_file: a write that fails leaves the old file and nothing else") {
    TemporaryFolder folder;
    const std::string path = folder / "data.fae";
    const PackedInputs old_inputs = packed_inputs(PackedCase{});
    write_fae_file(path, pack_inputs(seq, old_inputs));
    PackedCase larger;
    larger.inputs = 50'000;
    const PackedDataset packed = pack_inputs(seq, packed_inputs(larger));
    for (const std::size_t room : {0u, 4096u, 100'000u, 1'000'000u}) {
        CAPTURE(room);
        {
            const FileSizeLimit limit(room);
            try {
                write_fae_file(path, packed);
                FAIL_CHECK("a full disk looks like success");
            } catch (const IoError& error) {
                CHECK(error.path == path);
                CHECK(error.byte <= room);
            }
        }
        CHECK(folder.files() == 1);
        CHECK(difference(open_fae_file(seq, path), old_inputs) == "");
    }
    CHECK_THROWS_AS(write_fae_file(folder / "no/data.fae", packed), IoError);
    CHECK_THROWS_AS(write_fae_file(folder.path().string(), packed), IoError);
    CHECK(folder.files() == 1);
}

// Catches a file that is written in place: whoever has the old one open would see it change.
TEST_CASE("fae_file: a file is replaced, not changed; what is open stays, through moves too") {
    TemporaryFolder folder;
    const std::string path = folder / "data.fae";
    const PackedInputs first = packed_inputs(PackedCase{});
    PackedCase c;
    c.seed = 9;
    const PackedInputs second = packed_inputs(c);
    write_fae_file(path, pack_inputs(seq, first));
    PackedDataset open = open_fae_file(seq, path);
    const Span<const std::uint32_t> values = open.cold().bags.values();
    write_fae_file(path, pack_inputs(seq, second));
    const PackedDataset moved = std::move(open);
    CHECK(moved.cold().bags.values().data() == values.data());
    CHECK(difference(moved, first) == "");
    CHECK(difference(open_fae_file(seq, path), second) == "");
    write_fae_file(path, moved);  // and over the file that it may come from
    CHECK(difference(open_fae_file(seq, path), first) == "");
    CHECK(folder.files() == 1);
}
