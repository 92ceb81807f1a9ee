// SPDX-License-Identifier: Apache-2.0
//
// BatchLoader: gathers the inputs of a mini-batch from a packed data set into contiguous columns.
//
//   BatchLoader loader(packed);
//   for (BatchRef batch; scheduler.next(batch);) {
//       LoadedBatch loaded = loader.load(par(threads), batch);   // labels, dense features, look-ups
//   }
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/batch_source.hpp"
#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/io/packed.hpp"
#include "fae/table/placement.hpp"

namespace fae::inline FAE_ABI {

/// The columns of one mini-batch, in batch order. Views are valid until the loader's next call.
/// @shape labels [batch]; dense [batch, dense features]; lookups batch * features bags, sample-major
struct LoadedBatch {
    Span<const std::uint8_t> labels;
    MatrixView<const float> dense;
    Lookups<std::uint32_t> lookups;

    [[nodiscard]] std::size_t size() const { return labels.size(); }
};

/// Gathers batches. Hot batches keep their slots; mixed ones get row ids for all their look-ups.
/// @cost reads and writes each input's record once; memory grows to the largest batch seen
class BatchLoader {
  public:
    /// @param data  outlives the loader
    explicit BatchLoader(const PackedDataset& data) : data_(&data) {}

    /// The inputs of a batch that a schedule over this data set emitted.
    /// @throws ContractError if an input number is outside its class
    template <Executor E>
    [[nodiscard]] LoadedBatch load(const E& exec, const BatchRef& batch) {
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
        return gather(exec, batch.heat);
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
        return gather(exec, columns.heat);
    }

  private:
    static constexpr std::size_t grain = 256;
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

    // Copies the inputs at places_ in order.
    template <Executor E>
    LoadedBatch gather(const E& exec, Heat heat) {
        const std::size_t count = places_.size();
        const std::size_t features = data_->shape().features();
        const std::size_t dense_features = data_->shape().dense_features;
        const bool jagged = !data_->cold().bags.is_fixed();
        const std::size_t width = data_->cold().bags.bag_size() * features;
        labels_.resize(count);
        dense_.resize(count * dense_features);
        if (jagged) {
            offsets_.resize(count * features + 1);
            offsets_[0] = 0;
            for (std::size_t i = 0; i < count; ++i) {
                const auto& [columns, input] = places_[i];
                for (std::size_t f = 0; f < features; ++f) {
                    const std::size_t bag = input * features + f;
                    offsets_[i * features + f + 1] =
                        offsets_[i * features + f] + (columns->bags.end(bag) - columns->bags.begin(bag));
                }
            }
            values_.resize(static_cast<std::size_t>(offsets_.back()));
        } else {
            values_.resize(count * width);
        }
        const HotSet& hot_set = data_->hot_set();
        for_chunks(exec, count, grain, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                const auto& [columns, input] = places_[i];
                labels_[i] = columns->labels[input];
                std::copy_n(columns->dense.row(input), dense_features, dense_.data() + i * dense_features);
                const std::size_t from = columns->bags.begin(input * features);
                const std::size_t lookups = columns->bags.end(input * features + features - 1) - from;
                const std::uint32_t* source = columns->bags.values().data() + from;
                std::uint32_t* target =
                    values_.data() + (jagged ? static_cast<std::size_t>(offsets_[i * features]) : i * width);
                if (columns->heat == Heat::hot && heat != Heat::hot) {
                    std::transform(source, source + lookups, target, [&](std::uint32_t slot) {
                        return static_cast<std::uint32_t>(hot_set.row_of(slot));
                    });
                } else {
                    std::copy_n(source, lookups, target);
                }
            }
        });
        LoadedBatch loaded;
        loaded.labels = labels_;
        loaded.dense = {dense_.data(), count, dense_features};
        loaded.lookups.heat = heat;
        loaded.lookups.hot_set = heat == Heat::hot ? &hot_set : nullptr;
        loaded.lookups.bags = jagged ? Bags<std::uint32_t>::jagged(values_, offsets_, features)
                                     : Bags<std::uint32_t>::fixed(values_, width / features, features);
        return loaded;
    }

    const PackedDataset* data_;
    std::vector<Place> places_;
    std::vector<std::uint8_t> labels_;
    std::vector<float> dense_;
    std::vector<std::uint32_t> values_;
    std::vector<std::uint64_t> offsets_;
};

}  // namespace fae::inline FAE_ABI
