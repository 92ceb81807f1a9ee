// SPDX-License-Identifier: Apache-2.0
//
// MovieLens ratings, the u.data form: user, item, rating, time, separated by tabs; LF or CRLF.
//
//   Dataset data = read_movielens(par(threads), "u.data");
//
// Two tables, user and item. The label says whether the rating is 4 or more. The one dense feature is
// log(1 + days), days counted from 1 January 1995, the month of MovieLens' first ratings; earlier times count
// as 0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
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

/// The line format of u.data. A line is malformed if it has not 4 fields, a user or item that is not an
/// integer of 1 to 2^32 - 1, a rating that is not a decimal ("3", "3.5") of 0 to 5, or a time that is not an
/// integer of 64 bits of at least 0 (seconds since 1970).
struct MovieLensFormat {
    static constexpr std::size_t dense_features = 1;
    static constexpr std::size_t sparse_features = 2;
    static constexpr std::size_t fields = 4;
    static constexpr std::size_t shortest_line = 7;
    static constexpr std::int64_t seconds_a_day = 86400;
    static constexpr std::int64_t first_day = 9131;  // 1 January 1995, in days since 1970

    [[nodiscard]] static std::string table_name(std::size_t table) { return table == 0 ? "user" : "item"; }

    [[nodiscard]] static bool parse(const char* begin, const char* end, const TextRow& row) {
        const char* const users = std::find(begin, end, '\t');
        if (users == end) return false;
        const char* const items = std::find(users + 1, end, '\t');
        if (items == end) return false;
        const char* const ratings = std::find(items + 1, end, '\t');
        if (ratings == end) return false;
        std::int64_t seconds = 0;
        if (!parse_id(begin, users, row.tokens[0]) || !parse_id(users + 1, items, row.tokens[row.stride]) ||
            !parse_rating(items + 1, ratings, *row.label) || !parse_time(ratings + 1, end, seconds)) {
            return false;
        }
        row.integers[0] = seconds / seconds_a_day - first_day;
        *row.missing = 0;
        return true;
    }

    [[nodiscard]] static LineFault explain(const char* begin, const char* end) {
        const std::vector<detail::Field> found = detail::fields_of(begin, end);
        if (auto fault = detail::wrong_count(found, fields)) return *std::move(fault);
        std::uint32_t id = 0;
        std::uint8_t label = 0;
        std::int64_t seconds = 0;
        std::size_t at = 0;
        const char* wanted = nullptr;
        if (!parse_id(found[0].begin, found[0].end, id)) {
            wanted = "a user, 1 to 4294967295";
        } else if (at = 1; !parse_id(found[1].begin, found[1].end, id)) {
            wanted = "an item, 1 to 4294967295";
        } else if (at = 2; !parse_rating(found[2].begin, found[2].end, label)) {
            wanted = "a rating, 0 to 5";
        } else if (at = 3; !parse_time(found[3].begin, found[3].end, seconds)) {
            wanted = "a time in seconds, at least 0";
        }
        if (wanted == nullptr) return {1, "the line breaks the format"};
        return {static_cast<std::uint64_t>(found[at].begin - begin) + 1,
                concat("field ", at + 1, " is ", found[at].shown(), ", expected ", wanted)};
    }

  private:
    [[nodiscard]] static bool is_digit(char c) { return c >= '0' && c <= '9'; }

    [[nodiscard]] static bool parse_id(const char* begin, const char* end, std::uint32_t& id) {
        std::int64_t value = 0;
        if (begin == end || !is_digit(*begin) || !detail::parse_int64(begin, end, value)) return false;
        if (value < 1 || value > std::int64_t{std::numeric_limits<std::uint32_t>::max()}) return false;
        id = static_cast<std::uint32_t>(value);
        return true;
    }
    [[nodiscard]] static bool parse_time(const char* begin, const char* end, std::int64_t& seconds) {
        return begin != end && is_digit(*begin) && detail::parse_int64(begin, end, seconds);
    }
    // digits, or digits.digits; 5.00 is still 5.
    [[nodiscard]] static bool parse_rating(const char* begin, const char* end, std::uint8_t& label) {
        const char* const point = std::find(begin, end, '.');
        std::int64_t whole = 0;
        if (begin == point || !is_digit(*begin) || !detail::parse_int64(begin, point, whole) || whole > 5)
            return false;
        if (point != end) {
            if (point + 1 == end || !std::all_of(point + 1, end, is_digit)) return false;
            const bool fraction = !std::all_of(point + 1, end, [](char c) { return c == '0'; });
            if (whole == 5 && fraction) return false;
        }
        label = whole >= 4 ? 1 : 0;
        return true;
    }
};
static_assert(LineFormat<MovieLensFormat>);

/// Reads one or more files of ratings through one set of vocabularies.
using MovieLensReader = TextReader<MovieLensFormat>;

/// Reads ratings whole: a byte source, or a plain file by its path.
/// @exec   seq, par: the same data set, or the same error, for every number of threads
/// @cost   memory of the data set (13 bytes an input), the vocabularies, and 8 to 256 MiB of text and columns
/// @throws FormatError at the first malformed line (unless it is to be skipped), or if there is no input;
///         IoError; ContractError if there are more than 2^31 rows
template <Executor E, ByteSource Source>
[[nodiscard]] Dataset read_movielens(const E& exec, Source&& source, const ReadOptions& options = {}) {
    return read_whole<MovieLensFormat>(exec, source, options);
}
/// The same of a plain file.
template <Executor E>
[[nodiscard]] Dataset read_movielens(const E& exec, const std::string& path,
                                     const ReadOptions& options = {}) {
    return read_whole<MovieLensFormat>(exec, FileSource(path), options);
}

}  // namespace fae::inline FAE_ABI
