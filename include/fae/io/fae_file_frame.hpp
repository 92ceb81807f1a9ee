// SPDX-License-Identifier: Apache-2.0
//
// FaeFrame: the outer form of a .fae file in memory: its header, where its sections lie, and the checksums of
// every byte. What the sections hold is FaeReader's business (fae_file_reader.hpp).
//
//   detail::FaeFrame frame(path, bytes);                       // lengths and the header's sum are right
//   frame.check_blocks(exec, first, last, element_fault);      // the sums of sections [first, last) are, too
//   frame.elements<std::uint32_t>(FaeSection::hot_rows)
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/io/checksum.hpp"
#include "fae/io/fae_file_layout.hpp"

namespace fae::inline FAE_ABI::detail {

/// What is wrong with a file, and the byte where.
struct FaeFault {
    std::uint64_t byte;
    std::string what;
};

/// The frame of one file that lies in memory, 8-byte aligned.
class FaeFrame {
  public:
    /// @param path  named by errors; outlives the frame
    /// @throws FormatError unless the header is right, every section lies in the file and `sums` is whole
    FaeFrame(const std::string& path, Span<const std::byte> file) : path_(&path), file_(file) {
        read_header();
        place_sections();
        check_sums_section();
    }

    [[nodiscard]] const FaeHeader& header() const { return header_; }
    [[nodiscard]] bool jagged() const { return (header_.flags & fae_jagged) != 0; }

    /// The whole section as its elements.
    template <class T>
    [[nodiscard]] Span<const T> elements(std::size_t s) const {
        const FaeSectionEntry& entry = header_.sections[s];
        return {reinterpret_cast<const T*>(file_.data() + entry.offset),
                static_cast<std::size_t>(entry.bytes / sizeof(T))};
    }
    template <class T>
    [[nodiscard]] Span<const T> elements(FaeSection section) const {
        return elements<T>(fae_section_of(section));
    }
    /// The number of its elements.
    [[nodiscard]] std::uint64_t count(std::size_t s) const {
        return header_.sections[s].bytes / header_.sections[s].element_bytes;
    }
    [[nodiscard]] std::uint64_t count(FaeSection section) const { return count(fae_section_of(section)); }

    /// Throws FormatError for this byte of the file; a binary file is one line.
    [[noreturn]] void fail(std::uint64_t byte, const std::string& what) const {
        throw FormatError(*path_, 1, byte + 1, concat("byte ", byte, ": ", what));
    }
    [[noreturn]] void fail_in(std::size_t section, const std::string& what) const {
        fail(header_.sections[section].offset,
             concat("section `", fae_section_kinds[section].name, "` ", what));
    }

    /// Checks sums, padding and elements of the sections [first, last). `element_fault(section, begin, end)`
    /// says what is wrong with these elements of a section, if anything is; it is called once for every block
    /// of 1 MiB.
    /// @throws FormatError for the first bad block, whatever the order in which blocks are looked at
    template <Executor E, class ElementFault>
    void check_blocks(const E& exec, std::size_t first, std::size_t last,
                      ElementFault&& element_fault) const {
        const std::uint64_t begin = first_block_[first];
        const std::uint64_t end = first_block_[last];
        std::atomic<std::uint64_t> first_bad{end};
        exec.run(static_cast<std::size_t>(end - begin), [&](std::size_t i) {
            const std::uint64_t block = begin + i;
            std::uint64_t bad = first_bad.load(std::memory_order_relaxed);
            if (block > bad || !block_fault(block, element_fault)) return;
            while (block < bad && !first_bad.compare_exchange_weak(bad, block, std::memory_order_relaxed)) {
            }
        });
        const std::uint64_t bad = first_bad.load(std::memory_order_relaxed);
        if (bad == end) return;
        const std::optional<FaeFault> fault = block_fault(bad, element_fault);
        fail(fault ? fault->byte : 0, fault ? fault->what : std::string("the file changes while it is read"));
    }

  private:
    template <class ElementFault>
    [[nodiscard]] std::optional<FaeFault> block_fault(std::uint64_t block,
                                                      ElementFault& element_fault) const {
        const auto after = std::upper_bound(first_block_.begin(), first_block_.end(), block);
        const auto s = static_cast<std::size_t>(after - first_block_.begin()) - 1;
        const FaeSectionEntry& entry = header_.sections[s];
        const std::uint64_t begin = (block - first_block_[s]) * fae_block;  // within the section
        const std::uint64_t end = std::min(fae_padded_bytes(entry.bytes), begin + fae_block);
        const std::uint64_t byte = entry.offset + begin;
        const std::uint32_t sum =
            crc32c(file_.subspan(static_cast<std::size_t>(byte), static_cast<std::size_t>(end - begin)));
        const std::uint32_t expected = elements<std::uint32_t>(0)[static_cast<std::size_t>(block)];
        if (sum != expected) {
            const std::string what = concat("section `", fae_section_kinds[s].name, "`");
            return FaeFault{byte, sum_text(what, byte, end - begin, expected, sum)};
        }
        if (auto fault = padding_fault(s, byte, entry.offset + end)) return fault;
        const auto first = static_cast<std::size_t>(begin / entry.element_bytes);
        const auto last = static_cast<std::size_t>(std::min(end, entry.bytes) / entry.element_bytes);
        return element_fault(s, first, last);
    }

    [[nodiscard]] std::optional<FaeFault> padding_fault(std::size_t s, std::uint64_t begin,
                                                        std::uint64_t end) const {
        for (std::uint64_t i = std::max(begin, header_.sections[s].offset + header_.sections[s].bytes);
             i < end; ++i) {
            if (file_[static_cast<std::size_t>(i)] != std::byte{0}) {
                return FaeFault{i, concat("section `", fae_section_kinds[s].name, "`: padding is not zero")};
            }
        }
        return std::nullopt;
    }

    void read_header() {
        if (file_.size() < sizeof header_.magic ||
            std::memcmp(file_.data(), fae_magic.data(), sizeof header_.magic) != 0) {
            fail(0, "is not a .fae file: it does not begin with the magic bytes 89 46 41 45 0D 0A 1A 0A");
        }
        if (file_.size() < sizeof header_) {
            fail(file_.size(), concat("the file is truncated: it has ", file_.size(),
                                      " bytes, its header alone ", sizeof header_));
        }
        std::memcpy(&header_, file_.data(), sizeof header_);
        if (header_.endianness != fae_endianness) {
            fail(offsetof(FaeHeader, endianness),
                 concat("the endianness tag is ", header_.endianness, ", expected ", fae_endianness));
        }
        if (header_.version != fae_file_version) {
            fail(offsetof(FaeHeader, version),
                 concat("the file is of version ", header_.version, ", this library reads version ",
                        fae_file_version, header_.version > fae_file_version ? " and no newer one" : ""));
        }
        FaeHeader unsummed = header_;
        unsummed.header_sum = 0;
        require_sum(0, sizeof header_, header_.header_sum,
                    crc32c({reinterpret_cast<const std::byte*>(&unsummed), sizeof unsummed}), "the header");
        if (header_.file_bytes != file_.size()) {
            fail(std::min<std::uint64_t>(header_.file_bytes, file_.size()),
                 concat("the file is ", header_.file_bytes > file_.size() ? "truncated" : "too long",
                        ": it has ", file_.size(), " bytes, its header says ", header_.file_bytes));
        }
        if (header_.header_bytes != sizeof header_ || header_.section_count != fae_sections) {
            fail(offsetof(FaeHeader, header_bytes),
                 concat("a header of ", header_.header_bytes, " bytes and ", header_.section_count,
                        " sections, expected ", sizeof header_, " and ", fae_sections));
        }
        if ((header_.flags & ~fae_jagged) != 0) {
            fail(offsetof(FaeHeader, flags), concat("unknown flags ", header_.flags));
        }
        const auto nonzero =
            std::find_if(header_.zeros.begin(), header_.zeros.end(), [](unsigned char c) { return c != 0; });
        if (nonzero != header_.zeros.end()) {
            fail(offsetof(FaeHeader, zeros) + static_cast<std::uint64_t>(nonzero - header_.zeros.begin()),
                 "padding is not zero");
        }
    }

    // After this every section lies within the file, whole elements, in order and without gaps.
    void place_sections() {
        std::uint64_t next = sizeof header_;
        std::uint64_t blocks = 0;
        for (std::size_t s = 0; s < fae_sections; ++s) {
            const FaeSectionEntry& entry = header_.sections[s];
            const std::uint64_t at = offsetof(FaeHeader, sections) + s * sizeof entry;
            const char* const name = fae_section_kinds[s].name;
            if (entry.kind != s || entry.element_bytes != fae_section_kinds[s].element_bytes) {
                fail(at, concat("section ", s, " is of kind ", entry.kind, " with elements of ",
                                entry.element_bytes, " bytes, expected `", name, "` with ",
                                fae_section_kinds[s].element_bytes));
            }
            if (entry.offset != next) {
                fail(at, concat("section `", name, "` is at byte ", entry.offset, ", expected ", next));
            }
            // Of whole pages, so that rounding up to one cannot leave the file.
            const std::uint64_t room = (header_.file_bytes - next) / fae_page * fae_page;
            if (entry.bytes > room || entry.bytes % entry.element_bytes != 0) {
                fail(at, concat("section `", name, "` has ", entry.bytes, " bytes, expected a multiple of ",
                                entry.element_bytes, ", at most ", room));
            }
            next += fae_padded_bytes(entry.bytes);
            first_block_[s] = blocks;
            if (s != 0) blocks += fae_block_count(entry.bytes);
        }
        first_block_[fae_sections] = blocks;
        if (next != header_.file_bytes) {
            fail(next, concat("the sections end at byte ", next, ", expected ", header_.file_bytes));
        }
    }

    void check_sums_section() const {
        const std::size_t s = fae_section_of(FaeSection::sums);
        const FaeSectionEntry& entry = header_.sections[s];
        if (entry.bytes / 4 != first_block_[fae_sections]) {
            fail_in(s, concat("has ", entry.bytes / 4, " entries, expected ", first_block_[fae_sections]));
        }
        const auto length = static_cast<std::size_t>(fae_padded_bytes(entry.bytes));
        const Span<const std::byte> bytes = file_.subspan(static_cast<std::size_t>(entry.offset), length);
        require_sum(entry.offset, length, header_.sums_sum, crc32c(bytes), "section `sums`");
        if (const auto fault = padding_fault(s, entry.offset, entry.offset + length))
            fail(fault->byte, fault->what);
    }

    void require_sum(std::uint64_t byte, std::uint64_t length, std::uint32_t expected, std::uint32_t actual,
                     const std::string& what) const {
        if (actual != expected) fail(byte, sum_text(what, byte, length, expected, actual));
    }
    [[nodiscard]] static std::string sum_text(const std::string& what, std::uint64_t byte,
                                              std::uint64_t length, std::uint32_t expected,
                                              std::uint32_t actual) {
        return concat(what, " is damaged: the checksum of bytes ", byte, " to ", byte + length, " is ",
                      std::hex, actual, ", expected ", expected);
    }

    const std::string* path_;
    Span<const std::byte> file_;
    FaeHeader header_{};
    std::array<std::uint64_t, fae_sections + 1> first_block_{};  // of each section, and their number
};

}  // namespace fae::inline FAE_ABI::detail
