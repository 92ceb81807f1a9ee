# SPDX-License-Identifier: Apache-2.0
#
# The CUDA backend: fae_cuda_enabled says whether there is one to build. FAE_ENABLE_CUDA=AUTO takes it where nvcc is
# found, ON requires it. A host project that adds fae as a folder enables the language itself and chooses its
# architectures; at top level the default is sm_80 and sm_90a (products by warp groups are of 9.0a alone), with PTX of
# sm_90 for what comes after.

set(fae_cuda_enabled OFF)
if(FAE_ENABLE_CUDA STREQUAL "AUTO")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(fae_cuda_enabled ON)
  endif()
elseif(FAE_ENABLE_CUDA)
  set(fae_cuda_enabled ON)
endif()

if(fae_cuda_enabled)
  if(FAE_BUILD_TESTS OR FAE_BUILD_BENCH OR FAE_BUILD_EXAMPLES)
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
    endif()
    enable_language(CUDA)
  endif()
  find_package(CUDAToolkit 12 REQUIRED)
endif()
message(STATUS "CUDA backend: ${fae_cuda_enabled}")
