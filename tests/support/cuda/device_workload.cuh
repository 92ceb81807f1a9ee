// SPDX-License-Identifier: Apache-2.0
//
// A workload of support/ops_oracle.hpp on the device: its rows, batch and gradients are copied there, an
// operation runs, and the rows are copied back into the workload.
//
//   support::DeviceWorkload<Work> device(work);
//   forward(device.on(), device.source(), device.bags(), pooling, out);
//   device.bring_back();
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/workspace.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/ops/row_source.hpp"
#include "support/ops_oracle.hpp"

namespace support {

/// Device memory and a stream that tests use one after another: an allocation a test would take most of their
/// time. Filled with a pattern, so that what is read before it is written gives wrong bits.
class Arena {
  public:
    static constexpr std::size_t size = std::size_t{768} << 20;
    Arena() : memory_(size), parts_(size >> 10) {}
    [[nodiscard]] fae::cuda::On on() const { return fae::cuda::on(stream_); }
    /// All of it, from the front.
    [[nodiscard]] fae::Workspace fresh(std::size_t dirty = std::size_t{8} << 20) {
        fae::cuda::fill_bytes(on(), memory_.span().subspan(0, dirty), 0xA5);
        return fae::Workspace(memory_.span());
    }
    /// Memory of both sides.
    [[nodiscard]] fae::Workspace pinned() { return fae::Workspace(parts_.span()); }

    static Arena& shared() {
        static Arena arena;
        return arena;
    }

  private:
    fae::Buffer<std::byte, fae::cuda::DeviceSpace> memory_;
    fae::Buffer<std::byte, fae::cuda::PinnedSpace> parts_;
    fae::cuda::Stream stream_;
};

/// A copy of an array in device memory.
template <class T>
fae::Span<T> to_device(fae::cuda::On on, fae::Workspace& workspace, const T* from, std::size_t count) {
    const fae::Span<T> to = workspace.take<T>(count);
    fae::cuda::copy(on, fae::Span<const T>(from, count), to);
    return to;
}
template <class T>
std::vector<T> to_host(fae::cuda::On on, const T* from, std::size_t count) {
    std::vector<T> to(count);
    fae::cuda::copy(on, fae::Span<const T>(from, count), fae::Span<T>(to));
    on.synchronise();
    return to;
}

template <class T, class Index>
class DeviceWorkload {
  public:
    explicit DeviceWorkload(const oracle::Workload<T, Index>& work)
        : on_(Arena::shared().on()), workspace(Arena::shared().fresh()), host_(work.source()) {
        fae::Workspace pinned = Arena::shared().pinned();
        const fae::Span<fae::RowsView<T>> parts = pinned.take<fae::RowsView<T>>(host_.home.size());
        for (std::size_t p = 0; p < host_.home.size(); ++p) parts[p] = copied(host_.home[p]);
        const auto feature_part = pinned.take<std::uint32_t>(host_.feature_part.size());
        for (std::size_t f = 0; f < feature_part.size(); ++f) feature_part[f] = host_.feature_part[f];
        source_ = {copied(host_.fast), parts, feature_part};
        const fae::Bags<Index> bags = work.bags();
        const auto values = to_device(on_, workspace, bags.values().data(), bags.lookups());
        const auto weights = to_device(on_, workspace, bags.weights().data(), bags.weights().size());
        if (bags.is_fixed()) {
            bags_ = fae::Bags<Index>::fixed(values, bags.bag_size(), bags.features(), weights);
        } else {
            bags_ = fae::Bags<Index>::jagged_elsewhere(
                values, to_device(on_, workspace, bags.offsets().data(), bags.offsets().size()),
                bags.features(), weights);
        }
        const auto gradients = to_device(on_, workspace, work.gradients().data(), work.gradients().size());
        grad_out_ = {gradients.data(), work.bag_count(), work.dim()};
    }
    DeviceWorkload(const DeviceWorkload&) = delete;
    DeviceWorkload& operator=(const DeviceWorkload&) = delete;

    [[nodiscard]] fae::cuda::On on() const { return on_; }
    [[nodiscard]] const fae::RowSource<T>& source() const { return source_; }
    [[nodiscard]] const fae::Bags<Index>& bags() const { return bags_; }
    [[nodiscard]] fae::MatrixView<const T> grad_out() const { return grad_out_; }

    /// Copies all rows and states back to where they came from.
    void bring_back() {
        for (std::size_t p = 0; p < host_.home.size(); ++p) bring_back(source_.home[p], host_.home[p]);
        bring_back(source_.fast, host_.fast);
        on_.synchronise();
    }

  private:
    static bool interleaved(const fae::RowsView<T>& view) {
        return view.state >= view.weights && view.state < view.weights + view.rows * view.stride;
    }
    fae::RowsView<T> copied(const fae::RowsView<T>& view) {
        fae::RowsView<T> to = view;
        to.weights = to_device(on_, workspace, view.weights, view.rows * view.stride).data();
        if (view.state == nullptr) return to;
        to.state = interleaved(view)
                       ? to.weights + (view.state - view.weights)
                       : to_device(on_, workspace, view.state, view.rows * view.state_stride).data();
        return to;
    }
    void bring_back(const fae::RowsView<T>& from, const fae::RowsView<T>& to) {
        const auto copy = [&](const T* source, T* target, std::size_t count) {
            fae::cuda::copy(on_, fae::Span<const T>(source, count), fae::Span<T>(target, count));
        };
        copy(from.weights, to.weights, to.rows * to.stride);
        if (to.state != nullptr && !interleaved(to)) copy(from.state, to.state, to.rows * to.state_stride);
    }

    fae::cuda::On on_;

  public:
    fae::Workspace workspace;  ///< what is left of the arena

  private:
    fae::RowSource<T> host_;
    fae::RowSource<T> source_;
    fae::Bags<Index> bags_;
    fae::MatrixView<const T> grad_out_;
};

}  // namespace support
