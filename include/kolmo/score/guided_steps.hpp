#pragma once
// Posterior sampling by rules for a whole step, for methods that are not a noise estimate: a rule makes the state at
// time u from the one at t > u, and `sample_by_steps` applies it along a grid of times.
//
//   DpsStep      a DDPM step, then x <- x - zeta grad |y - A(xhat)| (the original code of Chung et al. 2023)
//   RepaintStep  a DDPM step, then observed entries become mu y + sigma noise, repeated (Lugmayr et al. 2022)
//   DdrmStep     the spectral rule of DDRM (Kawar et al. 2022) in the singular basis of A
//
// The first ignores the sensor's noise but through zeta, the second altogether: for the right spread use `guided`.

#include <kolmo/score/guidance/sda.hpp>
#include <kolmo/score/sampler.hpp>

namespace kolmo {

namespace detail {

/// mu (xhat + rho ...) of DDRM for one coefficient with singular value d.
template <class T>
struct DdrmCoefficient {
  T mu, rho, deviation, eta, blend;
  template <class S>
  KOLMO_HD S operator()(S clean, S eps, S y, S d, S noise) const {
    const S kept = sqrt(S(1) - S(eta) * S(eta));
    const S safe = select(d > S(0), d, S(1));
    const S unseen = clean + kept * S(rho) * eps + S(eta) * S(rho) * noise;
    const S sharp = clean + kept * S(rho) * (y - clean) * d / S(deviation) + S(eta) * S(rho) * noise;
    const S spread = S(rho) * S(rho) - S(blend) * S(blend) * S(deviation) * S(deviation) / (safe * safe);
    const S seen = (S(1) - S(blend)) * clean + S(blend) * y + sqrt(select(spread > S(0), spread, S(0))) * noise;
    return S(mu) * select(d > S(0), select(S(rho) * d < S(deviation), sharp, seen), unseen);
  }
};

struct Overwrite {
  template <class S>
  KOLMO_HD S operator()(S x, S seen, S mask) const {
    return select(mask != S(0), seen, x);
  }
};

inline void check_schedule_time(const score::Schedule& schedule, double t) {
  if (!(schedule.mu(t) > 0) || !(schedule.sigma(t) > 0))
    throw ArgumentError("guided steps: signal and noise must be positive at time " + std::to_string(t));
}

/// mu_u xhat + sigma_u (sqrt(1 - tau) eps + sqrt(tau) noise), tau = 1 - (rho_u / rho_t)^2: an ancestral step.
template <PlainTensor V>
V ancestral_step(const score::Schedule& schedule, const V& x, const V& eps, double t, double u, Key key) {
  const double ratio = schedule.rho(u) / schedule.rho(t), tau = (1 - ratio) * (1 + ratio);
  const double r = schedule.mu(u) / schedule.mu(t), sigma = schedule.sigma(u);
  const V noise = nn::normal_values<V>(key, x.shape());
  return x * r + eps * (sigma * std::sqrt(1 - tau) - r * schedule.sigma(t)) + noise * (sigma * std::sqrt(tau));
}

}  // namespace detail

namespace score {

template <class Eps, class A, PlainTensor V>
struct DpsStep {
  Eps eps;
  Schedule schedule;
  Observation<A, V> observation;
  double zeta = 1;

  V operator()(const V& x, double t, double u, Key key) const {
    kolmo::detail::check_at_least("dps", "zeta", zeta, 0);
    kolmo::detail::check_schedule_time(schedule, t);
    kolmo::detail::GuidanceMemory<V> memory;
    const GuidanceOptions options;
    kolmo::detail::EstimatorPortOf<Eps, V> estimator(eps, x, t);
    const kolmo::detail::ObservationPortOf<A, V> observed(observation);
    GuidanceCall<V> call(estimator, observed, options, memory, x, t, schedule.mu(t), schedule.sigma(t));
    call.record();
    std::vector<double> factor = sample_dots(call.residual(), call.residual());
    for (double& f : factor) f = f > 0 ? zeta / std::sqrt(f) : 0;
    const V g = call.pull_clean(call.operation().pull(call.residual() * per_sample<V>(factor, call.residual().rank())));
    return kolmo::detail::ancestral_step(schedule, x, call.noise(), t, u, key) + g;
  }
};

/// `mask` is one where the state is observed, and `value` holds what was; both broadcast against the event.
template <class Eps, PlainTensor V>
struct RepaintStep {
  Eps eps;
  Schedule schedule;
  V mask, value;
  int repetitions = 1;  ///< of each step, the state made noisy again in between

  V operator()(V x, double t, double u, Key key) const {
    using T = typename V::Scalar;
    kolmo::detail::check_at_least("repaint", "repetitions", repetitions, 1);
    kolmo::detail::check_schedule_time(schedule, t);
    const double mu = schedule.mu(u), sigma = schedule.sigma(u), high = schedule.rho(t), low = schedule.rho(u);
    for (int i = 0;; ++i) {
      const auto keys = split<3>(fold_in(key, static_cast<std::uint64_t>(i)));
      const V next = kolmo::detail::ancestral_step(schedule, x, V(eps(x, t)), t, u, keys[0]);
      const V seen = value * mu + nn::normal_values<V>(keys[1], x.shape()) * sigma;
      x = apply(kolmo::detail::Overwrite{}, next, seen, V(mask + V::scalar(T(0))));
      if (i + 1 == repetitions) return x;
      x = x * (schedule.mu(t) / mu) +
          nn::normal_values<V>(keys[2], x.shape()) * (schedule.mu(t) * std::sqrt((high - low) * (high + low)));
    }
  }
};

/// A = U diag(singular) basis^T: `singular` holds one value per coefficient of the state, zero where nothing is seen,
/// and `value` is U^T y / singular there (anything where it is zero). Without a basis the coefficients are the entries
/// of the state, as for a mask, whose singular values are zeros and ones; a basis is a matrix [D, D] with the right
/// singular vectors in its columns.
template <class Eps, PlainTensor V>
struct DdrmStep {
  Eps eps;
  Schedule schedule;
  V singular, value;
  double deviation = 0.1;
  V basis{};
  double eta = 0.85;
  double blend = 1;  ///< eta_b

  V operator()(const V& x, double t, double u, Key key) const {
    using T = typename V::Scalar;
    kolmo::detail::check_positive("ddrm", "deviation", deviation);
    if (!(eta >= 0 && eta <= 1) || !(blend >= 0 && blend <= 1))
      throw ArgumentError("ddrm: eta and blend must lie in [0, 1], given " + io::to_text(eta) + " and " +
                          io::to_text(blend));
    kolmo::detail::check_schedule_time(schedule, t);
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    const V noise_estimate = eps(x, t);
    const V clean = (x - noise_estimate * sigma) / mu;
    const kolmo::detail::DdrmCoefficient<T> rule{static_cast<T>(schedule.mu(u)), static_cast<T>(schedule.rho(u)),
                                                 static_cast<T>(deviation), static_cast<T>(eta), static_cast<T>(blend)};
    const V noise = nn::normal_values<V>(key, x.shape());
    if (!basis.has_value()) return apply(rule, clean, noise_estimate, value, singular, noise);
    const Shape flat{x.shape()[0], basis.shape()[0]};
    const V moved = apply(rule, V(matmul(clean.reshaped(flat), basis)), V(matmul(noise_estimate.reshaped(flat), basis)),
                          value, singular, noise.reshaped(flat));
    return V(matmul(moved, transpose(basis))).reshaped(x.shape());
  }
};

/// Applies rule(x, t, u, key) along the grid; the callback sees every step as that of `sample` does, with the state
/// before the step in place of eps. Throws as `sample` does.
template <class Rule, PlainTensor V, class Callback = NoCallback>
V sample_by_steps(const Rule& rule, const V& start, index_t steps, Key key, const TimeGrid& grid = {},
                  Callback&& callback = {}) {
  const std::vector<double> times = time_points(rule.schedule, grid, steps);
  V x = start;
  for (index_t i = 0; i < steps; ++i) {
    const double t = times[static_cast<std::size_t>(i)], u = times[static_cast<std::size_t>(i) + 1];
    V next = rule(x, t, u, fold_in(key, static_cast<std::uint64_t>(i)));
    detail::require_finite(next, x, i + 1, u, t);
    std::swap(x, next);
    callback(SamplerStep<V>{i + 1, steps, t, u, x, next});
  }
  return x;
}

}  // namespace score
}  // namespace kolmo
