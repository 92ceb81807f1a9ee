// SPDX-License-Identifier: Apache-2.0
//
// Sums over the tiles before a tile, within one kernel whose blocks are tiles. Internal to the row index.
//
//   sums.put(tile, column, own);                                // as soon as it is known
//   ...                                                         // what needs no other tile
//   const std::uint32_t before = sums.before(tile, column);     // waits for tiles before this one alone
//   sums.pass_on(tile, column, before);
//
// Tiles start in order, so those before a tile end, whatever else the device does. Most batches have few
// tiles more than there are blocks at a time: all know their own sums at about the same moment, and a walk
// from tile to tile would take as many turns as there are loads in flight. So tiles are added up in groups as
// they come: a tile reads those of its own group and the groups before it, all at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fae/core/config.hpp"
#include "fae/core/types.hpp"
#include "fae/cuda/lanes.cuh"

namespace fae::inline FAE_ABI::cuda::detail {

/// Words in device memory, zero at first, of `Columns` sums a tile: below 2^28 in all, below 2^18 a tile.
template <unsigned Columns, unsigned GroupTiles>
class TileSums {
  public:
    static_assert(GroupTiles < 64);
    TileSums() = default;
    TileSums(std::uint32_t* words, std::size_t tiles)
        : own_(words), groups_(words + tiles * Columns), before_(groups_ + groups(tiles) * Columns) {}
    [[nodiscard]] static constexpr std::size_t words(std::size_t tiles) {
        return Columns * (tiles + 2 * groups(tiles));
    }

    __device__ void put(std::uint32_t tile, unsigned column, std::uint32_t sum) const {
        own_[place(tile, column)] = known | sum;
        atomicAdd(groups_ + place(tile / GroupTiles, column), one_tile | sum);
    }
    /// For tiles far behind: they need not look further back than to here.
    __device__ void pass_on(std::uint32_t tile, unsigned column, std::uint32_t before) const {
        if (tile % GroupTiles == 0) before_[place(tile / GroupTiles, column)] = known | before;
    }
    /// The sum of a column over all tiles before this one, by one thread.
    [[nodiscard]] __device__ std::uint32_t before(std::uint32_t tile, unsigned column) const {
        constexpr unsigned at_once = 15;  // groups
        const std::uint32_t first = tile / GroupTiles * GroupTiles;
        unsigned tiles = tile - first;
        std::uint32_t sum = 0;
        for (std::uint32_t end = tile / GroupTiles;; end -= at_once) {
            std::uint32_t own[GroupTiles - 1];
            std::uint32_t group[at_once];
            std::uint32_t all = 0;
            std::uint32_t found = 0;
            bool there = false;
            while (!there) {
#pragma unroll
                for (unsigned i = 0; i < GroupTiles - 1; ++i) {
                    own[i] = i < tiles ? load(own_, first + i, column) : known;
                }
#pragma unroll
                for (unsigned i = 0; i < at_once; ++i) {
                    group[i] = i < end ? load(groups_, end - 1 - i, column) : whole_group;
                }
                all = end <= at_once ? known : load(before_, end - at_once, column);
                there = true;
                found = 0;
#pragma unroll
                for (unsigned i = 0; i < GroupTiles - 1; ++i) {
                    there = there && own[i] >= known;
                    found += own[i] - known;
                }
#pragma unroll
                for (unsigned i = 0; i < at_once; ++i) {
                    there = there && group[i] >= whole_group;
                    found += group[i] - whole_group;
                }
            }
            sum += found;
            if (all >= known) return sum + (all - known);
            tiles = 0;
        }
    }
    /// The same by a warp, all of whose lanes call and have the result.
    [[nodiscard]] __device__ std::uint32_t before_by_warp(std::uint32_t tile, unsigned column) const {
        static_assert(GroupTiles <= warp_size);
        const unsigned lane = threadIdx.x % warp_size;
        const std::uint32_t first = tile / GroupTiles * GroupTiles;
        unsigned tiles = tile - first;
        std::uint32_t sum = 0;
        for (std::uint32_t end = tile / GroupTiles;; end -= warp_size) {
            std::uint32_t own = 0;
            std::uint32_t group = 0;
            std::uint32_t all = 0;
            do {
                own = lane < tiles ? load(own_, first + lane, column) : known;
                group = lane < end ? load(groups_, end - 1 - lane, column) : whole_group;
                all = end <= warp_size ? known : load(before_, end - warp_size, column);
            } while (!__all_sync(all_lanes, own >= known && group >= whole_group));
            sum += __reduce_add_sync(all_lanes, own - known + (group - whole_group));
            all = __shfl_sync(all_lanes, all, 0);
            if (all >= known) return sum + (all - known);
            tiles = 0;
        }
    }

  private:
    static constexpr std::uint32_t known = 1u << 31;
    static constexpr std::uint32_t one_tile = 1u << 24;  ///< a group's sum has its number of tiles above it
    static constexpr std::uint32_t whole_group = GroupTiles * one_tile;

    [[nodiscard]] FAE_HD static constexpr std::size_t groups(std::size_t tiles) {
        return ceil_div<std::size_t>(tiles, GroupTiles);
    }
    [[nodiscard]] __device__ static std::size_t place(std::uint32_t at, unsigned column) {
        return std::size_t{at} * Columns + column;
    }
    [[nodiscard]] __device__ static std::uint32_t load(const volatile std::uint32_t* words, std::uint32_t at,
                                                       unsigned column) {
        return words[place(at, column)];
    }

    volatile std::uint32_t* own_ = nullptr;     ///< [tiles, Columns]
    std::uint32_t* groups_ = nullptr;           ///< [groups, Columns]
    volatile std::uint32_t* before_ = nullptr;  ///< [groups, Columns] of all tiles before the group
};

}  // namespace fae::inline FAE_ABI::cuda::detail
