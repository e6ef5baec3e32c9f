# What the kernels of the programs need, as ptxas says when nvcc_NAME compiles them; no GPU is needed.
#   resources_NAME  no kernel spills registers but those that are meant to, and those that must be fast use no stack

# Items that keep a large state per thread, functors of the tests made as large as a kernel's parameters may be, and
# tangents of strips; of the kernels for warpgroups those of 96 channels spill some bytes outside of their loops.
set(spilling "SummaryILi|PolishItem|EmItem|StatisticsKernel|LogDensityKernel|AdvectStripsIdNS_4DualI")
string(APPEND spilling "|conv_filter_patch_kernelILi96E|conv_patch_kernelIfLi96E")
# Single operations on numbers keep everything in registers; sine and cosine of double have a table for large arguments.
set(registers_only "gemm_|nearest_kernel|conv|ElementwiseKernelINS_2fn[0-9]+(Exp|Log|Tanh|Sqrt|Add|Subtract|Multiply|Divide|Silu|Relu|Square)E")

foreach(name IN LISTS nvcc_programs)
  add_test(NAME resources_${name}
    COMMAND "${CMAKE_COMMAND}" -D "log=${binary_dir}/${name}.ptxas" -D "spilling=${spilling}"
      -D "registers_only=${registers_only}" -P "${CMAKE_CURRENT_SOURCE_DIR}/check_resources.cmake")
  set_tests_properties(resources_${name} PROPERTIES LABELS cuda FIXTURES_REQUIRED program_${name})
endforeach()
