#pragma once
// The classical Runge-Kutta method of fourth order for dx/dt = f(x), on states of any kind of tensor:
//
//   k1 = f(x), k2 = f(x + h/2 k1), k3 = f(x + h/2 k2), k4 = f(x + h k3),  x+ = x + h/6 (k1 + 2 k2 + 2 k3 + k4)
//
// `rate` is any callable that is generic in the tensor kind, so a step is differentiable as its rate is.

#include <cstdint>
#include <string>

#include <kolmo/ops/elementwise.hpp>

namespace kolmo::flow {

namespace detail {

/// x + h k.
struct RungeKuttaStage {
  double h;
  template <class S>
  KOLMO_HD S operator()(S x, S k) const {
    return x + S(h) * k;
  }
};

/// x + h/6 (k1 + 2 k2 + 2 k3 + k4).
struct RungeKuttaSum {
  double h;
  template <class S>
  KOLMO_HD S operator()(S x, S k1, S k2, S k3, S k4) const {
    return x + S(h / 6) * (k1 + S(2) * (k2 + k3) + k4);
  }
};

inline void check_step(double dt, index_t steps, const char* operation) {
  if (!(dt - dt == 0))
    throw ArgumentError(std::string(operation) + ": the time step must be finite, given " + std::to_string(dt));
  if (steps < 1)
    throw ArgumentError(std::string(operation) + ": at least one step is needed, given " + std::to_string(steps));
}

}  // namespace detail

/// One step of length dt, forwards or backwards in time.
template <class Rate, TensorLike X>
auto rk4_step(const Rate& rate, const X& x, double dt) {
  const auto k1 = rate(x);
  const auto k2 = rate(map(detail::RungeKuttaStage{dt / 2}, x, k1));
  const auto k3 = rate(map(detail::RungeKuttaStage{dt / 2}, x, k2));
  const auto k4 = rate(map(detail::RungeKuttaStage{dt}, x, k3));
  return map(detail::RungeKuttaSum{dt}, x, k1, k2, k3, k4);
}

/// The state after time dt, in `steps` equal steps. Throws ArgumentError for fewer than one or a dt that is not finite.
template <class Rate, TensorLike X>
X rk4(const Rate& rate, const X& x, double dt, index_t steps = 1) {
  detail::check_step(dt, steps, "rk4");
  X state = x;
  for (index_t s = 0; s < steps; ++s) state = rk4_step(rate, state, dt / static_cast<double>(steps));
  return state;
}

}  // namespace kolmo::flow
