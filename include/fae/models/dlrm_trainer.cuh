// SPDX-License-Identifier: Apache-2.0
//
// cuda::DlrmTrainer: training steps of a DLRM on the device, each one graph, and its evaluation. The twin of
// DlrmTrainer (dlrm_trainer.hpp).
//
//   cuda::DlrmTrainer trainer(model, OptimizerKind::sgd, max_lookups);
//   for (BatchRef batch; scheduler.next(batch);) {
//       trainer.step(cuda::on(stream), batch.step, loader.load(exec, batch), rate.at(batch.step), route);
//   }
//   double loss = trainer.finish(cuda::on(stream)).loss;
//
// step() returns when the batch is on its way: while the device works on one batch, the next is copied to the
// second of two sets of buffers and its look-ups are sorted, on a stream beside the caller's. A route says
// where a batch's rows are in device memory; see DeviceRoute. A batch that was loaded into pinned memory of
// the trainer's (models/pinned_batch.cuh) is copied from there; any other passes through it in step().
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/embedding_bag.cuh"
#include "fae/cuda/graph.hpp"
#include "fae/cuda/row_index.cuh"
#include "fae/cuda/scalar.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/models/dlrm.cuh"
#include "fae/models/metrics.hpp"
#include "fae/models/pinned_batch.cuh"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/row_gradient.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/schedule/batch_loader.hpp"
#include "fae/schedule/batch_memory.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI::cuda {

/// Where the rows of a batch are in device memory and how its look-ups find them. All calls queue on the
/// stream that they are given.
///   source()                       the rows; for one value of key() always the same addresses
///   rows()                         a bound on every located index
///   options()                      what is known of the look-ups (cuda/row_index.cuh)
///   key()                          differs between routes of other addresses, bounds or options
///   locate(on, step, lookups, to)  turns look-ups in device memory into located indices: Bags over `to`, or
///   over the
///                                  values themselves
///   mark(on, index)                says that the index's rows have been updated; captured, so it queues the
///   same each
///                                  time
template <class R>
concept DeviceRoute = requires(R& route, On on, const Lookups<std::uint32_t>& lookups, Span<std::uint32_t> to,
                               const RowIndex<std::uint32_t>& index) {
    { route.source() } -> std::same_as<RowSource<float>>;
    { route.rows() } -> std::convertible_to<std::uint64_t>;
    { route.options() } -> std::same_as<RowIndexOptions>;
    { route.key() } -> std::convertible_to<std::uintptr_t>;
    { route.locate(on, std::uint64_t{}, lookups, to) } -> std::same_as<Bags<std::uint32_t>>;
    route.mark(on, index);
};

/// The route of rows that all lie in one array of device memory and whose look-ups are their numbers there,
/// with the tier bit.
struct ArrayRoute {
    RowsView<float> view;
    bool features_apart = false;  ///< no row is looked up by two features

    [[nodiscard]] RowSource<float> source() const { return {view, {}, {}}; }
    [[nodiscard]] std::uint64_t rows() const { return view.rows; }
    [[nodiscard]] RowIndexOptions options() const {
        return {.one_tier = true, .features_apart = features_apart};
    }
    [[nodiscard]] std::uintptr_t key() const { return reinterpret_cast<std::uintptr_t>(view.weights); }
    [[nodiscard]] static Bags<std::uint32_t> locate(On, std::uint64_t, const Lookups<std::uint32_t>& lookups,
                                                    Span<std::uint32_t>) {
        return lookups.bags;
    }
    static void mark(On, const RowIndex<std::uint32_t>&) {}
};
static_assert(DeviceRoute<ArrayRoute>);

/// A batch whose columns lie in pinned memory of a trainer's.
struct StagedBatch {
    LoadedBatch columns;
    PinnedBatch* memory = nullptr;

    [[nodiscard]] std::size_t size() const { return columns.size(); }
};

/// Trains and evaluates one dense model with the rows that routes lead to, sum pooling. Move-only. All memory
/// is taken at construction, but for a graph each batch size, set of buffers and route; once these have been
/// seen, a step allocates nothing and waits for nothing but the copy of the batch before the last. Jagged
/// batches are queued kernel by kernel: their sizes differ from step to step.
class DlrmTrainer {
  public:
    /// @param model        outlives the trainer, and takes batches from it alone
    /// @param rows         how embedding rows are updated
    /// @param max_lookups  the most look-ups that a batch will have
    /// @param max_rows     the most rows that a route will have
    /// @throws CudaError
    DlrmTrainer(Dlrm& model, OptimizerKind rows, std::size_t max_lookups, std::uint64_t max_rows)
        : model_(&model), optimizer_(rows), max_lookups_(max_lookups), max_rows_(max_rows) {
        const DlrmShape& shape = model.shape();
        const std::size_t bags = model.max_batch() * shape.sparse_features;
        pooled_ = Buffer<float, DeviceSpace>(bags * shape.dim);
        const std::size_t scratch = visit_optimizer(rows, [&](auto optimizer) {
            return backward_step_scratch<float, decltype(optimizer)>(
                {max_lookups, max_lookups, bags, shape.dim, Pooling::sum});
        });
        scratch_ = Buffer<std::byte, DeviceSpace>(scratch + workspace_alignment);
        logits_ = Buffer<float, PinnedSpace>(model.max_batch());
        std::size_t index_bytes = 0;
        for (const bool one_tier : {false, true}) {
            index_bytes = std::max(
                index_bytes, row_index_scratch<std::uint32_t>(max_lookups, max_rows, {.one_tier = one_tier}));
        }
        for (Set& set : sets_) {
            set.host.emplace(pinned_batch());
            set.device = Buffer<std::byte, DeviceSpace>(set.host->bytes());
            set.located = Buffer<std::uint32_t, DeviceSpace>(max_lookups);
            set.index_space = Buffer<std::byte, DeviceSpace>(index_bytes + workspace_alignment);
        }
    }

    /// Pinned memory for a batch of the largest size, to be loaded into.
    /// @throws CudaError
    [[nodiscard]] PinnedBatch pinned_batch() const {
        const DlrmShape& shape = model_->shape();
        return PinnedBatch({model_->max_batch(), shape.dense_features, max_lookups_,
                            model_->max_batch() * shape.sparse_features + 1},
                           model_->dense_stride());
    }

    /// One step: look up, predict, differentiate, update rows and layers.
    /// @param batch  a LoadedBatch, or a StagedBatch of this trainer's memory
    /// @pre    the route's rows are current
    /// @exec   cuda::On: queued; a LoadedBatch's memory may be used again when it returns, pinned memory may
    ///         be loaded into
    /// @throws ContractError if shapes do not fit; NonFiniteError, naming the step, once it is seen that an
    /// earlier
    ///         step's loss was not finite: nothing has been updated from that step on
    template <class Batch, class Route>
    requires DeviceRoute<Route>
    void step(On on, std::uint64_t number, const Batch& batch, float lr, Route& route) {
        require_finite_so_far();
        if (batch.size() == 0) return;
        Set& set = next_set();
        Staged staged = bring(set, {number, lr}, stage(set, batch), true);
        const RowIndex<std::uint32_t> index = sort(set, number, staged, route);
        run(on, set, staged, route.source(), staged.located, index, route.key(), true,
            [&](On branch) { route.mark(branch, index); });
    }

    /// One step on rows that somebody else has brought to the device and sorted: cuda::HomeRoute's batches.
    /// @param located, index  of this batch, in device memory, ready on the caller's stream
    /// @param key             differs where the addresses of rows, located or index do
    template <class Batch, class Mark>
    void step(On on, std::uint64_t number, const Batch& batch, float lr, const RowsView<float>& rows,
              const Bags<std::uint32_t>& located, const RowIndex<std::uint32_t>& index, std::uintptr_t key,
              Mark&& mark) {
        require_finite_so_far();
        if (batch.size() == 0) return;
        Set& set = next_set();
        const Staged staged = bring(set, {number, lr}, stage(set, batch), false);
        set.staged.record(cuda::on(staging_));
        run(on, set, staged, RowSource<float>{rows, {}, {}}, located, index, key, true, mark);
    }

    /// The logits of a batch, in host memory until the next call, and its mean loss. Nothing is updated.
    /// @exec cuda::On: returns when done
    struct Prediction {
        Span<const float> logits;
        double loss;
    };
    template <class Batch, class Route>
    requires DeviceRoute<Route>
    [[nodiscard]] Prediction predict(On on, const Batch& batch, Route& route) {
        if (batch.size() == 0) return {{}, 0};
        Set& set = next_set();
        Staged staged = bring(set, {}, stage(set, batch), true);
        staged.located = locate(set, 0, staged, route);
        return predict(on, set, staged, route.source(), staged.located, route.key());
    }
    /// The same on rows that somebody else has brought to the device.
    template <class Batch>
    [[nodiscard]] Prediction predict(On on, const Batch& batch, const RowsView<float>& rows,
                                     const Bags<std::uint32_t>& located, std::uintptr_t key) {
        if (batch.size() == 0) return {{}, 0};
        Set& set = next_set();
        const Staged staged = bring(set, {}, stage(set, batch), false);
        return predict(on, set, staged, RowSource<float>{rows, {}, {}}, located, key);
    }

    /// Waits for all steps; what they left.
    /// @throws NonFiniteError, naming the first step whose loss was not finite; IndexError (FAE_CHECKED) for
    ///         a look-up that names no row. From that step on nothing has been updated, in either case
    TrainingStatus finish(On on) {
        on.synchronise();
        throw_reported_indices();
        require_finite_so_far();
        return model_->status();
    }

    [[nodiscard]] Dlrm& model() { return *model_; }

    /// Memory of the device that construction took; graphs of steps, which CUDA keeps, come later.
    [[nodiscard]] std::uint64_t device_bytes() const {
        std::uint64_t bytes = pooled_.bytes() + scratch_.bytes();
        for (const Set& set : sets_) {
            bytes += set.device.bytes() + set.located.bytes() + set.index_space.bytes();
        }
        return bytes;
    }
    /// Pinned memory, likewise.
    [[nodiscard]] std::uint64_t pinned_bytes() const {
        std::uint64_t bytes = logits_.bytes();
        for (const Set& set : sets_) bytes += set.host->bytes();
        return bytes;
    }

  private:
    struct Set {
        std::optional<PinnedBatch> host;  ///< what batches of other memory pass through
        Buffer<std::byte, DeviceSpace> device;
        Buffer<std::uint32_t, DeviceSpace> located;
        Buffer<std::byte, DeviceSpace> index_space;
        std::shared_ptr<detail::Copies> copies;  ///< from where the batch leaves the host
        std::uint64_t copy = 0;                  ///< which of them that is
        Event staged;                            ///< the batch is ready for its step
        Event used;                              ///< the step is over, the device's buffers are free
    };

    /// A batch in a set's device buffers.
    struct Staged {
        std::size_t n;
        const StepNumbers* numbers;
        MatrixView<const float> dense;
        Span<const std::uint8_t> labels;
        Lookups<std::uint32_t> lookups;
        Bags<std::uint32_t> located;
    };

    /// Batch size, look-ups, set, key, whether it trains.
    using GraphKey = std::tuple<std::size_t, std::size_t, const Set*, std::uintptr_t, int>;

    [[nodiscard]] Prediction predict(On on, Set& set, const Staged& staged, const RowSource<float>& source,
                                     const Bags<std::uint32_t>& located, std::uintptr_t key) {
        set.staged.record(cuda::on(staging_));
        run(on, set, staged, source, located, {}, key, false, [](On) {});
        // A replayed graph has not told the model how long its batch is.
        copy(on, Span<const float>(model_->logits().data(), staged.n), Span<float>(logits_.data(), staged.n));
        on.synchronise();
        throw_reported_indices();
        return {{logits_.data(), staged.n}, model_->status().loss};
    }

    // Steps report look-ups that name no row to main_; what stages batches ahead reports to staging_.
    void throw_reported_indices() const {
        if constexpr (checked) {
            try {
                staging_.synchronise();
            } catch (const IndexError&) {
                try {
                    main_.synchronise();
                } catch (const IndexError&) {  // the same look-up, or one of a later batch
                }
                throw;
            }
            main_.synchronise();
        }
    }

    void require_finite_so_far() const {
        const TrainingStatus status = model_->status();
        if (status.stopped != 0) [[unlikely]] {
            throw_reported_indices();
            throw NonFiniteError(status.stopped_at, "the loss is not finite");
        }
    }

    Set& next_set() { return sets_[turn_++ % sets_.size()]; }

    [[nodiscard]] static const StagedBatch& stage(Set&, const StagedBatch& batch) { return batch; }
    /// Takes a batch of other memory into the set's.
    [[nodiscard]] StagedBatch stage(Set& set, const LoadedBatch& batch) {
        require_shape("dense", batch.dense, batch.size(), model_->shape().dense_features);
        const Bags<std::uint32_t>& bags = batch.lookups.bags;
        const BatchColumns to =
            set.host->columns({batch.size(), batch.dense.columns(), bags.lookups(), bags.offsets().size()});
        for (std::size_t r = 0; to.dense.columns() != 0 && r < to.dense.rows(); ++r) {
            float* const row = to.dense.row(r);
            std::fill(std::copy_n(batch.dense.row(r), to.dense.columns(), row), row + to.dense.stride(),
                      0.0f);
        }
        std::copy(bags.values().begin(), bags.values().end(), to.values.begin());
        std::copy(bags.offsets().begin(), bags.offsets().end(), to.offsets.begin());
        std::copy(batch.labels.begin(), batch.labels.end(), to.labels.begin());
        return {batch, &*set.host};
    }

    /// Queues the copy of a batch to the set's buffers. The host is at most a few batches ahead of the
    /// device.
    Staged bring(Set& set, const StepNumbers& numbers, const StagedBatch& batch, bool with_lookups) {
        const DlrmShape& shape = model_->shape();
        const Bags<std::uint32_t>& bags = batch.columns.lookups.bags;
        const std::size_t n = batch.size();
        require(n <= model_->max_batch() && bags.lookups() <= max_lookups_, [&] {
            return concat("the batch has ", n, " inputs and ", bags.lookups(), " look-ups, expected at most ",
                          model_->max_batch(), " and ", max_lookups_);
        });
        require(bags.features() == shape.sparse_features && bags.samples() == n, [&] {
            return concat("the batch has ", bags.size(), " bags of ", bags.features(), " features, expected ",
                          n, " x ", shape.sparse_features);
        });
        const On staging = cuda::on(staging_);
        if (set.copies != nullptr) set.copies->wait(set.copy);
        set.used.wait(staging);
        batch.memory->copy_to(staging, numbers, set.device.span(), with_lookups);
        set.copies = batch.memory->copies();
        set.copy = set.copies->count();
        const BatchColumns there = batch.memory->columns_at(set.device.data());
        Staged staged;
        staged.n = n;
        staged.numbers = reinterpret_cast<const StepNumbers*>(set.device.data());
        staged.dense = there.dense;
        staged.labels = there.labels;
        const Span<const std::uint32_t> values = there.values;
        staged.lookups = {batch.columns.lookups.heat,
                          bags.is_fixed()
                              ? bags.with_values(values)
                              : Bags<std::uint32_t>::jagged_elsewhere(values, there.offsets, bags.features()),
                          batch.columns.lookups.hot_set};
        return staged;
    }

    template <class Route>
    Bags<std::uint32_t> locate(Set& set, std::uint64_t number, const Staged& staged, Route& route) {
        return route.locate(cuda::on(staging_), number, staged.lookups,
                            Span<std::uint32_t>(set.located.data(), staged.lookups.bags.lookups()));
    }

    /// Locates a batch and sorts its look-ups, on the staging stream.
    template <class Route>
    RowIndex<std::uint32_t> sort(Set& set, std::uint64_t number, Staged& staged, Route& route) {
        require(route.rows() <= max_rows_, [&] {
            return concat("the route has ", route.rows(), " rows, expected at most ", max_rows_);
        });
        staged.located = locate(set, number, staged, route);
        const On staging = cuda::on(staging_);
        RowIndex<std::uint32_t> index;
        const auto queue = [&] {
            Workspace workspace(set.index_space.span());
            index = build_row_index(staging, staged.located, route.rows(), workspace, route.options());
        };
        if (!staged.located.is_fixed()) {
            queue();
        } else {
            const GraphKey key{staged.n, staged.located.lookups(), &set, route.key(), 2};
            auto found = sorts_.find(key);
            if (found == sorts_.end()) {
                Graph graph(staging, queue);
                graph.upload(staging);
                found = sorts_.emplace(key, std::make_pair(std::move(graph), index)).first;
            }
            found->second.first.launch(staging);
            index = found->second.second;
        }
        set.staged.record(staging);
        return index;
    }

    /// Queues the work of a batch: its graph, where it has one.
    template <class Mark>
    void run(On on, Set& set, const Staged& staged, const RowSource<float>& source,
             const Bags<std::uint32_t>& located, const RowIndex<std::uint32_t>& index,
             std::uintptr_t route_key, bool train, Mark&& mark) {
        set.staged.wait(on);
        model_->prepare(staged.n);
        if (!located.is_fixed()) {
            queue(cuda::on(main_).beside(on.stream), staged, source, located, index, train, mark);
        } else {
            const GraphKey key{staged.n, located.lookups(), &set, route_key, train ? 1 : 0};
            auto found = graphs_.find(key);
            if (found == graphs_.end()) {
                Graph graph(cuda::on(main_),
                            [&] { queue(cuda::on(main_), staged, source, located, index, train, mark); });
                graph.upload(on);
                found = graphs_.emplace(key, std::move(graph)).first;
            }
            found->second.launch(on);
        }
        set.used.record(on);
    }

    template <class Mark>
    void queue(On on, const Staged& staged, const RowSource<float>& source,
               const Bags<std::uint32_t>& located, const RowIndex<std::uint32_t>& index, bool train,
               Mark&& mark) {
        const DlrmShape& shape = model_->shape();
        const On beside = cuda::on(main_).beside(rows_.get());
        const auto pooled = [&](float* data) { return MatrixView<float>(data, located.size(), shape.dim); };
        fork(on, beside);
        embedding_bag::forward(beside, source, located, Pooling::sum, pooled(pooled_.data()));
        model_->forward_bottom(on, staged.dense);
        join(beside, on);
        model_->forward_top(
            on, MatrixView<const float>(pooled_.data(), staged.n, shape.sparse_features * shape.dim));
        if (!train) return model_->loss(on, staged.labels);
        const MatrixView<const float> gradient =
            model_->backward_top(on, staged.labels, &staged.numbers->number);
        fork(on, beside);
        visit_optimizer(optimizer_, [&](auto optimizer) {
            Workspace workspace(scratch_.span());
            embedding_bag::backward_step(beside, optimizer, Scalar<float>(&staged.numbers->lr), index,
                                         located, Pooling::sum,
                                         MatrixView<const float>(gradient.data(), located.size(), shape.dim),
                                         source, workspace, {&long_rows_, model_->stopped()});
        });
        mark(beside);
        model_->backward_bottom(on);
        model_->step(on, &staged.numbers->lr);
        join(beside, on);
    }

    void fork(On from, On to) {
        event_.record(from);
        event_.wait(to);
    }
    void join(On from, On to) { fork(from, to); }

    Dlrm* model_;
    OptimizerKind optimizer_;
    std::size_t max_lookups_;
    std::uint64_t max_rows_;
    Stream main_{Priority::high};  // what graphs are captured on
    Stream rows_{Priority::high};  // embedding rows, beside the dense layers
    Stream staging_;
    SideStream long_rows_;
    Event event_;
    std::array<Set, 2> sets_;
    std::size_t turn_ = 0;
    Buffer<float, DeviceSpace> pooled_;
    Buffer<std::byte, DeviceSpace> scratch_;
    Buffer<float, PinnedSpace> logits_;
    std::map<GraphKey, Graph> graphs_;
    std::map<GraphKey, std::pair<Graph, RowIndex<std::uint32_t>>> sorts_;
};

}  // namespace fae::inline FAE_ABI::cuda
