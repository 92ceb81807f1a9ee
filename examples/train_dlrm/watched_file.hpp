// SPDX-License-Identifier: Apache-2.0
//
// A log file that shows how far it was read, and stops for Ctrl-C between two blocks. "-" is standard input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "console.hpp"
#include "fae/core/span.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/trace/progress.hpp"

namespace train_dlrm {

/// A byte source over a file.
class WatchedFile {
  public:
    explicit WatchedFile(const std::string& path)
        : file_(path), bar_(progress("read", fae::total_bytes_of(file_), "bytes")) {}

    [[nodiscard]] std::size_t read(fae::Span<char> out) {
        stop_if_interrupted();
        const std::size_t count = file_.read(out);
        bar_->add(count);
        if (count == 0) bar_->finish();
        return count;
    }
    [[nodiscard]] std::string name() const { return file_.name(); }
    [[nodiscard]] std::uint64_t total_bytes() const { return fae::total_bytes_of(file_); }

  private:
    fae::FileSource file_;
    std::unique_ptr<fae::Progress> bar_;
};

}  // namespace train_dlrm
