#pragma once
// Grids on which a density is sampled, and the trapezoid rule on them: the mass of point i is f_i t_i with
// t_i = (z_{i+1} - z_{i-1}) / 2 inside and half the outer spacing at both ends.

#include <span>
#include <string>
#include <vector>

#include <kolmo/ad/items.hpp>

namespace kolmo::gmm {

/// Equally spaced points first, first + spacing, ..., last, both ends included. The default is the grid of
/// the V5 data set: 96 points on [-15, 15].
struct Grid {
  double first = -15.0;
  double last = 15.0;
  index_t points = 96;

  double spacing() const { return (last - first) / static_cast<double>(points - 1); }
  double operator[](index_t i) const { return first + spacing() * static_cast<double>(i); }
  friend bool operator==(const Grid&, const Grid&) = default;
};

/// Throws ArgumentError unless the grid has at least three points and finite ends first < last.
inline void check_grid(const Grid& grid, const char* operation) {
  // Written so that NaN fails too; the difference is infinite when an end is.
  if (grid.points < 3 || !(grid.last - grid.first > 0.0) || !(grid.last - grid.first < 1e300))
    throw ArgumentError(std::string(operation) +
                        ": a grid needs at least three points and finite ends first < last, given " +
                        std::to_string(grid.points) + " points on [" + std::to_string(grid.first) + ", " +
                        std::to_string(grid.last) + "]");
}

/// Throws ArgumentError unless the points are finite and strictly increasing.
inline void check_points(std::span<const double> points, const char* operation) {
  for (std::size_t i = 1; i < points.size(); ++i)
    if (!(points[i] - points[i - 1] > 0.0) || !(points[i] - points[i - 1] < 1e300))
      throw ArgumentError(std::string(operation) + ": points must be finite and strictly increasing, but point " +
                          std::to_string(i) + " follows " + std::to_string(points[i - 1]) + " with " +
                          std::to_string(points[i]));
}

/// The points of a grid as a tensor [points].
template <class T, BackendMemory B>
Tensor<T, B> grid_points(const Grid& grid) {
  check_grid(grid, "grid_points");
  std::vector<T> values(static_cast<std::size_t>(grid.points));
  for (index_t i = 0; i < grid.points; ++i) values[static_cast<std::size_t>(i)] = static_cast<T>(grid[i]);
  return Tensor<T, B>::from(values);
}

/// Trapezoid weight of point i among `count` increasing points.
template <class T>
KOLMO_HD T trapezoid_weight(const T* points, index_t count, index_t i) {
  const index_t left = larger<index_t>(i - 1, 0);
  const index_t right = smaller<index_t>(i + 1, count - 1);
  return (points[right] - points[left]) * T(0.5);
}

/// Trapezoid weight of point i on an equally spaced grid.
template <class T>
KOLMO_HD T trapezoid_weight(T spacing, index_t count, index_t i) {
  return i == 0 || i == count - 1 ? T(0.5) * spacing : spacing;
}

namespace detail {

/// Where the values of a row lie: at `points`, or equally spaced where these are null.
struct Sampling {
  const double* points;
  double first, spacing;
  index_t count;

  KOLMO_HD double point(index_t i) const {
    return points != nullptr ? points[i] : first + spacing * static_cast<double>(i);
  }
  /// Trapezoid weight.
  KOLMO_HD double weight(index_t i) const {
    return points != nullptr ? trapezoid_weight(points, count, i) : trapezoid_weight(spacing, count, i);
  }
  /// Distance of the points around z.
  KOLMO_HD double spacing_at(double z) const {
    if (points == nullptr) return spacing;
    index_t low = 0, high = count - 1;
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      if (points[middle] <= z)
        low = middle;
      else
        high = middle;
    }
    return points[high] - points[low];
  }
};

/// Checks a batch [batch, points], or one density [points], and returns it as [batch, points].
template <class V>
V as_batch(const V& x, const char* operation, const char* name) {
  if (x.rank() == 1) return x.reshaped(Shape{1, x.extent(0)});
  if (x.rank() != 2)
    throw ShapeError(std::string(operation) + ": expected " + name + " of shape [batch, points] or [points], given " +
                     x.shape().to_string());
  return x.contiguous();
}

}  // namespace detail
}  // namespace kolmo::gmm
