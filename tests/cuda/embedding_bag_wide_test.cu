// SPDX-License-Identifier: Apache-2.0
//
// The device's embedding operations against the plain loops, with 64-bit indices and doubles.
#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <vector>

#include "fae/core/random.hpp"
#include "fae/cuda/embedding_bag.cuh"
#include "support/cuda/device_workload.cuh"
#include "support/ops_oracle.hpp"
#include "support/reduced.hpp"

using fae::Pooling;
using Element = double;
using Index = std::uint64_t;

#include "parity/device_backend.inc"
// The cases.
#include "parity/embedding_bag.inc"

TEST_CASE("cuda embedding_bag, 64 bits: random batches pool to the bits of the plain loop") {
    parity::pools_as_the_loop();
}
TEST_CASE("cuda embedding_bag, 64 bits: the row gradients of random batches are those of the plain loop") {
    parity::sums_as_the_loop();
}
TEST_CASE(
    "cuda embedding_bag, 64 bits: random batches update rows and states to the bits of the plain loop") {
    parity::updates_as_the_loop();
}
TEST_CASE("cuda embedding_bag, 64 bits: rows of many contributions are summed as the law's tree") {
    parity::sums_as_the_tree();
}
TEST_CASE(
    "cuda embedding_bag, 64 bits: rows of 1,000 and 4,096 columns pool and update to the bits of the plain "
    "loop") {
    parity::wide_rows_as_the_loop();
}
