// SPDX-License-Identifier: Apache-2.0
//
// Classification on the device against the host's.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "fae/classify/inputs.hpp"
#include "fae/cuda/classify.cuh"
#include "fae/cuda/hot_set.hpp"
#include "support/compare.hpp"
#include "support/cuda/device_bags.hpp"
#include "support/placement_oracle.hpp"

namespace gpu = fae::cuda;  // CUB has a global namespace of that name
using fae::HotSet;
using fae::RowSpace;
using fae_test::equal;

namespace {

/// Every row is hot with this chance, but for small tables, which are hot in full.
HotSet random_hot_set(const RowSpace& space, double chance, std::uint64_t seed) {
    fae::Philox rng(seed);
    std::vector<std::uint32_t> rows;
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        for (auto r = space.offset(t); r < space.offset(t + 1); ++r) {
            if (space.table(t).rows < 10 || rng.uniform() < chance)
                rows.push_back(static_cast<std::uint32_t>(r));
        }
    }
    return HotSet(space.rows(), rows);
}

void check_equal(const fae::Classification& a, const fae::Classification& b) {
    CHECK(a.hot_count() == b.hot_count());
    CHECK(a.inputs() == b.inputs());
    for (std::uint64_t i = 0; i < b.inputs(); ++i) {
        REQUIRE(a.hot_inputs.contains(i) == b.hot_inputs.contains(i));
    }
    CHECK(a.features == b.features);
    CHECK(a.bag_size == b.bag_size);
    CHECK(equal(a.hot_slots, b.hot_slots));
    CHECK(equal(a.cold_rows, b.cold_rows));
    CHECK(equal(a.hot_offsets, b.hot_offsets));
    CHECK(equal(a.cold_offsets, b.cold_offsets));
    CHECK(equal(a.hot_weights, b.hot_weights));
    CHECK(equal(a.cold_weights, b.cold_weights));
}

__global__ void ask(HotSet::Ref ref, std::uint64_t* slots, std::uint64_t* rows) {
    for (std::uint64_t row = threadIdx.x; row < ref.rows(); row += blockDim.x) {
        slots[row] = ref.find(row);
        if (slots[row] != HotSet::cold) rows[slots[row]] = ref.row_of(slots[row]);
    }
}

}  // namespace

// Would catch a copy that answers otherwise than the set: blocks, ranks, the list of rows, trivial sets.
TEST_CASE("cuda hot set: a kernel that asks a copy gets the host's answers") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    for (const double chance : {0.0, 0.2, 1.0}) {
        const RowSpace space({{3001, 4, ""}});
        const HotSet hot = random_hot_set(space, chance, 5);
        const gpu::DeviceHotSet copy(on, hot);
        fae::Buffer<std::uint64_t, gpu::DeviceSpace> slots(space.rows());
        fae::Buffer<std::uint64_t, gpu::DeviceSpace> rows(hot.size() + 1);
        ask<<<1, 256, 0, on.stream>>>(copy.ref(), slots.data(), rows.data());
        gpu::check_launch("ask");
        const std::vector<std::uint64_t> slot = fae_test::from_device<std::uint64_t>(on, slots.span());
        const std::vector<std::uint64_t> row =
            fae_test::from_device<std::uint64_t>(on, rows.span().subspan(0, hot.size()));
        for (std::uint64_t r = 0; r < space.rows(); ++r) REQUIRE(slot[r] == hot.find(r));
        for (std::uint64_t s = 0; s < hot.size(); ++s) REQUIRE(row[s] == hot.row_of(s));
    }
}

// Would catch an input lost, doubled or out of order; a slot or offset off by one; words at the end of the
// inputs; inputs of more than 32 look-ups.
TEST_CASE("cuda classify: inputs, slots, offsets and weights are the host's") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    for (const double chance : {0.0, 0.5, 0.9, 1.0}) {
        for (const std::size_t bag_size : {0u, 1u, 9u}) {
            for (const std::size_t count : {1u, 31u, 64u, 1999u}) {
                const RowSpace space = oracle::random_space(7, 400, 4, count);
                const HotSet hot = random_hot_set(space, chance, 5);
                oracle::Inputs inputs = oracle::random_inputs(space, count, bag_size, 1);
                for (std::size_t i = 0; count == 1999u && i < inputs.values.size(); ++i) {
                    inputs.weights.push_back(static_cast<float>(i));
                }
                const gpu::DeviceHotSet copy(on, hot, gpu::DeviceHotSet::Parts::membership);
                const fae_test::DeviceBags<> bags(on, inputs.bags());
                const auto split = classify(on, copy, bags.bags());
                check_equal(gpu::to_host(on, fae::seq, split), classify(fae::seq, hot, space, inputs.bags()));
                CHECK(split.hot_bags().samples() + split.cold_bags().samples() == count);
            }
        }
    }
}

// Would catch an input that is taken for hot because it is in the last row space asked.
TEST_CASE("cuda classify: an input of several row spaces is hot where it is hot in each") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const RowSpace narrow = oracle::random_space(3, 200, 4, 1);
    const RowSpace wide = oracle::random_space(2, 300, 8, 2);
    const HotSet narrow_hot = random_hot_set(narrow, 0.8, 5);
    const HotSet wide_hot = random_hot_set(wide, 0.7, 6);
    const oracle::Inputs narrow_inputs = oracle::random_inputs(narrow, 500, 1, 1);
    const oracle::Inputs wide_inputs = oracle::random_inputs(wide, 500, 0, 2);
    const gpu::DeviceHotSet narrow_copy(on, narrow_hot);
    const gpu::DeviceHotSet wide_copy(on, wide_hot);
    const fae_test::DeviceBags<> narrow_bags(on, narrow_inputs.bags());
    const fae_test::DeviceBags<> wide_bags(on, wide_inputs.bags());
    const std::vector<gpu::HotQuery<>> queries{{&narrow_copy, narrow_bags.bags()},
                                               {&wide_copy, wide_bags.bags()}};
    const std::vector<fae::HotQuery<>> host{{&narrow_hot, narrow_inputs.bags(), &narrow},
                                            {&wide_hot, wide_inputs.bags(), &wide}};
    gpu::HotInputs found = find_hot_inputs(on, fae::Span<const gpu::HotQuery<>>(queries));
    const fae::RankBitmap expected = find_hot_inputs(fae::seq, fae::Span<const fae::HotQuery<>>(host));
    CHECK(found.hot == expected.ones());
    const auto split = fae::split_inputs(on, std::move(found), queries[1]);
    check_equal(gpu::to_host(on, fae::seq, split),
                fae::split_inputs(fae::seq, find_hot_inputs(fae::seq, fae::Span<const fae::HotQuery<>>(host)),
                                  host[1]));
}

// Would catch an empty data set that crashes, and queries that do not fit together.
TEST_CASE("cuda classify: no inputs are ordinary, unequal numbers of inputs are refused") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const RowSpace space = oracle::random_space(3, 200, 4, 1);
    const HotSet hot = random_hot_set(space, 0.5, 5);
    const gpu::DeviceHotSet copy(on, hot);
    const oracle::Inputs none = oracle::random_inputs(space, 0, 0, 1);
    const oracle::Inputs some = oracle::random_inputs(space, 5, 0, 1);
    const fae_test::DeviceBags<> no_bags(on, none.bags());
    const fae_test::DeviceBags<> bags(on, some.bags());
    check_equal(gpu::to_host(on, fae::seq, classify(on, copy, no_bags.bags())),
                classify(fae::seq, hot, space, none.bags()));
    const std::vector<gpu::HotQuery<>> queries{{&copy, bags.bags()}, {&copy, no_bags.bags()}};
    CHECK_THROWS_WITH_AS((void)find_hot_inputs(on, fae::Span<const gpu::HotQuery<>>(queries)),
                         "a query has 0 inputs, expected 5", fae::ContractError);
    CHECK_THROWS_AS((void)fae::split_inputs(on, gpu::HotInputs{}, queries[0]), fae::ContractError);
}
