#pragma once
// What the polish of one mixture knows of its density (see gmm/polish.hpp): its checks, its mean and deviation, in
// whose coordinates everything happens so that no constant has units, the points that matter, and the floor of the
// deviations.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/status.hpp>

namespace kolmo::gmm::detail {

template <class T>
struct PolishProblem {
  const T* densities;
  const double* points;  // null when equally spaced
  double first, spacing;
  const T* offsets;  // null for none
  index_t count;
  int components;
  int evaluations;  // of the least-squares stage; 0: the start is measured and returned
  int minimax;      // steps of each stage of higher norm
  T tolerance;
  T gain;
  T damping;
  double floor_in_spacings;
  double negative_tolerance;
  T nan;
  std::int32_t* status;  // items without a fit are left alone
  T* weights;
  T* means;
  T* deviations;
  T* largest_error;
  T* relative_error;
  std::int32_t* evaluated;
};

template <class T>
struct PolishDensity {
  PolishProblem<T> problem;

  /// What is known of the density in its standardised coordinates (z - mean) / deviation.
  struct Target {
    const T* row;
    double offset, mean, inverse_deviation;
    double density_scale;  // of a value, to the density in standardised coordinates
    Status status;
    index_t begin, end;  // points that matter: beyond, the density vanishes
    T first, last;       // of these points
    T lowest;            // log deviation floor when equally spaced
  };

  KOLMO_HD double point(const Target& target, index_t i) const {
    const double z =
        problem.points != nullptr ? problem.points[i] : problem.first + problem.spacing * static_cast<double>(i);
    return z + target.offset;
  }
  KOLMO_HD double width(index_t i) const {
    if (problem.points == nullptr) return trapezoid_weight(problem.spacing, problem.count, i);
    return trapezoid_weight(problem.points, problem.count, i);
  }

  /// Sums over points in lanes: mass, first and second moment about a point, mass of negative values.
  struct Sums {
    static constexpr int width = 8;
    double mass[width] = {}, first[width] = {}, second[width] = {}, negative[width] = {};

    KOLMO_HD KOLMO_INLINE void add(int lane, double value, double weight, double z) {
      const double f = larger(value, 0.0) * weight;
      mass[lane] += f;
      first[lane] += f * z;
      second[lane] += f * z * z;
      negative[lane] += (f - value * weight);
    }
    KOLMO_HD static double total(const double* lane) {
      return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
  };

  struct Least {
    KOLMO_HD index_t operator()(index_t a, index_t b) const { return smaller(a, b); }
  };

  /// Moments of the density, and the points that matter; the same in every member of a team.
  template <class Team>
  KOLMO_HD Target examine(const Team& team, index_t item) const {
    Target t{};
    t.row = problem.densities + item * problem.count;
    t.offset = problem.offsets != nullptr ? static_cast<double>(problem.offsets[item]) : 0.0;
    const index_t n = problem.count;
    if (n < 3) {
      t.status = Status::too_short;
      return t;
    }
    const double origin = point(t, n / 2);
    Sums sums;
    index_t i = team.rank();
    // A thread alone sums side by side.
    if (Team::size() == 1 && problem.points == nullptr) {
      sums.add(0, static_cast<double>(t.row[0]), 0.5 * problem.spacing, point(t, 0) - origin);
      for (i = 1; i + Sums::width < n; i += Sums::width)
        for (int j = 0; j < Sums::width; ++j)
          sums.add(j, static_cast<double>(t.row[i + j]), problem.spacing,
                   problem.spacing * static_cast<double>(i + j - n / 2));
    }
    for (; i < n; i += team.size()) sums.add(0, static_cast<double>(t.row[i]), width(i), point(t, i) - origin);
    const double mass = team.sum(Sums::total(sums.mass)), negative = team.sum(Sums::total(sums.negative));
    const double shift = team.sum(Sums::total(sums.first)) / mass;
    const double spread = team.sum(Sums::total(sums.second)) / mass - shift * shift;
    t.status = !is_finite(mass) || !is_finite(negative)           ? Status::non_finite
               : !(negative <= problem.negative_tolerance * mass) ? Status::negative_mass
               : !(mass > 1e-12)                                  ? Status::zero_mass
                                                                  : Status::ok;
    if (t.status != Status::ok) return t;
    T top = T(0);
    for (index_t at = team.rank(); at < n; at += team.size()) top = larger(top, t.row[at]);
    top = team.largest(top);
    // All mass in one cell still has the width of the cell.
    double cell = problem.spacing;
    if (problem.points != nullptr) {
      index_t peak = 0;
      while (t.row[peak] < top) ++peak;
      cell = width(peak);
    }
    t.mean = origin + shift;
    t.inverse_deviation = 1.0 / sqrt(larger(spread, cell * cell / 12.0));
    t.density_scale = 1.0 / (mass * t.inverse_deviation);
    const T least = top * T(1e-7);
    t.begin = team.rank();
    while (t.begin < n - 1 && !(t.row[t.begin] > least)) t.begin += team.size();
    t.begin = smaller(n - 1, team.fold(t.begin, Least{}));
    t.end = n - team.rank();
    while (t.end > t.begin + 1 && !(t.row[t.end - 1] > least)) t.end -= team.size();
    t.end = larger(t.begin + 1, team.largest(t.end));
    // Some empty points on either side hold the tails down.
    t.begin = larger<index_t>(t.begin - 3, 0);
    t.end = smaller<index_t>(t.end + 3, n);
    t.first = standard(t, t.begin);
    t.last = standard(t, t.end - 1);
    t.lowest = log(static_cast<T>(problem.floor_in_spacings * problem.spacing * t.inverse_deviation));
    return t;
  }

  KOLMO_HD T standard(const Target& t, index_t i) const {
    return static_cast<T>((point(t, i) - t.mean) * t.inverse_deviation);
  }

  /// Smallest log deviation of a component at `mean`: by the spacing there when points are not equally spaced.
  KOLMO_HD T lowest(const Target& t, T mean) const {
    if (problem.points == nullptr) return t.lowest;
    const double z = static_cast<double>(mean) / t.inverse_deviation + t.mean - t.offset;
    index_t low = 0, high = problem.count - 1;
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      if (problem.points[middle] <= z)
        low = middle;
      else
        high = middle;
    }
    return log(
        static_cast<T>(problem.floor_in_spacings * (problem.points[high] - problem.points[low]) * t.inverse_deviation));
  }
};

}  // namespace kolmo::gmm::detail
