#pragma once
// Activations as layers without parameters: any elementwise functor (fn::Relu, fn::Silu, fn::Gelu, fn::Tanh,
// fn::Sigmoid, fn::Softplus, or a user's own) in a place that expects a layer.

#include <kolmo/ad/module.hpp>
#include <kolmo/ops/elementwise.hpp>

namespace kolmo::nn {

/// y = f(x) elementwise.
template <class V, class F>
struct Activation {
  F f{};

  static void fields(auto&&, auto&...) {}
  template <class U>
  using Rebind = Activation<U, F>;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return map(f, x);
  }
};

template <class V>
using Relu = Activation<V, fn::Relu>;
template <class V>
using Silu = Activation<V, fn::Silu>;
template <class V>
using Gelu = Activation<V, fn::Gelu>;
template <class V>
using Tanh = Activation<V, fn::Tanh>;
template <class V>
using Sigmoid = Activation<V, fn::Sigmoid>;
template <class V>
using Softplus = Activation<V, fn::Softplus>;

}  // namespace kolmo::nn
