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
#include <kolmo/gmm/em_given.hpp>
#include <kolmo/gmm/em_item.hpp>

namespace kolmo::gmm {

struct EmOptions {
  int components = 5;
  int max_iterations = 300;
  /// Stop when the log-likelihood changes by less.
  double tolerance = 1e-7;
  Acceleration acceleration = Acceleration::anderson;
  /// Smallest deviation, in spacings of the points at the component's mean.
  double floor_in_spacings = 0.5;
  /// Smallest deviation in units of z; replaces floor_in_spacings when positive. For the starts mdn and lamf the floor
  /// is half a spacing at least: narrower, EM has been seen to spoil a good start.
  double deviation_floor = 0.0;
  /// What EM begins with. custom, mdn and lamf need a given mixture, wqmi the parts of a maximum (EmGiven).
  EmStartKind start = EmStartKind::quantile;
  /// Number of runs from different starts; the one with the largest likelihood wins. The first has no noise. Starts
  /// that would repeat themselves run once: mdn, lamf, and others without noise.
  int starts = 1;
  /// Noise of the means of further quantile starts, in standard deviations of the density.
  double noise = 0.05;
  /// Noise of the means of further custom starts, likewise, and of their variances, relative.
  double given_noise = 0.01;
  double variance_noise = 0.02;
  /// Relative noise of the values of the density for further qmi and wqmi starts.
  double density_noise = 0.01;
  /// Source of noise, of random starts and of k-means++.
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
  Integers start;       ///< [batch], EmStartKind as integer; another than asked for where that start could not be made

  std::vector<Status> statuses() const {
    std::vector<Status> result;
    for (std::int32_t s : status.to_vector()) result.push_back(static_cast<Status>(s));
    return result;
  }
  std::vector<EmStartKind> starts() const {
    std::vector<EmStartKind> result;
    for (std::int32_t s : start.to_vector()) result.push_back(static_cast<EmStartKind>(s));
    return result;
  }
};

namespace detail {

inline void check_em_options(const EmOptions& o, index_t points, bool mixture, bool winners) {
  const auto fail = [](const std::string& text) { throw ArgumentError("fit_em: " + text); };
  const std::string start = std::string("the start \"") + name_of(o.start) + "\" needs ";
  if (o.components < 1 || o.components > em_max_components)
    fail("the number of components must be 1 to " + std::to_string(em_max_components) + ", given " +
         std::to_string(o.components));
  // Fewer than three points are a status of every row.
  if (points >= 3 && o.components > points)
    fail("cannot fit " + std::to_string(o.components) + " components to " + std::to_string(points) +
         " points; ask for fewer components");
  if (o.max_iterations < 0 || o.starts < 1)
    fail("max_iterations must not be negative and starts must be at least 1, given " +
         std::to_string(o.max_iterations) + " and " + std::to_string(o.starts));
  if (!(o.tolerance >= 0.0) || !(o.floor_in_spacings > 0.0) || !(o.deviation_floor >= 0.0))
    fail("tolerance and deviation floors must not be negative or NaN");
  if (!(o.noise >= 0.0) || !(o.given_noise >= 0.0) || !(o.variance_noise >= 0.0) || !(o.density_noise >= 0.0))
    fail("noise must not be negative or NaN");
  if (needs_mixture(o.start) && !mixture) fail(start + "a mixture; give one as EmGiven::mixture");
  if (o.start == EmStartKind::wqmi && (!winners || o.components < 2))
    fail(start + "at least two components and the parts of a maximum; give them as EmGiven::winners");
  if (o.start == EmStartKind::qmi && points >= 3 && 2 * o.components > points)
    fail(start + "at least two points per component, given " + std::to_string(points) + " points for " +
         std::to_string(o.components) + " components");
}

template <class B, class T, int max_components>
void run_em(index_t batch, const EmProblem<T>& problem) {
  kolmo::detail::for_each_item<B>(batch, EmItem<T, max_components>{{problem}});
}

template <PlainTensor V>
void check_shape(const V& x, const Shape& shape, const char* name) {
  if (!(x.shape() == shape))
    throw ShapeError(std::string("fit_em: ") + name + " must have shape " + shape.to_string() + ", given " +
                     x.shape().to_string());
}

template <PlainTensor V>
EmFit<V> fit_em(const V& masses_given, const V& points_given, const EmOptions& options, const EmGiven<V>& given,
                index_t first_item = 0) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const V masses = as_batch(masses_given, "fit_em", "masses");
  const index_t batch = masses.extent(0), count = masses.extent(1);
  check_em_options(options, count, given.mixture.has_value(), given.winners.has_value());
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
  problem.starts = options.starts;
  problem.tolerance = static_cast<T>(options.tolerance);
  problem.deviation_floor = static_cast<T>(options.deviation_floor);
  problem.floor_in_spacings = static_cast<T>(options.floor_in_spacings);
  if (options.start == EmStartKind::mdn || options.start == EmStartKind::lamf) {
    problem.least_floor_in_spacings = T(0.5);
    problem.floor_in_spacings = larger(problem.floor_in_spacings, T(0.5));
  }
  problem.start = options.start;
  problem.noise = static_cast<T>(options.noise);
  problem.given_noise = static_cast<T>(options.given_noise);
  problem.variance_noise = static_cast<T>(options.variance_noise);
  problem.density_noise = static_cast<T>(options.density_noise);
  problem.key = options.key;
  problem.first_item = first_item;
  Mixture<V> mixture;
  if (given.mixture.has_value()) {
    check_shape(given.mixture->weights, shape, "the weights of the start");
    check_shape(given.mixture->means, shape, "the means of the start");
    check_shape(given.mixture->deviations, shape, "the deviations of the start");
    mixture = {given.mixture->weights.contiguous(), given.mixture->means.contiguous(),
               given.mixture->deviations.contiguous()};
    problem.start_weights = mixture.weights.data();
    problem.start_means = mixture.means.data();
    problem.start_deviations = mixture.deviations.data();
  }
  WinnerParts<V> winners;
  if (given.winners.has_value()) {
    check_shape(given.winners->x, masses.shape(), "the part in which X is the larger");
    check_shape(given.winners->y, masses.shape(), "the part in which Y is the larger");
    winners = {given.winners->x.contiguous(), given.winners->y.contiguous()};
    problem.winner_x = winners.x.data();
    problem.winner_y = winners.y.data();
  }
  problem.weights = fit.mixture.weights.mutable_data();
  problem.means = fit.mixture.means.mutable_data();
  problem.deviations = fit.mixture.deviations.mutable_data();
  problem.log_likelihood = fit.log_likelihood.mutable_data();
  problem.iterations = fit.iterations.mutable_data();
  problem.status = fit.status.mutable_data();
  problem.used = fit.start.mutable_data();
  // Scratch grows with the bound on the components; the common sizes stay in the first-level cache.
  if (options.components <= 8)
    run_em<B, T, 8>(batch, problem);
  else
    run_em<B, T, em_max_components>(batch, problem);
  return fit;
}

}  // namespace detail

/// Fits mixtures to masses [batch, N] (or [N]) at points [N] (or [batch, N]), increasing. Masses need not be
/// normalised. A bad row (NaN, infinity, negative mass, no mass, points that do not increase) gets a status and does
/// not disturb the others. Throws ShapeError, or ArgumentError for impossible options.
template <PlainTensor V>
EmFit<V> fit_em(const V& masses, const V& points, const EmOptions& options = {}) {
  return detail::fit_em<V>(masses, points, options, EmGiven<V>{});
}

/// The same with what the start needs.
template <PlainTensor V>
EmFit<V> fit_em(const V& masses, const V& points, const EmGiven<V>& given, const EmOptions& options) {
  return detail::fit_em<V>(masses, points, options, given);
}

/// The same from a given start [batch, K]; its weights are normalised and its deviations raised to the floor.
/// `options.components` is taken from the start, and `options.start` is custom unless it is mdn or lamf.
template <PlainTensor V>
EmFit<V> fit_em(const V& masses, const V& points, const Mixture<V>& start, EmOptions options = {}) {
  options.components = static_cast<int>(start.components());
  if (!needs_mixture(options.start)) options.start = EmStartKind::custom;
  return detail::fit_em<V>(masses, points, options, EmGiven<V>{start, std::nullopt});
}

/// Exactly `steps` iterations from a given start, for polishing a fit: each restores the mean and the
/// variance of the masses. Statuses are ok where the input is valid.
template <PlainTensor V>
EmFit<V> em_steps(const V& masses, const V& points, const Mixture<V>& start, int steps, EmOptions options = {}) {
  options.max_iterations = steps;
  options.tolerance = 0.0;
  options.acceleration = Acceleration::none;
  options.start = EmStartKind::custom;
  options.starts = 1;
  EmFit<V> fit = fit_em(masses, points, start, options);
  V::Backend::for_each(fit.status.size(), detail::AcceptLimit{fit.status.mutable_data()});
  return fit;
}

}  // namespace kolmo::gmm
