// SPDX-License-Identifier: Apache-2.0
#include "console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

namespace train_dlrm {

namespace {
volatile std::sig_atomic_t interrupted = 0;

extern "C" void on_interrupt(int signal) {
    interrupted = 1;
    std::signal(signal, SIG_DFL);
}
}  // namespace

void catch_interrupts() {
    std::signal(SIGINT, on_interrupt);
    std::signal(SIGTERM, on_interrupt);
}

void stop_if_interrupted() {
    if (interrupted != 0) throw Interrupted();
}

std::unique_ptr<fae::Progress> progress(const std::string& label, std::uint64_t total,
                                        const std::string& things) {
    winsize size{};
    const bool terminal = ::isatty(STDERR_FILENO) == 1;
    const bool known = terminal && ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
    return std::make_unique<fae::Progress>(
        std::cerr, label, total, things,
        fae::ProgressOptions{
            .terminal = terminal, .width = known ? std::size_t{size.ws_col} : std::size_t{80}, .clock = {}});
}

}  // namespace train_dlrm
