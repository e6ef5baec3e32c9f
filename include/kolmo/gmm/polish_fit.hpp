#pragma once
// The polish (see polish.hpp) as the last stage of a fit that has a report.

#include <span>

#include <kolmo/gmm/fit_report.hpp>

namespace kolmo::gmm::detail {

template <PlainTensor V>
PolishReport<V> polish_rows(const FitReport<V>& report, const V& densities, const Grid& grid,
                            const PolishOptions& options, const std::optional<V>& offsets) {
  return polish(densities, grid, report.mixture, options, offsets, report.status);
}
template <PlainTensor V>
PolishReport<V> polish_rows(const FitReport<V>& report, const V& densities, std::span<const double> points,
                            const PolishOptions& options, const std::optional<V>&) {
  return polish(densities, points, report.mixture, options, report.status);
}

struct AddEvaluations {
  const std::int32_t* status;
  const std::int32_t* evaluations;
  std::int32_t* iterations;
  KOLMO_HD void operator()(index_t item) const {
    if (is_valid(static_cast<Status>(status[item]))) iterations[item] += evaluations[item];
  }
};

/// Replaces the mixtures of a report by polished ones; returns the relative errors [batch], NaN where there is no fit.
/// What counts as a density is the fit's to say, in `negative_tolerance`.
template <PlainTensor V, class Points>
V polish_report(FitReport<V>& report, const V& densities, const Points& points, const PolishOptions& options,
                double negative_tolerance, const std::optional<V>& offsets) {
  PolishOptions same_tolerance = options;
  same_tolerance.negative_tolerance = negative_tolerance;
  PolishReport<V> polished = polish_rows(report, densities, points, same_tolerance, offsets);
  report.mixture = polished.mixture;
  V::Backend::for_each(report.batch(), AddEvaluations{report.status.data(), polished.evaluations.data(),
                                                      report.iterations.mutable_data()});
  return polished.relative_error;
}

}  // namespace kolmo::gmm::detail
