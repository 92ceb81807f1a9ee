// SPDX-License-Identifier: Apache-2.0
//
// Markup: writes elements of SVG and HTML so that they nest and every text is escaped; a table's name that
// holds
// "<script>" or broken UTF-8 comes out as text. The result is well-formed XML too.
//
//   Markup m;
//   m.open("p", {{"class", "note"}}).text("3 < 4").close();   // <p class="note">3 &lt; 4</p>
//   std::string page = m.take();
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {
namespace report {

namespace detail {

/// The bytes of the UTF-8 character at the start of `text`, 0 if it starts with none that XML allows.
[[nodiscard]] inline std::size_t character_bytes(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
    const std::size_t size = first >= 0xF0 ? 4 : (first >= 0xE0 ? 3 : 2);
    if (first < 0xC2 || first > 0xF4 || text.size() < size) return 0;
    unsigned code = first & (0x7Fu >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xC0u) != 0x80u) return 0;
        code = code << 6 | (byte(i) & 0x3Fu);
    }
    const bool too_long = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
    const bool forbidden = (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF || code == 0xFFFE ||
                           code == 0xFFFF || (code >= 0x80 && code < 0xA0);
    return too_long || forbidden ? 0 : size;
}

}  // namespace detail

/// Text for element content and for quoted attributes. What is not UTF-8, and control characters, become
/// U+FFFD.
[[nodiscard]] inline std::string escape(std::string_view text) {
    std::string result;
    result.reserve(text.size() + text.size() / 8);
    while (!text.empty()) {
        const std::size_t size = detail::character_bytes(text);
        switch (text.front()) {
            case '&':
                result += "&amp;";
                break;
            case '<':
                result += "&lt;";
                break;
            case '>':
                result += "&gt;";
                break;
            case '"':
                result += "&quot;";
                break;
            case '\'':
                result += "&#39;";
                break;
            default:
                if (size == 0) {
                    result += "\xEF\xBF\xBD";
                } else {
                    result.append(text.substr(0, size));
                }
        }
        text.remove_prefix(size == 0 ? 1 : size);
    }
    return result;
}

/// A coordinate: one decimal, no trailing zeros.
[[nodiscard]] inline std::string coordinate(double value) {
    return fae::detail::without_trailing_zeros(format_fixed(value, 1));
}

/// One attribute of an element; a number is written as a coordinate.
struct Attribute {
    Attribute(std::string_view its_name, std::string its_value)
        : name(its_name), value(std::move(its_value)) {}
    Attribute(std::string_view its_name, std::string_view its_value) : name(its_name), value(its_value) {}
    Attribute(std::string_view its_name, const char* its_value) : name(its_name), value(its_value) {}
    Attribute(std::string_view its_name, double its_value) : name(its_name), value(coordinate(its_value)) {}

    std::string_view name;
    std::string value;
};

/// Builds nested elements. Names of elements and attributes are the program's own; contents are escaped.
class Markup {
  public:
    using Attributes = std::initializer_list<Attribute>;

    /// Starts an element; what follows is inside it until its close().
    Markup& open(std::string_view name, Attributes attributes = {}) {
        start(name, attributes);
        text_ += '>';
        open_.emplace_back(name);
        return *this;
    }

    /// Ends the element opened last.
    /// @throws ContractError if none is open
    Markup& close() {
        require(!open_.empty(), [] { return std::string("Markup::close: no element is open"); });
        text_.append("</").append(open_.back()).append(">");
        open_.pop_back();
        return *this;
    }

    /// An element without content.
    Markup& leaf(std::string_view name, Attributes attributes = {}) {
        start(name, attributes);
        text_ += " />";
        return *this;
    }

    /// An element that holds one text.
    Markup& element(std::string_view name, Attributes attributes, std::string_view content) {
        return open(name, attributes).text(content).close();
    }

    /// Escaped text.
    Markup& text(std::string_view content) {
        text_ += escape(content);
        return *this;
    }

    Markup& line_break() {
        text_ += '\n';
        return *this;
    }

    /// Finished markup, as it is.
    Markup& raw(std::string_view markup) {
        text_ += markup;
        return *this;
    }

    /// The finished text.
    /// @throws ContractError if an element is still open
    [[nodiscard]] std::string take() {
        require(open_.empty(), [&] { return "Markup::take: <" + open_.back() + "> is still open"; });
        return std::exchange(text_, {});
    }

  private:
    void start(std::string_view name, Attributes attributes) {
        text_.append("<").append(name);
        for (const Attribute& attribute : attributes) {
            if (attribute.value.empty()) continue;
            text_.append(" ")
                .append(attribute.name)
                .append("=\"")
                .append(escape(attribute.value))
                .append("\"");
        }
    }

    std::string text_;
    std::vector<std::string> open_;
};

}  // namespace report
}  // namespace fae::inline FAE_ABI
