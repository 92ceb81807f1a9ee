// SPDX-License-Identifier: Apache-2.0
//
// Tests of the look-ahead planner's map, with hashes of few bits, so that equal ones are the rule.
#include "fae/table/lookahead_map.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "fae/core/random.hpp"

using namespace fae;

// Catches: an entry that is lost or doubled when a gap is closed, one of several equal ones taken for all, a
// search that ends at the first of a hash, a map that fills up with what was taken out.
TEST_CASE("look-ahead map: does what std::multimap does, whatever hashes meet") {
    constexpr std::uint64_t capacity = 40;
    for (const std::uint64_t hashes : {1u, 3u, 17u, 1000u}) {
        for (const std::uint32_t base : {0u, 0xFFFFFFF0u}) {  // the second wraps around
            Philox random(hashes, base);
            detail::HashMap32 map(capacity);
            std::multimap<std::uint32_t, std::uint32_t> expected;
            CHECK(map.bytes() == detail::HashMap32::bytes_for(capacity));
            for (int step = 0; step < 20000; ++step) {
                const std::uint32_t hash = base + static_cast<std::uint32_t>(random.below(hashes));
                const auto value = static_cast<std::uint32_t>(random.below(5));
                const auto [begin, end] = expected.equal_range(hash);
                const auto at =
                    std::find_if(begin, end, [&](const auto& entry) { return entry.second == value; });
                const bool is_there = at != end;
                std::uint32_t* const found = map.find(hash, [&](std::uint32_t is) { return is == value; });
                REQUIRE((found != nullptr) == is_there);
                const std::uint32_t first = map.first(hash);
                REQUIRE((first == detail::HashMap32::none) == (begin == end));
                if (begin != end) {
                    REQUIRE(
                        std::any_of(begin, end, [&](const auto& entry) { return entry.second == first; }));
                }
                switch (random.below(3)) {
                    case 0:
                        if (expected.size() == capacity) break;
                        map.put(hash, value);
                        expected.emplace(hash, value);
                        break;
                    case 1:
                        REQUIRE(map.erase(hash, value) == is_there);
                        if (is_there) expected.erase(at);
                        break;
                    default:
                        if (found == nullptr) break;
                        *found = value + 5;
                        expected.erase(at);
                        expected.emplace(hash, value + 5);
                        REQUIRE(map.erase(hash, value + 5));
                        expected.erase(std::find_if(expected.begin(), expected.end(), [&](const auto& entry) {
                            return entry.first == hash && entry.second == value + 5;
                        }));
                }
            }
        }
    }
}
