// The tiles of the EM of samples as kernels.
#include <kolmo/gmm/em_samples.hpp>

using namespace kolmo::gmm::detail;

template <class F>
__global__ void each(F f, kolmo::index_t count) {
  const kolmo::index_t i = static_cast<kolmo::index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) f(i);
}

template __global__ void each(SampleTile<float, PackFor<float, false>::Type>, kolmo::index_t);
template __global__ void each(SampleTile<double, PackFor<double, false>::Type>, kolmo::index_t);
template __global__ void each(ExamineTile<float>, kolmo::index_t);
template __global__ void each(ExamineTile<double>, kolmo::index_t);
template __global__ void each(LoadWeights<float>, kolmo::index_t);
template __global__ void each(PickPoint<double>, kolmo::index_t);
template __global__ void each(SeedTile<float, PackFor<float, false>::Type>, kolmo::index_t);
template __global__ void each(SeedTile<double, PackFor<double, false>::Type>, kolmo::index_t);
template __global__ void each(DrawPoint<double>, kolmo::index_t);
