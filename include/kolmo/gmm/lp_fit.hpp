#pragma once
// Fits by linear programming: weights for a dictionary of normals that are optimal for the objective chosen
// (gmm/dictionary_fit.hpp). Means and deviations are not sought, so a fit may have many more components than one by EM;
// `merged` and `pruned` reduce it, and fit(HybridOptions, ...) goes on with EM.

#include <numeric>

#include <kolmo/backend/threads.hpp>
#include <kolmo/gmm/dictionary_fit.hpp>
#include <kolmo/gmm/own_points.hpp>

namespace kolmo::gmm {

/// Fits by linear programming of a batch. The rows of `mixture` are as wide as the fullest; unused components stand
/// behind the others with weight zero.
template <PlainTensor V>
struct LpFit : FitReport<V> {
  using Integers = typename FitReport<V>::Integers;

  Integers components;  ///< [batch], with a weight; 0 where there is no fit
  V objective;          ///< [batch], of the programme; NaN where there is no fit, as below
  V density_error;      ///< [batch], largest at the points, in units of the input
  V moment_errors;      ///< [batch, 4], absolute, of orders 1 to 4; of standardised coordinates if so chosen
  V tolerance;          ///< [batch], that was kept; zero for objectives without one
};

namespace detail {

constexpr Status status_of(LinearOutcome outcome) {
  return outcome == LinearOutcome::optimal      ? Status::ok
         : outcome == LinearOutcome::infeasible ? Status::infeasible
                                                : Status::unsolved;
}

/// Linear programmes of prepared densities, on the host and side by side; in the coordinates of the preparation.
template <PlainTensor V>
struct DictionaryFits {
  std::vector<Dictionary> dictionaries;
  std::vector<DictionaryFit> fits;
  std::vector<Status> statuses;
  std::vector<double> scales;  // of the coordinates, in units of the input

  DictionaryFits(const Preprocessed<V>& prepared, const LpOptions& options) : statuses(prepared.statuses()) {
    const std::size_t batch = statuses.size(), n = static_cast<std::size_t>(prepared.points.extent(1));
    const auto masses = prepared.masses.to_vector(), points = prepared.points.to_vector();
    const auto scale = prepared.scale.to_vector();
    scales.assign(scale.begin(), scale.end());
    dictionaries.resize(batch);
    fits.resize(batch);
    threads::parallel_for(static_cast<index_t>(batch), [&](index_t item) {
      const std::size_t b = static_cast<std::size_t>(item);
      if (!is_valid(statuses[b])) return;
      const std::vector<double> z(points.begin() + static_cast<std::ptrdiff_t>(b * n),
                                  points.begin() + static_cast<std::ptrdiff_t>((b + 1) * n));
      std::vector<double> f(n);
      for (std::size_t i = 0; i < n; ++i)
        f[i] = static_cast<double>(masses[b * n + i]) /
               trapezoid_weight(z.data(), static_cast<index_t>(n), static_cast<index_t>(i));
      LpOptions own = options;
      own.tolerance *= scales[b];
      dictionaries[b] = make_dictionary(z, f, options.dictionary, options.floor_in_spacings);
      fits[b] = fit_dictionary(z, f, dictionaries[b], own);
      fits[b].density_error /= scales[b];
      fits[b].tolerance /= scales[b];
      statuses[b] = status_of(fits[b].outcome);
    });
  }

  /// Normals with a weight, by their means.
  std::vector<std::size_t> live(std::size_t b) const {
    std::vector<std::size_t> order;
    for (std::size_t j = 0; j < fits[b].weights.size(); ++j)
      if (fits[b].weights[j] > 0.0) order.push_back(j);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t i, std::size_t j) { return dictionaries[b].means[i] < dictionaries[b].means[j]; });
    return order;
  }
};

/// What a linear programme says of each density, collected over chunks.
struct LpDiagnostics {
  std::vector<std::int32_t> components;
  std::vector<double> objective, density_error, moment_errors, tolerance;

  template <PlainTensor V>
  void add(const DictionaryFits<V>& fits) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (std::size_t b = 0; b < fits.statuses.size(); ++b) {
      const bool fitted = is_valid(fits.statuses[b]);
      const DictionaryFit& fit = fits.fits[b];
      components.push_back(fitted ? static_cast<std::int32_t>(fits.live(b).size()) : 0);
      objective.push_back(fitted ? fit.objective : nan);
      density_error.push_back(fitted ? fit.density_error : nan);
      for (double error : fit.moment_errors) moment_errors.push_back(fitted ? error : nan);
      tolerance.push_back(fitted ? fit.tolerance : nan);
    }
  }
  template <PlainTensor V>
  static V tensor(const std::vector<double>& values, const Shape& shape) {
    using T = typename V::Scalar;
    return V::from(std::vector<T>(values.begin(), values.end()), shape);
  }
  template <class Fit>
  void move_to(Fit& fit) const {
    using V = std::remove_cvref_t<decltype(fit.objective)>;
    const index_t batch = fit.batch();
    fit.components = Fit::Integers::from(components, Shape{batch});
    fit.objective = tensor<V>(objective, Shape{batch});
    fit.density_error = tensor<V>(density_error, Shape{batch});
    fit.moment_errors = tensor<V>(moment_errors, Shape{batch, 4});
    fit.tolerance = tensor<V>(tolerance, Shape{batch});
  }
};

template <PlainTensor V>
struct FitLpChunk {
  const LpOptions& lp;
  const FitOptions& options;
  const OwnPoints<typename V::Backend>& where;
  LpDiagnostics& diagnostics;

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using T = typename V::Scalar;
    using Integers = typename FittedChunk<V>::Integers;
    FittedChunk<V> fitted;
    fitted.prepared = prepare_on_own_points(densities, offsets, where, options, lp.standardise);
    const DictionaryFits<V> fits(fitted.prepared, lp);
    diagnostics.add(fits);
    const std::size_t batch = fits.statuses.size(), width = dictionary_size(lp.dictionary);
    std::vector<T> weights(batch * width, T(0)), means(batch * width, T(0)), deviations(batch * width, T(1));
    std::vector<std::int32_t> status, iterations;
    for (std::size_t b = 0; b < batch; ++b) {
      const auto order = is_valid(fits.statuses[b]) ? fits.live(b) : std::vector<std::size_t>{};
      for (std::size_t k = 0; k < width && !order.empty(); ++k) {
        const std::size_t j = k < order.size() ? order[k] : order.back();
        weights[b * width + k] = k < order.size() ? static_cast<T>(fits.fits[b].weights[j]) : T(0);
        means[b * width + k] = static_cast<T>(fits.dictionaries[b].means[j]);
        deviations[b * width + k] = static_cast<T>(fits.dictionaries[b].deviations[j]);
      }
      status.push_back(static_cast<std::int32_t>(fits.statuses[b]));
      iterations.push_back(static_cast<std::int32_t>(fits.fits[b].iterations));
    }
    const Shape shape{static_cast<index_t>(batch), static_cast<index_t>(width)}, per_item{shape[0]};
    fitted.mixture = {V::from(weights, shape), V::from(means, shape), V::from(deviations, shape)};
    fitted.status = Integers::from(status, per_item);
    fitted.iterations = Integers::from(iterations, per_item);
    return fitted;
  }
};

template <PlainTensor V, class Points>
LpFit<V> fit_lp(const LpOptions& lp, const V& densities, const Points& points, const FitOptions& options,
                const std::optional<V>& offsets) {
  check_lp_options(lp);
  if (options.polish.has_value() && options.polish->evaluations > 0)
    throw ArgumentError(
        "fit: a fit by linear programming keeps the means and deviations of its dictionary and is not polished; use "
        "HybridOptions, or polish what `merged` makes of it");
  const OwnPoints<typename V::Backend> where(points);
  const index_t width = static_cast<index_t>(dictionary_size(lp.dictionary));
  LpDiagnostics diagnostics;
  LpFit<V> result{
      fit_in_chunks(densities, where.count, width, options, offsets, FitLpChunk<V>{lp, options, where, diagnostics}),
      {},
      {},
      {},
      {},
      {}};
  diagnostics.move_to(result);
  index_t most = 1;
  for (std::int32_t count : diagnostics.components) most = larger<index_t>(most, count);
  Mixture<V>& m = result.mixture;
  m = {slice(m.weights, 1, 0, most).contiguous(), slice(m.means, 1, 0, most).contiguous(),
       slice(m.deviations, 1, 0, most).contiguous()};
  return result;
}

}  // namespace detail

/// Fits densities [batch, n] (or [n]) sampled at the points of `grid`, any number from 3 up; `offsets` [batch], if
/// given, moves the grid row by row. Values need not be normalised. The programmes run on the host in double. A row
/// that is no density, or whose programme has no solution (`infeasible`) or was not solved (`unsolved`), gets a status
/// and is NaN. `iterations` counts pivots. Throws ShapeError or ArgumentError when the arguments do not fit each other.
template <PlainTensor V>
LpFit<V> fit(const LpOptions& lp, const V& densities, const Grid& grid, const FitOptions& options = {},
             const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  LpFit<V> result = detail::fit_lp<V>(lp, densities, grid, options, offsets);
  if (options.measures) add_measures(result, densities, grid, options, offsets);
  return result;
}

/// The same for densities sampled at increasing points of any spacing. Throws ArgumentError also when the points are
/// not finite and strictly increasing.
template <PlainTensor V>
LpFit<V> fit(const LpOptions& lp, const V& densities, std::span<const double> points, const FitOptions& options = {}) {
  LpFit<V> result = detail::fit_lp<V>(lp, densities, points, options, std::nullopt);
  if (options.measures) add_measures(result, densities, points, options);
  return result;
}

}  // namespace kolmo::gmm
