// SPDX-License-Identifier: Apache-2.0
//
// The least that a host project does with fae: include it, let its threads work, and say its version.
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <fae/fae.hpp>

int main() {
    fae::Threads threads(2);
    std::atomic<std::size_t> sum{0};
    fae::par(threads).run(10, [&](std::size_t i) { sum += i; });
    if (sum != 45) return 1;
    std::printf("fae %s\n", fae::version.data());
    return 0;
}
