// SPDX-License-Identifier: Apache-2.0
//
// HomeRoute: batches that train on a compact copy of their rows leave the homes as a plain loop over them
// would.
#include <doctest/doctest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/home_route.cuh"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"
#include "support/compare.hpp"
#include "support/cuda/device_bags.hpp"
#include "support/placement_oracle.hpp"
#include "support/reduced.hpp"

namespace gpu = fae::cuda;
using fae::Heat;
using fae::HotSet;
using fae::OptimizerKind;
using fae::RowSpace;
using fae::Span;
using fae_test::digest_of;

namespace {

using Index = std::uint32_t;
using Home = fae::HotColdTable<float, fae::AllHome<gpu::PinnedSpace>>;
using Placed = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
using Static = fae::HotColdTable<float, Placed>;

FAE_HD float trained(float value, std::uint64_t row) { return value * 0.5f + static_cast<float>(row % 97); }

/// "Trains" each row of the batch once, weights and state.
__global__ void train_rows(fae::RowsView<float> rows, std::size_t values, const Index* ids,
                           const std::uint32_t* count) {
    for (std::uint32_t r = blockIdx.x * blockDim.x + threadIdx.x; r < *count; r += gridDim.x * blockDim.x) {
        for (std::size_t c = 0; c < values; ++c)
            rows.weights_of(r)[c] = trained(rows.weights_of(r)[c], ids[r]);
    }
}

/// What a look-up finds: the row that its located index names.
__global__ void look_up(fae::Bags<Index> located, const Index* ids, Index* found) {
    for (std::size_t i = threadIdx.x; i < located.lookups(); i += blockDim.x) {
        const Index at = located.values()[i];
        found[i] = fae::is_fast(at) ? ids[fae::position_of(at)] : ~Index{0};
    }
}

/// One batch queued on a stream: its look-ups checked, its rows trained.
void step(gpu::On on, const gpu::HomeBatch<float, Index>& batch, std::size_t values, Index* found) {
    look_up<<<1, 256, 0, on.stream>>>(batch.located, batch.index.rows.data(), found);
    gpu::check_launch("look_up");
    train_rows<<<4, 256, 0, on.stream>>>(batch.rows, values, batch.index.rows.data(), batch.index.count);
    gpu::check_launch("train_rows");
}

/// A table's rows by a plain loop over batches.
template <class Table>
void train_plainly(Table& table, const std::vector<Index>& rows) {
    const fae::RowLayout layout = table.layout();
    for (const Index row : std::set<Index>(rows.begin(), rows.end())) {
        const auto record = table.home_record(row);
        for (std::size_t c = 0; c < layout.dim; ++c) record.weights[c] = trained(record.weights[c], row);
        for (std::size_t c = 0; c < layout.state; ++c) record.state[c] = trained(record.state[c], row);
    }
}

}  // namespace

// Would catch a row that is read before it came home, one that is not carried from batch to batch, a look-up
// that finds another row, pieces that are not sent, buffers that are used again too early.
TEST_CASE("cuda home route: batches that share rows leave the homes that a plain loop leaves") {
    fae::Threads threads(4);
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::par(threads));
    const std::size_t large = fae_test::share() == 1 ? 2500 : 150;
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        for (const std::size_t bag_size : {0u, 1u, 3u}) {
            for (const std::size_t samples : {std::size_t{1}, large}) {
                // One feature shares a table where bags are jagged.
                const RowSpace space =
                    bag_size == 0 ? oracle::random_space(6, 9000, 6, 1)
                                  : RowSpace({{4, 6, ""}, {30'000, 6, ""}, {9, 6, ""}, {5000, 6, ""}});
                Home table(space, kind, {});
                Home plain(space, kind, {});
                table.initialise(fae::par(threads), 3);
                plain.initialise(fae::par(threads), 3);
                std::vector<oracle::Inputs> batches;
                std::vector<fae_test::DeviceBags<>> bags;
                std::size_t most = 1;
                for (std::size_t b = 0; b < 7; ++b) {
                    batches.push_back(
                        oracle::random_inputs(space, b == 4 ? samples / 2 : samples, bag_size, b));
                    bags.emplace_back(on, batches.back().bags());
                    most = std::max(most, batches.back().values.size());
                }
                std::vector<fae::Buffer<Index, gpu::DeviceSpace>> found;
                for (const auto& batch : batches) found.emplace_back(batch.values.size());
                gpu::HomeRoute<Home> route(table, most);
                const std::size_t values = table.layout().dim + table.layout().state;
                route.announce(on, {Heat::mixed, bags[0].bags(), nullptr});
                for (std::size_t b = 0; b < batches.size(); ++b) {
                    if (b + 1 < batches.size())
                        route.announce(on, {Heat::mixed, bags[b + 1].bags(), nullptr});
                    const auto batch = route.begin(exec);
                    CHECK(batch.located.samples() == batches[b].bags().samples());
                    step(on, batch, values, found[b].data());
                    route.end(exec);
                    train_plainly(plain, batches[b].values);
                }
                route.finish(exec);
                CHECK(digest_of(table, fae::seq) == digest_of(plain, fae::seq));
                for (std::size_t b = 0; b < batches.size(); ++b) {
                    CHECK(fae_test::from_device<Index>(on, found[b].span()) == batches[b].values);
                }
            }
        }
    }
}

// Would catch a cold batch whose hot rows the fast tier does not get, a gathered batch that is kept over a
// synchronisation, slots taken for rows.
TEST_CASE(
    "cuda home route: cold batches between hot ones, hot ones without a fast tier, evaluations between") {
    fae::Threads threads(4);
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::par(threads));
    const RowSpace space({{4, 6, ""}, {3000, 6, ""}, {9, 6, ""}, {500, 6, ""}});
    const HotSet hot =
        HotSet::from_predicate(fae::seq, space.rows(), [](std::uint64_t r) { return r % 3 != 0; });
    const gpu::DeviceHotSet hot_copy(on, hot);
    Static table(space, OptimizerKind::adagrad, Placed(hot), on);
    Home home(space, OptimizerKind::adagrad, {});
    Home plain(space, OptimizerKind::adagrad, {});
    table.initialise(exec, 3);
    home.initialise(exec, 3);
    plain.initialise(exec, 3);
    gpu::HomeRoute<Static> route(table, 4000);
    gpu::HomeRoute<Home> home_route(home, 4000);
    fae::Buffer<Index, gpu::DeviceSpace> scratch(4000);
    for (std::uint64_t round = 0; round < 3; ++round) {
        // Two cold batches, the second announced and gathered while the first trains; then one evaluation.
        for (const auto use : {gpu::HomeRoute<Static>::Use::train, gpu::HomeRoute<Static>::Use::read}) {
            const bool trains = use == gpu::HomeRoute<Static>::Use::train;
            table.synchronise(exec, Heat::cold);
            const oracle::Inputs first = oracle::random_inputs(space, 700, 1, round);
            const oracle::Inputs second = oracle::random_inputs(space, 300, 1, round + 50);
            const fae_test::DeviceBags<> first_bags(on, first.bags());
            const fae_test::DeviceBags<> second_bags(on, second.bags());
            const auto run = [&](auto& on_route) {
                using Use = typename std::remove_reference_t<decltype(on_route)>::Use;
                on_route.announce(on, {Heat::cold, first_bags.bags(), nullptr});
                on_route.announce(on, {Heat::cold, second_bags.bags(), nullptr});
                for (int b = 0; b < 2; ++b) {
                    const auto batch = on_route.begin(exec);
                    if (trains) {
                        step(on, batch, 12, scratch.data());
                    } else {
                        look_up<<<1, 256, 0, on.stream>>>(batch.located, batch.index.rows.data(),
                                                          scratch.data());
                    }
                    on_route.end(exec, trains ? Use::train : Use::read);
                    if (b == 0) on_route.finish(exec);
                }
                on_route.finish(exec);
            };
            run(route);
            run(home_route);
            if (trains) {
                train_plainly(plain, first.values);
                train_plainly(plain, second.values);
            }
        }
        // A hot batch: on the fast tier of the one table, by way of the homes of the other.
        table.synchronise(exec, Heat::hot);
        std::vector<Index> slots;
        std::vector<Index> rows;
        for (std::uint64_t slot = round; slot < hot.size(); slot += 7) {
            slots.push_back(static_cast<Index>(slot));
            rows.push_back(static_cast<Index>(hot.row_of(slot)));
        }
        slots.resize(slots.size() / 4 * 4);
        rows.resize(slots.size());
        train_plainly(plain, rows);
        const auto values = fae_test::to_device<Index>(on, slots);
        const auto ids = fae_test::to_device<Index>(on, rows);
        const std::vector<std::uint32_t> how_many{static_cast<std::uint32_t>(rows.size())};
        const auto count = fae_test::to_device<std::uint32_t>(on, how_many);
        const fae::Lookups<Index> lookups{Heat::hot, fae::Bags<Index>::fixed(values.span(), 1, 4), &hot};
        fae::Buffer<Index, gpu::DeviceSpace> located(slots.size());
        const auto bags = table.locate(on, 0, lookups, located.span());
        // Row r of the list is slot round + 7 r: a view with that stride.
        fae::RowsView<float> fast = table.source().fast;
        fast.weights += round * fast.stride;
        fast.stride *= 7;
        train_rows<<<4, 256, 0, on.stream>>>(fast, 12, ids.data(), count.data());
        gpu::check_launch("train_rows");
        table.touched(on, bags.values());
        home_route.announce(on, lookups, &hot_copy);
        step(on, home_route.begin(exec), 12, scratch.data());
        home_route.end(exec);
        home_route.finish(exec);
        CHECK(digest_of(home, fae::seq) == digest_of(plain, fae::seq));
    }
    CHECK(digest_of(table, exec) == digest_of(plain, fae::seq));
}

// Would catch calls out of order, batches that are too large, stale homes.
TEST_CASE("cuda home route: misuse is refused, an empty batch is ordinary") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::seq);
    const RowSpace space({{40, 4, ""}});
    Home table(space, OptimizerKind::sgd, {});
    table.initialise(exec, 3);
    gpu::HomeRoute<Home> route(table, 4);
    const auto values = fae_test::to_device<Index>(on, std::vector<Index>{1, 2, 1, 3, 4});
    const auto bags_of = [&](std::size_t n) {
        return fae::Lookups<Index>{Heat::mixed, fae::Bags<Index>::fixed({values.data(), n}, 1, 1), nullptr};
    };
    CHECK_THROWS_WITH_AS((void)route.begin(exec), "no batch is announced, expected announce() first",
                         fae::ContractError);
    CHECK_THROWS_WITH_AS(route.announce(on, bags_of(5)), "the batch has 5 look-ups, expected at most 4",
                         fae::ContractError);
    route.announce(on, bags_of(0));
    route.announce(on, bags_of(4));
    CHECK_THROWS_AS(route.announce(on, bags_of(4)), fae::ContractError);
    CHECK(route.begin(exec).rows.rows == 0);
    CHECK_THROWS_AS((void)route.begin(exec), fae::ContractError);
    CHECK_THROWS_AS(route.finish(exec), fae::ContractError);
    route.end(exec);
    CHECK_THROWS_AS(route.end(exec), fae::ContractError);
    CHECK(route.begin(exec).rows.rows == 3);
    route.end(exec);
    route.finish(exec);

    const HotSet hot = HotSet::from_predicate(fae::seq, space.rows(), [](std::uint64_t r) { return r < 9; });
    Static placed(space, OptimizerKind::sgd, Placed(hot), on);
    placed.initialise(exec, 1);
    placed.synchronise(exec, Heat::hot);
    placed.trained_on_device();
    gpu::HomeRoute<Static> placed_route(placed, 4);
    placed_route.announce(on, bags_of(4));
    CHECK_THROWS_WITH_AS((void)placed_route.begin(exec),
                         "the homes are behind the fast tier, expected synchronise() before this batch",
                         fae::ContractError);
    fae::HotColdTable<float, fae::AllSlots<gpu::DeviceSpace>> slots(space, OptimizerKind::sgd, {}, on);
    CHECK_THROWS_WITH_AS(
        (gpu::HomeRoute<fae::HotColdTable<float, fae::AllSlots<gpu::DeviceSpace>>>(slots, 4)),
        "a table without homes, expected some", fae::ContractError);
}
