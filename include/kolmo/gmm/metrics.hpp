#pragma once
// How well a mixture reproduces a sampled density, and summaries over a set.
//
//   density error       max_i |f_i - g(z_i)|                         g is not renormalised
//   distribution error  max_i |F(z_i) - G(z_i)|                      G analytic, never above one
//   trapezoid error     max_j |sum_{i<=j} t_i (f_i - g(z_i))|        the older measure; may exceed one
//   cross entropy       CE = -sum_i w_i log max(g(z_i), 1e-12)
//   divergence          KL = CE + sum_i w_i log f_i
//   area                A = sum_i t_i g(z_i)
//
// KL >= -log A by Jensen's inequality: cross entropy undercuts the entropy only when the area on the grid
// exceeds one, that is when a component hides between two points. `is_spike` tells.

#include <algorithm>
#include <span>
#include <vector>

#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/metrics_item.hpp>
#include <kolmo/gmm/mixture.hpp>

namespace kolmo::gmm {

/// Measures of a batch, each [batch].
template <PlainTensor V>
struct Metrics {
  V density_error;
  V distribution_error;
  V trapezoid_error;
  V cross_entropy;
  V divergence;
  V area;
  V narrowest;  ///< smallest deviation over spacing, of components with weight above 1e-6
};

/// Whether a fit has mass hidden between points: its area differs from one by more than 2 %, or its
/// divergence is below -1e-3.
template <class T>
KOLMO_HD constexpr bool is_spike(T area, T divergence) {
  return !(area >= T(0.98) && area <= T(1.02) && divergence >= T(-1e-3));
}

namespace detail {

template <PlainTensor V>
Metrics<V> evaluate(const V& given, const Sampling& sampling, const Mixture<V>& mixture, const V& offsets,
                    const V& distribution) {
  using T = typename V::Scalar;
  const V densities = as_batch(given, "evaluate", "densities");
  const index_t batch = densities.extent(0);
  if (densities.extent(1) != sampling.count || mixture.batch() != batch ||
      (offsets.has_value() && offsets.size() != batch) ||
      (distribution.has_value() && !(distribution.shape() == densities.shape())))
    throw ShapeError("evaluate: densities " + densities.shape().to_string() + ", a grid of " +
                     std::to_string(sampling.count) + " points, mixtures " + mixture.weights.shape().to_string() +
                     ", offsets and the distribution function must agree in batch and points");
  const Mixture<V> m{mixture.weights.contiguous(), mixture.means.contiguous(), mixture.deviations.contiguous()};
  const V shift = offsets.has_value() ? offsets.contiguous() : offsets;
  const V exact = distribution.has_value() ? distribution.contiguous() : distribution;
  const Shape per_item{batch};
  Metrics<V> result{V::uninitialized(per_item), V::uninitialized(per_item), V::uninitialized(per_item),
                    V::uninitialized(per_item), V::uninitialized(per_item), V::uninitialized(per_item),
                    V::uninitialized(per_item)};
  kolmo::detail::for_each_item<typename V::Backend>(
      batch, MetricsItem<T>{densities.data(), sampling, shift.has_value() ? shift.data() : nullptr,
                            exact.has_value() ? exact.data() : nullptr, m.weights.data(), m.means.data(),
                            m.deviations.data(), static_cast<int>(m.components()), result.density_error.mutable_data(),
                            result.distribution_error.mutable_data(), result.trapezoid_error.mutable_data(),
                            result.cross_entropy.mutable_data(), result.divergence.mutable_data(),
                            result.area.mutable_data(), result.narrowest.mutable_data()});
  return result;
}

template <PlainTensor V>
V entropy(const V& given, const Sampling& sampling) {
  const V densities = as_batch(given, "entropy", "densities");
  if (densities.extent(1) != sampling.count)
    throw ShapeError("entropy: densities have " + std::to_string(densities.extent(1)) + " values but there are " +
                     std::to_string(sampling.count) + " points");
  V result = V::uninitialized(Shape{densities.extent(0)});
  kolmo::detail::for_each_item<typename V::Backend>(
      densities.extent(0), EntropyItem<typename V::Scalar>{densities.data(), sampling, result.mutable_data()});
  return result;
}

/// Checked points in the backend's memory.
template <BackendMemory B>
Tensor<double, B> stored_points(std::span<const double> points, const char* operation) {
  check_points(points, operation);
  return Tensor<double, B>::from(points, Shape{static_cast<index_t>(points.size())});
}

}  // namespace detail

/// Compares mixtures with densities [batch, N] sampled on an equally spaced grid (moved by `offsets`
/// [batch], if it has a value). `distribution` [batch, N], if it has a value, is the exact distribution
/// function at the points; otherwise the running trapezoid integral of the density stands for it, which is
/// accurate to the square of the spacing. Throws ShapeError when the batches or the grid do not fit.
template <PlainTensor V>
Metrics<V> evaluate(const V& densities, const Grid& grid, const Mixture<V>& mixture, const V& offsets = {},
                    const V& distribution = {}) {
  check_grid(grid, "evaluate");
  return detail::evaluate(densities, detail::Sampling{nullptr, grid.first, grid.spacing(), grid.points}, mixture,
                          offsets, distribution);
}

/// The same at increasing points of any spacing; `narrowest` is in spacings at the component's mean. Throws
/// ArgumentError when the points are not finite and strictly increasing.
template <PlainTensor V>
Metrics<V> evaluate(const V& densities, std::span<const double> points, const Mixture<V>& mixture,
                    const V& distribution = {}) {
  const auto stored = detail::stored_points<typename V::Backend>(points, "evaluate");
  return detail::evaluate(densities, detail::Sampling{stored.data(), 0.0, 0.0, stored.size()}, mixture, V{},
                          distribution);
}

/// Entropies -sum_i w_i log f_i of densities [batch, N] on an equally spaced grid; [batch].
template <PlainTensor V>
V entropy(const V& densities, const Grid& grid) {
  check_grid(grid, "entropy");
  return detail::entropy(densities, detail::Sampling{nullptr, grid.first, grid.spacing(), grid.points});
}

/// The same at increasing points of any spacing.
template <PlainTensor V>
V entropy(const V& densities, std::span<const double> points) {
  const auto stored = detail::stored_points<typename V::Backend>(points, "entropy");
  return detail::entropy(densities, detail::Sampling{stored.data(), 0.0, 0.0, stored.size()});
}

/// Mean, median, 95th percentile and maximum of a measure, and the share of values below a limit.
struct Summary {
  index_t count = 0;
  double mean = 0.0, deviation = 0.0, median = 0.0, percentile_95 = 0.0, maximum = 0.0;
  double share_below = 0.0;
};

/// Percentiles interpolate linearly between order statistics. NaN counts as infinite, so that a broken fit
/// shows. An empty sample has count 0.
inline Summary summarize(std::span<const double> values, double limit = 0.01) {
  Summary s;
  s.count = static_cast<index_t>(values.size());
  if (values.empty()) return s;
  std::vector<double> sorted(values.begin(), values.end());
  for (double& v : sorted)
    if (!(v == v)) v = 1.0 / 0.0;
  std::sort(sorted.begin(), sorted.end());
  const auto percentile = [&](double p) {
    const double position = p * static_cast<double>(sorted.size() - 1);
    const std::size_t i = static_cast<std::size_t>(position);
    const std::size_t j = i + 1 < sorted.size() ? i + 1 : i;
    return sorted[i] == sorted[j] ? sorted[i]
                                  : sorted[i] + (position - static_cast<double>(i)) * (sorted[j] - sorted[i]);
  };
  const double n = static_cast<double>(sorted.size());
  for (double v : sorted) {
    s.mean += v / n;
    s.share_below += v < limit ? 1.0 : 0.0;
  }
  s.share_below /= n;
  for (double v : sorted) s.deviation += (v - s.mean) * (v - s.mean) / n;
  s.deviation = sqrt(s.deviation);
  s.median = percentile(0.5);
  s.percentile_95 = percentile(0.95);
  s.maximum = sorted.back();
  return s;
}

/// The same over a tensor [batch], or over those of its items whose entry in `stratum` equals `which`.
template <PlainTensor V>
Summary summarize(const V& measure, double limit = 0.01) {
  const auto values = measure.to_vector();
  return summarize(std::vector<double>(values.begin(), values.end()), limit);
}
template <PlainTensor V, PlainTensor S>
Summary summarize(const V& measure, const S& stratum, std::int32_t which, double limit = 0.01) {
  if (measure.size() != stratum.size())
    throw ShapeError("summarize: " + std::to_string(measure.size()) + " values but " + std::to_string(stratum.size()) +
                     " strata");
  const auto values = measure.to_vector();
  const auto parts = stratum.to_vector();
  std::vector<double> chosen;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (parts[i] == which) chosen.push_back(static_cast<double>(values[i]));
  return summarize(chosen, limit);
}

}  // namespace kolmo::gmm
