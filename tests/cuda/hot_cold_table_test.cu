// SPDX-License-Identifier: Apache-2.0
//
// HotColdTable with its fast tier on the device, against plain rows and against the host's table.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/table/all_home.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/static_placement.hpp"
#include "support/compare.hpp"
#include "support/cuda/device_bags.hpp"

namespace gpu = fae::cuda;
using fae::Heat;
using fae::HotSet;
using fae::MatrixView;
using fae::OptimizerKind;
using fae::RowId;
using fae::RowSpace;
using fae::RowsView;
using fae::Slot;
using fae::Span;
using fae_test::digest_of;

namespace {

using Index = std::uint32_t;
using Placed = fae::StaticPlacement<gpu::DeviceSpace, gpu::PinnedSpace>;
using Static = fae::HotColdTable<float, Placed>;
using Slots = fae::HotColdTable<float, fae::AllSlots<gpu::DeviceSpace>>;

/// What a step does to a value of a row: any function of both will do.
FAE_HD float trained(float value, std::uint64_t row) { return value * 0.5f + static_cast<float>(row % 97); }

/// "Trains" the rows of located slots, weights and state.
__global__ void train_slots(RowsView<float> fast, std::size_t dim, std::size_t state, const Index* located,
                            const std::uint64_t* rows, std::size_t count) {
    for (std::size_t i = threadIdx.x; i < count; i += blockDim.x) {
        const Slot slot = fae::position_of(located[i]);
        for (std::size_t c = 0; c < dim; ++c)
            fast.weights_of(slot)[c] = trained(fast.weights_of(slot)[c], rows[i]);
        for (std::size_t c = 0; c < state; ++c)
            fast.state_of(slot)[c] = trained(fast.state_of(slot)[c], rows[i]);
    }
}

/// The rows as a plain loop has them.
struct Plain {
    std::size_t dim;
    std::size_t state;
    std::vector<float> values;  // [rows, dim + state]

    template <class Table>
    explicit Plain(Table& table, const auto& exec)
        : dim(table.layout().dim), state(table.layout().state), values(table.space().rows() * (dim + state)) {
        values = read(table, exec);
    }
    void train(RowId row) {
        for (std::size_t c = 0; c < dim + state; ++c) {
            float& value = values[row * (dim + state) + c];
            value = trained(value, row);
        }
    }
    template <class Table>
    [[nodiscard]] std::vector<float> read(Table& table, const auto& exec) const {
        const std::size_t rows = table.space().rows();
        std::vector<RowId> ids(rows);
        std::iota(ids.begin(), ids.end(), RowId{0});
        std::vector<float> weights(rows * dim);
        std::vector<float> states(rows * state);
        table.read_rows(exec, ids, MatrixView<float>(weights.data(), rows, dim),
                        MatrixView<float>(states.empty() ? nullptr : states.data(), rows, state));
        std::vector<float> all;
        for (std::size_t r = 0; r < rows; ++r) {
            all.insert(all.end(), weights.begin() + static_cast<std::ptrdiff_t>(r * dim),
                       weights.begin() + static_cast<std::ptrdiff_t>((r + 1) * dim));
            all.insert(all.end(), states.begin() + static_cast<std::ptrdiff_t>(r * state),
                       states.begin() + static_cast<std::ptrdiff_t>((r + 1) * state));
        }
        return all;
    }
};

HotSet some_hot(const RowSpace& space, double chance, std::uint64_t seed) {
    fae::Philox rng(seed);
    return HotSet::from_predicate(fae::seq, space.rows(), [&](RowId) { return rng.uniform() < chance; });
}

/// A hot step: trains the rows of some slots on the device.
template <class Table>
void hot_step(Table& table, gpu::On on, const HotSet& hot, const std::vector<Index>& slots, Plain& plain) {
    std::vector<std::uint64_t> rows;
    for (const Index slot : slots) {
        rows.push_back(hot.row_of(slot));
        plain.train(rows.back());
    }
    const auto values = fae_test::to_device<Index>(on, slots);
    const auto row_ids = fae_test::to_device<std::uint64_t>(on, rows);
    fae::Buffer<Index, gpu::DeviceSpace> located(slots.size());
    const auto bags =
        table.locate(on, 0, {Heat::hot, fae::Bags<Index>::fixed(values.span(), 1, 1), &hot}, located.span());
    train_slots<<<1, 256, 0, on.stream>>>(table.source().fast, table.layout().dim, table.layout().state,
                                          bags.values().data(), row_ids.data(), slots.size());
    gpu::check_launch("train_slots");
    table.touched(on, bags.values());
    on.synchronise();
}

/// A cold step: trains rows at home.
template <class Table>
void cold_step(Table& table, const auto& exec, const std::vector<Index>& rows, Plain& plain) {
    for (const Index row : rows) {
        plain.train(row);
        for (const RowsView<float>& home : table.homes()) {
            if (row < home.first || row >= home.first + home.rows) continue;
            for (std::size_t c = 0; c < plain.dim; ++c)
                home.weights_of(row)[c] = trained(home.weights_of(row)[c], row);
            for (std::size_t c = 0; c < plain.state; ++c)
                home.state_of(row)[c] = trained(home.state_of(row)[c], row);
        }
    }
    table.touched(exec, Span<const Index>(rows));
}

std::vector<Index> some_of(std::uint64_t count, double chance, std::uint64_t seed) {
    fae::Philox rng(seed);
    std::vector<Index> chosen;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (rng.uniform() < chance) chosen.push_back(static_cast<Index>(i));
    }
    return chosen;
}

}  // namespace

// Would catch rows left behind or moved to the wrong slot or home, state lost, a piece overwritten before it
// was read, rows moved that nobody touched.
TEST_CASE("cuda table: hot and cold segments leave the rows that a plain loop leaves") {
    fae::Threads threads(4);
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::par(threads));
    // 60,000 slots of 272 bytes: two pieces. The others: rows that are padded, and row-wise state.
    struct Case {
        std::uint64_t rows;
        std::uint32_t dim;
        OptimizerKind optimizer;
    };
    for (const Case& c : {Case{90'000, 34, OptimizerKind::adagrad}, Case{5'000, 3, OptimizerKind::sgd},
                          Case{3'000, 16, OptimizerKind::rowwise_adagrad}}) {
        const RowSpace space({{c.rows / 3, c.dim, ""}, {c.rows - c.rows / 3, c.dim, ""}});
        const HotSet hot = some_hot(space, 0.67, c.rows);
        Static table(space, c.optimizer, Placed(hot), on);
        table.initialise(exec, 5);
        Plain plain(table, exec);
        CHECK(table.synchronise(exec, Heat::hot).rows == hot.size());
        CHECK(table.synchronise(exec, Heat::hot).rows == 0);
        CHECK(plain.read(table, exec) == plain.values);
        const std::size_t record = c.dim + fae::state_size(c.optimizer, c.dim);
        for (std::uint64_t round = 0; round < 3; ++round) {
            const double chance = round == 1 ? 0.9 : 0.01;
            const std::vector<Index> slots = some_of(hot.size(), chance, round);
            hot_step(table, on, hot, slots, plain);
            CHECK(plain.read(table, exec) == plain.values);
            const fae::SyncReport down = table.synchronise(exec, Heat::cold);
            CHECK(down.rows == slots.size());
            CHECK(down.bytes == slots.size() * record * sizeof(float));
            CHECK(plain.read(table, exec) == plain.values);
            const std::vector<Index> rows = some_of(space.rows(), chance, round + 10);
            cold_step(table, exec, rows, plain);
            CHECK(plain.read(table, exec) == plain.values);
            const auto with_slot =
                std::count_if(rows.begin(), rows.end(), [&](Index r) { return hot.contains(r); });
            CHECK(table.synchronise(exec, Heat::hot).rows == static_cast<std::uint64_t>(with_slot));
        }
        hot_step(table, on, hot, some_of(hot.size(), 0.1, 77), plain);
        CHECK(table.write_back(exec, fae::SyncExtent::whole).rows == hot.size());
        CHECK(plain.read(table, exec) == plain.values);
    }
}

// Would catch rows drawn otherwise on the device, a digest of other rows or of padding, pieces of the digest
// that do not meet.
TEST_CASE("cuda table: a fresh table has the host's digest under every placement") {
    fae::Threads threads(3);
    const gpu::Stream stream;
    const auto exec = gpu::on(stream, fae::par(threads));
    for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adagrad}) {
        for (const std::uint32_t dim : {1u, 16u, 30u}) {
            const RowSpace space({{5, dim, ""}, {81'000, dim, ""}, {1, dim, ""}});
            fae::HotColdTable<float, fae::AllHome<>> host(space, kind, fae::all_home);
            host.initialise(fae::seq, 9);
            const std::string expected = digest_of(host, fae::seq);
            Slots all(space, kind, fae::AllSlots<gpu::DeviceSpace>(), gpu::on(stream));
            all.initialise(exec, 9);
            CHECK(digest_of(all, exec) == expected);
            const HotSet hot = some_hot(space, 0.3, dim);
            Static placed(space, kind, Placed(hot), gpu::on(stream));
            placed.initialise(exec, 9);
            placed.synchronise(exec, Heat::hot);
            CHECK(digest_of(placed, exec) == expected);
            fae::HotColdTable<float, fae::AllHome<gpu::PinnedSpace>> home(space, kind, {});
            home.initialise(exec, 9);
            CHECK(digest_of(home, exec) == expected);
        }
    }
}

// Would catch a caller's arrays that are not updated, or whose padding is; views with strides of their own.
TEST_CASE("cuda table: a caller's strided arrays serve as homes and are updated in place") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::seq);
    const RowSpace space({{50, 3, ""}, {80, 3, ""}});
    std::vector<float> a(50 * 4, -9.0f);
    std::vector<float> b(80 * 6, -9.0f);
    std::vector<float> a_state(50 * 3, 0.0f);
    std::vector<float> b_state(80 * 5, -7.0f);
    const std::vector<RowsView<float>> homes{{a.data(), a_state.data(), 4, 3, 0, 50},
                                             {b.data(), b_state.data(), 6, 5, 0, 80}};
    const HotSet hot = some_hot(space, 0.5, 1);
    {
        Static table(space, OptimizerKind::adagrad, Placed(hot), homes, on);
        table.initialise(exec, 3);
        Plain plain(table, exec);
        table.synchronise(exec, Heat::hot);
        hot_step(table, on, hot, some_of(hot.size(), 0.5, 2), plain);
        table.synchronise(exec, Heat::cold);
        cold_step(table, exec, some_of(space.rows(), 0.2, 3), plain);
        table.synchronise(exec, Heat::hot);
        hot_step(table, on, hot, some_of(hot.size(), 0.5, 4), plain);
        table.write_back(exec);
        CHECK(plain.read(table, exec) == plain.values);
        for (RowId r = 0; r < space.rows(); ++r) {
            const float* const weights = r < 50 ? &a[r * 4] : &b[(r - 50) * 6];
            const float* const state = r < 50 ? &a_state[r * 3] : &b_state[(r - 50) * 5];
            REQUIRE(std::equal(weights, weights + 3, &plain.values[r * 6]));
            REQUIRE(std::equal(state, state + 3, &plain.values[r * 6 + 3]));
        }
        CHECK(a[3] == -9.0f);
        CHECK(b[5] == -9.0f);
        CHECK(b_state[3] == -7.0f);
    }
    // The ceiling over a caller's homes: filled from them, written back to them.
    Slots all(space, OptimizerKind::adagrad, fae::AllSlots<gpu::DeviceSpace>(), homes, on);
    CHECK(all.synchronise(exec, Heat::hot).rows == space.rows());
    Plain plain(all, exec);
    const HotSet every = HotSet::all(space.rows());
    const gpu::DeviceHotSet copy(on, every);
    const float before = a[0];
    std::vector<Index> located{0, 1};
    const auto values = fae_test::to_device<Index>(on, located);
    const auto ids = fae_test::to_device<std::uint64_t>(on, std::vector<std::uint64_t>{0, 1});
    fae::Buffer<Index, gpu::DeviceSpace> at(2);
    const auto bags = all.locate(on, 0, {Heat::hot, fae::Bags<Index>::fixed(values.span(), 1, 2), &every},
                                 at.span(), &copy);
    train_slots<<<1, 32, 0, on.stream>>>(all.source().fast, 3, 3, bags.values().data(), ids.data(), 2);
    gpu::check_launch("train_slots");
    all.touched(on, bags.values());
    CHECK(all.write_back(exec).rows == 2);
    CHECK(a[0] == trained(before, 0));
}

// Would catch a write that reaches one tier only, or that changes the state it should keep.
TEST_CASE("cuda table: rows that are written are read back on either tier, whatever the placement") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::seq);
    const RowSpace space({{50, 3, ""}, {80, 3, ""}});
    const HotSet hot = some_hot(space, 0.5, 1);
    const auto check = [&](auto& table) {
        table.initialise(exec, 7);
        Plain plain(table, exec);
        table.synchronise(exec, Heat::hot);
        std::vector<RowId> rows{9, 2, 120, 50};
        for (RowId r = 60; r < 80; ++r) rows.push_back(r);
        std::vector<float> weights(rows.size() * 3);
        std::iota(weights.begin(), weights.end(), 1.0f);
        table.write_rows(exec, rows, MatrixView<const float>(weights.data(), rows.size(), 3));
        for (std::size_t i = 0; i < rows.size(); ++i)
            std::copy_n(&weights[i * 3], 3, &plain.values[rows[i] * 4]);
        CHECK(plain.read(table, exec) == plain.values);
        const std::vector<float> state{10};
        table.write_rows(exec, Span<const RowId>(rows.data(), 1),
                         MatrixView<const float>(weights.data(), 1, 3),
                         MatrixView<const float>(state.data(), 1, 1));
        plain.values[rows[0] * 4 + 3] = 10;
        table.synchronise(exec, Heat::cold);
        CHECK(plain.read(table, exec) == plain.values);
        const RowId wrong = space.rows();
        CHECK_THROWS_WITH_AS(
            table.read_rows(exec, Span<const RowId>(&wrong, 1), MatrixView<float>(weights.data(), 1, 3)),
            "row 130, expected less than 130", fae::ContractError);
    };
    Static placed(space, OptimizerKind::rowwise_adagrad, Placed(hot), on);
    check(placed);
    Slots all(space, OptimizerKind::rowwise_adagrad, fae::AllSlots<gpu::DeviceSpace>(), on);
    check(all);
}

// Would catch a batch that trains on stale rows, a cold batch on the fast route, slots of another set taken
// for own.
TEST_CASE("cuda table: batches that their tier cannot serve are refused") {
    const gpu::Stream stream;
    const auto on = gpu::on(stream);
    const auto exec = gpu::on(stream, fae::seq);
    const RowSpace space({{50, 4, ""}, {80, 4, ""}});
    const HotSet hot = some_hot(space, 0.5, 1);
    const HotSet other = some_hot(space, 0.5, 2);
    Static table(space, OptimizerKind::sgd, Placed(hot), on);
    table.initialise(exec, 7);
    const auto values = fae_test::to_device<Index>(on, std::vector<Index>{0, 1});
    fae::Buffer<Index, gpu::DeviceSpace> located(2);
    const auto bags = fae::Bags<Index>::fixed(values.span(), 1, 2);
    const auto try_batch = [&](auto& on_table, Heat heat, const HotSet* set) {
        (void)on_table.locate(on, 0, {heat, bags, set}, located.span());
    };
    CHECK_THROWS_WITH_AS(try_batch(table, Heat::hot, &hot),
                         "the fast tier is behind the homes, expected synchronise() before this batch",
                         fae::ContractError);
    CHECK_THROWS_WITH_AS(try_batch(table, Heat::cold, nullptr),
                         "a batch that is served at home, expected one of the fast route",
                         fae::ContractError);
    table.synchronise(exec, Heat::hot);
    CHECK_NOTHROW(try_batch(table, Heat::hot, &hot));
    CHECK_THROWS_AS(try_batch(table, Heat::hot, &other), fae::ContractError);
    CHECK_THROWS_AS(try_batch(table, Heat::hot, nullptr), fae::ContractError);
    Slots all(space, OptimizerKind::sgd, fae::AllSlots<gpu::DeviceSpace>(), on);
    all.initialise(exec, 7);
    CHECK_THROWS_WITH_AS(try_batch(all, Heat::hot, &hot),
                         "a hot batch without a device copy of its hot set, expected one",
                         fae::ContractError);
    try_batch(all, Heat::mixed, nullptr);
    CHECK(fae_test::from_device<Index>(on, located.span()) ==
          std::vector<Index>{0 | fae::fast_bit<Index>, 1 | fae::fast_bit<Index>});
    const gpu::DeviceHotSet copy(on, hot);
    (void)all.locate(on, 0, {Heat::hot, bags, &hot}, located.span(), &copy);
    CHECK(fae_test::from_device<Index>(on, located.span()) ==
          std::vector<Index>{static_cast<Index>(hot.row_of(0)) | fae::fast_bit<Index>,
                             static_cast<Index>(hot.row_of(1)) | fae::fast_bit<Index>});
}
