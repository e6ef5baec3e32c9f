#pragma once
// Operators on periodic staggered fields, for every kind of tensor: velocities [..., 2, n, m] with u at the right faces
// and v at the top faces of the cells, scalars [..., n, m] at their centres; the axis before the last is x, the last y.
// divergence is minus the adjoint of gradient, and laplacian their product.

#include <memory>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/parts.hpp>
#include <kolmo/flow/projection.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::flow {

namespace detail {

/// y[i] = x[i + by] along an axis, with wrapping; 0 <= by < extent.
struct PeriodicShift {
  int axis;
  index_t by;
  template <PlainTensor V>
  V operator()(const V& x) const {
    V y = V::uninitialized(x.shape());
    auto* target = y.mutable_data();
    const index_t n = x.shape()[axis], step = y.strides()[axis];
    const kolmo::detail::SliceAxis head{axis, by, n - by, 1}, tail{axis, 0, by, 1};
    kolmo::detail::copy_strided(head(x), target, y.strides());
    if (by > 0) kolmo::detail::copy_strided(tail(x), target + (n - by) * step, y.strides());
    return y;
  }
};

inline void require_velocity(const Shape& shape, const char* function) {
  if (shape.rank() < 3 || shape[-3] != 2 || shape[-1] < 1 || shape[-2] < 1)
    throw ShapeError(std::string(function) + ": expected a velocity of shape [..., 2, n, m], given " +
                     shape.to_string());
}

inline void require_field(const Shape& shape, const char* function) {
  if (shape.rank() < 2 || shape[-1] < 1 || shape[-2] < 1)
    throw ShapeError(std::string(function) + ": expected a field of shape [..., n, m], given " + shape.to_string());
}

}  // namespace detail

/// y[i] = x[i + by] along an axis, periodically. Throws ShapeError for an axis that does not exist.
template <TensorLike X>
auto periodic_shift(const X& x, int axis, index_t by) {
  axis = normalize_axis(axis, x.rank(), "periodic_shift");
  const index_t n = larger<index_t>(1, x.shape()[axis]), forward = (by % n + n) % n;
  return kolmo::detail::linear_recorded(detail::PeriodicShift{axis, forward},
                                        detail::PeriodicShift{axis, (n - forward) % n}, x);
}

/// (u[i, j] - u[i-1, j] + v[i, j] - v[i, j-1]) / h at the centres, [..., n, m]. Throws ShapeError unless x is a
/// velocity.
template <TensorLike X>
auto divergence(const X& x, double spacing) {
  detail::require_velocity(x.shape(), "divergence");
  const auto u = at(x, -3, 0), v = at(x, -3, 1);
  using T = typename ValueOf<X>::Scalar;
  return ((u - periodic_shift(u, -2, -1)) + (v - periodic_shift(v, -1, -1))) * static_cast<T>(1 / spacing);
}

/// ((p[i+1, j] - p[i, j]) / h, (p[i, j+1] - p[i, j]) / h) at the faces, [..., 2, n, m].
template <TensorLike X>
auto gradient(const X& p, double spacing) {
  detail::require_field(p.shape(), "gradient");
  using T = typename ValueOf<X>::Scalar;
  return stack(p.rank() - 2, periodic_shift(p, -2, 1) - p, periodic_shift(p, -1, 1) - p) * static_cast<T>(1 / spacing);
}

/// The 5-point Laplacian over the last two axes.
template <TensorLike X>
auto laplacian(const X& c, double spacing) {
  detail::require_field(c.shape(), "laplacian");
  using T = typename ValueOf<X>::Scalar;
  const auto around =
      (periodic_shift(c, -2, 1) + periodic_shift(c, -2, -1)) + (periodic_shift(c, -1, 1) + periodic_shift(c, -1, -1));
  return (around - c * T(4)) * static_cast<T>(1 / (spacing * spacing));
}

/// dv/dx - du/dy of a staggered velocity at the upper right corners of the cells, ((i+1) h, (j+1) h); [..., n, m].
template <TensorLike X>
auto staggered_vorticity(const X& x, double spacing) {
  detail::require_velocity(x.shape(), "staggered_vorticity");
  const auto u = at(x, -3, 0), v = at(x, -3, 1);
  using T = typename ValueOf<X>::Scalar;
  return ((periodic_shift(v, -2, 1) - v) - (periodic_shift(u, -1, 1) - u)) * static_cast<T>(1 / spacing);
}

namespace detail {

template <class T, class B>
struct ProjectOperation {
  std::shared_ptr<const PeriodicPoisson<T, B>> poisson;
  index_t n;

  Tensor<T, B> operator()(const Tensor<T, B>& x) const {
    auto y = Tensor<T, B>::uninitialized(x.shape());
    const auto source = x.contiguous();
    T* target = y.mutable_data();
    const index_t cells = 2 * n * n;
    kolmo::detail::for_each_part<B>(x.size() / cells, [&](index_t begin, index_t count) {
      const auto grid = PaddedGrid::of<T>(n);
      auto state = Tensor<T, B>::uninitialized(Shape{count, 2, n, grid.row});
      auto divergence = Tensor<T, B>::uninitialized(Shape{count, n, n});
      auto scratch = poisson->template scratch<T>(count);
      Watch<T, B> watch(grid, count);
      pad<B>(grid, count * 2, source.data() + begin * cells, state.mutable_data());
      poisson->potential_of(grid, count, state.data(), false, divergence.mutable_data(), scratch.mutable_data());
      correct<B>(grid, count, divergence.data(), state.mutable_data(), watch, 0, kolmo::detail::infinity<T>());
      unpad<B>(grid, count * 2, state.data(), target + begin * cells);
    });
    return y;
  }
};

}  // namespace detail

/// The orthogonal projection of square staggered velocities [..., 2, n, n] onto those without divergence; the means of
/// both components stay. Holds the plan and the eigenvalues of one size.
template <class T, class B = Cpu>
class Projection {
 public:
  /// Throws ArgumentError unless size >= 4.
  explicit Projection(index_t size) {
    if (size < 4) throw ArgumentError("Projection: the size must be at least 4 cells, given " + std::to_string(size));
    operation_ = {std::make_shared<const detail::PeriodicPoisson<T, B>>(size), size};
  }

  /// Throws ShapeError for another size.
  template <TensorLike X>
  auto operator()(const X& x) const {
    detail::require_velocity(x.shape(), "Projection");
    if (x.shape()[-1] != operation_.n || x.shape()[-2] != operation_.n)
      throw ShapeError("Projection: made for size " + std::to_string(operation_.n) + ", given a velocity of shape " +
                       x.shape().to_string());
    return kolmo::detail::linear_recorded(operation_, operation_, x);
  }

 private:
  detail::ProjectOperation<T, B> operation_;
};

}  // namespace kolmo::flow
