# Everything a kernel may reach compiles with nvcc, with every warning an error and no experimental flag.
# Needs the compiler only, no GPU: each tests/cuda/*.cu, one generated file with all headers of floors 0 and 1,
# and one for each cuda/*.cuh. Programs are in cuda/CMakeLists.txt.
add_custom_target(kolmo_cuda_sources)
add_subdirectory(cuda)
if(NOT KOLMO_NVCC)
  message(STATUS "nvcc was not found: the CUDA compile tests are left out")
  return()
endif()

set(cuda_binary_dir "${CMAKE_CURRENT_BINARY_DIR}/cuda")
file(MAKE_DIRECTORY "${cuda_binary_dir}")
file(GLOB cuda_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cuda/*.cu")

set(device_includes "")
foreach(header IN LISTS kolmo_headers)
  file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}/include" "${header}")
  if(name MATCHES "^kolmo/(config|error)\\.hpp$"
      OR (name MATCHES "^kolmo/core/" AND NOT name MATCHES "^kolmo/core/(tensor|jet|reduce)\\.hpp$"))
    string(APPEND device_includes "#include <${name}>\n")
  elseif(name MATCHES "^kolmo/cuda/.*\\.cuh$")
    string(MAKE_C_IDENTIFIER "${name}" identifier)
    file(CONFIGURE OUTPUT "${cuda_binary_dir}/${identifier}.cu" CONTENT "#include <${name}>\n#include <${name}>\n")
    list(APPEND cuda_sources "${cuda_binary_dir}/${identifier}.cu")
  endif()
endforeach()
file(CONFIGURE OUTPUT "${cuda_binary_dir}/kernel_headers.cu" CONTENT "${device_includes}")
list(APPEND cuda_sources "${cuda_binary_dir}/kernel_headers.cu")

foreach(source IN LISTS cuda_sources)
  get_filename_component(name "${source}" NAME_WE)
  add_test(NAME nvcc_${name}
    COMMAND "${KOLMO_NVCC}" -std=c++20 "-arch=${KOLMO_CUDA_ARCHITECTURE}" --Werror all-warnings
      -Xcompiler -Wall,-Wextra -I "${PROJECT_SOURCE_DIR}/include" -c "${source}" -o "${cuda_binary_dir}/${name}.o")
  set_tests_properties(nvcc_${name} PROPERTIES LABELS cuda TIMEOUT 600)
endforeach()
