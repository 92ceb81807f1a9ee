# SPDX-License-Identifier: Apache-2.0
#
# The dependencies. fae::fae needs threads; zlib and Eigen make fae::gzip and fae::models, and where one is not
# installed its target does not exist. What our own tests, benchmarks and examples need is required when they are built.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

set(needed_by_own_targets "")
if(FAE_BUILD_TESTS OR FAE_BUILD_BENCH OR FAE_BUILD_EXAMPLES)
  set(needed_by_own_targets REQUIRED)
endif()

if(FAE_FETCH_DEPS)
  include(cmake/fetch_dependencies.cmake)
else()
  find_package(ZLIB ${needed_by_own_targets})
  find_package(Eigen3 3.4 ${needed_by_own_targets} NO_MODULE)
  if(FAE_BUILD_TESTS)
    find_package(doctest REQUIRED CONFIG)
  endif()
  if(FAE_BUILD_BENCH)
    find_package(benchmark REQUIRED CONFIG)
  endif()
  if(FAE_BUILD_EXAMPLES)
    find_package(CLI11 REQUIRED CONFIG)
    find_package(nlohmann_json REQUIRED CONFIG)
  endif()
endif()
