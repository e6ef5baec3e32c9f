#pragma once
// What the tests of mixtures in D dimensions share: points that are the same on any machine, starts, and moments.

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <kolmo/backend/fake_device.hpp>
#include <kolmo/gmm/em_samples.hpp>

namespace kolmo_test {

using namespace kolmo;
using namespace kolmo::gmm;

using Double = Tensor<double, Cpu>;
using Numbers = std::vector<double>;

template <class V>
V tensor(const Numbers& values, const Shape& shape) {
  std::vector<typename V::Scalar> cast;
  for (const double x : values) cast.push_back(static_cast<typename V::Scalar>(x));
  return V::from(std::span<const typename V::Scalar>(cast), shape);
}

template <class X>
Numbers numbers(const X& x) {
  Numbers result;
  for (const auto v : x.to_vector()) result.push_back(static_cast<double>(v));
  return result;
}

inline double difference(const Numbers& a, const Numbers& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

template <class V>
double difference(const NormalMixture<V>& a, const NormalMixture<V>& b) {
  return std::max({difference(numbers(a.weights), numbers(b.weights)), difference(numbers(a.means), numbers(b.means)),
                   difference(numbers(a.covariances), numbers(b.covariances))});
}

template <class V>
bool same_bits(const NormalMixture<V>& a, const NormalMixture<V>& b) {
  return a.weights.to_vector() == b.weights.to_vector() && a.means.to_vector() == b.means.to_vector() &&
         a.covariances.to_vector() == b.covariances.to_vector();
}

inline constexpr Covariance kinds[] = {Covariance::full, Covariance::diagonal, Covariance::tied, Covariance::spherical};

/// 240 points in three clusters, exact in double on any machine:
///   a = (37 i mod 101) / 50 - 1, b = (53 i mod 97) / 48 - 1, c = (29 i mod 89) / 44 - 1
///   x = (a + b c / 2 + 4 [i mod 3 = 1], b + 0.3 a + 3 [i mod 3 = 2], c - a b + i mod 3)
inline Numbers clusters() {
  Numbers values;
  for (int i = 0; i < 240; ++i) {
    const double a = i * 37 % 101 / 50.0 - 1, b = i * 53 % 97 / 48.0 - 1, c = i * 29 % 89 / 44.0 - 1;
    values.push_back(a + 0.5 * b * c + (i % 3 == 1 ? 4 : 0));
    values.push_back(b + 0.3 * a + (i % 3 == 2 ? 3 : 0));
    values.push_back(c - a * b + i % 3);
  }
  return values;
}

/// The first points as means, unit covariances.
template <class V>
NormalMixture<V> start_at(const Numbers& points, Covariance kind, index_t components, index_t dimensions,
                          double variance = 1.0) {
  const Shape shape = gmm::detail::covariance_shape(kind, components, dimensions);
  Numbers covariances(static_cast<std::size_t>(shape.size()), variance);
  const auto d = static_cast<std::size_t>(dimensions);
  if (gmm::detail::is_whole(kind))
    for (std::size_t i = 0; i < covariances.size(); ++i) covariances[i] = i / d % d == i % d ? variance : 0.0;
  return {kind, V::full(Shape{components}, typename V::Scalar(1.0 / static_cast<double>(components))),
          tensor<V>(Numbers(points.begin(), points.begin() + components * dimensions), Shape{components, dimensions}),
          tensor<V>(covariances, shape)};
}

inline SampleFitOptions exactly(int iterations) {
  SampleFitOptions options;
  options.tolerance = 0.0;
  options.max_iterations = iterations;
  return options;
}

/// Uniform numbers in [-1, 1].
inline Numbers noise(std::size_t count, std::uint64_t seed) {
  Numbers values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(2.0 * uniform<double>(Key{seed}, i) - 1.0);
  return values;
}

/// Three normals that hardly overlap, in order of their means.
inline NormalMixture<Double> three_normals() {
  return {Covariance::full, tensor<Double>({0.2, 0.5, 0.3}, Shape{3}),
          tensor<Double>({-4.0, 3.0, 0.0, 0.0, 5.0, 5.0}, Shape{3, 2}),
          tensor<Double>({0.3, 0.0, 0.0, 3.0, 1.0, 0.5, 0.5, 1.0, 2.0, -1.0, -1.0, 1.0}, Shape{3, 2, 2})};
}

/// Weighted mean [D] and covariance [D, D] of points.
inline std::pair<Numbers, Numbers> moments_of(const Numbers& points, std::size_t d, const Numbers& weights) {
  Numbers mean(d, 0.0), covariance(d * d, 0.0);
  double total = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    total += weights[i];
    for (std::size_t j = 0; j < d; ++j) mean[j] += weights[i] * points[i * d + j];
  }
  for (double& m : mean) m /= total;
  for (std::size_t i = 0; i < weights.size(); ++i)
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t l = 0; l < d; ++l)
        covariance[j * d + l] += weights[i] / total * (points[i * d + j] - mean[j]) * (points[i * d + l] - mean[l]);
  return {mean, covariance};
}

template <class V>
std::pair<Numbers, Numbers> moments_of(const NormalMixture<V>& mixture) {
  const auto d = static_cast<std::size_t>(mixture.dimensions());
  const gmm::detail::HostMixture host = gmm::detail::on_host(mixture, "test");
  auto [mean, covariance] = moments_of(host.means, d, host.weights);
  for (std::size_t k = 0; k < host.weights.size(); ++k) {
    const Numbers matrix = host.matrix(static_cast<index_t>(k));
    for (std::size_t i = 0; i < d * d; ++i) covariance[i] += host.weights[k] * matrix[i];
  }
  return {mean, covariance};
}

}  // namespace kolmo_test
