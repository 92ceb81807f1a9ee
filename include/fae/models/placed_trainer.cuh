// SPDX-License-Identifier: Apache-2.0
//
// cuda::PlacedTrainer: trains a DLRM on the device with embedding rows under any placement. Batches whose
// rows are in the fast tier take the fast route; all others bring their rows from home and take them back
// (cuda/home_route.cuh). The same kernels compute both, so the placement changes no bit.
//
//   cuda::PlacedTrainer trainer(cuda::on(stream), table, model, data);
//   const auto exec = cuda::on(stream, par(threads));
//   for (BatchRef batch; scheduler.next(batch);) {
//       trainer.step(exec, batch, rate.at(batch.step));                    // queued
//   }
//   double mean_loss = trainer.finish(exec).loss_sum / inputs;
//
// Threads of the trainer's load batches ahead, into the memory that the device copies them from.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "fae/core/bags.hpp"
#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/home_route.cuh"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/hot_set.hpp"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/row_index.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/io/packed.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/dlrm_trainer.cuh"
#include "fae/models/metrics.hpp"
#include "fae/models/pinned_batch.cuh"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_prefetcher.hpp"
#include "fae/table/placement.hpp"
#include "fae/table/table_tiers.hpp"

namespace fae::inline FAE_ABI::cuda {

/// A table for the device: rows in the placement's spaces.
/// @exec cuda::On: returns when done
template <class T, Placement P>
[[nodiscard]] HotColdTable<T, P> make_table(On on, RowSpace space, OptimizerKind optimizer, P placement) {
    if constexpr (std::is_constructible_v<HotColdTable<T, P>, RowSpace, OptimizerKind, P, On>) {
        return HotColdTable<T, P>(std::move(space), optimizer, std::move(placement), on);
    } else {
        return HotColdTable<T, P>(std::move(space), optimizer, std::move(placement));
    }
}

namespace detail {

/// The route of batches in the fast tier of a table on the device.
template <class Table>
struct FastRoute {
    Table* table;
    const DeviceHotSet* hot;  ///< of the schedule
    RowIndexOptions known;

    [[nodiscard]] RowSource<float> source() { return table->source(); }
    [[nodiscard]] std::uint64_t rows() const { return table->slots(); }
    [[nodiscard]] RowIndexOptions options() const { return known; }
    [[nodiscard]] std::uintptr_t key() const { return reinterpret_cast<std::uintptr_t>(table); }
    [[nodiscard]] Bags<std::uint32_t> locate(On on, std::uint64_t step, const Lookups<std::uint32_t>& lookups,
                                             Span<std::uint32_t> to) {
        return table->locate(on, step, lookups, to, hot);
    }
    void mark(On on, const RowIndex<std::uint32_t>& index) {
        table->mark_touched(on, index.rows, index.count);
    }
};

/// The look-ups of a few batches on their way to the device, for routes that sort them before their step.
class LookupStage {
  public:
    LookupStage(std::size_t lookups, std::size_t offsets) {
        for (Place& place : places_) {
            place.values_host = Buffer<std::uint32_t, PinnedSpace>(lookups);
            place.values = Buffer<std::uint32_t, DeviceSpace>(lookups);
            place.offsets_host = Buffer<std::uint64_t, PinnedSpace>(offsets);
            place.offsets = Buffer<std::uint64_t, DeviceSpace>(offsets);
        }
    }

    /// The look-ups in device memory, until three more batches have been brought.
    /// @param pinned  true where they lie in pinned memory that stays as it is until the copy is done
    /// @exec cuda::On: queued; other memory may be used again when it returns
    [[nodiscard]] Lookups<std::uint32_t> bring(On on, const Lookups<std::uint32_t>& lookups, bool pinned) {
        Place& place = places_[turn_++ % places_.size()];
        place.copied.synchronise();
        const Bags<std::uint32_t>& bags = lookups.bags;
        const auto values = bring(on, bags.values(), pinned, place.values_host, place.values);
        const auto offsets = bring(on, bags.offsets(), pinned, place.offsets_host, place.offsets);
        place.copied.record(on);
        return {lookups.heat,
                bags.is_fixed() ? bags.with_values(values)
                                : Bags<std::uint32_t>::jagged_elsewhere(values, offsets, bags.features()),
                lookups.hot_set};
    }

  private:
    struct Place {
        Buffer<std::uint32_t, PinnedSpace> values_host;
        Buffer<std::uint32_t, DeviceSpace> values;
        Buffer<std::uint64_t, PinnedSpace> offsets_host;
        Buffer<std::uint64_t, DeviceSpace> offsets;
        Event copied;
    };

    template <class T>
    static Span<const T> bring(On on, Span<const T> from, bool pinned, Buffer<T, PinnedSpace>& host,
                               Buffer<T, DeviceSpace>& device) {
        if (!pinned) {
            std::copy(from.begin(), from.end(), host.data());
            from = {host.data(), from.size()};
        }
        copy(on, from, Span<T>(device.data(), from.size()));
        return {device.data(), from.size()};
    }

    std::array<Place, 4> places_;
    std::size_t turn_ = 0;
};

}  // namespace detail

/// Trains one table and one dense model on a packed data set, sum pooling. Not for two threads at once.
template <Placement P>
class PlacedTrainer {
    using Table = HotColdTable<float, P>;
    using Route = HomeRoute<Table, std::uint32_t>;
    static constexpr bool has_fast = !std::same_as<typename P::FastSpace, NoSpace>;
    static constexpr bool has_home = !std::same_as<typename P::HomeSpace, NoSpace>;

  public:
    /// @param table, model, data  outlive the trainer; batches are of at most model.max_batch() inputs
    /// @exec   cuda::On: returns when done
    /// @cost   device memory: DlrmTrainer's, HomeRoute's where there are homes, and a copy of the hot set;
    ///         pinned memory of ahead + 2 batches
    /// @throws ContractError if the model's sparse part is not features x dim of the table; CudaError
    /// @param ahead  batches that are loaded side by side, each by a thread of the trainer's; at most 64
    PlacedTrainer(On on, Table& table, Dlrm& model, const PackedDataset& data, std::size_t ahead = 8)
        : table_(&table),
          lookups_(static_cast<std::size_t>(most_lookups(data, model.max_batch()))),
          trainer_(model, table.optimizer(), lookups_, std::max(table.space().rows(), table.slots())),
          prefetcher_(data, std::min<std::size_t>(ahead, 64), [this] { return trainer_.pinned_batch(); }),
          loaders_{BatchLoader(data), BatchLoader(data)} {
        const DlrmShape& shape = model.shape();
        require(shape.sparse_features == table.space().features() && shape.dim == table.space().dim(), [&] {
            return concat("the model takes ", shape.sparse_features, " features of dim ", shape.dim,
                          ", expected ", table.space().features(), " of dim ", table.space().dim());
        });
        if (!is_own(data.hot_set())) hot_ = DeviceHotSet(on, data.hot_set());
        if constexpr (has_home) {
            const std::size_t offsets =
                data.cold().bags.is_fixed() ? 0 : model.max_batch() * shape.sparse_features + 1;
            stage_.emplace(lookups_, offsets);
            home_ = std::make_unique<Route>(table, lookups_);
        }
        on.synchronise();
    }

    /// Takes a batch in. It is loaded on a thread of the trainer's while the batches before it are queued, so
    /// its own step is queued by a later call, or by finish(). Where its rows are at home, its look-ups are
    /// sorted and its rows gathered while the step before runs. A batch that begins a segment finds the tier
    /// that it needs synchronised; moved() counts what that took.
    /// @exec   cuda::OnWith: queued, but for the host's gathering and scattering of rows
    /// @throws ContractError if the tier that a batch within a segment needs is behind (the caller has
    ///         synchronised for another kind); NonFiniteError, naming the step, once an earlier loss is seen
    ///         not to be finite
    template <DeviceExecutor E>
    void step(const E& exec, const BatchRef& batch, float lr) {
        if (prefetcher_.waiting() == prefetcher_.ahead()) queue_next(exec);
        prefetcher_.push(batch);
        rates_[pushed_++ % rates_.size()] = lr;
    }

    /// Waits for all steps, and for their rows to be where they belong.
    /// @throws NonFiniteError, naming the first step whose loss was not finite
    template <DeviceExecutor E>
    TrainingStatus finish(const E& exec) {
        while (prefetcher_.waiting() != 0) queue_next(exec);
        if constexpr (has_home) {
            run_waiting(exec);
            home_->finish(exec);
        }
        return trainer_.finish(exec.on());
    }

    /// What synchronisations before segments have moved so far, but for those that the caller asked the table
    /// for.
    [[nodiscard]] SyncReport moved() const { return moved_; }
    /// The time that they took.
    [[nodiscard]] double synchronising_seconds() const { return synchronising_seconds_; }

    /// Predicts all inputs of some columns; nothing is updated. The homes are made current first.
    /// @exec cuda::OnWith: returns when done
    template <DeviceExecutor E>
    [[nodiscard]] Evaluation evaluate(const E& exec, const InputColumns& columns) {
        finish(exec);
        if constexpr (has_home) table_->write_back(exec);
        EvaluationSum sum(columns.inputs());
        const std::size_t most = trainer_.model().max_batch();
        for (std::size_t first = 0; first < columns.inputs(); first += most) {
            const std::size_t count = std::min(most, columns.inputs() - first);
            const LoadedBatch batch = next_loader().load_range(exec, columns, first, count);
            if constexpr (has_home) {
                announce(exec, {0, {batch, nullptr}, 0, false}, &sum);
            } else {
                auto route = fast_route();
                const auto prediction = trainer_.predict(exec.on(), batch, route);
                sum.add(prediction.loss, prediction.logits, batch.labels);
            }
        }
        if constexpr (has_home) {
            run_waiting(exec, &sum);
            home_->finish(exec);
        }
        return sum.finish(exec, columns.labels);
    }

  private:
    /// A batch of the home route that has been announced.
    struct Waiting {
        std::uint64_t number;
        StagedBatch batch;  ///< of no pinned memory in an evaluation
        float lr;
        bool train;
    };

    [[nodiscard]] bool is_own(const HotSet& hot_set) const {
        if constexpr (requires { table_->placement().hot_set(); }) {
            return &table_->placement().hot_set() == &hot_set;
        } else {
            return false;
        }
    }
    /// Where a batch of this kind is served.
    [[nodiscard]] static bool is_fast(Heat heat) { return has_fast && (!has_home || heat == Heat::hot); }

    [[nodiscard]] BatchLoader& next_loader() { return loaders_[turn_++ % loaders_.size()]; }

    [[nodiscard]] detail::FastRoute<Table> fast_route() {
        return {table_, &hot_, {.one_tier = true, .features_apart = detail::features_apart(table_->space())}};
    }

    /// Queues the step of the batch that was taken in first.
    template <DeviceExecutor E>
    void queue_next(const E& exec) {
        const auto& [ref, loaded, memory] = prefetcher_.take();
        const float lr = rates_[queued_++ % rates_.size()];
        const StagedBatch batch{loaded, memory};
        if (ref.begins_segment) synchronise(exec, ref.heat);
        if (!is_fast(ref.heat)) return announce(exec, {ref.step, batch, lr, true});
        if constexpr (has_fast) {
            auto route = fast_route();
            trainer_.step(exec.on(), ref.step, batch, lr, route);
            table_->trained_on_device();
        }
    }

    /// Makes the tier current that batches of this kind need, once the rows of those before are where they
    /// belong.
    template <DeviceExecutor E>
    void synchronise(const E& exec, Heat coming) {
        if constexpr (has_home) {
            run_waiting(exec);
            home_->finish(exec);
            const auto start = std::chrono::steady_clock::now();
            const SyncReport report = table_->synchronise(exec, coming);
            moved_.rows += report.rows;
            moved_.bytes += report.bytes;
            synchronising_seconds_ +=
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        }
    }

    /// Announces a batch and runs the one before it, whose columns are still there.
    template <DeviceExecutor E>
    void announce(const E& exec, const Waiting& next, EvaluationSum* sum = nullptr) {
        const On staging = on(staging_);
        // Pinned look-ups have been copied before the batch's rows can be gathered, and so before its step.
        home_->announce(
            staging, stage_->bring(staging, next.batch.columns.lookups, next.batch.memory != nullptr), &hot_);
        run_waiting(exec, sum);
        waiting_ = next;
    }

    template <DeviceExecutor E>
    void run_waiting(const E& exec, EvaluationSum* sum = nullptr) {
        if (!waiting_) return;
        const Waiting now = *std::exchange(waiting_, std::nullopt);
        const auto rows = home_->begin(exec);
        const auto key = reinterpret_cast<std::uintptr_t>(rows.rows.weights);
        if (now.train) {
            trainer_.step(exec.on(), now.number, now.batch, now.lr, rows.rows, rows.located, rows.index, key,
                          [](On) {});
            home_->end(exec, Route::Use::train);
        } else {
            const LoadedBatch& batch = now.batch.columns;
            const auto prediction = trainer_.predict(exec.on(), batch, rows.rows, rows.located, key);
            sum->add(prediction.loss, prediction.logits, batch.labels);
            home_->end(exec, Route::Use::read);
        }
    }

    Table* table_;
    std::size_t lookups_;
    DlrmTrainer trainer_;
    DeviceHotSet hot_;
    Stream staging_;
    BatchPrefetcher<PinnedBatch> prefetcher_;
    std::array<float, 64> rates_{};  // of the batches that wait in the prefetcher
    std::size_t pushed_ = 0;
    std::size_t queued_ = 0;
    std::array<BatchLoader, 2> loaders_;  // for evaluations
    std::size_t turn_ = 0;
    std::optional<detail::LookupStage> stage_;
    std::unique_ptr<Route> home_;
    std::optional<Waiting> waiting_;
    SyncReport moved_;
    double synchronising_seconds_ = 0;
};

}  // namespace fae::inline FAE_ABI::cuda
