#pragma once
// Which Fourier modes a pseudo-spectral solver keeps, and how products of fields are kept from folding back on them.

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::flow {

enum class Dealiasing {
  square,       ///< |kx|, |ky| <= (n-1)/3: products of kept modes are exact on them (the 2/3 rule)
  circle,       ///< |k| <= (n-1)/3: the same without the corners
  exponential,  ///< all modes, products damped by exp(-36 (2|k|/n)^36) along each axis (Hou and Li 2007)
  padding,      ///< all modes, products on a grid of 3/2 n points: exact
  none,         ///< all modes, products as the grid gives them
};

/// The modes kept of a grid of n x n points: |kx| <= cut, 0 <= ky <= cut. The Nyquist frequency of an even n, of
/// which a first derivative makes nothing, is never kept.
struct Truncation {
  index_t size;  ///< n
  index_t cut;   ///< highest wave number along each axis, in waves per box
  index_t grid;  ///< points along each side where products are formed

  index_t columns() const { return cut + 1; }
  index_t rows() const { return 2 * cut + 1; }
};

inline Truncation truncation(index_t size, Dealiasing dealiasing) {
  const bool thirds = dealiasing == Dealiasing::square || dealiasing == Dealiasing::circle;
  const index_t cut = (size - 1) / (thirds ? 3 : 2);
  index_t grid = size;
  if (dealiasing == Dealiasing::padding) {
    grid = 3 * cut + 1;
    grid += grid % 2;
    if (2 * grid < 3 * size) grid = (3 * size + 1) / 2;
  }
  return {size, cut, grid};
}

/// Factors of the modes (kx, ky) of a product, [cut + 1, cut + 1]; empty when all are one.
inline std::vector<double> product_filter(const Truncation& t, Dealiasing dealiasing) {
  std::vector<double> filter;
  if (dealiasing != Dealiasing::circle && dealiasing != Dealiasing::exponential) return filter;
  const auto damping = [&](index_t k) {
    return std::exp(-36 * std::pow(2 * static_cast<double>(k) / static_cast<double>(t.size), 36));
  };
  for (index_t kx = 0; kx <= t.cut; ++kx)
    for (index_t ky = 0; ky <= t.cut; ++ky)
      filter.push_back(dealiasing == Dealiasing::exponential ? damping(kx) * damping(ky)
                       : kx * kx + ky * ky <= t.cut * t.cut  ? 1.0
                                                             : 0.0);
  return filter;
}

}  // namespace kolmo::flow
