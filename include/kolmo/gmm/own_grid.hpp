#pragma once
// Preparation of densities for fitters that work on any grid: masses at the density's own points, about its mean.

#include <optional>

#include <kolmo/gmm/em_fit.hpp>

namespace kolmo::gmm::detail {

/// Masses of densities [batch, n] at points (z - mean) / scale, the scale being the deviation or, unless `standardise`,
/// one. Bad rows have a status and no mass.
template <PlainTensor V>
Preprocessed<V> prepare_on_own_grid(const V& densities, const std::optional<V>& offsets, const Grid& grid,
                                    const FitOptions& options, bool standardise) {
  const index_t batch = densities.extent(0);
  const Shape per_item{batch}, per_point = densities.shape();
  Preprocessed<V> p{V::uninitialized(per_point), V::uninitialized(per_point),
                    V::uninitialized(per_item),  V::uninitialized(per_item),
                    V::uninitialized(per_item),  V::uninitialized(per_item),
                    V::uninitialized(per_item),  Preprocessed<V>::Integers::uninitialized(per_item)};
  PreprocessProblem<typename V::Scalar> problem{};
  problem.densities = densities.data();
  problem.count = problem.model_points = grid.points;
  problem.first = problem.model_first = grid.first;
  problem.spacing = problem.model_spacing = grid.spacing();
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
