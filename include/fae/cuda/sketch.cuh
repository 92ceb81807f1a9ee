// SPDX-License-Identifier: Apache-2.0
//
// cuda::HeavyHitterSketch: the heavy hitters of keys in device memory, in device memory that is fixed before
// the first key. Its bounds are those of the host's sketch (profile/sketch.hpp), to which it can be merged.
//
//   cuda::HeavyHitterSketch sketch(cuda::on(stream), {.memory_bytes = 64u << 20});
//   sketch.add(cuda::on(stream), bags.values());                       // keys in device memory
//   SketchListing seen = sketch.listing(cuda::on(stream));
//   host_sketch.merge(seen.keys, seen.floor, seen.total, seen.halvings);
//
// One shard of k counters in a hash table of 4 k places. The stream is taken in chunks of k keys; before each
// one, if k or more counters are taken, the floor rises to their median and those not above it are dropped.
// So there is always room for a chunk, and within one the floor stands still: counting is a sum, and the
// result depends on the stream alone, not on the order in which threads come. The bound of the host's sketch
// holds by the same proof: each rise by d takes d from at least k / 2 counters.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/profile/sketch.hpp"

namespace fae::inline FAE_ABI::cuda {

/// What a sketch knew at some time.
/// @units keys, floor and total: unit of them are one look-up
struct SketchListing {
    std::vector<HeavyKey> keys;  ///< the largest lower bound first, then the smallest key
    std::uint64_t floor = 0;     ///< what any other key has at most
    std::uint64_t total = 0;
    std::uint64_t unit = 1;
    std::uint64_t halvings = 0;
};

namespace detail {

/// A place of the table: a key plus 1, or 0.
struct SketchPlace {
    std::uint64_t key;
    std::uint64_t upper;
    std::uint64_t late;  ///< upper - late is the lower bound
};

/// What kernels hand on to each other.
struct SketchState {
    std::uint64_t used;
    std::uint64_t floor;
    std::uint64_t listed;
    std::uint64_t most;
    std::uint64_t arrived;  // blocks that came to a barrier of make_room, ever
    std::uint64_t bins[2048];
};

struct SketchTable {
    SketchPlace* places;
    SketchState* state;
    std::uint64_t mask;
    std::uint64_t key;
    std::uint64_t counters;
};

__device__ inline unsigned long long* as_atomic(std::uint64_t* at) {
    return reinterpret_cast<unsigned long long*>(at);
}

/// Waits until every block of the grid, all of which are resident, has come here.
__device__ inline void wait_for_grid(std::uint64_t* arrived) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        const std::uint64_t before = atomicAdd(as_atomic(arrived), 1ull);
        const std::uint64_t all = (before / gridDim.x + 1) * gridDim.x;
        while (*static_cast<volatile std::uint64_t*>(arrived) < all) __nanosleep(32);
        __threadfence();
    }
    __syncthreads();
}

/// Adds to a key's counter, or gives it one; 1 if it is new.
__device__ inline std::uint32_t bump(const SketchTable& table, std::uint64_t stored, std::uint64_t hash,
                                     std::uint64_t units, std::uint64_t floor) {
    for (std::uint64_t at = hash & table.mask;; at = (at + 1) & table.mask) {
        SketchPlace& place = table.places[at];
        std::uint64_t there = *static_cast<volatile std::uint64_t*>(&place.key);
        if (there == 0)
            there = atomicCAS(as_atomic(&place.key), 0ull, static_cast<unsigned long long>(stored));
        if (there == stored) {
            atomicAdd(as_atomic(&place.upper), static_cast<unsigned long long>(units));
            return 0;
        }
        if (there == 0) {
            atomicAdd(as_atomic(&place.upper), static_cast<unsigned long long>(floor + units));
            place.late = floor;
            return 1;
        }
    }
}

/// Counts a chunk of keys.
/// @par Launch one thread a key, 4,096 keys a block: it adds up what comes often in 2,048 counters of its own
template <IndexType Index>
__global__ void __launch_bounds__(512)
    count_keys(const Index* keys, std::uint64_t count, SketchTable table, std::uint64_t unit) {
    constexpr unsigned own = 2048;
    __shared__ unsigned long long own_key[own];
    __shared__ unsigned own_count[own];
    __shared__ unsigned fresh;
    for (unsigned i = threadIdx.x; i < own; i += blockDim.x) {
        own_key[i] = 0;
        own_count[i] = 0;
    }
    if (threadIdx.x == 0) fresh = 0;
    __syncthreads();
    const std::uint64_t floor = table.state->floor;
    unsigned mine = 0;
    for (std::uint64_t i = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; i < count;
         i += std::uint64_t{gridDim.x} * blockDim.x) {
        const std::uint64_t key = keys[i];
        const unsigned long long stored = key + 1;
        const std::uint64_t hash = mix64(key ^ table.key);
        bool counted = false;
        for (unsigned attempt = 0; attempt < 2 && !counted; ++attempt) {
            const auto place = static_cast<unsigned>(hash >> (42 + 11 * attempt)) & (own - 1);
            unsigned long long there = *static_cast<volatile unsigned long long*>(own_key + place);
            if (there == 0) {
                there = atomicCAS(own_key + place, 0ull, stored);
                if (there == 0) there = stored;
            }
            if (there == stored) {
                atomicAdd(own_count + place, 1u);
                counted = true;
            }
        }
        if (!counted) mine += bump(table, stored, hash, unit, floor);
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < own; i += blockDim.x) {
        if (own_count[i] == 0) continue;
        const std::uint64_t stored = own_key[i];
        mine += bump(table, stored, mix64((stored - 1) ^ table.key), own_count[i] * unit, floor);
    }
    if (mine != 0) atomicAdd(&fresh, mine);
    __syncthreads();
    if (threadIdx.x == 0 && fresh != 0) {
        atomicAdd(as_atomic(&table.state->used), static_cast<unsigned long long>(fresh));
    }
}

/// The bin in which the value of a rank lies, and its rank there: for all threads of the block.
__device__ inline std::uint64_t find_bin(const std::uint64_t* bins, std::uint64_t& rank) {
    constexpr unsigned each = 2048 / 32;
    __shared__ std::uint64_t found[2];
    if (threadIdx.x < 32) {
        std::uint64_t sum = 0;
        for (unsigned i = 0; i < each; ++i) {
            sum += *static_cast<const volatile std::uint64_t*>(bins + threadIdx.x * each + i);
        }
        std::uint64_t before = sum;
        for (unsigned step = 1; step < 32; step *= 2) {
            const std::uint64_t other = __shfl_up_sync(~0u, before, step);
            if (threadIdx.x >= step) before += other;
        }
        before -= sum;
        if (rank >= before && rank < before + sum) {
            std::uint64_t left = rank - before;
            unsigned bin = threadIdx.x * each;
            while (left >= *static_cast<const volatile std::uint64_t*>(bins + bin)) {
                left -= *static_cast<const volatile std::uint64_t*>(bins + bin++);
            }
            found[0] = bin;
            found[1] = left;
        }
    }
    __syncthreads();
    const std::uint64_t bin = found[0];
    rank = found[1];
    __syncthreads();
    return bin;
}

/// Raises the floor to the median of the counters and drops those not above it, if `counters` or more are
/// taken; else does nothing.
/// @par Launch cooperative, blocks of 512 threads that are resident together; places in steps of the grid
static __global__ void __launch_bounds__(512) make_room(SketchTable table, SketchPlace* list) {
    SketchState& state = *table.state;
    const std::uint64_t used = *static_cast<volatile std::uint64_t*>(&state.used);
    if (used < table.counters) return;
    const std::uint64_t floor = *static_cast<volatile std::uint64_t*>(&state.floor);
    const std::uint64_t first = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x;
    const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
    __shared__ unsigned own[2048];
    const auto above = [&](std::uint64_t at) {
        const SketchPlace& place = table.places[at];
        return place.key == 0 || place.upper < floor ? 0 : place.upper - floor;
    };
    // How many digits there are.
    if (first == 0) {
        state.most = 0;
        state.listed = 0;
    }
    wait_for_grid(&state.arrived);
    std::uint64_t most = 0;
    for (std::uint64_t at = first; at <= table.mask; at += step) {
        const std::uint64_t value = above(at);
        most = value > most ? value : most;
    }
    for (unsigned half = 16; half != 0; half /= 2) {
        const std::uint64_t other = __shfl_xor_sync(~0u, most, half);
        most = other > most ? other : most;
    }
    if (threadIdx.x % 32 == 0) {
        atomicMax(as_atomic(&state.most), static_cast<unsigned long long>(most));
    }
    wait_for_grid(&state.arrived);
    most = *static_cast<volatile std::uint64_t*>(&state.most);
    unsigned shift = 0;
    while (shift < 55 && most >> (shift + 11) != 0) shift += 11;

    std::uint64_t rank = (used - 1) / 2;
    std::uint64_t median = 0;
    for (bool top = true;; top = false, shift -= 11) {
        for (std::uint64_t bin = first; bin < 2048; bin += step) state.bins[bin] = 0;
        for (unsigned bin = threadIdx.x; bin < 2048; bin += blockDim.x) own[bin] = 0;
        wait_for_grid(&state.arrived);
        for (std::uint64_t at = first; at <= table.mask; at += step) {
            if (table.places[at].key == 0) continue;
            const std::uint64_t value = above(at) >> shift;
            if (top || value >> 11 == median) atomicAdd(own + (value & 2047), 1u);
        }
        __syncthreads();
        for (unsigned bin = threadIdx.x; bin < 2048; bin += blockDim.x) {
            if (own[bin] != 0) {
                atomicAdd(as_atomic(state.bins + bin), static_cast<unsigned long long>(own[bin]));
            }
        }
        wait_for_grid(&state.arrived);
        median = (median << 11) | find_bin(state.bins, rank);
        if (shift == 0) break;
        wait_for_grid(&state.arrived);  // all have read the bins before they are emptied
    }
    const std::uint64_t risen = floor + median;
    for (std::uint64_t at = first; at <= table.mask; at += step) {
        const SketchPlace place = table.places[at];
        if (place.key == 0) continue;
        table.places[at] = SketchPlace{0, 0, 0};
        if (place.upper <= risen) continue;
        list[atomicAdd(as_atomic(&state.listed), 1ull)] = place;
    }
    wait_for_grid(&state.arrived);
    const std::uint64_t listed = *static_cast<volatile std::uint64_t*>(&state.listed);
    for (std::uint64_t i = first; i < listed; i += step) {
        const SketchPlace place = list[i];
        std::uint64_t at = mix64((place.key - 1) ^ table.key) & table.mask;
        while (atomicCAS(as_atomic(&table.places[at].key), 0ull,
                         static_cast<unsigned long long>(place.key)) != 0) {
            at = (at + 1) & table.mask;
        }
        table.places[at].upper = place.upper;
        table.places[at].late = place.late;
    }
    if (first == 0) {
        state.used = listed;
        state.floor = risen;
    }
}

/// Divides all by 2^bits, rounded to the safe side.
/// @par Launch one thread a place
static __global__ void rescale(SketchTable table, unsigned bits) {
    const auto up = [&](std::uint64_t units) {
        return (units >> bits) + ((units & ((std::uint64_t{1} << bits) - 1)) != 0 ? 1 : 0);
    };
    for (std::uint64_t at = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; at <= table.mask;
         at += std::uint64_t{gridDim.x} * blockDim.x) {
        SketchPlace& place = table.places[at];
        if (place.key == 0) continue;
        const std::uint64_t lower = (place.upper - place.late) >> bits;
        place.upper = up(place.upper);
        place.late = place.upper - lower;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) table.state->floor = up(table.state->floor);
}

}  // namespace detail

/// Heavy hitters of a stream of keys in device memory. The result depends on the keys in their order and
/// halve() alone. Move-only.
/// @cost 24 bytes a place, four places a counter, and a list of one more
class HeavyHitterSketch {
  public:
    /// @exec   cuda::On: queued
    /// @throws ContractError if memory_bytes is less than 32 KiB; CudaError
    explicit HeavyHitterSketch(On on, SketchOptions options = {}) : options_(options) {
        require(options.memory_bytes >= least_bytes, [&] {
            return concat("a sketch of ", options.memory_bytes, " bytes on a device, expected at least ",
                          least_bytes);
        });
        const std::uint64_t fit =
            (options.memory_bytes - sizeof(detail::SketchState)) / (5 * sizeof(detail::SketchPlace));
        counters_ = std::bit_floor(fit);
        places_ = Buffer<detail::SketchPlace, DeviceSpace>(static_cast<std::size_t>(4 * counters_));
        list_ = Buffer<detail::SketchPlace, DeviceSpace>(static_cast<std::size_t>(counters_));
        state_ = Buffer<detail::SketchState, DeviceSpace>(1);
        key_ = mix64(mix64(options.seed) ^ 0x736B65746368u);
        fill_bytes(on, places_.span(), 0);
        fill_bytes(on, state_.span(), 0);
        int blocks = 0;
        check(::cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, detail::make_room, threads, 0),
              "query of resident blocks");
        const auto resident =
            static_cast<std::uint64_t>(blocks) * static_cast<std::uint64_t>(current_device().multiprocessors);
        room_grid_ =
            static_cast<unsigned>(std::min(resident, ceil_div<std::uint64_t>(4 * counters_, threads)));
    }

    [[nodiscard]] const SketchOptions& options() const { return options_; }
    /// Keys that it surely lists; up to twice as many before the next chunk.
    [[nodiscard]] std::uint64_t counters() const { return counters_; }
    [[nodiscard]] std::uint64_t memory_bytes() const {
        return places_.bytes() + list_.bytes() + state_.bytes();
    }
    [[nodiscard]] std::uint64_t unit() const { return unit_; }
    [[nodiscard]] std::uint64_t halvings() const { return halvings_; }
    [[nodiscard]] std::uint64_t total() const { return total_; }

    /// Adds one look-up of each key.
    /// @param keys  in device memory that stays as it is until the work is done
    /// @pre    no key is 2^64 - 1
    /// @exec   cuda::On: queued; capturable where the same number of keys is added each time and it is a
    ///         multiple of counters()
    /// @cost   reads sizeof(Index) bytes a key, an atomic operation in shared memory each and one in the
    /// table
    ///         for those that do not come often; two launches a chunk of counters() keys. No allocation
    /// @throws ContractError if total() could exceed 2^62; CudaError
    template <IndexType Index>
    void add(On on, Span<const Index> keys) {
        constexpr std::uint64_t most = std::uint64_t{1} << 62;
        require(keys.size() <= (most - total_) / unit_, [&] {
            return concat("the sketch holds ", total_, " units and is to get ", keys.size(), " of ", unit_,
                          ", expected at most 2^62 together");
        });
        total_ += keys.size() * unit_;
        detail::SketchTable to = table();
        for (std::uint64_t first = 0; first < keys.size();) {
            if (in_chunk_ == 0) {
                detail::SketchPlace* list = list_.data();
                void* arguments[] = {&to, &list};
                check(::cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(&detail::make_room),
                                                    dim3(room_grid_), dim3(threads), arguments, 0, on.stream),
                      "launch of make_room");
            }
            const std::uint64_t some = std::min<std::uint64_t>(counters_ - in_chunk_, keys.size() - first);
            const auto grid = static_cast<unsigned>(
                std::min(ceil_div<std::uint64_t>(some, 4096),
                         static_cast<std::uint64_t>(current_device().multiprocessors) * 4));
            detail::count_keys<<<grid, threads, 0, on.stream>>>(keys.data() + first, some, to, unit_);
            check_launch("count_keys");
            first += some;
            in_chunk_ = (in_chunk_ + some) % counters_;
        }
    }

    /// What was added so far counts half from here on, as the host's sketch has it.
    /// @exec   cuda::On: queued
    void halve(On on) {
        ++halvings_;
        unit_ *= 2;
        if (unit_ <= most_unit) return;
        unit_ >>= rescale_bits;
        total_ = ceil_div(total_, std::uint64_t{1} << rescale_bits);
        detail::rescale<<<launch_grid(places_.size(), threads), threads, 0, on.stream>>>(table(),
                                                                                         rescale_bits);
        check_launch("rescale");
    }

    /// Every key that has a counter, and what holds for all others.
    /// @exec   cuda::On: returns when done
    /// @throws CudaError
    [[nodiscard]] SketchListing listing(On on) const {
        std::vector<detail::SketchPlace> places(places_.size());
        std::vector<detail::SketchState> state(1);
        copy(on, places_.span(), Span<detail::SketchPlace>(places));
        copy(on, state_.span(), Span<detail::SketchState>(state));
        on.synchronise();
        SketchListing seen;
        seen.floor = state[0].floor;
        seen.total = total_;
        seen.unit = unit_;
        seen.halvings = halvings_;
        for (const detail::SketchPlace& place : places) {
            if (place.key == 0) continue;
            // After a division of all, a counter may be at the floor or below: it says no less than the
            // floor.
            const std::uint64_t upper = std::max(place.upper, seen.floor);
            seen.keys.push_back({place.key - 1, place.upper - place.late, upper});
        }
        std::sort(seen.keys.begin(), seen.keys.end(), [](const HeavyKey& a, const HeavyKey& b) {
            return a.lower != b.lower ? a.lower > b.lower : a.key < b.key;
        });
        return seen;
    }

  private:
    static constexpr unsigned threads = 512;
    static constexpr std::uint64_t least_bytes = std::uint64_t{32} << 10;
    static constexpr std::uint64_t most_unit = std::uint64_t{1} << 20;
    static constexpr unsigned rescale_bits = 10;

    [[nodiscard]] detail::SketchTable table() {
        return {places_.data(), state_.data(), places_.size() - 1, key_, counters_};
    }

    SketchOptions options_;
    std::uint64_t counters_ = 0;
    std::uint64_t key_ = 0;
    std::uint64_t unit_ = 1;
    std::uint64_t halvings_ = 0;
    std::uint64_t total_ = 0;
    std::uint64_t in_chunk_ = 0;  // keys since the last time that room was made
    unsigned room_grid_ = 1;
    Buffer<detail::SketchPlace, DeviceSpace> places_;
    Buffer<detail::SketchPlace, DeviceSpace> list_;
    Buffer<detail::SketchState, DeviceSpace> state_;
};

}  // namespace fae::inline FAE_ABI::cuda
