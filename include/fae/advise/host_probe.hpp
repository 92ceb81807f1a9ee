// SPDX-License-Identifier: Apache-2.0
//
// A probe of the host: in a few seconds, what look-ups, updates, moves between tiers and the gathering of
// mini-batches take, by the very operations that training uses. The dense model is measured by who has it.
//
//   MachineRates rates = probe_host(par(threads), {.dim = 16, .optimizer = OptimizerKind::sgd});
//   rates.dense.push_back(...);
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "fae/advise/rates.hpp"
#include "fae/calibrate/hot_set.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/random.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/io/prepare.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_scheduler.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "fae/table/static_placement.hpp"

namespace fae::inline FAE_ABI {

/// What is probed, and how long.
struct HostProbe {
    std::uint32_t dim = 16;
    OptimizerKind optimizer = OptimizerKind::sgd;
    std::size_t batch = 1024;
    std::size_t features = 26;
    std::size_t dense_features = 13;
    /// Bytes of rows that look-ups are spread over, ascending; the last one is allocated twice.
    std::vector<std::uint64_t> working_bytes{std::uint64_t{1} << 18, std::uint64_t{1} << 20,
                                             std::uint64_t{1} << 22, std::uint64_t{1} << 24,
                                             std::uint64_t{1} << 26, std::uint64_t{1} << 28};
    std::size_t repetitions = 9;  ///< of each measurement, whose median counts
    /// Seconds since any fixed moment; std::chrono::steady_clock if empty.
    std::function<double()> clock{};
};

/// Runs pieces of work and takes the median of their times.
class Stopwatch {
  public:
    explicit Stopwatch(const HostProbe& probe) : clock_(probe.clock), repetitions_(probe.repetitions) {
        if (!clock_) {
            clock_ = [] {
                return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                    .count();
            };
        }
    }

    [[nodiscard]] double now() const { return clock_(); }

    /// The median seconds of f(i), i counting up; f(0) is run once more before, to warm up.
    template <class F>
    [[nodiscard]] double median(F&& f) const {
        f(std::size_t{0});
        std::vector<double> seconds;
        for (std::size_t i = 0; i < std::max<std::size_t>(repetitions_, 1); ++i) {
            const double start = clock_();
            f(i);
            seconds.push_back(clock_() - start);
        }
        std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                         seconds.end());
        return seconds[seconds.size() / 2];
    }

  private:
    std::function<double()> clock_;
    std::size_t repetitions_;
};

namespace detail {

/// Rows of `features` equal tables, three in four of them hot, and batches that look them up at random.
template <Executor E>
class RowProbe {
  public:
    RowProbe(const E& exec, const HostProbe& probe)
        : exec_(exec),
          probe_(probe),
          watch_(probe),
          record_bytes_(row_layout(probe.dim, state_size(probe.optimizer, probe.dim)).bytes()),
          table_rows_(rows_of(probe.working_bytes.back())),
          space_(std::vector<TableSpec>(probe.features, {table_rows_, probe.dim, ""})),
          hot_(HotSet::from_predicate(exec, space_.rows(), [](std::uint64_t row) { return row % 4 != 0; })),
          table_(space_, probe.optimizer, static_placement(hot_)),
          values_(batches * lookups()),
          pooled_(lookups() * probe.dim, 0.01F) {
        table_.initialise(exec_, 1);
        const double start = watch_.now();
        static_cast<void>(table_.synchronise(exec_, Heat::hot));
        fill_ = (watch_.now() - start) / static_cast<double>(hot_.size() * record_bytes_);
        scratch_ = Buffer<std::byte>(
            table_.template backward_step_scratch<std::uint32_t>(lookups(), lookups(), Pooling::sum));
    }

    [[nodiscard]] RowCosts costs(std::uint64_t working_bytes) {
        RowCosts found;
        found.record_bytes = static_cast<double>(record_bytes_);
        const std::uint64_t rows = std::min(rows_of(working_bytes), table_rows_);
        found.working_bytes = static_cast<double>(rows * probe_.features * record_bytes_);
        const auto per_lookup = 1.0 / static_cast<double>(lookups());
        draw(rows, false);
        found.gather = per_lookup * watch_.median([&](std::size_t i) {
            embedding_bag::forward(exec_, table_.source(), bags(i), Pooling::sum,
                                   MatrixView<float>(pooled_.data(), lookups(), probe_.dim));
        });
        found.scatter = per_lookup * watch_.median([&](std::size_t i) { update(i, false); });
        found.scatter_home = per_lookup * watch_.median([&](std::size_t i) { update(i, true); });
        static_cast<void>(table_.synchronise(exec_, Heat::hot));
        draw(rows, true);
        found.scatter_fast = per_lookup * watch_.median([&](std::size_t i) { update(i, true); });
        static_cast<void>(table_.synchronise(exec_, Heat::cold));
        return found;
    }

    /// Seconds a byte of all hot rows copied into a fast tier never used before.
    [[nodiscard]] double fill() const { return fill_; }
    /// Seconds a byte of all hot rows copied up, and down.
    [[nodiscard]] std::pair<double, double> moves() {
        const auto bytes = static_cast<double>(hot_.size() * record_bytes_);
        std::vector<double> up;
        std::vector<double> down;
        const auto timed = [&](Heat heat, std::vector<double>& seconds) {
            draw(table_rows_, heat == Heat::cold);
            update(0, true);  // now the other tier is behind
            const double start = watch_.now();
            static_cast<void>(table_.synchronise(exec_, heat, SyncExtent::whole));
            seconds.push_back(watch_.now() - start);
        };
        for (int i = 0; i < 3; ++i) {
            timed(Heat::hot, up);
            timed(Heat::cold, down);
        }
        std::sort(up.begin(), up.end());
        std::sort(down.begin(), down.end());
        return {up[1] / bytes, down[1] / bytes};
    }

    /// Seconds of a look-up that a look-ahead planner plans, three in four of them hot.
    [[nodiscard]] double plan() {
        draw(table_rows_, false);
        LookaheadPlanner planner(hot_, {.window = 8 * lookups(), .lookahead = 2, .most_lookups = lookups()});
        LookaheadPlan plan;
        std::vector<std::uint32_t> located(lookups());
        return watch_.median([&](std::size_t i) {
            planner.push(exec_, Lookups<std::uint32_t>{Heat::mixed, bags(i), nullptr},
                         Span<std::uint32_t>(located.data(), located.size()), plan);
        }) / static_cast<double>(lookups());
    }

  private:
    static constexpr std::size_t batches = 5;

    [[nodiscard]] std::size_t lookups() const { return probe_.batch * probe_.features; }
    [[nodiscard]] std::uint64_t rows_of(std::uint64_t bytes) const {
        return std::max<std::uint64_t>(bytes / (record_bytes_ * probe_.features), 4);
    }
    /// Draws batches of look-ups among the first `rows` rows of each table, or among their slots.
    void draw(std::uint64_t rows, bool slots) {
        for_chunks(exec_, values_.size() / probe_.features, 4096, [&](std::size_t begin, std::size_t end) {
            Philox random(7, begin);
            for (std::size_t i = begin; i < end; ++i) {
                for (std::size_t f = 0; f < probe_.features; ++f) {
                    RowId row = space_.row(f, random.below(rows));
                    if (slots && !hot_.contains(row)) row = space_.row(f, space_.table(f).rows > 1 ? 1 : 0);
                    values_[i * probe_.features + f] =
                        slots && hot_.contains(row)
                            ? static_cast<std::uint32_t>(hot_.slot_of(row)) | fast_bit<std::uint32_t>
                            : static_cast<std::uint32_t>(row);
                }
            }
        });
    }
    [[nodiscard]] Bags<std::uint32_t> bags(std::size_t batch) const {
        return Bags<std::uint32_t>::fixed(
            Span<const std::uint32_t>(values_.data() + batch % batches * lookups(), lookups()), 1,
            probe_.features);
    }
    void update(std::size_t batch, bool noted) {
        Workspace workspace(scratch_.span());
        const Bags<std::uint32_t> of_batch = bags(batch);
        const RowIndex<std::uint32_t> index = table_.row_index(exec_, of_batch, workspace);
        visit_optimizer(probe_.optimizer, [&](auto optimizer) {
            embedding_bag::backward_step(exec_, optimizer, 1e-4F, index, of_batch, Pooling::sum,
                                         MatrixView<const float>(pooled_.data(), lookups(), probe_.dim),
                                         table_.source(), workspace);
        });
        if (noted) table_.touched(exec_, index.rows);
    }

    const E& exec_;
    const HostProbe& probe_;
    Stopwatch watch_;
    std::uint64_t record_bytes_;
    std::uint64_t table_rows_;
    RowSpace space_;
    HotSet hot_;
    HotColdTable<float, StaticPlacement<>> table_;
    std::vector<std::uint32_t> values_;
    std::vector<float> pooled_;
    Buffer<std::byte> scratch_;
    double fill_ = 0;
};

/// Seconds a byte of gathering shuffled mini-batches from a data set in memory.
template <Executor E>
[[nodiscard]] double probe_load(const E& exec, const HostProbe& probe) {
    constexpr std::size_t inputs = std::size_t{1} << 18;
    Dataset data;
    data.shape.table_rows.assign(probe.features, 1000);
    data.shape.dense_features = probe.dense_features;
    for (std::size_t f = 0; f < probe.features; ++f)
        data.shape.feature_table.push_back(static_cast<std::uint32_t>(f));
    data.labels.assign(inputs, 0);
    data.dense.assign(inputs * probe.dense_features, 0.5F);
    data.values.resize(inputs * probe.features);
    for (std::size_t i = 0; i < data.values.size(); ++i) {
        data.values[i] = static_cast<std::uint32_t>(i % probe.features * 1000 + i * 7919 % 1000);
    }
    const PackedDataset packed = prepare(exec, data, Dataset{data.shape, {}, {}, {}, {}, 0}, {});
    BatchScheduler scheduler({.hot_inputs = packed.hot().inputs(),
                              .cold_inputs = packed.cold().inputs(),
                              .batch_size = probe.batch,
                              .epochs = 1000,
                              .order = Order::shuffled},
                             FixedRate(100));
    BatchLoader loader(packed);
    BatchRef batch;
    constexpr std::size_t batches = 8;
    const double seconds = Stopwatch(probe).median([&](std::size_t) {
        for (std::size_t b = 0; b < batches; ++b) {
            static_cast<void>(scheduler.next(batch));
            static_cast<void>(loader.load(exec, batch));
        }
    });
    const double bytes = 1.0 + 4.0 * static_cast<double>(probe.dense_features + probe.features);
    return seconds / (static_cast<double>(batches * std::min(probe.batch, inputs)) * bytes);
}

}  // namespace detail

/// Measures the host's rates for rows of one dim and optimizer.
/// @cost   a second or two; memory: twice the largest working set
/// @throws ContractError if there are no working sets, or no features
template <Executor E>
[[nodiscard]] MachineRates probe_host(const E& exec, const HostProbe& probe) {
    require(!probe.working_bytes.empty() && probe.features >= 1 && probe.batch >= 1, [&] {
        return concat(probe.working_bytes.size(), " working sets, ", probe.features,
                      " features and batches of ", probe.batch, ", expected at least 1 of each");
    });
    MachineRates rates;
    rates.cores = exec.concurrency();
    detail::RowProbe<E> rows(exec, probe);
    for (const std::uint64_t bytes : probe.working_bytes) rates.rows.push_back(rows.costs(bytes));
    rates.fill_seconds_per_byte = rows.fill();
    std::tie(rates.move_up_seconds_per_byte, rates.move_down_seconds_per_byte) = rows.moves();
    rates.plan_seconds = rows.plan();
    rates.load_seconds_per_byte = detail::probe_load(exec, probe);
    return rates;
}

}  // namespace fae::inline FAE_ABI
