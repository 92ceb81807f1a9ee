// SPDX-License-Identifier: Apache-2.0
//
// The header of an .npy file: what npy.hpp writes before the values and looks at before it reads them.
//
// It is the magic string, the version, and the text of a Python dictionary in ASCII, padded so that the
// values start at a multiple of 64 bytes:
//
//   \x93NUMPY 1 0 <length, 2 bytes> {'descr': '<f4', 'fortran_order': False, 'shape': (1460, 16), }
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

/// An element type that .npy files are read and written with.
template <class T>
concept NpyElement = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::uint32_t> ||
    std::same_as<T, std::uint64_t> || std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t>;

/// NumPy's name of an element type, "<f4" for float.
template <NpyElement T>
inline constexpr std::string_view npy_dtype = std::same_as<T, float>           ? "<f4"
                                              : std::same_as<T, double>        ? "<f8"
                                              : std::same_as<T, std::uint32_t> ? "<u4"
                                              : std::same_as<T, std::uint64_t> ? "<u8"
                                              : std::same_as<T, std::int32_t>  ? "<i4"
                                                                               : "<i8";

/// What a header says.
/// @source NumPy Enhancement Proposal 1, version 1.0 of the format
class NpyHeader {
  public:
    /// Magic string, version and length of the description.
    static constexpr std::size_t start_bytes = 10;

    NpyHeader() = default;

    /// The header of an array of T.
    /// @throws ContractError if shape has not 1 or 2 extents, or its bytes do not fit 63 bits
    template <NpyElement T>
    [[nodiscard]] static NpyHeader of(std::initializer_list<std::uint64_t> shape) {
        require(shape.size() == 1 || shape.size() == 2,
                [&] { return concat("the shape has ", shape.size(), " extents, expected 1 or 2"); });
        NpyHeader header;
        header.dtype_ = npy_dtype<T>;
        header.item_bytes_ = sizeof(T);
        header.dimensions_ = shape.size();
        header.rows_ = *shape.begin();
        header.columns_ = shape.size() == 2 ? *(shape.begin() + 1) : 1;
        require(header.fits(), [&] {
            return concat("an array of [", header.rows_, ", ", header.columns_, "] does not fit a file");
        });
        return header;
    }

    [[nodiscard]] const std::string& dtype() const { return dtype_; }
    [[nodiscard]] std::size_t dimensions() const { return dimensions_; }
    [[nodiscard]] std::uint64_t rows() const { return rows_; }
    /// 1 for an array of one dimension.
    [[nodiscard]] std::uint64_t columns() const { return columns_; }
    [[nodiscard]] std::uint64_t data_bytes() const { return rows_ * columns_ * item_bytes_; }

    /// The bytes of the file before the first value.
    [[nodiscard]] std::string text() const {
        std::string description =
            concat("{'descr': '", dtype_, "', 'fortran_order': False, 'shape': (", rows_, ",");
        if (dimensions_ == 2) description += concat(" ", columns_);
        description += "), }";
        const std::size_t whole = round_up<std::size_t>(start_bytes + description.size() + 1, 64);
        description.append(whole - start_bytes - description.size() - 1, ' ');
        description += '\n';
        std::string text(magic);
        text += '\x01';
        text += '\0';
        text += static_cast<char>(description.size() & 0xFF);
        text += static_cast<char>(description.size() >> 8);
        return text + description;
    }

    /// The length of the description that follows the first start_bytes bytes of a file.
    /// @throws IoError if they do not begin an .npy file of version 1.0
    [[nodiscard]] static std::size_t description_bytes(const std::string& file,
                                                       const char (&start)[start_bytes]) {
        if (std::string_view(start, magic.size()) != magic) throw IoError(file, 0, "is no .npy file");
        if (start[6] != 1 || start[7] != 0) {
            throw IoError(file, 6,
                          concat("is an .npy file of version ", int{static_cast<unsigned char>(start[6])},
                                 ".", int{static_cast<unsigned char>(start[7])}, ", expected 1.0"));
        }
        return static_cast<std::size_t>(static_cast<unsigned char>(start[8])) |
               static_cast<std::size_t>(static_cast<unsigned char>(start[9])) << 8;
    }

    /// Reads the description of `file`.
    /// @throws IoError if it is not a dictionary of descr, fortran_order and shape that this library can read
    [[nodiscard]] static NpyHeader parse(const std::string& file, std::string_view description) {
        Parser parser{file, description, 0};
        return parser.header();
    }

  private:
    static constexpr std::string_view magic = "\x93NUMPY";

    [[nodiscard]] bool fits() const {
        constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        return columns_ == 0 || rows_ <= limit / columns_ / item_bytes_;
    }

    // The subset of Python's literals that a header is made of.
    struct Parser {
        const std::string& file;
        std::string_view text;
        std::size_t at;

        [[noreturn]] void fail(const std::string& what) const { throw IoError(file, start_bytes + at, what); }
        void skip_spaces() {
            while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n')) ++at;
        }
        bool take(char c) {
            skip_spaces();
            if (at == text.size() || text[at] != c) return false;
            ++at;
            return true;
        }
        void expect(char c) {
            if (!take(c)) fail(concat("the header breaks the format, expected '", c, "'"));
        }
        bool take_word(std::string_view word) {
            skip_spaces();
            if (text.substr(at, word.size()) != word) return false;
            at += word.size();
            return true;
        }
        [[nodiscard]] std::string_view quoted() {
            skip_spaces();
            const char quote = at < text.size() ? text[at] : '\0';
            if (quote != '\'' && quote != '"') fail("the header breaks the format, expected a string");
            const std::size_t end = text.find(quote, at + 1);
            if (end == std::string_view::npos) fail("the header holds a string without an end");
            const std::string_view value = text.substr(at + 1, end - at - 1);
            at = end + 1;
            return value;
        }
        [[nodiscard]] std::uint64_t extent() {
            skip_spaces();
            const std::size_t begin = at;
            std::uint64_t value = 0;
            for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
                if (value > std::uint64_t{1} << 59) fail("the header holds an extent that fits no file");
                value = value * 10 + static_cast<std::uint64_t>(text[at] - '0');
            }
            if (at == begin) fail("the header breaks the format, expected an extent");
            return value;
        }
        void shape(NpyHeader& header) {
            expect('(');
            std::uint64_t extents[2] = {1, 1};
            header.dimensions_ = 0;
            while (!take(')')) {
                if (header.dimensions_ == 2)
                    fail("holds an array of more than 2 dimensions, expected 1 or 2");
                extents[header.dimensions_++] = extent();
                if (take(')')) break;
                expect(',');
            }
            if (header.dimensions_ == 0) fail("holds an array of 0 dimensions, expected 1 or 2");
            header.rows_ = extents[0];
            header.columns_ = extents[1];
        }
        [[nodiscard]] NpyHeader header() {
            NpyHeader header;
            unsigned seen = 0;
            const auto once = [&](unsigned bit) {
                if ((seen & bit) != 0) fail("the header holds a key twice");
                seen |= bit;
            };
            expect('{');
            while (!take('}')) {
                const std::string_view key = quoted();
                expect(':');
                if (key == "descr") {
                    once(1);
                    const std::string_view dtype = quoted();
                    if (dtype != "<f4" && dtype != "<f8" && dtype != "<u4" && dtype != "<u8" &&
                        dtype != "<i4" && dtype != "<i8") {
                        fail(concat("holds elements ", shown(dtype),
                                    ", expected <f4, <f8, <u4, <u8, <i4 or <i8"));
                    }
                    header.dtype_ = dtype;
                    header.item_bytes_ = static_cast<std::size_t>(dtype[2] - '0');
                } else if (key == "fortran_order") {
                    once(2);
                    if (take_word("True")) fail("holds an array in Fortran order, expected C order");
                    if (!take_word("False")) fail("the header breaks the format, expected True or False");
                } else if (key == "shape") {
                    once(4);
                    shape(header);
                } else {
                    fail(concat("the header holds the unknown key ", shown(key)));
                }
                if (take('}')) break;
                expect(',');
            }
            skip_spaces();
            if (at != text.size()) fail("bytes follow the dictionary of the header");
            if (seen != 7) fail("the header lacks one of descr, fortran_order and shape");
            if (!header.fits()) fail("the header holds a shape that fits no file");
            return header;
        }
        [[nodiscard]] static std::string shown(std::string_view value) {
            std::string printable;
            for (const char c : value.substr(0, 24)) printable += c >= ' ' && c <= '~' ? c : '?';
            return printable;
        }
    };

    std::string dtype_;
    std::size_t item_bytes_ = 1;
    std::size_t dimensions_ = 0;
    std::uint64_t rows_ = 0;
    std::uint64_t columns_ = 1;
};

}  // namespace fae::inline FAE_ABI
