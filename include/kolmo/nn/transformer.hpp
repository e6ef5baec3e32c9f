#pragma once
// The encoder block of a transformer in its pre-norm form (Xiong et al. 2020), and what tells it where in a sequence an
// element stands.

#include <cmath>
#include <vector>

#include <kolmo/nn/attention.hpp>

namespace kolmo::nn {

/// How the elements of a sequence get to know their place.
enum class Positions { none, sinusoidal, learned };

/// sin(p 10000^(-2 i / width)) in column 2 i and the cosine of the same in column 2 i + 1 of row p (Vaswani et al.
/// 2017): [length, width].
template <PlainTensor V>
V sinusoidal_positions(index_t length, index_t width) {
  using T = typename V::Scalar;
  std::vector<T> values(static_cast<std::size_t>(length * width));
  for (index_t p = 0; p < length; ++p)
    for (index_t c = 0; c < width; ++c) {
      const double exponent = static_cast<double>(c - c % 2) / static_cast<double>(width);
      const double angle = static_cast<double>(p) * std::pow(10000.0, -exponent);
      values[static_cast<std::size_t>(p * width + c)] = static_cast<T>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return V::from(values, Shape{length, width});
}

/// x + attention(norm(x)), then x + W2 relu(W1 norm(x)), each with dropout on what is added.
template <class V>
struct TransformerBlock {
  LayerNorm<V> attention_norm;
  MultiHeadAttention<V> attention;
  LayerNorm<V> feed_forward_norm;
  Linear<V> up, down;
  double dropout = 0;

  TransformerBlock() = default;
  /// Zero weights; call init. Throws ArgumentError as MultiHeadAttention does.
  TransformerBlock(index_t width, index_t heads, index_t feed_forward_width, double dropout_ = 0)
      : attention_norm(width),
        attention(width, heads, dropout_),
        feed_forward_norm(width),
        up(width, feed_forward_width),
        down(feed_forward_width, width),
        dropout(dropout_) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("attention_norm"), s.attention_norm...);
    f(submodule("attention"), s.attention...);
    f(submodule("feed_forward_norm"), s.feed_forward_norm...);
    f(submodule("up"), s.up...);
    f(submodule("down"), s.down...);
    f(option("dropout"), s.dropout...);
  }
  template <class U>
  using Rebind = TransformerBlock<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    check_dropout(dropout, "TransformerBlock");
    attention.validate();
    const index_t width = attention.output.weight.extent(0), wide = up.weight.extent(1);
    if (!(up.weight.shape() == Shape{width, wide}) || !(down.weight.shape() == Shape{wide, width}) ||
        !(attention_norm.weight.shape() == Shape{width}) || !(feed_forward_norm.weight.shape() == Shape{width}))
      throw ShapeError("TransformerBlock: the parts do not fit a width of " + std::to_string(width));
  }

  /// x [..., n, width] to the same shape.
  template <TensorLike X>
  auto operator()(const X& x, const Pass& pass = {}) const {
    const auto y = x + dropped(attention(attention_norm(x), pass.part(0)), pass.part(1));
    const auto hidden = dropped(map(fn::Relu{}, up(feed_forward_norm(y))), pass.part(2));
    return y + dropped(down(hidden), pass.part(3));
  }

 private:
  template <TensorLike X>
  X dropped(const X& x, const Pass& pass) const {
    return pass.training && dropout > 0 ? nn::dropout(pass.key, x, dropout) : x;
  }
};

template <PlainTensor V>
void init(Key key, TransformerBlock<V>& block) {
  const auto [attention_key, up_key, down_key] = split<3>(key).elements;
  init(key, block.attention_norm);
  init(key, block.feed_forward_norm);
  init(attention_key, block.attention);
  init(up_key, block.up);
  init(down_key, block.down, Start::xavier_uniform);
}

}  // namespace kolmo::nn
