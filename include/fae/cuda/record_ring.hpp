// SPDX-License-Identifier: Apache-2.0
//
// RecordRing: memory for the row records of the batches that are under way in one direction, pinned and, for
// each piece of it, as much on the device; given out and taken back in the order of the batches.
//
//   cuda::RecordRing<float> ring(stride, rows);
//   auto records = ring.take(batch, count);           // memory is null while there is no room
//   ring.give_back(oldest);                            // all that batches before `oldest` took
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/memory/buffer.hpp"

namespace fae::inline FAE_ABI::cuda {

/// Records and the slots that they belong to. For one thread.
/// @cost bytes_for() bytes of pinned memory, device_bytes_for() bytes of the device
template <class T>
class RecordRing {
  public:
    /// Memory of one batch.
    struct Records {
        T* records = nullptr;            ///< [count, stride]
        T* on_device = nullptr;          ///< likewise
        std::uint32_t* slots = nullptr;  ///< [count]
        std::size_t count = 0;
    };

    /// @param rows     of all batches under way; a batch can take as many
    /// @param batches  the most that are under way
    RecordRing(std::size_t stride, std::size_t rows, std::size_t batches)
        : stride_(stride),
          records_(rows * stride),
          on_device_(rows * stride),
          slots_(rows),
          taken_(batches) {}

    [[nodiscard]] static std::uint64_t bytes_for(std::size_t stride, std::size_t rows) {
        return std::uint64_t{rows} * (stride * sizeof(T) + sizeof(std::uint32_t));
    }
    [[nodiscard]] static std::uint64_t device_bytes_for(std::size_t stride, std::size_t rows) {
        return std::uint64_t{rows} * stride * sizeof(T);
    }

    /// Takes memory for `count` records, one piece.
    /// @return false if there is no room before others are given back
    /// @pre    count is at most the ring's rows; less than `batches` are under way
    [[nodiscard]] bool take(std::uint64_t batch, std::size_t count, Records& records) {
        std::size_t at = end_;
        if (full_ == 0) {
            at = 0;
        } else if (begin_ < end_) {
            // Free: behind the end, and before the begin.
            if (slots_.size() - end_ < count) {
                if (begin_ < count) return false;
                at = 0;
            }
        } else if (begin_ - end_ < count) {
            return false;
        }
        taken_[(first_ + waiting_++) % taken_.size()] = {batch, at, count};
        records = {records_.data() + at * stride_, on_device_.data() + at * stride_, slots_.data() + at,
                   count};
        if (count == 0) return true;
        if (full_ == 0) begin_ = at;
        end_ = at + count;
        full_ += count;
        return true;
    }

    /// Takes back what batches before `batch` had.
    void give_back(std::uint64_t batch) {
        while (waiting_ != 0 && taken_[first_].batch < batch) {
            full_ -= taken_[first_].count;
            first_ = (first_ + 1) % taken_.size();
            --waiting_;
        }
        for (std::size_t i = 0; full_ != 0; ++i) {
            const Piece& piece = taken_[(first_ + i) % taken_.size()];
            begin_ = piece.at;
            if (piece.count != 0) break;
        }
    }

  private:
    struct Piece {
        std::uint64_t batch;
        std::size_t at;
        std::size_t count;
    };

    std::size_t stride_;
    Buffer<T, PinnedSpace> records_;
    Buffer<T, DeviceSpace> on_device_;
    Buffer<std::uint32_t, PinnedSpace> slots_;
    std::vector<Piece> taken_;  // a ring of waiting_ pieces from first_ on
    std::size_t first_ = 0;
    std::size_t waiting_ = 0;
    std::size_t full_ = 0;  // rows that are taken
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace fae::inline FAE_ABI::cuda
