#pragma once
// Convolutions of sequences [B, N, C] for codecs and other streams, causal or centred, whose lengths obey simple rules:
// with stride s a convolution takes N points to ceil(N / s) and its transpose N to N s. With the kernel's reach
// k' = (k - 1) dilation + 1:
//
//   convolution           k' - s zeros before the sequence (centred: half of them behind it), and behind it the few
//   that
//                         fill the last window. A causal result i has seen the points up to i s + s - 1.
//   transposed            of the (N - 1) s + k points that the kernels cover the last k - s are trimmed (centred: half
//   of
//                         them in front), so that a causal result i depends on points up to floor(i / s).
//
// Either may be weight-normalised: the kernel is then a direction, and `gain` holds its lengths.

#include <optional>

#include <kolmo/nn/uniform_init.hpp>
#include <kolmo/nn/weight_norm.hpp>
#include <kolmo/ops/conv.hpp>

namespace kolmo::nn {

struct SequenceConvOptions {
  index_t in = 0, out = 0, kernel = 1;
  index_t stride = 1, dilation = 1;
  bool causal = true, weight_norm = false;
};

namespace detail {

/// Throws ArgumentError for options that make no layer.
inline void check_sequence_conv(const char* name, index_t in, index_t out, index_t kernel, index_t stride,
                                index_t dilation) {
  if (in < 1 || out < 1 || kernel < 1 || stride < 1 || dilation < 1)
    throw ArgumentError(std::string(name) + ": expected channels, kernel, stride and dilation of at least 1, given " +
                        std::to_string(in) + " to " + std::to_string(out) + " channels, kernel " +
                        std::to_string(kernel) + ", stride " + std::to_string(stride) + " and dilation " +
                        std::to_string(dilation));
  if ((kernel - 1) * dilation + 1 < stride)
    throw ArgumentError(std::string(name) + ": a kernel that reaches over " +
                        std::to_string((kernel - 1) * dilation + 1) + " points leaves gaps with stride " +
                        std::to_string(stride) + "; expected a reach of at least the stride");
}

/// Throws ShapeError unless the tensors of a layer fit each other; output channels are axis `out`.
template <class V>
void check_sequence_tensors(const char* name, const V& weight, const V& bias, const std::optional<V>& gain, int out) {
  if (weight.rank() != 3 || weight.size() == 0 || !(bias.shape() == Shape{weight.shape()[out]}) ||
      (gain && !(gain->shape() == bias.shape())))
    throw ShapeError(std::string(name) + ": expected a kernel " + (out == 0 ? "[out, in, k]" : "[in, out, k]") +
                     ", a bias [out] and gains [out] or none, given " + weight.shape().to_string() + ", " +
                     bias.shape().to_string() + " and " + (gain ? gain->shape().to_string() : "no gains"));
}

/// Normal with a deviation, drawn again beyond two deviations.
template <class T>
struct TruncatedNormalKernel {
  Key key;
  T deviation;
  T* target;
  KOLMO_HD void operator()(index_t i) const {
    T z = T(0);
    for (int attempt = 0; attempt < 16; ++attempt) {
      z = normal<T>(fold_in(key, static_cast<std::uint64_t>(attempt)), static_cast<std::uint64_t>(i));
      if (z >= T(-2) && z <= T(2)) break;
      z = T(0);
    }
    target[i] = deviation * z;
  }
};

}  // namespace detail

/// Normal with the given standard deviation, without values beyond two deviations.
template <PlainTensor V>
V truncated_normal_values(Key key, const Shape& shape, double deviation) {
  using T = typename V::Scalar;
  V result = V::uninitialized(shape);
  V::Backend::for_each(shape.size(),
                       detail::TruncatedNormalKernel<T>{key, static_cast<T>(deviation), result.mutable_data()});
  return result;
}

template <class V>
struct SequenceConv {
  V weight, bias;         ///< [out, in, k], [out]
  std::optional<V> gain;  ///< [out]: the kernel is weight_norm(weight, gain)
  index_t stride = 1, dilation = 1;
  bool causal = true;

  SequenceConv() = default;
  /// Zeros, gains of one. Throws ArgumentError for a number below 1 or a reach below the stride.
  explicit SequenceConv(const SequenceConvOptions& o) : stride(o.stride), dilation(o.dilation), causal(o.causal) {
    detail::check_sequence_conv("SequenceConv", o.in, o.out, o.kernel, o.stride, o.dilation);
    weight = V::zeros(Shape{o.out, o.in, o.kernel});
    bias = V::zeros(Shape{o.out});
    if (o.weight_norm) gain = V::ones(Shape{o.out});
  }

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(param("gain"), s.gain...);
    f(option("stride"), s.stride...);
    f(option("dilation"), s.dilation...);
    f(option("causal"), s.causal...);
  }
  template <class U>
  using Rebind = SequenceConv<U>;

  index_t in() const { return weight.shape()[1]; }
  index_t out() const { return weight.shape()[0]; }
  index_t reach() const { return (weight.shape()[2] - 1) * dilation + 1; }
  /// Points before the present ones that a result of a stream needs: k' - s.
  index_t memory() const { return reach() - stride; }

  void validate() const {
    detail::check_sequence_tensors("SequenceConv", weight, bias, gain, 0);
    detail::check_sequence_conv("SequenceConv", in(), out(), weight.shape()[2], stride, dilation);
  }

  /// For sequences of `points` points.
  ConvOptions options(index_t points) const {
    const index_t total = memory(), fill = divide_up(points, stride) * stride - points;
    const index_t behind = causal ? 0 : total / 2;
    ConvOptions result = unpadded();
    result.pad[0] = total - behind;
    result.behind[0] = behind + fill;
    return result;
  }
  ConvOptions unpadded() const { return {{{stride, 1}}, Padding::zeros, {{0, 0}}, {{0, 0}}, {{dilation, 1}}}; }

  /// The kernel, normalised where it has gains. One pass calls it once.
  auto kernel() const { return gain ? V(weight_norm(weight, *gain)) : weight; }

  /// f(convolution + bias): x [B, N, in] to [B, ceil(N / stride), out]. Throws ShapeError for another x.
  template <TensorLike X, class F = fn::Identity>
  auto operator()(const X& x, const F& f = {}) const {
    return conv1d(x, kernel(), bias, options(x.rank() == 3 ? x.shape()[1] : 1), f);
  }
};

template <class V>
struct SequenceConvTranspose {
  V weight, bias;         ///< [in, out, k], [out]
  std::optional<V> gain;  ///< [out]: the kernel is weight_norm(weight, gain)
  index_t stride = 1;
  bool causal = true;

  SequenceConvTranspose() = default;
  /// Zeros, gains of one. Throws ArgumentError for a number below 1, a kernel below the stride or a dilation.
  explicit SequenceConvTranspose(const SequenceConvOptions& o) : stride(o.stride), causal(o.causal) {
    detail::check_sequence_conv("SequenceConvTranspose", o.in, o.out, o.kernel, o.stride, 1);
    if (o.dilation != 1)
      throw ArgumentError("SequenceConvTranspose: expected a dilation of 1, given " + std::to_string(o.dilation));
    weight = V::zeros(Shape{o.in, o.out, o.kernel});
    bias = V::zeros(Shape{o.out});
    if (o.weight_norm) gain = V::ones(Shape{o.out});
  }

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(param("gain"), s.gain...);
    f(option("stride"), s.stride...);
    f(option("causal"), s.causal...);
  }
  template <class U>
  using Rebind = SequenceConvTranspose<U>;

  index_t in() const { return weight.shape()[0]; }
  index_t out() const { return weight.shape()[1]; }
  /// Points behind the present ones that a stream has begun: k - s.
  index_t overlap() const { return weight.shape()[2] - stride; }

  void validate() const {
    detail::check_sequence_tensors("SequenceConvTranspose", weight, bias, gain, 1);
    detail::check_sequence_conv("SequenceConvTranspose", in(), out(), weight.shape()[2], stride, 1);
  }

  ConvOptions options() const {
    const index_t behind = causal ? overlap() : overlap() / 2;
    return {{{stride, 1}}, Padding::zeros, {{overlap() - behind, 0}}, {{behind, 0}}};
  }
  ConvOptions untrimmed() const { return {{{stride, 1}}, Padding::zeros, {{0, 0}}, {{0, 0}}}; }

  auto kernel() const { return gain ? V(weight_norm(weight, *gain, 1)) : weight; }

  /// x [B, N, in] to [B, N stride, out]. Throws ShapeError for another x.
  template <TensorLike X>
  auto operator()(const X& x) const {
    return conv_transpose1d(x, kernel(), bias, options());
  }
};

/// How the kernels of sequence convolutions start.
enum class KernelStart {
  uniform,  ///< kernel and bias within 1 / sqrt(products of one result)
  narrow,   ///< kernel normal with deviation 0.02, truncated at two deviations, bias 0, as in the DAC codec
};

namespace detail {
template <PlainTensor V>
void start_sequence_conv(Key key, V& weight, V& bias, std::optional<V>& gain, KernelStart start, index_t products,
                         int out) {
  if (start == KernelStart::uniform) {
    uniform_start(key, weight, bias, products);
  } else {
    weight = truncated_normal_values<V>(key, weight.shape(), 0.02);
    bias = V::zeros(bias.shape());
  }
  // The kernel of the first pass is the direction itself.
  if (gain) gain = weight_norm_gains(weight, out);
}
}  // namespace detail

template <PlainTensor V>
void init(Key key, SequenceConv<V>& layer, KernelStart start = KernelStart::uniform) {
  detail::start_sequence_conv(key, layer.weight, layer.bias, layer.gain, start, layer.in() * layer.weight.extent(2), 0);
}
template <PlainTensor V>
void init(Key key, SequenceConvTranspose<V>& layer, KernelStart start = KernelStart::uniform) {
  const index_t taps = divide_up(layer.weight.extent(2), layer.stride);
  detail::start_sequence_conv(key, layer.weight, layer.bias, layer.gain, start, layer.in() * taps, 1);
}

}  // namespace kolmo::nn
