# Programs that must not compile. Each file of compile_fail/ says in comments what the compiler has to answer:
#   // expect: REGEX      one or more; every one must match somewhere in the output, with g++ and with clang++
#   // flags: FLAGS       further compiler flags
# With -DKOLMO_COMPILES the same file must compile, so that it cannot fail for another reason.
file(GLOB compile_fail_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp")
foreach(source IN LISTS compile_fail_sources)
  get_filename_component(name "${source}" NAME_WE)
  add_test(NAME compile_fail_${name}
    COMMAND "${CMAKE_COMMAND}" -D "compiler=${CMAKE_CXX_COMPILER}" -D "source=${source}"
      -D "include=${PROJECT_SOURCE_DIR}/include" -D "eigen=$<TARGET_PROPERTY:Eigen3::Eigen,INTERFACE_INCLUDE_DIRECTORIES>"
      -P "${CMAKE_CURRENT_SOURCE_DIR}/run_compile_fail.cmake")
  set_tests_properties(compile_fail_${name} PROPERTIES LABELS compile_fail TIMEOUT ${test_timeout})
endforeach()
