// SPDX-License-Identifier: Apache-2.0
//
// train_dlrm for tests: a command line written as a user would, and the figures of --json.
//
//   const Outcome outcome = train_dlrm("--synthetic small --inputs 1000 --save", folder / "model");
//   const nlohmann::json json = figures("--synthetic small --inputs 1000 --threads 3");
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/program.hpp"

/// The words of some pieces of a command line, cut at spaces.
template <class... Pieces>
std::vector<std::string> words(const Pieces&... pieces) {
    std::ostringstream text;
    ((text << pieces << ' '), ...);
    std::istringstream line(text.str());
    std::vector<std::string> words;
    for (std::string word; line >> word;) words.push_back(word);
    return words;
}

template <class... Pieces>
Outcome train_dlrm(const Pieces&... pieces) {
    return run_program("train_dlrm", words(pieces...));
}

/// The figures of a run that must succeed in silence.
template <class... Pieces>
nlohmann::json figures(const Pieces&... pieces) {
    const TemporaryFolder folder;
    const Outcome outcome = train_dlrm(pieces..., "--json", folder / "run.json");
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.err.empty());
    return nlohmann::json::parse(read_bytes(folder / "run.json"));
}

template <class... Pieces>
std::string digest(const Pieces&... pieces) {
    return figures(pieces...)["weights_digest"];
}

/// True for the program's name and one line of text.
inline bool is_one_line(const std::string& err, const std::string& program = "train_dlrm") {
    const std::string start = program + ": ";
    return err.rfind(start, 0) == 0 && err.size() > start.size() + 1 && err.back() == '\n' &&
           std::count(err.begin(), err.end(), '\n') == 1;
}

/// Wants a run to end with this code, nothing on standard output, and one line on standard error that says
/// this.
inline void check_refused(const Outcome& outcome, int code, const std::string& says,
                          const std::string& program = "train_dlrm") {
    INFO(outcome.err);
    CHECK(outcome.code == code);
    CHECK(outcome.out.empty());
    CHECK(is_one_line(outcome.err, program));
    CHECK(outcome.err.find(says) != std::string::npos);
}

/// A run of a second at most: few rows, few inputs, some of them hot at 10 %.
inline const std::string quick =
    "--synthetic small --inputs 1200 --max-rows 60 --zipf 2 --model small --batch 64 --threads 2";
