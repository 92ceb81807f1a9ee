// SPDX-License-Identifier: Apache-2.0
//
// .fae files as strings of bytes: written, taken apart, changed, and with their checksums made right again.
//
//   std::string file = fae_test::file_bytes(packed);
//   fae_test::put<std::uint32_t>(file, fae_test::section(file, FaeSection::hot_rows).offset, 7);
//   fae_test::fix_sums(file);
//   fae_test::refusal(file);                         // the FormatError, if it is refused
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/io/checksum.hpp"
#include "fae/io/fae_file.hpp"
#include "fae/io/fae_file_layout.hpp"
#include "fae/io/fae_file_reader.hpp"
#include "fae/io/packed.hpp"

namespace fae_test {

using fae::detail::FaeHeader;
using fae::detail::FaeSectionEntry;

[[nodiscard]] inline fae::Span<const std::byte> as_bytes(const std::string& text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

template <class T>
[[nodiscard]] T get(const std::string& file, std::size_t at) {
    T value;
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
}
template <class T>
void put(std::string& file, std::size_t at, T value) {
    std::memcpy(file.data() + at, &value, sizeof value);
}

[[nodiscard]] inline FaeHeader header(const std::string& file) { return get<FaeHeader>(file, 0); }
[[nodiscard]] inline FaeSectionEntry section(const std::string& file, std::size_t s) {
    return get<FaeSectionEntry>(file, offsetof(FaeHeader, sections) + s * sizeof(FaeSectionEntry));
}
[[nodiscard]] inline FaeSectionEntry section(const std::string& file, fae::detail::FaeSection s) {
    return section(file, fae::detail::fae_section_of(s));
}

/// What write_fae_file writes.
[[nodiscard]] inline std::string file_bytes(const fae::PackedDataset& packed) {
    fae::detail::FaeContent content;
    fae::detail::collect_sections(fae::seq, packed, content);
    fae::detail::sum_sections(fae::seq, content);
    const FaeHeader header = fae::detail::fae_header_of(packed, content);
    std::string file(reinterpret_cast<const char*>(&header), sizeof header);
    for (const auto& bytes : content.sections) {
        file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        file.resize(static_cast<std::size_t>(fae::detail::fae_padded_bytes(file.size())), '\0');
    }
    return file;
}

/// Makes every checksum right, as far as the section table lies within the file.
inline void fix_sums(std::string& file) {
    if (file.size() < sizeof(FaeHeader)) return;
    const auto inside = [&](const FaeSectionEntry& entry) {
        const std::uint64_t size = file.size();
        return entry.bytes <= size && entry.offset <= size &&
               fae::detail::fae_padded_bytes(entry.bytes) <= size - entry.offset;
    };
    const auto sum = [&](std::uint64_t begin, std::uint64_t bytes) {
        return fae::crc32c(
            as_bytes(file).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(bytes)));
    };
    const FaeSectionEntry sums = section(file, 0);
    if (inside(sums)) {
        std::uint64_t block = 0;
        for (std::size_t s = 1; s < fae::detail::fae_sections; ++s) {
            const FaeSectionEntry entry = section(file, s);
            if (!inside(entry)) break;
            const std::uint64_t padded = fae::detail::fae_padded_bytes(entry.bytes);
            for (std::uint64_t begin = 0; begin < padded; begin += fae::detail::fae_block, ++block) {
                if (4 * (block + 1) > sums.bytes) break;
                put(file, static_cast<std::size_t>(sums.offset + 4 * block),
                    sum(entry.offset + begin, std::min(padded - begin, fae::detail::fae_block)));
            }
        }
        put(file, offsetof(FaeHeader, sums_sum), sum(sums.offset, fae::detail::fae_padded_bytes(sums.bytes)));
    }
    put(file, offsetof(FaeHeader, header_sum), std::uint32_t{0});
    put(file, offsetof(FaeHeader, header_sum), sum(0, sizeof(FaeHeader)));
}

/// Opens a file that lies in memory; `file` outlives what is returned.
template <fae::Executor E>
[[nodiscard]] fae::PackedDataset open_bytes(const E& exec, const std::string& file) {
    static const std::string path = "bytes.fae";
    return fae::PackedDataset(fae::detail::FaeReader(path, as_bytes(file)).read(exec));
}

/// The error with which a file is refused; none if it is opened. Any other exception passes.
template <fae::Executor E>
[[nodiscard]] std::optional<fae::FormatError> refusal(const E& exec, const std::string& file) {
    try {
        (void)open_bytes(exec, file);
    } catch (const fae::FormatError& error) {
        return error;
    }
    return std::nullopt;
}
[[nodiscard]] inline std::optional<fae::FormatError> refusal(const std::string& file) {
    return refusal(fae::seq, file);
}

}  // namespace fae_test
