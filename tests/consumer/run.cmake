# SPDX-License-Identifier: Apache-2.0
#
# Configures, builds and runs the host project in host/, which takes fae as WAY says:
#
#   find_package          from a prefix that the build was installed into, with both components
#   add_subdirectory      from the source tree; tests, benchmarks and examples must stay out
#   fetch_content         the same by FetchContent
#   without_dependencies  as add_subdirectory, where neither Eigen nor zlib can be found
#   without_cuda          from a prefix without fae::cuda, the program compiled by nvcc
#   wrong_version         find_package must refuse other minor and major versions and unknown components
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${WORK}")
set(prefix "${WORK}/prefix")

# run(<what> <command>...): fails the test with the command's output where the command fails.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${WAY}: ${what} failed:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(configure "${CMAKE_COMMAND}" -G "${GENERATOR}" -C "${INITIAL_CACHE}" -S "${CMAKE_CURRENT_LIST_DIR}/host"
  -D "FAE_ROOT=${ROOT}" -D "WAY=${WAY}")

# What was fetched for our own build is not installed, so the installed package is then taken without components.
set(parts "gzip,models")
if(FETCHED AND WAY MATCHES "find_package|wrong_version")
  set(parts "")
endif()

if(WAY STREQUAL "wrong_version")
  run("install" "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}")
  string(REPLACE "." ";" numbers "${VERSION}")
  list(GET numbers 0 major)
  list(GET numbers 1 minor)
  list(GET numbers 2 patch)
  math(EXPR next_major "${major} + 1")
  math(EXPR next_minor "${minor} + 1")
  math(EXPR next_patch "${patch} + 1")
  # refused(<why> <expected message> <definitions>...)
  function(refused why expected)
    file(REMOVE_RECURSE "${WORK}/build")
    execute_process(COMMAND ${configure} -B "${WORK}/build" -D "fae_ROOT=${prefix}" ${ARGN}
      RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(result EQUAL 0)
      message(FATAL_ERROR "find_package did not refuse ${why}")
    endif()
    string(REGEX REPLACE "[ \n]+" " " output "${output}")
    if(NOT output MATCHES "${expected}")
      message(FATAL_ERROR "find_package refused ${why}, but did not say '${expected}':\n${output}")
    endif()
  endfunction()
  foreach(wrong IN ITEMS "${next_major}.0" "${major}.${next_minor}" "${major}.${minor}.${next_patch}" "${major}.0.0")
    refused("version ${wrong}" "requested version \"${wrong}\"" -D "FAE_WANTED=${wrong}" -D PARTS=)
  endforeach()
  refused("a component that does not exist" "no component \"nonesuch\"" -D "FAE_WANTED=${VERSION}" -D PARTS=nonesuch)
  foreach(right IN ITEMS "${major}.${minor}" "${VERSION}")
    file(REMOVE_RECURSE "${WORK}/build")
    run("version ${right}" ${configure} -B "${WORK}/build" -D "fae_ROOT=${prefix}" -D "FAE_WANTED=${right}" -D PARTS=)
  endforeach()
  message(STATUS "refused every wrong version")
  return()
endif()

if(WAY STREQUAL "find_package")
  run("install" "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}")
  list(APPEND configure -D "fae_ROOT=${prefix}" -D "FAE_WANTED=${VERSION}")
elseif(WAY STREQUAL "without_cuda")
  set(parts "")
  run("configuration without the backend" "${CMAKE_COMMAND}" -G "${GENERATOR}" -C "${INITIAL_CACHE}" -S "${ROOT}" -B "${WORK}/fae"
    -D FAE_ENABLE_CUDA=OFF -D FAE_BUILD_TESTS=OFF -D FAE_BUILD_BENCH=OFF -D FAE_BUILD_EXAMPLES=OFF)
  run("install" "${CMAKE_COMMAND}" --install "${WORK}/fae" --prefix "${prefix}")
  list(APPEND configure -D "fae_ROOT=${prefix}" -D "FAE_WANTED=${VERSION}")
elseif(WAY STREQUAL "without_dependencies")
  set(parts "")
  list(APPEND configure -D CMAKE_DISABLE_FIND_PACKAGE_ZLIB=ON -D CMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON -D FAE_FETCH_DEPS=OFF)
endif()
run("configure" ${configure} -B "${WORK}/build" -D "PARTS=${parts}")
run("build" "${CMAKE_COMMAND}" --build "${WORK}/build")
run("the program" "${WORK}/build/host")
if(NOT output STREQUAL "fae ${VERSION}\n")
  message(FATAL_ERROR "${WAY}: the program printed '${output}', expected 'fae ${VERSION}'")
endif()
message(STATUS "${WAY}: built and ran")
file(REMOVE_RECURSE "${WORK}")
