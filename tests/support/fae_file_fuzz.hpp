// SPDX-License-Identifier: Apache-2.0
//
// What the fuzzer of .fae files and the mutation test ask: any bytes are refused with one FormatError, or
// open as a data set whose every element is in its range and that would be written as these very bytes. A
// broken promise is a std::logic_error, which opening never throws.
//
// Whole files are tens of kilobytes, mostly padding, and their checksums stop almost every change. So the
// first byte of an input says what the rest is: a file as it is, a file whose sums are made right first, or a
// recipe: the numbers and the contents of a file without its padding, from which a file with right sums is
// made, and changes to it.
//
//   reader_fuzz::fae_file(data, size);
//   std::string input = reader_fuzz::recipe_of(file);     // a seed; small
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/io/fae_file_layout.hpp"
#include "fae/io/packed.hpp"
#include "support/fae_file_bytes.hpp"
#include "support/packed_case.hpp"
#include "support/promise.hpp"

namespace reader_fuzz {

enum class FaeInput : unsigned char { as_it_is, sums_made_right, recipe };

// A recipe: the header from the fingerprint to the flags, the bytes of each section but `sums`, the sections
// one after the other, then changes to the file, of 6 bytes each: where (4), which bits, and whether before
// or after the sums are made (bit 0), in the file or in its header (bit 1).
inline constexpr std::size_t recipe_fields =
    offsetof(fae_test::FaeHeader, sections) - offsetof(fae_test::FaeHeader, fingerprint);
inline constexpr std::size_t recipe_start =
    recipe_fields + (fae::detail::fae_sections - 1) * sizeof(std::uint16_t);
/// Tables of a recipe have at most so many rows, or far too many: the memory of a hot set follows from its
/// rows, up to 2^31 in a file that is right.
inline constexpr std::uint64_t recipe_rows = std::uint64_t{1} << 16;

/// The input of kind `recipe` that gives this file.
/// @pre its sections are shorter than 64 KiB
[[nodiscard]] inline std::string recipe_of(const std::string& file) {
    std::string recipe(1, static_cast<char>(FaeInput::recipe));
    recipe += file.substr(offsetof(fae_test::FaeHeader, fingerprint), recipe_fields);
    std::string content;
    for (std::size_t s = 1; s < fae::detail::fae_sections; ++s) {
        const fae_test::FaeSectionEntry entry = fae_test::section(file, s);
        promise(entry.bytes < 65536, "a section too long for a recipe");
        recipe += static_cast<char>(entry.bytes & 255);
        recipe += static_cast<char>(entry.bytes >> 8);
        content += file.substr(static_cast<std::size_t>(entry.offset), static_cast<std::size_t>(entry.bytes));
    }
    return recipe + content;
}

/// Puts another number over one element of a recipe's sections: one that is near, at an end of its range, or
/// found elsewhere in the recipe; what a change of single bytes seldom meets.
inline void change_element(std::string& recipe, fae::Philox& random) {
    if (recipe.size() < 1 + recipe_start) return;
    const std::uint64_t chosen = 1 + random.below(fae::detail::fae_sections - 1);
    const std::uint64_t other = 1 + random.below(fae::detail::fae_sections - 1);
    std::size_t begin = 1 + recipe_start;
    std::uint64_t elements = 0;  // of the chosen section
    std::uint64_t count = 0;     // of the other one
    std::size_t at = 0;
    const std::size_t size = fae::detail::fae_section_kinds[chosen].element_bytes;
    for (std::size_t s = 1; s < fae::detail::fae_sections; ++s) {
        const auto bytes = fae_test::get<std::uint16_t>(recipe, 1 + recipe_fields + 2 * (s - 1));
        if (s == chosen) at = begin, elements = bytes / size;
        if (s == other) count = bytes / fae::detail::fae_section_kinds[s].element_bytes;
        begin += bytes;
    }
    if (begin > recipe.size() || elements == 0) return;
    const auto element = [&](std::uint64_t i) {
        return recipe.data() + at + static_cast<std::size_t>(i) * size;
    };
    char* const to = element(random.below(elements));
    std::uint64_t value = 0;
    std::memcpy(&value, to, size);
    switch (random.below(6)) {
        case 0:
            ++value;
            break;
        case 1:
            --value;
            break;
        case 2:
            value ^= std::uint64_t{1} << random.below(8 * size);
            break;
        case 3:
            value = count + random.below(2);
            break;
        case 4:
            std::memcpy(&value, element(random.below(elements)), size);
            break;
        default: {  // the number of rows, the limit of row ids
            value = 0;
            const auto tables = fae_test::get<std::uint16_t>(recipe, 1 + recipe_fields) / 8u;
            for (std::size_t t = 0; t < tables; ++t)
                value += fae_test::get<std::uint64_t>(recipe, 1 + recipe_start + 8 * t);
        }
    }
    std::memcpy(to, &value, size);
}

/// Makes the file of a recipe; `damaged` says whether it was changed after its sums were made.
[[nodiscard]] inline std::string file_of_recipe(std::string recipe, bool& damaged) {
    using fae::detail::fae_padded_bytes;
    recipe.resize(std::max(recipe.size(), recipe_start), '\0');
    fae_test::FaeHeader header{};
    header.magic = fae::detail::fae_magic;
    header.version = fae::fae_file_version;
    header.endianness = fae::detail::fae_endianness;
    header.header_bytes = sizeof header;
    header.section_count = fae::detail::fae_sections;
    std::memcpy(&header.fingerprint, recipe.data(), recipe_fields);
    std::vector<std::string> sections(fae::detail::fae_sections);
    std::size_t read = recipe_start;
    std::uint64_t blocks = 0;
    for (std::size_t s = 1; s < sections.size(); ++s) {
        const auto bytes = fae_test::get<std::uint16_t>(recipe, recipe_fields + 2 * (s - 1));
        sections[s] = recipe.substr(read, bytes);
        read += sections[s].size();
        blocks += sections[s].empty() ? 0u : 1u;
    }
    sections[0] = std::string(static_cast<std::size_t>(4 * blocks), '\0');
    std::string& rows = sections[fae::detail::fae_section_of(fae::detail::FaeSection::table_rows)];
    for (std::size_t i = 0; i + 8 <= rows.size(); i += 8) {
        const auto count = fae_test::get<std::uint64_t>(rows, i);
        if (count <= std::uint64_t{1} << 31) fae_test::put(rows, i, count % recipe_rows);
    }
    std::string file(sizeof header, '\0');
    for (std::size_t s = 0; s < sections.size(); ++s) {
        header.sections[s] = {static_cast<std::uint32_t>(s), fae::detail::fae_section_kinds[s].element_bytes,
                              file.size(), sections[s].size()};
        file += sections[s];
        file.resize(static_cast<std::size_t>(fae_padded_bytes(file.size())), '\0');
    }
    header.file_bytes = file.size();
    fae_test::put(file, 0, header);
    const auto change = [&](bool after) {
        for (std::size_t at = read; at + 6 <= recipe.size(); at += 6) {
            if (((recipe[at + 5] & 1) != 0) != after) continue;
            const std::size_t room = (recipe[at + 5] & 2) != 0 ? sizeof header : file.size();
            char& byte = file[fae_test::get<std::uint32_t>(recipe, at) % room];
            byte = static_cast<char>(byte ^ recipe[at + 4]);
        }
    };
    change(false);
    fae_test::fix_sums(file);
    const std::string whole = file;
    change(true);
    damaged = file != whole;
    return file;
}

/// Every element of a part is in its range.
inline void part_is_whole(const fae::InputColumns& part, const fae::DatasetShape& shape,
                          std::uint64_t limit) {
    promise(part.dense.rows() == part.inputs() && part.dense.columns() == shape.dense_features,
            "dense features of another shape");
    promise(part.bags.size() == part.inputs() * shape.features(), "another number of bags");
    for (const std::uint8_t label : part.labels) promise(label <= 1, "a label that is not 0 or 1");
    std::size_t next = 0;
    for (std::size_t b = 0; b < part.bags.size(); ++b) {
        promise(part.bags.begin(b) == next && part.bags.end(b) >= next, "bags that are not end to end");
        next = part.bags.end(b);
    }
    promise(next == part.bags.values().size(), "values that no bag holds");
    for (const std::uint32_t value : part.bags.values())
        promise(value < limit, "a value that is out of range");
}

inline void packed_is_whole(const fae::PackedDataset& packed) {
    const fae::DatasetShape& shape = packed.shape();
    std::uint64_t rows = 0;
    for (const std::uint64_t table : shape.table_rows) rows += table;
    promise(shape.table_names.size() == shape.table_rows.size(), "another number of names");
    promise(packed.provenance().cutoffs.size() == shape.table_rows.size(), "another number of cut-offs");
    for (const std::uint32_t table : shape.feature_table)
        promise(table < shape.table_rows.size(), "a feature of no table");
    const fae::HotSet& hot = packed.hot_set();
    promise(hot.rows() == rows && hot.size() <= rows, "a hot set of other rows");
    promise(packed.hot_counts().size() == hot.size(), "another number of hot counts");
    for (std::uint64_t slot = 0; slot < hot.size(); ++slot) {
        promise(hot.row_of(slot) < rows && hot.find(hot.row_of(slot)) == slot, "slots that are no bijection");
    }
    promise(
        packed.hot_inputs().size() == packed.inputs() && packed.hot_inputs().ones() == packed.hot().inputs(),
        "another number of hot inputs");
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < packed.inputs(); ++i) {
        promise(packed.hot_inputs().rank(i) == seen, "inputs whose order is lost");
        seen += packed.hot_inputs().contains(i) ? 1u : 0u;
    }
    promise(packed.hot_lookups() >= packed.hot().lookups() && packed.hot_lookups() <= packed.lookups(),
            "more hot look-ups than there are");
    part_is_whole(packed.hot(), shape, hot.size());
    part_is_whole(packed.cold(), shape, rows);
    part_is_whole(packed.validation(), shape, rows);
    part_is_whole(packed.test(), shape, rows);
}

/// Opens a file; true if it was taken.
inline bool open_fae_bytes(const std::string& file) {
    try {
        const fae::PackedDataset packed = fae_test::open_bytes(fae::seq, file);
        packed_is_whole(packed);
        promise(fae_test::file_bytes(packed) == file, "other bytes than would be written were taken");
        return true;
    } catch (const fae::FormatError& error) {
        promise(error.path == "bytes.fae" && error.line == 1 && error.column >= 1 &&
                    error.column - 1 <= file.size(),
                std::string("an error without its place: ") + error.what());
        return false;
    }
}

/// The first byte says what the rest is. True if it was taken.
inline bool fae_file(const std::uint8_t* bytes, std::size_t size) {
    if (size == 0) return false;
    std::string rest(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    const auto kind = static_cast<FaeInput>(bytes[0] % 3);
    if (kind == FaeInput::recipe) {
        bool damaged = false;
        const bool taken = open_fae_bytes(file_of_recipe(std::move(rest), damaged));
        promise(!(damaged && taken), "a file with wrong sums was taken");
        return taken;
    }
    if (kind == FaeInput::sums_made_right) fae_test::fix_sums(rest);
    return open_fae_bytes(rest);
}

/// Small files of every kind, as inputs of every kind.
[[nodiscard]] inline std::vector<std::string> fae_file_seeds() {
    std::vector<std::string> seeds;
    for (fae_test::PackedCase c : fae_test::packed_cases()) {
        c.inputs = std::min<std::size_t>(c.inputs, 5);
        c.validation = std::min<std::size_t>(c.validation, 2);
        c.test = std::min<std::size_t>(c.test, 1);
        for (std::uint64_t& rows : c.table_rows) rows = std::min<std::uint64_t>(rows, 12);
        const std::string file = fae_test::file_bytes(pack_inputs(fae::seq, fae_test::packed_inputs(c)));
        seeds.push_back(recipe_of(file));
        seeds.push_back(static_cast<char>(FaeInput::as_it_is) + file);
        seeds.push_back(static_cast<char>(FaeInput::sums_made_right) + file);
    }
    return seeds;
}

}  // namespace reader_fuzz
