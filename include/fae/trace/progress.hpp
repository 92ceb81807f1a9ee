// SPDX-License-Identifier: Apache-2.0
//
// Progress: a bar with rate and time left for long work. The library prints nothing by itself: the program
// gives the stream (or any function that takes text) and says whether a person looks at it; otherwise not one
// byte is written.
//
//   Progress bar(std::cerr, "train", inputs, "inputs", {.terminal = isatty(2) == 1, .width = 100});
//   for (...) bar.add(batch_size);
//   bar.finish();
//
//   train      [=========>          ]  47.3 %  1.24 M inputs/s  12 s left
//   train      2.5 M inputs in 24.1 s, 1.04 M inputs/s
//
// add() may be called from several threads; it takes a lock only where it draws, and draws at most ten times
// a second.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/trace/format.hpp"

namespace fae::inline FAE_ABI {

/// How a Progress shows itself.
struct ProgressOptions {
    bool terminal = false;            ///< false: nothing is ever written
    std::size_t width = 80;           ///< columns of the terminal; a line takes one less, so it never wraps
    double seconds_between = 0.1;     ///< least time between two drawings
    std::function<double()> clock{};  ///< seconds since any fixed moment; std::chrono::steady_clock if empty
};

/// A progress bar. A total of 0 means that the amount of work is not known: count and rate are shown, no bar.
class Progress {
  public:
    using Sink = std::function<void(std::string_view)>;

    Progress(Sink sink, std::string label, std::uint64_t total, std::string things,
             ProgressOptions options = {})
        : sink_(std::move(sink)),
          label_(std::move(label)),
          things_(std::move(things)),
          options_(std::move(options)),
          total_(total) {
        visible_ = options_.terminal && sink_ != nullptr;
        if (!visible_) return;
        start_ = last_time_ = now();
        next_draw_.store(start_ + options_.seconds_between, std::memory_order_relaxed);
    }

    /// Writes to a stream, which must outlive the bar, and flushes it after each drawing.
    Progress(std::ostream& out, std::string label, std::uint64_t total, std::string things,
             ProgressOptions options = {})
        : Progress(
              [&out](std::string_view text) {
                  out.write(text.data(), static_cast<std::streamsize>(text.size()));
                  out.flush();
              },
              std::move(label), total, std::move(things), std::move(options)) {}

    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Ends the line where the bar was not finished (an exception, say): it states how far the work got.
    ~Progress() {
        try {
            end(false);
        } catch (...) {  // a broken terminal is not worth a terminate
        }
    }

    /// Work done since the last call; from any thread.
    void add(std::uint64_t amount = 1) {
        done_.fetch_add(amount, std::memory_order_relaxed);
        if (visible_) draw_if_due();
    }

    /// All work done so far, for callers that count themselves.
    void set(std::uint64_t done) {
        done_.store(done, std::memory_order_relaxed);
        if (visible_) draw_if_due();
    }

    [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_relaxed); }

    /// A short text shown at the end of the line ("loss 0.452"). Not while another thread calls add().
    void set_note(std::string note) { note_ = std::move(note); }

    /// The columns of a terminal that was resized. Not while another thread calls add().
    void set_width(std::size_t width) { options_.width = width; }

    /// Replaces the bar by one line on what was done. Later calls do nothing.
    void finish() { end(true); }

  private:
    [[nodiscard]] double now() const {
        if (options_.clock) return options_.clock();
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }

    void draw_if_due() {
        const double time = now();
        if (time < next_draw_.load(std::memory_order_relaxed)) return;
        const std::unique_lock lock(drawing_, std::try_to_lock);
        if (!lock.owns_lock() || ended_ || time < next_draw_.load(std::memory_order_relaxed)) return;
        next_draw_.store(time + options_.seconds_between, std::memory_order_relaxed);
        const std::uint64_t done = done_.load(std::memory_order_relaxed);
        update_rate(time, done);
        show(line(done));
    }

    /// A mean of the last few seconds: what came more than five seconds ago weighs little.
    void update_rate(double time, std::uint64_t done) {
        const double elapsed = time - last_time_;
        if (!(elapsed > 0.0)) return;
        const double added = done > last_done_ ? static_cast<double>(done - last_done_) : 0.0;
        const double keep = std::exp(-elapsed / 5.0);
        rate_sum_ = rate_sum_ * keep + (1.0 - keep) * (added / elapsed);
        rate_weight_ = rate_weight_ * keep + (1.0 - keep);
        last_time_ = time;
        last_done_ = done;
    }

    [[nodiscard]] std::string head() const {
        std::string text = label_;
        const std::size_t used = columns(text);
        return text.append(used < 10 ? 10 - used : 0, ' ').append(" ");
    }

    [[nodiscard]] std::string line(std::uint64_t done) const {
        const std::size_t room = options_.width > 1 ? options_.width - 1 : 0;
        const double rate = rate_weight_ > 0.0 ? rate_sum_ / rate_weight_ : 0.0;
        std::string tail;
        const auto append_if_it_fits = [&](const std::string& text, std::size_t reserved) {
            if (columns(head()) + columns(tail) + columns(text) + reserved <= room) tail += text;
        };
        if (total_ == 0) {
            tail = format_count(static_cast<double>(done)) + " " + things_;
        } else {
            const double share = static_cast<double>(std::min(done, total_)) / static_cast<double>(total_);
            const std::string percent = format_fixed(std::floor(share * 1000.0) / 10.0, 1);
            tail = std::string(percent.size() < 5 ? 5 - percent.size() : 0, ' ') + percent + " %";
        }
        append_if_it_fits("  " + format_rate(rate, things_), 0);
        if (total_ > done && rate > 0.0) {
            append_if_it_fits(
                "  " + format_seconds(std::ceil(static_cast<double>(total_ - done) / rate)) + " left", 0);
        }
        if (!note_.empty()) append_if_it_fits("  " + note_, 0);
        const std::size_t used = columns(head()) + columns(tail) + 4;  // brackets and two spaces
        if (total_ == 0 || used + 5 > room) return fitted(head() + tail, room);
        const std::size_t cells = std::min<std::size_t>(room - used, 40);
        const std::size_t full = static_cast<std::size_t>(
            static_cast<double>(cells) *
            (static_cast<double>(std::min(done, total_)) / static_cast<double>(total_)));
        std::string bar(full, '=');
        if (full < cells) bar += '>';
        bar.append(cells - bar.size(), ' ');
        return head() + "[" + bar + "]  " + tail;
    }

    void show(const std::string& text) {
        const std::size_t used = columns(text);
        std::string output = "\r" + text;
        const std::size_t left_over = std::min(shown_, options_.width > 1 ? options_.width - 1 : 0);
        if (left_over > used) output.append(left_over - used, ' ');
        shown_ = used;
        sink_(output);
    }

    void end(bool complete) {
        if (!visible_) return;
        const std::lock_guard lock(drawing_);
        if (ended_) return;
        ended_ = true;
        const double seconds = now() - start_;
        const std::uint64_t done = done_.load(std::memory_order_relaxed);
        const auto amount = static_cast<double>(done);
        std::string text = head();
        if (!complete) text += "stopped after ";
        text += format_count(amount) + " " + things_ + " in " + format_seconds(seconds);
        if (seconds > 0.0) text += ", " + format_rate(amount / seconds, things_);
        show(fitted(text, options_.width > 1 ? options_.width - 1 : 0));
        sink_("\n");
    }

    /// Characters of UTF-8 text: bytes that do not continue one.
    [[nodiscard]] static std::size_t columns(std::string_view text) {
        return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
            return (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
        }));
    }

    /// The first `room` characters of a text.
    [[nodiscard]] static std::string fitted(std::string text, std::size_t room) {
        while (columns(text) > room) text.pop_back();
        return text;
    }

    Sink sink_;
    std::string label_;
    std::string things_;
    std::string note_;
    ProgressOptions options_;
    std::uint64_t total_;
    bool visible_ = false;
    bool ended_ = false;
    std::atomic<std::uint64_t> done_{0};
    std::atomic<double> next_draw_{0.0};
    std::mutex drawing_;
    double start_ = 0.0;
    double last_time_ = 0.0;
    std::uint64_t last_done_ = 0;
    double rate_sum_ = 0.0;
    double rate_weight_ = 0.0;
    std::size_t shown_ = 0;
};

}  // namespace fae::inline FAE_ABI
