#pragma once
// The regularised delta function that couples bodies and grid: support of three cells, sum 1, first moment 0, sum of
// squares 1/2 over integer shifts (Roma, Peskin & Berger 1999).

#include <cmath>

namespace kolmo::flow {

/// Weight at distance r, in cells.
inline double regularised_delta(double r) {
  r = std::abs(r);
  if (r <= 0.5) return (1 + std::sqrt(1 - 3 * r * r)) / 3;
  if (r >= 1.5) return 0;
  const double inside = 1 - 3 * (1 - r) * (1 - r);
  return (5 - 3 * r - std::sqrt(inside > 0 ? inside : 0)) / 6;
}

}  // namespace kolmo::flow
