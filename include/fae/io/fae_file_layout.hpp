// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a .fae file (the packed data set), version 1: the one place that says where everything lies.
// fae_file.hpp writes and opens such files. All numbers are little-endian.
//
//   offset  bytes  content
//        0      8  magic: 89 46 41 45 0D 0A 1A 0A ("\x89FAE", CR LF SUB LF: what copying as text damages)
//        8      4  version: 1
//       12      4  endianness tag: 0x01020304, so 04 03 02 01
//       16      8  length of the file
//       24      4  CRC-32C of bytes 0 to 4095, these four taken as zero
//       28      4  CRC-32C of the section `sums` with its padding
//       32      4  length of this header: 4096
//       36      4  number of sections: 24
//       40      8  fingerprint of the source
//       48      8  budget_bytes
//       56      8  row_bytes
//       64      8  seed
//       72      8  max_rows
//       80      8  sample, IEEE binary64
//       88      8  validation, IEEE binary64
//       96      8  hot_lookups: look-ups of hot rows over all training inputs
//      104      8  dense features of an input, at most 2^20
//      112      4  dim
//      116      4  flags: bit 0 set where bags are jagged; the others are zero
//      120    576  section table: 24 entries of kind (4), element bytes (4), offset (8),
//                  bytes without padding (8)
//      696   3400  zero
//
// Then the sections, in the order of the table, each from a multiple of 4096 on and padded with zeros to the
// next; an empty one takes no room. The last one's padding ends the file.
//
//   kind  name            element  content
//      0  sums                  4  CRC-32C of every block of every later section: a section with its
//                                  padding is cut into blocks of 1 MiB (the last one shorter)
//      1  table rows            8  rows of each table, at least 1; together at most 2^31
//      2  feature table         4  table of each sparse feature
//      3  cut-offs              8  of each table, the smallest count that is hot; 0: the whole table is,
//                                  2^64 - 1: none of it
//      4  text                  1  the name of each table, then vocabulary, source and optimizer: each
//                                  its length (4) and its bytes
//      5  hot rows              4  row id of each slot, strictly ascending
//      6  hot counts            8  accesses of each slot
//      7  hot inputs            8  one bit for each training input in original order, lowest bit first:
//                                  1 hot, 0 cold; bits beyond the last input are zero
//      8  hot labels            1  0 or 1
//      9  hot dense             4  IEEE binary32 [inputs, dense features]
//     10  hot values            4  slot of each look-up
//     11  hot offsets           8  of each bag, where its values begin, and at last their number; empty
//                                  unless jagged
//  12-15  cold ...                 the same, with row ids as values
//  16-19  validation ...           likewise, row ids
//  20-23  test ...                 likewise, row ids
//
// Counts that are not written follow from lengths: tables and features from their sections, inputs of a kind
// from its labels, look-ups from its values. Where bags are not jagged each holds one value.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

static_assert(std::endian::native == std::endian::little,
              "fae: .fae files are mapped, not translated, and need a little-endian machine");

/// The version of the format that is written, and the only one that is read.
inline constexpr std::uint32_t fae_file_version = 1;

namespace detail {

inline constexpr std::array<unsigned char, 8> fae_magic = {0x89, 'F', 'A', 'E', '\r', '\n', 0x1A, '\n'};
inline constexpr std::uint32_t fae_endianness = 0x01020304u;
inline constexpr std::uint64_t fae_page = 4096;                     ///< alignment of sections
inline constexpr std::uint64_t fae_block = std::uint64_t{1} << 20;  ///< what one checksum covers
inline constexpr std::uint32_t fae_jagged = 1;                      ///< bit of the header's flags

/// The number of a section. Columns of inputs repeat in fours: fae_section_of(part, column).
enum class FaeSection : std::uint32_t {
    sums,
    table_rows,
    feature_table,
    cutoffs,
    text,
    hot_rows,
    hot_counts,
    hot_inputs,
    columns,
};
enum class FaeColumn : std::uint32_t { labels, dense, values, offsets };
inline constexpr std::size_t fae_parts = 4;  ///< hot, cold, validation, test
inline constexpr std::size_t fae_columns = 4;
inline constexpr std::size_t fae_first_column = static_cast<std::size_t>(FaeSection::columns);
inline constexpr std::size_t fae_sections = fae_first_column + fae_parts * fae_columns;

[[nodiscard]] constexpr std::size_t fae_section_of(FaeSection section) {
    return static_cast<std::size_t>(section);
}
[[nodiscard]] constexpr std::size_t fae_section_of(std::size_t part, FaeColumn column) {
    return fae_first_column + part * fae_columns + static_cast<std::size_t>(column);
}

struct FaeSectionKind {
    const char* name;
    std::uint32_t element_bytes;
};
inline constexpr std::array<FaeSectionKind, fae_sections> fae_section_kinds = {{
    {"sums", 4},
    {"table rows", 8},
    {"feature table", 4},
    {"cut-offs", 8},
    {"text", 1},
    {"hot rows", 4},
    {"hot counts", 8},
    {"hot inputs", 8},
    {"hot labels", 1},
    {"hot dense", 4},
    {"hot values", 4},
    {"hot offsets", 8},
    {"cold labels", 1},
    {"cold dense", 4},
    {"cold values", 4},
    {"cold offsets", 8},
    {"validation labels", 1},
    {"validation dense", 4},
    {"validation values", 4},
    {"validation offsets", 8},
    {"test labels", 1},
    {"test dense", 4},
    {"test values", 4},
    {"test offsets", 8},
}};

/// An entry of the section table.
struct FaeSectionEntry {
    std::uint32_t kind;
    std::uint32_t element_bytes;
    std::uint64_t offset;
    std::uint64_t bytes;
};
static_assert(sizeof(FaeSectionEntry) == 24);

/// The header, as it lies in the file.
struct FaeHeader {
    std::array<unsigned char, 8> magic;
    std::uint32_t version;
    std::uint32_t endianness;
    std::uint64_t file_bytes;
    std::uint32_t header_sum;
    std::uint32_t sums_sum;
    std::uint32_t header_bytes;
    std::uint32_t section_count;
    std::uint64_t fingerprint;
    std::uint64_t budget_bytes;
    std::uint64_t row_bytes;
    std::uint64_t seed;
    std::uint64_t max_rows;
    double sample;
    double validation;
    std::uint64_t hot_lookups;
    std::uint64_t dense_features;
    std::uint32_t dim;
    std::uint32_t flags;
    std::array<FaeSectionEntry, fae_sections> sections;
    std::array<unsigned char, 3400> zeros;
};
static_assert(std::is_trivially_copyable_v<FaeHeader> && std::is_standard_layout_v<FaeHeader>);
static_assert(sizeof(FaeHeader) == fae_page && offsetof(FaeHeader, file_bytes) == 16 &&
              offsetof(FaeHeader, header_sum) == 24 && offsetof(FaeHeader, fingerprint) == 40 &&
              offsetof(FaeHeader, hot_lookups) == 96 && offsetof(FaeHeader, sections) == 120);

/// The bytes of a section with its padding.
[[nodiscard]] constexpr std::uint64_t fae_padded_bytes(std::uint64_t bytes) {
    return round_up(bytes, fae_page);
}

/// The blocks of a section, each with a checksum of its own.
[[nodiscard]] constexpr std::uint64_t fae_block_count(std::uint64_t bytes) {
    return ceil_div(fae_padded_bytes(bytes), fae_block);
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI
