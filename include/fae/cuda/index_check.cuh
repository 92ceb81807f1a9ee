// SPDX-License-Identifier: Apache-2.0
//
// The look at every index that a checked build (FAE_CHECKED) takes before an operation. Internal to the
// operations; see cuda/index_status.hpp.
//
//   look_at(on, bags.values(), IndexBelow{rows}, "values[");     // queued; nothing in other builds
#pragma once

#include <cstdint>
#include <limits>

#include "fae/core/config.hpp"
#include "fae/core/matrix_view.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/error.hpp"
#include "fae/cuda/index_status.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/ops/row_source.hpp"

namespace fae::inline FAE_ABI::cuda::detail {

/// True once a look-up has been reported; always false in builds without FAE_CHECKED.
[[nodiscard]] __device__ inline bool is_spoilt(const IndexReport* report) {
    return checked && report != nullptr && report->position != no_position;
}

/// Located indices whose positions are below a bound, whatever the tier.
struct IndexBelow {
    std::uint64_t bound;
    template <IndexType Index>
    [[nodiscard]] __device__ IndexReport look(Index located) const {
        return {no_position, position_of(located), bound, is_fast(located), nullptr};
    }
};

/// Row ids or slots that have not been located.
struct ValueBelow {
    std::uint64_t bound;
    template <IndexType Index>
    [[nodiscard]] __device__ IndexReport look(Index value) const {
        return {no_position, value, bound, 0, nullptr};
    }
};

/// Located indices of a source's rows.
struct IndexInSource {
    std::uint64_t slots;
    std::uint64_t first;  ///< row at home
    std::uint64_t end;

    template <class T>
    explicit IndexInSource(const RowSource<T>& source)
        : slots(source.fast.rows),
          first(source.home.empty() ? 0 : source.home.front().first),
          end(source.home.empty() ? 0 : source.home.back().first + source.home.back().rows) {}
    template <IndexType Index>
    [[nodiscard]] __device__ IndexReport look(Index located) const {
        const std::uint64_t row = position_of(located);
        if (is_fast(located)) return {no_position, row, slots, 1, nullptr};
        // A row before the first has no place either.
        return {no_position, row, row < first ? 0 : end, 0, nullptr};
    }
};

/// Reports the first index whose value the rule finds not to be below its bound, unless one has been
/// reported.
/// @par Launch one block
/// @param count  how many there are, at most `most`; null: `most`
template <class Rule, IndexType Index>
__global__ void report_first(const Index* values, std::uint64_t most, const std::uint32_t* count, Rule rule,
                             const char* name, IndexReport* report) {
    __shared__ unsigned long long first;
    if (threadIdx.x == 0) first = no_position;
    const bool spoilt = is_spoilt(report);
    __syncthreads();
    if (spoilt) return;
    const std::uint64_t end = count != nullptr && *count < most ? *count : most;
    for (std::uint64_t i = threadIdx.x; i < end; i += blockDim.x) {
        if (const IndexReport seen = rule.look(values[i]); seen.value < seen.bound) continue;
        atomicMin(&first, static_cast<unsigned long long>(i));
        break;
    }
    __syncthreads();
    if (threadIdx.x != 0 || first == no_position) return;
    IndexReport found = rule.look(values[first]);
    found.position = first;
    found.name = name;
    *report = found;
}

/// Looks at indices in device memory in a checked build.
/// @param name   of the host, and for ever: what stands before the position in the message
/// @param count  in device memory: how many of `values` there are; null: all
/// @exec  cuda::On: queued, one kernel of one block; nothing where `on` has no report
template <class Rule, IndexType Index>
void look_at([[maybe_unused]] On on, [[maybe_unused]] Span<const Index> values, [[maybe_unused]] Rule rule,
             [[maybe_unused]] const char* name, [[maybe_unused]] const std::uint32_t* count = nullptr) {
    if constexpr (checked) {
        if (on.report == nullptr || values.empty()) return;
        report_first<<<1, 1024, 0, on.stream>>>(values.data(), values.size(), count, rule, name, on.report);
        check_launch("report_first");
    }
}

/// Fills a result with NaN where a look-up has been reported.
/// @par Launch one block a row, or fewer that step through the rows
template <class T>
__global__ void spoil_rows(MatrixView<T> out, T nan, const IndexReport* report) {
    if (!is_spoilt(report)) return;
    for (std::size_t r = blockIdx.x; r < out.rows(); r += gridDim.x) {
        for (std::size_t c = threadIdx.x; c < out.columns(); c += blockDim.x) {
            out.row(r)[c] = nan;
        }
    }
}

/// Queues that in a checked build.
template <class T>
void spoil_if_reported([[maybe_unused]] On on, [[maybe_unused]] MatrixView<T> out) {
    if constexpr (checked) {
        if (on.report == nullptr) return;
        spoil_rows<<<256, 128, 0, on.stream>>>(out, std::numeric_limits<T>::quiet_NaN(), on.report);
        check_launch("spoil_rows");
    }
}

}  // namespace fae::inline FAE_ABI::cuda::detail
