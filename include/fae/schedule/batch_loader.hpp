// SPDX-License-Identifier: Apache-2.0
//
// BatchLoader: gathers the inputs of a mini-batch from a packed data set into contiguous columns.
//
//   BatchLoader loader(packed);
//   for (BatchRef batch; scheduler.next(batch);) {
//       LoadedBatch loaded = loader.load(par(threads), batch);   // labels, dense features, look-ups
//   }
//
// The columns are the loader's own, or those of memory that the caller hands in (schedule/batch_memory.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/span.hpp"
#include "fae/io/packed.hpp"
#include "fae/schedule/batch_memory.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// The columns of one mini-batch, in batch order. Views are valid until the loader's next call, or until the
/// memory that it was given takes another batch.
/// @shape labels [batch]; dense [batch, dense features]; lookups batch * features bags, sample-major
struct LoadedBatch {
    Span<const std::uint8_t> labels;
    MatrixView<const float> dense;
    Lookups<std::uint32_t> lookups;

    [[nodiscard]] std::size_t size() const { return labels.size(); }
};

/// Gathers batches. Hot batches keep their slots; mixed ones get row ids for all their look-ups.
/// @cost reads and writes each input's record once, fetching those of inputs to come; memory grows to the
///       largest batch seen
class BatchLoader {
  public:
    /// @param data  outlives the loader
    explicit BatchLoader(const PackedDataset& data) : data_(&data) {}

    /// The inputs of a batch that a schedule over this data set emitted.
    /// @throws ContractError if an input number is outside its class
    template <Executor E>
    [[nodiscard]] LoadedBatch load(const E& exec, const BatchRef& batch) {
        return load(exec, batch, own_);
    }
    /// The same, into memory of the caller's.
    template <Executor E, BatchMemory Memory>
    [[nodiscard]] LoadedBatch load(const E& exec, const BatchRef& batch, Memory& memory) {
        const std::size_t count = batch.inputs.size();
        places_.resize(count);
        const std::size_t bound = batch.heat == Heat::hot    ? data_->hot().inputs()
                                  : batch.heat == Heat::cold ? data_->cold().inputs()
                                                             : data_->inputs();
        for (std::size_t i = 0; i < count; ++i) {
            require(batch.inputs[i] < bound,
                    [&] { return concat("input ", batch.inputs[i], ", expected less than ", bound); });
        }
        for_chunks(exec, count, grain, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) places_[i] = place_of(batch.heat, batch.inputs[i]);
        });
        return gather(exec, batch.heat, memory);
    }

    /// `count` consecutive inputs of one kind from `first` on, without copying where bags are fixed.
    template <Executor E>
    [[nodiscard]] LoadedBatch load_range(const E& exec, const InputColumns& columns, std::size_t first,
                                         std::size_t count) {
        require(first <= columns.inputs() && count <= columns.inputs() - first, [&] {
            return concat("inputs ", first, " to ", first + count, ", expected at most ", columns.inputs());
        });
        if (columns.bags.is_fixed()) {
            const std::size_t width = columns.bags.bag_size() * columns.bags.features();
            LoadedBatch loaded;
            loaded.labels = columns.labels.subspan(first, count);
            loaded.dense = columns.dense.row_range(first, count);
            loaded.lookups = {
                columns.heat,
                Bags<std::uint32_t>::fixed(columns.bags.values().subspan(first * width, count * width),
                                           columns.bags.bag_size(), columns.bags.features()),
                columns.heat == Heat::hot ? &data_->hot_set() : nullptr};
            return loaded;
        }
        places_.resize(count);
        for (std::size_t i = 0; i < count; ++i) places_[i] = {&columns, first + i};
        return gather(exec, columns.heat, own_);
    }

  private:
    static constexpr std::size_t grain = 256;
    static constexpr std::size_t ahead = 12;  // inputs fetched before their turn
    static constexpr std::size_t line = 64;
    struct Place {
        const InputColumns* columns = nullptr;
        std::size_t input = 0;
    };

    [[nodiscard]] Place place_of(Heat heat, std::uint64_t input) const {
        const auto i = static_cast<std::size_t>(input);
        if (heat == Heat::hot) return {&data_->hot(), i};
        if (heat == Heat::cold) return {&data_->cold(), i};
        const auto ref = data_->hot_inputs().ref();
        const auto hot_before = static_cast<std::size_t>(ref.rank(input));
        return ref.contains(input) ? Place{&data_->hot(), hot_before} : Place{&data_->cold(), i - hot_before};
    }

    static void fetch(const void* from, std::size_t bytes) {
        const char* const first = static_cast<const char*>(from);
        for (std::size_t b = 0; b < bytes; b += line) prefetch(first + b);
        if (bytes != 0) prefetch(first + bytes - 1);
    }
    // Asks for what the gathering of an input will read.
    void fetch(const Place& place) const {
        const auto& [columns, input] = place;
        const std::size_t features = columns->bags.features();
        const std::size_t from = columns->bags.begin(input * features);
        const std::size_t lookups = columns->bags.begin((input + 1) * features) - from;
        prefetch(columns->labels.data() + input);
        fetch(columns->dense.row(input), columns->dense.columns() * sizeof(float));
        fetch(columns->bags.values().data() + from, lookups * sizeof(std::uint32_t));
    }

    // The look-ups at places_, and where each bag begins if bags are jagged.
    [[nodiscard]] std::size_t count_lookups(bool jagged) {
        const std::size_t features = data_->shape().features();
        if (!jagged) return places_.size() * data_->cold().bags.bag_size() * features;
        offsets_.resize(places_.size() * features + 1);
        offsets_[0] = 0;
        for (std::size_t i = 0; i < places_.size(); ++i) {
            const auto& [columns, input] = places_[i];
            for (std::size_t f = 0; f < features; ++f) {
                const std::size_t bag = input * features + f;
                offsets_[i * features + f + 1] =
                    offsets_[i * features + f] + (columns->bags.end(bag) - columns->bags.begin(bag));
            }
        }
        return static_cast<std::size_t>(offsets_.back());
    }

    // Copies the inputs at places_ in order.
    template <Executor E, BatchMemory Memory>
    LoadedBatch gather(const E& exec, Heat heat, Memory& memory) {
        const std::size_t count = places_.size();
        const std::size_t features = data_->shape().features();
        const std::size_t dense_features = data_->shape().dense_features;
        const bool jagged = !data_->cold().bags.is_fixed();
        const std::size_t lookups = count_lookups(jagged);
        const BatchColumns to =
            memory.columns({count, dense_features, lookups, jagged ? count * features + 1 : 0});
        if (jagged) std::copy(offsets_.begin(), offsets_.end(), to.offsets.begin());
        const std::size_t width = data_->cold().bags.bag_size() * features;
        const HotSet& hot_set = data_->hot_set();
        for_chunks(exec, count, grain, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < std::min(begin + ahead, end); ++i) fetch(places_[i]);
            for (std::size_t i = begin; i < end; ++i) {
                if (i + ahead < end) fetch(places_[i + ahead]);
                const auto& [columns, input] = places_[i];
                to.labels[i] = columns->labels[input];
                if (dense_features != 0) {
                    float* const row = to.dense.row(i);
                    std::fill(std::copy_n(columns->dense.row(input), dense_features, row),
                              row + to.dense.stride(), 0.0f);
                }
                const std::size_t from = columns->bags.begin(input * features);
                const std::size_t size = columns->bags.begin((input + 1) * features) - from;
                const std::uint32_t* source = columns->bags.values().data() + from;
                std::uint32_t* target =
                    to.values.data() +
                    (jagged ? static_cast<std::size_t>(offsets_[i * features]) : i * width);
                if (columns->heat == Heat::hot && heat != Heat::hot) {
                    std::transform(source, source + size, target, [&](std::uint32_t slot) {
                        return static_cast<std::uint32_t>(hot_set.row_of(slot));
                    });
                } else {
                    std::copy_n(source, size, target);
                }
            }
        });
        LoadedBatch loaded;
        loaded.labels = to.labels;
        loaded.dense = to.dense;
        loaded.lookups.heat = heat;
        loaded.lookups.hot_set = heat == Heat::hot ? &hot_set : nullptr;
        const Span<const std::uint32_t> values = to.values;
        loaded.lookups.bags = jagged ? Bags<std::uint32_t>::jagged(values, to.offsets, features)
                                     : Bags<std::uint32_t>::fixed(values, width / features, features);
        return loaded;
    }

    const PackedDataset* data_;
    std::vector<Place> places_;
    std::vector<std::uint64_t> offsets_;
    HostBatchMemory own_;
};

}  // namespace fae::inline FAE_ABI
