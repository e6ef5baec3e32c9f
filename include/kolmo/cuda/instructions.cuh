#pragma once
// What a kernel asks of the GPU beyond C++: dynamic shared memory and instructions that only assembly can name.
// Everything else of the backend is plain CUDA C++, so that the tests can replace this one header and run the kernels
// on a CPU (tests/cuda/emulation).

#if !defined(__CUDACC__)
#error "kolmo/cuda/*.cuh defines CUDA kernels: include it in a .cu file compiled by nvcc. A file for another \
compiler includes kolmo/cuda/runtime.hpp, which has the same type Cuda."
#endif

#include <cuda_runtime.h>

namespace kolmo::detail {

/// The block's dynamic shared memory, aligned to 1024 bytes.
__device__ inline unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char kolmo_dynamic_shared[];
  return kolmo_dynamic_shared;
}

}  // namespace kolmo::detail
