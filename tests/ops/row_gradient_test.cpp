// SPDX-License-Identifier: Apache-2.0
//
// The backward pass: row gradients in the canonical order, and the steps that use them.
#include "fae/ops/row_gradient.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/core/threads.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "support/kernels.hpp"
#include "support/ops_oracle.hpp"
#include "support/reduced.hpp"

using fae::Bags;
using fae::InstructionSet;
using fae::MatrixView;
using fae::OptimizerKind;
using fae::Pooling;
using fae::seq;
using oracle::Choices;
using oracle::Workload;
namespace embedding_bag = fae::embedding_bag;

namespace {

constexpr Pooling all_poolings[] = {Pooling::sum, Pooling::mean, Pooling::weighted};
constexpr OptimizerKind kinds[] = {OptimizerKind::sgd, OptimizerKind::adagrad,
                                   OptimizerKind::rowwise_adagrad};

struct Scratch {
    explicit Scratch(std::size_t bytes) : memory(bytes + 64), size(bytes) {}
    fae::Workspace workspace() { return workspace(size); }
    fae::Workspace workspace(std::size_t bytes) {
        const auto skip = (0 - reinterpret_cast<std::uintptr_t>(memory.data())) % 64;
        return fae::Workspace({memory.data() + skip, bytes});
    }
    std::vector<std::byte> memory;
    std::size_t size;
};

/// A row index with the memory it lives in.
template <class Index>
struct OwnedIndex {
    template <class T, class Exec>
    OwnedIndex(const Exec& exec, const Workload<T, Index>& work, Pooling pooling)
        : scratch(fae::row_index_scratch<Index>(work.values().size(), pooling)) {
        fae::Workspace workspace = scratch.workspace();
        index = build_row_index(exec, work.bags(), work.rows(), workspace, pooling);
    }
    Scratch scratch;
    fae::RowIndex<Index> index;
};

template <class T, class Index>
fae::BackwardShape shape_of(const Workload<T, Index>& work, const fae::RowIndex<Index>& index,
                            Pooling pooling) {
    return {index.rows.size(), index.lookups(), work.bag_count(), work.dim(), pooling};
}

/// backward equals the oracle's gradients, row for row.
template <class T, class Index, class Exec>
void check_backward(const Exec& exec, const Workload<T, Index>& work, Pooling pooling,
                    const std::map<Index, std::vector<T>>& expected) {
    const OwnedIndex<Index> owned(exec, work, pooling);
    Scratch scratch(embedding_bag::backward_scratch<T>(shape_of(work, owned.index, pooling)));
    fae::Workspace workspace = scratch.workspace();
    const auto result =
        embedding_bag::backward(exec, owned.index, work.bags(), pooling, work.grad_out(), workspace);
    REQUIRE(result.rows.size() == expected.size());
    std::size_t r = 0;
    for (const auto& [row, gradient] : expected) {
        REQUIRE(result.rows[r] == row);
        const T* const got = result.gradients.row(r++);
        REQUIRE(oracle::same_bits(std::vector<T>(got, got + work.dim()), gradient));
    }
}

/// Fused and separate steps equal the oracle's, padding included.
template <class T, class Index, class Exec>
void check_steps(const Exec& exec, const Choices& choices, std::uint64_t seed, Pooling pooling) {
    const T lr = static_cast<T>(0.03f);
    const T eps = static_cast<T>(1e-8f);
    Workload<T, Index> plain(choices, seed);
    Workload<T, Index> fused(choices, seed);
    Workload<T, Index> separate(choices, seed);
    for (const auto& [row, gradient] : oracle::row_gradients(plain, pooling))
        plain.step(row, lr, eps, gradient);
    fae::visit_optimizer(choices.optimizer, [&](auto optimizer) {
        const OwnedIndex<Index> owned(exec, fused, pooling);
        const fae::BackwardShape shape = shape_of(fused, owned.index, pooling);
        Scratch scratch(embedding_bag::backward_step_scratch<T>(shape));
        fae::Workspace workspace = scratch.workspace();
        embedding_bag::backward_step(exec, optimizer, lr, owned.index, fused.bags(), pooling,
                                     fused.grad_out(), fused.source(), workspace);
        Scratch more(embedding_bag::backward_scratch<T>(shape));
        workspace = more.workspace();
        embedding_bag::step(exec, optimizer, lr,
                            embedding_bag::backward(exec, owned.index, separate.bags(), pooling,
                                                    separate.grad_out(), workspace),
                            separate.source());
    });
    CHECK(oracle::same_bits(fused.content(), plain.content()));
    CHECK(oracle::same_bits(separate.content(), plain.content()));
}

}  // namespace

// Catches: another order of contributions, a lost column, a contracted product, a mean divided at another
// place.
TEST_CASE("row_gradient: every dim and pooling sums as the plain tree does") {
    fae_test::CaseShare cases;
    for (const std::size_t dim : {1u, 2u, 3u, 4u, 7u, 8u, 15u, 16u, 17u, 64u, 127u, 1024u, 4096u}) {
        for (const std::size_t bag_size : {0u, 1u, 4u}) {
            if (!cases.take()) continue;
            CAPTURE(dim);
            CAPTURE(bag_size);
            Choices choices{.dim = dim,
                            .samples = dim > 500 ? 8u : 60u,
                            .bag_size = bag_size,
                            .rows = 12,
                            .denormals = true};
            const Workload<float> work(choices, dim);
            const Workload<double, std::uint64_t> wide(choices, dim);
            for (const Pooling pooling : all_poolings) {
                check_backward(seq, work, pooling, oracle::row_gradients(work, pooling));
                check_backward(seq, wide, pooling, oracle::row_gradients(wide, pooling));
            }
        }
    }
}

// Catches: a tree that is cut wrongly at 64, 64^2 or 64^3 contributions, and pieces of a long row that are
// joined in another order than the tree's.
TEST_CASE("row_gradient: a row of very many contributions is summed as one tree by any number of threads") {
    for (const std::size_t n :
         {63u, 64u, 65u, 128u, 129u, 4095u, 4096u, 4097u, 4161u, 8192u, 100000u, 262144u, 262145u, 300001u}) {
        CAPTURE(n);
        const Workload<float> work(
            {.dim = 3, .features = 1, .samples = n, .bag_size = 1, .rows = 2, .fast = 0, .hot = 1.0}, n);
        for (const Pooling pooling : {Pooling::sum, Pooling::weighted}) {
            const auto expected = oracle::row_gradients(work, pooling);
            REQUIRE(expected.size() == 1);
            check_backward(seq, work, pooling, expected);
            fae::Threads threads(4);
            check_backward(par(threads), work, pooling, expected);
        }
    }
}

// Catches: contributions counted in single precision somewhere, or gradients averaged instead of summed.
TEST_CASE("row_gradient: the tree's value is the sum") {
    Workload<float> work(
        {.dim = 1, .features = 1, .samples = 70000, .bag_size = 1, .rows = 2, .fast = 0, .hot = 1.0}, 4);
    for (float& x : work.gradients()) x = 1.0f;
    check_backward(seq, work, Pooling::sum, {{1u, {70000.0f}}});
}

// Catches: a long row that is left out, or done twice, beside short ones.
TEST_CASE("row_gradient: long rows among short ones, with every number of threads") {
    const Choices choices{
        .dim = 5, .features = 2, .samples = 9000, .bag_size = 2, .rows = 3000, .fast = 0.4, .hot = 0.6};
    const Workload<float> work(choices, 99);
    for (const Pooling pooling : all_poolings) {
        const auto expected = oracle::row_gradients(work, pooling);
        for (std::size_t count = 1; count <= 8; ++count) {
            fae::Threads threads(count);
            check_backward(par(threads), work, pooling, expected);
        }
    }
}

// Catches: fused and separate forms that differ, a state that is not the row's, padding that is written.
TEST_CASE("row_gradient: fused and separate steps equal the plain loop") {
    fae_test::CaseShare cases;
    for (const OptimizerKind kind : kinds) {
        for (const std::size_t dim : {1u, 2u, 3u, 15u, 16u, 17u, 33u, 64u, 127u}) {
            for (const bool interleaved : {false, true}) {
                for (const bool many_parts : {false, true}) {
                    if (!cases.take()) continue;
                    CAPTURE(static_cast<int>(kind));
                    CAPTURE(dim);
                    const Choices choices{.dim = dim,
                                          .optimizer = kind,
                                          .samples = 40,
                                          .bag_size = dim % 2 == 0 ? 0u : 2u,
                                          .rows = 15,
                                          .many_parts = many_parts,
                                          .interleaved = interleaved,
                                          .denormals = dim % 3 == 0};
                    for (const Pooling pooling : all_poolings) {
                        check_steps<float, std::uint32_t>(seq, choices, dim, pooling);
                        check_steps<double, std::uint64_t>(seq, choices, dim, pooling);
                    }
                }
            }
        }
        for (const std::size_t dim : {1024u, 4096u}) {
            check_steps<float, std::uint32_t>(seq, {.dim = dim, .optimizer = kind, .samples = 5, .rows = 4},
                                              dim, Pooling::sum);
        }
    }
}

// Catches: steps of long rows that are taken piece by piece, or that depend on the threads.
TEST_CASE("row_gradient: steps of long rows are equal for every number of threads") {
    for (const OptimizerKind kind : kinds) {
        const Choices choices{.dim = 4,
                              .optimizer = kind,
                              .features = 2,
                              .samples = 8000,
                              .bag_size = 2,
                              .rows = 900,
                              .hot = 0.7};
        for (const std::size_t count : {1u, 2u, 5u, 8u}) {
            fae::Threads threads(count);
            check_steps<float, std::uint32_t>(par(threads), choices, 3, Pooling::weighted);
            check_steps<float, std::uint32_t>(par(threads), choices, 4, Pooling::mean);
        }
    }
}

// Catches: random combinations that none of the cases above thought of.
TEST_CASE("row_gradient: random workloads step as the plain loop does") {
    fae::Philox random(2024);
    fae::Threads threads(3);
    for (int round = 0; round < static_cast<int>(fae_test::share_of(60)); ++round) {
        Choices choices;
        choices.dim = 1 + random.below(70);
        choices.optimizer = kinds[random.below(3)];
        choices.features = 1 + random.below(5);
        choices.samples = random.below(60);
        choices.bag_size = random.below(4);
        choices.rows = 2 + random.below(60);
        choices.slots = 1 + random.below(30);
        choices.fast = random.uniform();
        choices.hot = random.uniform();
        choices.many_parts = random.below(2) == 0;
        choices.interleaved = random.below(2) == 0;
        choices.denormals = random.below(2) == 0;
        CAPTURE(round);
        const Pooling pooling = all_poolings[random.below(3)];
        check_steps<float, std::uint32_t>(seq, choices, random.bits64(), pooling);
        check_steps<float, std::uint64_t>(par(threads), choices, random.bits64(), pooling);
    }
}

// Catches: an empty batch that is refused, or touches a row.
TEST_CASE("row_gradient: an empty batch changes nothing") {
    for (const Pooling pooling : all_poolings) {
        check_steps<float, std::uint32_t>(seq, {.samples = 0}, 1, pooling);
    }
}

// Catches: scratch that is measured too small, or a workspace that is not checked.
TEST_CASE("row_gradient: the scratch is exactly enough") {
    const Workload<float> work(
        {.dim = 5, .features = 1, .samples = 9000, .bag_size = 2, .rows = 20, .hot = 0.7}, 1);
    fae::Threads threads(2);
    for (const Pooling pooling : all_poolings) {
        const OwnedIndex<std::uint32_t> owned(seq, work, pooling);
        const fae::BackwardShape shape = shape_of(work, owned.index, pooling);
        const std::size_t bytes = embedding_bag::backward_scratch<float>(shape);
        Scratch scratch(bytes);
        fae::Workspace workspace = scratch.workspace(bytes);
        static_cast<void>(embedding_bag::backward(par(threads), owned.index, work.bags(), pooling,
                                                  work.grad_out(), workspace));
        CHECK(workspace.left() == 0);
        workspace = scratch.workspace(bytes - 1);
        CHECK_THROWS_AS(static_cast<void>(embedding_bag::backward(par(threads), owned.index, work.bags(),
                                                                  pooling, work.grad_out(), workspace)),
                        fae::ContractError);
        const std::size_t step_bytes = embedding_bag::backward_step_scratch<float>(shape);
        workspace = scratch.workspace(step_bytes);
        embedding_bag::backward_step(par(threads), fae::Sgd{}, 0.1f, owned.index, work.bags(), pooling,
                                     work.grad_out(), work.source(), workspace);
        CHECK(workspace.left() == 0);
        workspace = scratch.workspace(step_bytes - 1);
        CHECK_THROWS_AS(embedding_bag::backward_step(par(threads), fae::Sgd{}, 0.1f, owned.index, work.bags(),
                                                     pooling, work.grad_out(), work.source(), workspace),
                        fae::ContractError);
    }
}

// Catches: arguments that do not belong together and are not looked at.
TEST_CASE("row_gradient: backward and steps refuse what does not fit") {
    const Workload<float> work({.dim = 5}, 1);
    const OwnedIndex<std::uint32_t> owned(seq, work, Pooling::sum);
    const std::vector<std::uint32_t> other(work.values().size() + 1);
    Scratch scratch(1 << 20);
    fae::Workspace workspace = scratch.workspace();
    const auto run = [&](const Bags<>& bags, Pooling pooling, MatrixView<const float> grad_out) {
        workspace = scratch.workspace();
        static_cast<void>(embedding_bag::backward(seq, owned.index, bags, pooling, grad_out, workspace));
    };
    CHECK_NOTHROW(run(work.bags(), Pooling::sum, work.grad_out()));
    CHECK_THROWS_AS(run(Bags<>::fixed(other, 1, 1), Pooling::sum, work.grad_out()), fae::ContractError);
    CHECK_THROWS_AS(run(work.bags(), Pooling::weighted, work.grad_out()), fae::ContractError);
    CHECK_THROWS_AS(run(work.bags(), Pooling::sum, {work.grad_out().data(), work.bag_count() - 1, 5}),
                    fae::ContractError);
    // The source has no state, so only SGD may step it.
    workspace = scratch.workspace();
    CHECK_THROWS_AS(embedding_bag::backward_step(seq, fae::Adagrad{}, 0.1f, owned.index, work.bags(),
                                                 Pooling::sum, work.grad_out(), work.source(), workspace),
                    fae::ContractError);
}

// Catches: a row that a checked build does not look at.
TEST_CASE("row_gradient: a checked step names the bad row, its value and the bound") {
    if constexpr (fae::checked) {
        std::vector<float> table(8);
        const fae::RowsView<float> home{table.data(), nullptr, 4, 0, 0, 2};
        const fae::RowSource<float> rows{{}, {&home, 1}, {}};
        const std::vector<std::uint32_t> values = {1, 2};
        const auto bags = Bags<>::fixed(values, 1, 1);
        Scratch scratch(fae::row_index_scratch<std::uint32_t>(values.size()) +
                        embedding_bag::backward_step_scratch<float>({2, 2, 2, 4, Pooling::sum}));
        fae::Workspace workspace = scratch.workspace();
        const auto index = build_row_index(seq, bags, 3, workspace);
        const std::vector<float> gradients(8);
        CHECK_THROWS_WITH_AS(embedding_bag::backward_step(seq, fae::Sgd{}, 0.1f, index, bags, Pooling::sum,
                                                          {gradients.data(), 2, 4}, rows, workspace),
                             "rows[1] is 2, expected less than 2", fae::IndexError);
    } else {
        MESSAGE("skipped: this build does not check indices (FAE_CHECKED)");
    }
}
