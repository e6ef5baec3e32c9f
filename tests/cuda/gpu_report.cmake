# benchmarks/gpu_report: its options, its build as commands, its table, and its programs at their smallest sizes on the
# emulation and through nvcc. What it measures needs a GPU.
set(gpu_sources "${PROJECT_SOURCE_DIR}/benchmarks/gpu")
set(gpu_report "${PROJECT_SOURCE_DIR}/benchmarks/gpu_report")

add_test(NAME gpu_report_help COMMAND "${gpu_report}" --help)
set_tests_properties(gpu_report_help PROPERTIES LABELS cuda PASS_REGULAR_EXPRESSION "usage: benchmarks/gpu_report")
add_test(NAME gpu_report_refuses COMMAND "${gpu_report}" --part everything)
set_tests_properties(gpu_report_refuses PROPERTIES LABELS cuda PASS_REGULAR_EXPRESSION "there is no part 'everything'")

# The goals, from rows written by hand: one reached, one missed by a peer's time, one without a measurement.
add_executable(gpu_table "${gpu_sources}/gpu_table.cpp")
kolmo_configure_target(gpu_table)
target_link_libraries(gpu_table PRIVATE kolmo::kolmo)
foreach(line IN ITEMS
    "scan over 1 GB [|] 2 GB: 500 us [|][^|]*[|] 526 us [^|]*[|] 95 %[^|]*[|][^|]*[|] reach"
    "per case, float [|][^|]*[|] >= 20 x [|] 64 ms [|][^|]*[|] kolmo on one core: 8 ms, 8.00 x [|] miss"
    "RVQ encode[^\n]*not measured"
    "memory/exp [|] kolmo [|] [*][*]failed[*][*]")
  string(REGEX MATCH "^[A-Za-z]+" name "${line}")
  add_test(NAME gpu_report_table_${name} COMMAND gpu_table "${CMAKE_CURRENT_LIST_DIR}/gpu_rows.jsonl")
  set_tests_properties(gpu_report_table_${name} PROPERTIES LABELS cuda PASS_REGULAR_EXPRESSION "${line}")
endforeach()

# kolmo_add_gpu_emulated(NAME SOURCE PRECISION): `NAME --tiny` on the emulation.
function(kolmo_add_gpu_emulated name source precision)
  kolmo_emulated_program(gpu_${name} "${gpu_sources}/${source}.cu")
  target_compile_definitions(cuda_emulated_gpu_${name} PRIVATE GPU_PRECISION=${precision})
  add_test(NAME cuda_emulated_gpu_${name} COMMAND cuda_emulated_gpu_${name} --tiny)
  set_tests_properties(cuda_emulated_gpu_${name} PROPERTIES LABELS cuda TIMEOUT ${test_timeout})
endfunction()
if(COMMAND kolmo_emulated_program)
  kolmo_add_gpu_emulated(memory memory 3)
  kolmo_add_gpu_emulated(overheads overheads 3)
  kolmo_add_gpu_emulated(search search 3)
  if(KOLMO_CUDA OR KOLMO_LONG_TESTS)
    kolmo_add_gpu_emulated(fields fields 3)
    kolmo_add_gpu_emulated(products_tf32 products 2)
    kolmo_add_gpu_emulated(convolutions_bf16 convolutions 1)
    kolmo_add_gpu_emulated(norms_bf16 norms 1)
  endif()
endif()

if(NOT KOLMO_NVCC)
  return()
endif()
add_test(NAME gpu_report_build COMMAND "${gpu_report}" --part build --dry --out "${CMAKE_CURRENT_BINARY_DIR}/gpu_report")
set_tests_properties(gpu_report_build PROPERTIES LABELS cuda
  PASS_REGULAR_EXPRESSION "compute_[0-9]+a?,code=sm_[0-9]+a?.*benchmarks/gpu/unet.cu")
# One program everywhere; with KOLMO_CUDA also those whose code few other tests compile.
set(gpu_programs "overheads 3")
if(KOLMO_CUDA)
  list(APPEND gpu_programs "ceilings 3" "products 1" "unet 1" "data_set 3")
endif()
foreach(program IN LISTS gpu_programs)
  separate_arguments(program UNIX_COMMAND "${program}")
  list(GET program 0 name)
  list(GET program 1 precision)
  add_test(NAME nvcc_gpu_${name} COMMAND "${KOLMO_NVCC}" -std=c++20 "-arch=${KOLMO_CUDA_ARCHITECTURE}"
    --Werror all-warnings -Xcompiler -Wall,-Wextra -I "${PROJECT_SOURCE_DIR}/include" "-DGPU_PRECISION=${precision}"
    -c "${gpu_sources}/${name}.cu" -o "${CMAKE_CURRENT_BINARY_DIR}/gpu_${name}.o")
  set_tests_properties(nvcc_gpu_${name} PROPERTIES LABELS cuda TIMEOUT 1800)
endforeach()
