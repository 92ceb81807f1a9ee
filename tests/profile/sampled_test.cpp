// SPDX-License-Identifier: Apache-2.0
//
// InputSampler: the size, the seed, the lack of bias, and that batches do not matter.
#include "fae/profile/sampled.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "fae/core/threads.hpp"
#include "fae/profile/profiler.hpp"
#include "support/placement_oracle.hpp"

namespace {

std::vector<bool> draw(const fae::InputSampler& sampler, std::uint64_t inputs) {
    std::vector<bool> drawn(inputs);
    for (std::uint64_t i = 0; i < inputs; ++i) drawn[i] = sampler.draws(i);
    return drawn;
}

std::uint64_t ones(const std::vector<bool>& drawn) {
    std::uint64_t count = 0;
    for (const bool d : drawn) count += d ? 1u : 0u;
    return count;
}

std::vector<std::uint64_t> sampled_counts(const fae::RowSpace& space, const oracle::Inputs& inputs,
                                          const fae::InputSampler& sampler) {
    std::vector<std::uint64_t> counts(space.rows(), 0);
    const auto bags = inputs.bags();
    for (std::size_t i = 0; i < bags.samples(); ++i) {
        if (!sampler.draws(i)) continue;
        for (auto v = bags.begin(i * bags.features()); v < bags.begin((i + 1) * bags.features()); ++v) {
            ++counts[bags.values()[v]];
        }
    }
    return counts;
}

}  // namespace

// Catches draws with replacement and an off-by-one count.
TEST_CASE("sampler: an exact sample has exactly its size, at every size") {
    for (const std::uint64_t total : {1u, 2u, 100u, 1023u}) {
        for (std::uint64_t count = 0; count <= total; count += 1 + total / 7) {
            CHECK(ones(draw(fae::InputSampler::exact(total, count, 4), total)) == count);
        }
        CHECK(ones(draw(fae::InputSampler::exact(total, total, 4), total)) == total);
    }
}

// Catches an unseeded draw, and seeds that do not matter.
TEST_CASE("sampler: the same seed gives the same set, another seed another") {
    CHECK(draw(fae::InputSampler::exact(5000, 500, 8), 5000) ==
          draw(fae::InputSampler::exact(5000, 500, 8), 5000));
    CHECK(draw(fae::InputSampler::exact(5000, 500, 8), 5000) !=
          draw(fae::InputSampler::exact(5000, 500, 9), 5000));
    CHECK(draw(fae::InputSampler::bernoulli(0.1, 8), 5000) ==
          draw(fae::InputSampler::bernoulli(0.1, 8), 5000));
    CHECK(draw(fae::InputSampler::bernoulli(0.1, 8), 5000) !=
          draw(fae::InputSampler::bernoulli(0.1, 9), 5000));
}

// Catches a bias towards any position: over many seeds each input is drawn at the rate, within five standard
// errors, and so is each pair of neighbours.
TEST_CASE("sampler: every input and every pair of neighbours is drawn at the rate") {
    constexpr std::uint64_t inputs = 200;
    constexpr std::uint64_t seeds = 4000;
    for (const bool exact : {true, false}) {
        std::vector<double> drawn(inputs, 0);
        std::vector<double> pairs(inputs, 0);
        for (std::uint64_t seed = 0; seed < seeds; ++seed) {
            const auto sampler = exact ? fae::InputSampler::exact(inputs, inputs / 4, seed)
                                       : fae::InputSampler::bernoulli(0.25, seed);
            const std::vector<bool> set = draw(sampler, inputs);
            for (std::uint64_t i = 0; i < inputs; ++i) {
                drawn[i] += set[i] ? 1 : 0;
                pairs[i] += set[i] && set[(i + 1) % inputs] ? 1 : 0;
            }
        }
        const double both = exact ? 0.25 * 49.0 / 199.0 : 0.0625;
        double worst = 0;
        double worst_pair = 0;
        for (std::uint64_t i = 0; i < inputs; ++i) {
            worst = std::max(worst, std::fabs(drawn[i] / seeds - 0.25) / std::sqrt(0.25 * 0.75 / seeds));
            worst_pair = std::max(worst_pair,
                                  std::fabs(pairs[i] / seeds - both) / std::sqrt(both * (1 - both) / seeds));
        }
        CAPTURE(exact);
        CHECK(worst < 5.0);
        CHECK(worst_pair < 5.0);
    }
}

// Catches halves that share an input, lose one, or are of the wrong size; and a half that is no fair draw.
TEST_CASE("sampler: the parts of a sample are disjoint, together are the sample, and are fair draws each") {
    constexpr std::uint64_t inputs = 3000;
    for (const double share : {0.0, 0.25, 0.5, 1.0}) {
        for (const auto& sampler :
             {fae::InputSampler::exact(inputs, 700, 5), fae::InputSampler::exact(inputs, inputs, 5),
              fae::InputSampler::bernoulli(0.3, 5), fae::InputSampler::bernoulli(1, 5)}) {
            const auto [first, second] = sampler.split(share);
            const std::vector<bool> a = draw(first, inputs);
            const std::vector<bool> b = draw(second, inputs);
            const std::vector<bool> whole = draw(sampler, inputs);
            bool fits = true;
            for (std::size_t i = 0; i < inputs; ++i)
                fits = fits && !(a[i] && b[i]) && (a[i] || b[i]) == whole[i];
            CHECK(fits);
            CHECK(std::fabs(static_cast<double>(ones(a)) - share * static_cast<double>(ones(whole))) <
                  (sampler.total() == inputs ? 1.0 : 120.0));
            CHECK(first.rate() + second.rate() == doctest::Approx(sampler.rate()));
        }
    }
    // A part of a part, over seeds: every input at the rate, within five standard errors.
    std::vector<double> drawn(100, 0);
    for (std::uint64_t seed = 0; seed < 3000; ++seed) {
        const auto part = fae::InputSampler::exact(100, 80, seed).split(0.5).second.split(0.5).second;
        CHECK(part.rate() == doctest::Approx(0.2));
        for (std::uint64_t i = 0; i < 100; ++i) drawn[i] += part.draws(i) ? 1 : 0;
    }
    for (const double d : drawn) CHECK(std::fabs(d / 3000 - 0.2) < 5 * std::sqrt(0.16 / 3000));
    CHECK_THROWS_AS((void)fae::InputSampler().split(0.5), fae::ContractError);
    CHECK_THROWS_AS((void)fae::InputSampler::bernoulli(0.5, 1).split(1.5), fae::ContractError);
}

// Catches rates out of range and totals that are outgrown.
TEST_CASE("sampler: impossible samples are refused") {
    CHECK_THROWS_AS((void)fae::InputSampler::exact(10, 11, 1), fae::ContractError);
    CHECK_THROWS_AS((void)fae::InputSampler::bernoulli(1.5, 1), fae::ContractError);
    CHECK_THROWS_AS((void)fae::InputSampler::bernoulli(std::nan(""), 1), fae::ContractError);
    const fae::RowSpace space({{9, 1, ""}});
    const std::vector<std::uint32_t> values(12, 3);
    fae::AccessProfiler<> profiler(space);
    CHECK_THROWS_AS(profiler.add(fae::seq, fae::Bags<std::uint32_t>::fixed(values, 1, 1),
                                 fae::InputSampler::exact(11, 3, 1)),
                    fae::ContractError);
}

// Catches a sample that depends on where batches are cut, on threads or on the shape of bags.
TEST_CASE("sampler: a sampled profile counts the drawn inputs, however the stream is cut") {
    const fae::RowSpace space = oracle::random_space(5, 20000, 8, 1);
    constexpr std::size_t count = 9000;
    fae::Threads threads(3);
    for (const std::size_t bag_size : {1u, 2u, 0u}) {
        const oracle::Inputs inputs = oracle::random_inputs(space, count, bag_size, 31);
        for (const auto& sampler : {fae::InputSampler::exact(count, 700, 3),
                                    fae::InputSampler::bernoulli(0.3, 3), fae::InputSampler()}) {
            const std::vector<std::uint64_t> expected = sampled_counts(space, inputs, sampler);
            fae::AccessProfiler<> whole(space);
            whole.add(fae::par(threads), inputs.bags(), sampler);
            const auto profile = whole.finish();
            CHECK(std::vector<std::uint64_t>(profile.counts().begin(), profile.counts().end()) == expected);
            CHECK(profile.inputs_seen() == count);
            CHECK(profile.inputs_counted() == ones(draw(sampler, count)));

            if (bag_size == 0) continue;
            fae::AccessProfiler<> pieces(space);
            const std::size_t per_input = bag_size * space.features();
            for (std::size_t first = 0; first < count;) {
                const std::size_t last = std::min<std::size_t>(count, first + 1 + first / 2);
                const fae::Span<const std::uint32_t> part(inputs.values.data() + first * per_input,
                                                          (last - first) * per_input);
                pieces.add(fae::seq, fae::Bags<std::uint32_t>::fixed(part, bag_size, space.features()),
                           sampler);
                first = last;
            }
            const auto cut = pieces.finish();
            CHECK(std::vector<std::uint64_t>(cut.counts().begin(), cut.counts().end()) == expected);
            CHECK(cut.inputs_counted() == profile.inputs_counted());
        }
    }
}

// Catches a sampled profile that over- or undercounts: over seeds, counts divided by the rate average to the
// true counts.
TEST_CASE("sampler: sampled counts are unbiased") {
    const fae::RowSpace space({{8, 1, ""}});
    const oracle::Inputs inputs = oracle::random_inputs(space, 400, 1, 2);
    const std::vector<std::uint64_t> truth = oracle::count_rows(space, inputs.bags());
    constexpr int seeds = 3000;
    std::vector<double> sum(8, 0);
    for (int seed = 0; seed < seeds; ++seed) {
        fae::AccessProfiler<> profiler(space);
        profiler.add(fae::seq, inputs.bags(),
                     fae::InputSampler::exact(400, 80, static_cast<std::uint64_t>(seed)));
        const auto profile = profiler.finish();
        CHECK(profile.sampling_rate() == doctest::Approx(0.2));
        for (std::size_t r = 0; r < 8; ++r) sum[r] += profile.counts()[r] / profile.sampling_rate();
    }
    for (std::size_t r = 0; r < 8; ++r) {
        const double error = std::sqrt(static_cast<double>(truth[r]) * 4.0 / seeds) + 1e-9;
        CHECK(std::fabs(sum[r] / seeds - static_cast<double>(truth[r])) < 5 * error);
    }
}
