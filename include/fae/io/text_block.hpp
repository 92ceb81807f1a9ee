// SPDX-License-Identifier: Apache-2.0
//
// TextBlock: lines of a log parsed into columns: labels, integers as they stand, tokens, and which were
// empty. What a line looks like is a LineFormat (CriteoFormat, MovieLensFormat).
//
//   TextBlock<CriteoFormat> block;
//   block.parse(text, /*skip_malformed=*/false);
//   if (block.fault()) ...                               // line, column and what is wrong with it
//   for (std::uint32_t token : block.tokens(0)) ...      // column C1
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/io/line_blocks.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI {

/// What is wrong with a line, and at which byte of it (from 1).
struct LineFault {
    std::uint64_t column = 1;
    std::string what;
};

/// Where a format puts the fields of one line; column f of a kind lies f * stride further on.
/// Bit f of `missing` says that integer f was empty, bit dense + f that token f was.
struct TextRow {
    std::uint8_t* label;
    std::int64_t* integers;
    std::uint32_t* tokens;
    std::uint64_t* missing;
    std::size_t stride;
};

/// A line format. parse(begin, end, row) fills a row and returns true, or returns false, and then
/// explain(begin, end) says why. [begin, end) is the line without its ending; *end is readable and is '\n' or
/// '\r'.
template <class F>
concept LineFormat = requires(const char* at, const TextRow& row, std::size_t i) {
    { F::dense_features } -> std::convertible_to<std::size_t>;
    { F::sparse_features } -> std::convertible_to<std::size_t>;
    { F::shortest_line } -> std::convertible_to<std::size_t>;
    { F::parse(at, at, row) } -> std::same_as<bool>;
    { F::explain(at, at) } -> std::same_as<LineFault>;
    { F::table_name(i) } -> std::same_as<std::string>;
}
&&(F::dense_features + F::sparse_features <= 64);

/// Parsed lines, by column. Memory is kept from one parse to the next.
template <LineFormat Format>
class TextBlock {
  public:
    /// The first line of this text that broke the format.
    struct Fault {
        std::uint64_t line = 0;  ///< from 0, within the text
        LineFault fault;
    };

    /// Parses whole lines (the last may lack its ending) in place of what the block held. Stops at the first
    /// malformed line, or counts and leaves it out.
    void parse(Span<const char> text, bool skip_malformed) {
        reserve(text.size() / (Format::shortest_line + 1) + 1);
        inputs_ = lines_ = 0;
        malformed_.clear();
        fault_.reset();
        const char* at = text.begin();
        while (at != text.end()) {
            const auto left = static_cast<std::size_t>(text.end() - at);
            const auto* end = static_cast<const char*>(std::memchr(at, '\n', left));
            bool good = false;
            if (end != nullptr) {
                good = parse_line(at, end, skip_malformed);
                at = end + 1;
            } else {
                std::string last(at, left);  // gives the line the ending that parse() may look at
                last.push_back('\n');
                good = parse_line(last.data(), last.data() + left, skip_malformed);
                at = text.end();
            }
            if (!good && !skip_malformed) return;
        }
    }

    [[nodiscard]] std::size_t inputs() const { return inputs_; }
    /// Lines looked at: inputs and malformed ones.
    [[nodiscard]] std::uint64_t lines() const { return lines_; }
    [[nodiscard]] std::uint64_t malformed() const { return malformed_.size(); }
    [[nodiscard]] const std::optional<Fault>& fault() const { return fault_; }

    /// @shape each column [inputs]
    [[nodiscard]] Span<const std::uint8_t> labels() const { return {labels_.data(), inputs_}; }
    [[nodiscard]] Span<const std::int64_t> integers(std::size_t f) const {
        return {integers_.data() + f * stride_, inputs_};
    }
    [[nodiscard]] Span<const std::uint32_t> tokens(std::size_t f) const {
        return {tokens_.data() + f * stride_, inputs_};
    }
    /// For vocabularies, which put indices in place of the tokens.
    [[nodiscard]] Span<std::uint32_t> tokens(std::size_t f) {
        return {tokens_.data() + f * stride_, inputs_};
    }
    [[nodiscard]] Span<const std::uint64_t> missing() const { return {missing_.data(), inputs_}; }

    /// Cuts the block off behind its first `count` inputs, as if the text had ended there.
    void truncate(std::size_t count) {
        if (count > inputs_) return;
        inputs_ = count;
        while (!malformed_.empty() && malformed_.back() >= count) malformed_.pop_back();
        lines_ = inputs_ + malformed_.size();
        if (fault_ && fault_->line >= lines_) fault_.reset();
    }

    /// Keeps the inputs i for which keep(i) holds, in their order.
    template <class Keep>
    void keep_if(const Keep& keep) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < inputs_; ++i) {
            if (!keep(i)) continue;
            if (kept != i) {
                labels_[kept] = labels_[i];
                missing_[kept] = missing_[i];
                for (std::size_t f = 0; f < Format::dense_features; ++f) {
                    integers_[f * stride_ + kept] = integers_[f * stride_ + i];
                }
                for (std::size_t f = 0; f < Format::sparse_features; ++f) {
                    tokens_[f * stride_ + kept] = tokens_[f * stride_ + i];
                }
            }
            ++kept;
        }
        inputs_ = kept;
    }

  private:
    void reserve(std::size_t inputs) {
        if (inputs <= stride_) return;
        // An odd number of cache lines, so that columns do not compete for the same sets of the cache.
        stride_ = (round_up<std::size_t>(inputs, 16) / 16 | 1) * 16;
        labels_ = Buffer<std::uint8_t>(stride_);
        missing_ = Buffer<std::uint64_t>(stride_);
        integers_ = Buffer<std::int64_t>(stride_ * Format::dense_features);
        tokens_ = Buffer<std::uint32_t>(stride_ * Format::sparse_features);
    }

    bool parse_line(const char* begin, const char* end, bool skip_malformed) {
        if (end != begin && end[-1] == '\r') --end;
        const std::size_t i = inputs_;
        const bool fits = static_cast<std::size_t>(end - begin) <= max_line_bytes;
        if (fits && Format::parse(begin, end,
                                  {&labels_[i], integers_.data() + i, tokens_.data() + i, &missing_[i],
                                   stride_})) [[likely]] {
            ++inputs_;
            ++lines_;
            return true;
        }
        if (!fault_) {
            fault_ = Fault{lines_, fits ? Format::explain(begin, end) : too_long()};
        }
        if (skip_malformed) {
            malformed_.push_back(inputs_);
            ++lines_;
        }
        return false;
    }
    [[nodiscard]] static LineFault too_long() {
        return {max_line_bytes + 1, concat("the line is longer than ", max_line_bytes, " bytes")};
    }

    std::size_t stride_ = 0;
    std::size_t inputs_ = 0;
    std::uint64_t lines_ = 0;
    Buffer<std::uint8_t> labels_;
    Buffer<std::uint64_t> missing_;
    Buffer<std::int64_t> integers_;
    Buffer<std::uint32_t> tokens_;
    std::vector<std::size_t> malformed_;  // for each skipped line, how many inputs came before it
    std::optional<Fault> fault_;
};

namespace detail {

/// Field `number` (from 0) of a line whose fields are separated by tabs; for messages, not for parsing.
struct Field {
    const char* begin;
    const char* end;
    [[nodiscard]] std::string shown() const {
        constexpr std::ptrdiff_t longest = 24;
        std::string text = "\"";
        for (const char* at = begin; at != end && at - begin < longest; ++at) {
            text.push_back(*at >= ' ' && *at <= '~' ? *at : '?');
        }
        return text + (end - begin > longest ? "...\"" : "\"");
    }
};

[[nodiscard]] inline std::vector<Field> fields_of(const char* begin, const char* end) {
    std::vector<Field> fields;
    for (;;) {
        const char* tab = std::find(begin, end, '\t');
        fields.push_back({begin, tab});
        if (tab == end) return fields;
        begin = tab + 1;
    }
}

/// The fault of a line with the wrong number of fields, if that is what is wrong with it.
[[nodiscard]] inline std::optional<LineFault> wrong_count(const std::vector<Field>& fields,
                                                          std::size_t expected) {
    if (fields.size() == expected) return std::nullopt;
    const char* at = fields.size() < expected ? fields.back().end : fields[expected].begin;
    return LineFault{static_cast<std::uint64_t>(at - fields.front().begin) + 1,
                     concat("the line has ", fields.size(), fields.size() == 1 ? " field" : " fields",
                            ", expected ", expected, " separated by tabs")};
}

/// An integer `-?[0-9]+` within 64 bits that is the whole of [begin, end).
[[nodiscard]] inline bool parse_int64(const char* begin, const char* end, std::int64_t& value) {
    const bool negative = begin != end && *begin == '-';
    if (negative) ++begin;
    if (begin == end) return false;
    const std::uint64_t limit = (std::uint64_t{1} << 63) - (negative ? 0 : 1);
    std::uint64_t magnitude = 0;
    for (; begin != end; ++begin) {
        if (*begin < '0' || *begin > '9') return false;
        const auto digit = static_cast<std::uint64_t>(*begin - '0');
        if (magnitude > (limit - digit) / 10) return false;
        magnitude = magnitude * 10 + digit;
    }
    value = static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
    return true;
}

}  // namespace detail

}  // namespace fae::inline FAE_ABI
