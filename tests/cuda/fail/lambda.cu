// expect: The closure type for a lambda .* cannot be used in the template argument type of a __global__ function
#include <kolmo/cuda/cuda.cuh>

void fill(float* target) {
  kolmo::Cuda::for_each(10, [target](kolmo::index_t i) { target[i] = 0; });
}
