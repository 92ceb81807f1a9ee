// SPDX-License-Identifier: Apache-2.0
//
// SlotMover: brings the records of marked slots from their homes to the device or back. The host's threads
// gather (scatter) piece after piece without waiting for each other, the link and the device work on earlier
// (later) pieces meanwhile. What HotColdTable synchronises with.
//
//   SlotMover<float> mover(exec, dirty, link);           // cuts the marked slots into pieces
//   mover.up(exec, fast, records, home_of_slot);         // homes -> device
//   mover.down(exec, fast, records, home_of_slot);       // device -> homes
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/record_link.cuh"
#include "fae/ops/row_source.hpp"
#include "fae/table/dirty_slots.hpp"
#include "fae/table/record_copy.hpp"

namespace fae::inline FAE_ABI::cuda {

/// One movement of marked slots. The link and the marks outlive it and are not used by others meanwhile.
template <class T>
class SlotMover {
  public:
    /// @cost a pass over the bits, and 16 bytes for 1,024 slots
    template <Executor E>
    SlotMover(const E& exec, const DirtySlots& dirty, RecordLink<T>& link) : dirty_(&dirty), link_(&link) {
        std::vector<std::size_t> rows(dirty.groups());
        for_chunks(exec, rows.size(), 256, [&](std::size_t begin, std::size_t end) {
            for (std::size_t g = begin; g < end; ++g) rows[g] = static_cast<std::size_t>(dirty.count_in(g));
        });
        for (const std::size_t of_group : rows) rows_ += of_group;
        // Few rows go in small pieces, so that gather, link and device still overlap.
        const auto piece_rows = static_cast<std::size_t>(
            std::clamp<std::uint64_t>(rows_ / 4 + 1, std::min(least_rows, link.rows()), link.rows()));
        for (std::size_t g = 0; g < rows.size(); ++g) {
            if (rows[g] == 0) continue;
            const bool new_piece = pieces_.empty() || pieces_.back().rows + rows[g] > piece_rows;
            if (new_piece) pieces_.push_back({});
            Part& piece = pieces_.back();
            if (new_piece || tasks_.back().rows + rows[g] > task_rows) {
                tasks_.push_back({pieces_.size() - 1, g, g, piece.rows, 0});
                ++piece.tasks;
            }
            tasks_.back().end = g + 1;
            tasks_.back().rows += rows[g];
            piece.rows += rows[g];
        }
    }

    /// The rows that are moved.
    [[nodiscard]] std::uint64_t rows() const { return rows_; }

    /// Brings records from home(slot) to the slots. What is queued on the stream then may still be under way;
    /// the homes have been read.
    /// @throws CudaError: some slots may have been written
    template <DeviceExecutor E, class HomeOf>
    void up(const E& exec, const RowsView<T>& fast, const RecordCopy<T>& records, HomeOf&& home) {
        std::vector<Gate> gates(pieces_.size());
        for (std::size_t k = 0; k < gates.size(); ++k) gates[k].left = pieces_[k].tasks;
        wait_for_link();
        in_order(exec, tasks_.size(), [&](std::size_t number) {
            const Task& task = tasks_[number];
            Gate& gate = gates[task.piece];
            if (task.piece >= depth && !arrived(gates[task.piece - depth], task.piece)) return;
            const auto piece = link_->at(place(task.piece));
            const Slot* const slots = name(task, piece);
            records.gather(
                task.rows, [&](std::size_t i) { return home(slots[i]); },
                piece.records + task.start * link_->stride());
            if (gate.left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
            link_->send(exec.on(), place(task.piece), pieces_[task.piece].rows, fast);
            gate.queued.store(true, std::memory_order_release);
        });
    }

    /// Brings records from the slots to home(slot); they are there when it returns.
    /// @throws CudaError: some homes may have been written
    template <DeviceExecutor E, class HomeOf>
    void down(const E& exec, const RowsView<T>& fast, const RecordCopy<T>& records, HomeOf&& home) {
        // The slots of a piece are named and its records asked for a few pieces before they are scattered.
        struct Step {
            bool names;
            std::size_t task;
        };
        std::vector<Step> steps;
        std::vector<std::size_t> first{0};
        for (const Part& piece : pieces_) first.push_back(first.back() + piece.tasks);
        const auto add = [&](bool names, std::size_t piece) {
            for (std::size_t t = first[piece]; t < first[piece + 1]; ++t) steps.push_back({names, t});
        };
        for (std::size_t k = 0; k < std::min(depth, pieces_.size()); ++k) add(true, k);
        for (std::size_t k = 0; k < pieces_.size(); ++k) {
            add(false, k);
            if (k + depth < pieces_.size()) add(true, k + depth);
        }
        std::vector<Gate> gates(pieces_.size());
        for (std::size_t k = 0; k < gates.size(); ++k) gates[k].unnamed = gates[k].left = pieces_[k].tasks;
        wait_for_link();
        in_order(exec, steps.size(), [&](std::size_t number) {
            const Task& task = tasks_[steps[number].task];
            Gate& gate = gates[task.piece];
            if (steps[number].names) {
                if (task.piece >= depth && !wait_for(gates[task.piece - depth].emptied)) return;
                static_cast<void>(name(task, link_->at(place(task.piece))));
                if (gate.unnamed.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
                link_->request(exec.on(), place(task.piece), pieces_[task.piece].rows, fast);
                gate.queued.store(true, std::memory_order_release);
            } else {
                if (!arrived(gate, task.piece)) return;
                const auto piece = link_->at(place(task.piece));
                const Slot* const slots = piece.slots + task.start;
                records.scatter(task.rows, piece.records + task.start * link_->stride(),
                                [&](std::size_t i) { return home(slots[i]); });
                if (gate.left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
                gate.emptied.store(true, std::memory_order_release);
            }
        });
    }

  private:
    static constexpr std::size_t depth = RecordLink<T>::pieces;
    static constexpr std::size_t task_rows = 1024;
    static constexpr std::size_t least_rows = 8192;  // of a piece

    // Groups of slots whose marked rows one thread moves at a time.
    struct Task {
        std::size_t piece;
        std::size_t begin;
        std::size_t end;
        std::size_t start;  // its first row in the piece
        std::size_t rows;
    };
    struct Part {
        std::size_t rows = 0;
        std::size_t tasks = 0;
    };
    // How far a piece is.
    struct Gate {
        std::atomic<std::size_t> unnamed{0};
        std::atomic<std::size_t> left{0};
        std::atomic<bool> queued{false};
        std::atomic<bool> asked{false};
        std::atomic<bool> ready{false};
        std::atomic<bool> emptied{false};
    };

    // Calls f(i) for i < n, begun in ascending order, by as many threads as the executor has; each call may
    // wait for earlier ones.
    template <DeviceExecutor E, class F>
    void in_order(const E& exec, std::size_t n, F&& f) {
        int device = 0;
        check(::cudaGetDevice(&device), "look for a CUDA device");
        std::atomic<std::size_t> next{0};
        failed_ = false;
        exec.run(std::min(exec.concurrency(), n), [&](std::size_t) {
            try {
                check(::cudaSetDevice(device), "choice of the CUDA device for a thread");
                for (std::size_t i = next.fetch_add(1); i < n && !failed_; i = next.fetch_add(1)) f(i);
            } catch (...) {
                failed_ = true;  // those who wait must not wait for ever
                throw;
            }
        });
    }

    // False if another thread has failed meanwhile.
    [[nodiscard]] bool wait_for(const std::atomic<bool>& flag) const {
        while (!flag.load(std::memory_order_acquire)) {
            if (failed_) return false;
            std::this_thread::yield();
        }
        return true;
    }

    [[nodiscard]] static unsigned place(std::size_t piece) { return static_cast<unsigned>(piece % depth); }

    // Returns when what was queued with a piece is done; false if another thread has failed. One thread asks
    // CUDA, for many at once would stand in the way of the one that queues.
    [[nodiscard]] bool arrived(Gate& gate, std::size_t piece) {
        if (gate.ready.load(std::memory_order_acquire)) return true;
        if (!wait_for(gate.queued)) return false;
        if (gate.asked.exchange(true)) return wait_for(gate.ready);
        static_cast<void>(link_->wait(place(piece)));
        gate.ready.store(true, std::memory_order_release);
        return true;
    }
    // What earlier movements queued is done.
    void wait_for_link() {
        for (unsigned piece = 0; piece < depth; ++piece) static_cast<void>(link_->wait(piece));
    }

    // Writes the marked slots of a task to their place in the piece.
    [[nodiscard]] const Slot* name(const Task& task, const typename RecordLink<T>::Piece& piece) const {
        Slot* to = piece.slots + task.start;
        for (std::size_t g = task.begin; g < task.end; ++g) {
            dirty_->for_each_in(g, [&](Slot slot) { *to++ = slot; });
        }
        return piece.slots + task.start;
    }

    const DirtySlots* dirty_;
    RecordLink<T>* link_;
    std::vector<Task> tasks_;
    std::vector<Part> pieces_;
    std::uint64_t rows_ = 0;
    std::atomic<bool> failed_{false};
};

}  // namespace fae::inline FAE_ABI::cuda
