#pragma once
// The steps of the samplers on tensors: one pass over memory each, with the estimates they were given.

#include <kolmo/nn/init.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>
#include <kolmo/score/sampler_options.hpp>

namespace kolmo::score {

/// A sample stopped being finite. `step` counts from 1; `time` is where the state was not finite.
class NonFiniteSample : public Error {
 public:
  NonFiniteSample(const std::string& message, index_t step_, double time_) : Error(message), step(step_), time(time_) {}
  index_t step;
  double time;
};

/// The same with the last state that was finite, at `last_time`.
template <PlainTensor V>
class NonFiniteState : public NonFiniteSample {
 public:
  NonFiniteState(const std::string& message, index_t step_, double time_, V last, double last_time_)
      : NonFiniteSample(message, step_, time_), last_state(std::move(last)), last_time(last_time_) {}
  V last_state;
  double last_time;
};

namespace detail {

template <class T>
struct LangevinStep {
  T sigma, tau, noise_power;
  template <class S>
  KOLMO_HD S operator()(S x, S eps, S noise, S power) const {
    const S delta = tau / power;
    return x - sigma * (delta * eps + sqrt(noise_power * delta) * noise);
  }
};

/// of_state x + sum_j weights_j q_j.
template <class T>
struct WeightedSum {
  T of_state;
  Array<T, largest_order> weights;
  template <class S>
  KOLMO_HD S operator()(S x, S a) const {
    return of_state * x + weights[0] * a;
  }
  template <class S>
  KOLMO_HD S operator()(S x, S a, S b) const {
    return of_state * x + (weights[0] * a + weights[1] * b);
  }
  template <class S>
  KOLMO_HD S operator()(S x, S a, S b, S c) const {
    return of_state * x + (weights[0] * a + weights[1] * b + weights[2] * c);
  }
  template <class S>
  KOLMO_HD S operator()(S x, S a, S b, S c, S d) const {
    return of_state * x + (weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d);
  }
};

/// of_state x + weights_j q_j, in double coefficients of the method.
template <PlainTensor V, PlainTensor... Q>
V weighted_sum(double of_state, const Array<double, largest_order>& weights, const V& x, const Q&... q) {
  using T = typename V::Scalar;
  WeightedSum<T> f{static_cast<T>(of_state), {}};
  for (int j = 0; j < largest_order; ++j) f.weights[j] = static_cast<T>(weights[j]);
  return apply(f, x, q...);
}

template <PlainTensor V>
bool all_finite(const V& x) {
  return x.size() == 0 || is_finite(max(abs(x)).item());
}

/// The first sample of a batch that is not finite.
template <PlainTensor V>
index_t first_bad_sample(const V& x) {
  const auto values = x.to_vector();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!is_finite(values[i])) return static_cast<index_t>(i) / (x.size() / x.shape()[0]);
  return -1;
}

template <PlainTensor V>
void require_finite(const V& x, const V& last, index_t step, double time, double last_time) {
  if (all_finite(x)) return;
  throw NonFiniteState<V>(
      "sample: sample " + std::to_string(first_bad_sample(x)) + " of " + std::to_string(x.shape()[0]) +
          (step == 0 ? " is not finite at the start, t = " + io::to_text(time)
                     : " stopped being finite in step " + std::to_string(step) + ", at t = " + io::to_text(time)) +
          "; a likelihood too stiff for explicit steps needs more steps, corrections, or a guidance with a bounded "
          "gain",
      step, time, last, last_time);
}

}  // namespace detail

/// One Langevin correction at noise level sigma: the step of the noise is set by the estimate itself, per sample over
/// all event axes, so that a stiff likelihood shortens it.
template <PlainTensor V>
V langevin_correction(const V& x, const V& eps, const V& noise, double sigma, double tau, bool balanced = false) {
  using T = typename V::Scalar;
  if (x.rank() < 2) throw ShapeError("langevin_correction: expected x [B, event...], given " + x.shape().to_string());
  const index_t batch = x.shape()[0];
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) shape.push_back(i == 0 ? batch : 1);
  const V power = reshape(mean(square(reshape(eps, Shape{batch, x.size() / larger(batch, index_t{1})})), {1}), shape);
  return apply(
      detail::LangevinStep<T>{static_cast<T>(sigma), static_cast<T>(tau), static_cast<T>(balanced ? 2 - tau : 2)}, x,
      eps, noise, power);
}

namespace detail {

/// A run of a sampler: the estimator and, for multistep methods, what is remembered of earlier evaluations.
template <class Estimator, PlainTensor V>
struct SamplerRun {
  const Estimator& eps;
  const Schedule& schedule;
  const SamplerOptions& options;
  std::vector<V> stored{};  // newest first
  std::vector<double> stored_times{};

  /// `u` is the time the step wants to reach; a guided estimator is told, to judge whether the step is stable.
  V evaluate(const V& x, double t, double u) const {
    if constexpr (requires { eps.begin_step(t, u); }) eps.begin_step(t, u);
    return evaluate(x, t);
  }

  /// Equal parts, in rho, of a step from t to u, of which the estimator says that they are stable.
  index_t substeps() const {
    if constexpr (requires { eps.report().substeps; })
      return smaller(static_cast<index_t>(eps.report().substeps), options.most_substeps);
    else
      return 1;
  }

  V evaluate(const V& x, double t) const {
    V result = eps(x, t);
    if (!(result.shape() == x.shape()))
      throw ShapeError("sample: the estimator returned the shape " + result.shape().to_string() +
                       " for a state of shape " + x.shape().to_string());
    return result;
  }

  V step(const V& x, const V& estimate, double t, double u, Key key) {
    switch (options.method) {
      case SamplerMethod::ddim:
        return ddim(x, estimate, t, u, key);
      case SamplerMethod::heun: {
        const PredictorStep p = predictor_step(schedule, t, u);
        const V end = weighted_sum<V>(p.of_state, {{p.of_eps}}, x, estimate);
        // Without noise at u the second slope is not defined.
        if (!(schedule.sigma(u) > 0)) return end;
        return weighted_sum<V>(p.of_state, {{p.of_eps / 2, p.of_eps / 2}}, x, estimate, evaluate(end, u));
      }
      case SamplerMethod::ito:
        return ito(x, estimate, t, u, key);
      case SamplerMethod::adams_bashforth:
        return multistep(MultistepKind::eps_rho, x, estimate, t, u);
      case SamplerMethod::multistep_eps:
        return multistep(MultistepKind::eps_log, x, estimate, t, u);
      case SamplerMethod::multistep_xhat:
        return multistep(MultistepKind::xhat_log, x, estimate, t, u);
      case SamplerMethod::multistep_v:
        return multistep(MultistepKind::v_angle, x, estimate, t, u);
    }
    throw ArgumentError("no sampler has the number " + std::to_string(static_cast<int>(options.method)));
  }

  V correct(const V& x, double u, Key key) const {
    const double sigma = schedule.sigma(u);
    if (!(sigma > 0)) return x;
    const V estimate = evaluate(x, u), noise = nn::normal_values<V>(key, x.shape());
    if (options.corrector != Corrector::variance_preserving)
      return langevin_correction(x, estimate, noise, sigma, options.tau,
                                 options.corrector == Corrector::balanced_langevin);
    const double kept = std::sqrt(1 - options.tau);
    return weighted_sum<V>(1, {{(kept - 1) * sigma, std::sqrt(options.tau) * sigma}}, x, estimate, noise);
  }

 private:
  V ddim(const V& x, const V& estimate, double t, double u, Key key) const {
    if (!(options.eta > 0)) {
      const PredictorStep p = predictor_step(schedule, t, u);
      return weighted_sum<V>(p.of_state, {{p.of_eps}}, x, estimate);
    }
    const double r = schedule.mu(u) / schedule.mu(t), sigma = schedule.sigma(u),
                 ratio = schedule.rho(u) / schedule.rho(t);
    const double tau = smaller(options.eta * (1 - ratio) * (1 + ratio), 1.0);
    return weighted_sum<V>(r, {{sigma * std::sqrt(1 - tau) - r * schedule.sigma(t), sigma * std::sqrt(tau)}}, x,
                           estimate, nn::normal_values<V>(key, x.shape()));
  }

  V ito(const V& x, const V& estimate, double t, double u, Key key) const {
    const PredictorStep p = predictor_step(schedule, t, u);
    const double of_eps = (1 + options.eta * options.eta) / options.temperature * p.of_eps;
    if (!(options.eta > 0)) return weighted_sum<V>(p.of_state, {{of_eps}}, x, estimate);
    const double high = schedule.rho(t), low = schedule.rho(u);
    return weighted_sum<V>(p.of_state,
                           {{of_eps, options.eta * schedule.mu(u) * std::sqrt((high - low) * (high + low))}}, x,
                           estimate, nn::normal_values<V>(key, x.shape()));
  }

  V multistep(MultistepKind kind, const V& x, const V& estimate, double t, double u) {
    const StoredQuantity q = stored_quantity(kind, schedule.mu(t), schedule.sigma(t));
    stored.insert(stored.begin(),
                  q.of_state == 0 && q.of_eps == 1 ? estimate : weighted_sum<V>(q.of_state, {{q.of_eps}}, x, estimate));
    stored_times.insert(stored_times.begin(), t);
    if (static_cast<int>(stored.size()) > options.order) {
      stored.pop_back();
      stored_times.pop_back();
    }
    const MultistepWeights w = multistep_weights(kind, schedule, stored_times, u);
    switch (w.order) {
      case 1:
        return weighted_sum<V>(w.of_state, w.weights, x, stored[0]);
      case 2:
        return weighted_sum<V>(w.of_state, w.weights, x, stored[0], stored[1]);
      case 3:
        return weighted_sum<V>(w.of_state, w.weights, x, stored[0], stored[1], stored[2]);
      default:
        return weighted_sum<V>(w.of_state, w.weights, x, stored[0], stored[1], stored[2], stored[3]);
    }
  }
};

}  // namespace detail

}  // namespace kolmo::score
