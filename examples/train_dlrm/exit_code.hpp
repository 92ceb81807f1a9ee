// SPDX-License-Identifier: Apache-2.0
//
// How the programs end: 0, 1 for a run that failed, 2 for a bad command line, and why in one line.
#pragma once

#include <exception>
#include <iostream>
#include <new>
#include <stdexcept>

namespace train_dlrm {

/// A command line that asks for something impossible: exit code 2.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Calls run() and gives the exit code; what it threw goes to standard error.
template <class F>
[[nodiscard]] int exit_code_of(const char* program, F&& run) {
    const auto fail = [&](int code, const char* what) {
        std::cerr << program << ": " << what << '\n';
        return code;
    };
    try {
        run();
        return 0;
    } catch (const UsageError& error) {
        return fail(2, error.what());
    } catch (const std::bad_alloc&) {
        return fail(1, "out of memory");
    } catch (const std::length_error&) {
        return fail(1, "out of memory");
    } catch (const std::exception& error) {
        return fail(1, error.what());
    }
}

}  // namespace train_dlrm
