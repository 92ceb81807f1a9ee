// SPDX-License-Identifier: Apache-2.0
//
// The fingerprint of a data set: 64 bits that name its content. Equal for equal inputs however they came
// (plain or compressed, any number of threads), different for different ones but for one chance in 2^64. It
// guards against mistakes, not against an adversary.
//
//   data.fingerprint = fingerprint_of(par(threads), data);
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"
#include "fae/io/dataset.hpp"

namespace fae::inline FAE_ABI {

namespace detail {

// Four lanes of multiply and rotate, each step a bijection of its lane; the tail is padded with zeros, the
// length is part of the result.
[[nodiscard]] inline std::uint64_t hash_bytes(const unsigned char* bytes, std::size_t size) {
    std::uint64_t lane[4] = {1, 2, 3, 4};
    const auto step = [&lane](const unsigned char* from) {
        for (std::size_t k = 0; k < 4; ++k) {
            std::uint64_t word = 0;
            std::memcpy(&word, from + 8 * k, 8);
            lane[k] = std::rotl((lane[k] ^ word) * 0x9E3779B97F4A7C15u, 29);
        }
    };
    std::size_t at = 0;
    for (; at + 32 <= size; at += 32) step(bytes + at);
    if (at < size) {
        unsigned char tail[32] = {};
        std::memcpy(tail, bytes + at, size - at);
        step(tail);
    }
    std::uint64_t sum = mix64(size);
    for (const std::uint64_t part : lane) sum = mix64(sum ^ part);
    return sum;
}

// Chunks of one fixed size side by side, then their sums in order.
template <class T, Executor E>
[[nodiscard]] std::uint64_t hash_array(const E& exec, Span<const T> values) {
    constexpr std::size_t grain = (std::size_t{256} << 10) / sizeof(T);
    std::vector<std::uint64_t> sums(ceil_div(values.size(), grain));
    for_chunks(exec, values.size(), grain, [&](std::size_t begin, std::size_t end) {
        sums[begin / grain] = hash_bytes(reinterpret_cast<const unsigned char*>(values.data() + begin),
                                         (end - begin) * sizeof(T));
    });
    std::uint64_t sum = mix64(values.size());
    for (const std::uint64_t part : sums) sum = mix64(sum ^ part);
    return sum;
}

}  // namespace detail

/// The fingerprint of labels, dense features, row ids, bags and the shape of the tables (not their names).
/// @exec   seq, par: equal results
/// @cost   reads the data set once
template <Executor E>
[[nodiscard]] std::uint64_t fingerprint_of(const E& exec, const Dataset& data) {
    std::uint64_t sum = mix64(data.shape.dense_features);
    for (const std::uint64_t rows : data.shape.table_rows) sum = mix64(sum ^ rows);
    for (const std::uint32_t table : data.shape.feature_table) sum = mix64(sum ^ table);
    sum = mix64(sum ^ detail::hash_array<std::uint8_t>(exec, data.labels));
    sum = mix64(sum ^ detail::hash_array<float>(exec, data.dense));
    sum = mix64(sum ^ detail::hash_array<std::uint32_t>(exec, data.values));
    return mix64(sum ^ detail::hash_array<std::uint64_t>(exec, data.offsets));
}

}  // namespace fae::inline FAE_ABI
