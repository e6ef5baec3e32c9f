#pragma once
// What the EM of one density begins with (see gmm/em.hpp): the checks of its row, the floor of the variance,
// and the start, from quantiles or given.

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/gmm/status.hpp>

namespace kolmo::gmm {

/// How the iterations of EM are made faster.
enum class Acceleration : std::int32_t {
  none = 0,      ///< every iteration is one E-step and one M-step
  anderson = 1,  ///< extrapolates from the last iterations; the likelihood still never falls
};

namespace detail {

/// Largest number of components of a fit.
inline constexpr int em_max_components = 32;

/// What the items of a batch share; pointers are in the backend's memory.
template <class T>
struct EmProblem {
  const T* masses;
  const T* points;
  index_t point_stride;  // 0 when the batch shares the points
  index_t count;
  int components;
  int max_iterations;
  Acceleration acceleration;
  int starts;
  T tolerance;
  T noise;
  T deviation_floor;
  T floor_in_spacings;
  Key key;
  const T* start_weights;  // null for the quantile start
  const T* start_means;
  const T* start_deviations;
  T* weights;
  T* means;
  T* deviations;
  T* log_likelihood;
  std::int32_t* iterations;
  std::int32_t* status;
};

template <class T>
struct EmConstants;
template <>
struct EmConstants<float> {
  // Points with less than this part of a point's share of the mass change nothing.
  static constexpr float negligible = 1e-8f;
  // A component with less mass stays where it is.
  static constexpr float least_mass = 1e-19f;
  // Values below 2^-cut are zero: their products would be subnormal, which costs a hundred cycles each and
  // changes nothing beside a sum of at least least_sum.
  static constexpr float cut = 83.0f;
  static constexpr float least_sum = 0x1p-57f;
  static constexpr float least_weight = 1e-37f;
  static constexpr float least_log_weight = 1e-12f;
};
template <>
struct EmConstants<double> {
  static constexpr double negligible = 1e-17;
  static constexpr double least_mass = 1e-150;
  static constexpr double cut = 500.0;
  static constexpr double least_sum = 0x1p-440;
  static constexpr double least_weight = 1e-300;
  static constexpr double least_log_weight = 1e-30;
};

/// Parameters of one mixture with variances.
template <class T, int max_components>
struct EmParameters {
  T weight[max_components];
  T mean[max_components];
  T variance[max_components];
};

template <class T, int max_components>
struct EmStart {
  EmProblem<T> problem;

  using Parameters = EmParameters<T, max_components>;

  struct Density {
    const T* masses;
    const T* points;
    T total;  // of the masses as given
    T mean;
    T variance;
    T spacing;         // zero when the points are not equally spaced
    T negligible;      // masses below are taken as zero
    T deviation;       // the unit in which densities are summed
    T log_deviation;
    index_t begin, end;  // the points that are not negligible lie in [begin, end)
    Status status;
  };

  KOLMO_HD Density examine(index_t item) const {
    const index_t n = problem.count;
    Density d{};
    d.masses = problem.masses + item * n;
    d.points = problem.points + item * problem.point_stride;
    if (n < 3) {
      d.status = Status::too_short;
      return d;
    }
    bool finite = true, negative = false;
    for (index_t i = 0; i < n; ++i) {
      const T w = d.masses[i];
      finite = finite && is_finite(w) && is_finite(d.points[i]);
      negative = negative || w < T(0);
      d.total += w;
    }
    if (!finite || !is_finite(d.total))
      d.status = Status::non_finite;
    else if (negative)
      d.status = Status::negative_mass;
    else if (!(d.total > T(1e-12)))
      d.status = Status::zero_mass;
    if (d.status != Status::ok) return d;
    for (index_t i = 0; i < n; ++i) d.mean += d.masses[i] * (d.points[i] - d.points[0]);
    d.mean = d.points[0] + d.mean / d.total;
    for (index_t i = 0; i < n; ++i) d.variance += d.masses[i] * square(d.points[i] - d.mean);
    d.variance /= d.total;
    const T average = (d.points[n - 1] - d.points[0]) / T(n - 1);
    bool uniform = true;
    for (index_t i = 1; i < n; ++i)
      uniform = uniform && abs(d.points[i] - d.points[i - 1] - average) < T(1e-3) * average;
    d.spacing = uniform ? average : T(0);
    d.negligible = EmConstants<T>::negligible / T(n);
    d.end = n;
    while (d.masses[d.begin] < d.negligible * d.total) ++d.begin;
    while (d.masses[d.end - 1] < d.negligible * d.total) --d.end;
    d.deviation = sqrt(larger(d.variance, variance_floor(d, d.mean)));
    d.log_deviation = log(d.deviation);
    return d;
  }

  /// Smallest variance of a component at `mean`.
  KOLMO_HD T variance_floor(const Density& d, T mean) const {
    if (problem.deviation_floor > T(0)) return square(problem.deviation_floor);
    if (d.spacing > T(0)) return square(problem.floor_in_spacings * d.spacing);
    index_t low = 0, high = problem.count - 1;
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      if (d.points[middle] <= mean)
        low = middle;
      else
        high = middle;
    }
    return square(problem.floor_in_spacings * (d.points[high] - d.points[low]));
  }

  KOLMO_HD void quantile_start(const Density& d, Parameters& p) const {
    const int components = problem.components;
    T cumulative = T(0), previous = T(0);
    index_t i = -1;
    for (int k = 0; k < components; ++k) {
      const T level = d.total * ((T(k) + T(0.5)) / T(components));
      while (i < problem.count - 1 && (i < 0 || cumulative < level)) {
        previous = cumulative;
        cumulative += d.masses[++i];
      }
      T mean = d.points[i];
      if (i > 0 && cumulative > previous) {
        const T part = (level - previous) / (cumulative - previous);
        mean = d.points[i - 1] + smaller(part, T(1)) * (d.points[i] - d.points[i - 1]);
      }
      p.weight[k] = T(1) / T(components);
      p.mean[k] = mean;
      p.variance[k] = larger(d.variance, variance_floor(d, mean));
    }
  }

  KOLMO_HD Status given_start(index_t item, const Density& d, Parameters& p) const {
    const index_t offset = item * problem.components;
    T total = T(0);
    for (int k = 0; k < problem.components; ++k) {
      p.weight[k] = larger(problem.start_weights[offset + k], T(0));
      p.mean[k] = problem.start_means[offset + k];
      const T deviation = problem.start_deviations[offset + k];
      p.variance[k] = larger(deviation * deviation, variance_floor(d, p.mean[k]));
      total += p.weight[k];
      if (!is_finite(p.weight[k]) || !is_finite(p.mean[k]) || !is_finite(p.variance[k])) return Status::non_finite;
    }
    if (!(total > T(0))) return Status::zero_mass;
    for (int k = 0; k < problem.components; ++k) p.weight[k] /= total;
    return Status::ok;
  }

  /// Moves the means of a further start, each by its own normal number.
  KOLMO_HD void add_noise(index_t item, int start, const Density& d, Parameters& p) const {
    const Key key = fold_in(fold_in(problem.key, static_cast<std::uint64_t>(item)), static_cast<std::uint64_t>(start));
    for (int k = 0; k < problem.components; ++k)
      p.mean[k] += problem.noise * sqrt(d.variance) * normal<T>(key, static_cast<std::uint64_t>(k));
  }
};

}  // namespace detail
}  // namespace kolmo::gmm
