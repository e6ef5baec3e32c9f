#pragma once
// erfc and the distribution function of the standard normal, accurate in relative terms in both tails.

#include <cmath>

#include <kolmo/core/math/exponential.hpp>

namespace kolmo {

/// 1 - erf(x), the standard library's.
template <Real T>
KOLMO_HD inline T erfc(T x) {
  return std::erfc(x);
}

/// P(Z <= x) of a standard normal Z.
template <Real T>
KOLMO_HD inline T normal_cdf(T x) {
  return T(0.5) * erfc(x * T(-0.70710678118654752440));
}

}  // namespace kolmo
