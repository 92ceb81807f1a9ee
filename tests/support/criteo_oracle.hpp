// SPDX-License-Identifier: Apache-2.0
//
// Plain, slow readers of Criteo logs and of MovieLens ratings: one line after the other, strings and maps.
// What the fast ones must equal: the inputs, the row ids, and the place of the first malformed line.
#pragma once

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

struct LogOracleOptions {
    bool hash = false;
    std::uint64_t max_rows = 0;
    std::uint64_t hash_rows = 1'000'000;
    bool skip_malformed = false;
    std::uint64_t limit = 0;
};

struct LogOracle {
    std::vector<std::uint8_t> labels;
    std::vector<float> dense;
    std::vector<std::uint32_t> values;  // row ids
    std::vector<std::uint64_t> table_rows;
    std::uint64_t malformed = 0;
    std::uint64_t fault_line = 0;  // of the first malformed line; 0: there is none
    std::uint64_t fault_column = 0;
};

namespace oracle {

inline bool only(const std::string& text, const char* allowed) {
    return text.find_first_not_of(allowed) == std::string::npos;
}

inline bool integer(const std::string& text, long long& value) {
    const std::string digits = !text.empty() && text[0] == '-' ? text.substr(1) : text;
    if (digits.empty() || !only(digits, "0123456789")) return false;
    errno = 0;
    value = std::strtoll(text.c_str(), nullptr, 10);
    return errno != ERANGE;
}

struct Line {
    std::uint8_t label = 0;
    std::vector<double> dense;
    std::vector<std::uint64_t> tokens;
};

inline std::vector<std::string> split(const std::string& line) {
    std::vector<std::string> fields(1);
    for (const char c : line) {
        if (c == '\t') {
            fields.emplace_back();
        } else {
            fields.back() += c;
        }
    }
    return fields;
}

/// The column of the fault, 0 if there is none.
inline std::uint64_t column_of_count(const std::vector<std::string>& fields, const std::string& line,
                                     std::size_t expected) {
    if (fields.size() < expected) return line.size() + 1;
    std::uint64_t column = 1;
    for (std::size_t i = 0; i < expected; ++i) column += fields[i].size() + 1;
    return fields.size() > expected ? column : 0;
}

inline std::uint64_t column_of(const std::vector<std::string>& fields, std::size_t field) {
    std::uint64_t column = 1;
    for (std::size_t i = 0; i < field; ++i) column += fields[i].size() + 1;
    return column;
}

/// One Criteo line; the column of its first fault, 0 if there is none.
inline std::uint64_t criteo_line(const std::string& line, Line& out) {
    const std::vector<std::string> fields = split(line);
    if (fields.size() != 40) return column_of_count(fields, line, 40);
    if (fields[0] != "0" && fields[0] != "1") return 1;
    out.label = fields[0] == "1";
    for (std::size_t i = 1; i < 40; ++i) {
        const std::string& field = fields[i];
        if (i <= 13) {
            long long value = 0;
            if (!field.empty() && !integer(field, value)) return column_of(fields, i);
            out.dense.push_back(value < 0 ? 0.0 : static_cast<double>(value));
        } else if (field.empty()) {
            out.tokens.push_back(4294967296u);
        } else {
            if (field.size() > 8 || !only(field, "0123456789abcdefABCDEF")) return column_of(fields, i);
            out.tokens.push_back(std::strtoull(field.c_str(), nullptr, 16));
        }
    }
    return 0;
}

/// One line of ratings.
inline std::uint64_t movielens_line(const std::string& line, Line& out) {
    const std::vector<std::string> fields = split(line);
    if (fields.size() != 4) return column_of_count(fields, line, 4);
    for (std::size_t i = 0; i < 2; ++i) {
        long long id = 0;
        if (!only(fields[i], "0123456789") || !integer(fields[i], id) || id < 1 || id > 4294967295) {
            return column_of(fields, i);
        }
        out.tokens.push_back(static_cast<std::uint64_t>(id));
    }
    const std::string& rating = fields[2];
    const std::size_t point = rating.find('.');
    const std::string whole = rating.substr(0, point);
    const std::string fraction = point == std::string::npos ? "0" : rating.substr(point + 1);
    long long stars = 0;
    if (!only(whole, "0123456789") || !integer(whole, stars) || fraction.empty() ||
        !only(fraction, "0123456789") || stars > 5 || (stars == 5 && !only(fraction, "0"))) {
        return column_of(fields, 2);
    }
    out.label = stars >= 4;
    long long seconds = 0;
    if (!only(fields[3], "0123456789") || !integer(fields[3], seconds)) return column_of(fields, 3);
    const long long days = seconds / 86400 - 9131;
    out.dense.push_back(days < 0 ? 0.0 : static_cast<double>(days));
    return 0;
}

template <class ParseLine>
LogOracle read_log(const std::string& text, const LogOracleOptions& options, std::size_t tables,
                   const ParseLine& parse_line) {
    LogOracle result;
    std::vector<std::map<std::uint64_t, std::uint32_t>> words(tables);
    std::uint64_t number = 0;
    std::size_t at = 0;
    while (at < text.size() && (options.limit == 0 || result.labels.size() < options.limit)) {
        std::size_t end = text.find('\n', at);
        if (end == std::string::npos) end = text.size();
        std::string line = text.substr(at, end - at);
        at = end + 1;
        ++number;
        if (!line.empty() && line.back() == '\r') line.pop_back();
        Line parsed;
        const std::uint64_t column = line.size() > 65536 ? 65537 : parse_line(line, parsed);
        if (column != 0) {
            if (result.fault_line == 0) {
                result.fault_line = number;
                result.fault_column = column;
            }
            ++result.malformed;
            if (!options.skip_malformed) return result;
            continue;
        }
        result.labels.push_back(parsed.label);
        for (const double x : parsed.dense) result.dense.push_back(static_cast<float>(std::log1p(x)));
        for (std::size_t t = 0; t < tables; ++t) {
            std::uint64_t token = parsed.tokens[t];
            if (options.hash) {
                result.values.push_back(static_cast<std::uint32_t>(
                    token % (options.max_rows != 0 ? options.max_rows : options.hash_rows)));
                continue;
            }
            if (options.max_rows != 0) token %= options.max_rows;
            const auto found = words[t].emplace(token, static_cast<std::uint32_t>(words[t].size())).first;
            result.values.push_back(found->second);
        }
    }
    std::uint64_t offset = 0;
    for (std::size_t t = 0; t < tables; ++t) {
        const std::uint64_t rows =
            options.hash ? (options.max_rows != 0 ? options.max_rows : options.hash_rows) : words[t].size();
        for (std::size_t i = t; i < result.values.size(); i += tables) {
            result.values[i] += static_cast<std::uint32_t>(offset);
        }
        result.table_rows.push_back(rows);
        offset += rows;
    }
    return result;
}

}  // namespace oracle

inline LogOracle criteo_oracle(const std::string& text, const LogOracleOptions& options = {}) {
    return oracle::read_log(text, options, 26, oracle::criteo_line);
}
inline LogOracle movielens_oracle(const std::string& text, const LogOracleOptions& options = {}) {
    return oracle::read_log(text, options, 2, oracle::movielens_line);
}
