#pragma once
// What precedes and follows the network of a learned fitter: the preparation; the polish, and a second attempt at
// densities that it does not master, by EM from quantiles with a longer polish. A row that was refitted says so in its
// warnings. The points of the densities are a Grid or a span of increasing points.

#include <span>
#include <vector>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/ops/indexing.hpp>

namespace kolmo::gmm::detail {

template <PlainTensor V>
Preprocessed<V> prepare_rows(const V& densities, const Grid& grid, const PreprocessOptions& options,
                             const std::optional<V>& offsets) {
  return preprocess(densities, grid, options, offsets);
}
template <PlainTensor V>
Preprocessed<V> prepare_rows(const V& densities, std::span<const double> points, const PreprocessOptions& options,
                             const std::optional<V>&) {
  return preprocess(densities, points, options);
}

inline index_t count_of(const Grid& grid) {
  check_grid(grid, "fit");
  return grid.points;
}
inline index_t count_of(std::span<const double> points) {
  check_points(points, "fit");
  return static_cast<index_t>(points.size());
}

/// Copies rows of a [count, components] tensor into rows `to` of a [batch, components] tensor.
template <class T>
struct ScatterRows {
  const T* from;
  T* to;
  const std::int64_t* rows;
  index_t components;
  KOLMO_HD void operator()(index_t i) const { to[rows[i / components] * components + i % components] = from[i]; }
};

/// Fits again, by EM and a long polish, rows that are broken or whose relative error exceeds options.refit_above, and
/// takes what is better.
template <PlainTensor V, class Points>
void refit(FitReport<V>& report, const V& relative_error, const V& given, const Points& points,
           const FitOptions& options, const PolishOptions& polish, const std::optional<V>& offsets) {
  using B = typename V::Backend;
  using Rows = Tensor<std::int64_t, B>;
  const auto errors = relative_error.to_vector();
  const auto statuses = report.statuses();
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < statuses.size(); ++i)
    if (statuses[i] == Status::broken_fit ||
        (is_valid(statuses[i]) && static_cast<double>(errors[i]) > options.refit_above))
      rows.push_back(static_cast<std::int64_t>(i));
  if (rows.empty()) return;
  const V densities = as_batch(given, "fit", "densities");
  // EM does not fit more components than there are points.
  if (report.mixture.components() > densities.extent(1)) return;
  const Rows chosen = Rows::from(rows);
  const V part = take(densities, chosen, 0);
  std::optional<V> moved;
  if (offsets.has_value()) moved = take(offsets->reshaped(Shape{report.batch()}), chosen, 0);
  FitOptions plain = options;
  plain.measures = false;
  plain.polish = PolishOptions{.evaluations = 0};
  const EmOptions em{.components = static_cast<int>(report.mixture.components()), .max_iterations = 50};
  FitReport<V> second = fit_em_at(em, part, points, EmGiven<V>{}, plain, moved);
  PolishOptions more = polish;
  more.evaluations *= 3;
  const auto second_errors = polish_report(second, part, points, more, options.negative_tolerance, moved).to_vector();
  const auto second_statuses = second.statuses();
  std::vector<std::int64_t> better, from;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::size_t>(rows[i]);
    if (!is_valid(second_statuses[i]) || (is_valid(statuses[row]) && !(second_errors[i] < errors[row]))) continue;
    better.push_back(rows[i]);
    from.push_back(static_cast<std::int64_t>(i));
  }
  if (better.empty()) return;
  const Rows to = Rows::from(better), chosen_rows = Rows::from(from);
  const index_t components = report.mixture.components(), count = to.size();
  const auto scatter = [&](V& target, const V& source) {
    const V x = take(source, chosen_rows, 0).contiguous();
    B::for_each(count * components,
                ScatterRows<typename V::Scalar>{x.data(), target.mutable_data(), to.data(), components});
  };
  scatter(report.mixture.weights, second.mixture.weights);
  scatter(report.mixture.means, second.mixture.means);
  scatter(report.mixture.deviations, second.mixture.deviations);
  const auto scatter_integers = [&](auto& target, const std::vector<std::int32_t>& values) {
    const auto x = std::remove_reference_t<decltype(target)>::from(values);
    B::for_each(count, ScatterRows<std::int32_t>{x.data(), target.mutable_data(), to.data(), 1});
  };
  std::vector<std::int32_t> status, warnings, iterations;
  const auto old_warnings = report.warnings.to_vector();
  const auto second_iterations = second.iterations.to_vector();
  for (std::size_t i = 0; i < better.size(); ++i) {
    status.push_back(static_cast<std::int32_t>(Status::ok));
    warnings.push_back(old_warnings[static_cast<std::size_t>(better[i])] |
                       static_cast<std::int32_t>(Warning::refitted));
    iterations.push_back(second_iterations[static_cast<std::size_t>(from[i])]);
  }
  scatter_integers(report.status, status);
  scatter_integers(report.warnings, warnings);
  scatter_integers(report.iterations, iterations);
}

/// A learned fit from beginning to end; fit_chunk(densities, offsets) prepares and runs the network.
template <PlainTensor V, class Points, class FitChunk>
FitReport<V> fit_learned(const V& densities, const Points& points, index_t components, const FitOptions& options,
                         const std::optional<V>& offsets, const FitChunk& fit_chunk) {
  FitReport<V> report = fit_in_chunks(densities, count_of(points), components, options, offsets, fit_chunk);
  const PolishOptions polish = options.polish.value_or(PolishOptions{});
  if (polish.evaluations > 0) {
    const V errors = polish_report(report, densities, points, polish, options.negative_tolerance, offsets);
    if (options.refit_above > 0.0) refit(report, errors, densities, points, options, polish, offsets);
  }
  if (options.measures) measure_rows(report, densities, points, options, offsets);
  return report;
}

}  // namespace kolmo::gmm::detail
