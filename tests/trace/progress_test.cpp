// SPDX-License-Identifier: Apache-2.0
//
// Progress: what it writes to a terminal, when, and that it writes nothing elsewhere.
#include "fae/trace/progress.hpp"

#include <doctest/doctest.h>

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace fae;

namespace {

/// A bar on a pretended terminal with a clock that the test sets.
struct Terminal {
    double time = 100.0;
    std::vector<std::string> writes;

    ProgressOptions options(std::size_t width = 80) {
        return {.terminal = true, .width = width, .seconds_between = 0.1, .clock = [this] { return time; }};
    }
    Progress::Sink sink() {
        return [this](std::string_view text) { writes.emplace_back(text); };
    }
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const std::string& each : writes) all += each;
        return all;
    }
};

/// What a terminal shows after some text: the last line, after carriage returns.
std::vector<std::string> shown(const std::string& text) {
    std::vector<std::string> lines(1);
    std::size_t column = 0;
    for (const char c : text) {
        if (c == '\r') {
            column = 0;
        } else if (c == '\n') {
            lines.emplace_back();
            column = 0;
        } else {
            if (column == lines.back().size()) lines.back() += ' ';
            lines.back()[column++] = c;
        }
    }
    for (std::string& line : lines) line.erase(line.find_last_not_of(' ') + 1);
    return lines;
}

}  // namespace

// Would catch a library that litters log files.
TEST_CASE("Progress: not a byte where there is no terminal") {
    std::ostringstream out;
    {
        Progress bar(out, "train", 10, "inputs", {.seconds_between = 0.0});
        for (int i = 0; i < 10; ++i) bar.add();
        CHECK(bar.done() == 10);
        bar.finish();
    }
    CHECK(out.str().empty());
}

// Would catch rate, share or time left computed from the wrong numbers.
TEST_CASE("Progress: shows share, rate and time left") {
    Terminal terminal;
    Progress bar(terminal.sink(), "train", 1000, "inputs", terminal.options());
    terminal.time += 1.0;
    bar.add(250);
    CHECK(shown(terminal.text()).back() ==
          "train      [========>                        ]   25.0 %  250 inputs/s  3 s left");
}

// Would catch a bar that slows the work it shows.
TEST_CASE("Progress: draws at most ten times a second") {
    Terminal terminal;
    Progress bar(terminal.sink(), "read", 100000, "lines", terminal.options());
    for (int i = 0; i < 10000; ++i) {
        terminal.time += 1e-4;
        bar.add();
    }
    CHECK(terminal.writes.size() <= 10);
    CHECK(terminal.writes.size() >= 9);
}

// Would catch a line that wraps, which a carriage return cannot undo.
TEST_CASE("Progress: a line is always shorter than the terminal is wide") {
    for (std::size_t width = 0; width < 130; ++width) {
        Terminal terminal;
        {
            Progress bar(terminal.sink(), "calibrate \xC3\xA4\xC3\xB6", 123456789, "look-ups",
                         terminal.options(width));
            bar.set_note("loss 0.4512");
            for (int i = 0; i < 5; ++i) {
                terminal.time += 1.0;
                bar.add(12345678);
            }
            bar.finish();
        }
        for (const std::string& write : terminal.writes) {
            if (write == "\n") continue;
            REQUIRE(write.front() == '\r');
            std::size_t columns = 0;
            for (const char c : write.substr(1)) columns += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u;
            CAPTURE(width);
            CAPTURE(write);
            REQUIRE(columns < (width < 1 ? 1 : width));
        }
    }
}

// Would catch leftovers of the bar behind the shorter last line, and a prompt on the same line.
TEST_CASE("Progress: ends with one clean line") {
    Terminal terminal;
    Progress bar(terminal.sink(), "pack", 4000, "inputs", terminal.options());
    terminal.time += 1.0;
    bar.add(1500);
    terminal.time += 1.0;
    bar.add(2500);
    bar.finish();
    bar.finish();
    bar.add(7);
    const auto lines = shown(terminal.text());
    REQUIRE(lines.size() == 2);
    CHECK(lines[0] == "pack       4 k inputs in 2 s, 2 k inputs/s");
    CHECK(lines[1].empty());
}

// Would catch a bar that claims to be complete after an exception.
TEST_CASE("Progress: a bar that is not finished says where it stopped") {
    Terminal terminal;
    try {
        Progress bar(terminal.sink(), "read", 100, "lines", terminal.options());
        terminal.time += 2.0;
        bar.add(30);
        throw std::runtime_error("bad line");
    } catch (const std::runtime_error&) {
    }
    CHECK(shown(terminal.text())[0] == "read       stopped after 30 lines in 2 s, 15 lines/s");
}

// Would catch a division by a total that is not known.
TEST_CASE("Progress: without a total it counts") {
    Terminal terminal;
    Progress bar(terminal.sink(), "read", 0, "lines", terminal.options());
    terminal.time += 0.5;
    bar.add(1000);
    CHECK(shown(terminal.text()).back() == "read       1 k lines  2 k lines/s");
}

// Would catch a share beyond 100 % where the total was an estimate.
TEST_CASE("Progress: more work than announced stays at 100 %") {
    Terminal terminal;
    Progress bar(terminal.sink(), "read", 10, "lines", terminal.options());
    terminal.time += 1.0;
    bar.set(25);
    const std::string line = shown(terminal.text()).back();
    CHECK(line.find("100.0 %") != std::string::npos);
    CHECK(line.find("left") == std::string::npos);
}

// Would catch a rate that never forgets: after half a minute at the new speed the old one must be gone.
TEST_CASE("Progress: the rate follows the last seconds") {
    Terminal terminal;
    Progress bar(terminal.sink(), "train", 10000000, "inputs", terminal.options());
    for (int i = 0; i < 60; ++i) {
        terminal.time += 1.0;
        bar.add(i < 20 ? 10000 : 100);
    }
    CHECK(shown(terminal.text()).back().find(" 103 inputs/s") != std::string::npos);
}

// Would catch a sink's exception that ends the program from a destructor.
TEST_CASE("Progress: a broken terminal does not end the program") {
    Terminal terminal;
    CHECK_NOTHROW(Progress([](std::string_view) { throw std::runtime_error("gone"); }, "read", 10, "lines",
                           terminal.options()));
}

// Would catch lost work, and races between threads (under the thread sanitizer).
TEST_CASE("Progress: threads may add at once") {
    std::string text;
    Progress bar([&](std::string_view piece) { text += piece; }, "read", 40000, "lines",
                 {.terminal = true, .seconds_between = 0.0});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 10000; ++i) bar.add();
        });
    }
    for (std::thread& thread : threads) thread.join();
    bar.finish();
    CHECK(bar.done() == 40000);
    CHECK(shown(text)[0].find("40 k lines") != std::string::npos);
}
