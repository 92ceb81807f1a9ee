// SPDX-License-Identifier: Apache-2.0
//
// MetricsHistory: the counters of a run as it goes: those of the window under way, of the last windows, and
// of all of it. What a host shows its users, so that they see a hit rate fall before the run is over.
//
//   MetricsHistory history(10);
//   table.set_metrics(&history.current());
//   ... every few hundred batches:
//   history.roll();
//   history.recent().fast_share(), history.worst_fast_share()
//   write(prometheus_text(history));                 // trace/prometheus.hpp
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/trace/metrics.hpp"

namespace fae::inline FAE_ABI {

/// Counters in windows that the owner ends. Not copied or moved: who books holds the address of current().
class MetricsHistory {
  public:
    /// @param windows  how many ended windows are kept
    /// @throws ContractError if that is 0
    explicit MetricsHistory(std::size_t windows) : kept_(windows) {
        require(windows >= 1, [] { return std::string("0 windows, expected at least 1"); });
    }
    MetricsHistory(const MetricsHistory&) = delete;
    MetricsHistory& operator=(const MetricsHistory&) = delete;

    /// The window under way, to book into; its address stays.
    [[nodiscard]] Metrics& current() { return current_; }
    [[nodiscard]] const Metrics& current() const { return current_; }

    /// Ends the window under way and begins another; the oldest one kept is forgotten.
    void roll() {
        kept_[static_cast<std::size_t>(ended_ % kept_.size())] = current_;
        ended_total_.merge(current_);
        ++ended_;
        current_.reset();
    }

    /// Windows ended so far.
    [[nodiscard]] std::uint64_t ended() const { return ended_; }
    /// The last window that ended; empty before the first.
    [[nodiscard]] Metrics last() const {
        return ended_ == 0 ? Metrics() : kept_[static_cast<std::size_t>((ended_ - 1) % kept_.size())];
    }
    /// The ended windows that are kept, together.
    [[nodiscard]] Metrics recent() const {
        Metrics sum;
        for (std::size_t i = 0; i < count(); ++i) sum.merge(kept_[i]);
        return sum;
    }
    /// The whole run, the window under way included.
    [[nodiscard]] Metrics total() const {
        Metrics sum = ended_total_;
        sum.merge(current_);
        return sum;
    }
    /// The least share of look-ups that the fast tier served in an ended window that is kept and had any; 0
    /// if there is none.
    [[nodiscard]] double worst_fast_share() const {
        double worst = 1;
        bool any = false;
        for (std::size_t i = 0; i < count(); ++i) {
            if (kept_[i].fast.hits + kept_[i].home.hits == 0) continue;
            worst = std::min(worst, kept_[i].fast_share());
            any = true;
        }
        return any ? worst : 0.0;
    }

  private:
    [[nodiscard]] std::size_t count() const {
        return ended_ < kept_.size() ? static_cast<std::size_t>(ended_) : kept_.size();
    }

    Metrics current_;
    Metrics ended_total_;
    std::vector<Metrics> kept_;
    std::uint64_t ended_ = 0;
};

}  // namespace fae::inline FAE_ABI
