# SPDX-License-Identifier: Apache-2.0
#
# Reads the #include lines of every header and fails on an arrow that the layers forbid:
#
#   cmake -D ROOT=<repository> -P cmake/check_layers.cmake
#
# A header includes its own folder or a lower one, never a higher one, nor another folder of the same height. Only
# models includes Eigen and only io/gzip.hpp includes zlib; fae.hpp reaches every header but models and io/gzip.hpp.
# CUDA: cuda/ includes itself and any host layer up to schedule; no host header (.hpp outside cuda/) includes cuda/ or a
# .cuh, but fae.hpp, which includes cuda/cuda.cuh; a .hpp in cuda/ includes no .cuh and nothing that needs nvcc;
# models/*.cuh may include cuda/.
cmake_minimum_required(VERSION 3.25)

# Lowest first; folders on one line are siblings.
set(order
  "core"
  "trace"
  "memory"
  "ops profile"
  "calibrate"
  "classify"
  "io table"
  "schedule"
  "dist advise"
  "report"
  "models")
set(height 0)
foreach(siblings IN LISTS order)
  string(REPLACE " " ";" siblings "${siblings}")
  foreach(folder IN LISTS siblings)
    set(height_of_${folder} ${height})
  endforeach()
  math(EXPR height "${height} + 1")
endforeach()
math(EXPR height_of_cuda "${height_of_schedule} + 1")

set(errors "")
macro(wrong header what)
  list(APPEND errors "${header}: ${what}")
endmacro()

set(include_dir "${ROOT}/include")
file(GLOB_RECURSE headers RELATIVE "${include_dir}" "${include_dir}/*")
if(NOT headers)
  message(FATAL_ERROR "no header under ${include_dir}")
endif()

foreach(header IN LISTS headers)
  set(includes_of_${header} "")
  if(NOT header MATCHES "^fae/(.+/)?[^/]+\\.(hpp|cuh)$")
    wrong(${header} "is neither a .hpp nor a .cuh file under include/fae")
    continue()
  endif()
  set(device OFF)
  if(header MATCHES "\\.cuh$")
    set(device ON)
    if(NOT header MATCHES "^fae/(cuda|models)/")
      wrong(${header} "is a .cuh file outside cuda and models")
      continue()
    endif()
  endif()
  cmake_path(GET header PARENT_PATH folder)
  cmake_path(RELATIVE_PATH folder BASE_DIRECTORY fae)
  if(folder STREQUAL ".")
    if(NOT header MATCHES "^fae/(fae|version)\\.hpp$")
      wrong(${header} "belongs to no layer")
      continue()
    endif()
  elseif(NOT DEFINED height_of_${folder})
    wrong(${header} "the folder ${folder} is not a layer")
    continue()
  endif()

  file(STRINGS "${include_dir}/${header}" lines REGEX "^[ \t]*#[ \t]*include")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "include[ \t]*([<\"])([^>\"]+)[>\"]")
      wrong(${header} "include line not understood: ${line}")
      continue()
    endif()
    set(quote "${CMAKE_MATCH_1}")
    set(included "${CMAKE_MATCH_2}")

    if(NOT included MATCHES "^fae/")
      if(quote STREQUAL "\"")
        wrong(${header} "includes \"${included}\"; headers of the library are named \"fae/...\"")
      elseif(included MATCHES "^(Eigen|unsupported)/" AND NOT folder STREQUAL "models")
        wrong(${header} "includes <${included}>, which only models may")
      elseif(included STREQUAL "zlib.h" AND NOT header STREQUAL "fae/io/gzip.hpp")
        wrong(${header} "includes <${included}>, which only io/gzip.hpp may")
      elseif(included MATCHES "^(iostream|format|omp\\.h)$|^(doctest|benchmark|CLI|nlohmann)/")
        wrong(${header} "includes <${included}>, which no header may")
      endif()
      continue()
    endif()

    list(APPEND includes_of_${header} ${included})
    if(header STREQUAL "fae/fae.hpp")
      if(included MATCHES "^fae/cuda/" AND NOT included STREQUAL "fae/cuda/cuda.cuh")
        wrong(${header} "includes ${included}, expected fae/cuda/cuda.cuh alone")
      elseif(included MATCHES "^fae/models/|^fae/io/gzip\\.hpp$")
        wrong(${header} "includes ${included}, a part with dependencies of its own")
      endif()
      continue()
    endif()
    if(header STREQUAL "fae/version.hpp")
      wrong(${header} "includes ${included}, but is below every layer")
      continue()
    endif()
    if(included STREQUAL "fae/version.hpp")
      continue()
    endif()
    if(included MATCHES "\\.cuh$" AND NOT device)
      wrong(${header} "a host header includes ${included}")
      continue()
    endif()
    if(included MATCHES "^fae/cuda/")
      if(NOT folder STREQUAL "cuda" AND NOT device)
        wrong(${header} "a host header includes ${included}")
      endif()
      continue()
    endif()
    if(included STREQUAL "fae/io/gzip.hpp")
      wrong(${header} "includes ${included}, which needs zlib")
      continue()
    endif()
    cmake_path(GET included PARENT_PATH included_folder)
    cmake_path(RELATIVE_PATH included_folder BASE_DIRECTORY fae)
    if(included_folder STREQUAL ".")
      wrong(${header} "includes ${included}, which is above every layer")
    elseif(NOT DEFINED height_of_${included_folder})
      wrong(${header} "includes ${included}: the folder ${included_folder} is not a layer")
    elseif(NOT folder STREQUAL included_folder)
      if(height_of_${folder} LESS height_of_${included_folder})
        wrong(${header} "includes ${included}: ${included_folder} is above ${folder}")
      elseif(height_of_${folder} EQUAL height_of_${included_folder})
        wrong(${header} "includes ${included}: ${included_folder} stands beside ${folder}")
      endif()
    endif()
  endforeach()
endforeach()

# fae.hpp is the one include: what it reaches, step by step.
set(reached "fae/fae.hpp")
set(frontier "fae/fae.hpp")
while(frontier)
  set(next "")
  foreach(header IN LISTS frontier)
    foreach(included IN LISTS includes_of_${header})
      if(NOT included IN_LIST reached)
        list(APPEND reached ${included})
        list(APPEND next ${included})
      endif()
    endforeach()
  endforeach()
  set(frontier ${next})
endwhile()
foreach(header IN LISTS headers)
  if(NOT header MATCHES "^fae/models/|^fae/io/gzip\\.hpp$" AND NOT header IN_LIST reached)
    wrong("fae/fae.hpp" "does not reach ${header}")
  endif()
endforeach()

list(LENGTH headers count)
if(errors)
  list(JOIN errors "\n  " text)
  message(FATAL_ERROR "layers:\n  ${text}")
endif()
message(STATUS "layers: ${count} headers, every include allowed")
