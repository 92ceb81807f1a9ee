// SPDX-License-Identifier: Apache-2.0
//
// Digest: a 64-bit fingerprint of a sequence of values, for comparing two trained models, not against an
// adversary.
//
//   Digest digest;
//   digest.add(loss_bits);
//   digest.add_floats(layer.values);     // every bit counts: -0 and +0 differ, so do two NaNs
//   digest.hex() == "9f86d081884c7d65"
//
// digest_rows() hashes chunks of 1,024 rows side by side and then the chunk digests in order, so its value
// does not depend on the executor.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fae/core/config.hpp"
#include "fae/core/exec.hpp"
#include "fae/core/random.hpp"
#include "fae/core/span.hpp"
#include "fae/core/types.hpp"

namespace fae::inline FAE_ABI {

/// A running 64-bit fingerprint. Each step is a bijection of the state, so one changed bit always changes it.
class Digest {
  public:
    void add(std::uint64_t word) { state_ = mix64(state_ ^ word); }

    /// Adds each value's bit pattern, in order.
    template <class T>
    requires(sizeof(T) == 4 || sizeof(T) == 8) void add_floats(Span<const T> values) {
        for (const T& value : values) {
            if constexpr (sizeof(T) == 4) {
                add(std::bit_cast<std::uint32_t>(value));
            } else {
                add(std::bit_cast<std::uint64_t>(value));
            }
        }
    }

    [[nodiscard]] std::uint64_t value() const { return state_; }

    /// 16 lower-case hexadecimal digits.
    [[nodiscard]] std::string hex() const {
        std::string text(16, '0');
        for (std::size_t i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[(state_ >> (60 - 4 * i)) & 15u];
        return text;
    }

  private:
    std::uint64_t state_ = 0;
};

/// Adds `rows` rows in order; add_row(digest, r) adds the values of row r.
/// @exec seq, par; the result does not depend on it
/// @cost 8 bytes per 1,024 rows of memory
template <Executor E, class AddRow>
void digest_rows(const E& exec, Digest& digest, std::uint64_t rows, AddRow&& add_row) {
    constexpr std::size_t chunk_rows = 1024;
    const auto count = static_cast<std::size_t>(rows);
    std::vector<std::uint64_t> chunks(ceil_div(count, chunk_rows));
    exec.run(chunks.size(), [&](std::size_t chunk) {
        Digest of_chunk;
        const std::size_t begin = chunk * chunk_rows;
        const std::size_t end = std::min(begin + chunk_rows, count);
        for (std::size_t r = begin; r < end; ++r) add_row(of_chunk, static_cast<std::uint64_t>(r));
        chunks[chunk] = of_chunk.value();
    });
    for (const std::uint64_t chunk : chunks) digest.add(chunk);
}

}  // namespace fae::inline FAE_ABI
