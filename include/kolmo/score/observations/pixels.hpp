#pragma once
// Changing the resolution of the last axes of a field: block averages, and periodic up-sampling.

#include <kolmo/ops/join.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo {

namespace detail {

/// The last axes (one or two) with everything before them in one axis.
inline Shape spatial_shape(const char* name, const Shape& shape, int dimensions) {
  if ((dimensions != 1 && dimensions != 2) || shape.rank() < dimensions)
    throw ShapeError(std::string(name) + ": expected a field with 1 or 2 spatial axes at its end, given shape " +
                     shape.to_string() + " and " + std::to_string(dimensions) + " axes");
  index_t before = 1;
  for (int i = 0; i < shape.rank() - dimensions; ++i) before *= shape[i];
  Shape result{before};
  for (int i = shape.rank() - dimensions; i < shape.rank(); ++i) result.push_back(shape[i]);
  return result;
}

/// Moves a periodic axis by `distance` places to higher positions.
template <TensorLike X>
X rolled(const X& x, int axis, index_t distance) {
  const index_t n = x.shape()[axis < 0 ? axis + x.rank() : axis];
  const index_t d = n == 0 ? 0 : (distance % n + n) % n;
  if (d == 0) return x;
  return concat(axis, std::vector<X>{slice(x, axis, n - d), slice(x, axis, 0, n - d)});
}

}  // namespace detail

namespace score {

/// The mean over blocks of `factor` points along each of the last `dimensions` axes, which must be multiples of it.
struct Coarsen {
  static constexpr bool is_linear = true;
  index_t factor = 2;
  int dimensions = 2;

  template <TensorLike X>
  auto operator()(const X& x) const {
    const Shape fields = kolmo::detail::spatial_shape("Coarsen", x.shape(), dimensions);
    Shape blocks{fields[0]}, result = x.shape();
    for (int i = 1; i <= dimensions; ++i) {
      if (factor < 1 || fields[i] % factor != 0)
        throw ShapeError("Coarsen: " + std::to_string(fields[i]) + " points cannot be cut into blocks of " +
                         std::to_string(factor));
      blocks.push_back(fields[i] / factor);
      blocks.push_back(factor);
      result[x.rank() - dimensions + i - 1] = fields[i] / factor;
    }
    const auto cut = reshape(x, blocks);
    return reshape(dimensions == 1 ? mean(cut, {2}) : mean(cut, {2, 4}), result);
  }
};

/// What stands between the points of a coarse field.
enum class Interpolation { nearest, bilinear };

/// `factor` points for one along each of the last `dimensions` axes of a periodic field. Points are centres of pixels:
/// fine point i lies at (i + 1/2) / factor - 1/2 between the coarse ones.
struct Upsample {
  static constexpr bool is_linear = true;
  index_t factor = 2;
  Interpolation interpolation = Interpolation::bilinear;
  int dimensions = 2;

  template <TensorLike X>
  auto operator()(const X& x) const {
    if (factor < 1) throw ArgumentError("Upsample: expected a factor of at least 1, given " + std::to_string(factor));
    const Shape fields = kolmo::detail::spatial_shape("Upsample", x.shape(), dimensions);
    auto y = along(reshape(x, fields), dimensions);
    if (dimensions == 2) y = along(y, 1);
    Shape result = x.shape();
    for (int i = 0; i < dimensions; ++i) result[-1 - i] = result[-1 - i] * factor;
    return reshape(y, result);
  }

 private:
  template <TensorLike X>
  X along(const X& x, int axis) const {
    const X below = kolmo::detail::rolled(x, axis, 1), above = kolmo::detail::rolled(x, axis, -1);
    std::vector<X> phases;
    for (index_t k = 0; k < factor; ++k) {
      const double offset = (static_cast<double>(k) + 0.5) / static_cast<double>(factor) - 0.5;
      if (interpolation == Interpolation::nearest || offset == 0)
        phases.push_back(x);
      else if (offset < 0)
        phases.push_back(x * (1 + offset) + below * -offset);
      else
        phases.push_back(x * (1 - offset) + above * offset);
    }
    Shape shape = x.shape();
    shape[axis] = shape[axis] * factor;
    return reshape(stack(axis + 1, phases), shape);
  }
};

}  // namespace score
}  // namespace kolmo
