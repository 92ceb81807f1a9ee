// SPDX-License-Identifier: Apache-2.0
//
// The training inputs of a source, to be read several times in little memory: the source is read once, from
// front to back (so standard input will do), and its look-ups, 4 bytes each, go to a temporary file that is
// gone when the program ends. Memory: the vocabularies and a few blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../train_dlrm/options.hpp"
#include "../train_dlrm/training.hpp"
#include "fae/core/bags.hpp"
#include "fae/io/dataset.hpp"

namespace advise {

using train_dlrm::Executor;

/// A file without a name that look-ups are put into and read from again.
class LookupFile {
  public:
    /// @throws IoError
    LookupFile();
    ~LookupFile();
    LookupFile(const LookupFile&) = delete;
    LookupFile& operator=(const LookupFile&) = delete;

    void append(const std::vector<std::uint32_t>& values);
    /// Reads values [first, first + values.size()).
    void read(std::uint64_t first, std::vector<std::uint32_t>& values) const;
    [[nodiscard]] std::uint64_t size() const { return size_; }

  private:
    int file_ = -1;
    std::uint64_t size_ = 0;
    std::string folder_;
};

/// Inputs with one look-up a feature.
class InputStream {
  public:
    /// @throws FormatError, IoError, ContractError
    InputStream(const Executor& exec, const train_dlrm::Options& options);

    /// Features and the final tables; also the rows that only held-out inputs look up.
    [[nodiscard]] const fae::DatasetShape& shape() const { return shape_; }
    /// Of the training split.
    [[nodiscard]] std::uint64_t inputs() const { return inputs_; }
    /// True where the order of inputs is one of time: a log's.
    [[nodiscard]] bool in_time_order() const { return in_time_order_; }
    [[nodiscard]] std::uint64_t malformed() const { return malformed_; }
    [[nodiscard]] const std::string& first_malformed() const { return first_malformed_; }

    /// Calls f(bags) for inputs [first, end) in order, blocks of at most 65,536; row ids are those of
    /// shape().row_space().
    /// @throws IoError, Interrupted, and what f throws
    void for_blocks(const Executor& exec, std::uint64_t first, std::uint64_t end, const std::string& label,
                    const std::function<void(const fae::Bags<std::uint32_t>&)>& f) const;

  private:
    template <class Format>
    void read_log(const Executor& exec, const train_dlrm::Options& options);
    void generate(const Executor& exec, const train_dlrm::Options& options);

    LookupFile lookups_;
    fae::DatasetShape shape_;
    std::uint64_t inputs_ = 0;
    bool in_time_order_ = false;
    bool numbered_ = false;  // the file holds row ids already, not indices within tables
    std::uint64_t malformed_ = 0;
    std::string first_malformed_;
};

}  // namespace advise
