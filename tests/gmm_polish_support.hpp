#pragma once
// What the tests of the polish share: mixtures, their densities at points, and fits that begin with them.

#include "gmm_reference.hpp"

#include <kolmo/gmm/density_set.hpp>
#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/polish.hpp>

namespace kolmo_test {

using namespace kolmo;
using namespace kolmo::gmm;

inline const PolishOptions thorough{.evaluations = 60, .tolerance = 0.0, .gain = 0.0};

template <class V>
using Integers = typename PolishReport<V>::Integers;

template <class V>
Mixture<V> mixture_of(const std::vector<double>& weights, const std::vector<double>& means,
                      const std::vector<double>& deviations, index_t batch = 1) {
  const auto rows = [&](const std::vector<double>& x) {
    std::vector<typename V::Scalar> values;
    for (const double v : x) values.push_back(static_cast<typename V::Scalar>(v));
    return V::from(values, Shape{batch, static_cast<index_t>(x.size()) / batch});
  };
  return {rows(weights), rows(means), rows(deviations)};
}

/// Three normals and a start beside them.
template <class V>
inline const Mixture<V> truth = mixture_of<V>({0.3, 0.5, 0.2}, {-2.0, 0.5, 3.0}, {0.7, 1.0, 1.3});
template <class V>
inline const Mixture<V> beside = mixture_of<V>({0.4, 0.3, 0.3}, {-2.4, 0.2, 2.5}, {0.9, 0.8, 1.1});

/// Values of the first mixture of a batch at points.
template <class V>
V density_at(const Mixture<V>& mixture, const std::vector<double>& points) {
  std::vector<typename V::Scalar> values;
  const auto w = mixture.weights.to_vector(), m = mixture.means.to_vector(), s = mixture.deviations.to_vector();
  for (const double z : points) {
    double sum = 0;
    for (std::size_t k = 0; k < w.size(); ++k)
      sum += static_cast<double>(w[k]) * normal_density(z, static_cast<double>(m[k]), static_cast<double>(s[k]));
    values.push_back(static_cast<typename V::Scalar>(sum));
  }
  return V::from(values);
}

inline std::vector<double> points_of(const Grid& grid) {
  std::vector<double> points;
  for (index_t i = 0; i < grid.points; ++i) points.push_back(grid[i]);
  return points;
}

template <class V>
double difference(const Mixture<V>& a, const Mixture<V>& b) {
  return std::max({largest_difference(a.weights, b.weights), largest_difference(a.means, b.means),
                   largest_difference(a.deviations, b.deviations)});
}

/// Densities of the V5 law and foreign ones, with starts by six steps of EM.
template <class V>
struct Sample {
  DensitySet<V> set;
  Mixture<V> start;

  explicit Sample(DensitySet<V> densities, int components = 5) : set(std::move(densities)) {
    EmOptions em;
    em.components = components;
    em.max_iterations = 6;
    start = fit_em(set.densities, grid_of<V>(set.grid), em).mixture;
  }
};

}  // namespace kolmo_test
