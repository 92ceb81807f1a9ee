# SPDX-License-Identifier: Apache-2.0
#
# header_tests: one generated translation unit per header, so that every header is seen to compile alone.
# Names that system headers define as macros (I of complex.h, small of Windows, B0 of termios.h) are poisoned.
# A .cuh is compiled as far as PTX that is not optimised, for one architecture: what it declares and includes is looked
# at, and the kernels that its classes call for cost a sixth of the time.

# fae_add_header_tests(<target> LINK <libraries>... HEADERS <headers>...)
function(fae_add_header_tests target)
  cmake_parse_arguments(arg "" "" "LINK;HEADERS" ${ARGN})
  set(sources "")
  foreach(header IN LISTS arg_HEADERS)
    cmake_path(RELATIVE_PATH header BASE_DIRECTORY "${PROJECT_SOURCE_DIR}/include" OUTPUT_VARIABLE name)
    cmake_path(GET header EXTENSION LAST_ONLY extension)
    if(extension STREQUAL ".cuh")
      set(source "${PROJECT_BINARY_DIR}/header_tests/${name}.cu")
    else()
      set(source "${PROJECT_BINARY_DIR}/header_tests/${name}.cpp")
    endif()
    file(CONFIGURE OUTPUT "${source}" @ONLY CONTENT [[
// Generated: @name@ must compile alone, twice, and beside macros of these names.
#define I } fae_header_uses_the_macro_I {
#define small } fae_header_uses_the_macro_small {
#define B0 } fae_header_uses_the_macro_B0 {
#include "@name@"
#include "@name@"
]])
    list(APPEND sources "${source}")
  endforeach()
  add_library(${target} OBJECT ${sources})
  target_link_libraries(${target} PRIVATE fae_warnings ${arg_LINK})
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Werror;-O0;-g0>" "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-G>")
  set(architecture "${CMAKE_CUDA_ARCHITECTURES}")
  list(TRANSFORM architecture REPLACE "-(real|virtual)$" "")
  if(architecture)
    list(GET architecture -1 architecture)
    set_target_properties(${target} PROPERTIES CUDA_PTX_COMPILATION ON CUDA_ARCHITECTURES "${architecture}")
  endif()
endfunction()
