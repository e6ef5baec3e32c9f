// Guidance of every kind, its observation operators and step rules inside a file of nvcc.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/score/guidance/choice.hpp>
#include <kolmo/score/guided_steps.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/observations/sensors.hpp>

using Device = kolmo::Tensor<float, kolmo::Cuda>;

struct Estimator {
  Device weight;
  template <kolmo::TensorLike X>
  auto operator()(const X& x, double t) const {
    return tanh(x * weight) * t;
  }
};

using Sensor = kolmo::score::Composition<kolmo::score::Subsample, kolmo::score::Coarsen, kolmo::score::Vorticity,
                                         kolmo::score::Saturation>;
using Observed = kolmo::score::Observation<Sensor, Device>;

Device posterior(const Estimator& eps, const Observed& observation, const kolmo::score::AnyGuidance<Device>& method,
                 const Device& x) {
  const auto estimate = kolmo::score::guided(eps, kolmo::score::Schedule{}, observation, method,
                                             {kolmo::score::StabilityPolicy::cap_variance});
  estimate.begin_step(0.5, 0.4);
  return kolmo::score::sample(estimate, kolmo::score::Schedule{}, x, {}, kolmo::Key{1});
}
Device original(const Estimator& eps, const Observed& observation, const Device& x) {
  const kolmo::score::DpsStep<Estimator, Sensor, Device> rule{eps, kolmo::score::Schedule{}, observation};
  return kolmo::score::sample_by_steps(rule, x, 10, kolmo::Key{1});
}
Device restored(const Estimator& eps, const Device& singular, const Device& value, const Device& x) {
  const kolmo::score::DdrmStep<Estimator, Device> rule{eps, kolmo::score::Schedule{}, singular, value};
  return kolmo::score::sample_by_steps(rule, x, 10, kolmo::Key{1});
}
