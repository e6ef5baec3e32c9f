#pragma once
// The nonlinear term -u . grad(omega) of the vorticity equation in Fourier space, mode by mode and point by point, in
// three forms that are equal where products are free of aliasing:
//
//   Basdevant (1983)   (kx^2 - ky^2) F(u v) + kx ky F(v^2 - u^2)        2 inverse, 2 forward transforms
//   flux               -i kx F(u omega) - i ky F(v omega)               3 inverse, 2 forward
//   advective          -F(u d(omega)/dx + v d(omega)/dy)                4 inverse, 1 forward
//
// A form says what fields are multiplied (`spread`: their spectra from that of the vorticity), how (`multiply`), and
// what the spectra of the products make of it (`tendency`). `..._pull` are the adjoints of these three.

#include <kolmo/core/dual_math.hpp>

namespace kolmo::flow {

namespace detail {

/// A Fourier coefficient.
template <class S>
struct Wave {
  S re, im;
};

/// A wave number, and 1/|k|^2: zero for the mean and for modes that are cut off.
template <class T>
struct WaveNumber {
  T x, y, inverse_square;
};

/// i a w and its adjoint -i a w, a real.
template <class T, class S>
KOLMO_HD KOLMO_INLINE Wave<S> times_i(T a, const Wave<S>& w) {
  return {w.im * (-a), w.re * a};
}

/// The velocity u = d(psi)/dy, v = -d(psi)/dx with laplace(psi) = -omega.
template <class T, class S>
KOLMO_HD KOLMO_INLINE void velocity_of(const WaveNumber<T>& k, const Wave<S>& w, Wave<S>& u, Wave<S>& v) {
  u = times_i(k.y * k.inverse_square, w);
  v = times_i(-(k.x * k.inverse_square), w);
}

/// The adjoint of velocity_of.
template <class T, class S>
KOLMO_HD KOLMO_INLINE Wave<S> velocity_pull(const WaveNumber<T>& k, const Wave<S>& u, const Wave<S>& v) {
  const T a = k.y * k.inverse_square, b = k.x * k.inverse_square;
  return {u.im * a - v.im * b, v.re * b - u.re * a};
}

}  // namespace detail

struct Basdevant {
  static constexpr int fields = 1, factors = 2, products = 2;

  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread(const detail::WaveNumber<T>& k, const detail::Wave<S> (&w)[fields],
                                    detail::Wave<S> (&f)[factors]) const {
    detail::velocity_of(k, w[0], f[0], f[1]);
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&f)[factors],
                                         detail::Wave<S> (&w)[fields]) const {
    w[0] = detail::velocity_pull(k, f[0], f[1]);
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply(const S (&f)[factors], S (&p)[products]) const {
    p[0] = f[0] * f[1];
    p[1] = (f[1] - f[0]) * (f[1] + f[0]);
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply_pull(const S (&f)[factors], const S (&p)[products], S (&g)[factors]) const {
    const S twice = p[1] + p[1];
    g[0] = f[1] * p[0] - f[0] * twice;
    g[1] = f[0] * p[0] + f[1] * twice;
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency(const detail::WaveNumber<T>& k, const detail::Wave<S> (&p)[products],
                                      detail::Wave<S> (&g)[fields]) const {
    const T a = (k.x - k.y) * (k.x + k.y), b = k.x * k.y;
    g[0] = {p[0].re * a + p[1].re * b, p[0].im * a + p[1].im * b};
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&g)[fields],
                                           detail::Wave<S> (&p)[products]) const {
    const T a = (k.x - k.y) * (k.x + k.y), b = k.x * k.y;
    p[0] = {g[0].re * a, g[0].im * a};
    p[1] = {g[0].re * b, g[0].im * b};
  }
};

struct FluxForm {
  static constexpr int fields = 1, factors = 3, products = 2;

  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread(const detail::WaveNumber<T>& k, const detail::Wave<S> (&w)[fields],
                                    detail::Wave<S> (&f)[factors]) const {
    detail::velocity_of(k, w[0], f[0], f[1]);
    f[2] = w[0];
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&f)[factors],
                                         detail::Wave<S> (&w)[fields]) const {
    const detail::Wave<S> g = detail::velocity_pull(k, f[0], f[1]);
    w[0] = {g.re + f[2].re, g.im + f[2].im};
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply(const S (&f)[factors], S (&p)[products]) const {
    p[0] = f[0] * f[2];
    p[1] = f[1] * f[2];
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply_pull(const S (&f)[factors], const S (&p)[products], S (&g)[factors]) const {
    g[0] = f[2] * p[0];
    g[1] = f[2] * p[1];
    g[2] = f[0] * p[0] + f[1] * p[1];
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency(const detail::WaveNumber<T>& k, const detail::Wave<S> (&p)[products],
                                      detail::Wave<S> (&g)[fields]) const {
    g[0] = {p[0].im * k.x + p[1].im * k.y, p[0].re * (-k.x) - p[1].re * k.y};
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&g)[fields],
                                           detail::Wave<S> (&p)[products]) const {
    p[0] = detail::times_i(k.x, g[0]);
    p[1] = detail::times_i(k.y, g[0]);
  }
};

struct AdvectiveForm {
  static constexpr int fields = 1, factors = 4, products = 1;

  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread(const detail::WaveNumber<T>& k, const detail::Wave<S> (&w)[fields],
                                    detail::Wave<S> (&f)[factors]) const {
    detail::velocity_of(k, w[0], f[0], f[1]);
    f[2] = detail::times_i(k.x, w[0]);
    f[3] = detail::times_i(k.y, w[0]);
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&f)[factors],
                                         detail::Wave<S> (&w)[fields]) const {
    const detail::Wave<S> g = detail::velocity_pull(k, f[0], f[1]);
    w[0] = {g.re + f[2].im * k.x + f[3].im * k.y, g.im - f[2].re * k.x - f[3].re * k.y};
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply(const S (&f)[factors], S (&p)[products]) const {
    p[0] = f[0] * f[2] + f[1] * f[3];
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply_pull(const S (&f)[factors], const S (&p)[products], S (&g)[factors]) const {
    g[0] = f[2] * p[0];
    g[1] = f[3] * p[0];
    g[2] = f[0] * p[0];
    g[3] = f[1] * p[0];
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency(const detail::WaveNumber<T>&, const detail::Wave<S> (&p)[products],
                                      detail::Wave<S> (&g)[fields]) const {
    g[0] = {-p[0].re, -p[0].im};
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency_pull(const detail::WaveNumber<T>&, const detail::Wave<S> (&g)[fields],
                                           detail::Wave<S> (&p)[products]) const {
    p[0] = {-g[0].re, -g[0].im};
  }
};

/// Basdevant's form with a passive tracer c that the flow carries: dc/dt + u . grad(c) = kappa laplace(c) - G v, in
/// advective form; three more transforms. States have two fields, vorticity and tracer.
struct BasdevantWithTracer {
  static constexpr int fields = 2, factors = 4, products = 3;

  double diffusivity = 0;  ///< kappa
  double gradient = 0;     ///< G, the tracer's mean gradient along y, on top of which c is the rest

  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread(const detail::WaveNumber<T>& k, const detail::Wave<S> (&w)[fields],
                                    detail::Wave<S> (&f)[factors]) const {
    detail::velocity_of(k, w[0], f[0], f[1]);
    f[2] = detail::times_i(k.x, w[1]);
    f[3] = detail::times_i(k.y, w[1]);
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void spread_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&f)[factors],
                                         detail::Wave<S> (&w)[fields]) const {
    w[0] = detail::velocity_pull(k, f[0], f[1]);
    w[1] = {f[2].im * k.x + f[3].im * k.y, f[2].re * (-k.x) - f[3].re * k.y};
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply(const S (&f)[factors], S (&p)[products]) const {
    p[0] = f[0] * f[1];
    p[1] = (f[1] - f[0]) * (f[1] + f[0]);
    p[2] = f[0] * f[2] + f[1] * (f[3] + steepness<S>());
  }
  template <class S>
  KOLMO_HD KOLMO_INLINE void multiply_pull(const S (&f)[factors], const S (&p)[products], S (&g)[factors]) const {
    const S twice = p[1] + p[1];
    g[0] = f[1] * p[0] - f[0] * twice + f[2] * p[2];
    g[1] = f[0] * p[0] + f[1] * twice + (f[3] + steepness<S>()) * p[2];
    g[2] = f[0] * p[2];
    g[3] = f[1] * p[2];
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency(const detail::WaveNumber<T>& k, const detail::Wave<S> (&p)[products],
                                      detail::Wave<S> (&g)[fields]) const {
    const T a = (k.x - k.y) * (k.x + k.y), b = k.x * k.y, kept = k.inverse_square > T(0) ? T(-1) : T(0);
    g[0] = {p[0].re * a + p[1].re * b, p[0].im * a + p[1].im * b};
    // The mean of the tracer stays to the last bit.
    g[1] = {p[2].re * kept, p[2].im * kept};
  }
  template <class T, class S>
  KOLMO_HD KOLMO_INLINE void tendency_pull(const detail::WaveNumber<T>& k, const detail::Wave<S> (&g)[fields],
                                           detail::Wave<S> (&p)[products]) const {
    const T a = (k.x - k.y) * (k.x + k.y), b = k.x * k.y, kept = k.inverse_square > T(0) ? T(-1) : T(0);
    p[0] = {g[0].re * a, g[0].im * a};
    p[1] = {g[0].re * b, g[0].im * b};
    p[2] = {g[1].re * kept, g[1].im * kept};
  }

 private:
  template <class S>
  KOLMO_HD KOLMO_INLINE auto steepness() const {
    if constexpr (is_dual<S>)
      return static_cast<decltype(S{}.v)>(gradient);
    else
      return static_cast<S>(gradient);
  }
};

}  // namespace kolmo::flow
