#pragma once
// The second-order polish of one mixture, run one item at a time by a backend (see gmm/polish.hpp). Everything happens
// in standardised coordinates of the density, so that no constant has units. One evaluation makes a pass over the
// points in chunks; the derivatives of a single chunk are kept for the Gauss-Newton matrix, those of several are
// computed again, so that the number of points has no bound.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/grid.hpp>
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
  int evaluations;  // of the least-squares stage; 0: the start is measured and returned
  int minimax;      // steps of each stage of higher norm
  T tolerance;
  T gain;
  T damping;
  double floor_in_spacings;
  double negative_tolerance;
  T nan;
  std::int32_t* status;  // items without a fit are left alone
  T* weights;
  T* means;
  T* deviations;
  T* largest_error;
  T* relative_error;
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
    index_t begin, end;  // points that matter: beyond, the density vanishes
    T first, last;       // of these points
    T lowest;            // log deviation floor when equally spaced
  };

  struct Evaluation {
    T cost;
    T largest;
  };

  /// The order of the norm that is minimised, and the error that counts as one.
  struct Norm {
    int power = 2;
    T inverse_scale = T(1);
  };

  /// Derivatives and residuals at one chunk of points, and the Gauss-Newton matrix that is summed from them.
  struct Workspace {
    alignas(64) T x[max_columns][points_per_chunk];         // by log weight, mean, log deviation; the residual
    alignas(64) T weighted[max_columns][points_per_chunk];  // the same times the weights of the points
    alignas(64) T z[points_per_chunk], f[points_per_chunk], g[points_per_chunk];
    T matrix[max_columns][row_length];  // lower triangle of J^T W J; row 3K holds the gradient J^T W r
    T weight[max_count], amplitude[max_count], mean[max_count], inverse[max_count];
    T cost[lanes], largest[lanes];
    int padded;
  };

  KOLMO_HD double point(const Target& target, index_t i) const {
    const double z =
        problem.points != nullptr ? problem.points[i] : problem.first + problem.spacing * static_cast<double>(i);
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
    if (n < 3) {
      t.status = Status::too_short;
      return t;
    }
    const double origin = point(t, n / 2);
    Sums sums;
    index_t i = 0;
    if (problem.points == nullptr) {
      sums.add(0, static_cast<double>(t.row[0]), 0.5 * problem.spacing, point(t, 0) - origin);
      for (i = 1; i + Sums::width < n; i += Sums::width)
        for (int j = 0; j < Sums::width; ++j)
          sums.add(j, static_cast<double>(t.row[i + j]), problem.spacing,
                   problem.spacing * static_cast<double>(i + j - n / 2));
    }
    for (; i < n; ++i) sums.add(0, static_cast<double>(t.row[i]), width(i), point(t, i) - origin);
    const double mass = Sums::total(sums.mass), shift = Sums::total(sums.first) / mass;
    const double spread = Sums::total(sums.second) / mass - shift * shift;
    t.status = !is_finite(mass) || !is_finite(Sums::total(sums.negative))           ? Status::non_finite
               : !(Sums::total(sums.negative) <= problem.negative_tolerance * mass) ? Status::negative_mass
               : !(mass > 1e-12)                                                    ? Status::zero_mass
                                                                                    : Status::ok;
    if (t.status != Status::ok) return t;
    T top = T(0);
    for (index_t at = 0; at < n; ++at) top = larger(top, t.row[at]);
    // All mass in one cell still has the width of the cell.
    double cell = problem.spacing;
    if (problem.points != nullptr) {
      index_t peak = 0;
      while (t.row[peak] < top) ++peak;
      cell = width(peak);
    }
    t.mean = origin + shift;
    t.inverse_deviation = 1.0 / sqrt(larger(spread, cell * cell / 12.0));
    t.density_scale = 1.0 / (mass * t.inverse_deviation);
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
    return log(
        static_cast<T>(problem.floor_in_spacings * (problem.points[high] - problem.points[low]) * t.inverse_deviation));
  }

  /// Constants of the components.
  KOLMO_HD void prepare(const Parameters& p, Workspace& w) const {
    const int components = problem.components;
    T total = T(0);
    for (int k = 0; k < components; ++k) {
      w.weight[k] = exp(p.value[k]);
      total += w.weight[k];
    }
    for (int k = 0; k < components; ++k) {
      w.weight[k] /= total;
      w.mean[k] = p.value[components + k];
      w.inverse[k] = exp(-p.value[2 * components + k]);
      w.amplitude[k] = w.weight[k] * w.inverse[k] * T(0.39894228040143267794);
    }
  }

  /// Columns of the chunk of points that starts at `begin`.
  KOLMO_HD void differentiate(const Target& t, index_t begin, Workspace& w) const {
    const int components = problem.components, count = 3 * components;
    const int n = static_cast<int>(smaller<index_t>(points_per_chunk, t.end - begin));
    const int padded = (n + lanes - 1) / lanes * lanes;
    w.padded = padded;
    if (problem.points == nullptr) {
      const T start = standard(t, begin), step = static_cast<T>(problem.spacing * t.inverse_deviation);
      for (int i = 0; i < n; ++i) w.z[i] = start + step * static_cast<T>(i);
    } else {
      for (int i = 0; i < n; ++i) w.z[i] = standard(t, begin + i);
    }
    for (int i = 0; i < n; ++i)
      w.f[i] = static_cast<T>(static_cast<double>(larger(t.row[begin + i], T(0))) * t.density_scale);
    // No component reaches the points that fill the last lanes.
    for (int i = n; i < padded; ++i) {
      w.z[i] = T(1e6);
      w.f[i] = T(0);
    }
    for (int i = 0; i < padded; ++i) w.g[i] = T(0);
    for (int k = 0; k < components; ++k) {
      T* share = w.x[k];
      T* by_mean = w.x[components + k];
      T* by_deviation = w.x[2 * components + k];
      const T m = w.mean[k], s = w.inverse[k], c = w.amplitude[k];
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
        const T q = (w.z[i] - m) * s;
        const T square = q * q;
        // Beyond twelve deviations a component is nothing; its products must not be subnormal numbers.
        const T bounded = smaller(square, T(144));
        const T value = square < T(144) ? c * exp(T(-0.5) * bounded) : T(0);
        share[i] = value;
        by_mean[i] = value * q * s;
        by_deviation[i] = value * (bounded - T(1));
        w.g[i] += value;
      }
    }
    for (int i = 0; i < padded; ++i) w.x[count][i] = w.g[i] - w.f[i];
    for (int k = 0; k < components; ++k) {
      const T weight = w.weight[k];
      for (int i = 0; i < padded; ++i) w.x[k][i] -= weight * w.g[i];
    }
  }

  /// |r / scale|^(p - 2) for p = 2, 4, 8, 16.
  KOLMO_HD KOLMO_INLINE static T weight_of(T r, const Norm& norm) {
    if (norm.power == 2) return T(1);
    const T u = r * norm.inverse_scale, square = u * u, fourth = square * square;
    return norm.power == 4 ? square : norm.power == 8 ? square * fourth : fourth * fourth * fourth * square;
  }

  /// Cost sum_i r_i^2 |r_i / scale|^(p - 2) and largest |r_i|.
  KOLMO_HD Evaluation evaluate(const Target& t, const Parameters& p, const Norm& norm, Workspace& w) const {
    prepare(p, w);
    for (int j = 0; j < lanes; ++j) w.cost[j] = w.largest[j] = T(0);
    const T* residual = w.x[3 * problem.components];
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      differentiate(t, begin, w);
      for (int i = 0; i < w.padded; i += lanes) {
        for (int j = 0; j < lanes; ++j) {
          const T r = residual[i + j];
          w.cost[j] += weight_of(r, norm) * r * r;
          w.largest[j] = larger(w.largest[j], abs(r));
        }
      }
    }
    Evaluation e{sum_lanes(w.cost), T(0)};
    for (int j = 0; j < lanes; ++j) e.largest = larger(e.largest, w.largest[j]);
    return e;
  }

  /// Adds the products of four rows and two columns over a chunk. Half as many lanes as elsewhere: the sums of the
  /// eight products then stay in registers.
  KOLMO_HD KOLMO_INLINE static void add_block(Workspace& w, const T (*weighted)[points_per_chunk], int a, int b) {
    constexpr int rows = 4, columns = 2, width = 16;
    T sum[rows][columns][width];
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        for (int j = 0; j < width; ++j) sum[r][c][j] = T(0);
    for (int i = 0; i < w.padded; i += width)
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c)
          for (int j = 0; j < width; ++j) sum[r][c][j] += weighted[a + r][i + j] * w.x[b + c][i + j];
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) {
        T eight[8], four[4];
        for (int j = 0; j < 8; ++j) eight[j] = sum[r][c][j] + sum[r][c][j + 8];
        for (int j = 0; j < 4; ++j) four[j] = eight[j] + eight[j + 4];
        w.matrix[a + r][b + c] += (four[0] + four[2]) + (four[1] + four[3]);
      }
    }
  }

  /// The matrix at parameters that were the last to be evaluated.
  KOLMO_HD void assemble(const Target& t, const Norm& norm, Workspace& w) const {
    const int count = 3 * problem.components, columns = (count + 4) / 4 * 4;
    for (int a = 0; a < columns; ++a)
      for (int b = 0; b < columns; ++b) w.matrix[a][b] = T(0);
    // One chunk is still there.
    const bool kept = t.end - t.begin <= points_per_chunk;
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      if (!kept) differentiate(t, begin, w);
      for (int a = count + 1; a < columns; ++a)
        for (int i = 0; i < w.padded; ++i) w.x[a][i] = T(0);
      if (norm.power > 2) {
        for (int i = 0; i < w.padded; ++i) w.g[i] = weight_of(w.x[count][i], norm);
        for (int a = 0; a < columns; ++a)
          for (int i = 0; i < w.padded; ++i) w.weighted[a][i] = w.x[a][i] * w.g[i];
      }
      const T(*weighted)[points_per_chunk] = norm.power > 2 ? w.weighted : w.x;
      for (int a = 0; a < columns; a += 4)
        for (int b = 0; b < a + 4; b += 2) add_block(w, weighted, a, b);
    }
  }

  /// Solves (matrix + damping) step = -gradient with frozen parameters held; false when the matrix is not positive.
  KOLMO_HD bool solve(const Workspace& w, T damping, const bool* frozen, T* step) const {
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
      for (int b = a; b < count; ++b) row[a][b] = frozen[b] ? T(0) : w.matrix[b][a];
      row[a][a] += damping;
      row[a][count] = -w.matrix[count][a];
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
  KOLMO_HD bool descend(const Target& t, Parameters& p, Evaluation& now, int power, int most, int& evaluated,
                        Workspace& w) const {
    const int components = problem.components, count = 3 * components;
    Norm norm;
    if (power > 2) {
      norm = {power, now.largest > T(0) ? T(1) / now.largest : T(1)};
      now = evaluate(t, p, norm, w);
      ++evaluated;
    }
    T damping = problem.damping, growth = T(2), top = T(0);
    bool moved = true;
    for (int evaluation = 0; evaluation < most; ++evaluation) {
      if (!(now.largest > problem.tolerance)) return true;
      if (moved) {
        assemble(t, norm, w);
        top = T(0);
        for (int a = 0; a < count; ++a) top = larger(top, w.matrix[a][a]);
      }
      bool frozen[max_parameters];
      for (int a = 0; a < count; ++a) {
        const T slope = w.matrix[count][a];
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
      while (!solve(w, damping * top, frozen, step)) {
        damping *= T(10);
        if (!(damping < T(1e6))) return true;
      }
      Parameters trial;
      T predicted = T(0);
      for (int a = 0; a < count; ++a) {
        // The curvature of |r|^p is p - 1 times that of its Gauss-Newton model.
        const T s = step[a] / static_cast<T>(power - 1);
        predicted += s * (damping * top * step[a] - w.matrix[count][a]);
        const T most_step = a < components ? T(3) : T(1);
        trial.value[a] = p.value[a] + larger(-most_step, smaller(most_step, s));
      }
      bound(t, trial);
      const Evaluation next = evaluate(t, trial, norm, w);
      ++evaluated;
      moved = next.cost < now.cost;
      if (moved) {
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
        if (!(damping < T(1e4))) return true;
      }
    }
    return !(now.largest > problem.tolerance);
  }

  /// Whether a start is a mixture: finite, of non-negative weights and positive deviations.
  KOLMO_HD bool is_mixture(index_t offset) const {
    double total = 0.0;
    for (int k = 0; k < problem.components; ++k) {
      const T weight = problem.weights[offset + k], deviation = problem.deviations[offset + k];
      if (!is_finite(weight) || !is_finite(problem.means[offset + k]) || !is_finite(deviation)) return false;
      if (!(weight >= T(0)) || !(deviation > T(0))) return false;
      total += static_cast<double>(weight);
    }
    return total > 0.0;
  }

  KOLMO_HD void reject(index_t item, Status status) const {
    problem.status[item] = static_cast<std::int32_t>(status);
    problem.largest_error[item] = problem.relative_error[item] = problem.nan;
  }

  KOLMO_HD void report(index_t item, const Target& t, const Evaluation& e, int evaluated, Status status) const {
    problem.largest_error[item] = static_cast<T>(static_cast<double>(e.largest) * t.inverse_deviation);
    problem.relative_error[item] = e.largest;
    problem.evaluated[item] = evaluated;
    problem.status[item] = static_cast<std::int32_t>(status);
  }

  KOLMO_HD void operator()(index_t item) const {
    problem.evaluated[item] = 0;
    const Status given = static_cast<Status>(problem.status[item]);
    if (!is_valid(given)) return reject(item, given);
    const int components = problem.components;
    const index_t offset = item * components;
    const Target t = examine(item);
    if (t.status != Status::ok) return reject(item, t.status);
    if (!is_mixture(offset)) return reject(item, Status::broken_fit);
    Parameters p;
    for (int k = 0; k < components; ++k) {
      // Within the range of T; `bound` brings them nearer.
      const double far = 1e15, mean = (static_cast<double>(problem.means[offset + k]) - t.mean) * t.inverse_deviation;
      const double deviation = static_cast<double>(problem.deviations[offset + k]) * t.inverse_deviation;
      p.value[k] = log(problem.weights[offset + k]);
      p.value[components + k] = static_cast<T>(larger(-far, smaller(far, mean)));
      p.value[2 * components + k] = static_cast<T>(log(larger(1.0 / far, smaller(far, deviation))));
    }
    if (problem.evaluations > 0) bound(t, p);
    Workspace w;
    Evaluation now = evaluate(t, p, Norm{}, w);
    int evaluated = 1;
    if (!is_finite(now.cost)) return reject(item, Status::broken_fit);
    if (problem.evaluations < 1) return report(item, t, now, evaluated, given);
    const bool settled = descend(t, p, now, 2, problem.evaluations - 1, evaluated, w);
    if (problem.minimax > 0)
      for (int power = 4; power <= 16; power *= 2) {
        const Parameters best = p;
        const T before = now.largest;
        descend(t, p, now, power, problem.minimax, evaluated, w);
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
      problem.deviations[offset + k] =
          static_cast<T>(static_cast<double>(exp(p.value[2 * components + k])) * deviation);
    }
    sort_by_mean(problem.weights + offset, problem.means + offset, problem.deviations + offset, components);
    report(item, t, now, evaluated, settled ? Status::ok : Status::iteration_limit);
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
