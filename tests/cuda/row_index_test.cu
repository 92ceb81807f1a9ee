// SPDX-License-Identifier: Apache-2.0
//
// The device's row index and the operations on it at sizes that the plain loops are too slow for, against the
// host's operations.
// Of what nvcc makes of the host's loops, g++ 12 believes that they run past a pointer's range.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Waggressive-loop-optimizations"
#endif

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/embedding_bag.cuh"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "support/cuda/device_workload.cuh"
#include "support/reduced.hpp"

using fae::Bags;
using fae::Pooling;
using fae::Span;
using fae::cuda::RowIndexOptions;
using support::Arena;

namespace {

/// A batch whose values are made by a rule: value(feature, look-up of the batch).
struct Batch {
    template <class Value>
    Batch(std::size_t samples, std::size_t features_of, std::size_t bag_size_of, Value&& value)
        : features(features_of), bag_size(bag_size_of) {
        for (std::size_t i = 0; i < samples * features * bag_size; ++i) {
            values.push_back(static_cast<std::uint32_t>(value(i / bag_size % features, i)));
        }
    }
    [[nodiscard]] Bags<std::uint32_t> bags() const {
        return Bags<std::uint32_t>::fixed(values, bag_size, features);
    }
    std::vector<std::uint32_t> values;
    std::size_t features;
    std::size_t bag_size;
};

/// The host's index as row -> bags, and whether that of the device is the same; in the same order of rows,
/// unless features are apart.
bool is_index_of_host(const Batch& batch, std::uint64_t rows, const RowIndexOptions& options) {
    const Bags<std::uint32_t> bags = batch.bags();
    const bool weighted = options.pooling == Pooling::weighted;
    fae::Buffer<std::byte> space(fae::row_index_scratch<std::uint32_t>(bags.lookups(), options.pooling) + 64);
    fae::Workspace host_space(space.span());
    const fae::RowIndex<std::uint32_t> expected =
        build_row_index(fae::seq, bags, rows, host_space, options.pooling);

    const fae::cuda::On on = Arena::shared().on();
    fae::Workspace workspace = Arena::shared().fresh();
    const auto values = support::to_device(on, workspace, batch.values.data(), batch.values.size());
    const auto index = build_row_index(on, Bags<std::uint32_t>::fixed(values, batch.bag_size, batch.features),
                                       rows, workspace, options);
    const std::uint32_t count = support::to_host(on, index.count, 1)[0];
    if (count != expected.rows.size() || count > index.capacity()) return false;
    const auto found_rows = support::to_host(on, index.rows.data(), count);
    const auto found_begin = support::to_host(on, index.begin.data(), count + 1);
    const auto found_bags = support::to_host(on, index.bags.data(), index.bags.size());
    const auto found_positions =
        support::to_host(on, index.positions.data(), weighted ? index.positions.size() : 0);
    if (options.ordinals) {
        const auto ordinals = support::to_host(on, index.ordinals.data(), index.ordinals.size());
        for (std::size_t i = 0; i < ordinals.size(); ++i) {
            if (ordinals[i] >= count || found_rows[ordinals[i]] != batch.values[i]) return false;
        }
    }
    std::map<std::uint32_t, std::uint32_t> number;
    for (std::uint32_t r = 0; r < count; ++r) number[expected.rows[r]] = r;
    for (std::uint32_t r = 0; r < count; ++r) {
        const auto at = number.find(found_rows[r]);
        if (at == number.end() || (!options.features_apart && at->second != r)) return false;
        const std::uint32_t size = expected.begin[at->second + 1] - expected.begin[at->second];
        if (found_begin[r + 1] - found_begin[r] != size) return false;
        if (!std::equal(found_bags.begin() + found_begin[r], found_bags.begin() + found_begin[r + 1],
                        expected.bags.begin() + expected.begin[at->second])) {
            return false;
        }
        if (weighted && !std::equal(found_positions.begin() + found_begin[r],
                                    found_positions.begin() + found_begin[r + 1],
                                    expected.positions.begin() + expected.begin[at->second])) {
            return false;
        }
    }
    return true;
}

/// A power law with this many rows a feature, popular rows first.
auto power_law(std::uint64_t rows, std::uint64_t seed) {
    return [rows, random = fae::Philox(seed)](std::size_t feature, std::size_t) mutable {
        const double x = std::pow(static_cast<double>(rows), random.uniform());
        return feature * rows + std::min<std::uint64_t>(static_cast<std::uint64_t>(x), rows) - 1;
    };
}

/// backward_step on the device against the host's, all rows of the table compared.
bool steps_as_the_host(const Batch& batch, std::uint64_t rows, std::size_t dim,
                       const RowIndexOptions& options, fae::cuda::SideStream* side) {
    const Bags<std::uint32_t> bags = batch.bags();
    fae::Philox random(dim);
    std::vector<float> table(rows * dim);
    std::vector<float> gradients(bags.size() * dim);
    for (float& x : table) x = static_cast<float>(random.uniform()) - 0.5f;
    for (float& x : gradients) x = static_cast<float>(random.uniform()) - 0.5f;

    const fae::cuda::On on = Arena::shared().on();
    fae::Workspace workspace = Arena::shared().fresh();
    const auto values = support::to_device(on, workspace, batch.values.data(), batch.values.size());
    const auto device_bags = Bags<std::uint32_t>::fixed(values, batch.bag_size, batch.features);
    const auto device_table = support::to_device(on, workspace, table.data(), table.size());
    const auto device_gradients = support::to_device(on, workspace, gradients.data(), gradients.size());
    const fae::RowsView<float> home{device_table.data(), nullptr, dim, 0, 0, rows};
    const auto index = build_row_index(on, device_bags, rows, workspace, options);
    fae::embedding_bag::backward_step(on, fae::Sgd{}, 0.01f, index, device_bags, options.pooling,
                                      {device_gradients.data(), bags.size(), dim},
                                      fae::RowSource<float>{{}, {&home, 1}, {}}, workspace, {.side = side});
    const auto found = support::to_host<float>(on, device_table.data(), table.size());

    fae::Threads threads(8);
    const auto exec = fae::par(threads);
    fae::Buffer<std::byte> space(fae::row_index_scratch<std::uint32_t>(bags.lookups(), options.pooling) +
                                 fae::embedding_bag::backward_step_scratch<float>(
                                     {bags.lookups(), bags.lookups(), bags.size(), dim, options.pooling}) +
                                 64);
    fae::Workspace host_space(space.span());
    const auto host_index = build_row_index(exec, bags, rows, host_space, options.pooling);
    const fae::RowsView<float> host_home{table.data(), nullptr, dim, 0, 0, rows};
    fae::embedding_bag::backward_step(exec, fae::Sgd{}, 0.01f, host_index, bags, options.pooling,
                                      {gradients.data(), bags.size(), dim},
                                      fae::RowSource<float>{{}, {&host_home, 1}, {}}, host_space);
    return oracle::same_bits(found, table);
}

}  // namespace

// Catches: digits that are cut wrongly, a tile that counts what another has, a row that is split or joined at
// the border of tiles, bags out of order.
TEST_CASE("cuda row_index: batches of every kind have the host's index") {
    fae_test::CaseShare cases;
    for (const std::size_t samples : {1u, 31u, 1000u, 1024u, 1025u, 4096u, 4097u, 30'000u}) {
        for (const std::size_t bag_size : {1u, 3u}) {
            for (const std::uint64_t rows : {1ull, 3ull, 255ull, 256ull, 5000ull, 10'000'000ull}) {
                if (!cases.take()) continue;
                const Batch batch(samples, 3, bag_size, power_law(rows, rows + samples));
                for (const bool one_tier : {false, true}) {
                    for (const bool ordinals : {false, true}) {
                        CAPTURE(samples);
                        CAPTURE(bag_size);
                        CAPTURE(rows);
                        RowIndexOptions options{.ordinals = ordinals, .one_tier = one_tier};
                        CHECK(is_index_of_host(batch, 3 * rows, options));
                        options.features_apart = true;
                        CHECK(is_index_of_host(batch, 3 * rows, options));
                    }
                }
            }
        }
    }
}

// Catches: a sort or list that outgrows its counters where all look-ups meet in one row, or none do.
TEST_CASE("cuda row_index: one row millions of times, and millions of rows once") {
    const std::size_t lookups = fae_test::share_of(4'200'003);
    CHECK(is_index_of_host(Batch(lookups, 1, 1, [](auto, auto) { return 6u; }), 7, {.ordinals = true}));
    const auto once = [&](auto, std::size_t i) { return i * 7919 % lookups; };
    CHECK(is_index_of_host(Batch(lookups, 1, 1, once), lookups, {.ordinals = true}));
    CHECK(is_index_of_host(Batch(lookups, 1, 1, power_law(lookups, 3)), lookups, {.one_tier = true}));
}

// Catches: scratch or a tile that is made for the other kind of batch where small batches turn into large
// ones.
TEST_CASE("cuda row_index: batches around the size from which tiles are larger have the host's index") {
    for (const std::size_t lookups : {(1u << 19) - 1, 1u << 19, (1u << 19) + 1}) {
        for (const std::uint64_t rows : {200ull, 60'000ull, 16'000'000ull, 2'000'000'000ull}) {
            CAPTURE(lookups);
            CAPTURE(rows);
            const Batch batch(lookups, 1, 1, power_law(rows, rows + lookups));
            CHECK(is_index_of_host(batch, rows, {.one_tier = true}));
        }
    }
    // Of bags of many look-ups a pair is a word, up to 24 bits of row and 65,536 bags; weighted ones have
    // positions.
    fae_test::CaseShare cases;
    for (const std::size_t bags : {1u << 16, (1u << 16) + 1}) {
        for (const std::size_t bag_size : {8u, 32u}) {
            for (const std::uint64_t rows : {50'000ull, (1ull << 24) - 1, 1ull << 25}) {
                if (!cases.take()) continue;
                CAPTURE(bags);
                CAPTURE(bag_size);
                CAPTURE(rows);
                const Batch batch(bags, 1, bag_size, power_law(rows, rows + bags));
                CHECK(is_index_of_host(batch, rows, {.one_tier = true}));
                CHECK(is_index_of_host(batch, rows, {.pooling = Pooling::weighted}));
            }
        }
    }
    using fae::cuda::row_index_scratch;
    for (const std::uint64_t rows : {200ull, 16'000'000ull}) {
        CHECK(row_index_scratch<std::uint32_t>((1u << 19) - 1, rows) <=
              row_index_scratch<std::uint32_t>(1u << 19, rows));
    }
}

// Catches: levels of the tree's top that are never reached by small batches.
TEST_CASE("cuda backward_step: one row a million times has the host's bits") {
    const Batch batch(fae_test::share_of(1'000'003), 1, 1, [](auto, auto) { return 6u; });
    fae::cuda::SideStream side;
    CHECK(steps_as_the_host(batch, 7, 16, {.one_tier = true}, &side));
    CHECK(steps_as_the_host(batch, 7, 1, {}, nullptr));
}

// Catches: contention between a tiny table and a large one that ends in other bits.
TEST_CASE("cuda backward_step: a table of three rows and one of two million have the host's bits") {
    fae::Philox random(5);
    const Batch batch(fae_test::share_of(16'384), 2, 1, [&](std::size_t feature, auto) {
        return feature == 0 ? random.below(3) : 3 + random.below(2'000'000);
    });
    fae::cuda::SideStream side;
    for (const bool apart : {false, true}) {
        const RowIndexOptions options{.one_tier = true, .features_apart = apart};
        CHECK(steps_as_the_host(batch, 2'000'003, 16, options, &side));
        CHECK(steps_as_the_host(batch, 2'000'003, 16, options, nullptr));
    }
}

// Catches: the same for bags of many rows, where every size class and level is met at once.
TEST_CASE("cuda backward_step: a power law of 1.7 million look-ups has the host's bits") {
    fae::cuda::SideStream side;
    for (const std::size_t dim : {16u, 64u}) {
        const Batch batch(fae_test::share_of(65'536), 1, 26, power_law(500'000, dim));
        CHECK(steps_as_the_host(batch, 500'000, dim, {.one_tier = true}, nullptr));
        CHECK(steps_as_the_host(batch, 500'000, dim, {.one_tier = true}, &side));
    }
}

// Catches: a slice of columns, or rows that a warp holds, that are left out or taken twice where rows are
// wide.
TEST_CASE("cuda backward_step: a power law over wide rows has the host's bits") {
    fae::cuda::SideStream side;
    for (const std::size_t dim : {100u, 128u, 192u, 256u, 260u}) {
        CAPTURE(dim);
        const Batch batch(fae_test::share_of(20'500), 1, 26, power_law(60'000, dim));
        CHECK(steps_as_the_host(batch, 60'000, dim, {.one_tier = true}, &side));
    }
}

// Catches: an operation that waits or allocates, which a capture refuses; a rate that is read when the graph
// is made; a stop that is not seen.
TEST_CASE("cuda backward_step: a captured step reads batch, rate and stop anew at each replay") {
    const fae::cuda::On on = Arena::shared().on();
    fae::Workspace workspace = Arena::shared().fresh();
    const std::vector<std::uint32_t> values = {0, 1, 1, 2};
    const std::vector<float> ones(4 * 4, 1.0f);
    const std::vector<float> zeros(4 * 4, 0.0f);
    auto device_values = support::to_device(on, workspace, values.data(), values.size());
    const auto table = support::to_device(on, workspace, zeros.data(), zeros.size());
    const auto gradients = support::to_device(on, workspace, ones.data(), ones.size());
    const auto rate = workspace.take<float>(1);
    const auto stop = workspace.take<std::uint32_t>(1);
    const auto out = workspace.take<float>(16);
    const auto set = [&](float lr, std::uint32_t stopped) {
        fae::cuda::copy(on, Span<const float>(&lr, 1), rate);
        fae::cuda::copy(on, Span<const std::uint32_t>(&stopped, 1), stop);
        on.synchronise();
    };
    const fae::RowsView<float> home{table.data(), nullptr, 4, 0, 0, 4};
    const fae::RowSource<float> rows{{}, {&home, 1}, {}};
    const auto bags = Bags<std::uint32_t>::fixed(device_values, 1, 1);
    fae::cuda::SideStream side;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    on.synchronise();
    fae::cuda::check(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeThreadLocal), "capture");
    fae::embedding_bag::forward(on, rows, bags, Pooling::sum, {out.data(), 4, 4});
    const auto index = build_row_index(on, bags, 4, workspace);
    fae::embedding_bag::backward_step(on, fae::Sgd{}, rate.data(), index, bags, Pooling::sum,
                                      {gradients.data(), 4, 4}, rows, workspace, {&side, stop.data()});
    fae::cuda::check(cudaStreamEndCapture(on.stream, &graph), "capture");
    fae::cuda::check(cudaGraphInstantiate(&exec, graph, 0), "instantiation");
    const auto replay = [&] {
        fae::cuda::check(cudaGraphLaunch(exec, on.stream), "replay");
        const auto all = support::to_host<float>(on, table.data(), 16);
        return std::vector<float>{all[0], all[4], all[8], all[12]};
    };
    set(1.0f, 0);
    CHECK(replay() == std::vector<float>{-1, -2, -1, 0});
    set(0.5f, 0);
    CHECK(replay() == std::vector<float>{-1.5f, -3, -1.5f, 0});
    CHECK(support::to_host<float>(on, out.data(), 1)[0] == -1.0f);
    set(0.5f, 1);
    CHECK(replay() == std::vector<float>{-1.5f, -3, -1.5f, 0});
    const std::vector<std::uint32_t> others = {3, 3, 3, 3};
    fae::cuda::copy(on, Span<const std::uint32_t>(others), device_values);
    set(1.0f, 0);
    CHECK(replay() == std::vector<float>{-1.5f, -3, -1.5f, -4});
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
}

// Catches: an index over gathered rows that still follows the row ids.
TEST_CASE("cuda backward_step: gathered rows are updated in the order of the index") {
    const fae::cuda::On on = Arena::shared().on();
    fae::Workspace workspace = Arena::shared().fresh();
    const std::vector<std::uint32_t> values = {900, 5, 900, 70};
    const std::vector<float> ones(4 * 4, 1.0f);
    const std::vector<float> zeros(3 * 4, 0.0f);
    const auto device_values = support::to_device(on, workspace, values.data(), values.size());
    const auto gathered = support::to_device(on, workspace, zeros.data(), zeros.size());
    const auto gradients = support::to_device(on, workspace, ones.data(), ones.size());
    const auto bags = Bags<std::uint32_t>::fixed(device_values, 1, 1);
    const auto index = build_row_index(on, bags, 1000, workspace, {.ordinals = true});
    const fae::RowSource<float> rows{{gathered.data(), nullptr, 4, 0, 0, 3}, {}, {}};
    fae::embedding_bag::backward_step(on, fae::Sgd{}, 1.0f, index.over_gathered(), bags, Pooling::sum,
                                      {gradients.data(), 4, 4}, rows, workspace);
    const auto all = support::to_host<float>(on, gathered.data(), 12);
    CHECK(std::vector<float>{all[0], all[4], all[8]} == std::vector<float>{-1, -1, -2});
    CHECK(support::to_host(on, index.ordinals.data(), 4) == std::vector<std::uint32_t>{2, 0, 2, 1});
}

// Catches: an empty batch that is launched, or that leaves a count of an earlier one.
TEST_CASE("cuda: an empty batch has an empty index and changes nothing") {
    const fae::cuda::On on = Arena::shared().on();
    fae::Workspace workspace = Arena::shared().fresh();
    const auto bags = Bags<std::uint32_t>::fixed({}, 1, 2);
    const auto index =
        build_row_index(on, bags, 10, workspace, {.pooling = Pooling::weighted, .ordinals = true});
    CHECK(support::to_host(on, index.count, 1)[0] == 0);
    const fae::RowSource<float> rows;
    fae::embedding_bag::forward(on, rows, bags, Pooling::sum, {nullptr, 0, 16});
    fae::embedding_bag::backward_step(on, fae::Sgd{}, 1.0f, index, bags, Pooling::sum, {nullptr, 0, 16}, rows,
                                      workspace);
    const auto gradients = fae::embedding_bag::backward(on, index, bags, Pooling::sum,
                                                        fae::MatrixView<float>(nullptr, 0, 16), workspace);
    fae::embedding_bag::step(on, fae::Sgd{}, 1.0f, gradients, rows);
    CHECK_NOTHROW(on.synchronise());
}

// Catches: a shape that is not looked at before the device is.
TEST_CASE("cuda: shapes that do not fit are refused with both numbers") {
    const fae::cuda::On on;
    const auto bags = Bags<std::uint32_t>::fixed({}, 1, 2);
    CHECK_THROWS_WITH_AS(
        fae::embedding_bag::forward(on, fae::RowSource<float>{}, bags, Pooling::sum, {nullptr, 7, 16}),
        "out is [7, 16] at stride 16, expected [0, 16]", fae::ContractError);
    std::vector<std::uint32_t> values(4);
    fae::Workspace none;
    CHECK_THROWS_AS(
        static_cast<void>(build_row_index(on, Bags<std::uint32_t>::fixed(values, 1, 2), 10, none)),
        fae::ContractError);
}
