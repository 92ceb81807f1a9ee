# SPDX-License-Identifier: Apache-2.0
#
# Fails where clang-format 14 would write a source file otherwise:
#
#   cmake -D ROOT=<repository> -P cmake/check_format.cmake
#
# Other versions format some lines differently, so without version 14 the check says "skipped:" and ends.
cmake_minimum_required(VERSION 3.25)

find_program(clang_format NAMES clang-format-14 clang-format)
if(clang_format)
  execute_process(COMMAND "${clang_format}" --version OUTPUT_VARIABLE version)
endif()
if(NOT version MATCHES "version 14\\.")
  message("skipped: clang-format 14 is not installed")
  return()
endif()

set(files "")
foreach(folder IN ITEMS include tests bench examples)
  file(GLOB_RECURSE found "${ROOT}/${folder}/*.hpp" "${ROOT}/${folder}/*.cpp" "${ROOT}/${folder}/*.inc"
    "${ROOT}/${folder}/*.cuh" "${ROOT}/${folder}/*.cu")
  list(APPEND files ${found})
endforeach()
if(NOT files)
  message(FATAL_ERROR "no source file under ${ROOT}")
endif()
execute_process(COMMAND "${clang_format}" --style=file --dry-run -Werror ${files}
  WORKING_DIRECTORY "${ROOT}" RESULT_VARIABLE result ERROR_VARIABLE complaints)
if(result)
  # One line per place is enough; clang-format draws each.
  string(REPLACE ";" "," complaints "${complaints}")
  string(REGEX MATCHALL "[^\n]+: code should be clang-formatted" places "${complaints}")
  list(TRANSFORM places REPLACE "^${ROOT}/" "")
  list(JOIN places "\n  " text)
  message(FATAL_ERROR "format: run clang-format 14 with -i on these\n  ${text}")
endif()
list(LENGTH files count)
message(STATUS "format: ${count} files as clang-format 14 writes them")
