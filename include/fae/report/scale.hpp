// SPDX-License-Identifier: Apache-2.0
//
// Axes of charts: which range to show, where the ticks are, and what they are called. Linear ticks go in
// steps of 1, 2 or 5; log ticks are powers of ten, or powers of two for bytes.
//
//   Axis x{.label = "budget", .scale = Scale::log, .unit = Unit::bytes};
//   Range range = axis_range(x, {1 << 20, 1 << 30}, false);
//   for (Tick tick : ticks(x, range, 6)) draw(position(x.scale, range, tick.value), tick.label);
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {
namespace report {

/// How numbers of an axis are written.
enum class Unit {
    plain,    ///< 0.45
    count,    ///< 4.2 M
    bytes,    ///< 12.3 MiB
    share,    ///< 0.911 as 91.1 %
    seconds,  ///< 12.3 s
};

/// How values lie along an axis. On a logarithmic one only those above 0 can be drawn.
enum class Scale { linear, log };

/// What one direction of a chart shows. The label names the quantity; its unit is on the ticks.
struct Axis {
    std::string label{};
    Scale scale = Scale::linear;
    Unit unit = Unit::plain;
    std::optional<double> from{};  ///< shown even if no point lies there
    std::optional<double> to{};    ///< shown even if no point lies there
};

/// An interval of an axis; low < high once it comes from axis_range.
struct Range {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();

    [[nodiscard]] bool empty() const { return !(low <= high); }
    void include(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
};

/// A value of an axis that is written at it.
struct Tick {
    double value;
    std::string label;
};

/// A number in the words of a unit.
[[nodiscard]] inline std::string format_value(Unit unit, double value) {
    switch (unit) {
        case Unit::count:
            return format_count(value);
        case Unit::bytes:
            return format_bytes(value);
        case Unit::share:
            return format_percent(value);
        case Unit::seconds:
            return format_seconds(value);
        case Unit::plain:
            break;
    }
    return format_significant(value, 4);
}

/// True if a value can be drawn on a scale: finite (and no more than 1e300), and positive on a log scale.
[[nodiscard]] inline bool drawable(Scale scale, double value) {
    return std::fabs(value) <= 1e300 && (scale == Scale::linear || value >= 1e-300);
}

/// Where a value lies in its range: 0 at low, 1 at high.
[[nodiscard]] inline double position(Scale scale, Range range, double value) {
    if (scale == Scale::linear) return (value - range.low) / (range.high - range.low);
    return (std::log10(value) - std::log10(range.low)) / (std::log10(range.high) - std::log10(range.low));
}

namespace detail {

/// The least of 1, 2, 5, 10, 20, ... (and of their tenths) that is at least `least`.
[[nodiscard]] inline double nice_step(double least) {
    const double power = std::pow(10.0, std::floor(std::log10(least)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor * power >= least * (1.0 - 1e-9)) return factor * power;
    }
    return 10.0 * power;
}

/// What all ticks of a linear axis are divided by, what is written behind them, and from which value on.
struct TickUnit {
    double divisor;
    std::string_view suffix;
    double least;
};

/// The unit for the ticks of a linear axis, by the largest value on it.
[[nodiscard]] inline TickUnit tick_unit(const Axis& axis, Range range) {
    const double largest = std::max(std::fabs(range.low), std::fabs(range.high));
    const auto choose = [&](std::initializer_list<TickUnit> units) {
        TickUnit best = *units.begin();
        for (const TickUnit& each : units) {
            if (largest >= each.least) best = each;
        }
        return best;
    };
    switch (axis.unit) {
        case Unit::count:
            return choose(
                {{1.0, "", 0.0}, {1e3, " k", 1e4}, {1e6, " M", 1e6}, {1e9, " G", 1e9}, {1e12, " T", 1e12}});
        case Unit::bytes:
            return choose({{1.0, " B", 0.0},
                           {0x1p10, " KiB", 0x1p10},
                           {0x1p20, " MiB", 0x1p20},
                           {0x1p30, " GiB", 0x1p30},
                           {0x1p40, " TiB", 0x1p40}});
        case Unit::seconds:
            return choose({{1e-9, " ns", 0.0},
                           {1e-6, " us", 1e-6},
                           {1e-3, " ms", 1e-3},
                           {1.0, " s", 1.0},
                           {60.0, " min", 120.0},
                           {3600.0, " h", 7200.0}});
        case Unit::share:
            return {0.01, " %", 0.0};
        case Unit::plain:
            break;
    }
    return {1.0, "", 0.0};
}

/// The step of a linear axis, in its tick unit, that gives at most `at_most` ticks over the range.
[[nodiscard]] inline double linear_step(const Axis& axis, Range range, std::size_t at_most, TickUnit unit) {
    const double gaps = static_cast<double>(at_most > 2 ? at_most - 1 : 1);
    const double step = nice_step((range.high - range.low) / unit.divisor / gaps);
    // Half a row and half a byte do not exist.
    const bool whole = axis.unit == Unit::count || axis.unit == Unit::bytes;
    return whole && unit.divisor == 1.0 ? std::max(step, 1.0) : step;
}

[[nodiscard]] inline std::vector<Tick> linear_ticks(const Axis& axis, Range range, std::size_t at_most) {
    const TickUnit unit = tick_unit(axis, range);
    const double step = linear_step(axis, range, at_most, unit);
    const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
    const double first = std::ceil(range.low / unit.divisor / step - 1e-6);
    const double last = std::floor(range.high / unit.divisor / step + 1e-6);
    std::vector<Tick> result;
    for (double i = first; i <= last && result.size() < 100; i += 1.0) {
        const double value = i * step;
        std::string label = format_fixed(value, i == 0.0 ? 0 : decimals);
        if (axis.unit == Unit::count && decimals == 0 && value >= 1000.0 && value < 1e15) {
            label = group_digits(static_cast<std::uint64_t>(value));
        }
        if (i != 0.0 || axis.unit == Unit::share) label += unit.suffix;
        result.push_back({i * step * unit.divisor, std::move(label)});
    }
    return result;
}

[[nodiscard]] inline std::vector<Tick> log_ticks(const Axis& axis, Range range, std::size_t at_most) {
    const bool binary = axis.unit == Unit::bytes;
    const double base = binary ? 2.0 : 10.0;
    const auto exponent = [&](double value) { return binary ? std::log2(value) : std::log10(value); };
    const double first = std::ceil(exponent(range.low) - 1e-9);
    const double last = std::floor(exponent(range.high) + 1e-9);
    const auto multiples = [](double low, double high, double stride) {
        return std::floor(high / stride + 1e-9) - std::ceil(low / stride - 1e-9) + 1.0;
    };
    std::vector<Tick> result;
    const auto add = [&](double value) { result.push_back({value, format_value(axis.unit, value)}); };
    for (const double stride : {1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0}) {
        if (multiples(first, last, stride) > static_cast<double>(at_most)) continue;
        const bool between =
            !binary && stride == 1.0 &&
            3.0 * (exponent(range.high) - exponent(range.low)) + 1.0 <= static_cast<double>(at_most);
        for (double e = std::ceil((between ? first - 1.0 : first) / stride) * stride; e <= last;
             e += stride) {
            for (const double factor : {1.0, 2.0, 5.0}) {
                const double value = factor * std::pow(base, e);
                if (value >= range.low * (1.0 - 1e-9) && value <= range.high * (1.0 + 1e-9)) add(value);
                if (!between) break;
            }
        }
        break;
    }
    // Less than a decade: powers alone would say nothing.
    if (result.size() < 2) result = linear_ticks(axis, range, at_most);
    return result;
}

}  // namespace detail

/// Ticks inside a range: at most `at_most`, save where fewer than two would be left.
/// @pre range.low < range.high; both positive on a log axis
[[nodiscard]] inline std::vector<Tick> ticks(const Axis& axis, Range range, std::size_t at_most) {
    return axis.scale == Scale::log ? detail::log_ticks(axis, range, at_most)
                                    : detail::linear_ticks(axis, range, at_most);
}

/// The range that an axis shows: the data, the wishes of the axis, and, if `rounded`, out to the next tick.
/// Data of one value get room on both sides; no data at all give [0, 1] (log: [1, 10]).
[[nodiscard]] inline Range axis_range(const Axis& axis, Range data, bool rounded, std::size_t at_most = 6) {
    for (const std::optional<double>& wish : {axis.from, axis.to}) {
        if (wish && drawable(axis.scale, *wish)) data.include(*wish);
    }
    const bool log = axis.scale == Scale::log;
    if (data.empty()) return log ? Range{1.0, 10.0} : Range{0.0, 1.0};
    if (log) {
        if (data.high <= data.low * (1.0 + 1e-9)) {
            data = {data.low / 2.0, data.high * 2.0};
        }
        if (rounded) {
            data.low = std::pow(10.0, std::floor(std::log10(data.low) + 1e-9));
            data.high = detail::nice_step(data.high);
            if (data.high <= data.low) data.high = data.low * 10.0;
        }
        return data;
    }
    const double size = std::max(std::fabs(data.low), std::fabs(data.high));
    if (data.high - data.low <= size * 1e-9) {
        const double room = size > 0.0 ? size * 0.5 : 0.5;
        data = {data.low - room, data.high + room};
        if (data.low < 0.0 && data.low + room >= 0.0) data.low = 0.0;
    }
    if (rounded) {
        const detail::TickUnit unit = detail::tick_unit(axis, data);
        const double step = detail::linear_step(axis, data, at_most, unit) * unit.divisor;
        data.low = std::floor(data.low / step + 1e-6) * step;
        data.high = std::ceil(data.high / step - 1e-6) * step;
    }
    return data;
}

}  // namespace report
}  // namespace fae::inline FAE_ABI
