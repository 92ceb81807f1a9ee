// SPDX-License-Identifier: Apache-2.0
//
// Markup: escaping and nesting; and the checker that the tests of charts and pages rely on.
#include "fae/report/markup.hpp"

#include <doctest/doctest.h>

#include <string>

#include "fae/core/random.hpp"
#include "support/markup_check.hpp"

using namespace fae::report;
using fae_test::read_markup;

// Would catch a checker that lets everything pass.
TEST_CASE("markup_check: refuses what is not well-formed") {
    CHECK(read_markup("<a><b x=\"1\">t</b><c /></a>\n").error == "");
    for (const char* bad :
         {"<a>", "<a></b>", "<a><b></a></b>", "<a x=1></a>", "<a x=\"1\" x=\"2\"></a>", "<a>&nbsp;</a>",
          "<a>&</a>", "<a x=\"<\"></a>", "<a>></a>", "<a></a><b></b>", "x<a></a>", "<a>\x01</a>",
          "<a>\xff</a>", "<a>\xe2\x82</a>", "<a x=\"1\"y=\"2\"></a>", ""}) {
        CAPTURE(bad);
        CHECK(read_markup(bad).error != "");
    }
}

// Would catch a missing or doubled replacement.
TEST_CASE("escape: the five special characters become entities") {
    CHECK(escape("<script>alert(\"1\" & '2')</script>") ==
          "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;");
    CHECK(escape("&amp;") == "&amp;amp;");
}

// Would catch over-eager escaping: names of tables in any script stay readable.
TEST_CASE("escape: UTF-8 of every length stays as it is") {
    const std::string text = "a \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80\t\n";
    CHECK(escape(text) == text);
}

// Would catch bytes that make a browser or an XML reader refuse the page.
TEST_CASE("escape: broken UTF-8, surrogates and control characters are replaced") {
    const std::string mark = "\xEF\xBF\xBD";
    CHECK(escape(std::string_view("a\0b", 3)) == "a" + mark + "b");
    CHECK(escape("\x1b[31m") == mark + "[31m");
    CHECK(escape("\xff") == mark);
    CHECK(escape("\xC0\xAF") == mark + mark);             // an overlong slash
    CHECK(escape("\xE0\x80\xAF") == mark + mark + mark);  // the same in three bytes, and in four
    CHECK(escape("\xF0\x80\x80\xAF") == mark + mark + mark + mark);
    CHECK(escape("\xED\xA0\x80") == mark + mark + mark);             // a surrogate
    CHECK(escape("\xE2\x82") == mark + mark);                        // cut short
    CHECK(escape("\xF4\x90\x80\x80") == mark + mark + mark + mark);  // beyond U+10FFFF
    CHECK(escape("\xEF\xBF\xBF") == mark + mark + mark);             // a noncharacter
}

// Would catch any byte sequence that gets through as markup.
TEST_CASE("escape: random bytes give well-formed content and attributes") {
    fae::Philox random(7);
    for (int round = 0; round < 2000; ++round) {
        std::string bytes;
        const unsigned length = random.bits32() % 24;
        for (unsigned i = 0; i < length; ++i) {
            // Half of the bytes from what matters in markup and UTF-8.
            static constexpr char special[] = "<>&\"'/ =\xC2\xA0\xE2\xED\xF0\xF4\x80\xBF";
            const std::uint32_t bits = random.bits32();
            bytes += (bits & 1u) != 0 ? special[(bits >> 8) % (sizeof(special) - 1)]
                                      : static_cast<char>(bits >> 16);
        }
        Markup m;
        m.open("a", {{"x", bytes}}).text(bytes).close();
        const auto document = read_markup(m.take());
        REQUIRE(document.error == "");
        REQUIRE(document.elements.size() == 1);
    }
}

// Would catch elements closed in the wrong order, and attributes that are lost.
TEST_CASE("Markup: elements nest and keep their attributes") {
    Markup m;
    m.open("a", {{"x", 1.25}, {"empty", ""}}).leaf("b", {{"y", "2"}}).element("c", {}, "<").close();
    CHECK(m.take() == "<a x=\"1.2\"><b y=\"2\" /><c>&lt;</c></a>");
}

// Would catch a page that is cut off without anybody noticing.
TEST_CASE("Markup: an element left open, or closed twice, is an error") {
    Markup open;
    open.open("a");
    CHECK_THROWS_AS((void)open.take(), fae::ContractError);
    Markup closed;
    closed.open("a").close();
    CHECK_THROWS_AS(closed.close(), fae::ContractError);
}

// Would catch coordinates in the locale's own spelling, and needless digits.
TEST_CASE("coordinate: one decimal, no trailing zero, no minus zero") {
    CHECK(coordinate(12.0) == "12");
    CHECK(coordinate(12.34) == "12.3");
    CHECK(coordinate(-0.01) == "0");
    CHECK(coordinate(100.0) == "100");
}
