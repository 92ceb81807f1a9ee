// SPDX-License-Identifier: Apache-2.0
//
// prometheus_text: a run's counters in the text format that Prometheus scrapes: from a host's own HTTP
// handler, or through a file for node_exporter's textfile collector.
//
//   std::string page = prometheus_text(history, "fae", "model=\"ads\"");
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/trace/format.hpp"
#include "fae/trace/metrics.hpp"
#include "fae/trace/metrics_history.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

/// Writes metric families one by one.
class PrometheusPage {
  public:
    PrometheusPage(std::string_view prefix, std::string_view labels) : prefix_(prefix), labels_(labels) {}

    void family(std::string_view name, std::string_view type, std::string_view help) {
        name_ = prefix_ + "_" + std::string(name);
        text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " + std::string(type) +
                 "\n";
    }
    void sample(std::string_view label, std::string_view value_of_label, const std::string& value) {
        std::string labels = labels_;
        if (!label.empty()) {
            if (!labels.empty()) labels += ",";
            labels += std::string(label) + "=\"" + std::string(value_of_label) + "\"";
        }
        text_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
    }
    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    std::string prefix_;
    std::string labels_;
    std::string name_;
    std::string text_;
};

}  // namespace detail

/// Look-ups, hits, rows, bytes and stalls per tier and seconds per phase of the whole run as counters; the
/// fast tier's share of the last windows, overall and in the worst of them, as gauges.
/// @param prefix  of all names: letters, digits and underscores
/// @param labels  of all samples, as name="value",...; values escaped by the caller
/// @source Prometheus, text-based exposition format, version 0.0.4
[[nodiscard]] inline std::string prometheus_text(const MetricsHistory& history,
                                                 std::string_view prefix = "fae",
                                                 std::string_view labels = {}) {
    detail::PrometheusPage page(prefix, labels);
    const Metrics total = history.total();
    const auto per_tier = [&](std::string_view name, std::string_view help, auto&& of) {
        page.family(name, "counter", help);
        page.sample("tier", "fast", of(Tier::fast));
        page.sample("tier", "home", of(Tier::home));
    };
    const auto whole = [](std::uint64_t value) { return std::to_string(value); };
    const auto real = [](double value) { return format_significant(value, 9); };
    per_tier("lookups_total", "Look-ups sent to a tier.",
             [&](Tier tier) { return whole(total.tier(tier).lookups); });
    per_tier("hits_total", "Look-ups whose row lay in the tier.",
             [&](Tier tier) { return whole(total.tier(tier).hits); });
    per_tier("rows_moved_total", "Rows copied into a tier.",
             [&](Tier tier) { return whole(tier == Tier::fast ? total.rows_to_fast : total.rows_to_home); });
    per_tier("bytes_moved_total", "Bytes copied into a tier, optimizer state included.", [&](Tier tier) {
        return whole(tier == Tier::fast ? total.bytes_to_fast : total.bytes_to_home);
    });
    per_tier("stall_seconds_total", "Seconds that training waited for rows to come into a tier.",
             [&](Tier tier) { return real(total.stalled(tier)); });
    page.family("phase_seconds_total", "counter", "Seconds per phase of a run.");
    for (std::size_t p = 0; p < phase_count; ++p) {
        const auto phase = static_cast<Phase>(p);
        page.sample("phase", phase_name(phase), real(total.seconds(phase)));
    }
    page.family("windows_total", "counter", "Windows of counters ended so far.");
    page.sample("", "", whole(history.ended()));
    page.family("fast_share", "gauge", "Share of look-ups served by the fast tier.");
    page.sample("of", "run", real(total.fast_share()));
    page.sample("of", "last_window", real(history.last().fast_share()));
    page.sample("of", "recent_windows", real(history.recent().fast_share()));
    page.sample("of", "worst_recent_window", real(history.worst_fast_share()));
    return page.take();
}

}  // namespace fae::inline FAE_ABI
