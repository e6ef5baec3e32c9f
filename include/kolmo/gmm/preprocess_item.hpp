#pragma once
// The preparation of one density, run one item at a time by a backend (see gmm/preprocess.hpp). Positions
// and sums are in double whatever the scalar: it is a small part of any fit, and coordinates far from zero
// lose nothing.

#include <kolmo/core/math.hpp>
#include <kolmo/gmm/hermite.hpp>
#include <kolmo/gmm/status.hpp>

namespace kolmo::gmm {

/// What one unit of the prepared coordinates is.
enum class Scaling {
  none,       ///< a unit of the input; spacings other than the model's are resampled
  cells,      ///< chosen so that the input's spacing becomes the model's: independent of the input's units
  deviation,  ///< the standard deviation of the density; cells as with `cells`
};

/// How a density is brought to another spacing.
enum class Resampling {
  monotone_cubic,  ///< values of the cubic at the new points
  cell_average,    ///< averages of the cubic over the new cells; for features narrower than a cell
};

namespace detail {

template <class T>
struct PreprocessProblem {
  const T* densities;
  index_t count;
  const double* points;  // null for an equally spaced grid
  double first;
  double spacing;
  const T* offsets;  // null for none
  double model_first;
  double model_spacing;
  index_t model_points;
  Scaling scaling;
  Resampling resampling;
  double most_cells_per_deviation;
  double negative_tolerance;
  double most_mass_lost;
  bool centred;
  T* masses;
  T* result_points;
  T* mean;
  T* scale;
  T* deviation;
  T* result_spacing;
  T* mass_lost;
  std::int32_t* status;
};

/// A row of the input with its points.
template <class T>
struct DensityRow {
  const T* values;
  const double* points;
  double first, spacing;
  index_t count;

  KOLMO_HD double point(index_t i) const {
    return points != nullptr ? points[i] : first + spacing * static_cast<double>(i);
  }
  /// Clipped at zero.
  KOLMO_HD double value(index_t i) const { return larger(static_cast<double>(values[i]), 0.0); }
  KOLMO_HD double weight(index_t i) const {
    return 0.5 * (point(smaller<index_t>(i + 1, count - 1)) - point(larger<index_t>(i - 1, 0)));
  }
};

template <class T>
struct PreprocessItem {
  PreprocessProblem<T> problem;

  struct Moments {
    double total, mean, deviation, spacing;
    Status status;
  };

  KOLMO_HD Moments examine(const DensityRow<T>& row) const {
    Moments moments{0.0, 0.0, 0.0, 0.0, Status::ok};
    if (row.count < 3) {
      moments.status = Status::too_short;
      return moments;
    }
    // Values are scaled by the largest, so that no sum overflows or underflows.
    double largest = 0.0;
    bool finite = true;
    for (index_t i = 0; i < row.count; ++i) {
      finite = finite && is_finite(row.values[i]);
      largest = larger(largest, row.value(i));
    }
    if (!finite) {
      moments.status = Status::non_finite;
      return moments;
    }
    double positive = 0.0, negative = 0.0, first = 0.0, values = 0.0;
    const double inverse = largest > 0.0 ? 1.0 / largest : 1.0;
    const double origin = row.point(row.count / 2);
    for (index_t i = 0; i < row.count; ++i) {
      const double weight = row.weight(i);
      const double mass = row.value(i) * inverse * weight;
      positive += mass;
      values += row.value(i) * inverse;
      negative += larger(-static_cast<double>(row.values[i]), 0.0) * inverse * weight;
      first += mass * (row.point(i) - origin);
    }
    moments.total = positive * largest;
    if (!(negative <= problem.negative_tolerance * positive) && negative > 0.0)
      moments.status = Status::negative_mass;
    else if (!(moments.total > 1e-12))
      moments.status = Status::zero_mass;
    else if (!is_finite(moments.total))
      moments.status = Status::non_finite;
    if (moments.status != Status::ok) return moments;
    moments.mean = origin + first / positive;
    moments.spacing = positive / values;
    double second = 0.0;
    for (index_t i = 0; i < row.count; ++i)
      second += row.value(i) * inverse * row.weight(i) * square(row.point(i) - moments.mean);
    moments.deviation = sqrt(second / positive);
    return moments;
  }

  KOLMO_HD void reject(index_t item, Status status) const {
    const index_t n = problem.model_points;
    for (index_t j = 0; j < n; ++j) {
      problem.masses[item * n + j] = T(0);
      problem.result_points[item * n + j] =
          static_cast<T>(problem.model_first + problem.model_spacing * static_cast<double>(j));
    }
    problem.mean[item] = T(0);
    problem.scale[item] = problem.deviation[item] = problem.result_spacing[item] = T(1);
    problem.mass_lost[item] = T(0);
    problem.status[item] = static_cast<std::int32_t>(status);
  }

  /// Masses of cells that begin about `start`, by the value in their middle or the average; returns their sum.
  KOLMO_HD double resample(index_t item, const DensityRow<T>& row, double start, double cell, double inverse,
                           bool average) const {
    const Hermite<DensityRow<T>> cubic{row};
    T* masses = problem.masses + item * problem.model_points;
    double sum = 0.0;
    index_t hint = 0;
    for (index_t j = 0; j < problem.model_points; ++j) {
      const double z = start + cell * static_cast<double>(j);
      const double mass =
          average ? cubic.integral(z - 0.5 * cell, z + 0.5 * cell, hint) : cubic.value(z, hint) * cell;
      masses[j] = static_cast<T>(larger(mass * inverse, 0.0));
      sum += static_cast<double>(masses[j]);
    }
    return sum;
  }

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = problem.model_points;
    const double offset = problem.offsets != nullptr ? static_cast<double>(problem.offsets[item]) : 0.0;
    const DensityRow<T> row{problem.densities + item * problem.count, problem.points, problem.first + offset,
                            problem.spacing, problem.count};
    Moments moments = examine(row);
    if (moments.status == Status::ok && !is_finite(moments.mean)) moments.status = Status::non_finite;
    if (moments.status != Status::ok) return reject(item, moments.status);

    // The cell of the result in units of the input, and whether the input's own cells can be used.
    const bool uniform = row.points == nullptr;
    // Of uneven points those count that see the mass: the mean of their number in a unit, weighted by mass.
    const double own = uniform ? row.spacing : moments.spacing;
    double cell = own;
    bool roll = uniform;
    if (problem.scaling == Scaling::none) {
      cell = problem.model_spacing;
      roll = uniform && abs(own - cell) <= 1e-6 * cell;
      if (roll) cell = own;
    } else if (moments.deviation > problem.most_cells_per_deviation * own) {
      cell = moments.deviation / problem.most_cells_per_deviation;
      roll = false;
    }

    // Position of the model's point 0 in units of the input.
    const double wanted =
        problem.centred ? moments.mean + problem.model_first / problem.model_spacing * cell : problem.model_first;
    const double cells = (wanted - row.point(0)) / cell;
    // A density that stays where it is can only be moved by whole cells.
    if (!problem.centred && !(abs(cells - floor(cells + 0.5)) <= 1e-4)) roll = false;
    const double shift = roll ? floor(cells + 0.5) : 0.0;
    const double start = roll ? row.point(0) + shift * cell : wanted;
    T* masses = problem.masses + item * n;
    T* points = problem.result_points + item * n;
    double total = 0.0, first = 0.0, kept = 0.0;
    const double inverse = 1.0 / moments.total;
    if (roll) {
      // Compared as double first: a density far from its own grid would overflow the index.
      const index_t begin = static_cast<index_t>(larger(smaller(shift, 1e15), -1e15));
      for (index_t j = 0; j < n; ++j) {
        const index_t i = begin + j;
        const double mass = i >= 0 && i < row.count ? row.value(i) * row.weight(i) * inverse : 0.0;
        masses[j] = static_cast<T>(mass);
        kept += mass;
      }
    } else {
      const double low = start - 0.5 * cell, high = start + (static_cast<double>(n) - 0.5) * cell;
      for (index_t i = 0; i < row.count; ++i)
        if (row.point(i) >= low && row.point(i) <= high) kept += row.value(i) * row.weight(i) * inverse;
      const double found = resample(item, row, start, cell, inverse, problem.resampling == Resampling::cell_average);
      // Peaks much narrower than a cell are not seen at its middle.
      if (found < 0.5 * kept) resample(item, row, start, cell, inverse, true);
    }
    const double lost = larger(1.0 - kept, 0.0);
    if (lost > problem.most_mass_lost) return reject(item, Status::outside_grid);
    for (index_t j = 0; j < n; ++j) {
      total += static_cast<double>(masses[j]);
      first += static_cast<double>(masses[j]) * (start - moments.mean + cell * static_cast<double>(j));
    }
    if (!(total > 1e-12) || !is_finite(total)) return reject(item, Status::zero_mass);

    // The mean of what is kept, so that the result is centred exactly.
    const double correction = first / total;
    const double mean = moments.mean + correction;
    double second = 0.0;
    for (index_t j = 0; j < n; ++j)
      second += static_cast<double>(masses[j]) * square(start - mean + cell * static_cast<double>(j));
    // All mass in one cell still has the width of the cell.
    const double deviation = larger(sqrt(second / total), 0.28867513459481288225 * cell);
    double scale = 1.0;
    if (problem.scaling == Scaling::cells) scale = cell / problem.model_spacing;
    if (problem.scaling == Scaling::deviation) scale = deviation;
    const double origin = problem.centred ? mean : 0.0;
    for (index_t j = 0; j < n; ++j) {
      masses[j] = static_cast<T>(static_cast<double>(masses[j]) / total);
      points[j] = static_cast<T>((start - origin + cell * static_cast<double>(j)) / scale);
    }
    problem.mean[item] = static_cast<T>(origin);
    problem.scale[item] = static_cast<T>(scale);
    problem.deviation[item] = static_cast<T>(deviation / scale);
    problem.result_spacing[item] = static_cast<T>(cell / scale);
    problem.mass_lost[item] = static_cast<T>(lost);
    problem.status[item] = static_cast<std::int32_t>(Status::ok);
  }
};

}  // namespace detail
}  // namespace kolmo::gmm
