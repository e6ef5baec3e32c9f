#pragma once
// The coefficients of deterministic steps of the sampling equation, in double. With rho = sigma / mu, lambda = ln rho
// and phi = atan rho,
//   d(x / mu) / d rho = eps      d(x / mu) / d lambda = rho eps      d(x / sigma) / d lambda = -xhat / rho
//   d(x / n) / d phi = (mu eps - sigma xhat) / n,  n^2 = mu^2 + sigma^2.
// A step of order q integrates the polynomial through the last q values of the right-hand side against the known
// factor: Adams and Bashforth in rho, DPM-Solver (Lu et al. 2022) on eps and DPM-Solver++ on xhat in lambda, and in
// phi.

#include <cmath>
#include <kolmo/core/array.hpp>
#include <kolmo/score/schedule.hpp>
#include <vector>

namespace kolmo::score {

inline constexpr int largest_order = 4;

namespace detail {

/// Integrals of e^{h s} s^p over s in [0, 1] for p < 4, as sums of positive terms for either sign of h.
inline Array<double, largest_order> exponential_moments(double h) {
  Array<double, largest_order> result{};
  for (int p = 0; p < largest_order; ++p) {
    double sum = 0, a = std::abs(h), term = 1;
    if (h >= 0) {
      for (int k = 0; k < 400 && term > 1e-18 * sum; ++k) {
        sum += term / (k + p + 1);
        term *= a / (k + 1);
      }
      result[p] = sum;
    } else {
      // e^h times the sum of |h|^k p! / (k + p + 1)!
      term = 1.0 / (p + 1);
      for (int k = 0; k < 400 && term > 1e-18 * sum; ++k) {
        sum += term;
        term *= a / (k + p + 2);
      }
      result[p] = std::exp(h) * sum;
    }
  }
  return result;
}

/// c with sum_j c_j nodes_j^p = moments_p for p < order: elimination with row exchanges.
inline Array<double, largest_order> polynomial_weights(const Array<double, largest_order>& nodes,
                                                       const Array<double, largest_order>& moments, int order) {
  double a[largest_order][largest_order + 1];
  for (int p = 0; p < order; ++p) {
    for (int j = 0; j < order; ++j) a[p][j] = p == 0 ? 1 : a[p - 1][j] * nodes[j];
    a[p][order] = moments[p];
  }
  for (int k = 0; k < order; ++k) {
    int pivot = k;
    for (int i = k + 1; i < order; ++i)
      if (std::abs(a[i][k]) > std::abs(a[pivot][k])) pivot = i;
    for (int j = 0; j <= order; ++j) std::swap(a[k][j], a[pivot][j]);
    for (int i = k + 1; i < order; ++i) {
      const double factor = a[i][k] / a[k][k];
      for (int j = k; j <= order; ++j) a[i][j] -= factor * a[k][j];
    }
  }
  Array<double, largest_order> c{};
  for (int k = order - 1; k >= 0; --k) {
    c[k] = a[k][order];
    for (int j = k + 1; j < order; ++j) c[k] -= a[k][j] * c[j];
    c[k] /= a[k][k];
  }
  return c;
}

}  // namespace detail

/// What a multistep method extrapolates, and in which variable.
enum class MultistepKind { eps_rho, eps_log, xhat_log, v_angle };

/// What is remembered of an evaluation: of_state x + of_eps eps.
struct StoredQuantity {
  double of_state = 0, of_eps = 1;
};
inline StoredQuantity stored_quantity(MultistepKind kind, double mu, double sigma) {
  if (kind == MultistepKind::xhat_log) return {1 / mu, -sigma / mu};
  if (kind == MultistepKind::v_angle) {
    // mu eps - sigma (x - sigma eps) / mu, over n
    const double n = std::sqrt(mu * mu + sigma * sigma);
    return {-sigma / (mu * n), n / mu};
  }
  return {};
}

/// x at the next time: of_state x + sum_j weights_j stored_j, the newest first.
struct MultistepWeights {
  double of_state = 1;
  int order = 1;
  Array<double, largest_order> weights{};
};

/// The step from times[0] to `next`; times[1], times[2], ... are those of older evaluations, newest first, as many as
/// the order has. A step to sigma = 0 is of order one. Throws ArgumentError for an order outside 1 to 4.
inline MultistepWeights multistep_weights(MultistepKind kind, const Schedule& schedule,
                                          const std::vector<double>& times, double next) {
  const int order = static_cast<int>(times.size());
  if (order < 1 || order > largest_order)
    throw ArgumentError("multistep_weights: expected 1 to 4 evaluations, given " + std::to_string(order));
  const double mu = schedule.mu(times[0]), sigma = schedule.sigma(times[0]);
  const double next_mu = schedule.mu(next), next_sigma = schedule.sigma(next);
  const double rho = sigma / mu, next_rho = next_sigma / next_mu;
  MultistepWeights result;
  const bool logarithmic = kind == MultistepKind::eps_log || kind == MultistepKind::xhat_log;
  if (logarithmic && !(next_sigma > 0)) {
    const bool clean = kind == MultistepKind::xhat_log;
    result.of_state = clean ? 0 : next_mu / mu;
    result.weights[0] = clean ? next_mu : -next_mu * rho;
    return result;
  }
  const auto variable = [&](double t) {
    const double r = schedule.rho(t);
    return logarithmic ? std::log(r) : kind == MultistepKind::v_angle ? std::atan(r) : r;
  };
  const double origin = variable(times[0]), h = variable(next) - origin;
  result.order = order;
  Array<double, largest_order> nodes{};
  for (int j = 1; j < order; ++j) nodes[j] = (variable(times[static_cast<std::size_t>(j)]) - origin) / h;
  Array<double, largest_order> moments{{1.0, 1.0 / 2, 1.0 / 3, 1.0 / 4}};
  double scale = 0;
  switch (kind) {
    case MultistepKind::eps_rho:
      result.of_state = next_mu / mu;
      scale = next_mu * h;
      break;
    case MultistepKind::eps_log:
      result.of_state = next_mu / mu;
      scale = next_mu * rho * h;
      moments = detail::exponential_moments(h);
      break;
    case MultistepKind::xhat_log:
      result.of_state = next_sigma / sigma;
      scale = -next_sigma / rho * h;
      moments = detail::exponential_moments(-h);
      break;
    case MultistepKind::v_angle: {
      const double n = std::sqrt(mu * mu + sigma * sigma), next_n = next_mu * std::sqrt(1 + next_rho * next_rho);
      result.of_state = next_n / n;
      scale = next_n * h;
      break;
    }
  }
  const auto c = detail::polynomial_weights(nodes, moments, order);
  for (int j = 0; j < order; ++j) result.weights[j] = scale * c[j];
  return result;
}

/// x at time u from x and eps at time t, of_state x + of_eps eps: the exponential integrator of order one, which is
/// DDIM (Song, Meng and Ermon 2021).
struct PredictorStep {
  double of_state = 1, of_eps = 0;
};
inline PredictorStep predictor_step(const Schedule& schedule, double t, double u) {
  const double r = schedule.mu(u) / schedule.mu(t);
  return {r, schedule.sigma(u) - r * schedule.sigma(t)};
}

}  // namespace kolmo::score
