// expect: include it in a \.cu file compiled by nvcc
// expect: includes kolmo/cuda/runtime.hpp
#if !defined(KOLMO_COMPILES)
#include <kolmo/cuda/cuda.cuh>
#endif
