// SPDX-License-Identifier: Apache-2.0
//
// RecordWays: the two ways of row records between their homes in pinned memory and slots of a fast tier, and
// which of them is the quicker one on this machine, for how many rows, as measured.
//
//   staged     threads of the host gather records into a pinned buffer, or scatter them from there; a copy
//              engine takes them over the link, a short kernel puts them into slots or takes them out
//   zero copy  a kernel addresses the homes row by row: the host does nothing, but multiprocessors that steps
//              could use wait for the link
//
//   // Measures, for some milliseconds:
//   const cuda::RecordWays<float> ways(way, layout, homes, gatherers, scatterers);
//   ways.zero_copy_in(rows, step_seconds);      // how so many rows should come in beside such steps
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "fae/core/config.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/record_copy.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// Moves records between slots of a tier and packed memory of the device.
/// @par Launch one thread for 16 bytes of a record
template <bool to_slots>
__global__ void move_packed(uint4* tier, const std::uint32_t* slots, uint4* records, std::uint32_t count,
                            std::uint32_t vectors) {
    const std::uint64_t all = std::uint64_t{count} * vectors;
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < all;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint64_t r = i / vectors;
        uint4* const place = tier + std::uint64_t{slots[r]} * vectors + (i - r * vectors);
        if constexpr (to_slots) {
            *place = records[i];
        } else {
            records[i] = *place;
        }
    }
}

/// The same between slots and the rows' homes, over the link.
/// @par Launch as move_packed; a few blocks keep the link busy
template <bool to_slots>
__global__ void move_from_home(uint4* tier, const std::uint32_t* slots, uint4* homes,
                               const std::uint64_t* rows, std::uint32_t count, std::uint32_t vectors) {
    const std::uint64_t all = std::uint64_t{count} * vectors;
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < all;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint64_t r = i / vectors;
        uint4* const place = tier + std::uint64_t{slots[r]} * vectors + (i - r * vectors);
        uint4* const home = homes + rows[r] * vectors + (i - r * vectors);
        if constexpr (to_slots) {
            *place = *home;
        } else {
            *home = *place;
        }
    }
}

/// Queues either kernel for `count` records.
/// @exec  cuda::On: queued
template <bool to_slots, class T>
void queue_packed(On on, T* tier, const std::uint32_t* slots, T* records, std::size_t count,
                  std::size_t stride) {
    const auto vectors = static_cast<std::uint32_t>(stride * sizeof(T) / sizeof(uint4));
    move_packed<to_slots><<<launch_grid(count * vectors, 256), 256, 0, on.stream>>>(
        reinterpret_cast<uint4*>(tier), slots, reinterpret_cast<uint4*>(records),
        static_cast<std::uint32_t>(count), vectors);
    check_launch("move_packed");
}
template <bool to_slots, class T>
void queue_from_home(On on, T* tier, const std::uint32_t* slots, T* homes, const std::uint64_t* rows,
                     std::size_t count, std::size_t stride) {
    constexpr unsigned most_blocks = 32;
    const auto vectors = static_cast<std::uint32_t>(stride * sizeof(T) / sizeof(uint4));
    const unsigned blocks = std::min(launch_grid(count * vectors, 256), most_blocks);
    move_from_home<to_slots><<<blocks, 256, 0, on.stream>>>(reinterpret_cast<uint4*>(tier), slots,
                                                            reinterpret_cast<uint4*>(homes), rows,
                                                            static_cast<std::uint32_t>(count), vectors);
    check_launch("move_from_home");
}

}  // namespace detail

/// Who decides how records travel.
enum class RecordWay : std::uint8_t {
    measured,   ///< whichever way is the quicker one for that many rows
    staged,     ///< always through a pinned buffer
    zero_copy,  ///< always from home to slot, where homes are aligned and lie as records of the fast tier do
};

/// What a number of records costs.
/// @units seconds
struct RecordCost {
    double once = 0;    ///< however many there are
    double record = 0;  ///< each

    [[nodiscard]] double of(std::size_t records) const {
        return once + record * static_cast<double>(records);
    }
};

/// Both ways in both directions. Kernels take time from the steps that run meanwhile; threads of the host and
/// the link work beside them, and count where they are slower than the steps.
template <class T>
class RecordWays {
  public:
    /// @param homes  the rows, in PinnedSpace, one array; those that are tried keep their bits, and nobody
    ///               else may write them meanwhile
    /// @param gatherers, scatterers  threads of the staged way
    /// @cost  a few milliseconds where RecordWay::measured is asked for; its memory is given back
    /// @throws CudaError
    RecordWays(RecordWay asked, const RowLayout& layout, Span<const RowsView<T>> homes, std::size_t gatherers,
               std::size_t scatterers)
        : asked_(asked), copy_(layout, homes), layout_(layout), homes_(homes[0]) {
        const bool is_aligned = reinterpret_cast<std::uintptr_t>(homes_.weights) % sizeof(uint4) == 0;
        is_possible_ = asked != RecordWay::staged && is_aligned && copy_.is_whole();
        if (asked == RecordWay::measured && is_possible_) {
            is_possible_ = homes_.rows >= least_rows;  // of fewer, nothing would be known
            if (is_possible_) measure(gatherers, scatterers);
        }
    }

    [[nodiscard]] const RecordCopy<T>& copy() const { return copy_; }
    /// Whether so many rows should come in, or leave, without the host.
    /// @param step  seconds of the device that a step takes; 0: not known yet
    [[nodiscard]] bool zero_copy_in(std::size_t rows, double step) const {
        return choose(rows, step, gather_, copy_in_, put_, read_);
    }
    [[nodiscard]] bool zero_copy_out(std::size_t rows, double step) const {
        return choose(rows, step, scatter_, copy_out_, take_, write_);
    }

    /// What was measured; zero where nothing was. gather() and scatter() are one thread's, shared out to all;
    /// copies those of the link, put() and take() the short kernels.
    [[nodiscard]] const RecordCost& gather() const { return gather_; }
    [[nodiscard]] const RecordCost& copy_in() const { return copy_in_; }
    [[nodiscard]] const RecordCost& put() const { return put_; }
    [[nodiscard]] const RecordCost& zero_copy_read() const { return read_; }
    [[nodiscard]] const RecordCost& take() const { return take_; }
    [[nodiscard]] const RecordCost& copy_out() const { return copy_out_; }
    [[nodiscard]] const RecordCost& scatter() const { return scatter_; }
    [[nodiscard]] const RecordCost& zero_copy_write() const { return write_; }

  private:
    [[nodiscard]] bool choose(std::size_t rows, double step, const RecordCost& host, const RecordCost& link,
                              const RecordCost& kernel, const RecordCost& direct) const {
        if (!is_possible_) return false;
        if (asked_ == RecordWay::zero_copy) return true;
        const double staged = step + kernel.of(rows);
        const double beside = step == 0 ? 0 : std::max(host.of(rows), link.of(rows));
        return step + direct.of(rows) < std::max(staged, beside);
    }

    static constexpr std::uint64_t least_rows = 1024;

    struct Record {
        T* weights;
        T* state;
    };

    /// What the measurements use.
    struct Trial {
        Trial(const RowsView<T>& homes, std::size_t stride, std::size_t most)
            : apart(homes.rows / most),
              rows(most),
              slots(most),
              packed(most * stride),
              staging(most * stride),
              tier(most * stride) {
            for (std::size_t i = 0; i < most; ++i) slots[i] = static_cast<std::uint32_t>(i);
        }
        /// Other rows, spread over all: none of them is in a cache yet, unless the table fits one.
        void next_rows() {
            for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i * apart + turn % apart;
            ++turn;
        }

        std::uint64_t apart;
        std::uint64_t turn = 0;
        Buffer<std::uint64_t, PinnedSpace> rows;
        Buffer<std::uint32_t, PinnedSpace> slots;
        Buffer<T, PinnedSpace> packed;
        Buffer<T, DeviceSpace> staging;
        Buffer<T, DeviceSpace> tier;
        Stream stream;
        Event begun{Event::Timing::on};
        Event done{Event::Timing::on};
    };

    void measure(std::size_t gatherers, std::size_t scatterers) {
        constexpr std::uint64_t most = 16384;
        const auto many = static_cast<std::size_t>(std::min<std::uint64_t>(homes_.rows, most));
        const std::size_t few = many / 16;
        Trial trial(homes_, layout_.stride, many);
        const auto home = [&](std::size_t i) {
            const RowId row = homes_.first + trial.rows[i];
            return Record{homes_.weights_of(row), homes_.state_of(row)};
        };
        const On on = cuda::on(trial.stream);
        const auto device_seconds = [&](auto&& queue) {
            trial.begun.record(on);
            queue();
            trial.done.record(on);
            trial.done.synchronise();
            return 1e-3 * static_cast<double>(trial.done.milliseconds_since(trial.begun));
        };
        const auto host_seconds = [&](std::size_t threads, auto&& work) {
            const auto start = std::chrono::steady_clock::now();
            work();
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
                   static_cast<double>(threads);
        };
        const auto from_home = [&](auto to_slots, std::size_t count) {
            detail::queue_from_home<decltype(to_slots)::value>(on, trial.tier.data(), trial.slots.data(),
                                                               homes_.weights, trial.rows.data(), count,
                                                               layout_.stride);
        };
        const auto packed = [&](auto to_slots, std::size_t count) {
            detail::queue_packed<decltype(to_slots)::value>(on, trial.tier.data(), trial.slots.data(),
                                                            trial.staging.data(), count, layout_.stride);
        };
        const auto floats = [&](std::size_t count) { return count * layout_.stride; };
        const auto copy_in = [&](std::size_t count) {
            cuda::copy(on, Span<const T>(trial.packed.data(), floats(count)),
                       Span<T>(trial.staging.data(), floats(count)));
        };
        const auto copy_out = [&](std::size_t count) {
            cuda::copy(on, Span<const T>(trial.staging.data(), floats(count)),
                       Span<T>(trial.packed.data(), floats(count)));
        };
        constexpr std::true_type in;
        constexpr std::false_type out;
        const auto cost_of = [&](auto&& seconds_of) { return fit(trial, few, many, seconds_of); };
        // What is written to homes are their own bits: the same rows have been read before.
        read_ = cost_of([&](std::size_t count) { return device_seconds([&] { from_home(in, count); }); });
        write_ = cost_of([&](std::size_t count) {
            from_home(in, count);
            return device_seconds([&] { from_home(out, count); });
        });
        take_ = cost_of([&](std::size_t count) { return device_seconds([&] { packed(out, count); }); });
        copy_out_ = cost_of([&](std::size_t count) { return device_seconds([&] { copy_out(count); }); });
        copy_in_ = cost_of([&](std::size_t count) { return device_seconds([&] { copy_in(count); }); });
        put_ = cost_of([&](std::size_t count) { return device_seconds([&] { packed(in, count); }); });
        gather_ = cost_of([&](std::size_t count) {
            return host_seconds(gatherers, [&] { copy_.gather(count, home, trial.packed.data()); });
        });
        scatter_ = cost_of([&](std::size_t count) {
            // By the device, so that the homes are in no cache of the host's.
            from_home(in, count);
            packed(out, count);
            copy_out(count);
            trial.stream.synchronise();
            return host_seconds(scatterers, [&] { copy_.scatter(count, trial.packed.data(), home); });
        });
    }

    // Two numbers of rows give both parts of a cost.
    template <class F>
    [[nodiscard]] static RecordCost fit(Trial& trial, std::size_t few, std::size_t many, F&& seconds_of) {
        const auto least = [&](std::size_t count) {
            double seconds = 0;
            for (int i = 0; i < 6; ++i) {
                trial.next_rows();
                const double one = seconds_of(count);
                // The first loads kernels and pages.
                if (i != 0) seconds = i == 1 ? one : std::min(seconds, one);
            }
            return seconds;
        };
        const double of_few = least(few);
        const double of_many = least(many);
        RecordCost cost;
        cost.record = std::max(0.0, (of_many - of_few) / static_cast<double>(many - few));
        cost.once = std::max(0.0, of_few - cost.record * static_cast<double>(few));
        return cost;
    }

    RecordWay asked_;
    RecordCopy<T> copy_;
    RowLayout layout_;
    RowsView<T> homes_;
    bool is_possible_ = false;
    RecordCost gather_;
    RecordCost scatter_;
    RecordCost copy_in_;
    RecordCost copy_out_;
    RecordCost put_;
    RecordCost take_;
    RecordCost read_;
    RecordCost write_;
};

}  // namespace fae::inline FAE_ABI::cuda
