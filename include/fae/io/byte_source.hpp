// SPDX-License-Identifier: Apache-2.0
//
// Byte sources: where a reader's bytes come from, front to back, in blocks of the reader's choice.
//
//   FileSource file("day_0");                 // a file, a pipe, "-" for standard input
//   MemorySource text(bytes, "name");         // bytes that the caller holds
//   GzipSource<FileSource> log("day_0.gz");   // io/gzip.hpp: inflates what is compressed
//
// A host's own source is anything that models ByteSource.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// A sequence of bytes: read(out) fills the front of `out`, which is not empty, and returns how many bytes it
/// put there, 0 only at the end. name() is what errors call the source. It throws IoError.
template <class S>
concept ByteSource = requires(S& source, const S& same, Span<char> out) {
    { source.read(out) } -> std::same_as<std::size_t>;
    { same.name() } -> std::convertible_to<std::string>;
};

/// Bytes in memory that the caller keeps alive.
class MemorySource {
  public:
    explicit MemorySource(std::string_view bytes, std::string name = "memory")
        : bytes_(bytes), name_(std::move(name)) {}

    [[nodiscard]] std::size_t read(Span<char> out) {
        const std::size_t count = std::min(out.size(), bytes_.size() - position_);
        if (count != 0) std::memcpy(out.data(), bytes_.data() + position_, count);
        position_ += count;
        return count;
    }
    [[nodiscard]] const std::string& name() const { return name_; }
    /// The bytes of the whole source.
    [[nodiscard]] std::uint64_t total_bytes() const { return bytes_.size(); }

  private:
    std::string_view bytes_;
    std::string name_;
    std::size_t position_ = 0;
};
static_assert(ByteSource<MemorySource>);

/// A file, read front to back; also a pipe or a device. "-" is standard input. Move-only.
class FileSource {
  public:
    /// @throws IoError if the file cannot be opened, or is a folder
    explicit FileSource(std::string path) : path_(std::move(path)) {
        file_ = path_ == "-" ? ::dup(STDIN_FILENO) : ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (file_ < 0) fail("cannot be opened");
        struct stat status {};
        if (::fstat(file_, &status) == 0) {
            if (S_ISDIR(status.st_mode)) {
                close();
                throw IoError(path_, "is a folder, expected a file");
            }
            if (S_ISREG(status.st_mode)) total_bytes_ = static_cast<std::uint64_t>(status.st_size);
        }
#if defined(POSIX_FADV_SEQUENTIAL)
        ::posix_fadvise(file_, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
    }
    FileSource(FileSource&& other) noexcept
        : path_(std::move(other.path_)),
          position_(other.position_),
          total_bytes_(other.total_bytes_),
          file_(std::exchange(other.file_, -1)) {}
    FileSource& operator=(FileSource&& other) noexcept {
        FileSource moved(std::move(other));
        std::swap(path_, moved.path_);
        std::swap(position_, moved.position_);
        std::swap(total_bytes_, moved.total_bytes_);
        std::swap(file_, moved.file_);
        return *this;
    }
    ~FileSource() { close(); }

    [[nodiscard]] std::size_t read(Span<char> out) {
        for (;;) {
            const ssize_t count = ::read(file_, out.data(), out.size());
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) fail("cannot be read");
            position_ += static_cast<std::uint64_t>(count);
            return static_cast<std::size_t>(count);
        }
    }
    [[nodiscard]] const std::string& name() const { return path_; }
    /// The size of the file as it was opened; 0 where it is not known (a pipe).
    [[nodiscard]] std::uint64_t total_bytes() const { return total_bytes_; }

  private:
    void close() noexcept {
        if (file_ >= 0) ::close(file_);
        file_ = -1;
    }
    [[noreturn]] void fail(const char* what) {
        const int error = errno;
        close();
        throw IoError(path_, position_, concat(what, ": ", std::generic_category().message(error)));
    }

    std::string path_;
    std::uint64_t position_ = 0;
    std::uint64_t total_bytes_ = 0;
    int file_ = -1;
};
static_assert(ByteSource<FileSource>);

/// The bytes that a source will give in all, for sizing memory ahead; 0 where it does not say.
template <ByteSource Source>
[[nodiscard]] std::uint64_t total_bytes_of(const Source& source) {
    if constexpr (requires {
                      { source.total_bytes() } -> std::convertible_to<std::uint64_t>;
                  }) {
        return source.total_bytes();
    } else {
        return 0;
    }
}

/// True if these first bytes are those of a gzip file.
[[nodiscard]] inline bool has_gzip_magic(Span<const char> bytes) {
    return bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
}

}  // namespace fae::inline FAE_ABI
