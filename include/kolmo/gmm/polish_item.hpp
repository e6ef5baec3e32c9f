#pragma once
// The second-order polish of one mixture, run one item at a time by a backend (see gmm/polish.hpp). Everything happens
// in standardised coordinates of the density, so that no constant has units. One evaluation makes a single pass over
// the points and returns the cost together with the Gauss-Newton matrix; a rejected step wastes the latter, but nothing
// need be kept per point, so that the number of points has no bound.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/lamf_lanes.hpp>
#include <kolmo/gmm/mixture_functions.hpp>
#include <kolmo/gmm/status.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

template <class T>
struct PolishProblem {
  const T* densities;
  const double* points;  // null when equally spaced
  double first, spacing;
  const T* offsets;  // null for none
  index_t count;
  int components;
  int evaluations;  // of the least-squares stage
  int minimax;      // of each stage of higher norm
  T tolerance;
  T gain;
  T damping;
  double floor_in_spacings;
  std::int32_t* status;  // items without a fit are left alone
  T* weights;
  T* means;
  T* deviations;
  T* largest_error;
  std::int32_t* evaluated;
};

template <class T, int max_count>
struct PolishItem {
  PolishProblem<T> problem;

  static constexpr int max_parameters = 3 * max_count;
  /// Columns of derivatives and the residual, in blocks of four.
  static constexpr int max_columns = (max_parameters + 4) / 4 * 4;
  /// Rows of the Gauss-Newton matrix have room for whole vectors.
  static constexpr int row_length = (max_columns + 15) / 16 * 16;

  /// log weights (up to a common constant), means, log deviations.
  struct Parameters {
    T value[max_parameters];
  };

  /// What is known of the density in its standardised coordinates (z - mean) / deviation.
  struct Target {
    const T* row;
    double offset, mean, inverse_deviation;
    double density_scale;  // of a value, to the density in standardised coordinates
    Status status;
    index_t begin, end;    // points that matter: beyond, the density vanishes
    T first, last;         // of these points
    T lowest;              // log deviation floor when equally spaced
  };

  struct Evaluation {
    T cost;
    T largest;
    T matrix[max_columns][row_length];  // lower triangle of J^T W J; row 3K holds the gradient J^T W r
  };

  KOLMO_HD double point(const Target& target, index_t i) const {
    const double z = problem.points != nullptr ? problem.points[i] : problem.first + problem.spacing * static_cast<double>(i);
    return z + target.offset;
  }
  KOLMO_HD double width(index_t i) const {
    if (problem.points == nullptr) return trapezoid_weight(problem.spacing, problem.count, i);
    return trapezoid_weight(problem.points, problem.count, i);
  }

  /// Sums over points in lanes: mass, first and second moment about a point, mass of negative values.
  struct Sums {
    static constexpr int width = 8;
    double mass[width] = {}, first[width] = {}, second[width] = {}, negative[width] = {};

    KOLMO_HD KOLMO_INLINE void add(int lane, double value, double weight, double z) {
      const double f = larger(value, 0.0) * weight;
      mass[lane] += f;
      first[lane] += f * z;
      second[lane] += f * z * z;
      negative[lane] += (f - value * weight);
    }
    KOLMO_HD static double total(const double* lane) {
      return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
  };

  /// Moments of the density, and the points that matter.
  KOLMO_HD Target examine(index_t item) const {
    Target t{};
    t.row = problem.densities + item * problem.count;
    t.offset = problem.offsets != nullptr ? static_cast<double>(problem.offsets[item]) : 0.0;
    const index_t n = problem.count;
    const double origin = point(t, n / 2);
    Sums sums;
    index_t i = 0;
    if (problem.points == nullptr) {
      sums.add(0, static_cast<double>(t.row[0]), 0.5 * problem.spacing, point(t, 0) - origin);
      for (i = 1; i + Sums::width < n; i += Sums::width)
        for (int j = 0; j < Sums::width; ++j)
          sums.add(j, static_cast<double>(t.row[i + j]), problem.spacing, problem.spacing * static_cast<double>(i + j - n / 2));
    }
    for (; i < n; ++i) sums.add(0, static_cast<double>(t.row[i]), width(i), point(t, i) - origin);
    const double mass = Sums::total(sums.mass), shift = Sums::total(sums.first) / mass;
    const double spread = Sums::total(sums.second) / mass - shift * shift;
    t.status = !is_finite(mass) || !is_finite(Sums::total(sums.negative)) ? Status::non_finite
               : !(mass > 0.0)                                            ? Status::zero_mass
               : Sums::total(sums.negative) > 1e-6 * mass                 ? Status::negative_mass
                                                                          : Status::ok;
    if (t.status != Status::ok) return t;
    const double local = width(n / 2);
    t.mean = origin + shift;
    t.inverse_deviation = 1.0 / sqrt(larger(spread, local * local / 12.0));
    t.density_scale = 1.0 / (mass * t.inverse_deviation);
    T top = T(0);
    for (index_t at = 0; at < n; ++at) top = larger(top, t.row[at]);
    const T least = top * T(1e-7);
    t.begin = 0;
    t.end = n;
    while (t.begin < n - 1 && !(t.row[t.begin] > least)) ++t.begin;
    while (t.end > t.begin + 1 && !(t.row[t.end - 1] > least)) --t.end;
    // Some empty points on either side hold the tails down.
    t.begin = larger<index_t>(t.begin - 3, 0);
    t.end = smaller<index_t>(t.end + 3, n);
    t.first = standard(t, t.begin);
    t.last = standard(t, t.end - 1);
    t.lowest = log(static_cast<T>(problem.floor_in_spacings * problem.spacing * t.inverse_deviation));
    return t;
  }

  KOLMO_HD T standard(const Target& t, index_t i) const {
    return static_cast<T>((point(t, i) - t.mean) * t.inverse_deviation);
  }

  /// Smallest log deviation of a component at `mean`: by the spacing there when points are not equally spaced.
  KOLMO_HD T lowest(const Target& t, T mean) const {
    if (problem.points == nullptr) return t.lowest;
    const double z = static_cast<double>(mean) / t.inverse_deviation + t.mean - t.offset;
    index_t low = 0, high = problem.count - 1;
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      if (problem.points[middle] <= z)
        low = middle;
      else
        high = middle;
    }
    return log(static_cast<T>(problem.floor_in_spacings * (problem.points[high] - problem.points[low]) * t.inverse_deviation));
  }

  /// Adds `lanes` products of two rows and four columns to the matrix.
  template <int rows, int columns>
  KOLMO_HD KOLMO_INLINE static void add_block(const T (*x)[points_per_chunk], int a, int b, int padded, Evaluation& e) {
    T sum[rows][columns][lanes];
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        for (int j = 0; j < lanes; ++j) sum[r][c][j] = T(0);
    for (int i = 0; i < padded; i += lanes)
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c)
          for (int j = 0; j < lanes; ++j) sum[r][c][j] += x[max_columns + a + r][i + j] * x[b + c][i + j];
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) e.matrix[a + r][b + c] += sum_lanes(sum[r][c]);
  }

  /// Cost sum |r / scale|^p scale^2 / points of weights |r / scale|^(p - 2), and what its next step needs.
  KOLMO_HD void evaluate(const Target& t, const Parameters& p, int power, T inverse_scale, Evaluation& e) const {
    const int components = problem.components, count = 3 * components;
    const int columns = (count + 4) / 4 * 4;
    T weight[max_count], amplitude[max_count], mean[max_count], inverse[max_count];
    T total = T(0);
    for (int k = 0; k < components; ++k) {
      weight[k] = exp(p.value[k]);
      total += weight[k];
    }
    for (int k = 0; k < components; ++k) {
      weight[k] /= total;
      mean[k] = p.value[components + k];
      inverse[k] = exp(-p.value[2 * components + k]);
      amplitude[k] = weight[k] * inverse[k] * T(0.39894228040143267794);
    }
    for (int a = 0; a < columns; ++a)
      for (int b = 0; b < columns; ++b) e.matrix[a][b] = T(0);
    T cost[lanes], largest[lanes];
    for (int j = 0; j < lanes; ++j) cost[j] = largest[j] = T(0);
    // Columns, and the same times the weights of the points.
    alignas(64) T x[2 * max_columns][points_per_chunk];
    alignas(64) T z[points_per_chunk], f[points_per_chunk], g[points_per_chunk];
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      const int n = static_cast<int>(smaller<index_t>(points_per_chunk, t.end - begin));
      const int padded = (n + lanes - 1) / lanes * lanes;
      const T scale = static_cast<T>(t.density_scale);
      if (problem.points == nullptr) {
        const T start = standard(t, begin), step = static_cast<T>(problem.spacing * t.inverse_deviation);
        for (int i = 0; i < n; ++i) z[i] = start + step * static_cast<T>(i);
      } else {
        for (int i = 0; i < n; ++i) z[i] = standard(t, begin + i);
      }
      for (int i = 0; i < n; ++i) f[i] = larger(t.row[begin + i], T(0)) * scale;
      // No component reaches the points that fill the last lanes.
      for (int i = n; i < padded; ++i) {
        z[i] = T(1e6);
        f[i] = T(0);
      }
      for (int i = 0; i < padded; ++i) g[i] = T(0);
      for (int k = 0; k < components; ++k) {
        T* share = x[k];
        T* by_mean = x[components + k];
        T* by_deviation = x[2 * components + k];
        const T m = mean[k], s = inverse[k], c = amplitude[k];
        KOLMO_INDEPENDENT
        for (int i = 0; i < padded; ++i) {
          const T q = (z[i] - m) * s;
          const T square = q * q;
          // Beyond twelve deviations a component is nothing; its products must not be subnormal numbers.
          const T value = square < T(144) ? c * exp(T(-0.5) * smaller(square, T(144))) : T(0);
          share[i] = value;
          by_mean[i] = value * q * s;
          by_deviation[i] = value * (square - T(1));
          g[i] += value;
        }
      }
      T* residual = x[count];
      for (int i = 0; i < padded; ++i) residual[i] = g[i] - f[i];
      for (int k = 0; k < components; ++k) {
        const T w = weight[k];
        for (int i = 0; i < padded; ++i) x[k][i] -= w * g[i];
      }
      for (int a = count + 1; a < columns; ++a)
        for (int i = 0; i < padded; ++i) x[a][i] = T(0);
      for (int i = 0; i < padded; i += lanes) {
        for (int j = 0; j < lanes; ++j) {
          const T r = residual[i + j];
          const T u = r * inverse_scale, square = u * u, fourth = square * square;
          const T w = power == 2 ? T(1) : power == 4 ? square : power == 8 ? square * fourth : fourth * fourth * fourth * square;
          g[i + j] = w;
          cost[j] += w * r * r;
          largest[j] = larger(largest[j], abs(r));
        }
      }
      for (int a = 0; a < columns; ++a)
        for (int i = 0; i < padded; ++i) x[max_columns + a][i] = x[a][i] * g[i];
      for (int a = 0; a < columns; a += 2)
        for (int b = 0; b <= a; b += 4) add_block<2, 4>(x, a, b, padded, e);
    }
    e.cost = sum_lanes(cost);
    e.largest = T(0);
    for (int j = 0; j < lanes; ++j) e.largest = larger(e.largest, largest[j]);
  }

  /// Solves (matrix + damping) step = -gradient with frozen parameters held; false when the matrix is not positive.
  KOLMO_HD bool solve(const Evaluation& e, T damping, const bool* frozen, T* step) const {
    const int count = 3 * problem.components;
    const int padded = (count + 16) / 16 * 16;
    // Rows of the augmented system: entry `count` is the right-hand side.
    alignas(64) T row[max_parameters][row_length];
    T pivot[max_parameters];
    for (int a = 0; a < count; ++a) {
      for (int b = 0; b < padded; ++b) row[a][b] = T(0);
      if (frozen[a]) {
        row[a][a] = T(1);
        continue;
      }
      for (int b = a; b < count; ++b) row[a][b] = frozen[b] ? T(0) : e.matrix[b][a];
      row[a][a] += damping;
      row[a][count] = -e.matrix[count][a];
    }
    for (int a = 0; a < count; ++a) {
      if (!(row[a][a] > T(0))) return false;
      pivot[a] = T(1) / row[a][a];
      for (int b = a + 1; b < count; ++b) {
        const T factor = row[a][b] * pivot[a];
        for (int c = 0; c < padded; ++c) row[b][c] -= factor * row[a][c];
      }
    }
    for (int a = count - 1; a >= 0; --a) {
      T s = row[a][count];
      for (int b = a + 1; b < count; ++b) s -= row[a][b] * step[b];
      step[a] = s * pivot[a];
    }
    return true;
  }

  /// Keeps parameters in their bounds: means among the points, deviations between floor and three of the density's.
  KOLMO_HD void bound(const Target& t, Parameters& p) const {
    const int components = problem.components;
    T top = p.value[0];
    for (int k = 1; k < components; ++k) top = larger(top, p.value[k]);
    for (int k = 0; k < components; ++k) {
      p.value[k] = larger(p.value[k] - top, T(least_log_weight));
      T& mean = p.value[components + k];
      mean = larger(t.first, smaller(t.last, mean));
      T& deviation = p.value[2 * components + k];
      deviation = larger(lowest(t, mean), smaller(T(most_log_deviation), deviation));
    }
  }

  static constexpr double least_log_weight = -16.0;
  static constexpr double most_log_deviation = 1.0986122886681098;

  /// Levenberg-Marquardt until the gain is small; returns whether it ended before its evaluations did.
  KOLMO_HD bool descend(const Target& t, Parameters& p, Evaluation& now, int power, int most, int& evaluated) const {
    const int components = problem.components, count = 3 * components;
    const T inverse_scale = now.largest > T(0) ? T(1) / now.largest : T(1);
    if (power > 2) evaluate(t, p, power, inverse_scale, now);
    T damping = problem.damping, growth = T(2);
    const T curvature = static_cast<T>(power - 1);
    Evaluation next;
    for (int evaluation = 0; evaluation < most;) {
      if (!(now.largest > problem.tolerance)) return true;
      bool frozen[max_parameters];
      T top = T(0);
      for (int a = 0; a < count; ++a) {
        const T slope = now.matrix[count][a];
        top = larger(top, now.matrix[a][a]);
        frozen[a] = false;
        if (a < components) {
          frozen[a] = p.value[a] <= T(least_log_weight) && slope > T(0);
        } else if (a >= 2 * components) {
          const T deviation = p.value[a];
          frozen[a] = (slope > T(0) && deviation <= lowest(t, p.value[a - components])) ||
                      (slope < T(0) && deviation >= T(most_log_deviation));
        }
      }
      T step[max_parameters];
      if (!solve(now, damping * top, frozen, step)) {
        damping *= growth;
        growth *= T(2);
        if (damping > T(1e6)) return true;
        continue;
      }
      Parameters trial;
      T predicted = T(0);
      for (int a = 0; a < count; ++a) {
        const T s = step[a] / curvature;
        predicted += s * (damping * top * step[a] - now.matrix[count][a]);
        const T most_step = a < components ? T(3) : T(1);
        trial.value[a] = p.value[a] + larger(-most_step, smaller(most_step, s));
      }
      bound(t, trial);
      evaluate(t, trial, power, inverse_scale, next);
      ++evaluation;
      ++evaluated;
      if (next.cost < now.cost) {
        const T gain = now.cost - next.cost;
        const bool settled = gain < problem.gain * now.cost;
        const T surprise = 2 * gain / larger(predicted, T(1e-30)) - 1;
        damping = larger(damping * larger(T(0.1), 1 - surprise * surprise * surprise), T(1e-9));
        growth = T(2);
        p = trial;
        now = next;
        if (settled) return true;
      } else {
        damping *= growth;
        growth *= T(2);
        if (damping > T(1e4)) return true;
      }
    }
    return false;
  }

  KOLMO_HD void operator()(index_t item) const {
    problem.evaluated[item] = 0;
    problem.largest_error[item] = T(0);
    if (!is_valid(static_cast<Status>(problem.status[item]))) return;
    const int components = problem.components;
    const index_t offset = item * components;
    const Target t = examine(item);
    if (t.status != Status::ok) {
      problem.status[item] = static_cast<std::int32_t>(t.status);
      return;
    }
    Parameters p;
    for (int k = 0; k < components; ++k) {
      p.value[k] = log(larger(problem.weights[offset + k], T(1e-7)));
      p.value[components + k] =
          static_cast<T>((static_cast<double>(problem.means[offset + k]) - t.mean) * t.inverse_deviation);
      p.value[2 * components + k] =
          log(static_cast<T>(static_cast<double>(problem.deviations[offset + k]) * t.inverse_deviation));
    }
    bound(t, p);
    Evaluation now;
    int evaluated = 1;
    evaluate(t, p, 2, T(1), now);
    if (!is_finite(now.cost)) return;
    bool settled = descend(t, p, now, 2, problem.evaluations - 1, evaluated);
    if (problem.minimax > 0)
      for (int power = 4; power <= 16; power *= 2) {
        Parameters best = p;
        const T before = now.largest;
        descend(t, p, now, power, problem.minimax, evaluated);
        if (!(now.largest < before)) {
          p = best;
          now.largest = before;
          break;
        }
      }
    T total = T(0);
    for (int k = 0; k < components; ++k) total += exp(p.value[k]);
    const double deviation = 1.0 / t.inverse_deviation;
    for (int k = 0; k < components; ++k) {
      problem.weights[offset + k] = exp(p.value[k]) / total;
      problem.means[offset + k] = static_cast<T>(t.mean + static_cast<double>(p.value[components + k]) * deviation);
      problem.deviations[offset + k] = static_cast<T>(static_cast<double>(exp(p.value[2 * components + k])) * deviation);
    }
    sort_by_mean(problem.weights + offset, problem.means + offset, problem.deviations + offset, components);
    problem.largest_error[item] = static_cast<T>(static_cast<double>(now.largest) * t.inverse_deviation);
    problem.evaluated[item] = evaluated;
    problem.status[item] = static_cast<std::int32_t>(settled ? Status::ok : Status::iteration_limit);
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
