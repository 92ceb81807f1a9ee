// SPDX-License-Identifier: Apache-2.0
//
// The update rules, one row at a time, and the choice among them at run time.
#include "fae/ops/optimizer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/ops_oracle.hpp"

using fae::OptimizerKind;

namespace {

template <class T>
void check_rule(OptimizerKind kind, std::size_t dim, bool denormals) {
    fae::Philox random(dim, static_cast<std::uint64_t>(kind));
    const auto numbers = [&](std::size_t n, bool positive) {
        std::vector<T> result(n);
        for (T& x : result) {
            x = static_cast<T>(random.normal());
            if (positive) x = std::abs(x);
            if (denormals && random.below(2) == 0) x *= std::numeric_limits<T>::min();
        }
        return result;
    };
    std::vector<T> w = numbers(dim, false);
    std::vector<T> s = numbers(fae::state_size(kind, dim), true);
    std::vector<T> expected_w = w;
    std::vector<T> expected_s = s;
    for (int step = 0; step < 3; ++step) {
        const std::vector<T> g = numbers(dim, false);
        const T lr = static_cast<T>(0.05);
        fae::visit_optimizer(
            kind, [&](auto optimizer) { fae::update_row(optimizer, lr, w.data(), s.data(), g.data(), dim); });
        oracle::update(kind, lr, static_cast<T>(1e-8f), expected_w, expected_s, g);
    }
    CHECK(oracle::same_bits(w, expected_w));
    CHECK(oracle::same_bits(s, expected_s));
}

}  // namespace

// Catches: another order of a sum over columns, a contracted product, eps inside the root.
TEST_CASE("optimizer: each rule equals its plain loop to the bit") {
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        for (const std::size_t dim : {1u, 2u, 3u, 15u, 16u, 17u, 31u, 32u, 33u, 64u, 127u, 1024u, 4096u}) {
            for (const bool denormals : {false, true}) {
                CAPTURE(dim);
                CAPTURE(denormals);
                check_rule<float>(kind, dim, denormals);
                check_rule<double>(kind, dim, denormals);
            }
        }
    }
}

// Catches: a mean of squares computed as a product with 1/dim that is contracted into the sum, which differs
// where the quotient is a denormal.
TEST_CASE("optimizer: row-wise Adagrad rounds the mean of squares before it adds it") {
    float w[16] = {};
    float g[16] = {};
    float s = 0x1p-149f;
    g[0] = 0x1p-73f;  // squared and divided by 16: 2^-150, a tie that rounds to zero
    fae::update_row(fae::RowwiseAdagrad{}, 0.1f, w, &s, g, 16);
    CHECK(s == 0x1p-149f);
    g[0] = 0x1.8p-73f;  // 2.25 * 2^-150 rounds to 2^-149
    fae::update_row(fae::RowwiseAdagrad{}, 0.1f, w, &s, g, 16);
    CHECK(s == 0x1p-148f);
}

// Catches: a kind that visits another rule, or a state of the wrong size.
TEST_CASE("optimizer: a kind names its rule and its state") {
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        CHECK(fae::visit_optimizer(kind, [](auto optimizer) { return optimizer.kind; }) == kind);
    }
    CHECK(fae::state_size(OptimizerKind::sgd, 16) == 0);
    CHECK(fae::state_size(OptimizerKind::adagrad, 16) == 16);
    CHECK(fae::state_size(OptimizerKind::rowwise_adagrad, 16) == 1);
    const float eps = fae::visit_optimizer(
        OptimizerKind::adagrad,
        [](auto optimizer) {
            if constexpr (requires { optimizer.eps; }) return optimizer.eps;
            return 0.0f;
        },
        0.5f);
    CHECK(eps == 0.5f);
}
