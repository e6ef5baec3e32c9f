#pragma once
// The second-order polish of one mixture, run one item at a time by a backend (see gmm/polish.hpp).

#include <kolmo/gmm/mixture_functions.hpp>
#include <kolmo/gmm/polish_matrix.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

template <class T, int max_count>
struct PolishItem : PolishMatrix<T, max_count> {
  using Base = PolishMatrix<T, max_count>;
  using Base::max_parameters;
  using Base::problem;
  using Base::row_length;
  using typename Base::Evaluation;
  using typename Base::Norm;
  using typename Base::Parameters;
  using typename Base::Target;
  using typename Base::Workspace;

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
      deviation = larger(this->lowest(t, mean), smaller(T(most_log_deviation), deviation));
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
      now = this->evaluate(t, p, norm, w);
      ++evaluated;
    }
    T damping = problem.damping, growth = T(2), top = T(0);
    bool moved = true;
    for (int evaluation = 0; evaluation < most; ++evaluation) {
      if (!(now.largest > problem.tolerance)) return true;
      if (moved) {
        this->assemble(t, norm, w);
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
          frozen[a] = (slope > T(0) && deviation <= this->lowest(t, p.value[a - components])) ||
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
      const Evaluation next = this->evaluate(t, trial, norm, w);
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
    const Target t = this->examine(item);
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
    Evaluation now = this->evaluate(t, p, Norm{}, w);
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
