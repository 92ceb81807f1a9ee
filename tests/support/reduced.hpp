// SPDX-License-Identifier: Apache-2.0
//
// Reduced runs, for the sanitizers and the second compiler: with FAE_TEST_SHARE=n in the environment, loops
// that try many random or combined cases take the first of every n of them, and sizes that only have to be
// large are n times smaller. Without it everything runs, as the release preset's tests do.
//
//   CaseShare cases;
//   for (const std::size_t dim : dims) {
//       if (!cases.take()) continue;
//       ...
//   }
#pragma once

#include <cstdint>
#include <cstdlib>

namespace fae_test {

/// n of FAE_TEST_SHARE; 1 where it is not set.
inline std::uint64_t share() {
    static const std::uint64_t n = [] {
        const char* const said = std::getenv("FAE_TEST_SHARE");
        const unsigned long long value = said == nullptr ? 1 : std::strtoull(said, nullptr, 10);
        return value == 0 ? 1 : value;
    }();
    return n;
}

/// How many of `all` a reduced run takes, at least one.
inline std::uint64_t share_of(std::uint64_t all) { return (all + share() - 1) / share(); }

/// Which cases of a loop a reduced run takes.
class CaseShare {
  public:
    [[nodiscard]] bool take() { return seen_++ % share() == 0; }

  private:
    std::uint64_t seen_ = 0;
};

}  // namespace fae_test
