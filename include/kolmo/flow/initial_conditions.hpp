#pragma once
// Velocities on the staggered grid that are known in closed form, [2, n, n]: the laminar Kolmogorov flow, the
// Taylor-Green vortices and the double shear layer of Brown and Minion (1995). Random ones: flow/filtered_noise.hpp.

#include <cmath>
#include <vector>

#include <kolmo/core/tensor.hpp>
#include <kolmo/flow/kolmogorov_options.hpp>

namespace kolmo::flow {

namespace detail {

/// u(x, y) at the right faces, v(x, y) at the top faces.
template <PlainTensor V, class U, class W>
V staggered_velocity(const KolmogorovOptions& flow, const U& u, const W& v) {
  using T = typename V::Scalar;
  validate(flow);
  const index_t n = flow.size;
  const double h = flow.spacing();
  std::vector<T> values(static_cast<std::size_t>(2 * n * n));
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      const double x = static_cast<double>(i) * h, y = static_cast<double>(j) * h;
      values[static_cast<std::size_t>(i * n + j)] = static_cast<T>(u(x + h, y + h / 2));
      values[static_cast<std::size_t>((n + i) * n + j)] = static_cast<T>(v(x + h / 2, y + h));
    }
  return V::from(std::span<const T>(values), Shape{2, n, n});
}

}  // namespace detail

/// u = U0 sin(k_f y), v = 0 with U0 = A / (nu k_f^2 + mu), or for the grid's own steady state with k_f^2 replaced by
/// the eigenvalue (2 - 2 cos(k_f h)) / h^2 of its Laplacian. Throws ArgumentError without viscosity and drag.
template <PlainTensor V>
V laminar_velocity(const KolmogorovOptions& flow, bool of_the_grid = false) {
  const double k = flow.forcing_frequency(), h = flow.spacing();
  const double square = of_the_grid ? (2 - 2 * std::cos(k * h)) / (h * h) : k * k;
  const double damping = flow.viscosity() * square + flow.drag;
  if (!(damping > 0))
    throw ArgumentError(
        "laminar_velocity: without viscosity and drag nothing limits the laminar flow; give one of them");
  const double speed = flow.forcing_amplitude / damping;
  return detail::staggered_velocity<V>(
      flow, [&](double, double y) { return speed * std::sin(k * y); }, [](double, double) { return 0.0; });
}

/// u = cos kx sin ky, v = -sin kx cos ky, times exp(-(2 nu k^2 + mu) t): exact without forcing. `waves` vortices fit
/// along the box, k = 2 pi waves / length.
template <PlainTensor V>
V taylor_green_velocity(const KolmogorovOptions& flow, index_t waves = 1, double time = 0) {
  const double k = flow.fundamental() * static_cast<double>(waves);
  const double factor = std::exp(-(2 * flow.viscosity() * k * k + flow.drag) * time);
  return detail::staggered_velocity<V>(
      flow, [&](double x, double y) { return factor * std::cos(k * x) * std::sin(k * y); },
      [&](double x, double y) { return -factor * std::sin(k * x) * std::cos(k * y); });
}

/// With lengths in units of the box: u = tanh(steepness (y - 1/4)) for y <= 1/2, tanh(steepness (3/4 - y)) above,
/// v = perturbation sin(2 pi x). Steepness 30 with a Reynolds number (per box length) of 1e4 is the thick layer, 80
/// with 2e4 the thin one.
template <PlainTensor V>
V double_shear_layer(const KolmogorovOptions& flow, double steepness = 30, double perturbation = 0.05) {
  const double length = flow.length;
  return detail::staggered_velocity<V>(
      flow,
      [&](double, double y) {
        const double place = y / length;
        return std::tanh(steepness * (place <= 0.5 ? place - 0.25 : 0.75 - place));
      },
      [&](double x, double) { return perturbation * std::sin(two_pi * x / length); });
}

}  // namespace kolmo::flow
