# SPDX-License-Identifier: Apache-2.0
#
# The targets of the library. Headers are found by looking, each belongs to one target's file set.

file(GLOB_RECURSE fae_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/fae/*.hpp")
set(fae_gzip_headers ${fae_headers})
list(FILTER fae_gzip_headers INCLUDE REGEX "/include/fae/io/gzip\\.hpp$")
set(fae_models_headers ${fae_headers})
list(FILTER fae_models_headers INCLUDE REGEX "/include/fae/models/")
set(fae_fae_headers ${fae_headers})
file(GLOB_RECURSE fae_device_headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/include/fae/*.cuh")
set(fae_cuda_headers ${fae_headers})
list(FILTER fae_cuda_headers INCLUDE REGEX "/include/fae/cuda/")
list(REMOVE_ITEM fae_headers ${fae_cuda_headers})
list(REMOVE_ITEM fae_fae_headers ${fae_gzip_headers} ${fae_models_headers} ${fae_cuda_headers})

# fae_add_component(<name> <headers>...): the header-only target fae_<name>, known as fae::<name>.
function(fae_add_component name)
  add_library(fae_${name} INTERFACE)
  add_library(fae::${name} ALIAS fae_${name})
  set_target_properties(fae_${name} PROPERTIES EXPORT_NAME ${name})
  target_sources(fae_${name} INTERFACE
    FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}/include" FILES ${ARGN})
endfunction()

fae_add_component(fae ${fae_fae_headers})
target_compile_features(fae_fae INTERFACE cxx_std_20)
target_link_libraries(fae_fae INTERFACE Threads::Threads)
if(FAE_CHECKED)
  target_compile_definitions(fae_fae INTERFACE $<BUILD_INTERFACE:FAE_CHECKED>)
endif()

if(TARGET ZLIB::ZLIB)
  fae_add_component(gzip ${fae_gzip_headers})
  target_link_libraries(fae_gzip INTERFACE fae_fae ZLIB::ZLIB)
endif()

# Eigen's sums depend on its own number of threads; the models give it one and cut the work themselves.
if(TARGET Eigen3::Eigen)
  fae_add_component(models ${fae_models_headers})
  target_link_libraries(fae_models INTERFACE fae_fae Eigen3::Eigen)
  target_compile_definitions(fae_models INTERFACE EIGEN_DONT_PARALLELIZE)
endif()

# The runtime is linked statically, as nvcc does; a program must not hold two of them.
if(fae_cuda_enabled)
  fae_add_component(cuda ${fae_cuda_headers} ${fae_device_headers})
  target_link_libraries(fae_cuda INTERFACE fae_fae CUDA::cudart_static CUDA::cublasLt)
  target_compile_options(fae_cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
endif()
