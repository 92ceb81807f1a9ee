// SPDX-License-Identifier: Apache-2.0
//
// Trace: who did what when, for pictures of overlap. Events of named lanes, written as Chrome trace events
// (chrome://tracing, Perfetto). Whoever can be traced takes a Trace* that may be null: then nothing is done.
//
//   Trace trace;
//   const std::uint32_t lane = trace.lane("planner");
//   {
//       TraceScope scope(&trace, lane, "plan", batch.step);
//       planner.push(...);
//   }
//   trace.add(gpu_lane, "scatter", begin, end, step);      // measured elsewhere, on this trace's clock
//   file << trace.json();
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {

/// Events of one run. May be added to from several threads.
/// @cost  40 bytes an event, taken as the trace is made; a lock an event
class Trace {
  public:
    /// @param most_events  later ones are counted and left out
    explicit Trace(std::size_t most_events = std::size_t{1} << 18) : most_events_(most_events) {
        events_.reserve(most_events);
    }

    /// The number of a lane, a row of the picture; the same for the same name.
    [[nodiscard]] std::uint32_t lane(const std::string& name) {
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            if (lanes_[i] == name) return static_cast<std::uint32_t>(i);
        }
        lanes_.push_back(name);
        return static_cast<std::uint32_t>(lanes_.size() - 1);
    }

    /// Microseconds since the trace was made.
    [[nodiscard]] double now() const {
        return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start_).count();
    }

    /// An event of a lane.
    /// @param name   a string that outlives the trace: a literal; letters, digits, spaces and dashes
    /// @param number of the step or plan that it belongs to
    /// @units microseconds, as now()
    void add(std::uint32_t lane, const char* name, double begin, double end, std::uint64_t number) {
        const std::lock_guard lock(mutex_);
        if (events_.size() == most_events_) {
            ++left_out_;
        } else {
            events_.push_back({name, begin, end, number, lane});
        }
    }

    [[nodiscard]] std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return events_.size();
    }
    /// Events for which there was no room.
    [[nodiscard]] std::uint64_t left_out() const {
        const std::lock_guard lock(mutex_);
        return left_out_;
    }

    /// The trace in the Chrome trace event format.
    [[nodiscard]] std::string json() const {
        const std::lock_guard lock(mutex_);
        std::string text = "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"left_out\":\"" +
                           std::to_string(left_out_) + "\"},\"traceEvents\":[";
        const char* separator = "\n";
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            const std::string tid = std::to_string(i);
            text += std::string(separator) + R"({"ph":"M","name":"thread_name","pid":0,"tid":)" + tid +
                    R"(,"args":{"name":")" + escaped(lanes_[i]) + "\"}}";
            separator = ",\n";
            text += std::string(separator) + R"({"ph":"M","name":"thread_sort_index","pid":0,"tid":)" + tid +
                    R"(,"args":{"sort_index":)" + tid + "}}";
        }
        for (const Event& event : events_) {
            text += std::string(separator) + R"({"ph":"X","name":")" + escaped(event.name) +
                    R"(","pid":0,"tid":)" + std::to_string(event.lane) + R"(,"ts":)" +
                    format_fixed(event.begin, 3) + R"(,"dur":)" + format_fixed(event.end - event.begin, 3) +
                    R"(,"args":{"number":)" + std::to_string(event.number) + "}}";
            separator = ",\n";
        }
        return text + "\n]}\n";
    }

  private:
    struct Event {
        const char* name;
        double begin;
        double end;
        std::uint64_t number;
        std::uint32_t lane;
    };
    [[nodiscard]] static std::string escaped(const std::string& text) {
        std::string safe;
        for (const char c : text) {
            if (c == '"' || c == '\\') safe += '\\';
            safe += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
        return safe;
    }

    mutable std::mutex mutex_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::size_t most_events_;
    std::vector<Event> events_;
    std::vector<std::string> lanes_;
    std::uint64_t left_out_ = 0;
};

/// An event that lasts as long as its scope. Without a trace it does nothing.
class [[nodiscard]] TraceScope {
  public:
    TraceScope(Trace* trace, std::uint32_t lane, const char* name, std::uint64_t number)
        : trace_(trace),
          name_(name),
          begin_(trace == nullptr ? 0.0 : trace->now()),
          number_(number),
          lane_(lane) {}
    TraceScope(const TraceScope&) = delete;
    TraceScope& operator=(const TraceScope&) = delete;
    ~TraceScope() {
        if (trace_ != nullptr) trace_->add(lane_, name_, begin_, trace_->now(), number_);
    }

  private:
    Trace* trace_;
    const char* name_;
    double begin_;
    std::uint64_t number_;
    std::uint32_t lane_;
};

}  // namespace fae::inline FAE_ABI
