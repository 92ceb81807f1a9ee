// SPDX-License-Identifier: Apache-2.0
//
// cuda::PinnedBatch: memory of one mini-batch on its way to the device, pinned and laid out as a training
// step reads it there: dense features at the stride of the model's first layer, everything back to back, so
// that one copy takes it along. A loader writes into it (schedule/batch_memory.hpp), on any thread.
//
//   cuda::PinnedBatch memory = trainer.pinned_batch();
//   LoadedBatch loaded = loader.load(seq, ref, memory);
//   trainer.step(cuda::on(stream), ref.step, {loaded, memory}, lr, route);
//   ... loader.load(seq, next, memory) waits until the copy of the batch is done ...
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/progress.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/schedule/batch_memory.hpp"

namespace fae::inline FAE_ABI::cuda {

/// What a step reads beside its batch.
struct StepNumbers {
    std::uint64_t number = 0;
    float lr = 0;
};

namespace detail {

/// Where the columns of a batch lie, back to back: those that every step reads first, the look-ups last.
/// @units bytes
struct BatchLayout {
    std::size_t labels;
    std::size_t dense;
    std::size_t offsets;
    std::size_t values;
    std::size_t bytes;

    BatchLayout(const BatchExtent& extent, std::size_t dense_stride) {
        const auto aligned = [](std::size_t at) { return round_up(at, std::size_t{256}); };
        labels = aligned(sizeof(StepNumbers));
        dense = aligned(labels + extent.inputs);
        offsets =
            aligned(dense + (extent.dense_features == 0 ? 0 : extent.inputs * dense_stride * sizeof(float)));
        values = aligned(offsets + extent.offsets * sizeof(std::uint64_t));
        bytes = values + extent.lookups * sizeof(std::uint32_t);
    }

    /// The columns in memory that begins at `at`.
    [[nodiscard]] BatchColumns columns(std::byte* at, const BatchExtent& extent,
                                       std::size_t dense_stride) const {
        return {{reinterpret_cast<std::uint8_t*>(at + labels), extent.inputs},
                {reinterpret_cast<float*>(at + dense), extent.inputs, extent.dense_features, dense_stride},
                {reinterpret_cast<std::uint32_t*>(at + values), extent.lookups},
                {reinterpret_cast<std::uint64_t*>(at + offsets), extent.offsets}};
    }
};

/// Copies from one place, counted: threads that load must not ask CUDA.
class Copies {
  public:
    /// One more is queued.
    void tell(On on) {
        done_.tell(on, ++count_);
        last_.record(on);
    }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    /// Returns when so many are done.
    void wait(std::uint64_t count) const {
        if (count != 0) wait_for(done_, count, last_);
    }
    void let_end() const { static_cast<void>(::cudaEventSynchronize(last_.get())); }

  private:
    Progress done_;
    Event last_;
    std::uint64_t count_ = 0;
};

}  // namespace detail

/// Pinned memory for one batch at a time. Move-only. Models BatchMemory.
class PinnedBatch {
  public:
    /// @param most          the largest batch
    /// @param dense_stride  from one input's dense features to the next one's, in elements
    /// @throws CudaError
    PinnedBatch(const BatchExtent& most, std::size_t dense_stride)
        : most_(most), dense_stride_(dense_stride), memory_(detail::BatchLayout(most, dense_stride).bytes) {}
    PinnedBatch(PinnedBatch&&) noexcept = default;
    PinnedBatch& operator=(PinnedBatch&&) noexcept = default;
    /// Waits for a copy that still reads the memory.
    ~PinnedBatch() {
        if (copies_ != nullptr) copies_->let_end();
    }

    /// The columns of the next batch. Waits until the copy of the batch before is done.
    /// @throws ContractError if it is larger than `most`; CudaError
    [[nodiscard]] BatchColumns columns(const BatchExtent& extent) {
        require(extent.inputs <= most_.inputs && extent.lookups <= most_.lookups, [&] {
            return concat("the batch has ", extent.inputs, " inputs and ", extent.lookups,
                          " look-ups, expected at most ", most_.inputs, " and ", most_.lookups);
        });
        require(extent.dense_features == most_.dense_features && extent.offsets <= most_.offsets, [&] {
            return concat("the batch has ", extent.dense_features, " dense features and ", extent.offsets,
                          " offsets, expected ", most_.dense_features, " and at most ", most_.offsets);
        });
        copies_->wait(copies_->count());
        extent_ = extent;
        return layout().columns(memory_.data(), extent, dense_stride_);
    }

    /// The columns of the batch that it holds: whoever looks at it before its step may rewrite it.
    [[nodiscard]] BatchColumns held() { return layout().columns(memory_.data(), extent_, dense_stride_); }
    /// Pinned bytes that a batch of this size takes.
    [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }

    /// Queues the copy of the batch to `device`, which is of as many bytes as this memory.
    /// @param with_lookups  false where the step finds its look-ups elsewhere
    /// @exec  cuda::On: queued
    void copy_to(On on, const StepNumbers& numbers, Span<std::byte> device, bool with_lookups) {
        *reinterpret_cast<StepNumbers*>(memory_.data()) = numbers;
        const std::size_t bytes = with_lookups ? layout().bytes : layout().offsets;
        copy(on, Span<const std::byte>(memory_.data(), bytes), device.subspan(0, bytes));
        copies_->tell(on);
    }
    /// The copies so far; they outlive the memory.
    [[nodiscard]] const std::shared_ptr<detail::Copies>& copies() const { return copies_; }
    /// The batch's columns where copy_to() brings them.
    [[nodiscard]] BatchColumns columns_at(std::byte* device) const {
        return layout().columns(device, extent_, dense_stride_);
    }

  private:
    [[nodiscard]] detail::BatchLayout layout() const { return {extent_, dense_stride_}; }

    BatchExtent most_;
    BatchExtent extent_;
    std::size_t dense_stride_ = 0;
    Buffer<std::byte, PinnedSpace> memory_;
    std::shared_ptr<detail::Copies> copies_ = std::make_shared<detail::Copies>();
};
static_assert(BatchMemory<PinnedBatch>);

}  // namespace fae::inline FAE_ABI::cuda
