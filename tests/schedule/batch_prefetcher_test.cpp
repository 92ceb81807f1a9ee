// SPDX-License-Identifier: Apache-2.0
//
// Batches loaded ahead, each by a std::thread, are those that a loader gives, in the order in which they were
// asked for.
#include "fae/schedule/batch_prefetcher.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "support/law_case.hpp"

using BatchPrefetcher = fae::BatchPrefetcher<>;
using fae_test::LawCase;

namespace {

template <class T>
std::vector<std::remove_const_t<T>> copied(fae::Span<T> values) {
    return {values.begin(), values.end()};
}

void check_equal(const fae::LoadedBatch& found, const fae::LoadedBatch& expected) {
    CHECK(copied(found.labels) == copied(expected.labels));
    CHECK(copied(found.lookups.bags.values()) == copied(expected.lookups.bags.values()));
    CHECK(copied(found.lookups.bags.offsets()) == copied(expected.lookups.bags.offsets()));
    CHECK(found.lookups.heat == expected.lookups.heat);
    CHECK(found.lookups.hot_set == expected.lookups.hot_set);
    REQUIRE(found.dense.rows() == expected.dense.rows());
    bool dense = true;
    for (std::size_t r = 0; r < found.dense.rows(); ++r) {
        dense = dense && std::equal(found.dense.row(r), found.dense.row(r) + found.dense.columns(),
                                    expected.dense.row(r));
    }
    CHECK(dense);
}

fae::ScheduleOptions schedule_of(const LawCase& c, const fae::PackedDataset& data, fae::Order order) {
    return {.hot_inputs = data.hot().inputs(),
            .cold_inputs = data.cold().inputs(),
            .batch_size = c.batch,
            .epochs = 2,
            .seed = 5,
            .order = order};
}

}  // namespace

// Would catch a batch that is handed out early, twice, out of order, or over memory that is used again.
TEST_CASE("batch_prefetcher: batches come whole, in order, and stay while one more is taken") {
    for (const std::size_t most_per_bag : {std::size_t{1}, std::size_t{4}}) {
        for (const fae::Order order : {fae::Order::fae, fae::Order::shuffled}) {
            for (const std::size_t ahead : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
                LawCase c;
                c.most_per_bag = most_per_bag;
                c.budget_share = 0.4;
                const fae::PackedDataset data = prepare(c);
                fae::BatchScheduler scheduler(schedule_of(c, data, order), fae::FixedRate(25));
                fae::BatchScheduler expected_scheduler(schedule_of(c, data, order), fae::FixedRate(25));
                fae::BatchLoader loader(data);
                BatchPrefetcher prefetcher(data, ahead);
                std::uint64_t step = 0;
                const BatchPrefetcher::Batch* before = nullptr;
                const auto take = [&] {
                    const BatchPrefetcher::Batch& found = prefetcher.take();
                    if (before != nullptr) CHECK(before->ref.step + 1 == found.ref.step);
                    fae::BatchRef expected;
                    REQUIRE(expected_scheduler.next(expected));
                    CHECK(found.ref.step == step++);
                    CHECK(found.ref.ends_round == expected.ends_round);
                    CHECK(copied(found.ref.inputs) == copied(expected.inputs));
                    check_equal(found.loaded, loader.load(fae::seq, expected));
                    before = &found;
                };
                for (fae::BatchRef batch; scheduler.next(batch);) {
                    if (prefetcher.waiting() == prefetcher.ahead()) take();
                    prefetcher.push(batch);
                }
                while (prefetcher.waiting() != 0) take();
                fae::BatchRef left;
                CHECK_FALSE(expected_scheduler.next(left));
            }
        }
    }
}

// Would catch columns that go elsewhere than to the memory that was handed in, and a stride that is not kept.
TEST_CASE(
    "batch_prefetcher: batches are loaded into memory of any layout, which is zero between dense rows") {
    struct Memory {
        std::size_t stride;
        fae::HostBatchMemory columns_of;
        std::vector<float> dense;

        [[nodiscard]] fae::BatchColumns columns(const fae::BatchExtent& extent) {
            fae::BatchColumns found = columns_of.columns(extent);
            dense.assign(extent.inputs * stride, 3.0f);
            found.dense = {dense.data(), extent.inputs, extent.dense_features, stride};
            return found;
        }
    };
    for (const std::size_t most_per_bag : {std::size_t{1}, std::size_t{4}}) {
        LawCase c;
        c.most_per_bag = most_per_bag;
        c.budget_share = 0.4;
        const fae::PackedDataset data = prepare(c);
        const std::size_t stride = data.shape().dense_features + 3;
        fae::BatchScheduler scheduler(schedule_of(c, data, fae::Order::shuffled), fae::FixedRate(25));
        fae::BatchLoader loader(data);
        fae::BatchPrefetcher<Memory> prefetcher(data, 2, [&] { return Memory{stride, {}, {}}; });
        for (fae::BatchRef batch; scheduler.next(batch);) {
            prefetcher.push(batch);
            const auto& found = prefetcher.take();
            CHECK(found.loaded.dense.data() == found.memory->dense.data());
            check_equal(found.loaded, loader.load(fae::seq, batch));
            std::size_t between = 0;
            for (std::size_t i = 0; i < found.memory->dense.size(); ++i) {
                const bool is_value = i % stride < data.shape().dense_features;
                between += !is_value && found.memory->dense[i] == 0.0f ? 1u : 0u;
            }
            CHECK(between == 3 * found.loaded.size());
        }
    }
}

// Would catch an exception that ends a thread, and with it the program, or that hits another batch.
TEST_CASE("batch_prefetcher: a batch that cannot be loaded is refused when it is taken, the next is whole") {
    const LawCase c;
    const fae::PackedDataset data = prepare(c);
    const std::vector<std::uint64_t> wrong{data.inputs()};
    const std::vector<std::uint64_t> right{0, 1};
    BatchPrefetcher prefetcher(data, 2);
    fae::BatchRef batch;
    batch.inputs = wrong;
    prefetcher.push(batch);
    batch.inputs = right;
    prefetcher.push(batch);
    CHECK_THROWS_AS(static_cast<void>(prefetcher.take()), fae::ContractError);
    CHECK(prefetcher.take().loaded.size() == 2);
}

// Would catch a destructor that waits for ever, or frees what a thread still reads.
TEST_CASE("batch_prefetcher: it may be given up while batches wait") {
    const LawCase c;
    const fae::PackedDataset data = prepare(c);
    const std::vector<std::uint64_t> inputs{0, 1, 2};
    for (int i = 0; i < 50; ++i) {
        BatchPrefetcher prefetcher(data, 3);
        fae::BatchRef batch;
        batch.inputs = inputs;
        for (int k = 0; k < i % 4; ++k) prefetcher.push(batch);
    }
}

TEST_CASE("batch_prefetcher: one batch too many, and one that was never pushed, are refused") {
    const LawCase c;
    const fae::PackedDataset data = prepare(c);
    const std::vector<std::uint64_t> inputs{0};
    BatchPrefetcher prefetcher(data, 1);
    CHECK_THROWS_WITH_AS(static_cast<void>(prefetcher.take()), "no batch is waiting, expected push() first",
                         fae::ContractError);
    fae::BatchRef batch;
    batch.inputs = inputs;
    prefetcher.push(batch);
    CHECK_THROWS_WITH_AS(prefetcher.push(batch), "1 batches are waiting already, expected take() first",
                         fae::ContractError);
    CHECK_THROWS_WITH_AS(BatchPrefetcher(data, 0), "0 batches ahead, expected at least 1",
                         fae::ContractError);
}
