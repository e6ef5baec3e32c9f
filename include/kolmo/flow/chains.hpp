#pragma once
// Noisy chains x_{t+1} = f(x_t) + N(0, v dt S^2): trajectories of a law whose every transition is blurred, the data
// sets made of them and their density. S is the law's noise_scale.
//
// A chain is a function of the key and its number: it has the same bits whichever other chains are computed with it.

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/flow/law.hpp>
#include <kolmo/flow/unstable.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::flow {

/// What a set of chains is.
struct ChainOptions {
  /// Length of a transition, and in how many steps of fourth order it is computed.
  double dt = 0.025;
  index_t steps = 1;
  /// Variance of the noise per unit time; 0 for none.
  double noise = 1;
  /// States that are thrown away, and states that are kept after them. The start itself is never kept.
  index_t burn_in = 1024;
  index_t kept = 1024;
  /// Number of the first chain.
  index_t first = 0;
  Key key = {};
};

namespace detail {

template <class Law, class T>
struct ChainStartKernel {
  Law law;
  Key key;
  index_t first, n;
  T* x;
  KOLMO_HD void operator()(index_t e) const {
    const Key of_chain = fold_in(fold_in(key, static_cast<std::uint64_t>(first + e / n)), 0);
    x[e] = law.template initial<T>(e % n, of_chain);
  }
};

/// Adds the noise and puts the state, if it is kept, into its place in [chain, time, n].
template <class Law, class T>
struct ChainNoiseKernel {
  Law law;
  Key key;
  index_t first, n, time;
  T deviation;
  T* x;
  T* kept;
  index_t row;  // elements of one chain there
  KOLMO_HD void operator()(index_t e) const {
    const index_t chain = e / n, i = e % n;
    if (deviation > T(0)) {
      const Key of_step =
          fold_in(fold_in(key, static_cast<std::uint64_t>(first + chain)), static_cast<std::uint64_t>(time));
      x[e] = x[e] + deviation * T(law.noise_scale(i)) * normal<T>(of_step, static_cast<std::uint64_t>(i));
    }
    if (kept != nullptr) kept[chain * row + i] = x[e];
  }
};

inline void check_chains(index_t count, const ChainOptions& options) {
  check_step(options.dt, options.steps, "simulate_chains");
  const auto refuse = [](const std::string& what) { throw ArgumentError("simulate_chains: " + what); };
  if (count < 1 || options.first < 0) refuse("at least one chain, numbered from 0, is needed");
  if (options.burn_in < 0 || options.kept < 1) refuse("burn_in must not be negative and kept must be positive");
  if (!(options.dt > 0)) refuse("dt must be positive, given " + std::to_string(options.dt));
  if (!(options.noise >= 0 && options.noise - options.noise == 0))
    refuse("the noise must be finite and not negative, given " + std::to_string(options.noise));
}

/// Position of the first value that is not finite, -1 where all are.
template <class T, class B>
index_t first_not_finite(const Tensor<T, B>& x) {
  const std::vector<T> values = x.to_vector();
  for (std::size_t e = 0; e < values.size(); ++e)
    if (!(values[e] - values[e] == T(0))) return static_cast<index_t>(e);
  return -1;
}

}  // namespace detail

/// Draws of the law's prior, [count, d], for the chains first, first + 1, ...
template <class T, class B = Cpu, class Law>
Tensor<T, B> prior_states(const Law& law, index_t count, Key key, index_t first = 0) {
  const index_t n = law.dimensions();
  auto x = Tensor<T, B>::uninitialized({count, n});
  B::for_each(x.size(), detail::ChainStartKernel<Law, T>{law, key, first, n, x.mutable_data()});
  return x;
}

/// `count` chains from the law's prior: [count, kept, d]. Throws ArgumentError for options without meaning, and
/// UnstableStep with the transition and {chain, component} when a state is no longer finite.
template <class T, class B = Cpu, class Law>
Tensor<T, B> simulate_chains(const Law& law, index_t count, const ChainOptions& options = {}) {
  detail::check_chains(count, options);
  const index_t n = law.dimensions(), row = options.kept * n;
  auto x = prior_states<T, B>(law, count, options.key, options.first);
  auto result = Tensor<T, B>::uninitialized({count, options.kept, n});
  T* const kept = result.mutable_data();
  const T deviation = static_cast<T>(std::sqrt(options.noise * options.dt));
  const index_t transitions = options.burn_in + options.kept;
  // Transition t; `place`, where there is one, gets the new states.
  const auto advance = [&](index_t t, T* place) {
    x = transition(law, x, options.dt, options.steps);
    B::for_each(x.size(), detail::ChainNoiseKernel<Law, T>{law, options.key, options.first, n, t, deviation,
                                                           x.mutable_data(), place, row});
  };
  for (index_t t = 1; t <= transitions; ++t)
    advance(t, t > options.burn_in ? kept + (t - options.burn_in - 1) * n : nullptr);
  // What is not finite stays so: one look at the end is enough, and a second run finds where it began.
  if (detail::first_not_finite(x) < 0) return result;
  x = prior_states<T, B>(law, count, options.key, options.first);
  for (index_t t = 1; t <= transitions; ++t) {
    advance(t, nullptr);
    if (const index_t e = detail::first_not_finite(x); e >= 0)
      throw UnstableStep("a chain has left the numbers; take a smaller dt or more steps", t,
                         {options.first + e / n, e % n},
                         static_cast<double>(x.to_vector()[static_cast<std::size_t>(e)]));
  }
  return result;
}

/// log p(x_1, x_2, ... | x_0) of chains [batch, time, d] with at least two times, [batch]. Throws ArgumentError without
/// noise, ShapeError for other shapes.
template <class Law, TensorLike X>
auto chain_log_density(const Law& law, const X& x, double dt, index_t steps = 1, double noise = 1) {
  using T = ScalarOf<X>;
  detail::check_state(law, x.shape(), "chain_log_density");
  if (x.rank() != 3 || x.shape()[1] < 2)
    throw ShapeError("chain_log_density: expected chains of shape [batch, time, " + std::to_string(law.dimensions()) +
                     "] with at least two times, given " + x.shape().to_string());
  if (!(noise > 0) || !(dt > 0))
    throw ArgumentError("chain_log_density: without noise there is no density; noise and dt must be positive");
  const index_t n = law.dimensions(), times = x.shape()[1] - 1;
  std::vector<T> inverse;
  double logarithm = 0;
  for (index_t i = 0; i < n; ++i) {
    const double deviation = law.noise_scale(i) * std::sqrt(noise * dt);
    inverse.push_back(static_cast<T>(1 / deviation));
    logarithm += std::log(deviation) + 0.91893853320467274178;
  }
  const auto scale = BaseOf<X>::from(std::span<const T>(inverse), {n});
  const auto error = (slice(x, 1, 1) - transition(law, slice(x, 1, 0, times), dt, steps)) * scale;
  return sum(square(error), {1, 2}) * -0.5 - logarithm * static_cast<double>(times);
}

}  // namespace kolmo::flow
