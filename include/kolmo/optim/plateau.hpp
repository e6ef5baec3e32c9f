#pragma once
// A learning rate that falls when the metric of the epochs stops improving.

#include <limits>

#include <kolmo/ad/module.hpp>

namespace kolmo::optim {

/// What the rate is multiplied by now, and what decides it.
struct PlateauState {
  double scale = 1;
  double best = std::numeric_limits<double>::infinity();
  index_t waited = 0;  ///< epochs since the best one, or since the last change

  static void fields(auto&& f, auto&... s) {
    f(state("scale"), s.scale...);
    f(state("best"), s.best...);
    f(state("waited"), s.waited...);
  }
  template <class U>
  using Rebind = PlateauState;
};

/// Multiplies the rate by `factor` after more than `patience` epochs without an improvement of the metric by
/// `min_improvement`; lower metrics are better.
struct Plateau {
  double factor = 0.5;
  index_t patience = 10;
  double min_improvement = 1e-5;

  void update(PlateauState& state, double metric) const {
    if (metric < state.best - min_improvement) {
      state.best = metric;
      state.waited = 0;
    } else if (++state.waited > patience) {
      state.scale *= factor;
      state.waited = 0;
    }
  }
};

}  // namespace kolmo::optim
