// SPDX-License-Identifier: Apache-2.0
//
// RecordCopy: gathers rows' records from their homes into packed records of the fast tier's layout, and
// scatters them back, fetching the rows to come ahead of their use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "fae/core/config.hpp"
#include "fae/core/prefetch.hpp"
#include "fae/core/row_layout.hpp"
#include "fae/core/span.hpp"
#include "fae/ops/row_source.hpp"

namespace fae::inline FAE_ABI {

/// Copies records between homes and packed memory.
template <class T>
class RecordCopy {
  public:
    /// @param homes  where the rows lie; views that lie as the layout does are copied in one piece a row
    RecordCopy(const RowLayout& layout, Span<const RowsView<T>> homes) : layout_(layout) {
        whole_ = std::all_of(homes.begin(), homes.end(), [&](const RowsView<T>& home) {
            if (layout.state == 0 && layout.dim == layout.stride) return home.stride == layout.stride;
            return home.state == home.weights + layout.dim && home.stride == layout.stride &&
                   home.state_stride == layout.stride;
        });
    }

    /// Whether every home lies as a packed record does: weights, state and what is behind them in one piece.
    [[nodiscard]] bool is_whole() const { return whole_; }

    /// records[i] = the record at home(i), a pair of weights and state, for every i < count.
    /// @cost reads and writes each record once
    template <class HomeOf>
    void gather(std::size_t count, HomeOf&& home, T* records) const {
        gather_each(count, home, [&](std::size_t i) { return records + i * layout_.stride; });
    }
    /// The same to a place of its own for each record.
    template <class HomeOf, class PlaceOf>
    void gather_each(std::size_t count, HomeOf&& home, PlaceOf&& place) const {
        each<false>(count, home, [&](std::size_t i, const auto& at) {
            T* const to = place(i);
            if (whole_) {
                copy_whole(to, at.weights);
            } else {
                std::copy_n(at.weights, layout_.dim, to);
                std::copy_n(at.state, layout_.state, to + layout_.dim);
                std::fill(to + layout_.dim + layout_.state, to + layout_.stride, T{});
            }
        });
    }

    /// The reverse.
    template <class HomeOf>
    void scatter(std::size_t count, const T* records, HomeOf&& home) const {
        each<true>(count, home, [&](std::size_t i, const auto& at) {
            const T* const from = records + i * layout_.stride;
            if (whole_) {
                copy_whole(at.weights, from);
            } else {
                std::copy_n(from, layout_.dim, at.weights);
                std::copy_n(from + layout_.dim, layout_.state, at.state);
            }
        });
    }

  private:
    static constexpr std::size_t ahead = 16;
    static constexpr std::size_t line = 64;

    template <bool write, class HomeOf, class F>
    void each(std::size_t count, HomeOf& home, F&& f) const {
        for (std::size_t i = 0; i < count; ++i) {
            if (i + ahead < count) fetch<write>(home(i + ahead));
            f(i, home(i));
        }
    }

    template <bool write, class Record>
    void fetch(const Record& at) const {
        const auto* const weights = reinterpret_cast<const char*>(at.weights);
        const std::size_t bytes = (whole_ ? layout_.stride : layout_.dim) * sizeof(T);
        const auto ask = [](const void* from) {
            if constexpr (write) {
                prefetch_for_write(from);
            } else {
                prefetch(from);
            }
        };
        for (std::size_t b = 0; b < bytes; b += line) ask(weights + b);
        if (!whole_ && layout_.state != 0) ask(at.state);
    }

    // A record is a multiple of 16 bytes.
    void copy_whole(T* to, const T* from) const {
        const std::size_t bytes = layout_.stride * sizeof(T);
        if (bytes == line) {
            std::memcpy(to, from, line);
        } else {
            std::memcpy(to, from, bytes);
        }
    }

    RowLayout layout_;
    bool whole_ = false;
};

}  // namespace fae::inline FAE_ABI
