#pragma once
// From noise to data: integrates the sampling equation with any estimator eps(x, t), plain or guided by observations.
//
//   const V x = sample(eps, schedule, initial_state<V>({16, 2, 64, 64}, key_a, schedule), {}, key_b);

#include <kolmo/score/sampler_steps.hpp>

namespace kolmo::score {

/// What a callback sees after every step: x is at time u, eps the last estimate on the way.
template <PlainTensor V>
struct SamplerStep {
  index_t step = 0;  ///< from 1
  index_t steps = 0;
  double t = 1, u = 1;
  const V& x;
  const V& eps;
};

struct NoCallback {
  template <PlainTensor V>
  void operator()(const SamplerStep<V>&) const {}
};

/// Standard normal noise, the start of the paper's sampler.
template <PlainTensor V>
V initial_noise(const Shape& shape, Key key) {
  return nn::normal_values<V>(key, shape);
}

/// The state at a time from which nothing of the data is seen: mu mean + sqrt(mu^2 variance + sigma^2) noise, for data
/// of this mean and variance per element. Right for any schedule and start time. Throws ArgumentError for a negative
/// variance.
template <PlainTensor V>
V initial_state(const Shape& shape, Key key, const Schedule& schedule, double time = 1, double variance = 1,
                double mean = 0) {
  if (!(variance >= 0) || !is_finite(variance))
    throw ArgumentError("initial_state: the variance of the data must not be negative, given " + io::to_text(variance));
  const double mu = schedule.mu(time), sigma = schedule.sigma(time);
  return nn::normal_values<V>(key, shape, mu * mean, std::sqrt(mu * mu * variance + sigma * sigma));
}

/// Integrates from x at time options.grid.start_time to end_time; x [B, event...]. eps(x, t) gets a double t and
/// returns a tensor of the shape of x. All noise comes from `key`. `callback(const SamplerStep<V>&)` runs after every
/// step. Throws ArgumentError for options out of range, ShapeError when the estimate has another shape, and
/// NonFiniteState (a NonFiniteSample, which is an Error) with the step, the time and the last finite state.
template <class Estimator, PlainTensor V, class Callback = NoCallback>
V sample(const Estimator& eps, const Schedule& schedule, const V& start, const SamplerOptions& options, Key key,
         Callback&& callback = {}) {
  options.check();
  schedule.check();
  const std::vector<double> times = time_points(schedule, options.grid, options.steps);
  detail::SamplerRun<Estimator, V> run{eps, schedule, options};
  detail::require_finite(start, start, 0, times[0], times[0]);
  V x = start;
  for (index_t i = 0; i < options.steps; ++i) {
    const double t = times[static_cast<std::size_t>(i)], u = times[static_cast<std::size_t>(i) + 1];
    const Key step_key = fold_in(key, static_cast<std::uint64_t>(i));
    V estimate = run.evaluate(x, t, u), next = x;
    double from = t;
    // Every part begins with an evaluation of its own, which may ask for more.
    for (std::uint64_t part = 0;; ++part) {
      const index_t parts = part + 1 < static_cast<std::uint64_t>(options.most_substeps) ? run.substeps() : 1;
      const double high = schedule.rho(from), low = schedule.rho(u);
      double to = parts > 1 ? schedule.time_of_rho(high - (high - low) / static_cast<double>(parts)) : u;
      if (!(to < from)) to = u;
      next = run.step(next, estimate, from, to, fold_in(part == 0 ? step_key : fold_in(step_key, part << 32), 0));
      if (!(to > u)) break;
      detail::require_finite(next, x, i + 1, to, t);
      from = to;
      estimate = run.evaluate(next, from, u);
    }
    for (index_t c = 0; c < options.corrections; ++c)
      next = run.correct(next, u, fold_in(step_key, static_cast<std::uint64_t>(c) + 1));
    detail::require_finite(next, x, i + 1, u, t);
    x = std::move(next);
    callback(SamplerStep<V>{i + 1, options.steps, t, u, x, estimate});
  }
  return x;
}

}  // namespace kolmo::score
