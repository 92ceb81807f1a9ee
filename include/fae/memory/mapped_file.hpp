// SPDX-License-Identifier: Apache-2.0
//
// MappedFile: a whole file as read-only bytes of memory, mapped and not copied.
//
//   MappedFile file("train.fae");
//   Span<const std::byte> bytes = file.bytes();      // valid until `file` is destroyed
//
// The file must not be shortened while it is mapped: touching a page that is gone ends the process.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// How a mapped file is going to be read: advice for the operating system, never needed for correctness.
enum class FileAccess : std::uint8_t {
    normal,      ///< nothing is known
    sequential,  ///< front to back: read far ahead, drop early
    random,      ///< anywhere: read nothing ahead
};

/// A regular file, mapped read-only in whole. Move-only. An empty file maps to zero bytes.
class MappedFile {
  public:
    MappedFile() = default;

    /// @throws IoError if the file cannot be opened or mapped, or is not a regular file
    explicit MappedFile(std::string path, FileAccess access = FileAccess::normal) : path_(std::move(path)) {
        const int file = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) fail("cannot be opened");
        struct stat status {};
        if (::fstat(file, &status) != 0) fail_and_close(file, "cannot be looked at");
        if (!S_ISREG(status.st_mode)) {
            ::close(file);
            throw IoError(path_, "is not a regular file, so it cannot be mapped");
        }
        size_ = static_cast<std::size_t>(status.st_size);
        if (size_ != 0) {
            void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
            if (memory == MAP_FAILED) fail_and_close(file, "cannot be mapped");
            data_ = static_cast<const std::byte*>(memory);
            if (access == FileAccess::sequential) ::madvise(memory, size_, MADV_SEQUENTIAL);
            if (access == FileAccess::random) ::madvise(memory, size_, MADV_RANDOM);
        }
        ::close(file);  // the mapping stays
    }
    MappedFile(MappedFile&& other) noexcept
        : path_(std::move(other.path_)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    MappedFile& operator=(MappedFile&& other) noexcept {
        MappedFile moved(std::move(other));
        std::swap(path_, moved.path_);
        std::swap(data_, moved.data_);
        std::swap(size_, moved.size_);
        return *this;
    }
    ~MappedFile() {
        if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
    }

    /// The content; it starts at the boundary of a page.
    [[nodiscard]] Span<const std::byte> bytes() const { return {data_, size_}; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    [[noreturn]] void fail(const char* what) const {
        const int error = errno;
        throw IoError(path_, concat(what, ": ", std::generic_category().message(error)));
    }
    [[noreturn]] void fail_and_close(int file, const char* what) const {
        const int error = errno;
        ::close(file);
        errno = error;
        fail(what);
    }

    std::string path_;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fae::inline FAE_ABI
