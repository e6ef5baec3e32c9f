#pragma once
// The systems of E. N. Lorenz: three equations of convection (1963, J. Atmos. Sci. 20, 130) and a ring of n cells
// (1996, Proc. Seminar on Predictability, ECMWF).

#include <string>

#include <kolmo/core/random.hpp>
#include <kolmo/flow/law.hpp>
#include <kolmo/ops/elementwise.hpp>

namespace kolmo::flow {

/// (sigma (y - x), x (rho - z) - y, x y - beta z). The usual step is 0.025, the largest Lyapunov exponent 0.906.
struct Lorenz63 {
  double sigma = 10;
  double rho = 28;
  double beta = 8.0 / 3.0;

  index_t dimensions() const { return 3; }

  template <class S>
  KOLMO_HD S rate(index_t i, const S* x) const {
    if (i == 0) return S(sigma) * (x[1] - x[0]);
    if (i == 1) return x[0] * (S(rho) - x[2]) - x[1];
    return x[0] * x[1] - S(beta) * x[2];
  }
  template <class S>
  KOLMO_HD S pull(index_t i, const S* x, const S* g) const {
    if (i == 0) return S(-sigma) * g[0] + (S(rho) - x[2]) * g[1] + x[1] * g[2];
    if (i == 1) return S(sigma) * g[0] - g[1] + x[0] * g[2];
    return -x[0] * g[1] - S(beta) * g[2];
  }

  /// Component i of a draw from the prior N((0, 0, 25), [[64, 50, 0], [50, 81, 0], [0, 0, 75]]): the climate, roughly.
  template <class T>
  KOLMO_HD T initial(index_t i, Key key) const {
    const T z = normal<T>(key, static_cast<std::uint64_t>(i));
    if (i == 0) return T(8) * z;
    if (i == 1) return T(6.25) * normal<T>(key, 0) + sqrt(T(41.9375)) * z;
    return T(25) + sqrt(T(75)) * z;
  }
  /// Standard deviation of the noise of component i, in units of that of a chain.
  KOLMO_HD double noise_scale(index_t) const { return 1; }

  /// (x - (0, 0, 25)) / (8, 9, 8.6): the form in which the data set is stored.
  template <TensorLike X>
  auto normalised(const X& x) const {
    flow::detail::check_state(*this, x.shape(), "Lorenz63::normalised");
    return (x - constants<X>(0, 0, 25)) / constants<X>(8, 9, 8.6);
  }
  /// The inverse of normalised.
  template <TensorLike X>
  auto denormalised(const X& x) const {
    flow::detail::check_state(*this, x.shape(), "Lorenz63::denormalised");
    return x * constants<X>(8, 9, 8.6) + constants<X>(0, 0, 25);
  }

 private:
  template <TensorLike X>
  static auto constants(double a, double b, double c) {
    using T = ScalarOf<X>;
    return BaseOf<X>::from({T(a), T(b), T(c)}, {3});
  }
};

/// Which neighbours of a cell of the ring act on it.
enum class Lorenz96Orientation {
  usual,    ///< (x[i+1] - x[i-2]) x[i-1] - x[i] + F, as in the literature
  mirrored  ///< (x[i-1] - x[i+2]) x[i+1] - x[i] + F, as in score-based data assimilation
};

/// A ring of n >= 4 cells under the force F. With F = 8, n = 40 the largest Lyapunov exponent is about 1.67.
struct Lorenz96 {
  index_t n = 40;
  double force = 8;
  Lorenz96Orientation orientation = Lorenz96Orientation::usual;

  index_t dimensions() const { return n; }

  template <class S>
  KOLMO_HD S rate(index_t i, const S* x) const {
    return (x[cell(i, 1)] - x[cell(i, -2)]) * x[cell(i, -1)] - x[i] + S(force);
  }
  template <class S>
  KOLMO_HD S pull(index_t i, const S* x, const S* g) const {
    // x[i] stands in the rates of four cells: as x[j+1] in j = i-1, x[j-2] in i+2, x[j-1] in i+1, and x[i].
    return g[cell(i, -1)] * x[cell(i, -2)] - g[cell(i, 2)] * x[cell(i, 1)] +
           g[cell(i, 1)] * (x[cell(i, 2)] - x[cell(i, -1)]) - g[i];
  }
  /// Component i of a draw from the prior N(0, I).
  template <class T>
  KOLMO_HD T initial(index_t i, Key key) const {
    return normal<T>(key, static_cast<std::uint64_t>(i));
  }
  KOLMO_HD double noise_scale(index_t) const { return 1; }

 private:
  /// The cell `offset` steps on, in the direction of the orientation.
  KOLMO_HD index_t cell(index_t i, index_t offset) const {
    const index_t j = i + (orientation == Lorenz96Orientation::usual ? offset : -offset);
    return j < 0 ? j + n : j >= n ? j - n : j;
  }
};

/// Throws ArgumentError for a ring on which the neighbours of a cell coincide.
inline void check(const Lorenz96& law) {
  if (law.n < 4) throw ArgumentError("Lorenz96: at least 4 cells are needed, given " + std::to_string(law.n));
}

}  // namespace kolmo::flow
