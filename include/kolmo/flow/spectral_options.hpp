#pragma once
// Options of the spectral solver.

#include <kolmo/flow/dealias.hpp>
#include <kolmo/flow/spectral_steppers.hpp>

namespace kolmo::flow {

/// How the spectral solver computes; what flows is said by KolmogorovOptions.
struct SpectralOptions {
  SpectralStepper stepper = SpectralStepper::if_rk4;
  Dealiasing dealiasing = Dealiasing::square;
  /// Length of the box along x over its length along y.
  double aspect = 1;
  /// Largest step times frequency of advection, dt k_cut (|u| + |v|); 0 for the stepper's bound, infinity to
  /// let steps be as long as they like.
  double stability = 0;

  friend bool operator==(const SpectralOptions&, const SpectralOptions&) = default;
};

}  // namespace kolmo::flow
