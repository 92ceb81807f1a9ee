# SPDX-License-Identifier: Apache-2.0
#
# The options. Tests, benchmarks and examples are on only where fae is the top-level project.

option(FAE_BUILD_TESTS "Build the tests (doctest, Eigen, zlib)" ${PROJECT_IS_TOP_LEVEL})
option(FAE_BUILD_BENCH "Build the benchmarks (Google Benchmark, Eigen, zlib)" ${PROJECT_IS_TOP_LEVEL})
option(FAE_BUILD_EXAMPLES "Build the examples (CLI11, nlohmann-json, Eigen, zlib)" ${PROJECT_IS_TOP_LEVEL})
option(FAE_FETCH_DEPS "Download pinned releases of the dependencies instead of looking for installed ones" OFF)
option(FAE_CHECKED "Look at every index of every batch in whatever links the targets of this build" OFF)
option(FAE_NATIVE "Compile our own examples and benchmarks, and nothing else, for this machine's processor" OFF)
option(FAE_MERGE_TESTS "Compile the files of a layer's tests together: quicker, but what a file forgets to include goes unseen" OFF)
option(FAE_ONLY_COMPILED "Do not optimise host code of what a machine without a GPU compiles and does not run: benchmarks, CUDA tests" OFF)
set(FAE_ENABLE_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO (where there is one to build), ON, OFF")
set_property(CACHE FAE_ENABLE_CUDA PROPERTY STRINGS AUTO ON OFF)
