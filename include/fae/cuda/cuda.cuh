// SPDX-License-Identifier: Apache-2.0
//
// The CUDA backend in one include. fae.hpp includes it where nvcc compiles.
#pragma once

#include "fae/cuda/classify.cuh"
#include "fae/cuda/copy.hpp"
#include "fae/cuda/device.cuh"
#include "fae/cuda/dirty_slots.cuh"
#include "fae/cuda/embedding_bag.cuh"
#include "fae/cuda/error.hpp"
#include "fae/cuda/graph.hpp"
#include "fae/cuda/home_route.cuh"
#include "fae/cuda/hot_cold_table.cuh"
#include "fae/cuda/hot_set.hpp"
#include "fae/cuda/index_check.cuh"
#include "fae/cuda/index_status.hpp"
#include "fae/cuda/lookahead_route.cuh"
#include "fae/cuda/on_with.hpp"
#include "fae/cuda/profile.cuh"
#include "fae/cuda/progress.cuh"
#include "fae/cuda/record_link.cuh"
#include "fae/cuda/record_ring.hpp"
#include "fae/cuda/record_ways.cuh"
#include "fae/cuda/sketch.cuh"
#include "fae/cuda/space.hpp"
#include "fae/cuda/stream.hpp"
#include "fae/cuda/synchronise.cuh"
