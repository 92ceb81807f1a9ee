// SPDX-License-Identifier: Apache-2.0
//
// A small model, rows in device memory and batches for tests of cuda::DlrmTrainer.
//
//   fae_test::TrainerRun run(OptimizerKind::sgd);
//   run.step(0, fae_test::HostBatch(150, 1, seed));
//   run.trainer.finish(run.on);
//   CHECK(equal_bits(run.everything(), before));
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/models/dlrm_trainer.cuh"

namespace fae_test {

inline const fae::DlrmShape trainer_shape{5, 6, 12, {20, 12}, {30, 10, 1}};
inline constexpr std::uint64_t table_rows = 40;
inline constexpr std::uint64_t all_rows = 6 * table_rows;
inline constexpr std::size_t features = 6;

/// Batches in host memory, look-ups with the tier bit.
struct HostBatch {
    std::vector<std::uint8_t> labels;
    std::vector<float> dense;
    std::vector<std::uint32_t> values;
    std::vector<std::uint64_t> offsets;
    fae::LoadedBatch loaded;

    HostBatch(HostBatch&&) = default;  // no copy: `loaded` views the rest
    HostBatch(std::size_t n, std::size_t bag_size, std::uint64_t seed) {
        fae::Philox rng(seed);
        for (std::size_t i = 0; i < n; ++i) labels.push_back(rng.below(3) == 0 ? 1 : 0);
        for (std::size_t i = 0; i < n * trainer_shape.dense_features; ++i) {
            dense.push_back(static_cast<float>(rng.uniform()));
        }
        offsets.push_back(0);
        for (std::size_t bag = 0; bag < n * features; ++bag) {
            const std::size_t size = bag_size != 0 ? bag_size : rng.below(4);
            for (std::size_t i = 0; i < size; ++i) {
                // A few rows take most look-ups.
                const std::uint64_t row = rng.below(2) == 0 ? rng.below(2) : rng.below(table_rows);
                values.push_back(static_cast<std::uint32_t>(bag % features * table_rows + row) |
                                 fae::fast_bit<std::uint32_t>);
            }
            offsets.push_back(values.size());
        }
        loaded.labels = labels;
        loaded.dense = {dense.data(), n, trainer_shape.dense_features};
        loaded.lookups.heat = fae::Heat::hot;
        loaded.lookups.bags = bag_size != 0 ? fae::Bags<std::uint32_t>::fixed(values, bag_size, features)
                                            : fae::Bags<std::uint32_t>::jagged(values, offsets, features);
    }
};

inline std::vector<float> initial_records(const fae::RowLayout& layout) {
    std::vector<float> records(all_rows * layout.stride, 0.0f);
    fae::Philox rng(5);
    for (std::size_t r = 0; r < all_rows; ++r) {
        for (std::size_t c = 0; c < layout.dim; ++c) {
            records[r * layout.stride + c] = static_cast<float>(rng.normal() * 0.3);
        }
    }
    return records;
}

inline fae::RowsView<float> view_of(float* records, const fae::RowLayout& layout) {
    return {records, layout.state == 0 ? nullptr : records + layout.dim, layout.stride, layout.stride, 0,
            all_rows};
}

/// A model, its rows in device memory, and a trainer.
struct TrainerRun {
    fae::cuda::Stream stream;
    fae::cuda::On on = fae::cuda::on(stream);
    fae::RowLayout layout;
    std::vector<float> records;
    fae::Buffer<float, fae::cuda::DeviceSpace> memory;
    fae::cuda::Dlrm model;
    fae::cuda::DlrmTrainer trainer;
    fae::cuda::ArrayRoute route;

    explicit TrainerRun(fae::OptimizerKind kind, std::size_t max_batch = 150)
        : layout(fae::row_layout(trainer_shape.dim, fae::state_size(kind, trainer_shape.dim))),
          records(initial_records(layout)),
          memory(records.size()),
          model(on, trainer_shape, max_batch, 3, kind, fae::cuda::Precision::fp32),
          trainer(model, kind, max_batch * features * 4, all_rows),
          route{view_of(memory.data(), layout), true} {
        fae::cuda::copy(on, records, memory.span());
        on.synchronise();
    }
    void step(std::uint64_t number, const HostBatch& batch, float lr = 0.05f) {
        trainer.step(on, number, batch.loaded, lr, route);
    }
    std::vector<float> everything() {
        fae::cuda::copy(on, fae::Span<const float>(memory.span()), fae::Span<float>(records));
        const fae::DenseParameters parameters = model.read_parameters(on);
        std::vector<float> all = records;
        for (const fae::Parameter<float>& p : parameters.parameters()) {
            all.insert(all.end(), p.values.begin(), p.values.end());
            all.insert(all.end(), p.state.begin(), p.state.end());
        }
        return all;
    }
};

inline bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace fae_test
