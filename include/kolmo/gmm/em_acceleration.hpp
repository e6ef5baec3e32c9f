#pragma once
// The iterations of the EM of one density, plain or accelerated by Anderson's method (Anderson 1965; Walker and Ni
// 2011): with x = (log pi, mu / s, log sigma), s the density's deviation, F an iteration of EM and g = F(x) - x,
//
//   x <- F(x) - dF c,   c = argmin |g - dG c|
//
// over the last changes dF of F and dG of g. Components count by their weight, and means by the component's
// deviation. The step beyond F(x) is no longer than a radius, which grows while the full radius succeeds. A step after
// which the likelihood is lower than before is taken back: F(x) is used, the radius becomes half the step, and the
// changes are forgotten. So the likelihood never falls, as in EM.

#include <kolmo/gmm/em_step.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

/// Changes of F and g, and the minimisation over them.
template <class T, int max_size>
struct AndersonHistory {
  static constexpr int window = 5;
  static constexpr int width = 8;  // of a row of changes, for whole vectors
  static constexpr T regularisation = std::same_as<T, float> ? T(1e-4) : T(1e-6);

  alignas(64) T change_of_g[max_size][width];
  alignas(64) T change_of_f[window][max_size];
  T gram[window][window];
  T metric[max_size];
  T f[max_size], g[max_size];
  int size, filled, next;
  bool has_previous;

  KOLMO_HD void clear() {
    filled = next = 0;
    has_previous = false;
    for (int i = 0; i < size; ++i)
      for (int j = 0; j < width; ++j) change_of_g[i][j] = T(0);
  }

  /// Takes F(x) and g at the next x; the first ones after clear() only begin the history.
  KOLMO_HD void add(const T* new_f, const T* new_g) {
    if (has_previous) {
      alignas(64) T product[width];
      for (int j = 0; j < width; ++j) product[j] = T(0);
      for (int i = 0; i < size; ++i) {
        change_of_f[next][i] = new_f[i] - f[i];
        change_of_g[i][next] = new_g[i] - g[i];
      }
      for (int i = 0; i < size; ++i) {
        const T weighted = metric[i] * change_of_g[i][next];
        for (int j = 0; j < width; ++j) product[j] += weighted * change_of_g[i][j];
      }
      for (int j = 0; j < window; ++j) gram[next][j] = gram[j][next] = product[j];
      next = next + 1 == window ? 0 : next + 1;
      filled = filled < window ? filled + 1 : window;
    }
    for (int i = 0; i < size; ++i) {
      f[i] = new_f[i];
      g[i] = new_g[i];
    }
    has_previous = true;
  }

  /// x <- F(x) - dF c, no further than `radius` from F(x); sets `taken` to the distance. False without a history or
  /// when the minimisation has no answer.
  KOLMO_HD bool extrapolate(T radius, T* x, T& taken) const {
    if (filled == 0) return false;
    alignas(64) T c[width];
    for (int j = 0; j < width; ++j) c[j] = T(0);
    for (int i = 0; i < size; ++i) {
      const T weighted = metric[i] * g[i];
      for (int j = 0; j < width; ++j) c[j] += weighted * change_of_g[i][j];
    }
    // Cholesky's factors L D L^T; small pivots are dropped directions.
    T factor[window][window], pivot[window];
    for (int i = 0; i < filled; ++i) {
      pivot[i] = gram[i][i] * (T(1) + regularisation);
      for (int j = 0; j < i; ++j) {
        T sum = gram[i][j];
        for (int l = 0; l < j; ++l) sum -= factor[i][l] * factor[j][l] * pivot[l];
        factor[i][j] = sum / pivot[j];
        pivot[i] -= sum * factor[i][j];
      }
      if (!(pivot[i] > T(0))) return false;
    }
    for (int i = 0; i < filled; ++i)
      for (int j = 0; j < i; ++j) c[i] -= factor[i][j] * c[j];
    for (int i = filled - 1; i >= 0; --i) {
      c[i] /= pivot[i];
      for (int j = i + 1; j < filled; ++j) c[i] -= factor[j][i] * c[j];
    }
    for (int i = 0; i < size; ++i) x[i] = T(0);
    for (int j = 0; j < filled; ++j)
      for (int i = 0; i < size; ++i) x[i] -= c[j] * change_of_f[j][i];
    T length = T(0);
    for (int i = 0; i < size; ++i) {
      // The square of a smaller step could be subnormal.
      const T step = abs(x[i]) < T(1e-12) ? T(0) : x[i];
      length += metric[i] * step * step;
    }
    taken = sqrt(length);
    if (!is_finite(taken)) return false;
    const T shrink = taken > radius ? radius / taken : T(1);
    taken *= shrink;
    for (int i = 0; i < size; ++i) x[i] = f[i] + shrink * x[i];
    return true;
  }
};

template <class T, int max_components>
struct EmIteration : EmStep<T, max_components> {
  using Step = EmStep<T, max_components>;
  using Step::problem;
  using typename Step::Constants;
  using typename Step::Density;
  using typename Step::Parameters;
  using typename Step::Points;
  using typename Step::Sums;
  using History = AndersonHistory<T, 3 * max_components>;

  /// Parameters as the vector x; whole groups of 8 components, so that logarithms vectorise.
  KOLMO_HD void to_vector(const Density& d, const Parameters& p, T* x) const {
    const int n = problem.components;
    alignas(64) T weight[max_components], variance[max_components];
    for (int k = 0; k < max_components; ++k) {
      const bool inside = k < n;
      weight[k] = inside ? larger(p.weight[k], Constants::least_log_weight) : T(1);
      variance[k] = inside ? p.variance[k] : T(1);
    }
    for (int base = 0; base < n; base += 8) {
      for (int k = base; k < base + 8; ++k) weight[k] = log_of_normal(weight[k]);
      for (int k = base; k < base + 8; ++k) variance[k] = T(0.5) * log_of_normal(variance[k]);
    }
    const T scale = T(1) / d.deviation;
    for (int k = 0; k < n; ++k) {
      x[k] = weight[k];
      x[n + k] = (p.mean[k] - d.mean) * scale;
      x[2 * n + k] = variance[k];
    }
  }

  /// Parameters of x, brought to the points' range and above the floor, and x changed likewise.
  KOLMO_HD void to_parameters(const Density& d, T* x, Parameters& p) const {
    const int n = problem.components;
    T top = x[0];
    for (int k = 1; k < n; ++k) top = larger(top, x[k]);
    alignas(64) T weight[max_components], variance[max_components];
    for (int k = 0; k < max_components; ++k) {
      weight[k] = k < n ? x[k] - top : T(0);
      variance[k] = k < n ? T(2) * x[2 * n + k] : T(0);
    }
    for (int base = 0; base < n; base += 8) {
      for (int k = base; k < base + 8; ++k) weight[k] = exp(weight[k]);
      for (int k = base; k < base + 8; ++k) variance[k] = exp(variance[k]);
    }
    T total = T(0);
    for (int k = 0; k < n; ++k) total += weight[k];
    const T shift = top + log(total);
    const T low = d.points[0], high = d.points[problem.count - 1];
    for (int k = 0; k < n; ++k) {
      p.weight[k] = weight[k] / total;
      x[k] -= shift;
      const T mean = d.mean + d.deviation * x[n + k];
      p.mean[k] = larger(low, smaller(mean, high));
      if (p.mean[k] != mean) x[n + k] = (p.mean[k] - d.mean) / d.deviation;
      const T floor = this->variance_floor(d, p.mean[k]);
      p.variance[k] = larger(variance[k], floor);
      if (!(variance[k] > floor)) x[2 * n + k] = T(0.5) * log(floor);
    }
  }

  KOLMO_HD void set_metric(const Density& d, const Parameters& p, History& history) const {
    const int n = problem.components;
    for (int k = 0; k < n; ++k) {
      const T weight = larger(p.weight[k], Constants::least_log_weight);
      history.metric[k] = history.metric[2 * n + k] = weight;
      history.metric[n + k] = weight * square(d.deviation) / p.variance[k];
    }
  }

  /// Iterates in place; returns the likelihood of the parameters left in p. `trace`, where given, takes the likelihoods
  /// of all parameters that were not taken back, at most max_iterations + 1.
  KOLMO_HD T iterate(const Density& d, Points& points, Parameters& p, int& iterations, Status& status,
                     T* trace = nullptr) const {
    Sums sums;
    History history;
    Parameters plain;
    T x[3 * max_components], f[3 * max_components], g[3 * max_components];
    const int size = 3 * problem.components;
    history.size = size;
    history.clear();
    T previous = T(0), radius = T(1e30), taken = T(0);
    bool extrapolated = false, has_x = false;
    iterations = 0;
    status = Status::iteration_limit;
    for (;;) {
      this->expectation(d, p, points, sums);
      const T likelihood = sums.log_likelihood;
      if (extrapolated && !(likelihood >= previous)) {
        p = plain;
        radius = T(0.5) * taken;
        history.clear();
        extrapolated = has_x = false;
        if (iterations < problem.max_iterations) ++iterations;
        continue;
      }
      if (trace != nullptr) *trace++ = likelihood;
      if (iterations > 0 && abs(likelihood - previous) < problem.tolerance) status = Status::ok;
      // Only an iteration of EM restores the mean and the variance of the masses, so the last step is one.
      if (status == Status::ok && extrapolated) {
        this->maximisation(d, sums, p);
        ++iterations;
        this->expectation(d, p, points, sums);
        if (trace != nullptr) *trace = sums.log_likelihood;
        return sums.log_likelihood;
      }
      if (status == Status::ok || iterations == problem.max_iterations) return likelihood;
      previous = likelihood;
      if (extrapolated && taken > T(0.5) * radius) radius *= T(2);
      extrapolated = false;
      if (problem.acceleration == Acceleration::anderson) {
        if (!has_x) to_vector(d, p, x);
        if (!history.has_previous) set_metric(d, p, history);
      }
      this->maximisation(d, sums, p);
      ++iterations;
      if (problem.acceleration == Acceleration::none || iterations == problem.max_iterations) continue;
      to_vector(d, p, f);
      for (int i = 0; i < size; ++i) g[i] = f[i] - x[i];
      history.add(f, g);
      extrapolated = history.extrapolate(radius, x, taken);
      has_x = true;
      if (extrapolated) {
        plain = p;
        to_parameters(d, x, p);
      } else {
        for (int i = 0; i < size; ++i) x[i] = f[i];
      }
    }
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
