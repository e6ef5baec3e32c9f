#pragma once
// A batch of Gaussian mixtures over any kind of tensor.

#include <kolmo/ad/module.hpp>
#include <kolmo/gmm/mixture_functions.hpp>

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

}  // namespace kolmo::gmm
