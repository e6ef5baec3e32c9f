#pragma once
// The problem of linear_gaussian.hpp in Fourier space. Observing every s-th point mixes only the s wave numbers that
// alias, g, g + N, ..., g + (s - 1) N, and sees their sum: A = (1, ..., 1) / sqrt(s) on each such group. Every affine
// method is then eps = d x + u (v . x) + b y within a group, and a group of s modes with one observation is a problem
// of its own.

#include <kolmo/score/linear_gaussian.hpp>
#include <kolmo/score/multistep.hpp>

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

/// The exact posterior of one group with the noise a sampler leaves: mean gain y and covariance [s, s].
struct ModePosterior {
  double observed = 0;  ///< A S A^T + deviation^2, the variance of y
  std::vector<double> gain, covariance;
  double trace = 0;     ///< of the covariance
  double residual = 0;  ///< E (A x - y)^2
};
inline ModePosterior mode_posterior(const double* eigenvalues, index_t size, double deviation, double end_noise) {
  const std::size_t s = static_cast<std::size_t>(size);
  const double a = 1 / std::sqrt(static_cast<double>(size));
  ModePosterior result{deviation * deviation, std::vector<double>(s), std::vector<double>(s * s), 0, 0};
  for (std::size_t i = 0; i < s; ++i) result.observed += a * a * eigenvalues[i];
  double seen = -1, spread = 0;
  for (std::size_t i = 0; i < s; ++i) {
    result.gain[i] = a * eigenvalues[i] / result.observed;
    seen += a * result.gain[i];
    for (std::size_t j = 0; j < s; ++j)
      result.covariance[i * s + j] = (i == j ? eigenvalues[i] + end_noise * end_noise : 0) -
                                     a * a * eigenvalues[i] * eigenvalues[j] / result.observed;
    for (std::size_t j = 0; j < s; ++j) spread += a * a * result.covariance[i * s + j];
    result.trace += result.covariance[i * s + i];
  }
  result.residual = seen * seen * result.observed + spread;
  return result;
}

/// The norms of the two parts of the noise estimate, rms over the true joint distribution of x_t and y.
struct LikelihoodNorms {
  double likelihood = 0;  ///< of sigma l
  double prior = 0;       ///< of eps
};

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
