// SPDX-License-Identifier: Apache-2.0
//
// The device's sketch against a plain map that follows the same chunks, against exact counts, and merged to
// the host's.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/zipf.hpp"
#include "fae/cuda/sketch.cuh"
#include "support/reduced.hpp"

namespace cuda = fae::cuda;

namespace {

using Keys = std::vector<std::uint64_t>;

/// The same sketch, one key after the other.
class PlainSketch {
  public:
    explicit PlainSketch(std::uint64_t counters) : counters_(counters) {}

    void add(std::uint64_t key) {
        if (in_chunk_ == 0 && places_.size() >= counters_) make_room();
        in_chunk_ = (in_chunk_ + 1) % counters_;
        const auto [place, fresh] = places_.try_emplace(key, Place{floor_, floor_});
        place->second.upper += unit_;
    }
    void halve() {
        unit_ *= 2;
        if (unit_ <= std::uint64_t{1} << 20) return;
        unit_ /= 1024;
        floor_ = (floor_ + 1023) / 1024;
        for (auto& [key, place] : places_) {
            const std::uint64_t lower = (place.upper - place.late) / 1024;
            place.upper = (place.upper + 1023) / 1024;
            place.late = place.upper - lower;
        }
    }
    [[nodiscard]] std::vector<fae::HeavyKey> listed() const {
        std::vector<fae::HeavyKey> keys;
        for (const auto& [key, place] : places_) {
            keys.push_back({key, place.upper - place.late, std::max(place.upper, floor_)});
        }
        std::stable_sort(keys.begin(), keys.end(),
                         [](const auto& a, const auto& b) { return a.lower > b.lower; });
        return keys;
    }
    [[nodiscard]] std::uint64_t floor() const { return floor_; }

  private:
    struct Place {
        std::uint64_t upper;
        std::uint64_t late;
    };
    void make_room() {
        std::vector<std::uint64_t> uppers;
        for (const auto& [key, place] : places_) uppers.push_back(std::max(place.upper, floor_));
        std::sort(uppers.begin(), uppers.end());
        floor_ = uppers[(uppers.size() - 1) / 2];
        std::erase_if(places_, [&](const auto& entry) { return entry.second.upper <= floor_; });
    }

    std::uint64_t counters_;
    std::uint64_t in_chunk_ = 0;
    std::uint64_t floor_ = 0;
    std::uint64_t unit_ = 1;
    std::map<std::uint64_t, Place> places_;
};

bool equal(const std::vector<fae::HeavyKey>& a, const std::vector<fae::HeavyKey>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.key == y.key && x.lower == y.lower && x.upper == y.upper;
    });
}

Keys stream(std::size_t length, std::uint64_t keys, double skew, std::uint64_t seed) {
    const fae::Zipf zipf(keys, skew);
    fae::Philox rng(seed, 3);
    Keys made(length);
    for (std::size_t i = 0; i < length; ++i) {
        made[i] = zipf(rng) - 1;
        if (seed % 3 == 1) made[i] = (made[i] + i / 64) % keys;        // drift
        if (seed % 3 == 2) made[i] = fae::mix64(made[i] ^ seed) >> 1;  // 63 bits
    }
    if (seed % 5 == 4) std::sort(made.begin(), made.end());
    return made;
}

template <class Index>
void add(cuda::On on, cuda::HeavyHitterSketch& sketch, const std::vector<Index>& keys) {
    fae::Buffer<Index, cuda::DeviceSpace> resident(keys.size());
    cuda::copy(on, fae::Span<const Index>(keys.data(), keys.size()), resident.span());
    sketch.add(on, fae::Span<const Index>(resident.span()));
    on.synchronise();
}

}  // namespace

// Would catch a key lost between threads, counted twice or given two counters, a median of a wrong digit,
// room made at another place of the stream for another cut, and bounds that miss.
TEST_CASE("cuda sketch: it is the plain sketch's, and true counts lie between its bounds") {
    const cuda::Stream stream_of;
    const auto on = cuda::on(stream_of);
    fae_test::CaseShare cases;
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
        if (!cases.take()) continue;
        const double skew = 0.2 * static_cast<double>(seed % 9);
        const std::uint64_t memory = std::uint64_t{1} << (15 + seed % 6);
        cuda::HeavyHitterSketch sketch(on, {memory, seed});
        CHECK(sketch.memory_bytes() <= memory);
        const Keys keys = stream(20000 + 12345 * (seed % 7), 4 * sketch.counters() + 50, skew, seed);
        PlainSketch plain(sketch.counters());
        std::map<std::uint64_t, std::uint64_t> truth;
        for (const std::uint64_t key : keys) {
            plain.add(key);
            ++truth[key];
        }
        for (std::size_t first = 0; first < keys.size();) {
            const std::size_t last = std::min(keys.size(), first + 1 + first / 2);
            add(on, sketch,
                Keys(keys.begin() + static_cast<std::ptrdiff_t>(first),
                     keys.begin() + static_cast<std::ptrdiff_t>(last)));
            first = last;
        }
        const cuda::SketchListing seen = sketch.listing(on);
        CAPTURE(seed);
        CHECK(seen.total == keys.size());
        CHECK(seen.floor == plain.floor());
        CHECK(equal(seen.keys, plain.listed()));
        CHECK(2 * keys.size() >= seen.floor * sketch.counters());
        std::map<std::uint64_t, std::uint64_t> unlisted = truth;
        bool held = true;
        for (const fae::HeavyKey& heavy : seen.keys) {
            held = held && heavy.lower <= truth[heavy.key] && truth[heavy.key] <= heavy.upper;
            unlisted.erase(heavy.key);
        }
        for (const auto& [key, count] : unlisted) held = held && count <= seen.floor;
        CHECK(held);
    }
}

// Would catch narrow keys read as wide ones, and a block's own counters that overflow or are not handed on:
// millions of look-ups of few keys, and medians of several digits.
TEST_CASE("cuda sketch: few keys of millions of look-ups are exact, and then make room for others") {
    const cuda::Stream stream_of;
    const auto on = cuda::on(stream_of);
    cuda::HeavyHitterSketch sketch(on, {1 << 15, 1});
    PlainSketch plain(sketch.counters());
    const auto several = static_cast<std::uint32_t>(sketch.counters() - 1);
    std::vector<std::uint32_t> keys(fae_test::share_of(3'000'000));
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<std::uint32_t>(i) % several;
    add(on, sketch, keys);
    for (const std::uint32_t key : keys) plain.add(key);
    CHECK(sketch.listing(on).floor == 0);
    CHECK(equal(sketch.listing(on).keys, plain.listed()));
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<std::uint32_t>(i / 40 % 1000);
    add(on, sketch, keys);
    for (const std::uint32_t key : keys) plain.add(key);
    if (fae_test::share() == 1) CHECK(sketch.listing(on).floor > 2048);
    CHECK(sketch.listing(on).floor == plain.floor());
    CHECK(equal(sketch.listing(on).keys, plain.listed()));
}

// Would catch decay that rounds to the unsafe side.
TEST_CASE("cuda sketch: halved, it is the halved plain sketch") {
    const cuda::Stream stream_of;
    const auto on = cuda::on(stream_of);
    cuda::HeavyHitterSketch sketch(on, {1 << 15, 2});
    PlainSketch plain(sketch.counters());
    for (std::uint64_t block = 0; block < 33; ++block) {
        if (block != 0) {
            sketch.halve(on);
            plain.halve();
        }
        const Keys keys = stream(700, 900, 0.8, block);
        add(on, sketch, keys);
        for (const std::uint64_t key : keys) plain.add(key);
    }
    const cuda::SketchListing seen = sketch.listing(on);
    CHECK(seen.halvings == 32);
    CHECK(seen.unit == std::uint64_t{1} << 12);
    CHECK(seen.floor == plain.floor());
    CHECK(equal(seen.keys, plain.listed()));
}

// Would catch a floor of the device that the host forgets.
TEST_CASE("cuda sketch: merged to a sketch of the host it bounds both streams") {
    const cuda::Stream stream_of;
    const auto on = cuda::on(stream_of);
    fae_test::CaseShare cases;
    for (std::uint64_t seed = 0; seed < 9; ++seed) {
        if (!cases.take()) continue;
        cuda::HeavyHitterSketch device(on, {1 << 15, 2});
        fae::HeavyHitterSketch host({4096, 7});
        const Keys on_device = stream(30000, 2000, 0.9, seed);
        const Keys on_host = stream(20000, 2000, 0.9, seed + 3);
        add(on, device, on_device);
        host.add(fae::seq, fae::Span<const std::uint64_t>(on_host.data(), on_host.size()));
        const cuda::SketchListing seen = device.listing(on);
        REQUIRE(seen.floor > 0);
        host.merge({seen.keys.data(), seen.keys.size()}, seen.floor, seen.total, seen.halvings);
        std::map<std::uint64_t, std::uint64_t> truth;
        for (const Keys* keys : {&on_device, &on_host}) {
            for (const std::uint64_t key : *keys) ++truth[key];
        }
        CHECK(host.total() == 50000);
        bool held = true;
        for (const auto& [key, count] : truth) {
            const fae::HeavyKey heavy = host.bounds(key);
            held = held && heavy.lower <= count && count <= heavy.upper;
        }
        CHECK(held);
    }
}

// Would catch memory that is no use.
TEST_CASE("cuda sketch: too little memory is refused, and no key is no work") {
    const cuda::Stream stream_of;
    const auto on = cuda::on(stream_of);
    CHECK_THROWS_AS(cuda::HeavyHitterSketch(on, {1000, 0}), fae::ContractError);
    cuda::HeavyHitterSketch sketch(on, {1 << 15, 0});
    sketch.add(on, fae::Span<const std::uint32_t>());
    CHECK(sketch.listing(on).keys.empty());
}
