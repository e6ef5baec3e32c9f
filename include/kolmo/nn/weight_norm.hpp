#pragma once
// Weight normalisation (Salimans and Kingma 2016): the kernel of a layer as a direction v and one length g per output
// channel,
//
//   w_o = g_o v_o / |v_o|,
//
// recomputed in every pass, so that derivatives reach v and g. |v_o| runs over all axes but that of the output
// channels.

#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::nn {

namespace detail {

/// All axes of a kernel but that of its output channels are summed.
template <TensorLike W>
auto kernel_norms(const W& v, int channel_axis) {
  const int rank = v.rank();
  if (rank == 4) return channel_axis == 0 ? norm(v, {1, 2, 3}, true) : norm(v, {0, 2, 3}, true);
  if (rank == 3) return channel_axis == 0 ? norm(v, {1, 2}, true) : norm(v, {0, 2}, true);
  return norm(v, {1 - channel_axis}, true);
}

inline void check_weight_norm(const Shape& v, const Shape& gain, int channel_axis) {
  if (v.rank() < 2 || v.rank() > 4 || channel_axis < 0 || channel_axis > 1 || !(gain == Shape{v[channel_axis]}))
    throw ShapeError("weight_norm: expected a kernel of 2 to 4 axes and one gain for each channel of its axis " +
                     std::to_string(channel_axis) + " (0 or 1), given a kernel " + v.to_string() + " and gains " +
                     gain.to_string());
}

}  // namespace detail

/// g v / |v| for a kernel of 2 to 4 axes whose output channels are axis `channel_axis`, 0 or 1; `gain` has one element
/// for each. A direction of zeros gives NaN. Throws ShapeError when they do not fit.
template <TensorLike W, TensorLike G>
auto weight_norm(const W& v, const G& gain, int channel_axis = 0) {
  detail::check_weight_norm(v.shape(), gain.shape(), channel_axis);
  Shape column = v.shape();
  for (int i = 0; i < column.rank(); ++i)
    if (i != channel_axis) column[i] = 1;
  return v * (reshape(gain, column) / detail::kernel_norms(v, channel_axis));
}

/// The gains for which weight_norm returns the kernel itself: |v| of every output channel.
template <PlainTensor V>
V weight_norm_gains(const V& v, int channel_axis = 0) {
  detail::check_weight_norm(v.shape(), Shape{v.rank() > channel_axis ? v.shape()[channel_axis] : 0}, channel_axis);
  return detail::kernel_norms(v, channel_axis).reshaped(Shape{v.shape()[channel_axis]});
}

}  // namespace kolmo::nn
