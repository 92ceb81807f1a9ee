// SPDX-License-Identifier: Apache-2.0
//
// What a fuzzer and the mutation test ask of each reader: any bytes give what the plain oracle gives, or one
// of our errors at the place the oracle names. A broken promise is a std::logic_error, which no reader
// throws.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/io/criteo.hpp"
#include "fae/io/gzip.hpp"
#include "fae/io/movielens.hpp"
#include "fae/io/npy.hpp"
#include "support/criteo_oracle.hpp"
#include "support/gzip_writer.hpp"
#include "support/promise.hpp"

namespace reader_fuzz {

template <class Format>
void log_equals_oracle(const std::string& text, const fae::ReadOptions& options, const LogOracle& expected) {
    fae::TextReader<Format> reader(options);
    const bool faulty = expected.fault_line != 0 && !options.skip_malformed;
    try {
        fae::Dataset data = reader.read(fae::seq, fae::MemorySource(text, "bytes"));
        reader.finish(fae::seq, {&data});
        promise(!faulty, "a malformed line was taken: line " + std::to_string(expected.fault_line));
        promise(!expected.labels.empty(), "inputs out of nothing");
        promise(data.labels == expected.labels, "labels differ");
        promise(data.dense == expected.dense, "dense features differ");
        promise(data.values == expected.values, "row ids differ");
        promise(data.shape.table_rows == expected.table_rows, "table sizes differ");
        promise(reader.report().malformed == expected.malformed, "another number of malformed lines");
        promise(reader.report().inputs == expected.labels.size(), "another number of inputs");
        promise(reader.report().first_malformed.has_value() == (expected.fault_line != 0),
                "the first fault is lost");
        if (expected.fault_line != 0) {
            promise(reader.report().first_malformed->line == expected.fault_line &&
                        reader.report().first_malformed->column == expected.fault_column,
                    "the first fault is elsewhere");
        }
    } catch (const fae::FormatError& error) {
        promise(faulty || expected.labels.empty(), std::string("good lines were refused: ") + error.what());
        if (expected.fault_line != 0) {
            promise(error.line == expected.fault_line && error.column == expected.fault_column,
                    std::string("the error is at another place: ") + error.what());
        }
    } catch (const fae::IoError& error) {
        promise(fae::has_gzip_magic({text.data(), text.size()}), std::string("an IoError: ") + error.what());
    }
}

/// The first byte chooses the options, the rest is the log.
template <class Format, class Oracle>
void read_log(const std::uint8_t* bytes, std::size_t size, const Oracle& oracle) {
    if (size == 0) return;
    const unsigned choice = bytes[0];
    const std::string text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    LogOracleOptions plain;
    plain.skip_malformed = (choice & 1) != 0;
    plain.hash = (choice & 2) != 0;
    plain.max_rows = (choice & 4) != 0 ? 3 : 0;
    plain.limit = (choice & 8) != 0 ? 2 : 0;
    fae::ReadOptions options;
    options.skip_malformed = plain.skip_malformed;
    options.vocabulary = {plain.hash ? fae::VocabularyKind::hash : fae::VocabularyKind::first_seen,
                          plain.max_rows, plain.hash_rows};
    options.limit = plain.limit;
    options.chunk_bytes = (choice & 16) != 0 ? 64 : std::size_t{1} << 16;
    if (fae::has_gzip_magic({text.data(), text.size()})) return;
    log_equals_oracle<Format>(text, options, oracle(text, plain));
}

inline void criteo(const std::uint8_t* bytes, std::size_t size) {
    read_log<fae::CriteoFormat>(bytes, size, criteo_oracle);
}
inline void movielens(const std::uint8_t* bytes, std::size_t size) {
    read_log<fae::MovieLensFormat>(bytes, size, movielens_oracle);
}

struct Drained {
    std::string bytes;
    std::string error;
    bool operator==(const Drained&) const = default;
};

/// All that a source gives, up to 1 MiB, read `step` bytes at a time.
template <class Source>
Drained drain(Source source, std::size_t step) {
    Drained result;
    std::vector<char> block(step);
    try {
        while (result.bytes.size() < std::size_t{1} << 20) {
            const std::size_t count = source.read({block.data(), block.size()});
            if (count == 0) break;
            promise(count <= block.size(), "more bytes than were asked for");
            result.bytes.append(block.data(), count);
        }
    } catch (const fae::IoError& error) {
        result.error = error.what();
    }
    return result;
}

/// The bytes as a compressed source; and compressed and inflated again.
inline void gzip_bytes(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const Drained whole = drain(fae::GzipSource(fae::MemorySource(text)), std::size_t{1} << 16);
    if (whole.bytes.size() < std::size_t{1} << 16) {
        const Drained pieces = drain(fae::GzipSource(fae::MemorySource(text)), 13);
        promise(whole == pieces, "what is inflated depends on the size of the reads: '" + whole.error +
                                     "' and '" + pieces.error + "'");
    }
    if (!fae::has_gzip_magic({text.data(), text.size()})) {
        promise(whole.error.empty() && whole.bytes == text.substr(0, whole.bytes.size()),
                "plain bytes do not pass through");
    }
    if (size > 4096) return;
    const std::string packed = gzip(text, 1) + gzip(text, 9);
    const Drained twice = drain(fae::GzipSource(fae::MemorySource(packed)), 4096);
    promise(twice.error.empty() && twice.bytes == std::string(text) + std::string(text),
            "two members do not inflate to what they were made of");
}

template <class T>
void npy_of(std::string_view file) {
    try {
        fae::NpyReader<T, fae::MemorySource> reader{fae::MemorySource(file, "bytes")};
        const std::uint64_t values = reader.rows() * reader.columns();
        promise(values * sizeof(T) <= file.size(), "more values than the file has bytes");
        std::vector<T> read(values);
        // A matrix of no columns has any number of rows in no memory.
        if (reader.columns() == 0) return;
        reader.read(fae::MatrixView<T>(read.data(), reader.rows(), reader.columns()));
        promise(file.substr(file.size() - values * sizeof(T)) ==
                    std::string_view(reinterpret_cast<const char*>(read.data()), values * sizeof(T)),
                "values differ from the file's last bytes");
    } catch (const fae::IoError&) {
    }
}

/// The bytes as an .npy file.
inline void npy(const std::uint8_t* bytes, std::size_t size) {
    const std::string_view file(reinterpret_cast<const char*>(bytes), size);
    npy_of<float>(file);
    npy_of<std::uint64_t>(file);
}

}  // namespace reader_fuzz
