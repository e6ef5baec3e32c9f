# Installation: headers, one export set per component (so that a user who asks for none needs no Eigen), package files.
include(CMakePackageConfigHelpers)

set(kolmo_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/kolmo")

foreach(target IN LISTS kolmo_components)
  set(name "${target}")
  set(file_set "")
  if(target STREQUAL "kolmo")
    set(file_set FILE_SET HEADERS)
  else()
    string(REPLACE "kolmo_" "" name "${target}")
  endif()
  install(TARGETS ${target} EXPORT kolmo-${name} ${file_set})
  install(EXPORT kolmo-${name} NAMESPACE kolmo:: DESTINATION "${kolmo_package_dir}" FILE kolmo-${name}.cmake)
endforeach()

configure_package_config_file(cmake/kolmoConfig.cmake.in "${PROJECT_BINARY_DIR}/kolmoConfig.cmake"
  INSTALL_DESTINATION "${kolmo_package_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/kolmoConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  "${PROJECT_BINARY_DIR}/kolmoConfig.cmake"
  "${PROJECT_BINARY_DIR}/kolmoConfigVersion.cmake"
  cmake/KolmoDependencies.cmake
  DESTINATION "${kolmo_package_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
