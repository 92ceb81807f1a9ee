// SPDX-License-Identifier: Apache-2.0
//
// LineBlocks: cuts a byte source into blocks of whole lines, in bounded memory whatever the source holds.
//
//   LineBlocks lines(source, 4 << 20);
//   LineBlock block;
//   while (lines.next(block)) parse(block.text());
//
// A line that is longer than max_line_bytes is cut to a stump that is still longer, so that its reader sees
// that it is too long and memory stays bounded.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI {

/// The longest line that a reader takes, without its line ending.
inline constexpr std::size_t max_line_bytes = std::size_t{64} << 10;

/// A block of whole lines; each ends with '\n' but perhaps the last of the source.
class LineBlock {
  public:
    [[nodiscard]] Span<const char> text() const { return {buffer_.data(), size_}; }

  private:
    template <ByteSource>
    friend class LineBlocks;
    Buffer<char> buffer_;
    std::size_t size_ = 0;
};

/// Whole lines of a source, block by block. The source must outlive it.
template <ByteSource Source>
class LineBlocks {
  public:
    /// @param block_bytes  about the size of a block; at least twice max_line_bytes is used
    LineBlocks(Source& source, std::size_t block_bytes)
        : source_(&source), block_bytes_(std::max(block_bytes, 2 * max_line_bytes)) {
        const std::uint64_t total = total_bytes_of(source);
        if (total != 0 && total < block_bytes_) block_bytes_ = std::max<std::size_t>(total + 1, least_bytes);
    }

    /// Puts the next lines into `block`, whose memory is used again. False at the end.
    /// @throws IoError of the source, once the whole lines before it have been given, and where the source is
    ///         compressed
    bool next(LineBlock& block) {
        if (block.buffer_.size() < block_bytes_) block.buffer_ = Buffer<char>(block_bytes_);
        char* text = block.buffer_.data();
        std::size_t size = carried_.size();
        if (size != 0) std::memcpy(text, carried_.data(), size);
        carried_.clear();
        block.size_ = 0;
        for (;;) {
            fill(text, size);
            if (ended_) {
                if (!fault_) break;
                size = end_of_lines(text, size);  // an unfinished line before a fault is nobody's line
                if (size == 0) std::rethrow_exception(fault_);
                break;
            }
            const std::size_t lines = end_of_lines(text, size);
            // What comes next goes on behind the stump, in the same line, which stays too long.
            const std::size_t tail = std::min(size - lines, stump_bytes);
            if (lines == 0 && block_bytes_ < 2 * max_line_bytes) {
                widen(block, size);  // the source holds more than it said
                text = block.buffer_.data();
                continue;
            }
            if (lines != 0) {
                carried_.assign(text + lines, text + lines + tail);
                size = lines;
                break;
            }
            size = tail;
        }
        block.size_ = size;
        return size != 0;
    }

  private:
    // Longer than a line may be even without a '\r' at its end.
    static constexpr std::size_t stump_bytes = max_line_bytes + 2;
    static constexpr std::size_t least_bytes = 64;

    // The position behind the last '\n', 0 if there is none.
    [[nodiscard]] static std::size_t end_of_lines(const char* text, std::size_t size) {
        while (size != 0 && text[size - 1] != '\n') --size;
        return size;
    }
    void widen(LineBlock& block, std::size_t size) {
        block_bytes_ = 2 * max_line_bytes;
        Buffer<char> wider(block_bytes_);
        std::memcpy(wider.data(), block.buffer_.data(), size);
        block.buffer_ = std::move(wider);
    }
    void fill(char* text, std::size_t& size) {
        while (size < block_bytes_ && !ended_) {
            std::size_t count = 0;
            try {
                count = source_->read({text + size, block_bytes_ - size});
            } catch (...) {
                fault_ = std::current_exception();
            }
            if (count == 0) {
                ended_ = true;
                return;
            }
            if (first_) check_first(text, size + count);
            size += count;
        }
    }
    void check_first(const char* text, std::size_t size) {
        if (size < 2) return;
        first_ = false;
        if (has_gzip_magic({text, size})) {
            fault_ = std::make_exception_ptr(IoError(
                source_->name(), "is compressed by gzip: read it through GzipSource of fae/io/gzip.hpp"));
            std::rethrow_exception(fault_);
        }
    }

    Source* source_;
    std::size_t block_bytes_;
    std::vector<char> carried_;  // the beginning of the next line
    std::exception_ptr fault_;
    bool first_ = true;
    bool ended_ = false;
};

}  // namespace fae::inline FAE_ABI
