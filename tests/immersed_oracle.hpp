#pragma once
// The immersed-boundary projection method written down as plain loops over fields of all nodes and edges, with dense
// elimination for every linear problem: an oracle for small grids that shares no code with the library.

#include <cmath>
#include <cstddef>
#include <vector>

namespace oracle {

struct Dense {
  int n = 0;
  std::vector<double> a;
  std::vector<int> order;

  void factor(std::vector<double> m, int size) {
    n = size;
    a = std::move(m);
    order.resize(static_cast<std::size_t>(n));
    for (int k = 0; k < n; ++k) {
      int pivot = k;
      for (int i = k; i < n; ++i)
        if (std::abs(at(i, k)) > std::abs(at(pivot, k))) pivot = i;
      order[static_cast<std::size_t>(k)] = pivot;
      for (int j = 0; j < n; ++j) std::swap(at(k, j), at(pivot, j));
      for (int i = k + 1; i < n; ++i) {
        const double s = at(i, k) /= at(k, k);
        if (s != 0)
          for (int j = k + 1; j < n; ++j) at(i, j) -= s * at(k, j);
      }
    }
  }
  std::vector<double> solve(std::vector<double> b) const {
    for (int k = 0; k < n; ++k) {
      std::swap(b[static_cast<std::size_t>(k)], b[static_cast<std::size_t>(order[static_cast<std::size_t>(k)])]);
    }
    for (int i = 0; i < n; ++i)
      for (int k = 0; k < i; ++k) b[static_cast<std::size_t>(i)] -= at(i, k) * b[static_cast<std::size_t>(k)];
    for (int i = n - 1; i >= 0; --i) {
      for (int k = i + 1; k < n; ++k) b[static_cast<std::size_t>(i)] -= at(i, k) * b[static_cast<std::size_t>(k)];
      b[static_cast<std::size_t>(i)] /= at(i, i);
    }
    return b;
  }
  double& at(int i, int j) { return a[static_cast<std::size_t>(i * n + j)]; }
  double at(int i, int j) const { return a[static_cast<std::size_t>(i * n + j)]; }
};

/// A field over indices 0..ni-1 x 0..nj-1.
struct Field {
  int ni = 0, nj = 0;
  std::vector<double> v;
  Field() = default;
  Field(int a, int b) : ni(a), nj(b), v(static_cast<std::size_t>(a * b), 0.0) {}
  double& operator()(int i, int j) { return v[static_cast<std::size_t>(i * nj + j)]; }
  double operator()(int i, int j) const { return v[static_cast<std::size_t>(i * nj + j)]; }
};

struct Flow {
  int nx, ny, levels, ex, ey;
  double d, x0, y0, reynolds, dt, u0, v0;
  std::vector<double> px, py;           // body points
  std::vector<std::vector<double>> ab;  // stages (a, b)
  std::vector<Field> omega, qx, qy, before;
  std::vector<double> force;
  bool first = true;
  std::vector<Dense> laplace;
  std::vector<std::vector<Dense>> implicit;  // by stage, level
  std::vector<Dense> matrix;                 // by stage

  double spacing(int l) const { return d * (1 << l); }
  std::vector<Field> nodes() const {
    return std::vector<Field>(static_cast<std::size_t>(levels), Field(nx + 1, ny + 1));
  }
  static std::size_t at(int l) { return static_cast<std::size_t>(l); }

  // Boundary nodes of every level from the next coarser one; zero on the outermost.
  void extend(std::vector<Field>& f) const {
    for (int l = levels - 1; l >= 0; --l)
      for (int i = 0; i <= nx; ++i)
        for (int j = 0; j <= ny; ++j) {
          if (i > 0 && i < nx && j > 0 && j < ny) continue;
          f[at(l)](i, j) = l == levels - 1 ? 0.0 : border(f, l, i, j);
        }
  }
  double border(const std::vector<Field>& f, int l, int i, int j) const {
    const Field& c = f[at(l + 1)];
    const int a = ex + i / 2, b = ey + j / 2;
    return 0.5 * (c(a, b) + c(a + i % 2, b + j % 2));
  }
  void coarsen(std::vector<Field>& f) const {
    for (int l = 1; l < levels; ++l)
      for (int i = ex + 1; i < ex + nx / 2; ++i)
        for (int j = ey + 1; j < ey + ny / 2; ++j) {
          double sum = 0;
          for (int a = -1; a <= 1; ++a)
            for (int b = -1; b <= 1; ++b)
              sum += (a == 0 ? 0.5 : 0.25) * (b == 0 ? 0.5 : 0.25) * f[at(l - 1)](2 * (i - ex) + a, 2 * (j - ey) + b);
          f[at(l)](i, j) = sum;
        }
  }

  // constant + factor L on a level with zero border.
  Dense level_matrix(double constant, double factor, int l) const {
    const int n = (nx - 1) * (ny - 1);
    std::vector<double> m(static_cast<std::size_t>(n) * static_cast<std::size_t>(n), 0.0);
    const double s = factor / (spacing(l) * spacing(l));
    for (int i = 1; i < nx; ++i)
      for (int j = 1; j < ny; ++j) {
        const int r = (i - 1) * (ny - 1) + j - 1;
        const auto put = [&](int a, int b, double w) {
          if (a > 0 && a < nx && b > 0 && b < ny) m[static_cast<std::size_t>(r * n + (a - 1) * (ny - 1) + b - 1)] += w;
        };
        put(i, j, constant - 4 * s);
        put(i - 1, j, s);
        put(i + 1, j, s);
        put(i, j - 1, s);
        put(i, j + 1, s);
      }
    Dense dense;
    dense.factor(std::move(m), n);
    return dense;
  }

  std::vector<Field> solve(const std::vector<Dense>& by_level, double factor, std::vector<Field> g) const {
    coarsen(g);
    std::vector<Field> u = nodes();
    for (int l = levels - 1; l >= 0; --l) {
      Field& level = u[at(l)];
      if (l < levels - 1)
        for (int i = 0; i <= nx; ++i)
          for (int j = 0; j <= ny; ++j)
            if (i == 0 || i == nx || j == 0 || j == ny) level(i, j) = border(u, l, i, j);
      const double s = factor / (spacing(l) * spacing(l));
      std::vector<double> b;
      for (int i = 1; i < nx; ++i)
        for (int j = 1; j < ny; ++j) {
          double value = g[at(l)](i, j);
          if (i == 1) value -= s * level(0, j);
          if (i == nx - 1) value -= s * level(nx, j);
          if (j == 1) value -= s * level(i, 0);
          if (j == ny - 1) value -= s * level(i, ny);
          b.push_back(value);
        }
      const std::vector<double> x = by_level[at(l)].solve(b);
      for (int i = 1; i < nx; ++i)
        for (int j = 1; j < ny; ++j) level(i, j) = x[static_cast<std::size_t>((i - 1) * (ny - 1) + j - 1)];
    }
    return u;
  }

  std::vector<Field> streamfunction(std::vector<Field> w) const {
    for (Field& f : w)
      for (double& e : f.v) e = -e;
    return solve(laplace, 1, w);
  }
  void curl(const std::vector<Field>& psi, double u, double v) {
    for (int l = 0; l < levels; ++l) {
      const Field& p = psi[at(l)];
      for (int i = 0; i <= nx; ++i)
        for (int j = 0; j < ny; ++j) qx[at(l)](i, j) = p(i, j + 1) - p(i, j) + u * spacing(l);
      for (int i = 0; i < nx; ++i)
        for (int j = 0; j <= ny; ++j) qy[at(l)](i, j) = p(i, j) - p(i + 1, j) + v * spacing(l);
    }
  }
  // Cᵀ on interior nodes.
  double rotation(const Field& x, const Field& y, int l, int i, int j) const {
    return (y(i, j) - y(i - 1, j) + x(i, j - 1) - x(i, j)) / (spacing(l) * spacing(l));
  }

  std::vector<Field> nonlinear() const {
    std::vector<Field> s = nodes(), t = nodes();  // (omega v, -omega u)
    for (int l = 0; l < levels; ++l)
      for (int i = 1; i < nx; ++i)
        for (int j = 1; j < ny; ++j) {
          const double dl = spacing(l), w = omega[at(l)](i, j);
          const Field &a = qx[at(l)], &b = qy[at(l)];
          double u = (a(i, j) + a(i, j - 1)) / (2 * dl), v = (b(i - 1, j) + b(i, j)) / (2 * dl);
          if (l > 0) {
            const Field &gx = qx[at(l - 1)], &gy = qy[at(l - 1)];
            const int right = ex + nx / 2, top = ey + ny / 2, ii = 2 * (i - ex), jj = 2 * (j - ey);
            const bool across = i >= ex && i <= right, up = j >= ey && j <= top;
            const bool side_x = (i == ex || i == right) && up, side_y = (j == ey || j == top) && across;
            if (side_x && side_y) {
              const double out_u = j == ey ? a(i, j - 1) : a(i, j), in_u = j == ey ? a(i, j) : a(i, j - 1);
              const double out_v = i == ex ? b(i - 1, j) : b(i, j), in_v = i == ex ? b(i, j) : b(i - 1, j);
              u = (8 * out_u + 6 * in_u + 2 * gx(i == ex ? 1 : nx - 1, j == ey ? 0 : ny - 1)) / (15 * dl);
              v = (8 * out_v + 6 * in_v + 2 * gy(i == ex ? 0 : nx - 1, j == ey ? 1 : ny - 1)) / (15 * dl);
            } else if (side_y) {
              const double out = j == ey ? a(i, j - 1) : a(i, j);
              const int row = j == ey ? 0 : ny - 1;
              u = (2 * out / 3 + gx(ii, row) / 3 + (gx(ii - 1, row) + gx(ii + 1, row)) / 6) / dl;
            } else if (side_x) {
              const double out = i == ex ? b(i - 1, j) : b(i, j);
              const int column = i == ex ? 0 : nx - 1;
              v = (2 * out / 3 + gy(column, jj) / 3 + (gy(column, jj - 1) + gy(column, jj + 1)) / 6) / dl;
            }
          }
          s[at(l)](i, j) = w * v;
          t[at(l)](i, j) = -w * u;
        }
    extend(s);
    extend(t);
    std::vector<Field> fx, fy, n = nodes();
    for (int l = 0; l < levels; ++l) {
      Field x(nx + 1, ny), y(nx, ny + 1);
      for (int i = 0; i <= nx; ++i)
        for (int j = 0; j < ny; ++j) x(i, j) = 0.5 * spacing(l) * (s[at(l)](i, j) + s[at(l)](i, j + 1));
      for (int i = 0; i < nx; ++i)
        for (int j = 0; j <= ny; ++j) y(i, j) = 0.5 * spacing(l) * (t[at(l)](i, j) + t[at(l)](i + 1, j));
      if (l > 0) {
        for (int i = ex + 1; i < ex + nx / 2; ++i)
          for (int j = ey; j < ey + ny / 2; ++j)
            x(i, j) = fx.back()(2 * (i - ex), 2 * (j - ey)) + fx.back()(2 * (i - ex), 2 * (j - ey) + 1);
        for (int i = ex; i < ex + nx / 2; ++i)
          for (int j = ey + 1; j < ey + ny / 2; ++j)
            y(i, j) = fy.back()(2 * (i - ex), 2 * (j - ey)) + fy.back()(2 * (i - ex) + 1, 2 * (j - ey));
      }
      for (int i = 1; i < nx; ++i)
        for (int j = 1; j < ny; ++j) n[at(l)](i, j) = rotation(x, y, l, i, j);
      fx.push_back(x);
      fy.push_back(y);
    }
    return n;
  }

  static double delta(double r) {
    r = std::abs(r);
    if (r <= 0.5) return (1 + std::sqrt(1 - 3 * r * r)) / 3;
    if (r <= 1.5) return (5 - 3 * r - std::sqrt(1 - 3 * (1 - r) * (1 - r))) / 6;
    return 0;
  }
  double weight_x(std::size_t k, int i, int j) const {
    return delta(i - (px[k] - x0) / d) * delta(j + 0.5 - (py[k] - y0) / d);
  }
  double weight_y(std::size_t k, int i, int j) const {
    return delta(i + 0.5 - (px[k] - x0) / d) * delta(j - (py[k] - y0) / d);
  }
  // E C psi on the finest level.
  std::vector<double> at_body(const std::vector<Field>& psi) const {
    const Field& p = psi[0];
    const std::size_t n = px.size();
    std::vector<double> u(2 * n, 0.0);
    for (std::size_t k = 0; k < n; ++k) {
      for (int i = 0; i <= nx; ++i)
        for (int j = 0; j < ny; ++j) u[k] += weight_x(k, i, j) * (p(i, j + 1) - p(i, j)) / d;
      for (int i = 0; i < nx; ++i)
        for (int j = 0; j <= ny; ++j) u[n + k] += weight_y(k, i, j) * (p(i, j) - p(i + 1, j)) / d;
    }
    return u;
  }
  // Cᵀ H F.
  std::vector<Field> spread(const std::vector<double>& f) const {
    Field x(nx + 1, ny), y(nx, ny + 1);
    const std::size_t n = px.size();
    for (std::size_t k = 0; k < n; ++k) {
      for (int i = 0; i <= nx; ++i)
        for (int j = 0; j < ny; ++j) x(i, j) += d * weight_x(k, i, j) * f[k];
      for (int i = 0; i < nx; ++i)
        for (int j = 0; j <= ny; ++j) y(i, j) += d * weight_y(k, i, j) * f[n + k];
    }
    std::vector<Field> result = nodes();
    for (int i = 1; i < nx; ++i)
      for (int j = 1; j < ny; ++j) result[0](i, j) = rotation(x, y, 0, i, j);
    return result;
  }

  void prepare() {
    omega = before = nodes();
    qx.assign(at(levels), Field(nx + 1, ny));
    qy.assign(at(levels), Field(nx, ny + 1));
    curl(nodes(), u0, v0);
    for (int l = 0; l < levels; ++l) laplace.push_back(level_matrix(0, 1, l));
    const std::size_t n = 2 * px.size();
    for (const auto& s : ab) {
      const double beta = (s[0] + s[1]) * dt, alpha = -beta / (2 * reynolds);
      implicit.emplace_back();
      for (int l = 0; l < levels; ++l) implicit.back().push_back(level_matrix(1, alpha, l));
      std::vector<double> m(n * n);
      for (std::size_t c = 0; c < n; ++c) {
        std::vector<double> unit(n, 0.0);
        unit[c] = beta;
        const std::vector<double> u = at_body(streamfunction(solve(implicit.back(), alpha, spread(unit))));
        for (std::size_t r = 0; r < n; ++r) m[r * n + c] = u[r];
      }
      matrix.emplace_back();
      matrix.back().factor(m, static_cast<int>(n));
    }
  }

  void step() {
    for (std::size_t stage = 0; stage < ab.size(); ++stage) {
      double a = ab[stage][0], b = ab[stage][1];
      const double beta = (a + b) * dt, alpha = beta / (2 * reynolds);
      const std::vector<Field> n = nonlinear();
      if (first) before = n;
      first = false;
      std::vector<Field> r = nodes(), w = omega;
      extend(w);
      for (int l = 0; l < levels; ++l)
        for (int i = 1; i < nx; ++i)
          for (int j = 1; j < ny; ++j) {
            const Field& f = w[at(l)];
            const double laplacian =
                (f(i - 1, j) + f(i + 1, j) + f(i, j - 1) + f(i, j + 1) - 4 * f(i, j)) / (spacing(l) * spacing(l));
            r[at(l)](i, j) = f(i, j) + alpha * laplacian + dt * (a * n[at(l)](i, j) + b * before[at(l)](i, j));
          }
      std::vector<Field> star = solve(implicit[stage], -alpha, r);
      std::vector<double> defect = at_body(streamfunction(star));
      const std::size_t points = px.size();
      for (std::size_t k = 0; k < points; ++k) {
        defect[k] += u0;
        defect[points + k] += v0;
      }
      force = matrix[stage].solve(defect);
      std::vector<double> scaled = force;
      for (double& e : scaled) e *= beta;
      const std::vector<Field> change = solve(implicit[stage], -alpha, spread(scaled));
      for (int l = 0; l < levels; ++l)
        for (std::size_t k = 0; k < omega[at(l)].v.size(); ++k)
          omega[at(l)].v[k] = star[at(l)].v[k] - change[at(l)].v[k];
      curl(streamfunction(omega), u0, v0);
      before = n;
    }
  }
};

}  // namespace oracle
