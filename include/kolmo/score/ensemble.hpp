#pragma once
// How well an ensemble agrees with the truth and with an observation: error, spread, rank and probability scores.
//
// Ensembles are [members, event...], truths [event...]; the members of a calibrated ensemble and the truth are draws
// from one distribution. Everything is computed in double on the host.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <kolmo/core/random.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo::score {

namespace detail {

/// Calls f(values of the members, truth) for every entry of the event. Throws ShapeError unless the shapes fit.
template <PlainTensor V, class F>
void each_entry(const V& ensemble, const V& truth, index_t fewest, const char* operation, const F& f) {
  const index_t members = ensemble.rank() < 1 ? 0 : ensemble.shape()[0];
  if (members < fewest || truth.size() < 1 || !(ensemble.shape() == truth.shape().with(0, members)))
    throw ShapeError(std::string(operation) + ": expected an ensemble [members, event...] of at least " +
                     std::to_string(fewest) + " and a truth [event...], given " + ensemble.shape().to_string() +
                     " and " + truth.shape().to_string());
  const auto x = ensemble.to_vector();
  const auto y = truth.to_vector();
  std::vector<double> values(static_cast<std::size_t>(members));
  for (std::size_t e = 0; e < y.size(); ++e) {
    for (std::size_t m = 0; m < values.size(); ++m) values[m] = static_cast<double>(x[m * y.size() + e]);
    f(values, static_cast<double>(y[e]));
  }
}

template <PlainTensor V>
void check_same_shape(const V& a, const V& b, const char* operation) {
  if (!(a.shape() == b.shape()) || a.size() < 1)
    throw ShapeError(std::string(operation) + ": expected two tensors of one shape, given " + a.shape().to_string() +
                     " and " + b.shape().to_string());
}

/// Mean and variance (divided by n).
struct Moments {
  double mean = 0, variance = 0;
};
inline Moments moments(const std::vector<double>& values) {
  Moments result;
  const auto n = static_cast<double>(values.size());
  for (const double v : values) result.mean += v / n;
  for (const double v : values) result.variance += (v - result.mean) * (v - result.mean) / n;
  return result;
}

template <PlainTensor V>
std::vector<double> host_values(const V& x) {
  const auto values = x.to_vector();
  return {values.begin(), values.end()};
}

}  // namespace detail

/// Which expectation the score of an ensemble stands for.
enum class CrpsKind {
  fair,     ///< unbiased: that of the distribution the members are drawn from (Ferro 2014); at least 2 members
  ensemble  ///< that of the members themselves as a distribution
};

/// The continuous ranked probability score, mean |x - y| - mean |x - x'| / 2, over the entries of the event; smaller is
/// better, and for one member it is the mean absolute error. Throws ShapeError for shapes that do not fit.
template <PlainTensor V>
double crps(const V& ensemble, const V& truth, CrpsKind kind = CrpsKind::fair) {
  double total = 0;
  const index_t fewest = kind == CrpsKind::fair ? 2 : 1;
  detail::each_entry(ensemble, truth, fewest, "crps", [&](std::vector<double>& x, double y) {
    const auto m = static_cast<double>(x.size());
    double error = 0, pairs = 0;
    for (const double v : x) error += std::abs(v - y) / m;
    // The sum over pairs of |x_i - x_j| from the order statistics.
    std::sort(x.begin(), x.end());
    for (std::size_t i = 0; i < x.size(); ++i) pairs += (2 * static_cast<double>(i) - m + 1) * x[i];
    total += error - pairs / (m * (kind == CrpsKind::fair ? m - 1 : m));
  });
  return total / static_cast<double>(truth.size());
}

/// How often the truth had each rank among the members.
struct RankHistogram {
  std::vector<index_t> counts;  ///< [members + 1]: entries with that many members below the truth
  /// Sum of (count - expected)^2 / expected: for independent entries of a calibrated ensemble a chi-square number with
  /// `members` degrees of freedom.
  double chi_square = 0;
  /// (chi_square - members) / sqrt(2 members): of order one when the histogram is flat.
  double flatness = 0;
};

/// Ranks of the truth; equal values are ordered at random, by the key. Throws ShapeError for shapes that do not fit.
template <PlainTensor V>
RankHistogram rank_histogram(const V& ensemble, const V& truth, Key key = {}) {
  RankHistogram result;
  std::uint64_t entry = 0;
  detail::each_entry(ensemble, truth, 1, "rank_histogram", [&](const std::vector<double>& x, double y) {
    index_t below = 0, equal = 0;
    for (const double v : x) {
      below += v < y ? 1 : 0;
      equal += v == y ? 1 : 0;
    }
    result.counts.resize(x.size() + 1, 0);
    ++result.counts[static_cast<std::size_t>(below + integer_below(key, entry++, equal + 1))];
  });
  const auto bins = static_cast<double>(result.counts.size());
  const double expected = static_cast<double>(truth.size()) / bins;
  for (const index_t count : result.counts)
    result.chi_square += std::pow(static_cast<double>(count) - expected, 2) / expected;
  result.flatness = (result.chi_square - (bins - 1)) / std::sqrt(2 * (bins - 1));
  return result;
}

struct SpreadSkill {
  double spread = 0;  ///< root mean (unbiased) variance of the members
  double skill = 0;   ///< root mean square error of their mean
  double ratio = 0;   ///< sqrt((m + 1) / m) * spread / skill: 1 when calibrated, below when too sure of itself
};

/// Throws ShapeError for shapes that do not fit, or fewer than two members.
template <PlainTensor V>
SpreadSkill spread_skill(const V& ensemble, const V& truth) {
  double variance = 0, error = 0, members = 0;
  detail::each_entry(ensemble, truth, 2, "spread_skill", [&](const std::vector<double>& x, double y) {
    members = static_cast<double>(x.size());
    const detail::Moments of = detail::moments(x);
    variance += of.variance * members / (members - 1);
    error += (of.mean - y) * (of.mean - y);
  });
  const auto n = static_cast<double>(truth.size());
  SpreadSkill result{std::sqrt(variance / n), std::sqrt(error / n), 0};
  result.ratio = std::sqrt((members + 1) / members) * result.spread / result.skill;
  return result;
}

/// Root mean square difference of two tensors of one shape. Throws ShapeError for others.
template <PlainTensor V>
double root_mean_square_error(const V& a, const V& b) {
  detail::check_same_shape(a, b, "root_mean_square_error");
  const auto x = a.to_vector(), y = b.to_vector();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

/// Standard deviation of a reconstruction over that of the truth: 1 when nothing is damped; a flat output shows as 0.
/// The shapes may differ. Throws ShapeError for tensors without elements.
template <PlainTensor V>
double energy_ratio(const V& reconstruction, const V& truth) {
  if (reconstruction.size() < 1 || truth.size() < 1)
    throw ShapeError("energy_ratio: tensors of shape " + reconstruction.shape().to_string() + " and " +
                     truth.shape().to_string() + " have no standard deviation");
  return std::sqrt(detail::moments(detail::host_values(reconstruction)).variance /
                   detail::moments(detail::host_values(truth)).variance);
}

/// What is left between samples and an observation.
struct Residual {
  double deviation = 0;   ///< root mean square of A(x) - y: the noise of the sensor, when all is well
  double chi_square = 0;  ///< mean of ((A(x) - y) / std)^2: 1 when all is well
};

/// For samples as they would be observed, A(x) [samples, observation...], and the observation [observation...] with
/// noise of standard deviation `deviation`. Throws ShapeError for shapes that do not fit and ArgumentError unless the
/// deviation is positive.
template <PlainTensor V>
Residual observation_residual(const V& observed_samples, const V& observation, double deviation) {
  if (!(deviation > 0))
    throw ArgumentError("observation_residual: the noise must have a positive standard deviation, given " +
                        std::to_string(deviation));
  double sum = 0;
  detail::each_entry(observed_samples, observation, 1, "observation_residual",
                     [&](const std::vector<double>& x, double y) {
                       for (const double v : x) sum += (v - y) * (v - y) / static_cast<double>(x.size());
                     });
  const double mean = sum / static_cast<double>(observation.size());
  return {std::sqrt(mean), mean / (deviation * deviation)};
}

/// Log density of numbers that should be N(0, deviation^2), summed over all but the first axis: [n] for [n, event...].
/// With A(x) - y it is the log likelihood. Throws ArgumentError unless the deviation is positive.
template <PlainTensor V>
std::vector<double> gaussian_log_density(const V& x, double deviation) {
  if (!(deviation > 0) || x.rank() < 1)
    throw ArgumentError("gaussian_log_density: expected [n, event...] and a positive standard deviation, given " +
                        x.shape().to_string() + " and " + std::to_string(deviation));
  const auto values = x.to_vector();
  const auto n = static_cast<std::size_t>(x.shape()[0]);
  const std::size_t d = n == 0 ? 0 : values.size() / n;
  std::vector<double> result(n, -static_cast<double>(d) * (std::log(deviation) + 0.91893853320467274178));
  for (std::size_t e = 0; e < values.size(); ++e)
    result[e / d] -= 0.5 * std::pow(static_cast<double>(values[e]) / deviation, 2);
  return result;
}

/// max over k in [1, last] of |log10(a_k / b_k)|: how far two spectra are apart (a of samples, b of data), a
/// multiplicative error of 10 being 1. Throws ArgumentError for spectra that end earlier or are not positive there.
inline double largest_log10_ratio(const std::vector<double>& a, const std::vector<double>& b, index_t last) {
  if (last < 1 || static_cast<index_t>(a.size()) <= last || static_cast<index_t>(b.size()) <= last)
    throw ArgumentError("largest_log10_ratio: spectra of " + std::to_string(a.size()) + " and " +
                        std::to_string(b.size()) + " shells cannot be compared up to " + std::to_string(last));
  double distance = 0;
  for (std::size_t k = 1; k <= static_cast<std::size_t>(last); ++k) {
    if (!(a[k] > 0) || !(b[k] > 0))
      throw ArgumentError("largest_log10_ratio: shell " + std::to_string(k) + " holds nothing; compare fewer shells");
    distance = larger(distance, std::abs(std::log10(a[k] / b[k])));
  }
  return distance;
}

}  // namespace kolmo::score
