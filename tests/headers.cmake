# Every public header compiles alone, and twice: one generated file each, built with the rest of the tests.
# cuda/*.cuh needs nvcc, see cuda.cmake.
set(header_sources "")
set(all_includes "")
foreach(header IN LISTS kolmo_headers)
  file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}/include" "${header}")
  if(name MATCHES "\\.cuh$" OR (name MATCHES "^kolmo/cuda/" AND NOT TARGET kolmo::cuda) OR
      (name STREQUAL "kolmo/io/hdf5.hpp" AND NOT TARGET kolmo::hdf5))
    continue()
  endif()
  string(MAKE_C_IDENTIFIER "${name}" identifier)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/headers/${identifier}.cpp")
  file(CONFIGURE OUTPUT "${source}" CONTENT "#include <${name}>\n#include <${name}>\n")
  list(APPEND header_sources "${source}")
  if(NOT name MATCHES "^kolmo/cuda/")
    string(APPEND all_includes "#include <${name}>\n")
  endif()
endforeach()

add_library(kolmo_header_tests OBJECT ${header_sources})
kolmo_configure_target(kolmo_header_tests)
target_compile_options(kolmo_header_tests PRIVATE -O0)
target_link_libraries(kolmo_header_tests PRIVATE kolmo::kolmo kolmo::eigen kolmo::xtensor)
foreach(component IN ITEMS cuda hdf5)
  if(TARGET kolmo::${component})
    target_link_libraries(kolmo_header_tests PRIVATE kolmo::${component})
  endif()
endforeach()

# Everything in two files of one program: a function that is not inline is defined twice and does not link.
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/headers/everything.hpp" CONTENT "#pragma once\n${all_includes}")
add_executable(two_files two_files/main.cpp two_files/other.cpp)
kolmo_configure_target(two_files)
target_compile_options(two_files PRIVATE -O0)
target_include_directories(two_files PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/headers")
target_link_libraries(two_files PRIVATE kolmo::kolmo kolmo::eigen kolmo::xtensor)
if(TARGET kolmo::hdf5)
  target_link_libraries(two_files PRIVATE kolmo::hdf5)
endif()
add_test(NAME two_files COMMAND two_files)

# Floors, third-party includes, words that must not occur.
add_test(NAME floors COMMAND "${CMAKE_COMMAND}" -D "include=${PROJECT_SOURCE_DIR}/include"
  -P "${CMAKE_CURRENT_SOURCE_DIR}/floors.cmake")
# The check itself must notice a violation of each rule.
file(GLOB violations CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/floors/*/expect")
foreach(expect IN LISTS violations)
  get_filename_component(folder "${expect}" DIRECTORY)
  get_filename_component(name "${folder}" NAME)
  file(STRINGS "${expect}" expected)
  add_test(NAME floors_notices_${name}
    COMMAND "${CMAKE_COMMAND}" -D "include=${folder}" -P "${CMAKE_CURRENT_SOURCE_DIR}/floors.cmake")
  set_tests_properties(floors_notices_${name} PROPERTIES PASS_REGULAR_EXPRESSION "${expected}")
endforeach()

# What the documentation shows is what the tests compile.
add_test(NAME documentation_snippets
  COMMAND "${CMAKE_COMMAND}" -D "root=${PROJECT_SOURCE_DIR}" -P "${CMAKE_CURRENT_SOURCE_DIR}/snippets.cmake")
