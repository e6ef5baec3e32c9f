#pragma once
// Where a deterministic sampler with an affine method ends on the problem of linear_gaussian.hpp, exactly: mean and
// covariance follow from running the sampler itself on the unit vectors of each group of modes, for 10^4 observations
// as for 4. Nothing is drawn.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/threads.hpp>
#include <kolmo/score/linear_gaussian_modes.hpp>
#include <kolmo/score/sampler.hpp>

namespace kolmo::score {

/// How a sampled posterior compares with the exact one, C_t = C* + sigma(0)^2 I.
struct GaussianComparison {
  double bias = 0;       ///< rms over observations of |mean - exact mean| / sqrt(tr C_t)
  double spread = 0;     ///< sqrt(tr C / tr C_t); 1 is right
  double transport = 0;  ///< rms Wasserstein-2 distance / sqrt(tr C_t)
  double residual = 0;   ///< rms of A x - y over that of the exact posterior; 1 is right
  bool finite = true;    ///< false: the sampler exploded, and the numbers are infinite
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
  const double a = 1 / std::sqrt(static_cast<double>(size));
  const ModePosterior posterior = mode_posterior(eigenvalues, size, deviation, end_noise);
  const double* gain = rows + s * s;
  ModeSums sums;
  sums.exact_trace = posterior.trace;
  sums.exact_residual = posterior.residual;
  double seen = -1, spread = 0;
  for (std::size_t i = 0; i < s; ++i) {
    const double error = gain[i] - posterior.gain[i];
    sums.bias += error * error * posterior.observed;
    seen += a * gain[i];
    double row = 0;
    for (std::size_t j = 0; j < s; ++j) {
      sums.trace += rows[i * s + j] * rows[i * s + j];
      row += a * rows[i * s + j];
    }
    spread += row * row;
  }
  sums.residual = seen * seen * posterior.observed + spread;
  std::vector<double> exact = posterior.covariance;
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

}  // namespace kolmo::score
