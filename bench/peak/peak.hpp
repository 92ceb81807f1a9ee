// SPDX-License-Identifier: Apache-2.0
//
// What this machine moves on an index stream, as plain as can be: the yardstick of the embedding operations.
//
//   gather   out[bag] = the sum of the bag's rows, rows fetched ahead
//   scatter  row += scale * gradient[bag] for each look-up, in stream order, rows fetched ahead
//
// No tiers, no checks, no order to keep beyond the stream's, one table, a constant width: whatever a library
// adds costs on top. Compile it for the machine (FAE_NATIVE).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__clang__)
#define PEAK_UNROLL _Pragma("unroll")
#else
#define PEAK_UNROLL _Pragma("GCC unroll 16")
#endif

namespace peak {

/// The distances that are tried, in look-ups; the best counts.
inline constexpr std::size_t distances[] = {8, 16, 32, 64, 128};

typedef float Lanes __attribute__((vector_size(32), aligned(4), may_alias));

/// A row in registers.
template <std::size_t Dim>
struct Row {
    static_assert(Dim % 16 == 0);
    Lanes part[Dim / 8];
    [[gnu::always_inline]] void load(const float* from) {
        PEAK_UNROLL for (std::size_t k = 0; k < Dim / 8; ++k) {
            part[k] = *reinterpret_cast<const Lanes*>(from + 8 * k);
        }
    }
    [[gnu::always_inline]] void store(float* to) const {
        PEAK_UNROLL for (std::size_t k = 0; k < Dim / 8; ++k) * reinterpret_cast<Lanes*>(to + 8 * k) =
            part[k];
    }
    [[gnu::always_inline]] void add(const float* from) {
        PEAK_UNROLL for (std::size_t k = 0; k < Dim / 8; ++k) {
            part[k] += *reinterpret_cast<const Lanes*>(from + 8 * k);
        }
    }
    [[gnu::always_inline]] void add(const float* from, float scale) {
        PEAK_UNROLL for (std::size_t k = 0; k < Dim / 8; ++k) {
            part[k] += scale * *reinterpret_cast<const Lanes*>(from + 8 * k);
        }
    }
};

/// Asks for a row's cache lines.
template <std::size_t Dim, int Write>
[[gnu::always_inline]] inline void fetch_row(const float* row) {
    PEAK_UNROLL for (std::size_t c = 0; c < Dim; c += 16) __builtin_prefetch(row + c, Write, 3);
}

/// @shape values [bags * bag_size + distance], of which the last `distance` are only fetched; out [bags, Dim]
template <std::size_t Dim>
void gather(const float* table, const std::uint32_t* values, std::size_t bags, std::size_t bag_size,
            float* out, std::size_t distance) {
    Row<Dim> sum;
    if (bag_size == 1) {
        for (std::size_t b = 0; b < bags; ++b) {
            fetch_row<Dim, 0>(table + std::size_t{values[b + distance]} * Dim);
            sum.load(table + std::size_t{values[b]} * Dim);
            sum.store(out + b * Dim);
        }
        return;
    }
    for (std::size_t b = 0; b < bags; ++b, values += bag_size) {
        fetch_row<Dim, 0>(table + std::size_t{values[distance]} * Dim);
        sum.load(table + std::size_t{values[0]} * Dim);
        for (std::size_t i = 1; i < bag_size; ++i) {
            fetch_row<Dim, 0>(table + std::size_t{values[i + distance]} * Dim);
            sum.add(table + std::size_t{values[i]} * Dim);
        }
        sum.store(out + b * Dim);
    }
}

/// @shape values as in gather; gradients [bags, Dim]
template <std::size_t Dim>
void scatter(float* table, const std::uint32_t* values, std::size_t bags, std::size_t bag_size,
             const float* gradients, float scale, std::size_t distance) {
    Row<Dim> row;
    for (std::size_t b = 0; b < bags; ++b) {
        for (std::size_t i = 0; i < bag_size; ++i, ++values) {
            fetch_row<Dim, 1>(table + std::size_t{values[distance]} * Dim);
            float* const to = table + std::size_t{values[0]} * Dim;
            row.load(to);
            row.add(gradients + b * Dim, scale);
            row.store(to);
        }
    }
}

}  // namespace peak
