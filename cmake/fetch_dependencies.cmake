# SPDX-License-Identifier: Apache-2.0
#
# FAE_FETCH_DEPS=ON: the dependencies from pinned releases, the versions that Debian 12 has where it has them.
# Every archive is checked against its SHA-256. To work offline, unpack the archives and pass
# -DFETCHCONTENT_SOURCE_DIR_<NAME>=<folder>, with NAME as in fae_eigen below but in capitals.

include(FetchContent)

# fae_fetch(<name> <url> <sha256>): downloads and unpacks without configuring anything; sets fae_<name>_SOURCE_DIR.
function(fae_fetch name url sha256)
  FetchContent_Declare(fae_${name} URL "${url}" URL_HASH SHA256=${sha256}
    DOWNLOAD_EXTRACT_TIMESTAMP TRUE SOURCE_SUBDIR folder-without-a-cmake-project)
  FetchContent_MakeAvailable(fae_${name})
  set(fae_${name}_SOURCE_DIR "${fae_${name}_SOURCE_DIR}" PARENT_SCOPE)
endfunction()

# fae_header_only(<target> <include folder>): imported, so that its headers count as system headers and that the
# installed package names it as the installed one is named.
function(fae_header_only target folder)
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} INTERFACE "${folder}")
endfunction()

if(NOT TARGET Eigen3::Eigen)
  fae_fetch(eigen https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.bz2
    b4c198460eba6f28d34894e3a5710998818515104d6e74e5cc331ce31e46e626)
  fae_header_only(Eigen3::Eigen "${fae_eigen_SOURCE_DIR}")
endif()

if(NOT TARGET ZLIB::ZLIB)
  fae_fetch(zlib https://github.com/madler/zlib/archive/refs/tags/v1.3.1.tar.gz
    17e88863f3600672ab49182f217281b6fc4d3c762bde361935e436a95214d05c)
  enable_language(C)
  file(GLOB zlib_sources "${fae_zlib_SOURCE_DIR}/*.c")
  add_library(fae_zlib STATIC EXCLUDE_FROM_ALL ${zlib_sources})
  target_include_directories(fae_zlib SYSTEM PUBLIC "${fae_zlib_SOURCE_DIR}")
  target_compile_definitions(fae_zlib PRIVATE HAVE_UNISTD_H HAVE_STDARG_H _LARGEFILE64_SOURCE=1)
  set_target_properties(fae_zlib PROPERTIES COMPILE_WARNING_AS_ERROR OFF POSITION_INDEPENDENT_CODE ON)
  add_library(ZLIB::ZLIB INTERFACE IMPORTED GLOBAL)
  target_link_libraries(ZLIB::ZLIB INTERFACE fae_zlib)
endif()

if(FAE_BUILD_TESTS AND NOT TARGET doctest::doctest)
  fae_fetch(doctest https://github.com/doctest/doctest/archive/refs/tags/v2.4.9.tar.gz
    19b2df757f2f3703a5e63cee553d85596875f06d91a3333acd80a969ef210856)
  fae_header_only(doctest::doctest "${fae_doctest_SOURCE_DIR}")
endif()

if(FAE_BUILD_BENCH AND NOT TARGET benchmark::benchmark)
  fae_fetch(benchmark https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz
    6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7)
  foreach(unwanted IN ITEMS TESTING GTEST_TESTS WERROR INSTALL INSTALL_DOCS)
    set(BENCHMARK_ENABLE_${unwanted} OFF CACHE BOOL "Set by fae" FORCE)
  endforeach()
  add_subdirectory("${fae_benchmark_SOURCE_DIR}" "${PROJECT_BINARY_DIR}/benchmark" EXCLUDE_FROM_ALL SYSTEM)
endif()

if(FAE_BUILD_EXAMPLES AND NOT TARGET CLI11::CLI11)
  fae_fetch(cli11 https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.1.2.tar.gz
    26291377e892ba0e5b4972cdfd4a2ab3bf53af8dac1f4ea8fe0d1376b625c8cb)
  fae_header_only(CLI11::CLI11 "${fae_cli11_SOURCE_DIR}/include")
endif()

if((FAE_BUILD_EXAMPLES OR FAE_BUILD_TESTS) AND NOT TARGET nlohmann_json::nlohmann_json)
  fae_fetch(json https://github.com/nlohmann/json/archive/refs/tags/v3.11.2.tar.gz
    d69f9deb6a75e2580465c6c4c5111b89c4dc2fa94e3a85fcd2ffcd9a143d9273)
  fae_header_only(nlohmann_json::nlohmann_json "${fae_json_SOURCE_DIR}/include")
endif()
