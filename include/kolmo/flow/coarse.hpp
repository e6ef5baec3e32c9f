#pragma once
// From the grid of the simulation to the grid of the data set and back, and vorticities of fields whose components lie
// at the same points, as they count there.

#include <kolmo/flow/staggered.hpp>
#include <kolmo/ops/reduce.hpp>

namespace kolmo::flow {

/// Means of blocks of factor x factor over the last two axes. Components of a staggered velocity are averaged as they
/// lie, so that the result is not exactly free of divergence. Throws ArgumentError for a factor below 1, ShapeError
/// where it does not divide both extents.
template <TensorLike X>
auto coarsen(const X& x, index_t factor) {
  detail::require_field(x.shape(), "coarsen");
  if (factor < 1) throw ArgumentError("coarsen: the factor must be at least 1, given " + std::to_string(factor));
  const index_t n = x.shape()[-2], m = x.shape()[-1];
  if (n % factor != 0 || m % factor != 0)
    throw ShapeError("coarsen: the factor " + std::to_string(factor) + " does not divide the last two extents of " +
                     x.shape().to_string());
  Shape coarse = x.shape();
  coarse[-2] = n / factor;
  coarse[-1] = m / factor;
  const index_t fields = x.size() / (n * m);
  return reshape(mean(reshape(x, Shape{fields, n / factor, factor, m / factor, factor}), {-3, -1}), coarse);
}

namespace detail {

/// Linear interpolation from cell centres to those of `factor` times as many cells along an axis.
template <TensorLike X>
auto upsample_axis(const X& x, int axis, index_t factor) {
  using T = typename ValueOf<X>::Scalar;
  using Y = decltype(x * T(1) + x * T(1));
  const auto before = periodic_shift(x, axis, -1), after = periodic_shift(x, axis, 1);
  std::vector<Y> parts;
  for (index_t a = 0; a < factor; ++a) {
    const double place = (static_cast<double>(a) + 0.5) / static_cast<double>(factor) - 0.5;
    const auto& neighbour = place < 0 ? before : after;
    const T weight = static_cast<T>(place < 0 ? -place : place);
    parts.push_back(x * (T(1) - weight) + neighbour * weight);
  }
  Shape shape = x.shape();
  shape[axis] *= factor;
  return reshape(stack(axis + 1, parts), shape);
}

}  // namespace detail

/// Periodic bilinear interpolation to `factor` times as many cells along both last axes. Throws ArgumentError for a
/// factor below 1, ShapeError beyond rank 5.
template <TensorLike X>
auto upsample(const X& x, index_t factor) {
  detail::require_field(x.shape(), "upsample");
  if (factor < 1) throw ArgumentError("upsample: the factor must be at least 1, given " + std::to_string(factor));
  return detail::upsample_axis(detail::upsample_axis(x, x.rank() - 2, factor), x.rank() - 1, factor);
}

/// The "vorticity" of the data set's figures: du/dy - dv/dx by central differences with spacing one, both components
/// taken as if at the same points. It is minus the vorticity times the spacing of the cells; [..., n, m].
template <TensorLike X>
auto vorticity_sda(const X& x) {
  detail::require_velocity(x.shape(), "vorticity_sda");
  using T = typename ValueOf<X>::Scalar;
  const auto u = at(x, -3, 0), v = at(x, -3, 1);
  return ((periodic_shift(u, -1, 1) - periodic_shift(u, -1, -1)) -
          (periodic_shift(v, -2, 1) - periodic_shift(v, -2, -1))) *
         T(0.5);
}

/// dv/dx - du/dy by central differences, both components taken as if at the same points; [..., n, m].
template <TensorLike X>
auto vorticity(const X& x, double spacing) {
  using T = typename ValueOf<X>::Scalar;
  return vorticity_sda(x) * static_cast<T>(-1 / spacing);
}

}  // namespace kolmo::flow
