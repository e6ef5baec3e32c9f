#pragma once
// Expectation-maximisation as a user calls it: densities on their own points in, mixtures in their own coordinates
// out, in the same form as the learned fitter of lamf_fit.hpp.
//
//   const auto report = fit(EmOptions{}, densities, Grid{0.0, 20.0, 200});
//   const auto polished = fit(em, densities, grid, EmGiven<V>{learned.mixture}, options);   // em.start is lamf or mdn

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/polish_fit.hpp>

namespace kolmo::gmm {

namespace detail {

/// Masses of one density at its own points, taken about its mean.
template <class T>
struct EmInputItem {
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

/// Warns of a start that is not the one asked for.
struct FallbackItem {
  const std::int32_t* start;
  std::int32_t asked;
  std::int32_t* warnings;
  KOLMO_HD void operator()(index_t i) const {
    warnings[i] = start[i] == asked ? 0 : static_cast<std::int32_t>(Warning::fallback_start);
  }
};

struct ShiftAndScaleBack {
  template <class S>
  KOLMO_HD S operator()(S x, S scale, S shift) const {
    return (x - shift) / scale;
  }
};
struct ScaleBack {
  template <class S>
  KOLMO_HD S operator()(S x, S scale) const {
    return x / scale;
  }
};

/// The inverse of to_input_units.
template <PlainTensor V>
Mixture<V> from_input_units(const Mixture<V>& mixture, const Preprocessed<V>& input) {
  const Shape column{input.mean.size(), 1};
  const V mean = input.mean.reshaped(column), scale = input.scale.reshaped(column);
  return {mixture.weights, map(ShiftAndScaleBack{}, mixture.means, scale, mean),
          map(ScaleBack{}, mixture.deviations, scale)};
}

template <PlainTensor V>
struct FitEmChunk {
  const EmOptions& em;
  const FitOptions& options;
  const Grid& grid;                                   // where `points` has no value
  const Tensor<double, typename V::Backend>& points;  // without a value: those of the grid
  const EmGiven<V>& given;
  index_t count;
  index_t& next;  // the first row of the next chunk; chunks are fitted in order

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using T = typename V::Scalar;
    using Integers = typename FittedChunk<V>::Integers;
    const index_t batch = densities.extent(0), begin = next;
    next += batch;
    const Shape per_item{batch}, per_point = densities.shape();
    FittedChunk<V> fitted;
    Preprocessed<V>& p = fitted.prepared;
    p = {V::uninitialized(per_point), V::uninitialized(per_point),      V::uninitialized(per_item),
         V::uninitialized(per_item),  V::uninitialized(per_item),       V::uninitialized(per_item),
         V::uninitialized(per_item),  Integers::uninitialized(per_item)};
    PreprocessProblem<T> problem{};
    problem.densities = densities.data();
    problem.count = problem.model_points = count;
    if (points.has_value()) {
      problem.points = points.data();
    } else {
      problem.first = grid.first;
      problem.spacing = grid.spacing();
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
    // A floor in units of the input must be compared in units of the input.
    kolmo::detail::for_each_item<typename V::Backend>(batch, EmInputItem<T>{problem, !(em.deviation_floor > 0.0)});

    EmGiven<V> chunk;
    const auto part = [&](const V& x) { return slice(x, 0, begin, begin + batch).contiguous(); };
    if (given.mixture.has_value())
      chunk.mixture = from_input_units(
          Mixture<V>{part(given.mixture->weights), part(given.mixture->means), part(given.mixture->deviations)}, p);
    if (given.winners.has_value()) chunk.winners = WinnerParts<V>{part(given.winners->x), part(given.winners->y)};
    EmFit<V> em_fit = fit_em(p.masses, p.points, em, chunk, begin);
    fitted.mixture = em_fit.mixture;
    fitted.status = em_fit.status;
    fitted.iterations = em_fit.iterations;
    fitted.warnings = Integers::uninitialized(per_item);
    V::Backend::for_each(
        batch, FallbackItem{em_fit.start.data(), static_cast<std::int32_t>(em.start), fitted.warnings.mutable_data()});
    return fitted;
  }
};

template <PlainTensor V>
void check_given(const EmGiven<V>& given, const Shape& densities, int components) {
  const index_t batch = densities.rank() == 1 ? 1 : densities[0];
  const Shape mixture{batch, components}, part{batch, densities[densities.rank() - 1]};
  if (given.mixture.has_value()) {
    check_shape(given.mixture->weights, mixture, "the weights of the start");
    check_shape(given.mixture->means, mixture, "the means of the start");
    check_shape(given.mixture->deviations, mixture, "the deviations of the start");
  }
  if (given.winners.has_value()) {
    check_shape(given.winners->x, part, "the part in which X is the larger");
    check_shape(given.winners->y, part, "the part in which Y is the larger");
  }
}

}  // namespace detail

/// Fits densities [batch, n] (or [n]) sampled at the points of `grid`, any number from 3 up; `offsets` [batch], if
/// given, moves the grid row by row. Values need not be normalised. `given` is what em.start needs, such as the
/// mixtures of another fitter's report, in units of the input. A row that is no density gets a status and does not
/// disturb the others; `iteration_limit` is a fit that had not converged. A row whose start could not be made is fitted
/// from another and gets the warning fallback_start; only a bad custom start is a status. Throws ShapeError or
/// ArgumentError when the arguments do not fit each other.
template <PlainTensor V>
FitReport<V> fit(const EmOptions& em, const V& densities, const Grid& grid, const EmGiven<V>& given,
                 const FitOptions& options = {}, const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  detail::check_given(given, densities.shape(), em.components);
  index_t next = 0;
  const Tensor<double, typename V::Backend> no_points;
  FitReport<V> report =
      detail::fit_in_chunks(densities, grid, static_cast<index_t>(em.components), options, offsets,
                            detail::FitEmChunk<V>{em, options, grid, no_points, given, grid.points, next});
  if (options.polish.has_value() && options.polish->evaluations > 0)
    detail::polish_report(report, densities, grid, *options.polish, options.negative_tolerance,
                          std::optional<V>(offsets));
  if (options.measures) add_measures(report, densities, grid, options, offsets);
  return report;
}

template <PlainTensor V>
FitReport<V> fit(const EmOptions& em, const V& densities, const Grid& grid, const FitOptions& options = {},
                 const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  return fit(em, densities, grid, EmGiven<V>{}, options, offsets);
}

/// The same for densities sampled at increasing points of any spacing. Throws ArgumentError also when the points are
/// not finite and strictly increasing.
template <PlainTensor V>
FitReport<V> fit(const EmOptions& em, const V& densities, std::span<const double> points, const EmGiven<V>& given,
                 const FitOptions& options = {}) {
  check_points(points, "fit");
  detail::check_given(given, densities.shape(), em.components);
  const auto count = static_cast<index_t>(points.size());
  const auto stored = Tensor<double, typename V::Backend>::from(points, Shape{count});
  index_t next = 0;
  FitReport<V> report =
      detail::fit_in_chunks(densities, count, static_cast<index_t>(em.components), options, std::optional<V>{},
                            detail::FitEmChunk<V>{em, options, Grid{}, stored, given, count, next});
  if (options.polish.has_value() && options.polish->evaluations > 0)
    detail::polish_report(report, densities, points, *options.polish, options.negative_tolerance,
                          std::optional<V>{});
  if (options.measures) add_measures(report, densities, points, options);
  return report;
}

template <PlainTensor V>
FitReport<V> fit(const EmOptions& em, const V& densities, std::span<const double> points,
                 const FitOptions& options = {}) {
  return fit(em, densities, points, EmGiven<V>{}, options);
}

}  // namespace kolmo::gmm
