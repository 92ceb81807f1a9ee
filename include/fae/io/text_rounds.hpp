// SPDX-License-Identifier: Apache-2.0
//
// TextRounds: streams a log that need not fit in memory: rounds of blocks, parsed in parallel while the text
// of the next round is read (and inflated). Tokens stay as they are; text_reader.hpp numbers them.
//
//   TextRounds<CriteoFormat, FileSource> rounds(source);
//   while (rounds.next(par(threads))) {
//       for (const TextBlock<CriteoFormat>& block : rounds.blocks()) {        // in the order of the source
//           if (block.fault()) throw rounds.format_error(block);
//           use(block.labels(), block.integers(0), block.tokens(25));
//       }
//   }
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/io/line_blocks.hpp"
#include "fae/io/text_block.hpp"

namespace fae::inline FAE_ABI {

/// Parses a log block by block. The source must outlive it.
template <LineFormat Format, ByteSource Source>
class TextRounds {
  public:
    explicit TextRounds(Source& source, bool skip_malformed = false,
                        std::size_t chunk_bytes = std::size_t{256} << 10)
        : source_(&source),
          chunk_bytes_(std::max<std::size_t>(chunk_bytes, 1)),
          skip_malformed_(skip_malformed) {}

    /// Parses the next lines, while those after them are being read; false at the end.
    /// @throws IoError of the source, when all lines before it have been given. A malformed line is not
    ///         thrown but left in its block's fault(); the caller throws format_error(block)
    template <Executor E>
    bool next(const E& exec) {
        if (!lines_) {
            lines_.emplace(*source_, chunk_bytes_ * std::clamp<std::size_t>(4 * exec.concurrency(), 16, 256));
            more_ = lines_->next(ahead_);
        }
        first_line_ += lines_of_round_;
        lines_of_round_ = 0;
        used_ = 0;
        if (fault_) std::rethrow_exception(fault_);
        if (!more_) return false;
        std::swap(current_, ahead_);
        cut();
        exec.run(1 + used_, [&](std::size_t task) {
            if (task == 0) {
                try {
                    more_ = lines_->next(ahead_);
                } catch (...) {
                    fault_ = std::current_exception();
                }
            } else {
                blocks_[task - 1].parse(chunks_[task - 1], skip_malformed_);
            }
        });
        for (const TextBlock<Format>& block : blocks()) lines_of_round_ += block.lines();
        return true;
    }

    /// The blocks of this round, in the order of the source. Blocks behind one that stopped at a malformed
    /// line are what they would be without it.
    [[nodiscard]] Span<TextBlock<Format>> blocks() { return {blocks_.data(), used_}; }
    /// The text of this round.
    [[nodiscard]] std::size_t bytes() const { return current_.text().size(); }

    /// The error that names the malformed line of `block`, one of blocks().
    [[nodiscard]] FormatError format_error(const TextBlock<Format>& block) const {
        std::uint64_t line = first_line_ + 1 + block.fault()->line;
        for (const TextBlock<Format>& before : blocks_) {
            if (&before == &block) break;
            line += before.lines();
        }
        return FormatError(source_->name(), line, block.fault()->fault.column, block.fault()->fault.what);
    }

  private:
    // Pieces of about chunk_bytes_, each to the end of a line.
    void cut() {
        chunks_.clear();
        Span<const char> text = current_.text();
        while (!text.empty()) {
            std::size_t size = text.size();
            if (size > chunk_bytes_) {
                const char* from = text.begin() + (chunk_bytes_ - 1);
                const void* end = std::memchr(from, '\n', size - (chunk_bytes_ - 1));
                if (end != nullptr) {
                    size = static_cast<std::size_t>(static_cast<const char*>(end) + 1 - text.begin());
                }
            }
            chunks_.push_back(text.subspan(0, size));
            text = text.subspan(size, text.size() - size);
        }
        used_ = chunks_.size();
        if (blocks_.size() < used_) blocks_.resize(used_);
    }

    Source* source_;
    std::size_t chunk_bytes_;
    bool skip_malformed_;
    bool more_ = false;
    std::optional<LineBlocks<Source>> lines_;
    LineBlock current_;
    LineBlock ahead_;
    std::vector<Span<const char>> chunks_;
    std::vector<TextBlock<Format>> blocks_;
    std::size_t used_ = 0;
    std::uint64_t first_line_ = 0;  // lines before this round
    std::uint64_t lines_of_round_ = 0;
    std::exception_ptr fault_;
};

}  // namespace fae::inline FAE_ABI
