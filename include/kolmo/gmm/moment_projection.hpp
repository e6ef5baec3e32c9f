#pragma once
// Weights that give a fitted mixture the moments of its density, means and deviations being kept:
//
//   hard   min |p - q|^2 / 2                              subject to  A p = b, p >= 0
//   soft   min |p - q|^2 / 2 + penalty |A p - b|^2 / 2    subject to  sum p = 1, p >= 0
//
// with q the given weights, A the moments of order 0 to 4 of the components and b those of the density, by default both
// in the coordinates (z - mean) / deviation of the density, so that units do not matter. The density error usually
// grows.

#include <string>
#include <vector>

#include <kolmo/ad/items.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture.hpp>
#include <kolmo/gmm/moment_projection_item.hpp>

namespace kolmo::gmm {

/// What a projection aims at.
enum class ProjectionMode {
  hard,  ///< the moments exactly; soft where no weights have them
  soft,  ///< a compromise
};

struct ProjectionOptions {
  ProjectionMode mode = ProjectionMode::hard;
  /// Of squared moment errors against squared changes of weights; useful from 1e3 to 1e6.
  double penalty = 1e4;
  /// Moments of (z - mean) / deviation; false for those of z itself, which give the penalty units.
  bool standardise = true;
};

/// Largest number of components whose weights can be projected.
inline constexpr int projection_max_components = 32;

/// Projected mixtures of a batch.
template <PlainTensor V>
struct Projection {
  using Integers = Tensor<std::int32_t, typename V::Backend>;

  Mixture<V> mixture;  ///< [batch, K]; with the weights that were given where the method is none
  Integers method;     ///< [batch], ProjectionMethod as integer
  V constraint_error;  ///< [batch], largest moment error if hard, else the 2-norm; NaN without a density or mixture
  V moment_errors;     ///< [batch, 5], mixture minus density, orders 0 to 4, of standardised coordinates if so chosen

  std::vector<ProjectionMethod> methods() const {
    std::vector<ProjectionMethod> result;
    for (std::int32_t m : method.to_vector()) result.push_back(static_cast<ProjectionMethod>(m));
    return result;
  }
  /// What to doubt about a row, in words; empty for nothing.
  std::string warning(index_t row) const {
    std::string text;
    if (methods()[static_cast<std::size_t>(row)] == ProjectionMethod::none) return "the weights were not projected";
    if (mixture.components() < detail::projected_moments)
      text = "fewer components than moments: the weights cannot meet them all";
    if (!(static_cast<double>(constraint_error.to_vector()[static_cast<std::size_t>(row)]) <= 1e-4))
      text += std::string(text.empty() ? "" : "; ") + "the moments are missed by more than 1e-4";
    return text;
  }
};

/// Projects the weights of mixtures [batch, K], K <= 32, onto the moments of masses [batch, N] (or [N]) at points [N]
/// (or [batch, N]). Weights below zero count as zero. A row that is no density or no mixture keeps its weights with
/// method none. Throws ShapeError, or ArgumentError for a penalty that is not positive or too many components.
template <PlainTensor V>
Projection<V> project_moments(const Mixture<V>& mixture, const V& masses_given, const V& points_given,
                              const ProjectionOptions& options = {}) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const V masses = detail::as_batch(masses_given, "project_moments", "masses");
  const V points = points_given.contiguous();
  const index_t batch = masses.extent(0), count = masses.extent(1), components = mixture.components();
  const bool shared = points.rank() == 1;
  if (mixture.batch() != batch || points.rank() < 1 || points.rank() > 2 || points.extent(-1) != count ||
      (!shared && points.extent(0) != batch) || count < 1)
    throw ShapeError("project_moments: mixtures " + mixture.weights.shape().to_string() + ", masses " +
                     masses.shape().to_string() + " and points " + points.shape().to_string() +
                     " do not fit each other");
  if (components < 1 || components > projection_max_components)
    throw ArgumentError("project_moments: expected 1 to " + std::to_string(projection_max_components) +
                        " components, given " + std::to_string(components) + "; merge or prune first");
  if (!(options.penalty > 0.0) || !(options.penalty < 1e300))
    throw ArgumentError("project_moments: the penalty must be positive and finite, given " +
                        std::to_string(options.penalty));
  const V means = mixture.means.contiguous(), deviations = mixture.deviations.contiguous();
  Projection<V> result{{mixture.weights.copy(), means, deviations},
                       Projection<V>::Integers::uninitialized(Shape{batch}),
                       V::uninitialized(Shape{batch}),
                       V::uninitialized(Shape{batch, detail::projected_moments})};
  const auto run = [&](auto bound) {
    kolmo::detail::for_each_item<B>(
        batch, detail::ProjectionItem<T, decltype(bound)::value>{
                   masses.data(), points.data(), shared ? 0 : count, count, static_cast<int>(components),
                   options.mode == ProjectionMode::hard, options.standardise, options.penalty, means.data(),
                   deviations.data(), result.mixture.weights.mutable_data(), result.method.mutable_data(),
                   result.constraint_error.mutable_data(), result.moment_errors.mutable_data()});
  };
  if (components <= 8)
    run(std::integral_constant<int, 8>{});
  else
    run(std::integral_constant<int, projection_max_components>{});
  return result;
}

}  // namespace kolmo::gmm
