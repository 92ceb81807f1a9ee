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

    // Two numbers of rows give both parts of a cost.
    void measure(std::size_t gatherers, std::size_t scatterers) {
        constexpr std::uint64_t most = 8192;
        const auto many = static_cast<std::size_t>(std::min<std::uint64_t>(homes_.rows, most));
        const std::size_t few = many / 16;
        if (few == 0) return;
        Buffer<std::uint64_t, PinnedSpace> rows(many);
        Buffer<std::uint32_t, PinnedSpace> slots(many);
        Buffer<T, PinnedSpace> packed(many * layout_.stride);
        Buffer<T, DeviceSpace> tier(many * layout_.stride);
        const std::uint64_t apart = homes_.rows / many;
        for (std::size_t i = 0; i < many; ++i) {
            rows[i] = i * apart;
            slots[i] = static_cast<std::uint32_t>(i);
        }
        const Stream stream;
        Event begun(Event::Timing::on);
        Event done(Event::Timing::on);
        const auto home = [&](std::size_t i) {
            return Record{homes_.weights_of(homes_.first + rows[i]), homes_.state_of(homes_.first + rows[i])};
        };
        const auto link = [&](auto to_slots, bool direct) {
            return fit(few, many, [&](std::size_t count) {
                begun.record(cuda::on(stream));
                for (int i = 0; i < repetitions; ++i) {
                    detail::move_records_over_link<decltype(to_slots)::value>(
                        cuda::on(stream), tier.data(), slots.data(), direct ? homes_.weights : packed.data(),
                        direct ? rows.data() : nullptr, count, layout_.stride);
                }
                done.record(cuda::on(stream));
                done.synchronise();
                return 1e-3 * static_cast<double>(done.milliseconds_since(begun)) / repetitions;
            });
        };
        const auto host = [&](std::size_t threads, auto&& work) {
            RecordCost cost = fit(few, many, [&](std::size_t count) {
                const auto start = std::chrono::steady_clock::now();
                work(count);
                return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            });
            cost.once /= static_cast<double>(threads);
            cost.record /= static_cast<double>(threads);
            return cost;
        };
        // First from the homes into slots, so that what is written back later are their own bits.
        read_ = link(std::true_type{}, true);
        write_ = link(std::false_type{}, true);
        packed_out_ = link(std::false_type{}, false);
        packed_in_ = link(std::true_type{}, false);
        gather_ = host(gatherers, [&](std::size_t count) { copy_.gather(count, home, packed.data()); });
        scatter_ = host(scatterers, [&](std::size_t count) { copy_.scatter(count, packed.data(), home); });
    }

    struct Record {
        T* weights;
        T* state;
    };
    static constexpr int repetitions = 4;

    template <class F>
    [[nodiscard]] static RecordCost fit(std::size_t few, std::size_t many, F&& seconds_of) {
        const auto least = [&](std::size_t count) {
            static_cast<void>(seconds_of(count));  // caches and kernels are there
            double seconds = seconds_of(count);
            for (int i = 0; i < 4; ++i) seconds = std::min(seconds, static_cast<double>(seconds_of(count)));
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
