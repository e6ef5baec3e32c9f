#pragma once
// The four quantities a network may predict of x_t = mu x + sigma eps, and how they follow from each other and x_t:
//   eps    the noise                            xhat   the clean state (x_t - sigma eps) / mu, Tweedie's mean E[x |
//   x_t] v      mu eps - sigma xhat                  score  -eps / sigma, the gradient of the log density of x_t
// (v: Salimans and Ho 2022, arXiv:2202.00512). Everything else in score/ speaks eps; an estimator is any callable
// eps(x_t, t), generic in the tensor kind of x_t, with t a double or a plain tensor with one time per sample.

#include <kolmo/ops/elementwise.hpp>
#include <kolmo/score/schedule.hpp>

namespace kolmo::score {

enum class Prediction { eps, xhat, v, score };

namespace detail {

/// of_state * x + of_prediction * p.
struct Combination {
  double of_state = 0, of_prediction = 1;
};

inline Combination eps_of(Prediction from, double mu, double sigma) {
  const double norm = mu * mu + sigma * sigma;
  switch (from) {
    case Prediction::eps:
      return {0, 1};
    case Prediction::xhat:
      return {1 / sigma, -mu / sigma};
    case Prediction::v:
      return {sigma / norm, mu / norm};
    case Prediction::score:
      return {0, -sigma};
  }
  throw ArgumentError("no prediction has the number " + std::to_string(static_cast<int>(from)));
}

/// Not by way of eps: differences of large terms would cost digits at both ends of the schedule.
inline Combination xhat_of(Prediction from, double mu, double sigma) {
  const double norm = mu * mu + sigma * sigma;
  switch (from) {
    case Prediction::eps:
      return {1 / mu, -sigma / mu};
    case Prediction::xhat:
      return {0, 1};
    case Prediction::v:
      return {mu / norm, -sigma / norm};
    case Prediction::score:
      return {1 / mu, sigma * sigma / mu};
  }
  throw ArgumentError("no prediction has the number " + std::to_string(static_cast<int>(from)));
}

inline Combination conversion(Prediction from, Prediction to, double mu, double sigma) {
  if (from == to) return {0, 1};
  const Combination e = eps_of(from, mu, sigma), x = xhat_of(from, mu, sigma);
  switch (to) {
    case Prediction::eps:
      return e;
    case Prediction::xhat:
      return x;
    case Prediction::v:
      return {mu * e.of_state - sigma * x.of_state, mu * e.of_prediction - sigma * x.of_prediction};
    case Prediction::score:
      return {-e.of_state / sigma, -e.of_prediction / sigma};
  }
  throw ArgumentError("no prediction has the number " + std::to_string(static_cast<int>(to)));
}

template <class T>
struct Combine {
  T of_state, of_prediction;
  template <class S>
  KOLMO_HD S operator()(S x, S p) const {
    return of_state * x + of_prediction * p;
  }
};

/// Coefficients per sample.
struct CombineTensors {
  KOLMO_HD auto operator()(auto x, auto p, auto of_state, auto of_prediction) const {
    return of_state * x + of_prediction * p;
  }
};

/// The shape [B, 1, ..., 1] in which numbers of times stand beside a state of rank `rank`. Times of shape [] are shared
/// by all samples. Throws ShapeError for times of another rank.
inline Shape shape_per_sample(const Shape& times, int rank) {
  if (times.rank() > 1 || rank < times.rank())
    throw ShapeError("times of shape " + times.to_string() + " for a state of rank " + std::to_string(rank) +
                     "; expected one time for all samples, [], or one for each, [B]");
  Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(i == 0 ? times.size() : 1);
  return shape;
}

/// f(t) for every time, in that shape.
template <PlainTensor V, class F>
V per_sample(const V& times, int rank, const F& f) {
  using T = typename V::Scalar;
  const Shape shape = shape_per_sample(times.shape(), rank);
  std::vector<T> values = times.to_vector();
  for (T& value : values) value = static_cast<T>(f(static_cast<double>(value)));
  return V::from(std::span<const T>(values), shape);
}

template <TensorLike X, TensorLike P>
auto combined(const Combination& c, const X& x, const P& p) {
  using T = ScalarOf<X>;
  return map(Combine<T>{static_cast<T>(c.of_state), static_cast<T>(c.of_prediction)}, x, p);
}

/// Coefficients that a kernel computes from the times: a named functor that says so.
template <class Coefficients>
concept KernelCoefficients = requires {
  requires Coefficients::in_kernels;
};

/// mu(t) and sigma(t)
struct PerturbedAt {
  static constexpr bool in_kernels = true;
  Schedule schedule;
  KOLMO_HD Combination operator()(double t) const { return {schedule.mu(t), schedule.sigma(t)}; }
};

template <class T, class Coefficients>
struct CoefficientsKernel {
  Coefficients coefficients;
  const T* times;
  T* of_state;
  T* of_prediction;
  KOLMO_HD void operator()(index_t i) const {
    const Combination at = coefficients(static_cast<double>(times[i]));
    of_state[i] = static_cast<T>(at.of_state);
    of_prediction[i] = static_cast<T>(at.of_prediction);
  }
};

/// coefficients(t) x + coefficients(t) p with a time or times.
template <class Coefficients, class Time, TensorLike X, TensorLike P>
auto combined_at(const Coefficients& coefficients, const Time& t, const X& x, const P& p) {
  if constexpr (Constant<Time>)
    return combined(coefficients(static_cast<double>(t)), x, p);
  else if constexpr (KernelCoefficients<Coefficients>) {
    // The times stay where they are: no step of a training waits for them.
    const Time times = t.contiguous();
    const Shape shape = shape_per_sample(times.shape(), x.rank());
    Time of_state = Time::uninitialized(shape), of_prediction = Time::uninitialized(shape);
    Time::Backend::for_each(times.size(),
                            CoefficientsKernel<typename Time::Scalar, Coefficients>{
                                coefficients, times.data(), of_state.mutable_data(), of_prediction.mutable_data()});
    return map(CombineTensors{}, x, p, of_state, of_prediction);
  } else
    return map(CombineTensors{}, x, p, per_sample(t, x.rank(), [&](double s) { return coefficients(s).of_state; }),
               per_sample(t, x.rank(), [&](double s) { return coefficients(s).of_prediction; }));
}

}  // namespace detail

/// Another quantity from a prediction at the noisy state x; t is a number, or a plain tensor of shape [] or [B].
/// Gradients pass through both x and the prediction. Throws ShapeError for times of another shape.
template <TensorLike X, TensorLike P, class Time>
auto convert(Prediction from, Prediction to, const X& x, const P& prediction, const Schedule& schedule, const Time& t) {
  const auto at = [&](double s) { return detail::conversion(from, to, schedule.mu(s), schedule.sigma(s)); };
  return detail::combined_at(at, t, x, prediction);
}

/// The clean state (x - sigma eps) / mu.
template <TensorLike X, TensorLike E, class Time>
auto xhat_from_eps(const X& x, const E& eps, const Schedule& schedule, const Time& t) {
  return convert(Prediction::eps, Prediction::xhat, x, eps, schedule, t);
}

/// The noise (x - mu xhat) / sigma.
template <TensorLike X, TensorLike C, class Time>
auto eps_from_xhat(const X& x, const C& xhat, const Schedule& schedule, const Time& t) {
  return convert(Prediction::xhat, Prediction::eps, x, xhat, schedule, t);
}

/// The noisy state mu x + sigma noise of clean x.
template <TensorLike X, TensorLike E, class Time>
auto perturb(const X& x, const E& noise, const Schedule& schedule, const Time& t) {
  return detail::combined_at(detail::PerturbedAt{schedule}, t, x, noise);
}

/// A network that predicts something else, as an estimator of eps.
template <class F>
struct EpsOf {
  F network;
  Prediction prediction = Prediction::xhat;
  Schedule schedule{};

  template <TensorLike X, class Time>
  auto operator()(const X& x, const Time& t) const {
    return convert(prediction, Prediction::eps, x, network(x, t), schedule, t);
  }
};
template <class F>
EpsOf(F, Prediction, Schedule) -> EpsOf<F>;

/// The scalings of Karras et al. 2022 (arXiv:2206.00364) for any schedule: xhat = skip x_t + out F(in x_t, time), so
/// that for data of unit variance the network's input and target have unit variance at all times.
struct Preconditioning {
  double skip, out, in, time;
};
inline Preconditioning edm_preconditioning(const Schedule& schedule, double t) {
  const double mu = schedule.mu(t), sigma = schedule.sigma(t), norm = mu * mu + sigma * sigma;
  return {mu / norm, sigma / std::sqrt(norm), 1 / std::sqrt(norm), std::log(sigma / mu)};
}

/// The weight 1 + 1 / rho^2 that makes the error of F count the same at all times, for the error of xhat.
inline double edm_weight(const Schedule& schedule, double t) {
  const double rho = schedule.rho(t);
  return 1 + 1 / (rho * rho);
}

/// A preconditioned network F(in x_t, ln rho) as an estimator of eps.
template <class F>
struct Preconditioned {
  F network;
  Schedule schedule{};

  template <TensorLike X, class Time>
  auto operator()(const X& x, const Time& t) const {
    const auto scalings = [&](double s) { return edm_preconditioning(schedule, s); };
    // eps = (x - mu xhat) / sigma = sigma / (mu^2 + sigma^2) x - mu / sqrt(mu^2 + sigma^2) F
    const auto to_eps = [&](double s) {
      const auto c = scalings(s);
      return detail::Combination{schedule.sigma(s) * c.in * c.in, -schedule.mu(s) * c.in};
    };
    if constexpr (Constant<Time>) {
      const auto c = scalings(static_cast<double>(t));
      return detail::combined_at(to_eps, t, x, network(x * c.in, c.time));
    } else {
      const auto input = x * detail::per_sample(t, x.rank(), [&](double s) { return scalings(s).in; });
      const auto time = detail::per_sample(t, t.rank(), [&](double s) { return scalings(s).time; });
      return detail::combined_at(to_eps, t, x, network(input, time));
    }
  }
};
template <class F>
Preconditioned(F, Schedule) -> Preconditioned<F>;

}  // namespace kolmo::score
