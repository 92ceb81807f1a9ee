// SPDX-License-Identifier: Apache-2.0
//
// StepTime: how long the device takes for a step, by timing one of a few dozen.
//
//   cuda::detail::StepTime time;
//   time.begin(on, number, steps);  ... queue the step ...  time.end(on);
//   time.seconds();                                        // by any thread; 0 until the first is known
#pragma once

#include <atomic>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/cuda/progress.cuh"
#include "fae/cuda/stream.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// begin() and end() are for one thread.
class StepTime {
  public:
    /// The step of this number begins on the stream.
    /// @param steps  how many are done
    /// @exec  cuda::On: queued
    void begin(On on, std::uint64_t number, const Progress& steps) {
        if (state_ == State::queued && steps.now() > timed_) {
            seconds_.store(1e-3 * static_cast<double>(ended_.milliseconds_since(begun_)),
                           std::memory_order_relaxed);
            state_ = State::idle;
        }
        if (state_ != State::idle || number % every != every / 4) return;
        begun_.record(on);
        timed_ = number;
        state_ = State::begun;
    }
    /// It is queued. Called before `steps` is told.
    void end(On on) {
        if (state_ != State::begun) return;
        ended_.record(on);
        state_ = State::queued;
    }
    [[nodiscard]] double seconds() const { return seconds_.load(std::memory_order_relaxed); }

  private:
    enum class State : std::uint8_t { idle, begun, queued };
    static constexpr std::uint64_t every = 32;

    Event begun_{Event::Timing::on};
    Event ended_{Event::Timing::on};
    std::uint64_t timed_ = 0;
    State state_ = State::idle;
    std::atomic<double> seconds_{0};
};

}  // namespace fae::inline FAE_ABI::cuda::detail
