#pragma once
// Preparation of densities for fitters that work on any points: masses at the density's own points, about its mean.

#include <optional>
#include <span>

#include <kolmo/gmm/em_fit.hpp>

namespace kolmo::gmm::detail {

/// Where the densities of a batch are sampled: on a grid, or at increasing points of any spacing.
template <BackendMemory B>
struct OwnPoints {
  Grid grid{};
  Tensor<double, B> points{};  // without a value: those of the grid
  index_t count;

  explicit OwnPoints(const Grid& given) : grid(given), count(given.points) { check_grid(given, "fit"); }
  explicit OwnPoints(std::span<const double> given) : count(static_cast<index_t>(given.size())) {
    check_points(given, "fit");
    points = Tensor<double, B>::from(given, Shape{count});
  }
};

/// Masses of densities [batch, n] at points (z - mean) / scale, the scale being the deviation or, unless `standardise`,
/// one. Bad rows have a status and no mass.
template <PlainTensor V>
Preprocessed<V> prepare_on_own_points(const V& densities, const std::optional<V>& offsets,
                                      const OwnPoints<typename V::Backend>& where, const FitOptions& options,
                                      bool standardise) {
  const index_t batch = densities.extent(0);
  const Shape per_item{batch}, per_point = densities.shape();
  Preprocessed<V> p{V::uninitialized(per_point), V::uninitialized(per_point),
                    V::uninitialized(per_item),  V::uninitialized(per_item),
                    V::uninitialized(per_item),  V::uninitialized(per_item),
                    V::uninitialized(per_item),  Preprocessed<V>::Integers::uninitialized(per_item)};
  PreprocessProblem<typename V::Scalar> problem{};
  problem.densities = densities.data();
  problem.count = problem.model_points = where.count;
  if (where.points.has_value()) {
    problem.points = where.points.data();
  } else {
    problem.first = where.grid.first;
    problem.spacing = where.grid.spacing();
  }
  problem.offsets = offsets.has_value() ? offsets->data() : nullptr;
  problem.negative_tolerance = options.negative_tolerance;
  problem.masses = p.masses.mutable_data();
  problem.result_points = p.points.mutable_data();
  problem.mean = p.mean.mutable_data();
  problem.scale = p.scale.mutable_data();
  problem.deviation = p.deviation.mutable_data();
  problem.result_spacing = p.spacing.mutable_data();
  problem.mass_lost = p.mass_lost.mutable_data();
  problem.status = p.status.mutable_data();
  kolmo::detail::for_each_item<typename V::Backend>(batch, EmInputItem<typename V::Scalar>{problem, standardise});
  return p;
}

}  // namespace kolmo::gmm::detail
