// SPDX-License-Identifier: Apache-2.0
//
// Counting on the device against the host's profiler and plain loops.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "fae/cuda/profile.cuh"
#include "fae/profile/profiler.hpp"
#include "support/compare.hpp"
#include "support/cuda/device_bags.hpp"
#include "support/placement_oracle.hpp"

namespace cuda = fae::cuda;
using fae::Bags;
using fae::RowSpace;
using fae_test::equal;

// Would catch a look-up lost or counted twice: private against global counters, the last partial warp, a row
// that many lanes share, tables at either end of the private range.
TEST_CASE("cuda profile: counts equal those of a plain loop for fixed and jagged bags") {
    const cuda::Stream stream;
    const auto on = cuda::on(stream);
    for (const std::uint64_t most : {3u, 700u, 40'000u}) {
        for (const std::size_t bag_size : {0u, 1u, 3u}) {
            const RowSpace space = oracle::random_space(9, most, 4, most);
            const oracle::Inputs first = oracle::random_inputs(space, 1000, bag_size, 1);
            const oracle::Inputs second = oracle::random_inputs(space, 777, bag_size, 2);
            cuda::AccessProfiler<> profiler(on, space);
            const fae_test::DeviceBags<> a(on, first.bags());
            const fae_test::DeviceBags<> b(on, second.bags());
            profiler.add(on, a.bags());
            profiler.add(on, b.bags());
            const fae::AccessProfile<> profile = profiler.finish(on);
            std::vector<std::uint64_t> expected = oracle::count_rows(space, first.bags());
            const std::vector<std::uint64_t> more = oracle::count_rows(space, second.bags());
            for (std::size_t r = 0; r < expected.size(); ++r) expected[r] += more[r];
            CHECK(equal(profile.counts(), expected));
            CHECK(profile.inputs_seen() == 1777);
            CHECK(profile.exact());
            for (std::size_t t = 0; t < space.table_count(); ++t) {
                std::uint64_t accesses = 0;
                for (auto r = space.offset(t); r < space.offset(t + 1); ++r) accesses += expected[r];
                CHECK(profile.accesses(t) == accesses);
            }
        }
    }
}

// Would catch a sample that depends on the device, on how a stream is cut, or on where a batch begins.
TEST_CASE("cuda profile: a sampled profile is the host's, whatever the sampler and the batches") {
    const cuda::Stream stream;
    const auto on = cuda::on(stream);
    const RowSpace space = oracle::random_space(6, 5000, 4, 3);
    for (const std::size_t bag_size : {0u, 2u}) {
        const oracle::Inputs first = oracle::random_inputs(space, 3000, bag_size, 1);
        const oracle::Inputs second = oracle::random_inputs(space, 1001, bag_size, 2);
        for (const auto& sampler :
             {fae::InputSampler::exact(4001, 400, 7), fae::InputSampler::bernoulli(0.3, 11)}) {
            fae::AccessProfiler<fae::ExactCounter<std::uint64_t>> host(space);
            cuda::AccessProfiler<std::uint64_t> device(on, space);
            const fae_test::DeviceBags<> a(on, first.bags());
            const fae_test::DeviceBags<> b(on, second.bags());
            host.add(fae::seq, first.bags(), sampler);
            host.add(fae::seq, second.bags(), sampler);
            device.add(on, a.bags(), sampler);
            device.add(on, b.bags(), sampler);
            const auto expected = host.finish();
            const auto profile = device.finish(on);
            CHECK(equal(profile.counts(), expected.counts()));
            CHECK(profile.inputs_counted() == expected.inputs_counted());
            CHECK(profile.inputs_seen() == 4001);
            CHECK(profile.accesses() == expected.accesses());
        }
    }
}

// Would catch a three-row table that loses counts where all of a block add to one counter, and 64-bit
// indices.
TEST_CASE("cuda profile: one row repeated a million times is counted a million times") {
    const cuda::Stream stream;
    const auto on = cuda::on(stream);
    const RowSpace space({{3, 4, "small"}, {100'000, 4, "large"}}, {0, 1});
    std::vector<std::uint64_t> values;
    for (std::uint64_t i = 0; i < 1'000'000; ++i)
        values.insert(values.end(), {1, 3 + (i % 1000 == 0 ? i / 1000 : 77)});
    const fae_test::DeviceBags<std::uint64_t> bags(on, Bags<std::uint64_t>::fixed(values, 1, 2));
    cuda::AccessProfiler<> profiler(on, space);
    profiler.add(on, bags.bags());
    const fae::AccessProfile<> profile = profiler.finish(on);
    CHECK(profile.counts()[0] == 0);
    CHECK(profile.counts()[1] == 1'000'000);
    CHECK(profile.counts()[3 + 77] == 999'001);
    CHECK(profile.counts()[3 + 999] == 1);
    CHECK(profile.accesses(1) == 1'000'000);
}

// Would catch what is left of an earlier profile.
TEST_CASE("cuda profile: after finish it starts from nothing, and an empty batch is ordinary") {
    const cuda::Stream stream;
    const auto on = cuda::on(stream);
    const RowSpace space = oracle::random_space(4, 100, 4, 3);
    const oracle::Inputs inputs = oracle::random_inputs(space, 100, 1, 1);
    const fae_test::DeviceBags<> bags(on, inputs.bags());
    const fae_test::DeviceBags<> empty(on, Bags<>::fixed(std::vector<std::uint32_t>(), 1, space.features()));
    cuda::AccessProfiler<> profiler(on, space);
    profiler.add(on, bags.bags());
    (void)profiler.finish(on);
    profiler.add(on, empty.bags());
    CHECK(profiler.finish(on).accesses() == 0);
    profiler.add(on, bags.bags());
    const auto profile = profiler.finish(on);
    CHECK(equal(profile.counts(), oracle::count_rows(space, inputs.bags())));
}

// Would catch misuse that goes through; a counter that could overflow; a look-up outside its table
// (FAE_CHECKED).
TEST_CASE("cuda profile: misuse is refused and nothing of the batch is counted") {
    const cuda::Stream stream;
    const auto on = cuda::on(stream);
    const RowSpace space({{4, 4, ""}, {9, 4, ""}}, {0, 1});
    cuda::AccessProfiler<> profiler(on, space);
    const fae_test::DeviceBags<> three(on, Bags<>::fixed(std::vector<std::uint32_t>{0, 1, 2}, 1, 3));
    CHECK_THROWS_WITH_AS(profiler.add(on, three.bags()), "the batch has 3 features, expected 2",
                         fae::ContractError);
    // A batch that claims more look-ups than a counter holds; it is refused before anything reads it.
    const std::size_t claimed = std::size_t{1} << 33;
    const auto* const nowhere = reinterpret_cast<const std::uint32_t*>(std::uintptr_t{256});
    CHECK_THROWS_WITH_AS(profiler.add(on, Bags<>::fixed({nowhere, claimed}, 1, 2)),
                         "table 0 has up to 4294967296 look-ups, expected at most 4294967295, which one "
                         "counter holds",
                         fae::ContractError);
    CHECK_THROWS_AS(profiler.add(on, three.bags(), fae::InputSampler::exact(0, 0, 1)), fae::ContractError);
    const fae_test::DeviceBags<> wrong(on, Bags<>::fixed(std::vector<std::uint32_t>{0, 4, 3, 2}, 1, 2));
    if (fae::checked) {
        profiler.add(on, wrong.bags());
        CHECK_THROWS_WITH_AS((void)profiler.finish(on),
                             "values[3] of a batch is outside the table of its feature", fae::IndexError);
    }
    CHECK(profiler.finish(on).accesses() == 0);
}
