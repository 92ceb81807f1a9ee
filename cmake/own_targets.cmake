# SPDX-License-Identifier: Apache-2.0
#
# How our own tests, benchmarks and examples are compiled. Nothing here reaches a host project.

add_library(fae_warnings INTERFACE)
# What nvcc makes of a file is no standard C++ to be pedantic about.
set(warnings -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # What g++ concludes from optimised code is often wrong (std::string in version 12): to be read, not to stop a build.
  list(APPEND warnings
    -Wno-error=maybe-uninitialized -Wno-error=restrict -Wno-error=array-bounds -Wno-error=stringop-overflow
    -Wno-error=aggressive-loop-optimizations)
endif()
list(JOIN warnings "," warnings_of_host)
target_compile_options(fae_warnings INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${warnings};-Wpedantic>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${warnings_of_host};-Wno-deprecated-gpu-targets>")

# Eigen's kernels are several times faster when compiled for the machine; the library never asks a host for it.
add_library(fae_native INTERFACE)
if(FAE_NATIVE)
  target_compile_options(fae_native INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-march=native> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-march=native>)
  # With AVX-512, g++ 12 finds uninitialised values in its own intrinsics, hundreds of lines for each file with Eigen.
  target_compile_options(fae_native INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>)
endif()

# fae_link_layer(<target> <layer>): what files of this layer may use; a layer that is not of the library may use all.
function(fae_link_layer target layer)
  set(plain_layers core trace memory ops profile calibrate classify table schedule report)
  target_link_libraries(${target} PRIVATE fae_warnings fae::fae)
  if(layer STREQUAL "cuda")
    target_link_libraries(${target} PRIVATE fae::gzip fae::models fae::cuda)
  elseif(layer STREQUAL "io")
    target_link_libraries(${target} PRIVATE fae::gzip)
  elseif(NOT layer IN_LIST plain_layers)
    target_link_libraries(${target} PRIVATE fae::gzip fae::models)
  endif()
endfunction()
