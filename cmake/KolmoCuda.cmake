# nvcc for kolmo's own programs, which may be there without CMake's CUDA language being enabled.
find_program(KOLMO_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)

# The GPU of this machine, by the compute capability that its driver tells.
set(gpu "")
find_program(KOLMO_NVIDIA_SMI nvidia-smi)
mark_as_advanced(KOLMO_NVIDIA_SMI)
if(KOLMO_NVIDIA_SMI)
  execute_process(COMMAND "${KOLMO_NVIDIA_SMI}" --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE capability RESULT_VARIABLE result ERROR_QUIET)
  if(result EQUAL 0 AND capability MATCHES "^([0-9]+)\\.([0-9]+)")
    set(gpu "sm_${CMAKE_MATCH_1}${CMAKE_MATCH_2}")
    if(gpu STREQUAL "sm_90")
      set(gpu sm_90a)  # Hopper's own instructions for matrices
    endif()
  endif()
endif()
set(architecture sm_90)
if(gpu)
  set(architecture "${gpu}")
endif()
set(KOLMO_CUDA_ARCHITECTURE "${architecture}" CACHE STRING "Architecture of kolmo's CUDA programs, as in nvcc -arch=")

# On without being asked for only where the programs could run: nvcc takes minutes for each.
set(cuda_default OFF)
if(gpu AND KOLMO_NVCC AND NOT kolmo_cuda_missing AND TARGET kolmo_compiled)
  set(cuda_default ON)
endif()
option(KOLMO_CUDA "Build the CUDA twins of the examples and the typed tests on CUDA, with nvcc" ${cuda_default})

if(KOLMO_CUDA)
  if(NOT KOLMO_NVCC)
    message(FATAL_ERROR "KOLMO_CUDA needs nvcc 13; put it into the PATH, set KOLMO_NVCC, or configure with -DKOLMO_CUDA=OFF")
  elseif(kolmo_cuda_missing)
    message(FATAL_ERROR "KOLMO_CUDA: ${kolmo_cuda_missing}")
  elseif(NOT TARGET kolmo_compiled)
    message(FATAL_ERROR "KOLMO_CUDA takes the products of the CPU from kolmo::compiled, which needs Eigen: ${kolmo_eigen_missing}")
  endif()
  string(REPLACE "sm_" "" CMAKE_CUDA_ARCHITECTURES "${KOLMO_CUDA_ARCHITECTURE}")
  set(CMAKE_CUDA_COMPILER "${KOLMO_NVCC}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
  endif()
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${CMAKE_CXX_COMPILER_LAUNCHER}")
  enable_language(CUDA)
endif()

# A program of the files ARGN, which nvcc compiles whatever their endings say in this directory.
function(kolmo_add_cuda_program target)
  set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CUDA)
  add_executable(${target} ${ARGN})
  set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY Shared)
  # By hand: CMake 3.25 does not know that nvcc 13 has C++20.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 -Xcompiler=-Wall,-Wextra>)
  if(KOLMO_WERROR)
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:--Werror all-warnings>")
  endif()
  target_link_libraries(${target} PRIVATE kolmo::kolmo kolmo::cuda kolmo::compiled)
endfunction()
