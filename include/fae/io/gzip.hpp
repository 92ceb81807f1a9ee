// SPDX-License-Identifier: Apache-2.0
//
// GzipSource: a byte source that inflates another one. The only header that needs zlib (target fae::gzip).
//
//   GzipSource<FileSource> log("day_0.gz");
//   Dataset data = read_criteo(par(threads), log, options);
//
// What the first two bytes say counts, not the name: a source that is not compressed passes through as it is.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/io/byte_source.hpp"

namespace fae::inline FAE_ABI {

/// Inflates gzip data of any number of members, checking their sums; passes other data through. Move-only.
/// @throws IoError if the compressed data are corrupt or end early, with the position in the compressed data
/// @source RFC 1952
template <ByteSource Inner = FileSource>
class GzipSource {
  public:
    explicit GzipSource(Inner inner) : inner_(std::move(inner)), input_(input_bytes) {}
    /// From a path (or whatever else makes an Inner).
    explicit GzipSource(std::string path) requires std::constructible_from<Inner, std::string>
        : GzipSource(Inner(std::move(path))) {}

    [[nodiscard]] std::size_t read(Span<char> out) {
        if (mode_ == Mode::unknown) look();
        if (mode_ == Mode::plain) return read_plain(out);
        if (fault_) std::rethrow_exception(fault_);
        return out.empty() ? 0 : inflate_into(out);
    }
    [[nodiscard]] std::string name() const { return inner_.name(); }
    /// Known only where the data turned out not to be compressed.
    [[nodiscard]] std::uint64_t total_bytes() const {
        return mode_ == Mode::plain ? total_bytes_of(inner_) : 0;
    }

  private:
    enum class Mode : std::uint8_t { unknown, plain, member, between, end };
    struct End {
        void operator()(z_stream* stream) const noexcept {
            ::inflateEnd(stream);
            delete stream;
        }
    };
    static constexpr std::size_t input_bytes = std::size_t{64} << 10;

    // Input not yet used is input_[begin_ .. end_); start_ is the position of input_[0] in the source.
    [[nodiscard]] std::uint64_t position() const { return start_ + begin_; }

    /// Adds at least one byte of input behind what is there, or returns false at the end.
    bool refill() {
        if (begin_ == end_) {
            start_ += end_;
            begin_ = end_ = 0;
        }
        const std::size_t count = inner_.read({input_.data() + end_, input_.size() - end_});
        end_ += count;
        return count != 0;
    }
    void look() {
        while (end_ < 2 && refill()) {
        }
        if (!has_gzip_magic({input_.data(), end_})) {
            mode_ = Mode::plain;
            return;
        }
        auto fresh = std::make_unique<z_stream>();
        if (::inflateInit2(fresh.get(), 15 + 16) != Z_OK) throw std::bad_alloc();
        stream_.reset(fresh.release());
        mode_ = Mode::member;
    }
    std::size_t read_plain(Span<char> out) {
        if (begin_ == end_) return inner_.read(out);
        const std::size_t count = std::min(out.size(), end_ - begin_);
        if (count != 0) std::memcpy(out.data(), input_.data() + begin_, count);
        begin_ += count;
        return count;
    }
    std::size_t inflate_into(Span<char> out) {
        const std::size_t room = std::min<std::size_t>(out.size(), std::size_t{1} << 30);
        stream_->next_out = reinterpret_cast<Bytef*>(out.data());
        stream_->avail_out = static_cast<uInt>(room);
        while (stream_->avail_out == room && mode_ != Mode::end) {
            if (mode_ == Mode::between && !next_member()) break;
            const bool exhausted = begin_ == end_ && !refill();
            stream_->next_in = reinterpret_cast<Bytef*>(input_.data() + begin_);
            stream_->avail_in = static_cast<uInt>(end_ - begin_);
            const int result = ::inflate(stream_.get(), Z_NO_FLUSH);
            begin_ = end_ - stream_->avail_in;
            if (result == Z_STREAM_END) {
                mode_ = Mode::between;
            } else if (result == Z_MEM_ERROR) {
                throw std::bad_alloc();
            } else if (result != Z_OK && result != Z_BUF_ERROR) {
                // What came before the fault is given first, so that errors keep the order of the data.
                fault_ = std::make_exception_ptr(IoError(
                    inner_.name(), position(),
                    concat("the compressed data are corrupt: ",
                           stream_->msg != nullptr ? stream_->msg : "not what a gzip member may hold")));
                if (stream_->avail_out == room) std::rethrow_exception(fault_);
            } else if (exhausted && stream_->avail_out == room) {
                // Without input it still gives what it has taken in before; now it has no more.
                throw IoError(inner_.name(), position(), "the compressed data end in the middle of a member");
            }
        }
        return room - stream_->avail_out;
    }
    /// Goes on to the next member, if there is one. Zeros after the last one are padding (of tapes and
    /// blocks).
    bool next_member() {
        for (;;) {
            if (begin_ == end_ && !refill()) {
                mode_ = Mode::end;
                return false;
            }
            if (input_[begin_] != '\0') break;
            padded_ = true;
            ++begin_;
        }
        if (padded_ || input_[begin_] != '\x1f') {
            throw IoError(inner_.name(), position(),
                          "bytes that are no gzip member follow the compressed data");
        }
        if (::inflateReset(stream_.get()) != Z_OK) throw std::bad_alloc();
        mode_ = Mode::member;
        return true;
    }

    Inner inner_;
    std::vector<char> input_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint64_t start_ = 0;
    std::unique_ptr<z_stream, End> stream_;
    std::exception_ptr fault_;
    Mode mode_ = Mode::unknown;
    bool padded_ = false;
};
static_assert(ByteSource<GzipSource<FileSource>>);

}  // namespace fae::inline FAE_ABI
