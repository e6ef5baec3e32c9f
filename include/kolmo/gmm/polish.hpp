#pragma once
// A second-order polish of fitted mixtures: from a good start, a few steps of Levenberg-Marquardt on the density
// residuals
//
//   minimise sum_i (g(z_i; pi, mu, sigma) - f_i)^2,     pi = softmax(a),  sigma = exp(s)
//
// with derivatives by hand, deviations bounded below by a part of the spacing, and, by choice, further steps on the
// norms of order 4, 8 and 16 toward the fit with the smallest largest error. Expectation-maximisation converges
// linearly and slowly; this converges quadratically, and half a dozen evaluations take a learned start
// to the best mixture of its neighbourhood. One evaluation at 96 points and five components is 480 exponentials and a
// 15 x 15 system. (Levenberg 1944, Marquardt 1963; damping as in Nielsen 1999.)

#include <limits>
#include <optional>
#include <span>
#include <vector>

#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture.hpp>
#include <kolmo/gmm/polish_item.hpp>

namespace kolmo::gmm {

struct PolishOptions {
  /// Most evaluations of the least-squares fit; 0: no polish, also not toward the minimax fit.
  int evaluations = 8;
  /// Most steps for each of the norms of order 4, 8 and 16; 0: least squares only.
  int minimax = 0;
  /// Largest error of the density, in units of one over its standard deviation, that ends the polish.
  double tolerance = 1e-5;
  /// Relative gain of a step that ends it.
  double gain = 1e-3;
  /// Damping of the first step, relative to the largest diagonal entry.
  double damping = 1e-3;
  /// Smallest deviation, in spacings at the component's mean. A component of less could hide between points.
  double floor_in_spacings = 0.4;
  /// Negative mass up to this part of the positive mass is rounding and clipped; more is an error. In a fit,
  /// FitOptions::negative_tolerance takes its place.
  double negative_tolerance = 1e-6;
};

/// What a polish did; every tensor [batch].
template <PlainTensor V>
struct PolishReport {
  using Integers = Tensor<std::int32_t, typename V::Backend>;
  Mixture<V> mixture;  ///< [batch, K], sorted by mean
  Integers
      status;  ///< ok; iteration_limit when evaluations ended it; as given where it is not valid or without a polish
  Integers evaluations;  ///< evaluations made
  V largest_error;   ///< max_i |f_i - g(z_i)| at the points that matter, in units of one over z; NaN where there is no
                     ///< fit
  V relative_error;  ///< the same times the standard deviation of the density; free of units

  std::vector<Status> statuses() const {
    std::vector<Status> result;
    for (std::int32_t s : status.to_vector()) result.push_back(static_cast<Status>(s));
    return result;
  }
};

namespace detail {

inline void check_polish(const PolishOptions& o) {
  if (o.evaluations < 0 || o.minimax < 0)
    throw ArgumentError("polish: the numbers of evaluations must not be negative, given " +
                        std::to_string(o.evaluations) + " and " + std::to_string(o.minimax));
  if (!(o.tolerance >= 0.0) || !(o.gain >= 0.0) || !(o.negative_tolerance >= 0.0) || !(o.damping > 0.0) ||
      !is_finite(o.damping) || !(o.floor_in_spacings > 0.0) || !is_finite(o.floor_in_spacings))
    throw ArgumentError(
        "polish: the tolerances and the gain must not be negative, damping and the floor of the deviations must be "
        "positive and finite");
}

/// Polishes in place; the problem's geometry is set by the caller.
template <PlainTensor V>
void run_polish(const V& densities, PolishProblem<typename V::Scalar> problem, const PolishOptions& options,
                PolishReport<V>& report) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  check_polish(options);
  const index_t batch = densities.extent(0), components = report.mixture.components();
  if (components < 1 || components > max_components)
    throw ArgumentError("polish: the number of components must be 1 to " + std::to_string(max_components) + ", given " +
                        std::to_string(components));
  report.evaluations = PolishReport<V>::Integers::uninitialized(Shape{batch});
  report.largest_error = V::uninitialized(Shape{batch});
  report.relative_error = V::uninitialized(Shape{batch});
  problem.densities = densities.data();
  problem.count = densities.extent(1);
  problem.components = static_cast<int>(components);
  problem.evaluations = options.evaluations;
  problem.minimax = options.minimax;
  problem.tolerance = static_cast<T>(options.tolerance);
  problem.gain = static_cast<T>(options.gain);
  problem.damping = static_cast<T>(options.damping);
  problem.floor_in_spacings = options.floor_in_spacings;
  problem.negative_tolerance = options.negative_tolerance;
  problem.nan = std::numeric_limits<T>::quiet_NaN();
  problem.status = report.status.mutable_data();
  problem.weights = report.mixture.weights.mutable_data();
  problem.means = report.mixture.means.mutable_data();
  problem.deviations = report.mixture.deviations.mutable_data();
  problem.largest_error = report.largest_error.mutable_data();
  problem.relative_error = report.relative_error.mutable_data();
  problem.evaluated = report.evaluations.mutable_data();
  if (components <= 5)
    for_each_team<B>(batch, PolishItem<T, 5>{{{problem}}});
  else
    for_each_team<B>(batch, PolishItem<T, max_components>{{{problem}}});
}

template <PlainTensor V>
PolishReport<V> polish(const V& given, PolishProblem<typename V::Scalar> problem, const Mixture<V>& start,
                       const PolishOptions& options, const std::optional<V>& offsets,
                       const typename PolishReport<V>::Integers& status) {
  const V densities = as_batch(given, "polish", "densities");
  const index_t batch = densities.extent(0), count = densities.extent(1);
  const Shape shape{batch, start.components()};
  if (count != problem.count)
    throw ShapeError("polish: densities have " + std::to_string(count) + " values but there are " +
                     std::to_string(problem.count) + " points");
  for (const V* x : {&start.weights, &start.means, &start.deviations})
    if (!(x->shape() == shape))
      throw ShapeError("polish: the start must have shape " + shape.to_string() + ", given " + x->shape().to_string());
  if (status.has_value() && status.size() != batch)
    throw ShapeError("polish: expected one status per density, " + std::to_string(batch) + ", given " +
                     std::to_string(status.size()));
  V moved;
  if (offsets.has_value()) {
    if (offsets->size() != batch)
      throw ShapeError("polish: expected one offset per density, " + std::to_string(batch) + ", given " +
                       std::to_string(offsets->size()));
    moved = offsets->contiguous();
    problem.offsets = moved.data();
  }
  PolishReport<V> report;
  report.mixture = {start.weights.copy(), start.means.copy(), start.deviations.copy()};
  report.status = status.has_value() ? status.copy() : PolishReport<V>::Integers::zeros(Shape{batch});
  run_polish(densities, problem, options, report);
  return report;
}

}  // namespace detail

/// Polishes mixtures [batch, K] of densities [batch, n] (or [n]) sampled on an equally spaced grid, moved by `offsets`
/// [batch] if given. Values need not be normalised. Rows whose `status` (Status as integer, [batch]), if given, is not
/// valid are left alone. A row that is no density, or whose start is no mixture, gets a status and keeps its start.
/// Starts are brought within the bounds of the polish: means among the points, deviations above the floor.
/// Throws ShapeError, or ArgumentError for impossible options.
template <PlainTensor V>
PolishReport<V> polish(const V& densities, const Grid& grid, const Mixture<V>& start, const PolishOptions& options = {},
                       const std::optional<std::type_identity_t<V>>& offsets = std::nullopt,
                       const typename PolishReport<V>::Integers& status = {}) {
  check_grid(grid, "polish");
  detail::PolishProblem<typename V::Scalar> problem{};
  problem.first = grid.first;
  problem.spacing = grid.spacing();
  problem.count = grid.points;
  return detail::polish<V>(densities, problem, start, options, offsets, status);
}

/// The same at increasing points of any spacing.
template <PlainTensor V>
PolishReport<V> polish(const V& densities, std::span<const double> points, const Mixture<V>& start,
                       const PolishOptions& options = {}, const typename PolishReport<V>::Integers& status = {}) {
  check_points(points, "polish");
  const auto stored = Tensor<double, typename V::Backend>::from(points, Shape{static_cast<index_t>(points.size())});
  detail::PolishProblem<typename V::Scalar> problem{};
  problem.points = stored.data();
  problem.count = static_cast<index_t>(points.size());
  return detail::polish<V>(densities, problem, start, options, std::nullopt, status);
}

}  // namespace kolmo::gmm
