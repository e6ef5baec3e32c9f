// kolmo's array and helpers inside a kernel.
#include <kolmo/core/array.hpp>

__global__ void sum_of_triples(const kolmo::Array<float, 3>* triples, float* sums, kolmo::index_t count) {
  const kolmo::index_t i = static_cast<kolmo::index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= count) return;
  float sum = 0;
  for (float value : triples[i]) sum += value;
  sums[i] = kolmo::larger(sum, 0.0f);
}

void launch(const kolmo::Array<float, 3>* triples, float* sums, kolmo::index_t count) {
  const kolmo::index_t threads = kolmo::smaller<kolmo::index_t>(count, 256);
  sum_of_triples<<<static_cast<unsigned>(kolmo::divide_up(count, threads)), static_cast<unsigned>(threads)>>>(
      triples, sums, count);
}
