# The programs on the GPU under NVIDIA's compute-sanitizer:
#   sanitizer_TOOL_NAME  for memcheck, racecheck, initcheck and synccheck; any finding fails. Skipped without a GPU or
#                        without the tool, which the toolkit has in a package of its own.
# For memcheck the programs take every block from the driver, so that it sees the borders; the pool would hide them.
# Only our kernels are watched, whose names lie in the namespace kolmo. Errors of the runtime's functions are no findings:
# the programs provoke some.
find_program(KOLMO_COMPUTE_SANITIZER compute-sanitizer HINTS "${cuda_root}/bin" "${cuda_root}/compute-sanitizer")

function(kolmo_add_sanitizer_runs name fixture)
  foreach(tool IN ITEMS memcheck racecheck initcheck synccheck)
    if(KOLMO_COMPUTE_SANITIZER)
      set(command "${KOLMO_COMPUTE_SANITIZER}" --tool ${tool} --error-exitcode 1 --report-api-errors no
        --kernel-name kns=kolmo ${ARGN})
    else()
      set(command "${CMAKE_COMMAND}" -E env sh -c "echo compute-sanitizer was not found; exit ${skipped}")
    endif()
    add_test(NAME sanitizer_${tool}_${name} COMMAND ${command})
    if(tool STREQUAL "memcheck")
      set_tests_properties(sanitizer_${tool}_${name} PROPERTIES ENVIRONMENT KOLMO_TEST_DEBUG=1)
    endif()
    set_tests_properties(sanitizer_${tool}_${name} PROPERTIES LABELS "cuda;sanitizer" TIMEOUT 1800
      SKIP_RETURN_CODE ${skipped})
    if(fixture)
      set_tests_properties(sanitizer_${tool}_${name} PROPERTIES FIXTURES_REQUIRED "${fixture}")
    endif()
  endforeach()
endfunction()

foreach(name IN LISTS cuda_programs)
  kolmo_add_sanitizer_runs(${name} program_${name} "${binary_dir}/${name}")
endforeach()
foreach(name IN LISTS typed_tests)
  if(name MATCHES "^test_(ops|nn|optim)")
    kolmo_add_sanitizer_runs(${name} "" $<TARGET_FILE:cuda_${name}> "${typed_filter_${name}}")
  endif()
endforeach()
