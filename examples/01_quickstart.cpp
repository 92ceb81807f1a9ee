// SPDX-License-Identifier: Apache-2.0
//
// Quickstart: from inputs to embedding rows trained in two tiers. The dense model is whatever you have; here
// the gradient of each pooled vector is the vector itself, which shrinks all rows.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fae/fae.hpp>
#include <vector>

using namespace fae;

int main() {
    Threads threads;
    const auto exec = par(threads);
    const Dataset data = SyntheticSource(synthetic_small(), 1).generate(exec, 0, 50'000);
    const RowSpace space = data.shape.row_space(16);

    AccessProfiler<> profiler(space);  // which rows are touched, and how often
    profiler.add(exec, data.bags());
    const AccessProfile<> profile = profiler.finish();
    CalibrationOptions options;  // 64 KiB of rows of 64 bytes
    options.budget_bytes = 64 << 10;
    options.row_bytes = 64;
    const HotSet hot = calibrate(exec, profile, options).hot_set;
    const Classification classes = classify(exec, hot, space, data.bags());

    HotColdTable<float, StaticPlacement<>> table(space, OptimizerKind::sgd, static_placement(hot));
    table.initialise(exec, 1);
    ScheduleOptions order;
    order.hot_inputs = classes.hot_inputs.ones();
    order.cold_inputs = data.inputs() - order.hot_inputs;
    BatchScheduler<FixedRate> scheduler(order, FixedRate(50));
    std::uint64_t batches[2] = {0, 0};
    for (BatchRef batch; scheduler.next(batch);) {
        if (batch.begins_segment) table.synchronise(exec, batch.heat);
        const bool is_hot = batch.heat == Heat::hot;
        std::vector<std::uint32_t> values;  // the look-ups of the batch: slots if it is hot, else row ids
        const Bags<std::uint32_t> all = is_hot ? classes.hot_bags() : classes.cold_bags();
        for (const std::uint64_t input : batch.inputs) {
            const std::size_t first = static_cast<std::size_t>(input) * space.features();
            for (std::size_t f = 0; f < space.features(); ++f) values.push_back(all.values()[first + f]);
        }
        std::vector<std::uint32_t> located(values.size());
        std::vector<float> pooled(values.size() * 16);
        const Lookups<std::uint32_t> lookups{batch.heat,
                                             Bags<std::uint32_t>::fixed(values, 1, space.features()), &hot};
        const Bags<std::uint32_t> bags =
            table.locate(exec, batch.step, lookups, Span<std::uint32_t>(located));
        const MatrixView<float> out(pooled.data(), bags.size(), 16);
        embedding_bag::forward(exec, table.source(), bags, Pooling::sum, out);
        // Your model turns `pooled` into its gradient here.
        Buffer<std::byte> scratch(table.backward_step_scratch(bags.lookups(), bags.size(), Pooling::sum));
        Workspace workspace(scratch.span());
        table.backward_step(exec, Sgd{}, 0.01f, bags, Pooling::sum, MatrixView<const float>(out), workspace);
        ++batches[is_hot ? 0 : 1];
    }
    table.write_back(exec);
    std::printf("%llu hot and %llu cold batches, %llu of %llu rows hot\n",
                static_cast<unsigned long long>(batches[0]), static_cast<unsigned long long>(batches[1]),
                static_cast<unsigned long long>(hot.size()), static_cast<unsigned long long>(hot.rows()));
}
