// SPDX-License-Identifier: Apache-2.0
//
// HomeRoute: trains batches whose rows are at home in host memory on the device. Each different row of a
// batch crosses the link once: host threads gather their records into pinned memory, they lie in batch order
// in a compact buffer on the device while the batch trains there, with the same kernels as any fast tier, and
// go home again. All of AllHome's batches take it, and the cold ones of StaticPlacement.
//
//   cuda::HomeRoute route(table, lookups_of_a_batch);
//   route.announce(cuda::on(stream), first);                    // look-ups in device memory
//   for (each batch) {
//       if (there is a next one) route.announce(cuda::on(stream), next);
//       auto batch = route.begin(cuda::on(stream, par(threads)));
//       ... queue the step on the stream: batch.rows, batch.located, batch.index ...
//       route.end(cuda::on(stream, par(threads)));              // works while the step runs
//   }
//   route.finish(par(threads));                                 // the homes are current
//
// While a batch trains, the one before goes home and the next is gathered. A row that the next batch shares
// with this one is not gathered: it is copied on the device, once this one has trained.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/hot_set.hpp"
#include "fae/cuda/index_check.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/row_index.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/placement.hpp"
#include "fae/table/record_copy.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// True if every feature looks up a table of its own, in the order of the tables: no row is then looked up by
/// two features.
[[nodiscard]] inline bool features_apart(const RowSpace& space) {
    const Span<const std::uint32_t> table_of = space.feature_table();
    for (std::size_t f = 1; f < table_of.size(); ++f) {
        if (table_of[f] <= table_of[f - 1]) return false;
    }
    return true;
}

/// Slots of a schedule's hot set to row ids.
/// @par Launch one thread a look-up
template <IndexType Index>
__global__ void rows_of_slots(const Index* slots, std::uint64_t count, HotSet::Ref hot, Index* rows,
                              const IndexReport* report) {
    const bool spoilt = is_spoilt(report);
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < count;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        rows[i] = spoilt ? Index{0} : static_cast<Index>(hot.row_of(slots[i]));
    }
}

/// The number of each look-up's row as a located index.
/// @par Launch one thread a look-up
template <IndexType Index>
__global__ void locate_ordinals(const std::uint32_t* ordinals, std::uint64_t count, Index* located) {
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < count;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        located[i] = static_cast<Index>(ordinals[i]) | fast_bit<Index>;
    }
}

/// Copies the records of rows that are in both lists, which ascend.
/// @par Launch one thread for 16 bytes of a record
template <IndexType Index>
__global__ void carry_records(const Index* rows, std::uint32_t count, uint4* records, const Index* from_rows,
                              std::uint32_t from_count, const uint4* from_records, std::uint32_t vectors) {
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x;
         i < std::uint64_t{count} * vectors; i += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint64_t r = i / vectors;
        const Index row = rows[r];
        std::uint32_t low = 0;
        std::uint32_t high = from_count;
        while (low < high) {
            const std::uint32_t middle = low + (high - low) / 2;
            if (from_rows[middle] < row) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low < from_count && from_rows[low] == row) {
            records[i] = from_records[std::uint64_t{low} * vectors + (i - r * vectors)];
        }
    }
}

}  // namespace detail

/// A batch whose rows are on the device: rows.weights_of(i) is the row of number i in the batch.
template <class T, IndexType Index>
struct HomeBatch {
    RowsView<T> rows;       ///< the fast view that the batch trains on
    Bags<Index> located;    ///< its look-ups: numbers of rows with the tier bit
    RowIndex<Index> index;  ///< for that view (RowIndex::over_gathered); index.rows are the row ids
    /// 0 to HomeRoute::stages - 1. Batches of equal shape and stage lie at the same addresses, so a graph
    /// that was captured for one can be replayed for the next.
    unsigned stage = 0;
};

/// The way of batches between the homes of a table and the device. Not for two threads at once.
template <class Table, IndexType Index = std::uint32_t>
class HomeRoute {
  public:
    using T = typename Table::value_type;
    static constexpr unsigned stages = 3;

    /// What a batch is for.
    enum class Use : std::uint8_t {
        train,  ///< its rows change and go home
        read,   ///< an evaluation: nothing goes home
    };

    /// @param table    outlives the route
    /// @param lookups  the most look-ups of a batch
    /// @cost  for each of three batches: look-ups x stride x sizeof(T) bytes of device memory and twice that
    /// of
    ///        pinned memory, and the row index
    /// @throws ContractError if the table has no homes; CudaError
    HomeRoute(Table& table, std::size_t lookups, Pooling pooling = Pooling::sum)
        : table_(&table),
          lookups_(lookups),
          capacity_(static_cast<std::size_t>(std::min<std::uint64_t>(lookups, table.space().rows()))),
          side_(Priority::high),
          in_(Priority::high),
          out_(Priority::high) {
        require(!table.homes().empty(), [] { return std::string("a table without homes, expected some"); });
        options_.pooling = pooling;
        options_.ordinals = true;
        options_.one_tier = true;
        // Rows ascend over all features only then.
        options_.features_apart = detail::features_apart(table.space());
        const std::size_t scratch = row_index_scratch<Index>(lookups, table.space().rows(), options_);
        for (Stage& stage : stages_) {
            stage.values = Buffer<Index, DeviceSpace>(lookups);
            stage.located = Buffer<Index, DeviceSpace>(lookups);
            stage.scratch = Buffer<std::byte, DeviceSpace>(scratch);
            // Row lists are copied whole, beyond what of them there is.
            fill_bytes(cuda::on(side_), stage.scratch.span(), 0);
            stage.records = Buffer<T, DeviceSpace>(capacity_ * stride());
            stage.list = Buffer<Index, PinnedSpace>(capacity_);
            stage.count = Buffer<std::uint32_t, PinnedSpace>(1);
            stage.gathered = Buffer<T, PinnedSpace>(capacity_ * stride());
            stage.returned = Buffer<T, PinnedSpace>(capacity_ * stride());
        }
    }
    HomeRoute(const HomeRoute&) = delete;
    HomeRoute& operator=(const HomeRoute&) = delete;
    /// Waits for what is still on its way. Rows that are not home yet are lost: finish() first.
    ~HomeRoute() {
        static_cast<void>(::cudaStreamSynchronize(side_.get()));
        static_cast<void>(::cudaStreamSynchronize(in_.get()));
        static_cast<void>(::cudaStreamSynchronize(out_.get()));
    }

    /// Says which batch comes next, at most one ahead of the one that begin() gives. Its different rows are
    /// found on the device, beside whatever the stream does.
    /// @param on       the stream on which the look-ups have been, or are being, brought to the device
    /// @param lookups  bags over device memory, unchanged until the batch has ended
    /// @param hot      a device copy (all parts) of lookups.hot_set where the batch is hot: its look-ups are
    ///                 slots of that set
    /// @exec   cuda::On: queued
    /// @throws ContractError if two batches are waiting already, or this one is larger than said; CudaError
    void announce(On on, const Lookups<Index>& lookups, const DeviceHotSet* hot = nullptr) {
        const Bags<Index>& bags = lookups.bags;
        require(announced_ < begun_ + 2,
                [] { return std::string("two batches are announced already, expected begin() first"); });
        require(bags.lookups() <= lookups_, [&] {
            return concat("the batch has ", bags.lookups(), " look-ups, expected at most ", lookups_);
        });
        require(lookups.heat != Heat::hot || hot != nullptr,
                [] { return std::string("a hot batch without a device copy of its hot set, expected one"); });
        Stage& stage = at(announced_);
        const On side = cuda::on(side_);
        ready_.record(on);
        ready_.wait(side);
        // The arrays were last read by the step of three batches ago, and by the one after it.
        stage.trained.wait(side);
        at(announced_ + 1).carried.wait(side);
        Span<const Index> values = bags.values();
        if (lookups.heat == Heat::hot && !values.empty()) {
            detail::look_at(side, values, detail::ValueBelow{hot->ref().size()}, "look-up ");
            detail::rows_of_slots<<<launch_grid(values.size(), 256), 256, 0, side.stream>>>(
                values.data(), values.size(), hot->ref(), stage.values.data(), side.report);
            check_launch("rows_of_slots");
            values = {stage.values.data(), values.size()};
        }
        Workspace workspace(stage.scratch.span());
        stage.index =
            build_row_index(side, bags.with_values(values), table_->space().rows(), workspace, options_);
        const Span<Index> located(stage.located.data(), values.size());
        if (!values.empty()) {
            detail::locate_ordinals<<<launch_grid(values.size(), 256), 256, 0, side.stream>>>(
                stage.index.ordinals.data(), values.size(), located.data());
            check_launch("locate_ordinals");
        }
        stage.bags = bags.with_values(Span<const Index>(located.data(), located.size()));
        const std::size_t most = stage.index.rows.size();
        copy(side, stage.index.rows, Span<Index>(stage.list.data(), most));
        copy(side, Span<const std::uint32_t>(stage.index.count, 1), stage.count.span());
        stage.listed.record(side);
        stage.is_gathered = false;
        ++announced_;
    }

    /// The announced batch, its rows on the device once the stream is there. Gathers them now if end() has
    /// not done so before.
    /// @exec   cuda::OnWith: queued, but for the gather
    /// @throws ContractError if none is announced, the one before has not ended, or the homes are behind the
    ///         fast tier (synchronise first); IndexError (FAE_CHECKED) for a look-up of the batch that names
    ///         no row; CudaError
    template <DeviceExecutor E>
    [[nodiscard]] HomeBatch<T, Index> begin(const E& exec) {
        require(!open_ && announced_ > begun_, [&] {
            return std::string(open_ ? "a batch has begun, expected end() first"
                                     : "no batch is announced, expected announce() first");
        });
        table_->require_newest(Route::home);
        Stage& stage = at(begun_);
        if (!stage.is_gathered) gather(exec, stage);
        stage.filled.wait(exec.on());
        if (before_ != nullptr && stage.rows != 0 && before_->rows != 0) {
            const std::size_t vectors = stride() * sizeof(T) / sizeof(uint4);
            detail::carry_records<<<launch_grid(stage.rows * vectors, 256), 256, 0, exec.on().stream>>>(
                stage.index.rows.data(), static_cast<std::uint32_t>(stage.rows),
                reinterpret_cast<uint4*>(stage.records.data()), before_->index.rows.data(),
                static_cast<std::uint32_t>(before_->rows),
                reinterpret_cast<const uint4*>(before_->records.data()), static_cast<std::uint32_t>(vectors));
            check_launch("carry_records");
        }
        stage.carried.record(exec.on());
        open_ = true;
        T* const records = stage.records.data();
        return {{records, records + table_->layout().dim, stride(), stride(), 0, stage.rows},
                stage.bags,
                stage.index.over_gathered(),
                static_cast<unsigned>(begun_ % stages)};
    }

    /// Says that the batch's step is queued on the stream. Its rows go home when it is done; meanwhile the
    /// batch before is brought home and the next one, if it is announced, is gathered.
    /// @exec   cuda::OnWith: queued, but for the host's part
    /// @throws ContractError if no batch has begun; CudaError
    template <DeviceExecutor E>
    void end(const E& exec, Use use = Use::train) {
        require(open_, [] { return std::string("no batch has begun, expected begin() first"); });
        Stage& stage = at(begun_);
        stage.trained.record(exec.on());
        if (use == Use::train) {
            send_home(stage);
            table_->trained_at_home();
        }
        ++begun_;
        open_ = false;
        bring_home(exec);
        before_ = use == Use::train ? &stage : nullptr;
        if (announced_ > begun_) gather(exec, at(begun_));
    }

    /// Returns when the rows of all batches are home. An announced batch is gathered again when it begins.
    /// @exec   seq, par, cuda::OnWith
    /// @throws ContractError if a batch has begun and not ended; CudaError
    template <Executor E>
    void finish(const E& exec) {
        require(!open_, [] { return std::string("a batch has begun, expected end() first"); });
        bring_home(exec);
        before_ = nullptr;
        if (announced_ > begun_) at(begun_).is_gathered = false;
    }

  private:
    static constexpr std::size_t most_pieces = 8;
    static constexpr std::size_t task_rows = 512;
    static constexpr std::size_t least_piece = 16;  // tasks

    struct Stage {
        Buffer<Index, DeviceSpace> values;  // row ids of a hot batch
        Buffer<Index, DeviceSpace> located;
        Buffer<std::byte, DeviceSpace> scratch;
        Buffer<T, DeviceSpace> records;   // [rows, stride] while the batch trains
        Buffer<Index, PinnedSpace> list;  // [rows] ascending
        Buffer<std::uint32_t, PinnedSpace> count;
        Buffer<T, PinnedSpace> gathered;  // [rows, stride] on their way to the device
        Buffer<T, PinnedSpace> returned;  // and back
        RowIndex<Index> index;
        Bags<Index> bags;
        Event listed;
        Event filled;
        Event carried;
        Event trained;
        std::array<Event, most_pieces> back;  // one for each piece of `returned`
        Event home;                           // all of them
        std::size_t rows = 0;
        bool is_gathered = false;
    };

    // The records of a batch cross the link in a few pieces of whole tasks.
    struct Pieces {
        std::size_t tasks = 0;
        std::size_t tasks_in = 1;  // each
        std::size_t rows = 0;

        explicit Pieces(std::size_t all_rows)
            : tasks(ceil_div(all_rows, task_rows)),
              tasks_in(std::max(ceil_div(tasks, most_pieces), least_piece)),
              rows(all_rows) {}
        [[nodiscard]] std::size_t count() const { return ceil_div(tasks, tasks_in); }
        [[nodiscard]] std::size_t begin(std::size_t piece) const { return piece * tasks_in * task_rows; }
        [[nodiscard]] std::size_t end(std::size_t piece) const { return std::min(begin(piece + 1), rows); }
        [[nodiscard]] std::size_t tasks_of(std::size_t piece) const {
            return std::min(tasks_in, tasks - piece * tasks_in);
        }
    };

    [[nodiscard]] Stage& at(std::uint64_t batch) { return stages_[batch % stages]; }
    [[nodiscard]] std::size_t stride() const { return table_->layout().stride; }

    // Brings the records of a batch's rows to the device, but for those that the batch before has.
    template <DeviceExecutor E>
    void gather(const E& exec, Stage& stage) {
        stage.listed.synchronise();
        if constexpr (checked) side_.synchronise();  // throws what was reported
        stage.filled.synchronise();                  // the pinned memory is free
        stage.rows = stage.count[0];
        const On in = cuda::on(in_);
        // The compact buffer was last read on its way home, and by the batch after.
        stage.home.wait(in);
        at(static_cast<std::uint64_t>(&stage - stages_.data()) + 1).carried.wait(in);
        stage.trained.wait(in);
        const Span<const Index> known =
            before_ == nullptr ? Span<const Index>() : Span<const Index>(before_->list.data(), before_->rows);
        const RecordCopy<T> records(table_->layout(), table_->homes());
        const Pieces pieces(stage.rows);
        std::array<std::atomic<std::size_t>, most_pieces> left;
        for (std::size_t p = 0; p < pieces.count(); ++p) left[p] = pieces.tasks_of(p);
        int device = 0;
        check(::cudaGetDevice(&device), "look for a CUDA device");
        exec.run(pieces.tasks, [&](std::size_t task) {
            const std::size_t first = task * task_rows;
            const std::size_t last = std::min(first + task_rows, stage.rows);
            std::array<std::uint32_t, task_rows> wanted;
            std::size_t count = 0;
            const Index* shared = std::lower_bound(known.begin(), known.end(), stage.list[first]);
            for (std::size_t r = first; r < last; ++r) {
                while (shared != known.end() && *shared < stage.list[r]) ++shared;
                if (shared == known.end() || *shared != stage.list[r]) {
                    wanted[count++] = static_cast<std::uint32_t>(r);
                }
            }
            records.gather_each(
                count, [&](std::size_t i) { return table_->home_record(stage.list[wanted[i]]); },
                [&](std::size_t i) { return stage.gathered.data() + wanted[i] * stride(); });
            const std::size_t piece = task / pieces.tasks_in;
            if (left[piece].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
            check(::cudaSetDevice(device), "choice of the CUDA device for a thread");
            const std::size_t begin = pieces.begin(piece) * stride();
            const std::size_t size = pieces.end(piece) * stride() - begin;
            copy(in, Span<const T>(stage.gathered.data() + begin, size),
                 Span<T>(stage.records.data() + begin, size));
        });
        stage.filled.record(in);
        stage.is_gathered = true;
    }

    // Queues the way back of a batch that trains.
    void send_home(Stage& stage) {
        const On out = cuda::on(out_);
        stage.trained.wait(out);
        const Pieces pieces(stage.rows);
        for (std::size_t p = 0; p < pieces.count(); ++p) {
            const std::size_t begin = pieces.begin(p) * stride();
            const std::size_t size = pieces.end(p) * stride() - begin;
            copy(out, Span<const T>(stage.records.data() + begin, size),
                 Span<T>(stage.returned.data() + begin, size));
            stage.back[p].record(out);
        }
        stage.home.record(out);
    }

    // Scatters the rows of the batch before to their homes.
    template <Executor E>
    void bring_home(const E& exec) {
        if (before_ == nullptr) return;
        Stage& stage = *before_;
        const RecordCopy<T> records(table_->layout(), table_->homes());
        const Pieces pieces(stage.rows);
        int device = 0;
        check(::cudaGetDevice(&device), "look for a CUDA device");
        exec.run(pieces.tasks, [&](std::size_t task) {
            check(::cudaSetDevice(device), "choice of the CUDA device for a thread");
            stage.back[task / pieces.tasks_in].synchronise();
            const std::size_t first = task * task_rows;
            const std::size_t count = std::min(task_rows, stage.rows - first);
            records.scatter(count, stage.returned.data() + first * stride(),
                            [&](std::size_t i) { return table_->home_record(stage.list[first + i]); });
            table_->mark_at_home(Span<const Index>(stage.list.data() + first, count));
        });
    }

    Table* table_;
    std::size_t lookups_;
    std::size_t capacity_;
    RowIndexOptions options_;
    Stream side_;
    Stream in_;
    Stream out_;
    Event ready_;
    std::array<Stage, stages> stages_;
    std::uint64_t announced_ = 0;
    std::uint64_t begun_ = 0;  // batches that have ended; the one that is open or comes next has this number
    bool open_ = false;
    Stage* before_ = nullptr;  // the batch that trains, or has trained, and is not home yet
};

}  // namespace fae::inline FAE_ABI::cuda
