// SPDX-License-Identifier: Apache-2.0
//
// AccessProfiler and ExactCounter against one counter array and a loop.
#include "fae/profile/profiler.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/threads.hpp"
#include "support/placement_oracle.hpp"

namespace {

template <class Count>
std::vector<std::uint64_t> widen(fae::Span<const Count> counts) {
    return {counts.begin(), counts.end()};
}

// 20 tables of up to 60,000 rows: small ones and large ones, owned whole.
const fae::RowSpace& wide_space() {
    static const fae::RowSpace space = oracle::random_space(20, 60000, 16, 3);
    return space;
}

template <class Count, fae::Executor E>
std::vector<std::uint64_t> profile_counts(const E& exec, const fae::RowSpace& space,
                                          const oracle::Inputs& inputs) {
    fae::AccessProfiler<fae::ExactCounter<Count>> profiler(space);
    profiler.add(exec, inputs.bags());
    return widen(profiler.finish().counts());
}

// Believes what it is told and reads no index, so that billions of look-ups need no memory.
struct Claim {
    using count_type = std::uint32_t;
    static constexpr std::uint64_t max_count = fae::ExactCounter<std::uint32_t>::max_count;
    fae::ExactCounter<std::uint32_t> inner;
    explicit Claim(const fae::RowSpace& space) : inner(space) {}
    void add(const fae::Seq&, const fae::RowSpace&, const fae::Bags<std::uint32_t>&,
             fae::Span<const std::uint64_t>) {}
    [[nodiscard]] Claim fresh(const fae::RowSpace& space) const { return Claim(space); }
    fae::AccessProfile<> profile(const fae::RowSpace& space, const std::vector<std::uint64_t>& accesses,
                                 std::uint64_t counted, std::uint64_t seen) {
        return inner.profile(space, accesses, counted, seen);
    }
};

}  // namespace

// Catches a look-up lost or counted twice, however tables are shared out among threads.
TEST_CASE("profiler: counts equal a plain loop for every executor, bag shape and counter width") {
    const fae::RowSpace& space = wide_space();
    for (const std::size_t bag_size : {1u, 3u, 0u}) {
        CAPTURE(bag_size);
        const oracle::Inputs inputs = oracle::random_inputs(space, 12000, bag_size, 11 + bag_size);
        const std::vector<std::uint64_t> expected = oracle::count_rows(space, inputs.bags());
        CHECK(profile_counts<std::uint32_t>(fae::seq, space, inputs) == expected);
        CHECK(profile_counts<std::uint64_t>(fae::seq, space, inputs) == expected);
        for (const std::size_t count : {2u, 3u, 8u}) {
            fae::Threads threads(count);
            CHECK(profile_counts<std::uint32_t>(fae::par(threads), space, inputs) == expected);
            CHECK(profile_counts<std::uint64_t>(fae::par(threads), space, inputs) == expected);
        }
    }
}

// Catches blocks that overlap or leave a gap: more look-ups than one block of the parallel counter holds.
TEST_CASE("profiler: a batch of many blocks is counted once") {
    const fae::RowSpace space({{40000, 4, ""}, {50, 4, ""}});
    const oracle::Inputs inputs = oracle::random_inputs(space, 2'300'000, 1, 5);
    fae::Threads threads(3);
    CHECK(profile_counts<std::uint32_t>(fae::par(threads), space, inputs) ==
          oracle::count_rows(space, inputs.bags()));
}

// Catches a block search that cannot make progress past an input larger than a block.
TEST_CASE("profiler: one input may have more look-ups than a block") {
    const fae::RowSpace space({{70000, 4, ""}});
    oracle::Inputs inputs;
    inputs.values.assign(2'200'000, 7);
    inputs.values.push_back(69999);
    inputs.offsets = {0, 0, 2'200'000, 2'200'001, 2'200'001};
    inputs.bag_size = 0;
    fae::Threads threads(2);
    CHECK(profile_counts<std::uint32_t>(fae::par(threads), space, inputs) ==
          oracle::count_rows(space, inputs.bags()));
}

// Catches state that one add leaves behind for the next, and wrong totals.
TEST_CASE("profiler: batches add up, and the profile knows inputs and accesses per table") {
    const fae::RowSpace& space = wide_space();
    fae::Threads threads(2);
    fae::AccessProfiler<> profiler(space);
    std::vector<std::uint64_t> expected(space.rows(), 0);
    for (std::uint64_t batch = 0; batch < 5; ++batch) {
        const oracle::Inputs inputs =
            oracle::random_inputs(space, 1000 + 3000 * batch, batch % 3, 50 + batch);
        const std::vector<std::uint64_t> counts = oracle::count_rows(space, inputs.bags());
        for (std::size_t r = 0; r < counts.size(); ++r) expected[r] += counts[r];
        profiler.add(fae::par(threads), inputs.bags());
    }
    const fae::AccessProfile<> profile = profiler.finish();
    CHECK(widen(profile.counts()) == expected);
    CHECK(profile.inputs_seen() == 5 * 1000 + 3000 * 10);
    CHECK(profile.exact());
    CHECK(profile.sampling_rate() == 1.0);
    std::uint64_t all = 0;
    for (std::size_t t = 0; t < space.table_count(); ++t) {
        std::uint64_t accesses = 0;
        for (auto r = space.offset(t); r < space.offset(t + 1); ++r) accesses += expected[r];
        CHECK(profile.accesses(t) == accesses);
        all += accesses;
    }
    CHECK(profile.accesses() == all);
}

// Catches a finish that leaves counts in the profiler, or a profiler that cannot be used again.
TEST_CASE("profiler: finish starts again from nothing") {
    const fae::RowSpace space({{5, 2, ""}});
    const std::vector<std::uint32_t> values = {1, 1, 4};
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::seq, fae::Bags<std::uint32_t>::fixed(values, 1, 1));
    CHECK(widen(profiler.finish().counts()) == std::vector<std::uint64_t>{0, 2, 0, 0, 1});
    CHECK(profiler.inputs_seen() == 0);
    profiler.add(fae::seq, fae::Bags<std::uint32_t>::fixed(values, 3, 1));
    const auto again = profiler.finish();
    CHECK(widen(again.counts()) == std::vector<std::uint64_t>{0, 2, 0, 0, 1});
    CHECK(again.inputs_seen() == 1);
}

// Catches arithmetic on row ids in 32 bits.
TEST_CASE("profiler: 64-bit indices are counted like 32-bit ones") {
    const fae::RowSpace& space = wide_space();
    const oracle::Inputs inputs = oracle::random_inputs(space, 9000, 1, 21);
    const std::vector<std::uint64_t> values(inputs.values.begin(), inputs.values.end());
    fae::Threads threads(3);
    fae::AccessProfiler<> profiler(space);
    profiler.add(fae::par(threads), fae::Bags<std::uint64_t>::fixed(values, 1, space.features()));
    CHECK(widen(profiler.finish().counts()) == oracle::count_rows(space, inputs.bags()));
}

// Catches a 32-bit counter that wraps: four billion look-ups of one row are refused before they are counted.
TEST_CASE("profiler: look-ups that one counter could not hold are refused, and nothing is counted") {
    const fae::RowSpace space({{3, 1, ""}, {3, 1, ""}}, {0, 1});
    const std::vector<std::uint32_t> two = {1, 4};
    // A batch that claims 2^32 - 2 look-ups of table 0 without having the memory: the check must come first.
    fae::AccessProfiler<Claim> profiler(space);
    const std::vector<std::uint64_t> offsets = {0, 1, 2};
    const auto small = fae::Bags<std::uint32_t>::jagged(two, offsets, 2);
    profiler.add(fae::seq, small);
    const std::uint64_t huge = (std::uint64_t{1} << 32) - 2;
    const std::vector<std::uint64_t> fits = {0, huge, huge};
    const std::vector<std::uint64_t> over = {0, 1, 1};
    const fae::Span<const std::uint32_t> claimed(two.data(), static_cast<std::size_t>(huge));
    if constexpr (!fae::checked) {
        profiler.add(fae::seq, fae::Bags<std::uint32_t>::jagged(claimed, fits, 2));
        CHECK(profiler.inputs_counted() == 2);
        CHECK_THROWS_WITH_AS(
            profiler.add(fae::seq, fae::Bags<std::uint32_t>::jagged({two.data(), 1}, over, 2)),
            "table 0 has 4294967296 look-ups, expected at most 4294967295, which one counter holds",
            fae::ContractError);
        CHECK(profiler.inputs_counted() == 2);
        // The other table still has room.
        const std::vector<std::uint64_t> other = {0, 0, 1};
        profiler.add(fae::seq, fae::Bags<std::uint32_t>::jagged({two.data() + 1, 1}, other, 2));
        CHECK(profiler.inputs_counted() == 3);
    } else {
        CHECK_THROWS_AS(profiler.add(fae::seq, fae::Bags<std::uint32_t>::jagged(
                                                   {two.data(), static_cast<std::size_t>(huge + 2)},
                                                   std::vector<std::uint64_t>{0, huge + 2, huge + 2}, 2)),
                        fae::ContractError);
        CHECK(profiler.inputs_counted() == 1);
    }
}

// Catches a batch of another model being counted.
TEST_CASE("profiler: a wrong number of features is refused") {
    fae::AccessProfiler<> profiler(fae::RowSpace({{5, 2, ""}, {5, 2, ""}}));
    const std::vector<std::uint32_t> values = {1, 2, 3};
    CHECK_THROWS_WITH_AS(profiler.add(fae::seq, fae::Bags<std::uint32_t>::fixed(values, 1, 3)),
                         "the batch has 3 features, expected 2", fae::ContractError);
    profiler.add(fae::seq, fae::Bags<std::uint32_t>());
    CHECK(profiler.inputs_seen() == 0);
}

#if defined(FAE_CHECKED)
// Catches a look-up outside its feature's table, which would be counted in another table or out of bounds.
TEST_CASE("profiler: an index outside its table is named, and nothing is counted") {
    const fae::RowSpace space({{5, 2, ""}, {4, 2, ""}}, {0, 1, 1});
    fae::Threads threads(2);
    for (const std::uint32_t bad : {4u, 9u, 1u << 31}) {
        std::vector<std::uint32_t> values(30000, 0);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 3 == 0 ? 1 : 6;
        values[20002] = bad;
        values[29999] = bad;
        fae::AccessProfiler<> profiler(space);
        const auto bags = fae::Bags<std::uint32_t>::fixed(values, 1, 3);
        CHECK_THROWS_WITH_AS(profiler.add(fae::par(threads), bags),
                             ("values[20002] is " + std::to_string(bad) +
                              ", outside the rows 5 to 8 of table 1 that feature 1 looks up")
                                 .c_str(),
                             fae::IndexError);
        CHECK(profiler.inputs_seen() == 0);
    }
}
#endif
