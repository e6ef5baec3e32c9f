#pragma once
// Gradients through a quantizer, which has none of its own. Both functions return the value of `quantized` with a
// derivative with respect to x that somebody chose:
//
//   kolmo::straight_through   the identity. In a residual quantizer it is applied once, to the sum of all stages: one
//                             per stage would multiply the gradient by their number or cut off the later ones.
//   rotation_trick            the rotation and scaling that takes the direction and length of x to those of its
//                             quantized value (Fifty et al. 2024): with u = x/|x|, v = q/|q|, w = (u + v)/|u + v|,
//                               R = I - 2 w w^T + 2 v u^T,   q = lambda R x,   lambda = |q|/|x|,
//                             all constants of the derivative, so that gradients become lambda R^T g.

#include <kolmo/ad/record.hpp>
#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

namespace detail {

/// y = lambda R g, or lambda R^T g, for every row; y = g where the rotation is not defined.
template <class T>
struct RotateRowsKernel {
  const T* x;
  const T* q;
  const T* g;
  T* y;
  index_t columns;
  bool transposed;

  KOLMO_HD void operator()(index_t row) const {
    const index_t begin = row * columns;
    T xx = T(0), qq = T(0);
    for (index_t j = begin; j < begin + columns; ++j) {
      xx += x[j] * x[j];
      qq += q[j] * q[j];
    }
    const T x_norm = sqrt(xx), q_norm = sqrt(qq);
    T ww = T(0);
    const bool has_directions = x_norm >= T(1e-6) && q_norm >= T(1e-6) && columns > 1;
    if (has_directions) {
      for (index_t j = begin; j < begin + columns; ++j) {
        const T w = x[j] / x_norm + q[j] / q_norm;
        ww += w * w;
      }
    }
    // Opposite directions leave the plane of the rotation open; (u + v)^2 = 2 + 2 cos.
    if (!(ww > T(1e-6))) {
      for (index_t j = begin; j < begin + columns; ++j) y[j] = g[j];
      return;
    }
    const T* from = transposed ? q : x;
    const T* to = transposed ? x : q;
    const T from_norm = transposed ? q_norm : x_norm, to_norm = transposed ? x_norm : q_norm;
    T w_dot = T(0), from_dot = T(0);
    for (index_t j = begin; j < begin + columns; ++j) {
      w_dot += (x[j] / x_norm + q[j] / q_norm) * g[j];
      from_dot += from[j] / from_norm * g[j];
    }
    const T lambda = q_norm / x_norm, along_w = T(2) * w_dot / ww, along_to = T(2) * from_dot;
    for (index_t j = begin; j < begin + columns; ++j)
      y[j] = lambda * (g[j] - along_w * (x[j] / x_norm + q[j] / q_norm) + along_to * (to[j] / to_norm));
  }
};

template <PlainTensor V>
struct RotateRows {
  V x, q;  // contiguous
  bool transposed;

  V operator()(const V& gradient) const {
    using Kernel = RotateRowsKernel<typename V::Scalar>;
    const V source = gradient.contiguous();
    V result = V::uninitialized(x.shape());
    if (x.size() == 0) return result;
    const index_t columns = x.shape()[-1];
    V::Backend::for_each(x.size() / columns,
                         Kernel{x.data(), q.data(), source.data(), result.mutable_data(), columns, transposed});
    return result;
  }
};

template <PlainTensor V>
struct RotatePullBack {
  V x, q;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(linear(RotateRows<V>{x, q, true}, gradient));
  }
};

}  // namespace detail

/// The value of `quantized` with the derivative of the rotation and scaling that takes each row (last axis) of x to
/// that of `quantized`. Rows where either is shorter than 1e-6, that point in opposite directions, or that have one
/// element are straight-through. Throws ShapeError unless the shapes agree and have at least one axis.
template <TensorLike Q, TensorLike X>
auto rotation_trick(const Q& quantized, const X& x) {
  if (!(quantized.shape() == x.shape()) || x.rank() < 1)
    throw ShapeError("rotation_trick: the quantized value has shape " + quantized.shape().to_string() +
                     " but the original has " + x.shape().to_string());
  using V = BaseOf<X>;
  const V original = primal(value(x)).contiguous(), result = detach(quantized).contiguous();
  const detail::RotatePullBack<V> pull{original, result};
  if constexpr (JetLike<ValueOf<X>>)
    return record(ValueOf<X>{result, detail::RotateRows<V>{original, result, false}(value(x).tangent)}, pull, x);
  else
    return record(result, pull, x);
}

}  // namespace kolmo::rvq
