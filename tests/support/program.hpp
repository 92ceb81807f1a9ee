// SPDX-License-Identifier: Apache-2.0
//
// Runs an example program as a user does, and keeps what it said. Output goes to files, so that standard
// error is no terminal and nothing can block.
//
//   const Outcome outcome = run_program("train_dlrm", {"--synthetic", "small", "--inputs", "1000"});
//   outcome.code, outcome.out, outcome.err
//
//   run_program("advise", {"--data", "-", ...}, folder / "log.tsv")     // its standard input
//   Program running("train_dlrm", {...});
//   running.send(SIGINT);
//   const Outcome outcome = running.wait();
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/temporary_folder.hpp"

extern char** environ;

/// How a program ended and what it wrote.
struct Outcome {
    int code = -1;  ///< exit status; -1 where a signal ended it
    std::string out;
    std::string err;
};

/// A program of the examples while it runs.
class Program {
  public:
    /// @param input  the file that is its standard input
    Program(const std::string& name, std::vector<std::string> arguments,
            const std::string& input = "/dev/null") {
        std::string path = std::string(FAE_EXAMPLES_DIR) + "/" + name;
        std::vector<char*> argv{path.data()};
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input.c_str(), O_RDONLY, 0);
        ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), O_WRONLY | O_CREAT, 0600);
        ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_.c_str(), O_WRONLY | O_CREAT, 0600);
        const int error = ::posix_spawn(&process_, path.c_str(), &actions, nullptr, argv.data(), environ);
        ::posix_spawn_file_actions_destroy(&actions);
        if (error != 0) throw std::runtime_error("cannot start " + path);
    }
    ~Program() {
        if (process_ <= 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    void send(int signal) const { ::kill(process_, signal); }

    /// True once the program has ended; wait() still says how.
    [[nodiscard]] bool ended() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == process_;
    }

    Outcome wait() {
        int status = 0;
        while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
        }
        process_ = -1;
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_bytes(out_), read_bytes(err_)};
    }

  private:
    TemporaryFolder folder_;
    std::string out_ = folder_ / "out";
    std::string err_ = folder_ / "err";
    pid_t process_ = -1;
};

/// Runs a program from start to end.
inline Outcome run_program(const std::string& name, std::vector<std::string> arguments = {},
                           const std::string& input = "/dev/null") {
    return Program(name, std::move(arguments), input).wait();
}
