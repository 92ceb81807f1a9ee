// SPDX-License-Identifier: Apache-2.0
#include "input_stream.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <system_error>

#include "../train_dlrm/console.hpp"
#include "../train_dlrm/inputs.hpp"
#include "../train_dlrm/watched_file.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/io/criteo.hpp"
#include "fae/io/gzip.hpp"
#include "fae/io/movielens.hpp"
#include "fae/io/synthetic.hpp"
#include "fae/io/synthetic_order.hpp"
#include "fae/io/text_reader.hpp"

namespace advise {

namespace {

constexpr std::size_t block_inputs = std::size_t{1} << 16;

// What a system call says of the temporary file.
[[noreturn]] void fail(const std::string& folder, const char* what) {
    throw fae::IoError(
        folder, std::string("a temporary file ") + what + ": " + std::generic_category().message(errno));
}

}  // namespace

LookupFile::LookupFile() : folder_(std::filesystem::temp_directory_path().string()) {
    std::string name = folder_ + "/advise-XXXXXX";
    file_ = ::mkstemp(name.data());
    if (file_ < 0) fail(folder_, "cannot be made");
    ::unlink(name.c_str());
}

LookupFile::~LookupFile() { ::close(file_); }

void LookupFile::append(const std::vector<std::uint32_t>& values) {
    const char* from = reinterpret_cast<const char*>(values.data());
    std::size_t left = values.size() * sizeof(std::uint32_t);
    while (left != 0) {
        const ssize_t count = ::write(file_, from, left);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail(folder_, "cannot be written");
        from += count;
        left -= static_cast<std::size_t>(count);
    }
    size_ += values.size();
}

void LookupFile::read(std::uint64_t first, std::vector<std::uint32_t>& values) const {
    char* to = reinterpret_cast<char*>(values.data());
    std::size_t left = values.size() * sizeof(std::uint32_t);
    auto at = static_cast<off_t>(first * sizeof(std::uint32_t));
    while (left != 0) {
        const ssize_t count = ::pread(file_, to, left, at);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail(folder_, "cannot be read");
        to += count;
        at += count;
        left -= static_cast<std::size_t>(count);
    }
}

template <class Format>
void InputStream::read_log(const Executor& exec, const train_dlrm::Options& options) {
    fae::TextReader<Format> reader(train_dlrm::reading_of(options));
    std::uint64_t all = 0;
    reader.stream(exec, fae::GzipSource<train_dlrm::WatchedFile>(options.data),
                  [&](const fae::Dataset& round) {
                      all += round.inputs();
                      lookups_.append(round.values);
                  });
    shape_ = reader.tables();
    malformed_ = reader.report().malformed;
    if (reader.report().first_malformed) first_malformed_ = reader.report().first_malformed->what();
    inputs_ =
        all - train_dlrm::held_out(all, options.validation.value_or(train_dlrm::Options::default_validation));
    in_time_order_ = true;
}

void InputStream::generate(const Executor& exec, const train_dlrm::Options& options) {
    const std::uint64_t seed = options.seed.value_or(train_dlrm::Options::default_seed);
    const fae::SyntheticSource source(train_dlrm::synthetic_of(options), seed);
    const fae::HeldOut split(options.inputs,
                             options.validation.value_or(train_dlrm::Options::default_validation), seed);
    const auto bar = train_dlrm::progress("generate", options.inputs, "inputs");
    std::vector<std::uint64_t> kept;
    for (std::uint64_t first = 0; first < options.inputs; first += block_inputs) {
        train_dlrm::stop_if_interrupted();
        const std::uint64_t end = std::min<std::uint64_t>(first + block_inputs, options.inputs);
        kept.clear();
        for (std::uint64_t i = first; i < end; ++i) {
            if (!split.holds(i)) kept.push_back(i);
        }
        const fae::Dataset block = source.generate(exec, fae::Span<const std::uint64_t>(kept));
        shape_ = block.shape;
        inputs_ += block.inputs();
        lookups_.append(block.values);
        bar->add(end - first);
    }
    bar->finish();
    numbered_ = true;
}

InputStream::InputStream(const Executor& exec, const train_dlrm::Options& options) {
    if (!options.synthetic.empty()) {
        generate(exec, options);
    } else if (options.format == "criteo") {
        read_log<fae::CriteoFormat>(exec, options);
    } else {
        read_log<fae::MovieLensFormat>(exec, options);
    }
}

void InputStream::for_blocks(const Executor& exec, std::uint64_t first, std::uint64_t end,
                             const std::string& label,
                             const std::function<void(const fae::Bags<std::uint32_t>&)>& f) const {
    const std::size_t features = shape_.features();
    std::vector<std::uint32_t> offsets(features, 0);
    if (!numbered_) {
        std::uint32_t sum = 0;
        std::vector<std::uint32_t> of_table;
        for (const std::uint64_t rows : shape_.table_rows) {
            of_table.push_back(sum);
            sum += static_cast<std::uint32_t>(rows);
        }
        for (std::size_t feature = 0; feature < features; ++feature)
            offsets[feature] = of_table[shape_.feature_table[feature]];
    }
    const auto bar = train_dlrm::progress(label, end - first, "inputs");
    std::vector<std::uint32_t> values;
    for (std::uint64_t begin = first; begin < end; begin += block_inputs) {
        train_dlrm::stop_if_interrupted();
        const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(block_inputs, end - begin));
        values.resize(count * features);
        lookups_.read(begin * features, values);
        if (!numbered_) {
            fae::for_chunks(exec, count, 4096, [&](std::size_t from, std::size_t to) {
                for (std::size_t i = from; i < to; ++i) {
                    for (std::size_t k = 0; k < features; ++k) values[i * features + k] += offsets[k];
                }
            });
        }
        f(fae::Bags<std::uint32_t>::fixed(values, 1, features));
        bar->add(count);
    }
    bar->finish();
}

}  // namespace advise
