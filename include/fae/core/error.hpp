// SPDX-License-Identifier: Apache-2.0
//
// The errors of fae and the one-line checks that raise them.
//
//   require(out.rows() == bags, [&] { return concat("out has ", out.rows(), " rows, expected ", bags); });
//
// Misuse that the caller can avoid is a ContractError; the world's failures are IoError and FormatError;
// an expected outcome (nothing fits the budget, a row is cold) is a return value, never an exception.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// The base of every exception that fae throws.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A call that its documentation forbids. The message holds both values: "out is [7, 16], expected [8, 16]".
struct ContractError : Error {
    using Error::Error;
};

/// An index outside its row space, found by an O(n) check (FAE_CHECKED).
struct IndexError : Error {
    using Error::Error;
};

/// A loss or gradient that is not finite. Training stops at this step, nothing after it is written.
struct NonFiniteError : Error {
    NonFiniteError(std::uint64_t at_step, const std::string& what)
        : Error("step " + std::to_string(at_step) + ": " + what), step(at_step) {}
    std::uint64_t step;
};

/// A file that cannot be opened, read, mapped or written. `byte` is the position in the file, 0 if none.
struct IoError : Error {
    IoError(std::string file, std::uint64_t at_byte, const std::string& what)
        : Error(file + ": byte " + std::to_string(at_byte) + ": " + what),
          path(std::move(file)),
          byte(at_byte) {}
    IoError(std::string file, const std::string& what) : Error(file + ": " + what), path(std::move(file)) {}
    std::string path;
    std::uint64_t byte = 0;
};

/// A file whose content breaks its format. Lines and columns count from 1; a column counts bytes of the line.
struct FormatError : Error {
    FormatError(std::string file, std::uint64_t at_line, std::uint64_t at_column, const std::string& what)
        : Error(file + ":" + std::to_string(at_line) + ":" + std::to_string(at_column) + ": " + what),
          path(std::move(file)),
          line(at_line),
          column(at_column) {}
    std::string path;
    std::uint64_t line;
    std::uint64_t column;
};

/// Puts its arguments together as an output stream would; for messages of errors, not for hot code.
template <class... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
    std::ostringstream text;
    text.exceptions(std::ios_base::badbit);  // a stream that finds no memory keeps that to itself otherwise
    (text << ... << parts);
    return std::move(text).str();
}

/// Throws ContractError(message()) unless the condition holds. The message is made only on failure.
template <class Message>
inline void require(bool condition, Message&& message) {
    if (!condition) [[unlikely]] {
        throw ContractError(std::forward<Message>(message)());
    }
}

}  // namespace fae::inline FAE_ABI
