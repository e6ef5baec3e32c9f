#pragma once
// Point estimates with a diffusion prior: one state that explains the observation, instead of samples.
//
//   plug-and-play ADMM (Venkatakrishnan et al. 2013), D_rho the denoiser at noise level rho:
//     x = argmin |y - A x|^2 / (2 deviation^2) + lambda / (2 rho^2) |x - (v - u)|^2,   v = D_rho(x + u),   u += x - v
//   RED-diff (Mardani et al. 2023, arXiv:2305.04391): Adam on
//     |y - A(x)|^2 / (2 deviation^2) + lambda rho <sg(eps(mu x + sigma n, t) - n), x>,   t from noise to data

#include <kolmo/optim/adam.hpp>
#include <kolmo/score/guidance/jfps.hpp>
#include <kolmo/score/sampler.hpp>

namespace kolmo {

namespace detail {

/// u -> u + W A' (scale A'^T) W u
template <class A, PlainTensor V>
struct WhitenedGram {
  LinearisedOperator<A, V>& operation;
  const V& weight;
  double scale;
  V operator()(const V& u) const { return u + operation.push(operation.pull(u * weight) * scale) * weight; }
};

/// argmin |y - A x|^2 / (2 deviation^2) + |x - z|^2 / (2 scale), A linearised at z.
template <class A, PlainTensor V>
V proximal_point(const score::Observation<A, V>& observation, const V& z, double scale,
                 const score::KrylovOptions& options) {
  LinearisedOperator<A, V> operation(observation.forward, z);
  const V weight = 1 / observation.deviation;
  const V right = (observation.value - operation.value()) * weight;
  const auto result = score::conjugate_gradients(WhitenedGram<A, V>{operation, weight, scale}, right, options);
  return z + operation.pull(result.solution * weight) * scale;
}

template <class Eps, PlainTensor V>
V denoised(const Eps& eps, const score::Schedule& schedule, const V& z, double t) {
  const double mu = schedule.mu(t), rho = schedule.rho(t);
  return z - V(eps(V(z * mu), t)) * rho;
}

}  // namespace detail

namespace score {

struct AdmmOptions {
  index_t steps = 50;
  double lambda = 1;
  TimeGrid grid{GridPolicy::log_rho, 7, 0.5};  ///< the noise levels of the denoiser, from the first to the last step
  KrylovOptions solver{200, 1e-4, 0, 1};
};

/// x [B, event...] from `start`. Where D_rho is the denoiser of a Gaussian prior and rho is held, it converges to the
/// posterior's mean for lambda = 1. Throws ArgumentError for options out of range.
template <class Eps, class A, PlainTensor V>
V plug_and_play_admm(const Eps& eps, const Schedule& schedule, const Observation<A, V>& observation, const V& start,
                     const AdmmOptions& options = {}) {
  kolmo::detail::check_positive("plug_and_play_admm", "lambda", options.lambda);
  const std::vector<double> times = time_points(schedule, options.grid, options.steps);
  V x = start, v = start, u = V::zeros(start.shape());
  for (index_t i = 0; i < options.steps; ++i) {
    const double t = times[static_cast<std::size_t>(i)], rho = schedule.rho(t);
    x = kolmo::detail::proximal_point(observation, V(v - u), rho * rho / options.lambda, options.solver);
    v = kolmo::detail::denoised(eps, schedule, V(x + u), t);
    u = u + x - v;
    detail::require_finite(x, v, i + 1, t, t);
  }
  return x;
}

struct RedDiffOptions {
  index_t steps = 200;
  double lambda = 0.25;
  double learning_rate = 0.05;
  TimeGrid grid{GridPolicy::uniform_time, 7, 0.95, 0.01};
};

/// x [B, event...] from `start`; the noise comes from `key`. Throws ArgumentError for options out of range.
template <class Eps, class A, PlainTensor V>
V red_diff(const Eps& eps, const Schedule& schedule, const Observation<A, V>& observation, const V& start, Key key,
           const RedDiffOptions& options = {}) {
  kolmo::detail::check_at_least("red_diff", "lambda", options.lambda, 0);
  const std::vector<double> times = time_points(schedule, options.grid, options.steps);
  const optim::Adam adam = optim::adam({.learning_rate = options.learning_rate});
  V x = start;
  auto state = adam.init(x);
  for (index_t i = 0; i < options.steps; ++i) {
    const double t = times[static_cast<std::size_t>(i)], mu = schedule.mu(t), sigma = schedule.sigma(t);
    kolmo::detail::LinearisedOperator<A, V> operation(observation.forward, x);
    const V misfit = operation.value() - observation.value;
    const V noise = nn::normal_values<V>(fold_in(key, static_cast<std::uint64_t>(i)), x.shape());
    const V prior = (V(eps(V(x * mu + noise * sigma), t)) - noise) * (options.lambda * sigma / mu);
    const V gradient = operation.pull(misfit / (observation.deviation * observation.deviation)) + prior;
    adam.step(x, gradient, state);
    detail::require_finite(x, gradient, i + 1, t, t);
  }
  return x;
}

}  // namespace score
}  // namespace kolmo
