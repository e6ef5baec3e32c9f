#pragma once
// Nearest up-sampling of channels-last fields: every point becomes a block of equal points.

#include <kolmo/ops/strided.hpp>

namespace kolmo {

namespace detail {

/// Item: one point of the result, [rows, columns, channels] repeated from [rows / f0, columns / f1, channels].
template <class T>
struct RepeatPoints {
  const T* x;
  T* y;
  Array<index_t, 2> factor;
  index_t rows, columns, channels;  // of x; rows of all images

  KOLMO_HD void operator()(index_t item) const {
    const index_t c = item % channels, point = item / channels;
    const index_t j = point % (columns * factor[1]), i = point / (columns * factor[1]);
    y[item] = x[(i / factor[0] * columns + j / factor[1]) * channels + c];
  }
};

/// Item: one point of the field, the sum of its block.
template <class T>
struct SumBlocks {
  const T* y;
  T* x;
  Array<index_t, 2> factor;
  index_t rows, columns, channels;

  KOLMO_HD void operator()(index_t item) const {
    const index_t c = item % channels, point = item / channels;
    const index_t j = point % columns, i = point / columns;
    ComputeOf<T> sum = ComputeOf<T>(0);
    for (index_t u = 0; u < factor[0]; ++u)
      for (index_t v = 0; v < factor[1]; ++v)
        sum = sum + y[((i * factor[0] + u) * columns * factor[1] + j * factor[1] + v) * channels + c];
    x[item] = static_cast<T>(sum);
  }
};

/// [B, H, W, C] or [B, N, C] to the repeated shape, or back.
struct Repeat {
  Array<index_t, 2> factor;
  bool back;

  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    Shape shape = x.shape();
    const int last = shape.rank() - 2;  // the last axis of space
    const bool plane = shape.rank() == 4;
    const Array<index_t, 2> f{{plane ? factor[0] : 1, plane ? factor[1] : factor[0]}};
    for (int i = 0; i < 2; ++i) {
      const int axis = last - 1 + i;
      if (axis > 0) shape[axis] = back ? shape[axis] / f[i] : shape[axis] * f[i];
    }
    const V source = x.contiguous();
    V result = V::uninitialized(shape);
    const Shape& small = back ? shape : x.shape();
    const index_t rows = plane ? small[0] * small[1] : small[0];
    if (back)
      B::for_each(result.size(),
                  SumBlocks<T>{source.data(), result.mutable_data(), f, rows, small[last], small[last + 1]});
    else
      B::for_each(result.size(),
                  RepeatPoints<T>{source.data(), result.mutable_data(), f, rows, small[last], small[last + 1]});
    return result;
  }
};

}  // namespace detail

/// Every point repeated factors[0] x factors[1] times: [B, H, W, C] to [B, H f0, W f1, C]; [B, N, C] to [B, N f0, C].
/// Throws ShapeError for other ranks, ArgumentError unless the factors are at least 1.
template <TensorLike X>
auto upsample_nearest(const X& x, const Array<index_t, 2>& factors = {{2, 2}}) {
  if (x.rank() != 3 && x.rank() != 4)
    throw ShapeError(
        "upsample_nearest: expected [batch, height, width, channels] or [batch, points, channels], given " +
        x.shape().to_string());
  if (factors[0] < 1 || factors[1] < 1)
    throw ArgumentError("upsample_nearest: the factors must be at least 1, given " + std::to_string(factors[0]) +
                        " and " + std::to_string(factors[1]));
  return detail::linear_recorded(detail::Repeat{factors, false}, detail::Repeat{factors, true}, x);
}

}  // namespace kolmo
