#pragma once
// The way up between two levels of a U-Net,
//
//   y = skip + conv(cut(repeat(norm(x)))),
//
// with norm over channels, every point repeated, and the field cut to the extents of `skip`. On the host it is one
// recorded operation that keeps x alone and makes the large field for some images at a time, in either direction.

#include <kolmo/nn/conv_layers.hpp>
#include <kolmo/nn/host_block.hpp>
#include <kolmo/ops/upsample.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo {

namespace detail {

/// Fields [images, small] and [images, large]: point (i, j) of the large one is (i / f0, j / f1) of the small one.
struct RepeatGrid {
  Array<index_t, 2> small, large, factor;
  index_t channels;
};

/// One row of points of the large field.
template <class T>
struct RepeatRowKernel {
  RepeatGrid g;
  const T* small;
  T* large;

  KOLMO_HD void operator()(index_t row) const {
    const index_t image = row / g.large[0], i = row % g.large[0], n = g.channels;
    const T* source = small + (image * g.small[0] + i / g.factor[0]) * g.small[1] * n;
    T* target = large + row * g.large[1] * n;
    for (index_t j = 0, from = 0, repeats = 0; j < g.large[1]; ++j, target += n) {
      const T* point = source + from * n;
      KOLMO_INDEPENDENT
      for (index_t c = 0; c < n; ++c) target[c] = point[c];
      if (++repeats == g.factor[1]) {
        repeats = 0;
        ++from;
      }
    }
  }
};

/// The transpose: one row of points of the small field.
template <class T>
struct SumRepeatsKernel {
  RepeatGrid g;
  const T* large;
  T* small;

  KOLMO_HD void operator()(index_t row) const {
    const index_t image = row / g.small[0], i = row % g.small[0], n = g.channels;
    for (index_t j = 0; j < g.small[1]; ++j) {
      T* target = small + (row * g.small[1] + j) * n;
      for (index_t c = 0; c < n; ++c) target[c] = T(0);
      for (index_t u = i * g.factor[0]; u < smaller(g.large[0], (i + 1) * g.factor[0]); ++u)
        for (index_t v = j * g.factor[1]; v < smaller(g.large[1], (j + 1) * g.factor[1]); ++v) {
          const T* source = large + ((image * g.large[0] + u) * g.large[1] + v) * n;
          KOLMO_INDEPENDENT
          for (index_t c = 0; c < n; ++c) target[c] += source[c];
        }
    }
  }
};

/// On the host; see the head of this file.
template <PlainTensor V>
struct HostTail {
  using T = typename V::Scalar;
  using B = typename V::Backend;

  ConvGeometry g;  // of the large field
  RepeatGrid repeat;
  V x, w, b;

  index_t small_image() const { return repeat.small[0] * repeat.small[1] * repeat.channels; }
  index_t large_image() const { return g.pixels_in() * g.channels_in; }
  index_t image_out() const { return g.pixels_out() * g.channels_out; }
  index_t part() const {
    return smaller(g.batch, larger<index_t>(1, (index_t{1} << 19) / larger<index_t>(1, large_image())));
  }
  ConvGeometry geometry(index_t images) const {
    ConvGeometry own = g;
    own.batch = images;
    return own;
  }
  ChannelNormGrid grid(index_t images) const { return {images, repeat.small[0] * repeat.small[1], repeat.channels}; }
  void enlarge(index_t first, index_t count, T* small, T* large, ComputeOf<T>* statistics) const {
    channel_norm_into<B, T>(fn::Identity{}, grid(count), x.data() + first * small_image(), nullptr, false, 1e-5, small,
                            statistics);
    for_each_item<B>(count * repeat.large[0], RepeatRowKernel<T>{repeat, small, large});
  }

  V value(const V& skip) const {
    V y = V::uninitialized(skip.shape());
    const index_t most = part();
    const HostScratch<T> small(most * small_image()), large(most * large_image());
    for (index_t first = 0; first < g.batch; first += most) {
      const index_t count = smaller(most, g.batch - first), at = first * image_out();
      enlarge(first, count, small.data(), large.data(), nullptr);
      ConvTarget<T> target;
      target.y = y.mutable_data() + at;
      target.bias = b.data();
      host_conv_forward<T>(geometry(count), large.data(), w.data(), target);
      B::for_each(count * image_out(), AddIntoKernel<T>{skip.data() + at, y.mutable_data() + at});
    }
    return y;
  }

  /// Gradients of x, w, b and skip.
  auto operator()(const V& cotangent, const Wanted<4>& wanted) const {
    const V gradient = cotangent.contiguous();
    V gx, gw, gb;
    if (wanted[0]) gx = V::uninitialized(x.shape());
    if (wanted[2]) gb = sum_to(gradient, b.shape());
    const index_t most = part();
    const HostScratch<T> small(most * small_image()), large(most * large_image());
    const HostScratch<ComputeOf<T>> statistics(2 * most * repeat.small[0] * repeat.small[1]);
    for (index_t first = 0; first < g.batch; first += most) {
      const index_t count = smaller(most, g.batch - first);
      const T* const from = gradient.data() + first * image_out();
      enlarge(first, count, small.data(), large.data(), statistics.data());
      if (wanted[1]) {
        V increment = V::uninitialized(w.shape());
        host_conv_backward_filter<T>(geometry(count), large.data(), from, increment.mutable_data());
        if (first == 0)
          gw = increment;
        else
          apply_in_place(fn::Add{}, gw, increment);
      }
      if (!wanted[0]) continue;
      host_conv_backward_data<T>(geometry(count), from, w.data(), large.data());
      for_each_item<B>(count * repeat.small[0], SumRepeatsKernel<T>{repeat, large.data(), small.data()});
      channel_norm_pull_into<V>(
          fn::Identity{}, grid(count), x.data() + first * small_image(), static_cast<const T*>(nullptr), false,
          static_cast<const ComputeOf<T>*>(statistics.data()), static_cast<const T*>(small.data()),
          static_cast<const T*>(nullptr), gx.mutable_data() + first * small_image(), static_cast<T*>(nullptr));
    }
    return std::make_tuple(gx, gw, gb, gradient);
  }
};

}  // namespace detail

namespace nn {

/// unet_tail of operations of their own, for jets and other backends.
template <TensorLike X, TensorLike W, TensorLike C, TensorLike S>
auto unet_tail_composed(const X& x, const W& weight, const C& bias, const S& skip, const Array<index_t, 2>& factors,
                        const ConvOptions& options) {
  auto y = upsample_nearest(channel_norm(x), factors);
  for (int axis : {1, 2})
    if (y.shape()[axis] > skip.shape()[axis]) y = slice(y, axis, 0, skip.shape()[axis]);
  return conv2d(y, weight, bias, options) + skip;
}

/// skip + conv(cut(repeat(norm(x)))): x [B, h, w, C], weight [out, C, kh, kw], skip [B, H, W, out], and factors with
/// h factor >= H. The convolution has stride one and keeps the extents. Throws ShapeError when they do not fit.
template <TensorLike X, TensorLike W, TensorLike C, TensorLike S>
auto unet_tail(const X& x, const W& weight, const C& bias, const S& skip, const Array<index_t, 2>& factors,
               Padding padding) {
  using V = ValueOf<X>;
  const ConvOptions options{.padding = padding};
  if constexpr (PlainTensor<V> && PlainTensor<ValueOf<W>> && PlainTensor<ValueOf<S>>) {
    if constexpr (kolmo::detail::HostConvolved<V>) {
      Shape large = skip.shape();
      large[-1] = x.shape()[-1];
      kolmo::detail::check_channel_norm(x.shape(), 1e-5);
      const auto g = kolmo::detail::conv_geometry("unet_tail", large, weight.shape(), options);
      kolmo::detail::check_conv_bias("unet_tail", bias.shape(), g.channels_out);
      if (!(skip.shape() == Shape{g.batch, g.axis[0].out, g.axis[1].out, g.channels_out}) || x.shape()[0] != g.batch ||
          x.shape()[1] * factors[0] < large[1] || x.shape()[2] * factors[1] < large[2])
        throw ShapeError("unet_tail: a field " + x.shape().to_string() + " does not reach the field " +
                         skip.shape().to_string() + " that it is added to");
      const kolmo::detail::RepeatGrid repeat{{{x.shape()[1], x.shape()[2]}}, {{large[1], large[2]}}, factors, large[3]};
      const kolmo::detail::HostTail<V> tail{g, repeat, value(x).contiguous(), value(weight).contiguous(),
                                            value(bias).contiguous()};
      return record(tail.value(value(skip).contiguous()), tail, x, weight, bias, skip);
    } else {
      return unet_tail_composed(x, weight, bias, skip, factors, options);
    }
  } else {
    return unet_tail_composed(x, weight, bias, skip, factors, options);
  }
}

}  // namespace nn
}  // namespace kolmo

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
