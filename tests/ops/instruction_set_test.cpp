// SPDX-License-Identifier: Apache-2.0
//
// Every instruction set gives the bits of every other one.
#include "fae/ops/instruction_set.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fae/core/exec.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "support/kernels.hpp"
#include "support/ops_oracle.hpp"
#include "support/reduced.hpp"

using fae::InstructionSet;
using fae::OptimizerKind;
using fae::Pooling;
using fae::seq;
using oracle::Choices;
using oracle::Workload;
namespace embedding_bag = fae::embedding_bag;

namespace {

/// All that the operations compute from one workload: pooled bags, then rows and states after two steps.
template <class T>
std::vector<T> all_results(const Choices& choices, Pooling pooling, InstructionSet set) {
    Workload<T> work(choices, 11);
    std::vector<T> result(work.bag_count() * work.dim());
    embedding_bag::forward(seq, work.source(), work.bags(), pooling,
                           fae::MatrixView<T>(result.data(), work.bag_count(), work.dim()), set);
    const fae::BackwardShape shape{work.values().size(), work.values().size(), work.bag_count(), work.dim(),
                                   pooling};
    std::vector<std::byte> memory(fae::row_index_scratch<std::uint32_t>(shape.lookups, pooling) +
                                  embedding_bag::backward_scratch<T>(shape) +
                                  embedding_bag::backward_step_scratch<T>(shape) + 64);
    fae::Workspace workspace(memory);
    const auto index = build_row_index(seq, work.bags(), work.rows(), workspace, pooling);
    fae::visit_optimizer(choices.optimizer, [&](auto optimizer) {
        embedding_bag::backward_step(seq, optimizer, T(0.1f), index, work.bags(), pooling, work.grad_out(),
                                     work.source(), workspace, set);
        const auto gradients =
            embedding_bag::backward(seq, index, work.bags(), pooling, work.grad_out(), workspace, set);
        embedding_bag::step(seq, optimizer, T(0.1f), gradients, work.source(), set);
    });
    const std::vector<T> content = work.content();
    result.insert(result.end(), content.begin(), content.end());
    return result;
}

template <class T>
void compare(InstructionSet set) {
    fae_test::CaseShare cases;
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        for (const std::size_t dim : {1u, 2u, 3u, 8u, 15u, 16u, 17u, 24u, 31u, 47u, 64u, 65u, 127u, 130u}) {
            for (const Pooling pooling : {Pooling::sum, Pooling::mean, Pooling::weighted}) {
                for (const bool denormals : {false, true}) {
                    if (!cases.take()) continue;
                    CAPTURE(std::string(fae::name_of(set)));
                    CAPTURE(dim);
                    const Choices choices{.dim = dim,
                                          .optimizer = kind,
                                          .features = 2,
                                          .samples = 90,
                                          .rows = 20,
                                          .denormals = denormals,
                                          .hot = 0.5};
                    CHECK(oracle::same_bits(all_results<T>(choices, pooling, set),
                                            all_results<T>(choices, pooling, InstructionSet::baseline)));
                }
            }
        }
    }
}

}  // namespace

// Catches: a product and a sum that one compiler contracts in one set, lanes that are mixed up, a tail of
// columns that one set forgets.
TEST_CASE("instruction_set: all sets of this machine give the same bits") {
    for (const InstructionSet set : fae::instruction_sets) {
        if (!fae::is_supported(set)) {
            MESSAGE("skipped: this machine does not support " << std::string(fae::name_of(set)));
            continue;
        }
        compare<float>(set);
        compare<double>(set);
    }
}

// Catches: a set that is run on a machine that has none of it.
TEST_CASE("instruction_set: a set that the machine lacks is refused") {
    CHECK(fae::is_supported(InstructionSet::baseline));
    CHECK(fae::is_supported(fae::best_instruction_set()));
    for (const InstructionSet set : fae::instruction_sets) {
        if (fae::is_supported(set)) {
            CHECK_NOTHROW(fae::require_supported(set));
        } else {
            CHECK_THROWS_AS(fae::require_supported(set), fae::ContractError);
        }
    }
}
