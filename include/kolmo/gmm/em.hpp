#pragma once
// Weighted expectation-maximisation (Dempster, Laird, Rubin 1977) of sampled densities: maximises
//
//   L = sum_i w_i log sum_k pi_k N(z_i; mu_k, sigma_k^2)
//
// over the masses w_i of a density at points z_i, in the log domain. One density is one item: the loops
// over its points vectorise on the CPU, and many densities run in parallel. Deviations have a floor tied to
// the spacing of the points: below half a spacing a component can hide between two points, and the
// likelihood is unbounded there.

#include <optional>
#include <vector>

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/em_item.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture.hpp>

namespace kolmo::gmm {

struct EmOptions {
  int components = 5;
  int max_iterations = 300;
  /// Stop when the log-likelihood changes by less.
  double tolerance = 1e-7;
  Acceleration acceleration = Acceleration::anderson;
  /// Smallest deviation, in spacings of the points at the component's mean.
  double floor_in_spacings = 0.5;
  /// Smallest deviation in units of z; replaces floor_in_spacings when positive.
  double deviation_floor = 0.0;
  /// Number of starts; the one with the largest likelihood wins. The first has no noise.
  int starts = 1;
  /// Noise of the means of further starts, in standard deviations of the density.
  double noise = 0.05;
  /// Source of that noise.
  Key key{};
};

/// Fits of a batch; rows of invalid input have weight 0, mean 0 and deviation 1, so that nothing computed
/// from them is NaN.
template <PlainTensor V>
struct EmFit {
  using Integers = Tensor<std::int32_t, typename V::Backend>;

  Mixture<V> mixture;   ///< sorted by mean
  V log_likelihood;     ///< [batch], of the returned parameters
  Integers iterations;  ///< [batch], parameter updates of the winning start
  Integers status;      ///< [batch], Status as integer

  std::vector<Status> statuses() const {
    std::vector<Status> result;
    for (std::int32_t s : status.to_vector()) result.push_back(static_cast<Status>(s));
    return result;
  }
};

namespace detail {

inline void check_em_options(const EmOptions& o) {
  if (o.components < 1 || o.components > em_max_components)
    throw ArgumentError("fit_em: the number of components must be 1 to " + std::to_string(em_max_components) +
                        ", given " + std::to_string(o.components));
  if (o.max_iterations < 0 || o.starts < 1)
    throw ArgumentError("fit_em: max_iterations must not be negative and starts must be at least 1, given " +
                        std::to_string(o.max_iterations) + " and " + std::to_string(o.starts));
  if (!(o.tolerance >= 0.0) || !(o.noise >= 0.0) || !(o.floor_in_spacings > 0.0) || !(o.deviation_floor >= 0.0))
    throw ArgumentError("fit_em: tolerance, noise and the deviation floor must not be negative or NaN");
}

template <class B, class T, int max_components>
void run_em(index_t batch, const EmProblem<T>& problem) {
  kolmo::detail::for_each_item<B>(batch, EmItem<T, max_components>{{problem}});
}

template <PlainTensor V>
EmFit<V> fit_em(const V& masses_given, const V& points_given, const EmOptions& options, const Mixture<V>* start) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  check_em_options(options);
  const V masses = as_batch(masses_given, "fit_em", "masses");
  const index_t batch = masses.extent(0), count = masses.extent(1);
  const V points = points_given.contiguous();
  const bool shared = points.rank() == 1;
  if (points.rank() < 1 || points.rank() > 2 || points.extent(-1) != count || (!shared && points.extent(0) != batch))
    throw ShapeError("fit_em: masses have shape " + masses.shape().to_string() + ", so points must be [" +
                     std::to_string(count) + "] or [" + std::to_string(batch) + ", " + std::to_string(count) +
                     "], given " + points.shape().to_string());
  const Shape shape{batch, options.components};
  EmFit<V> fit{{V::uninitialized(shape), V::uninitialized(shape), V::uninitialized(shape)},
               V::uninitialized(Shape{batch}),
               EmFit<V>::Integers::uninitialized(Shape{batch}),
               EmFit<V>::Integers::uninitialized(Shape{batch})};

  EmProblem<T> problem{};
  problem.masses = masses.data();
  problem.points = points.data();
  problem.point_stride = shared ? 0 : count;
  problem.count = count;
  problem.components = options.components;
  problem.max_iterations = options.max_iterations;
  problem.acceleration = options.acceleration;
  problem.starts = start != nullptr ? 1 : options.starts;
  problem.tolerance = static_cast<T>(options.tolerance);
  problem.noise = static_cast<T>(options.noise);
  problem.deviation_floor = static_cast<T>(options.deviation_floor);
  problem.floor_in_spacings = static_cast<T>(options.floor_in_spacings);
  problem.key = options.key;
  Mixture<V> given;
  if (start != nullptr) {
    for (const V* x : {&start->weights, &start->means, &start->deviations})
      if (!(x->shape() == shape))
        throw ShapeError("fit_em: the start must have shape " + shape.to_string() + ", given " +
                         x->shape().to_string());
    given = {start->weights.contiguous(), start->means.contiguous(), start->deviations.contiguous()};
    problem.start_weights = given.weights.data();
    problem.start_means = given.means.data();
    problem.start_deviations = given.deviations.data();
  }
  problem.weights = fit.mixture.weights.mutable_data();
  problem.means = fit.mixture.means.mutable_data();
  problem.deviations = fit.mixture.deviations.mutable_data();
  problem.log_likelihood = fit.log_likelihood.mutable_data();
  problem.iterations = fit.iterations.mutable_data();
  problem.status = fit.status.mutable_data();
  // Scratch grows with the bound on the components; the common sizes stay in the first-level cache.
  if (options.components <= 8)
    run_em<B, T, 8>(batch, problem);
  else
    run_em<B, T, em_max_components>(batch, problem);
  return fit;
}

}  // namespace detail

/// Fits mixtures to masses [batch, N] (or [N]) at points [N] (or [batch, N]), increasing, from the quantile
/// start: means at the quantiles (k + 1/2) / K, equal weights, the overall deviation. Masses need not be
/// normalised. A bad row (NaN, infinity, negative mass, no mass) gets a status and does not disturb the
/// others. Throws ShapeError, or ArgumentError for impossible options.
template <PlainTensor V>
EmFit<V> fit_em(const V& masses, const V& points, const EmOptions& options = {}) {
  return detail::fit_em<V>(masses, points, options, nullptr);
}

/// The same from a given start [batch, K]; its weights are normalised and its deviations raised to the
/// floor. `options.components` is taken from the start.
template <PlainTensor V>
EmFit<V> fit_em(const V& masses, const V& points, const Mixture<V>& start, EmOptions options = {}) {
  options.components = static_cast<int>(start.components());
  return detail::fit_em<V>(masses, points, options, &start);
}

/// Exactly `steps` iterations from a given start, for polishing a fit: each restores the mean and the
/// variance of the masses. Statuses are ok where the input is valid.
template <PlainTensor V>
EmFit<V> em_steps(const V& masses, const V& points, const Mixture<V>& start, int steps, EmOptions options = {}) {
  options.max_iterations = steps;
  options.tolerance = 0.0;
  options.acceleration = Acceleration::none;
  EmFit<V> fit = fit_em(masses, points, start, options);
  V::Backend::for_each(fit.status.size(), detail::AcceptLimit{fit.status.mutable_data()});
  return fit;
}

}  // namespace kolmo::gmm
