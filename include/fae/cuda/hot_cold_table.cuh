// SPDX-License-Identifier: Apache-2.0
//
// HotColdTable over a fast tier in device memory and homes in host memory: the same class as the host's
// (table/hot_cold_table.hpp), for placements whose FastSpace the host cannot read.
//
//   using Placement = StaticPlacement<cuda::DeviceSpace, cuda::PinnedSpace>;
//   const auto exec = cuda::on(stream, par(threads));
//   HotColdTable<float, Placement> table(space, OptimizerKind::sgd, Placement(hot_set), cuda::on(stream));
//   table.initialise(exec, seed);
//   table.synchronise(exec, Heat::hot);                      // homes -> device, the rows that changed
//   Bags bags = table.locate(cuda::on(stream), step, lookups, located);
//   embedding_bag::forward(cuda::on(stream), table.source(), bags, Pooling::sum, pooled);
//
// Batches that are served at home go through cuda::HomeRoute (cuda/home_route.cuh); those of a placement that
// plans ahead, through cuda::LookaheadRoute. With AllHome there is no fast tier: that table is the host's,
// over pinned homes.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
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
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/dirty_slots.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/hot_set.hpp"
#include "fae/cuda/index_check.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/record_link.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/cuda/synchronise.cuh"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_init.hpp"
#include "fae/ops/optimizer.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/hot_cold_table.hpp"
#include "fae/table/placement.hpp"
#include "fae/table/record_copy.hpp"
#include "fae/table/table_tiers.hpp"

namespace fae::inline FAE_ABI {

namespace cuda::detail {

/// Draws the rows of a tier: weights as init_row, zeros behind them.
/// @par Launch one thread for four columns of a row
template <class Ref>
__global__ void draw_slots(float* tier, RowLayout layout, Ref ref, std::uint64_t slots,
                           const std::uint64_t* offsets, const float* scales, std::uint32_t tables,
                           std::uint64_t key) {
    const std::uint64_t blocks = layout.stride / 4;
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < slots * blocks;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint64_t slot = i / blocks;
        const auto block = static_cast<std::uint32_t>(i - slot * blocks);
        const RowId row = ref.row_at(slot);
        std::uint32_t table = 0;
        for (std::uint32_t high = tables; high - table > 1;) {
            const std::uint32_t middle = (table + high) / 2;
            (offsets[middle] <= row ? table : high) = middle;
        }
        const Block4 bits = fae::detail::embedding_block(key, table, row - offsets[table], block);
        for (std::uint32_t c = 0; c < 4; ++c) {
            tier[i * 4 + c] = block * 4 + c < layout.dim
                                  ? fae::detail::embedding_weight(bits.word[c], scales[table])
                                  : 0.0f;
        }
    }
}

/// Slots of the schedule's hot set, or row ids, to slots of the tier with the tier bit.
/// @par Launch one thread a look-up
/// @param hot  the hot set whose slots `values` are; of no rows where they are row ids
template <IndexType Index, class Ref>
__global__ void locate_rows(const Index* values, std::uint64_t count, HotSet::Ref hot, Ref ref,
                            Index* located, const IndexReport* report) {
    const bool spoilt = is_spoilt(report);
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < count;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        if (spoilt) {
            located[i] = ~Index{0};  // no slot
            continue;
        }
        const RowId row = hot.rows() != 0 ? hot.row_of(values[i]) : RowId{values[i]};
        located[i] = static_cast<Index>(ref.locate(row).position) | fast_bit<Index>;
    }
}

/// Slots of the tier itself.
/// @par Launch one thread a look-up
template <IndexType Index>
__global__ void locate_slots(const Index* values, std::uint64_t count, Index* located,
                             const IndexReport* report) {
    const bool spoilt = is_spoilt(report);
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < count;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        located[i] = spoilt ? ~Index{0} : values[i] | fast_bit<Index>;
    }
}

}  // namespace cuda::detail

/// Embedding rows with their optimizer state, in a fast tier on the device and at home on the host.
template <class T, Placement P>
requires(!P::FastSpace::host_accessible) class HotColdTable<T, P> : public TableTiers<T, P> {
    using Tiers = TableTiers<T, P>;
    using typename Tiers::Newest;
    using typename Tiers::Record;

  public:
    using Tiers::home_record;

    /// Owns the homes (pages of P::HomeSpace), not yet initialised.
    /// @exec   cuda::On: returns when done
    /// @cost   rows * stride * sizeof(T) bytes of home; slots * stride * sizeof(T) of device memory and one
    /// bit
    ///         a slot; three pieces of 8 MiB, pinned, and the same on the device
    /// @throws CudaError
    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement, cuda::On on)
        : Tiers(std::move(space), optimizer, std::move(placement)),
          marks_(on, slots_),
          link_(layout_.stride, slots_) {
        on.synchronise();
    }

    /// Borrows the homes: one view per table in host memory, updated in place; they outlive this table and
    /// hold the rows' first values.
    /// @throws ContractError as the host's; CudaError
    HotColdTable(RowSpace space, OptimizerKind optimizer, P placement, std::vector<RowsView<T>> homes,
                 cuda::On on)
        : Tiers(std::move(space), optimizer, std::move(placement), std::move(homes)),
          marks_(on, slots_),
          link_(layout_.stride, slots_) {
        on.synchronise();
    }

    /// Draws every row's weights (ops/embedding_init.hpp) and zeroes its state: at home, or on the device
    /// where the placement has no homes. Equal bit for bit.
    /// @exec cuda::OnWith: returns when done
    template <cuda::DeviceExecutor E>
    void initialise(const E& exec, std::uint64_t seed) requires std::same_as<T, float> {
        if (!homes_.empty()) {
            draw_rows(exec, seed, [&](RowId row) { return home_record(row); });
            newest_ = slots_ == 0 ? newest_ : Newest::home;
        } else if constexpr (std::is_empty_v<decltype(placement_.ref())>) {
            draw_on_device(exec.on(), seed);
        }
        after_overwrite();
    }

    /// Plans a batch that is served on the device and turns its look-ups into located indices.
    /// @param lookups  bags over device memory
    /// @param located  [lookups] in device memory, filled in; the returned bags view it
    /// @param hot      a device copy (all parts) of lookups.hot_set; needed where the batch is hot and the
    ///                 placement's slots are not that set's
    /// @exec   cuda::On: queued
    /// @throws ContractError if the fast tier is behind (synchronise first), the batch is served at home
    ///         (cuda::HomeRoute does that), or a hot batch names no hot set. A row or slot that does not
    ///         exist is an IndexError of the next synchronising call (FAE_CHECKED)
    template <IndexType Index>
    [[nodiscard]] Bags<Index> locate(cuda::On on, std::uint64_t step, const Lookups<Index>& lookups,
                                     Span<Index> located, const cuda::DeviceHotSet* hot = nullptr) {
        const StepPlan plan = plan_step(seq, step, lookups, located);
        require(plan.route == Route::fast,
                [] { return std::string("a batch that is served at home, expected one of the fast route"); });
        const Span<const Index> values = lookups.bags.values();
        const bool is_hot = lookups.heat == Heat::hot;
        if (!values.empty()) {
            const std::uint64_t bound = is_hot ? lookups.hot_set->size() : space_.rows();
            cuda::detail::look_at(on, values, cuda::detail::ValueBelow{bound}, "look-up ");
            if (is_hot && is_own(lookups.hot_set)) {
                cuda::detail::locate_slots<<<cuda::launch_grid(values.size(), 256), 256, 0, on.stream>>>(
                    values.data(), values.size(), located.data(), on.report);
                cuda::check_launch("locate_slots");
            } else if constexpr (std::is_empty_v<decltype(placement_.ref())>) {
                require(!is_hot || hot != nullptr, [] {
                    return std::string("a hot batch without a device copy of its hot set, expected one");
                });
                cuda::detail::locate_rows<<<cuda::launch_grid(values.size(), 256), 256, 0, on.stream>>>(
                    values.data(), values.size(), is_hot ? hot->ref() : HotSet::Ref(), placement_.ref(),
                    located.data(), on.report);
                cuda::check_launch("locate_rows");
            }
        }
        return lookups.bags.with_values(Span<const Index>(located.data(), located.size()));
    }

    /// The rows as operations on the device see them: the fast tier alone.
    [[nodiscard]] RowSource<T> source() { return {fast_view(), {}, {}}; }

    /// Says that training on the device changed these located rows.
    /// @param rows   in device memory, of the fast tier
    /// @param count  in device memory: how many of `rows` there are; null: all
    /// @exec  cuda::On: queued
    template <IndexType Index>
    void touched(cuda::On on, Span<const Index> rows, const std::uint32_t* count = nullptr) {
        mark_touched(on, rows, count);
        trained_on_device();
    }
    /// The device's part of touched(), to be captured in a graph; the host says trained_on_device() for every
    /// replay.
    template <IndexType Index>
    void mark_touched(cuda::On on, Span<const Index> rows, const std::uint32_t* count = nullptr) {
        if (!homes_.empty()) marks_.mark(on, rows, count);
    }
    void trained_on_device() {
        if (slots_ != 0 && !homes_.empty()) newest_ = Newest::fast;
    }

    /// Says that training changed these rows at home.
    /// @param rows  row ids in host memory
    template <Executor E, IndexType Index>
    void touched(const E& exec, Span<const Index> rows) {
        this->mark(exec, rows);
    }

    /// Makes ready for batches of this kind: the tier that the placement serves them on becomes current.
    /// Nothing moves if it is.
    /// @exec cuda::OnWith: what goes up is queued when it returns, and the homes may change again; what comes
    ///       down is there
    /// @cost reads and writes rows * record bytes on either side and on the link, and a bit a slot, in
    /// pieces:
    ///       the host's threads, the link and the device work beside each other
    template <cuda::DeviceExecutor E>
    SyncReport synchronise(const E& exec, Heat coming, SyncExtent extent = SyncExtent::dirty) {
        return synchronise_tier(exec, this->needed_by(coming), extent);
    }

    /// Makes the homes current.
    template <cuda::DeviceExecutor E>
    SyncReport write_back(const E& exec, SyncExtent extent = SyncExtent::dirty) {
        return synchronise_tier(exec, Newest::home, extent);
    }

    /// Reads rows by id, wherever they are current.
    /// @shape weights [rows, dim]; state [rows, state] or empty; in host memory
    /// @exec  cuda::OnWith: returns when done
    template <cuda::DeviceExecutor E>
    void read_rows(const E& exec, Span<const RowId> rows, MatrixView<T> weights, MatrixView<T> state = {}) {
        require_row_shapes(rows.size(), weights, state);
        for (const RowId row : rows) require_row(row);
        const auto put = [&](std::size_t i, const T* from_weights, const T* from_state) {
            std::copy_n(from_weights, layout_.dim, weights.row(i));
            if (state.data() != nullptr) std::copy_n(from_state, layout_.state, state.row(i));
        };
        const auto ref = placement_.ref();
        for_pieces(rows.size(), [&](std::size_t first, std::size_t count) {
            const auto piece = link_.wait(0);
            std::size_t asked = 0;
            for (std::size_t i = 0; i < count; ++i) {
                if (in_fast(ref, rows[first + i]))
                    piece.slots[asked++] = ref.locate(rows[first + i]).position;
            }
            link_.request(exec.on(), 0, asked, fast_view());
            static_cast<void>(link_.wait(0));
            const T* record = piece.records;
            for (std::size_t i = first; i < first + count; ++i) {
                if (in_fast(ref, rows[i])) {
                    put(i, record, record + layout_.dim);
                    record += layout_.stride;
                } else {
                    const Record home = home_record(rows[i]);
                    put(i, home.weights, home.state);
                }
            }
        });
    }

    /// Writes rows by id, to every tier that holds them.
    /// @shape weights [rows, dim]; state [rows, state] or empty (state is then kept); in host memory
    /// @pre   no row is named twice
    /// @exec  cuda::OnWith: returns when done
    template <cuda::DeviceExecutor E>
    void write_rows(const E& exec, Span<const RowId> rows, MatrixView<const T> weights,
                    MatrixView<const T> state = {}) {
        require_row_shapes(rows.size(), weights, state);
        for (const RowId row : rows) require_row(row);
        const auto ref = placement_.ref();
        const auto put = [&](std::size_t i, T* to_weights, T* to_state) {
            std::copy_n(weights.row(i), layout_.dim, to_weights);
            if (state.data() != nullptr) std::copy_n(state.row(i), layout_.state, to_state);
        };
        for_pieces(rows.size(), [&](std::size_t first, std::size_t count) {
            const auto piece = link_.wait(0);
            std::size_t asked = 0;
            for (std::size_t i = first; i < first + count; ++i) {
                if (!homes_.empty()) {
                    const Record home = home_record(rows[i]);
                    put(i, home.weights, home.state);
                }
                if (has_slot(ref, rows[i])) piece.slots[asked++] = ref.locate(rows[i]).position;
            }
            if (asked == 0) return;
            // What is not written, state or padding, must come back as it was.
            link_.request(exec.on(), 0, asked, fast_view());
            static_cast<void>(link_.wait(0));
            T* record = piece.records;
            for (std::size_t i = first; i < first + count; ++i) {
                if (!has_slot(ref, rows[i])) continue;
                put(i, record, record + layout_.dim);
                record += layout_.stride;
            }
            link_.send(exec.on(), 0, asked, fast_view());
            static_cast<void>(link_.wait(0));
        });
    }

    /// Adds every row's weights and state, in row order: equal for every placement. Where there are homes,
    /// they are made current first.
    /// @exec cuda::OnWith: returns when done
    template <cuda::DeviceExecutor E>
    void add_to(const E& exec, Digest& digest) {
        const auto add = [&](Digest& of_chunk, const T* weights, const T* state) {
            of_chunk.add_floats(Span<const T>(weights, layout_.dim));
            of_chunk.add_floats(Span<const T>(state, layout_.state));
        };
        if (!homes_.empty()) {
            write_back(exec);
            digest_rows(exec, digest, space_.rows(), [&](Digest& of_chunk, RowId row) {
                const Record home = home_record(row);
                add(of_chunk, home.weights, home.state);
            });
            return;
        }
        // Pieces are whole chunks of the digest, so it comes out as of all rows at once.
        const auto ref = placement_.ref();
        for_pieces(static_cast<std::size_t>(space_.rows()), [&](std::size_t first, std::size_t count) {
            const auto piece = link_.wait(0);
            for (std::size_t i = 0; i < count; ++i) piece.slots[i] = ref.locate(first + i).position;
            link_.request(exec.on(), 0, count, fast_view());
            static_cast<void>(link_.wait(0));
            digest_rows(exec, digest, count, [&](Digest& of_chunk, std::uint64_t i) {
                const T* const record = piece.records + i * layout_.stride;
                add(of_chunk, record, record + layout_.dim);
            });
        });
    }

  private:
    using Tiers::after_overwrite;
    using Tiers::dirty_;
    using Tiers::draw_rows;
    using Tiers::fast_is_newest;
    using Tiers::fast_view;
    using Tiers::homes_;
    using Tiers::is_behind;
    using Tiers::is_own;
    using Tiers::layout_;
    using Tiers::newest_;
    using Tiers::placement_;
    using Tiers::plan_step;
    using Tiers::require_row;
    using Tiers::require_row_shapes;
    using Tiers::slots_;
    using Tiers::space_;

    template <class F>
    void for_pieces(std::size_t rows, F&& f) {
        for (std::size_t first = 0; first < rows; first += link_.rows()) {
            f(first, std::min(link_.rows(), rows - first));
        }
    }

    template <class Ref>
    [[nodiscard]] bool has_slot(const Ref& ref, RowId row) const {
        return slots_ != 0 && ref.locate(row).fast;
    }
    template <class Ref>
    [[nodiscard]] bool in_fast(const Ref& ref, RowId row) const {
        return (homes_.empty() || fast_is_newest()) && has_slot(ref, row);
    }

    void draw_on_device(cuda::On on, std::uint64_t seed) requires std::same_as<T, float> {
        std::vector<float> scale;
        for (std::size_t t = 0; t < space_.table_count(); ++t) {
            scale.push_back(embedding_scale(space_.table(t).rows));
        }
        Buffer<float, cuda::DeviceSpace> scales(scale.size());
        Buffer<std::uint64_t, cuda::DeviceSpace> offsets(space_.offsets().size());
        cuda::copy(on, scale, scales.span());
        cuda::copy(on, space_.offsets(), offsets.span());
        cuda::detail::
            draw_slots<<<cuda::launch_grid(slots_ * (layout_.stride / 4), 256), 256, 0, on.stream>>>(
                fast_view().weights, layout_, placement_.ref(), slots_, offsets.data(), scales.data(),
                static_cast<std::uint32_t>(scale.size()), fae::detail::embedding_key(seed));
        cuda::check_launch("draw_slots");
        on.synchronise();
    }

    template <cuda::DeviceExecutor E>
    SyncReport synchronise_tier(const E& exec, Newest target, SyncExtent extent) {
        if (!is_behind(target)) return {};
        if (extent == SyncExtent::whole) {
            dirty_.mark_all();
        } else if (target == Newest::home) {
            dirty_.merge(marks_.read(exec.on()));
        }
        const auto ref = placement_.ref();
        if constexpr (requires { placement_.planner(); }) {
            dirty_.drop(exec, [&](Slot slot) { return ref.row_at(slot) == no_row; });
        }
        cuda::SlotMover<T> mover(exec, dirty_, link_);
        const RecordCopy<T> records(layout_, homes_);
        const auto home = [&](Slot slot) { return home_record(ref.row_at(slot)); };
        if (target == Newest::fast) {
            mover.up(exec, fast_view(), records, home);
        } else {
            mover.down(exec, fast_view(), records, home);
        }
        marks_.clear(exec.on());
        return this->synchronised(mover.rows());
    }

    cuda::DeviceDirtySlots marks_;  // of training on the device; dirty_ holds those of training at home
    cuda::RecordLink<T> link_;
};

}  // namespace fae::inline FAE_ABI
