#pragma once
// The bootstrap particle filter (Gordon, Salmond and Smith 1993, IEE Proc. F 140, 107) over whole paths: draws from
// p(x_1, x_2, ... | y_1, y_2, ...) for any law that can be simulated and any likelihood, exact as the number of
// particles grows. It is the truth that learned posteriors are judged by.
//
// Resampling a path is remembering its ancestor: the states of each time are kept once, with the ancestors of those
// that survived, and only the paths that are asked for are put together at the end.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/core/random.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/join.hpp>

namespace kolmo::score {

/// How survivors are drawn from the weights.
enum class Resampling {
  multinomial,  ///< independently
  systematic    ///< at equal distances from one random begin: less noise, and survivors are in the order of particles
};

struct ParticleFilterOptions {
  index_t observations = 1;
  index_t steps_between = 1;  ///< transitions from one observation to the next
  index_t steps_before = 1;   ///< transitions from the start to the first observation
  index_t kept = 1024;        ///< paths in the result
  Resampling resampling = Resampling::multinomial;
  /// Survivors are drawn when the effective number of particles is below this share of them; 1: after every
  /// observation.
  double resample_below = 1;
  Key key = {};
};

template <class V>
struct ParticlePaths {
  /// [kept, times, state...]: equally likely paths from the first observation to the last,
  /// times = 1 + (observations - 1) * steps_between.
  V paths;
  /// 1 / sum of squared weights, after each observation.
  std::vector<double> effective;
  /// log p(all observations), an estimate.
  double log_evidence = 0;
  /// Of how many states at the first observation the paths descend; few of them say that more particles are needed.
  index_t distinct_starts = 0;
};

namespace detail {

/// Weights of log-likelihoods and what they say; `of_observation` is for messages.
struct ParticleWeights {
  std::vector<double> logarithms;  ///< normalised: the log-sum-exp is 0
  double log_mean = 0;
  double effective = 0;
};

inline ParticleWeights particle_weights(std::vector<double> logarithms, index_t of_observation) {
  const std::string where = "particle_filter: observation " + std::to_string(of_observation) + ": ";
  double top = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < logarithms.size(); ++i) {
    if (!(logarithms[i] < std::numeric_limits<double>::infinity()))
      throw ArgumentError(where + "the log-likelihood of particle " + std::to_string(i) + " is " +
                          io::to_text(logarithms[i]) +
                          "; expected a number or -inf. Look at its state and at the noise");
    top = larger(top, logarithms[i]);
  }
  if (top == -std::numeric_limits<double>::infinity())
    throw ArgumentError(where + "all " + std::to_string(logarithms.size()) +
                        " particles have likelihood 0, so none can survive; take more particles, or check that the "
                        "observation is in the units of the states and its noise is not too small");
  ParticleWeights weights;
  double sum = 0;
  for (const double l : logarithms) sum += std::exp(l - top);
  weights.log_mean = top + std::log(sum);
  double squares = 0;
  for (double& l : logarithms) {
    l -= weights.log_mean;
    squares += std::exp(2 * l);
  }
  weights.effective = 1 / squares;
  weights.logarithms = std::move(logarithms);
  return weights;
}

/// `count` particles drawn from normalised log-weights.
inline std::vector<index_t> survivors(const std::vector<double>& logarithms, index_t count, Resampling how, Key key) {
  std::vector<double> cumulative(logarithms.size());
  double sum = 0;
  for (std::size_t i = 0; i < cumulative.size(); ++i) cumulative[i] = sum += std::exp(logarithms[i]);
  std::vector<index_t> result(static_cast<std::size_t>(count));
  for (index_t k = 0; k < count; ++k) {
    const double at = how == Resampling::multinomial
                          ? uniform<double>(key, static_cast<std::uint64_t>(k))
                          : (static_cast<double>(k) + uniform<double>(key, 0)) / static_cast<double>(count);
    // Rounding must not choose the particle after the last that has a weight.
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), smaller(at, 1 - 0x1p-53) * sum);
    result[static_cast<std::size_t>(k)] = found - cumulative.begin();
  }
  return result;
}

}  // namespace detail

/// Filters `options.observations` observations, starting from draws of the prior [particles, state...].
/// transition(x, key) gives the states one step after the states x, drawn with the key; log_likelihood(x, i) gives the
/// log density of observation i (from 0) for each of the states x, [particles]. With the same key the result has the
/// same bits for any number of threads.
/// Throws ArgumentError for options out of range, for a log-likelihood that is NaN or +inf, and when no particle has a
/// likelihood; ShapeError when the model changes the shape of states.
template <PlainTensor V, class Transition, class LogLikelihood>
ParticlePaths<V> particle_filter(const V& start, const Transition& transition, const LogLikelihood& log_likelihood,
                                 const ParticleFilterOptions& options) {
  using B = typename V::Backend;
  const index_t n = start.rank() < 1 ? 0 : start.shape()[0];
  if (n < 1 || options.observations < 1 || options.steps_between < 1 || options.steps_before < 0 || options.kept < 1 ||
      !(options.resample_below >= 0 && options.resample_below <= 1))
    throw ArgumentError(
        "particle_filter: particles, observations, steps_between and kept must be at least 1, "
        "steps_before not negative and resample_below in [0, 1], given " +
        std::to_string(n) + ", " + std::to_string(options.observations) + ", " + std::to_string(options.steps_between) +
        ", " + std::to_string(options.kept) + ", " + std::to_string(options.steps_before) + " and " +
        io::to_text(options.resample_below));
  const auto keys = split(options.key);
  const auto indices = [](const std::vector<index_t>& positions) { return Tensor<index_t, B>::from(positions); };

  ParticlePaths<V> result;
  std::vector<V> states;                        // from the first observation on
  std::vector<std::vector<index_t>> ancestors;  // by state of that list: where its particles came from; empty: in place
  std::vector<index_t> moved;                   // ancestors of what the next transition begins from
  std::vector<double> weights(static_cast<std::size_t>(n), -std::log(static_cast<double>(n)));
  V x = start;
  index_t step = 0;
  for (index_t i = 0; i < options.observations; ++i) {
    const index_t steps = i == 0 ? options.steps_before : options.steps_between;
    for (index_t s = 0; s < steps; ++s) {
      x = transition(x, fold_in(keys.first, static_cast<std::uint64_t>(step++)));
      if (!(x.shape() == start.shape()))
        throw ShapeError("particle_filter: the transition made " + x.shape().to_string() + " of states " +
                         start.shape().to_string());
      if (i > 0) {
        states.push_back(x);
        ancestors.push_back(std::exchange(moved, {}));
      }
    }
    if (i == 0) {
      states.push_back(x);
      ancestors.emplace_back();
    }
    const auto likelihoods = log_likelihood(x, i);
    if (!(likelihoods.shape() == Shape{n}))
      throw ShapeError("particle_filter: expected the log-likelihoods of " + std::to_string(n) + " states, [" +
                       std::to_string(n) + "], given " + likelihoods.shape().to_string());
    const auto values = likelihoods.to_vector();
    for (std::size_t p = 0; p < weights.size(); ++p) weights[p] += static_cast<double>(values[p]);
    auto found = detail::particle_weights(std::move(weights), i);
    result.effective.push_back(found.effective);
    result.log_evidence += found.log_mean;
    weights = std::move(found.logarithms);
    // The last observation's survivors are the paths themselves.
    if (i + 1 == options.observations) break;
    if (options.resample_below < 1 && found.effective >= options.resample_below * static_cast<double>(n)) continue;
    moved = detail::survivors(weights, n, options.resampling, fold_in(keys.second, static_cast<std::uint64_t>(i)));
    x = take(x, indices(moved));
    weights.assign(weights.size(), -std::log(static_cast<double>(n)));
  }

  auto place = detail::survivors(weights, options.kept, options.resampling,
                                 fold_in(keys.second, static_cast<std::uint64_t>(options.observations)));
  std::vector<V> times(states.size());
  for (std::size_t t = states.size(); t-- > 0;) {
    times[t] = take(states[t], indices(place));
    if (!ancestors[t].empty())
      for (index_t& p : place) p = ancestors[t][static_cast<std::size_t>(p)];
  }
  std::sort(place.begin(), place.end());
  result.distinct_starts = std::unique(place.begin(), place.end()) - place.begin();
  result.paths = stack(1, times);
  return result;
}

}  // namespace kolmo::score
