// SPDX-License-Identifier: Apache-2.0
//
// AtomicFile: a file that appears under its name complete, or not at all.
//
//   AtomicFile file("weights.npy");
//   file.write(header);                 // any number of appended pieces
//   file.write_at(8, checksum);         // and pieces put over earlier ones
//   file.commit();                      // flushed to the disk, then renamed over what was there before
//
// Until commit() the old file, if any, is untouched. Destroyed without commit(), an AtomicFile leaves nothing
// behind. Where the file system can, the bytes have no name at all before commit(), so that not even a
// process that is killed leaves something; elsewhere a killed process leaves NAME.tmp-PID-N. A path that
// names a device or a pipe (/dev/stdout, say) is written straight through: there is nothing to replace.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// Writes one file, buffered. Move-only.
/// @cost   a buffer of 256 KiB; larger pieces are written without a copy
/// @throws IoError with the path and the position, from the constructor and every function
class AtomicFile {
  public:
    /// @param path  the final name; its folder must exist. A symbolic link is followed.
    explicit AtomicFile(std::string path) : path_(std::move(path)), target_(path_) {
        buffer_.reserve(buffer_bytes);
        // The streams of this process, even where they lead to a regular file: what is there must stay.
        const int stream = path_ == "/dev/stdout"   ? STDOUT_FILENO
                           : path_ == "/dev/stderr" ? STDERR_FILENO
                                                    : -1;
        struct stat status {};
        const bool exists = ::stat(path_.c_str(), &status) == 0;
        if (exists && S_ISDIR(status.st_mode)) throw IoError(path_, "is a folder");
        if (stream >= 0 || (exists && !S_ISREG(status.st_mode))) {
            file_ = stream >= 0 ? ::dup(stream) : ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
            if (file_ < 0) fail("cannot be opened for writing");
            state_ = State::through;
            return;
        }
        if (exists) {
            char resolved[PATH_MAX];
            if (::realpath(path_.c_str(), resolved) != nullptr) target_ = resolved;
        }
        open_unnamed();
        if (file_ < 0) open_named();
        // What replaces a file keeps its permissions; a refusal (not the owner) leaves the usual ones.
        if (exists && ::fchmod(file_, status.st_mode & 07777) != 0) errno = 0;
    }
    AtomicFile(AtomicFile&& other) noexcept
        : path_(std::move(other.path_)),
          target_(std::move(other.target_)),
          temporary_(std::move(other.temporary_)),
          buffer_(std::move(other.buffer_)),
          flushed_(other.flushed_),
          file_(std::exchange(other.file_, -1)),
          state_(std::exchange(other.state_, State::closed)) {}
    AtomicFile& operator=(AtomicFile&&) = delete;
    ~AtomicFile() { abandon(); }

    /// Appends.
    void write(Span<const std::byte> bytes) {
        require_open();
        if (buffer_.size() + bytes.size() > buffer_bytes) flush();
        if (bytes.size() > buffer_bytes) {
            put(bytes.data(), bytes.size());
            return;
        }
        buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    }
    void write(std::string_view text) {
        write({reinterpret_cast<const std::byte*>(text.data()), text.size()});
    }

    /// Puts bytes over bytes that were written before; the position of the next write() stays the end.
    /// @pre offset + bytes.size() <= size(), and the path names no device or pipe
    void write_at(std::uint64_t offset, Span<const std::byte> bytes) {
        require_open();
        require(state_ != State::through, [&] {
            return concat(path_, " is a device or a pipe, expected a regular file for write_at");
        });
        require(bytes.size() <= size() && offset <= size() - bytes.size(), [&] {
            return concat("write_at covers bytes ", offset, " to ", offset + bytes.size(),
                          ", expected at most ", size());
        });
        flush();
        std::size_t done = 0;
        while (done < bytes.size()) {
            const ssize_t count =
                ::pwrite(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) fail("cannot be written");
            done += static_cast<std::size_t>(count);
        }
    }

    /// Bytes appended so far.
    [[nodiscard]] std::uint64_t size() const { return flushed_ + buffer_.size(); }
    [[nodiscard]] const std::string& path() const { return path_; }

    /// Makes the file appear under its name, all of it on the disk. Nothing can be written afterwards.
    void commit() {
        require_open();
        flush();
        if (state_ == State::through) {
            close();
            return;
        }
        if (::fsync(file_) != 0) fail("cannot be flushed to the disk");
        if (state_ == State::unnamed) name_it();
        if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("cannot be put in place");
        close();
        // The folder's entry too; some file systems refuse to flush folders and need not be asked.
        const int folder = ::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder >= 0) {
            ::fsync(folder);
            ::close(folder);
        }
    }

    /// Gives the file up: nothing of it stays. Also what the destructor does.
    void abandon() noexcept {
        if (state_ == State::named) ::unlink(temporary_.c_str());
        close();
    }

  private:
    enum class State : std::uint8_t { closed, unnamed, named, through };
    static constexpr std::size_t buffer_bytes = std::size_t{256} << 10;

    [[nodiscard]] static std::string folder_of(const std::string& path) {
        const std::size_t slash = path.rfind('/');
        if (slash == std::string::npos) return ".";
        return slash == 0 ? "/" : path.substr(0, slash);
    }
    [[nodiscard]] std::string temporary_name(unsigned attempt) const {
        return concat(target_, ".tmp-", ::getpid(), "-", attempt);
    }

    void open_unnamed() {
#if defined(O_TMPFILE)
        // The later naming goes through /proc; without it the file could never appear.
        if (::access("/proc/self/fd", X_OK) != 0) return;
        file_ = ::open(folder_of(target_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
        if (file_ >= 0) state_ = State::unnamed;
#endif
    }
    void open_named() {
        for (unsigned attempt = 0; attempt < max_attempts; ++attempt) {
            temporary_ = temporary_name(attempt);
            file_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
            if (file_ >= 0) {
                state_ = State::named;
                return;
            }
            if (errno != EEXIST) break;
        }
        fail("cannot be created");
    }
    void name_it() {
#if defined(O_TMPFILE)
        const std::string open_file = concat("/proc/self/fd/", file_);
        for (unsigned attempt = 0; attempt < max_attempts; ++attempt) {
            temporary_ = temporary_name(attempt);
            if (::linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) == 0) {
                state_ = State::named;
                return;
            }
            if (errno != EEXIST) break;
        }
#endif
        fail("cannot be given a name");
    }

    void require_open() const {
        require(state_ != State::closed,
                [&] { return concat(path_, " is committed or given up, expected an open file"); });
    }
    void flush() {
        put(buffer_.data(), buffer_.size());
        buffer_.clear();
    }
    void put(const std::byte* data, std::size_t size) {
        while (size != 0) {
            const ssize_t count = ::write(file_, data, size);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) fail("cannot be written");
            data += count;
            size -= static_cast<std::size_t>(count);
            flushed_ += static_cast<std::uint64_t>(count);
        }
    }
    void close() noexcept {
        if (file_ >= 0) ::close(file_);
        file_ = -1;
        state_ = State::closed;
    }
    [[noreturn]] void fail(const char* what) const {
        const int error = errno;
        throw IoError(path_, flushed_, concat(what, ": ", std::generic_category().message(error)));
    }

    static constexpr unsigned max_attempts = 1000;

    std::string path_;       // as the caller wrote it
    std::string target_;     // with links followed
    std::string temporary_;  // the name before the rename, where there is one
    std::vector<std::byte> buffer_;
    std::uint64_t flushed_ = 0;
    int file_ = -1;
    State state_ = State::closed;
};

}  // namespace fae::inline FAE_ABI
