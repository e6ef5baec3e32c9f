#pragma once
// The reference density of the mixture tests, max(X, Y) with X ~ N(0, variance 1), Y ~ N(1, variance 0.8) and
// correlation 0.5 on the V5 grid, and small helpers.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/max_of_normals.hpp>
#include <kolmo/gmm/mixture.hpp>

namespace kolmo_test {

using kolmo::index_t;
using kolmo::Shape;
using Double = kolmo::Tensor<double, kolmo::Cpu>;

inline kolmo::gmm::MaxOfNormals reference_maximum() {
  return {0.0, kolmo::gmm::Variance(1.0), 1.0, kolmo::gmm::Variance(0.8), 0.5};
}

template <class V, class D>
V sampled(const D& density, const kolmo::gmm::Grid& grid = {}) {
  std::vector<typename V::Scalar> values;
  for (index_t i = 0; i < grid.points; ++i) values.push_back(static_cast<typename V::Scalar>(density(grid[i])));
  return V::from(values);
}

template <class V>
V reference_density() {
  return sampled<V>([](double z) { return reference_maximum().density(z); });
}

template <class V>
V grid_of(const kolmo::gmm::Grid& grid = {}) {
  return kolmo::gmm::grid_points<typename V::Scalar, typename V::Backend>(grid);
}

/// The same row `count` times.
template <class V>
V repeated(const V& row, index_t count) {
  const auto values = row.to_vector();
  std::vector<typename V::Scalar> all;
  for (index_t b = 0; b < count; ++b) all.insert(all.end(), values.begin(), values.end());
  return V::from(all, Shape{count, static_cast<index_t>(values.size())});
}

/// Row b of a tensor [batch, n].
template <class V>
V row_of(const V& x, index_t b) {
  const auto values = x.to_vector();
  const index_t n = x.extent(1);
  return V::from(std::vector<typename V::Scalar>(values.begin() + b * n, values.begin() + (b + 1) * n));
}

template <class V>
double largest_difference(const V& a, const V& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  if (x.size() != y.size()) return INFINITY;
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    worst = difference <= worst ? worst : difference;  // NaN stays
    if (difference != difference) return INFINITY;
  }
  return worst;
}

template <class V>
double largest_difference(const V& a, const std::vector<double>& expected) {
  const auto x = a.to_vector();
  return largest_difference(Double::from(std::vector<double>(x.begin(), x.end())), Double::from(expected));
}

template <class V>
bool same_bits(const V& a, const V& b) {
  return a.shape() == b.shape() && a.to_vector() == b.to_vector();
}

template <class V>
bool same_bits(const kolmo::gmm::Mixture<V>& a, const kolmo::gmm::Mixture<V>& b) {
  return same_bits(a.weights, b.weights) && same_bits(a.means, b.means) && same_bits(a.deviations, b.deviations);
}

template <class V>
bool all_finite(const V& x) {
  const auto values = x.to_vector();
  return std::all_of(values.begin(), values.end(), [](auto v) { return kolmo::is_finite(v); });
}

}  // namespace kolmo_test
