// SPDX-License-Identifier: Apache-2.0
//
// cuda::AccessProfiler: counts how often each row is looked up, batch by batch or a whole resident data set
// at once, in device memory. Its profile is equal to the host's (profile/profiler.hpp) to the last count.
//
//   cuda::AccessProfiler<> profiler(cuda::on(stream), space);
//   profiler.add(cuda::on(stream), bags);                     // bags over device memory
//   AccessProfile<> profile = profiler.finish(cuda::on(stream));
//
// A look-up is one addition. Look-ups of one row within a warp are added up first; the rows of the smallest
// tables are counted by each block in its own shared memory, so that a table of three rows is no bottleneck.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/row_space.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/index_status.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"
#include "fae/profile/access_profile.hpp"
#include "fae/profile/sampled.hpp"

namespace fae::inline FAE_ABI::cuda {

namespace detail {

/// The rows that a block counts in shared memory: those of the smallest tables, as ranges of row ids.
struct PrivateRows {
    static constexpr std::uint32_t most_ranges = 64;
    static constexpr std::uint32_t most_rows = 8192;  // 32 KiB of counters
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    std::uint32_t ranges = 0;
    std::uint32_t rows = 0;
    std::uint64_t begin[most_ranges] = {};   // row id of a range's first row, ascending
    std::uint32_t first[most_ranges] = {};   // its counter
    std::uint32_t length[most_ranges] = {};  // rows

    /// The counter of a row, or none.
    [[nodiscard]] FAE_HD std::uint32_t find(std::uint64_t row) const {
        std::uint32_t low = 0;
        std::uint32_t high = ranges;
        while (low < high) {
            const std::uint32_t middle = (low + high) / 2;
            if (begin[middle] <= row) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low == 0) return none;
        const std::uint64_t within = row - begin[low - 1];
        return within < length[low - 1] ? first[low - 1] + static_cast<std::uint32_t>(within) : none;
    }
};

/// The smallest tables of a row space, as many as fit.
[[nodiscard]] inline PrivateRows private_rows(const RowSpace& space) {
    std::vector<std::size_t> tables(space.table_count());
    std::iota(tables.begin(), tables.end(), std::size_t{0});
    std::stable_sort(tables.begin(), tables.end(),
                     [&](std::size_t a, std::size_t b) { return space.table(a).rows < space.table(b).rows; });
    std::uint64_t rows = 0;
    std::size_t taken = 0;
    while (taken < tables.size() && taken < PrivateRows::most_ranges &&
           rows + space.table(tables[taken]).rows <= PrivateRows::most_rows) {
        rows += space.table(tables[taken++]).rows;
    }
    tables.resize(taken);
    std::sort(tables.begin(), tables.end());
    PrivateRows made;
    for (const std::size_t t : tables) {
        const auto length = static_cast<std::uint32_t>(space.table(t).rows);
        const std::uint32_t last = made.ranges - 1;
        if (made.ranges != 0 && made.begin[last] + made.length[last] == space.offset(t)) {
            made.length[last] += length;
        } else {
            made.begin[made.ranges] = space.offset(t);
            made.first[made.ranges] = made.rows;
            made.length[made.ranges++] = length;
        }
        made.rows += length;
    }
    return made;
}

__device__ inline void atomic_add(std::uint32_t* to, std::uint32_t amount) { atomicAdd(to, amount); }
__device__ inline void atomic_add(std::uint64_t* to, std::uint64_t amount) {
    atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(amount));
}

/// The lanes among `lanes` that have the same value as the calling one.
__device__ inline unsigned lanes_with(unsigned lanes, std::uint32_t value) {
    return __match_any_sync(lanes, value);
}
__device__ inline unsigned lanes_with(unsigned lanes, std::uint64_t value) {
    return __match_any_sync(lanes, static_cast<unsigned long long>(value));
}

/// A block's way of counting: shared counters for private rows, the global ones for all others.
template <class Count>
struct Tally {
    const PrivateRows* rows;  // shared memory
    std::uint32_t* own;       // shared memory [rows->rows]
    Count* counts;

    /// Starts with nothing. The whole block calls it.
    __device__ void begin(const PrivateRows& from, PrivateRows* shared) {
        if (threadIdx.x == 0) *shared = from;
        for (std::uint32_t i = threadIdx.x; i < from.rows; i += blockDim.x) own[i] = 0;
        __syncthreads();
    }
    /// Adds one look-up of each lane where `valid`. The whole warp calls it.
    template <class Index>
    __device__ void add(bool valid, Index row) const {
        const unsigned lanes = __ballot_sync(~0u, valid);
        if (!valid) return;
        const unsigned same = lanes_with(lanes, row);
        if (threadIdx.x % 32 != static_cast<unsigned>(__ffs(static_cast<int>(same))) - 1) return;
        const auto amount = static_cast<std::uint32_t>(__popc(same));
        const std::uint32_t counter = rows->find(row);
        if (counter != PrivateRows::none) {
            atomicAdd(own + counter, amount);
        } else {
            atomic_add(counts + row, static_cast<Count>(amount));
        }
    }
    /// Adds the shared counters to the global ones. The whole block calls it.
    __device__ void end() const {
        __syncthreads();
        for (std::uint32_t range = 0; range < rows->ranges; ++range) {
            const std::uint32_t first = rows->first[range];
            for (std::uint32_t i = threadIdx.x; i < rows->length[range]; i += blockDim.x) {
                if (const std::uint32_t n = own[first + i]; n != 0) {
                    atomic_add(counts + rows->begin[range] + i, static_cast<Count>(n));
                }
            }
        }
    }
};

/// Counts all values.
/// @par Launch blocks of whole warps; each warp steps through 128 values at a time; dynamic shared memory
///      [private rows] 32-bit words. A block sees fewer than 2^32 values
template <IndexType Index, class Count>
__global__ void count_values(const Index* values, std::uint64_t count, PrivateRows private_rows,
                             Count* counts, const std::uint64_t* bad_position) {
    __shared__ PrivateRows rows;
    extern __shared__ std::uint32_t own[];
    if (checked && *bad_position != no_position) return;
    Tally<Count> tally{&rows, own, counts};
    tally.begin(private_rows, &rows);
    constexpr unsigned ahead = 4;
    const unsigned lane = threadIdx.x % 32;
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    const std::uint64_t warps = std::uint64_t{gridDim.x} * blockDim.x / 32;
    for (std::uint64_t first = warp * 32 * ahead; first < count; first += warps * 32 * ahead) {
        Index row[ahead];
        for (unsigned k = 0; k < ahead; ++k) {
            const std::uint64_t i = first + k * 32 + lane;
            row[k] = i < count ? values[i] : Index{0};
        }
        for (unsigned k = 0; k < ahead; ++k) tally.add(first + k * 32 + lane < count, row[k]);
    }
    tally.end();
}

/// Counts the look-ups of those inputs that the sampler draws; input 0 of the bags is number `first_input`.
/// @par Launch as count_values; each warp takes 32 inputs at a time, and the look-ups of one input side by
///      side
template <IndexType Index, class Count>
__global__ void count_drawn(Bags<Index> bags, InputSampler sampler, std::uint64_t first_input,
                            PrivateRows private_rows, Count* counts, std::uint64_t* inputs_drawn,
                            const std::uint64_t* bad_position) {
    __shared__ PrivateRows rows;
    extern __shared__ std::uint32_t own[];
    if (checked && *bad_position != no_position) return;
    Tally<Count> tally{&rows, own, counts};
    tally.begin(private_rows, &rows);
    const unsigned lane = threadIdx.x % 32;
    const std::uint64_t inputs = bags.samples();
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    const std::uint64_t warps = std::uint64_t{gridDim.x} * blockDim.x / 32;
    std::uint64_t drawn = 0;
    for (std::uint64_t first = warp * 32; first < inputs; first += warps * 32) {
        const bool mine = first + lane < inputs && sampler.draws(first_input + first + lane);
        unsigned left = __ballot_sync(~0u, mine);
        drawn += static_cast<std::uint64_t>(__popc(left));
        for (; left != 0; left &= left - 1) {
            const std::uint64_t input = first + static_cast<unsigned>(__ffs(static_cast<int>(left))) - 1;
            const std::uint64_t end = bags.begin((input + 1) * bags.features());
            for (std::uint64_t at = bags.begin(input * bags.features()); at < end; at += 32) {
                const std::uint64_t i = at + lane;
                tally.add(i < end, i < end ? bags.values()[i] : Index{0});
            }
        }
    }
    if (lane == 0 && drawn != 0) atomic_add(inputs_drawn, drawn);
    tally.end();
}

/// Adds up each table's counts.
/// @par Launch blocks of whole warps; a warp takes 4,096 rows at a time
template <class Count>
__global__ void sum_tables(const Count* counts, std::uint64_t row_count, const std::uint64_t* offsets,
                           std::uint32_t tables, std::uint64_t* sums) {
    constexpr std::uint64_t grain = 4096;
    const auto table_of = [&](std::uint64_t row) {
        std::uint32_t low = 0;
        std::uint32_t high = tables;
        while (high - low > 1) {
            const std::uint32_t middle = (low + high) / 2;
            if (offsets[middle] <= row) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return low;
    };
    const unsigned lane = threadIdx.x % 32;
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    const std::uint64_t warps = std::uint64_t{gridDim.x} * blockDim.x / 32;
    for (std::uint64_t first = warp * grain; first < row_count; first += warps * grain) {
        std::uint32_t table = table_of(first + lane < row_count ? first + lane : row_count - 1);
        std::uint64_t sum = 0;
        for (std::uint64_t row = first + lane; row < first + grain && row < row_count; row += 32) {
            if (row >= offsets[table + 1]) {
                if (sum != 0) atomic_add(sums + table, sum);
                sum = 0;
                table = table_of(row);
            }
            sum += counts[row];
        }
        // Where all lanes end in one table, which is the rule, they add up first.
        if (__all_sync(~0u, table == __shfl_sync(~0u, table, 0)) != 0) {
            for (unsigned step = 16; step != 0; step /= 2) sum += __shfl_down_sync(~0u, sum, step);
            if (lane == 0 && sum != 0) atomic_add(sums + table, sum);
        } else if (sum != 0) {
            atomic_add(sums + table, sum);
        }
    }
}

/// Finds the first look-up outside the table of its feature.
/// @par Launch one thread a bag
template <IndexType Index>
__global__ void find_bad_row(Bags<Index> bags, const std::uint64_t* offsets,
                             const std::uint32_t* feature_table, std::uint64_t* bad_position) {
    for (std::uint64_t bag = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; bag < bags.size();
         bag += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint32_t table = feature_table[bag % bags.features()];
        for (std::uint64_t i = bags.begin(bag); i < bags.end(bag); ++i) {
            const std::uint64_t row = bags.values()[i];
            if (row >= offsets[table] && row < offsets[table + 1]) continue;
            atomicMin(reinterpret_cast<unsigned long long*>(bad_position),
                      static_cast<unsigned long long>(i));
            break;
        }
    }
}

}  // namespace detail

/// Counts look-ups in device memory, one Count a row. Move-only.
/// @cost sizeof(Count) bytes of device memory a row, 12 a table or feature
template <class Count = std::uint32_t>
requires(std::same_as<Count, std::uint32_t> || std::same_as<Count, std::uint64_t>) class AccessProfiler {
  public:
    using count_type = Count;
    static constexpr std::uint64_t max_count = std::numeric_limits<Count>::max();

    /// @exec   cuda::On: queued
    /// @throws CudaError
    AccessProfiler(On on, RowSpace space)
        : space_(std::move(space)),
          private_rows_(detail::private_rows(space_)),
          counts_(static_cast<std::size_t>(space_.rows())),
          offsets_(space_.table_count() + 1),
          feature_table_(space_.features()),
          results_(space_.table_count() + 2),
          most_(space_.table_count(), 0) {
        copy(on, space_.offsets(), offsets_.span());
        copy(on, space_.feature_table(), feature_table_.span());
        clear(on);
    }

    /// Counts every look-up of the batch: inputs inputs_seen() and on of the stream.
    /// @param bags  over device memory that stays as it is until the work is done
    /// @pre    each value is a row of the table of its feature (FAE_CHECKED: finish() throws)
    /// @exec   cuda::On: queued. It waits where a counter could overflow by what is known without asking the
    ///         device, which is once in 2^32 look-ups
    /// @cost   reads sizeof(Index) bytes a look-up and adds to one counter; no allocation
    /// @throws ContractError if the features are not the row space's, or if the look-ups of one table could
    ///         exceed what a counter holds: nothing of the batch is counted then. Where bags are jagged, all
    ///         look-ups of the batch are taken to fall in each table. CudaError
    template <IndexType Index>
    void add(On on, const Bags<Index>& bags) {
        require_features(bags);
        require_room(on, bags);
        queue(on, bags, InputSampler());
        inputs_counted_ += bags.samples();
        inputs_seen_ += bags.samples();
    }

    /// Counts the look-ups of those inputs that the sampler draws; the first input of the batch is number
    /// inputs_seen() of the stream.
    /// @throws as above; ContractError if the stream outgrows the sampler's total
    template <IndexType Index>
    void add(On on, const Bags<Index>& bags, const InputSampler& sampler) {
        if (sampler.draws_all()) return add(on, bags);
        require_features(bags);
        require(inputs_seen_ <= sampler.total() && bags.samples() <= sampler.total() - inputs_seen_, [&] {
            return concat("the batch ends with input ", inputs_seen_ + bags.samples(),
                          " of the stream, expected at most the sampler's ", sampler.total());
        });
        require_room(on, bags);
        queue(on, bags, sampler);
        inputs_seen_ += bags.samples();
    }

    [[nodiscard]] const RowSpace& space() const { return space_; }
    [[nodiscard]] std::uint64_t inputs_seen() const { return inputs_seen_; }

    /// The profile of all that was added. The profiler starts again from nothing.
    /// @exec   cuda::On: returns when done
    /// @throws IndexError (FAE_CHECKED) if a batch held a row outside its table: neither it nor what came
    ///         after it was counted; CudaError, std::bad_alloc: what was counted stays
    [[nodiscard]] AccessProfile<Count> finish(On on) {
        Buffer<Count, PageSpace> counts(counts_.size());
        copy(on, counts_.span(), counts.span());
        const std::vector<std::uint64_t> results = read_results(on);
        std::vector<std::uint64_t> accesses(results.begin(), results.end() - 2);
        const std::uint64_t counted = inputs_counted_ + results[results.size() - 2];
        const std::uint64_t seen = inputs_seen_;
        const std::uint64_t bad = results.back();
        AccessProfile<Count> profile(space_, std::move(counts), std::move(accesses), counted, seen);
        clear(on);
        if (bad != no_position) {
            throw IndexError(concat("values[", bad, "] of a batch is outside the table of its feature"));
        }
        return profile;
    }

  private:
    static constexpr unsigned threads = 512;

    void clear(On on) {
        fill_bytes(on, counts_.span(), 0);
        fill_bytes(on, results_.span(), 0);
        fill_bytes(on, results_.span().subspan(results_.size() - 1, 1), 0xFF);
        std::fill(most_.begin(), most_.end(), 0);
        inputs_counted_ = 0;
        inputs_seen_ = 0;
    }

    template <IndexType Index>
    void require_features(const Bags<Index>& bags) const {
        require(bags.features() == space_.features() || bags.size() == 0, [&] {
            return concat("the batch has ", bags.features(), " features, expected ", space_.features());
        });
    }

    // Sums of the tables' counts, then the inputs drawn and the first bad position. Waits.
    [[nodiscard]] std::vector<std::uint64_t> read_results(On on) {
        std::vector<std::uint64_t> results(results_.size());
        fill_bytes(on, results_.span().subspan(0, space_.table_count()), 0);
        detail::sum_tables<<<launch_grid(counts_.size() / 64 + 1, threads), threads, 0, on.stream>>>(
            counts_.data(), space_.rows(), offsets_.data(), static_cast<std::uint32_t>(space_.table_count()),
            results_.data());
        check_launch("sum_tables");
        copy(on, results_.span(), Span<std::uint64_t>(results));
        on.synchronise();
        return results;
    }

    template <IndexType Index>
    void require_room(On on, const Bags<Index>& bags) {
        if (bags.size() == 0) return;
        std::vector<std::uint64_t> most = added_to(most_, bags);
        const auto full = [&] { return std::find_if(most.begin(), most.end(), is_full); };
        if (full() != most.end()) {
            std::vector<std::uint64_t> counted = read_results(on);
            counted.resize(space_.table_count());
            most = added_to(std::move(counted), bags);
        }
        require(full() == most.end(), [&] {
            return concat("table ", full() - most.begin(), " has up to ", *full(),
                          " look-ups, expected at most ", max_count, ", which one counter holds");
        });
        most_ = std::move(most);
    }
    [[nodiscard]] static bool is_full(std::uint64_t lookups) { return lookups > max_count; }

    // The look-ups that each table has at most, once the batch is counted.
    template <IndexType Index>
    [[nodiscard]] std::vector<std::uint64_t> added_to(std::vector<std::uint64_t> most,
                                                      const Bags<Index>& bags) const {
        if (!bags.is_fixed()) {
            for (std::uint64_t& lookups : most) lookups += bags.lookups();
            return most;
        }
        for (const std::uint32_t table : space_.feature_table()) {
            most[table] += std::uint64_t{bags.samples()} * bags.bag_size();
        }
        return most;
    }

    template <IndexType Index>
    void queue(On on, const Bags<Index>& bags, const InputSampler& sampler) {
        if (bags.size() == 0) return;
        std::uint64_t* const drawn = results_.data() + results_.size() - 2;
        std::uint64_t* const bad = drawn + 1;
        if constexpr (checked) {
            detail::find_bad_row<<<launch_grid(bags.size(), 256), 256, 0, on.stream>>>(
                bags, offsets_.data(), feature_table_.data(), bad);
            check_launch("find_bad_row");
        }
        // Few blocks for a small batch: each adds its own counters in the end.
        const std::uint64_t blocks = ceil_div<std::uint64_t>(bags.lookups() + bags.samples(), threads * 16);
        const auto most = static_cast<std::uint64_t>(current_device().multiprocessors) * 4;
        const auto grid = static_cast<unsigned>(std::min(std::max<std::uint64_t>(blocks, 1), most));
        const std::size_t shared = private_rows_.rows * sizeof(std::uint32_t);
        if (sampler.draws_all()) {
            detail::count_values<<<grid, threads, shared, on.stream>>>(bags.values().data(), bags.lookups(),
                                                                       private_rows_, counts_.data(), bad);
            check_launch("count_values");
        } else {
            detail::count_drawn<<<grid, threads, shared, on.stream>>>(
                bags, sampler, inputs_seen_, private_rows_, counts_.data(), drawn, bad);
            check_launch("count_drawn");
        }
    }

    RowSpace space_;
    detail::PrivateRows private_rows_;
    Buffer<Count, DeviceSpace> counts_;
    Buffer<std::uint64_t, DeviceSpace> offsets_;
    Buffer<std::uint32_t, DeviceSpace> feature_table_;
    Buffer<std::uint64_t, DeviceSpace> results_;  // as read_results gives them
    std::vector<std::uint64_t> most_;             // look-ups of each table, at most
    std::uint64_t inputs_counted_ = 0;            // but for those drawn
    std::uint64_t inputs_seen_ = 0;
};

}  // namespace fae::inline FAE_ABI::cuda
