# SPDX-License-Identifier: Apache-2.0
#
# Fails where the README's first C++ block is not the quickstart, character by character:
#
#   cmake -D ROOT=<repository> -P cmake/check_readme.cmake
#
# The comment that opens the example (licence, what it is) is the file's own; the block begins after it.
cmake_minimum_required(VERSION 3.25)

file(READ "${ROOT}/README.md" readme)
file(READ "${ROOT}/examples/01_quickstart.cpp" example)
string(REGEX REPLACE "^(//[^\n]*\n)+" "" example "${example}")

set(begin "\n```cpp\n")
string(FIND "${readme}" "${begin}" at)
if(at EQUAL -1)
  message(FATAL_ERROR "readme: README.md has no C++ block, expected examples/01_quickstart.cpp")
endif()
string(LENGTH "${begin}" length)
math(EXPR at "${at} + ${length}")
string(SUBSTRING "${readme}" ${at} -1 block)
string(FIND "${block}" "\n```" end)
math(EXPR end "${end} + 1")
string(SUBSTRING "${block}" 0 ${end} block)

if(NOT block STREQUAL example)
  # The first line that differs says where to look.
  foreach(text IN ITEMS block example)
    string(REPLACE ";" "\\;" ${text}_lines "${${text}}")
    string(REPLACE "\n" ";" ${text}_lines "${${text}_lines}")
  endforeach()
  foreach(in_block in_example IN ZIP_LISTS block_lines example_lines)
    if(NOT in_block STREQUAL in_example)
      message(FATAL_ERROR "readme: README.md prints\n  ${in_block}\nwhere examples/01_quickstart.cpp has\n  ${in_example}")
    endif()
  endforeach()
  message(FATAL_ERROR "readme: README.md's C++ block is not examples/01_quickstart.cpp")
endif()
string(REGEX MATCHALL "\n" lines "${block}")
list(LENGTH lines count)
message(STATUS "readme: ${count} lines of the quickstart as they are")
