#pragma once
// The stability of explicit steps. On an eigen-direction of A J J^T A^T with eigenvalue lambda the step
// x <- r x + c eps_post, r = mu(u) / mu(t), c = sigma(u) - r sigma(t), multiplies errors by
//
//   r + c (E + sigma lambda / var),   E the eigenvalue of d eps / d x,
//
// and is unstable when |c| sigma lambda / var > 1 + r + c E. The stability number is the ratio of the two sides. It
// does not contain the number N of observations: what matters is how many of them share one degree of freedom. The
// largest eigenvalue comes from a few power iterations, each one product with J and one with J^T.

#include <kolmo/score/guidance.hpp>

namespace kolmo::detail {

/// A fixed start for power iterations, of both signs and without symmetry: equal starts give equal numbers.
template <class T>
struct PowerStart {
  T* target;
  KOLMO_HD void operator()(index_t i) const {
    const auto k = static_cast<unsigned long long>(i) * 2654435761ull % 1000003ull;
    target[i] = static_cast<T>(k) / T(1000003) - T(0.5);
  }
};

/// The variance that the explicit step takes: as given, or the smallest stable one above it, as the options say. Writes
/// the stability number into the report. Without a step announced by the sampler at this time it does nothing.
template <class Call, PlainTensor V>
V stable_variance(Call& call, const V& variance) {
  using T = typename V::Scalar;
  using score::StabilityPolicy;
  const StabilityPolicy policy = call.options().stability;
  if (policy == StabilityPolicy::none || call.memory().step_from != call.time) return variance;
  const double r = call.memory().step_mu / call.mu, c = call.memory().step_sigma - r * call.sigma;
  // Weighted by the variance, so that lambda / var is one number also where the variance differs between points.
  const V weight = 1 / sqrt(variance);
  V w = V::uninitialized(call.residual().shape());
  V::Backend::for_each(w.size(), PowerStart<T>{w.mutable_data()});
  double stability = 0;
  for (int i = 0; i < call.options().power_iterations; ++i) {
    std::vector<double> scale = score::sample_dots(w, w);
    for (double& s : scale) s = s > 0 ? 1 / std::sqrt(s) : 0;
    w = w * score::per_sample<V>(scale, w.rank());
    const V direction = call.pull_clean(call.operation().pull(w * weight));
    const V image = call.push_clean(direction);
    w = call.operation().push(image) * weight;
    if (i + 1 < call.options().power_iterations) continue;
    const std::vector<double> lambda = score::sample_dots(direction, direction);
    const std::vector<double> j = score::sample_dots(direction, image);
    for (std::size_t s = 0; s < lambda.size(); ++s) {
      if (!(lambda[s] > 0)) continue;
      const double e = (1 - call.mu * j[s] / lambda[s]) / call.sigma;
      const double limit = larger(1 + r + c * e, 1e-3);
      stability = larger(stability, std::abs(c) * call.sigma * lambda[s] / limit);
    }
  }
  call.report().stability = stability;
  if (policy == StabilityPolicy::substep) call.report().substeps = static_cast<int>(std::ceil(larger(stability, 1.0)));
  if (policy != StabilityPolicy::cap_variance || !(stability > 1)) return variance;
  call.report().variance_factor = stability;
  return variance * stability;
}

}  // namespace kolmo::detail
