#pragma once
// The moment projection of one mixture, run one item at a time by a backend (see gmm/moment_projection.hpp). It
// works in double in standardised coordinates, whatever the scalar and the units.

#include <kolmo/core/math.hpp>

namespace kolmo::gmm {

/// Which weights a projection returned.
enum class ProjectionMethod : std::int32_t {
  none = 0,  ///< those given: there was no density, no mixture, or no solution
  hard = 1,  ///< the nearest with the moments exactly
  soft = 2,  ///< a compromise between nearness and moments
};

namespace detail {

inline constexpr int projected_moments = 5;

/// Weights nearest to given ones with given moments:
///
///   min |p - q|^2 / 2 + sum_n r_n^2 / (2 c_n)   subject to   r = A p - b,  p >= 0
///
/// where a row with c_n = 0 must be met exactly. The dual is a concave function of five multipliers whatever the
/// number of weights, p = max(0, q + A^T y), and Newton's iteration on it visits active sets: it ends when the set of
/// positive weights repeats. One that has no solution runs away and is given up.
template <int max_weights>
struct WeightProjection {
  static constexpr int rows = projected_moments;

  int count;
  double a[rows][max_weights];
  double b[rows];
  double compliance[rows];
  double start[max_weights];

  double multipliers[rows];
  double weights[max_weights];

  /// The dual, negated, to be minimised; leaves the weights that belong to y.
  KOLMO_HD double evaluate(const double* y) {
    double value = 0.0;
    for (int n = 0; n < rows; ++n) value += y[n] * (0.5 * compliance[n] * y[n] - b[n]);
    for (int k = 0; k < count; ++k) {
      double p = start[k];
      for (int n = 0; n < rows; ++n) p += a[n][k] * y[n];
      weights[k] = larger(p, 0.0);
      value += 0.5 * weights[k] * weights[k];
    }
    return value;
  }

  /// Solves the symmetric system h x = r in place, with a damping that only matters where h is singular.
  KOLMO_HD static bool solve(double (*h)[rows], double* r) {
    double trace = 0.0;
    for (int i = 0; i < rows; ++i) trace += h[i][i];
    const double damping = 1e-15 * trace + 1e-300;
    for (int i = 0; i < rows; ++i) h[i][i] += damping;
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < i; ++j) {
        double sum = h[i][j];
        for (int k = 0; k < j; ++k) sum -= h[i][k] * h[j][k];
        h[i][j] = sum / h[j][j];
      }
      double sum = h[i][i];
      for (int k = 0; k < i; ++k) sum -= h[i][k] * h[i][k];
      if (!(sum > 0.0)) sum = damping;
      h[i][i] = sqrt(sum);
    }
    for (int i = 0; i < rows; ++i) {
      for (int k = 0; k < i; ++k) r[i] -= h[i][k] * r[k];
      r[i] /= h[i][i];
    }
    for (int i = rows - 1; i >= 0; --i) {
      for (int k = i + 1; k < rows; ++k) r[i] -= h[k][i] * r[k];
      r[i] /= h[i][i];
    }
    bool finite = true;
    for (int i = 0; i < rows; ++i) finite = finite && is_finite(r[i]);
    return finite;
  }

  /// Largest violation of the conditions that the dual's gradient states.
  KOLMO_HD double gradient(const double* y, double* g) const {
    double largest = 0.0;
    for (int n = 0; n < rows; ++n) {
      g[n] = compliance[n] * y[n] - b[n];
      for (int k = 0; k < count; ++k) g[n] += a[n][k] * weights[k];
      largest = larger(largest, abs(g[n]));
    }
    return largest;
  }

  /// Whether the weights are the solution, to `tolerance` in the moments.
  KOLMO_HD bool minimise(double tolerance) {
    double y[rows] = {}, g[rows], best = 0.0;
    double value = evaluate(y);
    for (int n = 0; n < rows; ++n) multipliers[n] = 0.0;
    for (int iteration = 0; iteration < 200; ++iteration) {
      best = gradient(y, g);
      for (int n = 0; n < rows; ++n) multipliers[n] = y[n];
      if (best < 1e-14) break;
      double h[rows][rows], step[rows];
      for (int i = 0; i < rows; ++i) {
        step[i] = -g[i];
        for (int j = 0; j <= i; ++j) {
          h[i][j] = i == j ? compliance[i] : 0.0;
          for (int k = 0; k < count; ++k)
            if (weights[k] > 0.0) h[i][j] += a[i][k] * a[j][k];
        }
      }
      if (!solve(h, step)) break;
      double slope = 0.0, size = 0.0;
      for (int n = 0; n < rows; ++n) {
        slope += g[n] * step[n];
        size = larger(size, abs(y[n] + step[n]));
      }
      // Multipliers of a feasible problem are of the size of the condition of A.
      if (size > 1e13) break;
      // The function is convex and quadratic by pieces: the full step is taken when it does not overshoot.
      double length = 1.0, next[rows], next_value = value;
      bool improved = false;
      for (int halving = 0; halving < 50 && !improved; ++halving, length *= 0.5) {
        for (int n = 0; n < rows; ++n) next[n] = y[n] + length * step[n];
        next_value = evaluate(next);
        improved = next_value <= value + 1e-4 * length * slope;
        if (!improved && length == 1.0) {
          // Rounding hides the descent near the solution; the gradient still shows it.
          double next_g[rows];
          improved = gradient(next, next_g) < 0.5 * best;
        }
      }
      if (!improved) {
        evaluate(y);
        break;
      }
      for (int n = 0; n < rows; ++n) y[n] = next[n];
      value = next_value;
    }
    evaluate(multipliers);
    double g_last[rows];
    return gradient(multipliers, g_last) <= tolerance;
  }
};

template <class T, int max_weights>
struct ProjectionItem {
  const T* masses;
  const T* points;
  index_t point_stride;  // 0 when the batch shares the points
  index_t count;
  int components;
  bool hard;
  bool standardise;
  double penalty;
  const T* means;
  const T* deviations;
  T* weights;  // in: those given; out: those projected
  std::int32_t* method;
  T* constraint_error;
  T* moment_errors;  // [batch, 5]

  KOLMO_HD void fail(index_t item) const {
    method[item] = static_cast<std::int32_t>(ProjectionMethod::none);
    constraint_error[item] = kolmo::detail::not_a_number<T>();
    for (int n = 0; n < projected_moments; ++n)
      moment_errors[item * projected_moments + n] = kolmo::detail::not_a_number<T>();
  }

  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    const T* z = points + item * point_stride;
    const index_t offset = item * components;
    double total = 0.0, mean = 0.0, variance = 0.0;
    bool good = true;
    for (index_t i = 0; i < count; ++i) {
      good = good && is_finite(w[i]) && is_finite(z[i]) && w[i] >= T(0);
      total += static_cast<double>(w[i]);
      mean += static_cast<double>(w[i]) * (static_cast<double>(z[i]) - static_cast<double>(z[0]));
    }
    mean = static_cast<double>(z[0]) + mean / total;
    for (index_t i = 0; i < count; ++i)
      variance += static_cast<double>(w[i]) * square(static_cast<double>(z[i]) - mean);
    double deviation = sqrt(variance / total);
    if (!good || !(total > 0.0) || !(deviation > 0.0) || !is_finite(deviation)) return fail(item);
    if (!standardise) {
      mean = 0.0;
      deviation = 1.0;
    }
    double target[projected_moments] = {1.0, 0.0, 0.0, 0.0, 0.0};
    for (index_t i = 0; i < count; ++i) {
      const double u = (static_cast<double>(z[i]) - mean) / deviation;
      double power = static_cast<double>(w[i]) / total;
      for (int n = 1; n < projected_moments; ++n) target[n] += (power *= u);
    }

    WeightProjection<max_weights> qp;
    qp.count = components;
    double mass = 0.0;
    for (int k = 0; k < components; ++k) {
      const double weight = static_cast<double>(weights[offset + k]);
      const double u = (static_cast<double>(means[offset + k]) - mean) / deviation;
      const double v = square(static_cast<double>(deviations[offset + k]) / deviation);
      good = good && is_finite(weight) && is_finite(u) && is_finite(v) && v > 0.0;
      // A weight below zero is no weight; it may become one.
      qp.start[k] = larger(weight, 0.0);
      mass += qp.start[k];
      qp.a[0][k] = 1.0;
      qp.a[1][k] = u;
      qp.a[2][k] = u * u + v;
      qp.a[3][k] = u * (u * u + 3.0 * v);
      qp.a[4][k] = square(u * u) + 6.0 * u * u * v + 3.0 * v * v;
    }
    if (!good || !(mass > 0.0)) return fail(item);
    for (int n = 0; n < projected_moments; ++n) qp.b[n] = target[n];
    for (int k = 0; k < components; ++k) qp.start[k] /= mass;

    ProjectionMethod done = ProjectionMethod::none;
    if (hard) {
      for (int n = 0; n < projected_moments; ++n) qp.compliance[n] = 0.0;
      if (qp.minimise(1e-8)) done = ProjectionMethod::hard;
    }
    if (done == ProjectionMethod::none) {
      for (int n = 0; n < projected_moments; ++n) qp.compliance[n] = n == 0 ? 0.0 : 1.0 / penalty;
      if (qp.minimise(1e-8)) done = ProjectionMethod::soft;
    }
    double sum = 0.0;
    if (done != ProjectionMethod::none)
      for (int k = 0; k < components; ++k) sum += qp.weights[k];
    if (!(sum > 0.0)) done = ProjectionMethod::none;
    double squares = 0.0, largest = 0.0;
    for (int n = 0; n < projected_moments; ++n) {
      double error = -target[n];
      for (int k = 0; k < components; ++k)
        error += qp.a[n][k] * (done == ProjectionMethod::none ? qp.start[k] : qp.weights[k] / sum);
      moment_errors[item * projected_moments + n] = static_cast<T>(error);
      squares += error * error;
      largest = larger(largest, abs(error));
    }
    if (done != ProjectionMethod::none)
      for (int k = 0; k < components; ++k) weights[offset + k] = static_cast<T>(qp.weights[k] / sum);
    method[item] = static_cast<std::int32_t>(done);
    constraint_error[item] = static_cast<T>(done == ProjectionMethod::hard ? largest : sqrt(squares));
  }
};

}  // namespace detail
}  // namespace kolmo::gmm
