#pragma once
// What a discriminator says of a batch of waves, and the convolution that all are made of.

#include <cmath>
#include <optional>
#include <vector>

#include <kolmo/nn/uniform_init.hpp>
#include <kolmo/nn/weight_norm.hpp>
#include <kolmo/ops/folded_conv.hpp>

namespace kolmo::detail {

/// x where it is positive, slope x elsewhere.
template <class T>
struct LeakyRelu {
  T slope;
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(x > S(0), x, x * S(slope));
  }
};

}  // namespace kolmo::detail

namespace kolmo::rvq {

/// The scores of one discriminator, [B, H, W, 1], high where it takes the waves for real, and the activations of its
/// layers before them.
template <class X>
struct Judgement {
  X score;
  std::vector<X> features;
};

/// A convolution of [B, H, W, C] with weight normalisation: the kernel is weight_norm(weight, gain).
template <class V>
struct DiscriminatorConv {
  V weight, bias, gain;                  ///< [out, in, kh, kw], [out], [out]
  std::vector<index_t> stride = {1, 1};  ///< one per axis
  std::vector<index_t> dilation = {1, 1};

  DiscriminatorConv() = default;
  /// Zeros with gains of one.
  DiscriminatorConv(index_t in, index_t out, const std::vector<index_t>& kernel,
                    const std::vector<index_t>& step = {1, 1}, const std::vector<index_t>& spread = {1, 1})
      : weight(V::zeros(Shape{out, in, kernel.at(0), kernel.at(1)})),
        bias(V::zeros(Shape{out})),
        gain(V::ones(Shape{out})),
        stride(step),
        dilation(spread) {
    validate();
  }

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(param("gain"), s.gain...);
    f(option("stride"), s.stride...);
    f(option("dilation"), s.dilation...);
  }
  template <class U>
  using Rebind = DiscriminatorConv<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    if (weight.rank() != 4 || weight.size() == 0 || !(bias.shape() == Shape{weight.shape()[0]}) ||
        !(gain.shape() == bias.shape()))
      throw ShapeError("DiscriminatorConv: expected a kernel [out, in, kh, kw], a bias [out] and gains [out], given " +
                       weight.shape().to_string() + ", " + bias.shape().to_string() + " and " +
                       gain.shape().to_string());
    bool good = stride.size() == 2 && dilation.size() == 2;
    for (std::size_t i = 0; good && i < 2; ++i) good = stride[i] >= 1 && dilation[i] >= 1;
    if (!good) throw ArgumentError("DiscriminatorConv: expected two strides and two dilations of at least 1");
  }

  ConvOptions options() const {
    ConvOptions result;
    for (int i = 0; i < 2; ++i) {
      result.stride[i] = stride[static_cast<std::size_t>(i)];
      result.dilation[i] = dilation[static_cast<std::size_t>(i)];
    }
    return result;
  }

  /// Columns taken as channels of one point, so that both sides have at least 8 (see ops/folded_conv.hpp); 1: none.
  index_t fold(index_t width) const {
    if (weight.shape()[2] != 3 || stride[0] != 1 || dilation[1] != 1) return 1;
    const index_t out = weight.shape()[0], in = weight.shape()[1], columns = weight.shape()[3];
    for (index_t fold = 1; fold <= 8; fold *= 2)
      if (folds(width, columns, stride[1], fold) && fold * in >= 8 && fold / stride[1] * out >= 8) return fold;
    return 1;
  }

  /// f(convolution + bias) with zeros around the field. Throws ShapeError unless x is [B, H, W, in].
  template <TensorLike X, class F = fn::Identity>
  auto operator()(const X& x, const F& f = {}) const {
    const auto kernel = nn::weight_norm(weight, gain);
    const index_t folded = x.rank() == 4 ? fold(x.shape()[2]) : 1;
    using Y = decltype(conv2d(x, kernel, bias, options(), f));
    return folded == 1 ? Y(conv2d(x, kernel, bias, options(), f))
                       : Y(folded_conv2d(x, kernel, bias, options(), folded, f));
  }
};

/// Kernel and bias uniform within 1 / sqrt(products of one result); the gains keep that kernel.
template <PlainTensor V>
void init(Key key, DiscriminatorConv<V>& layer) {
  nn::uniform_start(key, layer.weight, layer.bias, layer.weight.size() / layer.weight.extent(0));
  layer.gain = nn::weight_norm_gains(layer.weight);
}

/// The activations of layers in turn; the last one, without activation, gives the score.
template <class V, TensorLike X>
auto judge(const std::vector<DiscriminatorConv<V>>& layers, const X& x, double slope) {
  using F = kolmo::detail::LeakyRelu<ScalarOf<X>>;
  using Y = decltype(layers[0](x, F{}));
  const F f{static_cast<ScalarOf<X>>(slope)};
  Judgement<Y> result;
  for (std::size_t i = 0; i + 1 < layers.size(); ++i)
    result.features.push_back(i == 0 ? Y(layers[0](x, f)) : Y(layers[i](result.features.back(), f)));
  result.score = layers.back()(result.features.back());
  return result;
}

}  // namespace kolmo::rvq
