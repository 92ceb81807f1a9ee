// SPDX-License-Identifier: Apache-2.0
//
// TableSpec: the shape of one embedding table, as a model's author would write it down.
#pragma once

#include <cstdint>
#include <string>

#include "fae/core/config.hpp"

namespace fae::inline FAE_ABI {

/// The widest row that fae's operations take.
inline constexpr std::uint32_t max_dim = 4096;

/// One embedding table.
struct TableSpec {
    std::uint64_t rows = 0;  ///< number of rows (the cardinality of the vocabulary)
    std::uint32_t dim = 0;   ///< floats in a row, 1 to max_dim
    std::string name;        ///< for reports and file names; may be empty
};

}  // namespace fae::inline FAE_ABI
