#pragma once
// How well a learned fitter fits a set of densities, and the health of its mixtures: what to look at when a training goes
// wrong. Everything is in units of the input unless it says otherwise, and in double.
//
// Cross entropy alone cannot judge: spikes between grid points push it below the entropy of the densities. They show as an
// area of the mixture on the grid other than one, as a negative relative entropy (never below -log area), and as
// deviations at their floor.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/gmm/lamf_samples.hpp>
#include <kolmo/gmm/metrics.hpp>

namespace kolmo::gmm {

/// Smallest, mean (or median where it says so) and largest.
struct Spread {
  double least = 0, middle = 0, largest = 0;
};

/// The weighted terms of the loss in the model's coordinates, averaged over the densities; they add up to the loss of the
/// last output.
struct LossTerms {
  double main = 0;  ///< KL, or (1 - l2) cross entropy in the convex form
  double l2 = 0, l1 = 0, soft_max = 0, top = 0, moments = 0;

  double total() const { return main + l2 + l1 + soft_max + top + moments; }
};

struct LamfScores {
  double divergence = 0;     ///< mean KL of the unnormalised masses, never negative
  double density_error = 0;  ///< mean over densities of max |f - g| at the grid points
  double median_error = 0;
  double share_below = 0;         ///< of densities with an error below 0.01
  double distribution_error = 0;  ///< mean over densities of the largest difference of running trapezoid sums
  double largest_error = 0;
  double analytic_distribution_error = 0;  ///< the same with the distribution function of the mixture, at most 1
  double cross_entropy = 0;                ///< mean of -sum w log g
  double relative_entropy = 0;             ///< cross entropy minus that of the densities; negative with spikes
  double share_of_spikes = 0;              ///< of densities whose fit is_spike
  Spread deviation;                        ///< of all components; `middle` is the median
  double share_at_floor = 0;               ///< of components whose deviation is at most 1.001 of the floor
  Spread peak;                             ///< of the largest fitted value of every density
  Spread area;                             ///< of sum t g
  double least_mass = 0;                   ///< smallest input mass
  double least_mass_sum = 0, largest_mass_sum = 0;
  LossTerms terms;
};

namespace detail {

struct RowScores {
  double error = 0, trapezoid = 0, analytic = 0, cross_entropy = 0, entropy = 0, divergence = 0, area = 0, peak = 0;
  double least_mass = 0, mass_sum = 0;
  LossTerms terms;
};

/// What is known of one density and its fit, in the model's coordinates.
template <class T>
struct ScoredRow {
  const T *masses, *points, *density, *weight, *log_density, *mixture;
  std::size_t count, components;
  double spacing, scale, entropy;

  double log_weight(std::size_t k) const { return static_cast<double>(mixture[k]); }
  double mean(std::size_t k) const { return static_cast<double>(mixture[components + k]); }
  double deviation(std::size_t k) const { return std::exp(static_cast<double>(mixture[2 * components + k])); }

  double distribution(double z) const {
    double sum = 0;
    for (std::size_t k = 0; k < components; ++k)
      sum += std::exp(log_weight(k)) * 0.5 * std::erfc((mean(k) - z) / (deviation(k) * 1.41421356237309504880));
    return sum;
  }

  /// Sum over orders 1 to 4 of the squared errors of the moments.
  double moment_error() const {
    double result = 0;
    for (int order = 1; order <= 4; ++order) {
      double error = 0;
      for (std::size_t i = 0; i < count; ++i)
        error -= static_cast<double>(masses[i]) * std::pow(static_cast<double>(points[i]), order);
      for (std::size_t k = 0; k < components; ++k) {
        const double m = mean(k), v = deviation(k) * deviation(k);
        const double moment[4] = {m, m * m + v, m * m * m + 3 * m * v, m * m * m * m + 6 * m * m * v + 3 * v * v};
        error += std::exp(log_weight(k)) * moment[order - 1];
      }
      result += error * error;
    }
    return result;
  }

  RowScores scores(const LamfLossOptions& options) const {
    RowScores s;
    s.least_mass = static_cast<double>(masses[0]);
    double cross_entropy = 0, sum = 0, reached = 0, l2 = 0, l1 = 0, exponentials = 0;
    std::vector<double> errors(count);
    for (std::size_t i = 0; i < count; ++i) {
      const double w = static_cast<double>(masses[i]), f = static_cast<double>(density[i]);
      const double g = std::exp(static_cast<double>(log_density[i])), t = static_cast<double>(weight[i]);
      // What is no mixture counts as infinitely wrong, so that it is never the best model.
      const double difference = std::abs(f - g) / scale;
      const double error = is_nan(difference) ? std::numeric_limits<double>::infinity() : difference;
      errors[i] = error;
      s.error = larger(s.error, error);
      s.peak = larger(s.peak, g / scale);
      cross_entropy -= w * static_cast<double>(log_density[i]);
      sum += w - g * t;
      s.area += g * t;
      s.trapezoid = maximum(s.trapezoid, std::abs(sum));
      if (i > 0) reached += 0.5 * spacing * (static_cast<double>(density[i - 1]) + f);
      s.analytic = maximum(s.analytic, std::abs(reached - distribution(static_cast<double>(points[i]))));
      s.least_mass = smaller(s.least_mass, w);
      s.mass_sum += w;
      l2 += error * error;
      l1 += error;
    }
    const double n = static_cast<double>(count);
    s.cross_entropy = cross_entropy + std::log(scale);
    s.entropy = entropy + std::log(scale);
    s.divergence = cross_entropy - entropy + s.area - 1;
    s.terms.main = options.convex ? (1 - options.l2) * cross_entropy : s.divergence;
    s.terms.l2 = options.l2 * l2 * (options.l2_integral ? spacing * scale : 1 / n);
    s.terms.l1 = options.l1 * l1 / n;
    if (options.soft_max > 0) {
      for (const double error : errors) exponentials += std::exp(options.alpha * (error - s.error));
      s.terms.soft_max = options.soft_max * (s.error + std::log(exponentials / n) / options.alpha);
    }
    if (options.top > 0) {
      const auto top = static_cast<std::ptrdiff_t>(options.top_count);
      std::partial_sort(errors.begin(), errors.begin() + top, errors.end(), std::greater<>());
      for (std::ptrdiff_t i = 0; i < top; ++i)
        s.terms.top += options.top * errors[static_cast<std::size_t>(i)] / static_cast<double>(top);
    }
    if (options.moments > 0) s.terms.moments = options.moments * moment_error();
    return s;
  }
};

inline void widen(Spread& spread, double least, double largest, bool first) {
  spread.least = first ? least : smaller(spread.least, least);
  spread.largest = first ? largest : larger(spread.largest, largest);
}

}  // namespace detail

/// Fits all samples with `model`, or `limit` of them at equal distances, and compares; `options` weighs the terms of the loss.
/// Deterministic for any number of threads. Throws ArgumentError without samples.
template <class Model, PlainTensor V>
LamfScores evaluate(const Model& model, const LamfSamples<V>& samples, const LamfLossOptions& options = {},
                    index_t limit = 0, index_t chunk = 512) {
  using T = typename V::Scalar;
  const index_t n = limit > 0 ? smaller(limit, samples.size()) : samples.size();
  if (n == 0) throw ArgumentError("evaluate: no samples to fit");
  const auto components = static_cast<std::size_t>(model.options.components);
  std::vector<detail::RowScores> rows(static_cast<std::size_t>(n));
  std::vector<double> deviations(rows.size() * components);
  std::vector<index_t> at_floor(rows.size(), 0);
  threads::parallel_for_backend<typename V::Backend>(divide_up(n, chunk), [&](index_t c) {
    std::vector<index_t> indices;
    for (index_t i = c * chunk; i < smaller(n, (c + 1) * chunk); ++i) indices.push_back(i * samples.size() / n);
    const auto batch = samples.batch(indices);
    const V fitted = model(batch.input);
    const std::vector<T> log_density = row_log_density(batch.input.points, fitted).to_vector();
    const auto mixture = fitted.to_vector();
    const auto masses = batch.input.masses.to_vector(), points = batch.input.points.to_vector(),
               spacing = batch.input.spacing.to_vector(), density = batch.target.density.to_vector();
    const auto weight = batch.target.weight.to_vector(), scale = batch.scale.to_vector(),
               entropy = batch.target.entropy.to_vector();
    const auto count = static_cast<std::size_t>(batch.input.masses.shape()[1]);
    for (std::size_t b = 0; b < indices.size(); ++b) {
      const std::size_t row = static_cast<std::size_t>(c * chunk) + b, i = b * count;
      const detail::ScoredRow<T> scored{&masses[i],
                                        &points[i],
                                        &density[i],
                                        &weight[i],
                                        &log_density[i],
                                        &mixture[b * 3 * components],
                                        count,
                                        components,
                                        static_cast<double>(spacing[b]),
                                        static_cast<double>(scale[b]),
                                        static_cast<double>(entropy[b])};
      rows[row] = scored.scores(options);
      const double floor = model.options.floor(scored.spacing);
      for (std::size_t k = 0; k < components; ++k) {
        const double deviation = scored.deviation(k);
        deviations[row * components + k] =
            is_nan(deviation) ? std::numeric_limits<double>::infinity() : deviation * scored.scale;
        at_floor[row] += deviation <= 1.001 * floor ? 1 : 0;
      }
    }
  });

  LamfScores scores;
  const double count = static_cast<double>(n);
  std::vector<double> errors(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const detail::RowScores& row = rows[i];
    errors[i] = row.error;
    scores.divergence += row.divergence / count;
    scores.density_error += row.error / count;
    scores.distribution_error += row.trapezoid / count;
    scores.analytic_distribution_error += row.analytic / count;
    scores.cross_entropy += row.cross_entropy / count;
    scores.relative_entropy += (row.cross_entropy - row.entropy) / count;
    scores.share_below += row.error < 0.01 ? 1.0 / count : 0.0;
    scores.share_of_spikes += is_spike(row.area, row.cross_entropy - row.entropy) ? 1.0 / count : 0.0;
    scores.largest_error = larger(scores.largest_error, row.error);
    scores.share_at_floor += static_cast<double>(at_floor[i]) / (count * static_cast<double>(components));
    scores.peak.middle += row.peak / count;
    scores.area.middle += row.area / count;
    detail::widen(scores.peak, row.peak, row.peak, i == 0);
    detail::widen(scores.area, row.area, row.area, i == 0);
    scores.least_mass = i == 0 ? row.least_mass : smaller(scores.least_mass, row.least_mass);
    scores.least_mass_sum = i == 0 ? row.mass_sum : smaller(scores.least_mass_sum, row.mass_sum);
    scores.largest_mass_sum = larger(scores.largest_mass_sum, row.mass_sum);
    scores.terms.main += row.terms.main / count;
    scores.terms.l2 += row.terms.l2 / count;
    scores.terms.l1 += row.terms.l1 / count;
    scores.terms.soft_max += row.terms.soft_max / count;
    scores.terms.top += row.terms.top / count;
    scores.terms.moments += row.terms.moments / count;
  }
  const auto median = [](std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  };
  scores.median_error = median(errors);
  scores.deviation.middle = median(deviations);
  scores.deviation.least = *std::min_element(deviations.begin(), deviations.end());
  scores.deviation.largest = *std::max_element(deviations.begin(), deviations.end());
  return scores;
}

}  // namespace kolmo::gmm
