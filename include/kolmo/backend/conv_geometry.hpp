#pragma once
// What a convolution is, for every backend: extents, strides and how a field continues beyond its border. Fields are
// channels-last,
//
//   y[b, i, j, o] = sum_{u, v, c} x[b, i s0 + u d0 - p0, j s1 + v d1 - p1, c] w[o, c, u, v],
//
// with x continued by `padding`, strides s, dilations d and p points before the field. The gradient of x is this sum's
// transpose; the transposed convolution is that transpose as an operation of its own.

#include <kolmo/core/array.hpp>

namespace kolmo {

/// How a field continues beyond its border: as zeros, periodically, mirrored at its outermost points (these not
/// repeated), or with its outermost value.
enum class Padding { zeros, circular, reflect, replicate };

namespace detail {

/// The point of a field behind a position at most as far beyond its border as the padding can continue; -1 for a zero.
template <class I>
KOLMO_HD I continued_point(I position, I points, Padding padding) {
  if (position >= 0 && position < points) return position;
  switch (padding) {
    case Padding::circular:
      return position < 0 ? position + points : position - points;
    case Padding::reflect:
      return position < 0 ? -position : 2 * (points - 1) - position;
    case Padding::replicate:
      return position < 0 ? 0 : points - 1;
    default:
      return -1;
  }
}

/// One axis of a convolution. Positions of the continued field run from -pad to in + behind - 1.
struct ConvAxis {
  index_t in = 1, out = 1, kernel = 1, stride = 1, pad = 0, behind = 0, dilation = 1;

  /// Points from the first to the last entry of the kernel.
  KOLMO_HD index_t reach() const { return (kernel - 1) * dilation + 1; }
  /// Points of the continued field.
  KOLMO_HD index_t continued() const { return pad + in + behind; }

  /// The point of the field behind a position; -1 for a zero.
  KOLMO_HD index_t source(index_t position, Padding padding) const {
    return continued_point(position, in, padding);
  }
  /// The point of the field that entry `tap` of the kernel meets for a point of the result.
  KOLMO_HD index_t source(index_t point, index_t tap, Padding padding) const {
    return source(point * stride + tap * dilation - pad, padding);
  }
  /// The point of the result for which entry `tap` meets `position`; -1 when there is none.
  KOLMO_HD index_t target(index_t position, index_t tap) const {
    const index_t distance = position + pad - tap * dilation;
    if (distance < 0 || distance % stride != 0) return -1;
    const index_t point = distance / stride;
    return point < out ? point : -1;
  }
};

struct ConvGeometry {
  index_t batch = 0;
  Array<ConvAxis, 2> axis{};
  index_t channels_in = 1, channels_out = 1;
  Padding padding = Padding::zeros;

  KOLMO_HD index_t pixels_in() const { return axis[0].in * axis[1].in; }
  KOLMO_HD index_t pixels_out() const { return axis[0].out * axis[1].out; }
  KOLMO_HD index_t taps() const { return axis[0].kernel * axis[1].kernel; }
  /// Multiply-adds by the definition.
  KOLMO_HD index_t products() const { return batch * pixels_out() * channels_out * channels_in * taps(); }
};

}  // namespace detail
}  // namespace kolmo
