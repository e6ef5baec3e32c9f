# Compilers we support and the flags of kolmo's own programs. Users of the library get none of these flags.

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "kolmo needs g++ 12 or newer, found ${CMAKE_CXX_COMPILER_VERSION}; choose another with CXX=g++-12 cmake ...")
elseif(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
  message(FATAL_ERROR "kolmo needs clang 14 or newer, found ${CMAKE_CXX_COMPILER_VERSION}; choose another with CXX=clang++-14 cmake ...")
endif()

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  find_program(KOLMO_CCACHE ccache)
  if(KOLMO_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${KOLMO_CCACHE}")
  endif()
endif()

# Flags that change code generation, also for tests that call the compiler directly.
# Without -fno-trapping-math g++ does not vectorise a loop that contains a comparison; NaN and infinity stay exact.
set(kolmo_code_flags -fno-math-errno -fno-trapping-math)
if(KOLMO_NATIVE)
  list(APPEND kolmo_code_flags -march=native)
endif()
if(KOLMO_SANITIZE)
  list(APPEND kolmo_code_flags "-fsanitize=${KOLMO_SANITIZE}" -fno-omit-frame-pointer -fno-sanitize-recover=all)
endif()

set(kolmo_warning_flags -Wall -Wextra -Wconversion -Wshadow)
if(KOLMO_WERROR)
  list(APPEND kolmo_warning_flags -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND (KOLMO_SANITIZE OR KOLMO_NATIVE))
  # False alarms: g++ 12 calls its own AVX-512 intrinsics maybe uninitialised, and what its sanitizers insert.
  list(APPEND kolmo_warning_flags -Wno-maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # A false alarm of g++ 12 at -O3 about overlapping copies inside its own operator+(const char*, std::string&&).
  list(APPEND kolmo_warning_flags -Wno-restrict)
endif()

function(kolmo_configure_target target)
  target_compile_options(${target} PRIVATE ${kolmo_code_flags} ${kolmo_warning_flags})
  if(KOLMO_SANITIZE)
    target_link_options(${target} PRIVATE "-fsanitize=${KOLMO_SANITIZE}")
  endif()
endfunction()

# The component targets a program of ours links: all that exist. kolmo::eigen is required.
function(kolmo_link_components target)
  if(NOT TARGET kolmo::eigen)
    message(FATAL_ERROR "${target}: ${kolmo_eigen_missing}")
  endif()
  target_link_libraries(${target} PRIVATE kolmo::kolmo kolmo::eigen)
  if(TARGET kolmo::hdf5)
    target_link_libraries(${target} PRIVATE kolmo::hdf5)
  endif()
  if(TARGET kolmo::compiled)
    target_link_libraries(${target} PRIVATE kolmo::compiled)
  endif()
endfunction()
