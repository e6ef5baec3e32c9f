# The typed tests on Cuda: every tests/test_*.cpp that runs on a device (device.hpp, or expect_op.hpp, which includes it)
# is compiled once more with KOLMO_TEST_CUDA. From a file whose cases on the device are tagged [device] only those run.
#   cuda_emulated_test_NAME  by the host's compiler on emulation/
#   cuda_test_NAME           by nvcc; skipped where there is no GPU
# All of them in the presets cuda and validation; elsewhere these few, and without nvcc's.
set(typed_quick test_autodiff test_gmm_em test_ops_scan test_optim)

set(typed_tests "")
set(typed_programs "")
file(GLOB typed_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/../test_*.cpp")
foreach(source IN LISTS typed_sources)
  get_filename_component(name "${source}" NAME_WE)
  file(READ "${source}" text)
  # test_expect_op tests the harness, with operations that are wrong on one backend.
  if(NOT text MATCHES "#include \"(device|expect_op)\\.hpp\"" OR name STREQUAL "test_expect_op")
    continue()
  endif()
  if(NOT KOLMO_CUDA AND NOT KOLMO_LONG_TESTS AND NOT name IN_LIST typed_quick)
    continue()
  endif()
  list(APPEND typed_tests ${name})
  set(typed_filter_${name} "~[long]")
  if(text MATCHES "\\[device\\]")
    set(typed_filter_${name} "[device]~[long]")
  endif()
endforeach()

set(typed_definitions KOLMO_TEST_CUDA "KOLMO_TEST_DATA=\"${PROJECT_SOURCE_DIR}/tests/data\""
  "KOLMO_EXAMPLES=\"${PROJECT_SOURCE_DIR}/examples\"" "KOLMO_REFERENCE=\"${PROJECT_SOURCE_DIR}/tests/reference\"")

if(NOT KOLMO_SANITIZE MATCHES "thread")
  # Its main knows the emulation's runtime only.
  add_library(cuda_emulated_main STATIC device_main.cpp)
  kolmo_configure_target(cuda_emulated_main)
  target_include_directories(cuda_emulated_main PRIVATE "${PROJECT_SOURCE_DIR}/tests" emulation)
  target_link_libraries(cuda_emulated_main PUBLIC Catch2::Catch2)
  foreach(name IN LISTS typed_tests)
    add_executable(cuda_emulated_${name} "${PROJECT_SOURCE_DIR}/tests/${name}.cpp")
    kolmo_configure_target(cuda_emulated_${name})
    kolmo_link_components(cuda_emulated_${name})
    target_link_libraries(cuda_emulated_${name} PRIVATE kolmo::xtensor cuda_emulated_main)
    target_include_directories(cuda_emulated_${name} BEFORE PRIVATE emulation "${PROJECT_SOURCE_DIR}/tests")
    target_compile_definitions(cuda_emulated_${name} PRIVATE
      __CUDACC__ KOLMO_TEST_EMULATION ${typed_definitions})
    # Half of the compile time of -O1; they run as fast, since fibers cost more than what they compute.
    target_compile_options(cuda_emulated_${name} PRIVATE
      -O0 -include "${CMAKE_CURRENT_SOURCE_DIR}/emulation/cuda_runtime.h")
    add_dependencies(kolmo_cuda_sources cuda_emulated_${name})
    add_test(NAME cuda_emulated_${name} COMMAND cuda_emulated_${name} "${typed_filter_${name}}" ${catch_arguments})
    set_tests_properties(cuda_emulated_${name} PROPERTIES LABELS cuda TIMEOUT ${test_timeout})
  endforeach()
endif()

if(KOLMO_CUDA)
  add_subdirectory(typed)
endif()
