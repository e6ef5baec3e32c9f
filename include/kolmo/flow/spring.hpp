#pragma once
// A damped spring under a slowly decaying random force: linear and Gaussian, so that its smoothing problem has an exact
// solution (kalman.hpp) against which other methods are tested.

#include <cmath>
#include <cstdint>

#include <kolmo/core/random.hpp>
#include <kolmo/flow/kalman.hpp>
#include <kolmo/flow/law.hpp>
#include <kolmo/ops/linalg.hpp>

namespace kolmo::flow {

/// The state (position, velocity, acceleration, force) goes, in one step dt, to A x plus noise of variance
/// (0.1, 0.1, 0.1, 1) dt, with
///   A = [[1, dt, dt^2/2, 0], [0, 1, dt, 0], [-0.5, -0.1, 0, 0.2], [0, 0, 0, 0.99]].
/// The usual dt is 0.01; the prior is N((1, 0, 0, 0), I).
struct DampedSpring {
  index_t dimensions() const { return 4; }

  template <class T>
  KOLMO_HD T initial(index_t i, Key key) const {
    return normal<T>(key, static_cast<std::uint64_t>(i)) + (i == 0 ? T(1) : T(0));
  }
  KOLMO_HD double noise_scale(index_t i) const { return i < 3 ? 0.31622776601683794 : 1.0; }

  /// The matrix A.
  template <PlainTensor V>
  static V matrix(double dt) {
    using T = typename V::Scalar;
    return V::from({T(1), T(dt), T(dt * dt / 2), T(0), T(0), T(1), T(dt), T(0),  //
                    T(-0.5), T(-0.1), T(0), T(0.2), T(0), T(0), T(0), T(0.99)},
                   {4, 4});
  }

  /// The model whose observations are `observation` x + noise of covariance `noise`, [m, 4] and [m, m].
  template <PlainTensor V>
  static LinearGaussian<V> model(double dt, const V& observation, const V& noise) {
    using T = typename V::Scalar;
    const V covariance = V::from({T(1), T(0), T(0), T(0), T(0), T(1), T(0), T(0),  //
                                  T(0), T(0), T(1), T(0), T(0), T(0), T(0), T(1)},
                                 {4, 4});
    const T q = T(0.1 * dt);
    const V process = V::from({q, T(0), T(0), T(0), T(0), q, T(0), T(0),  //
                               T(0), T(0), q, T(0), T(0), T(0), T(0), T(dt)},
                              {4, 4});
    return {matrix<V>(dt), process, observation, noise, V::from({T(1), T(0), T(0), T(0)}, {4}), covariance};
  }
};

/// `steps` steps of length dt / steps. Throws as rk4 and rate_of.
template <TensorLike X>
X transition(const DampedSpring& law, const X& x, double dt, index_t steps = 1) {
  detail::check_step(dt, steps, "transition");
  detail::check_state(law, x.shape(), "transition");
  const auto matrix = transpose(DampedSpring::matrix<BaseOf<X>>(dt / static_cast<double>(steps)));
  X rows = reshape(x, {-1, 4});
  for (index_t s = 0; s < steps; ++s) rows = matmul(rows, matrix);
  return reshape(rows, x.shape());
}

}  // namespace kolmo::flow
