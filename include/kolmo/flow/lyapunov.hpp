#pragma once
// The largest Lyapunov exponent: how fast a small difference grows, from the tangent dynamics (Benettin et al. 1980).
// The tangent is carried by forward mode and brought back to length one after every step.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <kolmo/core/random.hpp>
#include <kolmo/flow/unstable.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::flow {

/// What is averaged.
struct LyapunovOptions {
  /// Calls of the step that are averaged, and calls before them in which the tangent finds its direction.
  index_t steps = 1000;
  index_t discard = 100;
  /// Of the first tangent.
  Key key = {};
};

/// The exponent and how well it is known.
struct LyapunovExponent {
  /// Mean over the trajectories, per unit of time.
  double exponent = 0;
  /// Standard error of the mean: between the trajectories, or with fewer than four of them between ten parts of the
  /// time.
  double standard_error = 0;
  std::vector<double> of_trajectories;
};

/// The exponent of x -> step(x), where a step takes the time `dt`. x is [batch, ...]; step is generic in the tensor
/// kind. Throws ShapeError for a state without batch, ArgumentError for fewer than ten steps, UnstableStep when a
/// tangent is zero or not finite.
template <PlainTensor X, class Step>
LyapunovExponent largest_lyapunov_exponent(const Step& step, const X& x, double dt,
                                           const LyapunovOptions& options = {}) {
  using T = typename X::Scalar;
  if (x.rank() < 1 || x.size() == 0)
    throw ShapeError("largest_lyapunov_exponent: expected states [batch, ...], given " + x.shape().to_string());
  if (options.steps < 10 || options.discard < 0 || !(dt > 0))
    throw ArgumentError("largest_lyapunov_exponent: at least 10 steps of a positive dt are needed");
  const index_t batch = x.shape()[0];
  Shape column = x.shape();
  for (int axis = 1; axis < column.rank(); ++axis) column[axis] = 1;
  const auto lengths = [&](const X& tangent) { return norm(reshape(tangent, {batch, -1}), {1}); };
  const auto scaled = [&](const X& tangent, const X& length) { return X(tangent / reshape(length, column)); };

  auto tangent = X::uninitialized(x.shape());
  {
    std::vector<T> values;
    for (index_t e = 0; e < x.size(); ++e) values.push_back(normal<T>(options.key, static_cast<std::uint64_t>(e)));
    tangent = X::from(std::span<const T>(values), x.shape());
  }
  Jet<X> state{x, scaled(tangent, lengths(tangent))};
  constexpr std::size_t parts = 10;
  std::vector<double> of_trajectories(static_cast<std::size_t>(batch), 0), of_parts(parts, 0);
  std::vector<index_t> part_steps(parts, 0);
  for (index_t s = 0; s < options.discard + options.steps; ++s) {
    state = step(state);
    const X length = lengths(state.tangent);
    const std::vector<T> values = length.to_vector();
    const index_t counted = s - options.discard;
    const auto part = static_cast<std::size_t>(counted * static_cast<index_t>(parts) / options.steps);
    if (counted >= 0) ++part_steps[part];
    for (index_t b = 0; b < batch; ++b) {
      const double grown = static_cast<double>(values[static_cast<std::size_t>(b)]);
      if (!(grown > 0) || !(grown - grown == 0))
        throw UnstableStep("the tangent of a trajectory is zero or not finite; take a smaller step", s, {b, 0}, grown);
      if (counted < 0) continue;
      of_trajectories[static_cast<std::size_t>(b)] += std::log(grown);
      of_parts[part] += std::log(grown) / static_cast<double>(batch);
    }
    state.tangent = scaled(state.tangent, length);
  }
  LyapunovExponent result;
  for (double& e : of_trajectories) {
    e /= dt * static_cast<double>(options.steps);
    result.exponent += e / static_cast<double>(batch);
  }
  for (std::size_t p = 0; p < parts; ++p) of_parts[p] /= dt * static_cast<double>(part_steps[p]);
  const std::vector<double>& samples = batch >= 4 ? of_trajectories : of_parts;
  double square_sum = 0;
  for (const double e : samples) square_sum += (e - result.exponent) * (e - result.exponent);
  const double count = static_cast<double>(samples.size());
  result.standard_error = std::sqrt(square_sum / (count * (count - 1)));
  result.of_trajectories = std::move(of_trajectories);
  return result;
}

}  // namespace kolmo::flow
