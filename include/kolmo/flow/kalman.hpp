#pragma once
// The exact solution of linear Gaussian assimilation (Kalman 1960; Rauch, Tung and Striebel 1965):
//
//   x_0 ~ N(mean, covariance),  x_{t+1} = A x_t + N(0, Q),  y_t = H x_t + N(0, R)
//
// The filter gives p(x_t | y_0..y_t) and the density of all observations, the smoother p(x_t | all y). The matrices are
// shared by a batch of observation records. Everything is differentiable, in the observations and in the model.

#include <span>
#include <string>
#include <vector>

#include <kolmo/ad/module.hpp>
#include <kolmo/ops/cholesky.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

namespace kolmo::flow {

/// The matrices of the model: d is the length of a state, m of an observation.
template <class V>
struct LinearGaussian {
  V transition;         ///< A, [d, d]
  V process;            ///< Q, [d, d], positive definite for the smoother
  V observation;        ///< H, [m, d]
  V observation_noise;  ///< R, [m, m], positive definite
  V mean;               ///< [d]
  V covariance;         ///< [d, d]

  template <class W>
  using Rebind = LinearGaussian<W>;
  static void fields(auto&& f, auto&... s) {
    f(param("transition"), s.transition...);
    f(param("process"), s.process...);
    f(param("observation"), s.observation...);
    f(param("observation_noise"), s.observation_noise...);
    f(param("mean"), s.mean...);
    f(param("covariance"), s.covariance...);
  }
};

/// Means [batch, d] and covariances [d, d] of the states at each time.
template <class V>
struct GaussianPath {
  std::vector<V> means;
  std::vector<V> covariances;
};

/// What the filter finds.
template <class V>
struct KalmanFilter {
  GaussianPath<V> predicted;  ///< given the observations before each time
  GaussianPath<V> filtered;   ///< given those up to it
  V log_likelihood;           ///< log p(all observations), [batch]
};

namespace detail {

/// I - X for a square matrix.
template <TensorLike X>
auto identity_minus(const X& x) {
  using P = BaseOf<X>;
  const index_t n = x.shape()[0];
  std::vector<ScalarOf<X>> values(static_cast<std::size_t>(n * n), ScalarOf<X>(0));
  for (index_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i * n + i)] = ScalarOf<X>(1);
  return P::from(std::span<const ScalarOf<X>>(values), x.shape()) - x;
}

template <class V>
void check_model(const LinearGaussian<V>& model, const Shape& y, std::size_t observed) {
  const index_t d = model.mean.size(), m = model.observation.rank() == 2 ? model.observation.shape()[0] : -1;
  const auto expect = [](const char* name, const Shape& given, const Shape& wanted) {
    if (!(given == wanted))
      throw ShapeError(std::string("kalman: ") + name + " has shape " + given.to_string() + ", expected " +
                       wanted.to_string());
  };
  expect("mean", model.mean.shape(), {d});
  expect("transition", model.transition.shape(), {d, d});
  expect("process", model.process.shape(), {d, d});
  expect("covariance", model.covariance.shape(), {d, d});
  if (m < 1)
    throw ShapeError("kalman: observation has shape " + model.observation.shape().to_string() + ", expected [m, " +
                     std::to_string(d) + "]");
  expect("observation", model.observation.shape(), {m, d});
  expect("observation_noise", model.observation_noise.shape(), {m, m});
  if (y.rank() != 3 || y[2] != m || y[1] < 1)
    throw ShapeError("kalman: observations have shape " + y.to_string() + ", expected [batch, time, " +
                     std::to_string(m) + "] with at least one time");
  if (observed != 0 && observed != static_cast<std::size_t>(y[1]))
    throw ShapeError("kalman: " + std::to_string(observed) + " flags say which times were observed, but there are " +
                     std::to_string(y[1]));
}

}  // namespace detail

/// Filters observations [batch, time, m]. `observed` says at which times there was one (default: at all); the values at
/// the others are not looked at. Throws ShapeError for shapes that do not fit, ArgumentError when an innovation's
/// covariance is not positive definite.
template <class V, TensorLike Y>
auto kalman_filter(const LinearGaussian<V>& model, const Y& y, const std::vector<bool>& observed = {}) {
  using Kind = typename kolmo::detail::JoinedKind<V, Y>::Type;
  const auto kind = [](const auto& x) { return kolmo::detail::lifted<Kind>(x); };
  detail::check_model(model, y.shape(), observed.size());
  const index_t batch = y.shape()[0], times = y.shape()[1], m = y.shape()[2], d = model.mean.size();
  const double log_of_two_pi = 1.8378770664093454836;
  KalmanFilter<Kind> result;
  Kind mean = kind(broadcast_to(reshape(model.mean, {1, d}), {batch, d})), covariance = kind(model.covariance);
  Kind total = kind(BaseOf<Y>::zeros({batch}));
  const auto a = model.transition, h = model.observation;
  const auto a_t = transpose(a), h_t = transpose(h);
  for (index_t t = 0; t < times; ++t) {
    if (t > 0) {
      mean = matmul(mean, a_t);
      covariance = matmul(matmul(a, covariance), a_t) + model.process;
    }
    result.predicted.means.push_back(mean);
    result.predicted.covariances.push_back(covariance);
    if (observed.empty() || observed[static_cast<std::size_t>(t)]) {
      const auto cross = matmul(h, covariance);                                    // [m, d]
      const auto factor = cholesky(matmul(cross, h_t) + model.observation_noise);  // [m, m]
      const auto gain_t = cholesky_solve(factor, cross);                           // K^T, [m, d]
      const auto innovation = at(y, 1, t) - matmul(mean, h_t);                     // [batch, m]
      const auto whitened = solve_triangular(factor, transpose(innovation));       // [m, batch]
      total = total -
              (sum(square(whitened), {0}) + cholesky_log_det(factor) + log_of_two_pi * static_cast<double>(m)) * 0.5;
      mean = mean + matmul(innovation, gain_t);
      // Joseph's form stays symmetric and positive.
      const auto gain = transpose(gain_t);
      const auto keep = detail::identity_minus(matmul(gain, h));
      covariance =
          matmul(matmul(keep, covariance), transpose(keep)) + matmul(matmul(gain, model.observation_noise), gain_t);
    }
    result.filtered.means.push_back(mean);
    result.filtered.covariances.push_back(covariance);
  }
  result.log_likelihood = total;
  return result;
}

/// Smooths what kalman_filter found for the same model. Throws ArgumentError when a predicted covariance is not
/// positive definite.
template <class V, class Kind>
GaussianPath<Kind> kalman_smoother(const LinearGaussian<V>& model, const KalmanFilter<Kind>& filter) {
  GaussianPath<Kind> result = filter.filtered;
  for (std::size_t t = result.means.size() - 1; t-- > 0;) {
    // G^T = P_pred^-1 A P_filtered.
    const auto gain_t = cholesky_solve(cholesky(filter.predicted.covariances[t + 1]),
                                       matmul(model.transition, filter.filtered.covariances[t]));
    result.means[t] = filter.filtered.means[t] + matmul(result.means[t + 1] - filter.predicted.means[t + 1], gain_t);
    result.covariances[t] =
        filter.filtered.covariances[t] +
        matmul(matmul(transpose(gain_t), result.covariances[t + 1] - filter.predicted.covariances[t + 1]), gain_t);
  }
  return result;
}

}  // namespace kolmo::flow
