#pragma once
// A mixture of K normals in D dimensions,
//
//   p(x) = sum_k pi_k N(x; m_k, S_k),    log N = -D/2 log 2 pi - log det L - |L^-1 (x - m)|^2 / 2,    S = L L^T
//
// with any, diagonal, common or spherical covariances; all in the log domain. fit_samples in gmm/em_samples.hpp finds
// one from points. Over plain tensors a pass reads every point once; over jets and variables log_density is made of
// recorded operations, so that it is differentiable in the parameters and in the points.

#include <cmath>

#include <kolmo/ad/module.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/gmm/sample_set.hpp>
#include <kolmo/ops/cholesky.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::gmm {

/// Weights pi >= 0 [K] that sum to one, means [K, D], and covariances of the shape that Covariance says: [K, D, D],
/// [K, D] (variances), [D, D] or [K] (variances).
template <class V>
struct NormalMixture {
  Covariance covariance = Covariance::full;
  V weights, means, covariances;

  static void fields(auto&& f, auto&... s) {
    f(option("covariance"), s.covariance...);
    f(param("weights"), s.weights...);
    f(param("means"), s.means...);
    f(param("covariances"), s.covariances...);
  }
  template <class U>
  using Rebind = NormalMixture<U>;

  index_t components() const { return means.extent(0); }
  index_t dimensions() const { return means.extent(1); }
};

namespace detail {

template <class V>
void check_normal_mixture(const NormalMixture<V>& mixture, const char* operation) {
  const auto fail = [&](const char* what, const Shape& expected, const Shape& given) {
    throw ShapeError(std::string(operation) + ": expected " + what + " of shape " + expected.to_string() + ", given " +
                     given.to_string());
  };
  if (mixture.means.rank() != 2)
    throw ShapeError(std::string(operation) + ": expected means of shape [K, D], given " +
                     mixture.means.shape().to_string());
  const index_t k = mixture.components(), d = mixture.dimensions();
  if (!(mixture.weights.shape() == Shape{k})) fail("weights", Shape{k}, mixture.weights.shape());
  const Shape covariances = covariance_shape(mixture.covariance, k, d);
  if (!(mixture.covariances.shape() == covariances)) fail("covariances", covariances, mixture.covariances.shape());
}

template <class V>
void check_sample_points(const NormalMixture<V>& mixture, const Shape& points, const char* operation) {
  check_normal_mixture(mixture, operation);
  if (points.rank() != 2 || points[1] != mixture.dimensions())
    throw ShapeError(std::string(operation) + ": expected points of shape [N, " + std::to_string(mixture.dimensions()) +
                     "], given " + points.to_string());
}

/// The parameters on the host. Throws ArgumentError where they are no mixture.
template <PlainTensor V>
HostMixture on_host(const NormalMixture<V>& mixture, const char* operation) {
  check_normal_mixture(mixture, operation);
  HostMixture host(mixture.covariance, mixture.components(), mixture.dimensions());
  const auto take = [&](const V& from, std::vector<double>& to, const char* what) {
    const auto values = from.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i) {
      to[i] = static_cast<double>(values[i]);
      if (!is_finite(to[i]))
        throw ArgumentError(std::string(operation) + ": the " + what + " of the mixture are not finite");
    }
  };
  take(mixture.weights, host.weights, "weights");
  take(mixture.means, host.means, "means");
  take(mixture.covariances, host.covariances, "covariances");
  double total = 0.0;
  for (const double w : host.weights) {
    total += w;
    if (!(w >= 0.0)) throw ArgumentError(std::string(operation) + ": a weight of the mixture is negative");
  }
  if (!(total > 0.0)) throw ArgumentError(std::string(operation) + ": the weights of the mixture sum to zero");
  return host;
}

template <PlainTensor V>
NormalMixture<V> from_host(const HostMixture& host) {
  using T = typename V::Scalar;
  const auto tensor = [](const std::vector<double>& values, const Shape& shape) {
    const std::vector<T> cast(values.begin(), values.end());
    return V::from(std::span<const T>(cast), shape);
  };
  return {host.kind, tensor(host.weights, Shape{host.components}),
          tensor(host.means, Shape{host.components, host.dimensions}),
          tensor(host.covariances, covariance_shape(host.kind, host.components, host.dimensions))};
}

/// A pass over the points with a given mixture.
template <PlainTensor V>
typename SampleSet<V>::Sums evaluate_samples(const NormalMixture<V>& mixture, const V& points,
                                             const std::optional<V>& weights, const char* operation,
                                             const typename SampleSet<V>::Pass& pass) {
  check_sample_points(mixture, points.shape(), operation);
  SampleSet<V> set(points, weights, operation);
  HostMixture host = on_host(mixture, operation);
  set.set_coordinates(host.natural_coordinates());
  host.convert(set.coordinates(), true);
  return set.run(host, pass);
}

template <class T>
struct LogWeight {
  template <class S>
  KOLMO_HD S operator()(S weight) const {
    return log(maximum(weight, S(T(1e-37))));
  }
};

/// Points of a sample: a component by its weight, then L z + m with z normal.
template <class T>
struct DrawPoint {
  const T* cumulative;  // [K]
  const T* means;       // [K, D]
  const T* lower;       // [K, D, D]
  int components;
  index_t dimensions;
  Key label_key, normal_key;
  T* points;
  std::int32_t* labels;

  KOLMO_HD void operator()(index_t i) const {
    const T u = uniform<T>(label_key, static_cast<std::uint64_t>(i)) * cumulative[components - 1];
    int k = 0;
    while (k + 1 < components && !(u < cumulative[k])) ++k;
    labels[i] = k;
    T* x = points + i * dimensions;
    for (index_t row = 0; row < dimensions; ++row) x[row] = means[k * dimensions + row];
    for (index_t column = 0; column < dimensions; ++column) {
      const T z = normal<T>(normal_key, static_cast<std::uint64_t>(i * dimensions + column));
      for (index_t row = column; row < dimensions; ++row)
        x[row] += lower[(k * dimensions + row) * dimensions + column] * z;
    }
  }
};

}  // namespace detail

/// log (pi_k N(x_i; m_k, S_k)) as [N, K] at points [N, D], recorded. Throws ShapeError, and ArgumentError where a
/// covariance is not positive definite.
template <class V, TensorLike Z>
auto log_joint(const NormalMixture<V>& mixture, const Z& points) {
  detail::check_sample_points(mixture, points.shape(), "log_joint");
  using T = ScalarOf<V>;
  const index_t d = mixture.dimensions();
  const auto deviation = unsqueeze(points, 0) - unsqueeze(mixture.means, 1);  // [K, N, D]
  const auto result = [&](const auto& distance, const auto& log_determinant) {
    const auto log_weight = map(detail::LogWeight<T>{}, mixture.weights) - log_determinant;
    return swap_axes(unsqueeze(log_weight, -1) - T(0.5) * distance, 0, 1) - T(detail::half_log_two_pi * double(d));
  };
  if (detail::is_whole(mixture.covariance)) {
    const auto factor = cholesky(mixture.covariances);
    const auto whitened = solve_triangular(factor, swap_axes(deviation, 1, 2));  // [K, D, N]
    return result(sum(square(whitened), {1}), T(0.5) * cholesky_log_det(factor));
  }
  const auto variances = mixture.covariance == Covariance::diagonal
                             ? mixture.covariances
                             : broadcast_to(unsqueeze(mixture.covariances, -1), Shape{mixture.components(), d});
  return result(sum(square(deviation) / unsqueeze(variances, 1), {2}), T(0.5) * sum(log(variances), {1}));
}

/// Logarithms of the density [N] at points [N, D]; finite where the density underflows, NaN or -infinity at a point
/// that is not finite. Throws ShapeError, and ArgumentError for parameters that are no mixture.
template <class V, TensorLike Z>
auto log_density(const NormalMixture<V>& mixture, const Z& points) {
  if constexpr (PlainTensor<V> && PlainTensor<Z>) {
    V result = V::uninitialized(Shape{points.rank() == 2 ? points.extent(0) : 0});
    detail::evaluate_samples<V>(mixture, points, std::nullopt, "log_density",
                                {.moments = false, .log_density = result.mutable_data()});
    return result;
  } else {
    return logsumexp(log_joint(mixture, points), 1);
  }
}

/// Probabilities [N, K] of the components given the points [N, D].
template <PlainTensor V>
V responsibilities(const NormalMixture<V>& mixture, const V& points) {
  detail::check_sample_points(mixture, points.shape(), "responsibilities");
  V result = V::uninitialized(Shape{points.extent(0), mixture.components()});
  detail::evaluate_samples<V>(mixture, points, std::nullopt, "responsibilities",
                              {.moments = false, .responsibilities = result.mutable_data()});
  return result;
}

/// The most probable component [N] of every point; the first on a tie.
template <PlainTensor V>
auto predict(const NormalMixture<V>& mixture, const V& points) {
  detail::check_sample_points(mixture, points.shape(), "predict");
  auto result = Tensor<std::int32_t, typename V::Backend>::uninitialized(Shape{points.extent(0)});
  detail::evaluate_samples<V>(mixture, points, std::nullopt, "predict",
                              {.moments = false, .labels = result.mutable_data()});
  return result;
}

/// Points [N, D] and the components [N] that they came from.
template <PlainTensor V>
struct LabelledPoints {
  V points;
  Tensor<std::int32_t, typename V::Backend> labels;
};

/// Draws `count` points; the same key draws the same ones.
template <PlainTensor V>
LabelledPoints<V> sample(const NormalMixture<V>& mixture, Key key, index_t count) {
  using T = typename V::Scalar;
  if (count < 1) throw ArgumentError("sample: the number of points must be at least 1, given " + std::to_string(count));
  const auto host = detail::on_host(mixture, "sample");
  const index_t d = host.dimensions;
  std::vector<T> cumulative, lower;
  double sum = 0.0;
  std::vector<double> factor(static_cast<std::size_t>(d * d));
  for (index_t k = 0; k < host.components; ++k) {
    cumulative.push_back(static_cast<T>(sum += host.weights[static_cast<std::size_t>(k)]));
    host.factor(k, factor.data());
    for (const double x : factor) lower.push_back(static_cast<T>(x));
  }
  const V cumulative_there = V::from(cumulative), lower_there = V::from(lower), means = mixture.means.contiguous();
  LabelledPoints<V> result{V::uninitialized(Shape{count, d}),
                           Tensor<std::int32_t, typename V::Backend>::uninitialized(Shape{count})};
  const KeyPair keys = split(key);
  V::Backend::for_each(count, detail::DrawPoint<T>{cumulative_there.data(), means.data(), lower_there.data(),
                                                   static_cast<int>(host.components), d, keys.first, keys.second,
                                                   result.points.mutable_data(), result.labels.mutable_data()});
  return result;
}

/// Number of free parameters.
template <class V>
index_t parameter_count(const NormalMixture<V>& mixture) {
  const index_t k = mixture.components(), d = mixture.dimensions(), triangle = d * (d + 1) / 2;
  const index_t covariances = mixture.covariance == Covariance::full       ? k * triangle
                              : mixture.covariance == Covariance::diagonal ? k * d
                              : mixture.covariance == Covariance::tied     ? triangle
                                                                           : k;
  return k - 1 + k * d + covariances;
}

/// How well a mixture describes points.
struct SampleScore {
  double mean_log_density = 0.0;
  double total_weight = 0.0;  ///< the number of points without weights
  index_t parameters = 0;

  /// Akaike's and the Bayesian information criterion; the smaller, the better the mixture. A weight counts as so many
  /// equal points.
  double aic() const { return -2.0 * mean_log_density * total_weight + 2.0 * static_cast<double>(parameters); }
  double bic() const {
    return -2.0 * mean_log_density * total_weight + static_cast<double>(parameters) * std::log(total_weight);
  }
};

/// Scores points [N, D], weighted if weights [N] are given. Throws ShapeError or ArgumentError.
template <PlainTensor V>
SampleScore score(const NormalMixture<V>& mixture, const V& points,
                  const std::optional<std::type_identity_t<V>>& weights = std::nullopt) {
  detail::check_sample_points(mixture, points.shape(), "score");
  detail::SampleSet<V>(points, weights, "score").check();
  const auto sums = detail::evaluate_samples<V>(mixture, points, weights, "score", {});
  SampleScore result;
  result.parameters = parameter_count(mixture);
  const detail::MomentLayout layout{static_cast<int>(mixture.dimensions()), false};
  for (index_t k = 0; k < mixture.components(); ++k)
    result.total_weight += sums.values[static_cast<std::size_t>(1 + k * layout.size())];
  result.mean_log_density = sums.values[0] / result.total_weight;
  return result;
}

}  // namespace kolmo::gmm
