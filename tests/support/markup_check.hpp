// SPDX-License-Identifier: Apache-2.0
//
// A strict reader of the XML that HTML and SVG can be written in, for tests: every element closed in order,
// every attribute quoted and given once, only known entities, only characters that XML allows.
//
//   MarkupDocument page = read_markup(text);
//   CHECK(page.error == "");
//   for (const MarkupElement& e : page.elements) if (e.name == "text") CHECK(e.text != "");
#pragma once

#include <cstddef>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fae_test {

struct MarkupElement {
    std::string name;
    std::map<std::string, std::string> attributes;
    std::string text;  ///< directly inside it, entities resolved
    std::size_t depth = 0;
    std::vector<std::string> path;  ///< names of the elements around it, outermost first

    [[nodiscard]] std::string attribute(const std::string& which) const {
        const auto found = attributes.find(which);
        return found == attributes.end() ? std::string() : found->second;
    }
    [[nodiscard]] double number(const std::string& which) const {
        return std::strtod(attribute(which).c_str(), nullptr);
    }
    [[nodiscard]] bool inside(std::string_view ancestor) const {
        for (const std::string& each : path) {
            if (each == ancestor) return true;
        }
        return false;
    }
};

struct MarkupDocument {
    std::string error;                    ///< empty if well-formed, else what is wrong and at which byte
    std::vector<MarkupElement> elements;  ///< in order of their start

    [[nodiscard]] std::vector<const MarkupElement*> all(std::string_view name) const {
        std::vector<const MarkupElement*> found;
        for (const MarkupElement& each : elements) {
            if (each.name == name) found.push_back(&each);
        }
        return found;
    }
};

class MarkupReader {
  public:
    explicit MarkupReader(std::string_view text) : text_(text) {}

    [[nodiscard]] MarkupDocument read() {
        if (text_.substr(0, 15) == "<!DOCTYPE html>") at_ = 15;
        while (at_ < text_.size() && document_.error.empty()) {
            if (text_[at_] == '<') {
                read_tag();
            } else {
                read_text();
            }
        }
        if (document_.error.empty() && !open_.empty()) {
            fail("<" + document_.elements[open_.back()].name + "> is not closed");
        }
        if (document_.error.empty() && roots_ != 1) fail(std::to_string(roots_) + " root elements");
        return document_;
    }

  private:
    void fail(const std::string& what) {
        if (document_.error.empty()) document_.error = what + " at byte " + std::to_string(at_);
    }

    [[nodiscard]] static bool is_name(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == ':';
    }
    [[nodiscard]] std::string read_name() {
        const std::size_t start = at_;
        while (at_ < text_.size() && is_name(text_[at_])) ++at_;
        if (at_ == start) fail("a name is missing");
        return std::string(text_.substr(start, at_ - start));
    }
    void skip_space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    }
    [[nodiscard]] bool take(std::string_view what) {
        if (text_.substr(at_, what.size()) != what) return false;
        at_ += what.size();
        return true;
    }

    /// One character of text or of an attribute, with entities resolved.
    void read_character(std::string& into) {
        static const std::map<std::string_view, char> entities = {
            {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
        const char c = text_[at_];
        if (c == '&') {
            for (const auto& [entity, meaning] : entities) {
                if (take(entity)) {
                    into += meaning;
                    return;
                }
            }
            return fail("unknown entity");
        }
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 && c != '\n' && c != '\t' && c != '\r') return fail("control character");
        if (byte < 0x80) {
            into += c;
            ++at_;
            return;
        }
        // UTF-8 by its length alone, independent of the code under test.
        const std::size_t size = byte >= 0xF0 ? 4 : (byte >= 0xE0 ? 3 : (byte >= 0xC2 ? 2 : 0));
        if (size == 0 || at_ + size > text_.size()) return fail("not UTF-8");
        for (std::size_t i = 1; i < size; ++i) {
            if ((static_cast<unsigned char>(text_[at_ + i]) & 0xC0u) != 0x80u) return fail("not UTF-8");
        }
        into.append(text_.substr(at_, size));
        at_ += size;
    }

    void read_text() {
        std::string text;
        while (at_ < text_.size() && text_[at_] != '<' && document_.error.empty()) {
            if (text_[at_] == '>') return fail("a bare >");
            read_character(text);
        }
        if (!open_.empty()) {
            document_.elements[open_.back()].text += text;
        } else if (text.find_first_not_of(" \n") != std::string::npos) {
            fail("text outside of the root element");
        }
    }

    void read_tag() {
        if (take("</")) {
            const std::string name = read_name();
            if (!take(">")) return fail("</" + name + " does not end");
            if (open_.empty() || document_.elements[open_.back()].name != name) {
                return fail("</" + name + "> closes nothing");
            }
            open_.pop_back();
            return;
        }
        ++at_;
        MarkupElement element;
        element.name = read_name();
        element.depth = open_.size();
        for (const std::size_t each : open_) element.path.push_back(document_.elements[each].name);
        if (open_.empty()) ++roots_;
        while (document_.error.empty()) {
            const std::size_t before = at_;
            skip_space();
            const bool leaf = take("/>");
            if (leaf || take(">")) {
                document_.elements.push_back(element);
                if (!leaf) open_.push_back(document_.elements.size() - 1);
                return;
            }
            if (at_ == before) return fail("attributes of <" + element.name + "> are not apart");
            read_attribute(element);
        }
    }

    void read_attribute(MarkupElement& element) {
        const std::string name = read_name();
        if (!take("=\"")) return fail("attribute " + name + " is not quoted");
        std::string value;
        while (at_ < text_.size() && text_[at_] != '"' && document_.error.empty()) {
            if (text_[at_] == '<') return fail("a bare < in attribute " + name);
            read_character(value);
        }
        if (!take("\"")) return fail("attribute " + name + " does not end");
        if (!element.attributes.emplace(name, value).second) fail("attribute " + name + " is given twice");
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t roots_ = 0;
    std::vector<std::size_t> open_;
    MarkupDocument document_;
};

inline MarkupDocument read_markup(std::string_view text) { return MarkupReader(text).read(); }

}  // namespace fae_test
