#pragma once
// Dictionaries of normals for fits in which only the weights are sought (gmm/lp_fit.hpp): means placed over the
// density, deviations in geometric progression, all pairs of the two.

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>

namespace kolmo::gmm {

/// Where the means of a dictionary lie.
enum class MeanPlacement {
  segments,   ///< centres of equal segments of mean -+ 3 standard deviations
  uniform,    ///< equally spaced from the first to the last point
  quantiles,  ///< at quantiles of the density, by DictionaryOptions::focus
};

/// Where the quantile levels crowd.
enum class TailFocus { none, left, right, both };

struct DictionaryOptions {
  MeanPlacement placement = MeanPlacement::segments;
  int means = 10;
  int deviations = 5;
  /// Smallest and largest deviation, in standard deviations of the density; a single one is their geometric mean.
  double least_deviation = 0.1, most_deviation = 3.0;
  TailFocus focus = TailFocus::none;
  /// Strength of the focus; values below one count as one, which is none.
  double focus_exponent = 1.0;
  /// Quantile levels of the means; replace `placement`, `means` and `focus` unless empty.
  std::vector<double> levels{};
};

/// Normals [m], means outer and deviations inner.
struct Dictionary {
  std::vector<double> means, deviations;
  std::size_t size() const { return means.size(); }
};

/// Level p of the quantile for u in (0, 1): with exponent a > 1 levels crowd towards the tails in focus,
/// right 1 - (1 - u)^a, left u^a, both 1/2 + sign(u - 1/2) (1 - (1 - |2 u - 1|)^a) / 2.
inline double focused_level(double u, TailFocus focus, double exponent) {
  const double a = larger(exponent, 1.0);
  switch (focus) {
    case TailFocus::none:
      return u;
    case TailFocus::right:
      return 1.0 - std::pow(1.0 - u, a);
    case TailFocus::left:
      return std::pow(u, a);
    case TailFocus::both:
      return 0.5 + (u < 0.5 ? -0.5 : 0.5) * (1.0 - std::pow(1.0 - abs(2.0 * u - 1.0), a));
  }
  return u;
}

/// Number of normals of a dictionary. Throws ArgumentError for options that make none.
inline std::size_t dictionary_size(const DictionaryOptions& o) {
  const std::size_t means = o.levels.empty() ? static_cast<std::size_t>(larger(o.means, 0)) : o.levels.size();
  if (means < 1 || o.deviations < 1)
    throw ArgumentError("dictionary: expected at least one mean and one deviation, given " + std::to_string(o.means) +
                        " and " + std::to_string(o.deviations));
  if (!(o.least_deviation > 0.0) || !(o.most_deviation >= o.least_deviation) || !(o.most_deviation < 1e100) ||
      !(o.focus_exponent < 1e3))
    throw ArgumentError("dictionary: deviations must be positive and in order and the exponent a number below 1000");
  for (double level : o.levels)
    if (!(level >= 0.0 && level <= 1.0))
      throw ArgumentError("dictionary: quantile levels must be from 0 to 1, given " + std::to_string(level));
  return means * static_cast<std::size_t>(o.deviations);
}

namespace detail {

struct SampledMoments {
  double total, mean, deviation;
};

/// Trapezoid moments of a density at increasing points; negative values do not count. All mass in one cell still has the
/// width of the cell, so that the deviation is never zero.
inline SampledMoments sampled_moments(std::span<const double> points, std::span<const double> density) {
  const std::size_t n = points.size();
  const auto width = [&](std::size_t i) { return 0.5 * (points[i + 1 < n ? i + 1 : i] - points[i > 0 ? i - 1 : 0]); };
  double total = 0.0, mean = 0.0, variance = 0.0, most = 0.0, cell = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    const double mass = larger(density[i], 0.0) * width(i);
    total += mass;
    if (mass > most) {
      most = mass;
      cell = width(i);
    }
  }
  for (std::size_t i = 0; i < n; ++i) mean += larger(density[i], 0.0) * width(i) * points[i] / total;
  for (std::size_t i = 0; i < n; ++i) variance += larger(density[i], 0.0) * width(i) * square(points[i] - mean) / total;
  return {total, mean, larger(sqrt(variance), 0.28867513459481288225 * cell)};
}

}  // namespace detail

/// The dictionary of a density sampled at increasing points; deviations below `floor_in_spacings`
/// times the spacing of the points at their mean are raised to that.
/// Throws ArgumentError for options that make none, ShapeError for fewer than two points or values that do not match.
inline Dictionary make_dictionary(std::span<const double> points, std::span<const double> density,
                                  const DictionaryOptions& o, double floor_in_spacings = 0.0) {
  const std::size_t n = points.size();
  if (n < 2 || density.size() != n)
    throw ShapeError("make_dictionary: expected two or more points with a value each, given " + std::to_string(n) +
                     " points and " + std::to_string(density.size()) + " values");
  const std::size_t size = dictionary_size(o);
  const detail::SampledMoments moments = detail::sampled_moments(points, density);
  const double mean = moments.mean, s = moments.deviation;

  std::vector<double> cumulative(n, 0.0);
  for (std::size_t i = 1; i < n; ++i)
    cumulative[i] =
        cumulative[i - 1] + 0.5 * (larger(density[i - 1], 0.0) + larger(density[i], 0.0)) * (points[i] - points[i - 1]);
  const auto quantile = [&](double level) {
    const double wanted = larger(1e-6, smaller(level, 1.0 - 1e-6)) * cumulative.back();
    std::size_t i = 1;
    while (i + 1 < n && cumulative[i] < wanted) ++i;
    const double step = cumulative[i] - cumulative[i - 1];
    const double part = step > 0.0 ? (wanted - cumulative[i - 1]) / step : 0.5;
    return points[i - 1] + larger(0.0, smaller(part, 1.0)) * (points[i] - points[i - 1]);
  };

  const auto spacing = [&](double at) {
    std::size_t i = 1;
    while (i + 1 < n && points[i] < at) ++i;
    return points[i] - points[i - 1];
  };

  const std::size_t means = size / static_cast<std::size_t>(o.deviations);
  Dictionary result;
  for (std::size_t j = 0; j < means; ++j) {
    const double u = (static_cast<double>(j) + 0.5) / static_cast<double>(means);
    double at = 0.0;
    if (!o.levels.empty())
      at = quantile(o.levels[j]);
    else if (o.placement == MeanPlacement::segments)
      at = mean + 3.0 * s * (2.0 * u - 1.0);
    else if (o.placement == MeanPlacement::quantiles)
      at = quantile(focused_level(u, o.focus, o.focus_exponent));
    else
      at = means == 1
               ? 0.5 * (points[0] + points[n - 1])
               : points[0] + (points[n - 1] - points[0]) * static_cast<double>(j) / static_cast<double>(means - 1);
    for (int l = 0; l < o.deviations; ++l) {
      const double part = o.deviations == 1 ? 0.5 : static_cast<double>(l) / (o.deviations - 1);
      const double deviation = o.least_deviation * std::pow(o.most_deviation / o.least_deviation, part) * s;
      result.means.push_back(at);
      result.deviations.push_back(larger(deviation, floor_in_spacings * spacing(at)));
    }
  }
  return result;
}

}  // namespace kolmo::gmm
