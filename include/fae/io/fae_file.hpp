// SPDX-License-Identifier: Apache-2.0
//
// The packed data set on disk: written once, opened for every later run without reading, profiling or
// classifying the source again. fae_file_layout.hpp describes the format byte by byte.
//
//   write_fae_file(par(threads), "criteo.fae", packed);
//   PackedDataset again = open_fae_file(par(threads), "criteo.fae");
//   require_same_source(again, train.fingerprint);
//
// An opened file is mapped, not copied. Everything about it has been checked: its checksums (every byte lies
// under one) and every index in it, so that a damaged, cut, foreign or hostile file is an error and never a
// crash. It must not be changed while it is open; write_fae_file() never does that, it replaces.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/span.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/io/checksum.hpp"
#include "fae/io/fae_file_layout.hpp"
#include "fae/io/fae_file_reader.hpp"
#include "fae/io/packed.hpp"
#include "fae/memory/mapped_file.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

inline constexpr std::array<std::byte, fae_page> fae_zeros{};

/// The content of every section but `sums`, and what had to be made for it.
struct FaeContent {
    std::array<Span<const std::byte>, fae_sections> sections;
    std::vector<std::uint32_t> hot_rows;
    std::vector<std::uint64_t> hot_inputs;
    std::string text;
    std::vector<std::uint32_t> sums;
};

template <class T>
[[nodiscard]] Span<const std::byte> bytes_of(Span<const T> values) {
    return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

inline void append_string(std::string& text, const std::string& added) {
    require(added.size() <= std::numeric_limits<std::uint32_t>::max(),
            [&] { return concat("a string of ", added.size(), " bytes, expected less than 2^32"); });
    const auto length = static_cast<std::uint32_t>(added.size());
    std::array<char, sizeof length> prefix;
    std::memcpy(prefix.data(), &length, sizeof length);
    text.append(prefix.data(), prefix.size()).append(added);
}

/// Fills in the sections; views point into `packed` and `content`.
template <Executor E>
void collect_sections(const E& exec, const PackedDataset& packed, FaeContent& content) {
    const auto put = [&](FaeSection section, Span<const std::byte> bytes) {
        content.sections[fae_section_of(section)] = bytes;
    };
    const DatasetShape& shape = packed.shape();
    const Provenance& provenance = packed.provenance();
    put(FaeSection::table_rows, bytes_of<std::uint64_t>(shape.table_rows));
    put(FaeSection::feature_table, bytes_of<std::uint32_t>(shape.feature_table));
    put(FaeSection::cutoffs, bytes_of<std::uint64_t>(provenance.cutoffs));
    for (const std::string& name : shape.table_names) append_string(content.text, name);
    append_string(content.text, provenance.vocabulary);
    append_string(content.text, provenance.source);
    append_string(content.text, provenance.optimizer);
    put(FaeSection::text, bytes_of(Span<const char>(content.text)));
    constexpr std::size_t grain = std::size_t{1} << 16;
    content.hot_rows.resize(static_cast<std::size_t>(packed.hot_set().size()));
    for_chunks(exec, content.hot_rows.size(), grain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t slot = begin; slot < end; ++slot) {
            content.hot_rows[slot] = static_cast<std::uint32_t>(packed.hot_set().row_of(slot));
        }
    });
    put(FaeSection::hot_rows, bytes_of<std::uint32_t>(content.hot_rows));
    put(FaeSection::hot_counts, bytes_of(packed.hot_counts()));
    const RankBitmap::Ref is_hot = packed.hot_inputs().ref();
    content.hot_inputs.resize(static_cast<std::size_t>(ceil_div<std::uint64_t>(is_hot.size(), 64)));
    for_chunks(exec, content.hot_inputs.size(), grain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t w = begin; w < end; ++w) content.hot_inputs[w] = is_hot.word(w);
    });
    put(FaeSection::hot_inputs, bytes_of<std::uint64_t>(content.hot_inputs));
    const std::array<const InputColumns*, fae_parts> parts = {&packed.hot(), &packed.cold(),
                                                              &packed.validation(), &packed.test()};
    for (std::size_t part = 0; part < fae_parts; ++part) {
        const InputColumns& columns = *parts[part];
        const std::size_t floats = columns.dense.rows() * columns.dense.columns();
        content.sections[fae_section_of(part, FaeColumn::labels)] = bytes_of(columns.labels);
        content.sections[fae_section_of(part, FaeColumn::dense)] =
            bytes_of(Span<const float>(columns.dense.data(), floats));
        content.sections[fae_section_of(part, FaeColumn::values)] = bytes_of(columns.bags.values());
        content.sections[fae_section_of(part, FaeColumn::offsets)] = bytes_of(columns.bags.offsets());
    }
}

/// Fills in the sums of all blocks.
template <Executor E>
void sum_sections(const E& exec, FaeContent& content) {
    std::array<std::uint64_t, fae_sections + 1> first_block{};
    for (std::size_t s = 1; s < fae_sections; ++s) {
        first_block[s + 1] = first_block[s] + fae_block_count(content.sections[s].size());
    }
    content.sums.resize(static_cast<std::size_t>(first_block[fae_sections]));
    exec.run(content.sums.size(), [&](std::size_t block) {
        const auto after = std::upper_bound(first_block.begin(), first_block.end(), block);
        const auto s = static_cast<std::size_t>(after - first_block.begin()) - 1;
        const Span<const std::byte> section = content.sections[s];
        const auto begin = static_cast<std::size_t>((block - first_block[s]) * fae_block);
        const std::size_t own = std::min<std::size_t>(section.size() - begin, fae_block);
        const std::size_t padding = static_cast<std::size_t>(fae_padded_bytes(own)) - own;
        content.sums[block] = crc32c({fae_zeros.data(), padding}, crc32c(section.subspan(begin, own)));
    });
    content.sections[fae_section_of(FaeSection::sums)] = bytes_of<std::uint32_t>(content.sums);
}

[[nodiscard]] inline FaeHeader fae_header_of(const PackedDataset& packed, const FaeContent& content) {
    const Provenance& provenance = packed.provenance();
    FaeHeader header{};
    header.magic = fae_magic;
    header.version = fae_file_version;
    header.endianness = fae_endianness;
    header.header_bytes = sizeof header;
    header.section_count = fae_sections;
    header.fingerprint = provenance.fingerprint;
    header.budget_bytes = provenance.budget_bytes;
    header.row_bytes = provenance.row_bytes;
    header.seed = provenance.seed;
    header.max_rows = provenance.max_rows;
    header.sample = provenance.sample;
    header.validation = provenance.validation;
    header.hot_lookups = packed.hot_lookups();
    header.dense_features = packed.shape().dense_features;
    header.dim = provenance.dim;
    header.flags = packed.hot().bags.is_fixed() ? 0 : fae_jagged;
    std::uint64_t next = sizeof header;
    for (std::size_t s = 0; s < fae_sections; ++s) {
        const std::uint64_t bytes = content.sections[s].size();
        header.sections[s] = {static_cast<std::uint32_t>(s), fae_section_kinds[s].element_bytes, next, bytes};
        next += fae_padded_bytes(bytes);
    }
    header.file_bytes = next;
    const Span<const std::byte> sums = content.sections[fae_section_of(FaeSection::sums)];
    const auto padding = static_cast<std::size_t>(fae_padded_bytes(sums.size())) - sums.size();
    header.sums_sum = crc32c({fae_zeros.data(), padding}, crc32c(sums));
    header.header_sum = crc32c({reinterpret_cast<const std::byte*>(&header), sizeof header});
    return header;
}

}  // namespace detail

/// Writes a packed data set. The file appears complete under its name, or not at all; equal data sets give
/// equal bytes whatever the executor.
/// @exec   seq, par: checksums side by side; the file itself is written front to back
/// @cost   reads everything twice (sums, then writing) and writes it once; takes 1 bit an input and 4 bytes
///         a hot row of memory
/// @throws IoError if the file cannot be written
template <Executor E>
void write_fae_file(const E& exec, const std::string& path, const PackedDataset& packed) {
    detail::FaeContent content;
    detail::collect_sections(exec, packed, content);
    detail::sum_sections(exec, content);
    const detail::FaeHeader header = detail::fae_header_of(packed, content);
    AtomicFile file(path);
    file.write({reinterpret_cast<const std::byte*>(&header), sizeof header});
    for (const Span<const std::byte>& section : content.sections) {
        file.write(section);
        const auto padded = static_cast<std::size_t>(detail::fae_padded_bytes(section.size()));
        file.write({detail::fae_zeros.data(), padded - section.size()});
    }
    file.commit();
}

/// The same on the calling thread.
inline void write_fae_file(const std::string& path, const PackedDataset& packed) {
    write_fae_file(seq, path, packed);
}

/// Opens a packed data set by mapping its file.
/// @exec   seq, par: returns when everything is checked
/// @cost   reads the file once; builds the hot set and the ranks of hot inputs (1.25 bits a row and an input)
/// @throws IoError if the file cannot be opened or mapped; FormatError, naming the section and the first bad
///         byte (its column counts from 1), if it is not a .fae file, of another version, damaged, truncated
///         or extended
template <Executor E>
[[nodiscard]] PackedDataset open_fae_file(const E& exec, const std::string& path) {
    const auto file = std::make_shared<const MappedFile>(path);
    detail::PackedParts parts = detail::FaeReader(path, file->bytes()).read(exec);
    parts.owners.push_back(file);
    return PackedDataset(std::move(parts));
}

}  // namespace fae::inline FAE_ABI
