// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npy files, version 1.0: one array of 1 or 2 dimensions, little-endian, C order, of float32,
// float64 or (u)int32, (u)int64. Written and read row by row, so that a table need not lie dense in memory.
//
//   write_npy("weights.npy", matrix);                        // a MatrixView<const float>, of any stride
//   NpyWriter<float> out("C1.npy", {rows, dim});
//   for (...) out.append(row);                               // spans of whole rows
//   out.commit();                                            // the file appears, complete
//
//   NpyReader<float> in("C1.npy");                           // in.rows(), in.columns()
//   in.read(matrix);                                         // the next matrix.rows() rows
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/io/atomic_file.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/io/npy_header.hpp"

namespace fae::inline FAE_ABI {

/// Writes one array, row by row. Nothing appears under the name before commit(). Move-only.
template <NpyElement T>
class NpyWriter {
  public:
    /// @param shape  {rows, columns}, or {rows} for an array of one dimension
    /// @throws ContractError if shape has not 1 or 2 extents; IoError
    NpyWriter(std::string path, std::initializer_list<std::uint64_t> shape)
        : header_{NpyHeader::of<T>(shape)}, file_(std::move(path)) {
        file_.write(header_.text());
    }

    /// The next rows, one after the other.
    /// @throws ContractError if they are not whole rows, or more than the shape has; IoError
    void append(Span<const T> values) {
        require(header_.columns() == 0 ? values.empty() : values.size() % header_.columns() == 0, [&] {
            return concat("rows have ", values.size(), " values, expected a multiple of ", header_.columns());
        });
        if (values.empty()) return;
        count(values.size() / header_.columns());
        file_.write({reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)});
    }
    /// The next rows, at any stride.
    void append(MatrixView<const T> matrix) {
        require(matrix.columns() == header_.columns(), [&] {
            return concat("rows have ", matrix.columns(), " values, expected ", header_.columns());
        });
        if (matrix.columns() == 0) {
            count(matrix.rows());
            return;
        }
        for (std::size_t r = 0; r < matrix.rows(); ++r)
            append(Span<const T>(matrix.row(r), matrix.columns()));
    }

    /// Ends the file and makes it appear.
    /// @throws ContractError if rows are lacking; IoError
    void commit() {
        require(written_ == header_.rows() || header_.columns() == 0, [&] {
            return concat(file_.path(), " has ", written_, " rows so far, expected ", header_.rows());
        });
        file_.commit();
    }

  private:
    void count(std::uint64_t rows) {
        require(rows <= header_.rows() - written_, [&] {
            return concat(file_.path(), " gets ", written_ + rows, " rows, expected ", header_.rows());
        });
        written_ += rows;
    }

    NpyHeader header_;
    AtomicFile file_;
    std::uint64_t written_ = 0;
};

/// Reads one array, row by row. Move-only.
template <NpyElement T, ByteSource Source = FileSource>
class NpyReader {
  public:
    /// @throws IoError if the source is no .npy file of elements T, with what was found and at which byte;
    ///         also, where the source knows its size, if it is shorter or longer than the header says
    explicit NpyReader(Source source) : source_(std::move(source)) {
        char start[NpyHeader::start_bytes];
        fill(start, sizeof start, "the header");
        std::string description(NpyHeader::description_bytes(source_.name(), start), '\0');
        fill(description.data(), description.size(), "the header");
        header_ = NpyHeader::parse(source_.name(), description);
        if (header_.dtype() != npy_dtype<T>) {
            throw IoError(source_.name(), NpyHeader::start_bytes,
                          concat("holds elements ", header_.dtype(), ", expected ", npy_dtype<T>));
        }
        const std::uint64_t total = total_bytes_of(source_);
        if (total != 0 && total != position_ + header_.data_bytes()) {
            throw IoError(source_.name(),
                          total < position_ + header_.data_bytes() ? total : position_ + header_.data_bytes(),
                          concat("the file has ", total, " bytes, expected ",
                                 position_ + header_.data_bytes(), " for its shape"));
        }
    }
    explicit NpyReader(std::string path) requires std::same_as<Source, FileSource>
        : NpyReader(FileSource(std::move(path))) {}

    [[nodiscard]] std::uint64_t rows() const { return header_.rows(); }
    /// Values in a row; 1 for an array of one dimension.
    [[nodiscard]] std::uint64_t columns() const { return header_.columns(); }
    /// 1 or 2.
    [[nodiscard]] std::size_t dimensions() const { return header_.dimensions(); }

    /// Reads the next rows into `out`, whose padding stays as it is.
    /// @throws ContractError if `out` has other columns, or more rows than are left; IoError if the data end
    ///         early, or if more follow the last row
    void read(MatrixView<T> out) {
        require(out.columns() == columns() && out.rows() <= rows() - read_, [&] {
            return concat("out is [", out.rows(), ", ", out.columns(), "], expected at most [",
                          rows() - read_, ", ", columns(), "]");
        });
        if (out.stride() == out.columns()) {
            fill(reinterpret_cast<char*>(out.data()), out.rows() * out.columns() * sizeof(T), "the data");
        } else {
            for (std::size_t r = 0; r < out.rows(); ++r) {
                fill(reinterpret_cast<char*>(out.row(r)), out.columns() * sizeof(T), "the data");
            }
        }
        read_ += out.rows();
        if (read_ == rows()) {
            char more = 0;
            if (source_.read({&more, 1}) != 0) {
                throw IoError(source_.name(), position_, "more bytes follow the last row");
            }
        }
    }

  private:
    // Large rows of a source that does not know its size come in pieces; a source gives what it has.
    void fill(char* to, std::size_t size, const char* part) {
        while (size != 0) {
            const std::size_t count = source_.read({to, size});
            if (count == 0) throw IoError(source_.name(), position_, concat("the file ends within ", part));
            to += count;
            size -= count;
            position_ += count;
        }
    }

    Source source_;
    NpyHeader header_;
    std::uint64_t position_ = 0;
    std::uint64_t read_ = 0;
};

/// Writes a matrix whole.
template <NpyElement T>
void write_npy(const std::string& path, MatrixView<const T> matrix) {
    NpyWriter<T> writer(path, {matrix.rows(), matrix.columns()});
    writer.append(matrix);
    writer.commit();
}
/// Writes an array of one dimension whole.
template <NpyElement T>
void write_npy(const std::string& path, Span<const T> values) {
    NpyWriter<T> writer(path, {values.size()});
    writer.append(values);
    writer.commit();
}

/// Reads an array into a matrix of its shape.
/// @throws IoError if the file is not [out.rows(), out.columns()] elements T
template <NpyElement T>
void read_npy(const std::string& path, MatrixView<T> out) {
    NpyReader<T> reader(path);
    if (reader.rows() != out.rows() || reader.columns() != out.columns()) {
        throw IoError(path, NpyHeader::start_bytes,
                      concat("holds an array of [", reader.rows(), ", ", reader.columns(), "], expected [",
                             out.rows(), ", ", out.columns(), "]"));
    }
    reader.read(out);
}

}  // namespace fae::inline FAE_ABI
