#pragma once
// The second-order polish of one mixture by a team (see gmm/polish.hpp). Members take the same way through it: what
// they branch on has the same bits in all of them.

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

  static constexpr int team_threads = 32;
  using Scratch = Workspace;

  /// Solves (matrix + damping) step = -gradient with frozen parameters held; false when the matrix is not positive.
  template <class Team>
  KOLMO_HD bool solve(const Team& team, Workspace& w, T damping) const {
    const int count = 3 * problem.components;
    const int padded = (count + 16) / 16 * 16;
    // Rows of the augmented system: entry `count` is the right-hand side. They take the place of the derivatives, which
    // the next evaluation makes anew.
    static_assert(sizeof(T[max_parameters][row_length]) <= sizeof(w.x));
    T(*const row)[row_length] = reinterpret_cast<T(*)[row_length]>(&w.x[0][0]);
    for (int a = 0; a < count; ++a)
      for (int b = team.rank(); b < padded; b += team.size()) row[a][b] = T(0);
    team.synchronize();
    for (int a = 0; a < count; ++a) {
      if (w.frozen[a]) {
        if (team.rank() == 0) row[a][a] = T(1);
        continue;
      }
      for (int b = a + team.rank(); b < count; b += team.size()) row[a][b] = w.frozen[b] ? T(0) : w.matrix[b][a];
      if (team.rank() == 0) {
        row[a][a] += damping;
        row[a][count] = -w.matrix[count][a];
      }
    }
    team.synchronize();
    // Members share rows and columns.
    constexpr int across = smaller(16, Team::size()), down = Team::size() / across;
    const int first_row = team.rank() / across, first_column = team.rank() % across;
    for (int a = 0; a < count; ++a) {
      if (!(row[a][a] > T(0))) {
        // The caller fills the matrix again: not before all have seen this.
        team.synchronize();
        return false;
      }
      const T pivot = T(1) / row[a][a];
      if (team.rank() == 0) w.pivot[a] = pivot;
      for (int b = a + 1 + first_row; b < count; b += down) {
        const T factor = row[a][b] * pivot;
        for (int c = first_column; c < padded; c += across) row[b][c] -= factor * row[a][c];
      }
      team.synchronize();
    }
    if (team.rank() == 0)
      for (int a = count - 1; a >= 0; --a) {
        T s = row[a][count];
        for (int b = a + 1; b < count; ++b) s -= row[a][b] * w.step[b];
        w.step[a] = s * w.pivot[a];
      }
    team.synchronize();
    return true;
  }

  /// Keeps parameters in their bounds: means among the points, deviations between floor and three of the density's.
  template <class Team>
  KOLMO_HD void bound(const Team& team, const Target& t, Parameters& p) const {
    const int components = problem.components;
    team.synchronize();
    T top = p.value[0];
    for (int k = 1; k < components; ++k) top = larger(top, p.value[k]);
    team.synchronize();
    for (int k = team.rank(); k < components; k += team.size()) {
      p.value[k] = larger(p.value[k] - top, T(least_log_weight));
      T& mean = p.value[components + k];
      mean = larger(t.first, smaller(t.last, mean));
      T& deviation = p.value[2 * components + k];
      deviation = larger(this->lowest(t, mean), smaller(T(most_log_deviation), deviation));
    }
    team.synchronize();
  }

  template <class Team>
  KOLMO_HD void copy(const Team& team, const Parameters& from, Parameters& to) const {
    for (int a = team.rank(); a < 3 * problem.components; a += team.size()) to.value[a] = from.value[a];
    team.synchronize();
  }

  static constexpr double least_log_weight = -16.0;
  static constexpr double most_log_deviation = 1.0986122886681098;

  /// Levenberg-Marquardt from the current parameters until the gain is small; returns whether it ended before its
  /// evaluations did.
  template <class Team>
  KOLMO_HD bool descend(const Team& team, const Target& t, Evaluation& now, int power, int most, int& evaluated,
                        Workspace& w) const {
    const int components = problem.components, count = 3 * components;
    Parameters& p = w.current;
    Norm norm;
    if (power > 2) {
      norm = {power, now.largest > T(0) ? T(1) / now.largest : T(1)};
      now = this->evaluate(team, t, p, norm, w);
      ++evaluated;
    }
    T damping = problem.damping, growth = T(2), top = T(0);
    bool moved = true;
    for (int evaluation = 0; evaluation < most; ++evaluation) {
      if (!(now.largest > problem.tolerance)) return true;
      if (moved) {
        this->assemble(team, t, norm, w);
        top = T(0);
        for (int a = 0; a < count; ++a) top = larger(top, w.matrix[a][a]);
      }
      for (int a = team.rank(); a < count; a += team.size()) {
        const T slope = w.matrix[count][a];
        bool frozen = false;
        if (a < components) {
          frozen = p.value[a] <= T(least_log_weight) && slope > T(0);
        } else if (a >= 2 * components) {
          const T deviation = p.value[a];
          frozen = (slope > T(0) && deviation <= this->lowest(t, p.value[a - components])) ||
                   (slope < T(0) && deviation >= T(most_log_deviation));
        }
        w.frozen[a] = frozen;
      }
      team.synchronize();
      while (!solve(team, w, damping * top)) {
        damping *= T(10);
        if (!(damping < T(1e6))) return true;
      }
      T predicted = T(0);
      for (int a = team.rank(); a < count; a += team.size()) {
        // The curvature of |r|^p is p - 1 times that of its Gauss-Newton model.
        const T s = w.step[a] / static_cast<T>(power - 1);
        predicted += s * (damping * top * w.step[a] - w.matrix[count][a]);
        const T most_step = a < components ? T(3) : T(1);
        w.trial.value[a] = p.value[a] + larger(-most_step, smaller(most_step, s));
      }
      predicted = team.sum(predicted);
      bound(team, t, w.trial);
      const Evaluation next = this->evaluate(team, t, w.trial, norm, w);
      ++evaluated;
      moved = next.cost < now.cost;
      if (moved) {
        const T gain = now.cost - next.cost;
        const bool settled = gain < problem.gain * now.cost;
        const T surprise = 2 * gain / larger(predicted, T(1e-30)) - 1;
        damping = larger(damping * larger(T(0.1), 1 - surprise * surprise * surprise), T(1e-9));
        growth = T(2);
        copy(team, w.trial, p);
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
    problem.evaluated[item] = 0;
  }

  KOLMO_HD void report(index_t item, const Target& t, const Evaluation& e, int evaluated, Status status) const {
    problem.largest_error[item] = static_cast<T>(static_cast<double>(e.largest) * t.inverse_deviation);
    problem.relative_error[item] = e.largest;
    problem.evaluated[item] = evaluated;
    problem.status[item] = static_cast<std::int32_t>(status);
  }

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const Status given = static_cast<Status>(problem.status[item]);
    const Target t = this->examine(team, item);
    const Status status = !is_valid(given)                        ? given
                          : t.status != Status::ok                ? t.status
                          : is_mixture(item * problem.components) ? Status::ok
                                                                  : Status::broken_fit;
    // The first member writes what the others have read.
    team.synchronize();
    if (status != Status::ok) {
      if (team.rank() == 0) reject(item, status);
      return;
    }
    improve(team, item, given, t, *team.template scratch<Workspace>());
  }

 private:
  template <class Team>
  KOLMO_HD void improve(const Team& team, index_t item, Status given, const Target& t, Workspace& w) const {
    const int components = problem.components;
    const index_t offset = item * components;
    Parameters& p = w.current;
    for (int k = team.rank(); k < components; k += team.size()) {
      // Within the range of T; `bound` brings them nearer.
      const double far = 1e15, mean = (static_cast<double>(problem.means[offset + k]) - t.mean) * t.inverse_deviation;
      const double deviation = static_cast<double>(problem.deviations[offset + k]) * t.inverse_deviation;
      p.value[k] = log(problem.weights[offset + k]);
      p.value[components + k] = static_cast<T>(larger(-far, smaller(far, mean)));
      p.value[2 * components + k] = static_cast<T>(log(larger(1.0 / far, smaller(far, deviation))));
    }
    team.synchronize();
    if (problem.evaluations > 0) bound(team, t, p);
    Evaluation now = this->evaluate(team, t, p, Norm{}, w);
    int evaluated = 1;
    if (!is_finite(now.cost) || problem.evaluations < 1) {
      if (team.rank() == 0) {
        if (is_finite(now.cost))
          report(item, t, now, evaluated, given);
        else
          reject(item, Status::broken_fit);
      }
      return;
    }
    const bool settled = descend(team, t, now, 2, problem.evaluations - 1, evaluated, w);
    if (problem.minimax > 0)
      for (int power = 4; power <= 16; power *= 2) {
        copy(team, p, w.best);
        const T before = now.largest;
        descend(team, t, now, power, problem.minimax, evaluated, w);
        if (!(now.largest < before)) {
          copy(team, w.best, p);
          now.largest = before;
          break;
        }
      }
    T total = T(0);
    for (int k = 0; k < components; ++k) total += exp(p.value[k]);
    const double deviation = 1.0 / t.inverse_deviation;
    for (int k = team.rank(); k < components; k += team.size()) {
      problem.weights[offset + k] = exp(p.value[k]) / total;
      problem.means[offset + k] = static_cast<T>(t.mean + static_cast<double>(p.value[components + k]) * deviation);
      problem.deviations[offset + k] =
          static_cast<T>(static_cast<double>(exp(p.value[2 * components + k])) * deviation);
    }
    team.synchronize();
    if (team.rank() != 0) return;
    sort_by_mean(problem.weights + offset, problem.means + offset, problem.deviations + offset, components);
    report(item, t, now, evaluated, settled ? Status::ok : Status::iteration_limit);
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
