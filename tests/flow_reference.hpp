#pragma once
// The finite-volume scheme in plain double loops, written from the equations: quotient form of the limiter, modulo
// indices, and a Poisson solve by the definition of the discrete Fourier transform.

#include <cmath>
#include <complex>
#include <cstddef>
#include <vector>

#include <kolmo/flow/kolmogorov_options.hpp>

namespace kolmo_test {

struct FlowReference {
  using Field = std::vector<double>;

  kolmo::flow::KolmogorovOptions flow;
  int n = static_cast<int>(flow.size);
  double h = flow.length / n;
  double nu = 1 / flow.reynolds;
  bool central = false;  ///< face values by linear interpolation

  std::size_t at(int i, int j) const { return static_cast<std::size_t>(((i + n) % n) * n + (j + n) % n); }

  static double limiter(double r) { return r > 0 ? 2 * r / (1 + r) : 0; }

  /// The value on the face between c0 and cp.
  double face(double velocity, double courant, double cm, double c0, double cp, double cpp) const {
    if (central) return (c0 + cp) / 2;
    const double d = cp - c0, divisor = d == 0 ? 1 : d;
    if (velocity > 0) return c0 + 0.5 * (1 - courant) * d * limiter((c0 - cm) / divisor);
    return cp - 0.5 * (1 + courant) * d * limiter((cpp - cp) / divisor);
  }

  /// - div(V c) of a scalar c with the normal velocities of the faces ahead of its points.
  Field advection(const Field& c, const Field& vx, const Field& vy, double dt) const {
    Field fx(c.size()), fy(c.size()), result(c.size());
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        const auto k = at(i, j);
        fx[k] = vx[k] * face(vx[k], dt * vx[k] / h, c[at(i - 1, j)], c[k], c[at(i + 1, j)], c[at(i + 2, j)]);
        fy[k] = vy[k] * face(vy[k], dt * vy[k] / h, c[at(i, j - 1)], c[k], c[at(i, j + 1)], c[at(i, j + 2)]);
      }
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j)
        result[at(i, j)] = -(fx[at(i, j)] - fx[at(i - 1, j)] + fy[at(i, j)] - fy[at(i, j - 1)]) / h;
    return result;
  }

  double laplacian(const Field& c, int i, int j) const {
    return (c[at(i + 1, j)] + c[at(i - 1, j)] + c[at(i, j + 1)] + c[at(i, j - 1)] - 4 * c[at(i, j)]) / (h * h);
  }

  /// Time derivatives of both components without the pressure.
  void rates(const Field& u, const Field& v, double dt, bool diffuse, Field& du, Field& dv) const {
    Field ux(u.size()), uy(u.size()), vx(u.size()), vy(u.size());
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        ux[at(i, j)] = (u[at(i, j)] + u[at(i + 1, j)]) / 2;
        uy[at(i, j)] = (v[at(i, j)] + v[at(i + 1, j)]) / 2;
        vx[at(i, j)] = (u[at(i, j)] + u[at(i, j + 1)]) / 2;
        vy[at(i, j)] = (v[at(i, j)] + v[at(i, j + 1)]) / 2;
      }
    du = advection(u, ux, uy, dt);
    dv = advection(v, vx, vy, dt);
    const double frequency = kolmo::flow::two_pi / flow.length * static_cast<double>(flow.forcing_wavenumber);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        const auto k = at(i, j);
        if (diffuse) {
          du[k] += nu * laplacian(u, i, j);
          dv[k] += nu * laplacian(v, i, j);
        }
        du[k] += flow.forcing_amplitude * std::sin(frequency * (j + 0.5) * h) - flow.drag * u[k];
        dv[k] += -flow.drag * v[k];
      }
  }

  /// The field whose transform is that of x times factor(5-point eigenvalue).
  template <class F>
  Field filtered(const Field& x, const F& factor) const {
    using C = std::complex<double>;
    std::vector<C> root;
    for (int k = 0; k < n; ++k) root.push_back(std::polar(1.0, -2 * M_PI * k / n));
    std::vector<C> a(x.begin(), x.end()), b(x.size());
    const auto transform = [&](bool along_x, bool back) {
      for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) {
          C sum = 0;
          for (int k = 0; k < n; ++k) {
            const auto w = root[static_cast<std::size_t>((along_x ? i : j) * k % n)];
            sum += (along_x ? a[at(k, j)] : a[at(i, k)]) * (back ? std::conj(w) : w);
          }
          b[at(i, j)] = sum;
        }
      a.swap(b);
    };
    transform(true, false);
    transform(false, false);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j)
        a[at(i, j)] *= factor((2 * std::cos(2 * M_PI * i / n) - 2 + 2 * std::cos(2 * M_PI * j / n) - 2) / (h * h));
    transform(true, true);
    transform(false, true);
    Field y;
    for (const C& value : a) y.push_back(value.real() / (n * n));
    return y;
  }

  void project(Field& u, Field& v) const {
    Field divergence(u.size());
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j)
        divergence[at(i, j)] = (u[at(i, j)] - u[at(i - 1, j)] + v[at(i, j)] - v[at(i, j - 1)]) / h;
    const Field q = filtered(divergence, [](double l) { return std::abs(l) <= 2.3e-15 ? 0 : 1 / l; });
    for (int i = 0; i < n; ++i)
      for (int j = 0; j < n; ++j) {
        u[at(i, j)] -= (q[at(i + 1, j)] - q[at(i, j)]) / h;
        v[at(i, j)] -= (q[at(i, j + 1)] - q[at(i, j)]) / h;
      }
  }

  void step(Field& u, Field& v, double dt) const {
    Field du, dv;
    rates(u, v, dt, true, du, dv);
    add(u, du, dt);
    add(v, dv, dt);
    project(u, v);
  }

  /// A Runge-Kutta step with lower-triangular a, projecting every stage.
  void step(Field& u, Field& v, double dt, const std::vector<std::vector<double>>& a,
            const std::vector<double>& b) const {
    std::vector<Field> du(b.size()), dv(b.size());
    for (std::size_t s = 0; s <= b.size(); ++s) {
      Field us = u, vs = v;
      for (std::size_t k = 0; k < s; ++k) {
        const double weight = s < b.size() ? a[s][k] : b[k];
        add(us, du[k], dt * weight);
        add(vs, dv[k], dt * weight);
      }
      if (s > 0) project(us, vs);
      if (s < b.size()) {
        rates(us, vs, dt, true, du[s], dv[s]);
      } else {
        u = us;
        v = vs;
      }
    }
  }

  void implicit_step(Field& u, Field& v, double dt) const {
    Field du, dv;
    rates(u, v, dt, false, du, dv);
    add(u, du, dt);
    add(v, dv, dt);
    project(u, v);
    const auto factor = [&](double l) { return 1 / (1 - nu * dt * l); };
    u = filtered(u, factor);
    v = filtered(v, factor);
  }

  static void add(Field& x, const Field& y, double factor) {
    for (std::size_t k = 0; k < x.size(); ++k) x[k] += factor * y[k];
  }
};

}  // namespace kolmo_test
