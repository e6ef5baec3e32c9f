# The ways a program of somebody else gets kolmo: each configures, builds and runs a small project of its own.
set(consumer_dir "${CMAKE_CURRENT_SOURCE_DIR}/consumer")
set(consumer_build "${CMAKE_CURRENT_BINARY_DIR}/consumer")
set(consumer_prefix "${consumer_build}/prefix")

function(kolmo_add_consumer name)
  add_test(NAME consumer_${name}
    COMMAND "${CMAKE_CTEST_COMMAND}"
      --build-and-test "${consumer_dir}/${name}" "${consumer_build}/${name}"
      --build-generator "${CMAKE_GENERATOR}" --build-noclean
      --build-options "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}"
        -DCMAKE_BUILD_TYPE=Debug ${ARGN}
      --test-command consumer)
  set_tests_properties(consumer_${name} PROPERTIES LABELS consumer TIMEOUT 600)
endfunction()

kolmo_add_consumer(add_subdirectory "-DKOLMO_SOURCE=${PROJECT_SOURCE_DIR}")
kolmo_add_consumer(fetch_content "-DKOLMO_SOURCE=${PROJECT_SOURCE_DIR}")

if(KOLMO_INSTALL)
  add_test(NAME consumer_install
    COMMAND "${CMAKE_COMMAND}" --install "${PROJECT_BINARY_DIR}" --prefix "${consumer_prefix}")
  set_tests_properties(consumer_install PROPERTIES LABELS consumer FIXTURES_SETUP kolmo_installed)
  kolmo_add_consumer(find_package "-DCMAKE_PREFIX_PATH=${consumer_prefix}")
  kolmo_add_consumer(find_package_components "-DCMAKE_PREFIX_PATH=${consumer_prefix}"
    "-DEXPECT_COMPILED=$<TARGET_EXISTS:kolmo::compiled>" "-DEXPECT_HDF5=$<TARGET_EXISTS:kolmo::hdf5>")
  set_tests_properties(consumer_find_package consumer_find_package_components
    PROPERTIES FIXTURES_REQUIRED kolmo_installed)
  if(KOLMO_NVCC AND TARGET kolmo::cuda AND TARGET kolmo::compiled)
    string(REPLACE "sm_" "" architecture "${KOLMO_CUDA_ARCHITECTURE}")
    kolmo_add_consumer(cuda "-DCMAKE_PREFIX_PATH=${consumer_prefix}" "-DCMAKE_CUDA_COMPILER=${KOLMO_NVCC}"
      "-DCMAKE_CUDA_ARCHITECTURES=${architecture}" "-DPROGRAM=${CMAKE_CURRENT_SOURCE_DIR}/cuda/programs/mixed")
    set_tests_properties(consumer_cuda PROPERTIES LABELS "consumer;cuda" FIXTURES_REQUIRED kolmo_installed TIMEOUT 1800
      SKIP_REGULAR_EXPRESSION "not run: no GPU")
  endif()
endif()

# No build system at all.
add_test(NAME consumer_bare_compiler
  COMMAND "${CMAKE_COMMAND}" -D "compiler=${CMAKE_CXX_COMPILER}" -D "source=${PROJECT_SOURCE_DIR}/examples/first_program.cpp"
    -D "include=${PROJECT_SOURCE_DIR}/include" -D "output=${consumer_build}/bare_compiler"
    -P "${consumer_dir}/bare_compiler.cmake")
set_tests_properties(consumer_bare_compiler PROPERTIES LABELS consumer TIMEOUT 600)
