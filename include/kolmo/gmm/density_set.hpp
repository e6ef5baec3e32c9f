#pragma once
// A batch of densities with known closed forms, as the generators make it.

#include <string>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/gmm/grid.hpp>

namespace kolmo::gmm {

/// Densities on a grid that may be moved row by row.
template <PlainTensor V>
struct DensitySet {
  using Integers = Tensor<std::int32_t, typename V::Backend>;
  using Parameters = Tensor<double, typename V::Backend>;

  Grid grid;
  V densities;            ///< [batch, points], non-negative, trapezoid integral one
  V offsets;              ///< [batch]; row b is sampled at offsets[b] + grid[i]
  Parameters parameters;  ///< [batch, P], of the closed form
  Integers stratum;       ///< [batch], which part of the set a row belongs to
};

namespace detail {

/// Uniform numbers from one key in sequence.
struct Draws {
  Key key;
  std::uint64_t counter = 0;
  KOLMO_HD double uniform(double low, double high) { return low + (high - low) * unit(); }
  KOLMO_HD double log_uniform(double low, double high) { return low * exp(log(high / low) * unit()); }
  KOLMO_HD double unit() { return kolmo::uniform<double>(key, counter++); }
  KOLMO_HD double sign() { return unit() < 0.5 ? -1.0 : 1.0; }
  KOLMO_HD int choose(int count) { return smaller(static_cast<int>(unit() * count), count - 1); }
};

/// Samples a density at start, start + spacing, ...; returns the trapezoid integral. The loop over points
/// vectorises where the density does.
template <class D, class T>
KOLMO_HD double sample_row(const D& density, double start, double spacing, index_t points, T* row) {
  constexpr int chunk = 64;
  double value[chunk];
  double area = 0.0;
  for (index_t begin = 0; begin < points; begin += chunk) {
    const int n = static_cast<int>(smaller<index_t>(chunk, points - begin));
    const double first = start + spacing * static_cast<double>(begin);
    for (int i = 0; i < n; ++i) value[i] = density.density(first + spacing * i);
    for (int i = 0; i < n; ++i) {
      area += value[i] * trapezoid_weight(spacing, points, begin + i);
      row[begin + i] = static_cast<T>(value[i]);
    }
  }
  return area;
}

template <class T>
KOLMO_HD void scale_row(T* row, index_t points, double factor) {
  for (index_t i = 0; i < points; ++i) row[i] *= static_cast<T>(factor);
}

}  // namespace detail
}  // namespace kolmo::gmm
