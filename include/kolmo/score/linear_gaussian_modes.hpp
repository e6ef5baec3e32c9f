#pragma once
// The problem of linear_gaussian.hpp in Fourier space. Observing every s-th point mixes only the s wave numbers that
// alias, g, g + N, ..., g + (s - 1) N, and sees their sum: A = (1, ..., 1) / sqrt(s) on each such group. Every affine
// method is then eps = d x + u (v . x) + b y within a group, and a group of s modes with one observation is a problem
// of its own. So the mean and the covariance that a deterministic sampler ends with follow exactly, for 10^4
// observations as for 4: the sampler itself is run on the unit vectors. Nothing is drawn.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/threads.hpp>
#include <kolmo/score/linear_gaussian.hpp>
#include <kolmo/score/sampler.hpp>

namespace kolmo::score {

/// A few groups of aliasing modes: their eigenvalues [groups, s], and how often each group occurs (g and -g are alike).
struct ModeGroups {
  index_t size = 1;  ///< s
  std::vector<double> eigenvalues;
  std::vector<double> multiplicity;
  index_t count() const { return static_cast<index_t>(multiplicity.size()); }
  const double* group(index_t g) const { return eigenvalues.data() + g * size; }
};

/// All different groups of a problem, 0 to N / 2.
inline ModeGroups mode_groups(const PeriodicProblem& problem) {
  const std::vector<double> spectrum = problem.spectrum();
  const index_t n = problem.observations();
  ModeGroups result;
  result.size = problem.every;
  for (index_t g = 0; g <= n / 2; ++g) {
    for (index_t m = 0; m < problem.every; ++m)
      result.eigenvalues.push_back(spectrum[static_cast<std::size_t>(g + n * m)]);
    result.multiplicity.push_back(g == 0 || 2 * g == n ? 1 : 2);
  }
  return result;
}

/// eps = diagonal x + left (right . x) + observation y for a group, at one time; each [s].
struct ModeEstimate {
  std::vector<double> diagonal, left, right, observation;
};

/// `mean_variance` is A C A^T of group 0, of which the row sums of TMPD consist.
inline ModeEstimate mode_estimate(const double* eigenvalues, index_t size, const AffineMethod& method, double deviation,
                                  index_t observations, double mean_variance, double mu, double sigma) {
  const std::size_t s = static_cast<std::size_t>(size);
  const double a = 1 / std::sqrt(static_cast<double>(size)), rho = sigma / mu;
  const double own = method.deviation > 0 ? method.deviation : deviation, variance = own * own;
  ModeEstimate e{std::vector<double>(s), std::vector<double>(s), std::vector<double>(s), std::vector<double>(s)};
  double seen = 0;  // A C A^T
  for (std::size_t i = 0; i < s; ++i) {
    const double norm = mu * mu * eigenvalues[i] + sigma * sigma;
    e.diagonal[i] = sigma / norm;
    e.right[i] = a * mu * eigenvalues[i] / norm;  // A J
    seen += a * a * eigenvalues[i] * sigma * sigma / norm;
  }
  if (method.kind == AffineKind::proximal) {
    const double g = a / (1 + method.lambda * variance / (rho * rho));
    for (std::size_t i = 0; i < s; ++i) {
      e.left[i] = mu * g / sigma;
      e.observation[i] = -mu * g / sigma;
    }
    return e;
  }
  double weight = variance + method.gamma * rho * rho;
  if (method.kind == AffineKind::exact) weight = variance + seen;
  if (method.kind == AffineKind::pigdm) weight = variance + sigma * sigma / (mu * mu + sigma * sigma);
  if (method.kind == AffineKind::tmpd) weight = variance + mean_variance;
  if (method.kind == AffineKind::mean_reduction) weight *= static_cast<double>(observations);
  for (std::size_t i = 0; i < s; ++i) {
    const double back = method.kind == AffineKind::detached ? a / mu : e.right[i];
    e.left[i] = sigma * back / weight;
    e.observation[i] = -sigma * back / weight;
  }
  return e;
}

/// A C A^T of a group.
inline double observed_variance(const double* eigenvalues, index_t size, double mu, double sigma) {
  double sum = 0;
  for (index_t i = 0; i < size; ++i) sum += eigenvalues[i] * sigma * sigma / (mu * mu * eigenvalues[i] + sigma * sigma);
  return sum / static_cast<double>(size);
}

/// How a sampled posterior compares with the exact one, C_t = C* + sigma(0)^2 I.
struct GaussianComparison {
  double bias = 0;       ///< rms over observations of |mean - exact mean| / sqrt(tr C_t)
  double spread = 0;     ///< sqrt(tr C / tr C_t); 1 is right
  double transport = 0;  ///< rms Wasserstein-2 distance / sqrt(tr C_t)
  double residual = 0;   ///< rms of A x - y over that of the exact posterior; 1 is right
  bool finite = true;    ///< false: the sampler exploded, and the numbers are infinite
};

/// The norms of the two parts of the noise estimate, rms over the true joint distribution of x_t and y.
struct LikelihoodNorms {
  double likelihood = 0;  ///< of sigma l
  double prior = 0;       ///< of eps
};

}  // namespace kolmo::score

namespace kolmo::score::detail {

/// The estimator of a few groups on rows [groups, s + 1, s]: the unit vectors with y = 0, and zero with y = 1.
struct ModeEstimator {
  using V = Tensor<double, Cpu>;
  const ModeGroups& groups;
  index_t first, count;
  AffineMethod method;
  Schedule schedule;
  double deviation;
  index_t observations;

  V operator()(const V& x, double t) const {
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    const index_t s = groups.size;
    const double mean_variance = observed_variance(groups.group(0), s, mu, sigma);
    V result = V::uninitialized(x.shape());
    double* to = result.mutable_data();
    const double* from = x.data();
    for (index_t g = 0; g < count; ++g) {
      const ModeEstimate e =
          mode_estimate(groups.group(first + g), s, method, deviation, observations, mean_variance, mu, sigma);
      for (index_t r = 0; r <= s; ++r, from += s, to += s) {
        double seen = 0;
        for (index_t i = 0; i < s; ++i) seen += e.right[static_cast<std::size_t>(i)] * from[i];
        for (std::size_t i = 0; i < static_cast<std::size_t>(s); ++i)
          to[i] = e.diagonal[i] * from[i] + e.left[i] * seen + (r == s ? e.observation[i] : 0);
      }
    }
    return result;
  }
};

/// The sum of the singular values of a [n, n] row-major matrix, by one-sided Jacobi rotations of its rows.
inline double nuclear_norm(std::vector<double> a, std::size_t n) {
  for (int sweep = 0; sweep < 40; ++sweep) {
    double worst = 0;
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        double pp = 0, qq = 0, pq = 0;
        for (std::size_t k = 0; k < n; ++k) {
          pp += a[p * n + k] * a[p * n + k];
          qq += a[q * n + k] * a[q * n + k];
          pq += a[p * n + k] * a[q * n + k];
        }
        if (!(std::abs(pq) > 1e-14 * std::sqrt(pp * qq))) continue;
        worst = larger(worst, std::abs(pq) / std::sqrt(pp * qq));
        const double zeta = (qq - pp) / (2 * pq);
        const double tangent = (zeta >= 0 ? 1 : -1) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
        const double cosine = 1 / std::sqrt(1 + tangent * tangent), sine = cosine * tangent;
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a[p * n + k], y = a[q * n + k];
          a[p * n + k] = cosine * x - sine * y;
          a[q * n + k] = sine * x + cosine * y;
        }
      }
    if (worst < 1e-12) break;
  }
  double sum = 0;
  for (std::size_t p = 0; p < n; ++p) {
    double norm = 0;
    for (std::size_t k = 0; k < n; ++k) norm += a[p * n + k] * a[p * n + k];
    sum += std::sqrt(norm);
  }
  return sum;
}

/// The sums over groups of which a GaussianComparison consists.
struct ModeSums {
  double bias = 0, trace = 0, exact_trace = 0, overlap = 0, residual = 0, exact_residual = 0;
  void add(const ModeSums& other, double times) {
    bias += times * other.bias;
    trace += times * other.trace;
    exact_trace += times * other.exact_trace;
    overlap += times * other.overlap;
    residual += times * other.residual;
    exact_residual += times * other.exact_residual;
  }
};

/// One group from the rows the sampler ended with: [s + 1, s], the responses to the unit vectors and to y.
inline ModeSums compare_group(const double* eigenvalues, index_t size, const double* rows, double deviation,
                              double end_noise) {
  const std::size_t s = static_cast<std::size_t>(size);
  const double a = 1 / std::sqrt(static_cast<double>(size)), noise = deviation * deviation;
  double total = noise;  // A S A^T + deviation^2
  for (std::size_t i = 0; i < s; ++i) total += a * a * eigenvalues[i];
  const double* gain = rows + s * s;
  ModeSums sums;
  std::vector<double> exact(s * s);  // C_t
  for (std::size_t i = 0; i < s; ++i) {
    const double true_gain = a * eigenvalues[i] / total, error = gain[i] - true_gain;
    sums.bias += error * error * total;
    for (std::size_t j = 0; j < s; ++j) exact[i * s + j] = -a * a * eigenvalues[i] * eigenvalues[j] / total;
    exact[i * s + i] += eigenvalues[i] + end_noise * end_noise;
    sums.exact_trace += exact[i * s + i];
  }
  double seen = -1, true_seen = -1, spread = 0, true_spread = 0;
  for (std::size_t i = 0; i < s; ++i) {
    seen += a * gain[i];
    true_seen += a * a * eigenvalues[i] / total;
    double row = 0;
    for (std::size_t j = 0; j < s; ++j) {
      sums.trace += rows[i * s + j] * rows[i * s + j];
      row += a * rows[i * s + j];
      true_spread += a * a * exact[i * s + j];
    }
    spread += row * row;
  }
  sums.residual = seen * seen * total + spread;
  sums.exact_residual = true_seen * true_seen * total + true_spread;
  // With C_t = L L^T and C = X^T X, tr (C_t^1/2 C C_t^1/2)^1/2 is the sum of the singular values of X L.
  for (std::size_t k = 0; k < s; ++k) {
    for (std::size_t j = 0; j < k; ++j)
      for (std::size_t i = k; i < s; ++i) exact[i * s + k] -= exact[i * s + j] * exact[k * s + j];
    const double root = std::sqrt(exact[k * s + k]);
    for (std::size_t i = k; i < s; ++i) exact[i * s + k] /= root;
  }
  std::vector<double> product(s * s);
  for (std::size_t r = 0; r < s; ++r)
    for (std::size_t k = 0; k < s; ++k)
      for (std::size_t i = k; i < s; ++i) product[r * s + k] += rows[r * s + i] * exact[i * s + k];
  sums.overlap = nuclear_norm(std::move(product), s);
  return sums;
}

}  // namespace kolmo::score::detail

namespace kolmo::score {

/// Where a deterministic sampler with an affine method ends, against the exact posterior, without drawing anything.
/// Throws ArgumentError for a problem or options out of range, and for a sampler that draws noise.
inline GaussianComparison compare_with_posterior(const PeriodicProblem& problem, const AffineMethod& method,
                                                 const Schedule& schedule, const SamplerOptions& options) {
  using V = Tensor<double, Cpu>;
  const bool drawn = options.method == SamplerMethod::ddim || options.method == SamplerMethod::ito;
  if (options.corrections > 0 || (drawn && options.eta > 0))
    throw ArgumentError("compare_with_posterior: the sampler must draw no noise; expected corrections 0 and eta 0");
  const ModeGroups groups = mode_groups(problem);
  const index_t s = groups.size, count = groups.count();
  const index_t per_part = larger(index_t{1}, index_t{4096} / (s * (s + 1)));
  const index_t parts = divide_up(count, per_part);
  const double end_noise = schedule.sigma(options.grid.end_time);
  std::vector<kolmo::score::detail::ModeSums> sums(static_cast<std::size_t>(parts));
  std::vector<char> finite(static_cast<std::size_t>(parts), 1);
  threads::parallel_for(parts, [&](index_t part) {
    const index_t first = part * per_part, n = smaller(per_part, count - first);
    std::vector<double> rows(static_cast<std::size_t>(n * (s + 1) * s));
    for (index_t g = 0; g < n; ++g)
      for (index_t i = 0; i < s; ++i) rows[static_cast<std::size_t>((g * (s + 1) + i) * s + i)] = 1;
    const detail::ModeEstimator eps{groups, first, n, method, schedule, problem.deviation, problem.observations()};
    try {
      rows =
          sample(eps, schedule, V::from(std::span<const double>(rows), Shape{n, s + 1, s}), options, Key{}).to_vector();
    } catch (const NonFiniteSample&) {
      finite[static_cast<std::size_t>(part)] = 0;
      return;
    }
    for (index_t g = 0; g < n; ++g)
      sums[static_cast<std::size_t>(part)].add(
          detail::compare_group(groups.group(first + g), s, rows.data() + g * (s + 1) * s, problem.deviation,
                                end_noise),
          groups.multiplicity[static_cast<std::size_t>(first + g)]);
  });
  detail::ModeSums total;
  GaussianComparison result;
  for (std::size_t part = 0; part < sums.size(); ++part) {
    total.add(sums[part], 1);
    result.finite = result.finite && finite[part] != 0;
  }
  if (!result.finite) {
    const double infinite = kolmo::detail::infinity<double>();
    return {infinite, infinite, infinite, infinite, false};
  }
  result.bias = std::sqrt(total.bias / total.exact_trace);
  result.spread = std::sqrt(total.trace / total.exact_trace);
  // (tr C + tr C_t - 2 overlap) + bias, not below zero by rounding.
  result.transport =
      std::sqrt(larger(total.bias + total.trace + total.exact_trace - 2 * total.overlap, 0.0) / total.exact_trace);
  result.residual = std::sqrt(total.residual / total.exact_residual);
  return result;
}

/// The rms norms of the likelihood's and the prior's part of the noise estimate at time t.
inline LikelihoodNorms likelihood_norms(const PeriodicProblem& problem, const AffineMethod& method,
                                        const Schedule& schedule, double t) {
  const ModeGroups groups = mode_groups(problem);
  const double mu = schedule.mu(t), sigma = schedule.sigma(t);
  const double mean_variance = observed_variance(groups.group(0), groups.size, mu, sigma);
  LikelihoodNorms result;
  for (index_t g = 0; g < groups.count(); ++g) {
    const double* lambda = groups.group(g);
    const double times = groups.multiplicity[static_cast<std::size_t>(g)];
    const ModeEstimate e =
        mode_estimate(lambda, groups.size, method, problem.deviation, problem.observations(), mean_variance, mu, sigma);
    // y - A xhat has the variance deviation^2 + A C A^T.
    const double seen = problem.deviation * problem.deviation + observed_variance(lambda, groups.size, mu, sigma);
    for (std::size_t i = 0; i < static_cast<std::size_t>(groups.size); ++i) {
      result.likelihood += times * e.observation[i] * e.observation[i] * seen;
      result.prior += times * sigma * sigma / (mu * mu * lambda[i] + sigma * sigma);
    }
  }
  return {std::sqrt(result.likelihood), std::sqrt(result.prior)};
}

/// The largest number of observations sharing one degree of freedom of a white prior of unit variance (times its
/// variance) for which the predictor of score-based data assimilation is stable at all the given times: the smallest of
/// var (1 + r + c E) / (|c| sigma J^2) over the steps, var = deviation^2 + gamma rho^2.
inline double largest_stable_redundancy(const Schedule& schedule, const std::vector<double>& times, double deviation,
                                        double gamma) {
  double smallest = kolmo::detail::infinity<double>();
  for (std::size_t i = 0; i + 1 < times.size(); ++i) {
    const double mu = schedule.mu(times[i]), sigma = schedule.sigma(times[i]), rho = sigma / mu;
    const double norm = mu * mu + sigma * sigma, jacobian = mu / norm;
    const PredictorStep step = predictor_step(schedule, times[i], times[i + 1]);
    const double variance = deviation * deviation + gamma * rho * rho;
    smallest = smaller(smallest, variance * (1 + step.of_state + step.of_eps * sigma / norm) /
                                     (-step.of_eps * sigma * jacobian * jacobian));
  }
  return smallest;
}

}  // namespace kolmo::score
