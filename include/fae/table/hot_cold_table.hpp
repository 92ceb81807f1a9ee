// SPDX-License-Identifier: Apache-2.0
//
// HotColdTable: the embedding rows of one row space in two tiers, under one placement. It owns the fast tier
// and owns or borrows the homes. Results do not depend on the placement, bit for bit.
//
//   HotColdTable<float, StaticPlacement<>> table(space, OptimizerKind::sgd, static_placement(hot_set));
//   table.initialise(par(threads), seed);
//   for each batch of the schedule:
//       if (batch.begins_segment) table.synchronise(par(threads), lookups.heat);
//       Bags bags = table.locate(par(threads), step, lookups, located);
//       embedding_bag::forward(par(threads), table.source(), bags, Pooling::sum, pooled);
//       ... the dense model turns `pooled` into the gradient of `pooled` ...
//       table.backward_step(par(threads), Sgd{}, lr, bags, Pooling::sum, gradient, workspace);
//
// Several dims: one table per row space (core/row_space.hpp: row_spaces()).
#pragma once

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/digest.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/workspace.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_bag.hpp"
#include "fae/ops/embedding_init.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/row_gradient.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/dirty_slots.hpp"
#include "fae/table/placement.hpp"
#include "fae/table/table_tiers.hpp"
#include "fae/trace/metrics.hpp"
#include "fae/trace/trace.hpp"

namespace fae::inline FAE_ABI {

/// Embedding rows with their optimizer state, in a fast tier and at home.
template <class T, Placement P>
class HotColdTable : public TableTiers<T, P> {
    using Tiers = TableTiers<T, P>;
    using typename Tiers::Newest;
    using typename Tiers::Record;

  public:
    using Tiers::home_record;

    /// Owns the homes: pages of P::HomeSpace, not yet initialised (call initialise, or write_rows).
    /// @cost rows * stride * sizeof(T) bytes of home, slots * stride * sizeof(T) of fast tier and one bit a
    /// slot
    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement)
        : Tiers(std::move(space), optimizer, std::move(placement)) {}

    /// Borrows the homes: one view per table, updated in place; they outlive this table and hold the rows'
    /// first values.
    /// @param homes  one per table of the space, in order; `first` is filled in
    /// @throws ContractError if a view has too few rows, a stride below dim, or no state where the optimizer
    /// needs it
    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement, std::vector<RowsView<T>> homes)
        : Tiers(std::move(space), optimizer, std::move(placement), std::move(homes)) {}

    /// Draws every row's weights (ops/embedding_init.hpp) and zeroes its state, where the row lives: the
    /// pages of an owned tier are first touched by the executor's threads.
    /// @exec seq, par; equal for every executor
    template <Executor E>
    void initialise(const E& exec, std::uint64_t seed) requires std::same_as<T, float> {
        draw_rows(exec, seed, [&](RowId row) { return authoritative(row); });
        after_overwrite();
    }

    /// Plans a batch, moves the rows that it needs moved, and turns its look-ups into located indices.
    /// @param located  [lookups], filled in; the returned bags view it
    /// @throws ContractError if the tier that the batch needs is behind the other (synchronise first), or the
    /// batch
    ///         is hot and names no hot set; IndexError (FAE_CHECKED) for a row or slot that does not exist
    template <Executor E, IndexType Index>
    [[nodiscard]] Bags<Index> locate(const E& exec, std::uint64_t step, const Lookups<Index>& lookups,
                                     Span<Index> located) {
        const Span<const Index> values = lookups.bags.values();
        const StepPlan plan = [&] {
            const TraceScope scope(trace_, lanes_.plan, "plan", step);
            return plan_step(exec, step, lookups, located);
        }();
        const Bags<Index> bags = lookups.bags.with_values(Span<const Index>(located.data(), located.size()));
        move_rows(exec, step, plan);
        if (plan.located) {
            book(Span<const Index>(located.data(), located.size()), plan);
            return bags;
        }
        const bool same_slots =
            lookups.heat == Heat::hot && plan.route == Route::fast && is_own(lookups.hot_set);
        const auto ref = placement_.ref();
        for_chunks(exec, values.size(), locate_grain, [&](std::size_t begin, std::size_t end) {
            if constexpr (checked) check(lookups, begin, end);
            if (same_slots) {
                for (std::size_t i = begin; i < end; ++i)
                    located[i] = static_cast<Index>(values[i] | fast_bit<Index>);
                return;
            }
            for (std::size_t i = begin; i < end; ++i) {
                const RowId row =
                    lookups.heat == Heat::hot ? lookups.hot_set->row_of(values[i]) : RowId{values[i]};
                if (plan.route == Route::home) {
                    located[i] = static_cast<Index>(row);
                    continue;
                }
                const Location at = ref.locate(row);
                require(at.fast || plan.route == Route::direct, [&] {
                    return concat("row ", row, " has no slot, and its batch takes the fast route");
                });
                located[i] = static_cast<Index>(at.position) | (at.fast ? fast_bit<Index> : Index{0});
            }
        });
        book(Span<const Index>(located.data(), located.size()), plan);
        return bags;
    }

    /// Turns look-ups that are only read (an evaluation) into located indices: each row where it is current,
    /// hot or not, whatever the placement. Nothing is planned and nothing needs to be synchronised.
    /// @param bags     row ids
    /// @param located  [lookups], filled in; the returned bags view it
    template <Executor E, IndexType Index>
    [[nodiscard]] Bags<Index> locate_for_reading(const E& exec, const Bags<Index>& bags,
                                                 Span<Index> located) const {
        const Span<const Index> values = bags.values();
        this->template require_located<Index>(located.size(), values.size());
        const auto ref = placement_.ref();
        const bool in_slots = fast_is_newest() || homes_.empty();
        for_chunks(exec, values.size(), locate_grain, [&](std::size_t begin, std::size_t end) {
            if constexpr (checked) check(Lookups<Index>{Heat::mixed, bags, nullptr}, begin, end);
            for (std::size_t i = begin; i < end; ++i) {
                const Location at = in_slots ? ref.locate(values[i]) : Location{false, values[i]};
                located[i] = static_cast<Index>(static_cast<Index>(at.position) |
                                                (at.fast ? fast_bit<Index> : Index{0}));
            }
        });
        return bags.with_values(Span<const Index>(located.data(), located.size()));
    }

    /// The rows as operations see them.
    [[nodiscard]] RowSource<T> source() {
        return {fast_view(), homes_,
                homes_.size() > 1 ? space_.feature_table() : Span<const std::uint32_t>{}};
    }

    /// Bytes of workspace that a step of `bags` bags with `lookups` look-ups takes: its index and its
    /// backward pass.
    template <IndexType Index = std::uint32_t>
    [[nodiscard]] std::size_t backward_step_scratch(std::size_t lookups, std::size_t bags,
                                                    Pooling pooling) const {
        return row_index_scratch<Index>(lookups, pooling) +
               embedding_bag::backward_step_scratch<T>({lookups, lookups, bags, layout_.dim, pooling});
    }

    /// Groups a batch's look-ups by row. May run ahead of the step, beside the dense model.
    template <Executor E, IndexType Index>
    [[nodiscard]] RowIndex<Index> row_index(const E& exec, const Bags<Index>& bags, Workspace& workspace,
                                            Pooling pooling = Pooling::sum) const {
        return build_row_index(exec, bags, std::max(space_.rows(), slots_), workspace, pooling);
    }

    /// One optimizer step on every row of the batch from the gradient of its pooled bags.
    /// @param bags  as locate returned them
    /// @throws ContractError if the optimizer is another than the table's
    template <Executor E, Optimizer O, IndexType Index>
    void backward_step(const E& exec, const O& optimizer, T lr, const RowIndex<Index>& index,
                       const Bags<Index>& bags, Pooling pooling, MatrixView<const T> gradient,
                       Workspace& workspace) {
        require_optimizer(O::kind);
        embedding_bag::backward_step(exec, optimizer, lr, index, bags, pooling, gradient, source(),
                                     workspace);
        touched(exec, index.rows);
    }
    template <Executor E, Optimizer O, IndexType Index>
    void backward_step(const E& exec, const O& optimizer, T lr, const Bags<Index>& bags, Pooling pooling,
                       MatrixView<const T> gradient, Workspace& workspace) {
        const RowIndex<Index> index = row_index(exec, bags, workspace, pooling);
        backward_step(exec, optimizer, lr, index, bags, pooling, gradient, workspace);
    }

    /// Says that a caller's own update changed these located rows (backward_step says it by itself).
    /// @param rows  located indices; those of rows with a slot all on one tier
    template <Executor E, IndexType Index>
    void touched(const E& exec, Span<const Index> rows) {
        this->mark(exec, rows);
    }

    /// Books what each batch looks up in which tier, rows and bytes that move, and the time that is waited
    /// for them, into counters of the caller's, which outlive the table or the next call. A row that is
    /// brought for a batch is one look-up of the fast tier that missed. Null, as at first: nothing is booked,
    /// and a batch and a synchronisation each ask once.
    void set_metrics(Metrics* metrics) { metrics_ = metrics; }

    /// Seconds that locate() has moved rows for, each way.
    struct MoveSeconds {
        double leave = 0;
        double bring = 0;
    };
    [[nodiscard]] const MoveSeconds& move_seconds() const { return move_seconds_; }
    /// Traces planning and the moves of rows from here on; null: no longer.
    void set_trace(Trace* trace) {
        trace_ = trace;
        if (trace != nullptr) {
            lanes_ = {trace->lane("planner"), trace->lane("gather"), trace->lane("write-back")};
        }
    }

    /// Makes ready for batches of this kind: the tier that the placement serves them on becomes current.
    /// Nothing moves if it is.
    /// @exec seq, par; returns when done
    /// @cost reads and writes rows * (dim + state) * sizeof(T) bytes for the rows that it moves
    template <Executor E>
    SyncReport synchronise(const E& exec, Heat coming, SyncExtent extent = SyncExtent::dirty) {
        return synchronise_tier(exec, this->needed_by(coming), extent);
    }

    /// Makes the homes current: before an evaluation at home, a checkpoint, or when a caller reads its own
    /// arrays.
    template <Executor E>
    SyncReport write_back(const E& exec, SyncExtent extent = SyncExtent::dirty) {
        return synchronise_tier(exec, Newest::home, extent);
    }

    /// Puts another placement in this one's place, between two batches: a hot set that fits the look-ups of
    /// now, say. Only the difference crosses between the tiers: rows that the fast tier has changed go home,
    /// rows that have a slot now and had none come from there; the others are copied from slot to slot.
    /// Training goes on as if nothing had been replaced, bit for bit.
    /// @exec   seq, par; returns when done
    /// @cost   memory: the new fast tier beside the old one, while it works
    /// @return what came into the fast tier
    /// @throws ContractError if the table has no homes
    template <Executor E>
    SyncReport replace(const E& exec, P next) {
        require(!homes_.empty(), [] { return std::string("a table without homes, expected some"); });
        static_cast<void>(write_back(exec));
        const std::uint64_t slots = next.slots(space_);
        Buffer<T, typename P::FastSpace> fast(static_cast<std::size_t>(slots) * layout_.stride);
        const RowsView<T> to{fast.data(), fast.data() + layout_.dim, layout_.stride, layout_.stride, 0,
                             slots};
        const auto before = placement_.ref();
        const auto after = next.ref();
        const bool home_is_newer = newest_ == Newest::home;
        std::atomic<std::uint64_t> brought{0};
        double unbooked = 0;
        {
            const ScopedSeconds timer(metrics_ != nullptr ? metrics_->stalled(Tier::fast) : unbooked);
            for_chunks(exec, static_cast<std::size_t>(slots), 4096, [&](std::size_t begin, std::size_t end) {
                std::uint64_t mine = 0;
                for (std::size_t slot = begin; slot < end; ++slot) {
                    const RowId row = after.row_at(slot);
                    if (row == no_row) continue;
                    const Location at = slots_ == 0 ? Location{false, row} : before.locate(row);
                    const bool kept = at.fast && !(home_is_newer && dirty_.contains(at.position));
                    copy_record(kept ? slot_record(at.position) : home_record(row),
                                Record{to.weights_of(slot), to.state_of(slot)});
                    mine += kept ? 0u : 1u;
                }
                brought.fetch_add(mine, std::memory_order_relaxed);
            });
        }
        placement_ = std::move(next);
        slots_ = slots;
        fast_ = std::move(fast);
        dirty_ = DirtySlots(slots_);
        newest_ = Newest::both;
        const SyncReport report{brought, brought * this->record_bytes(), Tier::fast};
        if (metrics_ != nullptr) metrics_->add_moved(Tier::fast, report.rows, report.bytes);
        return report;
    }

    /// Reads rows by id, wherever they are current.
    /// @shape weights [rows, dim]; state [rows, state] or empty
    template <Executor E>
    void read_rows(const E& exec, Span<const RowId> rows, MatrixView<T> weights, MatrixView<T> state = {}) {
        require_row_shapes(rows.size(), weights, state);
        for_chunks(exec, rows.size(), 1024, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                require_row(rows[i]);
                const auto [from_weights, from_state] = authoritative(rows[i]);
                std::copy_n(from_weights, layout_.dim, weights.row(i));
                if (state.data() != nullptr) std::copy_n(from_state, layout_.state, state.row(i));
            }
        });
    }

    /// Writes rows by id, to every tier that holds them. Where a row is named twice, one of its values stays.
    /// @shape weights [rows, dim]; state [rows, state] or empty (state is then kept)
    /// @pre   no row is named twice, unless the executor is seq (then the last value stays)
    template <Executor E>
    void write_rows(const E& exec, Span<const RowId> rows, MatrixView<const T> weights,
                    MatrixView<const T> state = {}) {
        require_row_shapes(rows.size(), weights, state);
        const auto ref = placement_.ref();
        const RowsView<T> fast = fast_view();
        const auto put = [&](const RowsView<T>& view, std::uint64_t at, std::size_t i) {
            std::copy_n(weights.row(i), layout_.dim, view.weights_of(at));
            if (state.data() != nullptr) std::copy_n(state.row(i), layout_.state, view.state_of(at));
        };
        for_chunks(exec, rows.size(), 1024, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                require_row(rows[i]);
                const Location at = slots_ == 0 ? Location{false, rows[i]} : ref.locate(rows[i]);
                if (at.fast) put(fast, at.position, i);
                if (!homes_.empty()) put(home_of(rows[i]), rows[i], i);
            }
        });
    }

    /// Adds every row's weights and state, in row order, from wherever they are current: equal for every
    /// placement.
    template <Executor E>
    void add_to(const E& exec, Digest& digest) {
        digest_rows(exec, digest, space_.rows(), [&](Digest& of_chunk, RowId row) {
            const auto [weights, state] = authoritative(row);
            of_chunk.add_floats(Span<const T>(weights, layout_.dim));
            of_chunk.add_floats(Span<const T>(state, layout_.state));
        });
    }

  private:
    using Tiers::after_overwrite;
    using Tiers::dirty_;
    using Tiers::draw_rows;
    using Tiers::fast_;
    using Tiers::fast_is_newest;
    using Tiers::fast_view;
    using Tiers::home_of;
    using Tiers::homes_;
    using Tiers::is_behind;
    using Tiers::is_own;
    using Tiers::layout_;
    using Tiers::locate_grain;
    using Tiers::newest_;
    using Tiers::placement_;
    using Tiers::plan_step;
    using Tiers::require_optimizer;
    using Tiers::require_row;
    using Tiers::require_row_shapes;
    using Tiers::slots_;
    using Tiers::space_;

    struct Lanes {
        std::uint32_t plan = 0;
        std::uint32_t bring = 0;
        std::uint32_t leave = 0;
    };
    MoveSeconds move_seconds_;
    Trace* trace_ = nullptr;
    Metrics* metrics_ = nullptr;
    Lanes lanes_;

    // The record that holds a row's current values.
    [[nodiscard]] Record authoritative(RowId row) {
        if (fast_is_newest()) {
            if (const Location at = placement_.ref().locate(row); at.fast) return slot_record(at.position);
        }
        return home_record(row);
    }

    template <IndexType Index>
    void check(const Lookups<Index>& lookups, std::size_t begin, std::size_t end) const {
        const std::uint64_t bound = lookups.heat == Heat::hot ? lookups.hot_set->size() : space_.rows();
        for (std::size_t i = begin; i < end; ++i) {
            if (lookups.bags.values()[i] >= bound) {
                throw IndexError(
                    concat("look-up ", i, " is ", lookups.bags.values()[i], ", expected less than ", bound));
            }
        }
    }

    template <Executor E>
    SyncReport synchronise_tier(const E& exec, Newest target, SyncExtent extent) {
        if (!is_behind(target)) return {};
        const Tier into = target == Newest::fast ? Tier::fast : Tier::home;
        double unbooked = 0;
        const ScopedSeconds timer(metrics_ != nullptr ? metrics_->stalled(into) : unbooked);
        if (extent == SyncExtent::whole) dirty_.mark_all();
        const auto ref = placement_.ref();
        std::atomic<std::uint64_t> empty{0};
        dirty_.for_each(exec, [&](Slot slot) {
            const RowId row = ref.row_at(slot);
            if (row == no_row) {
                empty.fetch_add(1, std::memory_order_relaxed);
            } else if (target == Newest::fast) {
                copy_record(home_record(row), slot_record(slot));
            } else {
                copy_record(slot_record(slot), home_record(row));
            }
        });
        const SyncReport report = this->synchronised(dirty_.count() - empty);
        if (metrics_ != nullptr) metrics_->add_moved(into, report.rows, report.bytes);
        return report;
    }

    // Counts a batch's look-ups by the tier that serves them.
    template <IndexType Index>
    void book(Span<const Index> located, const StepPlan& plan) {
        if (metrics_ == nullptr) return;
        std::uint64_t fast = 0;
        for (const Index index : located) fast += is_fast(index) ? 1u : 0u;
        const std::uint64_t missed = std::min<std::uint64_t>(fast, plan.bring.size());
        metrics_->add_lookups(Tier::fast, fast, fast - missed);
        metrics_->add_lookups(Tier::home, located.size() - fast, located.size() - fast);
    }

    // Lets rows leave their slots for home, then brings others there.
    template <Executor E>
    void move_rows(const E& exec, std::uint64_t step, const StepPlan& plan) {
        constexpr std::size_t grain = 512;
        if (!plan.leave.empty()) {
            const TraceScope scope(trace_, lanes_.leave, "write-back", step);
            ScopedSeconds timer(move_seconds_.leave);
            for_chunks(exec, plan.leave.size(), grain, [&](std::size_t begin, std::size_t end) {
                for (std::size_t i = begin; i < end; ++i) {
                    copy_record(slot_record(plan.leave[i].slot), home_record(plan.leave[i].row));
                }
            });
            book_moved(Tier::home, plan.leave.size(), timer.stop());
        }
        if (!plan.bring.empty()) {
            const TraceScope scope(trace_, lanes_.bring, "gather", step);
            ScopedSeconds timer(move_seconds_.bring);
            for_chunks(exec, plan.bring.size(), grain, [&](std::size_t begin, std::size_t end) {
                for (std::size_t i = begin; i < end; ++i) {
                    copy_record(home_record(plan.bring[i].row), slot_record(plan.bring[i].slot));
                }
            });
            book_moved(Tier::fast, plan.bring.size(), timer.stop());
        }
    }

    void book_moved(Tier into, std::uint64_t rows, double seconds) {
        if (metrics_ == nullptr) return;
        metrics_->add_moved(into, rows, rows * this->record_bytes());
        metrics_->stalled(into) += seconds;
    }

    [[nodiscard]] Record slot_record(Slot slot) {
        const RowsView<T> fast = fast_view();
        return {fast.weights_of(slot), fast.state_of(slot)};
    }
    void copy_record(const Record& from, const Record& to) const {
        std::copy_n(from.weights, layout_.dim, to.weights);
        std::copy_n(from.state, layout_.state, to.state);
    }
};

}  // namespace fae::inline FAE_ABI
