// SPDX-License-Identifier: Apache-2.0
//
// The forward pass: pooling, in every tier and on every executor.
#include "fae/ops/embedding_bag.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/core/threads.hpp"
#include "support/kernels.hpp"
#include "support/ops_oracle.hpp"

using fae::Bags;
using fae::MatrixView;
using fae::Pooling;
using fae::seq;
using fae::embedding_bag::forward;
using oracle::Choices;
using oracle::Workload;

namespace {

constexpr Pooling poolings[] = {Pooling::sum, Pooling::mean, Pooling::weighted};

template <class T, class Index, class Exec>
std::vector<T> run(const Exec& exec, const Workload<T, Index>& work, Pooling pooling) {
    std::vector<T> out(work.bag_count() * work.dim(), T(7));
    forward(exec, work.source(), work.bags(), pooling,
            MatrixView<T>(out.data(), work.bag_count(), work.dim()));
    return out;
}

template <class T, class Index>
void check_all(const Choices& choices, std::uint64_t seed) {
    const Workload<T, Index> work(choices, seed);
    for (const Pooling pooling : poolings) {
        CAPTURE(static_cast<int>(pooling));
        CHECK(oracle::same_bits(run(seq, work, pooling), oracle::pool(work, pooling)));
    }
}

}  // namespace

// Catches: columns left out at the end of a row, another order of a sum, a contracted product.
TEST_CASE("embedding_bag: every dim pools as the plain loop does") {
    for (const std::size_t dim :
         {1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 15u, 16u, 17u, 24u, 31u, 33u, 64u, 100u, 127u, 1024u, 4096u}) {
        CAPTURE(dim);
        for (const std::size_t bag_size : {0u, 1u, 3u}) {
            CAPTURE(bag_size);
            Choices choices{.dim = dim, .samples = dim > 500 ? 3u : 20u, .bag_size = bag_size};
            check_all<float, std::uint32_t>(choices, dim);
            choices.denormals = true;
            check_all<float, std::uint64_t>(choices, dim);
            check_all<double, std::uint32_t>(choices, dim);
        }
    }
}

// Catches: a row sought in the wrong tier or part, or at the wrong stride.
TEST_CASE("embedding_bag: rows are found in home parts and in the fast tier") {
    for (const bool many_parts : {false, true}) {
        for (const bool interleaved : {false, true}) {
            for (const double fast : {0.0, 0.5, 1.0}) {
                for (const std::size_t bag_size : {0u, 1u, 5u}) {
                    check_all<float, std::uint32_t>({.dim = 12,
                                                     .optimizer = fae::OptimizerKind::adagrad,
                                                     .features = 5,
                                                     .samples = 100,
                                                     .bag_size = bag_size,
                                                     .fast = fast,
                                                     .many_parts = many_parts,
                                                     .interleaved = interleaved},
                                                    17);
                }
            }
        }
    }
}

// Catches: sums that start anew, or are divided twice, where a bag is cut between blocks of look-ups.
TEST_CASE("embedding_bag: bags longer than a block pool as short ones do") {
    for (const std::size_t bag_size : {100u, 255u, 256u, 257u, 1000u}) {
        CAPTURE(bag_size);
        check_all<float, std::uint32_t>({.dim = 19, .features = 2, .samples = 4, .bag_size = bag_size},
                                        bag_size);
    }
}

// Catches: an empty bag that keeps what out held, or takes part in the next one.
TEST_CASE("embedding_bag: an empty bag pools to zeros") {
    std::vector<float> table = {1, 2, 3, 4};
    const fae::RowsView<float> home{table.data(), nullptr, 2, 0, 0, 2};
    const fae::RowSource<float> rows{{}, {&home, 1}, {}};
    const std::vector<std::uint32_t> values = {1, 0};
    const std::vector<float> weights = {1, 1};
    const std::vector<std::uint64_t> offsets = {0, 0, 2, 2, 2};
    for (const Pooling pooling : poolings) {
        std::vector<float> out(8, 9.0f);
        forward(seq, rows, Bags<>::jagged(values, offsets, 1, weights), pooling, {out.data(), 4, 2});
        const float half = pooling == Pooling::mean ? 0.5f : 1.0f;
        CHECK(out == std::vector<float>{0, 0, 4 * half, 6 * half, 0, 0, 0, 0});
    }
    std::vector<float> out(6, 9.0f);
    const std::vector<std::uint64_t> none = {0, 0, 0, 0};
    forward(seq, rows, Bags<>::jagged({}, none, 1), Pooling::sum, {out.data(), 3, 2});
    CHECK(out == std::vector<float>(6, 0.0f));
}

// Catches: many empty bags in a row that outgrow a block.
TEST_CASE("embedding_bag: long runs of empty bags are zeros, and what stands between them is pooled") {
    std::vector<float> table = {1, 2, 3, 4};
    const fae::RowsView<float> home{table.data(), nullptr, 2, 0, 0, 2};
    const fae::RowSource<float> rows{{}, {&home, 1}, {}};
    const std::vector<std::uint32_t> values = {1};
    std::vector<std::uint64_t> offsets(1501, 0);
    for (std::size_t b = 900; b < offsets.size(); ++b) offsets[b] = 1;
    std::vector<float> out(3000, 9.0f);
    forward(seq, rows, Bags<>::jagged(values, offsets, 1), Pooling::sum, {out.data(), 1500, 2});
    std::vector<float> expected(3000, 0.0f);
    expected[899 * 2] = 3;
    expected[899 * 2 + 1] = 4;
    CHECK(out == expected);
}

// Catches: a batch with no bags at all.
TEST_CASE("embedding_bag: an empty batch writes nothing") {
    const std::vector<float> table(16);
    const fae::RowSource<float> rows;
    CHECK_NOTHROW(forward(seq, rows, Bags<>::fixed({}, 1, 1), Pooling::sum, {nullptr, 0, 16}));
}

// Catches: a weight of negative zero, or a first term, that loses its sign.
TEST_CASE("embedding_bag: a sum starts from its first term, signed zeros included") {
    std::vector<float> table = {-0.0f, -0.0f, -0.0f, -0.0f, 5.0f};
    const fae::RowsView<float> home{table.data(), nullptr, 5, 0, 0, 1};
    const fae::RowSource<float> rows{{}, {&home, 1}, {}};
    const std::vector<std::uint32_t> values = {0};
    const std::vector<float> weights = {-0.0f};
    std::vector<float> out(5);
    forward(seq, rows, Bags<>::fixed(values, 1, 1), Pooling::sum, {out.data(), 1, 5});
    CHECK(oracle::same_bits(out, table));
    forward(seq, rows, Bags<>::fixed(values, 1, 1, weights), Pooling::weighted, {out.data(), 1, 5});
    CHECK(oracle::same_bits(out, std::vector<float>{0.0f, 0.0f, 0.0f, 0.0f, -0.0f}));
}

// Catches: results that depend on how bags are dealt to threads.
TEST_CASE("embedding_bag: every number of threads pools the same bits") {
    const Workload<float> work({.dim = 40, .features = 4, .samples = 2000}, 5);
    for (const Pooling pooling : poolings) {
        const std::vector<float> expected = oracle::pool(work, pooling);
        for (std::size_t count = 1; count <= 8; ++count) {
            fae::Threads threads(count);
            CHECK(oracle::same_bits(run(par(threads), work, pooling), expected));
        }
    }
}

// Catches: a stride of out that is taken for its width.
TEST_CASE("embedding_bag: out may be wider than its columns, and its padding stays") {
    const Workload<float> work({.dim = 6, .samples = 9}, 21);
    std::vector<float> out(work.bag_count() * 10, 5.0f);
    forward(seq, work.source(), work.bags(), Pooling::sum,
            MatrixView<float>(out.data(), work.bag_count(), 6, 10));
    const std::vector<float> expected = oracle::pool(work, Pooling::sum);
    for (std::size_t b = 0; b < work.bag_count(); ++b) {
        for (std::size_t c = 0; c < 10; ++c) {
            REQUIRE(out[b * 10 + c] == (c < 6 ? expected[b * 6 + c] : 5.0f));
        }
    }
}

// Catches: a shape that is not looked at; a message without both values.
TEST_CASE("embedding_bag: forward refuses shapes that do not fit") {
    const Workload<float> work({.dim = 6, .samples = 4}, 22);
    std::vector<float> out(work.bag_count() * 16);
    CHECK_THROWS_WITH_AS(forward(seq, work.source(), work.bags(), Pooling::sum, {out.data(), 11, 6}),
                         "out is [11, 6] at stride 6, expected [12, 6]", fae::ContractError);
    CHECK_THROWS_AS(forward(seq, work.source(), work.bags(), Pooling::sum, {out.data(), 12, 16}),
                    fae::ContractError);
    CHECK_THROWS_AS(forward(seq, work.source(), work.bags(), Pooling::sum, {out.data(), 12, 0}),
                    fae::ContractError);
    const auto unweighted = Bags<>::jagged(work.values(), work.offsets(), 3);
    CHECK_THROWS_AS(forward(seq, work.source(), unweighted, Pooling::weighted, {out.data(), 12, 6}),
                    fae::ContractError);
    fae::RowSource<float> partless = work.source();
    partless.feature_part = {};
    CHECK_THROWS_AS(forward(seq, partless, work.bags(), Pooling::sum, {out.data(), 12, 6}),
                    fae::ContractError);
}

// Catches: an index that a checked build does not look at.
TEST_CASE("embedding_bag: a checked forward names the bad index, its value and the bound") {
    if constexpr (fae::checked) {
        std::vector<float> table(20);
        const fae::RowsView<float> home{table.data(), nullptr, 4, 0, 0, 5};
        const fae::RowSource<float> rows{{}, {&home, 1}, {}};
        std::vector<float> out(8);
        const std::vector<std::uint32_t> home_values = {4, 5};
        CHECK_THROWS_WITH_AS(
            forward(seq, rows, Bags<>::fixed(home_values, 1, 1), Pooling::sum, {out.data(), 2, 4}),
            "values[1] is 5, expected less than 5", fae::IndexError);
        const std::vector<std::uint32_t> fast_values = {4, fae::fast_bit<std::uint32_t> | 3};
        CHECK_THROWS_WITH_AS(
            forward(seq, rows, Bags<>::fixed(fast_values, 1, 1), Pooling::sum, {out.data(), 2, 4}),
            "values[1] is slot 3, expected less than 0", fae::IndexError);
    } else {
        MESSAGE("skipped: this build does not check indices (FAE_CHECKED)");
    }
}
