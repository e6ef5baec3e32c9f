#pragma once
// Jet: a tensor with its tangent, forward-mode differentiation in structure-of-arrays form. `apply`
// runs a functor elementwise on any mix of tensors and jets; `linear` and `bilinear` give an operation
// on plain tensors its tangent rule, which is the operation itself.

#include <kolmo/core/apply.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo {

/// A value and its derivative along one direction; both have the same shape.
template <PlainTensor V>
struct Jet {
  using Scalar = typename V::Scalar;
  using Backend = typename V::Backend;
  using Base = V;

  V value;
  V tangent;

  static Jet full(const Shape& shape, Scalar value) { return {V::full(shape, value), V::full(shape, Scalar(0))}; }
  static Jet zeros(const Shape& shape) { return full(shape, Scalar(0)); }
  const Shape& shape() const { return value.shape(); }
  int rank() const { return value.rank(); }
  index_t size() const { return value.size(); }
  index_t extent(int axis) const { return value.extent(axis); }
  bool has_value() const { return value.has_value(); }
};

template <class X>
struct IsJet : std::false_type {};
template <class V>
struct IsJet<Jet<V>> : std::true_type {};

template <class X>
concept JetLike = IsJet<std::remove_cvref_t<X>>::value;

/// What can be computed with when nothing is recorded: a tensor or a jet.
template <class X>
concept Value = PlainTensor<X> || JetLike<X>;

/// The plain tensor under a value.
template <Value X>
const auto& primal(const X& x) {
  if constexpr (JetLike<X>)
    return x.value;
  else
    return x;
}

namespace detail {

template <Value X>
const typename X::Scalar* tangent_data(const X& x) {
  if constexpr (JetLike<X>)
    return x.tangent.data();
  else
    return nullptr;
}

/// Strided tangents would need strides of their own; a jet's halves therefore agree in layout.
template <Value X>
X aligned(const X& x) {
  if constexpr (JetLike<X>)
    return {x.value.contiguous(), x.tangent.contiguous()};
  else
    return x;
}

template <class Kernel, class B>
void run_elementwise(const Kernel& kernel) {
  if constexpr (requires { B::elementwise(kernel); })
    B::elementwise(kernel);
  else
    B::for_each(kernel.shape.size(), kernel);
}

template <class Base, bool jet>
using ValueKind = std::conditional_t<jet, Jet<Base>, Base>;

template <int M, class F, Value X0, Value... X>
auto apply_aligned(const F& f, const Array<bool, M>& wanted, const Shape& shape, const X0& first, const X&... rest) {
  using Base = typename X0::Base;
  using T = typename Base::Scalar;
  static_assert((std::is_same_v<typename X::Base, Base> && ...),
                "elementwise operands must share scalar and backend; convert with cast<T>() or to<Backend>()");
  constexpr int N = 1 + sizeof...(X);
  constexpr bool jet = JetLike<X0> || (JetLike<X> || ...);

  Array<ValueKind<Base, jet>, M> results{};
  ElementwiseKernel<F, T, N, M, jet> kernel{f, shape, {}, {}, {}, {}, {}};
  kernel.strides = Array<Strides, N>{{broadcast_strides(first.shape(), primal(first).strides(), shape),
                                      broadcast_strides(rest.shape(), primal(rest).strides(), shape)...}};
  merge_axes(kernel.shape, kernel.strides);
  kernel.x = Array<const T*, N>{{primal(first).data(), primal(rest).data()...}};
  kernel.dx = Array<const T*, N>{{tangent_data(first), tangent_data(rest)...}};
  for (int m = 0; m < M; ++m) {
    if (!wanted[m]) continue;
    if constexpr (jet) {
      results[m] = {Base::uninitialized(shape), Base::uninitialized(shape)};
      kernel.y[m] = results[m].value.mutable_data();
      kernel.dy[m] = results[m].tangent.mutable_data();
    } else {
      results[m] = Base::uninitialized(shape);
      kernel.y[m] = results[m].mutable_data();
    }
  }
  run_elementwise<decltype(kernel), typename Base::Backend>(kernel);
  return results;
}

}  // namespace detail

/// Elementwise application with broadcasting to M outputs; outputs not wanted stay empty. `f` takes one
/// scalar per input and returns Array<scalar, M> (or the scalar when M is 1).
/// Throws ShapeError when the shapes do not broadcast.
template <int M, class F, Value... X>
auto apply_multiple(const F& f, const Array<bool, M>& wanted, const X&... inputs) {
  Shape shape;
  ((shape = broadcast(shape, inputs.shape())), ...);
  return detail::apply_aligned<M>(f, wanted, shape, detail::aligned(inputs)...);
}

/// Elementwise application with one output.
template <class F, Value... X>
auto apply(const F& f, const X&... inputs) {
  return apply_multiple<1>(f, Array<bool, 1>{{true}}, inputs...)[0];
}

/// Overwrites `target` with f(inputs...) elementwise. The inputs must broadcast to its shape.
template <class F, PlainTensor Target, PlainTensor... X>
void apply_into(const F& f, Target& target, const X&... inputs) {
  using T = typename Target::Scalar;
  constexpr int N = sizeof...(X);
  Shape shape = target.shape();
  ((shape = broadcast(shape, inputs.shape(), "apply_into")), ...);
  if (!(shape == target.shape()))
    throw ShapeError("apply_into: inputs broadcast to " + shape.to_string() + " but the target has shape " +
                     target.shape().to_string());
  detail::ElementwiseKernel<F, T, N, 1, false> kernel{f, shape, {}, {}, {}, {}, {}};
  kernel.strides = Array<Strides, N>{{broadcast_strides(inputs.shape(), inputs.strides(), shape)...}};
  merge_axes(kernel.shape, kernel.strides);
  kernel.x = Array<const T*, N>{{inputs.data()...}};
  kernel.y = Array<T*, 1>{{target.mutable_data()}};
  detail::run_elementwise<decltype(kernel), typename Target::Backend>(kernel);
}

/// Overwrites `target` with f(target, inputs...) elementwise. The inputs must broadcast to its shape.
template <class F, PlainTensor Target, PlainTensor... X>
void apply_in_place(const F& f, Target& target, const X&... inputs) {
  using T = typename Target::Scalar;
  constexpr int N = 1 + sizeof...(X);
  Shape shape = target.shape();
  ((shape = broadcast(shape, inputs.shape(), "apply_in_place")), ...);
  if (!(shape == target.shape()))
    throw ShapeError("apply_in_place: inputs broadcast to " + shape.to_string() + " but the target has shape " +
                     target.shape().to_string());
  T* data = target.mutable_data();
  detail::ElementwiseKernel<F, T, N, 1, false> kernel{f, shape, {}, {}, {}, {}, {}};
  Array<Strides, N> strides{{row_major_strides(shape), broadcast_strides(inputs.shape(), inputs.strides(), shape)...}};
  merge_axes(kernel.shape, strides);
  kernel.strides = strides;
  kernel.x = Array<const T*, N>{{data, inputs.data()...}};
  kernel.y = Array<T*, 1>{{data}};
  detail::run_elementwise<decltype(kernel), typename Target::Backend>(kernel);
}

/// A linear operation on plain tensors, lifted to jets: the tangent is the operation itself.
template <class Operation, Value X>
auto linear(const Operation& operation, const X& x) {
  if constexpr (JetLike<X>) {
    using Result = decltype(operation(x.value));
    return Jet<Result>{operation(x.value), operation(x.tangent)};
  } else {
    return operation(x);
  }
}

namespace detail {
struct AddScalars {
  template <class S>
  KOLMO_HD S operator()(S a, S b) const {
    return a + b;
  }
};
}  // namespace detail

/// A bilinear operation on plain tensors, lifted to jets by the product rule.
template <class Operation, Value X, Value Y>
auto bilinear(const Operation& operation, const X& x, const Y& y) {
  using Result = decltype(operation(primal(x), primal(y)));
  if constexpr (JetLike<X> && JetLike<Y>)
    return Jet<Result>{operation(x.value, y.value),
                       apply(detail::AddScalars{}, operation(x.tangent, y.value), operation(x.value, y.tangent))};
  else if constexpr (JetLike<X>)
    return Jet<Result>{operation(x.value, y), operation(x.tangent, y)};
  else if constexpr (JetLike<Y>)
    return Jet<Result>{operation(x, y.value), operation(x, y.tangent)};
  else
    return operation(x, y);
}

}  // namespace kolmo
