#pragma once
// What every fitter of this library returns for a batch of sampled densities, whichever its method: mixtures in
// the coordinates of the input, and per density a status, warnings and, on request, the measures of
// metrics.hpp. A density that cannot be fitted has a status that says why and a row of NaN, never a stand-in.

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/polish.hpp>
#include <kolmo/gmm/preprocess.hpp>

namespace kolmo::gmm {

/// Doubts about a fit whose status is good; the values of several are added.
enum class Warning : std::int32_t {
  spike = 1,    ///< the mixture hides mass between the grid points, or has it beyond them (is_spike); needs measures
  poor = 2,     ///< the trapezoid error exceeds FitOptions::poor_trapezoid_error; needs measures
  unusual = 4,  ///< unlike the densities that learned fitters are trained on; learned fitters only
  fallback_start = 8,  ///< EM could not make the start asked for and began with another
  refitted = 16,       ///< the learned fit was broken or bad, and EM with a polish fitted the density better
};

/// The warnings in words, such as "poor fit, unusual density"; empty for none.
inline std::string describe_warnings(std::int32_t warnings) {
  std::string text;
  const auto add = [&](Warning warning, const char* words) {
    if ((warnings & static_cast<std::int32_t>(warning)) != 0) text += (text.empty() ? "" : ", ") + std::string(words);
  };
  add(Warning::spike, "mass between or beyond the grid points");
  add(Warning::poor, "poor fit");
  add(Warning::unusual, "unusual density");
  add(Warning::fallback_start, "another start than asked for");
  add(Warning::refitted, "refitted by EM");
  return text;
}

/// Densities of the kind that a learned fitter knows. The defaults hold for 99.8 % of TrainingLaw::broad.
struct UsualDensity {
  double least_skewness = -1.4, most_skewness = 5.0;
  double least_kurtosis = -1.6, most_kurtosis = 45.0;  ///< excess over the normal density
  double least_cells_per_deviation = 0.6;              ///< below, the samples do not resolve the density
  double most_mass_lost = 1e-3;                        ///< beyond the model's grid
};

struct FitOptions {
  /// Also compute FitReport::measures and the warnings that need them; costs about as much as a learned fit.
  bool measures = false;
  /// Densities that are prepared and fitted at a time; bounds the memory.
  index_t chunk = 256;
  Resampling resampling = Resampling::monotone_cubic;
  /// Negative mass up to this part of the positive mass is rounding and clipped; more is an error.
  double negative_tolerance = 1e-6;
  /// A density that loses more of its mass at the borders of a model's grid is `outside_grid`.
  double most_mass_lost = 0.1;
  /// Largest difference of the distribution functions, as sums over the grid, of a fit that is not `poor`. Such sums do
  /// not blame the fit for the width of the cells, as Metrics::distribution_error does.
  double poor_trapezoid_error = 0.01;
  UsualDensity usual{};
  /// How fits are polished. Without a value, each method's own: learned fitters polish with the defaults, the others do
  /// not. PolishOptions{.evaluations = 0} is no polish.
  std::optional<PolishOptions> polish{};
  /// A learned fit that is broken, or whose polished density is off by more than this part of one over the density's
  /// standard deviation, is refitted from EM and polished; the better one is taken, and has a warning when it is the
  /// refit. 0: no refit.
  double refit_above = 0.01;
};

/// Fits of a batch of densities.
template <PlainTensor V>
struct FitReport {
  using Integers = Tensor<std::int32_t, typename V::Backend>;

  Mixture<V> mixture;                  ///< [batch, K], in units of the input, sorted by mean; NaN where there is no fit
  Integers status;                     ///< [batch], Status as integer
  Integers warnings;                   ///< [batch], sum of Warning
  Integers iterations;                 ///< [batch], parameter updates made
  V mass_lost;                         ///< [batch], part of the mass that fell off the model's grid
  std::optional<Metrics<V>> measures;  ///< against the input, on its grid; NaN where there is no fit

  index_t batch() const { return status.size(); }
  std::vector<Status> statuses() const {
    std::vector<Status> result;
    for (std::int32_t s : status.to_vector()) result.push_back(static_cast<Status>(s));
    return result;
  }
};

namespace detail {

/// Whether a prepared density with deviation one is of the usual kind.
template <class T>
struct UnusualItem {
  const T* masses;
  const T* points;
  const T* spacing;
  const T* mass_lost;
  index_t count;
  UsualDensity usual;
  std::int32_t* unusual;

  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    const T* z = points + item * count;
    double third = 0.0, fourth = 0.0;
    for (index_t i = 0; i < count; ++i) {
      const double square_of_z = static_cast<double>(z[i]) * static_cast<double>(z[i]);
      third += static_cast<double>(w[i]) * square_of_z * static_cast<double>(z[i]);
      fourth += static_cast<double>(w[i]) * square_of_z * square_of_z;
    }
    const double kurtosis = fourth - 3.0;
    const bool known = third >= usual.least_skewness && third <= usual.most_skewness &&
                       kurtosis >= usual.least_kurtosis && kurtosis <= usual.most_kurtosis &&
                       static_cast<double>(spacing[item]) * usual.least_cells_per_deviation <= 1.0 &&
                       static_cast<double>(mass_lost[item]) <= usual.most_mass_lost;
    unusual[item] = known ? 0 : static_cast<std::int32_t>(Warning::unusual);
  }
};

/// Moves one fitted row of a chunk into the report.
template <class T>
struct ReportItem {
  const T* weights;
  const T* means;
  const T* deviations;
  const T* mass_lost;
  const std::int32_t* prepared_status;
  const std::int32_t* fit_status;  // null when the fitter has none
  const std::int32_t* iterations;  // null for the same number of all
  const std::int32_t* warnings;    // null for none
  std::int32_t common_iterations;
  int components;
  T nan;
  T* to_weights;
  T* to_means;
  T* to_deviations;
  T* to_mass_lost;
  std::int32_t* to_status;
  std::int32_t* to_iterations;
  std::int32_t* to_warnings;

  KOLMO_HD void operator()(index_t item) const {
    const index_t offset = item * components;
    Status status = static_cast<Status>(prepared_status[item]);
    if (is_valid(status) && fit_status != nullptr) status = static_cast<Status>(fit_status[item]);
    bool good = true;
    for (int k = 0; k < components; ++k) {
      const T weight = weights[offset + k], mean = means[offset + k], deviation = deviations[offset + k];
      good = good && is_finite(weight) && is_finite(mean) && is_finite(deviation) && weight >= T(0) && deviation > T(0);
    }
    if (is_valid(status) && !good) status = Status::broken_fit;
    const bool fitted = is_valid(status);
    for (int k = 0; k < components; ++k) {
      to_weights[offset + k] = fitted ? weights[offset + k] : nan;
      to_means[offset + k] = fitted ? means[offset + k] : nan;
      to_deviations[offset + k] = fitted ? deviations[offset + k] : nan;
    }
    to_mass_lost[item] = mass_lost[item];
    to_status[item] = static_cast<std::int32_t>(status);
    to_iterations[item] = !fitted ? 0 : iterations != nullptr ? iterations[item] : common_iterations;
    to_warnings[item] = fitted && warnings != nullptr ? warnings[item] : 0;
  }
};

/// Measures of rows without a fit become NaN; the others may get warnings.
template <class T>
struct MeasuresItem {
  const std::int32_t* status;
  double poor;
  T nan;
  T* density_error;
  T* distribution_error;
  T* trapezoid_error;
  T* cross_entropy;
  T* divergence;
  T* area;
  T* narrowest;
  std::int32_t* warnings;  // null when they are there already

  KOLMO_HD void operator()(index_t item) const {
    if (!is_valid(static_cast<Status>(status[item]))) {
      density_error[item] = distribution_error[item] = trapezoid_error[item] = nan;
      cross_entropy[item] = divergence[item] = area[item] = narrowest[item] = nan;
      return;
    }
    if (warnings == nullptr) return;
    if (is_spike(area[item], divergence[item])) warnings[item] += static_cast<std::int32_t>(Warning::spike);
    if (!(static_cast<double>(trapezoid_error[item]) <= poor))
      warnings[item] += static_cast<std::int32_t>(Warning::poor);
  }
};

/// One chunk of a batch, fitted in the coordinates of its preparation.
template <PlainTensor V>
struct FittedChunk {
  using Integers = Tensor<std::int32_t, typename V::Backend>;
  Mixture<V> mixture;
  Preprocessed<V> prepared;
  Integers status;      // without a value: that of the preparation
  Integers iterations;  // without a value: `common_iterations`
  Integers warnings;    // without a value: none
  index_t common_iterations = 0;
};

/// Fits a batch of densities at `points` points chunk by chunk with fit_chunk(densities, offsets), in order, and
/// reports in units of the input.
template <PlainTensor V, class FitChunk>
FitReport<V> fit_in_chunks(const V& given, index_t points, index_t components, const FitOptions& options,
                           const std::optional<V>& offsets_given, const FitChunk& fit_chunk) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Integers = typename FitReport<V>::Integers;
  if (options.chunk < 1)
    throw ArgumentError("fit: at least one density must be fitted at a time, given a chunk of " +
                        std::to_string(options.chunk));
  const V densities = as_batch(given, "fit", "densities");
  const index_t batch = densities.extent(0);
  if (densities.extent(1) != points)
    throw ShapeError("fit: densities have " + std::to_string(densities.extent(1)) + " values but there are " +
                     std::to_string(points) + " points");
  std::optional<V> offsets;
  if (offsets_given.has_value()) {
    if (offsets_given->size() != batch)
      throw ShapeError("fit: expected one offset per density, " + std::to_string(batch) + ", given " +
                       std::to_string(offsets_given->size()));
    offsets = offsets_given->reshaped(Shape{batch});
  }
  const Shape per_item{batch}, per_component{batch, components};
  FitReport<V> report{
      {V::uninitialized(per_component), V::uninitialized(per_component), V::uninitialized(per_component)},
      Integers::uninitialized(per_item),
      Integers::uninitialized(per_item),
      Integers::uninitialized(per_item),
      V::uninitialized(per_item),
      std::nullopt};
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (index_t begin = 0; begin < batch; begin += options.chunk) {
    const index_t end = smaller(batch, begin + options.chunk);
    const FittedChunk<V> fitted =
        fit_chunk(slice(densities, 0, begin, end).contiguous(),
                  offsets.has_value() ? std::optional<V>(slice(*offsets, 0, begin, end).contiguous()) : std::nullopt);
    const Mixture<V> mixture = to_input_units(fitted.mixture, fitted.prepared);
    const V weights = mixture.weights.contiguous();
    kolmo::detail::for_each_item<B>(
        end - begin,
        ReportItem<T>{weights.data(), mixture.means.data(), mixture.deviations.data(), fitted.prepared.mass_lost.data(),
                      fitted.prepared.status.data(), fitted.status.has_value() ? fitted.status.data() : nullptr,
                      fitted.iterations.has_value() ? fitted.iterations.data() : nullptr,
                      fitted.warnings.has_value() ? fitted.warnings.data() : nullptr,
                      static_cast<std::int32_t>(fitted.common_iterations), static_cast<int>(components), nan,
                      report.mixture.weights.mutable_data() + begin * components,
                      report.mixture.means.mutable_data() + begin * components,
                      report.mixture.deviations.mutable_data() + begin * components,
                      report.mass_lost.mutable_data() + begin, report.status.mutable_data() + begin,
                      report.iterations.mutable_data() + begin, report.warnings.mutable_data() + begin});
  }
  return report;
}

/// The same on a grid.
template <PlainTensor V, class FitChunk>
FitReport<V> fit_in_chunks(const V& given, const Grid& grid, index_t components, const FitOptions& options,
                           const std::optional<V>& offsets, const FitChunk& fit_chunk) {
  check_grid(grid, "fit");
  return fit_in_chunks(given, grid.points, components, options, offsets, fit_chunk);
}

template <PlainTensor V>
void set_measures(FitReport<V>& report, Metrics<V> m, const FitOptions& options) {
  using T = typename V::Scalar;
  const bool fresh = !report.measures.has_value();
  kolmo::detail::for_each_item<typename V::Backend>(
      report.batch(),
      MeasuresItem<T>{report.status.data(), options.poor_trapezoid_error, std::numeric_limits<T>::quiet_NaN(),
                      m.density_error.mutable_data(), m.distribution_error.mutable_data(),
                      m.trapezoid_error.mutable_data(), m.cross_entropy.mutable_data(), m.divergence.mutable_data(),
                      m.area.mutable_data(), m.narrowest.mutable_data(),
                      fresh ? report.warnings.mutable_data() : nullptr});
  report.measures = std::move(m);
}

}  // namespace detail

/// Adds measures, and the warnings that need them, to a report made without: how well its mixtures reproduce the
/// densities they were fitted to. Throws ShapeError when these are not the same in number or do not fit the grid.
template <PlainTensor V>
void add_measures(FitReport<V>& report, const V& densities, const Grid& grid, const FitOptions& options = {},
                  const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  detail::set_measures(report, evaluate(densities, grid, report.mixture, offsets.has_value() ? *offsets : V{}),
                       options);
}

/// The same for densities sampled at increasing points of any spacing.
template <PlainTensor V>
void add_measures(FitReport<V>& report, const V& densities, std::span<const double> points,
                  const FitOptions& options = {}) {
  detail::set_measures(report, evaluate(densities, points, report.mixture), options);
}

}  // namespace kolmo::gmm
