#pragma once
// The linear-Gaussian problem in Fourier space as tensors, for samplers and guidance as they are used with networks:
// states [B, N, s] are N groups of s modes, the observation of a group is the sum of its modes over sqrt(s).

#include <kolmo/ops/join.hpp>
#include <kolmo/score/guidance.hpp>
#include <kolmo/score/linear_gaussian_compare.hpp>

namespace posteriors {

namespace score = kolmo::score;
using kolmo::index_t;
using kolmo::Shape;
using V = kolmo::Tensor<double, kolmo::Cpu>;

/// The eigenvalues of the prior [N, s].
inline V eigenvalues_of(const score::PeriodicProblem& problem) {
  const std::vector<double> spectrum = problem.spectrum();
  const index_t n = problem.observations();
  std::vector<double> values;
  for (index_t g = 0; g < n; ++g)
    for (index_t m = 0; m < problem.every; ++m) values.push_back(spectrum[static_cast<std::size_t>(g + n * m)]);
  return V::from(std::span<const double>(values), Shape{n, problem.every});
}

/// The exact noise estimate of the prior, in place of a network.
struct ModePrior {
  V eigenvalues;
  score::Schedule schedule{};

  template <kolmo::TensorLike X>
  auto operator()(const X& x, double t) const {
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    return x * (sigma / (eigenvalues * (mu * mu) + sigma * sigma));
  }
};

/// [B, N, s] -> [B, N]
struct SeenModes {
  static constexpr bool is_linear = true;
  template <kolmo::TensorLike X>
  auto operator()(const X& x) const {
    return sum(x, {-1}) / std::sqrt(static_cast<double>(x.shape()[-1]));
  }
};

/// The prior's covariance for guidance without derivatives of the network.
struct ModeCovariance {
  V eigenvalues;
  V given_noise(const V& v, double rho) const { return v * (eigenvalues * (rho * rho) / (eigenvalues + rho * rho)); }
};

/// Observations of draws from the prior, each repeated for `members` samples: [observations * members, N].
inline V draw_observations(const score::PeriodicProblem& problem, index_t observations, index_t members,
                           kolmo::Key key) {
  const auto keys = kolmo::split(key);
  const V eigenvalues = eigenvalues_of(problem);
  const index_t n = problem.observations();
  const V x = kolmo::nn::normal_values<V>(keys.first, Shape{observations, n, problem.every}) * sqrt(eigenvalues);
  const V y = SeenModes{}(x) + kolmo::nn::normal_values<V>(keys.second, Shape{observations, n}, 0, problem.deviation);
  return expand(unsqueeze(y, 1), Shape{observations, members, n}).copy().reshaped(Shape{observations * members, n});
}

/// Noise to start from, [observations * members, N, s]: the second half of the members of each observation has the
/// noise of the first with the other sign, so that what is odd in it does not disturb their mean.
inline V paired_noise(index_t observations, index_t members, const score::PeriodicProblem& problem, kolmo::Key key) {
  const Shape half{observations, members / 2, problem.observations(), problem.every};
  const V z = kolmo::nn::normal_values<V>(key, half);
  return reshape(concat(1, z, -z), Shape{observations * members, half[2], half[3]});
}

/// Samples [observations * members, N, s] from paired noise against the exact posterior. The part of the error of a
/// mean that comes from the number of members is taken off, so that the bias is that of infinitely many; where it is
/// below zero, zero is given.
inline score::GaussianComparison compare_samples(const score::PeriodicProblem& problem, const score::Schedule& schedule,
                                                 const V& x, const V& y, index_t members) {
  const index_t n = problem.observations(), s = problem.every, observations = x.shape()[0] / members;
  const std::vector<double> lambda = eigenvalues_of(problem).to_vector();
  std::vector<double> gains;
  double trace = 0, residual = 0;
  for (index_t g = 0; g < n; ++g) {
    const auto exact = score::mode_posterior(lambda.data() + g * s, s, problem.deviation, schedule.sigma(0));
    gains.insert(gains.end(), exact.gain.begin(), exact.gain.end());
    trace += exact.trace;
    residual += exact.residual;
  }
  const V gain = V::from(std::span<const double>(gains), Shape{n, s});
  const V grouped = reshape(x, Shape{observations, 2, members / 2, n, s});
  const V pairs = mean(grouped, {1});
  const V means = mean(pairs, {1});
  const double scale = static_cast<double>(observations), pair_count = static_cast<double>(members / 2);
  // What the mean over pairs varies by, |x - mean|^2 lacks and |error|^2 has too much.
  const double noise = sum(square(pairs - unsqueeze(means, 1))).item() / (scale * (pair_count - 1) * pair_count);
  const V centre = reshape(means, Shape{observations, 1, 1, n, s});
  const double variance = sum(square(grouped - centre)).item() / (scale * 2 * pair_count) + noise;
  const V seen = at(reshape(y, Shape{observations, members, n}), 1, 0);
  const V error = means - unsqueeze(seen, -1) * gain;
  const double bias = sum(square(error)).item() / scale - noise;
  score::GaussianComparison result;
  result.bias = std::sqrt(kolmo::larger(bias, 0.0) / trace);
  result.spread = std::sqrt(variance / trace);
  result.residual = std::sqrt(sum(square(SeenModes{}(x)-y)).item() / (scale * static_cast<double>(members)) / residual);
  result.transport = kolmo::detail::not_a_number<double>();
  return result;
}

}  // namespace posteriors
