// SPDX-License-Identifier: Apache-2.0
//
// HeavyHitterSketch and SketchCounter against a map of exact counts: every documented bound, on streams of
// several skews and orders.
#include "fae/profile/sketch.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/core/zipf.hpp"
#include "fae/profile/profiler.hpp"
#include "fae/profile/sketch_profile.hpp"
#include "support/placement_oracle.hpp"

namespace {

using Keys = std::vector<std::uint64_t>;
using Truth = std::unordered_map<std::uint64_t, std::uint64_t>;

enum class Order : std::uint8_t {
    random,            // 64-bit keys in no order
    first_appearance,  // keys numbered as they come
    drift,             // the popular keys move through the key space
    ascending,         // all look-ups of a key in a row, rare keys first
    descending,        // frequent keys first
};
constexpr Order orders[] = {Order::random, Order::first_appearance, Order::drift, Order::ascending,
                            Order::descending};

Keys stream(std::size_t length, std::uint64_t keys, double skew, Order order, std::uint64_t seed) {
    const fae::Zipf zipf(keys, skew);
    fae::Philox rng(seed, 3);
    Keys made(length);
    for (std::size_t i = 0; i < length; ++i) {
        made[i] = zipf(rng);
        if (order == Order::drift) made[i] = (made[i] + i / 16) % keys;
    }
    if (order == Order::first_appearance) {
        Truth number;
        for (std::uint64_t& key : made) key = number.try_emplace(key, number.size()).first->second;
        return made;
    }
    if (order == Order::ascending) std::sort(made.begin(), made.end(), std::greater<>());
    if (order == Order::descending) std::sort(made.begin(), made.end());
    for (std::uint64_t& key : made) key = fae::mix64(key ^ seed);
    return made;
}

Truth count(const Keys& keys) {
    Truth truth;
    for (const std::uint64_t key : keys) ++truth[key];
    return truth;
}

fae::Span<const std::uint64_t> span(const Keys& keys) { return {keys.data(), keys.size()}; }

/// What is wrong with a sketch's answers about a stream; empty if nothing is.
std::string fault(const fae::HeavyHitterSketch& sketch, const Truth& truth) {
    std::vector<fae::HeavyKey> listed = sketch.listed();
    if (listed.size() > sketch.counters()) return "more keys than counters";
    Truth unlisted = truth;
    for (const fae::HeavyKey& heavy : listed) {
        const auto found = truth.find(heavy.key);
        if (found == truth.end()) return "a key that never came";
        if (heavy.lower > found->second || heavy.upper < found->second) return "bounds miss the truth";
        if (heavy.upper - heavy.lower > sketch.floor()) return "bounds further apart than the floor";
        const fae::HeavyKey asked = sketch.bounds(heavy.key);
        if (asked.lower != heavy.lower || asked.upper != heavy.upper) return "bounds() and listed() differ";
        unlisted.erase(heavy.key);
    }
    for (const auto& [key, number] : unlisted) {
        if (number > sketch.floor()) return "a key above the floor is not listed";
        const fae::HeavyKey asked = sketch.bounds(key);
        if (asked.lower != 0 || asked.upper < number) return "bounds of an unlisted key miss the truth";
    }
    return "";
}

/// The bound of one shard of k counters by the tail of the stream: min over j of T(j) / (k / 2 - j).
double tail_bound(const Truth& truth, std::uint64_t counters) {
    std::vector<std::uint64_t> counts;
    std::uint64_t tail = 0;
    for (const auto& [key, number] : truth) {
        counts.push_back(number);
        tail += number;
    }
    std::sort(counts.begin(), counts.end(), std::greater<>());
    double best = static_cast<double>(tail) / (static_cast<double>(counters) / 2);
    for (std::size_t j = 1; j <= counts.size() && 2 * j < counters; ++j) {
        tail -= counts[j - 1];
        best = std::min(
            best, static_cast<double>(tail) / (static_cast<double>(counters) / 2 - static_cast<double>(j)));
    }
    return best;
}

}  // namespace

// Catches a floor that rises too little or too much, an eviction of a key above the floor, and an error that
// is not remembered: thousands of streams, every key of each asked for.
TEST_CASE("sketch: true counts lie between the bounds, and the floor within the documented bounds") {
    int tight = 0;
    int raised = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        for (const double skew : {0.0, 0.6, 0.8, 1.0, 1.2, 1.6}) {
            for (const Order order : orders) {
                const std::size_t length = 200 + static_cast<std::size_t>(fae::mix64(seed) % 1500);
                const Keys keys = stream(length, 50 + fae::mix64(seed + 1) % 1500, skew, order, seed);
                fae::HeavyHitterSketch sketch({256u << (seed % 4), seed});
                sketch.add(fae::seq, span(keys));
                const Truth truth = count(keys);
                CAPTURE(seed);
                CAPTURE(skew);
                CAPTURE(static_cast<int>(order));
                REQUIRE(sketch.shards() == 1);
                REQUIRE(sketch.total() == length);
                REQUIRE(fault(sketch, truth) == "");
                const double bound = tail_bound(truth, sketch.counters());
                REQUIRE(static_cast<double>(sketch.floor()) <= bound);
                raised += sketch.floor() != 0 ? 1 : 0;
                tight += 4 * static_cast<double>(sketch.floor()) >= bound ? 1 : 0;
            }
        }
    }
    CHECK(raised > 1500);  // most streams need room, and the bound is not idle
    CHECK(tight > 900);
}

// Catches a floor where there is none, and counts that are not exact without one.
TEST_CASE("sketch: it is exact as long as there are fewer keys than counters") {
    fae::HeavyHitterSketch sketch({1 << 16, 4});
    const Keys keys = stream(50000, sketch.counters() - 1, 0.7, Order::random, 2);
    sketch.add(fae::seq, span(keys));
    CHECK(sketch.floor() == 0);
    const Truth truth = count(keys);
    const std::vector<fae::HeavyKey> listed = sketch.listed();
    REQUIRE(listed.size() == truth.size());
    for (std::size_t i = 0; i < listed.size(); ++i) {
        REQUIRE(listed[i].lower == truth.at(listed[i].key));
        REQUIRE(listed[i].upper == listed[i].lower);
        if (i != 0) REQUIRE(listed[i - 1].lower >= listed[i].lower);
    }
}

// Catches memory that grows with keys, and a heavy key lost among them.
TEST_CASE("sketch: a million different keys change nothing of its memory, and hide no heavy key") {
    for (const std::uint64_t memory : {std::uint64_t{5000}, std::uint64_t{1} << 17, std::uint64_t{1} << 20}) {
        fae::HeavyHitterSketch sketch({memory, 1});
        const std::uint64_t before = sketch.memory_bytes();
        CHECK(before <= memory);
        CHECK(before > memory / 3);
        Keys keys(1 << 16);
        for (std::uint64_t block = 0; block < 16; ++block) {
            for (std::size_t i = 0; i < keys.size(); ++i) {
                keys[i] = i % 32 == 0 ? 77 : fae::mix64(block * keys.size() + i);
            }
            sketch.add(fae::seq, span(keys));
        }
        CHECK(sketch.memory_bytes() == before);
        const fae::HeavyKey heavy = sketch.bounds(77);
        CHECK(heavy.lower <= 32768);
        CHECK(heavy.upper >= 32768);
        // Of distinct keys any j of them are the most frequent: the tail bound of the largest shard's share.
        const double share = 1.1 * 1e6 * 31 / 32 / static_cast<double>(sketch.shards());
        const double half = static_cast<double>(sketch.counters() / sketch.shards()) / 2;
        CHECK(static_cast<double>(sketch.floor()) <= share / (half - 1));
    }
}

// Catches a result that depends on threads, on the cut into batches or on the width of keys.
TEST_CASE("sketch: every executor and every cut of the stream gives the same") {
    std::vector<std::uint32_t> narrow;
    Keys keys;
    const fae::Zipf zipf(400000, 0.9);
    fae::Philox rng(8);
    for (std::size_t i = 0; i < 300000; ++i) {
        narrow.push_back(static_cast<std::uint32_t>(zipf(rng)));
        keys.push_back(narrow.back());
    }
    const auto listed = [](const fae::HeavyHitterSketch& sketch) {
        std::vector<std::uint64_t> flat;
        for (const fae::HeavyKey& heavy : sketch.listed()) {
            flat.insert(flat.end(), {heavy.key, heavy.lower, heavy.upper});
        }
        return flat;
    };
    const fae::SketchOptions options{2 << 20, 3};
    fae::HeavyHitterSketch whole(options);
    whole.add(fae::seq, span(keys));
    REQUIRE(whole.shards() == 6);
    REQUIRE(whole.floor() > 0);
    for (const std::size_t count : {2u, 3u, 8u}) {
        fae::Threads threads(count);
        fae::HeavyHitterSketch sketch(options);
        sketch.add(fae::par(threads), fae::Span<const std::uint32_t>(narrow.data(), narrow.size()));
        CHECK(listed(sketch) == listed(whole));
    }
    fae::HeavyHitterSketch cut(options);
    for (std::size_t first = 0; first < keys.size();) {
        const std::size_t last = std::min(keys.size(), first + 1 + first / 2);
        cut.add(fae::seq, fae::Span<const std::uint64_t>(keys.data() + first, last - first));
        first = last;
    }
    CHECK(listed(cut) == listed(whole));
    fae::HeavyHitterSketch one_by_one(options);
    for (const std::uint64_t key : keys) one_by_one.add(key, 1);
    CHECK(listed(one_by_one) == listed(whole));
}

// Catches a merge that loses the other's floor, counts a key twice or evicts what it must keep.
TEST_CASE("sketch: merged sketches keep the bounds of the streams together, in any tree") {
    for (std::uint64_t seed = 0; seed < 120; ++seed) {
        for (const Order order : orders) {
            const double skew = 0.2 * static_cast<double>(seed % 8);
            std::vector<fae::HeavyHitterSketch> parts;
            Keys all;
            for (std::uint64_t part = 0; part < 4; ++part) {
                const Keys keys =
                    stream(300 + 100 * part, 700, skew, order, order == Order::drift ? seed : 1);
                parts.emplace_back(fae::SketchOptions{1024, 5});
                parts.back().add(fae::seq, span(keys));
                all.insert(all.end(), keys.begin(), keys.end());
            }
            if (seed % 3 == 0) {
                for (std::size_t part = 1; part < 4; ++part) parts[0].merge(parts[part]);
            } else if (seed % 3 == 1) {
                for (std::size_t part = 1; part < 4; ++part) {
                    const std::vector<fae::HeavyKey> listed = parts[part].listed();
                    parts[0].merge({listed.data(), listed.size()}, parts[part].floor(), parts[part].total(),
                                   0);
                }
            } else {
                parts[0].merge(parts[1]);
                parts[2].merge(parts[3]);
                parts[0].merge(parts[2]);
            }
            const Truth truth = count(all);
            CAPTURE(seed);
            CAPTURE(static_cast<int>(order));
            REQUIRE(parts[0].total() == all.size());
            REQUIRE(fault(parts[0], truth) == "");
            REQUIRE(static_cast<double>(parts[0].floor()) <= tail_bound(truth, parts[0].counters()));
        }
    }
}

// Catches decay that is not a half, and bounds that rounding breaks: 45 halvings divide four times by 1024.
TEST_CASE("sketch: halved sketches bound the decayed look-ups") {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        for (const double skew : {0.0, 0.8, 1.4}) {
            fae::HeavyHitterSketch sketch({512, seed});
            const fae::Zipf zipf(300, skew);
            fae::Philox rng(seed, 17);
            std::unordered_map<std::uint64_t, double> truth;
            double all = 0;
            bool within = true;  // right after a division, before the floor rises again
            for (std::uint64_t block = 0; block < 46; ++block) {
                if (block != 0) {
                    sketch.halve();
                    for (const fae::HeavyKey& heavy : sketch.listed()) {
                        const std::uint64_t apart = heavy.upper - heavy.lower;
                        within = within && apart <= std::max<std::uint64_t>(sketch.floor(), 2);
                    }
                    all /= 2;
                    for (auto& [key, number] : truth) number /= 2;
                }
                for (int i = 0; i < 200; ++i) {
                    const std::uint64_t key = zipf(rng) + (seed % 2 == 0 ? block : 0);  // with drift, without
                    sketch.add(key, 1);
                    truth[key] += 1;
                    all += 1;
                }
            }
            CAPTURE(seed);
            CAPTURE(skew);
            REQUIRE(sketch.halvings() == 45);
            const auto unit = static_cast<double>(sketch.unit());
            REQUIRE(unit > 1);
            CHECK(static_cast<double>(sketch.total()) / unit == doctest::Approx(all).epsilon(1e-5));
            bool held = true;
            for (const auto& [key, number] : truth) {
                const fae::HeavyKey heavy = sketch.bounds(key);
                held = held && static_cast<double>(heavy.lower) <= number * unit;
                held = held && static_cast<double>(heavy.upper) >= number * unit;
                held = held && heavy.upper - heavy.lower <= std::max<std::uint64_t>(sketch.floor(), 2);
            }
            CHECK(held);
            CHECK(within);
            const double counters = static_cast<double>(sketch.counters());
            CHECK(static_cast<double>(sketch.floor()) / unit <= 2 * all / counters + 0x1p-8);
        }
    }
}

// Catches a floor that is rounded less than the bounds beside it: here a key that had 11,263 to 11,265 units
// has 10 to 12 after the division by 1024, and the floor of 2 may not become 1.
TEST_CASE("sketch: a division leaves bounds no further apart than the floor") {
    fae::HeavyHitterSketch sketch({4096, 1});
    for (int i = 0; i < 20; ++i) sketch.halve();
    const std::vector<fae::HeavyKey> listed{{7, 11263, 11265}};
    sketch.merge({listed.data(), listed.size()}, 2, 20000, 20);
    REQUIRE(sketch.floor() == 2);
    sketch.halve();
    const fae::HeavyKey heavy = sketch.bounds(7);
    CHECK(heavy.lower == 10);
    CHECK(heavy.upper == 12);
    CHECK(heavy.upper - heavy.lower <= sketch.floor());
}

// Catches a sketch that is used beyond what it can hold, or with another of another shape.
TEST_CASE("sketch: impossible sizes, streams and merges are refused") {
    CHECK_THROWS_WITH_AS(fae::HeavyHitterSketch({255, 0}), "a sketch of 255 bytes, expected at least 256",
                         fae::ContractError);
    fae::HeavyHitterSketch sketch({1024, 1});
    CHECK_THROWS_AS(sketch.merge(fae::HeavyHitterSketch({2048, 1})), fae::ContractError);
    CHECK_THROWS_AS(sketch.merge(fae::HeavyHitterSketch({1024, 2})), fae::ContractError);
    fae::HeavyHitterSketch halved({1024, 1});
    halved.halve();
    CHECK_THROWS_AS(sketch.merge(halved), fae::ContractError);
    const std::vector<fae::HeavyKey> below = {{7, 1, 3}};
    CHECK_THROWS_AS(sketch.merge({below.data(), 1}, 4, 9, 0), fae::ContractError);
    CHECK_THROWS_AS(sketch.merge({below.data(), 1}, 2, 9, 1), fae::ContractError);
    sketch.add(3, std::uint64_t{1} << 62);
    CHECK_THROWS_AS(sketch.add(3, 1), fae::ContractError);
    CHECK(sketch.bounds(3).lower == std::uint64_t{1} << 62);
}

// Catches counts beyond 32 bits that are cut off: of the error, which is stored in 32, and of the floor.
TEST_CASE("sketch: counts and errors beyond 32 bits are kept") {
    fae::HeavyHitterSketch sketch({256, 0});
    constexpr std::uint64_t much = std::uint64_t{1} << 40;
    Truth truth;
    for (std::uint64_t key = 0; key < 40; ++key) {
        sketch.add(key, much + key * 1000);
        truth[key] += much + key * 1000;
    }
    for (int more = 0; more < 3; ++more) {
        sketch.add(7, much);
        truth[7] += much;
    }
    CHECK(sketch.floor() > std::uint64_t{1} << 32);
    CHECK(fault(sketch, truth) == "");
    CHECK(static_cast<double>(sketch.floor()) <= tail_bound(truth, sketch.counters()));
}

// Catches look-ups of the profiler that do not reach the sketch, accesses of tables that are not exact, and
// decay and merging that forget them.
TEST_CASE("sketch: a profiler with a sketch lists the rows and knows the accesses of every table") {
    const fae::RowSpace space = oracle::random_space(5, 20000, 8, 1);
    fae::Threads threads(3);
    for (const std::size_t bag_size : {1u, 0u}) {
        const oracle::Inputs inputs = oracle::random_inputs(space, 9000, bag_size, 31);
        const auto bags = inputs.bags();
        const std::vector<std::uint64_t> truth = oracle::count_rows(space, bags);
        const auto make = [&] {
            return fae::AccessProfiler<fae::SketchCounter>(space, fae::SketchCounter(space, {20000, 2}));
        };
        auto profiler = make();
        profiler.add(fae::par(threads), bags);
        auto other = make();
        other.add(fae::seq, bags);
        other.counter().halve();
        const fae::SketchProfile profile = profiler.finish();
        CHECK(profile.inputs_counted() == 9000);
        CHECK(profile.accesses() == bags.lookups());
        CHECK(profile.floor() > 0);
        std::vector<bool> listed(space.rows(), false);
        bool held = true;
        for (const fae::HeavyRow& heavy : profile.rows()) {
            held = held && heavy.lower <= truth[heavy.row] && truth[heavy.row] <= heavy.upper;
            listed[heavy.row] = true;
        }
        for (std::size_t row = 0; row < truth.size(); ++row) {
            held = held && (listed[row] || truth[row] <= profile.floor());
        }
        CHECK(held);
        for (std::size_t t = 0; t < space.table_count(); ++t) {
            std::uint64_t accesses = 0;
            for (std::uint64_t r = space.offset(t); r < space.offset(t + 1); ++r) accesses += truth[r];
            CHECK(profile.accesses(t) == accesses);
        }
        // Half of the first pass and all of the second, and the same again from another worker.
        other.add(fae::seq, bags);
        auto worker = make();
        worker.counter().halve();
        worker.add(fae::seq, bags);
        other.counter().merge(worker.counter());
        const fae::SketchProfile decayed = other.finish();
        CHECK(decayed.unit() == 2);
        CHECK(decayed.accesses() == bags.lookups() * 5);
        // The profiler has started again.
        CHECK(other.finish().accesses() == 0);
    }
}
