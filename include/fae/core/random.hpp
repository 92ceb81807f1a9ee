// SPDX-License-Identifier: Apache-2.0
//
// Counter-based random numbers: every value is a function of (seed, place), so any thread can draw any value
// in any order and nothing depends on how work was cut.
//
//   Philox rng(seed, stream);            // a sequence: rng.bits32(), rng.uniform(), rng.normal()
//   philox(key, counter)                 // one block of 4 x 32 bits, anywhere
//   Permutation order(n, seed, epoch);   // order(i), order.fill(first, out): a bijection of [0, n) in O(1)
//   memory
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "fae/core/config.hpp"
#include "fae/core/error.hpp"
#include "fae/core/span.hpp"

namespace fae::inline FAE_ABI {

/// Four 32-bit words: a counter of Philox, or the block that it yields.
struct Block4 {
    std::uint32_t word[4];
};

/// Philox 4x32 with 10 rounds: block number `counter` of the stream that `key` names.
/// @source Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011, section 3.3; known answers of
///         Random123
[[nodiscard]] FAE_HD constexpr Block4 philox(std::uint64_t key, Block4 counter) {
    auto key0 = static_cast<std::uint32_t>(key);
    auto key1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter.word[0];
        const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter.word[2];
        counter = {
            {static_cast<std::uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(b),
             static_cast<std::uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(a)}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

/// Mixes 64 bits into 64 well spread ones (a bijection).
/// @source Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014: SplitMix64's
///         finaliser
[[nodiscard]] FAE_HD constexpr std::uint64_t mix64(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/// A uniform double in [0, 1) from 64 random bits: a multiple of 2^-53.
[[nodiscard]] FAE_HD constexpr double to_unit(std::uint64_t bits) {
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

/// A random sequence: stream number `stream` under `seed`. Models UniformRandomBitGenerator (32 bits).
class Philox {
  public:
    using result_type = std::uint32_t;

    explicit constexpr Philox(std::uint64_t seed, std::uint64_t stream = 0) : key_(seed), stream_(stream) {}

    [[nodiscard]] static constexpr result_type min() { return 0; }
    [[nodiscard]] static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
    constexpr result_type operator()() { return bits32(); }

    constexpr std::uint32_t bits32() {
        if (used_ == 4) {
            block_ = philox(
                key_, {{static_cast<std::uint32_t>(next_), static_cast<std::uint32_t>(next_ >> 32),
                        static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)}});
            ++next_;
            used_ = 0;
        }
        return block_.word[used_++];
    }
    constexpr std::uint64_t bits64() {
        const std::uint64_t low = bits32();
        return low | (std::uint64_t{bits32()} << 32);
    }
    /// Uniform in [0, 1).
    constexpr double uniform() { return to_unit(bits64()); }
    /// Uniform in [0, n), without bias.
    /// @pre n >= 1
    /// @source Lemire, Fast Random Integer Generation in an Interval, TOMACS 2019
    constexpr std::uint64_t below(std::uint64_t n) {
        __extension__ using Wide = unsigned __int128;
        Wide product = Wide{bits64()} * n;
        if (static_cast<std::uint64_t>(product) < n) {
            const std::uint64_t least = (0 - n) % n;
            while (static_cast<std::uint64_t>(product) < least) product = Wide{bits64()} * n;
        }
        return static_cast<std::uint64_t>(product >> 64);
    }
    /// Standard normal (Box-Muller, one of the pair). Host only: libm differs between devices.
    double normal() {
        const double radius = std::sqrt(-2.0 * std::log1p(-uniform()));
        return radius * std::cos(6.283185307179586 * uniform());
    }

  private:
    std::uint64_t key_;
    std::uint64_t stream_;
    std::uint64_t next_ = 0;
    Block4 block_{};
    unsigned used_ = 4;
};

/// A seeded bijection of [0, n): position -> element of a shuffled order. O(1) memory; positions can be asked
/// in any order and from any thread. An 8-round balanced Feistel network over the next even power of two,
/// walked until it falls inside (fewer than 4 steps on average).
/// @source Black, Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002 (cycle walking)
class Permutation {
  public:
    Permutation() : Permutation(0, 0) {}

    explicit Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t stream = 0) : n_(n) {
        while (half_bits_ < 32 && (std::uint64_t{1} << (2 * half_bits_)) < n) ++half_bits_;
        half_mask_ = (std::uint64_t{1} << half_bits_) - 1;
        for (std::uint64_t round = 0; round < rounds; ++round) {
            keys_[round] = mix64(mix64(mix64(seed) ^ stream) + round);
        }
    }

    [[nodiscard]] FAE_HD std::uint64_t size() const { return n_; }

    /// The element at `position`.
    /// @pre position < size()
    [[nodiscard]] FAE_HD std::uint64_t operator()(std::uint64_t position) const {
        std::uint64_t x = position;
        do {
            x = encrypt(x);
        } while (x >= n_);
        return x;
    }

    /// out[i] = the element at position first + i, several times as fast as one after another, and again on
    /// processors with AVX-512's products of 64 bits.
    /// @pre  first + out.size() <= size()
    void fill(std::uint64_t first, Span<std::uint64_t> out) const {
#if defined(__x86_64__)
        static const bool is_wide = __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
        if (is_wide) return fill_wide(first, out);
#endif
        fill_here<8>(first, out);
    }

    /// The position of `element`: the inverse of operator().
    /// @pre element < size()
    [[nodiscard]] FAE_HD std::uint64_t position_of(std::uint64_t element) const {
        std::uint64_t x = element;
        do {
            x = decrypt(x);
        } while (x >= n_);
        return x;
    }

  private:
    static constexpr std::size_t rounds = 8;

#if defined(__x86_64__)
    [[gnu::target("avx512f,avx512dq,avx512vl")]] void fill_wide(std::uint64_t first,
                                                                Span<std::uint64_t> out) const {
        fill_here<16>(first, out);
    }
#endif
    // A round of a value waits for the one before; `lanes` values side by side fill the wait.
    template <std::size_t lanes>
    [[gnu::always_inline]] void fill_here(std::uint64_t first, Span<std::uint64_t> out) const {
        constexpr std::size_t block = 256;
        static_assert(block % lanes == 0);
        std::uint64_t walk[block];   // values whose walk has not ended, side by side
        std::uint16_t place[block];  // of each in its block
        for (std::size_t begin = 0; begin < out.size(); begin += block) {
            std::size_t walking = out.size() - begin < block ? out.size() - begin : block;
            std::uint64_t* const to = out.data() + begin;
            for (std::size_t i = 0; i < block; ++i) {
                walk[i] = first + begin + i;
                place[i] = static_cast<std::uint16_t>(i);
            }
            while (walking != 0) {
                std::size_t left = 0;
                for (std::size_t i = 0; i < walking; i += lanes) {
                    std::uint64_t x[lanes];
                    for (std::size_t j = 0; j < lanes; ++j) x[j] = walk[i + j];
                    encrypt_each(x);
                    const std::size_t used = walking - i < lanes ? walking - i : lanes;
                    for (std::size_t j = 0; j < used; ++j) {
                        const std::uint16_t at = place[i + j];
                        to[at] = x[j];
                        walk[left] = x[j];
                        place[left] = at;
                        left += x[j] >= n_ ? 1 : 0;
                    }
                }
                walking = left;
            }
        }
    }

    [[nodiscard]] FAE_HD std::uint64_t round(std::uint64_t half, std::uint64_t key) const {
        return (mix64(half ^ key) >> 16) & half_mask_;
    }
    [[nodiscard]] FAE_HD std::uint64_t encrypt(std::uint64_t x) const {
        std::uint64_t left = x >> half_bits_;
        std::uint64_t right = x & half_mask_;
        for (const std::uint64_t key : keys_) {
            const std::uint64_t next = left ^ round(right, key);
            left = right;
            right = next;
        }
        return (left << half_bits_) | right;
    }
    // Encrypts several values side by side: a round waits for the one before, not for other values.
    template <std::size_t N>
    [[gnu::always_inline]] void encrypt_each(std::uint64_t (&x)[N]) const {
        std::uint64_t left[N];
        std::uint64_t right[N];
        for (std::size_t j = 0; j < N; ++j) {
            left[j] = x[j] >> half_bits_;
            right[j] = x[j] & half_mask_;
        }
        for (const std::uint64_t key : keys_) {
            for (std::size_t j = 0; j < N; ++j) {
                const std::uint64_t next = left[j] ^ round(right[j], key);
                left[j] = right[j];
                right[j] = next;
            }
        }
        for (std::size_t j = 0; j < N; ++j) x[j] = (left[j] << half_bits_) | right[j];
    }
    [[nodiscard]] FAE_HD std::uint64_t decrypt(std::uint64_t x) const {
        std::uint64_t left = x >> half_bits_;
        std::uint64_t right = x & half_mask_;
        for (std::size_t i = rounds; i-- > 0;) {
            const std::uint64_t before = right ^ round(left, keys_[i]);
            right = left;
            left = before;
        }
        return (left << half_bits_) | right;
    }

    std::uint64_t n_ = 0;
    unsigned half_bits_ = 1;
    std::uint64_t half_mask_ = 1;
    std::uint64_t keys_[rounds]{};
};

}  // namespace fae::inline FAE_ABI
