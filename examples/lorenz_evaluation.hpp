#pragma once
// How near the posterior of a score model of Lorenz's system comes to the true one: mean log prior, mean log likelihood
// and the Wasserstein-1 distance to a particle filter, for a sensor of low and one of high frequency (Rozet and Louppe
// 2023, arXiv 2306.10574, section 4.1).

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/score/covariance.hpp>
#include <kolmo/score/ensemble.hpp>
#include <kolmo/score/guidance/choice.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/particle_filter.hpp>
#include <kolmo/score/sampler.hpp>
#include <kolmo/score/transport.hpp>

#include "score_model.hpp"

namespace score_program {

/// What sees the first component in standardised units, every `step`-th of 65 states.
struct LorenzSensor {
  std::string name;
  index_t step;
  double deviation;

  static constexpr index_t length = 65;
  index_t count() const { return (length - 1) / step + 1; }
  /// The log likelihood of the truth itself, on average.
  double expected_log_likelihood() const {
    return -static_cast<double>(count()) * (std::log(deviation) + 0.91893853320467274178 + 0.5);
  }

  static std::vector<LorenzSensor> all() { return {{"low", 8, 0.05}, {"high", 1, 0.25}}; }
  /// Throws ArgumentError for an unknown name.
  static LorenzSensor by_name(const std::string& name) {
    for (const LorenzSensor& sensor : all())
      if (sensor.name == name) return sensor;
    throw ArgumentError("no sensor is called '" + name + "'; there are low and high");
  }

  template <TensorLike X>
  auto operator()(const X& x) const {
    return slice(at(x, 2, 0), 1, 0, length, step);
  }
  static constexpr bool is_linear = true;
};

struct LorenzEvaluation {
  index_t samples = 1024, particles = 16384, group = 64;
  std::string sampler = "pc";
  index_t steps = 256;
  double tau = 0.25;
  std::string method = "sda";
  score::GuidanceSettings<V> guidance;
  Key key;
};

/// "pc", the predictor-corrector of the paper, or "multistep", the library's default. Throws ArgumentError for others.
inline score::SamplerOptions sampler_by_name(const std::string& name, index_t steps, index_t corrections, double tau) {
  if (name == "pc") return score::SamplerOptions::predictor_corrector(steps, corrections, tau);
  if (name != "multistep") throw ArgumentError("no sampler is called '" + name + "'; there are pc and multistep");
  score::SamplerOptions options;
  options.steps = steps;
  options.corrections = corrections;
  options.tau = tau;
  return options;
}

/// One draw of truth and observation, and what the particle filter says of it.
class LorenzCase {
 public:
  using Paths = Tensor<double, Cpu>;

  LorenzCase(const LorenzSensor& sensor, index_t number, const LorenzEvaluation& options)
      : sensor_(sensor),
        key_(fold_in(fold_in(options.key, static_cast<std::uint64_t>(sensor.step)),
                     static_cast<std::uint64_t>(number))) {
    const auto keys = split<4>(key_);
    const Paths truth = flow::simulate_chains<double>(law_, 1, {.kept = LorenzSensor::length, .key = keys[0]});
    value_ = reshape(sensor(law_.normalised(truth)), {-1}) +
             nn::normal_values<Paths>(keys[1], {sensor.count()}) * sensor.deviation;
    reference_ = filter(options, keys[2]);
  }

  Key key() const { return fold_in(key_, 1); }
  const Paths& value() const { return value_; }
  /// Draws from the true posterior, in physical units.
  const Paths& reference() const { return reference_; }
  /// The distance between two runs of the filter, which no other method can undercut but by chance.
  double floor(const LorenzEvaluation& options) const {
    return score::wasserstein1(reference_, filter(options, split<4>(key_)[3]));
  }

  double log_prior(const Paths& paths) const { return mean(flow::chain_log_density(law_, paths, dt)).item(); }
  double log_likelihood(const Paths& paths) const {
    double sum = 0;
    for (const double l : score::gaussian_log_density(sensor_(law_.normalised(paths)) - value_, sensor_.deviation))
      sum += l / static_cast<double>(paths.shape()[0]);
    return sum;
  }

 private:
  static constexpr double dt = 0.025;

  Paths filter(const LorenzEvaluation& options, Key key) const {
    const auto move = [&](const Paths& x, Key step) {
      return flow::transition(law_, x, dt) + nn::normal_values<Paths>(step, x.shape()) * std::sqrt(dt);
    };
    const std::vector<double> values = value_.to_vector();
    const auto log_likelihood = [&](const Paths& x, index_t i) {
      return square(at(law_.normalised(x), 1, 0) - values[static_cast<std::size_t>(i)]) *
             (-0.5 / (sensor_.deviation * sensor_.deviation));
    };
    Paths x = flow::prior_states<double>(law_, options.particles, fold_in(key, 0));
    for (index_t t = 0; t < 64; ++t) x = move(x, fold_in(fold_in(key, 1), static_cast<std::uint64_t>(t)));
    return score::particle_filter(x, move, log_likelihood,
                                  {.observations = sensor_.count(),
                                   .steps_between = sensor_.step,
                                   .steps_before = sensor_.step,
                                   .kept = options.samples,
                                   .key = fold_in(key, 2)})
        .paths;
  }

  flow::Lorenz63 law_;
  LorenzSensor sensor_;
  Key key_;
  Paths value_, reference_;
};

/// The covariance of standardised paths, [195, 195], from simulated ones: what jfps takes for the prior.
inline V lorenz_covariance(Key key) {
  constexpr index_t chains = 4096;
  const flow::Lorenz63 law;
  const auto paths = law.normalised(
      flow::simulate_chains<double>(law, chains, {.burn_in = 512, .kept = LorenzSensor::length, .key = key}));
  const auto x = paths.reshaped({chains, LorenzSensor::length * 3});
  const auto centred = x - mean(x, {0}, true);
  return cast<float>(matmul(transpose(centred), centred) * (1.0 / chains));
}

/// The noise estimate of the Gaussian with that covariance, sigma (mu^2 S + sigma^2 I)^-1 x: exact for it, and the best
/// that is linear in x for the system itself. What a trained network has to beat.
struct GaussianEstimator {
  V covariance;
  score::Schedule schedule;

  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    const index_t n = covariance.shape()[0];
    const auto mu = static_cast<float>(schedule.mu(t)), sigma = static_cast<float>(schedule.sigma(t));
    std::vector<float> identity(static_cast<std::size_t>(n * n), 0.f);
    for (index_t i = 0; i < n; ++i) identity[static_cast<std::size_t>(i * (n + 1))] = 1;
    const V eye = V::from(std::span<const float>(identity), {n, n});
    const V matrix = cholesky_solve(cholesky(covariance * (mu * mu) + eye * (sigma * sigma)), eye) * sigma;
    return reshape(matmul(reshape(x, {x.shape()[0], n}), matrix), x.shape());
  }
};

/// Samples of the posterior of a prior, [samples, 65, 3] in its units. Throws NonFiniteSample when a run explodes.
/// Groups of samples are computed together, as many at once as there are threads; the bits depend on the size of the
/// groups and not on the threads.
inline V lorenz_samples(const NoiseEstimator& eps, const score::Schedule& schedule, const LorenzSensor& sensor,
                        const LorenzCase& one, const LorenzEvaluation& options, index_t corrections,
                        const V& covariance) {
  const score::SamplerOptions sampler = sampler_by_name(options.sampler, options.steps, corrections, options.tau);
  const V value = cast<float>(one.value());
  const index_t groups = divide_up(options.samples, options.group);
  std::vector<V> parts(static_cast<std::size_t>(groups));
  threads::parallel_for(groups, [&](index_t g) {
    const index_t count = smaller(options.group, options.samples - g * options.group);
    const auto keys = split(fold_in(one.key(), static_cast<std::uint64_t>(g)));
    const V start = score::initial_noise<V>({count, LorenzSensor::length, 3}, keys.first);
    const auto observation = score::observe(sensor, value, sensor.deviation);
    // Behind one type, so that the sampler is compiled once.
    std::function<V(const V&, double)> posterior;
    if (options.method == "jfps")
      posterior = score::guided(std::cref(eps), schedule, observation,
                                score::JfpsGuidance{score::DenseCovariance<V>(covariance)});
    else
      posterior = score::guided(std::cref(eps), schedule, observation,
                                score::guidance_by_name<V>(options.method, options.guidance));
    parts[static_cast<std::size_t>(g)] = score::sample(posterior, schedule, start, sampler, keys.second);
  });
  return concat(0, parts);
}

}  // namespace score_program
