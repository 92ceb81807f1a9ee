# SPDX-License-Identifier: Apache-2.0
#
# Install rules and the package that find_package(fae CONFIG COMPONENTS gzip models cuda) reads.
# While the major version is 0 a minor version may change the interface, so it must match.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/fae")

foreach(component IN ITEMS fae gzip models cuda)
  if(TARGET fae_${component})
    install(TARGETS fae_${component} EXPORT fae-${component}-targets
      FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
    install(EXPORT fae-${component}-targets NAMESPACE fae:: DESTINATION "${package_dir}")
  endif()
endforeach()

configure_package_config_file(cmake/fae-config.cmake.in "${PROJECT_BINARY_DIR}/package/fae-config.cmake"
  INSTALL_DESTINATION "${package_dir}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/fae-config-version.cmake"
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES
  "${PROJECT_BINARY_DIR}/package/fae-config.cmake"
  "${PROJECT_BINARY_DIR}/package/fae-config-version.cmake"
  DESTINATION "${package_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
