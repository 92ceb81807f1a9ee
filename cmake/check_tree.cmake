# SPDX-License-Identifier: Apache-2.0
#
# Looks at the tree as a whole:
#
#   cmake -D ROOT=<repository> -P cmake/check_tree.cmake
#
# Fails where the top level holds what does not belong there, a source file does not begin with its licence line, a
# header has over 600 lines, or a word is left behind that only unfinished work uses.
# Only tracked files count where there is a git repository, all files where there is none.
cmake_minimum_required(VERSION 3.25)

find_program(git git)
set(result 1)
if(git AND EXISTS "${ROOT}/.git")
  execute_process(COMMAND "${git}" -c safe.directory=* ls-files WORKING_DIRECTORY "${ROOT}"
    RESULT_VARIABLE result OUTPUT_VARIABLE files)
  string(REPLACE "\n" ";" files "${files}")
endif()
if(NOT result EQUAL 0)
  file(GLOB_RECURSE files RELATIVE "${ROOT}" "${ROOT}/*")
  list(FILTER files EXCLUDE REGEX "^build/")
endif()
list(REMOVE_ITEM files "")
if(NOT files)
  message(FATAL_ERROR "no file under ${ROOT}")
endif()

set(errors "")
set(allowed include tests bench examples cmake CMakeLists.txt CMakePresets.json LICENSE README.md)
# Written so that this file does not hold the words themselves.
set(words "TO[D]O|FIX[M]E|X[X]X|HA[C]K|not[ ]implemented|stu[b]|place[h]older|for[ ]now")

set(tops "")
foreach(file IN LISTS files)
  string(REGEX REPLACE "/.*" "" top "${file}")
  list(APPEND tops "${top}")
  if(NOT EXISTS "${ROOT}/${file}")
    continue()
  endif()
  if(file MATCHES "\\.(hpp|cpp|inc|cuh|cu)$")
    file(STRINGS "${ROOT}/${file}" first LIMIT_COUNT 1)
    if(NOT first STREQUAL "// SPDX-License-Identifier: Apache-2.0")
      list(APPEND errors "${file}: the first line is not the licence line")
    endif()
  endif()
  if(file MATCHES "^include/")
    file(READ "${ROOT}/${file}" text)
    string(REGEX MATCHALL "\n" ends "${text}")
    list(LENGTH ends lines)
    if(lines GREATER 600)
      list(APPEND errors "${file}: ${lines} lines, at most 600")
    endif()
  endif()
  if(file MATCHES "^(include|tests|bench|examples|cmake)/.*\\.(hpp|cpp|inc|cuh|cu|cmake|txt|sh|py|in|md)$")
    file(STRINGS "${ROOT}/${file}" left_behind REGEX "(^|[^A-Za-z0-9_])(${words})([^A-Za-z0-9_]|$)")
    foreach(line IN LISTS left_behind)
      list(APPEND errors "${file}: a word of unfinished work: ${line}")
    endforeach()
  endif()
endforeach()

list(REMOVE_DUPLICATES tops)
list(REMOVE_ITEM tops ${allowed})
list(FILTER tops EXCLUDE REGEX "^\\.")
foreach(top IN LISTS tops)
  list(APPEND errors "${top}: not of the agreed top level")
endforeach()

list(LENGTH files count)
if(errors)
  list(JOIN errors "\n  " text)
  message(FATAL_ERROR "tree:\n  ${text}")
endif()
message(STATUS "tree: ${count} files, all in their place")
