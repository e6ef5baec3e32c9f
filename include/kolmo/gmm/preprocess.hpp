#pragma once
// From sampled densities to the input of a fitter with a fixed grid. One routine, used in training and in
// inference alike:
//
//   masses      w_i = f_i t_i / sum f t                trapezoid rule, values clipped at zero first
//   moments     m = sum w z,  s = sqrt(sum w (z - m)^2)
//   centring    the row is moved by whole cells so that m comes to the middle of the model's grid, and the
//               points are z' = (z - m) / scale, exactly; nothing is interpolated
//
// Only a density whose spacing does not suit the model is resampled first, with a shape-preserving cubic or
// by averaging it over cells: linear interpolation of a peak one cell wide would be wrong by 0.16 in
// density. A fit of the result is taken back to the input's coordinates by `to_input_units`.

#include <optional>
#include <span>
#include <vector>

#include <kolmo/ad/map.hpp>
#include <kolmo/gmm/grid.hpp>
#include <kolmo/gmm/mixture.hpp>
#include <kolmo/gmm/preprocess_item.hpp>

namespace kolmo::gmm {

struct PreprocessOptions {
  /// The model's grid.
  Grid grid{};
  Scaling scaling = Scaling::none;
  Resampling resampling = Resampling::monotone_cubic;
  /// With Scaling::cells and Scaling::deviation, a density with a larger deviation in cells is resampled to
  /// this one, so that it fits on the grid.
  double most_cells_per_deviation = 7.0;
  /// Negative mass up to this part of the positive mass is rounding and clipped; more is an error.
  double negative_tolerance = 1e-6;
  /// A density that loses more of its mass at the borders of the model's grid is `outside_grid`.
  double most_mass_lost = 0.1;
  /// Without, a density stays where it is on the model's grid and its points are the model's: the coordinates of the
  /// first fitters of this kind, which knew no shifts. Only with Scaling::none.
  bool centred = true;
};

/// A batch ready for a fitter. Rows that are not densities have a status, masses 0, mean 0 and deviation,
/// scale and spacing 1.
template <PlainTensor V>
struct Preprocessed {
  using Integers = Tensor<std::int32_t, typename V::Backend>;

  V masses;     ///< [batch, N], non-negative, sum 1
  V points;     ///< [batch, N], z' = (z - mean) / scale; sum masses points = 0 when centred
  V mean;       ///< [batch], in units of the input; 0 when not centred
  V scale;      ///< [batch], units of the input per unit of z'
  V deviation;  ///< [batch], in units of z'; at least the deviation of one cell
  V spacing;    ///< [batch], of the points, in units of z'; masses / spacing is the density
  V mass_lost;  ///< [batch], part of the input's mass that fell off the model's grid
  Integers status;

  std::vector<Status> statuses() const {
    std::vector<Status> result;
    for (std::int32_t s : status.to_vector()) result.push_back(static_cast<Status>(s));
    return result;
  }
};

namespace detail {

template <PlainTensor V>
Preprocessed<V> preprocess(const V& given, PreprocessProblem<typename V::Scalar> problem,
                           const PreprocessOptions& options) {
  using B = typename V::Backend;
  check_grid(options.grid, "preprocess");
  if (!(options.most_cells_per_deviation > 0.0) || !(options.negative_tolerance >= 0.0) ||
      !(options.most_mass_lost >= 0.0))
    throw ArgumentError(
        "preprocess: most_cells_per_deviation must be positive, negative_tolerance and most_mass_lost not negative");
  if (!options.centred && options.scaling != Scaling::none)
    throw ArgumentError("preprocess: only a density in its own units (Scaling::none) can stay where it is; use centred");
  const V densities = as_batch(given, "preprocess", "densities");
  const index_t batch = densities.extent(0), n = options.grid.points;
  const Shape per_item{batch}, per_point{batch, n};
  Preprocessed<V> result{V::uninitialized(per_point), V::uninitialized(per_point),
                         V::uninitialized(per_item),  V::uninitialized(per_item),
                         V::uninitialized(per_item),  V::uninitialized(per_item),
                         V::uninitialized(per_item),  Preprocessed<V>::Integers::uninitialized(per_item)};
  problem.densities = densities.data();
  problem.count = densities.extent(1);
  problem.model_first = options.grid.first;
  problem.model_spacing = options.grid.spacing();
  problem.model_points = n;
  problem.scaling = options.scaling;
  problem.resampling = options.resampling;
  problem.most_cells_per_deviation = options.most_cells_per_deviation;
  problem.negative_tolerance = options.negative_tolerance;
  problem.most_mass_lost = options.most_mass_lost;
  problem.centred = options.centred;
  problem.masses = result.masses.mutable_data();
  problem.result_points = result.points.mutable_data();
  problem.mean = result.mean.mutable_data();
  problem.scale = result.scale.mutable_data();
  problem.deviation = result.deviation.mutable_data();
  problem.result_spacing = result.spacing.mutable_data();
  problem.mass_lost = result.mass_lost.mutable_data();
  problem.status = result.status.mutable_data();
  kolmo::detail::for_each_item<B>(batch, PreprocessItem<typename V::Scalar>{problem});
  return result;
}

struct ScaleAndShift {
  template <class S>
  KOLMO_HD S operator()(S x, S scale, S shift) const {
    return x * scale + shift;
  }
};
struct ScaleOnly {
  template <class S>
  KOLMO_HD S operator()(S x, S scale) const {
    return x * scale;
  }
};

}  // namespace detail

/// Prepares densities [batch, n] (or [n]) sampled on an equally spaced grid of n points. `offsets` [batch],
/// if given, is added to the grid, row by row. Throws ShapeError or ArgumentError when the arguments do not
/// fit each other; a bad row gets a status.
template <PlainTensor V>
Preprocessed<V> preprocess(const V& densities, const Grid& grid, const PreprocessOptions& options = {},
                           const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  detail::PreprocessProblem<typename V::Scalar> problem{};
  const index_t n = densities.extent(-1);
  if (n != grid.points)
    throw ShapeError("preprocess: densities have " + std::to_string(n) + " values but the grid has " +
                     std::to_string(grid.points) + " points");
  if (n >= 3) {
    check_grid(grid, "preprocess");
    problem.spacing = grid.spacing();
  }
  problem.first = grid.first;
  V kept;
  if (offsets.has_value()) {
    const index_t batch = densities.rank() == 1 ? 1 : densities.extent(0);
    if (offsets->size() != batch)
      throw ShapeError("preprocess: expected one offset per density, " + std::to_string(batch) + ", given " +
                       std::to_string(offsets->size()));
    kept = offsets->contiguous();
    problem.offsets = kept.data();
  }
  return detail::preprocess(densities, problem, options);
}

/// Prepares densities [batch, n] (or [n]) sampled at increasing points of any spacing. Throws as above, and
/// ArgumentError when the points are not finite and strictly increasing.
template <PlainTensor V>
Preprocessed<V> preprocess(const V& densities, std::span<const double> points, const PreprocessOptions& options = {}) {
  const index_t n = densities.extent(-1);
  if (n != static_cast<index_t>(points.size()))
    throw ShapeError("preprocess: densities have " + std::to_string(n) + " values but there are " +
                     std::to_string(points.size()) + " points");
  check_points(points, "preprocess");
  const auto stored = Tensor<double, typename V::Backend>::from(points, Shape{n});
  detail::PreprocessProblem<typename V::Scalar> problem{};
  problem.points = stored.data();
  return detail::preprocess(densities, problem, options);
}

/// Takes mixtures fitted to preprocessed densities back to the input's coordinates:
/// mu <- mean + scale mu, sigma <- scale sigma. Works on any kind of tensor.
template <class V, PlainTensor P>
Mixture<V> to_input_units(const Mixture<V>& mixture, const Preprocessed<P>& input) {
  const Shape column{input.mean.size(), 1};
  const P mean = input.mean.reshaped(column), scale = input.scale.reshaped(column);
  return {mixture.weights, map(detail::ScaleAndShift{}, mixture.means, scale, mean),
          map(detail::ScaleOnly{}, mixture.deviations, scale)};
}

}  // namespace kolmo::gmm
