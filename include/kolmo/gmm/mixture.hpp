#pragma once
// A batch of Gaussian mixtures over any kind of tensor: density, distribution function and moments, each
// differentiable in the parameters and in the points. The formulas are in gmm/mixture_functions.hpp.

#include <string>

#include <kolmo/ad/module.hpp>
#include <kolmo/gmm/mixture_functions.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::gmm {

/// Mixtures of K normals, one per row: weights pi >= 0 that sum to one, means mu, and standard deviations
/// sigma > 0, all of shape [batch, K].
template <class V>
struct Mixture {
  V weights, means, deviations;

  static void fields(auto&& f, auto&... s) {
    f(param("weights"), s.weights...);
    f(param("means"), s.means...);
    f(param("deviations"), s.deviations...);
  }
  template <class U>
  using Rebind = Mixture<U>;

  index_t batch() const { return weights.extent(0); }
  index_t components() const { return weights.extent(1); }
};

namespace detail {

struct WeightedNormal {
  template <class S>
  KOLMO_HD S operator()(S weight, S mean, S deviation, S z) const {
    return weight * normal_density(z, mean, deviation);
  }
};

template <class T>
struct WeightedLogNormal {
  T least_weight;
  template <class S>
  KOLMO_HD S operator()(S weight, S mean, S deviation, S z) const {
    const S u = (z - mean) / deviation;
    return log(maximum(weight, S(least_weight)) / deviation) - T(0.5) * u * u - T(0.91893853320467274178);
  }
};

/// The same for shares: a component without weight has none, however far the others are.
template <class T>
struct LogShare {
  template <class S>
  KOLMO_HD S operator()(S weight, S mean, S deviation, S z) const {
    return select(value_of(weight) > T(0), WeightedLogNormal<T>{T(1e-37)}(weight, mean, deviation, z), S(T(-1e30)));
  }
};

struct WeightedNormalCdf {
  template <class S>
  KOLMO_HD S operator()(S weight, S mean, S deviation, S z) const {
    return weight * normal_cdf((z - mean) / deviation);
  }
};

/// pi E[(X - shift)^n] of one component.
template <int n>
struct WeightedMoment {
  template <class S>
  KOLMO_HD S operator()(S weight, S mean, S deviation, S shift) const {
    const S d = mean - shift, v = deviation * deviation;
    if constexpr (n == 1)
      return weight * d;
    else if constexpr (n == 2)
      return weight * (d * d + v);
    else if constexpr (n == 3)
      return weight * d * (d * d + 3 * v);
    else
      return weight * (d * d * (d * d + 6 * v) + 3 * v * v);
  }
};

template <class T>
struct SortItem {
  T* weights;
  T* means;
  T* deviations;
  int components;
  KOLMO_HD void operator()(index_t item) const {
    const index_t offset = item * components;
    gmm::sort_by_mean(weights + offset, means + offset, deviations + offset, components);
  }
};

/// f(weight, mean, deviation, z) as [batch, K, points].
template <class F, class V, TensorLike Z>
auto at_points(const F& f, const Mixture<V>& mixture, const Z& points, const char* operation) {
  const bool shared = points.rank() == 1;
  if (points.rank() < 1 || points.rank() > 2 || (!shared && points.extent(0) != mixture.batch()))
    throw ShapeError(std::string(operation) + ": expected points of shape [N] or [" + std::to_string(mixture.batch()) +
                     ", N], given " + points.shape().to_string());
  return map(f, unsqueeze(mixture.weights, -1), unsqueeze(mixture.means, -1), unsqueeze(mixture.deviations, -1),
             shared ? reshape(points, Shape{1, 1, points.extent(0)}) : unsqueeze(points, 1));
}

template <int n, class V, TensorLike Shift>
auto moment_about(const Mixture<V>& mixture, const Shift& shift) {
  return sum(map(WeightedMoment<n>{}, mixture.weights, mixture.means, mixture.deviations, shift), {1});
}

}  // namespace detail

/// Densities [batch, N] at points [N] or [batch, N]. Throws ShapeError.
template <class V, TensorLike Z>
auto density(const Mixture<V>& mixture, const Z& points) {
  return sum(detail::at_points(detail::WeightedNormal{}, mixture, points, "density"), {1});
}

/// Logarithms of the densities; finite where the density underflows.
template <class V, TensorLike Z>
auto log_density(const Mixture<V>& mixture, const Z& points) {
  using T = ScalarOf<V>;
  return logsumexp(detail::at_points(detail::WeightedLogNormal<T>{T(1e-37)}, mixture, points, "log_density"), 1);
}

/// Distribution functions [batch, N] at points [N] or [batch, N].
template <class V, TensorLike Z>
auto distribution(const Mixture<V>& mixture, const Z& points) {
  return sum(detail::at_points(detail::WeightedNormalCdf{}, mixture, points, "distribution"), {1});
}

/// Means [batch].
template <class V>
auto mean(const Mixture<V>& mixture) {
  return sum(mixture.weights * mixture.means, {1});
}

/// Variances [batch].
template <class V>
auto variance(const Mixture<V>& mixture) {
  return detail::moment_about<2>(mixture, unsqueeze(mean(mixture), -1));
}

/// Raw moments E[X^n] of order n = 1 to 4; [batch].
template <int n, class V>
auto raw_moment(const Mixture<V>& mixture) {
  static_assert(n >= 1 && n <= 4, "raw moments are given for orders 1 to 4");
  return detail::moment_about<n>(mixture, BaseOf<V>::zeros(Shape{1, 1}));
}

/// Central moments E[(X - E[X])^n] of order n = 2 to 4; [batch].
template <int n, class V>
auto central_moment(const Mixture<V>& mixture) {
  static_assert(n >= 2 && n <= 4, "central moments are given for orders 2 to 4");
  return detail::moment_about<n>(mixture, unsqueeze(mean(mixture), -1));
}

/// Skewnesses c_3 / c_2^(3/2); [batch].
template <class V>
auto skewness(const Mixture<V>& mixture) {
  const auto v = variance(mixture);
  return central_moment<3>(mixture) / (v * sqrt(v));
}

/// Excess kurtoses c_4 / c_2^2 - 3, zero for a single normal; [batch].
template <class V>
auto excess_kurtosis(const Mixture<V>& mixture) {
  return central_moment<4>(mixture) / square(variance(mixture)) - 3;
}

/// Responsibilities [batch, K, N] at points [N] or [batch, N]: the probability that component k gave the point. They
/// sum to one over k, also where the density underflows.
template <class V, TensorLike Z>
auto responsibilities(const Mixture<V>& mixture, const Z& points) {
  using T = ScalarOf<V>;
  return softmax(detail::at_points(detail::LogShare<T>{}, mixture, points, "responsibilities"), 1);
}

/// The same mixtures with components in order of their means.
template <PlainTensor V>
Mixture<V> sorted_by_mean(const Mixture<V>& mixture) {
  Mixture<V> result{mixture.weights.copy(), mixture.means.copy(), mixture.deviations.copy()};
  V::Backend::for_each(mixture.batch(), detail::SortItem<typename V::Scalar>{
                                            result.weights.mutable_data(), result.means.mutable_data(),
                                            result.deviations.mutable_data(), static_cast<int>(mixture.components())});
  return result;
}

}  // namespace kolmo::gmm
