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

namespace fae::inline FAE_ABI {

/// How much a synchronisation moves.
enum class SyncExtent : std::uint8_t {
    dirty,  ///< rows touched since the tiers were last equal
    whole,  ///< every slot's row, if any tier is behind
};

/// What a synchronisation moved.
/// @units bytes of row records, weights and state, without padding
struct SyncReport {
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;
};

/// Embedding rows with their optimizer state, in a fast tier and at home.
template <class T, Placement P>
class HotColdTable {
  public:
    static constexpr bool has_fast = !std::same_as<typename P::FastSpace, NoSpace>;

    /// Owns the homes: pages of P::HomeSpace, not yet initialised (call initialise, or write_rows).
    /// @cost rows * stride * sizeof(T) bytes of home, slots * stride * sizeof(T) of fast tier and one bit a
    /// slot
    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement)
        : HotColdTable(std::move(space), optimizer, std::move(placement), Owned{}) {
        if constexpr (!std::same_as<typename P::HomeSpace, NoSpace>) {
            home_ = decltype(home_)(static_cast<std::size_t>(space_.rows()) * layout_.stride);
            homes_.push_back(
                {home_.data(), home_.data() + layout_.dim, layout_.stride, layout_.stride, 0, space_.rows()});
            newest_ = Newest::home;
        } else {
            newest_ = Newest::fast;
        }
    }

    /// Borrows the homes: one view per table, updated in place; they outlive this table and hold the rows'
    /// first values.
    /// @param homes  one per table of the space, in order; `first` is filled in
    /// @throws ContractError if a view has too few rows, a stride below dim, or no state where the optimizer
    /// needs it
    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement, std::vector<RowsView<T>> homes)
        : HotColdTable(std::move(space), optimizer, std::move(placement), Owned{}) {
        require(homes.size() == space_.table_count(), [&] {
            return concat("homes has ", homes.size(), " views, expected ", space_.table_count(),
                          " (one per table)");
        });
        for (std::size_t t = 0; t < homes.size(); ++t) {
            RowsView<T>& home = homes[t];
            require(home.rows == space_.table(t).rows, [&] {
                return concat("home ", t, " has ", home.rows, " rows, expected ", space_.table(t).rows);
            });
            require(home.weights != nullptr && home.stride >= layout_.dim, [&] {
                return concat("home ", t, " has stride ", home.stride, ", expected at least ", layout_.dim);
            });
            require(layout_.state == 0 || (home.state != nullptr && home.state_stride >= layout_.state), [&] {
                return concat("home ", t, " has ", home.state == nullptr ? "no state" : "state stride ",
                              home.state == nullptr ? std::string() : std::to_string(home.state_stride),
                              ", expected at least ", layout_.state, " elements a row");
            });
            home.first = space_.offset(t);
        }
        homes_ = std::move(homes);
        newest_ = Newest::home;
        dirty_.mark_all();
    }

    [[nodiscard]] const RowSpace& space() const { return space_; }
    [[nodiscard]] const RowLayout& layout() const { return layout_; }
    [[nodiscard]] OptimizerKind optimizer() const { return optimizer_; }
    [[nodiscard]] const P& placement() const { return placement_; }
    [[nodiscard]] std::uint64_t slots() const { return slots_; }

    /// Draws every row's weights (ops/embedding_init.hpp) and zeroes its state, where the row lives: the
    /// pages of an owned tier are first touched by the executor's threads.
    /// @exec seq, par; equal for every executor
    template <Executor E>
    void initialise(const E& exec, std::uint64_t seed) requires std::same_as<T, float> {
        for (std::size_t t = 0; t < space_.table_count(); ++t) {
            const float scale = embedding_scale(space_.table(t).rows);
            for_chunks(exec, static_cast<std::size_t>(space_.table(t).rows), 4096,
                       [&](std::size_t begin, std::size_t end) {
                           for (std::size_t r = begin; r < end; ++r) {
                               const auto [weights, state] = authoritative(space_.offset(t) + r);
                               init_row(seed, static_cast<std::uint32_t>(t), r, scale,
                                        Span<float>(weights, layout_.dim));
                               std::fill_n(state, layout_.state, T{0});
                           }
                       });
        }
        after_overwrite();
    }

    /// Plans a batch and turns its look-ups into located indices.
    /// @param located  [lookups], filled in; the returned bags view it
    /// @throws ContractError if the tier that the batch needs is behind the other (synchronise first), or the
    /// batch
    ///         is hot and names no hot set; IndexError (FAE_CHECKED) for a row or slot that does not exist
    template <Executor E, IndexType Index>
    [[nodiscard]] Bags<Index> locate(const E& exec, std::uint64_t step, const Lookups<Index>& lookups,
                                     Span<Index> located) {
        const Span<const Index> values = lookups.bags.values();
        require(located.size() == values.size(),
                [&] { return concat("located has ", located.size(), " entries, expected ", values.size()); });
        require(lookups.heat != Heat::hot || lookups.hot_set != nullptr,
                [] { return std::string("a hot batch without its hot set, expected one"); });
        space_.require_fits<Index>();
        const StepPlan plan = placement_.plan(step, lookups);
        require_newest(plan.route);
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
        return lookups.bags.with_values(Span<const Index>(located.data(), located.size()));
    }

    /// Turns look-ups that are only read (an evaluation) into located indices: each row where it is current,
    /// hot or not, whatever the placement. Nothing is planned and nothing needs to be synchronised.
    /// @param bags     row ids
    /// @param located  [lookups], filled in; the returned bags view it
    template <Executor E, IndexType Index>
    [[nodiscard]] Bags<Index> locate_for_reading(const E& exec, const Bags<Index>& bags,
                                                 Span<Index> located) const {
        const Span<const Index> values = bags.values();
        require(located.size() == values.size(),
                [&] { return concat("located has ", located.size(), " entries, expected ", values.size()); });
        space_.require_fits<Index>();
        const auto ref = placement_.ref();
        const bool in_slots = newest_ == Newest::fast || homes_.empty();
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
        require(O::kind == optimizer_, [&] {
            return concat("optimizer ", static_cast<int>(O::kind), ", expected ",
                          static_cast<int>(optimizer_), " (the rows carry its state)");
        });
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
    /// @param rows  located indices, all on one tier
    template <Executor E, IndexType Index>
    void touched(const E& exec, Span<const Index> rows) {
        if (slots_ == 0 || homes_.empty() || rows.empty()) return;
        const auto ref = placement_.ref();
        for_chunks(exec, rows.size(), std::size_t{1} << 13, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                if (is_fast(rows[i])) {
                    dirty_.mark(position_of(rows[i]));
                } else if (const Location at = ref.locate(rows[i]); at.fast) {
                    dirty_.mark(at.position);
                }
            }
        });
        newest_ = is_fast(rows[0]) ? Newest::fast : Newest::home;
    }

    /// Makes ready for batches of this kind: hot ones need the fast tier's rows to be current, all others the
    /// homes. Nothing moves if they are.
    /// @exec seq, par; returns when done
    /// @cost reads and writes rows * (dim + state) * sizeof(T) bytes for the rows that it moves
    template <Executor E>
    SyncReport synchronise(const E& exec, Heat coming, SyncExtent extent = SyncExtent::dirty) {
        return synchronise_tier(exec, coming == Heat::hot ? Newest::fast : Newest::home, extent);
    }

    /// Makes the homes current: before an evaluation at home, a checkpoint, or when a caller reads its own
    /// arrays.
    template <Executor E>
    SyncReport write_back(const E& exec, SyncExtent extent = SyncExtent::dirty) {
        return synchronise_tier(exec, Newest::home, extent);
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
    enum class Newest : std::uint8_t { both, fast, home };
    static constexpr std::size_t locate_grain = std::size_t{1} << 14;
    struct Owned {};
    struct Record {
        T* weights;
        T* state;
    };

    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement, Owned)
        : space_(std::move(space)),
          optimizer_(optimizer),
          layout_(row_layout<T>(space_.dim(), state_size(optimizer, space_.dim()))),
          placement_(std::move(placement)),
          slots_(placement_.slots(space_)),
          fast_(static_cast<std::size_t>(slots_) * layout_.stride),
          dirty_(slots_) {
        dirty_.mark_all();
    }

    [[nodiscard]] RowsView<T> fast_view() {
        return {fast_.data(), fast_.data() + layout_.dim, layout_.stride, layout_.stride, 0, slots_};
    }
    [[nodiscard]] const RowsView<T>& home_of(RowId row) const {
        return homes_.size() == 1 ? homes_[0] : homes_[space_.table_of(row)];
    }

    // The record that holds a row's current values.
    [[nodiscard]] Record authoritative(RowId row) {
        if (newest_ == Newest::fast) {
            if (const Location at = placement_.ref().locate(row); at.fast) {
                const RowsView<T> fast = fast_view();
                return {fast.weights_of(at.position), fast.state_of(at.position)};
            }
        }
        const RowsView<T>& home = home_of(row);
        return {home.weights_of(row), home.state_of(row)};
    }

    [[nodiscard]] bool is_own(const HotSet* hot_set) const {
        if constexpr (requires { placement_.hot_set(); }) {
            return hot_set == &placement_.hot_set();
        } else {
            return false;
        }
    }

    void after_overwrite() {
        if (homes_.empty() || slots_ == 0) return;
        if (newest_ == Newest::both) newest_ = Newest::home;
        dirty_.mark_all();
    }

    void require_newest(Route route) const {
        if (slots_ == 0 || homes_.empty()) return;
        require(route != Route::fast || newest_ != Newest::home, [] {
            return std::string("the fast tier is behind the homes, expected synchronise() before this batch");
        });
        require(route != Route::home || newest_ != Newest::fast, [] {
            return std::string(
                "the homes are behind the fast tier, expected synchronise() before this batch");
        });
    }

    void require_row(RowId row) const {
        require(row < space_.rows(),
                [&] { return concat("row ", row, ", expected less than ", space_.rows()); });
    }

    template <class U>
    void require_row_shapes(std::size_t rows, const MatrixView<U>& weights,
                            const MatrixView<U>& state) const {
        require_shape("weights", weights, rows, layout_.dim);
        if (state.data() != nullptr) require_shape("state", state, rows, layout_.state);
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
        SyncReport report;
        if (slots_ == 0 || homes_.empty()) return report;
        if (newest_ == Newest::both || newest_ == target) return report;
        if (extent == SyncExtent::whole) dirty_.mark_all();
        const RowsView<T> fast = fast_view();
        const auto ref = placement_.ref();
        dirty_.for_each(exec, [&](Slot slot) {
            const RowId row = ref.row_at(slot);
            const RowsView<T>& home = home_of(row);
            const bool up = target == Newest::fast;
            std::copy_n(up ? home.weights_of(row) : fast.weights_of(slot), layout_.dim,
                        up ? fast.weights_of(slot) : home.weights_of(row));
            std::copy_n(up ? home.state_of(row) : fast.state_of(slot), layout_.state,
                        up ? fast.state_of(slot) : home.state_of(row));
        });
        report.rows = dirty_.count();
        report.bytes = report.rows * (layout_.dim + layout_.state) * sizeof(T);
        dirty_.clear();
        newest_ = Newest::both;
        return report;
    }

    RowSpace space_;
    OptimizerKind optimizer_;
    RowLayout layout_;
    P placement_;
    std::uint64_t slots_;
    Buffer<T, typename P::FastSpace> fast_;
    Buffer<T, typename P::HomeSpace> home_;
    std::vector<RowsView<T>> homes_;
    DirtySlots dirty_;
    Newest newest_ = Newest::both;  // which tier holds the newest values of the rows that have a slot
};

}  // namespace fae::inline FAE_ABI
