#pragma once
// The problem that the EM of one density solves (see gmm/em.hpp): what the items of a batch share, the checks of a row
// and its moments, and the floor of the variance.

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/gmm/em_names.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/status.hpp>

namespace kolmo::gmm::detail {

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
  T deviation_floor;
  T floor_in_spacings;
  T least_floor_in_spacings;  // also where deviation_floor is given
  EmStartKind start;
  T noise;           // of means of the quantile start, in deviations of the density
  T given_noise;     // of means of a given start, likewise
  T variance_noise;  // of variances of a given start, relative
  T density_noise;   // of values of the density, relative
  Key key;
  index_t first_item;      // of the batch in what the caller fits
  const T* start_weights;  // null without a given mixture
  const T* start_means;
  const T* start_deviations;
  const T* winner_x;  // null when the parts of a maximum are not known
  const T* winner_y;
  T* weights;
  T* means;
  T* deviations;
  T* log_likelihood;
  std::int32_t* iterations;
  std::int32_t* status;
  std::int32_t* used;  // EmStartKind
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

template <class T>
struct EmRow {
  EmProblem<T> problem;

  struct Density {
    const T* masses;
    const T* points;
    T total;  // of the masses as given
    T mean;
    T variance;
    T spacing;     // zero when the points are not equally spaced
    T negligible;  // masses below are taken as zero
    T deviation;   // the unit in which densities are summed
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
    bool finite = true, negative = false, increasing = true;
    for (index_t i = 0; i < n; ++i) {
      const T w = d.masses[i];
      finite = finite && is_finite(w) && is_finite(d.points[i]);
      negative = negative || w < T(0);
      increasing = increasing && (i == 0 || d.points[i] > d.points[i - 1]);
      d.total += w;
    }
    if (!finite || !is_finite(d.total))
      d.status = Status::non_finite;
    else if (!increasing)
      d.status = Status::unsorted_points;
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

  /// Distance of the points around `mean`.
  KOLMO_HD T spacing_at(const Density& d, T mean) const {
    if (d.spacing > T(0)) return d.spacing;
    index_t low = 0, high = problem.count - 1;
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      if (d.points[middle] <= mean)
        low = middle;
      else
        high = middle;
    }
    return d.points[high] - d.points[low];
  }

  /// Smallest variance of a component at `mean`.
  KOLMO_HD T variance_floor(const Density& d, T mean) const {
    if (!(problem.deviation_floor > T(0))) return square(problem.floor_in_spacings * spacing_at(d, mean));
    if (!(problem.least_floor_in_spacings > T(0))) return square(problem.deviation_floor);
    return square(larger(problem.deviation_floor, problem.least_floor_in_spacings * spacing_at(d, mean)));
  }
};

}  // namespace kolmo::gmm::detail
