#pragma once
// What a sensor makes of a field: the vorticity of a velocity, a response that saturates.

#include <kolmo/score/observations/pixels.hpp>

namespace kolmo {

namespace detail {

struct Saturate {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return x / (S(1) + abs(x));
  }
};

/// Twice the centred difference of neighbours one unit apart on a periodic axis.
template <TensorLike X>
auto periodic_difference(const X& x, int axis) {
  return rolled(x, axis, -1) - rolled(x, axis, 1);
}

}  // namespace detail

namespace score {

/// The vorticity of velocities (..., 2, H, W) as (..., H, W), periodic with unit spacing: the centred difference of
/// component 0 along the last axis minus that of component 1 along the axis before. Component 0 is the velocity along
/// axis -2, so positive values turn clockwise in a picture with axis -2 upwards.
struct Vorticity {
  static constexpr bool is_linear = true;

  template <TensorLike X>
  auto operator()(const X& x) const {
    if (x.rank() < 3 || x.shape()[-3] != 2)
      throw ShapeError("Vorticity: expected velocities of shape (..., 2, H, W), given " + x.shape().to_string());
    return (kolmo::detail::periodic_difference(at(x, -3, 0), -1) -
            kolmo::detail::periodic_difference(at(x, -3, 1), -2)) *
           0.5;
  }
};

/// x / (1 + |x|): a sensor that saturates at one.
struct Saturation {
  template <TensorLike X>
  auto operator()(const X& x) const {
    return map(kolmo::detail::Saturate{}, x);
  }
};

}  // namespace score
}  // namespace kolmo
