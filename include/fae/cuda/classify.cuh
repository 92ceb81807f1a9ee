// SPDX-License-Identifier: Apache-2.0
//
// classify on the device: splits resident inputs into hot ones, all of whose look-ups are in a hot set and
// become slots, and cold ones, which keep their row ids. Equal to the host's (classify/inputs.hpp).
//
//   cuda::DeviceHotSet hot(cuda::on(stream), hot_set);
//   auto split = classify(cuda::on(stream), hot, bags);       // bags over device memory
//   split.hot_bags()                                                // slots, in device memory
//   ClassifiedInputs<> host = cuda::to_host(cuda::on(stream), seq, split);
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cub/device/device_scan.cuh>
#include <string>
#include <utility>
#include <vector>

#include "fae/calibrate/hot_set.hpp"
#include "fae/classify/inputs.hpp"
#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/rank_bitmap.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/hot_set.hpp"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/memory/buffer.hpp"
#include "fae/memory/space.hpp"

namespace fae::inline FAE_ABI::cuda {

/// The look-ups of some inputs in one row space, and the hot set that they are asked against; all in device
/// memory.
template <IndexType Index = std::uint32_t>
struct HotQuery {
    const DeviceHotSet* hot = nullptr;
    Bags<Index> bags;
};

/// Which inputs are hot, in device memory.
/// @shape words [ceil(inputs / 32)], bit i % 32 of word i / 32 for input i; before [words + 1], the hot
/// inputs
///        before each word
struct HotInputs {
    Buffer<std::uint32_t, DeviceSpace> words;
    Buffer<std::uint64_t, DeviceSpace> before;
    std::uint64_t inputs = 0;
    std::uint64_t hot = 0;
};

/// The inputs of one row space, split, in device memory.
/// @shape as ClassifiedInputs
template <IndexType Index = std::uint32_t>
struct ClassifiedInputs {
    HotInputs hot_inputs;
    std::size_t features = 1;
    std::size_t bag_size = 1;  ///< 0: jagged
    Buffer<Index, DeviceSpace> hot_slots;
    Buffer<Index, DeviceSpace> cold_rows;
    Buffer<std::uint64_t, DeviceSpace> hot_offsets;
    Buffer<std::uint64_t, DeviceSpace> cold_offsets;
    Buffer<float, DeviceSpace> hot_weights;
    Buffer<float, DeviceSpace> cold_weights;

    [[nodiscard]] Bags<Index> hot_bags() const { return bags(hot_slots, hot_offsets, hot_weights); }
    [[nodiscard]] Bags<Index> cold_bags() const { return bags(cold_rows, cold_offsets, cold_weights); }

  private:
    [[nodiscard]] Bags<Index> bags(const Buffer<Index, DeviceSpace>& values,
                                   const Buffer<std::uint64_t, DeviceSpace>& offsets,
                                   const Buffer<float, DeviceSpace>& weights) const {
        return bag_size != 0
                   ? Bags<Index>::fixed(values.span(), bag_size, features, weights.span())
                   : Bags<Index>::jagged_elsewhere(values.span(), offsets.span(), features, weights.span());
    }
};

namespace detail {

/// Where find_hot notes a look-up outside the row space (FAE_CHECKED).
inline constexpr std::uint64_t all_inside = ~std::uint64_t{0};

/// One word of hot bits, for 32 inputs.
/// @par Launch blocks of whole warps; a warp takes 32 inputs at a time, and the look-ups of one input side by
///      side
/// @param also  `words` holds the bits of another row space: an input must be hot in both
template <IndexType Index>
__global__ void find_hot(HotSet::Ref hot, Bags<Index> bags, bool also, std::uint32_t* words,
                         std::uint64_t* before, std::uint64_t* bad_position) {
    constexpr unsigned at_once = 4;
    const unsigned lane = threadIdx.x % 32;
    const std::uint64_t inputs = bags.samples();
    const std::size_t features = bags.features();
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    const std::uint64_t warps = std::uint64_t{gridDim.x} * blockDim.x / 32;
    const auto is_hot = [&](std::uint64_t i) {
        const Index row = bags.values()[i];
        if (checked && row >= hot.rows()) {
            atomicMin(reinterpret_cast<unsigned long long*>(bad_position),
                      static_cast<unsigned long long>(i));
            return false;
        }
        return hot.contains(row);
    };
    for (std::uint64_t word = warp; word * 32 < inputs; word += warps) {
        const std::uint64_t first = word * 32;
        const unsigned count = inputs - first < 32 ? static_cast<unsigned>(inputs - first) : 32;
        unsigned bits = 0;
        for (unsigned j = 0; j < count; j += at_once) {
            // The first 32 look-ups of several inputs are asked about together, the rest of each while hot.
            std::uint64_t begin[at_once];
            std::uint64_t end[at_once];
            bool mine[at_once];
            for (unsigned k = 0; k < at_once; ++k) {
                const std::uint64_t input = j + k < count ? first + j + k : inputs;
                begin[k] = bags.begin(input * features);
                end[k] = j + k < count ? bags.begin((input + 1) * features) : begin[k];
                mine[k] = begin[k] + lane >= end[k] || is_hot(begin[k] + lane);
            }
            for (unsigned k = 0; k < at_once; ++k) {
                bool all = __all_sync(~0u, mine[k]) != 0;
                for (std::uint64_t at = begin[k] + 32; all && at < end[k]; at += 32) {
                    all = __all_sync(~0u, at + lane >= end[k] || is_hot(at + lane)) != 0;
                }
                bits |= (all && j + k < count ? 1u : 0u) << (j + k);
            }
        }
        if (lane == 0) {
            if (also) bits &= words[word];
            words[word] = bits;
            before[word] = static_cast<std::uint64_t>(__popc(bits));
        }
    }
}

/// The look-ups of the hot inputs of each word; for jagged bags.
/// @par Launch one thread a word of 32 inputs
template <IndexType Index>
__global__ void count_hot_lookups(Bags<Index> bags, const std::uint32_t* words, std::uint64_t* lookups) {
    const std::uint64_t count = (std::uint64_t{bags.samples()} + 31) / 32;
    for (std::uint64_t word = blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x; word < count;
         word += std::uint64_t{gridDim.x} * blockDim.x) {
        std::uint64_t sum = 0;
        for (unsigned left = words[word]; left != 0; left &= left - 1) {
            const std::uint64_t input = word * 32 + static_cast<unsigned>(__ffs(static_cast<int>(left))) - 1;
            sum += bags.begin((input + 1) * bags.features()) - bags.begin(input * bags.features());
        }
        lookups[word] = sum;
    }
}

/// The arrays of one class of inputs.
template <IndexType Index>
struct SplitOut {
    Index* values;
    std::uint64_t* offsets;  // null: fixed bags
    float* weights;          // null: none
};

/// Copies each input behind the earlier ones of its class.
/// @par Launch as find_hot
/// @param hot_lookups  [words + 1] for jagged bags, else null
template <IndexType Index>
__global__ void split(HotSet::Ref hot, Bags<Index> bags, const std::uint32_t* words,
                      const std::uint64_t* before, const std::uint64_t* hot_lookups, SplitOut<Index> to_hot,
                      SplitOut<Index> to_cold) {
    const unsigned lane = threadIdx.x % 32;
    const std::uint64_t inputs = bags.samples();
    const std::size_t features = bags.features();
    const std::uint64_t warp = (blockIdx.x * std::uint64_t{blockDim.x} + threadIdx.x) / 32;
    const std::uint64_t warps = std::uint64_t{gridDim.x} * blockDim.x / 32;
    for (std::uint64_t word = warp; word * 32 < inputs; word += warps) {
        const unsigned bits = words[word];
        std::uint64_t hot_input = before[word];
        std::uint64_t cold_input = word * 32 - hot_input;
        std::uint64_t hot_at = bags.is_fixed() ? bags.begin(hot_input * features) : hot_lookups[word];
        std::uint64_t cold_at = bags.begin(word * 32 * features) - hot_at;
        for (unsigned j = 0; j < 32 && word * 32 + j < inputs; ++j) {
            const std::uint64_t input = word * 32 + j;
            const bool is_hot = (bits >> j & 1u) != 0;
            const SplitOut<Index> to = is_hot ? to_hot : to_cold;
            const std::uint64_t number = is_hot ? hot_input : cold_input;
            const std::uint64_t at = is_hot ? hot_at : cold_at;
            const std::uint64_t begin = bags.begin(input * features);
            const std::uint64_t length = bags.begin((input + 1) * features) - begin;
            for (std::uint64_t i = lane; i < length; i += 32) {
                const Index row = bags.values()[begin + i];
                to.values[at + i] = is_hot ? static_cast<Index>(hot.slot_of(row)) : row;
                if (to.weights != nullptr) to.weights[at + i] = bags.weights()[begin + i];
            }
            if (to.offsets != nullptr) {
                for (std::uint64_t f = lane; f < features; f += 32) {
                    to.offsets[number * features + f] = at + (bags.begin(input * features + f) - begin);
                }
            }
            (is_hot ? hot_at : cold_at) += length;
            ++(is_hot ? hot_input : cold_input);
        }
        if (word * 32 + 32 >= inputs && lane == 0) {
            if (to_hot.offsets != nullptr) to_hot.offsets[hot_input * features] = hot_at;
            if (to_cold.offsets != nullptr) to_cold.offsets[cold_input * features] = cold_at;
        }
    }
}

/// Turns counts [n] into the sums of those before each, with the total as entry n, which is given. Waits.
[[nodiscard]] inline std::uint64_t sums_before(On on, Buffer<std::uint64_t, DeviceSpace>& counts) {
    fill_bytes(on, counts.span().subspan(counts.size() - 1, 1), 0);
    std::size_t bytes = 0;
    check(
        cub::DeviceScan::ExclusiveSum(nullptr, bytes, counts.data(), counts.data(), counts.size(), on.stream),
        "sizing of a scan");
    Buffer<std::byte, DeviceSpace> scratch(bytes);
    check(cub::DeviceScan::ExclusiveSum(scratch.data(), bytes, counts.data(), counts.data(), counts.size(),
                                        on.stream),
          "scan");
    std::uint64_t total = 0;
    copy(on, counts.span().subspan(counts.size() - 1, 1), Span<std::uint64_t>(&total, 1));
    on.synchronise();
    return total;
}

}  // namespace detail
}  // namespace fae::inline FAE_ABI::cuda

namespace fae::inline FAE_ABI {

/// The inputs all of whose look-ups are hot, in every row space that they look up: several dims side by side.
/// @param queries  one per row space, over the same inputs
/// @exec   cuda::On: returns when done
/// @throws ContractError where queries have different inputs; IndexError (FAE_CHECKED); CudaError
template <IndexType Index>
[[nodiscard]] cuda::HotInputs find_hot_inputs(cuda::On on, Span<const cuda::HotQuery<Index>> queries) {
    require(!queries.empty(), [] { return std::string("0 queries, expected at least 1"); });
    cuda::HotInputs found;
    found.inputs = queries[0].bags.samples();
    for (const cuda::HotQuery<Index>& query : queries) {
        require(query.bags.samples() == found.inputs, [&] {
            return concat("a query has ", query.bags.samples(), " inputs, expected ", found.inputs);
        });
    }
    const auto words = static_cast<std::size_t>(ceil_div<std::uint64_t>(found.inputs, 32));
    found.words = Buffer<std::uint32_t, cuda::DeviceSpace>(words);
    found.before = Buffer<std::uint64_t, cuda::DeviceSpace>(words + 1);
    Buffer<std::uint64_t, cuda::DeviceSpace> bad(checked ? 1 : 0);
    cuda::fill_bytes(on, bad.span(), 0xFF);
    if (words != 0) {
        for (std::size_t q = 0; q < queries.size(); ++q) {
            cuda::detail::find_hot<<<cuda::launch_grid(found.inputs, 256), 256, 0, on.stream>>>(
                queries[q].hot->ref(), queries[q].bags, q != 0, found.words.data(), found.before.data(),
                bad.data());
            cuda::check_launch("find_hot");
        }
    }
    if constexpr (checked) {
        std::uint64_t position = 0;
        cuda::copy(on, bad.span(), Span<std::uint64_t>(&position, 1));
        on.synchronise();
        if (position != cuda::detail::all_inside) {
            throw IndexError(concat("values[", position, "] is outside the rows of its hot set"));
        }
    }
    found.hot = cuda::detail::sums_before(on, found.before);
    return found;
}

/// Splits the inputs of a query by a set of hot inputs that find_hot_inputs found.
/// @pre    every input in `hot_inputs` has hot look-ups only
/// @exec   cuda::On: returns when done; outputs are of the size of the inputs
/// @cost   reads and writes each look-up once; ranks those of hot inputs
/// @throws ContractError if the set is not of these inputs, or slots do not fit Index; CudaError
template <IndexType Index>
[[nodiscard]] cuda::ClassifiedInputs<Index> split_inputs(cuda::On on, cuda::HotInputs hot_inputs,
                                                         const cuda::HotQuery<Index>& query) {
    const Bags<Index>& bags = query.bags;
    const HotSet::Ref hot = query.hot->ref();
    require(hot_inputs.inputs == bags.samples(), [&] {
        return concat("the hot inputs are of ", hot_inputs.inputs, " inputs, expected ", bags.samples());
    });
    require(hot.size() <= max_rows<Index>, [&] {
        return concat("the hot set has ", hot.size(), " slots, expected at most ", max_rows<Index>, " for ",
                      sizeof(Index) * 8, "-bit indices");
    });
    cuda::ClassifiedInputs<Index> made;
    made.features = bags.features();
    made.bag_size = bags.bag_size();
    Buffer<std::uint64_t, cuda::DeviceSpace> hot_lookups(bags.is_fixed() ? 0 : hot_inputs.words.size() + 1);
    std::uint64_t lookups = hot_inputs.hot * made.features * made.bag_size;
    if (!bags.is_fixed()) {
        if (!hot_inputs.words.empty()) {
            cuda::detail::
                count_hot_lookups<<<cuda::launch_grid(hot_inputs.words.size(), 256), 256, 0, on.stream>>>(
                    bags, hot_inputs.words.data(), hot_lookups.data());
            cuda::check_launch("count_hot_lookups");
        }
        lookups = cuda::detail::sums_before(on, hot_lookups);
        made.hot_offsets = Buffer<std::uint64_t, cuda::DeviceSpace>(
            static_cast<std::size_t>(hot_inputs.hot) * made.features + 1);
        made.cold_offsets = Buffer<std::uint64_t, cuda::DeviceSpace>(
            static_cast<std::size_t>(hot_inputs.inputs - hot_inputs.hot) * made.features + 1);
        cuda::fill_bytes(on, made.hot_offsets.span().subspan(0, 1), 0);
        cuda::fill_bytes(on, made.cold_offsets.span().subspan(0, 1), 0);
    }
    const auto hot_values = static_cast<std::size_t>(lookups);
    const std::size_t cold_values = bags.lookups() - hot_values;
    made.hot_slots = Buffer<Index, cuda::DeviceSpace>(hot_values);
    made.cold_rows = Buffer<Index, cuda::DeviceSpace>(cold_values);
    if (!bags.weights().empty()) {
        made.hot_weights = Buffer<float, cuda::DeviceSpace>(hot_values);
        made.cold_weights = Buffer<float, cuda::DeviceSpace>(cold_values);
    }
    if (hot_inputs.inputs != 0) {
        cuda::detail::split<<<cuda::launch_grid(hot_inputs.inputs, 256), 256, 0, on.stream>>>(
            hot, bags, hot_inputs.words.data(), hot_inputs.before.data(), hot_lookups.data(),
            cuda::detail::SplitOut<Index>{made.hot_slots.data(), made.hot_offsets.data(),
                                          made.hot_weights.data()},
            cuda::detail::SplitOut<Index>{made.cold_rows.data(), made.cold_offsets.data(),
                                          made.cold_weights.data()});
        cuda::check_launch("split");
    }
    on.synchronise();
    made.hot_inputs = std::move(hot_inputs);
    return made;
}

/// Classifies the inputs of one row space. An input is hot if all its look-ups are; one without any is hot.
/// @pre    every value is a row of the hot set's row space (FAE_CHECKED)
/// @exec   cuda::On: returns when done
/// @cost   reads each look-up twice and asks the hot set twice about those of hot inputs
/// @throws ContractError, IndexError, CudaError as find_hot_inputs and split_inputs
/// @source Adnan et al., PVLDB 15(1), 2021: hot and cold inputs
template <IndexType Index>
[[nodiscard]] cuda::ClassifiedInputs<Index> classify(cuda::On on, const cuda::DeviceHotSet& hot,
                                                     const Bags<Index>& bags) {
    const cuda::HotQuery<Index> query{&hot, bags};
    return split_inputs(on, find_hot_inputs(on, Span<const cuda::HotQuery<Index>>(&query, 1)), query);
}

}  // namespace fae::inline FAE_ABI

namespace fae::inline FAE_ABI::cuda {

/// The same in host memory, to be packed.
/// @exec   cuda::On: returns when done; `exec` ranks the bits
template <Executor E, IndexType Index>
[[nodiscard]] fae::ClassifiedInputs<Index> to_host(On on, const E& exec,
                                                   const ClassifiedInputs<Index>& split) {
    const auto fetch = [&]<class T>(const Buffer<T, DeviceSpace>& from) {
        Buffer<T, PageSpace> to(from.size());
        copy(on, from.span(), to.span());
        return to;
    };
    fae::ClassifiedInputs<Index> made;
    made.features = split.features;
    made.bag_size = split.bag_size;
    made.hot_slots = fetch(split.hot_slots);
    made.cold_rows = fetch(split.cold_rows);
    made.hot_offsets = fetch(split.hot_offsets);
    made.cold_offsets = fetch(split.cold_offsets);
    made.hot_weights = fetch(split.hot_weights);
    made.cold_weights = fetch(split.cold_weights);
    const Buffer<std::uint32_t, PageSpace> words = fetch(split.hot_inputs.words);
    on.synchronise();
    std::vector<std::uint64_t> pairs(
        static_cast<std::size_t>(ceil_div<std::uint64_t>(split.hot_inputs.inputs, 64)), 0);
    for (std::size_t w = 0; w < words.size(); ++w) pairs[w / 2] |= std::uint64_t{words[w]} << (w % 2 * 32);
    made.hot_inputs = RankBitmap::from_words(exec, split.hot_inputs.inputs, pairs);
    return made;
}

}  // namespace fae::inline FAE_ABI::cuda
