// SPDX-License-Identifier: Apache-2.0
//
// The host's embedding operations against the plain loops: tests/parity/embedding_bag.inc, which the device's
// meet too.
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/workspace.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "support/kernels.hpp"
#include "support/ops_oracle.hpp"
#include "support/reduced.hpp"

namespace embedding_bag = fae::embedding_bag;
using fae::Pooling;
using fae::seq;
using Element = float;
using Index = std::uint32_t;
using Work = oracle::Workload<Element, Index>;

namespace {

/// An index and room for what follows.
struct Step {
    Step(const Work& work, Pooling pooling)
        : bags(work.bags()),
          scratch(fae::row_index_scratch<Index>(bags.lookups(), pooling) +
                  embedding_bag::backward_scratch<Element>(
                      {bags.lookups(), bags.lookups(), bags.size(), work.dim(), pooling}) +
                  fae::workspace_alignment),
          workspace(scratch.span()),
          index(build_row_index(seq, bags, work.rows(), workspace, pooling)) {}
    fae::Bags<Index> bags;
    fae::Buffer<std::byte> scratch;
    fae::Workspace workspace;
    fae::RowIndex<Index> index;
};

struct Backend {
    static inline const std::uint64_t workloads = fae_test::share_of(200);
    static std::vector<Element> pool(const Work& work, Pooling pooling) {
        std::vector<Element> out(work.bag_count() * work.dim(), 7);
        embedding_bag::forward(seq, work.source(), work.bags(), pooling,
                               {out.data(), work.bag_count(), work.dim()});
        return out;
    }
    static std::map<Index, std::vector<Element>> gradients(const Work& work, Pooling pooling) {
        Step step(work, pooling);
        const auto found =
            embedding_bag::backward(seq, step.index, step.bags, pooling, work.grad_out(), step.workspace);
        std::map<Index, std::vector<Element>> result;
        for (std::size_t r = 0; r < found.rows.size(); ++r) {
            const Element* const row = found.gradients.row(r);
            result[found.rows[r]].assign(row, row + work.dim());
        }
        return result;
    }
    template <class O>
    static void backward_step(Work& work, const O& optimizer, Element lr, Pooling pooling) {
        Step step(work, pooling);
        embedding_bag::backward_step(seq, optimizer, lr, step.index, step.bags, pooling, work.grad_out(),
                                     work.source(), step.workspace);
    }
    template <class O>
    static void backward_then_step(Work& work, const O& optimizer, Element lr, Pooling pooling) {
        Step step(work, pooling);
        const auto found =
            embedding_bag::backward(seq, step.index, step.bags, pooling, work.grad_out(), step.workspace);
        embedding_bag::step(seq, optimizer, lr, found, work.source());
    }

  private:
};

}  // namespace

#include "parity/embedding_bag.inc"

TEST_CASE("embedding_bag parity: random batches pool to the bits of the plain loop") {
    parity::pools_as_the_loop();
}
TEST_CASE("embedding_bag parity: the row gradients of random batches are those of the plain loop") {
    parity::sums_as_the_loop();
}
TEST_CASE("embedding_bag parity: random batches update rows and states to the bits of the plain loop") {
    parity::updates_as_the_loop();
}
TEST_CASE("embedding_bag parity: rows of many contributions are summed as the law's tree") {
    parity::sums_as_the_tree();
}
TEST_CASE(
    "embedding_bag parity: rows of 1,000 and 4,096 columns pool and update to the bits of the plain loop") {
    parity::wide_rows_as_the_loop();
}
