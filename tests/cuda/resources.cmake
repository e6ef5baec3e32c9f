# What the kernels of the programs need, as ptxas says when nvcc_NAME compiles them; no GPU is needed.
#   sass_NAME       the instructions for matrices are there; needs cuobjdump
#   resources_NAME  no kernel spills registers but those that are meant to, and those that must be fast use no stack

# Items that keep a large state per thread, functors of the tests made as large as a kernel's parameters may be, and
# tangents of strips; of the kernels for warpgroups those of 96 channels spill some bytes outside of their innermost loop.
set(spilling "SummaryILi|PolishItem|EmItem|StatisticsKernel|LogDensityKernel|AdvectStripsIdNS_4DualI")
string(APPEND spilling "|conv_filter_patch_kernelILi96E|conv_patch_kernelI(f|NS_8BFloat16E)Li96E")
# Single operations on numbers keep everything in registers; sine and cosine of double have a table for large arguments.
set(registers_only "gemm_|nearest_kernel|conv|ElementwiseKernelINS_2fn[0-9]+(Exp|Log|Tanh|Sqrt|Add|Subtract|Multiply|Divide|Silu|Relu|Square)E")

foreach(name IN LISTS nvcc_programs ITEMS conv_sm_90a)
  set(fixture program_${name})
  if(name STREQUAL "conv_sm_90a")
    set(fixture conv_sm_90a)
  endif()
  add_test(NAME resources_${name}
    COMMAND "${CMAKE_COMMAND}" -D "log=${binary_dir}/${name}.ptxas" -D "spilling=${spilling}"
      -D "registers_only=${registers_only}" -P "${CMAKE_CURRENT_SOURCE_DIR}/check_resources.cmake")
  set_tests_properties(resources_${name} PROPERTIES LABELS cuda FIXTURES_REQUIRED ${fixture})
endforeach()

find_program(KOLMO_CUOBJDUMP cuobjdump HINTS "${cuda_root}/bin")
if(KOLMO_CUOBJDUMP)
  # Products of warpgroups in bfloat16 and TF32, and of warps in both.
  add_test(NAME sass_conv COMMAND "${CMAKE_COMMAND}" -D "cuobjdump=${KOLMO_CUOBJDUMP}"
    -D "object=${binary_dir}/conv_sm_90a.o"
    -D "wanted=HGMMA.64x96x16.F32.BF16;HGMMA.64x96x8.F32.TF32;HMMA.16816.F32.BF16;HMMA.1688.F32.TF32"
    -P "${CMAKE_CURRENT_SOURCE_DIR}/check_sass.cmake")
  set_tests_properties(sass_conv PROPERTIES LABELS cuda FIXTURES_REQUIRED conv_sm_90a)
else()
  message(STATUS "cuobjdump was not found: the check of machine code is left out")
endif()
