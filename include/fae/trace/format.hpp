// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them: "12.3 MiB", "4.2 M", "91.1 %", "2 min 05 s". Used by progress bars, final
// tables and reports. Three significant digits; the decimal point is a point in every locale.
//
//   format_bytes(12'900'000.0)        // "12.3 MiB"
//   format_rate(4.2e6, "inputs")      // "4.2 M inputs/s"
//   format_percent(0.911)             // "91.1 %"
//   group_digits(33762577)            // "33,762,577"
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// `value` with exactly `decimals` digits after the point; "n/a" if it is not finite. Never "-0".
[[nodiscard]] inline std::string format_fixed(double value, int decimals) {
    if (!std::isfinite(value)) return "n/a";
    std::array<char, 400> text;  // the largest double has 309 digits before the point
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed,
                                   decimals < 0 ? 0 : (decimals > 60 ? 60 : decimals));
    std::string result(text.data(), end.ptr);
    if (result.front() == '-' && result.find_first_not_of("-0.") == std::string::npos) result.erase(0, 1);
    return result;
}

namespace detail {

/// Digits after the point that give `digits` significant ones.
[[nodiscard]] inline int decimals_for(double value, int digits) {
    if (value == 0.0) return 0;
    const int before = static_cast<int>(std::floor(std::log10(std::fabs(value)))) + 1;
    return before >= digits ? 0 : digits - before;
}

/// Drops zeros after the last digit that matters, and the point if nothing follows it.
[[nodiscard]] inline std::string without_trailing_zeros(std::string text) {
    if (text.find('.') == std::string::npos) return text;
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
}

}  // namespace detail

/// `value` with up to `digits` significant digits, without trailing zeros; small ones as 1.23e-05.
[[nodiscard]] inline std::string format_significant(double value, int digits = 3) {
    if (!std::isfinite(value)) return "n/a";
    if (value != 0.0 && std::fabs(value) < 1e-4) {
        std::array<char, 64> text;
        const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                       std::chars_format::scientific, digits > 1 ? digits - 1 : 0);
        return std::string(text.data(), end.ptr);
    }
    return detail::without_trailing_zeros(format_fixed(value, detail::decimals_for(value, digits)));
}

namespace detail {

/// `value` in the largest unit that leaves at least 1 of it; a value that rounds up to the next unit is given
/// in it.
[[nodiscard]] inline std::string format_scaled(double value, double base,
                                               Span<const std::string_view> units) {
    if (!std::isfinite(value)) return "n/a";
    double scaled = std::fabs(value);
    std::size_t unit = 0;
    while (unit + 1 < units.size() && (scaled < 100.0 ? scaled : std::round(scaled)) >= base) {
        scaled /= base;
        ++unit;
    }
    std::string text = scaled < 1e-4 && unit == 0
                           ? format_significant(scaled)
                           : without_trailing_zeros(format_fixed(scaled, decimals_for(scaled, 3)));
    if (value < 0.0 && text != "0") text.insert(0, 1, '-');
    if (!units[unit].empty()) text.append(" ").append(units[unit]);
    return text;
}

}  // namespace detail

/// Bytes in powers of 1024: "512 B", "12.3 MiB".
[[nodiscard]] inline std::string format_bytes(double bytes) {
    static constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    return detail::format_scaled(bytes, 1024.0, units);
}

/// A count in powers of 1000: "999", "4.2 M".
[[nodiscard]] inline std::string format_count(double count) {
    static constexpr std::string_view units[] = {"", "k", "M", "G", "T", "P"};
    return detail::format_scaled(count, 1000.0, units);
}

/// Things per second: "4.2 M inputs/s", "820 inputs/s".
[[nodiscard]] inline std::string format_rate(double per_second, std::string_view things) {
    std::string text = format_count(per_second);
    if (!things.empty()) text.append(" ").append(things);
    return text.append("/s");
}

/// A share of one as per cent with one decimal; shares below a thousandth keep two significant digits.
[[nodiscard]] inline std::string format_percent(double share) {
    if (!std::isfinite(share)) return "n/a";
    if (share == 0.0) return "0 %";
    if (share == 1.0) return "100 %";
    const double percent = share * 100.0;
    if (std::fabs(percent) < 0.1) return format_significant(percent, 2) + " %";
    // Rounding must not claim all where something is missing.
    if (share < 1.0 && percent >= 99.95) return "> 99.9 %";
    return format_fixed(percent, 1) + " %";
}

/// A duration: "85 us", "12.3 s", "2 min 05 s", "1 h 02 min", "3 d 04 h".
[[nodiscard]] inline std::string format_seconds(double seconds) {
    if (!std::isfinite(seconds)) return "n/a";
    if (seconds < 0.0) return format_seconds(-seconds).insert(0, 1, '-');
    if (seconds == 0.0) return "0 s";
    if (seconds < 59.95) {
        static constexpr std::string_view units[] = {"ns", "us", "ms", "s"};
        return detail::format_scaled(seconds * 1e9, 1000.0, units);
    }
    const auto two_parts = [](double whole, double part_size, std::string_view large,
                              std::string_view little) {
        const double rounded = std::round(whole / part_size);
        const double per_large = large == "d" ? 24.0 : 60.0;
        const double larges = std::floor(rounded / per_large);
        const std::string rest = format_fixed(rounded - larges * per_large, 0);
        return format_fixed(larges, 0)
            .append(" ")
            .append(large)
            .append(rest.size() < 2 ? " 0" : " ")
            .append(rest)
            .append(" ")
            .append(little);
    };
    if (seconds < 3599.5) return two_parts(seconds, 1.0, "min", "s");
    if (seconds < 86370.0) return two_parts(seconds, 60.0, "h", "min");
    return two_parts(seconds, 3600.0, "d", "h");
}

/// A whole number with a comma before every third digit from the right.
[[nodiscard]] inline std::string group_digits(std::uint64_t value) {
    std::string text = std::to_string(value);
    for (std::size_t at = text.size(); at > 3;) {
        at -= 3;
        text.insert(at, 1, ',');
    }
    return text;
}

}  // namespace fae::inline FAE_ABI
