#pragma once
// Projections of a factorised quantizer stage (Kumar et al. 2023): the residual goes through a linear layer into a
// space of few dimensions, is quantized there by angle, and comes back through another. Both layers are weight
// normalised (Salimans and Kingma 2016): the column of an output channel is w = g v / |v|.

#include <cmath>

#include <kolmo/ad/module.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

namespace kolmo::rvq {

/// y = x W + b with x [..., in] and the columns of W [in, out] given by directions v and lengths g.
template <class V>
struct WeightNormLinear {
  V direction;  ///< v, [in, out]
  V length;     ///< g, [out]
  V bias;       ///< [out]

  WeightNormLinear() = default;
  /// Zeros; call init. Throws ShapeError for a negative extent.
  WeightNormLinear(index_t in, index_t out)
      : direction(V::zeros(Shape{in, out})), length(V::zeros(Shape{out})), bias(V::zeros(Shape{out})) {}

  static void fields(auto&& f, auto&... s) {
    f(param("direction"), s.direction...);
    f(param("length"), s.length...);
    f(param("bias"), s.bias...);
  }
  template <class U>
  using Rebind = WeightNormLinear<U>;

  index_t inputs() const { return direction.shape()[0]; }
  index_t outputs() const { return direction.shape()[1]; }

  /// Throws ShapeError unless the parts fit each other.
  void validate() const {
    if (direction.rank() != 2 || !(length.shape() == Shape{outputs()}) || !(bias.shape() == Shape{outputs()}))
      throw ShapeError("WeightNormLinear: expected a direction [in, out], a length [out] and a bias [out], given " +
                       direction.shape().to_string() + ", " + length.shape().to_string() + " and " +
                       bias.shape().to_string());
  }

  /// W [in, out].
  auto weight() const { return direction * (length / norm(direction, {0})); }

  /// Throws ShapeError unless the last axis of x has extent `in`.
  template <TensorLike X>
  auto operator()(const X& x) const {
    return affine(x, weight(), bias);
  }
};

/// Directions uniform within 1 / sqrt(in), lengths theirs, no bias.
template <PlainTensor V>
void init(Key key, WeightNormLinear<V>& layer) {
  const double bound = 1 / std::sqrt(static_cast<double>(layer.inputs()));
  layer.direction = nn::uniform_values<V>(key, layer.direction.shape(), -bound, bound);
  layer.length = norm(layer.direction, {0});
  layer.bias = V::zeros(layer.bias.shape());
}

/// The two layers of a stage: d -> d_c and d_c -> d.
template <class V>
struct Projection {
  WeightNormLinear<V> in, out;

  Projection() = default;
  Projection(index_t dimension, index_t inner) : in(dimension, inner), out(inner, dimension) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("in"), s.in...);
    f(submodule("out"), s.out...);
  }
  template <class U>
  using Rebind = Projection<U>;

  void validate() const {
    in.validate();
    out.validate();
    if (in.inputs() != out.outputs() || in.outputs() != out.inputs())
      throw ShapeError("Projection: the layers " + in.direction.shape().to_string() + " and " +
                       out.direction.shape().to_string() + " do not lead there and back");
  }
};

template <PlainTensor V>
void init(Key key, Projection<V>& projection) {
  const auto [in, out] = split(key);
  init(in, projection.in);
  init(out, projection.out);
}

}  // namespace kolmo::rvq
