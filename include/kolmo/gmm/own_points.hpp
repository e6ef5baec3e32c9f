#pragma once
// Preparation of densities for fitters that work on any points: masses at the density's own points, about its mean.

#include <optional>
#include <span>

#include <kolmo/gmm/fit_report.hpp>

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

/// Masses of one density at its own points, taken about its mean.
template <class T>
struct OwnPointsItem {
  PreprocessProblem<T> problem;  // model_points = count
  bool standardise;

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = problem.count;
    const double offset = problem.offsets != nullptr ? static_cast<double>(problem.offsets[item]) : 0.0;
    const DensityRow<T> row{problem.densities + item * n, problem.points, problem.first + offset, problem.spacing, n};
    const PreprocessItem<T> preparation{problem};
    const auto moments = preparation.examine(row);
    if (moments.status != Status::ok) return reject(item, row, moments.status);
    // All mass in one cell still has the width of the cell.
    double cell = problem.spacing;
    if (problem.points != nullptr) {
      double most = 0.0;
      for (index_t i = 0; i < n; ++i) {
        const double mass = row.value(i) * row.weight(i);
        if (mass > most) {
          most = mass;
          cell = row.weight(i);
        }
      }
    }
    const double deviation = larger(moments.deviation, 0.28867513459481288225 * cell);
    const double scale = standardise ? deviation : 1.0;
    for (index_t i = 0; i < n; ++i) {
      problem.masses[item * n + i] = static_cast<T>(row.value(i) / moments.total * row.weight(i));
      problem.result_points[item * n + i] = static_cast<T>((row.point(i) - moments.mean) / scale);
    }
    problem.mean[item] = static_cast<T>(moments.mean);
    problem.scale[item] = static_cast<T>(scale);
    problem.deviation[item] = static_cast<T>(deviation / scale);
    problem.result_spacing[item] = static_cast<T>(cell / scale);
    problem.mass_lost[item] = T(0);
    problem.status[item] = static_cast<std::int32_t>(Status::ok);
  }

 private:
  KOLMO_HD void reject(index_t item, const DensityRow<T>& row, Status status) const {
    for (index_t i = 0; i < problem.count; ++i) {
      problem.masses[item * problem.count + i] = T(0);
      problem.result_points[item * problem.count + i] = static_cast<T>(row.point(i));
    }
    problem.mean[item] = problem.mass_lost[item] = T(0);
    problem.scale[item] = problem.deviation[item] = problem.result_spacing[item] = T(1);
    problem.status[item] = static_cast<std::int32_t>(status);
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
  kolmo::detail::for_each_item<typename V::Backend>(batch, OwnPointsItem<typename V::Scalar>{problem, standardise});
  return p;
}

template <PlainTensor V>
void measure_rows(FitReport<V>& report, const V& densities, const Grid& grid, const FitOptions& options,
                  const std::optional<V>& offsets) {
  add_measures(report, densities, grid, options, offsets);
}
template <PlainTensor V>
void measure_rows(FitReport<V>& report, const V& densities, std::span<const double> points, const FitOptions& options,
                  const std::optional<V>&) {
  add_measures(report, densities, points, options);
}

}  // namespace kolmo::gmm::detail
