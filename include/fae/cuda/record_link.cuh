// SPDX-License-Identifier: Apache-2.0
//
// RecordLink: the way of row records between host memory and any slots of a fast tier in device memory, in
// pieces, so that the host's gather or scatter, the link and the device's run beside each other.
//
//   auto piece = link.wait(k % link.pieces);           // pinned memory, free to be filled
//   ... threads fill piece.slots and piece.records ...
//   link.send(on, k % link.pieces, count, fast);       // queued; the next piece can be filled meanwhile
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/row_source.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// Copies records, packed one behind the other, to the slots that are named beside them, or from there.
/// @par Launch one thread for 16 bytes of a record
template <bool to_slots>
__global__ void move_records(uint4* tier, const Slot* slots, uint4* records, std::uint32_t count,
                             std::uint32_t vectors) {
    const std::uint32_t all = count * vectors;
    for (std::uint32_t i = blockIdx.x * blockDim.x + threadIdx.x; i < all; i += gridDim.x * blockDim.x) {
        const std::uint32_t r = i / vectors;
        uint4* const place = tier + slots[r] * vectors + (i - r * vectors);
        if constexpr (to_slots) {
            *place = records[i];
        } else {
            records[i] = *place;
        }
    }
}

}  // namespace detail

/// Pinned and device memory for a few pieces of records on their way. Not for two movements at once.
template <class T>
class RecordLink {
  public:
    static constexpr unsigned pieces = 3;
    static constexpr std::size_t piece_bytes = std::size_t{8} << 20;

    /// A piece in host memory.
    struct Piece {
        Slot* slots;  ///< [rows()]
        T* records;   ///< [rows(), stride]
    };

    /// @param stride  of a record, a multiple of 16 bytes
    /// @param most    rows that will ever be moved at once; a small table takes small pieces
    /// @cost  three pieces of about 8 MiB, pinned, and the same in device memory
    RecordLink(std::size_t stride, std::uint64_t most)
        : stride_(stride),
          rows_(piece_rows(stride, most)),
          host_slots_(rows_ * pieces),
          host_records_(rows_ * pieces * stride),
          device_slots_(rows_ * pieces),
          device_records_(rows_ * pieces * stride) {}
    RecordLink(RecordLink&&) noexcept = default;
    RecordLink& operator=(RecordLink&&) noexcept = default;
    /// Waits for what is still on its way through this memory.
    ~RecordLink() {
        for (Event& event : done_) {
            if (event.get() != nullptr) static_cast<void>(::cudaEventSynchronize(event.get()));
        }
    }

    /// The most rows of a piece, a multiple of 1,024.
    [[nodiscard]] std::size_t rows() const { return rows_; }

    [[nodiscard]] std::size_t stride() const { return stride_; }

    /// Returns when what was queued with this piece is done: it can be filled, or holds what was requested.
    /// Several threads may wait.
    [[nodiscard]] Piece wait(unsigned piece) {
        done_[piece].synchronise();
        return at(piece);
    }
    /// The same where it is known to be done.
    [[nodiscard]] Piece at(unsigned piece) {
        return {host_slots_.data() + piece * rows_, host_records_.data() + piece * rows_ * stride_};
    }

    /// Queues the way of `count` filled records to their slots.
    void send(On on, unsigned piece, std::size_t count, const RowsView<T>& tier) {
        copy_in(on, piece, count);
        copy(on, Span<const T>(host_records_.data() + piece * rows_ * stride_, count * stride_),
             records(piece, count));
        move<true>(on, piece, count, tier);
        done_[piece].record(on);
    }

    /// Queues the way of `count` records from the slots that the piece names.
    void request(On on, unsigned piece, std::size_t count, const RowsView<T>& tier) {
        copy_in(on, piece, count);
        move<false>(on, piece, count, tier);
        copy(on, records(piece, count),
             Span<T>(host_records_.data() + piece * rows_ * stride_, count * stride_));
        done_[piece].record(on);
    }

  private:
    [[nodiscard]] static std::size_t piece_rows(std::size_t stride, std::uint64_t most) {
        const std::size_t fit = std::max<std::size_t>(piece_bytes / (stride * sizeof(T)) / 1024, 1) * 1024;
        return static_cast<std::size_t>(std::min<std::uint64_t>(fit, round_up<std::uint64_t>(most, 1024)));
    }
    [[nodiscard]] Span<T> records(unsigned piece, std::size_t count) {
        return {device_records_.data() + piece * rows_ * stride_, count * stride_};
    }
    void copy_in(On on, unsigned piece, std::size_t count) {
        copy(on, Span<const Slot>(host_slots_.data() + piece * rows_, count),
             Span<Slot>(device_slots_.data() + piece * rows_, count));
    }
    template <bool to_slots>
    void move(On on, unsigned piece, std::size_t count, const RowsView<T>& tier) {
        if (count == 0) return;
        const std::size_t vectors = stride_ * sizeof(T) / sizeof(uint4);
        detail::move_records<to_slots><<<launch_grid(count * vectors, 256), 256, 0, on.stream>>>(
            reinterpret_cast<uint4*>(tier.weights), device_slots_.data() + piece * rows_,
            reinterpret_cast<uint4*>(device_records_.data() + piece * rows_ * stride_),
            static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(vectors));
        check_launch("move_records");
    }

    std::size_t stride_;
    std::size_t rows_;
    Buffer<Slot, PinnedSpace> host_slots_;
    Buffer<T, PinnedSpace> host_records_;
    Buffer<Slot, DeviceSpace> device_slots_;
    Buffer<T, DeviceSpace> device_records_;
    std::array<Event, pieces> done_;
};

}  // namespace fae::inline FAE_ABI::cuda
