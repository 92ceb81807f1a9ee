// SPDX-License-Identifier: Apache-2.0
//
// What look-ups are sorted by, and what a sort leaves. Internal to cuda::RowIndex (row_index.cuh), which
// sorts in one of two ways:
//
//   feature_sort.cuh   each feature by itself, in shared memory, where bags are single look-ups and no row
//                      belongs to two features
//   pair_sort.cuh      (row, bag) pairs through device memory, whatever the batch
//
// Both are stable radix sorts, least digit first, that look only at the bits that the row space needs.
// Nothing of a library is used: the first kernel makes keys from the batch, and what a sort writes is what
// the lists are made from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/bags.hpp"
#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/radix.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// How a look-up's value becomes the key that it is sorted by.
struct KeyRule {
    unsigned row_bits;
    bool one_tier;
    [[nodiscard]] unsigned bits() const { return row_bits + (one_tier ? 0u : 1u); }
    template <class Key, IndexType Index>
    __device__ Key key_of(Index located) const {
        Key row = static_cast<Key>(position_of(located));
        if (checked) row &= (Key{1} << row_bits) - 1;  // a row that is not there has been reported
        return one_tier || !is_fast(located) ? row : row | Key{1} << row_bits;
    }
};

/// The bag of a look-up, where bags are jagged: the last that begins at or before it.
template <IndexType Index>
__device__ std::uint32_t bag_of(const Bags<Index>& bags, std::uint64_t position) {
    const std::uint64_t* const offsets = bags.offsets().data();
    std::size_t low = 0;
    std::size_t high = bags.size();
    while (high - low > 1) {
        const std::size_t middle = low + (high - low) / 2;
        if (offsets[middle] <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return static_cast<std::uint32_t>(low);
}

template <class Key>
struct Sorted {
    Key* keys;
    std::uint32_t* places;
};
/// The two arrays that a sort leaves in the memory of `lookups` pairs.
template <class Key>
[[nodiscard]] Sorted<Key> sorted_in(Pair<Key>* pairs, std::size_t lookups) {
    Key* const keys = reinterpret_cast<Key*>(pairs);
    return {keys, reinterpret_cast<std::uint32_t*>(keys + lookups)};
}

}  // namespace fae::inline FAE_ABI::cuda::detail
