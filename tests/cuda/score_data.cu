// Trajectory sets, the particle filter and distances inside a file of nvcc.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/score/ensemble.hpp>
#include <kolmo/score/particle_filter.hpp>
#include <kolmo/score/transport.hpp>
#include <kolmo/score/window_samples.hpp>
using namespace kolmo;

using V = Tensor<float, Cuda>;
V windows(const score::TrajectoryData<V>& data, std::span<const index_t> indices) {
  const auto standard = data.normalised(data.fit_normaliser());
  return score::WindowSamples<V>(standard, {.window = 5}).at_epoch(2).batch(indices);
}
struct Move {
  V operator()(const V& x, Key) const { return x; }
};
struct Likelihood {
  V operator()(const V& x, index_t) const { return at(x, 1, 0); }
};
V paths(const V& x) { return score::particle_filter(x, Move{}, Likelihood{}, {}).paths; }
double distance(const V& a, const V& b) { return score::wasserstein1(a, b) + score::crps(a, b); }
