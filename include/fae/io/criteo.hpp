// SPDX-License-Identifier: Apache-2.0
//
// Criteo click logs: the Kaggle data set (train.txt) and the 1TB data set (day_0 ... day_23) have one line
// format.
//
//   Dataset data = read_criteo(par(threads), "train.txt");
//   Dataset data = read_criteo(par(threads), GzipSource<FileSource>("day_0.gz"), {.limit = 1'000'000});
//
//   CriteoReader reader(options);                        // several files, one set of vocabularies
//   Dataset train = reader.read(par(threads), FileSource("day_0"));
//   Dataset test = reader.read(par(threads), FileSource("day_1"));
//   reader.finish(par(threads), {&train, &test});        // the tables hold the tokens of both
//
// A line: label, 13 integers, 26 categories in hexadecimal, separated by tabs; LF or CRLF. Fields but the
// label may be empty: an empty integer reads as 0, an empty category is a token of its own.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/io/byte_source.hpp"
#include "fae/io/dataset.hpp"
#include "fae/io/text_block.hpp"
#include "fae/io/text_reader.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

inline constexpr std::uint8_t not_hex = 0xFF;

/// The value of a hexadecimal digit, not_hex for any other byte.
inline constexpr std::array<std::uint8_t, 256> hex_values = [] {
    std::array<std::uint8_t, 256> values{};
    for (std::uint8_t& value : values) value = not_hex;
    for (std::uint8_t d = 0; d < 10; ++d) values['0' + d] = d;
    for (std::uint8_t d = 0; d < 6; ++d) {
        values['a' + d] = static_cast<std::uint8_t>(10 + d);
        values['A' + d] = static_cast<std::uint8_t>(10 + d);
    }
    return values;
}();

/// Eight hexadecimal digits at once, in the bytes of one word.
[[nodiscard]] inline bool parse_hex8(const char* digits, std::uint32_t& value) {
    if constexpr (std::endian::native == std::endian::little) {
        constexpr std::uint64_t ones = 0x0101010101010101u;
        std::uint64_t x = 0;
        std::memcpy(&x, digits, 8);
        // In each byte, bit 7 of x + (0x80 - c) says whether the byte is at least c; no carry, as bytes are <
        // 0x80.
        const std::uint64_t lower = x | 0x20 * ones;
        const std::uint64_t decimal = (x + (0x80 - '0') * ones) & ~(x + (0x7F - '9') * ones);
        const std::uint64_t letter = (lower + (0x80 - 'a') * ones) & ~(lower + (0x7F - 'f') * ones);
        if ((((decimal | letter) & ~x) & 0x80 * ones) != 0x80 * ones) return false;
        std::uint64_t n = (x & 0x0F * ones) + 9 * ((letter >> 7) & ones);
        n = (n << 4 | n >> 8) & 0x00FF00FF00FF00FFu;
        n = (n | n >> 8) & 0x0000FFFF0000FFFFu;
        n = (n | n >> 16) & 0xFFFFFFFFu;
        value = __builtin_bswap32(static_cast<std::uint32_t>(n));
        return true;
    } else {
        value = 0;
        unsigned seen = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            const unsigned digit = hex_values[static_cast<unsigned char>(digits[i])];
            seen |= digit;
            value = value << 4 | (digit & 0xF);
        }
        return seen <= 0xF;
    }
}

}  // namespace detail

/// The line format of Criteo's logs. A line is malformed if it has not 40 fields, a label other than 0 and 1,
/// an integer that is not -?[0-9]+ within 64 bits, or a category that is not 1 to 8 hexadecimal digits.
struct CriteoFormat {
    static constexpr std::size_t dense_features = 13;
    static constexpr std::size_t sparse_features = 26;
    static constexpr std::size_t fields = 1 + dense_features + sparse_features;
    static constexpr std::size_t shortest_line = 1 + (fields - 1);

    [[nodiscard]] static std::string table_name(std::size_t table) {
        std::string name = "C";
        name += std::to_string(table + 1);
        return name;
    }

    [[nodiscard]] static bool parse(const char* at, const char* end, const TextRow& row) {
        if (static_cast<std::size_t>(end - at) < shortest_line) return false;
        const auto label = static_cast<std::uint8_t>(*at - '0');
        if (label > 1 || at[1] != '\t') return false;
        *row.label = label;
        at += 2;
        std::uint64_t missing = 0;
        for (std::size_t f = 0; f < dense_features; ++f) {
            const bool negative = *at == '-';
            const char* const begin = at;
            at += negative;
            const char* const digits = at;
            std::uint64_t magnitude = 0;
            for (unsigned d = digit(*at); d <= 9; d = digit(*at)) {
                magnitude = magnitude * 10 + d;
                ++at;
            }
            if (*at != '\t' || at == end) return false;
            auto value = static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
            if (at - digits > 18 && !detail::parse_int64(begin, at, value)) return false;
            if (at == digits) {
                if (negative) return false;
                missing |= std::uint64_t{1} << f;
            }
            row.integers[f * row.stride] = value;
            ++at;
        }
        for (std::size_t f = 0; f < sparse_features; ++f) {
            std::uint32_t token = 0;
            if (end - at >= 8 && detail::parse_hex8(at, token)) [[likely]] {
                at += 8;
            } else {
                const char* const begin = at;
                for (; at - begin < 8; ++at) {
                    const unsigned value = detail::hex_values[static_cast<unsigned char>(*at)];
                    if (value == detail::not_hex) break;
                    token = token << 4 | value;
                }
                if (at == begin) missing |= std::uint64_t{1} << (dense_features + f);
            }
            row.tokens[f * row.stride] = token;
            if (f + 1 == sparse_features) break;
            if (*at != '\t' || at == end) return false;
            ++at;
        }
        *row.missing = missing;
        return at == end;
    }

    [[nodiscard]] static LineFault explain(const char* begin, const char* end) {
        const std::vector<detail::Field> found = detail::fields_of(begin, end);
        if (auto fault = detail::wrong_count(found, fields)) return *std::move(fault);
        for (std::size_t i = 0; i < fields; ++i) {
            const detail::Field& field = found[i];
            const char* wanted = nullptr;
            std::int64_t value = 0;
            if (i == 0) {
                if (field.end - field.begin != 1 || (*field.begin != '0' && *field.begin != '1')) {
                    wanted = "a label, 0 or 1";
                }
            } else if (field.begin == field.end) {
                continue;
            } else if (i <= dense_features) {
                if (!detail::parse_int64(field.begin, field.end, value)) wanted = "an integer of 64 bits";
            } else if (field.end - field.begin > 8 || !std::all_of(field.begin, field.end, [](char c) {
                           return detail::hex_values[static_cast<unsigned char>(c)] != detail::not_hex;
                       })) {
                wanted = "1 to 8 hexadecimal digits";
            }
            if (wanted != nullptr) {
                return {static_cast<std::uint64_t>(field.begin - begin) + 1,
                        concat("field ", i + 1, " is ", field.shown(), ", expected ", wanted)};
            }
        }
        return {1, "the line breaks the format"};
    }

  private:
    [[nodiscard]] static unsigned digit(char c) { return static_cast<unsigned char>(c) - unsigned{'0'}; }
};
static_assert(LineFormat<CriteoFormat>);

/// Reads one or more Criteo logs through one set of vocabularies.
using CriteoReader = TextReader<CriteoFormat>;

/// Reads one Criteo log whole: a byte source, or a plain file by its path.
/// @exec   seq, par: the same data set, or the same error, for every number of threads
/// @cost   memory of the data set (157 bytes an input), the vocabularies, and 8 to 256 MiB of text and
///         columns
/// @throws FormatError at the first malformed line (unless it is to be skipped), or if there is no input;
///         IoError; ContractError if there are more than 2^31 rows
template <Executor E, ByteSource Source>
[[nodiscard]] Dataset read_criteo(const E& exec, Source&& source, const ReadOptions& options = {}) {
    return read_whole<CriteoFormat>(exec, source, options);
}
/// The same of a plain file.
template <Executor E>
[[nodiscard]] Dataset read_criteo(const E& exec, const std::string& path, const ReadOptions& options = {}) {
    return read_whole<CriteoFormat>(exec, FileSource(path), options);
}

}  // namespace fae::inline FAE_ABI
