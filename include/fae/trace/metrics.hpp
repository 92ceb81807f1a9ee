// SPDX-License-Identifier: Apache-2.0
//
// Metrics: the counters of one run, or of one window of it: look-ups and hits per tier, bytes and rows moved
// between the tiers, what was waited for them, seconds per phase. Plain numbers that their owner adds to;
// nothing is global, nothing is atomic: one Metrics a thread, merged afterwards.
//
//   Metrics run;
//   {
//       ScopedSeconds timer(run, Phase::profile);
//       profiler.add(par(threads), data.bags());
//   }
//   run.add_lookups(Tier::fast, asked, found);
//   total.merge(run);
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// The phases of a run that time is booked under. A second belongs to one phase.
enum class Phase : std::uint8_t { read, profile, calibrate, classify, pack, train, sync, validation };

/// The number of phases.
inline constexpr std::size_t phase_count = 8;

/// The name of a phase, as in the JSON of the example programs.
[[nodiscard]] constexpr std::string_view phase_name(Phase phase) {
    constexpr std::array<std::string_view, phase_count> names = {
        "read", "profile", "calibrate", "classify", "pack", "train", "sync", "validation"};
    return names[static_cast<std::size_t>(phase)];
}

/// The two tiers that rows live in.
enum class Tier : std::uint8_t { fast, home };

/// Look-ups sent to one tier, and those of them whose row lay there.
struct TierCounts {
    std::uint64_t lookups = 0;
    std::uint64_t hits = 0;

    friend constexpr bool operator==(const TierCounts&, const TierCounts&) = default;
};

/// Counters of one run or window.
struct Metrics {
    TierCounts fast;
    TierCounts home;
    std::uint64_t bytes_to_fast = 0;  ///< moved from the homes into the fast tier, state included
    std::uint64_t bytes_to_home = 0;  ///< moved from the fast tier back to the homes, state included
    std::uint64_t rows_to_fast = 0;
    std::uint64_t rows_to_home = 0;
    double stall_seconds_fast = 0;  ///< that training waited for rows to come into the fast tier
    double stall_seconds_home = 0;  ///< and to go home
    std::array<double, phase_count> phase_seconds{};

    [[nodiscard]] constexpr TierCounts& tier(Tier which) { return which == Tier::fast ? fast : home; }
    [[nodiscard]] constexpr const TierCounts& tier(Tier which) const {
        return which == Tier::fast ? fast : home;
    }

    /// The seconds that training waited for rows to come into a tier, to read or to add to.
    [[nodiscard]] constexpr double& stalled(Tier into) {
        return into == Tier::fast ? stall_seconds_fast : stall_seconds_home;
    }
    [[nodiscard]] constexpr double stalled(Tier into) const {
        return into == Tier::fast ? stall_seconds_fast : stall_seconds_home;
    }

    /// The seconds of one phase, to read or to add to.
    [[nodiscard]] constexpr double& seconds(Phase phase) {
        return phase_seconds[static_cast<std::size_t>(phase)];
    }
    [[nodiscard]] constexpr double seconds(Phase phase) const {
        return phase_seconds[static_cast<std::size_t>(phase)];
    }

    /// Books `lookups` sent to a tier, `hits` of which found their row there.
    constexpr void add_lookups(Tier which, std::uint64_t lookups, std::uint64_t hits) {
        tier(which).lookups += lookups;
        tier(which).hits += hits;
    }

    /// Books rows copied into a tier.
    constexpr void add_moved(Tier into, std::uint64_t rows, std::uint64_t bytes) {
        (into == Tier::fast ? rows_to_fast : rows_to_home) += rows;
        (into == Tier::fast ? bytes_to_fast : bytes_to_home) += bytes;
    }

    [[nodiscard]] constexpr std::uint64_t rows_moved() const { return rows_to_fast + rows_to_home; }
    [[nodiscard]] constexpr std::uint64_t bytes_moved() const { return bytes_to_fast + bytes_to_home; }

    /// Look-ups served by the fast tier over look-ups served by either; 0 if there were none.
    [[nodiscard]] constexpr double fast_share() const {
        const std::uint64_t served = fast.hits + home.hits;
        return served == 0 ? 0.0 : static_cast<double>(fast.hits) / static_cast<double>(served);
    }

    /// The seconds of all phases.
    [[nodiscard]] constexpr double total_seconds() const {
        double total = 0.0;
        for (const double of_phase : phase_seconds) total += of_phase;
        return total;
    }

    /// Adds the counters of another run or window.
    constexpr void merge(const Metrics& other) {
        for (const Tier which : {Tier::fast, Tier::home}) {
            add_lookups(which, other.tier(which).lookups, other.tier(which).hits);
            stalled(which) += other.stalled(which);
        }
        add_moved(Tier::fast, other.rows_to_fast, other.bytes_to_fast);
        add_moved(Tier::home, other.rows_to_home, other.bytes_to_home);
        for (std::size_t p = 0; p < phase_count; ++p) phase_seconds[p] += other.phase_seconds[p];
    }

    /// All counters back to zero: the start of a window.
    constexpr void reset() { *this = Metrics(); }

    friend constexpr bool operator==(const Metrics&, const Metrics&) = default;
};

/// Adds the seconds of its own life to a total, or those up to stop(). The total must outlive it.
template <class Clock = std::chrono::steady_clock>
class [[nodiscard]] ScopedSeconds {
  public:
    explicit ScopedSeconds(double& total) : total_(&total), start_(Clock::now()) {}
    ScopedSeconds(Metrics& metrics, Phase phase) : ScopedSeconds(metrics.seconds(phase)) {}
    ScopedSeconds(const ScopedSeconds&) = delete;
    ScopedSeconds& operator=(const ScopedSeconds&) = delete;
    ~ScopedSeconds() { stop(); }

    /// Books the time now; what follows is not counted. Returns the seconds booked, 0 when called again.
    double stop() {
        if (total_ == nullptr) return 0.0;
        const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
        *total_ += elapsed;
        total_ = nullptr;
        return elapsed;
    }

  private:
    double* total_;
    typename Clock::time_point start_;
};

ScopedSeconds(double&)->ScopedSeconds<>;
ScopedSeconds(Metrics&, Phase)->ScopedSeconds<>;

}  // namespace fae::inline FAE_ABI
