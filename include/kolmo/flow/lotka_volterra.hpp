#pragma once
// Predator and prey (Lotka 1925, Volterra 1926) in the logarithms of their numbers.

#include <cstdint>

#include <kolmo/core/random.hpp>
#include <kolmo/flow/law.hpp>

namespace kolmo::flow {

/// With x = log(prey), y = log(predators): (alpha - beta e^y, delta e^x - gamma). Solutions are closed orbits on which
/// delta e^x - gamma x + beta e^y - alpha y is constant.
struct LotkaVolterra {
  double alpha = 1;
  double beta = 1;
  double delta = 1;
  double gamma = 1;

  index_t dimensions() const { return 2; }

  template <class S>
  KOLMO_HD S rate(index_t i, const S* x) const {
    if (i == 0) return S(alpha) - S(beta) * exp(x[1]);
    return S(delta) * exp(x[0]) - S(gamma);
  }
  template <class S>
  KOLMO_HD S pull(index_t i, const S* x, const S* g) const {
    if (i == 0) return S(delta) * exp(x[0]) * g[1];
    return S(-beta) * exp(x[1]) * g[0];
  }
  /// Component i of a draw from the prior, uniform in [0, 1]^2.
  template <class T>
  KOLMO_HD T initial(index_t i, Key key) const {
    return uniform<T>(key, static_cast<std::uint64_t>(i));
  }
  KOLMO_HD double noise_scale(index_t) const { return 1; }
};

}  // namespace kolmo::flow
