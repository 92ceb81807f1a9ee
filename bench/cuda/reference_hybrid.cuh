// SPDX-License-Identifier: Apache-2.0
//
// The embedding half of the reference hybrid: tables on the host, the dense model on the device, as DLRM's
// training script runs it. One look-up a table, one after another; each output copied from pageable memory,
// the call waiting; gradients copied back table by table; each table's gradient brought together by a sort
// and added with a stride of its own. What is done here is what that script does, not what could be done:
// that is cuda::HomeRoute. Its arithmetic is the library's, so it ends with the same digest.
//
//   ReferenceHybrid hybrid(par(threads), space, seed);
//   hybrid.forward(par(threads), on, rows, samples, pooled);          // pooled [samples, features, dim],
//   device hybrid.backward_step(par(threads), on, gradient, lr);             // plain SGD
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/digest.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/row_space.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/embedding_init.hpp"

namespace reference {

/// out[sample, feature] = in[feature, sample], or the reverse.
template <bool by_sample>
__global__ void exchange(const float* in, float* out, std::uint64_t samples, std::uint64_t features,
                         std::uint64_t dim) {
    const std::uint64_t all = samples * features * dim;
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < all;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint64_t column = i % dim;
        const std::uint64_t feature = i / dim % features;
        const std::uint64_t sample = i / dim / features;
        const std::uint64_t other = (feature * samples + sample) * dim + column;
        if constexpr (by_sample) {
            out[i] = in[other];
        } else {
            out[other] = in[i];
        }
    }
}

/// One look-up a sample and feature, SGD.
class ReferenceHybrid {
  public:
    template <fae::Executor E>
    ReferenceHybrid(const E& exec, const fae::RowSpace& space, std::uint64_t seed)
        : space_(space), dim_(space.dim()) {
        for (std::size_t t = 0; t < space.table_count(); ++t) {
            const std::uint64_t rows = space.table(t).rows;
            const float scale = fae::embedding_scale(rows);
            std::vector<float>& table = tables_.emplace_back(rows * dim_);
            fae::for_chunks(exec, rows, 4096, [&](std::size_t begin, std::size_t end) {
                for (std::size_t r = begin; r < end; ++r) {
                    fae::init_row(seed, static_cast<std::uint32_t>(t), r, scale,
                                  fae::Span<float>(table.data() + r * dim_, dim_));
                }
            });
        }
    }

    /// @param rows    [samples, features] row ids, in host memory
    /// @param pooled  [samples, features, dim] in device memory
    template <fae::Executor E>
    void forward(const E& exec, fae::cuda::On on, const std::uint32_t* rows, std::size_t samples,
                 float* pooled) {
        const std::size_t features = space_.features();
        reserve(samples);
        samples_ = samples;
        for (std::size_t f = 0; f < features; ++f) {
            const std::vector<float>& table = tables_[space_.feature_table()[f]];
            for (std::size_t s = 0; s < samples; ++s) {
                index_[f * samples + s] = rows[s * features + f] - space_.offset(space_.feature_table()[f]);
            }
            const std::uint64_t* const index = index_.data() + f * samples;
            fae::for_chunks(exec, samples, 256, [&](std::size_t begin, std::size_t end) {
                for (std::size_t s = begin; s < end; ++s) {
                    std::copy_n(table.data() + index[s] * dim_, dim_, host_.data() + s * dim_);
                }
            });
            fae::cuda::check(::cudaMemcpy(device_.data() + f * samples * dim_, host_.data(),
                                          samples * dim_ * sizeof(float), cudaMemcpyHostToDevice),
                             "copy of a look-up's output");
        }
        exchange<true><<<fae::cuda::launch_grid(samples * features * dim_, 256), 256, 0, on.stream>>>(
            device_.data(), pooled, samples, features, dim_);
        fae::cuda::check_launch("exchange");
    }

    /// @param gradient  [samples, features, dim] of the outputs of the last forward(), in device memory
    template <fae::Executor E>
    void backward_step(const E& exec, fae::cuda::On on, const float* gradient, float lr) {
        const std::size_t features = space_.features();
        exchange<false><<<fae::cuda::launch_grid(samples_ * features * dim_, 256), 256, 0, on.stream>>>(
            gradient, device_.data(), samples_, features, dim_);
        fae::cuda::check_launch("exchange");
        on.synchronise();
        for (std::size_t t = 0; t < tables_.size(); ++t) {
            // The gradients of all features of a table belong together.
            entries_.clear();
            const auto table_of = space_.feature_table();
            const auto sharing = static_cast<std::size_t>(std::count(table_of.begin(), table_of.end(), t));
            if (host_.size() < sharing * samples_ * dim_) host_.resize(sharing * samples_ * dim_);
            std::size_t brought = 0;
            for (std::size_t f = 0; f < features; ++f) {
                if (space_.feature_table()[f] != t) continue;
                fae::cuda::check(::cudaMemcpy(host_.data() + brought * samples_ * dim_,
                                              device_.data() + f * samples_ * dim_,
                                              samples_ * dim_ * sizeof(float), cudaMemcpyDeviceToHost),
                                 "copy of a look-up's gradient");
                for (std::size_t s = 0; s < samples_; ++s) {
                    entries_.push_back({index_[f * samples_ + s], s * features + f,
                                        host_.data() + (brought * samples_ + s) * dim_});
                }
                ++brought;
            }
            update(exec, tables_[t], lr);
        }
    }

    /// All rows, as a table of the library adds them.
    template <fae::Executor E>
    void add_to(const E& exec, fae::Digest& digest) const {
        fae::digest_rows(exec, digest, space_.rows(), [&](fae::Digest& of_chunk, std::uint64_t row) {
            const std::size_t t = space_.table_of(row);
            of_chunk.add_floats(
                fae::Span<const float>(tables_[t].data() + (row - space_.offset(t)) * dim_, dim_));
        });
    }

  private:
    struct Entry {
        std::uint64_t row;
        std::size_t position;  // in the batch
        const float* gradient;
    };

    void reserve(std::size_t samples) {
        const std::size_t features = space_.features();
        if (index_.size() < samples * features) index_.resize(samples * features);
        if (host_.size() < samples * dim_) host_.resize(samples * dim_);
        if (device_.size() < samples * features * dim_) {
            device_ = fae::Buffer<float, fae::cuda::DeviceSpace>(samples * features * dim_);
        }
    }

    // Sorts a table's entries by row, then adds up and applies each row's gradient.
    template <fae::Executor E>
    void update(const E& exec, std::vector<float>& table, float lr) {
        std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
            return std::pair(a.row, a.position) < std::pair(b.row, b.position);
        });
        begins_.clear();
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (i == 0 || entries_[i].row != entries_[i - 1].row) begins_.push_back(i);
        }
        begins_.push_back(entries_.size());
        fae::for_chunks(exec, begins_.size() - 1, 64, [&](std::size_t begin, std::size_t end) {
            std::vector<float> sum(dim_);
            for (std::size_t r = begin; r < end; ++r) {
                add_up(begins_[r], begins_[r + 1], sum.data());
                float* const weights = table.data() + entries_[begins_[r]].row * dim_;
                for (std::size_t c = 0; c < dim_; ++c) weights[c] = std::fma(-lr, sum[c], weights[c]);
            }
        });
    }

    // The gradients of entries [begin, end) as a tree: blocks of 64, blocks of 64 block sums, and so on.
    void add_up(std::size_t begin, std::size_t end, float* sum) const {
        std::size_t count = end - begin;
        std::vector<float> level(((count + 63) / 64) * dim_);
        for (std::size_t i = 0; i < count; ++i) {
            float* const to = level.data() + i / 64 * dim_;
            const float* const from = entries_[begin + i].gradient;
            for (std::size_t c = 0; c < dim_; ++c) to[c] = i % 64 == 0 ? from[c] : to[c] + from[c];
        }
        for (count = (count + 63) / 64; count > 1; count = (count + 63) / 64) {
            for (std::size_t i = 0; i < count; ++i) {
                float* const to = level.data() + i / 64 * dim_;
                for (std::size_t c = 0; c < dim_; ++c) {
                    const float value = level[i * dim_ + c];
                    to[c] = i % 64 == 0 ? value : to[c] + value;
                }
            }
        }
        std::copy_n(level.data(), dim_, sum);
    }

    fae::RowSpace space_;
    std::size_t dim_;
    std::vector<std::vector<float>> tables_;
    std::vector<std::uint64_t> index_;  // [features, samples] within each table
    std::vector<float> host_;
    std::vector<Entry> entries_;
    std::vector<std::size_t> begins_;
    std::size_t samples_ = 0;
    fae::Buffer<float, fae::cuda::DeviceSpace> device_;  // [features, samples, dim]
};

}  // namespace reference
