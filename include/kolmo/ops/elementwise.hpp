#pragma once
// Operators and named elementwise functions on tensors of any kind, with NumPy broadcasting.

#include <concepts>

#include <kolmo/ad/map.hpp>
#include <kolmo/core/functors.hpp>

namespace kolmo {

/// A number that can stand beside a tensor in an expression; it is converted to the scalar the tensor is
/// computed in.
template <class C>
concept Constant = std::is_arithmetic_v<C>;

namespace detail {

/// Gradients of x + sign y need no kernel beyond the sum over repeated axes.
struct AddPullBack {
  Shape x, y;
  bool negate_y;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<2>& wanted) const {
    G gy = wanted[1] ? sum_to(gradient, y) : G();
    if (wanted[1] && negate_y) gy = apply(fn::Negate{}, gy);
    return std::make_tuple(wanted[0] ? sum_to(gradient, x) : G(), gy);
  }
};

template <class T>
struct ScalePullBack {
  T factor;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(apply(fn::MultiplyConstant<T>{factor}, gradient));
  }
};

template <class T>
struct UnscalePullBack {
  T divisor;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(apply(fn::DivideByConstant<T>{divisor}, gradient));
  }
};

}  // namespace detail

template <TensorLike X, TensorLike Y>
auto operator+(const X& x, const Y& y) {
  return record(apply(fn::Add{}, value(x), value(y)), detail::AddPullBack{x.shape(), y.shape(), false}, x, y);
}
template <TensorLike X, TensorLike Y>
auto operator-(const X& x, const Y& y) {
  return record(apply(fn::Subtract{}, value(x), value(y)), detail::AddPullBack{x.shape(), y.shape(), true}, x, y);
}
template <TensorLike X, TensorLike Y>
auto operator*(const X& x, const Y& y) {
  return map(fn::Multiply{}, x, y);
}
template <TensorLike X, TensorLike Y>
auto operator/(const X& x, const Y& y) {
  return map(fn::Divide{}, x, y);
}

template <TensorLike X, Constant C>
auto operator*(const X& x, C c) {
  using T = ComputeOf<ScalarOf<X>>;
  const T factor = static_cast<T>(c);
  return record(apply(fn::MultiplyConstant<T>{factor}, value(x)), detail::ScalePullBack<T>{factor}, x);
}
template <TensorLike X, Constant C>
auto operator*(C c, const X& x) {
  return x * c;
}
template <TensorLike X, Constant C>
auto operator/(const X& x, C c) {
  using T = ComputeOf<ScalarOf<X>>;
  const T divisor = static_cast<T>(c);
  return record(apply(fn::DivideByConstant<T>{divisor}, value(x)), detail::UnscalePullBack<T>{divisor}, x);
}
template <TensorLike X, Constant C>
auto operator/(C c, const X& x) {
  return map(fn::DivideFrom<ComputeOf<ScalarOf<X>>>{static_cast<ComputeOf<ScalarOf<X>>>(c)}, x);
}
template <TensorLike X, Constant C>
auto operator+(const X& x, C c) {
  using T = ComputeOf<ScalarOf<X>>;
  return record(apply(fn::AddConstant<T>{static_cast<T>(c)}, value(x)), detail::PassThrough{}, x);
}
template <TensorLike X, Constant C>
auto operator+(C c, const X& x) {
  return x + c;
}
template <TensorLike X, Constant C>
auto operator-(const X& x, C c) {
  using T = ComputeOf<ScalarOf<X>>;
  return record(apply(fn::SubtractConstant<T>{static_cast<T>(c)}, value(x)), detail::PassThrough{}, x);
}
template <TensorLike X, Constant C>
auto operator-(C c, const X& x) {
  using T = ComputeOf<ScalarOf<X>>;
  return record(apply(fn::SubtractFrom<T>{static_cast<T>(c)}, value(x)), detail::ScalePullBack<T>{T(-1)}, x);
}
template <TensorLike X>
auto operator-(const X& x) {
  using T = ComputeOf<ScalarOf<X>>;
  return record(apply(fn::Negate{}, value(x)), detail::ScalePullBack<T>{T(-1)}, x);
}

template <TensorLike X>
auto exp(const X& x) {
  return map(fn::Exp{}, x);
}
template <TensorLike X>
auto expm1(const X& x) {
  return map(fn::Expm1{}, x);
}
template <TensorLike X>
auto log(const X& x) {
  return map(fn::Log{}, x);
}
template <TensorLike X>
auto log1p(const X& x) {
  return map(fn::Log1p{}, x);
}
template <TensorLike X>
auto sqrt(const X& x) {
  return map(fn::Sqrt{}, x);
}
template <TensorLike X>
auto square(const X& x) {
  return map(fn::Square{}, x);
}
/// Absolute value; the derivative at zero is zero.
template <TensorLike X>
auto abs(const X& x) {
  return map(fn::Abs{}, x);
}
template <TensorLike X>
auto sin(const X& x) {
  return map(fn::Sin{}, x);
}
template <TensorLike X>
auto cos(const X& x) {
  return map(fn::Cos{}, x);
}
template <TensorLike X>
auto erf(const X& x) {
  return map(fn::Erf{}, x);
}
template <TensorLike X>
auto tanh(const X& x) {
  return map(fn::Tanh{}, x);
}
/// 1 / (1 + exp(-x))
template <TensorLike X>
auto sigmoid(const X& x) {
  return map(fn::Sigmoid{}, x);
}
/// log(1 + exp(x))
template <TensorLike X>
auto softplus(const X& x) {
  return map(fn::Softplus{}, x);
}
/// max(x, 0); the derivative at zero is zero.
template <TensorLike X>
auto relu(const X& x) {
  return map(fn::Relu{}, x);
}
template <TensorLike X>
auto silu(const X& x) {
  return map(fn::Silu{}, x);
}
template <TensorLike X>
auto gelu(const X& x) {
  return map(fn::Gelu{}, x);
}
/// The larger operand; on ties the derivative goes to the first.
template <TensorLike X, TensorLike Y>
auto maximum(const X& x, const Y& y) {
  return map(fn::Maximum{}, x, y);
}
/// The smaller operand; on ties the derivative goes to the first.
template <TensorLike X, TensorLike Y>
auto minimum(const X& x, const Y& y) {
  return map(fn::Minimum{}, x, y);
}
template <TensorLike X, TensorLike Y>
auto pow(const X& x, const Y& y) {
  return map(fn::Power{}, x, y);
}
template <TensorLike X, Constant C>
auto pow(const X& x, C exponent) {
  return map(fn::PowerConstant<ComputeOf<ScalarOf<X>>>{static_cast<ComputeOf<ScalarOf<X>>>(exponent)}, x);
}
/// Limits to [low, high]; the derivative is zero outside. Throws ArgumentError when low > high.
template <TensorLike X, Constant A, Constant B>
auto clamp(const X& x, A low, B high) {
  using T = ComputeOf<ScalarOf<X>>;
  if (!(static_cast<T>(low) <= static_cast<T>(high)))
    throw ArgumentError("clamp: the lower bound " + std::to_string(low) + " is not at most the upper bound " +
                        std::to_string(high));
  return map(fn::Clamp<T>{static_cast<T>(low), static_cast<T>(high)}, x);
}

/// Masks of zeros and ones; they carry no derivative.
template <TensorLike X, TensorLike Y>
auto greater(const X& x, const Y& y) {
  return apply(fn::Greater{}, detach(x), detach(y));
}
template <TensorLike X, TensorLike Y>
auto less(const X& x, const Y& y) {
  return apply(fn::Less{}, detach(x), detach(y));
}
template <TensorLike X, TensorLike Y>
auto equal(const X& x, const Y& y) {
  return apply(fn::Equal{}, detach(x), detach(y));
}
/// x where the mask is not zero, else y.
template <PlainTensor M, TensorLike X, TensorLike Y>
auto where(const M& mask, const X& x, const Y& y) {
  return map(fn::Where{}, mask, x, y);
}

}  // namespace kolmo
