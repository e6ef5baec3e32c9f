// The per-density algorithms of the mixtures as kernels.
#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/mixture_distance.hpp>
#include <kolmo/gmm/mixture_quantile.hpp>
#include <kolmo/gmm/mixture_reduce.hpp>
#include <kolmo/gmm/mixture_sample.hpp>
#include <kolmo/gmm/moment_projection.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo::gmm::detail;

template <class F>
__global__ void each(F f, kolmo::index_t count) {
  const kolmo::index_t i = static_cast<kolmo::index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) f(i);
}

template __global__ void each(EmItem<float, 8>, kolmo::index_t);
template __global__ void each(EmItem<double, em_max_components>, kolmo::index_t);
template __global__ void each(WinnerItem<float>, kolmo::index_t);
template __global__ void each(AcceptLimit, kolmo::index_t);
template __global__ void each(OwnPointsItem<float>, kolmo::index_t);
template __global__ void each(FallbackItem, kolmo::index_t);
template __global__ void each(PreprocessItem<float>, kolmo::index_t);
template __global__ void each(PreprocessItem<double>, kolmo::index_t);
template __global__ void each(V5Item<float>, kolmo::index_t);
template __global__ void each(ForeignItem<double>, kolmo::index_t);
template __global__ void each(MetricsItem<float>, kolmo::index_t);
template __global__ void each(EntropyItem<double>, kolmo::index_t);
template __global__ void each(SortItem<float>, kolmo::index_t);
template __global__ void each(QuantileItem<float>, kolmo::index_t);
template __global__ void each(QuantileItem<double>, kolmo::index_t);
template __global__ void each(SampleItem<float>, kolmo::index_t);
template __global__ void each(MixtureDistanceItem<float>, kolmo::index_t);
template __global__ void each(SampleDistanceItem<double>, kolmo::index_t);
template __global__ void each(DensityDistanceItem<float>, kolmo::index_t);
template __global__ void each(PruneItem<float>, kolmo::index_t);
template __global__ void each(MergeItem<double>, kolmo::index_t);
template __global__ void each(ProjectionItem<float, 8>, kolmo::index_t);
template __global__ void each(ProjectionItem<double, 32>, kolmo::index_t);
