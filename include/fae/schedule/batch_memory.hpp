// SPDX-License-Identifier: Apache-2.0
//
// Where a mini-batch is loaded to: memory that lays out the columns of a batch once it is told how large the
// batch is. A loader fills them. What copies batches to a device brings memory of its own, so that a batch is
// written once, where the copy reads it.
//
//   HostBatchMemory memory;
//   LoadedBatch batch = loader.load(seq, ref, memory);   // views of `memory`
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// How large a batch is.
struct BatchExtent {
    std::size_t inputs = 0;
    std::size_t dense_features = 0;
    std::size_t lookups = 0;
    std::size_t offsets = 0;  ///< bags + 1 where they are jagged, else 0
};

/// The columns of one batch, to be filled.
/// @shape labels [inputs]; dense [inputs, dense features], its stride the memory's choice; values [lookups];
///        offsets [offsets]
struct BatchColumns {
    Span<std::uint8_t> labels;
    MatrixView<float> dense;
    Span<std::uint32_t> values;
    Span<std::uint64_t> offsets;
};

/// Memory for one batch at a time: columns(extent) takes up the one before.
template <class M>
concept BatchMemory = requires(M& memory, const BatchExtent& extent) {
    { memory.columns(extent) } -> std::same_as<BatchColumns>;
};

/// Memory of the host's that grows to the largest batch seen.
class HostBatchMemory {
  public:
    [[nodiscard]] BatchColumns columns(const BatchExtent& extent) {
        labels_.resize(extent.inputs);
        dense_.resize(extent.inputs * extent.dense_features);
        values_.resize(extent.lookups);
        offsets_.resize(extent.offsets);
        return {labels_, {dense_.data(), extent.inputs, extent.dense_features}, values_, offsets_};
    }

  private:
    std::vector<std::uint8_t> labels_;
    std::vector<float> dense_;
    std::vector<std::uint32_t> values_;
    std::vector<std::uint64_t> offsets_;
};
static_assert(BatchMemory<HostBatchMemory>);

}  // namespace fae::inline FAE_ABI
