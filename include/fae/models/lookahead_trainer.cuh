// SPDX-License-Identifier: Apache-2.0
//
// cuda::LookaheadTrainer: trains a DLRM on the device with a placement that plans ahead: every batch,
// whatever its rows, takes the captured step of the fast tier. What PlacedTrainer is for such placements.
//
//   using Placement = LookaheadPlacement<cuda::DeviceSpace, cuda::PinnedSpace>;
//   auto table = cuda::make_table<float>(on, space, kind, Placement(resident, {.window = 1 << 20, ...}));
//   cuda::PlacedTrainer<Placement> trainer(on, table, model, data);
//   for (BatchRef batch; scheduler.next(batch);) trainer.step(exec, batch, rate.at(batch.step));   // queued
//   trainer.finish(exec);
//
// Batches pass through: threads that load them into pinned memory and locate what is hot; one thread that
// plans the window, with a few helpers; the threads of cuda::LookaheadRoute that list, gather and scatter
// rows; and the calling thread, which queues a copy and a graph.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/span.hpp"
#include "fae/core/threads.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/lookahead_route.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/record_ways.cuh"
#include "fae/cuda/row_index.cuh"
#include "fae/cuda/stream.hpp"
#include "fae/io/packed.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/dlrm_trainer.cuh"
#include "fae/models/metrics.hpp"
#include "fae/models/pinned_batch.cuh"
#include "fae/models/placed_trainer.cuh"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_memory.hpp"
#include "fae/schedule/batch_prefetcher.hpp"
#include "fae/table/lookahead_plan.hpp"
#include "fae/table/lookahead_planner.hpp"
#include "fae/table/placement.hpp"
#include "fae/table/table_tiers.hpp"
#include "fae/trace/trace.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A placement whose planner reads the coming batches.
template <class P>
concept PlansAhead = Placement<P> && requires(P& placement) {
    { placement.planner().options() } -> std::convertible_to<LookaheadOptions>;
};

namespace detail {

/// The route of batches whose look-ups are located already: slots, and rows at home where some are direct.
template <class Table>
struct LocatedRoute {
    Table* table;
    bool direct;
    bool features_apart;

    [[nodiscard]] RowSource<float> source() {
        RowSource<float> rows = table->source();
        if (direct) rows.home = table->homes();
        return rows;
    }
    [[nodiscard]] std::uint64_t rows() const {
        return direct ? std::max(table->slots(), table->space().rows()) : table->slots();
    }
    [[nodiscard]] RowIndexOptions options() const {
        return {.one_tier = !direct, .features_apart = features_apart};
    }
    [[nodiscard]] std::uintptr_t key() const {
        return reinterpret_cast<std::uintptr_t>(table) + (direct ? 1 : 0);
    }
    [[nodiscard]] static Bags<std::uint32_t> locate(On, std::uint64_t, const Lookups<std::uint32_t>& lookups,
                                                    Span<std::uint32_t>) {
        return lookups.bags;
    }
    void mark(On on, const RowIndex<std::uint32_t>& index) {
        table->mark_touched(on, index.rows, index.count);
    }
};

/// A batch on its way to the device whose hot look-ups are located by the thread that loads it.
class PlannedBatch {
  public:
    PlannedBatch(PinnedBatch pinned, const LookaheadPlanner& planner)
        : pinned_(std::move(pinned)), cold_(planner), planner_(&planner) {}

    [[nodiscard]] BatchColumns columns(const BatchExtent& extent) { return pinned_.columns(extent); }
    /// Located indices take the place of the look-ups.
    void loaded(const LoadedBatch& batch) { planner_->serve_hot(seq, batch.lookups, located(), cold_); }

    [[nodiscard]] PinnedBatch& pinned() { return pinned_; }
    [[nodiscard]] ColdLookups& cold() { return cold_; }
    [[nodiscard]] Span<std::uint32_t> located() { return pinned_.held().values; }

  private:
    PinnedBatch pinned_;
    ColdLookups cold_;
    const LookaheadPlanner* planner_;
};
static_assert(BatchMemory<PlannedBatch>);

}  // namespace detail

/// Threads of a LookaheadTrainer beside those of its route; 0: by the number of the hardware's threads.
struct LookaheadThreads {
    std::size_t load = 0;  ///< batches side by side; 0: 3/8 of the hardware's threads, 2 to 6
    std::size_t plan = 0;  ///< share the planning of one batch; 0: as many, 1 to 6

    /// These, none of them 0.
    [[nodiscard]] LookaheadThreads resolved() const {
        const std::size_t all = std::thread::hardware_concurrency();
        return {load != 0 ? load : std::clamp<std::size_t>(3 * all / 8, 2, 6),
                plan != 0 ? plan : std::clamp<std::size_t>(3 * all / 8, 1, 6)};
    }
};

/// Trains one table and one dense model on a packed data set, sum pooling. Not for two threads at once.
template <PlansAhead P, class Delays = NoDelays>
class LookaheadTrainer {
    using Table = HotColdTable<float, P>;

  public:
    /// @param table, model, data  outlive the trainer; batches are of at most model.max_batch() inputs; the
    ///                 table's homes are in PinnedSpace
    /// @exec   cuda::On: returns when done
    /// @cost   device_bytes() of the device and pinned_bytes() of pinned memory: DlrmTrainer's and the
    ///         route's, and that of a few batches more than the planner looks ahead
    /// @throws ContractError if the model's sparse part is not features x dim of the table, or a batch may
    ///         have more look-ups than the planner takes; CudaError
    LookaheadTrainer(On on, Table& table, Dlrm& model, const PackedDataset& data,
                     LookaheadThreads threads = {}, Trace* trace = nullptr,
                     RecordWay way = RecordWay::measured)
        : table_(&table),
          lookups_(static_cast<std::size_t>(most_lookups(data, model.max_batch()))),
          threads_(threads.resolved()),
          ahead_(threads_.load + static_cast<std::size_t>(table.placement().planner().options().lookahead)),
          trainer_(model, table.optimizer(), lookups_, std::max(table.space().rows(), table.slots())),
          loader_(data),
          plan_threads_(threads_.plan, plan_eagerness, Claim::fixed),
          route_(on, table, trace, way),
          prefetcher_(
              data, ahead_,
              [this] { return detail::PlannedBatch(trainer_.pinned_batch(), route_.planner()); },
              threads_.load),
          rates_(ahead_ + 1),
          batch_bytes_(trainer_.pinned_batch().bytes()) {
        const DlrmShape& shape = model.shape();
        require(shape.sparse_features == table.space().features() && shape.dim == table.space().dim(), [&] {
            return concat("the model takes ", shape.sparse_features, " features of dim ", shape.dim,
                          ", expected ", table.space().features(), " of dim ", table.space().dim());
        });
        const std::uint64_t planned = most_training_lookups(data, model.max_batch());
        require(planned <= route_.planner().options().most_lookups, [&] {
            return concat("a batch may have ", planned, " look-ups, expected at most ",
                          route_.planner().options().most_lookups);
        });
        check(::cudaGetDevice(&device_), "look for a CUDA device");
        on.synchronise();
        planning_ = std::thread([this] { plan_batches(); });
    }
    LookaheadTrainer(const LookaheadTrainer&) = delete;
    LookaheadTrainer& operator=(const LookaheadTrainer&) = delete;
    /// Steps that are queued still run; rows that are on their way home are lost: finish() first.
    ~LookaheadTrainer() {
        prefetcher_.close();
        route_.close();
        planning_.join();
    }

    /// Takes a batch in. It is loaded and planned while the batches before it are queued; its own step is
    /// queued by a later call, or by finish().
    /// @exec   cuda::OnWith: queued; waits where the pipeline is full
    /// @throws NonFiniteError, naming the step, once an earlier loss is seen not to be finite; what failed in
    ///         a thread of the trainer's
    template <DeviceExecutor E>
    void step(const E& exec, const BatchRef& batch, float lr) {
        if (!table_->is_current(fae::Route::fast)) synchronise(exec, batch.heat);
        if (prefetcher_.waiting() == prefetcher_.ahead()) queue_next(exec);
        prefetcher_.push(batch);
        rates_[pushed_++ % rates_.size()] = lr;
    }

    /// Waits for all steps, and for all rows that are on their way.
    /// @throws NonFiniteError, naming the first step whose loss was not finite; as step()
    template <DeviceExecutor E>
    TrainingStatus finish(const E& exec) {
        while (prefetcher_.waiting() != 0) queue_next(exec);
        route_.finish();
        return trainer_.finish(exec.on());
    }

    /// Pinned memory of the trainer, taken at construction: batches and records on their way. The homes are
    /// the table's own.
    [[nodiscard]] std::uint64_t pinned_bytes() const {
        return trainer_.pinned_bytes() + (ahead_ + 2) * batch_bytes_ +
               LookaheadRoute<Table, Delays>::pinned_bytes(route_.planner().options(),
                                                           table_->layout().stride);
    }
    /// Memory of the device, likewise, beside the table's and the model's.
    [[nodiscard]] std::uint64_t device_bytes() const {
        return trainer_.device_bytes() + LookaheadRoute<Table, Delays>::device_bytes(
                                             route_.planner().options(), table_->layout().stride);
    }
    /// What was moved before a first batch, or after the caller wrote rows.
    [[nodiscard]] SyncReport moved() const { return moved_; }
    /// Of all batches so far. After finish().
    [[nodiscard]] const LookaheadCounts& counts() const { return route_.planner().counts(); }
    [[nodiscard]] const LookaheadStalls& stalls() const { return route_.stalls(); }
    [[nodiscard]] const ZeroCopyCounts& zero_copy() const { return route_.zero_copy(); }
    /// How records travel, and what that was measured to cost.
    [[nodiscard]] const RecordWays<float>& record_ways() const { return route_.ways(); }
    [[nodiscard]] double planning_seconds() const { return route_.planner().seconds(); }

    /// Predicts all inputs of some columns; nothing is updated and nothing moves: look-ups of rows without a
    /// slot are direct.
    /// @exec cuda::OnWith: returns when done
    template <DeviceExecutor E>
    [[nodiscard]] Evaluation evaluate(const E& exec, const InputColumns& columns) {
        finish(exec);
        if (!table_->is_current(fae::Route::fast)) synchronise(exec, columns.heat);
        EvaluationSum sum(columns.inputs());
        const std::size_t most = trainer_.model().max_batch();
        std::vector<std::uint32_t> located;
        for (std::size_t first = 0; first < columns.inputs(); first += most) {
            const std::size_t count = std::min(most, columns.inputs() - first);
            LoadedBatch batch = loader_.load_range(exec, columns, first, count);
            locate(exec, batch.lookups, located);
            batch.lookups.bags = batch.lookups.bags.with_values(located);
            auto route = located_route(true);
            const auto prediction = trainer_.predict(exec.on(), batch, route);
            sum.add(prediction.loss, prediction.logits, batch.labels);
        }
        return sum.finish(exec, columns.labels);
    }

  private:
    [[nodiscard]] detail::LocatedRoute<Table> located_route(bool direct) {
        return {table_, direct, detail::features_apart(table_->space())};
    }

    // The thread that plans: every batch in the order in which it was pushed.
    void plan_batches() {
        try {
            const auto exec = par(plan_threads_);
            check(::cudaSetDevice(device_), "choice of the CUDA device for a thread");
            for (std::size_t number = 0;; ++number) {
                auto* const batch = prefetcher_.wait_for(number);
                if (batch == nullptr) return;
                if (!route_.plan(exec, batch->memory->cold(), batch->memory->located())) return;
            }
        } catch (...) {
            route_.fail(std::current_exception());
        }
    }

    // Queues the step of the batch that was taken in first.
    template <DeviceExecutor E>
    void queue_next(const E& exec) {
        auto route = located_route(route_.begin(exec.on()));
        const auto& [ref, loaded, memory] = prefetcher_.take();
        const float lr = rates_[queued_++ % rates_.size()];
        trainer_.step(exec.on(), ref.step, StagedBatch{loaded, &memory->pinned()}, lr, route);
        table_->trained_on_device();
        route_.end(exec.on());
    }

    template <DeviceExecutor E>
    void synchronise(const E& exec, Heat coming) {
        finish(exec);
        const SyncReport report = table_->synchronise(exec, coming);
        moved_.rows += report.rows;
        moved_.bytes += report.bytes;
    }

    // Where each look-up's row is now.
    template <DeviceExecutor E>
    void locate(const E& exec, const Lookups<std::uint32_t>& lookups,
                std::vector<std::uint32_t>& located) const {
        const Span<const std::uint32_t> values = lookups.bags.values();
        located.resize(values.size());
        const LookaheadPlanner& planner = route_.planner();
        for_chunks(exec, values.size(), std::size_t{1} << 13, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                const RowId row =
                    lookups.heat == Heat::hot ? lookups.hot_set->row_of(values[i]) : RowId{values[i]};
                const Location at = planner.locate(row);
                located[i] =
                    static_cast<std::uint32_t>(at.position) | (at.fast ? fast_bit<std::uint32_t> : 0u);
            }
        });
    }

    // Where planning is what training waits for, plans follow each other within that.
    static constexpr std::chrono::microseconds plan_eagerness{50};

    Table* table_;
    std::size_t lookups_;
    LookaheadThreads threads_;
    std::size_t ahead_;
    int device_ = 0;
    DlrmTrainer trainer_;
    BatchLoader loader_;  // for evaluations
    Threads plan_threads_;
    LookaheadRoute<Table, Delays> route_;
    BatchPrefetcher<detail::PlannedBatch> prefetcher_;
    std::vector<float> rates_;  // of the batches that wait in the prefetcher
    std::uint64_t batch_bytes_;
    std::size_t pushed_ = 0;
    std::size_t queued_ = 0;
    SyncReport moved_;
    std::thread planning_;
};

/// The trainer of placements that plan ahead.
template <PlansAhead P>
class PlacedTrainer<P> : public LookaheadTrainer<P> {
  public:
    using LookaheadTrainer<P>::LookaheadTrainer;
};

}  // namespace fae::inline FAE_ABI::cuda
