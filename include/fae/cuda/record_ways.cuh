// SPDX-License-Identifier: Apache-2.0
//
// RecordWays: the two ways of row records between their homes in pinned memory and slots of a fast tier, and
// which of them is the quicker one on this machine, for how many rows, as measured.
//
//   staged     a thread of the host gathers records into a pinned buffer, or scatters them from there; a
//              kernel moves the packed records over the link
//   zero copy  a kernel addresses the homes row by row: the host does nothing, the link carries single rows
//
//   const cuda::RecordWays<float> ways(layout, homes, gatherers, scatterers);    // measures, milliseconds
//   ways.zero_copy_in(rows);                        // how that many rows should come in
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
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/row_source.hpp"
#include "fae/table/record_copy.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// Moves records between slots of a tier and packed memory of the host, over the link.
/// @par Launch one thread for 16 bytes of a record; a few blocks keep the link busy
template <bool to_slots>
__global__ void move_over_link(uint4* tier, const std::uint32_t* slots, uint4* records, std::uint32_t count,
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

/// The same between slots and the rows' homes themselves.
/// @par Launch as move_over_link
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

/// Queues the move of records by one of the two kernels.
/// @param rows  null for packed records; else `records` are the homes
/// @exec  cuda::On: queued
template <bool to_slots, class T>
void move_records_over_link(On on, T* tier, const std::uint32_t* slots, T* records, const std::uint64_t* rows,
                            std::size_t count, std::size_t stride) {
    constexpr unsigned most_blocks = 32;
    const auto vectors = static_cast<std::uint32_t>(stride * sizeof(T) / sizeof(uint4));
    const unsigned blocks = std::min(launch_grid(count * vectors, 256), most_blocks);
    auto* const fast = reinterpret_cast<uint4*>(tier);
    auto* const slow = reinterpret_cast<uint4*>(records);
    const auto number = static_cast<std::uint32_t>(count);
    if (rows == nullptr) {
        move_over_link<to_slots><<<blocks, 256, 0, on.stream>>>(fast, slots, slow, number, vectors);
        check_launch("move_over_link");
    } else {
        move_from_home<to_slots><<<blocks, 256, 0, on.stream>>>(fast, slots, slow, rows, number, vectors);
        check_launch("move_from_home");
    }
}

}  // namespace detail

/// Who decides how records travel.
enum class RecordWay : std::uint8_t {
    measured,   ///< whichever way is the quicker one for that many rows
    staged,     ///< always through a pinned buffer
    zero_copy,  ///< always from home to slot, where homes lie as records of the fast tier do
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

/// Both ways in both directions. Of the staged way, threads of the host and the link work beside each other:
/// what counts is the slower of them.
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
        is_possible_ = copy_.is_whole();
        if (asked == RecordWay::measured && is_possible_ && homes_.rows != 0) {
            measure(gatherers, scatterers);
        }
    }

    [[nodiscard]] const RecordCopy<T>& copy() const { return copy_; }
    /// Whether so many rows should come in, or leave, without the host.
    [[nodiscard]] bool zero_copy_in(std::size_t rows) const {
        return choose(rows, gather_, packed_in_, read_);
    }
    [[nodiscard]] bool zero_copy_out(std::size_t rows) const {
        return choose(rows, scatter_, packed_out_, write_);
    }

    /// What was measured; zero where nothing was. gather() and scatter() are those of all threads together.
    [[nodiscard]] const RecordCost& gather() const { return gather_; }
    [[nodiscard]] const RecordCost& scatter() const { return scatter_; }
    [[nodiscard]] const RecordCost& packed_in() const { return packed_in_; }
    [[nodiscard]] const RecordCost& packed_out() const { return packed_out_; }
    [[nodiscard]] const RecordCost& zero_copy_read() const { return read_; }
    [[nodiscard]] const RecordCost& zero_copy_write() const { return write_; }

  private:
    [[nodiscard]] bool choose(std::size_t rows, const RecordCost& host, const RecordCost& link,
                              const RecordCost& direct) const {
        if (!is_possible_ || asked_ == RecordWay::staged) return false;
        if (asked_ == RecordWay::zero_copy) return true;
        return direct.of(rows) <= std::max(host.of(rows), link.of(rows));
    }

    struct Record {
        T* weights;
        T* state;
    };

    /// What the measurements use.
    struct Trial {
        Trial(const RowsView<T>& homes, std::size_t stride, std::size_t most)
            : apart(homes.rows / most), rows(most), slots(most), packed(most * stride), tier(most * stride) {
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
        Buffer<T, DeviceSpace> tier;
        Stream stream;
        Event begun{Event::Timing::on};
        Event done{Event::Timing::on};
    };

    void measure(std::size_t gatherers, std::size_t scatterers) {
        constexpr std::uint64_t most = 16384;
        const auto many = static_cast<std::size_t>(std::min<std::uint64_t>(homes_.rows, most));
        const std::size_t few = many / 16;
        if (few == 0) return;
        Trial trial(homes_, layout_.stride, many);
        const auto home = [&](std::size_t i) {
            const RowId row = homes_.first + trial.rows[i];
            return Record{homes_.weights_of(row), homes_.state_of(row)};
        };
        const auto link = [&](auto to_slots, bool direct, std::size_t count) {
            detail::move_records_over_link<decltype(to_slots)::value>(
                cuda::on(trial.stream), trial.tier.data(), trial.slots.data(),
                direct ? homes_.weights : trial.packed.data(), direct ? trial.rows.data() : nullptr, count,
                layout_.stride);
        };
        const auto link_seconds = [&](auto to_slots, bool direct, std::size_t count) {
            trial.begun.record(cuda::on(trial.stream));
            link(to_slots, direct, count);
            trial.done.record(cuda::on(trial.stream));
            trial.done.synchronise();
            return 1e-3 * static_cast<double>(trial.done.milliseconds_since(trial.begun));
        };
        const auto host_seconds = [&](std::size_t threads, auto&& work) {
            const auto start = std::chrono::steady_clock::now();
            work();
            return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
                   static_cast<double>(threads);
        };
        constexpr std::true_type in;
        constexpr std::false_type out;
        const auto cost_of = [&](auto&& seconds_of) { return fit(trial, few, many, seconds_of); };
        // What is written to homes are their own bits: the same rows have been read before.
        read_ = cost_of([&](std::size_t count) { return link_seconds(in, true, count); });
        write_ = cost_of([&](std::size_t count) {
            link(in, true, count);
            return link_seconds(out, true, count);
        });
        packed_out_ = cost_of([&](std::size_t count) { return link_seconds(out, false, count); });
        packed_in_ = cost_of([&](std::size_t count) { return link_seconds(in, false, count); });
        gather_ = cost_of([&](std::size_t count) {
            return host_seconds(gatherers, [&] { copy_.gather(count, home, trial.packed.data()); });
        });
        scatter_ = cost_of([&](std::size_t count) {
            // By the device, so that the homes are in no cache of the host's.
            link(in, true, count);
            link(out, false, count);
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
    RecordCost packed_in_;
    RecordCost packed_out_;
    RecordCost read_;
    RecordCost write_;
};

}  // namespace fae::inline FAE_ABI::cuda
