#pragma once
// Scaled dot-product attention with several heads (Vaswani et al. 2017):
//
//   attention(q, k, v) = softmax(q k^T / sqrt(d)) v
//
// over sequences [..., n, d]. All of a sequence sees all of it; nothing here knows an order (see transformer.hpp for
// positions).

#include <cmath>
#include <string>

#include <kolmo/nn/layers.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::nn {

/// How much every position attends to every other: q [..., n, d] and k [..., m, d] to weights [..., n, m] whose rows sum
/// to one. Throws ShapeError when they do not fit.
template <TensorLike Q, TensorLike K>
auto attention_weights(const Q& q, const K& k) {
  if (q.rank() < 2 || k.rank() < 2)
    throw ShapeError("attention: expected queries [..., n, d] and keys [..., m, d], given " + q.shape().to_string() +
                     " and " + k.shape().to_string());
  // Scaling the queries is less work than scaling the products.
  return softmax(matmul(q * (1.0 / std::sqrt(static_cast<double>(q.shape()[-1]))), transpose(k)), -1);
}

/// softmax(q k^T / sqrt(d)) v with v [..., m, e]; the result is [..., n, e]. Throws ShapeError when they do not fit.
template <TensorLike Q, TensorLike K, TensorLike X>
auto attention(const Q& q, const K& k, const X& v) {
  return matmul(attention_weights(q, k), v);
}

/// Self-attention of sequences [..., n, width], in `heads` parts of the width.
template <class V>
struct MultiHeadAttention {
  Linear<V> input;   ///< [width, 3 width]: queries, keys, values
  Linear<V> output;  ///< [width, width]
  index_t heads = 1;
  double dropout = 0;  ///< of attention weights, while training

  MultiHeadAttention() = default;
  /// Zero weights; call init. Throws ArgumentError unless `heads` divides the width and dropout is a probability.
  MultiHeadAttention(index_t width, index_t heads_, double dropout_ = 0)
      : input(width, 3 * width), output(width, width), heads(heads_), dropout(dropout_) {
    check_dropout(dropout, "MultiHeadAttention");
    if (width < 1 || heads < 1 || width % heads != 0)
      throw ArgumentError("MultiHeadAttention: a width of " + std::to_string(width) + " cannot be cut into " +
                          std::to_string(heads) + " heads; choose a divisor");
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("input"), s.input...);
    f(submodule("output"), s.output...);
    f(option("heads"), s.heads...);
    f(option("dropout"), s.dropout...);
  }
  template <class U>
  using Rebind = MultiHeadAttention<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    check_dropout(dropout, "MultiHeadAttention");
    input.validate();
    output.validate();
    const index_t width = input.weight.extent(0);
    if (!(input.weight.shape() == Shape{width, 3 * width}) || !(output.weight.shape() == Shape{width, width}) ||
        heads < 1 || width % heads != 0)
      throw ShapeError("MultiHeadAttention: expected weights [width, 3 width] and [width, width] with " +
                       std::to_string(heads) + " heads dividing the width, given " + input.weight.shape().to_string() +
                       " and " + output.weight.shape().to_string());
  }

  /// x [..., n, width] to the same shape. Throws ShapeError unless the last axis fits.
  template <TensorLike X>
  auto operator()(const X& x, const Pass& pass = {}) const {
    if (x.rank() < 2)
      throw ShapeError("MultiHeadAttention: expected sequences [..., n, width], given " + x.shape().to_string());
    const Shape shape = x.shape();
    const index_t length = shape[-2], width = shape[-1], part = width / heads;
    const index_t sequences = length * width == 0 ? 0 : x.size() / (length * width);
    const auto parts = permute(reshape(input(x), Shape{sequences, length, 3, heads, part}), {2, 0, 3, 1, 4});
    auto weights = attention_weights(at(parts, 0, 0), at(parts, 0, 1));
    if (pass.training && dropout > 0) weights = nn::dropout(pass.part(0).key, weights, dropout);
    const auto mixed = matmul(weights, at(parts, 0, 2));  // [sequences, heads, n, part]
    return output(reshape(permute(mixed, {0, 2, 1, 3}), shape));
  }
};

/// Xavier-uniform weights, biases of zero.
template <PlainTensor V>
void init(Key key, MultiHeadAttention<V>& layer) {
  const auto [input_key, output_key] = split(key);
  init(input_key, layer.input, Start::xavier_uniform);
  init(output_key, layer.output, Start::xavier_uniform);
}

}  // namespace kolmo::nn
