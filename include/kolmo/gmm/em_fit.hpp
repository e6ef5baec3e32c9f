#pragma once
// Expectation-maximisation as a user calls it: densities on their own points in, mixtures in their own coordinates
// out, in the same form as the learned fitter of lamf_fit.hpp.
//
//   const auto report = fit(EmOptions{}, densities, Grid{0.0, 20.0, 200});
//   const auto polished = fit(em, densities, grid, EmGiven<V>{learned.mixture}, options);   // em.start is lamf or mdn

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/own_points.hpp>
#include <kolmo/gmm/polish_fit.hpp>

namespace kolmo::gmm {

namespace detail {

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
  const OwnPoints<typename V::Backend>& where;
  const EmGiven<V>& given;
  index_t& next;  // the first row of the next chunk; chunks are fitted in order

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using Integers = typename FittedChunk<V>::Integers;
    const index_t batch = densities.extent(0), begin = next;
    next += batch;
    FittedChunk<V> fitted;
    // A floor in units of the input must be compared in units of the input.
    fitted.prepared = prepare_on_own_points(densities, offsets, where, options, !(em.deviation_floor > 0.0));
    const Preprocessed<V>& p = fitted.prepared;

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
    fitted.warnings = Integers::uninitialized(Shape{batch});
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

template <PlainTensor V, class Points>
FitReport<V> fit_em_at(const EmOptions& em, const V& densities, const Points& points, const EmGiven<V>& given,
                       const FitOptions& options, const std::optional<V>& offsets) {
  check_given(given, densities.shape(), em.components);
  const OwnPoints<typename V::Backend> where(points);
  index_t next = 0;
  FitReport<V> report = fit_in_chunks(densities, where.count, static_cast<index_t>(em.components), options, offsets,
                                      FitEmChunk<V>{em, options, where, given, next});
  if (options.polish.has_value() && options.polish->evaluations > 0)
    polish_report(report, densities, points, *options.polish, options.negative_tolerance, offsets);
  if (options.measures) measure_rows(report, densities, points, options, offsets);
  return report;
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
  return detail::fit_em_at<V>(em, densities, grid, given, options, offsets);
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
  return detail::fit_em_at<V>(em, densities, points, given, options, std::nullopt);
}

template <PlainTensor V>
FitReport<V> fit(const EmOptions& em, const V& densities, std::span<const double> points,
                 const FitOptions& options = {}) {
  return fit(em, densities, points, EmGiven<V>{}, options);
}

}  // namespace kolmo::gmm
