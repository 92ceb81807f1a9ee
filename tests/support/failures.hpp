// SPDX-License-Identifier: Apache-2.0
//
// Makes the k-th call of something fail, for k = 1, 2, ... until there are fewer: whatever is to fail asks
// must_fail() (support/failing_memory.hpp, cuda/faults_test.cu).
//
//   for_each_failure([&] { table.synchronise(seq, Heat::hot); },
//                    [&](bool failed) { ... what must hold now ... });
#pragma once

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <exception>

#include "support/reduced.hpp"

namespace fae_test {

/// Calls until one fails; 0: none will.
inline std::atomic<long> calls_left{0};
/// What has been given out and not given back.
inline std::atomic<long> live_allocations{0};

/// True for the call that must fail.
inline bool must_fail() {
    return calls_left.load(std::memory_order_relaxed) > 0 && calls_left.fetch_sub(1) == 1;
}

/// Makes one call fail while it lives.
class FailingCall {
  public:
    explicit FailingCall(long call) { calls_left = call; }
    ~FailingCall() { calls_left = 0; }
    FailingCall(const FailingCall&) = delete;
    FailingCall& operator=(const FailingCall&) = delete;
    /// True if a call was made to fail.
    [[nodiscard]] bool has_failed() const { return calls_left.load() <= 0; }
};

/// Runs `f` again and again, its k-th such call failing for k = 1, 2, ... until it makes fewer. After each
/// run, check(failed) says what must hold; `failed`: f threw. Returns the number of failures.
template <class F, class Check>
long for_each_failure(F&& f, Check&& check) {
    for (long call = 1;; call += static_cast<long>(share())) {
        bool failed = false;
        bool reached = false;
        std::array<char, 256> what{};  // no string: `check` may count what is allocated
        {
            FailingCall failing(call);
            try {
                f();
            } catch (const std::exception& error) {
                failed = true;
                calls_left = 0;
                std::strncpy(what.data(), error.what(), what.size() - 1);
            }
            reached = failed || failing.has_failed();
        }
        CAPTURE(call);
        INFO("it said: ", what.data());
        REQUIRE((!failed || what[0] != 0));
        check(failed);
        if (!reached) return call - 1;
        REQUIRE(call < 100'000);
    }
}

}  // namespace fae_test
