#pragma once
// Expectation-maximisation as a user calls it: densities on their own grid in, mixtures in their own coordinates
// out, in the same form as the learned fitter of lamf_fit.hpp.

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/fit_report.hpp>

namespace kolmo::gmm {

namespace detail {

/// Masses of one density on its own grid, at points about its mean.
template <class T>
struct EmInputItem {
  PreprocessProblem<T> problem;  // model_points = count
  bool standardise;

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = problem.count;
    const double offset = problem.offsets != nullptr ? static_cast<double>(problem.offsets[item]) : 0.0;
    const DensityRow<T> row{problem.densities + item * n, nullptr, problem.first + offset, problem.spacing, n};
    const PreprocessItem<T> preparation{problem};
    const auto moments = preparation.examine(row);
    if (moments.status != Status::ok) return preparation.reject(item, moments.status);
    // All mass in one cell still has the width of the cell.
    const double deviation = larger(moments.deviation, 0.28867513459481288225 * problem.spacing);
    const double scale = standardise ? deviation : 1.0;
    for (index_t i = 0; i < n; ++i) {
      problem.masses[item * n + i] = static_cast<T>(row.value(i) / moments.total * row.weight(i));
      problem.result_points[item * n + i] = static_cast<T>((row.point(i) - moments.mean) / scale);
    }
    problem.mean[item] = static_cast<T>(moments.mean);
    problem.scale[item] = static_cast<T>(scale);
    problem.deviation[item] = static_cast<T>(deviation / scale);
    problem.result_spacing[item] = static_cast<T>(problem.spacing / scale);
    problem.mass_lost[item] = T(0);
    problem.status[item] = static_cast<std::int32_t>(Status::ok);
  }
};

template <PlainTensor V>
struct FitEmChunk {
  const EmOptions& em;
  const FitOptions& options;
  const Grid& grid;

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using T = typename V::Scalar;
    const index_t batch = densities.extent(0);
    const Shape per_item{batch}, per_point = densities.shape();
    FittedChunk<V> fitted;
    Preprocessed<V>& p = fitted.prepared;
    p = {V::uninitialized(per_point), V::uninitialized(per_point),
         V::uninitialized(per_item),  V::uninitialized(per_item),
         V::uninitialized(per_item),  V::uninitialized(per_item),
         V::uninitialized(per_item),  Preprocessed<V>::Integers::uninitialized(per_item)};
    PreprocessProblem<T> problem{};
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
    // A floor in units of the input must be compared in units of the input.
    kolmo::detail::for_each_item<typename V::Backend>(batch, EmInputItem<T>{problem, !(em.deviation_floor > 0.0)});
    EmFit<V> em_fit = fit_em(p.masses, p.points, em);
    fitted.mixture = em_fit.mixture;
    fitted.status = em_fit.status;
    fitted.iterations = em_fit.iterations;
    return fitted;
  }
};

}  // namespace detail

/// Fits densities [batch, n] (or [n]) sampled at the points of `grid`, any number from 3 up; `offsets` [batch], if
/// given, moves the grid row by row. Values need not be normalised. A row that is no density gets a status and
/// does not disturb the others; `iteration_limit` is a fit that had not converged. Throws ShapeError or
/// ArgumentError when the arguments do not fit each other.
template <PlainTensor V>
FitReport<V> fit(const EmOptions& em, const V& densities, const Grid& grid, const FitOptions& options = {},
                 const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  FitReport<V> report = detail::fit_in_chunks(densities, grid, static_cast<index_t>(em.components), options, offsets,
                                              detail::FitEmChunk<V>{em, options, grid});
  if (options.measures) add_measures(report, densities, grid, options, offsets);
  return report;
}

}  // namespace kolmo::gmm
