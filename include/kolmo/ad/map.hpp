#pragma once
// map: an elementwise operation on any kinds of tensors, from one functor. Values come from evaluating
// it on scalars, tangents on Dual<T, 1>, and the reverse rule on Dual<T, N>: all partial derivatives in
// one pass, recomputed from the inputs, so that nothing but handles is kept for the way back.

#include <kolmo/ad/record.hpp>
#include <kolmo/core/reduce.hpp>

namespace kolmo {

namespace detail {

/// (g, x...) -> g * df/dx_i for every i; generic in the scalar, so that it differentiates again.
template <class F, int N>
struct ElementwiseVjp {
  F f;

  template <class S, class... X>
  KOLMO_HD Array<S, N> operator()(S gradient, X... x) const {
    return evaluate(gradient, std::make_integer_sequence<int, N>{}, x...);
  }

  template <class S, int... I, class... X>
  KOLMO_HD Array<S, N> evaluate(S gradient, std::integer_sequence<int, I...>, X... x) const {
    using D = Dual<S, N>;
    const D result = f(D::variable(x, I)...);
    return {{(gradient * result.d[I])...}};
  }
};

template <class F, class... X>
struct MapPullBack {
  F f;
  std::tuple<X...> inputs;

  template <class G>
  auto operator()(const G& gradient, const Wanted<static_cast<int>(sizeof...(X))>& wanted) const {
    return evaluate(gradient, wanted, std::make_index_sequence<sizeof...(X)>{});
  }

  template <class G, std::size_t... I>
  auto evaluate(const G& gradient, const Wanted<static_cast<int>(sizeof...(X))>& wanted,
                std::index_sequence<I...>) const {
    constexpr int N = sizeof...(X);
    auto partial = apply_multiple<N>(ElementwiseVjp<F, N>{f}, wanted, gradient, std::get<I>(inputs)...);
    return std::make_tuple((wanted[static_cast<int>(I)]
                                ? linear(SumTo{std::get<I>(inputs).shape()}, partial[static_cast<int>(I)])
                                : G())...);
  }
};

}  // namespace detail

/// Sums a value of any kind down to `shape`, the reverse of broadcasting.
template <Value V>
V sum_to(const V& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  return linear(detail::SumTo{shape}, x);
}

/// Applies `f` elementwise with broadcasting. `f` is a functor with a generic call operator marked
/// KOLMO_HD that uses the functions of core/math.hpp. Throws ShapeError when shapes do not broadcast.
template <class F, TensorLike... X>
auto map(const F& f, const X&... inputs) {
  return record(apply(f, value(inputs)...),
                detail::MapPullBack<F, ValueOf<X>...>{f, std::tuple<ValueOf<X>...>(value(inputs)...)}, inputs...);
}

}  // namespace kolmo
