#pragma once
// What EM can be given to begin with besides a density: a mixture, and the two parts of the density of a maximum of
// normals, in which the one or the other is the larger.

#include <optional>
#include <span>

#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/max_of_normals.hpp>
#include <kolmo/gmm/mixture.hpp>

namespace kolmo::gmm {

/// Densities of max(X, Y) where X is the larger and where Y is, each [batch, N] at the points of the densities that are
/// fitted; only their ratio to their common integral counts.
template <PlainTensor V>
struct WinnerParts {
  V x, y;
};

/// What a start may need. The mixture has the shape [batch, K] and the units of what is fitted; its rows without a
/// mixture may be NaN.
template <PlainTensor V>
struct EmGiven {
  std::optional<Mixture<V>> mixture{};
  std::optional<WinnerParts<V>> winners{};
};

namespace detail {

template <class T>
struct WinnerItem {
  const double* parameters;
  const double* points;  // null for an equally spaced grid
  double first, spacing;
  index_t count;
  const T* offsets;  // null for none
  bool deviations;
  T* x;
  T* y;

  KOLMO_HD void operator()(index_t item) const {
    const double* p = parameters + 5 * item;
    const Deviation of_x = deviations ? Deviation(p[1]) : Deviation(Variance(p[1]));
    const Deviation of_y = deviations ? Deviation(p[3]) : Deviation(Variance(p[3]));
    const MaxOfNormals maximum = MaxOfNormals::unchecked(p[0], of_x, p[2], of_y, p[4]);
    const double start = first + (offsets != nullptr ? static_cast<double>(offsets[item]) : 0.0);
    for (index_t i = 0; i < count; ++i) {
      const double z = points != nullptr ? points[i] : start + spacing * static_cast<double>(i);
      const WinnerDensities parts = maximum.winner_densities(z);
      x[item * count + i] = static_cast<T>(parts.x);
      y[item * count + i] = static_cast<T>(parts.y);
    }
  }
};

template <PlainTensor V>
WinnerParts<V> winner_parts(const Tensor<double, typename V::Backend>& given, WinnerItem<typename V::Scalar> item) {
  if (given.rank() != 2 || given.extent(1) != 5)
    throw ShapeError("winner_parts: expected parameters of shape [batch, 5], given " + given.shape().to_string());
  const auto parameters = given.contiguous();
  const Shape shape{parameters.extent(0), item.count};
  WinnerParts<V> parts{V::uninitialized(shape), V::uninitialized(shape)};
  item.parameters = parameters.data();
  item.x = parts.x.mutable_data();
  item.y = parts.y.mutable_data();
  kolmo::detail::for_each_item<typename V::Backend>(shape[0], item);
  return parts;
}

}  // namespace detail

/// The parts from the five parameters (mean of X, its variance, mean of Y, its variance, correlation), [batch, 5], of
/// every maximum; with `deviations` the second and the fourth are deviations. `offsets` [batch], if it has a value,
/// moves the grid row by row. A row that is no maximum gives NaN or nothing, and no start. Throws ShapeError or
/// ArgumentError.
template <PlainTensor V>
WinnerParts<V> winner_parts(const Tensor<double, typename V::Backend>& parameters, const Grid& grid,
                            const V& offsets = {}, bool deviations = false) {
  check_grid(grid, "winner_parts");
  if (offsets.has_value() && offsets.size() != parameters.extent(0))
    throw ShapeError("winner_parts: expected one offset per row of the parameters, given " +
                     std::to_string(offsets.size()));
  const V kept = offsets.has_value() ? offsets.contiguous() : offsets;
  return detail::winner_parts<V>(parameters, {nullptr, nullptr, grid.first, grid.spacing(), grid.points,
                                              kept.has_value() ? kept.data() : nullptr, deviations, nullptr, nullptr});
}

/// The same at increasing points of any spacing.
template <PlainTensor V>
WinnerParts<V> winner_parts(const Tensor<double, typename V::Backend>& parameters, std::span<const double> points,
                            bool deviations = false) {
  check_points(points, "winner_parts");
  const auto count = static_cast<index_t>(points.size());
  const auto stored = Tensor<double, typename V::Backend>::from(points, Shape{count});
  return detail::winner_parts<V>(parameters,
                                 {nullptr, stored.data(), 0.0, 0.0, count, nullptr, deviations, nullptr, nullptr});
}

}  // namespace kolmo::gmm
