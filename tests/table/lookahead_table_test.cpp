// SPDX-License-Identifier: Apache-2.0
//
// HotColdTable under the look-ahead placement, both tiers in host memory: whatever the schedule, the window
// and the look-ahead, its rows end as under all_slots, weights and state, bit for bit.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/random.hpp"
#include "fae/core/threads.hpp"
#include "fae/table/all_slots.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_placement.hpp"
#include "support/kernels.hpp"
#include "support/lookahead_oracle.hpp"
#include "support/reduced.hpp"

using namespace fae;
using namespace fae_test;

namespace {

constexpr std::uint32_t dim = 5;

/// Trains the rows of a case and gives what they end in. The gradient of a bag depends on what was pooled, so
/// a row that was stale once ends in other bits.
template <Executor E, Placement P>
std::string trained(const E& exec, const LookaheadCase& c, OptimizerKind kind, P placement) {
    HotColdTable<float, P> table(RowSpace({{c.rows, dim, "rows"}}), kind, std::move(placement));
    table.initialise(exec, 3);
    table.synchronise(exec, Heat::mixed);
    std::uint64_t step = 0;
    for (const Batch& batch : c.batches) {
        const std::size_t n = batch.size();
        std::vector<std::uint32_t> located(n);
        const Bags<std::uint32_t> bags =
            table.locate(exec, step, lookups_of(batch), Span<std::uint32_t>(located));
        std::vector<float> pooled(n * dim);
        embedding_bag::forward(exec, table.source(), bags, Pooling::sum,
                               MatrixView<float>(pooled.data(), n, dim));
        for (std::size_t i = 0; i < pooled.size(); ++i) {
            const auto noise = static_cast<float>(mix64(step * 8191 + i) % 1024) / 1024.0f;
            pooled[i] = 0.25f * pooled[i] + (noise - 0.5f);
        }
        Buffer<std::byte> scratch(
            table.template backward_step_scratch<std::uint32_t>(n, bags.size(), Pooling::sum));
        Workspace workspace(scratch.span());
        visit_optimizer(kind, [&](auto optimizer) {
            table.backward_step(exec, optimizer, 0.1f, bags, Pooling::sum,
                                MatrixView<const float>(pooled.data(), n, dim), workspace);
        });
        // What a host reads or saves in the middle of training must not disturb it.
        if (++step % 16 == 0) table.write_back(exec);
    }
    Digest digest;
    table.add_to(exec, digest);
    return digest.hex();
}

}  // namespace

// Catches: rows that leave without their state, that come back before they are home, that are at home and in
// a slot at once, a batch larger than the window whose last rows are lost, a write-back that forgets a row of
// the window.
TEST_CASE("look-ahead table: adversarial schedules end in the bits of all slots for every optimizer") {
    Threads threads(2);
    CaseShare cases;
    for (const OptimizerKind kind :
         {OptimizerKind::sgd, OptimizerKind::adagrad, OptimizerKind::rowwise_adagrad}) {
        std::size_t number = 0;
        for (LookaheadCase& c : adversarial_cases()) {
            CAPTURE(number++);
            CAPTURE(static_cast<int>(kind));
            const std::string expected = trained(seq, c, kind, all_slots);
            LookaheadCase unlike = c;
            unlike.batches.pop_back();
            REQUIRE(trained(seq, unlike, kind, all_slots) != expected);
            const HotSet hot = c.hot_set();
            const HotSet none = HotSet::none(c.rows);
            for (const HotSet* resident : {&hot, &none}) {
                for (const std::uint64_t window : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{9},
                                                   c.rows / 2, c.rows - resident->size()}) {
                    for (const std::uint64_t lookahead : {1u, 2u, 8u, 64u}) {
                        if (!cases.take()) continue;
                        CAPTURE(resident->size());
                        CAPTURE(window);
                        CAPTURE(lookahead);
                        LookaheadOptions options = c.options;
                        options.window = window;
                        options.lookahead = lookahead;
                        CHECK(trained(seq, c, kind, LookaheadPlacement<>(*resident, options)) == expected);
                        CHECK(trained(par(threads), c, kind, LookaheadPlacement<>(*resident, options)) ==
                              expected);
                    }
                }
            }
        }
    }
}
