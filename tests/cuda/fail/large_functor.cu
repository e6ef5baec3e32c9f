// expect: hold pointers to device memory instead of data
#include <kolmo/cuda/cuda.cuh>

struct Table {
  float values[2000];
  float* target;
  KOLMO_HD void operator()(kolmo::index_t i) const { target[i] = values[i]; }
};

void fill(float* target) { kolmo::Cuda::for_each(2000, Table{{}, target}); }
