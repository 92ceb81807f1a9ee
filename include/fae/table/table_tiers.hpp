// SPDX-License-Identifier: Apache-2.0
//
// TableTiers: what the tables of the host (table/hot_cold_table.hpp) and of a device
// (cuda/hot_cold_table.cuh) have in common: the shape, the two tiers, the homes by row, and which tier holds
// the newest values.
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
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_init.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/row_gradient.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/dirty_slots.hpp"
#include "fae/table/placement.hpp"
#include "fae/trace/metrics.hpp"

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
    Tier into = Tier::home;
};

/// The tiers of one row space under one placement. HotColdTable derives from it; a host uses that.
template <class T, Placement P>
class TableTiers {
  public:
    using value_type = T;
    /// One row's values.
    struct Record {
        T* weights;
        T* state;
    };
    static constexpr bool has_fast = !std::same_as<typename P::FastSpace, NoSpace>;

    [[nodiscard]] const RowSpace& space() const { return space_; }
    [[nodiscard]] const RowLayout& layout() const { return layout_; }
    [[nodiscard]] OptimizerKind optimizer() const { return optimizer_; }
    [[nodiscard]] const P& placement() const { return placement_; }
    [[nodiscard]] P& placement() { return placement_; }
    [[nodiscard]] std::uint64_t slots() const { return slots_; }
    /// The bytes of a row's weights and state, without padding.
    [[nodiscard]] std::uint64_t record_bytes() const { return (layout_.dim + layout_.state) * sizeof(T); }
    /// The homes: one view of all rows, one a table where the caller owns them, none where the placement has
    /// no homes.
    [[nodiscard]] Span<const RowsView<T>> homes() const { return homes_; }
    /// A row's record at home, current or not.
    /// @pre there are homes
    [[nodiscard]] Record home_record(RowId row) const {
        const RowsView<T>& home = home_of(row);
        return {home.weights_of(row), home.state_of(row)};
    }
    /// True unless the tier that a route needs is behind the other.
    [[nodiscard]] bool is_current(Route route) const {
        if (slots_ == 0 || homes_.empty()) return true;
        return newest_ == Newest::both || newest_ == (route == Route::home ? Newest::home : Newest::fast);
    }
    /// Throws ContractError if the tier that a route needs is behind the other.
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

    /// Says that rows have trained at home, in two parts: which ones, by any thread of those that bring them
    /// there, and that it has happened, by the one that asks for synchronisations.
    /// @param rows  row ids in host memory
    template <IndexType Index>
    void mark_at_home(Span<const Index> rows) {
        if (slots_ == 0) return;
        const auto ref = placement_.ref();
        for (const Index row : rows) {
            if (const Location at = ref.locate(row); at.fast) dirty_.mark(at.position);
        }
    }
    void trained_at_home() {
        if (slots_ != 0) newest_ = Newest::home;
    }

  protected:
    enum class Newest : std::uint8_t { both, fast, home };
    static constexpr std::size_t locate_grain = std::size_t{1} << 14;

    // Owns the homes, if the placement has any.
    TableTiers(RowSpace space, OptimizerKind optimizer, P placement)
        : TableTiers(std::move(space), optimizer, std::move(placement), Newest::fast) {
        if constexpr (!std::same_as<typename P::HomeSpace, NoSpace>) {
            home_ = decltype(home_)(static_cast<std::size_t>(space_.rows()) * layout_.stride);
            homes_.push_back(
                {home_.data(), home_.data() + layout_.dim, layout_.stride, layout_.stride, 0, space_.rows()});
            newest_ = Newest::home;
        }
    }

    // Borrows the homes.
    TableTiers(RowSpace space, OptimizerKind optimizer, P placement, std::vector<RowsView<T>> homes)
        : TableTiers(std::move(space), optimizer, std::move(placement), Newest::home) {
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
    }

    [[nodiscard]] RowsView<T> fast_view() {
        return {fast_.data(), fast_.data() + layout_.dim, layout_.stride, layout_.stride, 0, slots_};
    }
    [[nodiscard]] const RowsView<T>& home_of(RowId row) const {
        return homes_.size() == 1 ? homes_[0] : homes_[space_.table_of(row)];
    }
    // True where the fast tier alone holds the newest values of the rows that have a slot.
    [[nodiscard]] bool fast_is_newest() const { return newest_ == Newest::fast; }

    // Draws every row into the record that record_of(row) names.
    template <Executor E, class RecordOf>
    void draw_rows(const E& exec, std::uint64_t seed, RecordOf&& record_of) {
        for (std::size_t t = 0; t < space_.table_count(); ++t) {
            const float scale = embedding_scale(space_.table(t).rows);
            for_chunks(exec, static_cast<std::size_t>(space_.table(t).rows), 4096,
                       [&](std::size_t begin, std::size_t end) {
                           for (std::size_t r = begin; r < end; ++r) {
                               const auto [weights, state] = record_of(space_.offset(t) + r);
                               init_row(seed, static_cast<std::uint32_t>(t), r, scale,
                                        Span<float>(weights, layout_.dim));
                               std::fill_n(state, layout_.state, T{0});
                           }
                       });
        }
    }

    // Asks the placement about a batch, whose look-ups go to `located`.
    template <Executor E, IndexType Index>
    [[nodiscard]] StepPlan plan_step(const E& exec, std::uint64_t step, const Lookups<Index>& lookups,
                                     Span<Index> located) {
        require_located<Index>(located.size(), lookups.bags.lookups());
        require(lookups.heat != Heat::hot || lookups.hot_set != nullptr,
                [] { return std::string("a hot batch without its hot set, expected one"); });
        require_newest(placement_.route_of(lookups.heat));
        return placement_.plan(exec, step, lookups, located);
    }
    template <IndexType Index>
    void require_located(std::size_t located, std::size_t lookups) const {
        require(located == lookups,
                [&] { return concat("located has ", located, " entries, expected ", lookups); });
        space_.template require_fits<Index>();
    }

    [[nodiscard]] bool is_own(const HotSet* hot_set) const {
        if constexpr (requires { placement_.hot_set(); }) {
            return hot_set == &placement_.hot_set();
        } else {
            return false;
        }
    }

    void require_optimizer(OptimizerKind kind) const {
        require(kind == optimizer_, [&] {
            return concat("optimizer ", static_cast<int>(kind), ", expected ", static_cast<int>(optimizer_),
                          " (the rows carry its state)");
        });
    }

    // Marks the slots of rows, located indices. Those that have a slot are all on one tier: it is now the
    // newest.
    template <Executor E, IndexType Index>
    void mark(const E& exec, Span<const Index> rows) {
        if (slots_ == 0 || homes_.empty() || rows.empty()) return;
        const auto ref = placement_.ref();
        std::atomic<bool> in_fast{false};
        std::atomic<bool> at_home{false};
        for_chunks(exec, rows.size(), std::size_t{1} << 13, [&](std::size_t begin, std::size_t end) {
            bool fast = false;
            bool home = false;
            for (std::size_t i = begin; i < end; ++i) {
                if (is_fast(rows[i])) {
                    dirty_.mark(position_of(rows[i]));
                    fast = true;
                } else if (const Location at = ref.locate(rows[i]); at.fast) {
                    dirty_.mark(at.position);
                    home = true;
                }
            }
            if (fast) in_fast.store(true, std::memory_order_relaxed);
            if (home) at_home.store(true, std::memory_order_relaxed);
        });
        if (in_fast) newest_ = Newest::fast;
        if (at_home) newest_ = Newest::home;
    }

    void after_overwrite() {
        if (homes_.empty() || slots_ == 0) return;
        if (newest_ == Newest::both) newest_ = Newest::home;
        dirty_.mark_all();
    }

    // The tier that has to be current before batches of a kind.
    [[nodiscard]] Newest needed_by(Heat heat) const {
        return placement_.route_of(heat) == Route::home ? Newest::home : Newest::fast;
    }
    // True if there is anything to move before `target` is current.
    [[nodiscard]] bool is_behind(Newest target) const {
        return slots_ != 0 && !homes_.empty() && newest_ != Newest::both && newest_ != target;
    }
    // Ends a synchronisation that moved the marked rows.
    [[nodiscard]] SyncReport synchronised(std::uint64_t rows) {
        SyncReport report;
        report.rows = rows;
        report.bytes = report.rows * record_bytes();
        report.into = newest_ == Newest::fast ? Tier::home : Tier::fast;
        dirty_.clear();
        newest_ = Newest::both;
        return report;
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

    RowSpace space_;
    OptimizerKind optimizer_;
    RowLayout layout_;
    P placement_;
    std::uint64_t slots_;
    Buffer<T, typename P::FastSpace> fast_;
    Buffer<T, typename P::HomeSpace> home_;
    std::vector<RowsView<T>> homes_;
    DirtySlots dirty_;
    Newest newest_;  // which tier holds the newest values of the rows that have a slot

  private:
    TableTiers(RowSpace space, OptimizerKind optimizer, P placement, Newest newest)
        : space_(std::move(space)),
          optimizer_(optimizer),
          layout_(row_layout<T>(space_.dim(), state_size(optimizer, space_.dim()))),
          placement_(std::move(placement)),
          slots_(placement_.slots(space_)),
          fast_(static_cast<std::size_t>(slots_) * layout_.stride),
          dirty_(slots_),
          newest_(newest) {
        dirty_.mark_all();
    }
};

}  // namespace fae::inline FAE_ABI
