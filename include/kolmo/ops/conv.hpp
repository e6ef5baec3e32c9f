#pragma once
// Convolutions of channels-last fields, [B, H, W, C] and [B, N, C], their transposes and nearest up-sampling, on every
// tensor kind. Kernels are [out, in, kh, kw] (1-D [out, in, k]) and biases [out]. As in every network library the
// kernel is not reflected:
//
//   y[b, i, j, o] = f(bias[o] + sum_{u, v, c} x[b, i s0 + u d0 - p0, j s1 + v d1 - p1, c] weight[o, c, u, v])
//
// Bias and activation f are part of one recorded operation. For the way back it keeps x only if the gradient of the
// weight is wanted, the weight only if that of x is, and the sum only if f is not the identity.

#include <kolmo/ad/map.hpp>
#include <kolmo/ops/conv_kernels.hpp>
#include <kolmo/ops/views.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo {

/// How a kernel moves over a field. A 1-D convolution takes the first entries.
struct ConvOptions {
  Array<index_t, 2> stride{{1, 1}};
  Padding padding = Padding::zeros;
  /// Points before the field; -1: half the kernel's reach (kernel - 1) dilation + 1, which keeps the size of fields
  /// when the reach is odd and the stride one.
  Array<index_t, 2> pad{{-1, -1}};
  /// Points behind the field; -1: as many as before it.
  Array<index_t, 2> behind{{-1, -1}};
  /// Distance of the points that neighbouring entries of the kernel meet.
  Array<index_t, 2> dilation{{1, 1}};
};

namespace detail {

inline const char* padding_name(Padding padding) {
  switch (padding) {
    case Padding::circular:
      return "circular";
    case Padding::reflect:
      return "reflect";
    case Padding::replicate:
      return "replicate";
    default:
      return "zeros";
  }
}

/// The kernel of one axis with its options, the defaults resolved; `in` and `out` are not set. Throws ArgumentError for
/// strides and dilations below 1 and pads below -1, ShapeError for an empty kernel.
inline ConvAxis conv_axis_options(const std::string& name, index_t kernel, const ConvOptions& options, int i) {
  ConvAxis axis;
  axis.kernel = kernel;
  axis.stride = options.stride[i];
  axis.dilation = options.dilation[i];
  if (axis.stride < 1 || axis.dilation < 1)
    throw ArgumentError(name + ": the stride and the dilation must be at least 1, given " +
                        std::to_string(axis.stride) + " and " + std::to_string(axis.dilation));
  if (options.pad[i] < -1 || options.behind[i] < -1)
    throw ArgumentError(name + ": the pads must be at least 0, or -1 for half the kernel before and as many behind, " +
                        "given " + std::to_string(options.pad[i]) + " and " + std::to_string(options.behind[i]));
  if (kernel < 1) throw ShapeError(name + ": expected a kernel of at least one point, given " + std::to_string(kernel));
  axis.pad = options.pad[i] == -1 ? axis.reach() / 2 : options.pad[i];
  axis.behind = options.behind[i] == -1 ? axis.pad : options.behind[i];
  return axis;
}

/// Sets the extents of an axis. Throws ShapeError or ArgumentError unless the kernel and the pads fit the field.
inline ConvAxis conv_axis(const std::string& name, index_t in, ConvAxis axis, Padding padding) {
  if (in < 1) throw ShapeError(name + ": expected a field of at least one point, given " + std::to_string(in));
  const index_t pad = larger(axis.pad, axis.behind);
  const index_t most = padding == Padding::reflect ? in - 1 : padding == Padding::circular ? in : pad;
  if (pad > most)
    throw ArgumentError(name + ": a field of " + std::to_string(in) + " points can be continued by at most " +
                        std::to_string(most) + " with " + padding_name(padding) + " padding, given " +
                        std::to_string(pad));
  axis.in = in;
  if (axis.reach() > axis.continued())
    throw ShapeError(name + ": a kernel of " + std::to_string(axis.kernel) + " with dilation " +
                     std::to_string(axis.dilation) + " does not fit a field of " + std::to_string(in) +
                     " points with pads of " + std::to_string(axis.pad) + " and " + std::to_string(axis.behind) +
                     "; pad by more or use a smaller kernel");
  axis.out = (axis.continued() - axis.reach()) / axis.stride + 1;
  return axis;
}

inline void check_conv_ranks(const std::string& name, const Shape& x, const Shape& weight, int rank, int channel_axis) {
  const std::string field = rank == 3 ? "[batch, points, channels]" : "[batch, height, width, channels]";
  if (x.rank() != rank || weight.rank() != rank)
    throw ShapeError(name + ": expected a field " + field + " and a weight of as many axes, given " + x.to_string() +
                     " and " + weight.to_string());
  if (x[-1] != weight[channel_axis] || weight[0] < 1 || weight[1] < 1)
    throw ShapeError(name + ": the weight " + weight.to_string() + " has " + std::to_string(weight[channel_axis]) +
                     " input channels in its axis " + std::to_string(channel_axis) + ", the field " + x.to_string() +
                     " has " + std::to_string(x[-1]) + "; expected the same number, at least one");
}

inline void check_conv_bias(const std::string& name, const Shape& bias, index_t channels) {
  if (!(bias == Shape{channels}))
    throw ShapeError(name + ": expected a bias of shape [" + std::to_string(channels) + "], given " + bias.to_string());
}

/// x [B, H, W, C], weight [out, C, kh, kw].
inline ConvGeometry conv_geometry(const std::string& name, const Shape& x, const Shape& weight,
                                  const ConvOptions& options) {
  check_conv_ranks(name, x, weight, 4, 1);
  ConvGeometry g;
  g.batch = x[0];
  g.channels_in = weight[1];
  g.channels_out = weight[0];
  g.padding = options.padding;
  for (int i = 0; i < 2; ++i)
    g.axis[i] = conv_axis(name, x[1 + i], conv_axis_options(name, weight[2 + i], options, i), options.padding);
  return g;
}

/// The convolution whose transpose maps x [B, H, W, C] by weight [C, out, kh, kw].
inline ConvGeometry conv_transpose_geometry(const std::string& name, const Shape& x, const Shape& weight,
                                            const ConvOptions& options, const Array<index_t, 2>& output_padding) {
  check_conv_ranks(name, x, weight, 4, 0);
  ConvGeometry g;
  g.batch = x[0];
  g.channels_in = weight[1];
  g.channels_out = weight[0];
  g.padding = options.padding;
  for (int i = 0; i < 2; ++i) {
    const ConvAxis axis = conv_axis_options(name, weight[2 + i], options, i);
    if (x[1 + i] < 1) throw ShapeError(name + ": expected a field of at least one point, given shape " + x.to_string());
    if (output_padding[i] < 0 || output_padding[i] >= axis.stride)
      throw ArgumentError(name + ": the output padding must be at least 0 and less than the stride " +
                          std::to_string(axis.stride) + ", given " + std::to_string(output_padding[i]));
    const index_t points = (x[1 + i] - 1) * axis.stride + axis.reach() - axis.pad - axis.behind + output_padding[i];
    g.axis[i] = conv_axis(name, points, axis, options.padding);
  }
  return g;
}

/// Applies an activation to a run of values; see ConvEpilogue.
template <class F, class T>
struct RunActivation {
  static void run(const void* f, const T* z, T* y, index_t n) {
    const F function = *static_cast<const F*>(f);
    if (z == y) {
      KOLMO_INDEPENDENT
      for (index_t i = 0; i < n; ++i) y[i] = function(y[i]);
    } else {
      KOLMO_INDEPENDENT
      for (index_t i = 0; i < n; ++i) y[i] = function(z[i]);
    }
  }
};

template <class F>
inline constexpr bool is_identity = std::is_same_v<F, fn::Identity>;

/// f(sum + bias) with the sum before f where it is to be kept. `bias` may be empty.
template <class F, PlainTensor V>
ConvValue<V> conv_value(const ConvGeometry& g, const F& f, const V& x, const V& w, const V& bias, bool keep) {
  if constexpr (HostConvolved<V>) {
    using T = typename V::Scalar;
    if (g.batch > 0) {
      ConvValue<V> result{V::uninitialized(conv_out_shape(g)), V()};
      if (keep && !is_identity<F>) result.z = V::uninitialized(conv_out_shape(g));
      const V field = x.contiguous(), kernel = w.contiguous(), shift = bias.has_value() ? bias.contiguous() : bias;
      ConvTarget<T> target;
      target.y = result.y.mutable_data();
      if (result.z.has_value()) target.z = result.z.mutable_data();
      if (shift.has_value()) target.bias = shift.data();
      if constexpr (!is_identity<F>) target.epilogue = {&f, &RunActivation<F, ComputeOf<T>>::run};
      host_conv_forward<T>(g, field.data(), kernel.data(), target);
      return result;
    }
  }
  if constexpr (BackendConvolved<V>) {
    using T = typename V::Scalar;
    if (g.batch > 0) {
      ConvValue<V> result{V::uninitialized(conv_out_shape(g)), V()};
      if (keep && !is_identity<F>) result.z = V::uninitialized(conv_out_shape(g));
      const V field = x.contiguous(), kernel = w.contiguous(), shift = bias.has_value() ? bias.contiguous() : bias;
      if (V::Backend::conv_forward(g, field.data(), kernel.data(), shift.has_value() ? shift.data() : static_cast<const T*>(nullptr), f,
                                   result.z.has_value() ? result.z.mutable_data() : static_cast<T*>(nullptr),
                                   result.y.mutable_data()))
        return result;
    }
  }
  ConvValue<V> result{ConvForward{g}(x, w), V()};
  if (bias.has_value()) apply_in_place(fn::Add{}, result.y, bias);
  if constexpr (!is_identity<F>) {
    if (keep) {
      result.z = result.y;
      result.y = apply(f, result.z);
    } else {
      apply_in_place(f, result.y);
    }
  }
  return result;
}

template <class F, Value X, Value W, Value Z>
struct ConvPullBack {
  ConvGeometry g;
  F f;
  X x;
  W w;
  Z z;

  template <Value G, int N>
  auto operator()(const G& gradient, const Wanted<N>& wanted) const {
    if constexpr (is_identity<F>)
      return gradients(gradient, wanted);
    else
      return gradients(as_kind<G>(apply_multiple<1>(ElementwiseVjp<F, 1>{f}, Array<bool, 1>{{true}}, gradient, z)[0]),
                       wanted);
  }

  template <Value G, int N>
  auto gradients(const G& gradient, const Wanted<N>& wanted) const {
    const G field = wanted[0] ? as_kind<G>(bilinear(ConvBackwardData{g}, gradient, w)) : G();
    const G kernel = wanted[1] ? as_kind<G>(bilinear(ConvBackwardFilter{g}, x, gradient)) : G();
    if constexpr (N == 2)
      return std::make_tuple(field, kernel);
    else
      return std::make_tuple(field, kernel, wanted[2] ? sum_to(gradient, Shape{g.channels_out}) : G());
  }
};

/// Whether the way back asks for the gradient of x.
template <TensorLike X>
bool is_recorded(const X& x) {
  return slot_of(x) >= 0;
}

/// One recorded operation of a field, a kernel and at most one bias.
template <class F, TensorLike X, TensorLike W, TensorLike... C>
auto conv_recorded(const ConvGeometry& g, const F& f, const X& x, const W& w, const C&... bias) {
  const ValueOf<X> field = is_recorded(w) ? value(x) : ValueOf<X>();
  const ValueOf<W> kernel = is_recorded(x) ? value(w) : ValueOf<W>();
  if constexpr ((PlainTensor<ValueOf<X>> && PlainTensor<ValueOf<W>>)&&(PlainTensor<ValueOf<C>> && ...)) {
    using V = ValueOf<X>;
    V shift;
    ((shift = value(bias)), ...);
    const bool keep = is_recorded(x) || is_recorded(w) || (is_recorded(bias) || ...);
    const ConvValue<V> result = conv_value(g, f, value(x), value(w), shift, keep);
    return record(result.y, ConvPullBack<F, V, V, V>{g, f, field, kernel, result.z}, x, w, bias...);
  } else {
    const auto activated = [&](const auto& z) {
      using Z = std::remove_cvref_t<decltype(z)>;
      const ConvPullBack<F, ValueOf<X>, ValueOf<W>, Z> pull_back{g, f, field, kernel, z};
      if constexpr (is_identity<F>)
        return record(z, pull_back, x, w, bias...);
      else
        return record(apply(f, z), pull_back, x, w, bias...);
    };
    const auto sum = bilinear(ConvForward{g}, value(x), value(w));
    if constexpr (sizeof...(C) == 0)
      return activated(sum);
    else
      return activated(apply(fn::Add{}, sum, value(bias)...));
  }
}

template <Value X, Value W>
struct ConvTransposePullBack {
  ConvGeometry g;
  X x;
  W w;

  template <Value G, int N>
  auto operator()(const G& gradient, const Wanted<N>& wanted) const {
    const G field = wanted[0] ? as_kind<G>(bilinear(ConvForward{g}, gradient, w)) : G();
    const G kernel = wanted[1] ? as_kind<G>(bilinear(ConvBackwardFilter{g}, gradient, x)) : G();
    if constexpr (N == 2)
      return std::make_tuple(field, kernel);
    else
      return std::make_tuple(field, kernel, wanted[2] ? sum_to(gradient, Shape{g.channels_in}) : G());
  }
};

template <TensorLike X, TensorLike W, TensorLike... C>
auto conv_transpose_recorded(const ConvGeometry& g, const X& x, const W& w, const C&... bias) {
  const ConvTransposePullBack<ValueOf<X>, ValueOf<W>> pull_back{g, is_recorded(w) ? value(x) : ValueOf<X>(),
                                                                is_recorded(x) ? value(w) : ValueOf<W>()};
  const auto sum = bilinear(ConvBackwardData{g}, value(x), value(w));
  if constexpr (sizeof...(C) == 0)
    return record(sum, pull_back, x, w);
  else
    return record(apply(fn::Add{}, sum, value(bias)...), pull_back, x, w, bias...);
}

/// 1-D as 2-D of height one.
inline ConvOptions conv_row(const ConvOptions& options) {
  return {{{1, options.stride[0]}},
          options.padding,
          {{0, options.pad[0]}},
          {{0, options.behind[0]}},
          {{1, options.dilation[0]}}};
}
template <TensorLike X>
auto as_row(const X& x) {
  return reshape(x, Shape{x.shape()[0], 1, x.shape()[1], x.shape()[2]});
}
template <TensorLike W>
auto kernel_as_row(const W& w) {
  return reshape(w, Shape{w.shape()[0], w.shape()[1], 1, w.shape()[2]});
}
template <TensorLike X>
auto without_row(const X& x) {
  return reshape(x, Shape{x.shape()[0], x.shape()[2], x.shape()[3]});
}

}  // namespace detail

/// f(conv(x) + bias): x [B, H, W, C], weight [out, C, kh, kw], bias [out]; the result has
/// (pad + H + behind - reach) / stride + 1 rows with reach = (kh - 1) dilation + 1, likewise columns. Throws ShapeError
/// when the shapes do not fit each other or the kernel exceeds the padded field, ArgumentError for a stride or dilation
/// below 1 and for a pad below -1 or beyond what the padding can continue.
template <TensorLike X, TensorLike W, TensorLike C, class F = fn::Identity>
auto conv2d(const X& x, const W& weight, const C& bias, const ConvOptions& options = {}, const F& f = {}) {
  const auto g = detail::conv_geometry("conv2d", x.shape(), weight.shape(), options);
  detail::check_conv_bias("conv2d", bias.shape(), g.channels_out);
  return detail::conv_recorded(g, f, x, weight, bias);
}

/// Without bias and activation.
template <TensorLike X, TensorLike W>
auto conv2d(const X& x, const W& weight, const ConvOptions& options = {}) {
  return detail::conv_recorded(detail::conv_geometry("conv2d", x.shape(), weight.shape(), options), fn::Identity{}, x,
                               weight);
}

/// conv2d of x [B, N, C] by weight [out, C, k]; uses the first entries of the options. Throws as conv2d.
template <TensorLike X, TensorLike W, TensorLike C, class F = fn::Identity>
auto conv1d(const X& x, const W& weight, const C& bias, const ConvOptions& options = {}, const F& f = {}) {
  detail::check_conv_ranks("conv1d", x.shape(), weight.shape(), 3, 1);
  return detail::without_row(
      conv2d(detail::as_row(x), detail::kernel_as_row(weight), bias, detail::conv_row(options), f));
}
template <TensorLike X, TensorLike W>
auto conv1d(const X& x, const W& weight, const ConvOptions& options = {}) {
  detail::check_conv_ranks("conv1d", x.shape(), weight.shape(), 3, 1);
  return detail::without_row(conv2d(detail::as_row(x), detail::kernel_as_row(weight), detail::conv_row(options)));
}

/// The transpose of conv2d with the same options, plus a bias: x [B, H, W, C], weight [C, out, kh, kw], bias [out]; the
/// result has (H - 1) stride + reach - pad - behind + output_padding rows, likewise columns: `pad` trims the front of
/// what the kernels cover, `behind` the back. Throws as conv2d, and ArgumentError unless 0 <= output_padding < stride.
template <TensorLike X, TensorLike W, TensorLike C>
auto conv_transpose2d(const X& x, const W& weight, const C& bias, const ConvOptions& options = {},
                      const Array<index_t, 2>& output_padding = {}) {
  const auto g =
      detail::conv_transpose_geometry("conv_transpose2d", x.shape(), weight.shape(), options, output_padding);
  detail::check_conv_bias("conv_transpose2d", bias.shape(), g.channels_in);
  return detail::conv_transpose_recorded(g, x, weight, bias);
}

/// Without bias.
template <TensorLike X, TensorLike W>
auto conv_transpose2d(const X& x, const W& weight, const ConvOptions& options = {},
                      const Array<index_t, 2>& output_padding = {}) {
  return detail::conv_transpose_recorded(
      detail::conv_transpose_geometry("conv_transpose2d", x.shape(), weight.shape(), options, output_padding), x,
      weight);
}

/// conv_transpose2d of x [B, N, C] by weight [C, out, k]; uses the first entries. Throws likewise.
template <TensorLike X, TensorLike W, TensorLike C>
auto conv_transpose1d(const X& x, const W& weight, const C& bias, const ConvOptions& options = {},
                      index_t output_padding = 0) {
  detail::check_conv_ranks("conv_transpose1d", x.shape(), weight.shape(), 3, 0);
  return detail::without_row(conv_transpose2d(detail::as_row(x), detail::kernel_as_row(weight), bias,
                                              detail::conv_row(options), Array<index_t, 2>{{0, output_padding}}));
}
template <TensorLike X, TensorLike W>
auto conv_transpose1d(const X& x, const W& weight, const ConvOptions& options = {}, index_t output_padding = 0) {
  detail::check_conv_ranks("conv_transpose1d", x.shape(), weight.shape(), 3, 0);
  return detail::without_row(conv_transpose2d(detail::as_row(x), detail::kernel_as_row(weight),
                                              detail::conv_row(options), Array<index_t, 2>{{0, output_padding}}));
}

/// Multiply-adds of conv2d by its definition, forward; the gradients of field and kernel take as many each. `x` and
/// `weight` as for conv2d, or conv1d when they have three axes. Throws as these.
inline index_t conv_flops(const Shape& x, const Shape& weight, const ConvOptions& options = {}) {
  if (x.rank() != 3) return detail::conv_geometry("conv_flops", x, weight, options).products();
  detail::check_conv_ranks("conv_flops", x, weight, 3, 1);
  return detail::conv_geometry("conv_flops", Shape{x[0], 1, x[1], x[2]}, Shape{weight[0], weight[1], 1, weight[2]},
                               detail::conv_row(options))
      .products();
}

}  // namespace kolmo

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
