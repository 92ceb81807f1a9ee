// SPDX-License-Identifier: Apache-2.0
//
// What a checked build (FAE_CHECKED) says of look-ups that name no row, and what it leaves as it was.
// Compiled into test_cuda_checked alone.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "fae/cuda/embedding_bag.cuh"
#include "fae/cuda/home_route.cuh"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/table/all_home.hpp"
#include "fae/table/static_placement.hpp"
#include "support/compare.hpp"
#include "support/cuda/device_bags.hpp"
#include "support/cuda/trainer_run.cuh"

namespace gpu = fae::cuda;
using fae::Bags;
using fae::IndexError;
using fae::Pooling;
using fae::Span;
using Index = std::uint32_t;

static_assert(fae::checked, "this file is for a checked build");

namespace {

constexpr std::size_t dim = 4;

/// Rows 0 to 4 at home, slots 0 to 2 in the fast tier, in device memory.
struct Rows {
    gpu::Stream stream;
    gpu::On on = gpu::on(stream);
    fae::Buffer<float, gpu::DeviceSpace> memory =
        fae_test::to_device<float>(on, std::vector<float>(32, 1.0f));
    fae::RowsView<float> home{memory.data(), nullptr, dim, 0, 0, 5};
    fae::RowSource<float> source{{memory.data() + 20, nullptr, dim, 0, 0, 3}, {&home, 1}, {}};

    [[nodiscard]] std::vector<float> content() const {
        return fae_test::from_device<float>(on, memory.span());
    }
};

/// Pools bags of one row each, or what comes of it.
std::vector<float> pool(const Rows& rows, const std::vector<Index>& values) {
    const auto memory = fae_test::to_device<Index>(rows.on, values);
    fae::Buffer<float, gpu::DeviceSpace> out(values.size() * dim);
    fae::embedding_bag::forward(rows.on, rows.source, Bags<Index>::fixed(memory.span(), 1, 1), Pooling::sum,
                                {out.data(), values.size(), dim});
    return fae_test::from_device<float>(rows.on, out.span());
}

constexpr Index slot(Index at) { return fae::fast_bit<Index> | at; }

}  // namespace

// Catches: an index that is not looked at, a bound of the other tier, a message of the host that differs.
TEST_CASE("cuda checked: forward names the bad index, its value and the bound, and forgets it") {
    const Rows rows;
    CHECK_THROWS_WITH_AS((void)pool(rows, {4, 5}), "values[1] is 5, expected less than 5", IndexError);
    CHECK_THROWS_WITH_AS((void)pool(rows, {4, slot(3)}), "values[1] is slot 3, expected less than 3",
                         IndexError);
    CHECK(pool(rows, {4, slot(2), 0}) == std::vector<float>(12, 1.0f));
}

// Catches: whichever thread comes first, a first of one block or warp only, a later batch that takes the
// place.
TEST_CASE("cuda checked: the position named is the first one, of the batch that came first") {
    const Rows rows;
    std::vector<Index> values(300'000, 2);
    for (const std::size_t at : {299'999u, 262'145u, 65'536u, 1025u, 777u}) {
        values[at] = static_cast<Index>(at);
        const std::string said =
            "values[" + std::to_string(at) + "] is " + std::to_string(at) + ", expected less than 5";
        CHECK_THROWS_WITH_AS((void)pool(rows, values), said.c_str(), IndexError);
    }
    const auto second = fae_test::to_device<Index>(rows.on, std::vector<Index>{2, 2, 2, 9});
    const auto third = fae_test::to_device<Index>(rows.on, std::vector<Index>{8, 2, 2, 2});
    fae::Buffer<float, gpu::DeviceSpace> out(16);
    for (const auto* bad : {&second, &third}) {
        fae::embedding_bag::forward(rows.on, rows.source, Bags<Index>::fixed(bad->span(), 1, 1), Pooling::sum,
                                    {out.data(), 4, dim});
    }
    CHECK_THROWS_WITH_AS(rows.on.synchronise(), "values[3] is 9, expected less than 5", IndexError);
    CHECK_NOTHROW(rows.on.synchronise());
}

// Catches: a result that looks like one.
TEST_CASE("cuda checked: a forward pass over a bad index gives NaN, in every way of pooling") {
    const Rows rows;
    const auto values = fae_test::to_device<Index>(rows.on, std::vector<Index>{0, 1, 2, 7});
    const auto weights = fae_test::to_device<float>(rows.on, std::vector<float>{1, 1, 1, 1});
    for (const std::size_t bag_size : {1u, 2u}) {
        for (const Pooling pooling : {Pooling::sum, Pooling::mean, Pooling::weighted}) {
            const auto bags = Bags<Index>::fixed(values.span(), bag_size, 1, weights.span());
            auto out = fae_test::to_device<float>(rows.on, std::vector<float>(bags.size() * dim, 1.0f));
            fae::embedding_bag::forward(rows.on, rows.source, bags, pooling, {out.data(), bags.size(), dim});
            CHECK_THROWS_AS(rows.on.synchronise(), IndexError);
            for (const float x : fae_test::from_device<float>(rows.on, out.span())) CHECK(std::isnan(x));
        }
    }
}

// Catches: a row space that the sort does not look at; an update of some rows, or of all, although one is
// bad.
TEST_CASE("cuda checked: the index and the update name a bad row and change nothing") {
    const Rows rows;
    const auto values = fae_test::to_device<Index>(rows.on, std::vector<Index>{1, 2, 70, 3});
    const auto bags = Bags<Index>::fixed(values.span(), 1, 1);
    const auto gradients = fae_test::to_device<float>(rows.on, std::vector<float>(16, 1.0f));
    fae::Buffer<std::byte, gpu::DeviceSpace> space(1 << 20);
    const std::vector<float> before = rows.content();
    const auto update = [&](std::uint64_t row_space, const auto& optimizer, bool separately) {
        fae::Workspace workspace(space.span());
        const auto index = build_row_index(rows.on, bags, row_space, workspace);
        const fae::MatrixView<const float> gradient(gradients.data(), 4, dim);
        if (separately) {
            const auto found =
                fae::embedding_bag::backward(rows.on, index, bags, Pooling::sum, gradient, workspace);
            fae::embedding_bag::step(rows.on, optimizer, 1.0f, found, rows.source);
        } else {
            fae::embedding_bag::backward_step(rows.on, optimizer, 1.0f, index, bags, Pooling::sum, gradient,
                                              rows.source, workspace);
        }
    };
    for (const bool separately : {false, true}) {
        update(70, fae::Sgd{}, separately);
        CHECK_THROWS_WITH_AS(rows.on.synchronise(), "values[2] is 70, expected less than 70", IndexError);
        update(71, fae::Sgd{}, separately);
        CHECK_THROWS_WITH_AS(rows.on.synchronise(), "rows[3] is 70, expected less than 5", IndexError);
        CHECK(rows.content() == before);
    }
    const auto good = fae_test::to_device<Index>(rows.on, std::vector<Index>{1, 2, 4, 3});
    fae::Workspace workspace(space.span());
    const auto good_bags = Bags<Index>::fixed(good.span(), 1, 1);
    const auto index = build_row_index(rows.on, good_bags, 5, workspace);
    fae::embedding_bag::backward_step(rows.on, fae::Sgd{}, 1.0f, index, good_bags, Pooling::sum,
                                      {gradients.data(), 4, dim}, rows.source, workspace);
    CHECK_NOTHROW(rows.on.synchronise());
    CHECK(rows.content() != before);
}

// Catches: slots and rows that are translated before they are looked at, and what is done with the result.
TEST_CASE("cuda checked: a table names a slot or row that does not exist") {
    using Placed = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::seq);
    const fae::RowSpace space({{40, dim, ""}, {60, dim, ""}});
    const fae::HotSet hot =
        fae::HotSet::from_predicate(fae::seq, space.rows(), [](std::uint64_t r) { return r % 4 == 0; });
    const gpu::DeviceHotSet hot_copy(on, hot);
    fae::HotColdTable<float, Placed> table(space, fae::OptimizerKind::sgd, Placed(hot), on);
    table.initialise(exec, 1);
    const auto values = fae_test::to_device<Index>(on, std::vector<Index>{24, 3, 25, 99, 100, 7});
    const auto bags = Bags<Index>::fixed(values.span(), 1, 2);
    fae::Buffer<Index, gpu::DeviceSpace> located(6);
    table.synchronise(exec, fae::Heat::hot);
    static_cast<void>(table.locate(on, 0, fae::Lookups<Index>{fae::Heat::hot, bags, &hot}, located.span()));
    CHECK_THROWS_WITH_AS(stream.synchronise(), "look-up 2 is 25, expected less than 25", IndexError);
    for (const Index at : fae_test::from_device<Index>(on, located.span())) CHECK(at == ~Index{0});

    gpu::HomeRoute<fae::HotColdTable<float, Placed>> route(table, 6);
    table.synchronise(exec, fae::Heat::cold);
    route.announce(on, {fae::Heat::cold, bags, nullptr});
    CHECK_THROWS_WITH_AS((void)route.begin(exec), "values[4] is 100, expected less than 100", IndexError);
    gpu::HomeRoute<fae::HotColdTable<float, Placed>> hot_route(table, 6);
    hot_route.announce(on, {fae::Heat::hot, bags, &hot}, &hot_copy);
    CHECK_THROWS_WITH_AS((void)hot_route.begin(exec), "look-up 2 is 25, expected less than 25", IndexError);
    fae::HotColdTable<float, Placed> fresh(space, fae::OptimizerKind::sgd, Placed(hot), on);
    fresh.initialise(exec, 1);
    CHECK(fae_test::digest_of(table, exec) == fae_test::digest_of(fresh, exec));
}

// Catches: a check that a captured graph does not hold, a step that trains on garbage, an error that is taken
// for a loss that is not finite.
TEST_CASE("cuda checked: a trainer stops at the step of a bad look-up, rows and layers as they were") {
    for (const std::size_t bag_size : {1u, 0u}) {
        fae_test::TrainerRun run(fae::OptimizerKind::adagrad);
        for (std::uint64_t s = 0; s < 3; ++s) run.step(s, fae_test::HostBatch(150, bag_size, s));
        run.trainer.finish(run.on);
        const std::vector<float> before = run.everything();
        fae_test::HostBatch bad(150, bag_size, 7);
        bad.values[123] = slot(240);
        const auto go_on = [&] {
            run.step(3, bad);
            for (std::uint64_t s = 4; s < 8; ++s) run.step(s, fae_test::HostBatch(150, bag_size, s));
            run.trainer.finish(run.on);
        };
        CHECK_THROWS_WITH_AS(go_on(), "values[123] is slot 240, expected less than 240", IndexError);
        CHECK(fae_test::equal_bits(run.everything(), before));
    }
}
