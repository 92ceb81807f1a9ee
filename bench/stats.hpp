// SPDX-License-Identifier: Apache-2.0
//
// Times and their medians, for benchmarks that set two things against each other in one run.
#pragma once

#include <algorithm>
#include <ctime>
#include <utility>
#include <vector>

namespace stats {

/// Seconds that this thread has worked: what other programs on the machine take does not count.
inline double thread_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The seconds that f() takes on this thread.
template <class F>
double seconds_of(F&& f) {
    const double start = thread_seconds();
    std::forward<F>(f)();
    return thread_seconds() - start;
}

/// The median; 0 of nothing.
inline double median(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

}  // namespace stats
