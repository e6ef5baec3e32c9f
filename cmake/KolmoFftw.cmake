# FFTW, with which tests and benchmarks compare where it is installed. The library does not use it.
find_path(KOLMO_FFTW_INCLUDE fftw3.h)
find_library(KOLMO_FFTW_DOUBLE fftw3)
find_library(KOLMO_FFTW_FLOAT fftw3f)
mark_as_advanced(KOLMO_FFTW_INCLUDE KOLMO_FFTW_DOUBLE KOLMO_FFTW_FLOAT)

# Links a program with FFTW and defines KOLMO_FFTW, where it is installed.
function(kolmo_compare_with_fftw target)
  if(KOLMO_FFTW_INCLUDE AND KOLMO_FFTW_DOUBLE AND KOLMO_FFTW_FLOAT)
    target_include_directories(${target} SYSTEM PRIVATE "${KOLMO_FFTW_INCLUDE}")
    target_link_libraries(${target} PRIVATE "${KOLMO_FFTW_DOUBLE}" "${KOLMO_FFTW_FLOAT}")
    target_compile_definitions(${target} PRIVATE KOLMO_FFTW)
  endif()
endfunction()
