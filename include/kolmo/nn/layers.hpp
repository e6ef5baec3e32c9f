#pragma once
// Linear, LayerNorm and Dropout. Constructors set shapes; init(key, layer) draws the starting values.

#include <cmath>

#include <kolmo/nn/init.hpp>
#include <kolmo/nn/layer_norm.hpp>
#include <kolmo/nn/pass.hpp>
#include <kolmo/ops/linalg.hpp>

namespace kolmo::nn {

/// y = x W + b with x [..., in], W [in, out], b [out].
template <class V>
struct Linear {
  V weight, bias;

  Linear() = default;
  /// Zeros. Throws ShapeError for a negative extent.
  Linear(index_t in, index_t out) : weight(V::zeros(Shape{in, out})), bias(V::zeros(Shape{out})) {}

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
  }
  template <class U>
  using Rebind = Linear<U>;

  /// Throws ShapeError unless weight and bias fit each other.
  void validate() const {
    if (weight.rank() != 2 || !(bias.shape() == Shape{weight.shape()[1]}))
      throw ShapeError("Linear: expected a weight [in, out] and a bias [out], given " + weight.shape().to_string() +
                       " and " + bias.shape().to_string());
  }

  /// Throws ShapeError unless the last axis of x has extent `in`.
  template <TensorLike X>
  auto operator()(const X& x) const {
    return affine(x, weight, bias);
  }
};

/// The bias starts at zero.
template <PlainTensor V>
void init(Key key, Linear<V>& layer, Start start = Start::he_uniform) {
  layer.weight = start_weight<V>(key, layer.weight.extent(0), layer.weight.extent(1), start);
  layer.bias = V::zeros(layer.bias.shape());
}

/// Layer normalisation over the last axis with scale `weight` and shift `bias`.
template <class V>
struct LayerNorm {
  V weight, bias;
  double epsilon = 1e-5;

  LayerNorm() = default;
  /// Scale one, shift zero.
  explicit LayerNorm(index_t columns) : weight(V::ones(Shape{columns})), bias(V::zeros(Shape{columns})) {}

  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(option("epsilon"), s.epsilon...);
  }
  template <class U>
  using Rebind = LayerNorm<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    if (weight.rank() != 1 || !(bias.shape() == weight.shape()))
      throw ShapeError("LayerNorm: expected a weight and a bias of shape [columns], given " + weight.shape().to_string() +
                       " and " + bias.shape().to_string());
    if (!(epsilon > 0)) throw ArgumentError("LayerNorm: epsilon must be positive, given " + std::to_string(epsilon));
  }

  template <TensorLike X>
  auto operator()(const X& x) const {
    return layer_norm(x, weight, bias, epsilon);
  }
  /// Followed by an activation, in one pass.
  template <TensorLike X, class F>
  auto activated(const X& x, const F& f) const {
    return layer_norm(x, weight, bias, epsilon, f);
  }
};

template <PlainTensor V>
void init(Key, LayerNorm<V>& layer) {
  layer.weight = V::ones(layer.weight.shape());
  layer.bias = V::zeros(layer.bias.shape());
}

}  // namespace kolmo::nn

namespace kolmo::detail {

/// mask[i] = 1 / (1 - p) with probability 1 - p, else 0.
template <class T>
struct DropoutMaskKernel {
  Key key;
  double probability;
  T scale;
  T* mask;
  KOLMO_HD void operator()(index_t i) const {
    mask[i] = uniform<float>(key, static_cast<std::uint64_t>(i)) < static_cast<float>(probability) ? T(0) : scale;
  }
};

template <PlainTensor M>
struct MaskPullBack {
  M mask;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(apply(fn::Multiply{}, gradient, mask));
  }
};

}  // namespace kolmo::detail

namespace kolmo::nn {

/// Throws ArgumentError unless 0 <= probability < 1.
inline void check_dropout(double probability, const char* name) {
  if (!(probability >= 0 && probability < 1))
    throw ArgumentError(std::string(name) + ": the dropout probability must be in [0, 1), given " +
                        std::to_string(probability));
}

/// Sets each element to zero with the given probability and divides the others by 1 - probability (Srivastava et al.
/// 2014), so that the mean stays. The key decides which. Throws ArgumentError unless 0 <= probability < 1.
template <TensorLike X>
auto dropout(Key key, const X& x, double probability) {
  using M = BaseOf<X>;
  using T = ScalarOf<X>;
  check_dropout(probability, "dropout");
  M mask = M::uninitialized(x.shape());
  M::Backend::for_each(x.size(), kolmo::detail::DropoutMaskKernel<T>{
                                     key, probability, static_cast<T>(1 / (1 - probability)), mask.mutable_data()});
  return record(apply(fn::Multiply{}, value(x), mask), kolmo::detail::MaskPullBack<M>{mask}, x);
}

/// Dropout while training, the identity else.
template <class V>
struct Dropout {
  double probability = 0.5;

  static void fields(auto&& f, auto&... s) { f(option("probability"), s.probability...); }
  template <class U>
  using Rebind = Dropout<U>;

  /// Throws ArgumentError unless 0 <= probability < 1.
  void validate() const { check_dropout(probability, "Dropout"); }

  template <TensorLike X>
  X operator()(const X& x, const Pass& pass) const {
    if (!pass.training || probability == 0) return x;
    return dropout(pass.key, x, probability);
  }
};

template <class V>
void init(Key, Dropout<V>&) {}
template <class V, class F>
void init(Key, Activation<V, F>&) {}

}  // namespace kolmo::nn
