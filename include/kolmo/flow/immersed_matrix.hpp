#pragma once
// Assembly of the boundary force matrix M = P L^-1 K (-A^-1) beta P^T, in double precision on the host, and the Krylov
// method that solves with M where it is not assembled.
//
// On one level the response of the streamfunction at node (i, j) to a source at (i', j') is a sum over modes of
// D sin sin sin sin. Products of sines are differences of cosines, so that four values of one table,
// Gamma(m, n) = sum D cos(pi p m/nx) cos(pi q n/ny), give it: no transform per column is needed.

#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/threads.hpp>
#include <kolmo/flow/immersed_stepper.hpp>

namespace kolmo::flow::detail {

/// Gamma for all m in 0..nx and n in -ny..2 ny.
class ResponseTable {
 public:
  ResponseTable(const ImmersedGrid& grid, double alpha, double beta)
      : nx_(grid.nx),
        ny_(grid.ny),
        width_(3 * grid.ny + 1),
        table_(static_cast<std::size_t>((grid.nx + 1) * width_), 0.0) {
    const double scale = 1 / (grid.spacing() * grid.spacing());
    const std::vector<double> cosines_x = cosines(nx_), cosines_y = cosines(ny_);
    std::vector<double> half(static_cast<std::size_t>((nx_ - 1) * (ny_ + 1)), 0.0);
    for (index_t p = 1; p < nx_; ++p) {
      double* row = half.data() + (p - 1) * (ny_ + 1);
      for (index_t q = 1; q < ny_; ++q) {
        const double lambda = scale * (NestedElliptic<double, Cpu>::two_cosines(p, nx_) +
                                       NestedElliptic<double, Cpu>::two_cosines(q, ny_));
        const double weight = beta / ((1 - alpha * lambda) * -lambda) / static_cast<double>(nx_ * ny_);
        const double* c = cosines_y.data() + q * (ny_ + 1);
        KOLMO_INDEPENDENT
        for (index_t n = 0; n <= ny_; ++n) row[n] += weight * c[n];
      }
    }
    for (index_t m = 0; m <= nx_; ++m) {
      double* row = table_.data() + m * width_ + ny_;
      for (index_t p = 1; p < nx_; ++p) {
        const double weight = cosines_x[static_cast<std::size_t>(p * (nx_ + 1) + m)];
        const double* source = half.data() + (p - 1) * (ny_ + 1);
        KOLMO_INDEPENDENT
        for (index_t n = 0; n <= ny_; ++n) row[n] += weight * source[n];
      }
      for (index_t n = 1; n <= ny_; ++n) {
        row[-n] = row[n];
        row[ny_ + n] = row[ny_ - n];
      }
    }
  }

  /// Adds `weight` times the response at nodes (i, first..last) to a source at (i0, j0).
  void add(double weight, index_t i, index_t first, index_t last, index_t i0, index_t j0, double* response) const {
    const index_t m = i > i0 ? i - i0 : i0 - i, sum = i + i0 > nx_ ? 2 * nx_ - i - i0 : i + i0;
    const double *near = table_.data() + m * width_ + ny_, *far = table_.data() + sum * width_ + ny_;
    const double *near_minus = near + first - j0, *near_plus = near + first + j0;
    const double *far_minus = far + first - j0, *far_plus = far + first + j0;
    const index_t n = last - first + 1;
    KOLMO_INDEPENDENT
    for (index_t k = 0; k < n; ++k)
      response[k] += weight * ((near_minus[k] - near_plus[k]) - (far_minus[k] - far_plus[k]));
  }

 private:
  /// cos(pi k m/n) at [k, m], k and m in 0..n.
  static std::vector<double> cosines(index_t n) {
    std::vector<double> once(static_cast<std::size_t>(2 * n));
    for (index_t k = 0; k < 2 * n; ++k)
      once[static_cast<std::size_t>(k)] =
          std::cos(3.14159265358979323846 * static_cast<double>(k) / static_cast<double>(n));
    std::vector<double> table(static_cast<std::size_t>((n + 1) * (n + 1)));
    for (index_t k = 0; k <= n; ++k)
      for (index_t m = 0; m <= n; ++m)
        table[static_cast<std::size_t>(k * (n + 1) + m)] = once[static_cast<std::size_t>(k * m % (2 * n))];
    return table;
  }

  index_t nx_, ny_, width_;
  std::vector<double> table_;
};

/// M on one level by the response table.
inline std::vector<double> force_matrix_one_level(const ImmersedGrid& grid, const CouplingLists& lists, double alpha,
                                                  double beta) {
  const ResponseTable table(grid, alpha, beta);
  const index_t n = static_cast<index_t>(lists.velocities()), columns = grid.ny - 1;
  struct Run {
    index_t i, first, last, at;
  };
  // Touched nodes by rows, as runs without long gaps.
  std::vector<Run> runs;
  std::vector<std::int32_t> place(static_cast<std::size_t>(grid.nodes()), -1);
  index_t total = 0;
  for (std::int32_t node : lists.touched) {
    const index_t i = node / columns + 1, j = node % columns + 1;
    if (runs.empty() || runs.back().i != i || j - runs.back().last > 8) {
      runs.push_back({i, j, j, total});
      ++total;
    } else {
      total += j - runs.back().last;
      runs.back().last = j;
    }
    place[static_cast<std::size_t>(node)] = static_cast<std::int32_t>(total - 1);
  }
  std::vector<double> m(static_cast<std::size_t>(n * n), 0.0), response(static_cast<std::size_t>(total));
  for (index_t c = 0; c < n; ++c) {
    std::fill(response.begin(), response.end(), 0.0);
    for (int e = 0; e < CouplingLists::width; ++e) {
      const std::size_t at = static_cast<std::size_t>(c * CouplingLists::width + e);
      if (lists.weight[at] == 0) continue;
      const index_t i0 = lists.node[at] / columns + 1, j0 = lists.node[at] % columns + 1;
      for (const Run& run : runs)
        table.add(lists.weight[at], run.i, run.first, run.last, i0, j0, response.data() + run.at);
    }
    for (index_t r = 0; r < n; ++r) {
      double sum = 0;
      for (int e = 0; e < CouplingLists::width; ++e) {
        const std::size_t at = static_cast<std::size_t>(r * CouplingLists::width + e);
        if (lists.weight[at] != 0)
          sum += lists.weight[at] * response[static_cast<std::size_t>(place[static_cast<std::size_t>(lists.node[at])])];
      }
      m[static_cast<std::size_t>(r * n + c)] = sum;
    }
  }
  return m;
}

/// M on any number of levels, column by column; columns are spread over threads.
inline std::vector<double> force_matrix_by_columns(const ImmersedGrid& grid, const CouplingLists& lists, double alpha,
                                                   double beta) {
  const ImmersedStepper<double, Cpu> stepper(grid);
  const Coupling<double, Cpu> coupling(lists);
  const index_t n = static_cast<index_t>(lists.velocities());
  std::vector<double> m(static_cast<std::size_t>(n * n));
  constexpr index_t columns = 16;  // of one task
  threads::parallel_for(divide_up(n, columns), [&](index_t task) {
    SubstepWork<double, Cpu> work(stepper.shape(), n);
    std::vector<double> unit(static_cast<std::size_t>(n), 0.0), column(static_cast<std::size_t>(n));
    for (index_t c = task * columns; c < smaller(n, (task + 1) * columns); ++c) {
      unit[static_cast<std::size_t>(c)] = 1;
      stepper.apply_force_matrix(alpha, beta, coupling, unit.data(), column.data(), work);
      unit[static_cast<std::size_t>(c)] = 0;
      for (index_t r = 0; r < n; ++r) m[static_cast<std::size_t>(r * n + c)] = column[static_cast<std::size_t>(r)];
    }
  });
  return m;
}

/// M as [velocities, velocities], row-major.
inline std::vector<double> force_matrix(const ImmersedGrid& grid, const CouplingLists& lists, double alpha,
                                        double beta) {
  return grid.levels == 1 ? force_matrix_one_level(grid, lists, alpha, beta)
                          : force_matrix_by_columns(grid, lists, alpha, beta);
}

struct KrylovResult {
  std::vector<double> x;
  double residual = 0;  ///< relative to the right-hand side
  index_t iterations = 0;
  bool converged = false;
};

/// Solves apply(x) = b by GMRES with right preconditioning, from x. It needs one application per iteration like
/// conjugate gradients, and takes matrices that are only nearly symmetric.
template <class Apply, class Precondition>
KrylovResult minimise_residual(const Apply& apply, const Precondition& precondition, const std::vector<double>& b,
                               std::vector<double> x, double tolerance, index_t iterations) {
  const std::size_t n = b.size();
  const auto dot = [n](const std::vector<double>& p, const std::vector<double>& q) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += p[i] * q[i];
    return sum;
  };
  KrylovResult result;
  const double size = std::sqrt(dot(b, b));
  if (size == 0) {
    result.x.assign(n, 0.0);
    result.converged = true;
    return result;
  }
  constexpr index_t restart = 60;
  while (true) {
    std::vector<double> r = apply(x);
    for (std::size_t i = 0; i < n; ++i) r[i] = b[i] - r[i];
    const double norm = std::sqrt(dot(r, r));
    result.residual = norm / size;
    result.converged = result.residual <= tolerance;
    if (result.converged || result.iterations >= iterations || !is_finite(norm)) break;
    for (double& e : r) e /= norm;
    std::vector<std::vector<double>> basis{r}, directions;
    std::vector<std::vector<double>> h;  // columns
    std::vector<double> cosine, sine, g{norm};
    for (index_t k = 0; k < restart && result.iterations < iterations; ++k) {
      directions.push_back(precondition(basis.back()));
      std::vector<double> w = apply(directions.back()), column;
      ++result.iterations;
      for (int pass = 0; pass < 2; ++pass)
        for (std::size_t i = 0; i < basis.size(); ++i) {
          const double p = dot(basis[i], w);
          if (pass == 0)
            column.push_back(p);
          else
            column[i] += p;
          for (std::size_t j = 0; j < n; ++j) w[j] -= p * basis[i][j];
        }
      double below = std::sqrt(dot(w, w));
      for (std::size_t i = 0; i + 1 < column.size(); ++i) {
        const double upper = cosine[i] * column[i] + sine[i] * column[i + 1];
        column[i + 1] = cosine[i] * column[i + 1] - sine[i] * column[i];
        column[i] = upper;
      }
      const double length = std::hypot(column.back(), below);
      if (!(length > 0)) break;
      cosine.push_back(column.back() / length);
      sine.push_back(below / length);
      column.back() = length;
      h.push_back(column);
      g.push_back(-sine.back() * g.back());
      g[g.size() - 2] *= cosine.back();
      if (std::abs(g.back()) <= 0.5 * tolerance * size || !(below > 0)) break;
      for (double& e : w) e /= below;
      basis.push_back(std::move(w));
    }
    std::vector<double> y(h.size());
    for (std::size_t i = h.size(); i-- > 0;) {
      double sum = g[i];
      for (std::size_t j = i + 1; j < h.size(); ++j) sum -= h[j][i] * y[j];
      y[i] = sum / h[i][i];
    }
    for (std::size_t i = 0; i < y.size(); ++i)
      for (std::size_t j = 0; j < n; ++j) x[j] += y[i] * directions[i][j];
    if (h.empty()) break;
  }
  result.x = std::move(x);
  return result;
}

}  // namespace kolmo::flow::detail
