#pragma once
// A batch of densities with known closed forms, as the generators make it.

#include <string>
#include <vector>

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

}  // namespace kolmo::gmm
