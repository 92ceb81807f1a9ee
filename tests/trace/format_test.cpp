// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them.
#include "fae/trace/format.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

using namespace fae;

// Would catch "1024 KiB", "1000 k" and their like at the seam of two units.
TEST_CASE("format: a number that rounds up to the next unit is written in it") {
    CHECK(format_bytes(1023.0) == "1023 B");
    CHECK(format_bytes(1024.0) == "1 KiB");
    CHECK(format_bytes(1048575.0) == "1 MiB");
    CHECK(format_count(999.0) == "999");
    CHECK(format_count(999499.0) == "999 k");
    CHECK(format_count(999600.0) == "1 M");
    CHECK(format_seconds(0.9996) == "1 s");
    CHECK(format_seconds(59.96) == "1 min 00 s");
    CHECK(format_seconds(3599.7) == "1 h 00 min");
    CHECK(format_seconds(86399.0) == "1 d 00 h");
}

// Would catch wrong units, wrong factors (1000 or 1024) and more digits than mean anything.
TEST_CASE("format: three significant digits in the unit that fits") {
    CHECK(format_bytes(0.0) == "0 B");
    CHECK(format_bytes(12'900'000.0) == "12.3 MiB");
    CHECK(format_bytes(0x1p28) == "256 MiB");
    CHECK(format_bytes(1.5 * 0x1p30) == "1.5 GiB");
    CHECK(format_count(4'200'000.0) == "4.2 M");
    CHECK(format_count(1234.0) == "1.23 k");
    CHECK(format_count(0.25) == "0.25");
    CHECK(format_count(-1500.0) == "-1.5 k");
    CHECK(format_rate(4.2e6, "inputs") == "4.2 M inputs/s");
    CHECK(format_rate(12.0, "") == "12/s");
    CHECK(format_seconds(0.0) == "0 s");
    CHECK(format_seconds(85e-6) == "85 us");
    CHECK(format_seconds(12.34) == "12.3 s");
    CHECK(format_seconds(125.0) == "2 min 05 s");
    CHECK(format_seconds(3725.0) == "1 h 02 min");
    CHECK(format_seconds(3.0 * 86400.0 + 4.0 * 3600.0) == "3 d 04 h");
    CHECK(format_seconds(-2.0) == "-2 s");
}

// Would catch "100 %" where something is missing, and "0 %" where there is something.
TEST_CASE("format_percent: all and nothing are claimed only where they are true") {
    CHECK(format_percent(0.0) == "0 %");
    CHECK(format_percent(1.0) == "100 %");
    CHECK(format_percent(0.9999) == "> 99.9 %");
    CHECK(format_percent(0.911) == "91.1 %");
    CHECK(format_percent(0.5) == "50.0 %");
    CHECK(format_percent(0.00012) == "0.012 %");
    CHECK(format_percent(1.25) == "125.0 %");
}

// Would catch "nan", "inf" and "-0" on a page.
TEST_CASE("format: what is not a number is n/a, and zero has no sign") {
    for (const double value : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
        CHECK(format_fixed(value, 2) == "n/a");
        CHECK(format_significant(value) == "n/a");
        CHECK(format_bytes(value) == "n/a");
        CHECK(format_count(value) == "n/a");
        CHECK(format_percent(value) == "n/a");
        CHECK(format_seconds(value) == "n/a");
    }
    CHECK(format_fixed(-0.001, 2) == "0.00");
    CHECK(format_fixed(-0.0, 0) == "0");
    CHECK(format_fixed(1e300, 0).size() == 301);
}

// Would catch lost digits of small numbers and padding of large ones.
TEST_CASE("format_significant: keeps the digits that matter") {
    CHECK(format_significant(0.45123) == "0.451");
    CHECK(format_significant(0.0123456, 4) == "0.01235");
    CHECK(format_significant(1200.0) == "1200");
    CHECK(format_significant(2.50) == "2.5");
    CHECK(format_significant(0.0000123) == "1.23e-05");
}

// Would catch a comma at the front or in the wrong place.
TEST_CASE("group_digits: a comma before every third digit") {
    CHECK(group_digits(0) == "0");
    CHECK(group_digits(999) == "999");
    CHECK(group_digits(1000) == "1,000");
    CHECK(group_digits(33762577) == "33,762,577");
    CHECK(group_digits(18446744073709551615u) == "18,446,744,073,709,551,615");
}
